"""Results of single calls in an archive: what comes back is what the pipeline gave."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from example_hosts import MNO2, SPINEL

from inpaint_hpc import inpaint
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.campaign.result_archive import archive_networks, archive_results
from inpaint_hpc.campaign.task_records import results_of
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.planning.create_run import create_run
from inpaint_hpc.sites.clustering import network_from_positions

ROOT = Path(__file__).parents[2]
SETTINGS = {"samples": 3, "steps": 8, "seed": 4, "evaluations": 4, "sequential": 1}


@pytest.fixture(scope="module")
def network():
    return load_network()


@pytest.mark.parametrize("relax", ["none", "guests"])
def test_what_comes_back_is_what_the_pipeline_gave(network, tmp_path, relax):
    results = [inpaint(network, SPINEL, {"Li": n}, relax=relax, relax_steps=3, top_k=1, **SETTINGS) for n in (1, 2)]
    assert any(result.networks for result in results) and all(result.candidates for result in results)
    path = archive_results(tmp_path / "a.h5", [*results, results[0]])
    assert verify(path) == []
    with Archive(path) as archive:
        assert len(archive) == 2
        configuration = archive.attributes["configuration"]
        assert configuration["pipeline"]["relax"] == relax and configuration["sampling"]["steps"] == 8
        again = results_of(archive.iter_records(), results[0].settings, results[0].weights)
    for result, back in zip(results, again, strict=True):
        expected, found = result.as_dict(), back.as_dict()
        for candidate, other in zip(expected["candidates"], found["candidates"], strict=True):
            candidate["spacegroup"] = other["spacegroup"] = None  # of whole crystals; not stored
            assert candidate == other
        assert expected == found
        assert np.array_equal(result.drawn.frac_coords, back.drawn.frac_coords)
        assert np.array_equal(result.drawn.indices, back.drawn.indices)
        assert [one.number for one in result.networks] == [one.number for one in back.networks]
        assert result.evaluations == back.evaluations > 0


def test_a_task_has_the_id_that_it_has_in_a_campaign(network, tmp_path):
    result = inpaint(network, SPINEL, {"Li": 2}, **SETTINGS)
    path = archive_results(tmp_path / "a.h5", [result])
    config = CampaignConfig(
        hosts=[{"path": str(MNO2 / "lambda_mp-25275.cif")}],
        guests=[{"Li": 2}],
        output=tmp_path / "run",
        samples=3,
        sampling={"steps": 8, "seed": 4},
        pipeline={"max_energy_evaluations": 4, "n_sequential": 1},
    )
    run = create_run(config)
    with Archive(path) as archive:
        assert [text.encode() for text in archive.task_ids()] == run.task_ids().tolist()


def test_sites_alone(tmp_path):
    network = network_from_positions(SPINEL, 3, [[0.125] * 3] * 3 + [[0.0] * 3], saturated=True)
    path = archive_networks(tmp_path / "s.h5", [network], {"symprec": 0.1}, {"name": "x", "sha256": "ab" * 32})
    assert verify(path) == []
    with Archive(path) as archive:
        (back,) = archive.site_networks(0)
        assert len(archive.sites()) == len(network.orbits) and len(archive.candidates()) == 0
    assert [orbit.wyckoff for orbit in back.orbits] == [orbit.wyckoff for orbit in network.orbits]


def test_the_page_on_results_is_true(tmp_path, monkeypatch, capsys):
    """Its example prints one line from each view, and they say the same."""
    page = (ROOT / "docs" / "results.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code.replace('"inpaint_hpc/examples', f'"{ROOT}/inpaint_hpc/examples'), {})
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert [label for label, _ in lines] == ["object", "table", "archive", "frame", "json"]
    values = {re.sub(r"np\.float64\((.*?)\)", r"\1", text) for _, text in lines}
    assert len(values) == 1, values
    assert "('8a',) ('O4',)" in values.pop()
