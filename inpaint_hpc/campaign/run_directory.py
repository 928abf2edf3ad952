"""The run directory: a campaign frozen on disk, and the only place where its state is kept.

Layout: docs/campaign.md.  Files are written once, atomically, and never changed; workers and readers need no locks.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path

from .journal import Journal, read_journal
from .task_tables import CampaignTask, open_table, read_ids, read_tasks
from .work_units import UnitReport, WorkUnit

if TYPE_CHECKING:
    from inpaint_hpc.pipeline.settings import PipelineSettings
    from inpaint_hpc.sampling.settings import SamplingSettings

    from .config import CampaignConfig

SCHEMA_VERSION = "1.0"
SHARDS_PER_FOLDER = 1000
_RESULT = re.compile(r"shard-(\d{6,})(?:\.(\d+)-(\d+))?\.h5")


class RunDirectory:
    """A campaign on disk.

    Args:
        path: its folder, made by `create_run`.

    Attributes:
        path: the folder.
        info: content of campaign.json.

    Raises:
        InputError: no such folder, not a run directory, damaged, or made by a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        """Read what the campaign is; its tables are read when they are needed."""
        self.path = Path(path)
        self.info = _read_info(self.path)

    def __repr__(self) -> str:
        """The class and the path."""
        return f"RunDirectory({str(self.path)!r})"

    @property
    def id(self) -> str:
        """The campaign's id: sha256 of its task ids, 64 hexadecimal digits."""
        return self.info["campaign"]

    @property
    def weights_path(self) -> Path:
        """The frozen copy of the weights."""
        return self.path / "weights.safetensors"

    @property
    def archive_path(self) -> Path:
        """Where `collect` puts the archive."""
        return self.path / "archive.h5"

    @cached_property
    def config(self) -> CampaignConfig:
        """The resolved configuration, as it was frozen."""
        from .config import load_config

        return load_config(self.path / "config.yaml")

    def settings(self) -> tuple[SamplingSettings, PipelineSettings]:
        """The frozen settings of sampling and pipeline; `samples` varies between tasks and has its default here.

        Raises:
            InputError: settings unknown to this version.
        """
        from inpaint_hpc.pipeline.settings import BEFORE, PipelineSettings
        from inpaint_hpc.sampling.settings import SamplingSettings

        sampling = self._known("sampling", SamplingSettings)
        pipeline = BEFORE | self._known("pipeline", PipelineSettings)
        return SamplingSettings(**sampling), PipelineSettings(**pipeline)

    def _known(self, section: str, kind: type) -> dict[str, Any]:
        unknown = set(self.info[section]) - {f.name for f in fields(kind)}
        if unknown:
            raise InputError(
                f"{self.path}: made by another version of inpaint_hpc (unknown {section} setting "
                f"'{min(unknown)}'); continue with version {self.info['versions'].get('inpaint_hpc')}"
            )
        return self.info[section]

    @property
    def match_tolerance(self) -> float:
        """A placement is right up to this times (V / N)^(1/3) from where the guests had been taken out."""
        return float(self.info.get("match_tolerance", 0.2))

    # Tasks and shards

    @property
    def n_tasks(self) -> int:
        """Tasks of the campaign."""
        return int(self.info["counts"]["tasks"])

    @property
    def n_shards(self) -> int:
        """Shards that the tasks are divided into."""
        return int(self.info["counts"]["shards"])

    @cached_property
    def shards(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First task row (int64), number of tasks (int64) and cost (float64) of each shard, each (n_shards,)."""
        with open_table(self.path / "shards.h5") as file:
            return file["first"][:], file["n_tasks"][:], file["cost"][:]

    def shard(self, shard: int) -> tuple[int, int, float]:
        """First task row, number of tasks and estimated cost of a shard.

        Raises:
            InputError: no such shard.
        """
        if not 0 <= shard < self.n_shards:
            raise InputError(f"{self.path}: no shard {shard}; it has shards 0 to {self.n_shards - 1}")
        first, n_tasks, cost = self.shards
        return int(first[shard]), int(n_tasks[shard]), float(cost[shard])

    def unit(self, shard: int, start: int = 0, stop: int | None = None) -> WorkUnit:
        """A unit of a shard, by default all of it.

        Raises:
            InputError: no such shard, or tasks that it does not have.
        """
        n = self.shard(shard)[1]
        stop = n if stop is None else stop
        if not 0 <= start < stop <= n:
            raise InputError(f"{self.path}: shard {shard} has {n} tasks, not tasks {start} to {stop - 1}")
        return WorkUnit(shard, start, stop, whole=stop - start == n)

    def rows(self, unit: WorkUnit) -> np.ndarray:
        """Task rows of a unit, int64 (len(unit),)."""
        first = self.shard(self.unit(unit.shard, unit.start, unit.stop).shard)[0]
        return np.arange(first + unit.start, first + unit.stop)

    def task_ids(self, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Ids of tasks by row, all by default: bytes of 64 hexadecimal digits, 'S64' (R,)."""
        return read_ids(self.path, None if rows is None else np.asarray(rows, dtype=np.int64))

    def tasks(self, rows: Sequence[int] | np.ndarray) -> list[CampaignTask]:
        """Tasks by row, in the order of `rows`; tasks of one host share its `Crystal`."""
        rows = np.asarray(rows, dtype=np.int64)
        return read_tasks(self.path, rows) if len(rows) else []

    # Results

    def result_path(self, unit: WorkUnit) -> Path:
        """Path of the result of a unit, whether or not it exists."""
        part = "" if len(unit) == self.shard(unit.shard)[1] else f".{unit.start}-{unit.stop}"
        folder = self.path / "results" / f"{unit.shard // SHARDS_PER_FOLDER:03d}"
        return folder / f"shard-{unit.shard:06d}{part}.h5"

    def result_paths(self) -> list[Path]:
        """Result files, in the order of their units."""
        return [self.result_path(unit) for unit in self.result_units()]

    def result_units(self) -> list[WorkUnit]:
        """Units with a result file that is not empty, sorted; files that do not belong here are ignored."""
        _, n_tasks, _ = self.shards
        found = []
        for name in self._result_names():
            match = _RESULT.fullmatch(name)
            if match is None or int(match[1]) >= self.n_shards:
                continue
            n = int(n_tasks[int(match[1])])
            start, stop = (0, n) if match[2] is None else (int(match[2]), int(match[3]))
            if 0 <= start < stop <= n:
                found.append(WorkUnit(int(match[1]), start, stop, whole=stop - start == n))
        return sorted(found)

    def files_of_results(self) -> list[Path]:
        """All files named like results, in the order of units; including empty and foreign ones, not yet checked."""

        def place(path: Path) -> tuple[int, int, str]:
            match = _RESULT.fullmatch(path.name)
            return (int(match[1]), int(match[2] or 0), path.name) if match else (-1, 0, path.name)

        return sorted((self.path / "results").glob("*/shard-*.h5"), key=place)

    def archive_attributes(self) -> dict[str, str]:
        """Attributes for an archive of this campaign, which may outlive the run directory: the campaign's id, name and
        sha256 of the weights, and the text of config.yaml."""
        weights = self.info.get("weights") or {}
        known = {"campaign": self.info.get("campaign")}
        known |= {f"weights_{name}": weights.get(name) for name in ("name", "sha256")}
        with suppress(FileNotFoundError):
            known["config_yaml"] = (self.path / "config.yaml").read_text(encoding="utf-8", errors="replace")
        return {name: value for name, value in known.items() if isinstance(value, str)}

    def _result_names(self) -> Iterator[str]:
        try:
            folders = [entry.path for entry in os.scandir(self.path / "results") if entry.is_dir()]
        except FileNotFoundError:
            return
        for folder in folders:
            for entry in os.scandir(folder):
                if not entry.name.startswith(".") and entry.stat().st_size:
                    yield entry.name

    def problem_of(self, unit: WorkUnit) -> str | None:
        """What is wrong with the result of a unit, in one line; None if its checksum is right and it belongs here."""
        from .result_checks import result_problem

        return result_problem(self.result_path(unit), self.info)

    def damaged_units(self) -> dict[WorkUnit, str]:
        """Units whose result file is damaged or foreign, with what is wrong; reads every result file."""
        problems = {unit: self.problem_of(unit) for unit in self.result_units()}
        return {unit: problem for unit, problem in problems.items() if problem is not None}

    def set_aside(self, unit: WorkUnit) -> Path:
        """Move the result file of a unit to RUN/damaged, so that the unit is pending again; returns its new path.

        Raises:
            OSError: it cannot be moved.
        """
        path = self.result_path(unit)
        target = self.path / "damaged" / f"{path.stem}.{time.time_ns()}{path.suffix}"
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
        return target

    def pending_units(self, verify: bool = False) -> list[WorkUnit]:
        """What no finished unit covers, in as few units as possible, sorted.

        Args:
            verify: read every result file and treat damaged ones as missing; otherwise names and sizes decide.
        """
        done: dict[int, list[WorkUnit]] = {}
        damaged = self.damaged_units() if verify else {}
        for unit in self.result_units():
            if unit not in damaged:
                done.setdefault(unit.shard, []).append(unit)
        sizes = enumerate(self.shards[1].tolist())
        return [unit for shard, n in sizes for unit in _gaps(shard, n, done.get(shard, ()))]

    def pending_in(self, shard: int) -> list[WorkUnit]:
        """What no finished unit of a shard covers, by names and sizes, sorted.

        Raises:
            InputError: no such shard.
        """
        whole = self.unit(shard)
        folder = self.result_path(whole).parent
        with suppress(OSError):
            if self.result_path(whole).stat().st_size:
                return []
        names = [path.name for path in folder.glob(f"shard-{shard:06d}.*.h5") if path.stat().st_size]
        matches = [match for match in map(_RESULT.fullmatch, names) if match and match[2] is not None]
        done = sorted((int(match[2]), int(match[3])) for match in matches)
        parts = [WorkUnit(shard, start, stop) for start, stop in done if 0 <= start < stop <= len(whole)]
        return _gaps(shard, len(whole), parts)

    def remove_leftovers(self, older_than: float = 3600.0) -> int:
        """Remove temporary files of workers and drivers that were killed while writing; returns how many.

        Args:
            older_than: age in s beyond which a file cannot still be being written.
        """
        removed = 0
        places = (self.path, self.path / "workers", *(self.path / "results").glob("*"))
        for path in (path for place in places for path in place.glob(".*.tmp")):
            with suppress(OSError):  # already removed by another process
                if time.time() - path.stat().st_mtime > older_than:
                    path.unlink()
                    removed += 1
        return removed

    # What workers and the driver report while they run

    def heartbeat(self, name: str, record: Mapping[str, Any]) -> None:
        """Write workers/NAME.json, or NAME.json for a name that starts with 'driver', with name and time added.

        Raises:
            OSError: the file cannot be written.
        """
        folder = self.path if name.startswith("driver") else self.path / "workers"
        with atomic_path(folder / f"{name}.json") as temporary:
            temporary.write_text(
                json.dumps({"name": name, "time": time.time(), **record}, default=str) + "\n", encoding="utf-8"
            )

    def heartbeats(self) -> dict[str, dict[str, Any]]:
        """Last heartbeat of each worker and driver by name; names of drivers start with 'driver'."""
        found = {}
        for path in [*sorted((self.path / "workers").glob("*.json")), *sorted(self.path.glob("driver*.json"))]:
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # being replaced right now, or missing
            found[path.stem] = record
        return found

    def log(self, name: str) -> Journal:
        """The structured log of a worker or of the driver."""
        return Journal(self.path / "logs" / f"{name}.jsonl")

    def report_journal(self, name: str) -> Journal:
        """The journal in which a worker writes a line for each unit it finishes."""
        return Journal(self.path / "reports" / f"{name}.jsonl")

    def reports(self) -> dict[WorkUnit, UnitReport]:
        """The last report on each unit.  Only for display: a kill can lose the report of a finished unit."""
        found: dict[WorkUnit, UnitReport] = {}
        for path in sorted((self.path / "reports").glob("*.jsonl")):
            for record in read_journal(path):
                try:
                    report = UnitReport.from_dict(record)
                except (KeyError, TypeError, ValueError):
                    continue
                found[report.unit] = report
        return found


def _gaps(shard: int, n: int, done: Sequence[WorkUnit]) -> list[WorkUnit]:
    """The gaps between sorted units of a shard of `n` tasks."""
    pending, position = [], 0
    # A unit without tasks at the end closes the last gap.
    for start, stop in [*((unit.start, unit.stop) for unit in done), (n, n)]:
        if start > position:
            pending.append(WorkUnit(shard, position, start, whole=start - position == n))
        position = max(position, stop)
    return pending


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads((path / "campaign.json").read_text(encoding="utf-8"))
        version = info["schema"]
        newer = int(version.split(".")[0]) > int(SCHEMA_VERSION.split(".")[0])
    except (FileNotFoundError, NotADirectoryError):
        what = "no such run directory" if not path.exists() else "not a run directory, campaign.json is missing"
        raise InputError(f"{path}: {what}; make one with `inpaint-hpc run CONFIG`") from None
    except PermissionError:
        raise InputError(f"{path / 'campaign.json'}: permission denied") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path / 'campaign.json'}: damaged; create the run again") from None
    if newer:
        raise InputError(
            f"{path}: made by a newer inpaint_hpc (schema {version}, this one reads {SCHEMA_VERSION}); upgrade"
        )
    return info
