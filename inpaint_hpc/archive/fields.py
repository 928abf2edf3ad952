"""What one field of a result is, said once: how it is stored, checked, shown and described.

A row type is a dataclass whose fields are made by `column`; everything else is derived from `columns_of(kind)`:

    @row_type()
    class Sample(Row):
        min_distance: float | None = column("f8", "smallest distance of a guest", "A", null=True, minimum=0.0)

is the dataset /samples/min_distance_A of float64 with unit and description, NaN where unknown; the check that it is not
negative; a key of `row()` and `as_dict()`; a column of pandas, CSV and Parquet; a line of docs/archive.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

ROW = ""
# What a dataset is called: the field's name with its unit.
_SUFFIXES = {"": "", "A": "_A", "eV": "_eV", "eV/atom": "_eV", "eV/guest": "_eV", "eV/A": "_eV_per_A", "A^3": "_A3"}
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def of_kind(function: F) -> F:
    """Remember what a function finds for each row type; `cache` with a type that accepts classes."""
    return cache(function)  # type: ignore[return-value]


@dataclass(frozen=True)
class Column:
    """One dataset, and the field of a row that it holds.

    Attributes:
        dtype: numpy's code; 'S' is UTF-8 text of fixed width, as wide as the longest in the file.
        what: description, an attribute of the dataset.
        unit: '' for a pure number or text.
        per: '' for one row per entry of the table, otherwise the offsets that its rows are counted by.
        tail: shape of one row.
        optional: may be absent; where others have it, it is filled with `fill`.
        null: NaN says that the value is not known; None in a row.
        flag: 0 or 1, a bool in a row.
        lines: several texts in a row, stored as the lines of one.
        minimum, maximum, below: the smallest and largest value allowed, and the smallest that is too large.
        choices: texts that are allowed; '' for none where it is optional.
        longest: texts are cut to so many characters, and become one line unless they are `lines`.
        absent: integer that says that an entry has no value.
        since: the first version of the schema that has it; by default that of its row type.
        name: of the dataset; by default the field's name with its unit.
        nested_name: name of the dataset where the row is nested in another, if not prefix and name.
        field: of the row.
        stored: is a dataset; others are derived when rows are read.
        shown: is in JSON.
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
    lines: bool = False
    minimum: float | None = None
    maximum: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    longest: int | None = None
    absent: int = 0
    since: str = ""
    name: str = ""
    nested_name: str = ""
    field: str = ""
    stored: bool = True
    shown: bool = True
    beside: str = ""
    inside: str = ""

    @property
    def key(self) -> str:
        """What `Rows` calls the column: the name of the dataset without its unit."""
        return self.name.removesuffix(_SUFFIXES[self.unit])

    @property
    def fill(self) -> float | int | str:
        """What says that an entry has no value."""
        return "" if self.dtype[0] == "S" else np.nan if self.dtype[0] == "f" else self.absent

    @property
    def is_array(self) -> bool:
        """Whether a row holds an array, not one number or text."""
        return self.per != ROW or self.tail != ()

    def of(self, row: Row) -> Any:
        """The value in a row; None where there is none."""
        owner = getattr(row, self.inside) if self.inside else row
        return None if owner is None else getattr(owner, self.field)

    def has_value(self, values: np.ndarray) -> np.ndarray:
        """Which of some stored values say something, bool of their shape."""
        return ~np.isnan(values) if self.dtype[0] == "f" else values != (b"" if self.dtype == "S" else self.fill)


def column(dtype: str, what: str, unit: str = "", *, default: Any = MISSING, **options: Any) -> Any:
    """A field of a row type; `options` are attributes of `Column`, dtype '?' is a flag that is stored as uint8."""
    known = Column("u1" if dtype == "?" else dtype, what, unit, flag=dtype == "?", **options)
    return field(default=default, metadata={"column": known})


def nested(kind: type, prefix: str, *, default: None) -> Any:
    """A field that holds another row, or None: its columns are columns of this table, with a prefix."""
    return field(default=default, metadata={"nested": (kind, prefix)})


class computed(property):  # noqa: N801
    """A property that is a column: `@computed(column(...), before="agreement")`."""

    def __init__(self, what: Any = None, before: str = "", getter: Any = None) -> None:
        super().__init__(getter)
        self.what, self.before = what, before

    def __call__(self, getter: Any) -> computed:
        """The property itself, as a decorator."""
        return computed(self.what, self.before, getter)


@dataclass_transform(eq_default=False, frozen_default=True, kw_only_default=True, field_specifiers=(column, nested))
def row_type(since: str = "1.0", kw_only: bool = True) -> Callable[[type[T]], type[T]]:
    """Make a class a row type; `since` is the first version of the schema that has its columns."""

    def make(kind: type[T]) -> type[T]:
        made = dataclass(frozen=True, eq=False, slots=True, kw_only=kw_only)(kind)
        made.SINCE = since  # type: ignore[attr-defined]
        return made

    return make


class Row:
    """A row of a result table: plain values under names without units, None where something is not known."""

    __slots__ = ()
    SINCE: ClassVar[str] = "1.0"
    SHOWN: ClassVar[tuple[str, ...]] = ()

    def row(self) -> dict[str, Any]:
        """Row of a table; names carry units."""
        known = columns_of(type(self))
        return {name: known[name].of(self) for name in self.SHOWN or known}

    def _repr_html_(self) -> str:
        """What a notebook shows: a line for each value that is known."""
        from html import escape

        lines = []
        for name, value in self.row().items():
            if isinstance(value, float | np.floating):
                text = "" if value != value else f"{value:.6g}"
            elif isinstance(value, np.ndarray):
                text = np.array2string(value, precision=4, suppress_small=True)
            else:
                text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            if text:
                lines.append(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>")
        return f"<table>{''.join(lines)}</table>"

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON; names carry units."""
        found: dict[str, Any] = {}
        for name, what in columns_of(type(self)).items():
            if what.inside:
                inner = getattr(self, what.inside)
                found[what.inside] = None if inner is None else inner.as_dict()
            elif what.shown:
                found[name] = _plain(what, what.of(self))
        return found


def _plain(what: Column, value: Any) -> Any:
    if isinstance(value, np.ndarray | tuple):
        if what.dtype != "S" and not (what.null and np.ndim(value) == 1):
            return np.asarray(value).tolist()
        return [None if one != one else one for one in value]  # JSON has no NaN
    return None if what.null and (value == "" or value != value) else value


@of_kind
def columns_of(kind: type) -> dict[str, Column]:
    """Columns of a row type by name, in the order of its fields; those of a nested row stand in its place."""
    found: dict[str, Column] = {}
    before = {one.before: (name, one.what) for name, one in vars(kind).items() if isinstance(one, computed)}
    for one in fields(kind):
        if one.name in before:
            name, extra = before[one.name]
            found |= _named(kind, name, extra.metadata["column"])
        if "nested" in one.metadata:
            inner, prefix = one.metadata["nested"]
            for name, what in columns_of(inner).items():
                stored = what.nested_name or prefix + name
                found[stored] = replace(what, name=stored, inside=one.name, optional=True)
        elif "column" in one.metadata:
            found |= _named(kind, one.name, one.metadata["column"])
    return found


def _named(kind: Any, name: str, what: Column) -> dict[str, Column]:
    full = what.name or name + _SUFFIXES[what.unit]
    return {full: replace(what, name=full, field=name, since=what.since or kind.SINCE)}


@of_kind
def stored_columns(kind: type) -> dict[str, Column]:
    """The columns that are datasets."""
    return {name: what for name, what in columns_of(kind).items() if what.stored}


@of_kind
def columns_by_key(kind: type) -> dict[str, Column]:
    """The columns that are datasets, by what `Rows` calls them."""
    return {what.key: what for what in stored_columns(kind).values()}
