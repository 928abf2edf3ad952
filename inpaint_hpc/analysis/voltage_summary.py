"""Voltage profiles of many hosts as one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .capacity import formula_units, guests_per_formula
from .voltage import VoltageProfile, remarks

if TYPE_CHECKING:
    import pandas as pd


def by_voltage(profiles: Sequence[VoltageProfile]) -> list[VoltageProfile]:
    """Profiles with the highest average voltage first."""
    return sorted(profiles, key=lambda one: -one.total()["voltage_V"])


def voltage_summary(profiles: Sequence[VoltageProfile]) -> pd.DataFrame:
    """One row for each profile, from the empty to the fullest stable filling, highest average voltage first.

    Columns: host, ion, formula (of the host without the ion's element), x_from, x_to (ions per formula unit), voltage_V
    (average), against, capacity_mAh_per_g_host, energy_Wh_per_kg_host, steps (of the curve), treatment, chgnet, note
    (what to look at, in a few words), notes (all of them in full).
    """
    import pandas as pd

    return pd.DataFrame([_row(profile) for profile in by_voltage(profiles)])


def _row(profile: VoltageProfile) -> dict[str, Any]:
    total = profile.total()
    known = bool(profile.formula)
    return {
        "host": profile.host,
        "ion": profile.symbol,
        "formula": formula_units(profile.formula, profile.symbol)[0],
        "x_from": guests_per_formula(profile.formula, profile.symbol, 0.0) if known else None,
        "x_to": total["x"],
        "voltage_V": total["voltage_V"],
        "against": profile.label,
        "capacity_mAh_per_g_host": total["capacity_mAh_per_g_host"],
        "energy_Wh_per_kg_host": total["energy_Wh_per_kg_host"],
        "steps": len(profile.steps),
        "treatment": profile.treatment,
        "chgnet": profile.chgnet,
        "note": "; ".join(_words(profile)),
        "notes": "; ".join([*remarks(profile), *profile.notes]),
    }


def _words(profile: VoltageProfile) -> list[str]:
    stable = [profile.filled[k - 1] for k in profile.hull.stable.tolist() if k]
    limits = () if profile.charges is None else profile.charges.limits
    full = profile.total()["to"]
    return [
        *(["below 0 V"] if any(step.voltage < 0 for step in profile.steps) else []),
        *(["framework broken"] if any(one.departure for one in stable) else []),
        *(["over charge limit"] if limits and full > limits[-1].guests + 1e-6 else []),
        *([f"notes: {len(profile.notes)}"] if profile.notes else []),
    ]
