"""The written-out tensor product against e3nn's general one; sums over edges; smooth radial functions."""

import math

import pytest
import torch
from e3nn import o3
from torch.nn.functional import silu

from inpaint_hpc.crystals.neighbors import Neighbors
from inpaint_hpc.network.embedding import periodic_table_position
from inpaint_hpc.network.layers import MLP, Message, Update, edge_features

CUTOFF = 5.0


def random_edges(n_edges=60, n_receivers=7, n_senders=9, seed=0):
    g = torch.Generator().manual_seed(seed)
    receiver = torch.randint(n_receivers - 1, (n_edges,), generator=g).sort().values  # the last one has no edge
    sender = torch.randint(n_senders, (n_edges,), generator=g)
    vector = torch.randn(n_edges, 3, generator=g, dtype=torch.float64) * 2
    lengths = torch.bincount(receiver, minlength=n_receivers)
    return edge_features(Neighbors(receiver, sender, vector, vector.long(), lengths, n_senders), CUTOFF, 6)


def product(left, right, out):
    """e3nn's channel-wise product of one path, without any normalisation: sum of Wigner coefficients alone."""
    return o3.TensorProduct(
        left, right, out, [(0, 0, 0, "uvu", False)], irrep_normalization="none", path_normalization="none"
    ).double()


@pytest.mark.parametrize("vectors", [True, False])
def test_messages_equal_e3nns_tensor_products(vectors):
    torch.manual_seed(0)
    C, Ct = 5, 3
    layer = Message(8, 6, C, Ct, 6, 10, vectors, 12.0).double()
    edges = random_edges()
    s_in, v_in = torch.randn(9, 8).double(), torch.randn(9, 3, C).double()
    receiver = torch.randn(7, 6).double()
    sent = layer.send(s_in, v_in)
    result = layer(sent, receiver, edges)

    hidden = layer.radial(edges.radial) + sent.hidden[edges.sender.index]
    hidden = hidden + layer.receiver_hidden(receiver)[edges.receiver.index]
    weights = layer.weights(silu(hidden) * MLP.GAIN) * edges.envelope / math.sqrt(12.0)
    s = sent.scalars[edges.sender.index]
    to_scalar, along = weights[:, :C] * s, weights[:, C : 2 * C] * s
    to_vector = 0
    if vectors:
        v = sent.vectors[edges.sender.index].transpose(1, 2).reshape(-1, 3 * C)  # e3nn's layout: channels first
        projected = product(f"{C}x1o", "1x1o", f"{C}x0e")(v, edges.unit)
        to_scalar = to_scalar + weights[:, 2 * C : 3 * C] * projected
        along = along + weights[:, 3 * C : 4 * C] * projected
        one = torch.ones(len(v), 1).double()
        kept = product(f"{C}x1o", "1x0e", f"{C}x1o")(v, one) * math.sqrt(3)
        to_vector = weights[:, 4 * C : 5 * C, None] * kept.view(-1, C, 3)
    to_vector = to_vector + product(f"{C}x0e", "1x1o", f"{C}x1o")(along, edges.unit).view(-1, C, 3) * math.sqrt(3)
    narrow = weights[:, -Ct:] * s[:, :Ct]
    to_tensor = product(f"{Ct}x0e", "1x2e", f"{Ct}x2e")(narrow, edges.quadrupole).view(-1, Ct, 5) * math.sqrt(5)

    expected_s = torch.zeros(7, C).double().index_add(0, edges.receiver.index, to_scalar)
    expected_v = torch.zeros(7, C, 3).double().index_add(0, edges.receiver.index, to_vector)
    expected_t = torch.zeros(7, Ct, 5).double().index_add(0, edges.receiver.index, to_tensor)
    torch.testing.assert_close(result[0], expected_s)
    torch.testing.assert_close(result[1], expected_v.transpose(1, 2))
    torch.testing.assert_close(result[2], expected_t.transpose(1, 2))


def test_tensors_turn_vectors_as_e3nn_says():
    torch.manual_seed(1)
    update = Update(4, 6, 3, 1, has_vectors=True).double()
    t, a = torch.randn(5, 5, 3).double(), torch.randn(5, 3, 3).double()
    turned = torch.einsum("mik,nmc,nkc->nic", update.wigner, t, a)
    tp = o3.TensorProduct(
        "3x2e", "3x1o", "3x1o", [(0, 0, 0, "uuu", False)], irrep_normalization="none", path_normalization="none"
    ).double()
    flat = tp(t.transpose(1, 2).reshape(5, -1), a.transpose(1, 2).reshape(5, -1))
    torch.testing.assert_close(turned.transpose(1, 2), flat.view(5, 3, 3) * math.sqrt(15))


def test_radial_functions_vanish_smoothly_at_the_cutoff_and_stay_finite_at_zero():
    r = torch.tensor([0.0, 1e-3, CUTOFF - 1e-3, CUTOFF, CUTOFF + 1], dtype=torch.float64)
    vector = torch.stack([r, torch.zeros_like(r), torch.zeros_like(r)], 1)
    index = torch.arange(5)
    edges = edge_features(Neighbors(index, index, vector, vector.long(), torch.ones(5).long(), 5), CUTOFF, 8)
    assert edges.radial.isfinite().all() and edges.unit.isfinite().all()
    assert edges.envelope[0] == 1 and edges.unit[0].abs().max() == 0
    assert edges.radial[2].abs().max() < 1e-7
    assert edges.radial[3:].abs().max() == 0


def test_places_in_the_periodic_table():
    place = periodic_table_position(94)
    known = {
        1: (1, 1),
        2: (1, 18),
        3: (2, 1),
        5: (2, 13),
        11: (3, 1),
        20: (4, 2),
        25: (4, 7),
        30: (4, 12),
        47: (5, 11),
        57: (6, 3),
        64: (6, 0),
        70: (6, 0),
        71: (6, 3),
        72: (6, 4),
        79: (6, 11),
        86: (6, 18),
        92: (7, 0),
    }
    assert {z: tuple(place[z].tolist()) for z in known} == known
