"""What sites do to SLURM's commands, for tests: wrappers that say more, and stand-ins for several clusters."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo", "sacctmgr")
# Lines that look a little like answers, and bytes that are not UTF-8.
BANNER = b"CLUSTER: dev\n# your last job 7 used 12 h, squeue is 42 s old | a|b\n12 jobs of M\xfcller: ok\n"
_WRAPPER = """\
#!/bin/sh
cat {banner}
cat {banner} >&2
{real} "$@"
status=$?
cat {banner}
exit $status
"""
# A login node whose own cluster is "front", and two others of which each numbers its jobs from 8 on.
_TWO_CLUSTERS = """\
#!/bin/bash
# Called by the name of a command.  FOLDER/jobs has lines "cluster id" of jobs that run, FOLDER/log all calls.
me=$(basename "$0") folder=$(dirname "$0")
echo "$me $*" >>$folder/log
clusters=${SLURM_CLUSTERS:-front} previous=
for word in "$@"; do
  case $word in --clusters=*) clusters=${word#*=} ;; esac
  [ "$previous" != -M ] || clusters=$word
  previous=$word
done
jobs_of() { [ ! -e $folder/jobs ] || sed -n "s/^$1 //p" $folder/jobs; }
case $me in
  sbatch)
    [ "$1" != --version ] || exit 0
    wanted=$(sed -n 's/^#SBATCH --clusters=//p' "${@: -1}")
    cluster=${wanted##*,}
    [ "$wanted" != all ] || cluster=cm2
    case ${cluster:=$clusters} in cm1 | cm2) ;; *)
      echo "sbatch: error: Batch job submission failed: Invalid partition name specified" >&2 && exit 1 ;; esac
    id=$(($(cat $folder/last.$cluster 2>/dev/null || echo 7) + 1))
    echo $id >$folder/last.$cluster
    echo $cluster $id >>$folder/jobs
    if [ -e $folder/old ]; then echo "Submitted batch job $id on cluster $cluster"; else echo "$id;$cluster"; fi ;;
  squeue)
    echo "CLUSTER: $clusters"
    for id in $(jobs_of $clusters); do echo "$id|RUNNING|$clusters-n1|None"; done ;;
  scancel)
    [ "$1" != --version ] || exit 0
    for id in "$@"; do
      [ -z "$(jobs_of $clusters | grep -x "$id")" ] || sed -i "/^$clusters $id\\$/d" $folder/jobs
    done ;;
  sinfo) [ $clusters = front ] || echo "partition|fast-$clusters" ;;
  scontrol) echo "slurm_load_jobs error: Invalid job id specified" >&2 && exit 1 ;;
esac
"""


def wrap_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrappers around the real commands in PATH that say `BANNER` before and after the answer, on stderr too."""
    folder.mkdir()
    (folder / "banner").write_bytes(BANNER)
    for command in COMMANDS:
        if real := shutil.which(command):
            _executable(folder / command, _WRAPPER.format(banner=folder / "banner", real=real))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def two_clusters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins in PATH for the commands of a login node with two clusters behind it, which need a database."""
    folder.mkdir()
    for command in COMMANDS:
        _executable(folder / command, _TWO_CLUSTERS)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
