"""CHGNet energies and forces of candidates (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)).

Calls chgnet's own `predict_graph`.  The model is loaded once per process and kept quiet: its greeting would otherwise
land on stdout, where `--json` promises one JSON object and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from inpaint_hpc.crystals.batch import Crystal

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet

MODEL_NAME = "0.3.0"
# Native chgnet keeps the whole graph for second derivatives: 16 x 20 atoms take 8.6 GB, so batches stay small.
BATCH_SIZE = 4
ATOMS_PER_BATCH = 96


@dataclass(frozen=True)
class Score:
    """What CHGNet says of one crystal.

    Attributes:
        energy_per_atom: eV per atom; NaN when failed.
        max_force: largest force on any atom, eV/A; NaN when failed.
        max_guest_force: largest force on a guest, eV/A; 0 without guests, NaN when failed.
        forces: eV/A, (n, 3); None when failed.
        error: why it failed, one line; '' when it did not.
    """

    energy_per_atom: float
    max_force: float
    max_guest_force: float
    forces: np.ndarray | None = None
    error: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.error)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=2)
def load_chgnet(device: str = "cpu") -> CHGNet:
    """The pretrained CHGNet on a device, once per process."""
    with _quiet():
        from chgnet.model.model import CHGNet

        model = CHGNet.load(model_name=MODEL_NAME, use_device=device, verbose=False)
    # Forces need derivatives by positions only.
    return model.eval().requires_grad_(False)


def score_crystals(
    crystals: Sequence[Crystal],
    n_guests: int | Sequence[int] = 0,
    device: Any = None,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int], None] | None = None,
) -> list[Score]:
    """Score crystals; one that raises or gives NaN is recorded as failed and leaves its neighbours alone.

    Args:
        crystals: host and guests, guests last.
        n_guests: how many atoms at the end are guests, for all crystals or for each.
        device: torch device; None takes the CPU.
        batch_size: most crystals at once; batches are also kept below `ATOMS_PER_BATCH` atoms.
        progress: called with the number of crystals finished since the last call.

    Returns:
        One `Score` per crystal, in order.
    """
    counts = [n_guests] * len(crystals) if isinstance(n_guests, int) else list(n_guests)
    if len(counts) != len(crystals):
        raise ValueError(f"{len(crystals)} crystals but {len(counts)} numbers of guests")
    if not crystals:
        return []
    model = load_chgnet(str(device or "cpu"))
    scores: list[Score] = []
    for start, stop in _batches([len(c) for c in crystals], batch_size):
        with _quiet():
            scores += _score_batch(model, crystals[start:stop], counts[start:stop])
        if progress is not None:
            progress(stop - start)
    return scores


def _batches(sizes: Sequence[int], batch_size: int) -> Iterator[tuple[int, int]]:
    start, atoms = 0, 0
    for i, size in enumerate(sizes):
        if i > start and (i - start >= batch_size or atoms + size > ATOMS_PER_BATCH):
            yield start, i
            start, atoms = i, 0
        atoms += size
    yield start, len(sizes)


def _score_batch(model: CHGNet, crystals: Sequence[Crystal], n_guests: Sequence[int]) -> list[Score]:
    graphs, scores = {}, {}
    for i, crystal in enumerate(crystals):
        try:
            graphs[i] = model.graph_converter(crystal.to_structure())
        except Exception as error:
            scores[i] = _failure(error)
    predictions = {}
    if graphs:
        try:
            predictions = dict(zip(graphs, _predict(model, list(graphs.values())), strict=True))
        except Exception:
            # One crystal can spoil its batch: try each alone, so that only the culprit fails.
            for i, graph in graphs.items():
                try:
                    predictions[i] = _predict(model, [graph])[0]
                except Exception as error:
                    scores[i] = _failure(error)
    for i, prediction in predictions.items():
        scores[i] = _score(prediction, n_guests[i])
    return [scores[i] for i in range(len(crystals))]


def _predict(model: CHGNet, graphs: list) -> list[dict[str, np.ndarray]]:
    predictions = model.predict_graph(graphs, task="ef", batch_size=len(graphs))
    return [predictions] if isinstance(predictions, dict) else predictions


def _score(prediction: dict[str, np.ndarray], n_guests: int) -> Score:
    energy, forces = float(prediction["e"]), np.asarray(prediction["f"], dtype=np.float64)
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return _failure("CHGNet gives an energy or force that is not a finite number")
    sizes = np.linalg.norm(forces, axis=1)
    guests = sizes[len(sizes) - n_guests :]
    return Score(energy, float(sizes.max(initial=0.0)), float(guests.max(initial=0.0)), forces)


def _failure(error: Exception | str) -> Score:
    text = " ".join((str(error) or type(error).__name__).split())
    return Score(float("nan"), float("nan"), float("nan"), None, f"not scored: {text}")
