"""Concentration series: numbers of guests, capacity of a site network, hull and curve in one go."""

from dataclasses import replace

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.analysis.series import SeriesExtent, _at_most, capacity, concentration_series, fitting, most_guests
from inpaint_hpc.cli.series import parse_counts
from inpaint_hpc.errors import InputError
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.settings import PipelineSettings
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sites.clustering import networks_from_positions

SITES_8A = np.array([[0.125] * 3, [0.875] * 3])
SITES_16C = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])


def test_numbers_of_guests_as_they_are_written():
    assert parse_counts("0..4") == [0, 1, 2, 3, 4] and parse_counts("1,2,4") == [1, 2, 4] and parse_counts("3") == [3]
    assert parse_counts("max") is None and parse_counts("0..max") is None
    for text in ("4..0", "two", "-1", "1..b", ""):
        with pytest.raises(InputError, match=r"write it like 0\.\.4"):
            parse_counts(text)


def test_a_full_spinel_has_its_octahedral_sites_filled():
    # 8a and 16c are 1.74 A apart: both are never full.
    both = networks_from_positions(SPINEL, 3, np.concatenate([SITES_8A, SITES_16C]))
    assert len(both[0]) == 6 and capacity(both[0]) == 4
    assert capacity(networks_from_positions(SPINEL, 3, SITES_8A)[0]) == 2
    assert capacity(networks_from_positions(SPINEL, 3, np.zeros((0, 3)))[0]) == 0


def test_no_more_guests_are_looked_for_than_can_be_there():
    ring = np.roll(np.eye(5, dtype=bool), 1, axis=1)  # neighbours exclude each other: 2 fit, in 3 groups
    assert _at_most(ring | ring.T) == 3
    assert _at_most(np.zeros((4, 4), dtype=bool)) == 4 and _at_most(~np.eye(4, dtype=bool)) == 1


def test_only_sites_where_guests_stay_are_counted():
    (both, *_) = networks_from_positions(SPINEL, 3, np.concatenate([SITES_8A, SITES_16C]))
    assert fitting(both) is None  # nothing was relaxed
    orbits = tuple(  # a guest on 16c goes elsewhere
        replace(orbit, energy=-100.0, settles_on=k if orbit.multiplicity == 2 else 1 - k)
        for k, orbit in enumerate(both.orbits)
    )
    assert fitting(replace(both, orbits=orbits)) == 2
    assert fitting(replace(both, orbits=orbits), most_sites=1) is None


def test_a_series_gives_hull_and_voltages():
    settings = PipelineSettings(relax="guests", top_k=1, relax_steps=5, evaluations=4)
    sampling = SamplingSettings(samples=2, steps=10)
    found = concentration_series(
        load_network(None), SPINEL, 3, SeriesExtent([0, 2, 1]), sampling=sampling, pipeline=settings
    )
    assert [len(result.guests) for result in found.results] == [1, 2]
    profile = found.profile
    assert [one.count for one in profile.filled] == [1, 2] and profile.empty.count == 0
    best = found.results[1].candidates[0]
    assert profile.filled[1].energy == pytest.approx(best.ranking_energy * 14)
    # Lithium goes into MnO2 at a few volts; the steps fall.
    voltages = [step.voltage for step in profile.steps]
    assert all(2.0 < v < 5.0 for v in voltages) and voltages == sorted(voltages, reverse=True)
    assert profile.treatment == "guests"
    row = profile.as_dict()["filled"][1]
    assert row["wyckoff"] == list(best.wyckoff) and row["coordination"] == list(best.coordination) == ["O4", "O4"]
    assert row["spacegroup"] == "Fd-3m" and row["left_framework"] is None and row["formula"] == "Li0.5MnO2"
    assert [limit.guests for limit in profile.charges.limits] == [4, 8] and profile.fitting is None


def test_a_series_in_supercells_has_fractions_of_guests():
    settings = PipelineSettings(relax="none", evaluations=4, sequential=0)
    sampling = SamplingSettings(samples=2, steps=10)
    found = concentration_series(
        load_network(None), SPINEL, 3, SeriesExtent([0, 1], cells=2, shapes=1), sampling, settings
    )
    profile = found.profile
    assert [(len(r.host), len(r.guests)) for r in found.results] == [(12, 1), (24, 1), (24, 2)]
    assert [one.count for one in profile.filled] == [0.5, 1, 1]
    assert sorted(one.label for one in profile.filled) == [
        "lambda_mp-25275-2a, rank 0", "lambda_mp-25275-2a, rank 0", "rank 0",
    ]  # fmt: skip
    # The same host: per host cell, an ordering of two cells is about as low as that of one.
    whole = [one.energy for one in profile.filled if one.count == 1]
    assert max(whole) - min(whole) < 1.0
    assert profile.filled[0].volume == pytest.approx(SPINEL.volume)
    with pytest.raises(InputError, match="2000 cells have 24000 atoms"):
        concentration_series(None, SPINEL, 3, SeriesExtent([1], cells=2000))
    with pytest.raises(InputError, match="at least one cell and one shape"):
        SeriesExtent([1], cells=0)


def test_a_series_needs_guests():
    with pytest.raises(InputError, match="at least 1"):
        concentration_series(None, SPINEL, 3, SeriesExtent([0]))


def test_a_spinel_host_holds_one_lithium_per_manganese():
    """Single guests show 8a alone, two sites; the four sites of 16c come with the joint samples."""
    settings = SamplingSettings(samples=8, steps=20)
    assert most_guests(load_network(), SPINEL, 3, settings) == 4 == (SPINEL.numbers == 25).sum()
