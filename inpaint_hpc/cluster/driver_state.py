"""Progress of a driver, as shown by progress displays and driver.json."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DriveState:
    """Progress of a driver.

    Attributes:
        tasks, tasks_done: of the campaign, or of the driver's part of it; done includes earlier drivers.
        units_done, samples, invalid, failed: by this driver.
        units_left: units (usually whole shards) in flight or pending.
        deaths: workers that died while running a unit.
        isolated: tasks recorded as failed because they killed every worker.
        in_flight: units being run by workers.
        elsewhere: units claimed by other drivers of this run.
        workers: workers, including those starting.
        seconds: time since the driver started.
        samples_per_second: since the first unit was dispatched.
        eta_seconds: remaining time, by estimated cost; None before the first unit is done.
        cores: processor cores in use by workers on this host.
        gpu_percent: mean use of this host's GPUs; None without any.
        last_error: one line, '' if there was none.
    """

    tasks: int = 0
    tasks_done: int = 0
    units_done: int = 0
    units_left: int = 0
    samples: int = 0
    invalid: int = 0
    failed: int = 0
    deaths: int = 0
    isolated: int = 0
    in_flight: int = 0
    elsewhere: int = 0
    workers: int = 0
    seconds: float = 0.0
    samples_per_second: float = 0.0
    eta_seconds: float | None = None
    cores: float = 0.0
    gpu_percent: float | None = None
    last_error: str = ""


@dataclass(frozen=True)
class DriveReport:
    """What a driver achieved.

    Attributes:
        state: its last state.
        stopped: why it ended before everything was done: 'SIGINT', 'SIGTERM', 'time', 'others' (other drivers have
            claimed the rest); '' if all is done.
        tasks_pending: tasks without a result.
    """

    state: DriveState
    stopped: str = ""
    tasks_pending: int = 0
