"""Candidates of an archive in one table, filtered by an expression that cannot run code."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# One text for all guests of a candidate; read only when asked for, since a million of them take long.
_PER_GUEST = ("wyckoff", "coordination", "placed_wyckoff")
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
    found = archive.candidates(per_guest=per_guest)
    if per_guest:
        texts = {name: [", ".join(values) for values in found[name]] for name in _PER_GUEST if name in found}
        arrays = ("guest_frac_coords", "relaxed_guest_frac_coords", "multiplicity", "placed_multiplicity")
        found = found.drop(columns=[name for name in arrays if name in found]).assign(**texts)
    names, labels = archive.task_labels()
    rows = found.task.to_numpy()
    found.insert(1, "host", np.array(names, dtype=object)[rows])
    found.insert(2, "guests", np.array([re.sub("=1\\b|=", "", label) for label in labels], dtype=object)[rows])
    known = [name for name in _OF_TASK if archive.has_column("tasks", name)]
    if known:
        tasks = archive.tasks()
        found = found.assign(**{name: tasks[name].to_numpy()[rows] for name in known})
    return found


def query(archive: Archive, expression: str) -> pd.DataFrame:
    """The candidates that fit an expression of pandas' `DataFrame.query`, e.g. 'rank == 0 and agreement > 0.5'.

    Raises:
        InputError: more than comparisons and arithmetic in the expression, an unknown column, or not a condition.
    """
    names = names_in(expression)
    table = candidate_table(archive, per_guest=not names.isdisjoint(_PER_GUEST))
    check_columns(names, [*table.columns, *(name for name in _PER_GUEST if archive.has_column("candidates", name))])
    try:
        # Pandas takes each line for an expression.
        kept = table.eval(" ".join(expression.strip().splitlines()), engine="python")
    except (TypeError, ValueError, NotImplementedError, AttributeError, KeyError, SyntaxError) as error:
        raise InputError(f"cannot evaluate '{expression}': {error}") from error
    if np.asarray(kept).dtype.kind != "b" or np.shape(kept) != (len(table),):
        raise InputError(f"'{expression}' is not a condition on candidates; compare a column, e.g. 'rank == 0'")
    return table[np.asarray(kept)]


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
