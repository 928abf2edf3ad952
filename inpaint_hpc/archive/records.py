"""Everything known of one finished or failed task, as plain numpy: what result files and the archive hold."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

from .site_records import Sites

DONE, FAILED = "done", "failed"
STATUSES = (DONE, FAILED)


def host_id(host: Crystal) -> str:
    """sha256 of atomic numbers, fractional coordinates and lattice: same content, same id, whatever its name."""
    digest = hashlib.sha256()
    for array in (host.numbers, host.frac_coords, host.lattice):
        kind = "<i8" if array.dtype.kind == "i" else "<f8"
        # Adding zero turns -0.0 into 0.0; the length keeps neighbouring arrays apart.
        digest.update(np.int64(array.size).tobytes() + np.ascontiguousarray(array + 0, dtype=kind).tobytes())
    return digest.hexdigest()


RELAXATIONS = ("converged", "unfinished", "diverged")
"""How the relaxation of a candidate may end."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The S samples drawn for a task with g guests, impossible ones included.

    Attributes:
        index: index of the sample, int64 (S,); with task and settings it determines the sample.
        guest_frac_coords: fractional coordinates in the host's cell, in [0, 1), float64 (S, g, 3); may be NaN where
            `valid` is False.
        valid: physically possible, bool (S,).
        reason: why not, '' where valid, S strings.
        min_distance: smallest distance of a guest to another atom or an image of itself in A, float64 (S,); may be
            NaN where `valid` is False.
        candidate: rank of the candidate that the sample belongs to, int64 (S,); -1 for none.

    Raises:
        ValueError: shapes that do not fit together.
    """

    index: np.ndarray
    guest_frac_coords: np.ndarray
    valid: np.ndarray
    reason: Sequence[str]
    min_distance: np.ndarray
    candidate: np.ndarray

    def __post_init__(self) -> None:
        n = _row_arrays(self, index=np.int64, valid=np.bool_, min_distance=np.float64, candidate=np.int64)
        _positions(self, "guest_frac_coords", n)
        _texts(self, "reason", n)

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def none(cls, n_guests: int) -> Samples:
        """No samples, of a task with `n_guests` guests."""
        empty = np.zeros(0)
        return cls(empty, np.zeros((0, n_guests, 3)), empty, (), empty, empty)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The C candidates of a task with g guests, best first.  Floats are NaN where something was not computed.

    Attributes:
        rank: 0, 1, ... C - 1, int64 (C,).
        sample: `Samples.index` of the sample shown, int64 (C,); -1 for a placement that no sample proposed.
        count: samples that agree, int64 (C,).
        agreement: these over valid samples, float64 (C,), in [0, 1].
        spread: root mean square scatter of these in A, float64 (C,).
        min_distance: smallest distance of a guest to another atom or an image of itself in A, float64 (C,).
        guest_frac_coords: fractional coordinates in the host's cell, in [0, 1), float64 (C, g, 3).
        energy_per_atom: eV per atom, float64 (C,).
        max_force: largest force on any atom in eV/A, float64 (C,).
        max_guest_force: largest force on a guest in eV/A, float64 (C,).
        multiplicity: equivalent positions of each guest in the host's cell, int64 (C, g); 0 where not determined.
        wyckoff: Wyckoff position of each guest such as '8a', C sequences of g strings; '' where not determined.
        error: why scoring or relaxation failed, '' otherwise, C strings.
        relaxed_energy_per_atom: after relaxation, eV per atom, float64 (C,); this and what follows is None when no
            candidate of the task was relaxed, and NaN for one that was not (texts '', integers 0).
        relaxed_max_force: eV/A, float64 (C,).
        relaxed_max_guest_force: eV/A, float64 (C,).
        relaxed_guest_frac_coords: in [0, 1), in the relaxed cell, float64 (C, g, 3).
        relaxed_host_frac_coords: of the n host atoms, float64 (C, n, 3); None also when the host was frozen.
        relaxed_lattice: rows a, b, c in A, float64 (C, 3, 3); None also when the cell was frozen.
        relaxation: 'converged', 'unfinished', 'diverged', or '' for one that was not relaxed, C strings.
        relaxed_steps: steps of relaxation taken, int64 (C,).
        placements: different placements that relaxed into this minimum, int64 (C,).
        origin: where it comes from: 'joint', 'sequential', 'orbits', 'ordering', several joined by '+'; C strings.

    Raises:
        ValueError: shapes that do not fit together.
    """

    rank: np.ndarray
    sample: np.ndarray
    count: np.ndarray
    agreement: np.ndarray
    spread: np.ndarray
    min_distance: np.ndarray
    guest_frac_coords: np.ndarray
    energy_per_atom: np.ndarray
    max_force: np.ndarray
    max_guest_force: np.ndarray
    multiplicity: np.ndarray
    wyckoff: Sequence[Sequence[str]]
    error: Sequence[str]
    relaxed_energy_per_atom: np.ndarray | None = None
    relaxed_max_force: np.ndarray | None = None
    relaxed_guest_frac_coords: np.ndarray | None = None
    relaxed_host_frac_coords: np.ndarray | None = None
    relaxed_lattice: np.ndarray | None = None
    relaxed_max_guest_force: np.ndarray | None = None
    relaxation: Sequence[str] | None = None
    relaxed_steps: np.ndarray | None = None
    placements: np.ndarray | None = None
    origin: Sequence[str] | None = None

    def __post_init__(self) -> None:
        floats = ("agreement", "spread", "min_distance", "energy_per_atom", "max_force", "max_guest_force")
        optional = dict.fromkeys(
            ("relaxed_energy_per_atom", "relaxed_max_force", "relaxed_max_guest_force"), np.float64
        ) | dict.fromkeys(("relaxed_steps", "placements"), np.int64)
        given = {name: kind for name, kind in optional.items() if getattr(self, name) is not None}
        kinds = dict.fromkeys(("rank", "sample", "count"), np.int64) | dict.fromkeys(floats, np.float64)
        n = _row_arrays(self, **kinds | given)
        g = _positions(self, "guest_frac_coords", n)
        for name in ("relaxed_guest_frac_coords", "relaxed_host_frac_coords", "relaxed_lattice"):
            if getattr(self, name) is not None:
                _positions(self, name, n)
        multiplicity = np.asarray(self.multiplicity, dtype=np.int64).reshape(n, -1) if n else np.zeros((0, g), np.int64)
        if multiplicity.shape[1] == 0:
            multiplicity = np.zeros((n, g), dtype=np.int64)
        wyckoff = tuple(tuple(labels) or ("",) * g for labels in self.wyckoff)
        if multiplicity.shape != (n, g) or [len(labels) for labels in wyckoff] != [g] * n:
            raise ValueError(f"{n} candidates of {g} guests need as many multiplicities and Wyckoff positions")
        object.__setattr__(self, "multiplicity", multiplicity)
        object.__setattr__(self, "wyckoff", wyckoff)
        _texts(self, "error", n)
        for name in ("relaxation", "origin"):
            if getattr(self, name) is not None:
                _texts(self, name, n)

    def __len__(self) -> int:
        return len(self.rank)

    @classmethod
    def none(cls, n_guests: int) -> Candidates:
        """No candidates, of a task with `n_guests` guests."""
        required = [f.name for f in fields(cls) if f.default is MISSING]
        empty: dict[str, Any] = {name: np.zeros(0) for name in required}
        empty["guest_frac_coords"] = np.zeros((0, n_guests, 3))
        return cls(**empty | {"wyckoff": (), "error": ()})


@dataclass(frozen=True, eq=False)
class TaskRecord:
    """One task of a campaign and what came of it.

    Attributes:
        task_id: sha256 of host, guests, samples, settings and weights, 64 hexadecimal digits.
        host: the host, float64, bit for bit as it was given; its `name` and `info` are kept.
        guests: sorted atomic numbers of the guests, in the order of every `guest_frac_coords`.
        n_requested: valid samples asked for.
        status: 'done', also when no sample was possible, or 'failed'.
        samples: what was drawn; none by default.
        candidates: what was made of it; none by default.
        sites: the site networks that were found on the way; none by default.
        seconds: wall time by stage, e.g. {'sample': 1.2, 'score': 3.4}; the keys are lower-case words.
        worker: name of the worker.
        notes: what a user should know, one line each.
        error: one line, of a failed task.
        traceback: of a failed task.
        attempts: how often a failed task was tried; 0 for one that is done.
        reference_frac_coords: where the guests were before they were taken out, in the order of `guests`, float64
            (g, 3), bit for bit as it was given; None where guests are new.
        host_id: filled in from `host` unless given.

    Raises:
        ValueError: an id that is not 64 hexadecimal digits, an unknown status, a failed task without an error (or one
            that is done with an error), or samples and candidates with another number of guests.
    """

    task_id: str
    host: Crystal
    guests: tuple[int, ...]
    n_requested: int
    status: str = DONE
    samples: Samples = None  # type: ignore[assignment]
    candidates: Candidates = None  # type: ignore[assignment]
    seconds: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""
    notes: Sequence[str] = ()
    error: str = ""
    traceback: str = ""
    attempts: int = 0
    reference_frac_coords: np.ndarray | None = None
    host_id: str = ""
    sites: Sites = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        guests = tuple(int(z) for z in self.guests)
        object.__setattr__(self, "guests", guests)
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "host_id", self.host_id or host_id(self.host))
        if self.samples is None:
            object.__setattr__(self, "samples", Samples.none(len(guests)))
        if self.candidates is None:
            object.__setattr__(self, "candidates", Candidates.none(len(guests)))
        if self.sites is None:
            object.__setattr__(self, "sites", Sites.none())
        if self.reference_frac_coords is not None:
            reference = np.asarray(self.reference_frac_coords, dtype=np.float64).reshape(-1, 3)
            object.__setattr__(self, "reference_frac_coords", reference)
            if len(reference) != len(guests):
                raise ValueError(f"task {self.task_id[:12]}: {len(guests)} guests but {len(reference)} references")
        for name in ("task_id", "host_id"):
            text = getattr(self, name)
            if len(text) != 64 or set(text) - set(string.hexdigits.lower()):
                raise ValueError(f"{name} must be 64 lower-case hexadecimal digits, not {text!r}")
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, not {self.status!r}")
        if bool(self.error) != (self.status == FAILED):
            raise ValueError(f"task {self.task_id[:12]}: a failed task needs an error, and only a failed one has it")
        for what in (self.samples, self.candidates):
            if what.guest_frac_coords.shape[1] != len(guests):
                raise ValueError(
                    f"task {self.task_id[:12]}: {len(guests)} guests, but positions of shape "
                    f"{what.guest_frac_coords.shape}"
                )

    @property
    def failed(self) -> bool:
        """Whether the task has no result."""
        return self.status == FAILED

    def crystal(self, rank: int = 0, relaxed: bool = False) -> Crystal:
        """Host and guests of a candidate; unless relaxed, host rows are the same bits as in `host`.

        Raises:
            IndexError: no candidate of that rank, or `relaxed` and it was not relaxed.
        """
        if not 0 <= rank < len(self.candidates):
            raise IndexError(
                f"task {self.task_id[:12]} has {len(self.candidates)} candidates; there is none of rank {rank}"
            )
        found = self.candidates
        if not relaxed:
            return self.host.with_guests(np.array(self.guests), found.guest_frac_coords[rank])
        guests = found.relaxed_guest_frac_coords
        if guests is None or not np.isfinite(guests[rank]).all():
            raise IndexError(f"task {self.task_id[:12]}: candidate {rank} was not relaxed")
        host = self.host
        frac, lattice = host.frac_coords, host.lattice
        if found.relaxed_host_frac_coords is not None and np.isfinite(found.relaxed_host_frac_coords[rank]).all():
            frac = found.relaxed_host_frac_coords[rank]
        if found.relaxed_lattice is not None and np.isfinite(found.relaxed_lattice[rank]).all():
            lattice = found.relaxed_lattice[rank]
        moved = Crystal(host.numbers, frac, lattice, host.name, host.info)
        return moved.with_guests(np.array(self.guests), guests[rank])


def _row_arrays(owner: Any, **kinds: Any) -> int:
    """Convert one-dimensional fields to their dtypes; their common length."""
    lengths = set()
    for name, kind in kinds.items():
        array = np.asarray(getattr(owner, name), dtype=kind).reshape(-1)
        object.__setattr__(owner, name, array)
        lengths.add(len(array))
    if len(lengths) != 1:
        sizes = ", ".join(f"{name} {len(getattr(owner, name))}" for name in kinds)
        raise ValueError(f"columns of different lengths: {sizes}")
    return lengths.pop()


def _positions(owner: Any, name: str, n: int) -> int:
    """Convert a field to float64 (n, m, 3) and return m."""
    array = np.asarray(getattr(owner, name), dtype=np.float64)
    if array.ndim != 3 or array.shape[0] != n or array.shape[2] != 3:
        raise ValueError(f"{name} must have shape ({n}, atoms, 3), not {array.shape}")
    object.__setattr__(owner, name, array)
    return array.shape[1]


def _texts(owner: Any, name: str, n: int) -> None:
    texts = tuple(getattr(owner, name))
    if len(texts) != n:
        raise ValueError(f"{len(texts)} of {name} for {n} rows")
    object.__setattr__(owner, name, texts)
