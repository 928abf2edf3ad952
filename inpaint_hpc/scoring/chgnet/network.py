"""CHGNet's network with its arithmetic rearranged: the same weights and result for a fraction of the work.

What chgnet 0.4 does, and what is done instead:
- It concatenates the features of both atoms and the bond of each directed edge (of both bonds, angle and atom of each
  angle) and multiplies these 192 (256) columns by a matrix.  A linear map of a concatenation is a sum of linear maps,
  so here each atom and each undirected bond is multiplied once, and the edges only add rows.
- A layer normalisation follows a linear map; its subtraction of the mean is linear too and is folded into the weights.
- Features of bonds outside the bond graph never change, and the last update of the angles is unused: omitted.
- Parameters are frozen, and `gated_mlp` keeps little for the backward pass.

Architecture: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), and the source of chgnet 0.4.2, against which it
is tested.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inpaint_hpc.errors import InputError
from inpaint_hpc.kernels.rows import Rows

from .gated_mlp import BlockGatedMLP, linear_layers
from .graph import ChgnetGraph

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet


class ChgnetNetwork:
    """The frozen network of a CHGNet, without its composition energies.

    Args:
        model: a loaded CHGNet; it is copied, not changed.
        device: torch device of the copy.
        dtype: float32, or float64 for reference values.

    Attributes:
        atom_cutoff, bond_cutoff: cutoffs of the two graphs, A.
        n_elements: atomic numbers 1 to `n_elements` are known.
        element_energies: energy of each element in the composition model, float64 (n_elements,), eV.

    Raises:
        InputError: the architecture is not that of the weights published with chgnet.
    """

    def __init__(self, model: CHGNet, device: Any = "cpu", dtype: torch.dtype = torch.float32) -> None:
        _require_known_architecture(model)
        # Folding in float64 keeps the rounding of the folded weights below that of the stored ones.
        # Any: modules give their parts no types.
        own: Any = copy.deepcopy(model)
        own = own.requires_grad_(False).eval().to(device=device, dtype=torch.float64)
        self.device, self.dtype = torch.device(device), dtype
        self.atom_cutoff = float(own.graph_converter.atom_graph_cutoff)
        self.bond_cutoff = float(own.graph_converter.bond_graph_cutoff)
        self.n_elements = own.atom_embedding.embedding.num_embeddings
        self.element_energies = torch.zeros(self.n_elements, dtype=torch.float64, device=device)
        if own.composition_model is not None:
            self.element_energies += own.composition_model.fc.weight[0]

        expansion = own.bond_basis_expansion
        self._radial_atom, self._radial_bond = (
            _RadialBasis(basis, dtype) for basis in (expansion.rbf_expansion_ag, expansion.rbf_expansion_bg)
        )
        self._angle_frequencies = own.angle_basis_expansion.fourier_expansion.frequencies.to(dtype)
        self._atom_embedding = own.atom_embedding.embedding.weight.to(dtype)
        self._bond_embedding = own.bond_embedding.weight.T.to(dtype)
        self._angle_embedding = own.angle_embedding.weight.T.to(dtype)
        self._atom_graph_weights = own.bond_weights_ag.weight.T.to(dtype)
        self._bond_graph_weights = own.bond_weights_bg.weight.T.to(dtype)

        self._long_bonds = _long_bond_maps(own, dtype)
        atom, bond, angle = own.atom_fea_dim, own.bond_fea_dim, own.angle_embedding.out_features
        self._atom_layers = [
            _Layer(layer.twoBody_atom, layer.mlp_out, (atom, bond, atom), dtype) for layer in own.atom_conv_layers
        ]
        columns = (bond, bond, angle, atom)
        self._bond_layers = [
            _Layer(layer.twoBody_bond, layer.mlp_out, columns, dtype) for layer in own.bond_conv_layers
        ]
        self._angle_layers = [_Layer(layer.twoBody_bond, None, columns, dtype) for layer in own.angle_layers[:-1]]
        self._site_wise = own.site_wise.to(dtype)
        self._readout = nn.Sequential(own.readout_norm or nn.Identity(), own.mlp).to(dtype)

    def __call__(self, graph: ChgnetGraph) -> tuple[Tensor, Tensor]:
        """Energies of the crystals in eV, without composition energies, float64 (B,), and magnetic moments of the
        atoms in Bohr magnetons, (N,).

        Differentiable by `graph.bond_vectors` where they require it.
        """
        short, vectors = graph.n_short, graph.bond_vectors
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        radial = self._radial_atom(lengths)
        weights = radial @ self._atom_graph_weights
        atoms = self._atom_embedding.index_select(0, graph.numbers - 1)
        bonds, long_radial = radial[:short] @ self._bond_embedding, radial[short:]
        center, neighbor = graph.center_rows, Rows(graph.directed_neighbor, len(atoms))
        with_angles = (graph.angle_counts() > 0).to(self.dtype).index_select(0, graph.bond_crystal)[:, None]
        bond_graph: _BondGraph | None = None
        angles = bonds[:0]
        if graph.n_angles:
            bond_graph = _BondGraph.of(graph, self._radial_bond(lengths[:short]) @ self._bond_graph_weights)
            angles = self._angle_basis(graph, vectors[:short] / lengths[:short, None]) @ self._angle_embedding

        for index, layer in enumerate(self._atom_layers):
            to_center, to_bond, to_neighbor = layer.unit.maps
            long_map, long_bias = self._long_bonds[index]
            long = long_radial @ long_map
            if long_bias is not None:
                long = long + with_angles[short:] * long_bias
            hidden = center.gather(atoms @ to_center + layer.unit.bias)
            hidden += neighbor.gather(atoms @ to_neighbor)
            hidden = hidden.view(2, graph.n_bonds, hidden.shape[1]) + torch.cat([bonds @ to_bond, long])
            sums = center.sum(layer.unit(hidden, weights).flatten(0, 1))
            atoms = atoms + layer.out(sums)
            if index == len(self._bond_layers) - 1:
                magmoms = self._site_wise(atoms).abs()[:, 0]
            if bond_graph is None or index == len(self._bond_layers):
                continue
            layer = self._bond_layers[index]
            hidden = bond_graph.hidden(layer.unit, atoms, bonds, angles).flatten(0, 1)
            sums = bond_graph.first_bond.sum(layer.unit(hidden, bond_graph.weights))
            # chgnet skips the bond layers, with their biases, where a crystal has no angles.
            bonds = bonds + layer.out(sums) * with_angles[:short]
            if index < len(self._angle_layers):
                layer = self._angle_layers[index]
                angles = angles + layer.unit(bond_graph.hidden(layer.unit, atoms, bonds, angles))

        return graph.crystal_rows.sum(self._readout(atoms)[:, 0].double()), magmoms

    def _angle_basis(self, graph: ChgnetGraph, directions: Tensor) -> Tensor:
        """Fourier basis of the angles of the first half, (1, A / 2, 2 K + 1); the second half has the same angles."""
        edges = graph.angle_edges[: graph.n_angles // 2].unbind(1)
        directions = torch.cat([directions, -directions])
        first, second = (Rows(edge, len(directions)).gather(directions) for edge in edges)
        cosine = (first * second).sum(1)
        # The factor is chgnet's guard near 180 degrees, where rounding of a float32 cosine would amount to 4e-5 rad.
        phase = torch.acos(cosine * (1 - 1e-6)).to(self.dtype)[:, None] * self._angle_frequencies
        constant = torch.full_like(phase[:, :1], 1 / math.sqrt(2))
        return torch.cat([constant, torch.sin(phase), torch.cos(phase)], 1)[None] / math.sqrt(math.pi)


class _RadialBasis:
    """Bessel functions times a polynomial envelope (chgnet's `RadialBessel`).

    In float64 up to the result: arguments of the sine reach 100, and rounding them in float32 is CHGNet's main rounding
    error.
    """

    def __init__(self, basis: Any, dtype: torch.dtype) -> None:
        self.dtype, self.frequencies = dtype, basis.frequencies
        self.cutoff, self.norm = 1 / basis.inv_cutoff, basis.norm_const
        envelope = basis.smooth_cutoff
        self.power, self.coefficients = envelope.p, (envelope.a, envelope.b, envelope.c)

    def __call__(self, lengths: Tensor) -> Tensor:
        x = lengths / self.cutoff
        a, b, c = self.coefficients
        envelope = 1 + x.pow(self.power) * (a + x * (b + c * x))
        envelope = torch.where(x < 1, envelope, torch.zeros_like(x))
        basis = torch.sin(x[:, None] * self.frequencies) * (self.norm * envelope / lengths)[:, None]
        return basis.to(self.dtype)


class _Layer:
    """A gated MLP and the linear map applied to its summed messages."""

    def __init__(self, unit: nn.Module, mlp_out: nn.Module | None, columns: Sequence[int], dtype: torch.dtype) -> None:
        self.unit = BlockGatedMLP(unit, columns, dtype)
        self.out = nn.Identity() if mlp_out is None else copy.deepcopy(linear_layers(mlp_out)[0]).to(dtype)


@dataclass(frozen=True)
class _BondGraph:
    """Rows along the angles; edges are directed bonds, of which both directions of bond `s` carry one feature.

    Attributes:
        vertex: atom that each of the 2S directed edges leaves.
        first_edge, first_bond, second_bond: rows of the two edges of each angle, A elements.
        weights: product of the weights of both bonds, (A, d).
    """

    vertex: Rows
    first_edge: Rows
    first_bond: Rows
    second_bond: Rows
    weights: Tensor

    @classmethod
    def of(cls, graph: ChgnetGraph, bond_weights: Tensor) -> _BondGraph:
        short, (first, second) = graph.n_short, graph.angle_edges.unbind(1)
        first_bond, second_bond = Rows(first % short, short), Rows(second % short, short)
        weights = first_bond.gather(bond_weights) * second_bond.gather(bond_weights)
        vertex = Rows(graph.short_ends, len(graph.numbers))
        return cls(vertex, Rows(first, 2 * short), first_bond, second_bond, weights)

    def hidden(self, unit: BlockGatedMLP, atoms: Tensor, bonds: Tensor, angles: Tensor) -> Tensor:
        """Output of the first linear map of a gated MLP, (2, A / 2, 2 d), with `angles` (1 or 2, A / 2, d)."""
        to_first, to_second, to_angle, to_atom = unit.maps
        edges = self.vertex.gather(atoms @ to_atom + unit.bias).view(2, len(bonds), -1) + bonds @ to_first
        rows = self.first_edge.gather(edges.view(2 * len(bonds), -1))
        rows += self.second_bond.gather(bonds @ to_second)
        return rows.view(2, angles.shape[1], -1) + angles @ to_angle


def _long_bond_maps(model: Any, dtype: torch.dtype) -> list[tuple[Tensor, Tensor | None]]:
    """For each atom layer: the map from the radial basis of a bond outside the bond graph to its share of the hidden
    layer, and what the biases of the bond layers before it have added."""
    result: list[tuple[Tensor, Tensor | None]] = []
    bias: Tensor | None = None
    for index, layer in enumerate(model.atom_conv_layers):
        first = torch.cat(
            [linear_layers(mlp)[0].weight for mlp in (layer.twoBody_atom.mlp_core, layer.twoBody_atom.mlp_gate)]
        )
        to_bond = first[:, model.atom_fea_dim : model.atom_fea_dim + model.bond_fea_dim].T
        folded = model.bond_embedding.weight.T @ to_bond
        result.append((folded.to(dtype), None if bias is None else (bias @ to_bond).to(dtype)))
        if index < len(model.bond_conv_layers):
            own: Tensor | None = linear_layers(model.bond_conv_layers[index].mlp_out)[0].bias
            if own is not None:
                bias = own if bias is None else bias + own
    return result


def _require_known_architecture(model: Any) -> None:
    """Refuse a CHGNet built with options that no published weights use."""
    from chgnet.model.composition_model import AtomRef

    arguments = model.model_args
    units = [layer.twoBody_atom for layer in model.atom_conv_layers]
    units += [getattr(layer, "twoBody_bond", None) for layer in (*model.bond_conv_layers, *model.angle_layers)]
    expansion = model.bond_basis_expansion
    known = (
        model.mlp_first
        and model.n_conv > 1
        and (model.composition_model is None or isinstance(model.composition_model, AtomRef))
        and arguments.get("non_linearity", "silu") == "silu"
        and arguments.get("conv_norm") is None
        and arguments.get("final_mlp", "MLP") in ("normal", "MLP")
        and all(unit is not None and unit.norm in (None, "layer") for unit in units)
        and all(len(linear_layers(mlp)) <= 2 for unit in units for mlp in (unit.mlp_core, unit.mlp_gate))
        and all(basis.smooth_cutoff is not None for basis in (expansion.rbf_expansion_ag, expansion.rbf_expansion_bg))
        and expansion.rbf_expansion_ag.smooth_cutoff.p > 0
    )
    if not known:
        raise InputError("this CHGNet has a different architecture; use one trained with chgnet's default options")
