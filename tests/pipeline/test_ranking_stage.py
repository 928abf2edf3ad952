"""Relaxation in the pipeline: what is relaxed, how it ranks, what becomes one, and what diverges."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from example_hosts import SPINEL

import inpaint_hpc
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.campaign.task_records import done_record, results_of
from inpaint_hpc.campaign.task_tables import CampaignTask
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.candidate_order import by_energy
from inpaint_hpc.pipeline.inpaint import inpaint_many
from inpaint_hpc.pipeline.ranking_stage import TaskCandidates, most_promising, rank_by_energy
from inpaint_hpc.pipeline.results import Candidate, Relaxed
from inpaint_hpc.pipeline.settings import PipelineSettings, settings_that_decide
from inpaint_hpc.pipeline.unique_minima import SAME_ENERGY, merge_minima
from inpaint_hpc.pipeline.wyckoff_cache import WyckoffCache
from inpaint_hpc.sampling.tasks import Task
from inpaint_hpc.scoring.chgnet.batch import evaluate

SITE_8A = np.array([0.125] * 3)
SITE_16C = np.array([0.5, 0.0, 0.0])
OXYGEN = SPINEL.frac_coords[SPINEL.numbers == 8][0]


def beside(frac, *shift):
    """A position `shift` A away."""
    return np.asarray(frac) + np.array(shift) @ np.linalg.inv(SPINEL.lattice)


def candidate(position, rank=0, members=(0,), agreement=0.1):
    coords = np.atleast_2d(position) % 1.0
    return Candidate(
        rank=rank,
        guest_frac_coords=coords,
        sample=members[0],
        members=members,
        agreement=agreement,
        spread=0.1,
        min_distance=1.5,
        multiplicity=(1,),
        wyckoff=("?",),
    )


def staged(positions, guests=(3,), host=SPINEL, **settings):
    """Placements after scoring and relaxation; candidate k stands for sample k."""
    pipeline = PipelineSettings(**{"relax": "guests", "fmax": 0.03, **settings})
    found = [candidate(p, k, (k,), 1 / len(positions)) for k, p in enumerate(positions)]
    one = TaskCandidates(Task(host, list(guests)), WyckoffCache(host, pipeline.symprec, pipeline.tolerance), found)
    rank_by_energy([one], pipeline, "cpu")
    return one


def test_candidates_of_one_minimum_become_one_and_keep_how_often_it_was_found():
    # Two placements beside 8a, one beside the other 8a site (the same by symmetry), one in 16c.
    positions = [beside(SITE_8A, 0.3, 0.1, 0), beside(SITE_8A, -0.2, 0, 0.3), beside(7 * SITE_8A, 0, 0.3, 0), SITE_16C]
    one = staged(positions)
    first, second = one.candidates
    assert first.members == (0, 1, 2) and first.count == first.placements == 3
    assert first.agreement == pytest.approx(3 / 4) and first.spread is None
    assert (first.wyckoff, first.multiplicity) == (("8a",), (2,))
    assert second.members == (3,) and second.placements == 1 and second.spread == 0.1
    assert (first.rank, second.rank) == (0, 1) and first.ranking_energy < second.ranking_energy
    assert first.relaxed.outcome == "converged" and 0 < first.relaxed.steps < 100
    assert first.relaxed.energy_per_atom < first.energy_per_atom - 1e-3
    assert first.relaxed.max_guest_force < 0.03 < first.max_guest_force
    # The energy is that of the structure handed out, and the host is what it was.
    crystal = first.relaxed.crystal(SPINEL, (3,))
    assert evaluate([crystal]).energy_per_atom[0] == pytest.approx(first.relaxed.energy_per_atom, abs=1e-5)
    assert crystal.frac_coords[: len(SPINEL)].tobytes() == SPINEL.frac_coords.tobytes()
    assert crystal.lattice.tobytes() == SPINEL.lattice.tobytes()
    assert ((crystal.frac_coords[-1] >= 0) & (crystal.frac_coords[-1] < 1)).all()
    assert {"score", "relax"} == set(one.seconds)


def test_only_the_best_are_relaxed_and_come_first():
    positions = [SITE_16C, beside(SITE_8A, 0.5, 0.3, 0), beside(SITE_8A, 0.1, 0, 0), beside(SITE_16C, 0.4, 0.2, 0)]
    one = staged(positions, top_k=2, tolerance=0.05)
    relaxed = [c for c in one.candidates if c.relaxed is not None]
    static = [c.energy_per_atom for c in one.candidates]
    assert len(one.candidates) - len(relaxed) == 2 and relaxed == one.candidates[: len(relaxed)]
    assert sum(c.placements for c in relaxed) == 2
    others = one.candidates[len(relaxed) :]
    assert max(c.energy_per_atom for c in relaxed) < min(c.energy_per_atom for c in others)
    assert static[len(relaxed) :] == sorted(static[len(relaxed) :])


def test_a_quarter_of_what_is_relaxed_is_what_samples_agree_on():
    energies, agreement = [-7.0, -6.9, -6.8, -6.7, -6.6, None], [0.1, 0.0, 0.2, 0.0, 0.7, 0.9]
    found = [
        replace(candidate(SITE_8A, k), members=(k,) if share else (), agreement=share, energy_per_atom=energy)
        for k, (energy, share) in enumerate(zip(energies, agreement, strict=True))
    ]
    assert most_promising(found, 1) == [0]
    assert most_promising(found, 2) == [0, 4]
    assert most_promising(found, 3) == [0, 1, 4]
    assert most_promising(found, None) == most_promising(found, 9) == [0, 1, 2, 3, 4]


def test_a_void_is_first_only_where_it_was_relaxed_or_nothing_else_has_an_energy():
    def order(*rows):
        """Candidates in their ranking, made from (origin, energy as placed, energy relaxed)."""
        made = [
            replace(
                candidate(SITE_8A, k),
                origin=origin,
                energy_per_atom=energy,
                relaxed=None if relaxed is None else Relaxed(energy_per_atom=relaxed, outcome="converged", steps=1),
            )
            for k, (origin, energy, relaxed) in enumerate(rows)
        ]
        return by_energy(made)

    void, shown = ("void", -7.0, None), ("joint", -6.9, None)
    assert order(void, shown) == [1, 0]
    assert order(void, ("joint", None, None), shown) == [2, 0, 1]
    assert order(void, ("joint", None, None)) == [0, 1]  # one without an energy is never first
    assert order(("void", -7.0, -7.1), shown) == [0, 1]  # nor one that was not relaxed, beside one that was
    assert order(("void", -7.0, -7.1), ("joint", -6.9, -7.2)) == [1, 0]


def test_a_short_relaxation_chooses_what_is_relaxed():
    # 0.45 A beside 8a is higher as placed than the saddle-like 16c, and lower after a few steps.
    positions = [SITE_16C, beside(SITE_8A, 0.45, 0.35, 0.3), beside(SITE_16C, 0.1, 0, 0), beside(SITE_16C, 0, 0.1, 0.1)]
    direct, staged_ones = (staged(positions, top_k=1, tolerance=0.05, stage_steps=s) for s in (0, 12))
    first, other = direct.candidates[0], staged_ones.candidates[0]
    assert min(c.energy_per_atom for c in direct.candidates) == first.energy_per_atom
    assert sum(c.relaxed is not None for c in staged_ones.candidates) == 1
    assert other.relaxed.sound and other.relaxed.energy_per_atom < first.relaxed.energy_per_atom - 1e-3
    assert other.members == (1,) and other.energy_per_atom > first.energy_per_atom
    with pytest.raises(InputError, match="needs top_k"):
        PipelineSettings(relax="guests", stage_steps=5)


def test_what_samples_agree_on_is_relaxed_even_if_it_is_high_after_a_few_steps():
    positions = [beside(SITE_8A, 0.1, 0, 0), beside(SITE_8A, 0, 0.2, 0), beside(SITE_8A, 0, 0, 0.3), SITE_16C]
    for share, relaxed in ((0.05, {0, 1}), (0.9, {0, 3})):
        found = [candidate(p, k, (k,), share if k == 3 else 0.1 - 0.01 * k) for k, p in enumerate(positions)]
        pipeline = PipelineSettings(relax="guests", fmax=0.1, top_k=2, stage_steps=3, tolerance=0.01)
        one = TaskCandidates(Task(SPINEL, [3]), WyckoffCache(SPINEL, 0.1, 0.01), found)
        rank_by_energy([one], pipeline, "cpu")
        assert {m for c in one.candidates if c.relaxed is not None for m in c.members} == relaxed


@pytest.mark.parametrize("mode", ["positions", "cell"])
def test_host_and_cell_move_when_they_may(mode):
    one = staged([beside(SITE_8A, 0.2, 0.1, 0), beside(SITE_8A, 0, -0.2, 0.1)], relax=mode, fmax=0.1, tolerance=0.05)
    (best,) = one.candidates
    assert best.placements == 2 and best.relaxed.outcome == "converged"
    assert best.relaxed.host_frac_coords.shape == (12, 3)
    assert not np.array_equal(best.relaxed.host_frac_coords, SPINEL.frac_coords)
    assert (best.relaxed.lattice is None) == (mode == "positions")
    crystal = best.relaxed.crystal(SPINEL, (3,))
    result = evaluate([crystal])
    assert result.energy_per_atom[0] == pytest.approx(best.relaxed.energy_per_atom, abs=1e-5)
    assert float(result.forces.norm(dim=1).max()) < 0.1 + 1e-3
    assert best.wyckoff == ("?",)  # of the host that was: as placed


def test_bad_candidates_are_last_and_leave_the_others_alone():
    """On an oxygen (no energy), 0.55 A from one (falls into it), and a good one: which alone gives the same bits."""
    good = beside(SITE_8A, 0.2, 0.1, 0)
    towards = np.random.default_rng(0).normal(size=(5, 3))[4]
    falling = beside(OXYGEN, *(0.55 * towards / np.linalg.norm(towards)))
    one = staged([OXYGEN, falling, [np.nan] * 3, good])
    (alone,) = staged([good]).candidates
    best, diverged, *unscored = one.candidates
    assert best.relaxed.outcome == "converged" and best.error == ""
    assert best.relaxed.energy_per_atom == pytest.approx(alone.relaxed.energy_per_atom, abs=1e-5)
    np.testing.assert_allclose(best.relaxed.guest_frac_coords, alone.relaxed.guest_frac_coords, atol=1e-3)
    assert diverged.relaxed.outcome == "diverged" and diverged.relaxed.guest_frac_coords is None
    assert diverged.error.startswith("not relaxed: ") and diverged.energy_per_atom is not None
    with pytest.raises(ValueError, match="diverged"):
        diverged.relaxed.crystal(SPINEL, (3,))
    assert len(unscored) == 2
    assert all(c.energy_per_atom is None and c.relaxed is None and "not scored" in c.error for c in unscored)


def test_tasks_together_are_tasks_one_by_one():
    pipeline = PipelineSettings(relax="guests", top_k=2, fmax=0.1)
    tasks = [Task(SPINEL, ["Li"]), Task(SPINEL, ["Mg"]), Task(SPINEL, ["Na"])]
    positions = [[beside(SITE_8A, 0.2, 0.1, 0), SITE_16C, beside(SITE_16C, 0.3, 0.3, 0)], [SITE_16C], []]
    outcomes = []
    for together in (False, True):
        placements = [
            TaskCandidates(task, WyckoffCache(SPINEL, 0.1, 0.5), [candidate(p, k, (k,)) for k, p in enumerate(chosen)])
            for task, chosen in zip(tasks, positions, strict=True)
        ]
        reports = []
        rank_by_energy(placements, pipeline, "cpu", lambda *report: reports.append(report), together)  # noqa: B023
        assert [report for report in reports if report[1] == report[2]] == [("score", 4, 4), ("relax", 3, 3)]
        outcomes.append(placements)
    for a, b in zip(*outcomes, strict=True):
        assert [(c.sample, c.members, c.wyckoff) for c in a.candidates] == [
            (c.sample, c.members, c.wyckoff) for c in b.candidates
        ]
        for one, other in zip(a.candidates, b.candidates, strict=True):
            assert one.ranking_energy == pytest.approx(other.ranking_energy, abs=1e-5)
            assert (one.relaxed is None) == (other.relaxed is None)
    assert len(outcomes[0][0].candidates) >= 2 and outcomes[0][2].candidates == []


def test_a_minimum_on_a_host_atom_is_none():
    """CHGNet holds lithium on manganese for a minimum, and converges there."""
    layered = read_hosts([Path(inpaint_hpc.__file__).parent / "examples" / "mno2" / "delta_mp-25223.cif"])[0]
    manganese = layered.frac_coords[layered.numbers == 25][0]
    near = manganese + np.array([0.03, -0.1, 0.54]) @ np.linalg.inv(layered.lattice)
    (found,) = staged([near], host=layered).candidates
    assert found.relaxed.outcome == "diverged" and found.relaxed.steps > 0
    assert "Li is" in found.error and "A from host Mn" in found.error


def test_too_few_steps_are_said_and_the_structure_is_sound():
    (found,) = staged([beside(SITE_8A, 0.4, 0.2, 0)], relax_steps=2, fmax=1e-4).candidates
    assert found.relaxed.outcome == "unfinished" and found.relaxed.steps == 2
    assert found.relaxed.energy_per_atom < found.energy_per_atom


def test_other_energies_or_other_places_are_other_minima():
    def relaxed(position, energy, k):
        return replace(
            candidate(position, k, (k,)),
            energy_per_atom=energy,
            relaxed=Relaxed(
                outcome="converged",
                steps=1,
                energy_per_atom=energy,
                max_force=0.0,
                max_guest_force=0.0,
                guest_frac_coords=np.atleast_2d(position),
            ),
        )

    task, pipeline = Task(SPINEL, ["Li"]), PipelineSettings(relax="guests")
    found = [relaxed(SITE_8A, -1.0, 0), relaxed(SITE_8A, -1.0 + 2 * SAME_ENERGY, 1), relaxed(SITE_16C, -1.0, 2)]
    assert merge_minima(task, found, pipeline) == found
    close = [found[0], relaxed(SITE_8A, -1.0 - SAME_ENERGY / 2, 3)]
    (merged,) = merge_minima(task, close, pipeline)
    assert merged.sample == 3 and merged.members == (0, 3)
    assert merge_minima(task, [], pipeline) == []


def test_guests_that_noise_carried_elsewhere_have_not_settled():
    # Both end lower; the second on another side of its site, hardly lower than it was, a long way from where it was.
    far, across = beside(SITE_8A, 0.5, 0.0, 0.0), beside(SITE_8A, 0.0, 0.42, 0.0)
    equal = [r @ across + t for r, t in zip(*symmetry_operations(SPINEL, 0.1), strict=True)]
    equal = [end - np.round(end - SITE_8A) for end in equal]
    paths = [np.linalg.norm((end - SITE_8A) @ SPINEL.lattice) for end in equal]
    around = [end for end, path in zip(equal, paths, strict=True) if path < 0.43]
    away = max(around, key=lambda end: np.linalg.norm((end - across) @ SPINEL.lattice))
    assert np.linalg.norm((away - across) @ SPINEL.lattice) > 0.6
    found = [replace(candidate(position, k), sample=-1, members=()) for k, position in enumerate((far, across))]
    ends = {0: SITE_8A, 1: SITE_8A + 0.95 * (away - SITE_8A)}
    pipeline = PipelineSettings(relax="none", tolerance=0.01)
    one = TaskCandidates(Task(SPINEL, [3]), WyckoffCache(SPINEL, 0.1, 0.01), found, searched=True)

    def refine(tasks, coords):
        (placed,) = coords
        assert len(tasks) == 1 and placed.shape == (2, 1, 3)
        on_axis = np.abs(placed[:, 0] - far).sum(axis=1) < 1e-6  # in which order the two come depends on their energy
        return [np.stack([ends[0 if first else 1][None] for first in on_axis])]

    rank_by_energy([one], pipeline, "cpu", refine=refine)
    (settled,) = [c for c in one.candidates if "settled" in c.origin]
    assert settled.guest_frac_coords[0] == pytest.approx(SITE_8A) and settled.wyckoff == ("8a",)
    (kept,) = [c for c in one.candidates if c is not settled]
    assert kept.guest_frac_coords[0] == pytest.approx(across)
    lower = evaluate([SPINEL.with_guests([3], ends[1][None])], what="e").energy_per_atom[0]
    assert lower < kept.energy_per_atom


def settled():
    """Results of a network that leaves guests where they started: many placements, some of them bad."""
    import torch

    class Nowhere:
        sigma_min, sigma_max, dtype = 0.03, 3.5, torch.float64

        def encode(self, hosts):
            return hosts

        def denoise(self, hosts, guests, sigma):
            return torch.zeros_like(guests.positions)

    hosts = [SPINEL, Crystal([12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], np.eye(3) * 5.0, "cube")]
    options = {"samples": 5, "steps": 2, "relax": "guests", "top_k": 1, "fmax": 0.2, "redraws": 9}
    return inpaint_many(Nowhere(), hosts, {"Li": 1}, **options)


def test_from_pipeline_through_records_and_archive_and_back(tmp_path):
    results = settled()
    assert all(result.settings["relax"] == "guests" and result.settings["top_k"] == 1 for result in results)
    records = []
    for k, result in enumerate(results):
        assert sum(c.count for c in result.candidates) == result.n_valid == 5
        assert {"sample", "deduplicate", "score", "relax"} == set(result.seconds)
        task = CampaignTask(k, f"{k:064x}", result.host, result.guests, 5, 1.0)
        records.append(done_record(task, result, "here"))
    write_result(tmp_path / "a.h5", records)
    assert verify(tmp_path / "a.h5") == []
    with Archive(tmp_path / "a.h5") as archive:
        again = results_of(archive.iter_records())
        for k, (result, other) in enumerate(zip(results, again, strict=True)):
            for a, b in zip(result.candidates, other.candidates, strict=True):
                assert (a.members, a.placements, a.wyckoff) == (b.members, b.placements, b.wyckoff)
                assert (a.relaxed is None) == (b.relaxed is None)
                if a.relaxed is not None:
                    assert a.relaxed.as_dict() == b.relaxed.as_dict()
            best = result.crystal(0)
            assert (
                best.frac_coords.tobytes()
                == result.candidates[0].relaxed.crystal(result.host, result.guests).frac_coords.tobytes()
            )
            np.testing.assert_array_equal(archive.crystal(k, 0, relaxed=True).frac_coords, best.frac_coords)
            placed = result.crystal(0, relaxed=False).frac_coords
            np.testing.assert_array_equal(archive.crystal(k, 0).frac_coords, placed)
            assert not np.array_equal(placed, best.frac_coords)
            table = archive.candidates(k)
            assert table["relaxed_energy_per_atom_eV"][0] == result.candidates[0].ranking_energy
    left = next(k for k, c in enumerate(results[0].candidates) if c.relaxed is None)
    with pytest.raises(IndexError, match="was not relaxed"):
        results[0].crystal(left, relaxed=True)
    assert len(results[0].crystal(left)) == 13


def test_a_campaign_relaxes_and_exports_what_it_relaxed(make_run, tmp_path):
    from inpaint_hpc.archive.export import Selection, export
    from inpaint_hpc.campaign.worker import ShardWorker

    pipeline = {"score": True, "relax": "guests", "top_k": 1, "fmax": 0.2, "redraws": 2}
    run = make_run(pipeline=pipeline, hosts={"examples": "mno2", "limit": 1}, resources={"min_shards": 1})
    worker = ShardWorker(run.path)
    (report,) = [worker.run_unit(unit) for unit in run.pending_units()]
    worker.close()
    assert report.stages["relax"] > 0
    (path,) = run.result_paths()
    assert verify(path) == []
    with Archive(path) as archive:
        record = archive.record(0)
        found = record.candidates
        outcomes = [outcome for outcome in found["relaxation"] if outcome]
        assert len(outcomes) == 1 and found["relaxed_steps"].max() > 0 and found["relaxed_host_frac_coords"] is None
        assert found["relaxation"][0] == outcomes[0]
        export(archive, tmp_path / "relaxed.extxyz", "extxyz", Selection(None, relaxed=True))
        export(archive, tmp_path / "table.csv", "csv")
        (written,) = read_hosts([tmp_path / "relaxed.extxyz"])
        expected = record.host.with_guests(record.guests, found["relaxed_guest_frac_coords"][0])
        np.testing.assert_allclose(written.positions, expected.positions, atol=1e-6)
        header, row = (tmp_path / "table.csv").read_text().splitlines()
        assert f",{outcomes[0]}," in row and "relaxed_max_guest_force_eV_per_A" in header.split(",")


def test_settings_that_decide_nothing_are_no_part_of_an_id():
    plain = asdict(PipelineSettings())
    always = {"score": True, "redraws": 3, "tolerance": 0.5, "symprec": 0.1}
    assert settings_that_decide(plain) == always | {"voids": 8, "host_stiffness": 5.0}
    # Runs that were frozen before there was such a setting try none, and their tasks keep their ids.
    assert settings_that_decide(always) == always == settings_that_decide({**plain, "voids": 0, "host_stiffness": 0.0})
    assert settings_that_decide(asdict(PipelineSettings(fmax=0.2, top_k=3))) == settings_that_decide(plain)
    relaxing = settings_that_decide(asdict(PipelineSettings(relax="cell", fmax=0.2)))
    assert relaxing["relax"] == "cell" and relaxing["fmax"] == 0.2 and relaxing["top_k"] is None
    assert settings_that_decide(asdict(PipelineSettings(chgnet="r2scan")))["chgnet"] == "r2scan"
    with pytest.raises(InputError, match="needs CHGNet"):
        PipelineSettings(score=False, relax="guests")


def test_voids_are_let_go_of_their_centres_where_candidates_are_relaxed():
    centre = beside(SITE_8A, 0.6, 0.3, 0.0)  # 8a is the lowest place, this is not
    found = {}
    for name, settings in (("relaxed", {}), ("one only", {"top_k": 1}), ("as placed", {"relax": "none"})):
        pipeline = PipelineSettings(**{"relax": "guests", "fmax": 0.2, "tolerance": 0.05, **settings})
        made = [candidate(SITE_8A, 0, (0,), 1.0), replace(candidate(centre, 1), origin="void")]
        one = TaskCandidates(Task(SPINEL, [3]), WyckoffCache(SPINEL, 0.1, 0.05), made)
        rank_by_energy([one], pipeline, "cpu")
        found[name] = one.candidates
    # Judged as placed it is too high to be kept; let go it comes within 0.05 eV of 8a, and is relaxed.
    assert [len(found[name]) for name in ("one only", "as placed")] == [1, 1]
    first, void = found["relaxed"]
    assert (first.origin, void.origin) == ("joint", "void") and void.relaxed.sound
    assert (void.energy_per_atom - first.energy_per_atom) * (len(SPINEL) + 1) <= 0.05
    assert np.linalg.norm((void.guest_frac_coords[0] - centre) @ SPINEL.lattice) > 0.1
