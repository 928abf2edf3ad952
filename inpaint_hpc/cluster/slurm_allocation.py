"""Old place of `inpaint_hpc.cluster.slurm.allocation`, which jobs name that were submitted before it moved."""

from inpaint_hpc.cluster.slurm.allocation import Allocation  # noqa: F401
