"""The table of datasets in docs/archive.md: `python -m inpaint_hpc.archive.schema_page` prints it."""

from __future__ import annotations

from .fields import Column
from .schema import CHILDREN, SECONDS, TABLES, column

ROWS = {"hosts": "N", "tasks": "T", "samples": "S", "candidates": "C", "sites": "K", "failures": "F"}


def lines() -> list[str]:
    """The table in Markdown, line by line."""
    found = ["| dataset | shape | unit | what |", "|---|---|---|---|"]
    for table, columns in TABLES.items():
        seen: set[str] = set()
        for name, what in columns.items():
            if what.per and what.per not in seen:
                seen.add(what.per)
                found.append(_line(table, what.per, column(table, what.per)))
            found.append(_line(table, name, what))
        if table == "tasks":
            found.append(_line(table, f"{SECONDS}STAGE", column(table, f"{SECONDS}STAGE")))
            found += [_line(table, name, column(table, name)) for name in CHILDREN.values()]
    return found


def _line(table: str, name: str, what: Column | None) -> str:
    assert what is not None
    is_offsets = name.endswith("_offsets")
    first = f"{ROWS[table]} + 1" if is_offsets else "ragged" if what.per else ROWS[table]
    notes = ["optional"] if what.optional and not is_offsets else []
    notes += [f"since {what.since}"] if what.since > "1.0" else []
    notes += ["NaN where unknown"] if what.null else [f"{what.absent} where unknown"] if what.absent else []
    kind = "" if is_offsets or what.dtype != "u1" else "uint8, "
    tail = f" ({'; '.join(notes)})" if notes else ""
    shape = ", ".join([first, *map(str, what.tail)])
    return f"| /{table}/{name} | {shape} | {what.unit} | {kind}{what.what}{tail} |"


if __name__ == "__main__":
    print("\n".join(lines()))
