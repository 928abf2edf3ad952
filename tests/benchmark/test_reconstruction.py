"""The reconstruction protocol: hosts, matches, intervals."""

import numpy as np
import pytest
import torch

from inpaint_hpc.benchmark.generation import generation_row
from inpaint_hpc.benchmark.reconstruction import (
    choose_references,
    intercalate,
    reconstruct,
    summarize,
)
from inpaint_hpc.crystals.batch import Crystals
from inpaint_hpc.crystals.packed import read_electrodes
from inpaint_hpc.errors import InputError
from inpaint_hpc.sampling.sample import SamplingSettings

SMOKE = "tests/data/smoke.h5"


class Pull:
    """Knows where the atoms belong: the exact denoiser of given crystals, in the order in which hosts are encoded."""

    sigma_min, sigma_max = 0.03, 3.5

    def __init__(self, references, ion):
        self.clean = {c.numbers.tobytes() + c.lattice.tobytes(): c for c in references}
        # All atoms are guests where there is no ion; guests come sorted by their numbers.
        guests = [np.argsort(c.numbers, kind="stable") if ion is None else c.numbers == ion for c in references]
        self.goals = [c.positions[rows] for c, rows in zip(references, guests, strict=True)]
        self.lattices = [c.lattice for c in references]

    def encode(self, hosts: Crystals):
        return hosts

    def denoise(self, hosts, guests, sigma):
        result = torch.zeros_like(guests.positions)
        for s, b in enumerate(guests.host.tolist()):
            # Which reference this host is, by its cell.
            cell = hosts.cells[b].double().numpy()
            k = int(np.argmin([np.abs(lattice - cell).max() for lattice in self.lattices]))
            rows = guests.sample == s
            goal = torch.tensor(self.goals[k]).float()
            result[rows] = (goal - guests.positions[rows]) / sigma[s]
        return result


def ion_of():
    from inpaint_hpc.crystals.packed import PackedDataset

    numbers = PackedDataset(SMOKE).numbers
    return int(np.bincount(numbers[numbers != 8]).argmax())


def test_a_denoiser_that_knows_the_answer_matches_everything():
    ion = ion_of()
    references = choose_references(SMOKE, ion, limit=4)
    assert all(0 < (c.numbers == ion).sum() < len(c) for c in references)
    results = reconstruct(Pull(references, ion), references, ion, SamplingSettings(samples=2, steps=4))
    assert all(r.matches.all() and len(r.matches) == 2 for r in results)
    assert all(np.nanmax(r.rmsd) < 1e-3 and r.clusters == ((0, 1),) for r in results)
    assert summarize(results)["hosts"] == 4 and summarize(results)["one"] == 1.0


def test_the_choice_of_hosts_is_random_but_fixed():
    ion = ion_of()
    a, b = (choose_references(SMOKE, ion, limit=5, seed=1) for _ in range(2))
    assert [c.name for c in a] == [c.name for c in b]
    assert [c.name for c in a] != [c.name for c in choose_references(SMOKE, ion, limit=5, seed=2)]
    with pytest.raises(InputError, match="no crystal"):
        choose_references(SMOKE, 85)


def test_rates_and_intervals():
    from inpaint_hpc.benchmark.reconstruction import Reconstruction

    matches = [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]]
    rmsd = np.array([0.1, 0.2, np.nan, 0.4])
    results = [Reconstruction(None, 1, np.array(m, bool), rmsd) for m in matches]
    record = summarize(results)
    assert record["one"] == pytest.approx(7 / 16) and record["any"] == pytest.approx(0.75)
    assert record["one_low"] < record["one"] < record["one_high"]
    # Of samples that match: 0.1 and 0.2, then 0.1, 0.2 and 0.4, then 0.2.
    assert record["rmsd"] == pytest.approx(0.2)
    assert summarize([])["one"] is None


def test_guests_go_back_into_hosts_that_relaxed_without_them():
    pairs = [p for p in read_electrodes("tests/data/electrodes.h5") if p.n_guest == 2]
    # The exact denoiser puts guests where they are in the reference, in the cell of the host.
    placed = [p.host.with_guests([p.guest_z] * 2, p.reference.frac_coords[-2:]) for p in pairs]
    for pair, crystal in zip(pairs, placed, strict=True):
        settings = SamplingSettings(samples=2, steps=4)
        (result,) = intercalate(Pull([crystal], pair.guest_z), [pair], settings)
        assert result.matches.all() and result.rmsd.max() < 1e-3
        assert result.n_guests == 2


def test_generation_of_a_known_crystal():
    for one in choose_references(SMOKE, ion_of(), limit=2):
        row = generation_row(Pull([one], None), one, SamplingSettings(samples=2, steps=4))
        assert row["one_sample"] == row["valid"] == 1.0 and row["any"] and row["rmsd"] < 1e-3
