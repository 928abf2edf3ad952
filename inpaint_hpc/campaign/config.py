"""The configuration of a campaign (YAML, validated by pydantic): hosts x guests, settings, resources, output.

`inpaint-hpc init` writes a commented example; docs/configuration.md explains every key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from inpaint_hpc.configuration import Section, nearest, read_yaml, section_of, validate
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.settings import PipelineSettings
from inpaint_hpc.sampling.settings import SamplingSettings

from .resources import Resources
from .slurm_settings import SlurmSection

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MAX_COUNT = 1000
_RANGE = re.compile(r"\s*(-?\d*\.?\d*)\s*\.\.\s*(-?\d*\.?\d*)\s*")


def parse_range(value: object) -> tuple[float, float]:
    """'2..40' -> (2, 40); '..40' -> (-inf, 40); 7 -> (7, 7).

    Raises:
        ValueError: not written so, or the wrong way round.
    """
    if isinstance(value, tuple) and len(value) == 2:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), float(value)
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        low = float(match[1]) if match[1] else -math.inf
        high = float(match[2]) if match[2] else math.inf
    except ValueError:
        raise ValueError(f"write a range like 2..40, 2.. or ..40, not {value!r}") from None
    if low > high:
        raise ValueError(f"the range {value} is empty: its ends are the wrong way round")
    return low, high


def _write_range(value: tuple[float, float]) -> str:
    # All digits and no exponent, which `parse_range` would not read.
    return "..".join("" if math.isinf(end) else np.format_float_positional(end, trim="-") for end in value)


def _symbol(value: object) -> str:
    from ase.data import atomic_numbers

    from inpaint_hpc.crystals.checking import MAX_ATOMIC_NUMBER

    if not isinstance(value, str) or not 1 <= atomic_numbers.get(value, 0) <= MAX_ATOMIC_NUMBER:
        raise ValueError(f"unknown element {value!r}; give a symbol such as Li (H to Pu)")
    return value


def _listed(value: object) -> object:
    """One value or several: always several."""
    return [value] if isinstance(value, str | int | Mapping) else value


class ColumnCount(Section):
    """A number of guests that a column of the host's file holds."""

    column: str


def _parse_count(value: object) -> tuple[int, ...] | ColumnCount:
    """2 -> (2,); '1..4' -> (1, 2, 3, 4); [1, 2, 4]; {'column': 'n'}."""
    if isinstance(value, ColumnCount):
        return value
    if isinstance(value, Mapping):
        if set(value) != {"column"} or not isinstance(value["column"], str):
            raise ValueError("a number of guests from the host's file is written {column: NAME}")
        return ColumnCount(column=value["column"])
    if isinstance(value, str) and ".." in value:
        low, high = parse_range(value)
        if not (float(low).is_integer() and float(high).is_integer()):
            raise ValueError(f"a range of guests needs two whole numbers like 1..4, not {value!r}")
        value = range(int(low), int(high) + 1)
    counts: list[int] = []
    for count in value if isinstance(value, list | tuple | range) else [value]:
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_COUNT:
            raise ValueError(f"a number of guests is 4, 1..4, [1, 2, 4] or {{column: NAME}}, not {count!r}")
        counts.append(count)
    if not counts:
        raise ValueError("no number of guests given")
    return tuple(dict.fromkeys(counts))


Element = Annotated[str, BeforeValidator(_symbol)]
Elements = Annotated[tuple[Element, ...], BeforeValidator(_listed)]
Range = Annotated[tuple[float, float], BeforeValidator(parse_range), PlainSerializer(_write_range)]
Count = Annotated[tuple[int, ...] | ColumnCount, BeforeValidator(_parse_count)]


class ElementFilter(Section):
    """Which elements a host must and must not hold."""

    include: Elements = ()
    exclude: Elements = ()


class HostSource(Section):
    """Where hosts come from, and which of them to take.

    Attributes:
        path: a file, folder or pattern in any format that `read_hosts` knows, also packed HDF5.
        examples: instead of `path`, hosts that come with the package: `mno2`.
        select: ids or rows, as after '::' on the command line: 'mp-1,mp-2' or '0:100'.
        split: `train`, `val` or `eval` of a packed file.
        prefix: `host_` or `ref_`, to read one half of a packed electrode file.
        elements: hosts with all of `include` and none of `exclude`.
        atoms: hosts with so many atoms, e.g. `2..40`.
        anion: hosts whose most electronegative element is (one of) this.
        where: values of columns of the file: a value, a list of them, or a range such as `0.5..4`.
        limit: at most so many hosts, the first that pass.
        skip_bad: leave out what cannot be read or used, and count it, instead of refusing the campaign.
    """

    path: str | None = None
    examples: str | None = None
    select: str | None = None
    split: Literal["train", "val", "eval"] | None = None
    prefix: Literal["", "host_", "ref_"] = ""
    elements: ElementFilter = ElementFilter()
    atoms: Range | None = None
    anion: Elements = ()
    where: dict[str, bool | int | float | str | list[int | float | str]] = Field(default_factory=dict)
    limit: int | None = Field(None, gt=0)
    skip_bad: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("where")
    @classmethod
    def _ranges_fit(cls, value: dict[str, Any]) -> dict[str, Any]:
        for wanted in value.values():
            if isinstance(wanted, str) and ".." in wanted:
                parse_range(wanted)
        return value

    @model_validator(mode="after")
    def _one_place(self) -> HostSource:
        if (self.path is None) == (self.examples is None):
            raise ValueError("give exactly one of 'path' and 'examples'")
        if self.examples is not None and not (EXAMPLES / self.examples).is_dir():
            known = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())
            raise ValueError(f"no examples '{self.examples}' come with the package; choose from {', '.join(known)}")
        return self

    @property
    def location(self) -> str:
        """What `read_hosts` takes."""
        return self.path if self.path is not None else str(EXAMPLES / str(self.examples))


class ColumnGuests(Section):
    """Guests that columns of the host's file name: atomic number or symbol, and how many."""

    species: str
    count: str


class Supercell(Section):
    """Repeats of the host's cell: `repeat`, or as few as give a `min_width` (A) between opposite faces."""

    repeat: tuple[int, int, int] | None = None
    min_width: float | None = Field(None, gt=0, le=100)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, int):
            value = [value] * 3
        if isinstance(value, list | tuple) and len(value) == 3:
            return {"repeat": value}
        if not isinstance(value, Mapping | Supercell):
            raise ValueError("write a supercell as 2, [2, 2, 1] or {min_width: 9.0}")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Supercell:
        if (self.repeat is None) == (self.min_width is None):
            raise ValueError("write a supercell as 2, [2, 2, 1] or {min_width: 9.0}")
        if self.repeat is not None and not all(1 <= n <= 20 for n in self.repeat):
            raise ValueError(f"repeats of a cell must be 1 to 20, not {list(self.repeat)}")
        return self


class GuestCase(Section):
    """Guests to place in every host; one of `place`, `remove`, `remove_last` and `from_columns`.

    Attributes:
        place: element -> number, or numbers: one task for each combination.  May be written without `place`.
        remove: one task for each of these elements that the host holds: take all its atoms out, put as many back.
        remove_last: take the last atoms of each host out, one species, and put as many back; columns of its file say
            which and how many.
        from_columns: one species per host, as columns of its file say.
        supercell: place the guests in a supercell of the host.
        samples: valid samples wanted, instead of the campaign's.
    """

    place: dict[Element, Count] | None = None
    remove: Elements = ()
    remove_last: ColumnGuests | None = None
    from_columns: ColumnGuests | None = None
    supercell: Supercell | None = None
    samples: int | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_elements(cls, value: object) -> dict[str, Any]:
        from ase.data import chemical_symbols

        if isinstance(value, str):
            value = {value: 1}
        if not isinstance(value, Mapping):
            raise ValueError("write guests like 'Li: 1..4', {Li: 1, Na: 1} or 'remove: Li'")
        case: dict[str, Any] = {}
        place: dict[str, Any] = {}
        for key, wanted in value.items():
            if key in cls.model_fields:
                case[key] = wanted
            elif key in chemical_symbols[1:]:
                place[key] = wanted
            else:
                near = nearest(str(key), [*cls.model_fields, *chemical_symbols[1:]])
                raise ValueError(f"unknown key '{key}'; did you mean '{near}'?")
        if place and "place" in case:
            raise ValueError("give elements either below 'place' or beside it, not both")
        return case | ({"place": place} if place else {})

    @model_validator(mode="after")
    def _one_kind(self) -> GuestCase:
        columns = [self.remove_last is not None, self.from_columns is not None]
        if sum([bool(self.place), bool(self.remove), *columns]) != 1:
            raise ValueError("give exactly one of elements to place, 'remove', 'remove_last' and 'from_columns'")
        if self.remove_last is not None and self.supercell is not None:
            raise ValueError("'remove_last' needs the host's own cell: the last atoms of a supercell are others")
        return self


# What is stored, and goes into the ids of tasks, keeps the names of the fields.
PIPELINE_KEYS = {
    "evaluations": "max_energy_evaluations",
    "candidates": "max_candidates",
    "sequential": "n_sequential",
    "settle": "refine_sigma",
}
if TYPE_CHECKING:
    SamplingSection = Section  # with fields that no type checker sees
    PipelineSection = Section
else:
    SamplingSection = section_of(SamplingSettings, "sampling", leave_out=("samples", "edge_budget"))
    PipelineSection = section_of(PipelineSettings, "pipeline", names=PIPELINE_KEYS)


class CampaignConfig(Section):
    """Everything that decides a campaign.

    Attributes:
        hosts: where hosts come from.
        guests: what is placed in each of them.
        output: the run directory.
        samples: valid samples wanted of each task.
        weights: packaged set or .safetensors file; None is the default set.
        match_tolerance: where guests are taken out, they are right up to this times (V / N)^(1/3) from there, with the
            volume V and the number N of all atoms.
        sampling, pipeline: how samples are drawn, and what is made of them.
        resources: what may be used for it.
        slurm: what `inpaint-hpc submit` asks SLURM for.
    """

    hosts: Annotated[list[HostSource], BeforeValidator(_listed), Field(min_length=1)]
    guests: Annotated[list[GuestCase], BeforeValidator(_listed), Field(min_length=1)]
    output: Path
    samples: int = Field(16, gt=0)
    weights: str | None = None
    match_tolerance: float = Field(0.2, gt=0, le=1)
    sampling: SamplingSection = SamplingSection()
    pipeline: PipelineSection = PipelineSection()
    resources: Resources = Resources()
    # Only what was said: the rest is left to the profile of the site.
    slurm: Annotated[SlurmSection, PlainSerializer(lambda section: section.model_dump(exclude_unset=True))] = (
        SlurmSection()
    )

    def sampling_settings(self) -> SamplingSettings:
        """Settings of the sampler; the edge budget is that of `resources`."""
        return SamplingSettings(
            samples=self.samples, edge_budget=self.resources.edge_budget, **self.sampling.model_dump()
        )

    def pipeline_settings(self) -> PipelineSettings:
        """Settings of everything after the sampler."""
        return PipelineSettings(**self.pipeline.model_dump())

    def to_yaml(self) -> str:
        """The resolved configuration, with all defaults; `load_config` reads it back."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False)


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> CampaignConfig:
    """Read and validate a YAML file; relative paths in it are relative to the working directory.

    Args:
        path: the file.
        overrides: values that take the place of the file's, e.g. {"output": "run", "resources": {"actors": 2}}.

    Raises:
        InputError: unreadable file, unknown key (the nearest valid one is named) or a bad value.
    """
    data = read_yaml(path, "campaign configuration", "'hosts', 'guests' and 'output'")
    for key, value in (overrides or {}).items():
        if isinstance(value, Mapping) and isinstance(data.get(key, {}), dict):
            data[key] = {**data.get(key, {}), **value}
        else:
            data[key] = value
    try:
        return validate(CampaignConfig, data, path)
    except RecursionError:
        raise InputError(f"{path}: refers to itself") from None
