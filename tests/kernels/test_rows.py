"""Rows taken and summed, against torch's own operations, which are used without kernels."""

import subprocess
import sys

import pytest
import torch

from inpaint_hpc.kernels.available import use_kernels
from inpaint_hpc.kernels.rows import Rows, sum_segments

SHAPES = [(), (1,), (3,), (70,), (130,), (3, 3), (2, 1, 5)]
CLOSE = {torch.float32: {"atol": 1e-5, "rtol": 1e-5}, torch.float64: {"atol": 1e-13, "rtol": 1e-13}}


def indices(n, elements, seed=0):
    """An index with rows that never occur and one that occurs most often, and the same sorted."""
    torch.manual_seed(seed)
    index = torch.randint(0, n, (elements,))
    index[torch.rand(elements) < 0.5] = n // 2
    return index, index.sort().values


def on(device, index, n, sorted_one):
    lengths = torch.bincount(index, minlength=n).to(device) if sorted_one else None
    return Rows(index.to(device), n, lengths)


def with_gradients(rows, table, values):
    """Taken and summed rows, and their gradients for weights that differ from element to element."""
    table, values = table.clone().requires_grad_(), values.clone().requires_grad_()
    taken, sums = rows.gather(table), rows.sum(values)
    weight = torch.arange(taken.numel(), dtype=taken.dtype, device=taken.device).view(taken.shape).sin()
    weight_of_sums = torch.arange(sums.numel(), dtype=sums.dtype, device=sums.device).view(sums.shape).cos()
    return [taken, sums, *torch.autograd.grad((taken * weight).sum() + (sums * weight_of_sums).sum(), (table, values))]


@pytest.mark.parametrize("sorted_one", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_torch_with_gradients(device, shape, dtype, sorted_one, monkeypatch):
    n, elements = 13, 60
    index = indices(n, elements)[sorted_one]
    table, values = torch.randn(n, *shape, dtype=dtype), torch.randn(elements, *shape, dtype=dtype)
    with monkeypatch.context() as m:
        m.setenv("INPAINT_HPC_KERNELS", "0")
        expected = with_gradients(on("cpu", index, n, sorted_one), table, values)
        assert torch.equal(expected[0], table.index_select(0, index))
        torch.testing.assert_close(expected[1], torch.zeros_like(table).index_add(0, index, values), **CLOSE[dtype])
    found = with_gradients(on(device, index, n, sorted_one), table.to(device), values.to(device))
    assert use_kernels(found[0])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.cpu(), b, **CLOSE[dtype])


@pytest.mark.parametrize(("n", "elements"), [(0, 0), (4, 0), (1, 5)])
def test_few_rows_or_none(device, n, elements):
    for lengths in (None, torch.full((n,), elements, device=device) if elements else torch.zeros(n).long().to(device)):
        rows = Rows(torch.zeros(elements, dtype=torch.long, device=device), n, lengths)
        table = torch.randn(n, 3, device=device, requires_grad=True)
        values = torch.randn(elements, 3, device=device, requires_grad=True)
        taken, sums = rows.gather(table), rows.sum(values)
        assert taken.shape == (elements, 3) and sums.shape == (n, 3)
        torch.testing.assert_close(sums.sum(0), values.sum(0))
        (taken.sum() + 2 * sums.sum()).backward()
        torch.testing.assert_close(table.grad, torch.full_like(table, elements))
        torch.testing.assert_close(values.grad, torch.full_like(values, 2.0))
        assert Rows(rows.index, n).sum(torch.zeros(elements, 0, device=device)).shape == (n, 0)


def test_input_need_not_be_contiguous(device):
    index, _ = indices(7, 40)
    values = torch.randn(5, 40, device=device).T
    rows = on(device, index, 7, False)
    expected = torch.zeros(7, 5).index_add(0, index, values.cpu())
    torch.testing.assert_close(rows.sum(values).cpu(), expected)
    torch.testing.assert_close(rows.gather(values[:7]).cpu(), values[:7].cpu()[index])


def test_without_triton_too(device, monkeypatch):
    monkeypatch.setenv("INPAINT_HPC_KERNELS", "0")
    index, _ = indices(7, 40)
    values = torch.randn(40, 3, device=device)
    sums = sum_segments(values, *on(device, index, 7, False).segments())
    torch.testing.assert_close(sums.cpu(), torch.zeros(7, 3).index_add(0, index, values.cpu()))


@pytest.mark.gpu
def test_the_same_bits_twice():
    index, _ = indices(500, 100_000)
    table, values = torch.randn(500, 128, device="cuda"), torch.randn(100_000, 128, device="cuda")
    first, second = (with_gradients(on("cuda", index, 500, False), table, values) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    expected = torch.zeros(500, 128).double().index_add(0, index, values.cpu().double())
    torch.testing.assert_close(first[1].cpu().double(), expected, atol=1e-2, rtol=1e-5)


def test_triton_and_the_compiler_of_torch_are_not_imported_by_other_modules():
    modules = "inpaint_hpc.kernels.rows, inpaint_hpc.network.score_network, inpaint_hpc.scoring.chgnet.batch"
    code = f"import sys, {modules}; print(sys.modules.keys() & {{'triton', 'torch._dynamo'}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_cpu_tensors_take_torch_unless_interpreted(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not use_kernels(torch.zeros(1))
