"""What can be scored: the folder of a benchmark, a run directory, or an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.campaign.archive_of import archive_of
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.placement_distances import STOL

from .les import lowest_states, with_states
from .protocols import BENCHMARK, hosts_of, protocol_of, random_of, references_of, stol_of
from .random_placement import with_chance
from .score import ScoredTask
from .training_distance import with_distances


@dataclass(frozen=True)
class Source:
    """An archive and how its benchmark, if it is of one, scores it.

    Attributes:
        archive: the archive.
        folder: of the benchmark; None without one.
        stol: right is up to this times (V / N)^(1/3).
        by: what groups of its table are.
        wanted: names of hosts that count, by ion; None counts all.
    """

    archive: Path
    folder: Path | None = None
    stol: float = STOL
    by: str = "ion"
    wanted: dict[str, set[str]] | None = None

    def with_kept_chance(self, scored: Sequence[ScoredTask], symprec: float, stol: float) -> list[ScoredTask]:
        """Scores with the chance rate where the benchmark was asked for it, of as many random placements."""
        count = None if self.folder is None else random_of(self.folder)
        if count is None:
            return list(scored)
        with Archive(self.archive) as opened:
            return with_chance(scored, opened.iter_records(), count, symprec, stol)

    def with_kept_distances(self, scored: Sequence[ScoredTask]) -> list[ScoredTask]:
        """Scores with the distances from the training data where the benchmark was given these."""
        return list(scored) if self.folder is None else with_distances(scored, self.folder)

    def with_kept_les(self, scored: Sequence[ScoredTask]) -> list[ScoredTask]:
        """Scores with LES where the benchmark's folder has it of every task; nothing is computed."""
        if self.folder is None or not (self.folder / "les.json").exists():
            return list(scored)
        references = references_of(self.folder)
        with Archive(self.archive) as opened:
            states = lowest_states(opened.iter_records(), self.folder / "les.json", references, compute=False)
        if any(one.candidates and one.task_id not in states for one in scored):
            return list(scored)
        return with_states(scored, states)


def find_source(path: Path) -> Source:
    """The source at a path.

    Raises:
        InputError: there is no archive yet, or no run directory.
    """
    if not path.is_dir():
        return Source(path)
    if not (path / BENCHMARK).exists():
        return Source(archive_of(path))
    if (path / "hosts.jsonl").exists():
        raise InputError(f"{path}: is a benchmark without an archive; its table is in {path / 'results'}")
    archive = archive_of(path)
    by = "guest_range" if protocol_of(path) == "electrodes" else "ion"
    return Source(archive, path, stol_of(path), by, hosts_of(path))
