"""The host's own energy, by the same potential and under the same treatment as its candidates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from inpaint_hpc.archive.records import host_id
from inpaint_hpc.archive.rows import CONVERGED, UNFINISHED, HostEnergies
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.scoring.chgnet.batch import evaluate
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

from .settings import PipelineSettings

_MOST = 4096
_KNOWN: OrderedDict[tuple, HostEnergies] = OrderedDict()
"""Of this process: a host comes with many tasks, in many units."""


def host_energies(hosts: Sequence[Crystal], pipeline: PipelineSettings, device: Any) -> list[HostEnergies | None]:
    """Energies of hosts, in their order; None of one without atoms.

    A host is treated as the candidates are: with frozen host atoms it stays as it is, otherwise it is relaxed in the
    same way.  What CHGNet cannot evaluate, or what diverges, has no energy.

    Args:
        hosts: the hosts, each as often as it comes.
        pipeline: potential and treatment.
        device: torch device.
    """
    treatment: tuple[Any, ...] = (pipeline.chgnet, pipeline.relax, str(device))
    if pipeline.relax in ("positions", "cell"):
        treatment += (pipeline.fmax, pipeline.relax_steps)
    keys = [(host_id(host), *treatment) for host in hosts]
    missing = {key: host for key, host in zip(keys, hosts, strict=True) if len(host) and key not in _KNOWN}
    found = dict(zip(missing, _computed(list(missing.values()), pipeline, device), strict=True)) if missing else {}
    found |= {key: _KNOWN[key] for key in keys if key in _KNOWN}
    _KNOWN.update(found)
    while len(_KNOWN) > _MOST:
        _KNOWN.popitem(last=False)
    return [found.get(key) for key in keys]


def _computed(hosts: list[Crystal], pipeline: PipelineSettings, device: Any) -> list[HostEnergies]:
    static = evaluate(hosts, pipeline.chgnet, device, "e")
    energies = [None if error else float(energy) for energy, error in zip(static.energies, static.errors, strict=True)]
    if pipeline.relax in ("none", "guests"):
        treated = [None if pipeline.relax == "none" else energy for energy in energies]
        volumes, outcomes = [host.volume for host in hosts], [""] * len(hosts)
    else:
        fine = [k for k, energy in enumerate(energies) if energy is not None]
        relaxations = relax(
            [hosts[k] for k in fine],
            settings=RelaxSettings(pipeline.relax, pipeline.fmax, pipeline.relax_steps),
            model=pipeline.chgnet,
            device=device,
        )
        treated, volumes, outcomes = [None] * len(hosts), [np.nan] * len(hosts), [""] * len(hosts)
        for k, found in zip(fine, relaxations, strict=True):
            if not found.diverged:
                treated[k], volumes[k] = found.energy_per_atom * len(found.crystal), found.crystal.volume
                outcomes[k] = CONVERGED if found.converged else UNFINISHED
    return [
        HostEnergies(
            energy=energy,
            relaxed_energy=after,
            relaxed_volume=None if after is None else float(volume),
            relaxation=outcome,
        )
        for energy, after, volume, outcome in zip(energies, treated, volumes, outcomes, strict=True)
    ]
