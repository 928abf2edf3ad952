"""From hosts and guests to ranked candidates, with a network whose sites are known."""

import numpy as np
import pytest
import torch
from example_hosts import SPINEL
from pymatgen.core import Structure

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.errors import InputError
from inpaint_hpc.network.weights import load_network
from inpaint_hpc.pipeline.inpaint import PipelineSettings, generate, inpaint, inpaint_many, run_tasks
from inpaint_hpc.pipeline.result_files import document, folder_names, to_json, write_candidates
from inpaint_hpc.pipeline.results import COLUMNS
from inpaint_hpc.sampling.contact_distances import invalid_samples
from inpaint_hpc.sampling.settings import SamplingSettings
from inpaint_hpc.sampling.tasks import Task

# CsCl structure, 5 A.
HOST = Crystal([12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], np.eye(3) * 5.0, "cube")
OPEN = [0.5, 0.5, 0.0]  # a face centre, 2.5 A from O
NEAR_MG = [0.2, 0.0, 0.0]  # 1 A from Mg


class NearestSite:
    """Every guest is drawn to the nearest of given sites (fractional) and ends exactly on it."""

    sigma_min, sigma_max, dtype = 0.03, 3.5, torch.float64

    def __init__(self, *sites):
        self.sites = torch.tensor(sites, dtype=torch.float64)

    def encode(self, hosts):
        return hosts

    def denoise(self, hosts, guests, sigma):
        cells = hosts.cells[guests.crystal]
        frac = torch.linalg.solve(cells.transpose(1, 2), guests.positions)
        delta = self.sites[None] - frac[:, None]
        delta = (delta - torch.round(delta)) @ cells
        nearest = delta.norm(dim=2).argmin(1)
        return delta[torch.arange(len(delta)), nearest] / sigma[guests.sample][:, None]


def test_one_site_is_one_candidate_with_its_multiplicity():
    # Two symmetry-equivalent 8a sites and a 16c site.
    network = NearestSite([0.125] * 3, [0.875] * 3, [0.5, 0.0, 0.0])
    result = inpaint(network, SPINEL, {"Li": 1}, samples=24, steps=6, score=False)
    assert [c.wyckoff for c in result.candidates] == [("8a",), ("16c",)]
    assert [c.multiplicity for c in result.candidates] == [(2,), (4,)]
    assert [c.rank for c in result.candidates] == [0, 1]
    first, second = result.candidates
    assert first.count > second.count
    assert first.count + second.count == result.n_valid == result.n_drawn == 24
    assert first.agreement == pytest.approx(first.count / 24)
    assert sorted(first.members + second.members) == list(range(24))
    assert first.sample in first.members
    assert first.spread < 0.01
    assert first.min_distance == pytest.approx(1.94, abs=0.01)
    assert first.energy_per_atom is None and result.n_invalid == 0 and not result.notes


def test_host_comes_back_bit_identical_and_guests_last():
    result = inpaint(NearestSite([0.125] * 3), SPINEL, ["Li"], samples=2, steps=4, score=False)
    crystal = result.crystal(0)
    assert crystal.frac_coords[: len(SPINEL)].tobytes() == SPINEL.frac_coords.tobytes()
    assert crystal.lattice.tobytes() == SPINEL.lattice.tobytes()
    assert crystal.numbers.tolist() == [*SPINEL.numbers.tolist(), 3]
    structure = result.structure(0)
    assert isinstance(structure, Structure) and structure.composition.reduced_formula == "LiMn4O8"
    for rank in (1, -1):
        with pytest.raises(IndexError, match="has 1 candidates"):
            result.structure(rank)


def test_impossible_samples_are_counted_and_drawn_again_with_fresh_indices():
    network = NearestSite(OPEN, NEAR_MG)
    result = inpaint(network, HOST, {"Li": 1}, samples=12, steps=6, score=False, redraws=20)
    (candidate,) = result.candidates
    assert result.n_valid == candidate.count == 12
    assert result.n_invalid == result.n_drawn - 12 > 0
    assert result.invalid_rate == pytest.approx(result.n_invalid / result.n_drawn)
    assert result.reasons == {"Li within 1.61 A of host Mg": result.n_invalid}
    assert max(candidate.members) >= 12 and len(set(candidate.members)) == 12
    # Drawing 12 of one seed is the beginning of drawing more.
    more = inpaint(network, HOST, {"Li": 1}, samples=14, steps=6, score=False, redraws=20)
    assert set(candidate.members) <= set(more.candidates[0].members)


def test_no_redraws_and_too_few_of_them():
    network = NearestSite(OPEN, NEAR_MG)
    result = inpaint(network, HOST, {"Li": 1}, samples=12, steps=6, score=False, redraws=0)
    assert result.n_drawn == 12 and 0 < result.n_invalid < 12
    assert result.notes == (f"only {result.n_valid} possible samples in 12 draws, not 12",)
    assert result.candidates[0].agreement == 1.0


def test_all_samples_impossible_is_said_and_no_error():
    result = inpaint(NearestSite(NEAR_MG), HOST, {"Li": 1}, samples=4, steps=4, redraws=2)
    assert len(result) == 0 and result.n_drawn == result.n_invalid == 12
    assert result.notes[0].startswith("all 12 samples are impossible (Li within 1.61 A of host Mg)")
    assert result.table().empty and list(result.table().columns) == COLUMNS
    assert "candidates" in to_json(document("inpaint", [result], 1.0))


def test_guests_on_one_site_are_impossible():
    result = inpaint(NearestSite(OPEN), HOST, {"Li": 2}, samples=3, steps=4, score=False, redraws=1)
    assert result.n_invalid == 6 and result.reasons == {"Li within 1.54 A of guest Li": 6}


def test_host_that_already_contains_the_guest_is_allowed_and_said():
    result = inpaint(NearestSite(OPEN), HOST, {"Mg": 1}, samples=2, steps=4, score=False)
    assert len(result) == 1
    assert result.notes == ("the host already contains 1 Mg atom; it stays fixed",)


def test_ranked_by_chgnet_energy():
    network = NearestSite([0.125] * 3, [0.5, 0.0, 0.0], [0.3, 0.3, 0.3])
    reports = []
    result = inpaint(
        network, SPINEL, {"Li": 1}, samples=20, steps=6, progress=lambda *report: reports.append(report), redraws=9
    )
    energies = [c.energy_per_atom for c in result.candidates]
    assert len(energies) >= 2 and energies == sorted(energies)
    best = result.candidates[0]
    assert best.wyckoff == ("8a",) and best.rank == 0
    assert best.energy_per_atom == pytest.approx(-7.8386, abs=0.001)
    # By symmetry there is no force on an ion in 8a.
    assert best.max_guest_force < 0.02 < best.max_force
    stages = [stage for stage, _, _ in reports]
    assert stages.index("sample") < stages.index("score")
    assert reports[-1] == ("score", result.evaluations, result.evaluations)  # also of voids that are not kept
    assert set(result.seconds) == {"sample", "deduplicate", "score"}


def test_candidate_that_cannot_be_scored_is_last_and_said():
    # A molecule and an atom in a large box: CHGNet has nothing to say of the atom unless the guest is beside it.
    host = Crystal([12, 8, 8], [[0.45, 0.5, 0.5], [0.55, 0.5, 0.5], [0.0, 0.0, 0.0]], np.eye(3) * 18.0, "box")
    network = NearestSite([0.13, 0.0, 0.0], [0.68, 0.5, 0.5])
    result = inpaint(network, host, {"Li": 1}, samples=12, steps=6)
    first, second = result.candidates
    assert first.energy_per_atom is not None and first.min_distance == pytest.approx(0.13 * 18)
    assert second.energy_per_atom is None and second.max_force is None and second.rank == 1
    assert "isolated" in second.error
    assert result.notes[0] == "CHGNet could not score 1 of 2 candidates" and "empty space" in result.notes[1]
    assert len(result.notes) == 2
    assert '"energy_per_atom_eV": null' in to_json(document("inpaint", [result], 0.0))


def test_many_hosts_together_equal_each_alone():
    network = NearestSite([0.125] * 3, [0.5, 0.5, 0.0])
    guests = [{"Li": 1}, {"Li": 1, "Na": 1}]
    together = inpaint_many(network, [SPINEL, HOST], guests, samples=5, steps=5, score=False)
    for result, host, wanted in zip(together, [SPINEL, HOST], guests, strict=True):
        alone = inpaint(network, host, wanted, samples=5, steps=5, score=False)
        assert result.host is host and result.n_drawn == alone.n_drawn
        assert len(result) == len(alone)
        for a, b in zip(result.candidates, alone.candidates, strict=True):
            np.testing.assert_allclose(a.guest_frac_coords, b.guest_frac_coords, atol=1e-9)
            assert a.members == b.members
    assert together[1].guest_label == "Li=1 Na=1"
    with pytest.raises(InputError, match="2 hosts but guests for 1"):
        inpaint_many(network, [SPINEL, HOST], [{"Li": 1}])


def test_candidates_are_possible_whatever_the_network_says():
    network = NearestSite(*np.random.default_rng(0).random((40, 3)).tolist())
    result = inpaint(network, SPINEL, {"Li": 2}, samples=10, steps=6, score=False, redraws=30)
    assert result.n_invalid > 0
    for candidate in result.candidates:
        checked = invalid_samples(SPINEL, [3, 3], candidate.guest_frac_coords[None])
        assert not checked.invalid[0]
        assert candidate.min_distance == pytest.approx(float(checked.min_distance[0]))


def test_generation_finds_equal_crystals():
    # Rock salt or CsCl, wherever the crystal lies in the cell: the pair of atoms decides.
    class Pair(NearestSite):
        def denoise(self, hosts, guests, sigma):
            x = guests.positions.reshape(-1, 2, 3)
            delta = torch.tensor([[2.1, 2.1, 2.1]], dtype=x.dtype) - (x[:, 1] - x[:, 0])
            delta = delta - 4.2 * torch.round(delta / 4.2)
            pull = torch.stack([-0.5 * delta, 0.5 * delta], 1).reshape(-1, 3)
            return pull / sigma[guests.sample][:, None]

    result = generate(Pair([0.0] * 3), "Li1 F1", lattice=np.eye(3) * 4.2, samples=5, steps=5, score=False)
    (candidate,) = result.candidates
    assert candidate.count == 5 and candidate.spacegroup == "Pm-3m"
    assert candidate.multiplicity == () and candidate.spread is None
    assert result.structure(0).composition.reduced_formula == "LiF"
    assert result.name == "Li1F1"
    with pytest.raises(InputError, match="more than the cell"):
        generate(Pair([0.0] * 3), "Li8", volume_per_atom=0.5)


def test_bad_requests_are_one_line_errors():
    network = NearestSite(OPEN)
    for guests, match in (
        ({}, "no guests"),
        ({"Li": 0}, "no guests"),
        ({"Xx": 1}, "unknown element"),
        ({"Li": 500}, "more than the cell of 125 A"),
    ):
        with pytest.raises(InputError, match=match):
            inpaint(network, HOST, guests)
    with pytest.raises(InputError, match="unknown setting 'stepz'"):
        inpaint(network, HOST, ["Li"], stepz=4)
    with pytest.raises(InputError, match="tolerance must be"):
        inpaint(network, HOST, ["Li"], tolerance=0.0)
    with pytest.raises(InputError, match="redraws"):
        PipelineSettings(redraws=-1)


def test_run_tasks_and_settings_are_recorded():
    (result,) = run_tasks(
        NearestSite(OPEN), [Task(HOST, {"Li": 1})], SamplingSettings(samples=3, steps=5), PipelineSettings(score=False)
    )
    assert result.settings["samples"] == 3 and result.settings["nfe"] == 5 and result.settings["score"] is False
    table = result.table()
    assert list(table.columns) == COLUMNS and table.loc[0, "count"] == 3


def test_written_files_and_document(tmp_path):
    network = NearestSite([0.125] * 3, [0.5, 0.0, 0.0])
    results = [inpaint(network, SPINEL, {"Li": 1}, samples=8, steps=5, score=False) for _ in range(2)]
    stale = tmp_path / "lambda_mp-25275" / "rank-007.cif"
    stale.parent.mkdir()
    stale.write_text("of an earlier run")
    files = write_candidates(results, tmp_path, top=1)
    assert folder_names(results) == ["lambda_mp-25275", "lambda_mp-25275-2"]
    assert [p.relative_to(tmp_path).as_posix() for p in files[0] + files[1]] == [
        "lambda_mp-25275/rank-000.cif",
        "lambda_mp-25275-2/rank-000.cif",
    ]
    assert not stale.exists()
    assert read_hosts(files[0])[0].formula == "Li1 Mn4 O8"
    content = document("inpaint", results, 2.5, files, top=1)
    assert [len(host["candidates"]) for host in content["hosts"]] == [1, 1]
    assert content["hosts"][0]["candidates"][0]["file"] == str(files[0][0])
    with pytest.raises(InputError, match="unknown format 'pdf'"):
        write_candidates(results, tmp_path, "pdf")


def test_shipped_weights_find_lithium_in_spinel():
    """LiMn2O4: Li on the tetrahedral 8a site, known since Hunter, J. Solid State Chem. 39, 142 (1981)."""
    result = inpaint(load_network(), SPINEL, {"Li": 1}, samples=8)
    best = result.candidates[0]
    assert best.wyckoff == ("8a",) and best.count >= 2
    assert best.min_distance == pytest.approx(1.94, abs=0.1)
    assert result.weights["sha256"] == load_network().info.sha256
