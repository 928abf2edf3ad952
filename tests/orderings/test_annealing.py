"""Annealing and the surrogate's features, to the last bit against the plain formulas, which take longer."""

import numpy as np
import pytest
from made_up_spaces import chain, grid, scattered

from inpaint_hpc.orderings.annealing import PROPOSALS, anneal, anneal_in_surrogate, random_orderings
from inpaint_hpc.orderings.ordering_space import ordering_space
from inpaint_hpc.orderings.surrogate_energy import CORE, COULOMB, CUTOFF, PERMITTIVITY, SCREENING, Surrogate


def plain_anneal(space, starts, energies, steps, hot, cold, seed, guide=None):
    rng = np.random.default_rng(seed)
    current = np.sort(starts, axis=1)
    energy = finite(energies(current))
    seen, values = [current], [energy]
    for step in range(steps):
        temperature = hot * (cold / hot) ** (step / max(1, steps - 1))
        if guide is None:
            moved = plain_move(space, current, rng)
        else:
            several = np.stack([plain_move(space, current, rng) for _ in range(PROPOSALS)], axis=1)
            weights = -finite(guide(several.reshape(-1, current.shape[1]))).reshape(len(current), -1) / temperature
            choice = (weights + rng.gumbel(size=weights.shape)).argmax(axis=1)
            moved = several[np.arange(len(current)), choice]
        value = finite(energies(moved))
        seen.append(moved)
        values.append(value)
        accepted = rng.random(len(current)) < np.exp(-np.clip(value - energy, 0.0, None) / temperature)
        current = np.where(accepted[:, None], moved, current)
        energy = np.where(accepted, value, energy)
    return np.concatenate(seen), np.concatenate(values)


def plain_move(space, current, rng):
    leaving = rng.integers(current.shape[1], size=(len(current),))
    score = rng.random((len(current), len(space)))
    moved = current.copy()
    for row, (ordering, k) in enumerate(zip(current, leaving, strict=True)):
        free = space.numbers == space.numbers[ordering[k]]
        free &= ~space.excluded[np.delete(ordering, k)].any(axis=0)
        free[ordering] = False
        if free.any():
            moved[row, k] = np.where(free, score[row], -1.0).argmax()
    return np.sort(moved, axis=1)


def finite(values):
    return np.where(np.isfinite(values), values, 1e6)


def spaces():
    """Sites of one element and of two that exclude their neighbours, without symmetry, and so few that some guests
    cannot move."""
    yield ordering_space([chain(24, spacing=1.2)]), {3: 6}
    yield ordering_space([chain(12, 3, spacing=1.2), chain(12, 11, spacing=1.2)]), {3: 2, 11: 2}
    yield ordering_space([scattered(40, seed=3)]), {3: 5}
    yield ordering_space([grid(2)]), {3: 7}
    yield ordering_space([chain(4, spacing=1.2)]), {3: 2}


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("guided", [False, True])
def test_annealing_takes_the_steps_of_the_plain_loop(case, guided):
    space, counts = list(spaces())[case]
    surrogate = Surrogate(space)
    starts = random_orderings(space, counts, 7, seed=1)

    def energies(orderings):
        values = surrogate.energies(orderings)
        return np.where(np.arange(len(values)) % 11 == 3, np.nan, values)  # some fail

    options = {"steps": 60, "hot": 0.5, "cold": 0.02, "seed": [2, 5], "guide": surrogate.energies if guided else None}
    found, plain = anneal(space, starts, energies, **options), plain_anneal(space, starts, energies, **options)
    assert len(starts) and all(a.tobytes() == b.tobytes() for a, b in zip(found, plain, strict=True))


@pytest.mark.parametrize("case", range(5))
def test_annealing_in_the_surrogate_takes_the_steps_of_the_plain_loop(case):
    """Energies are right to six decimals, also halfway between two numbers of six, and within rounding."""
    space, counts = list(spaces())[case]
    surrogate = Surrogate(space)
    for turn in range(3):
        starts = random_orderings(space, counts, 20, seed=turn)
        options = {"steps": 150, "hot": 0.5, "cold": 0.02, "seed": turn}
        orderings, energies = anneal_in_surrogate(surrogate, starts, **options)
        plain_orderings, plain = plain_anneal(space, starts, surrogate.energies, **options)
        assert np.array_equal(orderings, plain_orderings)
        assert np.abs(energies - plain).max() < 1e-11
        assert np.array_equal(np.round(energies, 6), np.round(plain, 6))
        # Another fit.
        surrogate.weights = surrogate.weights * np.random.default_rng(turn).uniform(0.5, 1.5, len(surrogate.weights))


def test_energies_halfway_between_two_numbers_of_six_decimals_are_computed():
    space, counts = next(spaces())
    surrogate = Surrogate(space)
    surrogate.pairs[:] = 0.0
    surrogate.weights[:-2] = 1.5e-6 / 6  # all orderings are halfway
    starts = random_orderings(space, counts, 4, seed=0)
    orderings, energies = anneal_in_surrogate(surrogate, starts, steps=50, seed=0)
    assert energies.tobytes() == surrogate.energies(orderings).tobytes()


@pytest.mark.parametrize("case", range(5))
def test_random_orderings_are_filled_site_by_site(case):
    space, counts = list(spaces())[case]
    rng = np.random.default_rng(6)
    expected = []
    for _ in range(200):
        free, taken = np.ones(len(space), dtype=bool), []
        for z in rng.permutation(np.repeat(list(counts), list(counts.values()))):
            noise = rng.gumbel(size=len(space))
            score = np.where(free & (space.numbers == z), np.log(np.maximum(space.occupancy, 1e-3)) + noise, -np.inf)
            if not np.isfinite(score.max()):
                break
            taken.append(score.argmax())
            free &= ~space.excluded[taken[-1]]
            free[taken[-1]] = False
        else:
            expected.append(sorted(taken))
    # Without a second try each failure is a chain less.
    assert random_orderings(space, counts, 200, seed=6, tries=1).tolist() == expected


@pytest.mark.parametrize("case", range(5))
def test_features_are_the_plain_sums(case):
    space, counts = list(spaces())[case]
    surrogate = Surrogate(space)
    # More than are computed at once; some that exclude each other, for which the sums are the same.
    any_sites = np.argsort(np.random.default_rng(3).random((1200, len(space))), axis=1)[:, :2]
    for orderings in (random_orderings(space, counts, 30, seed=2), any_sites, any_sites[:0]):
        taken = np.zeros((len(orderings), len(space)))
        np.put_along_axis(taken, orderings, 1.0, axis=1)
        counted = np.zeros((len(orderings), surrogate.n_orbits))
        np.add.at(counted.T, space.orbits, taken.T)
        sums = [0.5 * np.einsum("ms,ms->m", taken @ pair, taken) for pair in surrogate.pairs]
        plain = np.column_stack([counted, *sums])
        assert surrogate.features(orderings).tobytes() == plain.tobytes()
        assert surrogate.energies(orderings).tobytes() == (plain @ surrogate.weights).tobytes()


@pytest.mark.parametrize("case", range(5))
def test_pair_energies_are_the_plain_sums_over_images(case):
    space = list(spaces())[case][0]
    lattice = space.host.lattice
    reach = np.ceil(CUTOFF * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int) + 1
    shifts = np.array(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij")).reshape(3, -1).T
    frac = space.frac_coords - np.floor(space.frac_coords)
    difference = (frac[None] - frac[:, None]) @ lattice
    r = np.array([np.linalg.norm(difference + shift @ lattice, axis=-1) for shift in shifts])
    r[(r > CUTOFF) | (r < 1e-6)] = np.inf
    screened, core = np.where(np.isfinite(r), [np.exp(-r / SCREENING) / r, np.exp(-r / CORE)], 0.0).sum(axis=1)
    plain = np.stack([COULOMB / PERMITTIVITY * screened, 20.0 * core])  # all charges are one
    assert Surrogate(space).pairs.tobytes() == plain.tobytes()
