"""Writing structures: what is read back is what was written, atom by atom."""

import os

import ase.io
import numpy as np
import pytest
from example_hosts import MNO2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from inpaint_hpc import read_hosts
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.writing import FORMATS, safe_name, write_structure
from inpaint_hpc.errors import InputError


def crystal_of(seed):
    """A random triclinic crystal with repeated species out of order and coordinates outside the cell."""
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(6, 9, 3), *rng.uniform(65, 115, 3)).matrix
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    corners = np.array([[x, y, z] for x in (0, 0.5) for y in (0, 0.5) for z in (0, 0.5)])
    frac = corners + rng.uniform(-0.06, 0.06, (8, 3)) + rng.integers(-1, 2, (8, 3))
    return Crystal(rng.choice([3, 8, 25, 94], 8), frac, lattice @ rotation, "random")


@pytest.mark.parametrize("name", FORMATS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path, name, seed):
    crystal = crystal_of(seed)
    (again,) = read_hosts(write_structure(crystal, tmp_path / f"out{FORMATS[name]}"))
    assert np.array_equal(again.numbers, crystal.numbers)
    assert np.allclose(again.frac_coords, crystal.frac_coords, rtol=0, atol=2e-9 if name == "extxyz" else 1e-11)
    metric = crystal.lattice @ crystal.lattice.T
    assert np.allclose(again.lattice @ again.lattice.T, metric, rtol=0, atol=1e-8)
    if name != "cif":  # which does not know the cell's orientation
        assert np.allclose(again.lattice, crystal.lattice, rtol=0, atol=1e-12)
    if name == "json":
        assert np.array_equal(again.frac_coords, crystal.frac_coords)
        assert np.array_equal(again.lattice, crystal.lattice)


def test_other_programs_read_the_files(tmp_path):
    host = read_hosts(MNO2 / "alpha_mp-19395.cif")[0]
    filled = host.with_guests([3, 19], [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]])
    for name, suffix in FORMATS.items():
        path = write_structure(filled, tmp_path / f"x{suffix}")
        numbers = Structure.from_file(path).atomic_numbers if name == "json" else ase.io.read(path).numbers
        assert list(numbers) == filled.numbers.tolist()


def test_file_names_say_the_format(tmp_path):
    crystal = crystal_of(0)
    for name, start in (("POSCAR", "random "), ("CONTCAR_2", "random "), ("a.xyz", "8\n"), ("a.json", "{")):
        assert write_structure(crystal, tmp_path / name).read_text().startswith(start)
    assert write_structure(crystal, tmp_path / "anything", format="cif").read_text().startswith("# generated")
    with pytest.raises(InputError, match=r"a.pdb: the file name does not give the format; end it in .cif, .vasp"):
        write_structure(crystal, tmp_path / "a.pdb")
    with pytest.raises(InputError, match="unknown format 'pdb'; choose one of cif, poscar, extxyz, json"):
        write_structure(crystal, tmp_path / "a.cif", format="pdb")


def test_existing_files_are_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.cif"
    write_structure(crystal_of(1), path)
    before = path.read_text()
    write_structure(crystal_of(2), path)
    assert path.read_text() != before
    assert os.listdir(path.parent) == ["a.cif"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        write_structure(crystal_of(1), tmp_path / "file" / "a.cif")
    (tmp_path / "folder.cif").mkdir()
    with pytest.raises(OSError) as caught:
        write_structure(crystal_of(1), tmp_path / "folder.cif")
    assert str(tmp_path / "folder.cif") in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.cif", "new"]


def test_names_become_file_names():
    assert safe_name("mp-1>mp-2") == "mp-1_mp-2"
    assert safe_name("../../etc/passwd") == "_.._etc_passwd"
    assert safe_name("R mp-19326 (2)") == "R_mp-19326_2_"
    assert safe_name("...") == "crystal"
