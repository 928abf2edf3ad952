"""Tables of what an archive found, as pandas frames with the column names of `export` (docs/results.md).

`task` is the number of the task in the archive, and guests are written 'Li=4 Na=1', as in `Archive.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.schema import ROW, TABLES

if TYPE_CHECKING:
    import pandas as pd

_OF_TASK = ("n_samples", "n_valid", "confidence", "potential", "treatment")


def best(archive: Archive, per_guest: bool = True) -> pd.DataFrame:
    """The first candidate of each task, without the tasks that have none; columns as of `candidates`.

    Args:
        archive: an open archive.
        per_guest: with the texts of the guests, e.g. `wyckoff`, which take longest to read.
    """
    return _joined(archive, per_guest, lambda block: block[block["rank"] == 0])


def candidates(archive: Archive, per_guest: bool = True) -> pd.DataFrame:
    """One row per candidate: task, host, formula, guests, ion, n_guests, columns of the task, then those of its own.

    `ion` is the symbols of the guests, 'Li Na'; Wyckoff positions and coordination of several are joined by ', '.
    """
    return _joined(archive, per_guest, lambda block: block)


def with_texts_of_guests(block: pd.DataFrame) -> pd.DataFrame:
    """Texts of several guests joined by ', ', in place of columns that hold a value for each guest."""
    several = [name for name in block if name in TABLES["candidates"] and TABLES["candidates"][name].per != ROW]
    texts = {
        name: [", ".join(row) for row in block[name]] for name in several if TABLES["candidates"][name].dtype == "S"
    }
    return block.drop(columns=[name for name in several if name not in texts]).assign(**texts)


def _joined(archive: Archive, per_guest: bool, choose: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    blocks = [with_texts_of_guests(choose(block)) for block in archive.candidate_blocks(per_guest)]
    return of_tasks(archive, pd.concat(blocks, ignore_index=True) if blocks else archive.candidates())


def of_tasks(archive: Archive, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with a column `task`, and after it what is known of that task and its host."""
    tasks, numbers = archive.tasks(), rows["task"].to_numpy()
    formulas = archive.hosts()["formula"].to_numpy()[tasks["host_row"].to_numpy()]
    counts = [[part.split("=") for part in label.split()] for label in tasks["guests"]]
    known = {
        "host": tasks["host"].to_numpy(),
        "formula": formulas,
        "guests": tasks["guests"].to_numpy(),
        "ion": np.array([" ".join(symbol for symbol, _ in parts) for parts in counts], dtype=object),
        "n_guests": np.array([sum(int(number) for _, number in parts) for parts in counts], dtype=np.int64),
        **{name: tasks[name].to_numpy() for name in _OF_TASK if name in tasks},
    }
    rows = rows.copy()
    for place, (name, values) in enumerate(known.items(), start=1):
        rows.insert(place, name, values[numbers])
    return rows
