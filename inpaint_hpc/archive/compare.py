"""Do two archives hold the same answer?  Tasks are matched by id; order, timing and workers do not matter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .read import Archive
from .records import TaskRecord


@dataclass(frozen=True)
class Comparison:
    """How far two archives agree.

    Attributes:
        tasks: tasks in both.
        only_first, only_second: tasks in one of them.
        different_status: tasks that are done in one and failed in the other.
        samples: samples of the tasks in both, by index.
        unpaired: samples in one of them only, or valid in one of them only.
        within_tolerance: samples whose guests are all within the tolerance.
        identical: samples that agree bit for bit.
        largest_distance: of any guest between the two in A; 0 without samples.
    """

    tasks: int
    only_first: int
    only_second: int
    different_status: int
    samples: int
    unpaired: int
    within_tolerance: int
    identical: int
    largest_distance: float

    @property
    def same_tasks(self) -> bool:
        """Whether both hold the same tasks with the same outcome."""
        return not (self.only_first or self.only_second or self.different_status)

    @property
    def fraction_within_tolerance(self) -> float:
        """Of all samples, paired or not; 1 if there are none."""
        return self.within_tolerance / self.samples if self.samples else 1.0

    @property
    def equal(self) -> bool:
        """Whether tasks and samples agree bit for bit."""
        return self.same_tasks and self.identical == self.samples


def compare(first: str | Path, second: str | Path, tolerance: float = 1e-3) -> Comparison:
    """Compare two archives or result files sample by sample, in constant memory.

    Args:
        first, second: the files.
        tolerance: in A, of the distance of each guest to its counterpart, across cell boundaries.

    Raises:
        InputError: a file is not readable.
    """
    tally = dict.fromkeys(("tasks", "different_status", "samples", "unpaired", "within_tolerance", "identical"), 0)
    largest = 0.0
    with Archive(first) as a, Archive(second) as b:
        known = {task_id: row for row, task_id in enumerate(b.task_ids())}
        for record in a.iter_records():
            if record.task_id not in known:
                continue
            other = b.record(known[record.task_id])
            tally["tasks"] += 1
            tally["different_status"] += record.status != other.status
            largest = max(largest, _compare_samples(record, other, tolerance, tally))
        only = (len(a) - tally["tasks"], len(b) - tally["tasks"])
    return Comparison(only_first=only[0], only_second=only[1], largest_distance=largest, **tally)


def _compare_samples(first: TaskRecord, second: TaskRecord, tolerance: float, tally: dict[str, int]) -> float:
    """Add the samples of a task to the tally; the largest distance of a guest."""
    a, b = first.samples, second.samples
    _, rows_a, rows_b = np.intersect1d(a["index"], b["index"], return_indices=True)
    total = len(a) + len(b) - len(rows_a)
    agree = a["valid"][rows_a] == b["valid"][rows_b]
    rows_a, rows_b = rows_a[agree], rows_b[agree]
    tally["samples"] += total
    tally["unpaired"] += total - len(rows_a)
    # What an impossible sample with NaN looks like is no part of the answer.
    there, here = a["guest_frac_coords"][rows_a], b["guest_frac_coords"][rows_b]
    finite = np.isfinite(there).all(axis=(1, 2)) & np.isfinite(here).all(axis=(1, 2))
    difference = np.where(finite[:, None, None], there - here, 0.0)
    distance = np.linalg.norm((difference - np.round(difference)) @ first.host.lattice, axis=2).max(axis=1, initial=0.0)
    tally["within_tolerance"] += int((distance <= tolerance).sum())
    tally["identical"] += int(((there == here).all(axis=(1, 2)) | ~finite).sum())
    return float(distance.max(initial=0.0))
