"""Campaigns on disk: configuration, run directory, task tables, the worker and its records, status."""
