"""Calls sbatch with a script made by submitit: options, shell lines around the start, and a clean environment."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inpaint_hpc._version import PACKAGE_FOLDER
from inpaint_hpc.campaign.slurm_settings import SlurmSettings
from inpaint_hpc.cluster.executor import one_line
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import private_folder

from . import start
from .commands import SlurmError, accounts, nodes, partitions, slurm
from .start import file_digest
from .submissions import slurm_folder

if TYPE_CHECKING:
    import submitit

# sbatch passes the submitter's environment to the job, where these variables would mislead it.
_LEAKS = ("RAY_", "SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SUBMITIT_", "INPAINT_HPC_RAY_", "CUDA_VISIBLE")
_KEPT = ("SLURM_CONF",)
# The id and, if there are several, the cluster; the long form is from wrappers that do not pass --parsable on.
_ANSWER = re.compile(r"^\s*(?:Submitted batch job )?(\d+)(?:(?:;| on cluster )([\w.-]+))?\s*$", re.MULTILINE)
# We handle timeouts ourselves: the driver stops in time, and attempts without progress are not repeated for ever.
_TIMEOUTS = 1_000_000
# Maximum automatic requeues after rank 0 is killed; the campaign itself may be what kills it.
_MAX_REQUEUES = 5


def sbatch(
    run_path: Path, settings: SlurmSettings, calls: Sequence[Callable[[], Any]], dependency: str = ""
) -> tuple[str, str]:
    """Submit one job, or an array of several; returns SLURM's id, and the cluster that has it, '' for this machine's.

    Args:
        run_path: the run directory.
        settings: what to request; `allocations` is ignored.
        calls: what each job runs on each of its nodes; pickled.
        dependency: as for sbatch; '' for none.

    Raises:
        InputError: no SLURM here, SLURM refuses (the message lists the alternatives), its answer has no id, or the
            folder for pickles belongs to somebody else.
        OSError: the run directory cannot be written.
    """
    from submitit.core.utils import DelayedSubmission, JobPaths

    slurm("sbatch", "--version")  # a clear message where there is no SLURM
    script(run_path, settings, len(calls), dependency)  # refuses what SLURM would not take, before anything is written
    folder = slurm_folder(run_path.resolve())
    private_folder(folder)
    draft = folder / f".submission_{secrets.token_hex(8)}.sh"
    # submitit's own submission takes the first number in sbatch's answer for the id, and never knows the cluster.
    pickles = [draft.with_suffix(f".{number}.pkl") for number in range(len(calls))]
    try:
        for call, path in zip(calls, pickles, strict=True):
            submission = DelayedSubmission(call)
            submission.set_timeout(settings.time, _TIMEOUTS)
            submission.dump(path)
        # Elements of an array have the same pickle.
        digests = sorted({file_digest(path) for path in pickles})
        draft.write_text(script(run_path, settings, len(calls), dependency, digests), encoding="utf-8")
        answer = slurm("sbatch", "--parsable", str(draft), timeout=None, environment=_clean_environment())
        job, cluster = _answered(answer, settings)
        for number, path in enumerate(pickles):
            paths = JobPaths(folder / job, f"{job}_{number}" if len(calls) > 1 else job)
            paths.folder.mkdir(mode=0o700, exist_ok=True)
            paths.move_temporary_file(path, "submitted_pickle")
        draft.rename(paths.submission_file)
    except SlurmError as error:
        raise InputError(_refusal(str(error), settings)) from error
    finally:
        for path in (draft, *pickles):
            path.unlink(missing_ok=True)
    for path in (folder / job).iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)
    return job, cluster


def _answered(answer: str, settings: SlurmSettings) -> tuple[str, str]:
    """Id and cluster in an answer of sbatch, from the last line that has them; sites print others around it."""
    found = _ANSWER.findall(answer)
    if not found:
        raise InputError(
            f"sbatch gives no job id, but says: {one_line(answer) or 'nothing'}; find the job with squeue and cancel it"
        )
    job, cluster = found[-1]
    return job, cluster or settings.clusters


def script(
    run_path: Path, settings: SlurmSettings, count: int, dependency: str = "", digests: Sequence[str] = ()
) -> str:
    """What `sbatch` would submit; nothing is written, and no SLURM is needed.

    Args:
        run_path, settings, dependency: as `sbatch`.
        count: jobs, elements of an array.
        digests: sha256 of the pickles, in the script that SLURM keeps: nobody else can change what will be loaded.

    Raises:
        InputError: SLURM would not use a path literally.
    """
    executor = _executor(run_path, settings, count, dependency, digests)
    if count > 1:
        executor.parameters["map_count"] = count
    return executor._make_submission_file_text(executor._submitit_command_str, "dry-run")


def _executor(
    run_path: Path, settings: SlurmSettings, count: int, dependency: str, digests: Sequence[str]
) -> submitit.SlurmExecutor:
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
            return " ".join([self.python, "-u -m", start.__name__, shlex.quote(str(self.folder)), *digests])

    # Elements of an array share a folder, which must exist before the first of them starts.
    executor = Executor(where / ("%A" if count > 1 else "%j"), max_num_timeout=_TIMEOUTS)
    additional: dict[str, Any] = {"requeue": True, "no-kill": True}
    for key, value in {"mem": settings.mem, "reservation": settings.reservation, **settings.extra}.items():
        if value is not None and value is not False:
            additional[key] = value
    # The step has the environment of the script, even if the script has none of the submitter's (export: NONE).
    step = ["--no-kill", "--kill-on-bad-exit=0", "--wait=0", "--open-mode=append", "--export=ALL"]
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
    lines = (line.strip() for line in said.removeprefix("sbatch: ").replace("sbatch: error: ", "\n").splitlines())
    text = one_line(", ".join(filter(None, lines)))
    lower = text.lower()
    if "partition" in lower and (known := partitions(settings.clusters)):
        text += f"; partitions here are {', '.join(known)}"
    if "account" in lower or "association" in lower:
        known = accounts(settings.clusters)
        text += f"; your accounts are {', '.join(known)}" if known else "; name yours with --account"
    if ("gres" in lower or "node configuration" in lower) and (known := nodes(settings.clusters)):
        text += f"; nodes here are {', '.join(known)}"
    if "temporarily" in lower or "submit limit" in lower:
        text += "; the queue is full, submit again when it is shorter"
    return f"SLURM refuses the job: {text}"


def _clean_environment() -> dict[str, str]:
    """This process's environment, without variables of other jobs and Ray clusters."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_LEAKS) or name in _KEPT}
