"""The configuration of a training run (YAML, validated by pydantic)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from inpaint_hpc.configuration import Section, read_yaml, validate


class NetworkSection(Section):
    """Sizes; see `inpaint_hpc.network.score_network.NetworkConfig`."""

    scalars: int = Field(64, gt=0)
    channels: int = Field(32, gt=0)
    tensor_channels: int = Field(16, gt=0)
    hidden: int = Field(64, gt=0)
    host_layers: int = Field(3, gt=0)
    guest_layers: int = Field(4, gt=0)
    host_cutoff: float = Field(5.0, gt=0)
    guest_cutoff: float = Field(6.0, gt=0)
    n_basis: int = Field(10, gt=0)

    @model_validator(mode="after")
    def _tensors_fit(self) -> NetworkSection:
        if self.tensor_channels > self.channels:
            raise ValueError("tensor_channels must not exceed channels")
        return self


class MaskSection(Section):
    """Fractions of the mask mixture; see `inpaint_hpc.training.masks.MaskMixture`."""

    species: float = Field(0.65, ge=0)
    part: float = Field(0.19, ge=0)
    several: float = Field(0.04, ge=0)
    all: float = Field(0.12, ge=0)


class BatchSection(Section):
    """Batches; see `inpaint_hpc.training.batches.BatchSettings`."""

    batch_size: int = Field(16, gt=0)
    draws: int = Field(8, gt=0)
    guest_budget: int = Field(24, gt=0)
    sigma_min: float = Field(0.03, gt=0)
    sigma_max: float = Field(3.5, gt=0)
    host_noise: float = Field(0.1, ge=0)
    host_noise_fraction: float = Field(0.15, ge=0, le=1)
    supercell_atoms: int = Field(20, ge=0)
    host_strain: float = Field(0.0, ge=0, lt=0.2)
    pair_fraction: float = Field(0.0, ge=0, le=1)
    pair_partial: float = Field(0.3, ge=0, le=1)


class OptimizerSection(Section):
    """AdamW, warm-up, schedule, averaging.

    The learning rate rises over `warmup_steps`, then follows `schedule` over the budget: `cosine` to zero, or `hold`,
    constant until the last `decay_fraction` of the budget and linear to zero there, so that a run can be extended
    from its last checkpoint before the decay.
    """

    learning_rate: float = Field(4e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(200, ge=0)
    schedule: Literal["cosine", "hold"] = "cosine"
    decay_fraction: float = Field(0.3, gt=0, le=1)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    clip_norm: float = Field(1.0, gt=0)


class TrainingConfig(Section):
    """Everything that determines a training run.

    Attributes:
        data: packed HDF5 with a `split`.
        out: run directory for checkpoint, logs and weights.
        pairs: packed electrode file; `batch.pair_fraction` of the crystals of a batch come from it.
        pairs_max_atoms: pairs of at most this many atoms when discharged.
        start_from: packaged weights, or a .safetensors file, to start training from; sizes must be the same.
        max_atoms: crystals of at most this many atoms.
        steps, minutes: the budget; exactly one of them.
        threads: torch's threads in the process that trains.
        workers: processes that draw batches ahead; None takes the spare cores (at most 14) on a GPU, and none on a CPU,
            where the loop draws them itself.  The batches do not depend on it.
        cuda_graph: on a GPU with Triton, record forward and backward pass once and replay them (`cuda_graph.py`).
        precision: of the network in training: `tf32` and `bf16` are faster on a GPU; validation is always float32.
        checkpoint_moments: `bfloat16` makes the checkpoint a quarter smaller, but a resumed run then continues
            from rounded moments of the optimizer, not exactly.
    """

    data: Path
    out: Path
    pairs: Path | None = None
    pairs_max_atoms: int | None = Field(64, gt=0)
    start_from: str | None = None
    max_atoms: int | None = Field(20, gt=0)
    steps: int | None = Field(None, gt=0)
    minutes: float | None = Field(None, gt=0)
    seed: int = 0
    validate_every: int = Field(1000, gt=0)
    validation_crystals: int = Field(256, gt=0)
    checkpoint_minutes: float = Field(5.0, gt=0)
    log_every: int = Field(50, gt=0)
    threads: int | None = Field(None, gt=0)
    workers: int | None = Field(None, ge=0)
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    cuda_graph: bool = True
    checkpoint_moments: Literal["float32", "bfloat16"] = "float32"
    network: NetworkSection = NetworkSection()
    masks: MaskSection = MaskSection()
    batch: BatchSection = BatchSection()
    optimizer: OptimizerSection = OptimizerSection()

    @model_validator(mode="after")
    def _one_budget(self) -> TrainingConfig:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give exactly one of 'steps' and 'minutes'")
        if bool(self.pairs) != (self.batch.pair_fraction > 0):
            raise ValueError("'pairs' and batch.pair_fraction above 0 belong together; give both or neither")
        if self.batch.sigma_min >= self.batch.sigma_max:
            raise ValueError("batch.sigma_min must be smaller than batch.sigma_max")
        return self


def load_config(path: str | Path, overrides: dict[str, Any] | None = None) -> TrainingConfig:
    """Read and validate a YAML file; relative paths in it are relative to the working directory.

    Raises:
        InputError: unreadable file, unknown key (the nearest valid one is named) or a bad value.
    """
    data = read_yaml(path, "training configuration", "'data', 'out' and a budget")
    return validate(TrainingConfig, data | (overrides or {}), path)
