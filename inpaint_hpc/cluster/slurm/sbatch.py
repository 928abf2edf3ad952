"""Calls sbatch through submitit: its options, the shell lines around the start, and a clean environment."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inpaint_hpc._version import PACKAGE_FOLDER
from inpaint_hpc.campaign.slurm_settings import SlurmSettings
from inpaint_hpc.cluster.executor import one_line
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import private_folder

from . import start
from .commands import accounts, nodes, partitions, slurm
from .start import file_digest
from .submissions import slurm_folder

# sbatch passes the submitter's environment to the job, where these variables would mislead it.
_LEAKS = ("RAY_", "SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SUBMITIT_", "INPAINT_HPC_RAY_", "CUDA_VISIBLE")
_KEPT = ("SLURM_CONF",)
# We handle timeouts ourselves: the driver stops in time, and attempts without progress are not repeated for ever.
_TIMEOUTS = 1_000_000
# Maximum automatic requeues after rank 0 is killed; the campaign itself may be what kills it.
_MAX_REQUEUES = 5


def sbatch(run_path: Path, settings: SlurmSettings, calls: Sequence[Callable[[], Any]], dependency: str = "") -> str:
    """Submit one job, or an array of several; returns SLURM's id.

    Args:
        run_path: the run directory.
        settings: what to request; `allocations` is ignored.
        calls: what each job runs on each of its nodes; pickled.
        dependency: as for sbatch; '' for none.

    Raises:
        InputError: no SLURM here, or SLURM refuses; the message lists the alternatives.  Or the folder for pickles
            belongs to somebody else.
    """
    slurm("sbatch", "--version")  # a clear message where there is no SLURM
    executor = _executor(run_path, settings, len(calls), dependency)
    private_folder(slurm_folder(run_path))
    said = io.StringIO()
    try:
        with _clean_environment(), contextlib.redirect_stderr(said):
            jobs = executor.submit_array(calls) if len(calls) > 1 else [executor.submit(calls[0])]
    except Exception as error:  # submitit raises several kinds, with what sbatch said in them or on stderr
        for path in slurm_folder(run_path).glob("*.pkl"):
            path.unlink(missing_ok=True)
        for path in slurm_folder(run_path).glob(".submission_file_*"):
            path.unlink(missing_ok=True)
        raise InputError(_refusal(f"{error} {said.getvalue()}", settings)) from error
    job = str(jobs[0].job_id).partition("_")[0]
    (slurm_folder(run_path) / job).chmod(0o700)
    for path in (slurm_folder(run_path) / job).iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)
    return job


def script(run_path: Path, settings: SlurmSettings, count: int, dependency: str = "") -> str:
    """What `sbatch` would submit; nothing is written, and no SLURM is needed.

    Raises:
        InputError: SLURM would not use a path literally.
    """
    executor = _executor(run_path, settings, count, dependency)
    if count > 1:
        executor.parameters["map_count"] = count
    return executor._make_submission_file_text(executor._submitit_command_str, "dry-run")


def _executor(run_path: Path, settings: SlurmSettings, count: int, dependency: str) -> Any:
    import submitit

    where = slurm_folder(run_path.resolve())
    if "%" in str(where) or "\\" in str(where) or not str(where).isprintable():
        raise InputError(
            f"{run_path}: '%', '\\' and line breaks in paths have a special meaning in SLURM; use another --out"
        )

    class Executor(submitit.SlurmExecutor):
        @classmethod
        def affinity(
            cls,
        ) -> int:  # without srun, submitit's own version would prevent planning a submission on a laptop
            return 1

        @property
        def _submitit_command_str(self) -> str:
            # Digests of the pickles, in the script that SLURM keeps: nobody else can change what will be loaded.
            # Elements of an array have the same pickle.
            digests = sorted({file_digest(path) for path in where.glob("*.pkl")})
            return " ".join([self.python, "-u -m", start.__name__, shlex.quote(str(self.folder)), *digests])

    # Elements of an array share a folder, which must exist before the first of them starts.
    executor = Executor(where / ("%A" if count > 1 else "%j"), max_num_timeout=_TIMEOUTS)
    additional: dict[str, Any] = {"requeue": True, "no-kill": True}
    for key, value in {"mem": settings.mem, "reservation": settings.reservation, **settings.extra}.items():
        if value is not None and value is not False:
            additional[key] = value
    step = ["--no-kill", "--kill-on-bad-exit=0", "--wait=0", "--open-mode=append"]
    if settings.cpus_per_task is not None:
        step.append(f"--cpus-per-task={settings.cpus_per_task}")  # not inherited from sbatch since SLURM 22.05
    executor.update_parameters(
        job_name=f"inpaint-{run_path.resolve().name}"[:64],
        nodes=settings.nodes,
        ntasks_per_node=1,
        time=settings.time,
        partition=settings.partition,
        account=settings.account,
        qos=settings.qos,
        constraint=settings.constraint,
        gpus_per_node=settings.gpus_per_node,
        gres=settings.gres,
        cpus_per_task=settings.cpus_per_task,
        exclusive=settings.exclusive or None,
        dependency=dependency or None,
        array_parallelism=settings.array_parallelism or count,
        signal_delay_s=settings.warning_seconds,
        setup=[f"export PYTHONPATH={_python_path()}", *settings.setup, _python_is_there()],
        teardown=_teardown(where),
        stderr_to_stdout=True,
        wckey=None,
        srun_args=step,
        additional_parameters=additional,
    )
    return executor


def _teardown(where: Path) -> list[str]:
    """Shell lines after the step: requeue the job if rank 0 was killed before it could record how it ended."""
    return [
        "status=$?",
        "job=$SLURM_JOB_ID",
        # Only this element of an array: the id of one element is also that of the whole array.
        '[ -z "$SLURM_ARRAY_JOB_ID" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID',
        f"cd {shlex.quote(str(where))}/${{job/_//}} && restarts=${{SLURM_RESTART_COUNT:-0}}",
        f"if [ -e node-$restarts-0.json ] && [ ! -e ended-$restarts.json ] && [ $restarts -lt {_MAX_REQUEUES} ]; then",
        "  echo 'rank 0 was killed, the job is requeued'",
        "  scontrol requeue $job && sleep 120",
        "fi",
        # Nodes lost along the way do not turn a job that rank 0 finished into a failure.
        """! grep -qsE '"reason": "(done|the rest)' ended-$restarts.json || status=0""",
        "exit $status",
    ]


def _python_is_there() -> str:
    said = f"{sys.executable} is not on this node; install inpaint_hpc where all nodes can see it, and submit again"
    return f"[ -x {shlex.quote(sys.executable)} ] || {{ echo {shlex.quote(said)}; exit 1; }}"


def _python_path() -> str:
    """This package first, then the path of the job's environment."""
    parent = shlex.quote(str(PACKAGE_FOLDER.parent))
    return f"{parent}${{PYTHONPATH:+:$PYTHONPATH}}"


def _refusal(said: str, settings: SlurmSettings) -> str:
    """The error message of sbatch, and the alternatives."""
    # The message of sbatch appears twice: in submitit's error and on stderr.
    lines = dict.fromkeys(line.strip() for line in said.replace("sbatch: error: ", "\n").splitlines())
    text = one_line(", ".join(filter(None, lines)))
    lower = text.lower()
    if "partition" in lower and (known := partitions()):
        text += f"; partitions here are {', '.join(known)}"
    if "account" in lower or "association" in lower:
        known = accounts()
        text += f"; your accounts are {', '.join(known)}" if known else "; name yours with --account"
    if ("gres" in lower or "node configuration" in lower) and (known := nodes()):
        text += f"; nodes here are {', '.join(known)}"
    if "temporarily" in lower or "submit limit" in lower:
        text += "; the queue is full, submit again when it is shorter"
    return f"SLURM refuses the job: {text}"


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """Remove variables of other jobs and Ray clusters from the environment while sbatch is called."""
    removed = {name: os.environ[name] for name in os.environ if name.startswith(_LEAKS) and name not in _KEPT}
    for name in removed:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(removed)
