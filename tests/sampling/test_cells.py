"""Cells for all-atom generation."""

import numpy as np
import pytest
from pymatgen.core import Lattice

from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.cells import FAMILIES, bravais_lattice, generation_task

SHAPES = {
    "cubic": {},
    "tetragonal": {"c_over_a": 1.7},
    "orthorhombic": {"b_over_a": 0.8, "c_over_a": 2.0},
    "hexagonal": {"c_over_a": 1.6},
    "rhombohedral": {"alpha": 60.0},
    "monoclinic": {"b_over_a": 1.3, "c_over_a": 0.9, "beta": 110.0},
    "triclinic": {"b_over_a": 1.1, "c_over_a": 1.2, "alpha": 80.0, "beta": 95.0, "gamma": 105.0},
}
ANGLES = {
    "hexagonal": (90, 90, 120),
    "rhombohedral": (60, 60, 60),
    "monoclinic": (90, 110, 90),
    "triclinic": (80, 95, 105),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_cells_have_the_volume_and_shape_asked_for(family):
    shape = SHAPES[family]
    lattice = Lattice(bravais_lattice(family, 123.4, **shape))
    assert np.linalg.det(lattice.matrix) == pytest.approx(123.4, rel=1e-12)
    assert lattice.b / lattice.a == pytest.approx(shape.get("b_over_a", 1.0))
    assert lattice.c / lattice.a == pytest.approx(shape.get("c_over_a", 1.0))
    assert lattice.angles == pytest.approx(ANGLES.get(family, (90, 90, 90)))


def test_generation_task_from_formula_and_volume():
    task = generation_task("Li4 Mn4 O8", volume_per_atom=10.0, family="tetragonal", c_over_a=1.5)
    assert task.guests == (3,) * 4 + (8,) * 8 + (25,) * 4
    assert len(task.host) == 0 and task.host.volume == pytest.approx(160.0) and task.name == "Li4Mn4O8"


def test_generation_task_from_counts_and_lattice():
    lattice = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.5, 6.0]])
    task = generation_task({"Na": 2, 17: 2}, lattice=lattice)
    assert task.guests == (11, 11, 17, 17) and np.array_equal(task.host.lattice, lattice)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bravais_lattice("trigonal", 100.0), "unknown lattice family 'trigonal': choose one of cubic, "),
        (lambda: bravais_lattice("cubic", 100.0, c_over_a=2.0), "a cubic cell takes no shape parameter: leave out c_"),
        (lambda: bravais_lattice("hexagonal", 9.0, gamma=90.0), "a hexagonal cell takes only c_over_a: leave out g"),
        (lambda: bravais_lattice("monoclinic", 100.0), "a monoclinic cell needs beta"),
        (lambda: bravais_lattice("cubic", -1.0), "the cell volume must be positive"),
        (lambda: bravais_lattice("tetragonal", 1.0, c_over_a=0.0), "c_over_a = 0 is not possible"),
        (lambda: bravais_lattice("rhombohedral", 100.0, alpha=121.0), "flat or impossible cell"),
        (lambda: bravais_lattice("rhombohedral", 100.0, alpha=120.0), "flat or impossible cell"),
        (lambda: generation_task("Li4 Mn4 O8"), "give either a lattice or a volume per atom"),
        (lambda: generation_task("Li", np.eye(3) * 4, 10.0), "give either a lattice or a volume per atom"),
        (lambda: generation_task("Li", np.eye(3) * 4, c_over_a=2.0), "has its shape already: leave out c_over_a"),
        (lambda: generation_task("Li0.5 O", volume_per_atom=12.0), "'Li0.5 O' has a fraction of Li"),
        (lambda: generation_task("Li(2", volume_per_atom=12.0), "cannot read the formula 'Li(2'"),
        (lambda: generation_task("Qq2", volume_per_atom=12.0), "unknown element 'Qq'"),
        (lambda: generation_task("", volume_per_atom=12.0), "formula"),
        (lambda: generation_task("Li4 Mn4 O8", volume_per_atom=2.0), "more than the cell"),
    ],
)  # fmt: skip
def test_impossible_cells_are_refused(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)
