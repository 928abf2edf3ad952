"""Symmetry of a host, and of a site in it."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

# A cell relaxed by DFT is symmetric to a few hundredths of an angstrom; spglib's own 1e-5 would call most of them P1.
SYMPREC = 0.05
# Images of a position that lies exactly on a symmetry element, up to spglib's rounding, in A.
_SAME_SITE = 0.01
# Images of a position this close to it, in A: it is on the element, up to rounding.
_ON_ELEMENT = 1e-7
# Of the tolerance: a crystal this close to a symmetric one has no symmetry that hinges on the difference.
_EXACT = 0.001
# First of the atomic numbers that no host contains, for atoms that only mark a site.
_MARKER = 119


def symmetry_operations(crystal: Crystal, symprec: float = SYMPREC) -> tuple[np.ndarray, np.ndarray]:
    """Operations that map the crystal onto itself, in its own cell and setting, pure translations included.

    A fractional position x goes to `rotation @ x + translation`.

    Args:
        crystal: the crystal; the cell need not be primitive nor standard.
        symprec: distance in A within which atoms count as mapped.

    Returns:
        Rotations, int64 (n, 3, 3), and translations, float64 (n, 3); the identity alone where spglib finds nothing.
    """
    dataset = _dataset(crystal, symprec)
    if dataset is None:
        return np.eye(3, dtype=np.int64)[None], np.zeros((1, 3))
    return np.asarray(dataset.rotations, dtype=np.int64), np.asarray(dataset.translations, dtype=np.float64)


def spacegroup_symbol(crystal: Crystal, symprec: float = SYMPREC) -> str:
    """International short symbol such as `Fd-3m`; `P1` where spglib finds nothing."""
    dataset = _dataset(crystal, symprec)
    return "P1" if dataset is None else dataset.international


def site_orbit(host: Crystal, frac_position: np.ndarray, symprec: float = SYMPREC, tol: float = 0.5) -> np.ndarray:
    """Positions equivalent to one position under the host's operations.

    A position within `tol` of a symmetry element is moved onto it first: a sampled Li 0.1 A off a mirror plane sits on
    that plane.

    Args:
        host: the host, without the guest.
        frac_position: fractional coordinates (3,).
        symprec: as `symmetry_operations`.
        tol: images closer than this, in A, are one site.

    Returns:
        Fractional coordinates in [0, 1), (multiplicity in the host's cell, 3); the first is the position itself, moved.
    """
    operations = symmetry_operations(host, symprec)
    return orbit_under(host.lattice, operations, onto_symmetry_elements(host.lattice, operations, frac_position, tol))


def site_multiplicity(host: Crystal, frac_position: np.ndarray, symprec: float = SYMPREC, tol: float = 0.5) -> int:
    """Number of positions in the host's cell equivalent to one position; arguments as `site_orbit`."""
    return len(site_orbit(host, frac_position, symprec, tol))


class Wyckoff(NamedTuple):
    """A Wyckoff position, in the conventional cell.

    Attributes:
        multiplicity: positions in the conventional cell.
        letter: Wyckoff letter; None where the space group cannot be found.
    """

    multiplicity: int
    letter: str | None

    def __str__(self) -> str:
        return f"{self.multiplicity}{self.letter or ''}"


def wyckoff_label(host: Crystal, frac_position: np.ndarray, symprec: float = SYMPREC, tol: float = 0.5) -> Wyckoff:
    """Wyckoff position of a guest in a host, e.g. (8, 'a') for Li in spinel; arguments as `site_orbit`.

    The multiplicity counts in the conventional cell, `site_multiplicity` in the host's own.  Letters refer to the
    standard setting that spglib gives the host alone, so that all guests of one host are named alike; where a space
    group has several equivalent origins, another cell of the same crystal may get the other letter (8b for 8a).
    """
    return wyckoff_labels(host, site_orbit(host, frac_position, symprec, tol)[:1], symprec)[0]


def wyckoff_labels(host: Crystal, frac_positions: np.ndarray, symprec: float = SYMPREC) -> list[Wyckoff]:
    """As `wyckoff_label` for positions (n, 3) of different orbits, each exactly on its symmetry elements."""
    frac_positions = np.asarray(frac_positions, dtype=np.float64).reshape(-1, 3)
    dataset = _dataset(host, symprec)
    if dataset is None:
        return [Wyckoff(1, None) for _ in frac_positions]
    # In the standard cell spglib keeps the origin when guests are added; in another cell it may pick the other one of
    # two equivalent origins, and name the same site 8a in one call and 8b in the next.
    standard = Crystal(dataset.std_types, dataset.std_positions, dataset.std_lattice)
    moved = frac_positions @ dataset.transformation_matrix.T + dataset.origin_shift
    operations, alone = _of_standard_cell(host, standard, dataset, symprec)
    at_rest = (onto_symmetry_elements(standard.lattice, operations, place, 2 * symprec) for place in moved)
    orbits = [orbit_under(standard.lattice, operations, place) for place in at_rest]
    letters = _wyckoff_letters(standard, alone, orbits, symprec)
    return [Wyckoff(len(orbit), letter) for orbit, letter in zip(orbits, letters, strict=True)]


def _of_standard_cell(
    host: Crystal, standard: Crystal, dataset: Any, symprec: float
) -> tuple[tuple[np.ndarray, np.ndarray], list[str]]:
    """What spglib finds in the standard cell of a host: operations, and Wyckoff letters of its atoms.

    In a host that is as symmetric as its standard cell it finds the same again, and need not be asked: one call of it
    takes up to 20 ms.  In others, which it made symmetric by up to its tolerance, it may now find more.
    """
    import spglib

    known = spglib.get_symmetry_from_database(dataset.hall_number)
    if known is not None and _deviation(host, standard, dataset) <= _EXACT * symprec:
        letter_of = dict(zip(dataset.mapping_to_primitive.tolist(), dataset.wyckoffs, strict=True))
        rotations, translations = np.asarray(known["rotations"], dtype=np.int64), known["translations"]
        return (rotations, translations), [letter_of[atom] for atom in dataset.std_mapping_to_primitive.tolist()]
    found = _dataset(standard, symprec)
    return symmetry_operations(standard, symprec), [] if found is None else list(found.wyckoffs)


def _deviation(host: Crystal, standard: Crystal, dataset: Any) -> float:
    """How far atoms and cell of a host are from those of its standard cell, A."""
    change = dataset.transformation_matrix
    lattice = np.linalg.inv(change).T @ host.lattice
    metrics = lattice @ lattice.T - standard.lattice @ standard.lattice.T
    apart = (host.frac_coords @ change.T + dataset.origin_shift)[:, None] - standard.frac_coords
    apart = (apart - np.rint(apart)) @ standard.lattice
    squared = np.einsum("ijk,ijk->ij", apart, apart)
    squared[dataset.mapping_to_primitive[:, None] != dataset.std_mapping_to_primitive] = np.inf
    stretch = np.abs(metrics).max() / np.sqrt(np.einsum("ij,ij->i", standard.lattice, standard.lattice).min())
    return max(float(np.sqrt(squared.min(axis=1).max())), float(stretch))


def _wyckoff_letters(standard: Crystal, alone: list[str], orbits: list[np.ndarray], symprec: float) -> list[str | None]:
    """Letters of orbits in a crystal in its standard cell, whose atoms have letters `alone`; None if adding the orbit
    changes what spglib finds."""
    if not orbits:
        return []
    n, counts = len(standard), [len(orbit) for orbit in orbits]
    markers = np.repeat(_MARKER + np.arange(len(orbits)), counts)
    filled = _dataset(standard.with_guests(markers, np.concatenate(orbits)), symprec)
    if filled is None or list(filled.wyckoffs[:n]) != alone:
        if len(orbits) == 1:
            return [None]
        # One failing orbit must not prevent naming the others.
        return [_wyckoff_letters(standard, alone, [orbit], symprec)[0] for orbit in orbits]
    parts = np.split(np.array(filled.wyckoffs[n:]), np.cumsum(counts)[:-1])
    return [str(part[0]) if len(set(part)) == 1 else None for part in parts]


def _dataset(crystal: Crystal, symprec: float) -> Any:
    """spglib's dataset, or None; the last crystals are remembered, because every guest asks for its host."""
    # spglib ends the process with a segmentation fault on NaN.
    if len(crystal) == 0 or not (np.isfinite(crystal.lattice).all() and np.isfinite(crystal.frac_coords).all()):
        return None
    lattice, frac_coords = (np.asarray(part, dtype=np.float64) for part in (crystal.lattice, crystal.frac_coords))
    return _dataset_of(
        lattice.tobytes(), frac_coords.tobytes(), np.asarray(crystal.numbers, np.int64).tobytes(), symprec
    )


@lru_cache(maxsize=256)
def _dataset_of(lattice: bytes, frac_coords: bytes, numbers: bytes, symprec: float) -> Any:
    import spglib

    cell: Any = (
        np.frombuffer(lattice).reshape(3, 3),
        np.frombuffer(frac_coords).reshape(-1, 3),
        np.frombuffer(numbers, dtype=np.int64),
    )
    try:
        return spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception as error:
        # Newer releases raise this where older ones return None; both mean that no symmetry was found.
        if type(error).__module__.split(".")[0] == "spglib":
            return None
        raise


def orbit_under(lattice: np.ndarray, operations: tuple[np.ndarray, np.ndarray], position: np.ndarray) -> np.ndarray:
    """The different images of a position (3,) that lies exactly on the symmetry elements it is on.

    Args:
        lattice: rows a, b, c in A, (3, 3).
        operations: rotations (n, 3, 3) and translations (n, 3) of a group, as from `symmetry_operations`.

    Returns:
        Fractional coordinates in [0, 1), (m, 3); the first is the position itself.
    """
    images = operations[0] @ position + operations[1]
    sites = []
    while len(images):
        sites.append(images[0])
        # Of images this near each other the difference wrapped in any cell is the shortest one.
        apart = images - images[0]
        apart = (apart - np.rint(apart)) @ lattice
        images = images[(apart * apart).sum(axis=1) >= _SAME_SITE**2]
    orbit = np.array(sites)
    orbit -= np.floor(orbit)
    return np.where(orbit == 1.0, 0.0, orbit)  # -1e-17 - floor(-1e-17) is 1


def onto_symmetry_elements(
    lattice: np.ndarray, operations: tuple[np.ndarray, np.ndarray], position: np.ndarray, tol: float
) -> np.ndarray:
    """The position (3,) moved onto every symmetry element that has it closer than `tol` to its image, nearest first.

    Averaging over all images within `tol` at once would not do: they need not be a group, and their mean would then
    lie on no element.  Arguments as `orbit_under`, `tol` in A.
    """
    rotations, translations = operations
    position = np.asarray(position, dtype=np.float64)
    stabilizer = [(np.eye(3, dtype=np.int64), np.zeros(3))]
    tried: set[int] = set()
    while True:
        images = rotations @ position + translations
        shifts, distances = _shortest(lattice, position, images)
        order = np.argsort(distances)
        near = order[(distances[order] >= _ON_ELEMENT) & (distances[order] < tol)].tolist()
        nearest = next((i for i in near if i not in tried), None)
        if nearest is None:
            return position
        tried.add(nearest)
        # The operation with the lattice translation that brings the image next to the position.
        operation = rotations[nearest], position + shifts[nearest] - rotations[nearest] @ position
        group = _point_group([*stabilizer, operation])
        if group is None:
            continue
        stabilizer = group
        position = np.mean([rotation @ position + translation for rotation, translation in group], axis=0)


def _point_group(generators: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """The group that operations generate; None when it holds a pure translation, so that nothing is fixed by all."""
    group: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    queue = list(generators)
    while queue:
        rotation, translation = queue.pop()
        known = group.get(key := rotation.tobytes())
        if known is not None:
            x, y, z = (known[1] - translation).tolist()
            if max(x, y, z, -x, -y, -z) > 0.05:
                return None
            continue
        group[key] = rotation, translation
        for r, t in list(group.values()):
            queue += [(rotation @ r, rotation @ t + translation), (r @ rotation, r @ translation + t)]
    return list(group.values())


def _shortest(lattice: np.ndarray, origin: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shortest vectors from one position to the images of others: fractional (n, 3), and their lengths in A (n,)."""
    find, cell, inverse = _of_lattice(np.asarray(lattice, dtype=np.float64).tobytes())
    vectors, squared = find(cell, origin[None], others, return_d2=True)
    return vectors[0] @ inverse, np.sqrt(squared[0])


@lru_cache(maxsize=256)
def _of_lattice(lattice: bytes) -> tuple[Any, Any, np.ndarray]:
    """What `_shortest` needs of a lattice; importing and making it takes three times as long as using it."""
    from pymatgen.core import Lattice
    from pymatgen.util.coord import pbc_shortest_vectors

    class Remembering(Lattice):
        """A lattice that does not invert its way to the reduced cell for every point."""

        lll_inverse = cached_property(lambda self: np.linalg.inv(self.lll_mapping))

    rows = np.frombuffer(lattice).reshape(3, 3).copy()
    return pbc_shortest_vectors, Remembering(rows), np.linalg.inv(rows)
