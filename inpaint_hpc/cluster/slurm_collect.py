"""Jobs that were queued by version 0.1.0 before November 2026 name this class; goes with the next release."""

from .slurm.collect_job import CollectJob  # noqa: F401
