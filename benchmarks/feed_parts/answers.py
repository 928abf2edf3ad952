"""What the networks answered in a run on this CPU, to be given again for copies of its hosts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

REFINED = "refine"  # as orderings/denoise_placements.py calls it


class Answers:
    """Denoised guests of samples, by what does not change from a host to its copies.

    Attributes:
        steps: of every relaxation.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._known: dict[str, dict[int, np.ndarray]] = {}

    def keep(self, batch: Any, found: np.ndarray) -> None:
        """Those of a batch of samples; `found` (G, 3)."""
        for (name, index), coords in zip(_samples(batch), _of_samples(batch, found), strict=True):
            if not name.endswith(REFINED):  # placements that are chosen by energies, of which a copy has others
                self._known.setdefault(name, {})[index] = coords

    def of(self, batch: Any, start: np.ndarray) -> np.ndarray:
        """Fractional coordinates (G, 3) for a batch that begins at `start`, where refined placements stay.

        A sample that was not drawn in the recorded run is like one that was.  The order in which guests were placed one
        after another is drawn for each copy, but all of a host are of one element.
        """
        answers = []
        for (name, index), coords in zip(_samples(batch), _of_samples(batch, start), strict=True):
            if not name.endswith(REFINED):
                known = self._known[name]
                coords = known[index] if index in known else list(known.values())[index % len(known)]
            answers.append(coords)
        return np.concatenate(answers)

    def save(self, path: Path) -> None:
        """Write a file for `load`."""
        arrays = {"steps": np.array(self.steps)}
        for name, known in self._known.items():
            arrays |= {f"{name}|indices": np.array(list(known)), f"{name}|coords": np.stack(list(known.values()))}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Answers:
        """What `save` wrote."""
        found = cls()
        with np.load(path) as arrays:
            found.steps = arrays["steps"].tolist()
            for name in (one.removesuffix("|indices") for one in arrays.files if one.endswith("|indices")):
                indices = arrays[f"{name}|indices"].tolist()
                found._known[name] = dict(zip(indices, arrays[f"{name}|coords"], strict=True))
        return found


def _samples(batch: Any) -> list[tuple[str, int]]:
    """Name of the answers, and index, of each sample: the name says host, guests, atoms, and the stage by the end of
    the id of its random numbers, e.g. the turn of guests that are placed one after another."""
    names = []
    for task in batch.tasks:
        stage = task.random_id.rpartition(":")[2] if ":" in task.random_id else ""
        guests = "-".join(map(str, task.guests))
        names.append(f"{task.host.name.split('#')[0]}|{guests}|{len(task.host)}|{stage}")
    return [(names[row], k) for row, k in zip(batch.host.tolist(), batch.rng.samples.tolist(), strict=True)]


def _of_samples(batch: Any, guests: np.ndarray) -> list[np.ndarray]:
    return np.split(guests, np.cumsum(batch.n_guests.numpy())[:-1])


@contextlib.contextmanager
def replaced(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    """Owners, names and values of attributes meanwhile."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@contextlib.contextmanager
def recording(answers: Answers) -> Iterator[None]:
    """Keep what the networks answer in this process meanwhile."""
    from inpaint_hpc.pipeline import ranking_stage
    from inpaint_hpc.sampling import joint

    denoise = joint._denoise

    def kept(strategy: Any, batch: Any, *arguments: Any) -> np.ndarray:
        found = denoise(strategy, batch, *arguments)
        answers.keep(batch, found)
        return found

    relaxing = [(ranking_stage, "relax", counted(ranking_stage.relax, answers.steps))]
    with replaced([(joint, "_denoise", kept), *relaxing]):
        yield


def counted(relax: Callable[..., Any], steps: list[int]) -> Callable[..., Any]:
    """`relax`, which adds the steps of what it relaxes."""

    def relaxed(*arguments: Any, **options: Any) -> Any:
        found = relax(*arguments, **options)
        steps.extend(one.steps for one in found)
        return found

    return relaxed
