"""Where kernels cannot be compiled, torch's operations take their place, after one warning.  Needs no GPU."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton")
import triton

from inpaint_hpc.kernels import launch, problems, trial
from inpaint_hpc.kernels.available import kernel_problem, kernels_of, use_kernels
from inpaint_hpc.kernels.problems import reason_of

CARD = torch.device("cuda", 1)


class CudaTensor:
    """What `use_kernels` and `launch` ask of a tensor on a card."""

    is_cuda, device = True, CARD


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(problems, "KNOWN", {})
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.delenv("INPAINT_HPC_KERNELS", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def no_compiler(patch, folder: Path) -> str:
    patch.setenv("PATH", str(folder))
    patch.delenv("CC", raising=False)
    return "there is no C compiler; install gcc or name one in CC"


def no_headers(patch, folder: Path) -> str:
    patch.setenv("CC", script(folder / "gcc", "echo 'fatal error: Python.h: No such file or directory' >&2; exit 1"))
    return "gcc failed with exit status 1; it needs Python's headers"


def compiler_that_is_not_there(patch, folder: Path) -> str:
    patch.setenv("CC", str(folder / "icx"))
    return "icx"


def cache_in_a_file(patch, folder: Path) -> str:
    (folder / "home").write_text("")
    patch.setenv("TRITON_CACHE_DIR", str(folder / "home" / ".triton"))
    return "TRITON_CACHE_DIR names another folder"


def cache_on_a_full_disk(patch, folder: Path) -> str:
    (folder / "cache").symlink_to("/proc/self")  # nothing can be created there
    return "TRITON_CACHE_DIR names another folder"


KINDS = [no_compiler, no_headers, compiler_that_is_not_there, cache_in_a_file, cache_on_a_full_disk]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_compiler_is_really_tried(kind, monkeypatch, tmp_path, caplog):
    """Once per device, with one warning; `cuda:0` says so for itself."""
    said = kind(monkeypatch, tmp_path)
    assert not use_kernels(CudaTensor()) and not use_kernels(CudaTensor())
    assert len(caplog.records) == 1 and "cuda:1: no kernels" in caplog.text and said in caplog.text, caplog.text
    assert said in kernel_problem(CARD) and said in kernels_of(CARD)
    assert not use_kernels(SimpleNamespace(is_cuda=True, device=torch.device("cuda", 0)))
    assert len(caplog.records) == 2


def test_nothing_is_left_in_the_cache_and_nothing_is_taken_from_it(monkeypatch, tmp_path):
    trial.try_compiler()
    assert list((tmp_path / "cache").iterdir()) == []
    no_compiler(monkeypatch, tmp_path)
    with pytest.raises(RuntimeError, match="C compiler"):
        trial.try_compiler()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Failed to find C compiler. Please specify via CC environment variable"), "there is no C"),
        (subprocess.CalledProcessError(1, ["/usr/bin/gcc", "main.c"]), "gcc failed"),
        (PermissionError(13, "Permission denied", "/home/x/.triton"), "/home/x/.triton"),
        (OSError(28, "No space left on device"), "No space left on device; TRITON_CACHE_DIR"),
        (OSError(122, "Disk quota exceeded"), "Disk quota exceeded; TRITON_CACHE_DIR"),
        (triton.runtime.errors.PTXASError("Internal Triton PTX codegen error:\nsm_121"), "PTXASError: "),
        (ArithmeticError("a small kernel gives wrong numbers"), "wrong numbers"),
    ],
)
def test_a_kernel_that_does_not_start(error, said, monkeypatch, caplog):
    monkeypatch.setattr(trial, "try_kernel", lambda device: (_ for _ in ()).throw(error))
    assert not use_kernels(CudaTensor())
    assert said in kernel_problem(CARD) and len(caplog.records) == 1 and "\n" not in reason_of(error)


def test_a_card_that_triton_does_not_know(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    monkeypatch.setattr(trial, "try_compiler", lambda: pytest.fail("not to be tried"))
    assert not use_kernels(CudaTensor()) and "compute capability 6.1" in kernel_problem(CARD)


def test_no_memory_says_nothing_about_kernels(monkeypatch):
    tried = []

    def no_memory(device):
        tried.append(device)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(trial, "try_kernel", no_memory)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            use_kernels(CudaTensor())
    assert tried == [CARD, CARD]
    monkeypatch.setattr(trial, "try_kernel", lambda device: None)
    assert use_kernels(CudaTensor()) and kernels_of(CARD) == f"Triton {triton.__version__}"


def test_they_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("INPAINT_HPC_KERNELS", "0")
    monkeypatch.setattr(trial, "try_compiler", lambda: pytest.fail("not to be tried"))
    assert not use_kernels(CudaTensor()) and "INPAINT_HPC_KERNELS=0" in kernels_of(CARD)
    assert kernels_of(torch.device("cpu")) == "torch's operations (INPAINT_HPC_KERNELS=0)"


@pytest.mark.parametrize(
    ("error", "given_up"),
    [
        (OSError(28, "No space left on device"), True),
        (subprocess.CalledProcessError(1, ["gcc"]), True),
        (triton.runtime.errors.OutOfResources(200_000, 101_376, "shared memory"), True),
        (RuntimeError("Triton Error [CUDA]: out of memory"), False),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
    ],
)
def test_kernels_that_fail_later_are_given_up_for_the_next_attempt(error, given_up, monkeypatch, caplog):
    """As when the home folder fills up while a run needs a kernel for another size."""
    monkeypatch.setitem(problems.KNOWN, 1, "")
    monkeypatch.setattr(torch.cuda, "device_of", lambda tensor: torch.no_grad())

    class Kernel:
        def __getitem__(self, grid):
            raise error

    for _ in range(2):
        with pytest.raises(type(error)):
            launch.launch(Kernel(), (1,), CudaTensor())
    assert use_kernels(CudaTensor()) != given_up and len(caplog.records) == given_up


def test_every_kernel_is_launched_on_the_device_of_its_tensors(monkeypatch):
    """Triton takes the current device, so that nothing may launch kernels but `launch`, which changes it."""
    folder = Path(launch.__file__).parent
    direct = [
        p.name for p in folder.glob("*.py") if "](" in p.read_text().replace("tuple[", "") and p.name != "launch.py"
    ]
    events = []

    class Device:
        def __init__(self, tensor):
            self.device = tensor.device

        def __enter__(self):
            events.append(f"to {self.device}")

        def __exit__(self, *_):
            events.append("back")

    class Kernel:
        def __getitem__(self, grid):
            return lambda *arguments, **options: events.append((grid, arguments, options))

    monkeypatch.setattr(torch.cuda, "device_of", Device)
    launch.launch(Kernel(), (3,), CudaTensor(), "x", N=1)
    assert events == ["to cuda:1", ((3,), ("x",), {"N": 1}), "back"]
    assert direct == []


def test_the_trial_kernel_in_the_interpreter(interpreted, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    trial.try_kernel(torch.device("cpu"))
    monkeypatch.setattr(trial, "launch", lambda kernel, grid, like, x, out, **options: out.zero_())
    with pytest.raises(ArithmeticError, match="wrong numbers"):
        trial.try_kernel(torch.device("cpu"))


@pytest.mark.gpu
def test_the_trial_on_a_gpu(monkeypatch):
    monkeypatch.undo()
    for index in range(torch.cuda.device_count()):
        assert kernel_problem(torch.device("cuda", index)) == "" or os.environ.get("INPAINT_HPC_KERNELS") == "0"
