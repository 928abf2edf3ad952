"""What a CIF may mean: tags in any case and dialect, symmetry stated in many ways, and what has to be refused."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import sys
import zipfile
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Structure

from inpaint_hpc import InputError, read_hosts
from inpaint_hpc.crystals.checking import reading_notes

ATOMS = """\
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ni1 Ni 0 0 0
O1 O 0.5 0.5 0.5
"""
GROUP = "_symmetry_space_group_name_H-M 'F m -3 m'\n"
P1 = "_symmetry_space_group_name_H-M 'P 1'\n"
CENTRINGS = "'x,y,z' 'x,y+1/2,z+1/2' 'x+1/2,y,z+1/2' 'x+1/2,y+1/2,z'\n"


def text(symmetry: str = GROUP, atoms: str = ATOMS, a: float = 4.2, more: str = "") -> str:
    cell = "".join(f"_cell_length_{axis} {a}\n" for axis in "abc")
    return f"data_x\n{cell}{symmetry}{more}{atoms}"


def with_column(tag: str, nickel: str, oxygen: str) -> str:
    """The list of atoms with one more column."""
    more = ATOMS.replace("_z\n", f"_z\n{tag}\n")
    return more.replace("0 0 0\n", f"0 0 0 {nickel}\n").replace("0.5 0.5 0.5\n", f"0.5 0.5 0.5 {oxygen}\n")


def read(tmp_path: Path, content: str, name: str = "x.cif"):
    (tmp_path / name).write_text(content)
    (host,) = read_hosts(tmp_path / name)
    return host


def refused(tmp_path: Path, content: str | bytes, match: str, name: str = "x.cif") -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=match) as error:
        read_hosts(tmp_path / name)
    assert "\n" not in str(error.value) and name in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        text(),
        text().replace("data_x", "DATA_x").replace("loop_", "LOOP_"),
        text().upper().replace("NI1 NI", "Ni1 Ni").replace("DATA_X", "data_x"),
        text(f"loop_\n_space_group_symop.operation_xyz\n{CENTRINGS}").replace("_atom_site_", "_atom_site."),
        text(f"Loop_\n_SYMMETRY_EQUIV_POS_AS_XYZ\n{CENTRINGS}"),
        text("_space_group_name_Hall '-F 4 2 3'\n"),
        text("_space_group_IT_number 225\n"),
        text("_symmetry_space_group_name_H-M Fm3m\n"),
        text("_symmetry_space_group_name_H-M 'F 4/m -3 2/m'\n_space_group_IT_number 225\n"),
        text("_audit_creation_method\n;\ndata_ inside of a text\n;\n" + GROUP),
        text(atoms=ATOMS.replace("0.5 0.5 0.5", "0.5000(2) .5 5e-1")),
    ],
)
def test_rock_salt_however_it_is_written(tmp_path, content):
    host = read(tmp_path, content)
    assert host.formula == "Ni4 O4" and reading_notes(host) == []
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert host.to_structure().matches(structure)


def test_nothing_stated_is_p1_and_said(tmp_path):
    host = read(tmp_path, text(""))
    assert host.formula == "Ni1 O1"
    (note,) = reading_notes(host)
    assert "states no symmetry: read as P1" in note
    dummies = (
        ATOMS.replace("_z\n", "_z\n_atom_site_calc_flag\n")
        .replace("0 0 0", "0 0 0 d")
        .replace("0.5 0.5 0.5", "0.5 0.5 0.5 d")
    )
    host = read(tmp_path, text(atoms=dummies + "C1 C .2 .2 .2 dum\n"))
    assert host.formula == "Ni4 O4" and "1 atoms that the file calls dummies" in reading_notes(host)[0]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (text("_symmetry_space_group_name_H-M 'F q q q'\n_space_group_IT_number 225\n"), "'F q q q' is not understood"),
        (text("_space_group_name_Hall '-F 4 2 q'\n"), "Hall symbol '-F 4 2 q' is not understood"),
        (text("_space_group_IT_number 231\n"), "none from 1 to 230"),
        (
            text("_symmetry_space_group_name_H-M 'P m -3 m'\n_space_group_IT_number 225\n"),
            "is number 221, but the file also says another",
        ),
        (text(GROUP + "_space_group_name_H-M_alt 'P m -3 m'\n"), "but the file also says another one"),
        (
            text("_space_group_name_Hall '-F 4 2 3'\n_space_group_IT_number 221\n"),
            "225, but the file also says number 221",
        ),
        (text("_space_group_name_Hall '-P 4 2 3'\n" + GROUP), "221, but the file also says 'F m -3 m'"),
        (text().replace("'F m -3 m'", "F m -3 m"), "line 5: parse error.; texts with blanks need quotes"),
        (text("_symmetry_space_group_name_H-M 'F d -3 m'\n"), "leaves open which setting is meant"),
        (text("_symmetry_space_group_name_H-M 'P 63/m m c'\n"), "does not fit its cell"),
        (text("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z' 'x,y+½,z'\n"), "operations is not understood"),
        (text("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z' 'x,q,z'\n"), "operations is not understood"),
        (text("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z' 'y,z,x'\n"), "are not a group"),
        (text("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z' '-y,x-y,z' '-x+y,-x,z'\n"), "do not leave its cell"),
        (text("_symmetry_equiv_pos_as_xyz 'x,y,z'\n" + GROUP), "contradicts the 1 symmetry operations"),
        (
            text("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z' '-x,-y,-z'\n" + GROUP),
            "contradicts the 2 symmetry operations",
        ),
        (text("_space_group_ssg_name 'F m -3 m(00g)'\n"), "a modulated structure"),
        (text("_space_group_new_operations 'x,y,z'\n"), "may say what the symmetry is"),
        (text(more="_chemical_formula_sum 'Ni O H2'\n"), "its formula is Ni1 O1 H2"),
        (text(more="_chemical_formula_sum 'Ni O'\n_cell_formula_units_Z 8\n"), "it states 8 formula units of Ni1 O1"),
        (text(atoms=ATOMS + "loop_\n_atom_site_aniso_label\nNi1\n" + ATOMS), "two lists of atoms"),
        (text(atoms=ATOMS.replace("O1 O", "HO1 ?")), "site HO1 may be Ho or H"),
        (text(atoms=ATOMS.replace("Ni1 Ni", "Wat1 ?")), "site Wat1: 'Wat1' is not an element"),
        (text() + "_cell_length_a 4.3\n", "_cell_length_a twice"),
        (text().replace("_cell_length_c 4.2\n", ""), "_cell_length_c is missing"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, content, match):
    refused(tmp_path, content, match)


@pytest.mark.parametrize("value", ["0,5", "1/2", "50%", "<1", "half", "0.5", "0.5(1)", "2"])
@pytest.mark.parametrize("tag", ["_atom_site_occupancy", "_ATOM_SITE_OCCUPANCY", "_atom_site.occupancy"])
def test_occupancies_that_are_not_one(tmp_path, tag, value):
    atoms = (
        ATOMS.replace("_z\n", f"_z\n{tag}\n")
        .replace("0 0 0\n", f"0 0 0 '{value}'\n")
        .replace("0.5 0.5 0.5", "0.5 0.5 0.5 1")
    )
    refused(tmp_path, text(atoms=atoms), "partially occupied|is no number")


@pytest.mark.parametrize(
    "extra", ["_atom_site_symmetry_multiplicity", "_chemical_formula_sum", "_exptl_crystal_density_diffrn"]
)
def test_what_else_is_stated_decides_between_origins(tmp_path, extra):
    """Silicon in F d -3 m, origin 1 or 2 not said: at 0 0 0 it is diamond by origin 1, and 16 atoms by origin 2."""
    atoms = ATOMS.splitlines(keepends=True)[:6]
    row, more = "Si1 Si 0 0 0\n", ""
    if extra == "_atom_site_symmetry_multiplicity":
        atoms, row = [*atoms, f"{extra}\n"], "Si1 Si 0 0 0 8\n"
    elif extra == "_chemical_formula_sum":
        more = "_chemical_formula_sum Si\n_cell_formula_units_Z 8\n"
    else:
        more = "_exptl_crystal_density_diffrn 2.33\n"
    host = read(tmp_path, text("_space_group_name_H-M_alt 'F d -3 m'\n", "".join([*atoms, row]), 5.43, more))
    assert host.formula == "Si8"


def test_blocks_of_one_name_are_two_hosts(tmp_path):
    (tmp_path / "x.cif").write_text(text() + text(atoms=ATOMS.replace("Ni", "Mn")))
    assert [host.formula for host in read_hosts(tmp_path / "x.cif")] == ["Ni4 O4", "Mn4 O4"]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_packed_files(tmp_path, suffix, pack):
    (tmp_path / f"a.cif{suffix}").write_bytes(pack(text().encode()))
    (host,) = read_hosts(tmp_path / f"a.cif{suffix}")
    assert (host.name, host.formula) == ("a", "Ni4 O4")
    assert [one.name for one in read_hosts(tmp_path)] == ["a"]
    partial = text(
        atoms=ATOMS.replace("_z\n", "_z\n_atom_site_occupancy\n")
        .replace("0 0 0", "0 0 0 0.5")
        .replace(".5 0.5 0.5", ".5 0.5 0.5 1")
    )
    refused(tmp_path, pack(partial.encode()), "partially occupied", f"b.cif{suffix}")
    refused(tmp_path, pack(text().encode())[:-9], "cut off|not readable", f"c.cif{suffix}")


def test_no_code_from_data(tmp_path, monkeypatch):
    """A module that data names is never imported, wherever it is named."""
    (tmp_path / "canary_module.py").write_text(
        "from pathlib import Path\nPath(__file__).with_suffix('.sang').touch()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    structure = Structure(Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    evil = {"@module": "canary_module", "@class": "X"}
    data = structure.as_dict()
    data["properties"] = {"p": evil}
    data["sites"][0]["properties"] = {"p": evil}
    data["sites"][1]["species"][0]["evil"] = evil
    data["lattice"] |= evil
    for name, content in {
        "a.json": data,
        "b.json": [{"structure": data | evil, "id": "x"}],
        "c.json": {"computed_structure_entry": {"0": {"structure": data, **evil}}},
        "d.json": {"columns": ["initial_structure"], "index": [0], "data": [[data]]},
    }.items():
        (tmp_path / name).write_text(json.dumps(content))
        assert [host.formula for host in read_hosts(tmp_path / name)] == ["Ni1 O1"]
    assert "canary_module" not in sys.modules and not (tmp_path / "canary_module.sang").exists()


def test_json_as_databases_write_it(tmp_path):
    structure = Structure(Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]).as_dict()
    row = {"material_id": "m", "initial_structure": structure, "energy": -1.5}
    entry = {"material_id": "m", "energy": -1.5, "computed_structure_entry": {"structure": structure}}
    contents = {
        "records.json": json.dumps([row, row]),
        "columns.json": json.dumps({name: {"3": value, "7": value} for name, value in row.items()}),
        "split.json": json.dumps({"columns": list(row), "index": [3, 7], "data": [list(row.values())] * 2}),
        "lines.jsonl": "\n".join([json.dumps(row)] * 2),
        "entries.json": json.dumps([entry, entry]),
        "schema.json": json.dumps({"schema": {"fields": []}, "data": [row, row]}),
        "rows.json": json.dumps({"3": row, "7": row}, indent=1),
        "entry_columns.json": json.dumps({name: {"3": value, "7": value} for name, value in entry.items()}),
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        hosts = read_hosts(tmp_path / name)
        assert [(host.name, host.formula, host.info) for host in hosts] == [
            ("m", "Ni1 O1", {"energy": -1.5}),
            ("m-2", "Ni1 O1", {"energy": -1.5}),
        ], name
    both = [{"initial_structure": structure, "final_structure": structure}]
    refused(tmp_path, json.dumps(both), "holds several structures", "both.json")
    both = {name: {"0": structure} for name in both[0]}
    refused(tmp_path, json.dumps(both), "holds several columns of structures", "both.json")
    (tmp_path / "ids.json").write_text(json.dumps({"mp-1": structure, "mp-2": structure}))
    assert [host.name for host in read_hosts(tmp_path / "ids.json")] == ["mp-1", "mp-2"]
    plain = json.dumps([{"material_id": "m", "structure": structure, "gap": float("nan")}])
    assert np.isnan(read(tmp_path, plain, "nan.json").info["gap"])


def test_periodicity_and_symmetry_of_other_formats(tmp_path):
    frame = '2\nLattice="4.2 0 0 0 4.2 0 0 0 4.2" Properties=species:S:1:pos:R:3 pbc="{}"\nNi 0 0 0\nO 2.1 2.1 2.1\n'
    refused(tmp_path, frame.format("F F F"), "not periodic", "a.extxyz")
    host = read(tmp_path, frame.format("T T F"), "b.extxyz")
    assert reading_notes(host) == ["the file says pbc T T F: taken as periodic in all three directions of its cell"]
    pdb = "CRYST1    4.200    4.200    4.200  90.00  90.00  90.00 {:<11}   4\n"
    atom = "ATOM      1 NI   MOL     1       0.000   0.000   0.000  {:4.2f}  0.00          NI\n"
    refused(tmp_path, pdb.format("F m -3 m") + atom.format(1), r"symmetry \('F m -3 m'\) is not expanded", "a.pdb")
    refused(tmp_path, pdb.format("P 1") + atom.format(0.5), "partially occupied", "b.pdb")
    assert len(read(tmp_path, pdb.format("P 1") + atom.format(1), "c.pdb")) == 1


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a.pwi", "&SYSTEM", "&SYSTEM\n   space_group = 225,"),
        ("a.car", "90.00000\nNi", "90.00000 (FM-3M)\nNi"),
        ("a.arc", "90.00000\nNi", "90.00000 (FM-3M)\nNi"),
        ("a.xsd", '0,0,1,0"', '0,0,1,0:-1,0,0,0,0,-1,0,0,0,0,-1,0"'),
        ("a.shelx", "LATT -1", "LATT -4"),
        ("a.shelx", "LATT -1", "LATT -1\nSYMM -x, -y, -z"),
    ],
)
def test_symmetry_that_a_format_does_not_expand(tmp_path, name, before, after):
    """Written by ASE, then with a space group put in: ASE would read the listed atoms alone."""
    ase_format = {"a.pwi": "espresso-in", "a.car": "dmol-car", "a.arc": "dmol-arc", "a.xsd": "xsd"}.get(name, "res")
    options = {"pseudopotentials": {"Ni": "Ni", "O": "O"}} if name == "a.pwi" else {}
    atoms = Atoms("NiO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4.2, 4.2, 4.2], pbc=True)
    ase.io.write(tmp_path / name, atoms, format=ase_format, **options)
    assert read_hosts(tmp_path / name)[0].formula == "Ni1 O1"
    content = (tmp_path / name).read_text()
    assert before in content
    refused(tmp_path, content.replace(before, after), "is not expanded in this format; write the file in P1", name)


def test_names_stay_unique(tmp_path):
    structure = Structure(Lattice.cubic(4.2), ["Ni"], [[0, 0, 0]]).as_dict()
    (tmp_path / "a.json").write_text(json.dumps([{"id": name, "structure": structure} for name in ("A", "A", "A-2")]))
    names = [host.name for host in read_hosts(tmp_path / "a.json")]
    assert len(set(names)) == 3 and names[0] == "A"


def test_listed_atoms_keep_their_bits(tmp_path):
    """0.3333 stays 0.3333 where it is listed, and is 1/3 for what symmetry makes of it."""
    atoms = ATOMS.replace("Ni1 Ni 0 0 0", "Ni1 Ni 0.3333 0.6667 0.25").replace("O1 O 0.5 0.5 0.5\n", "")
    cell = "_cell_length_a 2.5\n_cell_length_b 2.5\n_cell_length_c 4.1\n_cell_angle_gamma 120\n"
    host = read(tmp_path, f"data_x\n{cell}_space_group_name_H-M_alt 'P 63/m m c'\n{atoms}")
    assert host.formula == "Ni2" and host.frac_coords[0].tolist() == [0.3333, 0.6667, 0.25]
    np.testing.assert_allclose(host.frac_coords[1], [2 / 3, 1 / 3, 0.75], atol=1e-12)


def test_archives_of_generators(tmp_path):
    with zipfile.ZipFile(tmp_path / "generated.cif.zip", "w") as archive:
        archive.writestr("gen_1.cif", text(atoms=ATOMS.replace("Ni", "Mn")))
        archive.writestr("gen_0.cif", text())
        archive.writestr("README.txt", "no crystal")
        frame = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 material_id=wbm-1-1 pbc="T T T"'
        archive.writestr("gen_2.extxyz", f"2\n{frame}\nCs 0 0 0\nCl 2 2 2\n")
    hosts = [(host.name, host.formula) for host in read_hosts(tmp_path / "generated.cif.zip")]
    assert hosts == [("gen_0", "Ni4 O4"), ("gen_1", "Mn4 O4"), ("wbm-1-1", "Cs1 Cl1")]
    quoted = text().replace('"', '""')
    (tmp_path / "a.csv").write_text(f'material_id,cif,band_gap\nmp-1,"{quoted}",0.5\nmp-2,"{quoted}",0\n')
    assert [(host.name, host.formula) for host in read_hosts(tmp_path / "a.csv")] == [
        ("mp-1", "Ni4 O4"),
        ("mp-2", "Ni4 O4"),
    ]
    refused(tmp_path, "a,b\n1,2\n", "a column 'cif'", "b.csv")
    refused(tmp_path, b"PK\x03\x04 not a zip", "zip archive is damaged", "b.cif.zip")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (text(a=1.6), "closer than such atoms come"),
        (text(a=42000.0), "A long; check lattice and units"),
        (text(P1, ATOMS.replace("0.5 0.5 0.5", "1e9 0.5 0.5")), "cells away"),
    ],
)
def test_sizes_that_cannot_be(tmp_path, content, match):
    refused(tmp_path, content, match)


def test_coordinates_of_other_cells_are_wrapped_for_checks_alone(tmp_path):
    host = read(tmp_path, text(P1, ATOMS.replace("0.5 0.5 0.5", "200.5 -99.5 0.5")))
    assert host.frac_coords[1].tolist() == [200.5, -99.5, 0.5]


def test_moments_are_passed_over_and_said(tmp_path):
    magnetic = "loop_\n_space_group_symop_magn_operation.xyz\n'x,y,z,+1' '-x,-y,-z,-1'\n"
    moments = "loop_\n_atom_site_moment.label\n_atom_site_moment.crystalaxis_x\nNi1 1.5\n"
    host = read(tmp_path, text(magnetic) + moments, "x.mcif")
    assert host.formula == "Ni1 O1" and reading_notes(host) == ["magnetic moments of the file are passed over"]


def test_partial_occupancy_beside_the_atoms_of_ase(tmp_path):
    frame = '1\nLattice="4.2 0 0 0 4.2 0 0 0 4.2" Properties=species:S:1:pos:R:3:occupancy:R:1\nNi 0 0 0 0.5\n'
    refused(tmp_path, frame, "partially occupied", "a.extxyz")
