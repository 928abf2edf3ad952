"""Loss and gradients of a batch in tensors with padding, as a CUDA graph reads them, against the plain ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
from inpaint_hpc.training.batches import BatchSettings, draw_batch, noised
from inpaint_hpc.training.cuda_graph import (
    GraphedLoss,
    enough_for,
    fill,
    inputs_of,
    loss_of,
    padding,
    sizes_of,
)
from inpaint_hpc.training.masks import MaskMixture
from inpaint_hpc.training.validation import sample_loss

pytest.importorskip("triton")
SMOKE = Path(__file__).parent.parent / "data" / "smoke.h5"


def network_on(device):
    torch.manual_seed(0)
    sizes = {"scalars": 12, "channels": 8, "tensor_channels": 4, "hidden": 10, "host_layers": 2, "guest_layers": 2}
    network = ScoreNetwork(NetworkConfig(**sizes, host_cutoff=3.0, guest_cutoff=3.5, n_basis=5)).to(device)
    torch.nn.init.normal_(network.readout.second.weight)
    return network


def drawn_batches(n, size=3):
    data = PackedDataset(SMOKE, max_atoms=8)
    settings = BatchSettings(batch_size=size, draws=2, guest_budget=4)
    rows = np.arange(n * size).reshape(n, size)
    return [draw_batch(data, row, settings, MaskMixture(), [1, k]) for k, row in enumerate(rows)]


def gradients(network, loss):
    for parameter in network.parameters():
        parameter.grad = None
    loss.backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def require_equal(found, expected, atol=2e-5):
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, atol=atol * scale + 1e-7, rtol=1e-4, msg=name)


def test_padding_changes_nothing(device):
    network = network_on(device)
    batches = [noised(drawn, device) for drawn in drawn_batches(2, size=2)]
    inputs = [inputs_of(network, batch) for batch in batches]
    sizes = enough_for(sizes_of(one) for one in inputs)
    pad = padding(sizes, batches[0].target.device)
    target = {name: values.clone() for name, values in pad.items()}
    for batch, one in zip(batches, inputs, strict=True):
        fill(target, one, pad)
        expected_loss = sample_loss(network, batch).mean()
        expected = gradients(network, expected_loss)
        loss = loss_of(network, target)
        torch.testing.assert_close(loss, expected_loss, atol=1e-5, rtol=1e-5)
        require_equal(gradients(network, loss), expected)


@pytest.mark.gpu
def test_a_graph_gives_the_loss_and_gradients_of_the_plain_step_also_where_a_batch_does_not_fit():
    network = network_on("cuda")
    batches = drawn_batches(8)
    graphed = GraphedLoss(network, enough_for(sizes_of(inputs_of(network, noised(d, "cuda"))) for d in batches[:3]))
    graphed.sizes["guests"] = max(len(d.guests.numbers) for d in batches[:3])
    for drawn in batches:
        found = float(graphed(drawn))
        by_graph = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        kept = [p.grad for p in network.parameters()]
        expected_loss = sample_loss(network, noised(drawn, "cuda")).mean()
        require_equal(by_graph, gradients(network, expected_loss))
        assert found == pytest.approx(float(expected_loss), rel=1e-4)
        for parameter, grad in zip(network.parameters(), kept, strict=True):
            parameter.grad = grad
