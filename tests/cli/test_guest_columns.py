"""Texts about guests in tables, and the tables themselves in 80 columns."""

import math
import re

import numpy as np
import pytest
from example_hosts import MNO2
from rich.console import Console

from inpaint_hpc import read_hosts
from inpaint_hpc.archive.rows import CONVERGED, UNFINISHED
from inpaint_hpc.cli import output
from inpaint_hpc.cli.guest_columns import neighbours, valences
from inpaint_hpc.pipeline.results import Candidate, InpaintResult, Relaxed

(SPINEL,) = read_hosts([MNO2 / "lambda_mp-25275.cif"])


def candidate(rank, energy, guests, environment, relaxed=None):
    return Candidate(
        rank=rank,
        sample=rank,
        agreement=0.5,
        spread=0.1,
        min_distance=1.5,
        energy_per_atom=energy,
        max_force=3.25,
        max_guest_force=1.25,
        guest_frac_coords=np.full((guests, 3), 0.125),
        multiplicity=(2,) * guests,
        wyckoff=("8a",) * guests,
        relaxed=relaxed,
        energy_per_guest=-3.5,
        environment=environment,
        bond_valence_sum=tuple(1.05 + 0.2 * k for k in range(guests)),
        members=(rank,),
    )


def printed(candidates, width, monkeypatch, capsys):
    result = InpaintResult(SPINEL, (3,) * len(candidates[0].wyckoff), tuple(candidates), 16, 0)
    monkeypatch.setattr(output, "stdout_console", lambda: Console(highlight=False, width=width))
    output.print_results([result])
    return capsys.readouterr().out


def test_neighbours_of_several_guests_are_one_line_for_each_kind():
    some = ("LiO4 tetrahedron, 1.94 A", "LiO6 octahedron, 2.10-2.14 A", "LiO4 tetrahedron, 1.92-1.97 A", "")
    assert neighbours(some) == "LiO4 tetrahedron, 1.92-1.97 A x2\nLiO6 octahedron, 2.10-2.14 A"
    assert neighbours(some[1:2], 25) == "LiO6 octahedron,\n2.10-2.14 A"
    assert neighbours(()) == neighbours(("",)) == "-"


def test_valences():
    assert valences((1.034,)) == "1.03" and valences((0.93, 1.12, math.nan)) == "0.9-1.1"
    assert valences(()) == valences((math.nan, None)) == "-"


@pytest.mark.parametrize("guests", [1, 2])
@pytest.mark.parametrize("outcome", ["", CONVERGED, UNFINISHED])
def test_the_table_fits_80_columns(guests, outcome, monkeypatch, capsys):
    moved = {"energy_per_atom": -7.9, "energy_per_guest": -3.875, "max_guest_force": 0.03, "lattice": SPINEL.lattice}
    moved["guest_frac_coords"] = np.full((guests, 3), 0.125)
    relaxed = Relaxed(outcome=outcome, steps=12, **moved) if outcome else None
    around = ("LiO6 distorted trigonal prism, 2.10-2.44 A",) * guests
    rows = [candidate(0, -7.5, guests, around, relaxed), candidate(1, -7.4, guests, around)]
    text = printed(rows, 80, monkeypatch, capsys)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    first = re.search(r"^ +0 .*", text, re.MULTILINE)[0].split()
    above = 1000 * (12 + guests) / guests * ((-7.4) - (-7.9 if outcome else -7.5))
    expected = ["0", "-3.875", "0", "-7.9000", "0.03"] if outcome else ["0", "-3.500", "0", "-7.5000", "1.25"]
    assert first[:5] == expected
    assert re.search(r"^ +1 .*", text, re.MULTILINE)[0].split()[2] == f"{above:.0f}"
    assert ("unfinished" in text) == (outcome == UNFINISHED)


def test_wide_terminals_have_the_position_too(monkeypatch, capsys):
    rows = [candidate(0, -7.5, 1, ("LiO4 tetrahedron, 1.94 A",))]
    assert "0.1250 0.1250 0.1250" in printed(rows, 140, monkeypatch, capsys)
    assert "LiO4 tetrahedron, 1.94 A" in printed(rows, 80, monkeypatch, capsys)


def test_sites_and_the_summary_fit_80_columns(monkeypatch, capsys):
    from inpaint_hpc.cli import site_tables
    from inpaint_hpc.sites.clustering import networks_from_positions

    network = networks_from_positions(SPINEL, 3, np.array([[0.125] * 3, [0.0] * 3]))[0]
    monkeypatch.setattr(output, "stdout_console", lambda: Console(highlight=False, width=80))
    site_tables.print_sites([network], [None])
    text = capsys.readouterr().out
    assert (
        "8a" in text and "16c" in text and "LiO4 tetrahedron" in text and "LiO6 octahedron" in text and "…" not in text
    )
    rows = [candidate(0, -7.5, 1, ("LiO4 tetrahedron, 1.94 A",))]
    output.print_summary([InpaintResult(SPINEL, (3,), tuple(rows), 16, 0)])
    text = capsys.readouterr().out
    assert "-3.500" in text and "tetrahedral" in text and "…" not in text


def test_summaries_of_benchmarks_are_cut_in_no_cell(monkeypatch, capsys):
    from inpaint_hpc.benchmark.site_recall import COLUMNS
    from inpaint_hpc.cli.host_benchmarks import print_table

    monkeypatch.setattr(output, "stdout_console", lambda: Console(highlight=False, width=80))
    cells = ["100 % (96-100)" if column.digits is None else "12.5" for column in COLUMNS]
    print_table(["guests", "hosts", *(column.title for column in COLUMNS)], [["1-5", "120", *cells]])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and "\u2026" not in text
    assert text.count("(96-100)") == cells.count("100 % (96-100)") == 5
