"""Reading result files and archives, lazily: what is not asked for is not read.

Example:
    with Archive("archive.h5") as archive:
        best = archive.candidates().query("rank == 0").nsmallest(10, "energy_per_atom_eV")
        structure = archive.structure(int(best.task.iloc[0]))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError

from .columns import host_of, read_block, read_rows, select, to_records
from .ragged_arrays import strings
from .records import TaskRecord
from .row_table import Rows
from .rows import Site
from .schema import CHILDREN, ROW, SECONDS, TABLES, known_column
from .site_records import networks_of_sites
from .storage import attributes_of, open_file, readable, require_file, verify_checksum
from .table_values import formula_of, guest_labels, split, table_columns

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    from ase import Atoms
    from pymatgen.core import Structure

    from inpaint_hpc.sites.site_network import SiteNetwork

_BLOCK = 256
_FRAME_TASKS = 4096
_TEXT_BYTES = 1 << 22
_CHECKED_BYTES = 1 << 26


class Archive:
    """A result file or archive, open for reading; a context manager.

    Tasks are numbered in the file's order, and `task` arguments take that number, a task id or the start of one, or
    the name of a host that has one task only.  Columns of tables carry their unit in their name.

    Args:
        path: the file.
        verify: compare with the checksums first, which reads the whole file; by default for files up to 64 MB.  In
            larger ones the numbers that are read have checksums of their own, but what says where they lie has none.

    Attributes:
        path: the file.
        attributes: configuration, weights, versions ... as they were given when it was written.

    Raises:
        InputError: not there, truncated, damaged, another format or a newer schema; so do all methods where bytes
            that they read turn out to be damaged.
    """

    def __init__(self, path: str | Path, verify: bool | None = None) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        require_file(self.path)
        if verify or (verify is None and self.path.stat().st_size <= _CHECKED_BYTES):
            verify_checksum(self.path)
        self._file = open_file(self.path)
        with readable(self.path):
            self.attributes: dict[str, Any] = attributes_of(self._file)
            self._n_tasks = len(self._file["tasks/id"])

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; tables and structures that were read stay."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __len__(self) -> int:
        """Number of tasks."""
        return self._n_tasks

    def __repr__(self) -> str:
        return f"Archive({str(self.path)!r}, {self._n_tasks} tasks)"

    def task_ids(self) -> list[str]:
        """Ids of all tasks, 64 hexadecimal digits each."""
        return self._ids.astype(str).tolist()

    def task_labels(self) -> tuple[list[str], list[str]]:
        """Name of the host and guests ('Li=4 Na=1') of each task."""
        with readable(self.path):
            group = self._open["tasks"]
            names = np.array(self._texts("hosts", "name"), dtype=object)[group["host"][:]]
            return names.tolist(), guest_labels(group["guests"][:], group["guest_offsets"][:])

    def has_column(self, table: str, name: str) -> bool:
        """Whether the file has the dataset /TABLE/NAME; some are optional."""
        return f"{table}/{name}" in self._open

    def hosts(self) -> pd.DataFrame:
        """One row per host: id, name, atoms, formula, volume_A3, and the free columns that hosts came with."""
        import json

        import pandas as pd

        with readable(self.path):
            group = self._open["hosts"]
            info = pd.DataFrame([json.loads(text) for text in self._texts("hosts", "info")])
            counts = np.diff(group["atom_offsets"][:])
            numbers = np.split(group["numbers"][:], np.cumsum(counts)[:-1]) if len(counts) else []
            columns = {
                "id": self._texts("hosts", "id"),
                "name": self._texts("hosts", "name"),
                "atoms": counts,
                "formula": [formula_of(z) for z in numbers],
                "volume_A3": np.abs(np.linalg.det(group["lattice"][:])),
            }
        return pd.DataFrame(columns | {key: info[key] for key in info if key not in columns})

    def tasks(self) -> pd.DataFrame:
        """One row per task; the index is the task's number.

        Columns: id, host (name), host_row (in `hosts()`), guests ('Li=4 Na=1'), status, n_requested, n_samples,
        n_valid, n_candidates, energy_per_atom_eV (lowest as placed, NaN when not scored), relaxed_energy_per_atom_eV
        (lowest, if the file has relaxed candidates), seconds_STAGE, worker, notes; and what else the file has of each
        task: confidence, n_evaluations, host_energy_eV, potential, treatment ...
        """
        import pandas as pd

        with readable(self.path):
            group, samples = self._open["tasks"], self._open["samples"]
            names, guests = self.task_labels()
            valid = np.concatenate([[0], np.cumsum(samples["valid"][:], dtype=np.int64)])
            first, last = group["sample_offsets"][:-1], group["sample_offsets"][1:]
            columns = {
                "id": self._ids.astype(str),
                "host": names,
                "host_row": group["host"][:],
                "guests": guests,
                "status": self._texts("tasks", "status"),
                "n_requested": group["n_requested"][:],
                "n_samples": last - first,
                "n_valid": valid[last] - valid[first],
                "n_candidates": np.diff(group["candidate_offsets"][:]),
                **self._lowest_energies(),
                **{name: group[name][:] for name in group if name.startswith(SECONDS)},
                "worker": self._texts("tasks", "worker"),
                "notes": self._texts("tasks", "notes"),
            }
            for name, what in TABLES["tasks"].items():
                if name not in columns and name in group and not what.is_array:
                    columns[name] = self._texts("tasks", name) if what.dtype == "S" else group[name][:]
        return pd.DataFrame(columns).rename_axis("task")

    def samples(self, task: int | str | None = None, per_guest: bool | None = None) -> pd.DataFrame:
        """One row per sample, impossible ones included: task, index, valid, reason, min_distance_A, candidate.

        Args:
            task: of this task only; of all by default.
            per_guest: add `guest_frac_coords`, an array (guests, 3) in each row; by default only for one task, since
                a column of arrays is slow for millions of samples (`iter_records` is not).
        """
        return self._table("samples", *self._stretch(task), task is not None if per_guest is None else per_guest)

    def candidates(self, task: int | str | None = None, per_guest: bool | None = None) -> pd.DataFrame:
        """One row per candidate: task, rank, sample, count, agreement, spread_A, min_distance_A, energies, forces.

        Args:
            task: of this task only; of all by default.
            per_guest: add `guest_frac_coords`, `multiplicity` and `wyckoff` of the guests; by default only for one
                task.
        """
        return self._table("candidates", *self._stretch(task), task is not None if per_guest is None else per_guest)

    def candidate_blocks(self, per_guest: bool = False) -> Iterator[pd.DataFrame]:
        """As `candidates`, in one or more frames of some thousand tasks: memory does not grow with their number."""
        for start in range(0, max(self._n_tasks, 1), _FRAME_TASKS):
            yield self._table("candidates", start, min(start + _FRAME_TASKS, self._n_tasks), per_guest)

    def sites(self, task: int | str | None = None) -> pd.DataFrame:
        """One row per orbit of the site networks: task, ion, orbit, wyckoff, multiplicity, occupancy, energy_eV ...

        `frac_coords` is the first site of each orbit; `site_networks` has all of them.

        Args:
            task: of this task only; of all by default.
        """
        import pandas as pd

        tasks = np.arange(self._n_tasks) if task is None else np.array([self.number(task)])
        with readable(self.path):
            bounds, sites = np.zeros(len(tasks) + 1, dtype=np.int64), Rows.of(Site, (), {})
            if "sites" in self._open:
                bounds = self._open["tasks/site_offsets"][tasks[0] : tasks[-1] + 2]
                sites = Rows(Site, read_rows(self._open["sites"], "sites", int(bounds[0]), int(bounds[-1])))
        found: dict[str, Any] = {"task": np.repeat(tasks, np.diff(bounds))}
        found |= {name: sites[what.key] for name, what in TABLES["sites"].items() if not what.is_array}
        starts = sites.columns["position_offsets"]
        found |= {"multiplicity": np.diff(starts), "frac_coords": list(sites.columns["frac_coords"][starts[:-1]])}
        return pd.DataFrame(found)

    def site_networks(self, task: int | str) -> list[SiteNetwork]:
        """The site networks of a task, one per ion; none if it had none."""
        record = self.record(task)
        return networks_of_sites(record.sites, record.host)

    def failures(self) -> pd.DataFrame:
        """One row per failed task: task, id, host, attempts, error, traceback."""
        import pandas as pd

        with readable(self.path):
            task = self._open["failures/task"][:]
            names = np.array(self.task_labels()[0], dtype=object)
            columns = {
                "task": task,
                "id": self._ids[task].astype(str),
                "host": names[task],
                "attempts": self._open["failures/attempts"][:],
                "error": self._texts("failures", "error"),
                "traceback": self._texts("failures", "traceback"),
            }
        return pd.DataFrame(columns)

    def record(self, task: int | str) -> TaskRecord:
        """Everything known of one task."""
        row = self.number(task)
        return self._records(row, row + 1)[0]

    def iter_records(self, tasks: Sequence[int] | np.ndarray | None = None) -> Iterator[TaskRecord]:
        """Every task in the file's order, in memory that does not depend on their number.

        Args:
            tasks: only these, by number; all by default.
        """
        wanted = np.arange(self._n_tasks) if tasks is None else np.unique(np.asarray(tasks, dtype=np.int64))
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < self._n_tasks:
            raise InputError(f"{self.path}: it has tasks 0 to {self._n_tasks - 1}, not {wanted[0]} to {wanted[-1]}")
        for start in range(0, self._n_tasks, _BLOCK):
            part = wanted[slice(*np.searchsorted(wanted, [start, start + _BLOCK]))]
            if len(part):
                yield from self._records(int(part[0]), int(part[-1]) + 1, part)

    def crystal(self, task: int | str, rank: int = 0, relaxed: bool = False) -> Crystal:
        """Host and guests of a candidate, host first.

        Raises:
            InputError: no such task or candidate, or `relaxed` and it was not relaxed.
        """
        record = self.record(task)
        try:
            return record.crystal(rank, relaxed)
        except IndexError as error:
            why = f": it failed, {record.error}" if record.failed else ""
            raise InputError(f"{self.path}: {error}{why}") from error

    def structure(self, task: int | str, rank: int = 0, relaxed: bool = False) -> Structure:
        """As a pymatgen `Structure`; see `crystal`."""
        return self.crystal(task, rank, relaxed).to_structure()

    def atoms(self, task: int | str, rank: int = 0, relaxed: bool = False) -> Atoms:
        """As ASE `Atoms`; see `crystal`."""
        return self.crystal(task, rank, relaxed).to_atoms()

    def host(self, row: int) -> Crystal:
        """A host by its row in `hosts()`."""
        if not 0 <= row < len(self._open["hosts/id"]):
            raise InputError(f"{self.path}: no host {row} among its {len(self._open['hosts/id'])}")
        with readable(self.path):
            return host_of(read_rows(self._open["hosts"], "hosts", row, row + 1), 0)

    def number(self, task: int | str) -> int:
        """The number of a task, given that, its id or the start of it, or the name of a host with one task.

        Raises:
            InputError: there is none, or several.
        """
        if not isinstance(task, str):
            if not 0 <= task < self._n_tasks:
                raise InputError(f"{self.path}: no task {task}; it has tasks 0 to {self._n_tasks - 1}")
            return int(task)
        order = self._order
        # '~' comes after every digit, so that this encloses all ids that begin so.
        first, last = np.searchsorted(self._ids[order], [task.encode(), task.encode() + b"~"])
        found = order[first:last] if task else order[:0]
        if not len(found):
            with readable(self.path):
                names = np.array(self._texts("hosts", "name"), dtype=object)
                found = np.flatnonzero(np.isin(self._open["tasks/host"][:], np.flatnonzero(names == task)))
        if len(found) != 1:
            several = f"{len(found)} tasks fit '{task}'; give the id or the number of one"
            raise InputError(f"{self.path}: " + (several if len(found) else f"no task or host '{task}'"))
        return int(found[0])

    @property
    def _open(self) -> h5py.File:
        if self._file is None:
            raise InputError(f"{self.path}: the archive was closed already")
        return self._file

    @cached_property
    def _ids(self) -> np.ndarray:
        return self._open["tasks/id"][:].astype("S64")

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self._ids)

    def _records(self, start: int, stop: int, wanted: np.ndarray | None = None) -> list[TaskRecord]:
        with readable(self.path):
            block = read_block(self._open, start, stop)
            return to_records(block if wanted is None else select(block, wanted - start))

    def _texts(self, table: str, name: str, start: int = 0, stop: int | None = None) -> list[str]:
        """A text column as str, read in pieces: one long text makes all of a column wide."""
        dataset = self._open[f"{table}/{name}"]
        stop = len(dataset) if stop is None else stop
        step = max(1, _TEXT_BYTES // dataset.dtype.itemsize)
        return [text for i in range(start, stop, step) for text in strings(dataset[i : min(i + step, stop)])]

    def _lowest_energies(self) -> dict[str, np.ndarray]:
        """Of each task, as placed and, if the file has them, relaxed."""
        owner = np.repeat(np.arange(self._n_tasks), np.diff(self._open["tasks/candidate_offsets"][:]))
        names = ("energy_per_atom_eV", "relaxed_energy_per_atom_eV")
        found = {name: np.full(self._n_tasks, np.nan) for name in names if self.has_column("candidates", name)}
        for name, lowest in found.items():
            np.fmin.at(lowest, owner, self._open[f"candidates/{name}"][:])
        return found

    def _stretch(self, task: int | str | None) -> tuple[int, int]:
        """First task of a table and the one after its last."""
        row = 0 if task is None else self.number(task)
        return row, self._n_tasks if task is None else row + 1

    def _table(self, table: str, start: int, stop: int, per_guest: bool) -> pd.DataFrame:
        import pandas as pd

        with readable(self.path):
            group, bounds = self._open[table], self._open["tasks"][CHILDREN[table]][start : stop + 1]
            first, last = int(bounds[0]), int(bounds[-1])
            columns: dict[str, Any] = {"task": np.repeat(np.arange(start, stop), np.diff(bounds))}
            guests = np.diff(group["guest_offsets"][first : last + 1]) if per_guest else None
            for name in table_columns(table, group):
                what = known_column(table, name)
                if what.per == ROW:
                    text = what.dtype == "S"
                    columns[name] = self._texts(table, name, first, last) if text else group[name][first:last]
                elif guests is not None:
                    values = group[name][group[what.per][first] : group[what.per][last]]
                    values = np.array(strings(values), dtype=object) if what.dtype == "S" else values
                    columns[name] = split(values, guests, tuple if what.tail == () else None)
        if "valid" in columns:
            columns["valid"] = columns["valid"].astype(bool)
        return pd.DataFrame(columns)
