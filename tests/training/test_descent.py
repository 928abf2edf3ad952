"""Optimizer steps: equal to the plain ones on a CPU, wholly skipped where gradients are not finite, also when fused."""

import copy

import pytest
import torch

from inpaint_hpc.errors import InputError
from inpaint_hpc.training.config import OptimizerSection
from inpaint_hpc.training.descent import Descent

SETTINGS = OptimizerSection(weight_decay=0.01, ema_decay=0.9)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(5, 7), torch.nn.Linear(7, 3)
        self.register_buffer("scale", torch.ones(3))

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))) * self.scale


def gradients(network, k, bad=False):
    network.zero_grad()
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(k))
    (network(x) ** 2).mean().backward()
    if bad:
        network.first.weight.grad[0, 0] = float("inf")


def everything(descent):
    moments = [v for one in descent.state_dict()["state"].values() for v in one.values()]
    return [x.clone() for x in (*descent.parameters, *moments, *descent.average.values())]


def equal(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def plain_steps(network, bad):
    """Steps as they were taken before, looking at the norm and going through the state in Python: the oracle."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=SETTINGS.learning_rate, betas=(0.9, 0.98), weight_decay=SETTINGS.weight_decay
    )
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    for step in range(20):
        gradients(network, step, step in bad)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (step + 1)
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(network.parameters(), SETTINGS.clip_norm)):
            optimizer.step()
            decay = min(SETTINGS.ema_decay, (1 + step) / (10 + step))
            with torch.no_grad():
                for name, value in network.state_dict().items():
                    average[name].lerp_(value, 1 - decay)
    return [*network.parameters(), *average.values()]


def steps(descent, network, bad):
    for step in range(20):
        gradients(network, step, step in bad)
        descent.step(0.01 * (step + 1), step)
    return [*network.parameters(), *descent.average.values()]


@pytest.mark.parametrize("fused", [False, True])
def test_twenty_steps_equal_the_plain_ones(fused):
    expected = plain_steps(Network(), {3, 4, 11})
    network = Network()
    found = steps(Descent(network, SETTINGS, fused), network, {3, 4, 11})
    if fused:
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    else:
        assert equal(found, expected)


@pytest.mark.parametrize("fused", [False, True])
def test_a_bad_step_changes_nothing_and_too_many_in_a_row_end_the_run(fused):
    network = Network()
    descent = Descent(network, SETTINGS, fused)
    steps(descent, network, {5})
    before = everything(descent)
    for k in range(20):
        gradients(network, k, bad=True)
        descent.step(0.01, 20 + k)
    assert equal(everything(descent), before)
    descent.check()
    gradients(network, 0, bad=True)
    descent.step(0.01, 40)
    with pytest.raises(InputError, match="diverged"):
        descent.check()
    gradients(network, 0)
    descent.step(0.01, 41)
    descent.check()
    assert not equal(everything(descent), before)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("here", [False, True])
def test_a_state_from_one_kind_of_device_goes_on_on_another(there, here):
    network = Network()
    other = Descent(network, SETTINGS, there)
    steps(other, network, set())
    moved = Descent(Network(), SETTINGS, here)
    moved.load(copy.deepcopy(other.state_dict()), other.average)
    assert equal(everything(moved)[len(moved.parameters) :], everything(other)[len(moved.parameters) :])
    assert all(bool(group["fused"]) == here for group in moved.optimizer.param_groups)


def test_rounded_moments_come_back_as_float32():
    network = Network()
    descent = Descent(network, SETTINGS, False)
    steps(descent, network, set())
    state = descent.state_dict(torch.bfloat16)
    assert state["state"][0]["exp_avg"].dtype == torch.bfloat16 and state["state"][0]["step"].dtype == torch.float32
    again = Descent(Network(), SETTINGS, False)
    again.load(copy.deepcopy(state), descent.average)
    for mine, exact in zip(again.optimizer.state.values(), descent.optimizer.state.values(), strict=True):
        assert mine["exp_avg_sq"].dtype == torch.float32
        torch.testing.assert_close(mine["exp_avg_sq"], exact["exp_avg_sq"], rtol=0.01, atol=0)


@pytest.mark.gpu
def test_a_step_on_a_card_waits_for_nothing():
    expected = plain_steps(Network(), {3, 4, 11})
    network = Network().cuda()
    descent = Descent(network, SETTINGS, fused=True)
    for step in range(20):
        network.zero_grad()
        x = torch.randn(16, 5, generator=torch.Generator().manual_seed(step)).cuda()
        (network(x) ** 2).mean().backward()
        if step in {3, 4, 11}:
            network.first.weight.grad[0, 0] = float("inf")
        torch.cuda.set_sync_debug_mode("error")
        try:
            descent.step(0.01 * (step + 1), step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = [x.cpu() for x in (*network.parameters(), *descent.average.values())]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
