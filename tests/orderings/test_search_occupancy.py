"""The search for several guests: in the pipeline, by itself, and where there is nothing to find."""

from dataclasses import replace

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.campaign.task_records import done_record, results_of
from inpaint_hpc.campaign.task_tables import CampaignTask
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.orderings.enumeration import OrderingKeys, inequivalent_orderings
from inpaint_hpc.orderings.evaluation_budget import evaluation_budget
from inpaint_hpc.orderings.lockstep import Search, driven, in_lockstep
from inpaint_hpc.orderings.ordering_search import OrderingSearchResult
from inpaint_hpc.orderings.ordering_space import ordering_space
from inpaint_hpc.orderings.search_occupancy import (
    ORBITS,
    ORDERING,
    SearchSettings,
    _best_different,
    _energies,
    _search_levels,
    search_levels,
    site_levels,
)
from inpaint_hpc.pipeline.inpaint import inpaint, run_tasks
from inpaint_hpc.pipeline.results import Candidate
from inpaint_hpc.pipeline.settings import PipelineSettings, settings_that_decide
from inpaint_hpc.pipeline.shortlist import shortlist
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.deduplication import equal_samples
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluator, evaluate
from inpaint_hpc.scoring.chgnet.models import load_chgnet_network as load_chgnet
from inpaint_hpc.sites.clustering import networks_from_positions

SITES_8A = np.array([[0.125] * 3, [0.875] * 3])
SITES_16C = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
FAST = {"samples": 3, "steps": 12, "evaluations": 6}


@pytest.fixture(scope="module")
def network():
    return load_network(None)


@pytest.fixture(scope="module")
def two_lithium(network):
    """The default strategy, and the stages it went through."""
    stages = []
    return inpaint(network, SPINEL, {"Li": 2}, progress=lambda stage, *_: stages.append(stage), **FAST), stages


def found_by_search(task, positions, evaluations=40, **settings):
    """Search on the sites that given positions of each element make."""
    levels = site_levels(task, positions, np.zeros((0, len(task.guests), 3)))
    evaluator = BatchEvaluator(load_chgnet("0.3.0", "cpu"), "e")
    return search_levels(task, levels, evaluator, SearchSettings(evaluations, **settings))


def test_several_guests_take_whole_orbits_and_the_lowest_comes_first():
    task = Task(SPINEL, {"Li": 2})
    found = found_by_search(task, {3: np.concatenate([SITES_8A, SITES_16C])})
    # Two on 8a, two on 16c, one each: next to each other they exclude each other or not.
    assert found.origins[0] == ORBITS and found.complete
    assert found.sites[0] == {3: 6} and found.evaluations <= 40
    assert (np.diff(found.energies) >= 0).all()
    placed = [SPINEL.with_guests(task.guests, coords) for coords in found.frac_coords]
    assert evaluate(placed, what="e").energies.numpy() == pytest.approx(found.energies, abs=1e-3)
    # Filled 8a sites are LiMn2O4.
    first = {tuple(np.round(p % 1.0, 2)) for p in found.frac_coords[0]}
    assert len(first) == 2 and all(len(set(p)) == 1 for p in first)


def test_two_elements_share_the_sites():
    task = Task(SPINEL, ["Na", "Li"])
    found = found_by_search(task, {3: SITES_8A, 11: SITES_8A})
    assert len(found) == 1 and found.evaluations >= 1
    lithium, sodium = found.frac_coords[0]  # by atomic number, as in Task.guests
    assert {round(float(lithium[0]), 2), round(float(sodium[0]), 2)} == {0.12, 0.88}


def test_more_guests_than_sites_is_said_in_one_line():
    found = found_by_search(Task(SPINEL, {"Li": 4}), {3: SITES_8A})
    assert len(found) == 0 and found.evaluations == 0
    assert found.notes == (
        "4 Li guests but only 2 sites were found for them: ask for fewer guests, or give a supercell",
    )


def test_the_budget_is_kept_and_the_same_seed_gives_the_same():
    rng = np.random.default_rng(0)
    host = Crystal(SPINEL.numbers, SPINEL.frac_coords + rng.normal(0, 0.02, (len(SPINEL), 3)), SPINEL.lattice, "P1")
    positions = {3: np.concatenate([SITES_8A, SITES_16C])}
    one, two = (found_by_search(Task(host, {"Li": 3}), positions, 5) for _ in range(2))
    assert 0 < one.evaluations <= 5 and not one.complete
    assert set(one.origins) == {ORDERING}  # without symmetry every site is an orbit, which says nothing
    assert np.array_equal(one.frac_coords, two.frac_coords) and np.array_equal(one.energies, two.energies)


def test_searches_in_lockstep_ask_for_their_energies_in_one_call():
    """The same placements as one by one; as many calls as the longest search needs."""
    positions = {3: np.concatenate([SITES_8A, SITES_16C]), 11: SITES_8A}
    guests = [{"Li": 2}, {"Li": 3}, {"Li": 1, "Na": 1}, {"Na": 4}, {"Li": 4}]
    tasks = [Task(SPINEL, wanted) for wanted in guests]
    settings = SearchSettings(30)
    levels = [
        site_levels(task, {z: positions[z] for z in task.guests}, np.zeros((0, len(task.guests), 3))) for task in tasks
    ]
    evaluator = BatchEvaluator(load_chgnet("0.3.0", "cpu"), "e")
    sizes = []

    def energies(wanted):
        sizes.append(sum(map(len, wanted.values())))
        return _energies(evaluator, {row: (tasks[row], several) for row, several in wanted.items()})

    alone, calls = [], []
    for row, (task, one) in enumerate(zip(tasks, levels, strict=True)):
        sizes.clear()
        alone.append(driven(_search_levels(task, one, settings, 0), lambda asked, row=row: energies({row: asked})[row]))
        calls.append(len(sizes))
    asked = sum(one.evaluations for one in alone)
    sizes.clear()
    searches = [
        Search(task.name, _search_levels, (task, one, settings, 0)) for task, one in zip(tasks, levels, strict=True)
    ]
    together = [found for found, seconds in in_lockstep(searches, energies) if seconds > 0]
    assert min(calls) == 0 and len(sizes) == max(calls) < sum(calls) and sum(sizes) == asked
    for task, a, b in zip(tasks, alone, together, strict=True):
        assert np.array_equal(a.frac_coords, b.frac_coords)
        assert (a.origins, a.evaluations, a.notes) == (b.origins, b.evaluations, b.notes)
        n = len(task.host) + len(task.guests)
        np.testing.assert_allclose(a.energies / n, b.energies / n, rtol=0, atol=1e-6)


def test_a_large_host_without_symmetry():
    """204 atoms when filled; 2^100 orderings cannot be enumerated, and the budget is kept."""
    n = np.array([4, 2, 2])
    shifts = np.array([[i, j, k] for i in range(4) for j in range(2) for k in range(2)])

    def repeated(frac):
        return ((frac[None] + shifts[:, None]) / n).reshape(-1, 3)

    rng = np.random.default_rng(0)
    lattice = SPINEL.lattice * n[:, None]
    frac = repeated(SPINEL.frac_coords)
    frac += rng.normal(0, 0.02, frac.shape) @ np.linalg.inv(lattice)
    host = Crystal(np.tile(SPINEL.numbers, len(shifts)), frac, lattice, "large")
    task = Task(host, {"Li": 12})
    found = found_by_search(task, {3: repeated(np.concatenate([SITES_8A, SITES_16C]))}, 1)
    assert len(host) == 192 and found.sites[0] == {3: 96}
    assert 1 <= found.evaluations <= evaluation_budget(1, 12) == 16
    # Two levels of symmetry may come to the same ordering: it is handed out once.
    assert not found.complete and 12 <= len(found) <= found.evaluations
    assert not np.triu(equal_samples(host, task.guests, found.frac_coords, 0.5, 0.1), 1).any()
    assert np.isfinite(found.energies).all()
    assert not invalid_samples(host, np.array(task.guests), found.frac_coords).invalid.any()


def test_more_guests_get_more_evaluations():
    assert [evaluation_budget(48, n) for n in (1, 4, 6, 8, 12, 100)] == [48, 48, 162, 384, 768, 768]
    assert evaluation_budget(0, 8) == 0


def test_auto_search_levels_for_several_guests_and_only_then(network, two_lithium):
    one = inpaint(network, SPINEL, {"Li": 1}, voids=0, **FAST)
    assert {c.origin for c in one.candidates} == {"joint"} and one.evaluations == len(one)
    several, stages = two_lithium
    assert list(dict.fromkeys(stages)) == ["sample", "sequential", "sites", "search", "score"]
    origins = {part for c in several.candidates for part in c.origin.split("+")}
    assert {"orbits", "sequential"} <= origins and several.evaluations <= 6 + 3 * len(several) + 8
    energies = [c.energy_per_atom for c in several.candidates]
    assert energies == sorted(energies)
    assert several.candidates[0].wyckoff == ("8a", "8a")
    assert sum(c.count for c in several.candidates) == several.n_valid
    joint = inpaint(network, SPINEL, {"Li": 2}, strategy="conditional", **FAST)
    assert {c.origin for c in joint.candidates} == {"joint"} and np.array_equal(
        joint.drawn.frac_coords, several.drawn.frac_coords
    )
    unscored = inpaint(network, SPINEL, {"Li": 2}, score=False, **FAST)
    assert {c.origin for c in unscored.candidates} == {"joint"}


def test_what_a_task_gives_does_not_depend_on_the_tasks_beside_it(network):
    sampling, pipeline = SamplingSettings(samples=3, steps=12), PipelineSettings(evaluations=5)
    tasks = [Task(SPINEL, {"Li": 2}), Task(SPINEL, {"Mg": 1, "Li": 1})]
    together = run_tasks(network, tasks, sampling, pipeline)
    for task, expected in zip(tasks[1:], together[1:], strict=True):
        (alone,) = run_tasks(network, [task], sampling, pipeline)
        assert [c.origin for c in alone.candidates] == [c.origin for c in expected.candidates]
        for one, other in zip(alone.candidates, expected.candidates, strict=True):
            assert one.energy_per_atom == pytest.approx(other.energy_per_atom, abs=1e-4)


def test_origins_come_back_from_the_archive(two_lithium, tmp_path):
    result, _ = two_lithium
    task = CampaignTask(0, "ab" * 32, SPINEL, result.guests, 3, 1.0)
    write_result(tmp_path / "r.h5", [done_record(task, result, "me")], {})
    with Archive(tmp_path / "r.h5") as archive:
        (back,) = results_of(archive.iter_records([0]))
    assert [c.origin for c in back.candidates] == [c.origin for c in result.candidates]
    assert [c.members for c in back.candidates] == [c.members for c in result.candidates]


def candidate(position, energy, members=(), rank=0, origin="joint"):
    coords = np.atleast_2d(np.asarray(position, dtype=float) % 1.0)
    agreement = len(members) / 10
    sample = members[0] if members else -1
    return Candidate(
        rank=rank,
        guest_frac_coords=coords,
        sample=sample,
        members=tuple(members),
        agreement=agreement,
        spread=0.1,
        min_distance=1.5,
        multiplicity=(1,),
        wyckoff=("?",),
        energy_per_atom=energy,
        origin=origin,
    )


def test_symmetric_orderings_are_handed_out_however_high():
    """Of more orderings than places, the most symmetric ones stay beside the lowest."""
    host = SPINEL
    space = ordering_space([networks_from_positions(host, 3, np.concatenate([SITES_8A, SITES_16C]))[0]])
    every = inequivalent_orderings(space, {3: 2})
    keys = OrderingKeys(space.permutations)
    symmetry = keys.symmetry(every)
    # Energies that fall with every operation that is lost.
    energies = symmetry.astype(float)
    order = np.argsort(energies, kind="stable")
    found = OrderingSearchResult(every[order], energies[order], symmetry[order], len(every), len(every), True)
    settings = SearchSettings(keep=2, tolerance=0.3)
    kept = _best_different(Task(host, {"Li": 2}), [(space, found)], settings)
    assert len(every) > 2 and len(kept) == 2
    assert kept.energies.tolist() == [energies.min(), energies.max()]


def test_placements_are_settled_where_that_lowers_the_energy(network):
    plain, settled = (inpaint(network, SPINEL, {"Li": 3}, settle=s, **FAST) for s in (0.0, 0.1))
    assert not any("settled" in c.origin for c in plain.candidates)
    moved = [c for c in settled.candidates if "settled" in c.origin]
    assert moved and all(not c.members for c in moved)
    assert settled.candidates[0].energy_per_atom <= plain.candidates[0].energy_per_atom + 1e-6
    for c in moved:
        crystal = SPINEL.with_guests(settled.guests, c.guest_frac_coords)
        assert evaluate([crystal], what="e").energy_per_atom[0] == pytest.approx(c.energy_per_atom, abs=1e-5)


def test_sequential_samples_can_be_left_out(network):
    without = inpaint(network, SPINEL, {"Li": 2}, sequential=0, **FAST)
    assert not any("sequential" in c.origin for c in without.candidates)
    with pytest.raises(InputError, match="sequential must be at least 0"):
        PipelineSettings(sequential=-1)
    with pytest.raises(InputError, match="settle must be at least 0 and at most 1"):
        PipelineSettings(settle=2.0)


def test_the_shortlist_merges_equal_ones_and_keeps_the_agreed():
    task, pipeline = Task(SPINEL, {"Li": 1}), PipelineSettings(candidates=8)
    shift = np.array([0.2, 0.0, 0.0]) @ np.linalg.inv(SPINEL.lattice)
    rng = np.random.default_rng(0)
    others = [candidate(rng.random(3), -5.0 + 0.01 * k, rank=9 + k, origin="ordering") for k in range(12)]
    found = [
        candidate(SITES_8A[0] + shift, -6.9, (0, 3, 4), 0),
        candidate(SITES_8A[1], -7.0, (), 1, "orbits"),
        candidate(SITES_16C[0], -1.0, (1, 2), 2),
        candidate([0.3, 0.3, 0.3], None, (5,), 3),
    ]
    kept = shortlist(task, [*found, *others], pipeline)
    assert len(kept) == 8
    best = kept[0]
    assert (best.origin, best.members, best.sample, best.energy_per_atom) == ("joint+orbits", (0, 3, 4), 0, -7.0)
    assert best.agreement == pytest.approx(0.3)
    assert any(c.members == (1, 2) for c in kept) and kept[-1].members == (5,)
    assert [c.energy_per_atom for c in kept[:-1]] == sorted(c.energy_per_atom for c in kept[:-1])
    assert shortlist(task, [], pipeline) == []


def test_the_shortlist_gives_places_to_different_ones_first():
    task, pipeline = Task(SPINEL, {"Li": 1}), PipelineSettings(candidates=4, tolerance=0.2)
    inverse = np.linalg.inv(SPINEL.lattice)
    # Six along a line, the last 0.65 A from the first; two others, higher in energy.
    line = [candidate(SITES_16C[0] + 0.13 * k * inverse[0], -9.0 + k) for k in range(6)]
    distinct = [candidate(SITES_8A[0], -1.0, rank=1), candidate([0.3, 0.25, 0.1], -0.5, rank=2)]
    kept = shortlist(task, [*line, *distinct], pipeline)
    assert len(kept) == 4 and [c.energy_per_atom for c in kept if c in distinct] == [-1.0, -0.5]
    energies = [c.energy_per_atom for c in kept]
    assert energies == sorted(energies) and energies[0] == -9.0
    assert len(shortlist(task, [*line, *distinct], replace(pipeline, candidates=8))) > 4


def test_settings_of_the_search_decide_a_result_only_where_they_differ_from_their_defaults():
    from dataclasses import asdict

    usual = asdict(PipelineSettings())
    assert not {"evaluations", "candidates"} & set(settings_that_decide(usual))
    assert settings_that_decide(asdict(replace(PipelineSettings(), evaluations=100)))["evaluations"] == 100
