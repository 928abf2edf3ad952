"""Makes a run directory: hosts x guests become tasks with ids, tasks become shards, and everything is frozen at once.

Hosts are streamed in chunks and tasks are stored as a few arrays, so a million tasks take a minute or two and some
hundred megabytes.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import platform
import secrets
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc._version import __version__
from inpaint_hpc.archive.records import task_id_tail
from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.campaign.cost import CostModel
from inpaint_hpc.campaign.run_directory import SCHEMA_VERSION, RunDirectory
from inpaint_hpc.environment import OPTIONAL, REQUIRED, package_versions, process_exists, user_path
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path
from inpaint_hpc.network.weights import WeightsInfo, find_weights
from inpaint_hpc.pipeline.settings import settings_digest, settings_that_decide

from .host_sources import Excluded, read_sources
from .host_table import HostTable
from .shards import cut_shards, shard_limits
from .table_writing import HostWriter, write_shards, write_tasks
from .task_expansion import TaskBlock, expand

Progress = Callable[[int, int], None]
"""(hosts read, tasks so far)"""


def create_run(
    config: CampaignConfig,
    path: str | Path | None = None,
    progress: Progress | None = None,
    gpu_workers: int = 0,
) -> RunDirectory:
    """Freeze a campaign in a run directory; an existing one with the same content is opened unchanged.

    It is built under a temporary name and moved into place in one step, so a killed creation leaves nothing that looks
    like a run directory, and one that is refused leaves nothing at all.

    Args:
        config: the campaign.
        path: the run directory, by default the configuration's `output`.
        progress: called from time to time.
        gpu_workers: workers on GPUs that it is created for, see `shard_limits`; 0 for CPUs.

    Raises:
        InputError: bad hosts, guests or weights, nothing left to do, or `path` contains something else.
        OSError: it cannot be written.
    """
    path = user_path(config.output if path is None else path)
    existing = _existing(path)
    made = [folder for folder in path.parents if not folder.exists()]
    _remove_abandoned(path)
    building = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.creating")
    building.mkdir(parents=True)
    try:
        info = build(config, building, path, progress, gpu_workers)
        if existing is None:
            try:
                os.rename(building, path)
            except OSError:
                existing = _existing(path)  # another process created it first
                if existing is None:
                    raise
        if existing is not None:
            _require_same(existing, info)
            return existing
    finally:
        shutil.rmtree(building, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty
            for folder in made:
                folder.rmdir()
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return RunDirectory(path)


def build(
    config: CampaignConfig, folder: Path, path: Path, progress: Progress | None = None, gpu_workers: int = 0
) -> dict[str, Any]:
    """Write the files of a run directory into an empty folder; returns the content of campaign.json.

    Args:
        config: the campaign.
        folder: where to write.
        path: where the run directory will be.
        progress: called after each chunk of hosts.
        gpu_workers: as `create_run`.

    Raises:
        InputError, OSError: as `create_run`.
    """
    weights = weights_for(config)
    sampling, pipeline = config.sampling_settings(), config.pipeline_settings()
    settings = {"sampling": asdict(sampling), "pipeline": asdict(pipeline)}
    cost = CostModel.of(sampling, pipeline, weights)

    excluded = Excluded()
    tasks = TaskTable(settings_digest(settings["sampling"], settings["pipeline"], weights.sha256), cost)
    read = 0
    with HostWriter(folder / "hosts.h5") as hosts:
        for table in read_sources(config.hosts, excluded):
            read += len(table)
            for case in config.guests:
                for block in expand(table, case, config.samples, excluded):
                    tasks.add(block, hosts)
            if progress is not None:
                progress(read, len(tasks))
    if not len(tasks):
        raise InputError(_nothing(read, excluded))
    _require_budget(tasks, config.resources.edge_budget)

    arrays, duplicates = tasks.arrays()
    shards = cut_shards(arrays["cost"], arrays["samples"], shard_limits(config.resources, gpu_workers))
    write_tasks(folder / "tasks.h5", arrays, tasks.guest_lists)
    write_shards(folder / "shards.h5", shards, arrays["cost"])
    for name, source in (("weights.safetensors", weights.path), ("weights.json", weights.path.with_suffix(".json"))):
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    _write_text(folder / "config.yaml", _resolved(config, path).to_yaml())
    info = {
        "schema": SCHEMA_VERSION,
        "campaign": campaign_id(arrays["id"]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "inpaint_hpc": __version__,
            "python": platform.python_version(),
            **package_versions(REQUIRED + OPTIONAL),
        },
        "weights": {"name": weights.name, "sha256": weights.sha256},
        **settings,
        "match_tolerance": config.match_tolerance,
        "counts": {
            "hosts_read": read,
            "hosts": hosts.count,
            "tasks": len(arrays["id"]),
            "shards": len(shards) - 1,
            "samples": int(arrays["samples"].sum()),
            "duplicates": duplicates,
            "left_out": dict(excluded.counts.most_common()),
        },
        "left_out_examples": excluded.examples,
        "cost": float(arrays["cost"].sum()),
    }
    _write_text(folder / "campaign.json", json.dumps(info, indent=2) + "\n")
    return info


def weights_for(config: CampaignConfig) -> WeightsInfo:
    """The weights of a campaign.

    Raises:
        InputError: there are none, they are damaged, or were not trained for the noise levels of the campaign.
    """
    weights = find_weights(config.weights)
    if not weights.verify():
        raise InputError(f"{weights.path}: its sha256 is not the one on its card; copy both files again")
    sizes = weights.card["network"]
    config.sampling_settings().levels(sizes.get("sigma_max", 3.5), sizes.get("sigma_min", 0.03))
    return weights


class TaskTable:
    """Tasks as growing arrays.

    Args:
        settings: digest of everything that determines a result, except host, guests and number of samples.
        cost: estimates costs.

    Attributes:
        guest_lists: guests -> number by which tasks refer to them.
        edges: largest number of edges of one sample or host, and the host's name.
    """

    def __init__(self, settings: bytes, cost: CostModel) -> None:
        """Begin without tasks."""
        self.settings, self.cost = settings, cost
        self.guest_lists: dict[tuple[int, ...], int] = {}
        self.edges: tuple[float, str] = (0.0, "")
        self._parts: list[dict[str, np.ndarray]] = []
        self._references: list[np.ndarray] = []
        self._table: HostTable | None = None
        self._digests: list[bytes] = []
        self._count = 0

    def __len__(self) -> int:
        """Number of tasks."""
        return self._count

    def add(self, block: TaskBlock, hosts: HostWriter) -> None:
        """Append tasks, and any of their hosts that are not yet in `hosts`."""
        table, rows, guests = block.hosts, block.rows, block.guests
        if self._table is not table:
            self._table, self._digests = table, table.digests()
        digests = [self._digests[row] for row in rows.tolist()]
        host = hosts.rows(table, rows, digests)
        n_atoms, volumes = table.n_atoms[rows], table.volumes[rows]
        largest = np.maximum(*self.cost.edges(n_atoms, len(guests), volumes))
        if largest.max() > self.edges[0]:
            self.edges = float(largest.max()), table.names[int(rows[largest.argmax()])]
        tail = task_id_tail(guests, block.samples, self.settings)
        ids = b"".join([hashlib.sha256(digest + tail).digest() for digest in digests])
        n = len(rows)
        self._parts.append(
            {
                "id": np.frombuffer(ids, dtype=np.uint8).reshape(n, 32),
                "host": host.astype(np.int32),
                "guest_list": np.full(n, self.guest_lists.setdefault(guests, len(self.guest_lists)), dtype=np.int32),
                "samples": np.full(n, block.samples, dtype=np.int32),
                "cost": self.cost.costs(n_atoms, len(guests), volumes, block.samples),
                "n_reference": np.full(n, 0 if block.references is None else len(guests), dtype=np.int32),
            }
        )
        if block.references is not None:
            self._references.append(block.references.reshape(-1, 3))
        self._count += n

    def arrays(self) -> tuple[dict[str, np.ndarray], int]:
        """Columns of tasks.h5 in their final order, and how many duplicates were merged.

        Expensive tasks come first, so that a campaign does not end on them; tasks of similar cost are in the order of
        their hosts, so that the hosts of a shard are stored together.
        """
        columns = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        self._parts = []
        starts = np.concatenate([[0], np.cumsum(columns["n_reference"], dtype=np.int64)])
        first = _first_of_each(columns["id"])
        order = first[
            np.lexsort(
                (
                    columns["samples"][first],
                    columns["guest_list"][first],
                    columns["host"][first],
                    -np.floor(2.0 * np.log2(columns["cost"][first])),
                )
            )
        ]
        columns = {name: column[order] for name, column in columns.items()}
        counts = columns.pop("n_reference").astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        rows = np.repeat(starts[order] - offsets[:-1], counts) + np.arange(offsets[-1])
        references = np.concatenate(self._references) if self._references else np.zeros((0, 3))
        columns["reference_offsets"], columns["reference_frac_coords"] = offsets, references[rows]
        return columns, self._count - len(order)


def campaign_id(ids: np.ndarray) -> str:
    """sha256 of the sorted task ids (N, 32): independent of order and shards."""
    return hashlib.sha256(np.ascontiguousarray(ids[_sorted_order(ids)]).tobytes()).hexdigest()


def _sorted_order(ids: np.ndarray) -> np.ndarray:
    words = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    return np.lexsort(words.T[::-1])


def _first_of_each(ids: np.ndarray) -> np.ndarray:
    """Row of the first of equal ids, in the order of rows."""
    order = _sorted_order(ids)
    new = np.ones(len(ids), dtype=bool)
    new[1:] = (ids[order[1:]] != ids[order[:-1]]).any(axis=1)
    # The sort is stable, so that the first of a run of equal ids is the earliest row.
    return np.sort(order[new])


def _settings_that_decide(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of sampling that determine a sample."""
    return {name: value for name, value in settings["sampling"].items() if name not in ("samples", "edge_budget")}


def _require_budget(tasks: TaskTable, edge_budget: int | None) -> None:
    if edge_budget is not None and tasks.edges[0] > edge_budget:
        raise InputError(
            f"{tasks.edges[1]}: one sample needs an edge budget of {int(tasks.edges[0]) + 1}, resources.edge_budget is "
            f"{edge_budget}: raise it or leave such hosts out (hosts: atoms: ..N)"
        )


def _nothing(read: int, excluded: Excluded) -> str:
    if not read:
        skipped = excluded.examples.get("hosts that cannot be used")
        return "no host passes the filters of 'hosts'" + (
            f"; the first that cannot be used: {skipped}" if skipped else ""
        )
    reasons = ", ".join(f"{reason} ({count})" for reason, count in excluded.counts.most_common())
    example = next((text for text in excluded.examples.values() if text), "")
    return f"no tasks are left of {read} hosts: {reasons or 'no guests'}" + (f"; e.g. {example}" if example else "")


def _existing(path: Path) -> RunDirectory | None:
    """What is at `path`: None for nothing or an empty folder."""
    if (path / "campaign.json").exists():
        return RunDirectory(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: exists and is not a run directory; choose another output")
    return None


def _require_same(existing: RunDirectory, info: dict[str, Any]) -> None:
    if existing.id == info["campaign"]:
        return
    differ = [
        what
        for what, same in (
            ("weights", existing.info["weights"]["sha256"] == info["weights"]["sha256"]),
            ("sampling settings", _settings_that_decide(existing.info) == _settings_that_decide(info)),
            (
                "pipeline settings",
                settings_that_decide(existing.info["pipeline"]) == settings_that_decide(info["pipeline"]),
            ),
        )
        if not same
    ]
    raise InputError(
        f"{existing.path}: holds another campaign (other {', '.join(differ) or 'hosts, guests or samples'}); "
        "choose another output, or remove it first"
    )


def _remove_abandoned(path: Path) -> None:
    """Remove leftovers of killed creations on this machine."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{socket.gethostname()}.*.creating"):
        pid = left.name.split(".")[-3]
        if pid.isdecimal() and not process_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _resolved(config: CampaignConfig, path: Path) -> CampaignConfig:
    """The configuration with paths that do not depend on the working directory."""
    hosts = [
        host if host.path is None else host.model_copy(update={"path": os.path.abspath(user_path(host.path))})
        for host in config.hosts
    ]
    weights = config.weights
    if weights is not None and weights.endswith(".safetensors"):
        weights = os.path.abspath(weights)
    return config.model_copy(update={"hosts": hosts, "weights": weights, "output": path.absolute()})


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
