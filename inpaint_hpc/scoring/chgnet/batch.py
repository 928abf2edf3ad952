"""Energies, forces, stresses and magnetic moments by CHGNet for many crystals at once.

One graph for a whole batch, one backward pass.  The derivative of the energy with respect to the bond vectors gives
all of these: with `g = dE / dr` of a bond `r = x_i - x_j`, the force on atom i is minus the sum of `g` over the bonds
that start at i, plus that over the bonds that end there, and the virial is the sum of the outer products of `r` and
`g`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from inpaint_hpc.crystals.batch import Crystal, Crystals
from inpaint_hpc.crystals.neighbors import ragged_arange
from inpaint_hpc.errors import InputError
from inpaint_hpc.gpus import memory_for_batches
from inpaint_hpc.kernels.rows import Rows
from inpaint_hpc.sampling.batching import is_out_of_memory, release_memory

from .checks import crystal_errors, graph_errors
from .graph import ChgnetGraph, atom_graph
from .models import DEFAULT_WEIGHTS, load_chgnet_network
from .network import ChgnetNetwork

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet

EV_PER_A3_IN_GPA = 160.21766208  # as in chgnet
# A row is a directed edge of the atom graph or an angle; both cost about the same.
CPU_ROW_BUDGET = 12_000
# Derivatives need what is in memory on the way to the energy: by the growth of a process with batches of 31,000 and
# 59,000 rows on a CPU 7 to 9.5 kB a row, and 2 kB without.
BYTES_PER_ROW, BYTES_PER_ROW_OF_ENERGIES = 10_000, 3_000


@dataclass(frozen=True)
class BatchEvaluation:
    """CHGNet's results for B crystals of N atoms in all.  Values of a failed crystal are NaN.

    Attributes:
        energy_per_atom: eV, float64 (B,).
        forces: eV/A, float64 (N, 3); None if not requested.
        stress: derivative of the energy with respect to strain, divided by the volume, GPa, symmetric, float64
            (B, 3, 3); None if not requested.
        magmoms: magnitudes of the magnetic moments, Bohr magnetons, float64 (N,); None if not requested.
        counts: atoms of each crystal, int64 (B,).
        errors: per crystal, why it failed, one line; '' if it did not.
        rows: directed edges and angles of each crystal's graph, which determine time and memory, int64 (B,).
    """

    energy_per_atom: torch.Tensor
    forces: torch.Tensor | None
    stress: torch.Tensor | None
    magmoms: torch.Tensor | None
    counts: torch.Tensor
    errors: tuple[str, ...]
    rows: torch.Tensor

    def __len__(self) -> int:
        return len(self.errors)

    @property
    def energies(self) -> torch.Tensor:
        """Energies of the cells in eV, float64 (B,)."""
        return self.energy_per_atom * self.counts

    def atoms(self, index: int) -> slice:
        """Rows of `forces` and `magmoms` that belong to one crystal."""
        start = int(self.counts[:index].sum())
        return slice(start, start + int(self.counts[index]))

    def to(self, device: Any) -> BatchEvaluation:
        """The same on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if torch.is_tensor(value)
        }
        return replace(self, **tensors)


def evaluate(
    crystals: Sequence[Crystal] | Crystals,
    model: str | CHGNet | ChgnetNetwork = DEFAULT_WEIGHTS,
    device: Any = None,
    what: str = "efsm",
    row_budget: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> BatchEvaluation:
    """Evaluate any mix of crystals; a bad one is recorded as failed and leaves the others alone.

    A crystal fails if it has no atoms, an element that CHGNet does not know, a collapsed cell, atoms closer than 0.5 A,
    an atom without any neighbour within the cutoff (chgnet refuses it as well), or a coordinate or result that is not
    a finite number, or if it does not fit into memory even alone.

    Args:
        crystals: as a list, or as one batch (float64, or positions lose digits).
        model: '0.3.0', '0.2.0', 'r2scan', or your own model; see `load_chgnet_network`.
        device: torch device; None takes that of a given network, else the CPU.
        what: 'e' energy, 'f' forces, 's' stress, 'm' magnetic moments; the energy is always included.
        row_budget: maximum directed edges and angles in one batch; None takes what suits the device.  A single crystal
            may exceed it.
        progress: called with the number of crystals finished since the last call.

    Returns:
        The evaluation on the CPU, in the order of the crystals.

    Raises:
        InputError: unknown weights or letters of `what`, a budget below 1, or an unavailable device.
    """
    evaluator = BatchEvaluator(load_chgnet_network(model, device), what, row_budget)
    return evaluator(crystals, progress).to("cpu")


class BatchEvaluator:
    """Evaluates batches on one device, and remembers how much fits into its memory.

    Args:
        network: of `load_chgnet_network`.
        what, row_budget: as `evaluate`.

    Attributes:
        row_budget: falls when the device runs out of memory.
    """

    def __init__(self, network: ChgnetNetwork, what: str = "efsm", row_budget: int | None = None) -> None:
        if not set(what) <= set("efsm"):
            raise InputError(f"CHGNet gives 'e', 'f', 's' and 'm', not '{what}'")
        if row_budget is not None and row_budget < 1:
            raise InputError(f"the row budget must be at least 1, not {row_budget}")
        self.network, self.what = network, frozenset(what)
        self.row_budget = row_budget or default_row_budget(network.device, what)

    def __call__(
        self, crystals: Sequence[Crystal] | Crystals, progress: Callable[[int], None] | None = None
    ) -> BatchEvaluation:
        """As `evaluate`, but the result stays on the network's device."""
        if not isinstance(crystals, Crystals):
            crystals = crystals_batch(crystals)
        crystals = crystals.to(self.network.device, torch.float64)
        result = _Result(crystals, self.what)
        errors = crystal_errors(crystals, self.network)
        result.fail({index: error for index, error in enumerate(errors) if error})
        sound = [index for index, error in enumerate(errors) if not error]
        estimates = self.estimated_rows(crystals)
        queue = pack_rows(sound, estimates, self.row_budget)
        finished = len(errors) - len(sound)
        while True:
            if progress is not None and finished:
                progress(finished)
            if not queue:
                return result.finished()
            members = queue.pop(0)
            try:
                again = self._evaluate(crystals, members, result)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                again = None
            if again is None:
                # Only here, where no traceback keeps the tensors of the batch alive any more.
                release_memory(self.network.device)
                again = self._smaller(members, estimates, result)
            queue[:0] = again
            finished = len(members) - sum(len(batch) for batch in again)

    def _evaluate(self, crystals: Crystals, members: list[int], result: _Result) -> list[list[int]]:
        """Evaluate some crystals, or return the batches of them to evaluate instead."""
        network = self.network
        graph = atom_graph(take(crystals, members), network.atom_cutoff, network.bond_cutoff)
        errors = graph_errors(graph, network.atom_cutoff)
        if any(errors):
            result.fail({member: error for member, error in zip(members, errors, strict=True) if error})
            good = [member for member, error in zip(members, errors, strict=True) if not error]
            return [good] if good else []
        rows = graph.rows()
        if len(members) > 1 and int(rows.sum()) > 1.5 * self.row_budget:
            # Estimates know the density, not the structure.
            return pack_rows(members, dict(zip(members, rows.tolist(), strict=True)), self.row_budget)
        result.store(members, rows, *self._derivatives(graph.with_angles(), crystals.volumes[members]))
        return []

    def estimated_rows(self, crystals: Crystals) -> np.ndarray:
        """Directed edges and angles that crystals of their density have on average, (B,)."""
        atoms = crystals.counts.cpu().numpy()
        volumes = np.maximum(crystals.volumes.double().cpu().numpy(), 1e-3)
        density = np.nan_to_num(atoms / volumes, nan=0.0)
        neighbors, near = (
            density * 4 / 3 * math.pi * cutoff**3 for cutoff in (self.network.atom_cutoff, self.network.bond_cutoff)
        )
        return atoms * (neighbors + near**2)

    def _smaller(self, members: list[int], estimates: np.ndarray, result: _Result) -> list[list[int]]:
        """Batches to try after these crystals did not fit into memory; a single crystal has failed."""
        if len(members) == 1:
            result.fail({members[0]: "the device has not enough memory for this crystal"})
            return []
        self.row_budget = max(1, int(min(self.row_budget, estimates[members].sum()) / 2))
        half = len(members) // 2
        return [members[:half], members[half:]]

    def _derivatives(self, graph: ChgnetGraph, volumes: torch.Tensor) -> tuple:
        """Energies (B,), forces (N, 3), stress (B, 3, 3) and magnetic moments (N,) of the crystals of a graph."""
        with torch.set_grad_enabled(bool(self.what & {"f", "s"})):
            graph.bond_vectors.requires_grad_(torch.is_grad_enabled())
            energies, magmoms = self.network(graph)
        forces = stress = None
        if energies.requires_grad:
            (gradient,) = torch.autograd.grad(energies.sum(), graph.bond_vectors)
            vectors = graph.bond_vectors.detach()
            forces = graph.center_rows.sum(torch.cat([-gradient, gradient]))
            outer = vectors[:, :, None] * gradient[:, None, :]
            virial = Rows(graph.bond_crystal, graph.n_crystals).sum(outer)
            stress = virial * (EV_PER_A3_IN_GPA / volumes)[:, None, None]
            stress = (stress + stress.transpose(1, 2)) / 2  # rotations change no energy, but rounding
        reference = self.network.element_energies[graph.numbers - 1]
        energies = graph.crystal_rows.add(energies.detach(), reference)
        return energies, forces, stress, magmoms.detach().double()


class _Result:
    """A `BatchEvaluation` that fills up part by part."""

    def __init__(self, crystals: Crystals, what: frozenset[str]) -> None:
        n, atoms = len(crystals), len(crystals.numbers)
        options: dict[str, Any] = {"dtype": torch.float64, "device": crystals.device}
        self.crystals, self.errors = crystals, [""] * n
        self.counts = crystals.counts
        self.starts = torch.cumsum(self.counts, 0) - self.counts
        self.energy_per_atom = torch.full((n,), torch.nan, **options)
        self.forces = torch.full((atoms, 3), torch.nan, **options) if "f" in what else None
        self.stress = torch.full((n, 3, 3), torch.nan, **options) if "s" in what else None
        self.magmoms = torch.full((atoms,), torch.nan, **options) if "m" in what else None
        self.rows = torch.zeros(n, dtype=torch.long, device=crystals.device)

    def fail(self, errors: dict[int, str]) -> None:
        for index, error in errors.items():
            self.errors[index] = error

    def store(self, members: list[int], rows, energies, forces, stress, magmoms) -> None:
        index = torch.tensor(members, device=energies.device)
        counts = self.counts[index]
        owner, k = ragged_arange(counts)
        finite = torch.isfinite(energies)
        if forces is not None:
            broken = torch.zeros(len(members), device=energies.device)
            finite &= broken.index_add(0, owner, (~torch.isfinite(forces).all(1)).float()) == 0
            finite &= torch.isfinite(stress).flatten(1).all(1)
        if not bool(finite.all()):
            message = "CHGNet gives an energy, force or stress that is not a finite number"
            self.fail({members[j]: message for j in torch.nonzero(~finite)[:, 0].tolist()})
        atoms = (self.starts[index][owner] + k)[finite[owner]]
        self.rows[index] = rows
        self.energy_per_atom[index[finite]] = (energies / counts)[finite]
        for target, values in ((self.forces, forces), (self.magmoms, magmoms)):
            if target is not None:
                target[atoms] = values[finite[owner]]
        if self.stress is not None:
            self.stress[index[finite]] = stress[finite]

    def finished(self) -> BatchEvaluation:
        return BatchEvaluation(
            self.energy_per_atom, self.forces, self.stress, self.magmoms, self.counts, tuple(self.errors), self.rows
        )


def crystals_batch(crystals: Sequence[Crystal]) -> Crystals:
    """Crystals as one float64 batch on the CPU."""
    if len(crystals):
        with np.errstate(invalid="ignore"):  # a crystal that is not finite is reported, not warned of
            return Crystals.from_list(crystals, dtype=torch.float64)
    none = torch.zeros(0, dtype=torch.long)
    return Crystals(none, torch.zeros(0, 3).double(), torch.zeros(0, 3, 3).double(), none)


def take(crystals: Crystals, members: Sequence[int] | torch.Tensor) -> Crystals:
    """Some crystals of a batch, in the order given."""
    index = torch.as_tensor(members, dtype=torch.long, device=crystals.device)
    counts = crystals.counts
    owner, k = ragged_arange(counts[index])
    atoms = (torch.cumsum(counts, 0) - counts)[index][owner] + k
    return Crystals(crystals.numbers[atoms], crystals.positions[atoms], crystals.cells[index], owner)


def pack_rows(members: Sequence[int], rows: Any, budget: float) -> list[list[int]]:
    """Members in batches of at most `budget` rows in all, equal neighbours together; one alone may exceed it."""
    batches: list[list[int]] = []
    filled = math.inf
    for member in sorted(members, key=lambda m: -rows[m]):
        if filled + rows[member] > budget:
            batches.append([])
            filled = 0.0
        batches[-1].append(member)
        filled += rows[member]
    return batches


def default_row_budget(device: torch.device, what: str) -> int:
    """Rows that fit in 60 % of the free memory of a GPU; on CPUs, where larger batches gain nothing, a constant."""
    if device.type != "cuda":
        return CPU_ROW_BUDGET
    return max(1, memory_for_batches(device) // bytes_per_row(what))


def bytes_per_row(what: str) -> int:
    """Memory of a batch per row, B; `what` as in `evaluate`."""
    return BYTES_PER_ROW if "f" in what or "s" in what else BYTES_PER_ROW_OF_ENERGIES
