"""Candidates of an archive in one table, filtered by an expression that cannot run code."""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.errors import InputError

from .tables import joined, with_texts_of_guests

if TYPE_CHECKING:
    import pandas as pd

# One text for all guests of a candidate; read only when asked for, since a million of them take long.
_PER_GUEST = ("wyckoff", "coordination", "environment", "placed_wyckoff")
_OF_TASK = ("confidence", "potential", "treatment")
_LONGEST = 2000
# No calls, attributes or subscripts, and no powers, which can make numbers without end.
_ALLOWED = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Compare, ast.cmpop),
    *(ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop, ast.BinOp),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitAnd, ast.BitOr),
)


def candidate_table(archive: Archive, per_guest: bool = False) -> pd.DataFrame:
    """One row per candidate: host and guests ('Li4 Na') of its task, then its columns, then those of the task.

    Args:
        archive: an open archive.
        per_guest: with the texts of the guests, e.g. `wyckoff`, joined by ', '.
    """
    return joined(_blocks(archive, per_guest))


def query(archive: Archive, expression: str) -> pd.DataFrame:
    """The candidates that fit an expression of pandas' `DataFrame.query`, e.g. 'rank == 0 and agreement > 0.5'.

    The table is read in parts, so that memory is needed only for what fits.

    Raises:
        InputError: more than comparisons and arithmetic in the expression, an unknown column, or not a condition.
    """
    names = names_in(expression)
    # One line, since pandas takes each line for an expression.
    meant = _with_guest_labels(expression)
    kept = []
    for block in _blocks(archive, per_guest=not names.isdisjoint(_PER_GUEST)):
        check_columns(names, [*block, *(name for name in _PER_GUEST if archive.has_column("candidates", name))])
        try:
            fits = np.asarray(block.eval(meant, engine="python"))
        except (TypeError, ValueError, NotImplementedError, AttributeError, KeyError, SyntaxError) as error:
            raise InputError(f"cannot evaluate '{expression}': {error}") from error
        if fits.dtype.kind != "b" or fits.shape != (len(block),):
            raise InputError(f"'{expression}' is not a condition on candidates; compare a column, e.g. 'rank == 0'")
        kept.append(block[fits])
    return joined(kept)


def guests_of(archive: Archive) -> list[str]:
    """The guests of its tasks as `query` writes them, the most frequent first."""
    return [short_label(label) for label, _ in Counter(archive.task_labels()[1]).most_common()]


def _blocks(archive: Archive, per_guest: bool) -> Iterator[pd.DataFrame]:
    names, labels = archive.task_labels()
    of_task = {"host": names, "guests": [short_label(label) for label in labels]}
    columns = {name: np.array(values, dtype=object) for name, values in of_task.items()}
    known = [name for name in _OF_TASK if archive.has_column("tasks", name)]
    tasks = archive.tasks() if known else None
    for block in archive.candidate_blocks(per_guest):
        found, rows = with_texts_of_guests(block), block["task"].to_numpy()
        for place, (name, values) in enumerate(columns.items(), start=1):
            found.insert(place, name, values[rows])
        yield found if tasks is None else found.assign(**{name: tasks[name].to_numpy()[rows] for name in known})


def short_label(label: str) -> str:
    """'Li=4 Na=1' -> 'Li4 Na'."""
    return re.sub("=1\\b|=", "", label)


def _with_guest_labels(expression: str) -> str:
    """The expression in one line, with guests as the table writes them: 'Na=1 Li=4' becomes 'Li4 Na'."""
    tree = ast.parse(expression.strip(), mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and "guests" in {
            one.id for one in ast.walk(node) if isinstance(one, ast.Name)
        }:
            for one in ast.walk(node):
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    one.value = _label(one.value)
    return ast.unparse(tree)


def _label(text: str) -> str:
    """As the table writes these guests; the text itself where it does not say guests."""
    from ase.data import atomic_numbers

    found = [re.fullmatch("([A-Z][a-z]?)=?([1-9][0-9]*)?", part) for part in text.split()]
    parts = [(one[1], one[2] or "1") for one in found if one is not None and one[1] in atomic_numbers]
    if len(parts) < len(found):
        return text
    parts.sort(key=lambda part: atomic_numbers[part[0]])
    return short_label(" ".join(f"{symbol}={count}" for symbol, count in parts))


def names_in(expression: str) -> set[str]:
    """Columns that an expression names.

    Raises:
        InputError: it has more than columns, numbers, texts, comparisons, `and`, `or`, `not`, `in` and arithmetic.
    """
    if len(expression) > _LONGEST:
        raise InputError(f"the expression has {len(expression)} characters; at most {_LONGEST} are allowed")
    try:
        nodes = list(ast.walk(ast.parse(expression.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = "'@' is not allowed in it" if "@" in expression else getattr(error, "msg", None) or error
        raise InputError(f"cannot read the expression '{expression}': {why}") from error
    for node in nodes:
        if isinstance(node, ast.Call):
            raise InputError(f"function calls are not allowed in the expression: '{ast.unparse(node)}'")
        if isinstance(node, ast.MatMult):
            raise InputError(f"'@' is not allowed in the expression '{expression}'")
        if isinstance(node, ast.Name | ast.Attribute) and "__" in ast.unparse(node):
            raise InputError(f"names with '__' are not allowed in the expression: '{ast.unparse(node)}'")
        text = isinstance(node, ast.BinOp) and any(
            isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (node.left, node.right)
        )
        if text or not isinstance(node, _ALLOWED):
            raise InputError(
                f"only columns, numbers, texts, comparisons, and, or, not, in, + - * / are allowed in '{expression}'"
            )
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def check_columns(names: Collection[str], known: Collection[str]) -> None:
    """Raise an InputError with the nearest names for a column that does not exist."""
    for name in sorted(set(names) - set(known)):
        near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
        raise InputError(f"no column '{name}'; " + (f"nearest: {', '.join(near)}" if near else ", ".join(known)))


def write_rows(archive: Archive, rows: pd.DataFrame, out: str, format: str) -> None:
    """Write all columns of these candidates as `export` does, in the archive's order."""
    from inpaint_hpc.archive.export import export_ranks

    ranks = rows.sort_values(["task", "rank"]).groupby("task")["rank"].apply(list).to_dict()
    export_ranks(archive, out, format, ranks)
