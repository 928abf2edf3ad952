"""Hosts x guests: expands the cases of a configuration into tasks for a table of hosts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from inpaint_hpc.campaign.config import MAX_COUNT, ColumnCount, ColumnGuests, GuestCase, Supercell
from inpaint_hpc.crystals.supercells import MAX_ATOMS
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.contact_distances import PACKING, contact_radii, require_room
from inpaint_hpc.sampling.tasks import guest_numbers

from .host_sources import Excluded, column_of
from .host_table import HostTable


@dataclass(frozen=True, eq=False)
class TaskBlock:
    """Tasks with equal guests.

    Attributes:
        hosts: the table that `rows` refers to.
        rows: host of each task, int64 (R,).
        guests: sorted atomic numbers.
        samples: valid samples per task.
        references: where the guests were before they were removed, fractional coordinates (R, n_guests, 3); None
            where guests are new.
    """

    hosts: HostTable
    rows: np.ndarray
    guests: tuple[int, ...]
    samples: int
    references: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.rows)


def expand(hosts: HostTable, case: GuestCase, samples: int, excluded: Excluded) -> Iterator[TaskBlock]:
    """Tasks of one case, without those that the pipeline would refuse.

    Args:
        hosts: the hosts.
        case: what to place in them.
        samples: samples per task, unless set by the case.
        excluded: records what cannot be placed.

    Raises:
        InputError: a column is missing or does not hold a number of guests, or a supercell is too large.
    """
    samples = samples if case.samples is None else case.samples
    if case.supercell is not None:
        hosts = supercells(hosts, case.supercell)
    for block in _blocks(hosts, case, samples, excluded):
        rows, references = block.rows, block.references
        fits = _have_room(block, excluded)
        if fits.all():
            yield block
        elif fits.any():
            references = None if references is None else references[fits]
            yield TaskBlock(block.hosts, rows[fits], block.guests, samples, references)


def _blocks(hosts: HostTable, case: GuestCase, samples: int, excluded: Excluded) -> Iterator[TaskBlock]:
    if case.place is not None:
        yield from _placed(hosts, case.place, samples, excluded)
    elif case.from_columns is not None:
        species = _species(hosts, case.from_columns.species)
        counts = _counts(hosts, case.from_columns.count)
        excluded.add("hosts with 0 guests in their column", int((counts == 0).sum()))
        for z, count in np.unique(np.stack([species, counts], axis=1)[counts > 0], axis=0):
            rows = np.flatnonzero((species == z) & (counts == count))
            yield TaskBlock(hosts, rows, (int(z),) * int(count), samples)
    elif case.remove_last is not None:
        yield from _last_removed(hosts, case.remove_last, samples, excluded)
    else:
        for element in case.remove:
            yield from _removed(hosts, element, samples, excluded)


def _placed(hosts: HostTable, place: dict, samples: int, excluded: Excluded) -> Iterator[TaskBlock]:
    """One task for each host and each combination of counts."""
    options = [
        [_counts(hosts, count.column)] if isinstance(count, ColumnCount) else [np.full(len(hosts), n) for n in count]
        for count in place.values()
    ]
    for combination in product(*options):
        counts = np.stack(combination, axis=1)
        some = counts.sum(axis=1) > 0
        if any(isinstance(count, ColumnCount) for count in place.values()):
            excluded.add("hosts with 0 guests in their column", int((~some).sum()))
        for wanted in np.unique(counts[some], axis=0):
            rows = np.flatnonzero((counts == wanted).all(axis=1))
            guests = guest_numbers(dict(zip(place, (int(n) for n in wanted), strict=True)))
            yield TaskBlock(hosts, rows, guests, samples)


def _removed(hosts: HostTable, element: str, samples: int, excluded: Excluded) -> Iterator[TaskBlock]:
    """Remove all atoms of an element, to be placed again."""
    z = guest_numbers([element])[0]
    counts = hosts.count(z)
    excluded.add(f"hosts without {element} to remove", int((counts == 0).sum()))
    alone = counts == hosts.n_atoms
    excluded.add(f"hosts of nothing but {element}", int(alone.sum()))
    rows = np.flatnonzero((counts > 0) & ~alone)
    if not len(rows):
        return
    full = hosts.take(rows)
    empty, counts = full.without(z), counts[rows]
    for count in np.unique(counts).tolist():
        chosen = np.flatnonzero(counts == count)
        taken = full.take(chosen)
        references = taken.frac_coords[taken.numbers == z].reshape(len(chosen), count, 3)
        yield TaskBlock(empty, chosen, (z,) * count, samples, references)


def _last_removed(hosts: HostTable, columns: ColumnGuests, samples: int, excluded: Excluded) -> Iterator[TaskBlock]:
    """Remove the last atoms of each host, as many of one species as its columns say, to be placed again."""
    species, counts = _species(hosts, columns.species), _counts(hosts, columns.count)
    excluded.add("hosts with 0 guests in their column", int((counts == 0).sum()))
    excluded.add("hosts of nothing but their guests", int((counts >= hosts.n_atoms).sum()))
    good = (counts > 0) & (counts < hosts.n_atoms)
    for z, count in np.unique(np.stack([species, counts], axis=1)[good], axis=0).tolist():
        rows = np.flatnonzero(good & (species == z) & (counts == count))
        last = hosts.offsets[rows + 1][:, None] - np.arange(count, 0, -1)
        other = (hosts.numbers[last] != z).any(axis=1)
        if other.any():
            name = hosts.names[int(rows[other.argmax()])]
            raise InputError(f"{name}: its last {count} atoms are not the guests that its columns name")
        chosen = hosts.take(rows)
        empty = chosen.without_last(count)
        yield TaskBlock(empty, np.arange(len(rows)), (z,) * count, samples, hosts.frac_coords[last])


def _have_room(block: TaskBlock, excluded: Excluded) -> np.ndarray:
    """Which tasks `require_room` passes, bool (R,)."""
    hosts, rows = block.hosts, block.rows
    radii = contact_radii(np.array(block.guests))
    spheres = float((4.0 / 3.0 * np.pi * radii**3).sum())
    packed = (hosts.contact_volumes[rows] + spheres) / hosts.volumes[rows] > PACKING
    thin = ~packed & (hosts.shortest[rows] < 2.0 * radii.max())
    for reason, bad in (("no room for the guests", packed), ("cell thinner than a guest", thin)):
        if bad.any():
            example = ""
            if reason not in excluded.examples:
                try:
                    require_room(hosts[int(rows[bad.argmax()])], np.array(block.guests))
                except InputError as error:
                    example = str(error)
            excluded.add(reason, int(bad.sum()), example)
    return ~packed & ~thin


def _counts(hosts: HostTable, name: str) -> np.ndarray:
    """A column as numbers of guests, int64 (H,)."""
    values = column_of(hosts, name).tolist()
    for row, value in enumerate(values):
        whole = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
        if not (whole and 0 <= value <= MAX_COUNT):
            raise InputError(
                f"{hosts.names[row]}: its column '{name}' holds {value!r}, which is not a number of guests "
                f"(0 to {MAX_COUNT}); filter such hosts with 'where'"
            )
    return np.array(values, dtype=np.int64)


def _species(hosts: HostTable, name: str) -> np.ndarray:
    """A column of symbols or atomic numbers as atomic numbers, int64 (H,)."""
    numbers = {}
    values = column_of(hosts, name).tolist()
    for row, value in enumerate(values):
        if value not in numbers:
            try:
                numbers[value] = guest_numbers([value])[0]
            except InputError as error:
                raise InputError(f"{hosts.names[row]}: its column '{name}': {error}") from None
    return np.array([numbers[value] for value in values], dtype=np.int64)


def supercells(hosts: HostTable, supercell: Supercell) -> HostTable:
    """Each host repeated; atoms cell by cell in the host's order, names with '_2x2x1' added.

    Raises:
        InputError: more than `MAX_ATOMS` atoms.
    """
    if supercell.repeat is not None:
        repeats = np.tile(np.array(supercell.repeat), (len(hosts), 1))
    else:
        # The tolerance keeps a width of 8.999999 from being doubled for 9.
        repeats = np.maximum(1, np.ceil(supercell.min_width / hosts.widths - 1e-3)).astype(np.int64)
    cells = repeats.prod(axis=1)
    n_atoms = hosts.n_atoms * cells
    if n_atoms.max(initial=0) > MAX_ATOMS:
        row = int(n_atoms.argmax())
        times = "x".join(map(str, repeats[row]))
        raise InputError(
            f"{hosts.names[row]}: a {times} supercell has {n_atoms[row]} atoms (at most {MAX_ATOMS}); make it smaller"
        )
    numbers, coords = [], []
    for row, repeat in enumerate(repeats):
        atoms = slice(*hosts.offsets[row : row + 2])
        shifts = np.array(list(product(*map(range, repeat))), dtype=np.float64)
        numbers.append(np.tile(hosts.numbers[atoms], len(shifts)))
        coords.append(((shifts[:, None] + hosts.frac_coords[atoms]) / repeat).reshape(-1, 3))
    names = [
        name if repeat.prod() == 1 else f"{name}_{'x'.join(map(str, repeat))}"
        for name, repeat in zip(hosts.names, repeats, strict=True)
    ]
    return HostTable(
        names,
        n_atoms,
        np.concatenate(numbers),
        np.concatenate(coords),
        hosts.lattice * repeats[:, :, None],
        hosts.columns,
    )
