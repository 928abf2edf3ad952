"""What runs in the process of each Ray worker."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from inpaint_hpc.campaign.work_units import WorkUnit
from inpaint_hpc.errors import InputError, StorageError
from inpaint_hpc.gpus import SHARED_VARIABLE, show_worker_its_gpu


class UnitActor:
    """Runs in the actor's process.  Errors are returned as text, because not every exception can be pickled."""

    def __init__(
        self,
        factory: Callable[..., Any],
        run_path: str,
        device: str,
        threads: int | None,
        slot: str,
        sharing: float = 1.0,
    ) -> None:
        """Make the worker, a batch of which may take one part in `sharing` of its GPU; an error is kept for `hello`."""
        self._name = f"{socket.gethostname().split('.')[0]}-{slot}"
        self._worker: Any = None
        self._error: tuple[str, str] | None = None
        _show_own_gpu(device)
        os.environ[SHARED_VARIABLE] = str(sharing)
        try:
            self._worker = factory(run_path, device, threads, self._name)
        except Exception as error:
            self._error = _described(error)

    def hello(self) -> dict[str, Any]:
        """Called once, after the networks are loaded."""
        said = {"error": self._error, "note": getattr(self._worker, "note", "")}
        return {"pid": os.getpid(), "name": self._name, "host": socket.gethostname(), **said}

    def run_unit(self, unit: WorkUnit) -> tuple[Any, tuple[str, str] | None]:
        """(report, None), or (None, (kind of error, message))."""
        try:
            return self._worker.run_unit(unit), None
        except Exception as error:
            return None, _described(error)

    def close(self) -> None:
        """Close the worker, whose last heartbeat records that it ended."""
        if hasattr(self._worker, "close"):
            self._worker.close()


def _show_own_gpu(device: str) -> None:
    """Let torch see the GPU that Ray assigned to this process, whatever cards Ray believes to see."""
    if device == "cpu":
        return
    import ray

    show_worker_its_gpu(ray.get_runtime_context().get_accelerator_ids().get("GPU", []))


def _described(error: Exception) -> tuple[str, str]:
    for kind in (StorageError, InputError):
        if isinstance(error, kind):
            return kind.__name__, str(error)
    return "", f"{type(error).__name__}: {error}"
