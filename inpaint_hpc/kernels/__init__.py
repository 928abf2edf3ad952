"""GPU kernels in Triton; each has a torch version beside it that is its oracle."""
