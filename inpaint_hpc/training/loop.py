"""Denoising score matching: the training loop.

Checkpoints hold everything that a step depends on (weights, optimizer, average, step, elapsed time); batches are a
function of seed and step, so a resumed run repeats an uninterrupted one exactly.
"""

from __future__ import annotations

import csv
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from inpaint_hpc.crystals.packed import ElectrodePair, PackedDataset
from inpaint_hpc.errors import InputError
from inpaint_hpc.files import atomic_path
from inpaint_hpc.kernels.available import use_kernels
from inpaint_hpc.network.score_network import NetworkConfig, ScoreNetwork
from inpaint_hpc.network.weights import load_network

from .batches import BatchSettings, DrawnBatch, noised
from .config import TrainingConfig
from .cuda_graph import GraphedLoss, enough_for, inputs_of, sizes_of
from .descent import Descent
from .distributed import Parallel
from .examples import load_pairs
from .export import data_digest, export_weights
from .feed import Steps, default_workers, feed
from .masks import MaskMixture
from .validation import Validation, sample_loss

CHECKPOINT = "checkpoint.pt"
_SIZED_BY = 8  # batches that the sizes of a CUDA graph are taken from


class Trainer:
    """One training run; `run()` trains until the budget is spent or a signal asks to stop.

    Args:
        config: what to train on, and how.
        resume: continue from the checkpoint in `config.out`; otherwise an existing checkpoint is refused.
        device: `auto`, `cpu` or `cuda`.
        report: called with (step, loss, structures per second, fraction of budget, seconds to go) at intervals.

    Raises:
        InputError: no validation part in the data, a checkpoint of another configuration, or an existing one.
    """

    def __init__(
        self,
        config: TrainingConfig,
        resume: bool = False,
        device: str = "auto",
        report: Callable[[int, float, float, float, float], None] | None = None,
    ) -> None:
        """Load the data and make the network, or continue from a checkpoint."""
        self.config, self.report = config, report
        self.parallel = Parallel(device)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.data = PackedDataset(config.data, "train", config.max_atoms)
        self.held_out = PackedDataset(config.data, "val", config.max_atoms)
        if not len(self.data) or not len(self.held_out):
            raise InputError(
                f"{config.data}: no training or no validation crystals of at most {config.max_atoms} atoms"
            )
        self.pairs: list[ElectrodePair] = []
        self.held_out_pairs: list[ElectrodePair] = []
        if config.pairs:
            self.pairs, self.held_out_pairs = load_pairs(config.pairs, config.pairs_max_atoms)
        self.masks = MaskMixture(**config.masks.model_dump())
        self.settings = BatchSettings(**config.batch.model_dump())
        self.start_sha256: str | None = None
        self.start_elements: list[str] = []
        torch.manual_seed(config.seed)
        self.network = ScoreNetwork(
            NetworkConfig(
                **config.network.model_dump(), sigma_min=config.batch.sigma_min, sigma_max=config.batch.sigma_max
            )
        ).to(self.parallel.device)
        if config.start_from:
            self._start_from(config.start_from)
        on_gpu = self.parallel.device.type == "cuda"
        self.descent = Descent(self.network, config.optimizer, fused=on_gpu)
        self.parameters, self.average = self.descent.parameters, self.descent.average
        self.workers = default_workers(self.parallel.device) if config.workers is None else config.workers
        self._feed: Iterator[DrawnBatch] | None = None
        self.graphed: GraphedLoss | None = None
        self.step, self.elapsed, self.waited = 0, 0.0, 0.0
        self.out = Path(config.out)
        checkpoint = self.out / CHECKPOINT
        if resume:
            self._load(checkpoint)
        elif checkpoint.exists():
            raise InputError(f"{checkpoint} exists; continue with --resume, or choose another 'out'")
        self._stop = False

    # Schedule

    def progress(self) -> float:
        """Fraction of the budget spent, 0 to 1."""
        spent = 0.0
        if self.config.steps:
            spent = self.step / self.config.steps
        elif self.config.minutes:
            spent = self.elapsed / (60 * self.config.minutes)
        return min(1.0, spent)

    def learning_rate(self) -> float:
        """Learning rate of the next step; see `OptimizerSection`."""
        opt, progress = self.config.optimizer, self.progress()
        warm = min(1.0, (self.step + 1) / max(1, opt.warmup_steps))
        if opt.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            factor = min(1.0, (1 - progress) / opt.decay_fraction)
        return opt.learning_rate * warm * factor

    # The run

    def run(self) -> dict[str, Any]:
        """Train; returns the last validation record (empty if none was due)."""
        previous = {s: signal.signal(s, self._on_signal) for s in (signal.SIGTERM, signal.SIGUSR1)}
        record: dict[str, Any] = {}
        started, at_start = time.monotonic(), self.elapsed
        saved, since = time.monotonic(), time.monotonic()
        losses: list[torch.Tensor] = []
        try:
            while True:
                self.elapsed, stop = self.parallel.agree([at_start + time.monotonic() - started, float(self._stop)])
                if self.parallel.any(bool(stop) or self._stop) or self.progress() >= 1:
                    break
                losses.append(self.train_step())
                if self.step % self.config.log_every == 0:
                    self._log_train(losses, since)
                    losses, since, self.waited = [], time.monotonic(), 0.0
                if not self.parallel.is_main:
                    continue
                pause = time.monotonic()
                if self.step % self.config.validate_every == 0:
                    record = self._validate()
                if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
                since += time.monotonic() - pause  # the rate is that of training alone
            self.descent.check()
            if self.parallel.is_main:
                record = self._validate()
                self.save(record)
        finally:
            self._feed = None
            for s, handler in previous.items():
                signal.signal(s, handler)
            self.parallel.close()
        return record

    def train_step(self) -> torch.Tensor:
        """One optimizer step; returns the loss of this process's batch, on the device: reading it waits for that."""
        device = self.parallel.device
        if self._feed is None:
            p = self.parallel
            steps = Steps(self.data, self.pairs, self.settings, self.masks, self.config.seed, p.rank, p.world_size)
            self._feed = feed(steps, self.step, self.workers, pin_memory=device.type == "cuda")
            if self.config.cuda_graph and device.type == "cuda" and use_kernels(self.parameters[0]):
                self.graphed = self._graphed(steps)
        asked = time.monotonic()
        drawn = next(self._feed)
        self.waited += time.monotonic() - asked
        with _matmul_precision(self.config.precision):
            if self.graphed is not None:
                loss = self.graphed(drawn)
            else:
                self.descent.optimizer.zero_grad(set_to_none=True)
                loss = sample_loss(self.network, noised(drawn, device), self.config.precision).mean()
                loss.backward()
        self.parallel.average_gradients(self.parameters)
        self.descent.step(self.learning_rate(), self.step)
        self.step += 1
        return loss.detach()

    def _graphed(self, steps: Steps) -> GraphedLoss:
        """A graph for batches like the first ones of the run, wherever it is resumed: the same sizes, the same bits."""
        device = self.parallel.device
        first = (inputs_of(self.network, noised(steps[step], device)) for step in range(_SIZED_BY))
        return GraphedLoss(self.network, enough_for(map(sizes_of, first)), self.config.precision)

    def averaged_network(self) -> ScoreNetwork:
        """A copy of the network with averaged weights, ready to sample."""
        network = ScoreNetwork(self.network.config)
        network.load_state_dict(self.average)
        return network.eval().requires_grad_(False).to(self.parallel.device)

    @cached_property
    def _validation(self) -> Validation:
        settings, crystals = self.settings, self.config.validation_crystals
        return Validation(
            self.held_out, settings, self.masks, crystals, self.held_out_pairs, device=self.parallel.device
        )

    def _validate(self) -> dict[str, Any]:
        record = self._validation.record(self.averaged_network())
        record = {"step": self.step, "minutes": round(self.elapsed / 60, 2), **record}
        _append_csv(self.out / "validation.csv", record)
        return record

    def _log_train(self, losses: list[torch.Tensor], since: float) -> None:
        """Read the losses since a time: the only place where a step waits for the device."""
        self.descent.check()
        if not self.parallel.is_main:
            return
        loss = sum(torch.stack(losses).tolist()) / len(losses)
        seconds = time.monotonic() - since
        rate = len(losses) * self.settings.batch_size * self.parallel.world_size / seconds
        row = {
            "step": self.step,
            "minutes": round(self.elapsed / 60, 2),
            "loss": round(loss, 5),
            "learning_rate": round(self.learning_rate(), 7),
            "structures_per_s": round(rate, 2),
            "loader_wait_share": round(self.waited / seconds, 4),
        }
        _append_csv(self.out / "train.csv", row)
        if self.report:
            done = self.progress()
            to_go = self.elapsed * (1 - done) / done if done else math.inf
            self.report(self.step, loss, rate, done, to_go)

    def _on_signal(self, number: int, frame: object) -> None:
        self._stop = True

    # Checkpoints

    def save(self, record: dict[str, Any] | None = None) -> None:
        """Write the checkpoint and, from the averaged weights, `model.safetensors` with its card; atomic renames."""
        state = {
            "config": self.config.model_dump_json(),
            "network": self.network.state_dict(),
            "optimizer": self.descent.state_dict(getattr(torch, self.config.checkpoint_moments)),
            "average": self.average,
            "step": self.step,
            "elapsed": self.elapsed,
            "world_size": self.parallel.world_size,
        }
        with atomic_path(self.out / CHECKPOINT) as temporary:
            torch.save(state, temporary)
        card = {**self.card(), "validation": record or {}}
        export_weights(self.average, self.out / "model.safetensors", card)

    def card(self) -> dict[str, Any]:
        """Description of this run and its progress so far, for the card of its weights."""
        config, data = self.config, Path(self.config.data)
        card: dict[str, Any] = {
            "network": asdict(self.network.config),
            "parameters": sum(p.numel() for p in self.parameters),
            "data": {
                "file": data.name,
                "sha256": data_digest(data),
                "crystals": len(self.data),
                "max_atoms": config.max_atoms,
            },
            "elements": self._taught(),
        }
        if config.pairs is not None:
            counts = {"train": len(self.pairs), "val": len(self.held_out_pairs)}
            card["pairs"] = {"file": config.pairs.name, "sha256": data_digest(config.pairs), **counts}
        if self.start_sha256:
            card["start_from"] = self.start_sha256
        card["training"] = {
            "steps": self.step,
            "crystals_seen": self.step * self.settings.batch_size * self.parallel.world_size,
            "minutes": round(self.elapsed / 60, 1),
            "processes": self.parallel.world_size,
            "device": self.parallel.device.type,
            "precision": config.precision,
            "workers": self.workers,
            "seed": config.seed,
            "masks": config.masks.model_dump(),
            "batch": config.batch.model_dump(),
            "optimizer": config.optimizer.model_dump(),
        }
        return card

    def _taught(self) -> list[str]:
        """Symbols of the elements in the training data, those of the weights that it started from included."""
        from ase.data import atomic_numbers, chemical_symbols

        numbers = set(self.data.numbers.tolist()).union(*(pair.reference.numbers.tolist() for pair in self.pairs))
        return [chemical_symbols[z] for z in sorted(numbers | {atomic_numbers[s] for s in self.start_elements})]

    def _start_from(self, weights: str) -> None:
        begin = load_network(weights, self.parallel.device)
        if begin.config != self.network.config:
            other = next(k for k, v in asdict(begin.config).items() if v != getattr(self.network.config, k))
            raise InputError(
                f"start_from: {weights} has {other} {getattr(begin.config, other)}, the configuration "
                f"{getattr(self.network.config, other)}; give 'network' and 'batch' the sizes on the weights' card"
            )
        self.network.load_state_dict(begin.state_dict())
        self.start_sha256 = begin.info.sha256
        self.start_elements = begin.info.card.get("elements", [])

    def _load(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"{path}: no checkpoint to resume from; start without --resume")
        try:
            state = torch.load(path, map_location=self.parallel.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.descent.load(state["optimizer"], state["average"])
        except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path}: does not fit this configuration or is damaged ({reason})") from None
        self.step, self.elapsed = state["step"], state["elapsed"]


@contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    """TF32 for matrix products if requested; it is a setting of the process, which validates in float32."""
    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _append_csv(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(row)
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), columns)
    new = not path.exists() or path.stat().st_size == 0
    with open(path, "a", newline="", encoding="utf-8") as file:
        # A run resumed by a newer version may record more columns than the file started with.
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)
