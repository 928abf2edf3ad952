"""Tasks whose guests were on known sites of the spinel MnO2, with samples and candidates as a test wants them."""

from pathlib import Path

import numpy as np

import inpaint_hpc
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import Candidate, Sample
from inpaint_hpc.crystals.reading import read_hosts

SPINEL = read_hosts(Path(inpaint_hpc.__file__).parent / "examples" / "mno2" / "lambda_mp-25275.cif")[0]
SITES, WRONG = np.array([[0.125] * 3, [0.875] * 3]), np.array([[0.5] * 3, [0.0, 0.5, 0.5]])


def record(number, samples, candidates, guests=(3, 3), host=SPINEL, **more):
    """A task whose guests were on `SITES`; samples and candidates are lists of placements."""
    n = len(guests)
    return TaskRecord(
        task_id=f"{number:064x}",
        host=host,
        guests=guests,
        n_requested=len(samples),
        samples=[Sample(k, True, "", 2.0, -1, np.asarray(frac)[:n]) for k, frac in enumerate(samples)],
        candidates=[
            Candidate(rank=k, sample=-1, agreement=0.0, spread=None, min_distance=2.0, guest_frac_coords=frac[:n])
            for k, frac in enumerate(candidates)
        ],
        reference_frac_coords=SITES[:n],
        seconds={"sample": 1.5, "score": 0.5},
        **more,
    )
