"""The packaged MnO2 polymorphs: whether candidates are on the guest sites that are known from experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inpaint_hpc.analysis.known_sites import KNOWN_SITES, ranks_of_known
from inpaint_hpc.pipeline.results import InpaintResult
from inpaint_hpc.sampling.minimum_image import PeriodicCell

from .host_rows import Column, Row

COLUMNS = (Column("first", "first"), Column("any", "any"))
HEADINGS = ("host", "ion", "known site", "first", "any", "distance (A)", "energy (eV/atom)")


def mno2_row(result: InpaintResult) -> Row:
    """One ion in one host, judged as the demo's pictures do.

    Returns:
        `host`, `ion` (also `group`), `known` (kinds of the known sites; empty where none is known), `first` and `any`:
        the first candidate, or any, has a guest within 0.5 A of a known site, None where none is known; `rank` of the
        best such candidate; `distance_A` of the first candidate's guest from the nearest known site;
        `energy_eV_per_atom` that ranked the first candidate; `candidates`, `seconds_s`.
    """
    known = KNOWN_SITES.get(result.name, ())
    ranks = [rank for rank in ranks_of_known(result, known) if rank is not None]
    best = result.candidates[0] if result.candidates else None
    distance = None
    if best is not None and known:
        cell = PeriodicCell(result.host.lattice)
        distance = min(
            float(cell.distances(best.guest_frac_coords, site.positions(result.host)).min()) for site in known
        )
    ion = result.guest_label.partition("=")[0]
    return {
        "host": result.name,
        "group": ion,
        "framework": result.name,
        "ion": ion,
        "known": ", ".join(site.kind for site in known),
        "first": 0 in ranks if known else None,
        "any": bool(ranks) if known else None,
        "rank": min(ranks, default=None),
        "distance_A": distance,
        "energy_eV_per_atom": None if best is None else best.ranking_energy,
        "candidates": len(result),
        "seconds_s": float(sum(result.seconds.values())),
    }


def mno2_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Texts of the table under `HEADINGS`."""
    return [
        [
            row["host"],
            row["ion"],
            row["known"] or "-",
            _yes(row["first"]),
            "-" if row["any"] is None else "no" if row["rank"] is None else f"rank {row['rank']}",
            _number(row["distance_A"], 2),
            _number(row["energy_eV_per_atom"], 4),
        ]
        for row in rows
    ]


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _number(value: Any, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
