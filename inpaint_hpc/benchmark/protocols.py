"""Benchmarks as campaigns: what is taken out of which crystals, and the files of a benchmark's folder.

DIR/benchmark.json   protocol, input, ions, which hosts were chosen for which ion
    hosts.h5         the chosen crystals, packed; what `remove_last` takes out is last
    references.h5    electrodes: the discharged crystals, packed
    campaign.yaml    the campaign, for `run` and `submit`
    run/             its run directory
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.configuration import validate
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import read_electrodes, read_packed
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.crystals.reading import iter_hosts
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path
from inpaint_hpc.planning.create_run import weights_for

from .choosing import COUNT, SPECIES, Choice, chosen_hosts, chosen_pairs, filled_host, single_ions

IONS = ("Li", "Na", "K", "Mg", "Ca", "Zn", "Al")
BENCHMARK = "benchmark.json"  # in a benchmark's folder
STOLS = {"electrodes": 0.3}  # hosts that relaxed without the ions have moved; 0.2 for others
RANDOM = "random"  # key of it: random placements for the chance rate
# What two calls in one folder must agree on.
ASKED = ("protocol", "input", "ions", "limit", "max_atoms", "anions", "exclude", "settings")


@dataclass
class _Chosen:
    """Hosts with their ions by ion, discharged crystals, and why others were left out."""

    hosts: dict[str, list[Crystal]]
    references: list[Crystal] = field(default_factory=list)
    rejected: list[InputError] = field(default_factory=list)


def prepare(
    folder: Path, sources: Sequence[str], choice: Choice, samples: int = 16, protocol: str = "wbm", **options: Any
) -> CampaignConfig:
    """Choose hosts and write the files of a benchmark; a folder that is there must be of the same benchmark.

    Args:
        folder: of the benchmark.
        sources: files with relaxed crystals, in any format; packed files of electrode pairs for 'electrodes'.
        choice: which crystals.
        samples: valid samples of each task.
        protocol: 'wbm' takes all atoms of one ion out at a time; 'wbm-single' one atom, for each symmetry-distinct site
            of the ion; 'electrodes' fills hosts that relaxed without the ions.
        options: further sections of the campaign's configuration: sampling, pipeline, resources, weights.

    Raises:
        InputError: no crystal holds one of the ions, none can be read, a value is not allowed, or `folder` is of
            another benchmark.
    """
    settings = {"samples": samples, **options}
    asked = {
        "protocol": protocol,
        "input": [Path(source).name for source in sources],
        "ions": list(choice.ions),
        "limit": choice.limit,
        "max_atoms": choice.max_atoms,
        **({"anions": list(choice.anions)} if choice.anions else {}),
        **({"exclude": sorted(choice.exclude)} if choice.exclude else {}),
        "settings": settings,
    }
    place = folder / BENCHMARK
    last = {"remove_last": {"species": SPECIES, "count": COUNT}}
    campaign = {
        "hosts": [{"path": str(folder / "hosts.h5")}],
        "guests": [{"remove": list(choice.ions)} if protocol == "wbm" else last],
        "output": str(folder / "run"),
        "match_tolerance": STOLS.get(protocol, 0.2),
        **settings,
    }
    config = validate(CampaignConfig, campaign, "benchmark")
    if place.exists():
        known = json.loads(place.read_text(encoding="utf-8"))
        differ = [name for name in ASKED if known.get(name) != asked.get(name)]
        if differ:
            raise InputError(f"{folder}: is a benchmark with other {', '.join(differ)}; use another --out")
        return config
    weights_for(config)  # refused before anything is written
    chosen = _choose(protocol, list(sources), choice)
    if not any(chosen.hosts.values()):
        if chosen.rejected:
            raise chosen.rejected[0]
        raise InputError(
            f"no crystal of at most {choice.max_atoms} atoms holds {', '.join(choice.ions)} and something else"
            + (f", with anions of {', '.join(choice.anions)}" if choice.anions else "")
            + "; see --ions and --max-atoms"
        )
    folder.mkdir(parents=True, exist_ok=True)
    crystals = {crystal.name: crystal for several in chosen.hosts.values() for crystal in several}
    write_packed(folder / "hosts.h5", (replace(one, info=_plain(one.info)) for one in crystals.values()))
    if chosen.references:
        write_packed(folder / "references.h5", chosen.references)
    asked["rejected"] = [str(error) for error in chosen.rejected]
    asked["hosts"] = {ion: [crystal.name for crystal in several] for ion, several in chosen.hosts.items()}
    for path, text in (
        (folder / "campaign.yaml", config.to_yaml()),
        (place, json.dumps({"inpaint_hpc": __version__, **asked}, indent=1) + "\n"),
    ):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return config


def _choose(protocol: str, sources: list[str], choice: Choice) -> _Chosen:
    if protocol == "electrodes":
        return _electrodes(sources, choice)
    rejected: list[InputError] = []
    hosts = chosen_hosts(iter_hosts(sources, rejected.append), choice)
    if protocol == "wbm-single":
        hosts = {ion: [site for one in several for site in single_ions(one, ion)] for ion, several in hosts.items()}
    return _Chosen(hosts, rejected=rejected)


def _electrodes(sources: list[str], choice: Choice) -> _Chosen:
    chosen = _Chosen({ion: [] for ion in choice.ions})
    for pair in chosen_pairs((pair for source in sources for pair in read_electrodes(source)), choice):
        try:
            host = filled_host(pair)
        except InputError as error:
            chosen.rejected.append(error)
            continue
        chosen.hosts[host.info[SPECIES]].append(host)
        chosen.references.append(replace(pair.reference, name=pair.name, info={}))
    return chosen


def rejected_of(folder: Path) -> list[str]:
    """Why crystals of the input were left out: they cannot be read or used."""
    return list(json.loads((folder / BENCHMARK).read_text(encoding="utf-8")).get("rejected", ()))


def stol_of(folder: Path) -> float:
    """Right is up to this times (V / N)^(1/3), in a benchmark's protocol."""
    return STOLS.get(protocol_of(folder), 0.2)


def protocol_of(folder: Path) -> str:
    """Name of a benchmark's protocol."""
    return str(json.loads((folder / BENCHMARK).read_text(encoding="utf-8"))["protocol"])


def references_of(folder: Path) -> dict[str, Crystal]:
    """Discharged crystals by name of the host; empty for protocols whose reference is the host with its ions."""
    whole = folder / "references.h5"
    return {crystal.name: crystal for crystal in read_packed(whole)} if whole.exists() else {}


def keep_random(folder: Path, count: int) -> None:
    """Note in a benchmark's folder how many random placements its chance rate is of."""
    known = json.loads((folder / BENCHMARK).read_text(encoding="utf-8"))
    if known.get(RANDOM) != count:
        with atomic_path(folder / BENCHMARK) as temporary:
            temporary.write_text(json.dumps({**known, RANDOM: count}, indent=1) + "\n", encoding="utf-8")


def random_of(folder: Path) -> int | None:
    """Random placements of each task for the chance rate; None where it was never asked for."""
    return json.loads((folder / BENCHMARK).read_text(encoding="utf-8")).get(RANDOM)


def hosts_of(folder: Path) -> dict[str, set[str]]:
    """Names of the hosts chosen for each ion; others hold it too, and are run, but do not count."""
    return {
        ion: set(names) for ion, names in json.loads((folder / BENCHMARK).read_text(encoding="utf-8"))["hosts"].items()
    }


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if isinstance(value, bool | int | float | str)}
