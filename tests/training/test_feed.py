"""Batches drawn ahead: the same bits from any number of workers, and signals that are the parent's alone."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest
import torch

from inpaint_hpc.crystals.batch import Crystal, Crystals, Guests
from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.training.batches import (
    PAIR,
    BatchSettings,
    DrawnBatch,
    TrainingBatch,
    draw_batch,
    make_batch,
    noised,
    training_indices,
)
from inpaint_hpc.training.examples import Example, load_pairs, pair_example, perturbed
from inpaint_hpc.training.feed import Steps, default_workers, feed
from inpaint_hpc.training.masks import GUEST_IONS, KINDS, MaskMixture, double_cell
from inpaint_hpc.training.noise_levels import stratified_log_uniform
from inpaint_hpc.training.wrapped_normal import scaled_score

SMOKE, PAIRS = "tests/data/smoke.h5", "tests/data/electrodes.h5"
SETTINGS = BatchSettings(batch_size=12, host_noise_fraction=0.4, host_strain=0.03, pair_fraction=0.3)
MASKS = MaskMixture(0.4, 0.3, 0.15, 0.15)


@pytest.fixture(scope="module")
def steps():
    return Steps(PackedDataset(SMOKE, "train"), load_pairs(PAIRS, None)[0], SETTINGS, MASKS, seed=3)


def tensors(batch):
    if isinstance(batch, torch.Tensor):
        return [batch]
    return [x for field in fields(batch) for x in tensors(getattr(batch, field.name))]


def same(a, b):
    return all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(tensors(a), tensors(b), strict=True))


def plain_batch(dataset, rows, settings, masks, key, pairs):
    """A batch as it was made before it had two parts, in one process and with numpy's plain functions: the oracle."""

    def plain_mask(numbers, kind):
        if kind == "all":
            return np.ones(len(numbers), bool)
        species = np.unique(numbers)
        weight = np.array([GUEST_IONS.get(int(z), 1.0) for z in species])
        n_species = 2 if kind == "several" and len(species) > 2 else 1
        chosen = rng.choice(species, n_species, replace=False, p=weight / weight.sum())
        mask = np.isin(numbers, chosen)
        if kind == "part" and mask.sum() > 1:
            keep = rng.integers(1, mask.sum())
            mask[rng.choice(np.flatnonzero(mask), keep, replace=False)] = False
        return mask

    def plain_example(crystal, kind):
        numbers, frac, lattice = crystal.numbers, crystal.frac_coords, crystal.lattice
        if kind == "part" and 2 * len(numbers) <= settings.supercell_atoms and rng.random() < 0.5:
            numbers, frac, lattice = double_cell(numbers, frac, lattice)
        mask = plain_mask(numbers, kind)
        return Example(Crystal(numbers[~mask], frac[~mask], lattice), numbers[mask], frac[mask])

    rng = np.random.default_rng(key)
    examples, counts, draws = [], [], []
    kinds = rng.choice(len(KINDS), size=len(rows), p=masks.probabilities())
    kinds[rng.random(len(rows)) < settings.pair_fraction] = PAIR
    for row, kind in zip(rows, kinds, strict=True):
        if kind == PAIR:
            example = pair_example(pairs, settings.pair_partial, rng)
        else:
            example = plain_example(dataset[int(row)], KINDS[kind])
        if rng.random() < settings.host_noise_fraction:
            example = perturbed(example, settings.host_noise, settings.host_strain, rng)
        examples.append(example)
        counts.append(len(example.guest_numbers))
        draws.append(int(np.clip(settings.guest_budget // counts[-1], 1, settings.draws)))
    clean = [example.guest_frac @ example.host.lattice for example in examples]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    levels = stratified_log_uniform((len(rows), settings.draws), settings.sigma_min, settings.sigma_max, generator)
    host = np.repeat(np.arange(len(rows)), draws)
    offset = rng.random(len(rows))
    stratum = [int((k + offset[b]) * settings.draws / draws[b]) for b in range(len(rows)) for k in range(draws[b])]
    sigma = levels[torch.as_tensor(host), torch.as_tensor(stratum)]
    sample = torch.as_tensor(np.repeat(np.arange(len(host)), np.array(counts)[host]))
    numbers = torch.as_tensor(np.concatenate([examples[b].guest_numbers for b in host]))
    positions = torch.as_tensor(np.concatenate([clean[b] for b in host]), dtype=torch.float32)
    displacement = sigma[sample][:, None] * torch.randn(positions.shape, generator=generator)
    hosts = Crystals.from_list([example.host for example in examples])
    guests = Guests(numbers, positions + displacement, sample, torch.as_tensor(host))
    target = scaled_score(displacement, sigma[sample], hosts.cells[guests.crystal])
    return TrainingBatch(hosts, guests, sigma, target, torch.as_tensor(kinds))


@pytest.mark.parametrize("step", range(6))
def test_a_batch_in_two_parts_equals_the_plain_one(steps, step):
    rows = training_indices(len(steps.data), step, 12, 3)
    expected = plain_batch(steps.data, rows, SETTINGS, MASKS, [3, 2, step, 0], steps.pairs)
    assert same(noised(steps[step]), expected)
    assert same(make_batch(steps.data, rows, SETTINGS, MASKS, [3, 2, step, 0], pairs=steps.pairs), expected)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_gives_the_same_batches_from_any_step_on(steps, workers):
    state = torch.get_rng_state()
    for k, batch in enumerate(itertools.islice(feed(steps, 5, workers, pin_memory=False), 20)):
        assert same(batch, steps[5 + k])
    assert torch.equal(torch.get_rng_state(), state)


def test_batches_travel_without_shared_memory(steps):
    batch = pickle.loads(pickle.dumps(steps[0]))
    assert same(batch, steps[0]) and not any(x.is_shared() for x in tensors(batch))


def test_pinning_takes_every_tensor(steps, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: pinned.append(x) or x.clone())
    assert same(steps[0].pin_memory(), steps[0]) and len(pinned) == len(tensors(steps[0]))


def test_batches_in_a_row_keep_their_samples(steps):
    rows = [np.array([k]) for k in range(5)]
    alone = [draw_batch(steps.data, row, SETTINGS, MASKS, [k]) for k, row in enumerate(rows)]
    together = noised(DrawnBatch.cat(alone))
    parts = [noised(one) for one in alone]
    assert together.guests.host.tolist() == [k for k, part in enumerate(parts) for _ in part.sigma]
    for name in ("numbers", "positions"):
        for which in ("hosts", "guests"):
            expected = torch.cat([getattr(getattr(part, which), name) for part in parts])
            assert torch.equal(getattr(getattr(together, which), name), expected)
    torch.testing.assert_close(together.target, torch.cat([part.target for part in parts]))


def test_workers_are_for_gpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(16))
    assert default_workers(torch.device("cpu")) == 0 and default_workers(torch.device("cuda", 0)) == 14
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert default_workers(torch.device("cuda", 0)) == 3


CONFIG = """
data: {data}
out: {out}
steps: 100000
threads: 1
workers: 2
log_every: 1
validation_crystals: 8
network: {{scalars: 16, channels: 8, tensor_channels: 4, hidden: 16, host_layers: 1, guest_layers: 2}}
batch: {{batch_size: 4, draws: 2}}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_whole_group_ends_the_run_with_a_checkpoint(tmp_path, number):
    (tmp_path / "train.yaml").write_text(CONFIG.format(data=SMOKE, out=tmp_path / "run"))
    arguments = [sys.executable, "-m", "inpaint_hpc", "train", str(tmp_path / "train.yaml"), "--device", "cpu"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(arguments, text=True, start_new_session=True, **pipes) as process:
        log, deadline = tmp_path / "run" / "train.csv", time.monotonic() + 600
        while not log.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "weights:" in out and "Traceback" not in err
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] > 0
    with pytest.raises(ProcessLookupError):  # no worker is left, at the latest when it is reaped
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)


def test_workers_end_with_a_parent_that_fails(tmp_path):
    script = (
        "import sys\n"
        "from inpaint_hpc.crystals.packed import PackedDataset\n"
        "from inpaint_hpc.training.batches import BatchSettings\n"
        "from inpaint_hpc.training.feed import Steps, feed\n"
        "from inpaint_hpc.training.masks import MaskMixture\n"
        f"steps = Steps(PackedDataset('{SMOKE}', 'train'), [], BatchSettings(), MaskMixture(), 0)\n"
        "batches = feed(steps, 0, 2, False)\n"
        "next(batches)\n"
        "raise SystemExit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 7, done.stderr
