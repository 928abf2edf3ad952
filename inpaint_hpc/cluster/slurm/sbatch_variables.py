"""The environment variables in which users and sites keep their defaults for sbatch, as settings.

For sbatch itself they override the options in a script; here they are defaults below everything else.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

_SETTINGS = {
    **{"ACCOUNT": "account", "PARTITION": "partition", "QOS": "qos", "RESERVATION": "reservation", "GRES": "gres"},
    **{"CONSTRAINT": "constraint", "GPUS_PER_NODE": "gpus_per_node", "MEM_PER_NODE": "mem", "TIMELIMIT": "time"},
}
# Other options of sbatch, by their long names; the last ones have no value.
_OPTIONS = {
    **{"BURST_BUFFER": "bb", "CPU_FREQ_REQ": "cpu-freq", "CLUSTERS": "clusters"},
    **{
        name: name.lower().replace("_", "-")
        for name in (
            *("ACCTG_FREQ", "BATCH", "CLUSTER_CONSTRAINT", "CONTAINER", "CORE_SPEC", "CPUS_PER_GPU", "DELAY_BOOT"),
            *("DISTRIBUTION", "EXPORT", "GPUS", "GPUS_PER_SOCKET", "GPUS_PER_TASK", "GPU_BIND", "GPU_FREQ"),
            *("GRES_FLAGS", "HINT", "MEM_PER_CPU", "MEM_PER_GPU", "NETWORK", "POWER", "PREFER", "PROFILE"),
            *("THREADS_PER_CORE", "THREAD_SPEC", "TRES_BIND", "TRES_PER_TASK", "WAIT_ALL_NODES", "WCKEY"),
        )
    },
}
_FLAGS = {
    name: name.lower().replace("_", "-")
    for name in ("GET_USER_ENV", "IGNORE_PBS", "OVERCOMMIT", "SPREAD_JOB", "USE_MIN_NODES")
}
# Of each of these sets sbatch accepts one, or takes several for a request that contradicts itself.
_ONE_OF = (
    frozenset(("mem", "mem-per-cpu", "mem-per-gpu")),
    frozenset(("gpus-per-node", "gres", "gpus", "gpus-per-task", "gpus-per-socket")),
)


def variable_layers(
    given: Collection[str], environment: Mapping[str, str] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """The name of each variable that sbatch reads, and the setting that it makes.

    Args:
        given: options set elsewhere, by long name; variables that say the same or contradict them do not count.
        environment: by default that of this process.
    """
    found = []
    for variable, layer in _read(os.environ if environment is None else environment).items():
        (key,) = layer.get("extra", layer)
        option = key.replace("_", "-")
        if not any({option, other} <= group for other in given for group in (*_ONE_OF, {option})):
            found.append((variable, layer))
    return found


def unused_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Names of variables of sbatch that are set but have no influence, because submission sets these options itself."""
    environment = os.environ if environment is None else environment
    used = {name for names in _read(environment) for name in names.split(" and ")}
    return sorted(name for name in environment if name.startswith("SBATCH_") and name not in used)


def _read(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for names, extra in ((_SETTINGS, False), (_OPTIONS, True)):
        for name, key in names.items():
            if value := environment.get(f"SBATCH_{name}", "").strip():
                found[f"SBATCH_{name}"] = {"extra": {key: value}} if extra else {key: value}
    for name, key in _FLAGS.items():
        if _is_on(environment.get(f"SBATCH_{name}")):
            found[f"SBATCH_{name}"] = {"extra": {key: True}}
    exclusive = environment.get("SBATCH_EXCLUSIVE")
    if _is_on(exclusive) or exclusive == "exclusive":
        found["SBATCH_EXCLUSIVE"] = {"exclusive": True}
    elif exclusive in ("user", "mcs", "topo"):
        found["SBATCH_EXCLUSIVE"] = {"extra": {"exclusive": exclusive}}
    if switches := environment.get("SBATCH_REQ_SWITCH"):
        wait = environment.get("SBATCH_WAIT4SWITCH")
        both = "SBATCH_REQ_SWITCH" + " and SBATCH_WAIT4SWITCH" * bool(wait)
        found[both] = {"extra": {"switches": f"{switches}@{wait}" if wait else switches}}
    # Jobs do not get this one from SLURM, unlike other SLURM_ variables; sbatch prefers it, too.
    if clusters := environment.get("SLURM_CLUSTERS", "").strip():
        found.pop("SBATCH_CLUSTERS", None)
        found["SLURM_CLUSTERS"] = {"extra": {"clusters": clusters}}
    return found


def _is_on(value: str | None) -> bool:
    """Whether sbatch takes the value of a variable for 'yes'."""
    return value is not None and (value.strip() in ("", "yes") or (value.strip().isdecimal() and int(value) != 0))
