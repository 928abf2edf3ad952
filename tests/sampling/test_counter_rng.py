"""Counter-based random numbers: known answers, independence of batching, and statistics."""

import numpy as np
import pytest
import torch
from scipy import stats

from inpaint_hpc.sampling.counter_rng import CounterRng, Purpose, philox4x32, task_key


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # kat_vectors of Random123, philox4x32 with 10 rounds
        ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_known_answers(counter, key, expected):
    result = philox4x32(torch.tensor(words(counter))[:, None], torch.tensor(words(key))[:, None])
    assert result[:, 0].tolist() == words(expected)


def generator(n_samples: int, task: str = "a task", seed: int = 0) -> CounterRng:
    keys = torch.tensor([task_key(task, seed)]).expand(n_samples, 2)
    return CounterRng(keys, torch.arange(n_samples))


def grid(n_samples: int, n_atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    row = torch.arange(n_samples).repeat_interleave(n_atoms)
    return row, torch.arange(n_atoms).repeat(n_samples)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_numbers_do_not_depend_on_the_batch(kind):
    tasks = [("a", 3), ("b", 2), ("a", 1)]
    keys = torch.tensor([task_key(name, 7) for name, count in tasks for _ in range(count)])
    samples = torch.tensor([0, 1, 2, 0, 1, 5])
    row, atom = grid(6, 4)
    together = getattr(CounterRng(keys, samples), kind)(row, 3, Purpose.PREDICTOR, atom)
    for s in range(6):
        alone = CounterRng(keys[s : s + 1], samples[s : s + 1])
        for n in range(4):
            one = getattr(alone, kind)(torch.zeros(1, dtype=torch.long), 3, Purpose.PREDICTOR, torch.tensor([n]))
            assert torch.equal(one[0], together[4 * s + n])


def test_every_part_of_the_counter_and_the_key_matters():
    row, atom = grid(1, 1)

    def draw(task="t", seed=0, sample=0, step=0, purpose=Purpose.PRIOR, number=0, repeat=0) -> tuple[float, ...]:
        rng = CounterRng(torch.tensor([task_key(task, seed)]), torch.tensor([sample]))
        return tuple(rng.normal(row, step, purpose, atom + number, repeat)[0].tolist())

    variants = [{}, {"task": "u"}, {"seed": 1}, {"sample": 1}, {"step": 1}, {"number": 1}, {"repeat": 1}]
    variants += [{"purpose": purpose} for purpose in Purpose if purpose != Purpose.PRIOR]
    draws = [value for variant in variants for value in draw(**variant)]
    assert len(set(draws)) == 3 * len(variants)
    assert draw() == draw()


def test_the_largest_sample_index_is_a_32_bit_word():
    top = 2**32 - 1
    rng = CounterRng(torch.tensor([task_key("t", 0)] * 2), torch.tensor([top, top - 1]))
    u = rng.uniform(torch.tensor([0, 1]), top, Purpose.PRIOR, torch.tensor([0, 0]))
    assert torch.all((u > 0) & (u < 1)) and not torch.equal(u[0], u[1])


def test_uniform_numbers_pass_kolmogorov_smirnov_on_every_axis():
    row, atom = grid(5000, 4)
    u = generator(5000).uniform(row, 0, Purpose.PRIOR, atom).numpy()
    assert u.min() > 0.0 and u.max() < 1.0
    for axis in range(3):
        assert stats.kstest(u[:, axis], "uniform").pvalue > 0.01


def test_normal_numbers_have_the_right_distribution():
    row, atom = grid(20_000, 5)
    z = generator(20_000, seed=3).normal(row, 2, Purpose.PREDICTOR, atom).numpy()
    n = len(z)
    for axis in range(3):
        assert stats.kstest(z[:, axis], "norm").pvalue > 0.01
    # Standard errors of mean, variance, skewness and excess kurtosis of n normal numbers; four of them allowed.
    for moment, error in (
        (z.mean(0), 1 / n), (z.var(0) - 1, 2 / n), (stats.skew(z), 6 / n), (stats.kurtosis(z), 24 / n),
    ):  # fmt: skip
        assert np.all(np.abs(moment) < 4 * np.sqrt(error))


def test_neighbouring_counters_are_uncorrelated():
    row, atom = grid(2000, 8)
    rng = generator(2000)
    columns = [rng.normal(row, step, Purpose.PREDICTOR, atom).numpy() for step in (1, 2)]
    columns.append(rng.normal(row, 1, Purpose.CORRECTOR, atom).numpy())
    columns.append(generator(2000, seed=1).normal(row, 1, Purpose.PREDICTOR, atom).numpy())
    together = np.concatenate(columns, axis=1)
    # Also atoms with their successors and samples with theirs.
    together = np.concatenate([together[:-8], together[1:-7, :3], together[8:, :3]], axis=1)
    correlation = np.corrcoef(together.T) - np.eye(together.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(len(together))
