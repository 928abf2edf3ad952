"""What an allocation of SLURM is asked for: site profiles (YAML) and options of the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpaint_hpc.campaign.slurm_settings import SlurmSection, SlurmSettings
from inpaint_hpc.configuration import read_yaml, validate
from inpaint_hpc.errors import InputError

PACKAGED = Path(__file__).resolve().parent / "profiles"


def profile_path(name: str) -> Path:
    """The file of a profile: a path, or a name among the user's profiles and those that come with the package.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        if not Path(name).expanduser().is_file():
            raise InputError(f"{name}: no such profile")
        return Path(name).expanduser()
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
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "inpaint_hpc" / "profiles"


def load_settings(
    profile: str | None = None, overrides: Mapping[str, Any] | None = None, section: SlurmSettings | None = None
) -> SlurmSettings:
    """Settings of a profile, below those of a campaign's `slurm` section, below those of the command line.

    Args:
        profile: name or file, instead of the section's; None leaves everything to defaults.
        overrides: by name; None values are passed over.
        section: of the campaign's configuration, or what was asked for before; what it does not say is left to the
            profile.

    `extra` and `setup` of each are added to those below it.

    Raises:
        InputError: no such profile, an unknown key or a bad value.
    """
    said = {} if section is None else section.model_dump(exclude_unset=True, exclude={"profile"})
    if profile is None and isinstance(section, SlurmSection):
        profile = section.profile
    data: dict[str, Any] = {}
    label = "options"
    if profile is not None:
        label = str(profile_path(profile))
        data = read_yaml(label, "profile of a site", "one setting such as 'partition'")
    for layer in (said, overrides or {}):
        for key, value in layer.items():
            if key == "extra" and value:
                data["extra"] = {**(data.get("extra") or {}), **value}
            elif key == "setup" and value:
                data["setup"] = [*(data.get("setup") or []), *value]
            elif value is not None and key not in ("extra", "setup"):
                data[key] = value
    return validate(SlurmSettings, data, label)
