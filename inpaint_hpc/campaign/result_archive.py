"""Results of single calls as an archive, so that everything that reads archives works on them too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from inpaint_hpc._version import __version__
from inpaint_hpc.archive.records import TaskRecord, host_id, task_id_tail
from inpaint_hpc.archive.rows import Provenance
from inpaint_hpc.archive.site_records import sites_of_networks
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.pipeline.results import InpaintResult
from inpaint_hpc.pipeline.settings import PipelineSettings
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS, potential_name, weights_digest
from inpaint_hpc.sites.site_network import SiteNetwork

from .task_records import result_record


def archive_results(path: str | Path, results: Sequence[InpaintResult]) -> Path:
    """Write results of one call of the pipeline to an archive, each task once; an existing file is replaced.

    Tasks have the ids that a campaign gives to the same hosts, guests and settings.

    Args:
        path: the archive.
        results: at least one, all with the same settings and weights.

    Raises:
        OSError: the file cannot be written.
    """
    settings = dict(results[0].settings)
    pipeline = {one.name for one in fields(PipelineSettings)}
    configuration = {
        "sampling": {name: value for name, value in settings.items() if name not in pipeline | {"nfe"}},
        "pipeline": {name: value for name, value in settings.items() if name in pipeline},
    }
    records = [result_record(result, int(settings["samples"])) for result in results]
    return _write(path, records, results[0].weights, {"configuration": configuration})


def archive_networks(
    path: str | Path, networks: Sequence[SiteNetwork], settings: Mapping[str, Any], weights: Mapping[str, str]
) -> Path:
    """Write site networks to an archive: tasks with sites, and no samples or candidates.

    Args:
        path: the archive; an existing file is replaced.
        networks: at least one, all made with the same settings.
        settings: of the search, plain values.
        weights: `name` and `sha256` of the score model's weights.

    Raises:
        OSError: the file cannot be written.
    """
    content = json.dumps({"sites": dict(settings), "weights": weights["sha256"]}, sort_keys=True)
    digest = hashlib.sha256(content.encode()).digest()
    origin = Provenance(
        potential=potential_name(DEFAULT_WEIGHTS),
        potential_sha256=weights_digest(),
        treatment="guests",
        weights_sha256=weights["sha256"],
        settings_sha256=digest.hex(),
    )
    records = [
        TaskRecord(
            task_id=hashlib.sha256(
                bytes.fromhex(host_id(network.host)) + task_id_tail((network.number,), 0, digest)
            ).hexdigest(),
            host=network.host,
            guests=(network.number,),
            n_requested=0,
            sites=sites_of_networks([network]),
            provenance=origin,
        )
        for network in networks
    ]
    return _write(path, records, weights, {"settings": dict(settings)})


def _write(
    path: str | Path, records: Sequence[TaskRecord], weights: Mapping[str, str], attributes: Mapping[str, Any]
) -> Path:
    known = {f"weights_{name}": value for name, value in weights.items()}
    distinct = {record.task_id: record for record in records}
    write_result(path, distinct.values(), {**known, **attributes, "versions": {"inpaint_hpc": __version__}})
    return Path(path)
