"""What to request from SLURM: site profiles (YAML) below the configuration and the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpaint_hpc.campaign.slurm_settings import SlurmSection, SlurmSettings, option_name
from inpaint_hpc.configuration import read_yaml, validate
from inpaint_hpc.environment import user_path
from inpaint_hpc.errors import InputError

from .sbatch_variables import variable_layers

PACKAGED = Path(__file__).resolve().parent / "profiles"


def profile_path(name: str) -> Path:
    """The file of a profile: a path, or a name among the user's profiles and those that come with the package.

    Raises:
        InputError: there is no such profile; the message lists those that exist.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = user_path(name)
        if not path.is_file():
            raise InputError(f"{name}: no such profile")
        return path
    folders = [_user_profiles(), PACKAGED]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise InputError(
        f"no profile '{name}'; choose from {', '.join(known) or 'none'}, give a YAML file, or write "
        f"{_user_profiles() / f'{name}.yaml'}"
    )


def _user_profiles() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # unchanged without a home
    return Path(base) / "inpaint_hpc" / "profiles"


def load_settings(
    profile: str | None = None, overrides: Mapping[str, Any] | None = None, section: SlurmSettings | None = None
) -> SlurmSettings:
    """Settings of a profile, overridden by a campaign's `slurm` section, overridden by the command line.

    What none of them sets is taken from the variables of the environment that sbatch reads, such as SBATCH_ACCOUNT.

    Args:
        profile: name or file, instead of the section's; None uses no profile but the section's.
        overrides: by name; None values are ignored.
        section: from the campaign's configuration, or the previous request; keys it does not set are left to the
            profile.

    `extra` and `setup` of each layer are appended to those of the layers below.

    Raises:
        InputError: no such profile, an unknown key or a bad value.
    """
    variables, layers = _layers(profile, overrides, section)
    for variable, layer in variables:
        validate(SlurmSettings, layer, variable)  # a message that names the variable
    data: dict[str, Any] = {}
    for _, layer in (*variables, *layers):
        for key, value in layer.items():
            before = data.get(key)
            if key == "extra" and isinstance(before, dict) and isinstance(value, dict):
                value = {**before, **value}
            elif key == "setup" and isinstance(before, list) and isinstance(value, list):
                value = [*before, *value]
            data[key] = value
    return validate(SlurmSettings, data, layers[0][0])


def sources_of_settings(
    profile: str | None = None, overrides: Mapping[str, Any] | None = None, section: SlurmSettings | None = None
) -> dict[str, str]:
    """The source of each setting that is not a default, by name; `extra` key by key as 'extra.KEY'.

    Raises:
        InputError: as `load_settings`.
    """
    found: dict[str, str] = {}
    variables, layers = _layers(profile, overrides, section)
    for label, layer in (*variables, *layers):
        for key, value in layer.items():
            if key == "setup":
                found[key] = ", ".join(filter(None, (found.get(key), label)))
            else:
                names = [f"extra.{name}" for name in value] if key == "extra" and isinstance(value, dict) else [key]
                found.update(dict.fromkeys(names, label))
    return found


def _layers(
    profile: str | None, overrides: Mapping[str, Any] | None, section: SlurmSettings | None
) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, dict[str, Any]]]]:
    """The settings from each source: variables of the environment, then the others, lowest precedence first."""
    said = {} if section is None else section.model_dump(exclude_unset=True, exclude={"profile"})
    if profile is None and isinstance(section, SlurmSection):
        profile = section.profile
    layers: list[tuple[str, dict[str, Any]]] = [("options", {})]
    if profile is not None:
        path = str(profile_path(profile))
        layers = [(path, read_yaml(path, "profile of a site", "one setting such as 'partition'"))]
    for label, layer in (("configuration", said), ("command line", overrides or {})):
        layers.append((label, {key: value for key, value in layer.items() if value not in (None, {}, [])}))
    given: set[str] = set()
    for _, layer in layers:
        if isinstance(extra := layer.get("extra"), dict):
            layer["extra"] = {option_name(str(key)): value for key, value in extra.items()}
            given |= layer["extra"].keys()
        given |= {str(key).replace("_", "-") for key, value in layer.items() if value is not None}
    return variable_layers(given), layers
