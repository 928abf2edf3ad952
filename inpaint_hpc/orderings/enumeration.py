"""Orderings of guests on the sites of a host, one of each symmetry-equivalent set.

Enumeration goes guest by guest: every ordering of k guests is one of k - 1 guests with a site added, and of
equivalent orderings under the host's operations one is kept before the next guest is added (orderly generation:
B. D. McKay, J. Algorithms 26, 306 (1998); for crystals G. L. W. Hart and R. W. Forcade, Phys. Rev. B 77, 224115
(2008)).  If these are too many, orderings that are unions of orbits of subgroups of the host's symmetry are found
directly, because crystals prefer orderings that keep some symmetry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from .ordering_space import OrderingSpace

LIMIT = 4_000  # orderings of one size; 4,000 of 6 guests on 48 sites under 48 operations take about a second
SUBGROUPS = 400  # subgroups whose orbits are combined
COMBINATIONS = 2_000  # orderings from one subgroup at most
_CHUNK = 4_000_000


class OrderingKeys:
    """Keys that are equal for symmetry-equivalent orderings.

    Every site has a 64-bit word; the key of an ordering is the sum of the words of its sites, smallest over all
    operations.  Up to 64 sites the words are bits and keys are exact; beyond they are random, and two different
    orderings share a key with a probability of 2**-64.

    Args:
        permutations: of the sites, by operation, int64 (O, S); they must be a group for the keys to be exact.
    """

    def __init__(self, permutations: np.ndarray) -> None:
        self.permutations = np.asarray(permutations, dtype=np.int64)
        n_sites = self.permutations.shape[1]
        if n_sites <= 64:
            self.words: np.ndarray = np.array([1 << site for site in range(n_sites)], dtype=np.uint64)
        else:
            self.words = np.random.default_rng(n_sites).integers(0, 2**64, (n_sites,), dtype=np.uint64)
        self._images = self.words[self.permutations]

    def plain(self, orderings: np.ndarray) -> np.ndarray:
        """Keys that only tell sets of sites apart, uint64 (M,), of orderings (M, n)."""
        return self.words[orderings].sum(axis=1, dtype=np.uint64)

    def __call__(self, orderings: np.ndarray) -> np.ndarray:
        """Keys of orderings (M, n), uint64 (M,)."""
        orderings = np.asarray(orderings, dtype=np.int64)
        keys = np.zeros(len(orderings), dtype=np.uint64)
        for part in self._parts(orderings):
            keys[part] = self._sums(orderings[part]).min(axis=0)
        return keys

    def symmetry(self, orderings: np.ndarray) -> np.ndarray:
        """Operations that leave each ordering (M, n) as it is, int64 (M,)."""
        orderings = np.asarray(orderings, dtype=np.int64)
        counts = np.zeros(len(orderings), dtype=np.int64)
        for part in self._parts(orderings):
            counts[part] = (self._sums(orderings[part]) == self.plain(orderings[part])).sum(axis=0)
        return counts

    def _parts(self, orderings: np.ndarray) -> Iterator[slice]:
        step = max(1, _CHUNK // len(self._images))
        return (slice(start, start + step) for start in range(0, len(orderings), step))

    def _sums(self, orderings: np.ndarray) -> np.ndarray:
        """Sums of the words of the images of orderings (M, n), uint64 (O, M)."""
        sums = np.zeros((len(self._images), len(orderings)), dtype=np.uint64)
        for sites in orderings.T:
            sums += self._images.take(sites, axis=1)
        return sums


def inequivalent_orderings(space: OrderingSpace, counts: Mapping[int, int], limit: int = LIMIT) -> np.ndarray | None:
    """Every ordering, one of each symmetry-equivalent set.

    Args:
        space: the sites.
        counts: atomic number -> guests.
        limit: maximum number of orderings at any stage of the enumeration.

    Returns:
        Sites of each ordering in increasing order, int64 (M, n); (0, n) where the sites exclude each other too much;
        None where the limit was exceeded.
    """
    n_guests = sum(counts.values())
    if any(len(space.sites_of(z)) < count for z, count in counts.items()):
        return np.zeros((0, n_guests), dtype=np.int64)
    keys = OrderingKeys(space.permutations)
    present = [z for z, count in sorted(counts.items()) if count]
    if len(present) == 1 and 2 * n_guests > len(space):
        return _by_vacancies(space, n_guests, keys, limit)
    orderings = np.zeros((1, 0), dtype=np.int64)
    for z in present:
        for _ in range(counts[z]):
            orderings = _one_of_each(_grow(space, orderings, space.sites_of(z)), keys)
            if len(orderings) > limit:
                return None
    return orderings


def _by_vacancies(space: OrderingSpace, n_guests: int, keys: OrderingKeys, limit: int) -> np.ndarray | None:
    """The same by enumerating the empty sites, which are fewer; exclusion can only be checked at the end."""
    sites = np.arange(len(space))
    vacancies = np.zeros((1, 0), dtype=np.int64)
    nothing = np.zeros_like(space.excluded)
    for _ in range(len(space) - n_guests):
        vacancies = _one_of_each(_grow(space, vacancies, sites, nothing), keys)
        if len(vacancies) > limit:
            return _by_exclusion(space, n_guests, keys, limit)
    taken = np.ones((len(vacancies), len(space)), dtype=bool)
    np.put_along_axis(taken, vacancies, False, axis=1)
    orderings = np.nonzero(taken)[1].reshape(len(vacancies), n_guests)
    return orderings[[space.allows(ordering) for ordering in orderings]]


def _by_exclusion(space: OrderingSpace, n_guests: int, keys: OrderingKeys, limit: int) -> np.ndarray | None:
    """Guest by guest after all: dense networks have many sites but, by exclusion, few orderings."""
    orderings = np.zeros((1, 0), dtype=np.int64)
    sites = np.arange(len(space))
    for _ in range(n_guests):
        orderings = _one_of_each(_grow(space, orderings, sites), keys)
        if len(orderings) > limit:
            return None
    return orderings


def _grow(
    space: OrderingSpace, orderings: np.ndarray, sites: np.ndarray, excluded: np.ndarray | None = None
) -> np.ndarray:
    """Every ordering with every allowed site added, sites in increasing order, without repeats."""
    excluded = space.excluded if excluded is None else excluded
    free = np.ones((len(orderings), len(space)), dtype=bool)
    if orderings.shape[1]:
        free = ~excluded[orderings].any(axis=1)
        np.put_along_axis(free, orderings, False, axis=1)
    rows, added = np.nonzero(free[:, sites])
    grown = np.sort(np.concatenate([orderings[rows], sites[added][:, None]], axis=1), axis=1)
    if len(space) ** grown.shape[1] >= 2**63:
        return np.unique(grown, axis=0)
    # Numbers whose digits are the sites are in the same order as the rows, and much faster to sort.
    numbers = np.zeros(len(grown), dtype=np.int64)
    for column in grown.T:
        numbers = numbers * len(space) + column
    return grown[np.unique(numbers, return_index=True)[1]]


def _one_of_each(orderings: np.ndarray, keys: OrderingKeys) -> np.ndarray:
    _, first = np.unique(keys(orderings), return_index=True)
    return orderings[np.sort(first)]


def symmetric_orderings(
    space: OrderingSpace,
    counts: Mapping[int, int],
    seed: int = 0,
    subgroups: int = SUBGROUPS,
    limit: int = LIMIT,
) -> np.ndarray:
    """Orderings that are unions of orbits of a subgroup of the host's symmetry: the group itself and its subgroups of
    one and two generators.

    Args:
        space: the sites.
        counts: atomic number -> guests.
        seed: seed of the choice of pairs of generators, if there are more than `subgroups`.
        subgroups: maximum number of subgroups considered.
        limit: maximum number of orderings.

    Returns:
        Sites in increasing order, int64 (M, n), one ordering of each kind; the most symmetric groups' first.
    """
    n_guests = sum(counts.values())
    keys = OrderingKeys(space.permutations)
    known: set[int] = set()
    found: list[np.ndarray] = []
    for labels in _partitions(space.permutations, seed, subgroups):
        orderings = np.array(list(_unions(space, labels, counts)), dtype=np.int64).reshape(-1, n_guests)
        for key, ordering in zip(keys(orderings).tolist(), orderings, strict=True):
            if key not in known:
                known.add(key)
                found.append(ordering)
        if len(found) >= limit:
            break
    return np.array(found[:limit], dtype=np.int64).reshape(-1, n_guests)


def _partitions(permutations: np.ndarray, seed: int, subgroups: int) -> Iterator[np.ndarray]:
    """Orbits of sites under subgroups, as labels (S,); each partition once, fewest orbits first."""
    n_operations, n_sites = permutations.shape
    # The whole group first, then pairs of generators; of equal ones a single generator.
    pairs = np.array([(i, j) for i in range(n_operations) for j in range(i)], dtype=np.int64).reshape(-1, 2)
    rng = np.random.default_rng([seed, n_operations, n_sites])
    if n_operations + len(pairs) > subgroups:
        picked = rng.permutation(len(pairs))[: max(0, subgroups - n_operations)]
        pairs = pairs[np.sort(picked)]
    single = np.arange(min(n_operations, subgroups))
    generators = np.concatenate([np.stack([single, single], axis=1), pairs])
    found = np.concatenate([_orbits(permutations[None]), _orbits(permutations[generators])])
    partitions = {labels.tobytes(): labels for labels in found}
    yield from sorted(partitions.values(), key=lambda labels: (int(labels.max(initial=0)), labels.tolist()))


def _orbits(generators: np.ndarray) -> np.ndarray:
    """Orbits of sites under permutations (K, G, S) that generate K groups: labels (K, S), numbered by first site."""
    n_groups, _, n_sites = generators.shape
    rows = np.arange(n_groups)[:, None, None]
    lowest = np.tile(np.arange(n_sites), (n_groups, 1))  # site of the orbit, as far as it is known
    while True:
        before = lowest.copy()
        np.minimum(lowest, lowest[rows, generators].min(axis=1), out=lowest)
        np.minimum.at(lowest, (rows, generators), before[:, None])
        lowest = np.take_along_axis(lowest, lowest, axis=1)
        if np.array_equal(lowest, before):
            break
    first = lowest == np.arange(n_sites)
    return np.take_along_axis(np.cumsum(first, axis=1) - 1, lowest, axis=1)


def _unions(space: OrderingSpace, labels: np.ndarray, counts: Mapping[int, int]) -> Iterator[np.ndarray]:
    """Unions of orbits with the right number of guests of each element, at most `COMBINATIONS`."""
    orbits = [np.flatnonzero(labels == label) for label in range(int(labels.max(initial=-1)) + 1)]
    orbits = [
        sites for sites in orbits if space.allows(sites) and len(sites) <= counts.get(int(space.numbers[sites[0]]), 0)
    ]
    # Well-occupied orbits first, if there are more unions than are considered.
    orbits.sort(key=lambda sites: (-round(float(space.occupancy[sites[0]]), 6), int(sites[0])))
    taken = np.zeros((len(orbits), len(space)), dtype=np.float32)
    for k, sites in enumerate(orbits):
        taken[k, sites] = 1.0
    excluded = [
        int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")
        for row in taken @ space.excluded.astype(np.float32) @ taken.T > 0
    ]  # orbits as bits
    elements = [int(space.numbers[sites[0]]) for sites in orbits]
    sizes = [len(sites) for sites in orbits]
    missing = {int(z): int(count) for z, count in counts.items() if count}
    produced = 0
    visited = 0
    stack: list[tuple[int, tuple[int, ...], int, dict[int, int]]] = [(0, (), 0, missing)]
    while stack and produced < COMBINATIONS and visited < 20 * COMBINATIONS:
        start, chosen, bits, left = stack.pop()
        visited += 1
        if not any(left.values()):
            produced += 1
            yield np.sort(np.concatenate([orbits[k] for k in chosen]))
            continue
        options = []
        for k in range(start, len(orbits)):
            still = left.get(elements[k], 0) - sizes[k]
            if still >= 0 and not excluded[k] & bits:
                options.append((k + 1, (*chosen, k), bits | 1 << k, {**left, elements[k]: still}))
        stack += reversed(options)


def distinct(orderings: Iterable[np.ndarray], keys: OrderingKeys) -> list[np.ndarray]:
    """The first ordering of each kind, in their order."""
    known: set[int] = set()
    kept = []
    for ordering in orderings:
        key = int(keys(np.asarray(ordering)[None])[0])
        if key not in known:
            known.add(key)
            kept.append(np.asarray(ordering, dtype=np.int64))
    return kept
