"""Campaigns in allocations of SLURM: submission, what runs on each node, states of jobs."""
