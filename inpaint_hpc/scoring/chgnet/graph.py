"""Atom graph and bond graph of CHGNet for a whole batch of crystals, built in torch on any device.

CHGNet (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) passes messages along two graphs.  In the atom graph the
nodes are atoms and the edges are bonds within 6 A (5 A in the weights 0.2.0), periodic images included.  In the bond
graph the nodes are bonds within 3 A and the edges are angles between two bonds that leave the same atom.  Both
directions of a bond share one feature vector: a bond is undirected, and has two directed edges.

chgnet's converter finds the two directions of each bond by searching lists in Python.  Here one direction is picked by
rule and the other is its mirror image, so nothing has to be searched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from inpaint_hpc.crystals.batch import Crystals
from inpaint_hpc.crystals.neighbors import crystal_neighbors, ragged_arange
from inpaint_hpc.kernels.rows import Rows


@dataclass(frozen=True)
class ChgnetGraph:
    """Graphs of a batch.  U undirected bonds, of which the first S are nodes of the bond graph, and A angles.

    The 2U directed edges of the atom graph are the bonds as stored, then all of them reversed: edge `e` belongs to
    bond `e mod U`.  Likewise the 2S directed edges that angles are made of.  Every angle occurs twice, in the second
    half of the list with its two edges swapped, because CHGNet's messages along it differ.

    Attributes:
        numbers: atomic numbers, int64 (N,).
        crystal: index of the crystal of each atom, int64 (N,), non-decreasing.
        n_crystals: number of crystals B, empty ones included.
        center, neighbor: atoms at the two ends of each bond as stored, int64 (U,).
        bond_vectors: center minus neighbour image in A, float64 (U, 3).
        n_short: S.
        angle_atoms: atom at the vertex of each angle, int64 (A,).
        angle_edges: the two directed edges that leave the vertex, each 0 to 2S - 1, int64 (A, 2).
    """

    numbers: torch.Tensor
    crystal: torch.Tensor
    n_crystals: int
    center: torch.Tensor
    neighbor: torch.Tensor
    bond_vectors: torch.Tensor
    n_short: int
    angle_atoms: torch.Tensor
    angle_edges: torch.Tensor

    @property
    def n_bonds(self) -> int:
        """Undirected bonds."""
        return self.center.shape[0]

    @property
    def n_angles(self) -> int:
        """Angles, each in both directions."""
        return self.angle_atoms.shape[0]

    @property
    def directed_center(self) -> torch.Tensor:
        """Center of each directed edge of the atom graph, int64 (2U,)."""
        return torch.cat([self.center, self.neighbor])

    @property
    def directed_neighbor(self) -> torch.Tensor:
        """Neighbour of each directed edge of the atom graph, int64 (2U,)."""
        return torch.cat([self.neighbor, self.center])

    @cached_property
    def center_rows(self) -> Rows:
        """`directed_center` as rows of the atoms."""
        return Rows(self.directed_center, len(self.numbers))

    @cached_property
    def crystal_rows(self) -> Rows:
        """`crystal` as rows of the crystals."""
        return Rows(self.crystal, self.n_crystals)

    @property
    def short_ends(self) -> torch.Tensor:
        """Atom that each directed edge of bonds in the bond graph leaves, int64 (2S,)."""
        return torch.cat([self.center[: self.n_short], self.neighbor[: self.n_short]])

    @property
    def bond_crystal(self) -> torch.Tensor:
        """Index of the crystal of each bond, int64 (U,)."""
        return self.crystal.index_select(0, self.center)

    def neighbor_counts(self) -> torch.Tensor:
        """Neighbours of each atom within the cutoff of the atom graph, int64 (N,)."""
        return torch.bincount(self.directed_center, minlength=len(self.numbers))

    def shortest_bonds(self) -> torch.Tensor:
        """Length of the shortest bond of each crystal in A, (B,); infinite where there is none."""
        lengths = self.bond_vectors.detach().norm(dim=1)
        shortest = torch.full((self.n_crystals,), torch.inf, dtype=lengths.dtype, device=lengths.device)
        return shortest.scatter_reduce(0, self.bond_crystal, lengths, "amin")

    def angle_counts(self) -> torch.Tensor:
        """Angles of each crystal, int64 (B,), whether they have been added or not."""
        near = torch.bincount(self.short_ends, minlength=len(self.numbers))
        counts = torch.zeros(self.n_crystals, dtype=torch.long, device=near.device)
        return counts.index_add_(0, self.crystal, near * (near - 1))

    def rows(self) -> torch.Tensor:
        """Directed edges and angles of each crystal, which determine time and memory, int64 (B,)."""
        return 2 * torch.bincount(self.bond_crystal, minlength=self.n_crystals) + self.angle_counts()

    @torch.no_grad()
    def with_angles(self) -> ChgnetGraph:
        """The same with its bond graph; for graphs made by `atom_graph`."""
        atoms, edges = _angles(self.short_ends, len(self.numbers))
        return replace(self, angle_atoms=atoms, angle_edges=edges)


def build_graph(crystals: Crystals, atom_cutoff: float = 6.0, bond_cutoff: float = 3.0) -> ChgnetGraph:
    """Both graphs of every crystal of a batch.

    Args:
        crystals: the batch, on any device.
        atom_cutoff: longest bond of the atom graph, A.
        bond_cutoff: longest bond that is a node of the bond graph, A.
    """
    return atom_graph(crystals, atom_cutoff, bond_cutoff).with_angles()


@torch.no_grad()
def atom_graph(crystals: Crystals, atom_cutoff: float = 6.0, bond_cutoff: float = 3.0) -> ChgnetGraph:
    """As `build_graph`, but without angles, whose number explodes when atoms overlap.

    Bonds whose two ends coincide are kept, with a length of zero.
    """
    edges = crystal_neighbors(crystals.to(dtype=torch.float64), atom_cutoff)
    half = torch.nonzero(_is_stored_direction(edges.receiver, edges.sender, edges.shift))[:, 0]
    short = edges.vector[half].norm(dim=1) < bond_cutoff
    order = torch.cat([half[short], half[~short]])
    n_short = int(short.sum())
    center, neighbor = edges.receiver[order], edges.sender[order]
    none = torch.zeros(0, dtype=torch.long, device=center.device)
    return ChgnetGraph(
        crystals.numbers,
        crystals.crystal,
        len(crystals),
        center,
        neighbor,
        -edges.vector[order],
        n_short,
        none,
        none.view(0, 2),
    )


def _is_stored_direction(receiver: torch.Tensor, sender: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Picks one of the two directions of every bond, also of the bonds of an atom with its own images."""
    a, b, c = shift.unbind(1)
    positive = (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))
    return (receiver < sender) | ((receiver == sender) & positive)


def _angles(vertex: torch.Tensor, n_atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of different directed edges that leave the same atom; `vertex` is the atom each edge leaves."""
    edges = torch.argsort(vertex, stable=True)
    vertex = vertex[edges]
    counts = torch.bincount(vertex, minlength=n_atoms)
    behind = torch.cumsum(counts, 0)[vertex] - torch.arange(1, len(edges) + 1, device=vertex.device)
    row, k = ragged_arange(behind)
    pairs = torch.stack([edges[row], edges[row + 1 + k]], 1)
    return torch.cat([vertex[row], vertex[row]]), torch.cat([pairs, pairs.flip(1)])
