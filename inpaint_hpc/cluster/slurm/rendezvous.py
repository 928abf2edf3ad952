"""Where the nodes of an allocation meet: small files in the run directory, each written by rename.

RUN/slurm/JOB/, or RUN/slurm/ARRAY/ELEMENT/, holds for each attempt R of a job (R is SLURM_RESTART_COUNT, so that a
requeued job never mistakes the files of an earlier attempt for its own): token-R, the secret of its Ray cluster;
head-R.json, where the head is; node-R-RANK.json, what each node is; ended-R.json, why the attempt ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.errors import InpaintHpcError
from inpaint_hpc.files import atomic_path, private_folder
from inpaint_hpc.gpus import gpus_here

from .commands import slurm

# Interfaces that lead to containers and virtual machines on the node, not to other nodes.
_INTERNAL = ("docker", "br-", "virbr", "veth", "cni", "podman", "lxc", "lxd", "vmnet", "tun", "tap")


@dataclass(frozen=True)
class JobContext:
    """The place of this process in its allocation.

    Attributes:
        job: id of the job; ARRAY_ELEMENT for an element of an array, which scontrol applies to that element alone.
        restarts: how often the job has been requeued.
        rank: rank of this node, 0 to `nodes` - 1.
        nodes: number of nodes in the allocation.
        cpus: processors given to this job on this node.
        gpus: GPUs of this node that this job may use and torch can use; if torch can use none, those promised to it.
        node: SLURM's name of this node.
        gpu_notes: why GPUs are unused, and what is strange about them, one line each.
    """

    job: str
    restarts: int
    rank: int
    nodes: int
    cpus: int
    gpus: int
    node: str
    gpu_notes: tuple[str, ...] = ()


def here() -> JobContext:
    """The place of this process, from the environment set by srun.

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
    node = environment.get("SLURMD_NODENAME", socket.gethostname())
    gpus, notes = _gpus(node)
    cpus = environment.get("SLURM_CPUS_PER_TASK") or environment.get("SLURM_CPUS_ON_NODE") or "1"
    return JobContext(
        job=job,
        restarts=int(environment.get("SLURM_RESTART_COUNT", 0)),
        rank=int(rank),
        nodes=int(nodes),
        cpus=int(cpus),
        gpus=gpus,
        node=node,
        gpu_notes=notes,
    )


def _gpus(node: str) -> tuple[int, tuple[str, ...]]:
    """Number of GPUs for this job on this node, and notes."""
    found = gpus_here()
    if found.promised is None and found.count:
        # Where SLURM does not hand out GPUs, a job has those of its node; where it does, they are others'.
        with contextlib.suppress(InpaintHpcError):
            offered = re.search(r" Gres=(\S*\bgpu\b\S*)", slurm("scontrol", "show", "node", "-o", node))
            if offered:
                unasked = f"{found.count} GPUs are unused: the job asked for none ({offered[1]}); see --gpus-per-node"
                return 0, (*found.notes, unasked)
    return found.count or found.promised or 0, found.notes


def node_address(context: JobContext) -> str:
    """The address at which other nodes of the allocation reach this one; 127.0.0.1 when there are no others.

    Raises:
        InpaintHpcError: this node has none.
    """
    if context.nodes == 1:
        return "127.0.0.1"
    name = context.node
    try:
        for field in slurm("scontrol", "show", "node", "-o", context.node).split():
            if field.startswith("NodeAddr="):
                name = field.partition("=")[2]
    except InpaintHpcError:
        pass  # the node's own name works nearly everywhere
    try:
        address = socket.gethostbyname(name)
    except OSError:
        address = ""
    # One machine that simulates several nodes uses other loopback addresses.
    if address not in ("", "127.0.0.1", "127.0.1.1"):
        return address
    # Debian gives a machine's own name a loopback address; others can reach the address of the outgoing route.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # reserved for documentation; UDP sends nothing on connect
        return probe.getsockname()[0]
    # Without a route to the outside, as on many compute nodes, that of a network that leaves the node.
    found = _interface_addresses()
    if not found:
        raise InpaintHpcError(
            f"{context.node}: no IPv4 address at which the other nodes could reach this one: '{name}' resolves to "
            f"{address or 'none'}, and no network interface has one; submit with --nodes 1 and more --allocations"
        )
    return found[0]


def _interface_addresses() -> list[str]:
    """IPv4 addresses of the interfaces that are up, those of containers and virtual machines last."""
    import psutil

    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = [
        (name.startswith(_INTERNAL), address.address)
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if name in up and address.family == socket.AF_INET and not address.address.startswith(("127.", "169.254."))
    ]
    return [address for _, address in sorted(found, key=lambda pair: pair[0])]


def rendezvous_folder(run_path: str | Path, job: str) -> Path:
    """Where the nodes of a job meet."""
    return Path(run_path, "slurm", *job.split("_"))


class Rendezvous:
    """The files of one attempt of a job.

    Args:
        run_path: the run directory.
        job, restarts: which job, and which attempt.
    """

    def __init__(self, run_path: str | Path, job: str, restarts: int) -> None:
        """Name the files of one attempt; the folder is made by `open`."""
        self.folder = rendezvous_folder(run_path, job)
        self.restarts = restarts
        self.token = self.folder / f"token-{restarts}"

    def open(self) -> None:
        """Make the folder, private to this user.

        Raises:
            InputError: somebody else can write to it.
            OSError: it cannot be made.
        """
        # `parents=True` would make parent folders that everyone can read.
        for folder in (self.folder.parent, self.folder):
            private_folder(folder)

    def publish_head(self, address: str) -> None:
        """Publish where the head is; every call counts as a new head, even if the address is the same."""
        self._write(f"head-{self.restarts}.json", {"address": address, "time": time.time_ns(), "pid": os.getpid()})

    def head(self) -> dict[str, Any] | None:
        """What the head published last; None if nothing yet."""
        return self._read(f"head-{self.restarts}.json")

    def publish_node(self, context: JobContext, address: str, problem: str = "") -> None:
        """Publish what this node is and, if it cannot work, why not."""
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
        """Record that and why this attempt ended, and how many units it finished; the token is no longer needed."""
        self._write(f"ended-{self.restarts}.json", {"reason": reason, "units": units, "time": time.time()})
        self.token.unlink(missing_ok=True)

    def ended(self) -> dict[str, Any] | None:
        """How this attempt ended; None while it is running."""
        return self._read(f"ended-{self.restarts}.json")

    def former(self, count: int) -> list[dict[str, Any]]:
        """How the last `count` attempts before this one ended, latest first; killed attempts left no record."""
        numbers = range(self.restarts - 1, max(-1, self.restarts - 1 - count), -1)
        records = [self._read(f"ended-{number}.json") for number in numbers]
        return [record for record in records if record is not None]

    def _write(self, name: str, record: dict[str, Any]) -> None:
        with atomic_path(self.folder / name) as temporary:
            temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")
            temporary.chmod(0o600)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
