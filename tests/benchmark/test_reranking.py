"""Choosing one of several samples: shares, gains, and a case with a known outcome."""

import numpy as np
import pytest
import torch
from example_hosts import SPINEL

from inpaint_hpc.benchmark.reranking import WAYS, gain, rerank, share
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.pipeline.settings import PipelineSettings
from inpaint_hpc.sampling.settings import SamplingSettings


class Nearest:
    """Every guest is drawn to the nearest of given sites."""

    sigma_min, sigma_max, dtype, info = 0.03, 3.5, torch.float64, None

    def __init__(self, *sites):
        self.sites = torch.tensor(sites, dtype=torch.float64)

    def encode(self, hosts):
        return hosts

    def denoise(self, hosts, guests, sigma):
        cells = hosts.cells[guests.crystal]
        delta = self.sites[None] - torch.linalg.solve(cells.transpose(1, 2), guests.positions)[:, None]
        delta = (delta - torch.round(delta)) @ cells
        return delta[torch.arange(len(delta)), delta.norm(dim=2).argmin(1)] / sigma[guests.sample][:, None]


def test_energy_finds_the_site_that_most_samples_miss():
    """Lithium in spinel belongs on 8a; most samples go to 16c sites, of which there are more."""
    reference = SPINEL.with_guests([3], [[0.125] * 3])
    wrong = [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, 0]]
    sampling, pipeline = SamplingSettings(samples=12, steps=4), PipelineSettings(relax="guests", fmax=0.1)
    row = rerank(Nearest([0.125] * 3, *wrong), reference, 3, sampling, pipeline)
    assert row["samples"] == 12 and row["guests"] == 1 and row["candidates"] == 2 == row["minima"]
    assert 0 < row["random"] < 0.5 and row["random"] * 12 == pytest.approx(round(row["random"] * 12))
    assert (row["agreement"], row["static"], row["relaxed"], row["any"]) == (0, 1, 1, 1)


def test_a_host_without_a_possible_sample_counts_as_missed():
    host = Crystal([12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], np.eye(3) * 5.0, "cube")
    reference = host.with_guests([3], [[0.5, 0.5, 0.0]])
    settings = SamplingSettings(samples=2, steps=3), PipelineSettings(relax="guests", redraws=0)
    row = rerank(Nearest([0.05, 0.0, 0.0]), reference, 3, *settings)
    assert row["samples"] == row["candidates"] == row["minima"] == 0
    assert [row[way] for way in WAYS] == [0.0] * 5


def test_shares_and_gains():
    rows = [{"relaxed": 1.0, "random": 0.25}] * 30 + [{"relaxed": 0.0, "random": 0.25}] * 10
    mean, low, high = share(rows, "relaxed")
    assert mean == 0.75 and 0.55 < low < 0.7 and 0.8 < high < 0.95
    assert share(rows, "random") == (0.25, 0.25, 0.25)
    assert gain(rows, "relaxed", "random") == pytest.approx((0.5, low - 0.25, high - 0.25))
    assert np.isnan(share([], "random")).all()
