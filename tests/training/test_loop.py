"""The training loop on real crystals: it learns, stops cleanly, and resumes exactly."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.errors import InputError
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.training.batches import BatchSettings, make_batch
from inpaint_hpc.training.config import load_config
from inpaint_hpc.training.examples import load_pairs
from inpaint_hpc.training.loop import Trainer
from inpaint_hpc.training.masks import MaskMixture
from inpaint_hpc.training.validation import Validation, sample_loss

SMOKE = "tests/data/smoke.h5"
TINY = """
data: {data}
out: {out}
steps: {steps}
seed: 5
threads: 1
validate_every: 1000
validation_crystals: 20
log_every: 5
network: {{scalars: 16, channels: 8, tensor_channels: 4, hidden: 16, host_layers: 1, guest_layers: 2}}
batch: {{batch_size: 8, draws: 4}}
optimizer: {{learning_rate: 1.0e-2, warmup_steps: 10}}
"""


def config(tmp_path, steps=12, out="run", **extra):
    path = tmp_path / "train.yaml"
    path.write_text(TINY.format(data=SMOKE, out=tmp_path / out, steps=steps))
    return load_config(path, extra)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_short_training_lowers_the_loss(tmp_path):
    optimizer = {"learning_rate": 2e-2, "warmup_steps": 10}
    trainer = Trainer(config(tmp_path, steps=200, optimizer=optimizer), device="cpu")
    before = trainer._validate()["loss"]
    record = trainer.run()
    # Zero prediction scores 2.4 on Materials Project crystals; 30 seconds on 180 of them go well below.
    assert 2.0 < before < 3.0
    assert record["loss"] < 0.8 * before
    network = load_network(tmp_path / "run" / "model.safetensors")
    assert equal(network.state_dict(), trainer.average)
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["training"]["steps"] == 200 and card["data"]["crystals"] == 180
    with open(tmp_path / "run" / "train.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == list(range(5, 201, 5))
    assert all(float(r["structures_per_s"]) > 0 and 0 < float(r["loader_wait_share"]) < 1 for r in rows)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = Trainer(config(tmp_path, steps=12, out="whole"), device="cpu")
    whole.run()
    first = Trainer(config(tmp_path, steps=12, out="parts"), device="cpu")
    for _ in range(7):
        first.train_step()
    first.save()
    second = Trainer(config(tmp_path, steps=12, out="parts"), resume=True, device="cpu")
    assert second.step == 7
    second.run()
    assert equal(whole.network.state_dict(), second.network.state_dict())
    assert equal(whole.average, second.average)


def test_workers_do_not_change_a_run(tmp_path):
    runs = []
    for workers in (0, 2):
        trainer = Trainer(config(tmp_path, steps=6, out=f"with{workers}", workers=workers), device="cpu")
        trainer.run()
        runs.append(trainer.average)
    assert equal(*runs)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_lower_precisions_train_and_stand_on_the_card(tmp_path, precision):
    exact = Trainer(config(tmp_path, steps=3, out="exact"), device="cpu")
    lower = Trainer(config(tmp_path, steps=3, out="lower", precision=precision), device="cpu")
    losses = [[float(t.train_step()) for _ in range(3)] for t in (exact, lower)]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert torch.get_float32_matmul_precision() == "highest"
    assert all(p.dtype == torch.float32 for p in lower.parameters)
    lower.save()
    card = json.loads((tmp_path / "lower" / "model.json").read_text())
    assert card["training"]["precision"] == precision and card["training"]["workers"] == 0


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_a_card_trains_like_the_cpu(tmp_path, precision):
    losses = []
    for device in ("cpu", "cuda"):
        workers = 2 if device == "cuda" else 0
        settings = config(tmp_path, steps=8, out=device, workers=workers, precision=precision)
        trainer = Trainer(settings, device=device)
        losses.append([float(trainer.train_step()) for _ in range(4)])
        trainer.save()
        losses[-1].append(trainer._validate()["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.03 if precision != "float32" else 1e-3)
    # Either kind of device goes on from the other's checkpoint.
    for written, device in (("cuda", "cpu"), ("cpu", "cuda")):
        again = Trainer(config(tmp_path, steps=8, out=written, precision=precision), resume=True, device=device)
        again.run()
        assert again.step == 8


def test_rounded_moments_make_a_smaller_checkpoint_that_goes_on(tmp_path):
    sizes = []
    for moments in ("float32", "bfloat16"):
        trainer = Trainer(config(tmp_path, out=moments, checkpoint_moments=moments), device="cpu")
        trainer.train_step()
        trainer.save()
        sizes.append((tmp_path / moments / "checkpoint.pt").stat().st_size)
    assert sizes[1] < 0.85 * sizes[0]
    again = Trainer(config(tmp_path, out="bfloat16", checkpoint_moments="bfloat16"), resume=True, device="cpu")
    again.train_step()
    assert again.step == 2


def test_pairs_validated_together_equal_those_validated_alone(tmp_path):
    pairs = load_pairs("tests/data/electrodes.h5", None)[0]
    data, settings = PackedDataset(SMOKE, "val"), BatchSettings(batch_size=5)
    network = load_network("small")
    together = Validation(data, settings, MaskMixture(), 6, pairs)
    record = together.record(network)
    only_pairs = BatchSettings(batch_size=5, host_noise_fraction=0.0, pair_fraction=1.0, pair_partial=0.0)
    alone = [
        make_batch(data, np.zeros(1, np.int64), only_pairs, MaskMixture(), [20_24, k], "cpu", [pair])
        for k, pair in enumerate(pairs)
    ]
    with torch.no_grad():
        expected = torch.cat([sample_loss(network, batch) for batch in alone]).mean()
    assert record["loss_pair"] == pytest.approx(float(expected), abs=2e-5)
    assert together.record(network) == record


def test_a_signal_ends_the_run_with_a_checkpoint_that_resumes(tmp_path):
    config(tmp_path, steps=100000)
    arguments = [sys.executable, "-m", "inpaint_hpc", "train", str(tmp_path / "train.yaml"), "--device", "cpu"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        log = tmp_path / "run" / "train.csv"
        deadline = time.monotonic() + 600
        while not log.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGUSR1)
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "weights:" in out
    again = Trainer(load_config(tmp_path / "train.yaml"), resume=True, device="cpu")
    assert again.step > 0


def test_two_processes_see_different_crystals_and_keep_equal_weights(tmp_path):
    config(tmp_path, steps=4)
    script = (
        "import sys, torch\n"
        "from inpaint_hpc.training.config import load_config\n"
        "from inpaint_hpc.training.loop import Trainer\n"
        "t = Trainer(load_config(sys.argv[1]), device='cpu')\n"
        "losses = [t.train_step() for _ in range(4)]\n"
        "flat = torch.cat([p.detach().reshape(-1) for p in t.parameters])\n"
        "torch.save({'losses': losses, 'flat': flat}, sys.argv[2] + str(t.parallel.rank))\n"
        "t.parallel.close()\n"
    )
    (tmp_path / "script.py").write_text(script)
    arguments = ["--standalone", "--nproc-per-node", "2", str(tmp_path / "script.py")]
    command = [sys.executable, "-m", "torch.distributed.run", *arguments, str(tmp_path / "train.yaml")]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "rank")], check=True, timeout=600, env=environment, capture_output=True)
    a, b = (torch.load(tmp_path / f"rank{r}", weights_only=True) for r in range(2))
    assert torch.equal(a["flat"], b["flat"])
    assert a["losses"] != b["losses"]


def test_schedules_end_at_zero_and_hold_where_asked(tmp_path):
    cosine = Trainer(config(tmp_path, steps=100), device="cpu")
    cosine.step = 50
    assert cosine.learning_rate() == pytest.approx(0.5e-2)
    hold = Trainer(config(tmp_path, steps=100, optimizer={"schedule": "hold", "learning_rate": 1e-2}), device="cpu")
    for step, factor in [(0, 1 / 200), (65, 66 / 200), (85, 86 / 200 * 0.5), (100, 0)]:
        hold.step = step
        assert hold.learning_rate() == pytest.approx(1e-2 * factor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepps": 3}, "unknown key 'stepps'; did you mean 'steps'"),
        ({"optimizer": {"learning_rat": 1}}, "unknown key 'optimizer.learning_rat'; did you mean 'learning_rate'"),
        ({"minutes": 3}, "exactly one of 'steps' and 'minutes'"),
        ({"network": {"channels": 4, "tensor_channels": 8}}, "network: tensor_channels must not exceed channels"),
        ({"data": "nowhere.h5"}, "nowhere.h5"),
    ],
)
def test_bad_configurations_get_one_line(tmp_path, change, message):
    with pytest.raises(InputError) as error:
        Trainer(config(tmp_path, **change), device="cpu")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_checkpoint_in_the_way_or_damaged_is_refused(tmp_path):
    trainer = Trainer(config(tmp_path), device="cpu")
    trainer.save()
    with pytest.raises(InputError, match="--resume"):
        Trainer(config(tmp_path), device="cpu")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        Trainer(config(tmp_path), resume=True, device="cpu")
    checkpoint.unlink()
    with pytest.raises(InputError, match="no checkpoint"):
        Trainer(config(tmp_path), resume=True, device="cpu")


def test_training_goes_on_from_weights_and_says_so_on_the_card(tmp_path):
    Trainer(config(tmp_path, steps=2), device="cpu").run()
    weights = tmp_path / "run" / "model.safetensors"
    batch = {"batch_size": 8, "draws": 4, "pair_fraction": 0.5, "host_strain": 0.02}
    settings = config(
        tmp_path, steps=1, out="more", start_from=str(weights), pairs="tests/data/electrodes.h5", batch=batch
    )
    trainer = Trainer(settings, device="cpu")
    before = load_network(weights)
    assert equal(trainer.network.state_dict(), before.state_dict()) and equal(trainer.average, before.state_dict())
    record = trainer.run()
    assert record["loss_pair"] > 0
    card = json.loads((tmp_path / "more" / "model.json").read_text())
    assert card["start_from"] == before.info.sha256
    assert set(before.info.card["elements"]) <= set(card["elements"])
    assert card["pairs"]["train"] == 13 and card["pairs"]["val"] == 3
    other = config(tmp_path, out="other", start_from="small")
    with pytest.raises(InputError, match="small has scalars 96, the configuration 16"):
        Trainer(other, device="cpu")


def test_pairs_and_their_fraction_belong_together(tmp_path):
    with pytest.raises(InputError, match="belong together"):
        config(tmp_path, pairs="tests/data/electrodes.h5")
