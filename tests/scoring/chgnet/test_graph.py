"""Graphs of a batch against those of chgnet's converter."""

import numpy as np
import torch
from real_crystals import DIMERS, ROCK_SALT, SODIUM, native, smoke

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.scoring.chgnet.batch import crystals_batch
from inpaint_hpc.scoring.chgnet.graph import build_graph
from inpaint_hpc.scoring.chgnet.models import load_chgnet_model


def unwrapped(crystals, seed=0):
    """The same crystals with atoms in other cells."""
    rng = np.random.default_rng(seed)
    return [Crystal(c.numbers, c.frac_coords + rng.integers(-2, 3, (len(c), 3)), c.lattice) for c in crystals]


CRYSTALS = [*smoke()[::20], SODIUM, DIMERS, ROCK_SALT]
CRYSTALS = [*CRYSTALS, *unwrapped(CRYSTALS)]


def sorted_rows(*columns):
    table = np.round(np.column_stack(columns), 4) + 0.0
    return table[np.lexsort(table.T)]


def converted(crystal):
    """chgnet's graph as tables: directed edges (center, neighbour, vector), angles (atom, vector, vector)."""
    structure = crystal.to_structure()
    graph = load_chgnet_model().graph_converter(structure)
    atom_graph = graph.atom_graph.numpy().reshape(-1, 2)
    center, neighbor = atom_graph.T
    positions = structure.frac_coords @ structure.lattice.matrix
    vectors = positions[center] - positions[neighbor] - graph.neighbor_image.double().numpy() @ structure.lattice.matrix
    edges = sorted_rows(center, neighbor, vectors)
    bond_graph = graph.bond_graph.numpy().reshape(-1, 5)
    angles = sorted_rows(bond_graph[:, 0], vectors[bond_graph[:, 2]], vectors[bond_graph[:, 4]])
    return edges, angles, len(graph.undirected2directed)


def test_edges_and_angles_are_those_of_chgnet():
    graph = build_graph(crystals_batch(CRYSTALS))
    first = np.cumsum([0] + [len(c) for c in CRYSTALS])
    center, neighbor = graph.directed_center.numpy(), graph.directed_neighbor.numpy()
    vectors = torch.cat([graph.bond_vectors, -graph.bond_vectors]).numpy()
    short = torch.cat([graph.bond_vectors[: graph.n_short], -graph.bond_vectors[: graph.n_short]]).numpy()
    one, two = graph.angle_edges.numpy().T
    vertex = graph.angle_atoms.numpy()
    for k, crystal in enumerate(CRYSTALS):
        edges, angles, n_bonds = converted(crystal)
        mine = (center >= first[k]) & (center < first[k + 1])
        np.testing.assert_allclose(
            sorted_rows(center[mine] - first[k], neighbor[mine] - first[k], vectors[mine]), edges, atol=2e-4
        )
        assert int((graph.bond_crystal == k).sum()) == n_bonds
        mine = (vertex >= first[k]) & (vertex < first[k + 1])
        np.testing.assert_allclose(
            sorted_rows(vertex[mine] - first[k], short[one[mine]], short[two[mine]]), angles, atol=2e-4
        )
    assert graph.n_angles > 5000


def test_bonds_of_the_bond_graph_come_first_and_angles_mirror_each_other():
    graph = build_graph(crystals_batch(CRYSTALS))
    lengths = graph.bond_vectors.norm(dim=1)
    assert (lengths[: graph.n_short] < 3.0).all() and (lengths[graph.n_short :] >= 3.0).all()
    half = graph.n_angles // 2
    assert torch.equal(graph.angle_edges[half:], graph.angle_edges[:half].flip(1))
    ends = torch.cat([graph.center[: graph.n_short], graph.neighbor[: graph.n_short]])
    assert torch.equal(ends[graph.angle_edges[:, 0]], graph.angle_atoms)
    assert torch.equal(ends[graph.angle_edges[:, 1]], graph.angle_atoms)


def test_what_is_known_of_each_crystal():
    lonely = Crystal([3], [[0, 0, 0]], np.eye(3) * 20.0)
    stacked = Crystal([3, 8, 8], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], np.eye(3) * 4.0)
    graph = build_graph(crystals_batch([SODIUM, lonely, ROCK_SALT, stacked, DIMERS]))
    assert graph.angle_counts().tolist()[:2] == [0, 0] and graph.angle_counts()[4] == 0
    mine = graph.crystal[graph.angle_atoms]
    assert graph.angle_counts().tolist() == torch.bincount(mine, minlength=5).tolist()
    edges = torch.bincount(graph.crystal[graph.directed_center], minlength=5)
    assert torch.equal(graph.rows(), edges + graph.angle_counts())
    expected = [4.2 * 3**0.5 / 2, np.inf, 2.15, 0.0, 1.2]
    np.testing.assert_allclose(graph.shortest_bonds().numpy(), expected, atol=1e-12)
    assert (graph.neighbor_counts() == 0).tolist() == [False, False, True, *[False] * 7]


def test_no_bonds_at_all():
    graph = build_graph(crystals_batch([Crystal([3], [[0, 0, 0]], np.eye(3) * 20.0)]))
    assert (graph.n_bonds, graph.n_short, graph.n_angles) == (0, 0, 0)


def test_the_oracle_reads_the_same_crystals():
    """chgnet's answer must not depend on the cell that an atom is written in, or the tests above compare too little."""
    crystal = CRYSTALS[0]
    assert abs(native(crystal)["e"] - native(unwrapped([crystal])[0])["e"]) < 1e-5
