"""Reading hosts: every format gives the same crystal, and every kind of bad input its one line."""

import gzip
import json
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from example_hosts import MNO2
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry
from pymatgen.io.cif import CifParser, CifWriter

from inpaint_hpc import read_hosts
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import check_crystal
from inpaint_hpc.crystals.reading import iter_hosts
from inpaint_hpc.errors import InputError

SMOKE = Path(__file__).parents[1] / "data" / "smoke.h5"
LAMBDA = MNO2 / "lambda_mp-25275.cif"

ROCKSALT = """data_rocksalt
_cell_length_a 4.2
_cell_length_b 4.2
_cell_length_c 4.2
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{symmetry}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{atoms}
"""
P1 = "_symmetry_space_group_name_H-M 'P 1'"


def cif(path, atoms, symmetry=P1):
    path.write_text(ROCKSALT.format(atoms=atoms, symmetry=symmetry))
    return path


def refused(paths, match):
    with pytest.raises(InputError, match=match) as caught:
        read_hosts(paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows_of(path):
    """Symbols and coordinates of the atom lines of one of the example CIFs, read with nothing but split()."""
    lines = [line.split() for line in path.read_text().splitlines()]
    rows = [words for words in lines if len(words) == 7 and words[0] in ("Mn", "O")]
    return [words[0] for words in rows], np.array([[float(x) for x in words[3:6]] for words in rows])


def test_cif_keeps_order_coordinates_and_cell_of_the_file():
    hosts = read_hosts(MNO2)
    assert [host.name for host in hosts] == sorted(path.stem for path in MNO2.glob("*.cif"))
    for host in hosts:
        path = MNO2 / f"{host.name}.cif"
        symbols, frac = rows_of(path)
        assert [{25: "Mn", 8: "O"}[z] for z in host.numbers] == symbols
        assert np.array_equal(host.frac_coords, frac)
        reference = CifParser(path).parse_structures(primitive=False, on_error="ignore")[0]
        assert np.allclose(host.lattice, reference.lattice.matrix, rtol=0, atol=1e-10)


def test_cif_atom_order_survives_mixed_species(tmp_path):
    atoms = "O1 O 0.5 0.5 0.5 1\nMn1 Mn 0.0 0.0 -0.25 1\nO2 O 0.3333 1.2 0.1 1\nLi1 Li 0 0.5 0 1\nMn2 Mn 0.5 0 0.5 1"
    (host,) = read_hosts(cif(tmp_path / "a.cif", atoms))
    assert host.numbers.tolist() == [8, 25, 8, 3, 25]
    assert host.frac_coords[1].tolist() == [0.0, 0.0, -0.25]
    assert host.frac_coords[2].tolist() == [0.3333, 1.2, 0.1]


def test_cif_symmetry_is_expanded_like_pymatgen_does(tmp_path):
    structure = read_hosts(LAMBDA)[0].to_structure()
    CifWriter(structure, symprec=0.05).write_file(tmp_path / "spinel.cif")
    text = (tmp_path / "spinel.cif").read_text()
    assert text.count(" O ") + text.count(" Mn ") < 6
    (host,) = read_hosts(tmp_path / "spinel.cif")
    assert host.formula == "Mn16 O32"
    assert structure.matches(host.to_structure())
    # Four decimals are enough for 1/3 once symmetry says that the atom sits on the axis.
    structure = Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(3.0, 4.9), ["Mg"], [[1 / 3, 2 / 3, 0.25]])
    CifWriter(structure, symprec=0.01, significant_figures=4).write_file(tmp_path / "hcp.cif")
    (host,) = read_hosts(tmp_path / "hcp.cif")
    assert len(host) == 2


def test_cif_symbols_with_charges_and_labels_alone(tmp_path):
    atoms = "x1 Mn4+ 0 0 0 1\nx2 O2- 0.5 0 0 1\nx3 Fe+3 0 0.5 0 1\nx4 D 0 0 0.5 1\nLi7 ? 0.5 0.5 0.5 1"
    (host,) = read_hosts(cif(tmp_path / "a.cif", atoms))
    assert host.numbers.tolist() == [25, 8, 26, 1, 3]
    text = ROCKSALT.replace("_atom_site_type_symbol\n", "").replace("_atom_site_occupancy\n", "")
    labels = tmp_path / "labels.cif"
    labels.write_text(text.format(symmetry=P1, atoms="Mn1 0 0 0\nOW 0.5 0 0\nO1A 0 0.5 0\nCa2 0.5 0.5 0.5"))
    assert read_hosts(labels)[0].numbers.tolist() == [25, 8, 8, 20]


def test_cif_with_several_blocks(tmp_path):
    two = tmp_path / "two.cif"
    beta, r = (MNO2 / f"{name}.cif" for name in ("beta_mp-510408", "R_mp-19326"))
    two.write_text(beta.read_text().replace("data_MnO2", "data_a") + r.read_text().replace("data_MnO2", "data_b"))
    assert [(host.name, len(host)) for host in read_hosts(two)] == [("two-0", 6), ("two-1", 12)]
    assert [len(host) for host in read_hosts(f"{two}::1")] == [12]


@pytest.fixture
def host():
    return read_hosts(LAMBDA)[0]


def test_every_format_gives_the_same_crystal(host, tmp_path):
    structure, atoms = host.to_structure(), host.to_atoms()
    structure.to(str(tmp_path / "POSCAR"), fmt="poscar")
    structure.to(str(tmp_path / "s.vasp"), fmt="poscar")
    structure.to(str(tmp_path / "s.json"), fmt="json")
    entry = ComputedStructureEntry(structure, -1.0, entry_id="mp-25275")
    (tmp_path / "entries.json").write_text(json.dumps([entry.as_dict(), {"structure": structure.as_dict()}]))
    ase.io.write(tmp_path / "frames.extxyz", [atoms, atoms])
    ase.io.write(tmp_path / "s.traj", atoms)
    ase.io.write(tmp_path / "s.db", atoms)
    ase.io.write(tmp_path / "ase.json", atoms)
    found = read_hosts(tmp_path)
    assert len(found) == 10
    for crystal in found:
        assert np.array_equal(crystal.numbers, host.numbers)
        assert np.allclose(crystal.lattice, host.lattice, rtol=0, atol=1e-8)
        assert np.allclose(crystal.positions, host.positions, rtol=0, atol=2e-8)
    names = {crystal.name for crystal in found}
    assert names == {"ase", "mp-25275", "entries-1", "frames-0", "frames-1", tmp_path.name, "s", "s-2", "s-3", "s-4"}
    assert [crystal.name for crystal in read_hosts(f"{tmp_path / 'frames.extxyz'}::-1")] == ["frames-1"]
    assert [crystal.name for crystal in read_hosts(f"{tmp_path / 'entries.json'}::mp-25275")] == ["mp-25275"]


def test_patterns_folders_and_order(tmp_path):
    for folder in ("b", "a"):
        (tmp_path / folder).mkdir()
        shutil.copy(LAMBDA, tmp_path / folder / "host.cif")
    (tmp_path / "a" / "notes.txt").write_text("not a structure")
    (tmp_path / "a" / ".hidden.cif").write_text("half a file")
    assert [c.name for c in read_hosts(str(tmp_path / "**" / "*.cif"))] == ["host", "host-2"]
    assert [c.name for c in read_hosts([tmp_path / "b", MNO2 / "R_mp-19326.cif", tmp_path / "a"])] == [
        "host",
        "R_mp-19326",
        "host-2",
    ]
    odd = tmp_path / "odd[1].cif"
    shutil.copy(LAMBDA, odd)
    assert [c.name for c in read_hosts(str(odd))] == ["odd[1]"]


def test_packed_files_and_selections():
    assert len(read_hosts(SMOKE)) == 220
    assert len(read_hosts(f"{SMOKE}::10:20")) == 10
    assert len(read_hosts(f"{SMOKE}::::100")) == 3
    crystal = read_hosts(SMOKE)[30]
    assert read_hosts(f"{SMOKE}::{crystal.name}")[0].info == crystal.info
    refused(f"{SMOKE}::mp-0", "no crystal with id 'mp-0'")


def test_left_handed_cell_is_a_crystal(host, tmp_path):
    mirrored = Structure(host.lattice * [1, 1, -1], host.numbers.tolist(), host.frac_coords)
    mirrored.to(str(tmp_path / "mirrored.json"), fmt="json")
    (crystal,) = read_hosts(tmp_path / "mirrored.json")
    assert np.array_equal(crystal.lattice, mirrored.lattice.matrix)
    assert crystal.volume == pytest.approx(host.volume)


def test_nothing_matches(tmp_path):
    refused([], "no hosts given")
    refused(tmp_path / "none.cif", "none.cif: no such file or folder")
    refused(str(tmp_path / "*.cif"), r"\*.cif: no file matches this pattern")
    refused(tmp_path, "the folder holds no structure files")


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.vasp", "a.json", "a.extxyz", "a.db", "a.h5"])
def test_empty_files(tmp_path, name):
    (tmp_path / name).touch()
    assert refused(tmp_path / name, "the file is empty").startswith(str(tmp_path / name))


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.json"])
def test_blank_files(tmp_path, name):
    (tmp_path / name).write_text(" \n\n")
    refused(tmp_path / name, "the file is empty")


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.vasp", "a.json", "a.extxyz", "a.xyz", "a.traj", "a.db", "a.h5"])
@pytest.mark.parametrize(
    "content", [b"The quick brown fox\njumps\n" * 20, bytes(range(256)) * 9, gzip.compress(b"x" * 99, mtime=0)]
)
def test_garbage_is_one_line_that_names_the_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name, ".")
    assert message.startswith(str(tmp_path / name))
    assert len(message) < 400 + len(str(tmp_path))


def test_unknown_format(tmp_path):
    (tmp_path / "a.weird").write_text("hello\n")
    refused(tmp_path / "a.weird", "the format is not known; use CIF, POSCAR")


@pytest.mark.parametrize("keep", [0.4, 0.7, 0.9])
def test_truncated_cif(tmp_path, keep):
    text = LAMBDA.read_text()
    (tmp_path / "a.cif").write_text(text[: int(keep * len(text))])
    refused(tmp_path / "a.cif", "not a readable CIF; it is cut off")


def test_cif_without_atoms(tmp_path):
    (tmp_path / "a.cif").write_text(LAMBDA.read_text().split("loop_")[0])
    refused(tmp_path / "a.cif", "the loop with _atom_site_fract_x is missing")


def test_partial_occupancy(tmp_path, host):
    message = refused(
        cif(tmp_path / "a.cif", "M1 Mn 0 0 0 0.5\nM2 Fe 0 0 0 0.5\nO1 O .5 .5 .5 1"), "site M1 is partially occupied"
    )
    assert "occupancy 0.5" in message
    assert "OrderDisorderedStructureTransformation" in message
    structure = host.to_structure()
    structure.replace(5, {"O": 0.9, "F": 0.1})
    structure.to(str(tmp_path / "a.json"), fmt="json")
    refused(tmp_path / "a.json", r"site 5 is partially occupied \(O:0.9\d*, F:0.1\d*\); order the structure first")
    refused(cif(tmp_path / "v.cif", "O1 O 0 0 0 0.75"), r"site O1 is partially occupied \(occupancy 0.75\)")


def test_hydrogen_without_positions(tmp_path):
    path = tmp_path / "a.cif"
    path.write_text(
        ROCKSALT.replace("_atom_site_occupancy", "_atom_site_attached_hydrogens").format(
            symmetry=P1, atoms="O1 O 0 0 0 2\nMn1 Mn 0.5 0.5 0.5 0"
        )
    )
    refused(path, "site O1 has 2 hydrogen atoms without positions")


@pytest.mark.parametrize("symbol", ["Xx", "Cx", "Wat", "Vac", "Zr1 0.6 + Mo 0.4"])
def test_unknown_element_in_cif(tmp_path, symbol):
    refused(cif(tmp_path / "a.cif", f"A1 O 0 0 0 1\nA2 '{symbol}' 0.5 0.5 0.5 1"), r"site A2: '.*' is not an element")


def test_unknown_element_elsewhere(tmp_path, host):
    poscar = "x\n1.0\n4 0 0\n0 4 0\n0 0 4\n{}\ndirect\n0 0 0\n0.5 0.5 0.5\n"
    (tmp_path / "POSCAR").write_text(poscar.format("O Qq\n1 1"))
    refused(tmp_path / "POSCAR", "POSCAR: ")
    (tmp_path / "POSCAR").write_text(poscar.format("1 1"))
    refused(tmp_path / "POSCAR", "no element symbols .VASP 4 format.; add a line")
    structure = host.to_structure()
    structure.replace(0, "X0+")
    structure.to(str(tmp_path / "a.json"), fmt="json")
    refused(tmp_path / "a.json", "site 0: 'X' is not an element")
    atoms = host.to_atoms()
    atoms.numbers[2] = 0
    ase.io.write(tmp_path / "a.extxyz", atoms)
    refused(tmp_path / "a.extxyz", r"atom 2 has atomic number 0; supported are 1 \(H\) to 94 \(Pu\)")


def test_element_beyond_plutonium(tmp_path):
    refused(
        cif(tmp_path / "a.cif", "A1 O 0 0 0 1\nA2 Am .5 .5 .5 1"),
        "atom 1 has atomic number 95; supported are 1 .H. to 94",
    )


def test_coordinates_and_lattice_not_finite(tmp_path, host):
    refused(
        cif(tmp_path / "a.cif", "A1 O 0 0 0 1\nA2 Mn .5 nan .5 1"),
        r"site A2 has coordinates that are not finite \(nan\)",
    )
    refused(
        cif(tmp_path / "b.cif", "A1 O 0 0 0 1\nA2 Mn .5 ? .5 1"), r"site A2 has coordinates that are not finite \(\?\)"
    )
    (tmp_path / "POSCAR").write_text("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nO Mn\n1 1\ndirect\n0 0 0\n0.5 inf 0.5\n")
    refused(tmp_path / "POSCAR", r"atom 1 \(Mn\) has coordinates that are not finite")
    data = host.to_structure().as_dict()
    data["lattice"]["matrix"][1][1] = float("nan")
    (tmp_path / "a.json").write_text(json.dumps(data))
    refused(tmp_path / "a.json", "the lattice is not finite")


def test_cells_without_volume(tmp_path, host):
    flat = host.to_structure().as_dict()
    flat["lattice"]["matrix"][2] = flat["lattice"]["matrix"][1]
    (tmp_path / "flat.json").write_text(json.dumps(flat))
    refused(tmp_path / "flat.json", "the cell has no room|the cell has no volume")
    (tmp_path / "POSCAR").write_text("x\n1.0\n0 0 0\n0 4 0\n0 0 4\nO Mn\n1 1\ndirect\n0 0 0\n0.5 0.5 0.5\n")
    refused(tmp_path / "POSCAR", "the cell has no room|the cell has no volume")
    text = LAMBDA.read_text().replace("_cell_angle_gamma   60.00680398", "_cell_angle_gamma   160.0")
    (tmp_path / "impossible.cif").write_text(text)
    refused(tmp_path / "impossible.cif", "impossible.cif: ")
    ase.io.write(tmp_path / "molecule.xyz", ase.Atoms("OH2", positions=[[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6]]))
    refused(tmp_path / "molecule.xyz", "has no periodic cell; a host is a crystal")


def test_space_group_that_is_not_understood(tmp_path):
    refused(
        cif(tmp_path / "a.cif", "A1 O 0 0 0 1", "_symmetry_space_group_name_H-M 'F q q q'"),
        "space group 'F q q q' is not understood",
    )


def test_no_atoms(tmp_path):
    data = Structure(Lattice.cubic(4), ["O"], [[0, 0, 0]]).as_dict()
    data["sites"] = []
    (tmp_path / "a.json").write_text(json.dumps(data))
    refused(tmp_path / "a.json", "has no atoms|not readable")
    (tmp_path / "list.json").write_text("[]")
    refused(tmp_path / "list.json", "holds no structure")
    (tmp_path / "other.json").write_text('{"a": 1}')
    refused(tmp_path / "other.json", "no structure with a lattice")
    with pytest.raises(InputError, match="crystal: has no atoms"):
        check_crystal(Crystal([], np.zeros((0, 3)), np.eye(3)))


def test_atoms_too_close(tmp_path, host):
    close = host.with_guests([3], host.frac_coords[4] + [0.05, 0, 0])
    close.to_structure().to(str(tmp_path / "a.json"), fmt="json")
    refused(tmp_path / "a.json", r"atoms 4 \(O\) and 12 \(Li\) are only 0.28 A apart")
    refused(cif(tmp_path / "a.cif", "A1 O 0 0 0 1\nA2 Mn 0 0 0 1"), r"atoms 0 \(O\) and 1 \(Mn\) are only 0.00 A apart")
    refused(
        cif(tmp_path / "b.cif", "A1 O 0.0 0 0.04 1\nA2 Mn 0 0 0.96 1"), r"atoms 0 \(O\) and 1 \(Mn\) are only 0.34 A"
    )
    thin = Structure(Lattice.orthorhombic(0.3, 9, 9), ["O"], [[0, 0, 0]])
    thin.to(str(tmp_path / "thin.json"), fmt="json")
    refused(tmp_path / "thin.json", "0.30 A from their own periodic image")


def test_errors_can_be_collected_instead(tmp_path):
    shutil.copy(LAMBDA, tmp_path / "good.cif")
    (tmp_path / "empty.cif").touch()
    cif(tmp_path / "partial.cif", "A1 O 0 0 0 0.5")
    bad_and_good = [Structure(Lattice.cubic(4), ["O", "O"], [[0, 0, 0], [0, 0, z]]).as_dict() for z in (0.01, 0.5)]
    (tmp_path / "two.json").write_text(json.dumps(bad_and_good))
    errors = []
    assert [crystal.name for crystal in iter_hosts(tmp_path, errors.append)] == ["good", "two-1"]
    assert len(errors) == 3
    assert "two.json (two-0): atoms 0 (O) and 1 (O)" in str(errors[2])
