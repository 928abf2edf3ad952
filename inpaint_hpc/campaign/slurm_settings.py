"""Resources to request from SLURM, as given in the `slurm` section of a campaign and in site profiles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator

from inpaint_hpc.configuration import Section

if TYPE_CHECKING:
    from .resources import Resources

_DURATION = re.compile(r"(?:(?P<days>\d+)-)?(?P<fields>\d+(?::\d+){0,2})")
# Options that submission sets itself, or that would keep sbatch from answering; other values would break it.
_OURS = (
    *(
        "array",
        "chdir",
        "error",
        "input",
        "job-name",
        "kill-on-invalid-dep",
        "nodes",
        "no-kill",
        "no-requeue",
        "ntasks",
    ),
    *("ntasks-per-node", "open-mode", "output", "parsable", "quiet", "requeue", "signal", "test-only", "time"),
    *("wait", "wrap"),
)
# Other names of sbatch's options.
_SAME = {
    **{"A": "account", "B": "extra-node-info", "C": "constraint", "D": "chdir", "F": "nodefile", "G": "gpus"},
    **{"H": "hold", "J": "job-name", "L": "licenses", "M": "clusters", "N": "nodes", "O": "overcommit"},
    **{"Q": "quiet", "S": "core-spec", "W": "wait", "a": "array", "b": "begin", "c": "cpus-per-task"},
    **{"d": "dependency", "e": "error", "i": "input", "k": "no-kill", "m": "distribution", "n": "ntasks"},
    **{"o": "output", "p": "partition", "q": "qos", "s": "oversubscribe", "t": "time", "v": "verbose"},
    **{"w": "nodelist", "x": "exclude", "cluster": "clusters"},
}


def option_name(key: str) -> str:
    """The long name of an option of sbatch, without dashes, for any way to write it: -M, --clusters, some_thing."""
    name = key.lstrip("-").replace("_", "-")
    return _SAME.get(name, name)


def parse_minutes(value: object) -> int:
    """Minutes of a time limit as SLURM writes them: 30, '30', '90:00' (minutes:seconds), '2:00:00', '1-12:00:00'.

    Raises:
        ValueError: not a time limit in this form, or less than a minute.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"write a time limit in minutes or as 'H:MM:SS' in quotes, not {value!r}")
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"write a time limit in minutes, 'H:MM:SS' or 'D-HH:MM:SS', not {value!r}")
    fields = [int(field) for field in match["fields"].split(":")]
    if match["days"] is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = [*fields, 0, 0][:3]
    elif len(fields) == 3:
        hours, minutes, seconds = fields
    else:
        hours, (minutes, seconds) = 0, [*fields, 0][:2]
    total = (int(match["days"] or 0) * 24 + hours) * 60 + minutes + (1 if seconds else 0)
    if total < 1:
        raise ValueError("a time limit is at least one minute")
    return total


class SlurmSettings(Section):
    """Resources of an allocation, in SLURM's terms, and the number of allocations.

    Attributes:
        nodes: nodes per allocation.
        allocations: number of jobs that share the campaign, each with its own Ray cluster; elements of a job array.
        array_parallelism: maximum number of them running at once; None leaves that to the queue.
        time: time limit in minutes, read by `parse_minutes`; an unfinished job is requeued.
        partition, account, qos, constraint, reservation: as for sbatch; None leaves them to the cluster.
        gpus_per_node: e.g. 4 or 'a100:4'.
        gres: instead of `gpus_per_node`, e.g. 'gpu:4'.
        cpus_per_task: processors per node.
        mem: memory per node, e.g. '64G'; '0' is all of it.
        exclusive: allow no other jobs on the nodes.
        extra: other sbatch options by long name, e.g. {licenses: scratch}; true for those without a value.
        setup: shell lines to run before the start, e.g. 'module load python'.
        actors, threads, device: workers per node; by default as in the campaign's configuration.
        signal_seconds: s before the limit at which SLURM warns; by default a sixth of the limit, at most 60.
        head_timeout: s without a heartbeat of the first node after which the others requeue the job; file systems of
            clusters may show a heartbeat a minute late.
        claim_timeout: s without a heartbeat of an allocation after which others may take over its shards.
    """

    nodes: int = Field(1, ge=1)
    allocations: int = Field(1, ge=1)
    array_parallelism: int | None = Field(None, ge=1)
    time: Annotated[int, BeforeValidator(parse_minutes), PlainSerializer(int)] = 60
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    gpus_per_node: int | str | None = None
    gres: str | None = None
    cpus_per_task: int | None = Field(None, ge=1)
    mem: str | None = None
    exclusive: bool = False
    extra: dict[str, bool | int | float | str] = Field(default_factory=dict)
    setup: list[str] = Field(default_factory=list)
    actors: int | None = Field(None, ge=1)
    threads: int | None = Field(None, ge=1)
    device: Literal["auto", "cpu", "cuda"] | None = None
    signal_seconds: int | None = Field(None, ge=5)
    head_timeout: int = Field(150, ge=20)
    claim_timeout: int = Field(90, ge=5)

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        cleaned = {option_name(key): wanted for key, wanted in value.items()}
        for key, wanted in cleaned.items():
            # sbatch accepts the beginning of a name for the whole.
            if key and (ours := next((name for name in _OURS if name.startswith(key)), None)):
                short = f" (short for '{ours}')" if key != ours else ""
                raise ValueError(f"'{key}'{short} cannot be set in 'extra': submit sets it itself")
            if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
                raise ValueError(f"'{key}' is not an sbatch option; write its long name without dashes")
            if "\n" in str(wanted):
                raise ValueError(f"the value of '{key}' has more than one line")
        return cleaned

    @field_validator("partition", "account", "qos", "constraint", "reservation", "gres", "mem", "gpus_per_node")
    @classmethod
    def _one_word(cls, value: object) -> object:
        if isinstance(value, str) and (not value.strip() or any(c.isspace() for c in value)):
            raise ValueError(f"is one word, not {value!r}")
        return value

    @property
    def clusters(self) -> str:
        """The clusters from which sbatch may choose one, as for its option; '' for that of the submitting machine."""
        named = self.extra.get("clusters", "")
        return "" if isinstance(named, bool) else str(named)

    def gpu_workers(self, resources: Resources) -> int:
        """Workers on GPUs that this request is for, in all allocations; 0 where it asks for no GPU.

        Args:
            resources: of the campaign, which decide where nothing is set here.
        """
        device = self.device or resources.device
        asked = re.search(r"(?:^|:)(\d+)$", str(self.gpus_per_node or self.gres or ""))
        gres = self.gpus_per_node is not None or "gpu" in str(self.gres)
        if device == "cpu" or asked is None or not gres:
            return 0
        actors = self.actors or (resources.actors if isinstance(resources.actors, int) else int(asked[1]))
        return actors * self.nodes * self.allocations

    def on_cluster(self, cluster: str) -> SlurmSettings:
        """The same request, of one cluster only; '' for that of the submitting machine."""
        if cluster == self.clusters:
            return self
        return self.model_copy(update={"extra": {**self.extra, "clusters": cluster or False}})

    @property
    def warning_seconds(self) -> int:
        """How long before the limit SLURM should warn, s; short limits cannot spare a minute."""
        return self.signal_seconds or max(5, min(60, self.time * 60 // 6))


class SlurmSection(SlurmSettings):
    """The `slurm` section of a campaign's configuration: settings that override those of a profile.

    Attributes:
        profile: site profile, a name or a file; None leaves everything not set here at its default.
    """

    profile: str | None = None
