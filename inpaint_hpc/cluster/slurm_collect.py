"""Old place of `inpaint_hpc.cluster.slurm.collect_job`, which jobs name that were submitted before it moved."""

from inpaint_hpc.cluster.slurm.collect_job import CollectJob  # noqa: F401
