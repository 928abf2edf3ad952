"""What all configuration files have in common: YAML in, pydantic model out, every mistake in one line."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from inpaint_hpc.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A part of a configuration; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: str | Path, what: str, needs: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: the file.
        what: what it is, e.g. 'training configuration'.
        needs: what it must hold at least, e.g. "'data' and 'out'".

    Raises:
        InputError: unreadable, not YAML, a key given twice, or not a mapping.
    """
    path = Path(path)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a {what}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; give a {what}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        why = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{path}: not YAML ({why}{where})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: a {what} is a mapping with at least {needs}")
    return data


def validate(model: type[Model], data: Mapping[str, Any], label: str | Path) -> Model:
    """`data` as a model.

    Raises:
        InputError: `label` and the first problem; an unknown key comes with the nearest valid one.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise InputError(f"{label}: {first_problem(error, model)}") from None
    except InputError as error:
        raise InputError(f"{label}: {error}") from None


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem pydantic found, in one line; a misspelt key before the one that is missing because of it."""
    problem = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"'{place}' is missing"
    if problem["type"] != "extra_forbidden":
        given, text = problem["input"], problem["msg"]
        if problem["type"] == "too_short":
            text = "is empty"
        elif problem["type"] == "value_error":
            text = text.removeprefix("Value error, ")
        elif isinstance(given, str | int | float):
            text = f"{text} (given: {given!r})"
        return f"{place + ': ' if place else ''}{text}"
    section, key = _model_at(model, problem["loc"][:-1]), str(problem["loc"][-1])
    if key in section.model_fields:
        return f"'{place}' is the former name of '{_key(key, section)}', which is given too; give one of them"
    near = nearest(key, [_key(name, section) for name in section.model_fields])
    return f"unknown key '{place}'; did you mean '{near}'?"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that looks most like `word`."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)[0]


def section_of(
    kind: type, name: str, leave_out: tuple[str, ...] = (), names: Mapping[str, str] | None = None
) -> type[Section]:
    """A section with the fields and defaults of a dataclass, which checks its own values.

    Args:
        kind: a dataclass whose fields have defaults, and which raises `InputError` for values out of range.
        name: of the section, for messages.
        leave_out: fields that do not belong in the section.
        names: what fields are called in the file, by field; the field's own name is understood as well.
    """
    names = names or {}
    hints = get_type_hints(kind)
    chosen = [f for f in fields(kind) if f.name not in leave_out]
    defaults = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in chosen}
    contents: dict[str, Any] = {f.name: (hints[f.name], _field(f.name, defaults[f.name], names)) for f in chosen}

    def check(self: Section) -> Section:
        try:
            kind(**self.model_dump())
        except InputError as error:
            text = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), str(error))
            raise InputError(f"{name}: {text}") from None
        return self

    check_values: Any = model_validator(mode="after")(check)
    return create_model(
        kind.__name__ + "Section",
        __base__=Section,
        __doc__=f"See `{kind.__module__}.{kind.__qualname__}`.",
        __validators__={"_values_fit": check_values},
        **contents,
    )


def _field(name: str, default: object, names: Mapping[str, str]) -> object:
    if name not in names:
        return default
    return Field(default, validation_alias=AliasChoices(names[name], name))


def _key(name: str, model: type[BaseModel]) -> str:
    """What a field of a section is called in a file."""
    alias = model.model_fields[name].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that a problem's location leads to."""
    kind: Any = model
    for part in location:
        kind = kind.model_fields[part].annotation if isinstance(part, str) else get_args(kind)[0]
        while get_origin(kind) in (Union, types.UnionType):
            kind = next(option for option in get_args(kind) if option is not type(None))
    return kind


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice; YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key}' is given twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)
