"""GPU kernels in Triton; each has a torch counterpart, against which it is tested."""
