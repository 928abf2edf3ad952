"""Fits how likely the first candidate is right to archives of hosts whose guests had been taken out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.confidence import LEAST_SAMPLES, features, probability

from .choosing import FRAMEWORK
from .confidence import brier_score, calibration_error, chance_error, discrimination, reliability
from .score import score_record
from .sources import Source

RIDGE = 1.0  # of standardised coefficients; a prior worth about one host
SURE = 0.95  # predictions above it show how much certainty the hosts support


@dataclass(frozen=True)
class Outcome:
    """One task whose truth is known.

    Attributes:
        group: framework, or name of the host; its tasks are never on both sides of a split.
        source: archive that it is from.
        found: `features` of its candidates.
        right: the first candidate is right.
        favourite_right: the candidate that most samples agree on is right.
        favourite: share of samples that agree on that one.
    """

    group: str
    source: str
    found: dict[str, float]
    right: bool
    favourite_right: bool
    favourite: float

    def placed(self) -> Outcome:
        """The same task where candidates are ordered by agreement, without energies."""
        return replace(self, found={"agreement": self.found["favourite"]}, right=self.favourite_right)


def outcomes_of(source: Source, label: str, weights: str = "") -> list[Outcome]:
    """Outcomes of the tasks of an archive that count.

    Args:
        source: archive or benchmark.
        label: name of it.
        weights: digest that the samples must be from; '' takes any.

    Raises:
        InputError: candidates were relaxed or not scored, or samples are from other weights.
    """
    with Archive(source.archive) as archive:
        return _outcomes(archive.iter_records(), source, label, weights)


def _outcomes(records: Iterable[TaskRecord], source: Source, label: str, weights: str) -> list[Outcome]:
    outcomes = []
    for record in records:
        score = score_record(record, stol=source.stol)
        if score is None or (source.wanted is not None and score.host not in source.wanted.get(score.ion, ())):
            continue
        candidates = list(record.candidates)
        if record.n_valid < LEAST_SAMPLES or not candidates:
            continue
        if record.provenance is not None and weights not in ("", record.provenance.weights_sha256):
            raise InputError(f"{source.archive}: samples of other weights than {weights[:12]}")
        if any(one.relaxed is not None for one in candidates):
            raise InputError(f"{source.archive}: candidates were relaxed; confidence is of candidates as placed")
        found = features(candidates, record.n_valid)
        if "force" not in found:
            raise InputError(f"{source.archive}: a first candidate without an energy")
        framework = record.host.info.get(FRAMEWORK)
        outcomes.append(
            Outcome(
                group=str(framework or record.host.name),
                source=label,
                found=found,
                right=score.top1,
                favourite_right=score.right_by_agreement == 0,
                favourite=max(one.agreement for one in candidates),
            )
        )
    return outcomes


def fit_model(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A logistic regression of `right` on standardised features; `probability` applies it.

    Its ceiling is Laplace's estimate, (r + 1) / (n + 2), of the share that is right among the n hosts that it is surest
    of: with all of them right the hosts support no more.

    Raises:
        InputError: fewer than two hosts, or all have the same outcome.
    """
    right = np.array([one.right for one in outcomes], dtype=float)
    if len(right) < 2 or right.min() == right.max():
        raise InputError("a fit needs right and wrong first candidates")
    names = list(outcomes[0].found)
    values = np.array([[one.found[name] for name in names] for one in outcomes])
    keep = np.ptp(values, axis=0) > 1e-9
    names, values = [name for name, kept in zip(names, keep, strict=True) if kept], values[:, keep]
    mean, scale = values.mean(axis=0), values.std(axis=0)
    x, sign = (values - mean) / scale, 2 * right - 1

    def surprise(w: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -sign * (w[0] + x @ w[1:])).sum() + 0.5 * RIDGE * (w[1:] ** 2).sum())

    best = minimize(surprise, np.zeros(1 + x.shape[1]), method="BFGS").x
    p = 1.0 / (1.0 + np.exp(-(best[0] + x @ best[1:])))
    surest = right[p >= min(SURE, p.max())]
    entries = {
        name: {"coefficient": w, "mean": m, "scale": s, "low": low, "high": high}
        for name, w, m, s, low, high in zip(
            names, best[1:], mean, scale, values.min(axis=0), values.max(axis=0), strict=True
        )
    }
    rounded = {name: {key: round(float(v), 6) for key, v in one.items()} for name, one in entries.items()}
    ceiling = (surest.sum() + 1) / (len(surest) + 2)
    return {"features": rounded, "intercept": round(float(best[0]), 6), "ceiling": round(float(ceiling), 6)}


def held_out(outcomes: Sequence[Outcome], salt: str = "") -> np.ndarray:
    """Probability of each, by the fit to the half of frameworks that it is not in; each salt gives other halves."""
    half = np.array([half_of(one.group, salt) for one in outcomes])
    p = np.zeros(len(outcomes))
    for side in (0, 1):
        model = fit_model([one for one, k in zip(outcomes, half, strict=True) if k != side])
        for row in np.flatnonzero(half == side).tolist():
            p[row] = probability(model, outcomes[row].found)
    return p


def half_of(group: str, salt: str = "") -> int:
    """0 or 1 by hash: which half a framework is in."""
    return hashlib.sha256(f"{salt}{group}".encode()).digest()[0] % 2


def quality(p: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray) -> dict[str, Any]:
    """Calibration error, Brier score and AUC, and the calibration error that a perfect predictor would have."""
    values, truth = [float(one) for one in p], [bool(one) for one in right]
    return {
        "hosts": len(truth),
        "correct": round(float(np.mean(truth)), 4),
        "calibration_error": round(calibration_error(reliability(values, truth)), 4),
        "brier_score": round(brier_score(values, truth), 4),
        "discrimination": _finite(discrimination(values, truth)),
        "calibration_error_by_chance": round(chance_error(values), 4),
    }


def card_entry(outcomes: Sequence[Outcome], archives: Mapping[str, Path]) -> dict[str, Any]:
    """What the card of weights says under `confidence`.

    Args:
        outcomes: of all archives.
        archives: name of each source -> its file.

    Raises:
        InputError: as `fit_model`.
    """
    kinds = {"ranked": list(outcomes), "placed": [one.placed() for one in outcomes]}
    measured = {}
    for kind, tasks in kinds.items():
        p, right = held_out(tasks), np.array([one.right for one in tasks])
        measured[kind] = {name: quality(p[rows], right[rows]) for name, rows in groups_of(tasks).items()}
    data = {
        name: {"hosts": sum(one.source == name for one in outcomes), "sha256": _digest(path)}
        for name, path in archives.items()
    }
    fitted = {kind: fit_model(tasks) for kind, tasks in kinds.items()}
    frameworks = len({one.group for one in outcomes})
    return {"of": "first candidate", "data": data, "frameworks": frameworks, "held_out": measured, **fitted}


def groups_of(outcomes: Sequence[Outcome]) -> dict[str, np.ndarray]:
    """Rows of all outcomes, and of each source where there are several."""
    sources = np.array([one.source for one in outcomes])
    names = list(dict.fromkeys(sources.tolist()))
    every = {"all": np.arange(len(outcomes))}
    return every if len(names) == 1 else every | {name: np.flatnonzero(sources == name) for name in names}


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
