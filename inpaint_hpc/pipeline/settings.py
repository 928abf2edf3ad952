"""Settings of everything that happens to samples after they are drawn."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from inpaint_hpc.archive.rows import RELAX
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.settings import SamplingSettings

STAGED = 4  # times `top_k` candidates are relaxed briefly, with `stage_steps`


@dataclass(frozen=True)
class PipelineSettings:
    """What happens to samples.

    Attributes:
        score: rank by CHGNet energy; otherwise by agreement.
        redraws: how often impossible samples are replaced by fresh ones; twice as often in hosts with empty space.
        tolerance: samples whose guests are within this distance in A are equal.
        symprec: distance tolerance in A of the host's symmetry.
        relax: 'none'; 'guests' relaxes the guests in the frozen host, 'positions' all atoms in the fixed cell, 'cell'
            all atoms and the cell.  Ranking is by the energy afterwards, and candidates that end in the same minimum
            become one.
        top_k: relax only so many candidates, those lowest in energy as placed and, for a quarter of them, those that
            most samples agree on; None relaxes all.
        stage_steps: with `top_k`, steps of a short relaxation of the guests alone, of four times as many candidates:
            the `top_k` chosen likewise after it are relaxed as `relax` says; 0 chooses by the energy as placed.
        fmax: converged when no force exceeds it, eV/A.
        relax_steps: most steps of a relaxation.
        chgnet: CHGNet weights: '0.3.0', '0.2.0' or 'r2scan'.
        evaluations: with the strategy `auto` and several guests, orderings on the site network whose energy is
            computed, for up to four guests, with their cube for more (`evaluation_budget`); 0 leaves it at the joint
            samples.
        candidates: most candidates handed out, where there was such a search.
        sequential: samples placed one guest after another, beside the joint ones, where there is such a search.
        voids: with the strategy `auto` and one guest, voids of the host whose energy is computed beside what samples
            show, the roomiest; 0 leaves it at the samples.
        host_stiffness: eV/A^2; several guests, as placed, are ranked by energy and agreement, and the samples weigh the
            more, the larger the forces in a host that did not relax around its guests (`candidate_order`); 0 ranks by
            energy alone.
        settle: noise in A with which the score model settles what the search hands out; 0 leaves guests on their sites.

    Raises:
        InputError: a value out of range, or a relaxation without scoring.
    """

    score: bool = True
    redraws: int = 3
    tolerance: float = 0.5
    symprec: float = 0.1
    relax: Literal["none", "guests", "positions", "cell"] = "none"
    top_k: int | None = None
    stage_steps: int = 0
    fmax: float = 0.05
    relax_steps: int = 500
    chgnet: str = "0.3.0"
    evaluations: int = 48
    candidates: int = 32
    sequential: int = 8
    voids: int = 8
    host_stiffness: float = 5.0
    settle: float = 0.1

    def __post_init__(self) -> None:
        if self.redraws < 0:
            raise InputError(f"redraws must be at least 0, not {self.redraws}")
        for name in ("tolerance", "symprec"):
            if not 0.0 < getattr(self, name) < 5.0:
                raise InputError(f"{name} must be above 0 and below 5 A, not {getattr(self, name):g}")
        if self.relax not in RELAX:
            raise InputError(f"unknown relaxation '{self.relax}'; choose one of {', '.join(RELAX)}")
        if self.relax != "none" and not self.score:
            raise InputError(f"relax '{self.relax}' needs CHGNet: leave score on, or set relax to none")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, not {self.top_k}; leave it out to relax all")
        if self.stage_steps < 0 or (self.stage_steps and self.top_k is None):
            raise InputError(f"stage_steps must be at least 0, and needs top_k, not {self.stage_steps}")
        if not 0.0 < self.fmax < 10.0:
            raise InputError(f"fmax must be above 0 and below 10 eV/A, not {self.fmax:g}")
        if self.relax_steps < 1:
            raise InputError(f"relax_steps must be at least 1, not {self.relax_steps}")
        if self.evaluations < 0 or self.candidates < 1:
            raise InputError(
                f"evaluations must be at least 0 and candidates at least 1, not {self.evaluations} and "
                f"{self.candidates}"
            )
        for name in ("sequential", "voids", "host_stiffness"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 0.0 <= self.settle <= 1.0:
            raise InputError(f"settle must be at least 0 and at most 1 A, not {self.settle:g}")
        if self.chgnet != PipelineSettings.chgnet:  # torch is needed to know the others
            from inpaint_hpc.scoring.chgnet.models import require_weights

            require_weights(self.chgnet)

    @property
    def relaxes(self) -> bool:
        """Whether anything is relaxed."""
        return self.relax != "none"


BEFORE = {"voids": 0, "host_stiffness": 0.0}
"""What a run does whose settings were frozen before there was such a setting."""


def settings_that_decide(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide a result, of `asdict(PipelineSettings(...))` or of what an older version froze.

    Those of a relaxation that does not happen are left out, as is what has its default: so a campaign that uses none
    of them has the same task ids as before there were any.
    """
    settings = asdict(PipelineSettings()) | BEFORE | settings
    left_out = set() if settings["relax"] != "none" else {"relax", "top_k", "stage_steps", "fmax", "relax_steps"}
    left_out |= {"chgnet"} if settings["chgnet"] == PipelineSettings.chgnet or not settings["score"] else set()
    left_out |= {"host_stiffness"} if settings["relax"] != "none" or not settings["score"] else set()
    later = ("evaluations", "candidates", "sequential", "settle", "stage_steps")
    left_out |= {name for name in later if settings[name] == getattr(PipelineSettings, name)}
    left_out |= {name for name, value in BEFORE.items() if settings[name] == value}
    return {name: value for name, value in settings.items() if name not in left_out}


def settings_digest(sampling: Mapping[str, Any], pipeline: Mapping[str, Any], weights_sha256: str) -> bytes:
    """sha256 of everything but host, guests and number of samples that decides a result, 32 bytes.

    Args:
        sampling, pipeline: settings by name, of this or an older version.
        weights_sha256: of the score model's weights.
    """
    content = {
        "sampling": {name: value for name, value in sampling.items() if name not in ("samples", "edge_budget")},
        "pipeline": settings_that_decide(dict(pipeline)),
        "weights": weights_sha256,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def searches(sampling: SamplingSettings, n_guests: int) -> bool:
    """Whether the occupation of sites is searched for so many guests, with CHGNet at hand."""
    return sampling.strategy == "auto" and n_guests > 1
