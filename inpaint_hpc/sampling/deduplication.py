"""Finds samples of one host that are the same placement.

Two samples are equal when a symmetry operation of the host and a permutation of guests of one species put every guest
of one within `tolerance` of a guest of the other, periodic images included.  Samples are grouped like the frames of a
trajectory (the neighbour-count clustering of X. Daura et al., Angew. Chem. Int. Ed. 38, 236 (1999)): the sample with
most equals founds a cluster with them, both leave, and so on.  Unlike a first-come grouping it does not depend on the
order of the samples, and its centres are typical samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from inpaint_hpc.crystals.batch import Crystal

from .minimum_image import PeriodicCell

_NEAREST_HOSTS = 8  # distances per host species in a fingerprint
_CHUNK = 2_000_000  # distances held at once
_PAIRS = 20_000  # of samples, compared at once


@dataclass(frozen=True)
class SampleCluster:
    """Samples that are one placement.

    Attributes:
        representative: index of the member nearest to the mean of the members.
        members: indices of all members in increasing order, int64 (m,).
        agreement: m over the number of samples compared.
        spread: root mean square distance in A of the members' guests from their mean, after alignment.
    """

    representative: int
    members: np.ndarray
    agreement: float
    spread: float

    def __len__(self) -> int:
        return len(self.members)


def calibrated_agreement(agreement: float | np.ndarray, sharpness: float) -> float | np.ndarray:
    """Probability that the placement most samples agree on is correct, 1 - (1 - agreement)^sharpness.

    Agreement itself is an underestimate.  The sharpness was fitted to known structures and belongs to a set of weights.
    """
    return 1.0 - (1.0 - agreement) ** sharpness


def deduplicate(
    host: Crystal,
    guest_numbers: ArrayLike,
    frac_coords: np.ndarray,
    tolerance: float = 0.5,
    symprec: float = 0.1,
    operations: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[SampleCluster]:
    """Group equal samples, largest cluster first (ties: the cluster with the earliest sample).

    Args:
        host: the host crystal; not empty, because an empty host has every translation as a symmetry.
        guest_numbers: atomic numbers of the guests, (n,).
        frac_coords: fractional coordinates of S samples, (S, n, 3), wrapped or not.
        tolerance: largest distance in A between partners of equal samples.
        symprec: distance tolerance in A of the host's symmetry (spglib).
        operations: rotations int (O, 3, 3) and translations (O, 3) in fractional coordinates; found by spglib if None.

    Raises:
        ValueError: empty host, no guests, or a coordinate that is not finite.
    """
    matcher = _matcher(host, guest_numbers, frac_coords, tolerance, symprec, operations)
    if matcher is None:
        return []
    clusters = [_cluster(matcher, members) for members in group_equal(matcher.equal())]
    return sorted(clusters, key=lambda c: (-len(c), int(c.members[0])))


def equal_samples(
    host: Crystal, guest_numbers: ArrayLike, frac_coords: np.ndarray, tolerance: float = 0.5, symprec: float = 0.1
) -> np.ndarray:
    """Which of S samples are equal, bool (S, S), symmetric; arguments and errors as `deduplicate`."""
    matcher = _matcher(host, guest_numbers, frac_coords, tolerance, symprec)
    return np.zeros((0, 0), dtype=bool) if matcher is None else matcher.equal()


def _matcher(host, guest_numbers, frac_coords, tolerance, symprec, operations=None) -> _Matcher | None:
    """None without samples."""
    guest_numbers = np.asarray(guest_numbers, dtype=np.int64)
    if len(host) == 0 or len(guest_numbers) == 0:
        raise ValueError("deduplication needs host atoms and guests")
    frac_coords = np.asarray(frac_coords, dtype=np.float64).reshape(-1, len(guest_numbers), 3)
    if not np.isfinite(frac_coords).all():
        raise ValueError("a coordinate is not a finite number")
    if len(frac_coords) == 0:
        return None
    if operations is None:
        from inpaint_hpc.crystals.symmetry import symmetry_operations

        operations = symmetry_operations(host, symprec)
    return _Matcher(host, guest_numbers, frac_coords, tolerance, symprec, operations)


def guest_displacements(
    host: Crystal,
    guest_numbers: ArrayLike,
    reference: np.ndarray,
    frac_coords: np.ndarray,
    tolerance: float = 1.0,
    symprec: float = 0.1,
) -> list[np.ndarray | None]:
    """Displacements of guests from their correct positions, in the frame of the host and up to its symmetry.

    Args:
        host, guest_numbers, frac_coords, symprec: as `deduplicate`.
        reference: fractional coordinates of the right placement, (n, 3).
        tolerance: guests further apart than this, in A, are not partners.

    Returns:
        For each sample displacements in A from the nearest image of the reference, (n, 3), in the order of its guests
        (permuted within a species); None where there is no image with every guest within `tolerance`.

    Raises:
        ValueError: as `deduplicate`.
    """
    guest_numbers = np.asarray(guest_numbers, dtype=np.int64)
    if len(host) == 0 or len(guest_numbers) == 0:
        raise ValueError("displacements need host atoms and guests")
    from inpaint_hpc.crystals.symmetry import symmetry_operations

    samples = np.asarray(frac_coords, dtype=np.float64).reshape(-1, len(guest_numbers), 3)
    everyone = np.concatenate([np.asarray(reference, dtype=np.float64)[None], samples])
    if not np.isfinite(everyone).all():
        raise ValueError("a coordinate is not a finite number")
    matcher = _Matcher(host, guest_numbers, everyone, tolerance, symprec, symmetry_operations(host, symprec))
    found = matcher.match(0, np.arange(1, len(everyone)), tolerance)
    return [found.get(row) for row in range(1, len(everyone))]


class _Matcher:
    """Compares the samples of one host."""

    def __init__(self, host, guest_numbers, frac_coords, tolerance, symprec, operations) -> None:
        self.cell = PeriodicCell(host.lattice)
        self.samples = frac_coords
        self.tolerance = float(tolerance)
        self.rotations, self.translations = (np.asarray(part, dtype=np.float64) for part in operations)
        species, counts = np.unique(guest_numbers, return_counts=True)
        # The rarest species first: one of its guests is tried against all operations before the others are considered.
        self.species = [np.flatnonzero(guest_numbers == z) for z in species[np.argsort(counts, kind="stable")]]
        self.fingerprints = self._fingerprints(host)
        # An operation maps the host onto itself within symprec only, in positions and in the metric of its cell.
        self.slack = self.tolerance + 2.0 * symprec + 1e-6

    def __len__(self) -> int:
        return len(self.samples)

    def _fingerprints(self, host: Crystal) -> np.ndarray:
        """Sorted distances from guests to nearby host atoms, sorted over the guests of a species as well: (S, k).

        Symmetry operations and permutations leave them as they are, and moving every guest by at most d changes each
        by at most d: samples whose fingerprints differ by more cannot be equal.
        """
        distances = self.cell.distances(self.samples, host.frac_coords)
        columns = []
        for z in np.unique(host.numbers):
            nearest = np.sort(distances[:, :, host.numbers == z], axis=2)[:, :, :_NEAREST_HOSTS]
            columns += [np.sort(nearest[:, guests], axis=1).reshape(len(self), -1) for guests in self.species]
        return np.concatenate(columns, axis=1)

    def equal(self) -> np.ndarray:
        """Which samples are equal, bool (S, S), symmetric."""
        n = len(self)
        equal = np.eye(n, dtype=bool)
        if self.samples.shape[1] == 1:
            return equal | self._equal_places()
        rows = max(1, _PAIRS // n)
        for start in range(0, n, rows):
            centres = np.arange(start, min(start + rows, n))
            first, second = np.nonzero(np.arange(n) > centres[:, None])
            alike = np.abs(self.fingerprints[centres][first] - self.fingerprints[second]).max(axis=1) <= self.slack
            images = np.einsum("oij,snj->soni", self.rotations, self.samples[centres]) + self.translations[:, None]
            self._add_equal(equal[centres[0] :], images, first[alike], second[alike])
        return equal | equal.T

    def _add_equal(self, equal: np.ndarray, images: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
        """Mark the equal ones of pairs of samples: the first by its images (C, O, n, 3), row of `equal`."""
        n_operations, n = images.shape[1:3]
        rare = self.species[0]
        images_of_one = images[:, :, rare[0]]
        step = max(1, _CHUNK // (3 * n_operations * len(rare)))
        for start in range(0, len(first), step):
            rows, columns = first[start : start + step], second[start : start + step]
            near = self.cell.within(images_of_one[rows], self.samples[columns][:, rare], self.tolerance).any(axis=2)
            pairs, operations = np.nonzero(near)
            rows, columns = rows[pairs], columns[pairs]
            turned = rows * n_operations + operations
            fit = np.isfinite(self._squares(images.reshape(-1, n, 3), turned, columns, self.tolerance)[0])
            equal[rows[fit], columns[fit]] = True

    def _equal_places(self) -> np.ndarray:
        """The same of samples with one guest, but for the diagonal: all pairs together, and no one to assign."""
        equal = np.zeros((len(self), len(self)), dtype=bool)
        first, second = np.triu_indices(len(self), 1)
        alike = np.abs(self.fingerprints[first] - self.fingerprints[second]).max(axis=1) <= self.slack
        images = np.einsum("oij,sj->soi", self.rotations, self.samples[:, 0]) + self.translations
        step = max(1, _CHUNK // (27 * len(self.rotations)))
        first, second = first[alike], second[alike]
        for start in range(0, len(first), step):
            rows, columns = first[start : start + step], second[start : start + step]
            near = self.cell.within(images[rows], self.samples[columns], self.tolerance).any(axis=(1, 2))
            equal[rows[near], columns[near]] = True
        return equal | equal.T

    def match(self, centre: int, others: np.ndarray, tolerance: float) -> dict[int, np.ndarray]:
        """Samples among `others` equal to `centre`: index -> displacements in A, (n, 3).

        Displacements are those from the nearest image of the centre, turned back into the frame of the centre itself
        and ordered like its guests.
        """
        found: dict[int, np.ndarray] = {}
        for part, images, operations, columns in self._near(centre, others, tolerance):
            squares, partners = self._squares(images, operations, part[columns], tolerance)
            for column in np.unique(columns).tolist():
                rows = np.flatnonzero(columns == column)
                row = rows[int(squares[rows].argmin())]
                if np.isfinite(squares[row]):
                    found[int(part[column])] = self._back(images, operations[row], int(part[column]), partners[row])
        return found

    def _image(self, centre: int) -> np.ndarray:
        """Images of a sample under every operation, (O, n, 3)."""
        return np.einsum("oij,nj->oni", self.rotations, self.samples[centre]) + self.translations[:, None]

    def _near(self, centre: int, others: np.ndarray, tolerance: float) -> Iterator[tuple]:
        """Parts of `others`, and pairs of an operation and a member of the part whose rarest guest fits: the part,
        images of the centre, and operations and columns of the pairs, by column and then operation."""
        if len(others) == 0:
            return
        images = self._image(centre)
        per_sample = max(1, len(images) * len(self.species[0]))
        for part in np.array_split(others, max(1, -(-len(others) * per_sample // _CHUNK))):
            anchors = self.samples[part][:, self.species[0]]
            near = self.cell.within(images[:, self.species[0][0]], anchors.reshape(-1, 3), tolerance)
            columns, operations = np.nonzero(near.reshape(len(images), len(part), -1).any(axis=2).T)
            if len(columns):
                yield part, images, operations, columns

    def _squares(
        self, images: np.ndarray, operations: np.ndarray, others: np.ndarray, tolerance: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of squares of the best assignment of images under `operations` (P,) to samples `others` (P,), infinite
        where none fits, (P,), and partners of the guests, (P, n)."""
        pairs, n = len(operations), images.shape[1]
        squares, partners = np.zeros(pairs), np.zeros((pairs, n), dtype=np.int64)
        step = max(1, _CHUNK // (27 * n * n))
        for start in range(0, pairs, step):
            part = slice(start, start + step)
            self._add_squares(
                images[operations[part]], self.samples[others[part]], tolerance, squares[part], partners[part]
            )
        return squares, partners

    def _add_squares(self, images, samples, tolerance: float, squares: np.ndarray, partners: np.ndarray) -> None:
        for guests in self.species:
            distances = self.cell.distances(images[:, guests], samples[:, guests], tolerance)
            fits = distances <= tolerance
            possible = np.isfinite(squares)
            for axis in (1, 2):
                possible &= np.logical_and.reduce(np.logical_or.reduce(fits, axis=axis), axis=1)
            squares[~possible] = np.inf
            nearest = distances.argmin(axis=2)
            ordered = np.sort(nearest, axis=1)
            clear = possible & (np.diff(ordered, axis=1) > 0).all(axis=1)
            chosen = np.take_along_axis(distances, nearest[:, :, None], axis=2)[:, :, 0]
            squares[clear] += (chosen[clear] ** 2).sum(axis=1)
            partners[np.ix_(clear, guests)] = guests[nearest[clear]]
            for row in np.flatnonzero(possible & ~clear):
                assignment = _assign(distances[row], fits[row])
                if assignment is None:
                    squares[row] = np.inf
                    continue
                squares[row] += (distances[row][np.arange(len(guests)), assignment] ** 2).sum()
                partners[row, guests] = guests[assignment]

    def _back(self, images: np.ndarray, operation: int, other: int, partners: np.ndarray) -> np.ndarray:
        """Displacements (n, 3) from an image to a sample, in the frame of the centre, so that the members of a cluster
        can be averaged."""
        moved = self.cell.vectors(self.samples[other][partners] - images[operation])
        frac = moved @ np.linalg.inv(self.cell.lattice)
        return frac @ np.linalg.inv(self.rotations[operation]).T @ self.cell.lattice


def _assign(distances: np.ndarray, fits: np.ndarray) -> np.ndarray | None:
    """Partner of each row: the least sum of squares among assignments that fit; None if none does."""
    nearest = distances.argmin(axis=1)
    if len(np.unique(nearest)) == len(nearest):
        return nearest
    from scipy.optimize import linear_sum_assignment

    # A forbidden pair costs more than any allowed assignment.
    forbidden = 2.0 * len(distances) * float(distances[fits].max() ** 2 + 1.0)
    rows, columns = linear_sum_assignment(np.where(fits, distances**2, forbidden))
    return columns if fits[rows, columns].all() else None


def group_equal(equal: np.ndarray) -> list[np.ndarray]:
    """Split samples into clusters by neighbour count.

    Args:
        equal: which samples are equal, bool (S, S), symmetric, true on the diagonal.

    Returns:
        Indices of each cluster's members; the first is its centre, to which all others are equal.
    """
    free = np.ones(len(equal), dtype=bool)
    groups = []
    while free.any():
        counts = np.where(free, (equal & free).sum(axis=1), -1)
        centre = int(counts.argmax())
        members = np.flatnonzero(equal[centre] & free)
        groups.append(np.concatenate([[centre], members[members != centre]]))
        free[members] = False
    return groups


def _cluster(matcher: _Matcher, members: np.ndarray) -> SampleCluster:
    centre = int(members[0])
    # With a host that is symmetric only within symprec, a pair can be equal one way and just beyond the other way.
    matched = matcher.match(centre, members[1:], matcher.slack)
    aligned = [centre, *matched]
    displacements = np.stack([np.zeros(matcher.samples.shape[1:]), *matched.values()])
    from_mean = ((displacements - displacements.mean(axis=0)) ** 2).sum(axis=2).mean(axis=1)
    representative = aligned[int(from_mean.argmin())]
    spread = float(np.sqrt(from_mean.mean()))
    return SampleCluster(representative, np.sort(members), len(members) / len(matcher), spread)
