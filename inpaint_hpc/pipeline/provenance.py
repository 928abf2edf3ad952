"""Which potential, settings and weights results are from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from inpaint_hpc.archive.rows import Provenance
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.scoring.chgnet.models import DEFAULT_WEIGHTS, potential_name, weights_digest

from .settings import PipelineSettings, settings_digest


def provenance(sampling: SamplingSettings, pipeline: PipelineSettings, weights_sha256: str) -> Provenance:
    """Where results with these settings and weights are from; without a potential where nothing is scored."""
    found = _provenance_of_settings(sampling, pipeline, weights_sha256)
    return replace(found, potential_sha256=weights_digest(pipeline.chgnet)) if pipeline.score else found


@lru_cache(maxsize=64)
def _provenance_of_settings(sampling: SamplingSettings, pipeline: PipelineSettings, weights_sha256: str) -> Provenance:
    return _provenance(asdict(sampling), asdict(pipeline), weights_sha256)


def provenance_of_file(attributes: Mapping[str, Any]) -> Provenance | None:
    """The same of a result file from before schema 1.3, whose tasks are all of one configuration.

    Its potential is known by name only.  A setting that it does not have came later, so that nothing else than today's
    default was possible.

    Args:
        attributes: of the file.

    Returns:
        None where the file does not hold its configuration, as an archive of runs with different ones.
    """
    configuration = attributes.get("configuration")
    if not isinstance(configuration, dict):
        return None
    sampling, pipeline = configuration.get("sampling"), configuration.get("pipeline")
    if not isinstance(sampling, dict) or not isinstance(pipeline, dict) or "score" not in pipeline:
        return None
    return _provenance(sampling, pipeline, str(attributes.get("weights_sha256") or ""))


def _provenance(sampling: Mapping[str, Any], pipeline: Mapping[str, Any], weights_sha256: str) -> Provenance:
    treated: dict[str, Any] = {}
    if pipeline["score"]:
        potential = potential_name(pipeline.get("chgnet", DEFAULT_WEIGHTS))
        treated = {"potential": potential, "treatment": pipeline.get("relax", "none")}
    if treated.get("treatment", "none") != "none":
        treated |= {name: pipeline.get(name, getattr(PipelineSettings, name)) for name in ("fmax", "relax_steps")}
    digest = settings_digest(sampling, pipeline, weights_sha256).hex()
    return Provenance(weights_sha256=weights_sha256, settings_sha256=digest, **treated)
