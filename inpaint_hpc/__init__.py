"""Finds the sites of guest ions in crystals with an equivariant score model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inpaint_hpc._version import __version__ as __version__

if TYPE_CHECKING:
    from inpaint_hpc.crystals.batch import Crystal
    from inpaint_hpc.crystals.reading import read_hosts
    from inpaint_hpc.errors import InpaintHpcError, InputError
    from inpaint_hpc.network.weights import load_network
    from inpaint_hpc.pipeline.inpaint import generate, inpaint
    from inpaint_hpc.sites.find_sites import find_sites

__all__ = [
    "Crystal",
    "InpaintHpcError",
    "InputError",
    "find_sites",
    "generate",
    "inpaint",
    "load_network",
    "read_hosts",
]

# Loaded at first use: torch alone takes two seconds, too long for a command line that only prints --help.
_MODULES = {
    "Crystal": "inpaint_hpc.crystals.batch",
    "InpaintHpcError": "inpaint_hpc.errors",
    "InputError": "inpaint_hpc.errors",
    "find_sites": "inpaint_hpc.sites.find_sites",
    "generate": "inpaint_hpc.pipeline.inpaint",
    "inpaint": "inpaint_hpc.pipeline.inpaint",
    "load_network": "inpaint_hpc.network.weights",
    "read_hosts": "inpaint_hpc.crystals.reading",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
