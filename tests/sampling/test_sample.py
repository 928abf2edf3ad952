"""`sample`: reproducible whatever the batches, honest about its cost, clear about bad input."""

import numpy as np
import pytest
import torch
from analytic_networks import LimitedMemory, PairNetwork, SiteNetwork

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InpaintHpcError, InputError
from inpaint_hpc.sampling.cells import empty_host
from inpaint_hpc.sampling.sample import SamplingSettings, Task, nfe, sample
from inpaint_hpc.sampling.settings import SAMPLERS

WEIGHTS = {8: 1.0, 26: 3.0}


def tasks() -> list[Task]:
    rng = np.random.default_rng(1)
    sizes = [(2, 1), (5, 3), (1, 2), (7, 1)]
    hosts = [
        Crystal(
            np.where(np.arange(n) % 2, 8, 26), rng.random((n, 3)) * 3 - 1, np.diag([6.0 + n, 5.0, 7.5]), f"host {n}"
        )
        for n, _ in sizes
    ]
    return [Task(host, {"Li": guests}) for host, (_, guests) in zip(hosts, sizes, strict=True)]


def coordinates(network, *args, **kwargs) -> list[np.ndarray]:
    return [result.frac_coords for result in sample(network, *args, **kwargs)]


def settings(**changes) -> SamplingSettings:
    return SamplingSettings(**{"samples": 5, "steps": 12, "edge_budget": 10**6, **changes})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_are_the_same_bits_in_any_batch(sampler):
    reference = coordinates(SiteNetwork(WEIGHTS), tasks(), settings(sampler=sampler))
    assert [array.shape for array in reference] == [(5, 1, 3), (5, 3, 3), (5, 2, 3), (5, 1, 3)]
    for budget in (40, 100, 333):
        other = coordinates(SiteNetwork(WEIGHTS), tasks(), settings(sampler=sampler, edge_budget=budget))
        assert all(np.array_equal(a, b) for a, b in zip(reference, other, strict=True))
    backwards = coordinates(SiteNetwork(WEIGHTS), tasks()[::-1], settings(sampler=sampler))
    assert all(np.array_equal(a, b) for a, b in zip(reference, backwards[::-1], strict=True))
    for task, array in zip(tasks(), reference, strict=True):
        (alone,) = coordinates(SiteNetwork(WEIGHTS), [task], settings(sampler=sampler))
        assert np.array_equal(alone, array)


@pytest.mark.parametrize("strategy", ["replacement", "repaint"])
def test_replacement_samples_are_the_same_bits_in_any_batch(strategy):
    def network() -> PairNetwork:
        return PairNetwork(8, [[1.9, 0.0, 0.0], [0.0, 2.0, 0.0]], [0.5, 0.5], 0.1)

    hosts = [Crystal([8], [[0.1, 0.2, x]], np.diag([5.0 + x, 6.0, 5.0]), f"host {x}") for x in (0.0, 0.4, 0.7)]
    pairs = [Task(host, {"Li": 1}) for host in hosts]
    choice = {"strategy": strategy, "steps": 30, "jump_length": 4}
    reference = coordinates(network(), pairs, settings(**choice))
    for budget in (16, 50):
        other = coordinates(network(), pairs, settings(**choice, edge_budget=budget))
        assert all(np.array_equal(a, b) for a, b in zip(reference, other, strict=True))


def test_samples_differ_between_indices_seeds_and_tasks():
    two = [tasks()[0], Task(Crystal([26, 8], tasks()[0].host.frac_coords + 1e-9, tasks()[0].host.lattice), [3])]
    first = coordinates(SiteNetwork(WEIGHTS), two, settings())
    second = coordinates(SiteNetwork(WEIGHTS), two, settings(seed=1))
    everything = np.concatenate([*first, *second]).reshape(-1, 3)
    assert len(np.unique(everything, axis=0)) == 20


def test_more_samples_continue_where_the_last_call_ended():
    whole = sample(SiteNetwork(WEIGHTS), tasks()[:2], settings(samples=6))
    start = sample(SiteNetwork(WEIGHTS), tasks()[:2], settings(samples=2))
    rest = sample(SiteNetwork(WEIGHTS), tasks()[:2], settings(), first_sample=[2, 3], samples=[4, 0])
    assert np.array_equal(whole[0].frac_coords, np.concatenate([start[0].frac_coords, rest[0].frac_coords]))
    assert rest[0].indices.tolist() == [2, 3, 4, 5] and len(rest[1]) == 0 and rest[1].frac_coords.shape == (0, 3, 3)


def test_results_are_wrapped_and_hosts_come_back_bit_identical():
    for task, result in zip(tasks(), sample(SiteNetwork(WEIGHTS), tasks(), settings()), strict=True):
        assert result.task.host.frac_coords.tobytes() == task.host.frac_coords.tobytes()
        assert (
            result.frac_coords.dtype == np.float64
            and result.frac_coords.min() >= 0.0
            and result.frac_coords.max() < 1.0
        )
        assert result.indices.tolist() == list(range(5))
        for crystal, guests in zip(result.crystals(), result.frac_coords, strict=True):
            n = len(task.host)
            assert crystal.frac_coords[:n].tobytes() == task.host.frac_coords.tobytes()
            assert crystal.lattice.tobytes() == task.host.lattice.tobytes()
            assert crystal.numbers.tolist() == [*task.host.numbers, *task.guests]
            assert np.array_equal(crystal.frac_coords[n:], guests)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_nfe_is_the_number_of_network_calls(sampler):
    network = SiteNetwork(WEIGHTS)
    chosen = settings(sampler=sampler, steps=31, corrector_steps=2)
    results = sample(network, tasks(), chosen)
    assert network.count.evaluations == nfe(chosen) == results[0].nfe <= 31
    assert network.count.encodings == 1
    assert network.count.sigmas[0] == 3.5 and network.count.sigmas[-1] == 0.03


@pytest.mark.parametrize(
    ("sampler", "times"),
    # After the first level: the corrector's steps, or Heun's second evaluation, and then the next step's first.
    [("ancestral", 1), ("predictor-corrector", 3), ("heun", 2), ("dpm-solver", 1)],
)
def test_the_network_is_asked_at_the_level_the_positions_are_at(sampler, times):
    network = SiteNetwork(WEIGHTS)
    chosen = settings(sampler=sampler, steps=13, corrector_steps=2)
    sample(network, tasks(), chosen)
    first, *others = chosen.levels(3.5, 0.03).tolist()
    assert network.count.sigmas == [first, *(level for level in others for _ in range(times))]


def test_a_host_whose_samples_need_several_batches_is_encoded_once():
    network = SiteNetwork(WEIGHTS)
    sample(network, [tasks()[1]], settings(samples=40, edge_budget=60))
    assert network.count.evaluations > 5 * 12 and network.count.encodings == 1


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, MemoryError])
def test_out_of_memory_halves_the_batches_and_changes_no_sample(error):
    progress = []
    network = LimitedMemory(SiteNetwork(WEIGHTS), limit=8, error=error)
    results = coordinates(network, tasks(), settings(samples=16), progress=lambda *p: progress.append(p))
    reference = coordinates(SiteNetwork(WEIGHTS), tasks(), settings(samples=16))
    assert all(np.array_equal(a, b) for a, b in zip(reference, results, strict=True))
    # 7 guests per sample of all tasks, 16 samples: 112 guests have to come down to 8.
    assert 3 <= network.failures <= 8
    assert progress[-1] == (4 * 16 * 12, 4 * 16 * 12)


def test_one_sample_that_does_not_fit_in_memory_is_an_input_error():
    with pytest.raises(InputError, match=r"^host 5: one sample \(about \d+ edges\) does not fit in the memory of cpu"):
        sample(LimitedMemory(SiteNetwork(WEIGHTS), limit=2), [tasks()[1]], settings())


def test_other_errors_of_the_network_are_not_taken_for_lack_of_memory():
    class Broken(SiteNetwork):
        def denoise(self, hosts, guests, sigma):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        sample(Broken(WEIGHTS), tasks(), settings())


def test_scores_that_are_not_finite_are_reported():
    with pytest.raises(InpaintHpcError, match=r"^host 2: the network returned scores that are not finite"):
        sample(SiteNetwork({8: 1.0, 26: float("nan")}), tasks()[:1], settings())


def test_a_large_cell_on_a_small_budget_is_refused_in_one_line():
    rng = np.random.default_rng(0)
    host = Crystal(np.full(2000, 8), rng.random((2000, 3)), np.diag([28.0, 28.0, 28.0]), "big")
    with pytest.raises(InputError) as caught:
        sample(SiteNetwork(WEIGHTS), [Task(host, {"Li": 4})], settings(edge_budget=10_000))
    # 2000 atoms x 2000 / 28^3 per A^3 x 268 A^3 within 4 A
    assert str(caught.value) == (
        "big: one sample needs an edge budget of 48849, the budget is 10000: raise edge_budget to 48849 "
        "(about 0.3 GiB of memory) or take a smaller cell"
    )


def test_progress_counts_samples_times_steps():
    seen = []
    sample(SiteNetwork(WEIGHTS), tasks(), settings(edge_budget=100), progress=lambda *p: seen.append(p))
    done, totals = zip(*seen, strict=True)
    assert set(totals) == {4 * 5 * 12} and done[-1] == 4 * 5 * 12 and list(done) == sorted(set(done))


def test_no_tasks_no_samples():
    assert sample(SiteNetwork(WEIGHTS), []) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": SamplingSettings(sigma_max=9.0)}, "noise levels from 9 to 0.03 A are outside"),
        ({"first_sample": -1}, "first_sample must not be negative"),
        ({"samples": [1, 2]}, "samples has 2 entries for 4 tasks"),
    ],
)
def test_impossible_requests_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        sample(SiteNetwork(WEIGHTS), tasks(), **{"settings": settings(), **changes})


def test_elements_that_no_network_knows_are_refused():
    host = Crystal([8], [[0, 0, 0]], np.eye(3) * 5, "x")
    with pytest.raises(InputError, match=r"^x: the network knows elements up to 94, not 96"):
        sample(SiteNetwork(WEIGHTS), [Task(host, {"Cm": 1})], settings())


def test_elements_that_the_network_does_not_know_are_refused():
    network = SiteNetwork(WEIGHTS)
    network.max_atomic_number = 20
    with pytest.raises(InputError, match=r"^host 2: the network knows elements up to 20, not 26"):
        sample(network, tasks(), settings())


def test_task_id_is_its_content():
    host = tasks()[1].host
    reference = Task(host, {"Li": 2, "Na": 1})
    assert (
        reference.id == Task(Crystal(host.numbers, host.frac_coords, host.lattice, "renamed"), [11, 3, 3], "other").id
    )
    assert len(reference.id) == 64
    moved, stretched = host.frac_coords.copy(), host.lattice.copy()
    moved[0, 0] += 1e-12
    stretched[2, 2] += 1e-12
    others = [
        Task(host, {"Li": 3}),
        Task(Crystal(host.numbers, moved, host.lattice), {"Li": 2, "Na": 1}),
        Task(Crystal(host.numbers, host.frac_coords, stretched), {"Li": 2, "Na": 1}),
        Task(Crystal(host.numbers[[1, 0, 2, 3, 4]], host.frac_coords, host.lattice), {"Li": 2, "Na": 1}),
    ]
    assert len({reference.id, *(task.id for task in others)}) == 5
    zero = Task(Crystal([8], [[0.0, 0.0, 0.0]], np.eye(3) * 5), "Li")
    assert zero.id == Task(Crystal([8], [[-0.0, 0.0, 0.0]], np.eye(3) * 5), "Li").id


@pytest.mark.parametrize(
    ("host", "guests", "message"),
    [
        (Crystal([8], [[0, 0, 0]], np.eye(3) * 4, "x"), {}, "x: no guests to place"),
        (Crystal([8], [[0, 0, 0]], np.eye(3) * 4, "x"), {"Li": 0}, "x: no guests to place"),
        (Crystal([8], [[0, 0, 0]], np.eye(3) * 4), {"Li": -1}, "number of Li guests must be a whole number, not -1"),
        (Crystal([8], [[0, 0, 0]], np.eye(3) * 4), {"Li": 1.5}, "number of Li guests must be a whole number, not 1.5"),
        (Crystal([8], [[0, 0, 0]], np.eye(3) * 4), ["Xx"], "unknown element 'Xx'"),
        (Crystal([8], [[0, 0, 0]], np.eye(3) * 4), [0], "unknown element 0"),
        (Crystal([8], [[0, 0, 0]], np.eye(3) * 4, "x"), {"Li": 60}, "is more than the cell of 64 A^3 can hold"),
        (Crystal([8], [[np.nan, 0, 0]], np.eye(3) * 4, "x"), ["Li"], "x: the host has coordinates or cell vectors"),
        (Crystal([8], [[0, 0, 0]], [[4, 0, 0], [0, 4, 0], [4, 4, 1e-6]], "x"), ["Li"], "x: the cell is flat"),
    ],
)  # fmt: skip
def test_impossible_tasks_are_refused_in_one_line(host, guests, message):
    with pytest.raises(InputError) as caught:
        Task(host, guests)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_all_atom_generation_asks_for_an_empty_host():
    network = PairNetwork(17, [[2.8, 0.0, 0.0]], [1.0], 0.0)
    task = Task(empty_host(np.diag([9.0, 9.0, 9.0]), "pair"), {"Na": 1, "Cl": 1})
    (result,) = sample(network, [task], settings(samples=50, steps=40))
    assert task.guests == (11, 17)
    vector = (result.frac_coords[:, 0] - result.frac_coords[:, 1]) * 9.0
    vector -= 9.0 * np.round(vector / 9.0)
    assert np.abs(vector - [2.8, 0.0, 0.0]).max() < 1e-6
    # The pair as a whole is anywhere.
    assert result.frac_coords.std(axis=0).min() > 0.2
