"""What one field of a result is, said once: how it is stored, checked, shown and described.

A row type is a dataclass whose fields are made by `column`; everything else is derived from `columns_of(kind)`:

    @dataclass(frozen=True, eq=False, slots=True)
    class Sample(Row):
        min_distance: float | None = column("f8", "smallest distance of a guest", "A", null=True, minimum=0.0)

is the dataset /samples/min_distance_A of float64 with unit and description, NaN where unknown; the check that it is not
negative; a key of `row()` and `as_dict()`; a column of pandas, CSV and Parquet; a line of docs/archive.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Generic, TypeVar, overload

import numpy as np

from .ragged_arrays import offsets, strings, texts

Table = dict[str, np.ndarray]
Derived = Mapping[str, Callable[[int], Any]]
ROW = ""
# What a dataset is called: the field's name with its unit.
_SUFFIXES = {"": "", "A": "_A", "eV": "_eV", "eV/atom": "_eV", "eV/A": "_eV_per_A"}


@dataclass(frozen=True)
class Column:
    """One dataset, and the field of a row that it holds.

    Attributes:
        dtype: numpy's code; 'S' is UTF-8 text of fixed width, as wide as the longest in the file.
        what: description, an attribute of the dataset.
        unit: '' for a pure number or text.
        per: '' for one row per entry of the table, otherwise the offsets that its rows are counted by.
        tail: shape of one row.
        optional: may be absent; where others have it, it is filled with NaN (floats), 0 (integers) or '' (text).
        null: NaN says that the value is not known; None in a row.
        flag: 0 or 1, a bool in a row.
        minimum, maximum, below: the smallest and largest value allowed, and the smallest that is too large.
        choices: texts that are allowed; '' for none where it is optional.
        longest: texts become one line and are cut to so many characters.
        since: the first version of the schema that has it.
        alias: name of the dataset of a field of a nested row, where it is not prefix and name.
        name: of the dataset, with the unit.
        field: of the row.
        stored: is a dataset; others are derived when rows are read.
        beside: optional column that is written only where this field has a value.
        inside: field of the row that holds the object which has the field.
    """

    dtype: str
    what: str
    unit: str = ""
    per: str = ROW
    tail: tuple[int, ...] = ()
    optional: bool = False
    null: bool = False
    flag: bool = False
    minimum: float | None = None
    maximum: float | None = None
    below: float | None = None
    longest: int | None = None
    since: str = "1.0"
    alias: str = ""
    name: str = ""
    field: str = ""
    stored: bool = True
    beside: str = ""
    inside: str = ""
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What `Rows` calls the column: the name of the dataset without its unit."""
        return self.name.removesuffix(_SUFFIXES[self.unit])

    @property
    def fill(self) -> float | int | str:
        """What says that an entry has no value."""
        return {"S": "", "f": np.nan}.get(self.dtype[0], 0)

    def of(self, row: Row) -> Any:
        """The value in a row; None where there is none."""
        owner = getattr(row, self.inside) if self.inside else row
        return None if owner is None else getattr(owner, self.field)

    @property
    def is_array(self) -> bool:
        """Whether a row holds an array, not one number or text."""
        return self.per != ROW or self.tail != ()


def column(dtype: str, what: str, unit: str = "", *, default: Any = MISSING, **options: Any) -> Any:
    """A field of a row type; `options` are attributes of `Column`, dtype '?' is a flag that is stored as uint8."""
    known = Column("u1" if dtype == "?" else dtype, what, unit, flag=dtype == "?", **options)
    return field(default=default, metadata={"column": known})


def nested(kind: type, prefix: str) -> Any:
    """A field that holds another row, or None: its columns are columns of this table, with a prefix."""
    return field(default=None, metadata={"nested": (kind, prefix)})


class computed(property):  # noqa: N801
    """A property that is a column: `@computed(column(...), before="agreement")`."""

    def __init__(self, what: Any = None, before: str = "", getter: Any = None) -> None:
        super().__init__(getter)
        self.what, self.before = what, before

    def __call__(self, getter: Any) -> computed:
        return computed(self.what, self.before, getter)


class Row:
    """A row of a result table: plain values under names without units, None where something is not known."""

    __slots__ = ()
    SHOWN: ClassVar[tuple[str, ...]] = ()

    def row(self) -> dict[str, Any]:
        """Row of a table; names carry units."""
        known = columns_of(type(self))
        return {name: known[name].of(self) for name in self.SHOWN or known}

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON; names carry units."""
        found: dict[str, Any] = {}
        for name, what in columns_of(type(self)).items():
            if what.inside:
                inner = getattr(self, what.inside)
                found[what.inside] = None if inner is None else inner.as_dict()
            else:
                found[name] = _plain(what, what.of(self))
        return found


def _plain(what: Column, value: Any) -> Any:
    if isinstance(value, np.ndarray | tuple):
        return np.asarray(value).tolist() if what.dtype != "S" else list(value)
    return None if what.null and (value == "" or value != value) else value


R = TypeVar("R", bound=Row)


@cache
def columns_of(kind: type) -> dict[str, Column]:
    """Columns of a row type by name, in the order of its fields; those of a nested row stand in its place."""
    found: dict[str, Column] = {}
    before = {one.before: (name, one) for name, one in vars(kind).items() if isinstance(one, computed)}
    for one in fields(kind):
        if one.name in before:
            name, extra = before[one.name]
            found |= _named(name, extra.what.metadata["column"])
        if "nested" in one.metadata:
            inner, prefix = one.metadata["nested"]
            for name, what in columns_of(inner).items():
                stored = what.alias or prefix + name
                found[stored] = replace(what, name=stored, inside=one.name, optional=True)
        else:
            found |= _named(one.name, one.metadata["column"])
    return found


def _named(name: str, what: Column) -> dict[str, Column]:
    full = name + _SUFFIXES[what.unit]
    return {full: replace(what, name=full, field=name)}


@cache
def stored_columns(kind: type) -> dict[str, Column]:
    """The columns that are datasets."""
    return {name: what for name, what in columns_of(kind).items() if what.stored}


@cache
def _by_key(kind: type) -> dict[str, Column]:
    return {what.key: what for what in stored_columns(kind).values()}


class Rows(Sequence[R], Generic[R]):
    """Rows of one kind, kept as columns: `rows[0]` is a row, `rows["min_distance"]` the column of that field.

    A window on a table in memory; nothing is copied and no row is built until it is asked for.
    """

    __slots__ = ("columns", "derived", "first", "kind", "last")

    def __init__(
        self, kind: type[R], columns: Table, first: int = 0, last: int | None = None, derived: Derived | None = None
    ) -> None:
        self.kind, self.columns, self.first, self.derived = kind, columns, first, derived or {}
        self.last = len(columns[next(iter(stored_columns(kind)))]) if last is None else last

    @classmethod
    def of(
        cls, kind: type[R], rows: Sequence[R] | None, counts: Mapping[str, int], derived: Derived | None = None
    ) -> Rows[R]:
        """Columns of rows; optional ones are left out where no row has a value.

        Args:
            kind: of the rows.
            rows: as objects, or `Rows` already.
            counts: how many rows of its ragged columns each of them has; of others the values say it.
            derived: field -> its value in a row by number, of fields that are not stored.

        Raises:
            ValueError: an array of another shape.
        """
        if isinstance(rows, Rows):
            return cls(kind, rows.columns, rows.first, rows.last, derived)
        found: Table = {}
        rows = rows or ()
        inner = [one.name for one in fields(kind) if "nested" in one.metadata]
        absent = {name for name in inner if all(getattr(row, name) is None for row in rows)}
        for name, what in stored_columns(kind).items():
            if what.inside in absent or what.beside in absent:
                continue
            values = [what.of(row) for row in rows] if what.inside else [*map(attrgetter(what.field), rows)]
            if what.optional and all(value is None or (isinstance(value, str) and not value) for value in values):
                continue
            if what.per and what.per not in counts:
                found[what.per] = offsets([len(value) for value in values])
                found[name] = np.array([row for value in values for row in value], what.dtype).reshape(-1, *what.tail)
                continue
            found[name] = _array(what, values, (counts[what.per],) if what.per else ())
            if what.per:
                found[what.per] = np.arange(len(rows) + 1) * counts[what.per]
        return cls(kind, found, derived=derived)

    def __len__(self) -> int:
        return self.last - self.first

    @overload
    def __getitem__(self, key: int) -> R: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._column(_by_key(self.kind)[key])
        if isinstance(key, slice):
            return [self[k] for k in range(*key.indices(len(self)))]
        row = int(key) + (len(self) if key < 0 else 0)
        if not 0 <= row < len(self):
            raise IndexError(f"no row {key} of {len(self)}")
        given: dict[str, Any] = {}
        for one in fields(self.kind):
            if one.name in self.derived:
                given[one.name] = self.derived[one.name](row)
            elif "nested" in one.metadata:
                given[one.name] = self._nested(one.name, *one.metadata["nested"], row)
            elif one.metadata["column"].stored:
                what = _by_key(self.kind)[one.name]
                value = self._value(what, row)
                if not (what.optional and (value is None or value == what.fill)):
                    given[one.name] = value
        return self.kind(**given)

    def __iter__(self) -> Iterator[R]:
        return (self[k] for k in range(len(self)))

    def value(self, name: str, row: int) -> Any:
        """Value of a column by the name of its dataset, None where it is not known."""
        return self._value(stored_columns(self.kind)[name], row)

    def table(self) -> Table:
        """The columns of these rows only, offsets from 0."""
        if (self.first, self.last) == (0, len(self.columns[next(iter(stored_columns(self.kind)))])):
            return self.columns
        found: Table = {}
        for name, what in stored_columns(self.kind).items():
            if name not in self.columns:
                continue
            if what.per:
                bounds = self.columns[what.per][self.first : self.last + 1]
                found[name], found[what.per] = self.columns[name][bounds[0] : bounds[-1]], bounds - bounds[0]
            else:
                found[name] = self.columns[name][self.first : self.last]
        return found

    def _column(self, what: Column) -> Any:
        if what.name not in self.columns:
            return None
        if what.per:
            bounds = self.columns[what.per][self.first : self.last + 1]
            width = int(bounds[-1] - bounds[0]) // max(len(self), 1)
            values = self.columns[what.name][bounds[0] : bounds[-1]]
            if (np.diff(bounds) != width).any():
                return np.split(values, bounds[1:-1] - bounds[0])
            if what.dtype != "S":
                values = values.reshape(len(self), width, *what.tail)
        else:
            width, values = 0, self.columns[what.name][self.first : self.last]
        if what.optional and not _present(what, values).any():
            return None
        if what.flag:
            return values == 1
        if what.dtype != "S":
            return values
        found = strings(values)
        return [tuple(found[k * width : (k + 1) * width]) for k in range(len(self))] if what.per else found

    def _value(self, what: Column, row: int) -> Any:
        if what.name not in self.columns:
            return None if what.is_array or what.null else what.fill
        values, at = self.columns[what.name], self.first + row
        if what.is_array:
            values = values[slice(*self.columns[what.per][at : at + 2])] if what.per else values[at]
            if not what.tail:
                return tuple(strings(values) if what.dtype == "S" else values.tolist())
            return None if what.optional and not _present(what, values).any() else values
        value = values[at].item()
        if what.dtype == "S":
            return value.decode("utf-8")
        if what.flag:
            return value == 1
        return None if what.null and value != value else value

    def _nested(self, name: str, inner: type, prefix: str, row: int) -> Any:
        known = {what.field: self._value(what, row) for what in columns_of(self.kind).values() if what.inside == name}
        there = any(value is not None and value != 0 and value != "" for value in map(_scalar, known.values()))
        return inner(**known) if there else None


def _scalar(value: Any) -> Any:
    return 1 if isinstance(value, np.ndarray) else value


def _present(what: Column, values: np.ndarray) -> np.ndarray:
    return ~np.isnan(values) if what.dtype[0] == "f" else values != (b"" if what.dtype == "S" else what.fill)


def joined(kind: type[R], parts: Sequence[Rows[R]]) -> Table:
    """One table of all rows; where some lack an optional column of others, it says that there is no value."""
    tables = [part.table() for part in parts]
    names = {name for table in tables for name in table}
    found: Table = {}
    for name, what in stored_columns(kind).items():
        if name not in names:
            continue
        if what.per:
            counts = [
                np.diff(t[what.per]) if what.per in t else np.zeros(len(p), int)
                for t, p in zip(tables, parts, strict=True)
            ]
            found[what.per] = offsets(np.concatenate(counts))
            sizes = [int(count.sum()) for count in counts]
        else:
            sizes = [len(part) for part in parts]
        found[name] = np.concatenate(
            [table[name] if name in table else filled(what, size) for table, size in zip(tables, sizes, strict=True)]
        )
    return found


def filled(what: Column, size: int) -> np.ndarray:
    """A column that says that there is no value."""
    return np.full((size, *what.tail), what.fill, dtype="S1" if what.dtype == "S" else what.dtype)


def range_problems(kind: type, columns: Table) -> dict[str, np.ndarray]:
    """What is wrong -> rows; only what a single value can tell."""
    found: dict[str, np.ndarray] = {}
    for name, what in stored_columns(kind).items():
        if name not in columns:
            continue
        values = columns[name]
        if what.choices:
            allowed = [text.encode() for text in ("", *what.choices)]
            found[f"{name} that is unknown"] = np.flatnonzero(~np.isin(values, allowed))
        if what.dtype == "S":
            continue
        if what.flag:
            found[f"{name} that is neither 0 nor 1"] = _entries(columns, what, values > 1)
        if (said := _allowed(what)) is not None:
            text, wrong = said
            found[f"{name} {text}"] = _entries(columns, what, wrong(values))
    return found


def _allowed(what: Column) -> tuple[str, Callable[[np.ndarray], np.ndarray]] | None:
    low = -np.inf if what.minimum is None else what.minimum
    if what.below is not None:
        return (
            f"outside [{low:g}, {what.below:g})",
            lambda v: ~((v >= low) & (v < what.below) | (what.null & np.isnan(v))),
        )
    if what.maximum is not None:
        return f"outside [{low:g}, {what.maximum:g}]", lambda v: ~((v >= low) & (v <= what.maximum))
    if what.dtype[0] != "f":
        return None if what.minimum is None else (f"below {low:g}", lambda v: v < low)
    if what.tail:
        return "that is infinite or lacks a number", _lacks
    text = "that is infinite" if what.minimum is None else "that is negative or infinite"
    text = text if what.null else text.replace("infinite", "no number")
    return text, lambda v: np.isinf(v) | (v < low) | (np.isnan(v) & (not what.null))


def _lacks(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    missing = np.isnan(flat)
    return np.isinf(flat).any(axis=1) | (missing.any(axis=1) & ~missing.all(axis=1))


def _entries(columns: Table, what: Column, wrong: np.ndarray) -> np.ndarray:
    """Rows of the table that wrong rows of a column belong to."""
    rows = np.flatnonzero(wrong.any(axis=tuple(range(1, wrong.ndim))))
    return np.unique(np.searchsorted(columns[what.per], rows, side="right") - 1) if what.per else rows


def _array(what: Column, values: list[Any], counts: tuple[int, ...]) -> np.ndarray:
    shape = (len(values), *counts, *what.tail)
    if what.is_array:
        if any(value is None or not len(value) for value in values):
            none = np.full(shape[1:], what.fill, dtype=object if what.dtype == "S" else what.dtype)
            values = [none if value is None or not len(value) else value for value in values]
    elif what.dtype[0] != "f":
        values = [what.fill if value is None else value for value in values]
    if what.dtype == "S":
        flat = [text for value in values for text in value] if what.per else values
        if len(flat) != np.prod(shape, dtype=int):
            raise ValueError(f"{what.field} must have shape {shape}")
        return texts([" ".join(t.split()) for t in flat] if what.longest else flat, what.longest)
    array = np.array(values, dtype=what.dtype) if values else np.zeros(shape, dtype=what.dtype)
    if array.shape != shape:
        raise ValueError(f"{what.field} must have shape {shape}, not {array.shape}")
    return array.reshape(-1, *what.tail) if what.per else array


def arrow_schema(kind: type) -> Any:
    """The Parquet schema of a row type: unit and description beside each column."""
    import pyarrow

    kinds = {"i8": pyarrow.int64(), "f8": pyarrow.float64(), "S": pyarrow.string(), "u1": pyarrow.uint8()}
    found = []
    for name, what in stored_columns(kind).items():
        one = pyarrow.bool_() if what.flag else kinds[what.dtype]
        for _ in range(len(what.tail) + bool(what.per)):
            one = pyarrow.list_(one)
        found.append(pyarrow.field(name, one, what.null, {"unit": what.unit, "description": what.what}))
    return pyarrow.schema(found)


def page(table: str, kind: type, letter: str) -> list[str]:
    """Lines of the table in docs/archive.md."""
    lines = []
    counted: set[str] = set()
    for name, what in stored_columns(kind).items():
        if what.per and what.per not in counted:
            counted.add(what.per)
            lines.append(f"| /{table}/{what.per} | {letter} + 1 | | |")
        shape = ", ".join(["ragged" if what.per else letter, *map(str, what.tail)])
        kinds = {"u1": "uint8, "} if what.dtype == "u1" else {}
        notes = [f"since {what.since}"] if what.since != "1.0" else []
        notes += ["NaN where unknown"] if what.null else []
        tail = f" ({'; '.join(notes)})" if notes else ""
        lines.append(f"| /{table}/{name} | {shape} | {what.unit} | {kinds.get('u1', '')}{what.what}{tail} |")
    return lines
