"""Tables of what an archive found, as pandas frames with the column names of `export` (docs/results.md).

`task` is the number of the task in the archive, and guests are written 'Li=4 Na=1', as in `Archive.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.schema import ROW, TABLES
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.placement_distances import STOL

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    Reference = Structure | Crystal | Mapping[str, Structure | Crystal]

_OF_TASK = ("n_samples", "n_valid", "confidence", "potential", "treatment")


def best(archive: Archive, per_guest: bool = True) -> pd.DataFrame:
    """The first candidate of each task, without the tasks that have none; columns as of `candidates`.

    Args:
        archive: an open archive.
        per_guest: with the texts of the guests, e.g. `wyckoff`, which take longest to read.
    """
    blocks = archive.candidate_blocks(per_guest)
    return of_tasks(archive, joined(with_texts_of_guests(block[block["rank"] == 0]) for block in blocks))


def candidates(archive: Archive, per_guest: bool = True) -> pd.DataFrame:
    """One row per candidate: task, host, formula, guests, ion, n_guests, columns of the task, then those of its own.

    `ion` is the symbols of the guests, 'Li Na'; Wyckoff positions and coordination of several are joined by ', '.
    """
    return of_tasks(archive, joined(map(with_texts_of_guests, archive.candidate_blocks(per_guest))))


def sites(archive: Archive) -> pd.DataFrame:
    """One row per orbit of the site networks: that of `Archive.sites` with host and formula; `ion` is a symbol."""
    from ase.data import chemical_symbols

    found = archive.sites()
    return of_tasks(archive, found.assign(ion=[chemical_symbols[number] for number in found["ion"]]))


def hull(archive: Archive, **options: Any) -> pd.DataFrame:
    """One row per task with an energy: of each host, ion, potential and treatment, its place on the convex hull.

    Columns: host, ion, chgnet, treatment, against, and those of `VoltageProfile.rows`: guests (a number here),
    energy_eV, intercalation_energy_eV, average_voltage_V, above_hull_eV, stable, label ...

    Args:
        archive: an open archive.
        options: as `archive_profiles`: hosts, ions, charges, device.

    Raises:
        InputError: as `archive_profiles`, e.g. an archive without energies.
    """
    return _of_profiles(archive, "filled", options)


def voltage(archive: Archive, **options: Any) -> pd.DataFrame:
    """One row per step of each voltage curve: host, ion, chgnet, treatment, against, from, to (guests), voltage_V.

    Args, Raises: as `hull`.
    """
    return _of_profiles(archive, "steps", options)


def match(archive: Archive, reference: Reference | None = None, tolerance: float = STOL) -> pd.DataFrame:
    """The candidates that a right answer is known for, with `match` and `rmsd_A` beside the columns of `candidates`.

    Candidates are taken at rest where they were relaxed, as placed otherwise.

    Args:
        archive: an open archive.
        reference: the whole right crystal, or those of hosts by name; compared by pymatgen's `StructureMatcher`, whose
            `rmsd_A` is of all atoms.  By default guests that were taken out of a crystal are compared with where they
            were, up to the symmetry of the host.
        tolerance: largest distance of a match, in units of (V / N)^(1/3).

    Raises:
        InputError: no task has a reference.
    """
    against = _against_given(reference, tolerance) if reference is not None else partial(_against_own, tolerance)
    known: dict[tuple[int, int], tuple[bool, float]] = {}
    for number, record in enumerate(archive.iter_records()):
        known |= {(number, rank): found for rank, found in enumerate(against(record) or ())}
    if not known:
        raise InputError(f"{archive.path}: no candidate has a reference to compare it with")
    rows = candidates(archive)
    keys = list(zip(rows["task"], rows["rank"], strict=True))
    rows = rows[[key in known for key in keys]].reset_index(drop=True)
    pairs = [known[key] for key in keys if key in known]
    return rows.assign(match=[right for right, _ in pairs], rmsd_A=[rmsd for _, rmsd in pairs])


def compare(first: Archive, second: Archive, tolerance: float = STOL) -> pd.DataFrame:
    """The first candidates of two archives side by side, of tasks of the same id, or else of equal host and guests.

    Columns: host, formula, guests, ion, n_guests, then task, agreement, confidence, energies and Wyckoff positions with
    `_first` and `_second`; `rmsd_A` of the guests between the two, NaN beyond 3 A, and `match`, whether they are one
    placement up to the symmetry of the host.  `inpaint-hpc verify --against` compares every column instead.

    Args:
        first, second: open archives.
        tolerance: as `match`.

    Raises:
        InputError: they have no task in common, or it is not clear which belong together.
    """
    from inpaint_hpc.sampling.placement_distances import compare_placements

    sides = [_keyed(first), _keyed(second)]
    on = ["id"] if set(sides[0]["id"]) & set(sides[1]["id"]) else ["host_id", "guests"]
    for archive, side in zip((first, second), sides, strict=True):
        if side.duplicated(on).any():
            raise InputError(
                f"{archive.path}: several tasks have one host and guests; compare archives of one run each"
            )
    shared = [name for name in ("host", "formula", "guests", "ion", "n_guests", "host_row") if name not in on]
    right = sides[1].drop(columns=[name for name in (*shared, "id", "host_id") if name not in on])
    both = sides[0].merge(right, on=on, suffixes=("_first", "_second"))
    if both.empty:
        raise InputError(f"{first.path} and {second.path} have no task in common that has candidates")
    pairs: list[tuple[float, bool | None]] = []
    for row in both.itertuples():
        host = first.host(row.host_row)
        pairs.append((np.nan, None))  # of what was generated without a host
        if len(host):
            numbers = np.repeat(*_counts(row.guests)).tolist()
            found = compare_placements(host, numbers, row.at_first, row.at_second[None], stol=tolerance)
            pairs[-1] = (_finite(found.rmsd[0]), bool(found.right[0]))
    shown = both.drop(columns=["id", "host_id", "host_row", "at_first", "at_second"], errors="ignore")
    return shown.assign(rmsd_A=[rmsd for rmsd, _ in pairs], match=[same for _, same in pairs])


def with_texts_of_guests(block: pd.DataFrame) -> pd.DataFrame:
    """Texts of several guests joined by ', ', in place of columns that hold a value for each guest."""
    several = [name for name in block if name in TABLES["candidates"] and TABLES["candidates"][name].per != ROW]
    texts = {
        name: [", ".join(row) for row in block[name]] for name in several if TABLES["candidates"][name].dtype == "S"
    }
    return block.drop(columns=[name for name in several if name not in texts]).assign(**texts)


def joined(blocks: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Frames one after another; empty ones, whose columns have no types, are left out."""
    import pandas as pd

    found = list(blocks)
    return pd.concat([block for block in found if len(block)] or found[:1], ignore_index=True)


def of_tasks(archive: Archive, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with a column `task`, and after it what is known of that task and its host."""
    tasks, numbers = archive.tasks(), rows["task"].to_numpy()
    formulas = archive.hosts()["formula"].to_numpy()[tasks["host_row"].to_numpy()]
    counts = [[part.split("=") for part in label.split()] for label in tasks["guests"]]
    known = {
        "host": tasks["host"].to_numpy(),
        "formula": formulas,
        "guests": tasks["guests"].to_numpy(),
        "ion": np.array([" ".join(symbol for symbol, _ in parts) for parts in counts], dtype=object),
        "n_guests": np.array([sum(int(number) for _, number in parts) for parts in counts], dtype=np.int64),
        **{name: tasks[name].to_numpy() for name in _OF_TASK if name in tasks},
    }
    rows = rows.copy()
    new = [name for name in known if name not in rows]
    for place, name in enumerate(new, start=1):
        rows.insert(place, name, known[name][numbers])
    return rows


def _of_profiles(archive: Archive, part: str, options: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    from .archive_voltage import archive_profiles

    profiles = [profile.as_dict() for profile in archive_profiles(archive, **options)]
    names = ("host", "ion", "chgnet", "treatment", "against")
    return pd.DataFrame([{name: one[name] for name in names} | row for one in profiles for row in one[part]])


def _at_rest(record: TaskRecord) -> np.ndarray:
    """Fractional coordinates of the guests of each candidate, float64 (candidates, guests, 3)."""
    found = [
        one.guest_frac_coords
        if one.relaxed is None or one.relaxed.guest_frac_coords is None
        else one.relaxed.guest_frac_coords
        for one in record.candidates
    ]
    return np.array(found).reshape(-1, len(record.guests), 3)


def _against_own(tolerance: float, record: TaskRecord) -> list[tuple[bool, float]] | None:
    """Whether each candidate is where the guests were, and how far from it."""
    from inpaint_hpc.sampling.placement_distances import compare_placements

    reference = record.reference_frac_coords
    if reference is None or not np.isfinite(reference).all() or not len(record.host) or not len(record.candidates):
        return None
    found = compare_placements(record.host, record.guests, reference, _at_rest(record), stol=tolerance)
    return [(bool(right), _finite(rmsd)) for right, rmsd in zip(found.right, found.rmsd, strict=True)]


def _against_given(reference: Reference, tolerance: float) -> Callable[[TaskRecord], list[tuple[bool, float]] | None]:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(stol=tolerance)

    def against(record: TaskRecord) -> list[tuple[bool, float]] | None:
        wanted = reference.get(record.host.name) if isinstance(reference, Mapping) else reference
        if wanted is None:
            return None
        right = wanted.to_structure() if isinstance(wanted, Crystal) else wanted
        found = []
        for rank, one in enumerate(record.candidates):
            relaxed = one.relaxed is not None and one.relaxed.guest_frac_coords is not None
            crystal = record.crystal(rank, relaxed)
            distance = matcher.get_rms_dist(right, crystal.to_structure())
            # In units of (V / N)^(1/3).
            length = (crystal.volume / len(crystal)) ** (1.0 / 3.0)
            found.append((distance is not None, np.nan if distance is None else float(distance[0]) * length))
        return found

    return against


def _keyed(archive: Archive) -> pd.DataFrame:
    """Of each task with candidates: what `compare` shows, ids of it and its host, and where its guests are at rest."""
    names = ("task", "agreement", "confidence", "energy_per_guest_eV", "relaxed_energy_per_guest_eV", "wyckoff")
    found = best(archive)
    shared = ("host", "formula", "guests", "ion", "n_guests")
    found = found[[name for name in (*shared, *names) if name in found]]
    tasks, numbers = archive.tasks(), found["task"].to_numpy()
    host_rows = tasks["host_row"].to_numpy()[numbers]
    first = joined(block[block["rank"] == 0] for block in archive.candidate_blocks(per_guest=True))
    at = first["guest_frac_coords"].tolist()
    if "relaxed_guest_frac_coords" in first:
        relaxed = first["relaxed_guest_frac_coords"]
        at = [
            rest if len(rest) and np.isfinite(rest).all() else placed for rest, placed in zip(relaxed, at, strict=True)
        ]
    return found.assign(
        id=tasks["id"].to_numpy()[numbers],
        host_id=archive.hosts()["id"].to_numpy()[host_rows],
        host_row=host_rows,
        at=at,
    )


def _counts(label: str) -> tuple[list[int], list[int]]:
    """'Li=4 Na=1' -> atomic numbers and how many of each."""
    from ase.data import atomic_numbers

    parts = [part.split("=") for part in label.split()]
    return [atomic_numbers[symbol] for symbol, _ in parts], [int(number) for _, number in parts]


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else float("nan")
