"""A crystal in 3D: with py3Dmol where it is installed, and one line where it is not."""

import sys

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.crystals.viewing import _edges, view_crystal
from inpaint_hpc.errors import InputError


def test_a_cell_has_twelve_edges_of_its_three_vectors():
    lattice = np.array([[3.0, 0.0, 0.0], [-1.0, 4.0, 0.0], [0.5, 0.5, 5.0]])
    vectors = np.array([stop - start for start, stop in _edges(lattice)])
    assert len(vectors) == 12
    for vector in lattice:
        assert np.isclose(vectors, vector).all(axis=1).sum() == 4


def test_without_py3dmol_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3Dmol", None)  # as where it is not installed
    with pytest.raises(InputError, match="pip install py3Dmol"):
        view_crystal(SPINEL)


def test_guests_are_told_apart_from_the_host():
    page = view_crystal(SPINEL.with_guests([3], [[0.125] * 3]), guests=1)._make_html()
    assert f'{{"index": [{len(SPINEL)}]}}' in page and page.count(".addLine(") == 12
