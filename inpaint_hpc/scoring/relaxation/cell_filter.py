"""Cells as coordinates of a relaxation: the logarithm of the deformation, as in ASE's `FrechetCellFilter`.

A structure that started in the cell C has positions `x = u F^T` and the cell `C F^T`, with `F = exp(L)`.  Coordinates
are u and n L (n atoms; the factor puts cell and atoms on one scale); the forces on them are exact derivatives of the
energy.  Derivation: https://github.com/lan496/lan496.github.io/blob/main/notes/cell_grad.pdf, and
E. B. Tadmor et al., Phys. Rev. B 59, 235 (1999).
"""

from __future__ import annotations

import torch

from inpaint_hpc.scoring.chgnet.batch import EV_PER_A3_IN_GPA


def deformations(logarithms: torch.Tensor) -> torch.Tensor:
    """F = exp(L), (B, 3, 3)."""
    return torch.linalg.matrix_exp(logarithms)


def cell_forces(
    logarithms: torch.Tensor, stress: torch.Tensor, volumes: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Forces on the coordinates n L, eV/A, (B, 3, 3).

    Args:
        logarithms: L, (B, 3, 3).
        stress: GPa, (B, 3, 3).
        volumes: of the deformed cells, A^3, (B,).
        counts: atoms n of each crystal, (B,).
    """
    transposed = logarithms.transpose(1, 2)
    virial = -volumes[:, None, None] / EV_PER_A3_IN_GPA * stress
    by_deformation = virial @ torch.linalg.matrix_exp(-transposed)  # virial F^-T
    # The adjoint of the derivative of exp at L is that at L^T: a corner of the exponential of a block matrix.
    blocks = torch.zeros(len(virial), 6, 6, dtype=virial.dtype, device=virial.device)
    blocks[:, :3, :3] = blocks[:, 3:, 3:] = transposed
    blocks[:, :3, 3:] = by_deformation
    return torch.linalg.matrix_exp(blocks)[:, :3, 3:] / counts[:, None, None]
