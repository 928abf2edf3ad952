"""State of structures during relaxation: coordinates, the forces on them, and the last sound evaluation of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystal, Crystals
from inpaint_hpc.crystals.neighbors import ragged_arange
from inpaint_hpc.scoring.chgnet.batch import BatchEvaluation, crystals_batch

from .cell_filter import cell_forces, deformations
from .fire import Fire, FireSettings

# A cell that shrinks or grows by more than this factor has left the structure it was.
LARGEST_VOLUME_RATIO = 4.0
# FIRE may climb for a few steps but soon comes back below the lowest energy so far, within this, eV per atom.
ENERGY_RISE = 0.05


@dataclass(frozen=True)
class Group:
    """Rows of some structures in the state of all.

    Attributes:
        structures: int64 (K,).
        atoms: rows of their atoms, int64 (A,); owner: position in `structures` of each, int64 (A,).
        free: which of these atoms may move, bool (A,).
        rows: rows of the coordinates that may move (atoms, then three for each cell), int64 (R,); row_owner likewise.
    """

    structures: torch.Tensor
    atoms: torch.Tensor
    owner: torch.Tensor
    free: torch.Tensor
    rows: torch.Tensor
    row_owner: torch.Tensor


class OptimizerState:
    """All structures of a relaxation.

    Args:
        crystals: the input.
        guests: number of guests of each, its last atoms.
        mode: 'guests', 'positions' or 'cell'.
        fire: parameters of FIRE.
        device: torch device.

    Attributes:
        batch: the input as one batch.
        energies, before: energy per atom of the last and of the first evaluation, eV, float64 (B,), NaN before it.
        steps: steps taken, int64 (B,).
    """

    def __init__(
        self, crystals: Sequence[Crystal], guests: Sequence[int], mode: str, fire: FireSettings, device: Any
    ) -> None:
        batch = crystals_batch(crystals).to(device)
        n, atoms = len(batch), len(batch.numbers)
        options = {"dtype": torch.float64, "device": device}
        self.inputs, self.guests, self.mode, self.batch = list(crystals), list(guests), mode, batch
        self._counts, self._volumes = batch.counts, batch.volumes
        self._start = torch.cumsum(self._counts, 0) - self._counts
        place = torch.arange(atoms, device=device) - self._start[batch.crystal]
        hosts = self._counts - torch.tensor(self.guests, device=device)
        self._free = place >= hosts[batch.crystal] if mode == "guests" else torch.ones_like(place, dtype=torch.bool)
        # Coordinates: positions in the undeformed cell, and the logarithm of the deformation.
        self._reference, self._logarithms = batch.positions.clone(), torch.zeros(n, 3, 3, **options)
        self._fire = Fire(n, atoms + 3 * n, fire, device)
        # The last sound evaluation.
        self._positions, self._cells = batch.positions.clone(), batch.cells.clone()
        self._forces, self._stress = (
            torch.full((atoms, 3), torch.nan, **options),
            torch.full((n, 3, 3), torch.nan, **options),
        )
        self.energies, self.before, self._lowest = (torch.full((n,), torch.nan, **options) for _ in range(3))
        self.steps, self._rising = (torch.zeros(n, dtype=torch.long, device=device) for _ in range(2))

    def __len__(self) -> int:
        return len(self.inputs)

    def group(self, members: Sequence[int]) -> Group:
        """Row numbers of some structures."""
        structures = torch.tensor(members, device=self._start.device)
        owner, k = ragged_arange(self._counts[structures])
        atoms = self._start[structures][owner] + k
        free = self._free[atoms]
        rows, row_owner = atoms[free], owner[free]
        if self.mode == "cell":
            three = torch.arange(3, device=atoms.device)
            cells = len(self._free) + 3 * structures[:, None] + three
            rows = torch.cat([rows, cells.flatten()])
            row_owner = torch.cat([row_owner, torch.arange(len(members), device=atoms.device).repeat_interleave(3)])
        return Group(structures, atoms, owner, free, rows, row_owner)

    def crystals(self, group: Group) -> Crystals:
        """The structures where they are now."""
        positions, cells = self._reference[group.atoms], self.batch.cells[group.structures]
        if self.mode == "cell":
            transposed = deformations(self._logarithms[group.structures]).transpose(1, 2)
            positions = (positions[:, None, :] @ transposed[group.owner])[:, 0]
            cells = cells @ transposed
        return Crystals(self.batch.numbers[group.atoms], positions, cells, group.owner)

    def record(self, group: Group, crystals: Crystals, evaluation: BatchEvaluation) -> list[str]:
        """Keep what is sound of an evaluation; for each structure the problem, '' if none."""
        assert evaluation.forces is not None and evaluation.stress is not None  # asked for
        errors = list(evaluation.errors)
        ratio = crystals.volumes / self._volumes[group.structures]
        for k in torch.nonzero((ratio > LARGEST_VOLUME_RATIO) | (ratio < 1 / LARGEST_VOLUME_RATIO))[:, 0].tolist():
            errors[k] = errors[k] or f"its cell has {float(ratio[k]):.2g} times the volume it had"
        sound = torch.tensor([not error for error in errors], device=ratio.device)
        structures, atoms = group.structures[sound], group.atoms[sound[group.owner]]
        self._positions[atoms] = crystals.positions[sound[group.owner]]
        self._forces[atoms] = evaluation.forces[sound[group.owner]]
        self._cells[structures] = crystals.cells[sound]
        self._stress[structures] = evaluation.stress[sound]
        energies = evaluation.energy_per_atom[sound]
        self.energies[structures] = energies
        self.before[structures] = torch.where(self.steps[structures] == 0, energies, self.before[structures])
        lowest = torch.fmin(self._lowest[structures], energies)
        self._lowest[structures] = lowest
        above = energies > lowest + ENERGY_RISE
        self._rising[structures] = torch.where(above, self._rising[structures] + 1, 0)
        return errors

    def criteria(self, group: Group) -> tuple[list[float], list[float], list[int]]:
        """Per structure: largest force on a coordinate, eV/A; largest component of the stress, GPa; and for how many
        evaluations in a row the energy has been above its lowest."""
        sizes = self._coordinate_forces(group).norm(dim=1)
        largest = sizes.new_zeros(len(group.structures)).scatter_reduce(0, group.row_owner, sizes, "amax")
        stress = self._stress[group.structures].abs().flatten(1).amax(1)
        return largest.tolist(), stress.tolist(), self._rising[group.structures].tolist()

    def step(self, group: Group) -> None:
        """Move the structures by one step of FIRE."""
        forces = self._coordinate_forces(group)
        displacement = self._fire.step(group.structures, group.rows, group.row_owner, forces)
        moving = group.atoms[group.free]
        self._reference[moving] += displacement[: len(moving)]
        if self.mode == "cell":
            counts = self._counts[group.structures].double()
            self._logarithms[group.structures] += displacement[len(moving) :].view(-1, 3, 3) / counts[:, None, None]
        self.steps[group.structures] += 1

    def _coordinate_forces(self, group: Group) -> torch.Tensor:
        """Forces on the rows that may move at the last sound evaluation, eV/A, (R, 3)."""
        forces = self._forces[group.atoms]
        if self.mode != "cell":
            return forces[group.free]
        logarithms, counts = self._logarithms[group.structures], self._counts[group.structures]
        forces = (forces[:, None, :] @ deformations(logarithms)[group.owner])[:, 0]
        volumes = torch.linalg.det(self._cells[group.structures]).abs()
        cells = cell_forces(logarithms, self._stress[group.structures], volumes, counts)
        return torch.cat([forces, cells.view(-1, 3)])

    def crystal(self, k: int) -> Crystal:
        """A structure at its last sound evaluation; what could not move is bit-for-bit the input."""
        given = self.inputs[k]
        if not bool(torch.isfinite(self.energies[k])) or int(self.steps[k]) == 0:
            return given
        atoms = slice(int(self._start[k]), int(self._start[k] + self._counts[k]))
        lattice = self._cells[k].cpu().numpy() if self.mode == "cell" else given.lattice
        frac = np.linalg.solve(lattice.T, self._positions[atoms].cpu().numpy().T).T
        frozen = ~self._free[atoms].cpu().numpy()
        frac[frozen] = given.frac_coords[frozen]
        return replace(given, frac_coords=frac, lattice=lattice)

    def forces_and_stress(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Of `crystal(k)`: eV/A (n, 3) and GPa (3, 3); NaN if it was never evaluated soundly."""
        atoms = slice(int(self._start[k]), int(self._start[k] + self._counts[k]))
        return self._forces[atoms].cpu().numpy(), self._stress[k].cpu().numpy()
