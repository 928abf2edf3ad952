"""How likely the first candidate is right, by what was measured with the weights on known structures.

The card of the weights has two logistic regressions: `ranked` for candidates ordered by energy, `placed` for those
ordered by agreement alone.  Cards that only have a `sharpness` know how likely the placement is that most samples agree
on; that says something of the first candidate only where the two are the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inpaint_hpc.archive.rows import Candidate
from inpaint_hpc.sampling.deduplication import calibrated_agreement

LEAST_SAMPLES = 4
FORCES = (0.01, 5.0)  # eV/A; beyond them a force says no more
CEILING = 0.99  # of cards that do not say how far theirs may be trusted


def first_confidence(card: Mapping[str, Any], candidates: Sequence[Candidate], n_valid: int) -> float | None:
    """Chance that the first candidate is right; None where the card or the samples do not say.

    Args:
        card: of the weights.
        candidates: best first, not relaxed.
        n_valid: samples that they stand for.
    """
    known = card.get("confidence", {})
    if not candidates or n_valid < LEAST_SAMPLES:
        return None
    found = features(candidates, n_valid)
    name = "ranked" if "force" in found else "placed"
    if name in known:
        return probability(known[name], found)
    if "sharpness" in known and not found["apart"]:
        return min(CEILING, float(calibrated_agreement(candidates[0].agreement, known["sharpness"])))
    return None


def features(candidates: Sequence[Candidate], n_valid: int) -> dict[str, float]:
    """What is known of the first candidate; `force` only where it has an energy.

    Names: agreement and favourite, log-odds of the share of samples that agree with the first candidate, and with the
    one that most agree on; apart, 1 where these differ; force, logarithm of the largest force on an atom (eV/A), which
    tells a host that was relaxed without guests from one that still has the shape of the filled crystal.
    """
    first = candidates[0]
    most = max(one.count for one in candidates)
    found = {
        "agreement": _log_odds(first.count, n_valid),
        "favourite": _log_odds(most, n_valid),
        "apart": float(first.count < most),
    }
    if first.max_force is not None:
        lowest, highest = FORCES
        found["force"] = math.log(min(highest, max(lowest, first.max_force)))
    return found


def probability(model: Mapping[str, Any], found: Mapping[str, float]) -> float:
    """Of a fitted regression, within the range of the hosts that it was fitted to."""
    score = model["intercept"]
    for name, one in model["features"].items():
        value = min(one["high"], max(one["low"], found[name]))
        score += one["coefficient"] * (value - one["mean"]) / one["scale"]
    return min(model["ceiling"], max(1.0 - model["ceiling"], 1.0 / (1.0 + math.exp(-score))))


def _log_odds(count: int, total: int) -> float:
    share = (count + 0.5) / (total + 1.0)
    return math.log(share / (1.0 - share))
