"""Creation: ids, shards, freezing, and that it is all or nothing."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up_hosts import random_crystal

from inpaint_hpc.archive.records import host_id
from inpaint_hpc.campaign.config import load_config
from inpaint_hpc.campaign.run_directory import RunDirectory
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.errors import InputError
from inpaint_hpc.network.weights import file_digest, find_weights
from inpaint_hpc.planning.create_run import campaign_id, create_run

EXAMPLES = Path(__file__).parents[2] / "inpaint_hpc" / "examples" / "mno2"


def all_tasks(run):
    return run.tasks(np.arange(run.n_tasks))


def ids(run):
    return {task.id for task in all_tasks(run)}


def test_hosts_and_guests_become_tasks_bit_for_bit(make_run):
    run = make_run(guests=[{"Li": "1..2"}, {"Mg": 1}])
    hosts = {crystal.name: crystal for crystal in read_hosts(EXAMPLES)}
    found = all_tasks(run)
    assert {(t.host.name, t.guests) for t in found} == {(h, g) for h in hosts for g in ((3,), (3, 3), (12,))}
    for task in found:
        given = hosts[task.host.name]
        assert np.array_equal(task.host.frac_coords.view("u8"), given.frac_coords.view("u8"))
        assert np.array_equal(task.host.lattice.view("u8"), given.lattice.view("u8"))
        assert np.array_equal(task.host.numbers, given.numbers)
        assert task.samples == 3 and task.cost > 0 and task.reference is None
    counts = run.info["counts"]
    assert (counts["hosts"], counts["tasks"], counts["samples"], counts["duplicates"]) == (7, 21, 63, 0)


def test_an_id_is_the_digest_of_everything_that_decides_the_result(make_run):
    run = make_run()
    task = all_tasks(run)[0]
    settings = {name: value for name, value in run.info["sampling"].items() if name not in ("samples", "edge_budget")}
    # What decides nothing (here: how to relax what is not relaxed) is no part of it.
    pipeline = {name: run.info["pipeline"][name] for name in ("score", "redraws", "tolerance", "symprec", "voids")}
    content = {"sampling": settings, "pipeline": pipeline, "weights": run.info["weights"]["sha256"]}
    tail = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    parts = [bytes.fromhex(host_id(task.host)), (1).to_bytes(8, "little"), b"\x03", (3).to_bytes(8, "little"), tail]
    assert task.id == hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"resources": {"shard_minutes": 0.1, "edge_budget": 9999, "actors": 3, "units_at_once": 2}}, True),
        ({"hosts": [{"path": str(EXAMPLES / "*.cif")}]}, True),
        ({"samples": 4}, False),
        ({"sampling": {"steps": 5}}, False),
        ({"sampling": {"steps": 4, "seed": 1}}, False),
        ({"pipeline": {"score": False, "redraws": 1}}, False),
        ({"guests": [{"Na": 1}]}, False),
        ({"guests": [{"Li": 2}]}, False),
    ],
)
def test_ids_depend_on_what_decides_results_and_on_nothing_else(make_run, tmp_path, change, same):
    first, second = make_run(), make_run(output=str(tmp_path / "other"), **change)
    assert (first.id == second.id) == same
    assert (ids(first) == ids(second)) == same
    if not same:
        assert not ids(first) & ids(second)


def test_other_weights_other_ids(make_run, weights, tmp_path):
    import torch
    from safetensors.torch import load_file

    from inpaint_hpc.network.weights import save_weights

    tensors = {name: tensor + 0.01 * torch.ones_like(tensor) for name, tensor in load_file(weights).items()}
    other = tmp_path / "other.safetensors"
    save_weights(tensors, other, {"name": "other", "network": find_weights(weights).card["network"]})
    assert not ids(make_run()) & ids(make_run(weights=str(other), output=str(tmp_path / "second")))


def test_duplicates_are_merged(make_run):
    run = make_run(hosts=[{"examples": "mno2"}, {"examples": "mno2"}], guests=[{"Li": "1..2"}, {"Li": 1}])
    assert run.n_tasks == len(ids(run)) == 14
    assert run.info["counts"]["duplicates"] == 28
    assert run.info["counts"]["hosts"] == 7
    assert {task.host.name for task in all_tasks(run)} == {crystal.name for crystal in read_hosts(EXAMPLES)}


def test_removed_atoms_are_kept_in_the_order_of_the_tasks(make_run, tmp_path):
    rng = np.random.default_rng(0)
    crystals = [random_crystal(rng, name=f"c{k}", numbers=(3, 11, 8, 25, 25)) for k in range(30)]
    write_packed(tmp_path / "hosts.h5", crystals)
    run = make_run(hosts=str(tmp_path / "hosts.h5"), guests=[{"remove": ["Li", "Na"]}, {"Li": 1}])
    given, tasks = {crystal.name: crystal for crystal in read_hosts(tmp_path / "hosts.h5")}, all_tasks(run)
    removed = [task for task in tasks if task.reference is not None]
    assert len({task.guests for task in removed}) > 3 and len(removed) < run.n_tasks
    for task in removed:
        full = given[task.host.name]
        assert np.array_equal(task.reference, full.frac_coords[full.numbers == task.guests[0]])
        assert np.array_equal(task.host.frac_coords, full.without(task.guests[0]).frac_coords)
    chosen = np.array([run.n_tasks - 1, 0, 5])
    assert [task.id for task in run.tasks(chosen)] == [tasks[row].id for row in chosen]


def test_shards_are_balanced_by_cost(make_run, tmp_path):
    rng = np.random.default_rng(1)
    crystals = [random_crystal(rng, name=f"c{k}") for k in range(120)]
    write_packed(tmp_path / "hosts.h5", crystals)
    run = make_run(hosts=str(tmp_path / "hosts.h5"), guests=[{"Li": "1..4"}], resources={"min_shards": 12})
    first, n_tasks, costs = run.shards
    assert run.n_shards == 12
    assert first.tolist() == [0, *np.cumsum(n_tasks)[:-1]] and n_tasks.sum() == run.n_tasks
    each = np.array([task.cost for task in all_tasks(run)])
    assert costs == pytest.approx(np.add.reduceat(each, first))
    assert costs.max() / costs.min() < 1.2
    assert n_tasks.max() / n_tasks.min() > 2  # so not by number of tasks
    assert each[:10].mean() > each[-10:].mean()  # expensive ones first


def test_the_campaign_id_does_not_depend_on_order():
    rng = np.random.default_rng(0)
    some = rng.integers(0, 256, size=(500, 32), dtype=np.uint8)
    assert campaign_id(some) == campaign_id(some[rng.permutation(500)])
    assert campaign_id(some) != campaign_id(some[1:])
    assert campaign_id(some) == hashlib.sha256(b"".join(sorted(row.tobytes() for row in some))).hexdigest()


def test_everything_is_frozen(make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EXAMPLES, tmp_path / "mine")
    config = make_config(hosts="mine/*.cif", output="run")
    run = create_run(config)
    assert file_digest(run.weights_path) == run.info["weights"]["sha256"]
    assert find_weights(run.weights_path).verify()
    assert run.info["versions"]["inpaint_hpc"] and run.info["versions"]["torch"]
    frozen = load_config(run.path / "config.yaml")
    assert frozen.hosts[0].path == str(tmp_path / "mine" / "*.cif")
    assert frozen.output == tmp_path / "run"
    sampling, pipeline = run.settings()
    assert (sampling, pipeline) == (config.sampling_settings(), config.pipeline_settings())
    shutil.rmtree(tmp_path / "mine")
    assert len(all_tasks(RunDirectory("run"))) == 7


def test_creating_again_changes_nothing(make_run):
    run = make_run()
    before = {file.name: (file.stat().st_mtime_ns, file_digest(file)) for file in run.path.iterdir()}
    again = make_run()
    assert again.id == run.id
    assert {file.name: (file.stat().st_mtime_ns, file_digest(file)) for file in run.path.iterdir()} == before
    assert [p.name for p in run.path.parent.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"sampling": {"steps": 9}}, "other sampling settings"),
        ({"pipeline": {"score": True}}, "other pipeline settings"),
        ({"samples": 9}, "other hosts, guests or samples"),
    ],
)
def test_another_campaign_in_the_same_place_is_refused(make_run, change, what):
    run = make_run()
    with pytest.raises(InputError) as error:
        make_run(**change)
    assert f"{run.path}: holds another campaign ({what}); choose another output" in str(error.value)
    assert RunDirectory(run.path).id == run.id


def test_a_folder_that_is_not_a_run_directory_is_refused_and_an_empty_one_is_used(make_run, tmp_path):
    (tmp_path / "run").mkdir()
    assert make_run().n_tasks == 7
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    with pytest.raises(InputError, match="exists and is not a run directory"):
        make_run(output=str(tmp_path / "notes"))
    assert (tmp_path / "notes" / "a.txt").read_text() == "a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "nothing"}, "no weights 'nothing'"),
        ({"sampling": {"steps": 4, "sigma_max": 9.0}}, "outside of what the network was trained for"),
        ({"resources": {"edge_budget": 3}}, "resources.edge_budget is 3: raise it"),
        ({"guests": {"Cs": 30}}, "no tasks are left of 7 hosts: no room for the guests (7); e.g. "),
        ({"guests": {"remove": "Li"}}, "no tasks are left of 7 hosts: hosts without Li to remove (7)"),
        ({"hosts": {"examples": "mno2", "atoms": "1000.."}}, "no host passes the filters of 'hosts'"),
        ({"hosts": "nowhere/*.cif"}, "nowhere/*.cif: no file matches this pattern"),
    ],
)
def test_campaigns_that_cannot_be(make_run, tmp_path, changes, message):
    with pytest.raises(InputError) as error:
        make_run(**changes)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_damaged_weights_are_not_frozen(make_run, weights, tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(weights.with_suffix(suffix), tmp_path / f"w{suffix}")
    with open(tmp_path / "w.safetensors", "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x00\x01\x02\x03")
    with pytest.raises(InputError, match="sha256 is not the one on its card"):
        make_run(weights=str(tmp_path / "w.safetensors"))


CREATE = """
import os, signal, sys
from inpaint_hpc.campaign.config import load_config
from inpaint_hpc.planning.create_run import create_run
config = load_config(sys.argv[1])
"""
# For each number that is read, a process that dies just before so many steps on files of its own; with 0 it lives, and
# says how many steps there were.
KILLED = """
for line in sys.stdin:
    if os.fork() == 0:
        steps, last = 0, int(line)
        def step(event, details):
            global steps
            if any(f".{os.getpid()}." in str(one) for one in details):
                steps += 1
                if steps == last:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(step)
        create_run(config)
        print(steps, flush=True)
        os._exit(0)
    if os.wait()[1]:
        print("killed", flush=True)
"""


def test_a_killed_creation_leaves_nothing_that_looks_whole(make_config, tmp_path):
    (tmp_path / "campaign.yaml").write_text(make_config(guests=[{"Li": "1..3"}, {"Mg": "1..3"}]).to_yaml())
    command = [sys.executable, "-c", CREATE + KILLED, str(tmp_path / "campaign.yaml")]
    found = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def create(last):
            print(last, file=process.stdin, flush=True)
            said = process.stdout.readline().strip()
            found.append((tmp_path / "run").exists())
            if found[-1]:
                run = RunDirectory(tmp_path / "run")
                assert len(run.tasks(np.arange(run.n_tasks))) == 42
                shutil.rmtree(run.path)
            return said

        steps = int(create(0))
        assert steps > 10 and found.pop()
        for last in sorted({1, steps // 2, *range(steps - 3, steps + 1)}):
            assert create(last) == "killed"
    # Nothing until, in one step, all is there.
    assert found == sorted(found) and not found[0] and found[-1]
    run = create_run(load_config(tmp_path / "campaign.yaml"))
    assert run.n_tasks == 42
    assert sorted(p.name for p in tmp_path.iterdir()) == ["campaign.yaml", "run"]  # nor do leftovers pile up


def test_leftovers_of_living_creations_are_not_touched(make_run, tmp_path):
    mine = tmp_path / f".run.{socket.gethostname()}.{os.getpid()}.0123abcd.creating"
    mine.mkdir()
    make_run()
    assert mine.exists()


def test_a_full_disk_leaves_no_run_directory(make_config, tmp_path):
    """Files are limited to less than the weights need, which the system answers like a full disk."""
    (tmp_path / "campaign.yaml").write_text(make_config().to_yaml())
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n" + CREATE + "create_run(config)"
    result = subprocess.run(
        [sys.executable, "-c", limited, str(tmp_path / "campaign.yaml")],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1 and "OSError" in result.stderr.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["campaign.yaml"]
