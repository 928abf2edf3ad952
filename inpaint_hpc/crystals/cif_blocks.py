"""CIF by its grammar (gemmi): data blocks as columns, whatever case and dialect their tags are written in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from inpaint_hpc.errors import InputError

FRACTIONS = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")


@dataclass
class Block:
    """A data block.

    Attributes:
        name: of the block, '' without one.
        columns: tag -> values as text, without quotes; unknown values ('?' and '.') are ''.  Tags are lower case with
            '_' for the '.' of CIF 2, ISOCIF and mmCIF.
        loop_of: tag -> number of its loop; pairs have none.
    """

    name: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    loop_of: dict[str, int] = field(default_factory=dict)

    def value(self, *tags: str) -> str:
        """The first of several tags that has one value and says something; ''."""
        for tag in tags:
            found = self.columns.get(tag, [])
            if len(found) == 1 and found[0]:
                return found[0]
        return ""


def read_blocks(text: str) -> list[Block]:
    """The data blocks of a file.

    Raises:
        InputError: not a CIF, cut off, or a tag twice in one block.
    """
    from gemmi import cif

    try:
        document = cif.read_string(text, 0)
    except (ValueError, RuntimeError) as error:
        # 'string:3:35(72): parse error'
        reason = re.sub(r"^\w+:(\d+):\d+\(\d+\): ?", r"line \1: ", " ".join(str(error).split()))[:120]
        raise InputError(
            f"not a readable CIF; it is cut off or breaks the grammar of CIF ({reason}); texts with blanks need quotes"
        ) from None
    return [_block(one) for one in document]


def _block(block) -> Block:
    found = Block(block.name)
    for number, item in enumerate(block):
        if item.pair is not None:
            _add(found, item.pair[0], [item.pair[1]], None)
        elif item.loop is not None:
            tags, values = list(item.loop.tags), list(item.loop.values)
            for k, tag in enumerate(tags):
                _add(found, tag, values[k :: len(tags)], number)
    return found


def _add(block: Block, tag: str, values: list[str], loop: int | None) -> None:
    from gemmi import cif

    name = tag.lower().replace(".", "_")
    if name in block.columns:
        what = "two lists of atoms" if name.startswith("_atom_site_") else f"{tag} twice"
        raise InputError(f"data block '{block.name}' has {what}; split it into two blocks")
    block.columns[name] = ["" if cif.is_null(value) else cif.as_string(value).strip() for value in values]
    if loop is not None:
        block.loop_of[name] = loop


def number_of(text: str) -> float:
    """A number with or without its uncertainty, '1.234(5)'.

    Raises:
        ValueError: not a number.
    """
    head, bracket, rest = text.strip().partition("(")
    if bracket and not (rest.endswith(")") and rest[:-1].isdigit()):
        raise ValueError(text)
    if "_" in head:  # Python's float would take 1_0
        raise ValueError(text)
    return float(head)
