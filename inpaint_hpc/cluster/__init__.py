"""Ways to run the same worker, in this process, on Ray actors or on SLURM, and the driver that dispatches the work."""
