"""Campaigns on disk: configuration, run directory, tables of tasks, the worker, what it records, status."""
