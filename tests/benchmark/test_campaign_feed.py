"""`benchmarks/campaign_feed.py`: a real worker on a stand-in card, and the simulation on it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inpaint_hpc.crystals.batch import Crystals

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from feed_parts import card, simulation, standins

    return card, simulation, standins


def found_by(tmp_path, data, *options):
    command = [sys.executable, ROOT / "benchmarks" / "campaign_feed.py", ROOT / "tests" / "data" / data, *options]
    command += ["--measure", "1", "--actors", "2", "--analysis", "2", "--units", "2"]
    command += ["--campaign", "200", "--json", tmp_path / "feed.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "modelled: work" in done.stdout and "200 tasks" in done.stdout
    found = json.loads((tmp_path / "feed.json").read_text())
    assert found["own_ms"] > 0 and found["analysis_ms"] > 0
    assert all(0 < setup["work"] <= 1.0 for setup in found["setups"])
    return found


def test_a_unit_has_one_call_for_each_round_and_two_for_energies(tmp_path):
    """However many tasks it has: on a card they go through the networks together."""
    found = found_by(tmp_path, "smoke.h5", "--hosts", "2", "--tasks", "8")
    *rounds, hosts, candidates = found["calls"]
    assert rounds[0]["count"] == 8 * 16 and 1 <= len(rounds) <= 4
    assert all(one["kind"] == "sampling" and one["count"] < 8 * 16 for one in rounds[1:])
    assert (hosts["kind"], hosts["count"], candidates["kind"]) == ("energies", 8, "forces")


def test_electrodes_are_searched_and_relaxed_together(tmp_path):
    """Four hosts, one of them with two guests, and a copy of each."""
    keep = ("--workload", "electrodes", "--tasks", "8", "--keep", tmp_path)
    found = found_by(tmp_path, "electrodes.h5", "--hosts", "4", *keep)
    kinds = [call["kind"] for call in found["calls"]]
    assert found["calls"][0]["count"] == 8 * 16
    # Both searches wait for their energies in one call, before candidates are scored and relaxed.
    searched = [call["count"] for call in found["calls"][: kinds.index("forces")] if call["kind"] == "energies"]
    assert len(searched) >= 2 and all(count % 2 == 0 for count in searched)
    assert kinds.count("relaxation") >= max(found["steps"]["here"]) > 0 and found["steps"]["recorded"]


def test_made_up_forces_are_those_of_the_energy(parts):
    cells = torch.tensor([[[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.5, 0.3, 6.0]], [[3.0, 0.0, 0.0], [0, 3, 0], [0, 1, 3]]])
    positions = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    crystals = Crystals(torch.ones(5).long(), positions, cells.double(), torch.tensor([0, 0, 0, 1, 1]))
    energies, forces = parts[2].egg_carton(crystals)
    (gradient,) = torch.autograd.grad((energies * crystals.counts).sum(), positions)
    assert forces.abs().max() > 0.01 and torch.allclose(forces, -gradient)


def test_a_small_call_takes_the_launches_and_a_large_one_its_work(parts):
    card = parts[0].Card.read(ROOT / "benchmarks" / "cards" / "h200.json")
    small, large = (card.cost(parts[0].Call("sampling", n, n, 41)) for n in (1, 65_536))
    assert small.length == small.launching == pytest.approx(0.55)
    assert large.length == large.work == pytest.approx(65_536 / 25_220)
    one, many = (card.cost(parts[0].Call("forces", n, 19 * n)) for n in (8, 2048))
    assert one.length == pytest.approx(0.052) and many.length == pytest.approx(4.6e-6 * 19 * 2048)
    assert card.cost(parts[0].Call("energies", 1, 9)).length < one.length


def test_virtual_time_of_setups_that_can_be_done_by_hand(parts):
    """Ten tasks a unit with 0.1 s of analysis and a call of 0.55 s that leaves the card idle."""
    card, simulation, standins = parts
    of_card = card.Card.read(ROOT / "benchmarks" / "cards" / "h200.json")
    call = card.Call("sampling", 1, 1, 41)
    unit = [call, standins.Analysed((standins.Item(0.0, 0.0, 0.1, 0.0, 0.0),) * 10)]

    def played(*setup, oldest_first=False):
        return simulation.play(of_card, [unit], simulation.Setup(*setup, oldest_first), 400)

    alone = played(1, 0, 1, 4)
    assert alone.tasks_per_s == pytest.approx(10 / 1.55, rel=1e-3) and alone.seconds == pytest.approx(62.0, rel=1e-3)
    assert played(1, 2, 1, 4).tasks_per_s == pytest.approx(10 / 1.05, rel=1e-3)
    # Two units: while one is analysed, the other has the card.
    assert played(1, 2, 2, 4).tasks_per_s == pytest.approx(10 / 0.55, rel=0.1)
    assert played(2, 0, 1, 4).tasks_per_s == pytest.approx(20 / 1.55, rel=0.1)
    # A core that all share.
    assert played(2, 0, 1, 1).tasks_per_s == pytest.approx(10 / 1.55, rel=0.1)
    assert played(2, 0, 1, 1).cores == pytest.approx(1.0, rel=0.1)
