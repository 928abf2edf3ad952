"""What must hold for the values of every result: checked when they are written and by `verify`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np

from .columns import Block, host_of
from .ragged_arrays import strings
from .range_checks import range_problems
from .records import TaskRecord, host_id
from .row_table import Table
from .rows import CONVERGED, DIVERGED, UNFINISHED, Candidate, Failure, Host, Sample, Site
from .schema import SECONDS

_HEXADECIMAL = frozenset(b"0123456789abcdef")


def block_problems(block: Block) -> list[str]:
    """One line for each kind of impossible value in a block; empty when all is well."""
    found: list[str] = []
    for check in (_hosts, _tasks, _failures, _samples, _candidates, _sites):
        # A check may rely on what the ones before it found in order.
        found += check(block)
        if found:
            break
    return found


def _hosts(block: Block) -> Iterator[str]:
    hosts = block["hosts"]
    names = strings(hosts["name"])
    volume = np.abs(np.linalg.det(np.where(np.isfinite(hosts["lattice"]), hosts["lattice"], 0.0)))
    bad = range_problems(Host, hosts) | {
        "a lattice that is flat or not finite": np.flatnonzero(volume <= 0.0),
        "an id that is not a sha256": _not_sha256(hosts["id"]),
        "an info that is not a JSON object": np.flatnonzero([not _is_object(text) for text in hosts["info"].tolist()]),
    }
    yield from _first(bad, lambda row: f"host {row} ({names[row]})")
    if not any(len(rows) for rows in bad.values()):
        for row, expected in enumerate(strings(hosts["id"])):
            if host_id(host_of(hosts, row)) != expected:
                yield f"host {row} ({names[row]}) has an id that is not the sha256 of its content"
                return


def _tasks(block: Block) -> Iterator[str]:
    tasks = block["tasks"]
    n_guests = np.diff(tasks["guest_offsets"])
    owner = np.repeat(np.arange(len(n_guests)), n_guests)
    step_back = np.flatnonzero((np.diff(tasks["guests"].astype(int)) < 0) & (np.diff(owner) == 0))
    ids, first = np.unique(tasks["id"], return_index=True)
    bad = range_problems(TaskRecord, tasks) | {
        "an id that is not a sha256": _not_sha256(tasks["id"]),
        "an id that another task has": np.setdiff1d(np.arange(len(tasks["id"])), first) if len(ids) else first,
        "a host that does not exist": np.flatnonzero(tasks["host"] >= len(block["hosts"]["id"])),
        "no guests": np.flatnonzero(n_guests == 0),
        "guests that are not sorted": owner[step_back],
    }
    if "reference_frac_coords" in tasks:
        missing = np.isnan(tasks["reference_frac_coords"]).any(axis=1)
        bad["references of some guests only"] = np.intersect1d(owner[missing], owner[~missing])
    for name in tasks:
        if name.startswith(SECONDS):
            bad[f"{name} that are negative or infinite"] = _not_at_least_0(tasks[name], null=True)
    yield from _first(bad, _task(block))


def _failures(block: Block) -> Iterator[str]:
    failures, tasks = block["failures"], block["tasks"]
    failed = np.flatnonzero(tasks["status"] == b"failed")
    if not np.array_equal(failures["task"], failed):
        different = np.setxor1d(failures["task"], failed)
        yield f"{len(failed)} failed tasks but {len(failures['task'])} failures, first at row {different[:1].tolist()}"
        return
    found = range_problems(Failure, failures) | {"a failure without an error": np.flatnonzero(failures["error"] == b"")}
    bad = {what: failed[rows] for what, rows in found.items()}
    yield from _first(bad, _task(block))


def _samples(block: Block) -> Iterator[str]:
    samples, tasks = block["samples"], block["tasks"]
    task = np.repeat(np.arange(len(tasks["id"])), np.diff(tasks["sample_offsets"]))
    yield from _guest_counts(block, samples, task, "sample")
    valid = samples["valid"] == 1
    owner = np.repeat(np.arange(len(task)), np.diff(samples["guest_offsets"]))
    missing = np.bincount(owner, np.isnan(samples["guest_frac_coords"]).any(axis=1), len(task)) > 0
    pairs = np.stack([task, samples["index"]])
    again = np.setdiff1d(np.arange(len(task)), np.unique(pairs, axis=1, return_index=True)[1])
    bad = range_problems(Sample, samples) | {
        "an index that another sample of the task has": again,
        "a coordinate that is not a number, though it is valid": np.flatnonzero(missing & valid),
        "no smallest distance, though it is valid": np.flatnonzero(valid & np.isnan(samples["min_distance_A"])),
        "a reason to be impossible, though it is valid": np.flatnonzero(valid & (samples["reason"] != b"")),
        "no reason, though it is not valid": np.flatnonzero(~valid & (samples["reason"] == b"")),
        "a candidate that does not exist": np.flatnonzero(
            samples["candidate"] >= np.diff(tasks["candidate_offsets"])[task]
        ),
        "a candidate, though it is not valid": np.flatnonzero(~valid & (samples["candidate"] != -1)),
    }
    yield from _first(bad, _row(block, task, samples["index"], "sample"))


def _candidates(block: Block) -> Iterator[str]:
    found, tasks, samples = block["candidates"], block["tasks"], block["samples"]
    counts = np.diff(tasks["candidate_offsets"])
    task = np.repeat(np.arange(len(counts)), counts)
    yield from _guest_counts(block, found, task, "candidate")
    place = np.arange(len(task)) - tasks["candidate_offsets"][:-1][task]
    bad = range_problems(Candidate, found) | {
        "a rank out of order": np.flatnonzero(found["rank"] != place),
        "a sample that does not exist": np.flatnonzero(_unknown_sample(block, task)),
    }
    if "relaxation" in found:
        outcome = found["relaxation"]
        sound = (outcome == CONVERGED.encode()) | (outcome == UNFINISHED.encode())
        energy = found.get("relaxed_energy_per_atom_eV", np.full(len(task), np.nan))
        bad["a sound relaxation without an energy"] = np.flatnonzero(sound & np.isnan(energy))
        bad["a relaxation that diverged without an error"] = np.flatnonzero(
            (outcome == DIVERGED.encode()) & (found["error"] == b"")
        )
    sample_task = np.repeat(np.arange(len(counts)), np.diff(tasks["sample_offsets"]))
    member = samples["candidate"] >= 0
    first = tasks["candidate_offsets"][:-1][sample_task[member]]
    members = np.bincount(first + samples["candidate"][member], minlength=len(task))
    bad["a count that is not the number of its samples"] = np.flatnonzero(found["count"] != members)
    yield from _first(bad, _row(block, task, place, "candidate"))


def _sites(block: Block) -> Iterator[str]:
    if "sites" not in block:
        return
    found, counts = block["sites"], np.diff(block["tasks"]["site_offsets"])
    task = np.repeat(np.arange(len(counts)), counts)
    starts = np.flatnonzero((np.diff(task, prepend=-1) != 0) | (np.diff(found["ion"], prepend=0) != 0))
    place = np.arange(len(task)) - np.repeat(starts, np.diff(starts, append=len(task)))
    size = np.repeat(np.diff(starts, append=len(task)), np.diff(starts, append=len(task)))
    bad = range_problems(Site, found) | {
        "an orbit out of order": np.flatnonzero(found["orbit"] != place),
        "no position": np.flatnonzero(np.diff(found["position_offsets"]) < 1),
        "a guest that settles on no orbit of the network": np.flatnonzero(found["settles_on"] >= size),
        "a coordination that is not a JSON object": np.flatnonzero(
            [not _is_object(text) for text in found["coordination"].tolist()]
        ),
    }
    yield from _first(bad, _row(block, task, found["orbit"], "orbit"))


def _first(bad: dict[str, np.ndarray], name: Callable[[int], str]) -> Iterator[str]:
    for what, rows in bad.items():
        if len(rows):
            more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
            yield f"{name(int(rows[0]))} has {what}{more}"


def _task(block: Block) -> Callable[[int], str]:
    return lambda row: f"task {block['tasks']['id'][row].decode('utf-8', errors='replace')[:12]}"


def _row(block: Block, task: np.ndarray, labels: np.ndarray, what: str) -> Callable[[int], str]:
    return lambda row: f"{_task(block)(int(task[row]))}: {what} {int(labels[row])}"


def _guest_counts(block: Block, columns: Table, task: np.ndarray, what: str) -> Iterator[str]:
    wrong = np.flatnonzero(np.diff(columns["guest_offsets"]) != np.diff(block["tasks"]["guest_offsets"])[task])
    yield from _first({f"a {what} with another number of guests": task[wrong]}, _task(block))


def _unknown_sample(block: Block, task: np.ndarray) -> np.ndarray:
    """Candidates that show a sample their task does not have."""
    samples, shown = block["samples"], block["candidates"]["sample"]
    sample_task = np.repeat(np.arange(len(block["tasks"]["id"])), np.diff(block["tasks"]["sample_offsets"]))
    width = max(samples["index"].max(initial=-1), shown.max(initial=-1)) + 2
    known = np.isin(task * width + shown, sample_task * width + samples["index"])
    return (shown < -1) | ((shown >= 0) & ~known)


def _not_at_least_0(values: np.ndarray, null: bool = False) -> np.ndarray:
    fine = np.isfinite(values) & (values >= 0.0)
    return np.flatnonzero(~(fine | np.isnan(values)) if null else ~fine)


def _not_sha256(ids: np.ndarray) -> np.ndarray:
    return np.flatnonzero([len(text) != 64 or not _HEXADECIMAL.issuperset(text) for text in ids.tolist()])


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
