"""The three tables of a run directory: hosts.h5, tasks.h5, shards.h5.

hosts.h5    id (H, 32), atom_offsets (H + 1), numbers, frac_coords, lattice (H, 3, 3), and the texts name and info
            (JSON) as name_offsets, name_bytes, info_offsets, info_bytes
tasks.h5    id (N, 32), host (row), guest_list, samples, cost, each (N,); guest_list_offsets, guest_list_numbers: the
            different lists of guests; reference_offsets (N + 1), reference_frac_coords: where removed atoms were
shards.h5   first, n_tasks, cost, each (shards,)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.errors import InputError
from inpaint_hpc.files import open_hdf5

if TYPE_CHECKING:
    import h5py

    from inpaint_hpc.crystals.batch import Crystal
    from inpaint_hpc.sampling.tasks import Task


@dataclass(frozen=True, eq=False)
class CampaignTask:
    """One task of a campaign.

    Attributes:
        row: row in tasks.h5.
        id: sha256 of everything that determines its result, 64 hexadecimal digits.
        host: the host, float64.
        guests: sorted atomic numbers, one per guest.
        samples: number of valid samples to draw.
        cost: estimated cost, see `cost.py`.
        reference: fractional coordinates of the atoms that were removed (`remove`), float64 (n_guests, 3) in the
            order of `guests`; None where guests are new.
    """

    row: int
    id: str
    host: Crystal
    guests: tuple[int, ...]
    samples: int
    cost: float
    reference: np.ndarray | None = None

    @property
    def task(self) -> Task:
        """The task as the pipeline takes it.

        Raises:
            InputError: host and guests that the pipeline refuses.
        """
        from inpaint_hpc.sampling.tasks import Task

        return Task(self.host, self.guests)


@contextmanager
def open_table(path: Path) -> Iterator[h5py.File]:
    """Open one of the tables for reading.

    Raises:
        InputError: missing or damaged.
    """
    try:
        with open_hdf5(path) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; the run directory is damaged, create it again") from None
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: not readable ({error}); the run directory is damaged, create it again") from error


def read_ids(folder: Path, rows: np.ndarray | None) -> np.ndarray:
    """Ids of tasks by row, all by default, as bytes of 64 hexadecimal digits, 'S64' (R,)."""
    with open_table(folder / "tasks.h5") as file:
        ids = file["id"][:] if rows is None else _take(file["id"], rows)
    return np.frombuffer(ids.tobytes().hex().encode(), dtype="S64")


def read_tasks(folder: Path, rows: np.ndarray) -> list[CampaignTask]:
    """Tasks by row, in the order of `rows` (int64, at least one); tasks of one host share its `Crystal`."""
    with open_table(folder / "tasks.h5") as file:
        ids, host_rows, lists, samples, cost = (
            _take(file[name], rows) for name in ("id", "host", "guest_list", "samples", "cost")
        )
        starts, stops = (_take(file["reference_offsets"], rows + k) for k in (0, 1))
        coords = file["reference_frac_coords"]
        references = [coords[a:b] if b > a else None for a, b in zip(starts, stops, strict=True)]
        offsets, numbers = file["guest_list_offsets"][:], file["guest_list_numbers"][:]
    hosts = read_hosts(folder, np.unique(host_rows))
    return [
        CampaignTask(
            row=int(row),
            id=ids[k].tobytes().hex(),
            host=hosts[int(host_rows[k])],
            guests=tuple(int(z) for z in numbers[offsets[lists[k]] : offsets[lists[k] + 1]]),
            samples=int(samples[k]),
            cost=float(cost[k]),
            reference=references[k],
        )
        for k, row in enumerate(rows)
    ]


def read_hosts(folder: Path, rows: Iterable[int]) -> dict[int, Crystal]:
    """Hosts by row of hosts.h5, each with its name and extra columns."""
    from inpaint_hpc.crystals.batch import Crystal

    found = {}
    with open_table(folder / "hosts.h5") as file:
        # Opened once: a dataset that is opened again has forgotten its chunks, and unpacks them again.
        tables = {name: file[name] for name in file}
        for row in map(int, rows):
            atoms = slice(*tables["atom_offsets"][row : row + 2])
            name, info = (
                tables[f"{what}_bytes"][slice(*tables[f"{what}_offsets"][row : row + 2])].tobytes().decode()
                for what in ("name", "info")
            )
            found[row] = Crystal(
                tables["numbers"][atoms], tables["frac_coords"][atoms], tables["lattice"][row], name, json.loads(info)
            )
    return found


def _take(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Rows of a dataset: one read of the range they span, which for a unit is exactly its rows."""
    low, high = int(rows.min()), int(rows.max()) + 1
    if high - low <= 4 * len(rows) + 1024:
        return dataset[low:high][rows - low]
    unique, inverse = np.unique(rows, return_inverse=True)
    return dataset[unique][inverse]
