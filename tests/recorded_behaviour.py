"""What the code did when tests/data/recorded/ was made; run as a program, this makes that folder anew.

    python tests/recorded_behaviour.py              everything
    python tests/recorded_behaviour.py documents    what verbs print; the run directories stay those of the old code

Do that only where another behaviour is wanted.  The run directories are those of one small campaign, all done and half
done; the documents are what two verbs print with --json.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from example_hosts import MNO2
from tiny_network import save_tiny_weights

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.config import CampaignConfig
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.campaign.run_results import collect_run
from inpaint_hpc.campaign.worker import ShardWorker
from inpaint_hpc.cli.main import cli
from inpaint_hpc.configuration import validate
from inpaint_hpc.planning.create_run import create_run

RECORDED = Path(__file__).parent / "data" / "recorded"
WEIGHTS = RECORDED / "tiny.safetensors"
HOSTS = [str(MNO2 / f"{name}.cif") for name in ("delta_mp-25223", "beta_mp-510408")]
VERBS = {
    "inpaint": "--guest Li=2 --samples 3 --steps 4 --seed 1",
    "series": "--guest Li --counts 0..2 --samples 2 --steps 4 --evaluations 4 --top-k 1 --relax guests --relax-steps 3",
}
# Runs hold the absolute paths of where they were made; the recorded ones say a place that no machine has.
NOWHERE = "/recorded"


def create(output: Path) -> RunDirectory:
    """The recorded campaign, not yet begun: four tasks in two shards."""
    data = {
        "hosts": {"examples": "mno2", "atoms": "..6", "limit": 2},
        "guests": [{"Li": 1}, {"Na": 1}],
        "output": str(output),
        "samples": 3,
        "weights": str(WEIGHTS),
        "sampling": {"steps": 4},
        "pipeline": {"redraws": 2, "voids": 0, "host_stiffness": 0.0},  # as before there were any
        "resources": {"min_shards": 2, "shard_tasks": 2, "threads": 1},
    }
    return create_run(validate(CampaignConfig, data, "campaign.yaml"))


def document(verb: str, out: Path) -> dict[str, Any]:
    """What a verb prints with --json."""
    arguments = [verb, *HOSTS, *VERBS[verb].split(), "--weights", str(WEIGHTS), "--device", "cpu", "--json"]
    done = CliRunner().invoke(cli, [*arguments, "--out", str(out)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def summary(archive: Path) -> dict[str, Any]:
    """Of each task by its id what a change of the code may not change."""
    with Archive(archive) as opened:
        return {
            record.task_id: {
                "host": record.host.name,
                "guests": list(record.guests),
                "drawn": len(record.samples),
                "valid": record.n_valid,
                "positions": record.samples["guest_frac_coords"].tolist(),
                "energies": record.candidates["energy_per_atom"].tolist(),
                "wyckoff": [str(text) for text in record.candidates["wyckoff"]],
            }
            for record in opened.iter_records()
        }


def write_documents() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for verb in VERBS:
            content = json.dumps(document(verb, Path(folder) / verb), indent=1).replace(folder, NOWHERE)
            (RECORDED / f"{verb}.json").write_text(content + "\n")


def main() -> None:
    shutil.rmtree(RECORDED, ignore_errors=True)
    RECORDED.mkdir(parents=True)
    save_tiny_weights(RECORDED, tensor_channels=4, n_basis=4)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("finished", "half-finished"):
            made = create(Path(folder) / name)
            config = made.path / "config.yaml"
            text = config.read_text().replace(folder, NOWHERE).replace(str(RECORDED), NOWHERE)
            config.write_text(text)
            worker = ShardWorker(made.path, threads=1, name="worker")
            # Half of the first shard, as after the death of a worker whose unit was split.
            for unit in made.pending_units() if name == "finished" else [made.unit(0, 0, 1)]:
                worker.run_unit(unit)
            worker.close()
            for kept in ("workers", "logs"):  # they name this machine
                shutil.rmtree(made.path / kept, ignore_errors=True)
            shutil.copytree(made.path, RECORDED / name)
        collect_run(RunDirectory(Path(folder) / "finished"))
        found = summary(Path(folder) / "finished" / "archive.h5")
        (RECORDED / "tasks.json").write_text(json.dumps(found, indent=1) + "\n")
    write_documents()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    write_documents() if "documents" in sys.argv else main()
