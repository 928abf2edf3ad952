"""Rows of one kind and the columns that hold them: made from objects once, read as objects one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, TypeVar, overload

import numpy as np

from .fields import Column, Row, columns_by_key, columns_of, of_kind, stored_columns
from .ragged_arrays import offsets, strings, texts

Table = dict[str, np.ndarray]
Derived = Mapping[str, Callable[[int], Any]]
R = TypeVar("R", bound=Row)


class Rows(Sequence[R], Generic[R]):
    """Rows of one kind: `rows[0]` is a row, `rows["min_distance"]` the column of that field.

    Either objects, whose columns are made when they are first asked for, or a window on a table in memory: then
    nothing is copied, and no object is built until it is asked for.

    Args:
        kind: of the rows.
        columns: the table.
        first, last: the rows of it; all by default.
        derived: field -> its value in a row by number, of fields that are not stored.
    """

    __slots__ = ("_columns", "_objects", "counts", "derived", "first", "kind", "last")

    def __init__(
        self, kind: type[R], columns: Table, first: int = 0, last: int | None = None, derived: Derived | None = None
    ) -> None:
        self.kind, self._columns, self.first, self.derived = kind, columns, first, derived or {}
        self._objects: list[R] | None = None
        self.counts: Mapping[str, int] = {}
        self.last = len(columns[next(iter(stored_columns(kind)))]) if last is None else last

    @classmethod
    def of(
        cls, kind: type[R], rows: Sequence[R] | None, counts: Mapping[str, int], derived: Derived | None = None
    ) -> Rows[R]:
        """Rows as objects, or `Rows` already.

        Args:
            kind, derived: as above.
            rows: the rows.
            counts: how many rows of its ragged columns each of them has; of others the values say it.
        """
        if isinstance(rows, Rows):
            again = cls(kind, rows._columns, rows.first, rows.last, derived)
            again._objects, again.counts = rows._objects, rows.counts
        else:
            again = cls(kind, {}, 0, len(rows or ()), derived)
            again._objects, again.counts = list(rows or ()), counts
        return again

    @property
    def columns(self) -> Table:
        """The whole table that this is a window on."""
        if self._objects is not None:
            self._columns, self._objects = _made(self.kind, [self]), None
        return self._columns

    def __len__(self) -> int:
        return self.last - self.first

    @overload
    def __getitem__(self, key: int) -> R: ...
    @overload
    def __getitem__(self, key: str | slice) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._column(columns_by_key(self.kind)[key])
        if isinstance(key, slice):
            return [self[k] for k in range(*key.indices(len(self)))]
        row = int(key) + (len(self) if key < 0 else 0)
        if not 0 <= row < len(self):
            raise IndexError(f"no row {key} of {len(self)}")
        if self._objects is not None:
            return self._objects[row]
        return self.kind(**self.given(row))

    def given(self, row: int) -> dict[str, Any]:
        """What a row of a table says of each field; fields without a value are left to their defaults."""
        given: dict[str, Any] = {}
        for one in fields(self.kind):  # type: ignore[arg-type]  # row types are dataclasses
            if one.name in self.derived:
                given[one.name] = self.derived[one.name](row)
            elif "nested" in one.metadata:
                given[one.name] = self._nested(one.name, one.metadata["nested"][0], row)
            elif "column" in one.metadata and one.metadata["column"].stored:
                what = _by_field(self.kind)[one.name]
                value = self._value(what, row)
                if not (what.optional and (value is None or (not what.is_array and value == what.fill))):
                    given[one.name] = value
        return given

    def __iter__(self) -> Iterator[R]:
        return (self[k] for k in range(len(self)))

    def values(self, name: str) -> Sequence[Any]:
        """Values of a field that is a number, a text or a flag, to look at; without making columns of objects."""
        if self._objects is not None:
            what = columns_by_key(self.kind)[name]
            return [what.of(row) for row in self._objects]
        found = self[name]
        return [] if found is None else found if isinstance(found, list) else found.tolist()

    def value(self, name: str, row: int) -> Any:
        """Value of a column by the name of its dataset, None where it is not known."""
        what = stored_columns(self.kind)[name]
        if self._objects is None:
            return self._value(what, row)
        value = what.of(self._objects[row])
        return None if what.null and (value is None or (isinstance(value, float) and value != value)) else value

    def listed(self, name: str) -> list[Any]:
        """`value` of all rows, a column at a time."""
        what = stored_columns(self.kind)[name]
        if self._objects is not None or what.is_array or what.lines or what.name not in self.columns:
            return [self.value(name, row) for row in range(len(self))]
        values = self.columns[what.name][self.first : self.last]
        if what.dtype == "S":
            return strings(values)
        if what.flag:
            return (values == 1).tolist()
        return [
            None if (what.null and value != value) or (what.absent and value == what.absent) else value
            for value in values.tolist()
        ]

    def table(self) -> Table:
        """The columns of these rows only, offsets from 0."""
        columns = self.columns
        if (self.first, self.last) == (0, len(columns[next(iter(stored_columns(self.kind)))])):
            return columns
        found: Table = {}
        for name, what in stored_columns(self.kind).items():
            if name not in columns:
                continue
            if what.per:
                bounds = columns[what.per][self.first : self.last + 1]
                found[name], found[what.per] = columns[name][bounds[0] : bounds[-1]], bounds - bounds[0]
            else:
                found[name] = columns[name][self.first : self.last]
        return found

    def _column(self, what: Column) -> Any:
        columns = self.columns
        if what.name not in columns:
            return None
        if what.per:
            bounds = columns[what.per][self.first : self.last + 1]
            width = int(bounds[-1] - bounds[0]) // max(len(self), 1)
            values = columns[what.name][bounds[0] : bounds[-1]]
            if (np.diff(bounds) != width).any():
                return np.split(values, bounds[1:-1] - bounds[0])
            if what.dtype != "S":
                values = values.reshape(len(self), width, *what.tail)
        else:
            width, values = 0, columns[what.name][self.first : self.last]
        if what.optional and not what.has_value(values).any():
            return None
        if what.flag:
            return values == 1
        if what.dtype != "S":
            return values
        found = strings(values)
        return [tuple(found[k * width : (k + 1) * width]) for k in range(len(self))] if what.per else found

    def _value(self, what: Column, row: int) -> Any:
        columns, at = self.columns, self.first + row
        if what.name not in columns:
            return () if what.lines else None if what.is_array or what.null else what.fill
        values = columns[what.name]
        if what.is_array:
            values = values[slice(*columns[what.per][at : at + 2])] if what.per else values[at]
            if what.optional and not what.has_value(values).any():
                return None
            return values if what.tail else tuple(strings(values) if what.dtype == "S" else values.tolist())
        value = values[at].item()
        if what.dtype == "S":
            text = value.decode("utf-8")
            return (tuple(text.split("\n")) if text else ()) if what.lines else text
        if what.flag:
            return value == 1
        return None if (what.null and value != value) or (what.absent and value == what.absent) else value

    def _nested(self, name: str, inner: type, row: int) -> Any:
        known = {what.field: self._value(what, row) for what in columns_of(self.kind).values() if what.inside == name}
        there = any(isinstance(value, np.ndarray | float) or value not in (None, 0, "") for value in known.values())
        return inner(**known) if there else None


@of_kind
def _by_field(kind: type) -> dict[str, Column]:
    return {what.field: what for what in stored_columns(kind).values() if not what.inside}


def joined(kind: type[R], parts: Sequence[Rows[R]], given: Table | None = None) -> Table:
    """One table of all rows; where some lack an optional column of others, it says that there is no value.

    Args:
        kind, parts: the rows.
        given: columns of rows that are objects which the objects themselves do not know.
    """
    if all(part._objects is not None for part in parts):
        return _made(kind, parts, given)
    tables = [part.table() for part in parts]
    names = {name for table in tables for name in table}
    found: Table = {}
    for name, what in stored_columns(kind).items():
        if name not in names:
            continue
        sizes = [len(part) for part in parts]
        if what.per:
            counts = [
                np.diff(table[what.per]) if what.per in table else np.zeros(size, dtype=int)
                for table, size in zip(tables, sizes, strict=True)
            ]
            found[what.per] = offsets(np.concatenate(counts))
            sizes = [int(count.sum()) for count in counts]
        found[name] = np.concatenate(
            [table[name] if name in table else filled(what, size) for table, size in zip(tables, sizes, strict=True)]
        )
    return found


def filled(what: Column, size: int) -> np.ndarray:
    """A column that says that there is no value."""
    return np.full((size, *what.tail), what.fill, dtype="S1" if what.dtype == "S" else what.dtype)


def _made(kind: type[R], parts: Sequence[Rows[R]], given: Table | None = None) -> Table:
    """Columns of objects; optional ones are left out where no row has a value."""
    rows = [row for part in parts for row in part._objects or ()]
    sizes = [len(part) for part in parts]
    inner = [one.name for one in fields(kind) if "nested" in one.metadata]  # type: ignore[arg-type]
    there = {name: [any(getattr(r, name) is not None for r in part._objects or ()) for part in parts] for name in inner}
    found: Table = {}
    for name, what in stored_columns(kind).items():
        if name in (given or {}):
            found[name] = given[name]  # type: ignore[index]
            continue
        if not any(there.get(what.inside or what.beside, (True,))):
            continue
        values = [what.of(row) for row in rows] if what.inside else [*map(attrgetter(what.field), rows)]
        if what.beside:
            known = np.repeat(there[what.beside], sizes).tolist()
            values = [value if has else None for value, has in zip(values, known, strict=True)]
        if what.optional and all(value is None or (isinstance(value, str | tuple) and not value) for value in values):
            continue
        if not what.per:
            found[name] = single_column(what, values)
            continue
        if what.per in found:
            counts = np.diff(found[what.per])
        elif parts and what.per in parts[0].counts:
            counts = np.repeat([part.counts[what.per] for part in parts], sizes)
        else:
            counts = np.array([len(value) for value in values], dtype=np.int64)
        found[what.per], found[name] = offsets(counts), ragged_column(what, values, counts)
    return found


def single_column(what: Column, values: list[Any]) -> np.ndarray:
    """A column of one value per row; None where there is none."""
    if what.lines:
        values = ["\n".join(value) for value in values]
    if what.tail:
        none = np.full(what.tail, what.fill)
        values = [none if value is None else value for value in values]
    elif what.dtype[0] != "f":
        values = [what.fill if value is None else value for value in values]
    if what.dtype == "S":
        return _texts(what, values)
    return np.array(values, dtype=what.dtype).reshape(-1, *what.tail)


def ragged_column(what: Column, values: list[Any], counts: np.ndarray) -> np.ndarray:
    """A column of several values per row, one row after another; None or nothing where there are none.

    Raises:
        ValueError: another number of values.
    """
    none = {count: _none(what, count) for count in set(counts.tolist())}
    values = [
        none[count] if value is None or not len(value) else value
        for value, count in zip(values, counts.tolist(), strict=True)
    ]
    wrong = [(value, n) for value, n in zip(values, counts.tolist(), strict=True) if len(value) != n]
    if wrong:
        shapes = [(n, *what.tail) for n in (wrong[0][1], len(wrong[0][0]))]
        raise ValueError(f"{what.field} must have shape {shapes[0]}, not {shapes[1]}")
    if what.dtype == "S":
        return _texts(what, list(chain.from_iterable(values)))
    flat = np.concatenate([np.zeros((0, *what.tail), what.dtype), *(value for value in values if len(value))])
    return flat.astype(what.dtype, copy=False)


def _none(what: Column, count: int) -> Any:
    return [""] * count if what.dtype == "S" else np.full((count, *what.tail), what.fill, dtype=what.dtype)


def _texts(what: Column, values: list[str]) -> np.ndarray:
    return texts([" ".join(t.split()) for t in values] if what.longest and not what.lines else values, what.longest)
