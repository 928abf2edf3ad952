"""Where the nodes of an allocation meet: small files in the run directory, each written by rename.

RUN/slurm/JOB/, or RUN/slurm/ARRAY/ELEMENT/, holds for each life R of a job (R is SLURM_RESTART_COUNT, so that a
requeued job never takes the files of its former life for its own): token-R, the secret of its Ray cluster; head-R.json,
where the head is; node-R-RANK.json, what each node is; ended-R.json, that and why it is over.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.errors import InpaintHpcError
from inpaint_hpc.files import atomic_path

from .commands import slurm


@dataclass(frozen=True)
class JobContext:
    """Where this process stands in its allocation.

    Attributes:
        job: id of the job, ARRAY_ELEMENT for an element of an array, which scontrol takes for just that element.
        restarts: how often it was requeued before.
        rank: of this node, 0 to `nodes` - 1.
        nodes: nodes of the allocation.
        cpus: processors for us on this node.
        gpus: GPUs for us on this node, as SLURM says.
        node: SLURM's name of this node.
    """

    job: str
    restarts: int
    rank: int
    nodes: int
    cpus: int
    gpus: int
    node: str


def here() -> JobContext:
    """This process's place, from the environment that srun gave it.

    Raises:
        InpaintHpcError: not a step of a SLURM job.
    """
    environment = os.environ
    try:
        job, rank, nodes = environment["SLURM_JOB_ID"], environment["SLURM_PROCID"], environment["SLURM_STEP_NUM_NODES"]
    except KeyError as missing:
        raise InpaintHpcError(f"not a step of a SLURM job: {missing.args[0]} is not set") from None
    if "SLURM_ARRAY_TASK_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    devices = [d for d in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if d and d != "NoDevFiles"]
    cpus = environment.get("SLURM_CPUS_PER_TASK") or environment.get("SLURM_CPUS_ON_NODE") or "1"
    return JobContext(
        job=job,
        restarts=int(environment.get("SLURM_RESTART_COUNT", 0)),
        rank=int(rank),
        nodes=int(nodes),
        cpus=int(cpus),
        gpus=len(devices),
        node=environment.get("SLURMD_NODENAME", socket.gethostname()),
    )


def node_address(context: JobContext) -> str:
    """The address at which other nodes of the allocation reach this one; 127.0.0.1 when there are no others."""
    if context.nodes == 1:
        return "127.0.0.1"
    name = context.node
    try:
        for field in slurm("scontrol", "show", "node", "-o", context.node).split():
            if field.startswith("NodeAddr="):
                name = field.partition("=")[2]
    except InpaintHpcError:
        pass  # the node's own name will do nearly everywhere
    try:
        address = socket.gethostbyname(name)
    except OSError:
        address = "127.0.0.1"
    if address not in ("127.0.0.1", "127.0.1.1"):  # one machine that plays several nodes uses other loopback addresses
        return address
    # Debian gives a machine's own name a loopback address; the one that leads outside is the one others can reach.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # reserved for documentation; UDP sends nothing on connect
        return probe.getsockname()[0]


def rendezvous_folder(run_path: str | Path, job: str) -> Path:
    """Where the nodes of a job meet."""
    return Path(run_path, "slurm", *job.split("_"))


class Rendezvous:
    """The files of one life of a job.

    Args:
        run_path: the run directory.
        job, restarts: which.
    """

    def __init__(self, run_path: str | Path, job: str, restarts: int) -> None:
        self.folder = rendezvous_folder(run_path, job)
        self.restarts = restarts
        self.token = self.folder / f"token-{restarts}"

    def open(self) -> None:
        """Make the folder, closed to others.

        Raises:
            OSError: it cannot be made.
        """
        # `parents` would open those it makes to everyone.
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, exist_ok=True)

    def publish_head(self, address: str) -> None:
        """Say where the head is; each time is a new one, also when the address is the same."""
        self._write(f"head-{self.restarts}.json", {"address": address, "time": time.time_ns(), "pid": os.getpid()})

    def head(self) -> dict[str, Any] | None:
        """What the head published last; None before it did."""
        return self._read(f"head-{self.restarts}.json")

    def publish_node(self, context: JobContext, address: str, problem: str = "") -> None:
        """Say what this node is, and why it cannot work if it cannot."""
        record = {
            "rank": context.rank,
            "node": context.node,
            "address": address,
            "host": socket.gethostname(),
            "cpus": context.cpus,
            "gpus": context.gpus,
            "python": platform.python_version(),
            "inpaint_hpc": __version__,
            "problem": problem,
            "time": time.time(),
        }
        self._write(f"node-{self.restarts}-{context.rank}.json", record)

    def end(self, reason: str, units: int) -> None:
        """Say that this life is over, why, and how many units it finished; the token is of no use any more."""
        self._write(f"ended-{self.restarts}.json", {"reason": reason, "units": units, "time": time.time()})
        self.token.unlink(missing_ok=True)

    def ended(self) -> dict[str, Any] | None:
        """How this life ended; None while it goes on."""
        return self._read(f"ended-{self.restarts}.json")

    def former(self, lives: int) -> list[dict[str, Any]]:
        """How so many lives before this one ended, the latest first; those that were killed have not said it."""
        numbers = range(self.restarts - 1, max(-1, self.restarts - 1 - lives), -1)
        records = [self._read(f"ended-{number}.json") for number in numbers]
        return [record for record in records if record is not None]

    def _write(self, name: str, record: dict[str, Any]) -> None:
        with atomic_path(self.folder / name) as temporary:
            temporary.write_text(json.dumps(record) + "\n")
            temporary.chmod(0o600)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return None
