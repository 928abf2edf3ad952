"""Which symmetry operations a CIF means: those it lists, else those of its Hall symbol, symbol or number.

A symbol may leave the setting open (unique axis, origin, hexagonal or rhombohedral axes).  Then those settings are
possible that leave the cell as it is; which of them is meant is decided in cif.py, by what else the file states.
Settings are those of International Tables A and B as gemmi lists them (M. Wojdyr, J. Open Source Softw. 7, 4200, 2022).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from inpaint_hpc.errors import InputError

from .cif_blocks import Block

# Relative change of the metric by an operation that counts as rounding; relaxed cells are a little off their lattice.
METRIC_TOLERANCE = 0.02
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_SYMBOLS = (
    *("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_full"),
    *("_symmetry_space_group_name_h-m_full", "_space_group_name_h-m_ref", "_symmetry_space_group_name_h-m_ref"),
    *("_space_group_name_h-m", "_space_group_h-m_alt", "_symmetry_space_group_name_h-m_alt"),
)
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number", "_symmetry_it_number", "_space_group_int_number")
_CODES = ("_space_group_it_coordinate_system_code",)
_OPERATIONS = (
    *("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz", "_symmetry_equiv_as_xyz"),
    "_space_group_symop_as_xyz",
)
_MAGNETIC = "_space_group_symop_magn_operation_xyz"
_MAGNETIC_CENTRING = "_space_group_symop_magn_centering_xyz"
# What says nothing that the operations depend on.
_HARMLESS = re.compile(
    r"_symmetry_cell_setting|_space_group_(crystal_system|bravais_type|laue_class|centring_type|id|reference_setting"
    r"|name_schoenflies|patterson_name_h-m|point_group_h-m|symop_(id|sg_id|generator_xyz|operation_description)"
    r"|symop_magn_(id|centering_id|operation_mxmymz|centering_mxmymz)|wyckoff_.*)"
    r"|_symmetry_equiv_(pos_site_id|pos_id|id)|_symmetry_space_group_name_schoenflies|_symmetry_point_group.*"
    r"|_space_group_magn_.*|_symmetry_(entry_id|pdbx_.*)|_symmetry_equiv_pos_.*id|_audit.*"
)


@dataclass(frozen=True)
class Setting:
    """Symmetry operations that a file may mean.

    Attributes:
        label: what it is called in messages.
        rotations, translations: of positions in fractional coordinates, int64 (n, 3, 3) and float64 (n, 3); the first
            is the identity.
    """

    label: str
    rotations: np.ndarray
    translations: np.ndarray

    def __len__(self) -> int:
        return len(self.rotations)

    def keeps(self, lattice: np.ndarray) -> bool:
        """Whether the operations leave a cell (rows a, b, c) as it is."""
        metric = lattice @ lattice.T
        scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
        images = np.einsum("nji,jk,nkl->nil", self.rotations, metric, self.rotations)
        return bool((np.abs(images - metric) <= METRIC_TOLERANCE * scale).all())


def settings_of(block: Block, lattice: np.ndarray) -> tuple[list[Setting], list[str]]:
    """Settings that a block may mean, and notes on what was not stated; several only where the file leaves it open.

    Args:
        block: the data block.
        lattice: its cell, rows a, b, c in A.

    Raises:
        InputError: symmetry that is not understood, that contradicts itself, or that the cell does not have.
    """
    _require_understood(block)
    listed = _listed(block)
    if listed is not None:
        if not listed.keeps(lattice):
            raise InputError("its symmetry operations do not leave its cell as it is; one of the two is wrong")
        _require_agreement(block, listed)
        return [listed], []
    named = _named(block)
    if named is None:
        return [_p1()], ["the file states no symmetry: read as P1, as if it listed all atoms of the cell"]
    label, found = named
    fitting = [setting for setting in found if setting.keeps(lattice)]
    if not fitting:
        raise InputError(f"space group {label} does not fit its cell; one of the two is wrong")
    return fitting, []


def _require_understood(block: Block) -> None:
    known = {*_HALL, *_SYMBOLS, *_NUMBERS, *_CODES, *_OPERATIONS, _MAGNETIC, _MAGNETIC_CENTRING}
    for tag, values in block.columns.items():
        if "_ssg_" in tag or tag.startswith(("_cell_wave_vector", "_cell_modulation_dimension")):
            if any(values):
                raise InputError(
                    f"{tag}: a modulated structure; a host is a crystal with three-dimensional periodicity"
                )
        elif tag.startswith(("_symmetry", "_space_group")) and tag not in known and not _HARMLESS.fullmatch(tag):
            if tag == "_space_group_transform_pp_abc" and set(values) <= {"", "a,b,c;0,0,0"}:
                continue
            if any(values) and not any(name in block.columns for name in _OPERATIONS):
                raise InputError(
                    f"{tag} is not understood, and it may say what the symmetry is; list the operations instead"
                )


def _listed(block: Block) -> Setting | None:
    """The operations that a block lists."""
    import gemmi

    tag = next((name for name in (*_OPERATIONS, _MAGNETIC) if any(block.columns.get(name, ()))), None)
    if tag is None:
        return None
    texts = [text for text in block.columns[tag] if text]
    centring = [text for text in block.columns.get(_MAGNETIC_CENTRING, ()) if text] if tag == _MAGNETIC else []
    try:
        operations, centrings = ([_operation(text, tag == _MAGNETIC) for text in one] for one in (texts, centring))
    except (ValueError, RuntimeError, UnicodeDecodeError):
        raise InputError("one of its symmetry operations is not understood; write them like 'x+1/2, -y, z'") from None
    if centrings:
        operations = [extra * one for extra in centrings for one in operations]
    group = gemmi.GroupOps(operations)
    order = len(group)
    group.add_missing_elements()
    if len(group) != order:
        raise InputError(f"its {order} symmetry operations are not a group; some are missing or wrong")
    return _setting("the operations that it lists", group)


def _operation(text: str, magnetic: bool) -> Any:
    import gemmi

    text = text.strip().strip("'\"").replace(" ", "")
    if magnetic:
        text = ",".join(text.split(",")[:3])
    if not text.isascii():
        raise ValueError(text)
    text = re.sub(r"(\d)(?=[xyzXYZ])", r"\1*", text)  # '2x-z', as pymatgen writes it
    operation = gemmi.Op(text)
    if abs(round(np.linalg.det(np.array(operation.rot) / operation.DEN))) != 1:
        raise ValueError(text)
    return operation


def _require_agreement(block: Block, listed: Setting) -> None:
    """Refuse operations that are of another crystal class than symbol or number say; some files list one for show.

    What symbol and number say where they are not understood is passed over if there are operations beyond the identity.
    """
    try:
        named = _named(block)
    except InputError as error:
        if len(listed) > 1:
            return
        raise InputError(f"it lists the identity alone, but {error}") from None
    if named is None:
        return
    order = _class_order(listed)
    if all(_class_order(setting) != order for setting in named[1]):
        raise InputError(f"space group {named[0]} contradicts the {len(listed)} symmetry operations that it lists")


def _class_order(setting: Setting) -> int:
    """Order of the crystal class: different rotations, whatever the centring and the choice of axes."""
    return len(np.unique(setting.rotations.reshape(-1, 9), axis=0))


def _named(block: Block) -> tuple[str, list[Setting]] | None:
    """What the Hall symbol, or symbol and number, stand for; None where nothing is stated."""
    import gemmi

    number, code, hall = _number(block), block.value(*_CODES), block.value(*_HALL)
    symbols = [value for tag in _SYMBOLS if (value := block.value(tag))]
    if hall:
        try:
            group = gemmi.symops_from_hall(hall.replace("_", " "))
        except (ValueError, RuntimeError):
            raise InputError(f"the Hall symbol '{hall}' is not understood; list the symmetry operations") from None
        known = gemmi.find_spacegroup_by_ops(group)
        stated = {f"number {number}": {number} - {None}} | {f"'{one}'": _numbers_of(one) for one in symbols}
        for said, numbers in stated.items():
            if known is not None and numbers and known.number not in numbers:
                raise InputError(f"the Hall symbol '{hall}' is number {known.number}, but the file also says {said}")
        return f"'{hall}'", [_setting(hall, group)]
    if not symbols and number is None:
        return None
    entries = [entry for entry in _table() if number in (None, entry.number)]
    for symbol in symbols:
        named = _entries(symbol, code)
        if not named:
            raise InputError(
                f"space group '{symbol}' is not understood; list its operations in the file, or write it in P1"
            )
        entries = [entry for entry in entries if entry in named]
        if not entries:
            raise InputError(f"space group '{symbol}' is number {named[0].number}, but the file also says another one")
    if not symbols:
        entries = [entry for entry in entries if _has_code(entry, code)]
        if not entries:
            raise InputError(f"space group number {number} has no setting '{code}'")
    label = f"'{symbols[0]}'" if symbols else f"number {number}"
    return label, [_of_entry(entry) for entry in entries]


def _numbers_of(symbol: str) -> set[int]:
    return {entry.number for entry in _entries(symbol, "")}


def _number(block: Block) -> int | None:
    text = block.value(*_NUMBERS)
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 230:
        raise InputError(f"the space group number '{text}' is none from 1 to 230")
    return int(text)


@cache
def _table() -> tuple[Any, ...]:
    import gemmi

    return tuple(gemmi.spacegroup_table())


@cache
def _by_symbol() -> dict[str, list[Any]]:
    """Settings by what they may be called, without spaces: extended, short, without ones, and old cubic symbols."""
    import spglib

    full = defaultdict(set)
    for number in range(1, 531):
        kind = spglib.get_spacegroup_type(number)
        assert kind is not None  # spglib knows the numbers 1 to 530
        full[kind.hall_symbol].add(kind.international_full)
    found: dict[str, list[Any]] = defaultdict(list)
    for entry in _table():
        names = {entry.hm, entry.short_name(), re.sub(r" 1(?= |$)", "", entry.hm), *full[entry.hall]}
        if 200 <= entry.number <= 230:
            names |= {name.replace("-3", "3") for name in names}  # before 1983
        if entry.number in (39, 41, 64, 67, 68):  # double glide planes, since 1992
            names |= {name[:k] + "e" + name[k + 1 :] for name in names for k, c in enumerate(name) if c in "abc"}
        for name in names:
            key = _key(name)
            if entry not in found[key]:
                found[key].append(entry)
    return found


def _key(symbol: str) -> str:
    return symbol.replace(" ", "").replace("_", "").lower()


def _entries(symbol: str, code: str) -> list[Any]:
    """Settings that a symbol may stand for; its suffix ':2', ':H', 'S', 'Z' ... decides where it has one."""
    text = symbol.strip().replace("(", "").replace(")", "")
    head, colon, suffix = text.partition(":")
    suffix = suffix.strip()
    if not colon and (match := re.fullmatch(r"(.*\S)\s+([SZHR12])", text)) and _by_symbol().get(_key(match[1])):
        if not _by_symbol().get(_key(text)):
            head, suffix = match[1], match[2]
    elif not colon and text[-1:] in "SZHR" and not _by_symbol().get(_key(text)):
        head, suffix = text[:-1], text[-1]
    entries = _by_symbol().get(_key(head), [])
    # A symbol that one setting has as its own is that setting, though others are called so for short.
    own = [entry for entry in entries if _key(entry.hm) == _key(head)]
    entries = own or entries
    if suffix:
        wanted = {"S": "1", "Z": "2"}.get(suffix.upper(), suffix.upper())
        if wanted in {"B", "C", "A", "B1", "B2", "B3", "C1", "C2", "C3", "A1", "A2", "A3", "-B1"}:
            return [entry for entry in entries if entry.qualifier.upper().endswith(wanted) or not entry.qualifier]
        return [entry for entry in entries if str(entry.ext).strip("\0").upper() == wanted]
    return [entry for entry in entries if _has_code(entry, code)] or entries


def _has_code(entry: Any, code: str) -> bool:
    """Whether a setting is the one of a coordinate system code such as '2', 'h', 'b1', '-cba'."""
    if not code:
        return True
    wanted = code.strip().lower()
    ext, qualifier = str(entry.ext).strip("\0").lower(), entry.qualifier.lower()
    return wanted in (ext, qualifier, f"{ext}{qualifier}", f"{qualifier}:{ext}") or (wanted == "abc" and not qualifier)


@cache
def _of_entry(entry: Any) -> Setting:
    return _setting(f"'{entry.xhm()}'", entry.operations())


def _setting(label: str, group: Any) -> Setting:
    import gemmi

    operations = sorted(group, key=lambda operation: operation != gemmi.Op())
    rotations = np.array([operation.rot for operation in operations], dtype=np.int64)
    return Setting(
        label,
        rotations // gemmi.Op.DEN,
        np.array([operation.tran for operation in operations], dtype=np.float64) / gemmi.Op.DEN,
    )


def _p1() -> Setting:
    return Setting("P1", np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)))
