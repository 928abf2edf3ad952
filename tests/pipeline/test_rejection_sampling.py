"""Rounds of draws, and draws ahead of the rounds that need them."""

import numpy as np
import pytest
import torch

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.pipeline import rejection_sampling
from inpaint_hpc.pipeline.rejection_sampling import draw_valid
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.sample import sample
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task


class NearestSite:
    """The guest goes to the nearest of two places in every host: a face centre, and one on an atom of the host."""

    sigma_min, sigma_max, dtype = 0.03, 3.5, torch.float64

    def encode(self, hosts):
        return hosts

    def denoise(self, hosts, guests, sigma):
        sites = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.0, 0.0]], dtype=torch.float64)
        # Divided one by one: a batched solver's last bits depend on the batch.
        frac = guests.positions / hosts.cells[guests.crystal].diagonal(dim1=1, dim2=2)
        delta = sites[None] - frac[:, None]
        delta = (delta - torch.round(delta)) * hosts.cells[guests.crystal].diagonal(dim1=1, dim2=2)[:, None]
        # The longer the cell, the fewer guests reach the possible place.
        distances = delta.square().sum(2).sqrt()
        distances[:, 0] *= hosts.cells[guests.crystal][:, 2, 2] / 5.0
        nearest = distances.argmin(1)
        return delta[torch.arange(len(delta)), nearest] / sigma[guests.sample][:, None]


def hosts(*lengths: float) -> list[Task]:
    cells = [np.diag([5.0, 5.0, length]) for length in lengths]
    return [
        Task(Crystal([12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], cell, f"{cell[2, 2]} A"), ["Li"], f"{cell[2, 2]} A")
        for cell in cells
    ]


def round_by_round(network, task: Task, settings: SamplingSettings, rounds: int) -> tuple[list[int], list[int]]:
    """Indices of the possible samples, and of all that were drawn."""
    kept, drawn = [], 0
    for _ in range(rounds):
        missing = settings.samples - len(kept)
        if missing:
            (found,) = sample(network, [task], settings, first_sample=drawn, samples=missing)
            valid = ~invalid_samples(task.host, task.guests, found.frac_coords).invalid
            kept += found.indices[valid].tolist()
            drawn += missing
    return kept, list(range(drawn))


@pytest.mark.parametrize("redraws", [0, 1, 3, 8])
@pytest.mark.parametrize("samples", [1, 7, 16])
def test_ahead_or_not_the_samples_are_those_of_rounds(redraws, samples):
    network, settings = NearestSite(), SamplingSettings(samples=samples, steps=4)
    tasks = hosts(3.6, 4.0, 5.0, 6.0, 7.0, 60.0)
    plain, ahead = (draw_valid(network, tasks, settings, redraws, ahead=ahead) for ahead in (False, True))
    shares = []
    for task, one, other in zip(tasks, plain, ahead, strict=True):
        rounds = 1 + redraws * (2 if task.name == "60.0 A" else 1)  # the last one is a surface
        kept, drawn = round_by_round(network, task, settings, rounds)
        for found in (one, other):
            assert found.indices.tolist() == kept and found.n_drawn == len(drawn)
            assert [index for part, _ in found.parts for index in part.indices.tolist()] == drawn
            assert sum(found.reasons.values()) == len(drawn) - len(kept)
        assert np.array_equal(one.frac_coords, other.frac_coords)
        assert np.array_equal(one.min_distance, other.min_distance)
        shares.append(len(kept) / len(drawn))
    if samples == 16:
        assert len({0.0, *shares}) >= 4  # hosts of all kinds


def test_draws_ahead_take_fewer_calls_where_calls_are_small(monkeypatch):
    calls = []

    def counted(*arguments, **options):
        calls.append(sum(options["samples"]))
        return sample(*arguments, **options)

    monkeypatch.setattr(rejection_sampling, "sample", counted)
    network, settings, tasks = NearestSite(), SamplingSettings(samples=16, steps=4), hosts(4.0, 5.0, 6.0, 7.0)
    draw_valid(network, tasks, settings, 6)
    plain = list(calls)
    calls.clear()
    draw_valid(network, tasks, settings, 6, ahead=True)
    assert plain[0] == calls[0] == 64 and len(calls) <= 3 < len(plain)
    assert sum(calls) < 2 * sum(plain)
    calls.clear()
    monkeypatch.setattr(rejection_sampling, "FEW", 1)
    draw_valid(network, tasks, settings, 6, ahead=True)
    assert calls == plain
