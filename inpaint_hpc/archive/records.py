"""Everything known of one finished or failed task, as plain numpy: what result files and the archive hold."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Generic

import numpy as np

from inpaint_hpc.crystals.batch import Crystal, content_bytes

from .fields import Row, column, nested, row_type
from .row_table import R, Rows
from .rows import Candidate, HostEnergies, Provenance, Sample, Site

DONE, FAILED = "done", "failed"
STATUSES = (DONE, FAILED)


def host_id(host: Crystal) -> str:
    """sha256 of atomic numbers, fractional coordinates and lattice: same content, same id, whatever its name."""
    return hashlib.sha256(content_bytes(host.numbers, host.frac_coords, host.lattice)).hexdigest()


def task_id_tail(guests: tuple[int, ...], n_requested: int, settings: bytes) -> bytes:
    """What follows the 32 bytes of the host's id in the text whose sha256 is the id of a task.

    Args:
        guests: sorted atomic numbers.
        n_requested: valid samples asked for.
        settings: digest of everything else that decides a result.
    """
    return b"".join([len(guests).to_bytes(8, "little"), bytes(guests), n_requested.to_bytes(8, "little"), settings])


if TYPE_CHECKING:

    class Kept(Generic[R]):
        """A field that takes any sequence of rows and keeps it as `Rows`."""

        def __get__(self, record: object, kind: type | None = None) -> Rows[R]: ...

        def __set__(self, record: object, rows: Sequence[R]) -> None: ...


@row_type(kw_only=False)
class TaskRecord(Row):
    """One task of a campaign and what came of it; a row of /tasks and all that belongs to it.

    Attributes:
        task_id: sha256 of host, guests, samples, settings and weights, 64 hexadecimal digits.
        host: the host, float64, bit for bit as it was given; its `name` and `info` are kept.
        guests: sorted atomic numbers of the guests, in the order of every `guest_frac_coords`.
        n_requested: valid samples asked for.
        status: 'done', also when no sample was possible, or 'failed'.
        samples: what was drawn; none by default.
        candidates: what was made of it; none by default.
        seconds: wall time by stage, e.g. {'sample': 1.2, 'score': 3.4}; the keys are lower-case words.
        worker: name of the worker.
        notes: what a user should know, one line each.
        error: one line, of a failed task.
        traceback: of a failed task.
        attempts: how often a failed task was tried; 0 for one that is done.
        reference_frac_coords: where the guests were before they were taken out, in the order of `guests`, float64
            (g, 3), bit for bit as it was given; None where guests are new.
        host_id: filled in from `host` unless given.
        confidence: chance that the first candidate is right; None where not known.
        n_evaluations: energies that CHGNet computed until the candidates were ranked as placed; None where not known.
        host_energies: the host's own energies; None where not known.
        provenance: potential, treatment and settings; None where not known.
        sites: the site networks that were found on the way; none by default.
        reference_tolerance: largest distance in A of a right placement from the reference; None where samples and
            candidates do not say how far they are.

    Raises:
        ValueError: an id that is not 64 hexadecimal digits, an unknown status, a failed task without an error (or one
            that is done with an error), or references of another number of guests.  Samples and candidates with another
            number of guests are refused when they are written.
    """

    task_id: str = column("S", "sha256 of host, guests, samples, settings and weights, hexadecimal", name="id")
    host: Crystal = column("i8", "row in /hosts", minimum=0)
    guests: tuple[int, ...] = column(
        "u1", "sorted atomic numbers of the guests", per="guest_offsets", minimum=1, maximum=118
    )
    n_requested: int = column("i8", "valid samples asked for", minimum=0)
    status: str = column("S", "done or failed", choices=STATUSES, default=DONE)
    samples: Kept[Sample] = ()  # type: ignore[assignment]
    candidates: Kept[Candidate] = ()  # type: ignore[assignment]
    seconds: Mapping[str, float] = field(default_factory=dict)
    worker: str = column("S", "name of the worker", default="")
    notes: Sequence[str] = column("S", "what a user should know, one line each", lines=True, longest=4000, default=())
    error: str = ""
    traceback: str = ""
    attempts: int = 0
    reference_frac_coords: np.ndarray | None = column(
        "f8", "where guests were that had been taken out", per="guest_offsets", tail=(3,), optional=True, null=True,
        default=None,
    )  # fmt: skip
    host_id: str = ""
    confidence: float | None = column(
        "f8", "chance that the first candidate is right", null=True, minimum=0.0, maximum=1.0, optional=True,
        since="1.3", default=None,
    )  # fmt: skip
    n_evaluations: int | None = column(
        "i8", "energies computed until candidates were ranked as placed, -1 unknown", minimum=-1, absent=-1,
        optional=True, since="1.3", default=None,
    )  # fmt: skip
    host_energies: HostEnergies | None = nested(HostEnergies, "host_", default=None)
    provenance: Provenance | None = nested(Provenance, "", default=None)
    reference_tolerance: float | None = column(
        "f8", "guests that had been taken out are right up to this distance from there", "A", null=True, minimum=0.0,
        optional=True, since="1.4", default=None,
    )  # fmt: skip
    sites: Kept[Site] = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        guests = tuple(int(z) for z in self.guests)
        object.__setattr__(self, "guests", guests)
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "host_id", self.host_id or host_id(self.host))
        counts = {"guest_offsets": len(guests), "host_offsets": len(self.host)}
        samples = Rows.of(Sample, self.samples, counts)
        candidates = Rows.of(Candidate, self.candidates, counts, {"members": partial(_members, samples)})
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "candidates", candidates)
        object.__setattr__(self, "sites", Rows.of(Site, self.sites, {}))
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

    @property
    def n_valid(self) -> int:
        """Samples that are physically possible."""
        return sum(self.samples.values("valid"))

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
        found = self.candidates[rank]
        if not relaxed:
            return self.host.with_guests(np.array(self.guests), found.guest_frac_coords)
        if found.relaxed is None or found.relaxed.guest_frac_coords is None:
            raise IndexError(f"task {self.task_id[:12]}: candidate {rank} was not relaxed")
        return found.relaxed.crystal(self.host, self.guests)


def _members(samples: Rows[Sample], rank: int) -> tuple[int, ...]:
    return tuple(samples["index"][samples["candidate"] == rank].tolist())
