"""Places for Ray actors: what each actor gets, and what it has to do."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from inpaint_hpc.campaign.work_units import WorkUnit


@dataclass(frozen=True)
class ActorSettings:
    """What each actor gets.

    Attributes:
        device: 'cpu', or 'cuda' for one GPU (or `gpus` of one).
        threads: torch threads; on CPUs also the cores it occupies.
        gpus: below 1, several actors share a GPU.
        units_at_once: units that it runs at once, each in a thread.
    """

    device: str = "cpu"
    threads: int = 1
    gpus: float = 1.0
    units_at_once: int = 1

    @property
    def resources(self) -> dict[str, float]:
        """What Ray is to reserve."""
        if self.device == "cpu":
            return {"num_cpus": self.threads, "num_gpus": 0}
        return {"num_cpus": 0, "num_gpus": self.gpus}

    @property
    def per_gpu(self) -> int:
        """Actors on a GPU."""
        return max(1, round(1.0 / self.gpus)) if self.gpus else 1


@dataclass
class Slot:
    """A place for an actor.

    Attributes:
        number: of the place.
        actor: in it now.
        hello: its first answer; None until it is up.
        calls: its outstanding calls, with their units; None for the call of hello.
        alone: units that run one at a time, the first of them now if it has a call: one of them ends workers.
    """

    number: int
    actor: Any = None
    hello: dict[str, Any] | None = None
    calls: dict[Any, WorkUnit | None] = field(default_factory=dict)
    alone: deque[WorkUnit] = field(default_factory=deque)

    @property
    def name(self) -> str:
        """Of its worker."""
        return self.hello["name"] if self.hello else f"worker-{self.number}"

    @property
    def running(self) -> list[WorkUnit]:
        """Units with an outstanding call."""
        return [unit for unit in self.calls.values() if unit is not None]

    def take_all(self) -> list[WorkUnit]:
        """Every unit of this place, which has none from now on."""
        units = list(dict.fromkeys([*self.running, *self.alone]))
        self.calls.clear()
        self.alone.clear()
        return units
