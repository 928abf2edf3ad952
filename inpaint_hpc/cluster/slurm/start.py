"""What the script of a job runs on each node: `python -m inpaint_hpc.cluster.slurm.start FOLDER DIGEST...`

A pickle can run anything, so it is loaded only if it is what was submitted: from folders that only this user can write
to, with a sha256 that stands in the script, which SLURM has kept since the submission.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

from inpaint_hpc.errors import InpaintHpcError, InputError
from inpaint_hpc.files import private_folder

# submitit names the pickle only when sbatch has answered, when the job may already run (s).
_PATIENCE = 60.0


def file_digest(path: Path) -> str:
    """sha256 of a file in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_submitted(pickle: Path, digests: list[str], slurm_folder: Path) -> None:
    """Refuse a pickle that is not what was submitted.

    Args:
        pickle: the file.
        digests: allowed sha256.
        slurm_folder: the folder of the run for SLURM, above the file.

    Raises:
        InputError: others could have written it, or it has changed since.
    """
    private_folder(slurm_folder)
    private_folder(pickle.parent)
    for _ in range(int(_PATIENCE)):
        if pickle.exists():
            break
        time.sleep(1.0)
    if not pickle.exists() or file_digest(pickle) not in digests:
        raise InputError(f"{pickle}: is not what was submitted, so it is not run; submit again")


def main(folder: str, digests: list[str]) -> None:
    """Run a job.

    Args:
        folder: where its pickle is, as submitit writes it: with %j or %A for the job.
        digests: allowed sha256 of the pickle.
    """
    from submitit.core.job_environment import JobEnvironment
    from submitit.core.submission import process_job

    from . import job_step

    os.environ["SUBMITIT_FOLDER"] = folder
    try:
        require_submitted(JobEnvironment().paths.submitted_pickle, digests, Path(folder).parent)
    except (InpaintHpcError, OSError) as error:
        sys.exit(f"Error: {error}")
    job_step.checked = True
    process_job(folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
