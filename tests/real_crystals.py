"""Crystals that the tests of scoring share, and chgnet's own answers for them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.scoring.chgnet.models import load_chgnet_model, quiet

SMOKE = Path(__file__).parent / "data" / "smoke.h5"
IONS = (3, 11, 12, 19, 20, 30, 13)

# No bond within 3 A, so no angles: chgnet then skips its bond layers.
SODIUM = Crystal([11, 11], [[0, 0, 0], [0.5, 0.5, 0.5]], np.eye(3) * 4.2, "bcc Na")
# One bond within 3 A at each atom: bonds in the bond graph, but no angles.
DIMERS = Crystal([8, 8], [[0, 0, 0], [0.2, 0, 0]], np.diag([6.0, 4.5, 4.5]), "O2")
ROCK_SALT = Crystal([12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], 2.15 * (1 - np.eye(3)), "MgO")


@lru_cache
def smoke() -> tuple[Crystal, ...]:
    """220 structures of the Materials Project and of WBM."""
    return tuple(PackedDataset(SMOKE))


@lru_cache
def intercalated(
    n: int, shift: float, seed: int = 0, everything: bool = False, max_atoms: int = 20
) -> tuple[list[Crystal], list[int]]:
    """Real crystals with the atoms of one ion last and displaced, and how many those are.

    Args:
        n: how many crystals.
        shift: standard deviation of each coordinate of the displacements, A.
        seed: of the choice and of the displacements.
        everything: displace all atoms.
        max_atoms: leave out larger crystals.
    """
    rng = np.random.default_rng(seed)
    crystals, counts = [], []
    for row in rng.permutation(len(smoke())):
        crystal = smoke()[row]
        ion = next((z for z in IONS if 0 < (crystal.numbers == z).sum() < len(crystal)), None)
        if ion is None or len(crystal) > max_atoms:
            continue
        order = np.argsort(crystal.numbers == ion, kind="stable")
        count = int((crystal.numbers == ion).sum())
        shifts = rng.normal(0, shift, (len(crystal), 3))
        if not everything:
            shifts[:-count] = 0
        frac = crystal.frac_coords[order] + shifts @ np.linalg.inv(crystal.lattice)
        crystals.append(replace(crystal, numbers=crystal.numbers[order], frac_coords=frac))
        counts.append(count)
        if len(crystals) == n:
            break
    return crystals, counts


def native(crystal: Crystal, weights: str = "0.3.0") -> dict[str, np.ndarray]:
    """chgnet's `predict_structure`: e eV/atom, f eV/A, s GPa, m Bohr magnetons."""
    with quiet():
        return load_chgnet_model(weights).predict_structure(crystal.to_structure())


def small_model(seed: int = 0, **options):
    """A CHGNet of random weights and uncommon sizes."""
    with quiet():
        from chgnet.model.model import CHGNet

        torch.manual_seed(seed)
        return CHGNet(
            **{
                "atom_fea_dim": 16,
                "bond_fea_dim": 12,
                "angle_fea_dim": 8,
                "n_conv": 3,
                "atom_conv_hidden_dim": 16,
                "bond_conv_hidden_dim": 12,
                "mlp_hidden_dims": (16,),
                **options,
            }
        ).eval()
