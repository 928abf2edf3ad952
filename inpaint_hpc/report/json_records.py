"""Tasks of the JSON document that `inpaint` and `demo` write, as those of an archive."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from inpaint_hpc.archive.fields import columns_of
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import Candidate, HostEnergies, Provenance, Sample
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError


def read_document(path: Path) -> dict[str, Any]:
    """The document at a path.

    Raises:
        InputError: not JSON, or of a command without candidates.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: neither an archive nor JSON: {error}") from error
    hosts = content.get("hosts") if isinstance(content, dict) else None
    if not isinstance(hosts, list) or not all(isinstance(one, dict) and "candidates" in one for one in hosts):
        raise InputError(f"{path}: not a results.json of `inpaint-hpc inpaint` or `demo`")
    if not all("host_frac_coords" in one for one in hosts):
        raise InputError(f"{path}: written by a version that left host positions out; make it again")
    return content


def records_of(document: Mapping[str, Any]) -> Iterator[TaskRecord]:
    """A record for each result of a document."""
    for number, one in enumerate(document["hosts"]):
        yield _record(number, one)


def attributes_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What an archive of the same call would say of itself."""
    weights = document.get("weights", {})
    return {
        "weights_name": weights.get("name", ""),
        "weights_sha256": weights.get("sha256", ""),
        "settings": document.get("settings", {}),
        "versions": {"inpaint_hpc": document.get("version", "")},
    }


def _record(number: int, one: Mapping[str, Any]) -> TaskRecord:
    from ase.data import atomic_numbers

    host = Crystal(
        np.array([atomic_numbers[element] for element in one["host_elements"]], dtype=np.int64),
        np.array(one["host_frac_coords"], dtype=np.float64).reshape(-1, 3),
        np.array(one["lattice_A"], dtype=np.float64),
        one["host"],
    )
    guests = tuple(atomic_numbers[element] for element in one["guests"])
    energies, origin = one.get("host_energies"), one.get("provenance")
    return TaskRecord(
        # A document has no task ids; this one only has to differ from the others of the file.
        task_id=hashlib.sha256(f"{number} {one['host']} {one['guests']}".encode()).hexdigest(),
        host=host,
        guests=guests,
        n_requested=one["n_drawn"] - one["n_invalid"],
        samples=_samples(one, len(guests)),
        candidates=[_row(Candidate, candidate) for candidate in one["candidates"]],
        seconds=one.get("seconds", {}),
        notes=one.get("notes", ()),
        confidence=one.get("confidence"),
        host_energies=None if energies is None else _row(HostEnergies, energies),
        provenance=None if origin is None else _row(Provenance, origin),
    )


def _samples(one: Mapping[str, Any], n_guests: int) -> list[Sample]:
    """As many as were drawn, each with its candidate; their positions are not in the document."""
    owner = {k: candidate["rank"] for candidate in one["candidates"] for k in candidate.get("members", ())}
    reasons = [reason for reason, n in one.get("invalid_reasons", {}).items() for _ in range(n)]
    free = iter(k for k in range(one["n_drawn"]) if k not in owner)
    invalid = {next(free): reason for reason in reasons[: one["n_drawn"] - len(owner)]}
    return [
        Sample(
            index=k,
            valid=k not in invalid,
            reason=invalid.get(k, ""),
            min_distance=None,
            candidate=owner.get(k, -1),
            guest_frac_coords=np.full((n_guests, 3), np.nan),
        )
        for k in range(one["n_drawn"])
    ]


def _row(kind: Any, given: Mapping[str, Any]) -> Any:
    """A row from what its `as_dict` gave; what is null or missing has its default."""
    names = {what.field: (name, what) for name, what in columns_of(kind).items() if not what.inside}
    found: dict[str, Any] = {}
    for one in fields(kind):
        if "nested" in one.metadata:
            inner = given.get(one.name)
            found[one.name] = None if inner is None else _row(one.metadata["nested"][0], inner)
        elif one.name in names:
            name, what = names[one.name]
            value = given.get(name)
            if value is not None or (what.null and what.dtype != "S" and not what.is_array):
                found[one.name] = np.array(value, dtype=np.float64) if what.tail else value
        elif one.name in given:
            found[one.name] = tuple(given[one.name]) if isinstance(given[one.name], list) else given[one.name]
    return kind(**found)
