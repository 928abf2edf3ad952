"""Benchmarks as campaigns: which hosts, what is taken out of them, and the files of a benchmark's folder.

DIR/benchmark.json   protocol, input, ions, which hosts were chosen for which ion
    hosts.h5         the chosen crystals, packed
    campaign.yaml    the campaign, for `run` and `submit`
    run/             its run directory
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc._version import __version__
from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.configuration import validate
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.crystals.reading import iter_hosts
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

IONS = ("Li", "Na", "K", "Mg", "Ca", "Zn", "Al")


def chosen_hosts(
    crystals: Iterable[Crystal], ions: Sequence[str], limit: int | None, max_atoms: int
) -> dict[str, list[Crystal]]:
    """Crystals to take each ion out of: they hold it and something else.

    Args:
        crystals: read one at a time; only chosen ones are kept.
        ions: symbols.
        limit: so many for each ion, those whose sha256 of the name is smallest: the same everywhere; None takes all.
        max_atoms: most atoms, ions included.
    """
    from ase.data import atomic_numbers

    found: dict[str, list[tuple[int, str, Crystal]]] = {ion: [] for ion in ions}
    for crystal in crystals:
        if len(crystal) > max_atoms:
            continue
        place = -int(hashlib.sha256(crystal.name.encode()).hexdigest(), 16)
        for ion, heap in found.items():
            held = int(np.count_nonzero(crystal.numbers == atomic_numbers[ion]))
            if 0 < held < len(crystal):
                heapq.heappush(heap, (place, crystal.name, crystal))
                if limit is not None and len(heap) > limit:
                    heapq.heappop(heap)
    return {ion: [crystal for _, _, crystal in sorted(heap, reverse=True)] for ion, heap in found.items()}


def prepare(
    folder: Path,
    sources: Sequence[str],
    ions: Sequence[str],
    limit: int | None = None,
    max_atoms: int = 40,
    samples: int = 16,
    **options: Any,
) -> CampaignConfig:
    """Choose hosts and write the files of a benchmark; a folder that is there must be of the same benchmark.

    Args:
        folder: of the benchmark.
        sources: files with relaxed crystals, in any format.
        ions: symbols of what is taken out, all atoms of one ion at a time.
        limit, max_atoms: as `chosen_hosts`.
        samples: valid samples of each task.
        options: further sections of the campaign's configuration: sampling, pipeline, resources, weights.

    Raises:
        InputError: no crystal holds one of the ions, none can be read, a value is not allowed, or `folder` is of
            another benchmark.
    """
    settings = {"samples": samples, **options}
    asked = {
        "protocol": "wbm",
        "input": [Path(source).name for source in sources],
        "ions": list(ions),
        "limit": limit,
        "max_atoms": max_atoms,
        "settings": settings,
    }
    place = folder / "benchmark.json"
    campaign = {
        "hosts": [{"path": str(folder / "hosts.h5")}],
        "guests": [{"remove": list(ions)}],
        "output": str(folder / "run"),
        **settings,
    }
    config = validate(CampaignConfig, campaign, "benchmark")
    if place.exists():
        known = json.loads(place.read_text(encoding="utf-8"))
        differ = [name for name in asked if known.get(name) != asked[name]]
        if differ:
            raise InputError(f"{folder}: is a benchmark with other {', '.join(differ)}; use another --out")
        return config
    rejected: list[InputError] = []
    chosen = chosen_hosts(iter_hosts(list(sources), rejected.append), ions, limit, max_atoms)
    empty = [ion for ion, crystals in chosen.items() if not crystals]
    if len(empty) == len(ions):
        if rejected:
            raise rejected[0]
        raise InputError(
            f"no crystal of at most {max_atoms} atoms holds {', '.join(ions)} and something else; "
            "see --ions and --max-atoms"
        )
    folder.mkdir(parents=True, exist_ok=True)
    crystals = {crystal.name: crystal for several in chosen.values() for crystal in several}
    write_packed(folder / "hosts.h5", (replace(one, info=_plain(one.info)) for one in crystals.values()))
    asked["rejected"] = [str(error) for error in rejected]
    asked["hosts"] = {ion: [crystal.name for crystal in several] for ion, several in chosen.items()}
    for path, text in (
        (folder / "campaign.yaml", config.to_yaml()),
        (place, json.dumps({"inpaint_hpc": __version__, **asked}, indent=1) + "\n"),
    ):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return config


def rejected_of(folder: Path) -> list[str]:
    """Why crystals of the input were left out: they cannot be read or used."""
    return list(json.loads((folder / "benchmark.json").read_text(encoding="utf-8")).get("rejected", ()))


def hosts_of(folder: Path) -> dict[str, set[str]]:
    """Names of the hosts chosen for each ion; others hold it too, and are run, but do not count."""
    return {
        ion: set(names)
        for ion, names in json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))["hosts"].items()
    }


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if isinstance(value, bool | int | float | str)}
