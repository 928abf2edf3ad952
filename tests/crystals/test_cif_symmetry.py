"""Every setting that gemmi knows, written as a CIF in five ways: right, or refused, and never another crystal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import gemmi
import numpy as np
import pytest
import spglib
from scipy.spatial import cKDTree

from inpaint_hpc import read_hosts
from inpaint_hpc.errors import InputError

SETTINGS = list(gemmi.spacegroup_table())
WAYS = ("operations", "hall", "extended", "short", "number")
LISTED = [(11, (0.444, 0.141, 0.406)), (17, (0.569, 0.53, 0.102))]


def arrays(setting) -> tuple[np.ndarray, np.ndarray]:
    operations = list(setting.operations())
    rotations = np.array([one.rot for one in operations]) // gemmi.Op.DEN
    return rotations, np.array([one.tran for one in operations]) / gemmi.Op.DEN


def cell_of(setting, rng) -> tuple[list[float], np.ndarray]:
    """Parameters and metric of a generic cell that the setting leaves as it is."""
    shear = np.eye(3) + 0.25 * rng.uniform(-1, 1, (3, 3))
    lattice = shear * rng.uniform(40.0, 60.0, 3)[:, None]
    rotations, _ = arrays(setting)
    metric = np.einsum("nji,jk,nkl->il", rotations, lattice @ lattice.T, rotations) / len(rotations)
    lengths = np.sqrt(np.diag(metric))
    cosines = metric / np.outer(lengths, lengths)
    angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
    return [*lengths, *angles], metric


def atoms_of(setting) -> tuple[np.ndarray, np.ndarray]:
    """All atoms of the cell: general positions, so that nothing but the symmetry decides."""
    rotations, translations = arrays(setting)
    frac = np.concatenate([rotations @ np.array(place) + translations for _, place in LISTED])
    return np.repeat([z for z, _ in LISTED], len(rotations)), frac - np.floor(frac)


def text_of(setting, way: str, parameters: list[float]) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_x", *(f"_cell_{name} {value:.10f}" for name, value in zip(names, parameters, strict=True))]
    if way == "operations":
        listed = (f"'{operation.triplet()}'" for operation in setting.operations())
        lines += ["loop_", "_space_group_symop_operation_xyz", *listed]
    elif way == "hall":
        lines.append(
            f'_space_group_name_Hall "{setting.hall}"'
            if "'" in setting.hall
            else f"_space_group_name_Hall '{setting.hall}'"
        )
        if '"' in setting.hall:
            lines[-1] = f"_space_group_name_Hall '{setting.hall}'"
    elif way == "extended":
        lines.append(f"_symmetry_space_group_name_H-M '{setting.xhm()}'")
    elif way == "short":
        lines.append(f"_symmetry_space_group_name_H-M '{setting.short_name()}'")
        lines.append(f"_symmetry_Int_Tables_number {setting.number}")
    else:
        lines.append(f"_space_group_IT_number {setting.number}")
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol", *(f"_atom_site_fract_{axis}" for axis in "xyz")]
    lines += [f"{s}1 {s} {x} {y} {z}" for s, (_, (x, y, z)) in zip(("Na", "Cl"), LISTED, strict=True)]
    return "\n".join(lines) + "\n"


def same(numbers: np.ndarray, frac: np.ndarray, others: np.ndarray, places: np.ndarray) -> bool:
    if sorted(numbers.tolist()) != sorted(others.tolist()):
        return False
    distances, rows = cKDTree(places % 1.0, boxsize=1.0).query(frac % 1.0)
    return bool((distances < 1e-5).all() and (numbers == others[rows]).all())


def verdict(setting, way: str, folder: Path, rng) -> str:
    parameters, _ = cell_of(setting, rng)
    path = folder / "x.cif"
    path.write_text(text_of(setting, way, parameters))
    try:
        (host,) = read_hosts(path)
    except InputError as error:
        assert "\n" not in str(error)
        return "refused"
    return "right" if same(host.numbers, host.frac_coords, *atoms_of(setting)) else "wrong"


def test_operations_are_those_of_spglib():
    """Of all 530 settings that spglib has; gemmi names them by the same Hall symbols."""
    ours = {setting.hall: setting for setting in SETTINGS}
    for number in range(1, 531):
        kind = spglib.get_spacegroup_type(number)
        theirs = spglib.get_symmetry_from_database(number)
        rotations, translations = arrays(ours[kind.hall_symbol])
        found, expected = (
            {(tuple(r.ravel()), tuple(np.round(24 * t).astype(int) % 24)) for r, t in zip(*pair, strict=True)}
            for pair in ((rotations, translations), (theirs["rotations"], theirs["translations"]))
        )
        assert found == expected, kind


@pytest.mark.parametrize("way", WAYS)
def test_every_setting(way, tmp_path):
    rng = np.random.default_rng(3)
    found = {setting.xhm() + setting.qualifier: verdict(setting, way, tmp_path, rng) for setting in SETTINGS}
    counts = Counter(found.values())
    print(way, dict(counts))
    assert [name for name, said in found.items() if said == "wrong"] == []
    share = counts["right"] / len(found)
    assert share >= {"short": 0.85, "number": 0.1}.get(way, 0.99), [k for k, v in found.items() if v != "right"][:40]
