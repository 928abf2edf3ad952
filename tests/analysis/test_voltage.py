"""Voltage profiles: by hand, from an archive, from structures, and as users see them."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from example_hosts import SPINEL
from matplotlib.figure import Figure

from inpaint_hpc.analysis.archive_voltage import archive_profiles
from inpaint_hpc.analysis.charge_limits import charge_limits
from inpaint_hpc.analysis.metal_references import METAL_ENERGIES
from inpaint_hpc.analysis.voltage import FilledHost, structure_profile, voltage_profile
from inpaint_hpc.analysis.voltage_picture import _curve
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import Candidate, Relaxed, Sample
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.cli.main import cli
from inpaint_hpc.cli.voltage_tables import print_profile
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.errors import InputError
from inpaint_hpc.scoring.chgnet.batch import evaluate
from inpaint_hpc.scoring.relaxation.relax import RelaxSettings, relax

SITES = np.array([[0.125] * 3, [0.875] * 3])  # 8a, both of them
LITHIUM = METAL_ENERGIES["0.3.0"][3]


def filled(n):
    return SPINEL.with_guests([3] * n, SITES[:n])


def record(guests, coords, energy, relaxed=None, host=SPINEL):
    """A task with one candidate; `relaxed` is its `Relaxation`."""
    g, h = len(guests), len(host)
    if relaxed is not None:
        relaxed = Relaxed(
            energy_per_atom=relaxed.energy_per_atom,
            guest_frac_coords=relaxed.crystal.frac_coords[h:] % 1.0,
            host_frac_coords=relaxed.crystal.frac_coords[:h],
            lattice=relaxed.crystal.lattice,
            outcome="converged",
            steps=1,
        )
    frac = np.asarray(coords, dtype=float).reshape(g, 3)
    samples = [Sample(0, True, "", 1.9, 0, frac)]
    best = Candidate(
        rank=0,
        sample=0,
        members=(0,),
        agreement=1.0,
        spread=0.1,
        min_distance=1.9,
        guest_frac_coords=frac,
        energy_per_atom=energy,
        max_force=0.1,
        max_guest_force=0.1,
        multiplicity=(2,) * g,
        wyckoff=("8a",) * g,
        relaxed=relaxed,
    )
    task = hashlib.sha256(repr((guests, host.name, energy)).encode()).hexdigest()
    return TaskRecord(task, host, tuple(guests), 1, samples=samples, candidates=[best])


def archive_of(path, records, relax="none", **pipeline):
    """As a run of one configuration wrote it before tasks said themselves where they are from."""
    configuration = {"sampling": {"steps": 40}, "pipeline": {"score": True, "relax": relax, **pipeline}}
    write_result(path, records, {"configuration": configuration})
    return path


def test_a_profile_by_hand():
    entries = [FilledHost(2, -58.5, 106.0, "b"), FilledHost(1, -54.0, 104.0, "a"), FilledHost(2, -58.0, 107.0, "c")]
    profile = voltage_profile(12, FilledHost(0, -50.0, 100.0, "H"), entries, -1.9)
    rows = profile.rows()
    assert [row["label"] for row in rows] == ["a", "b", "c"] and profile.label == "Mg/Mg2+"
    assert rows[0]["intercalation_energy_eV"] == pytest.approx(-4.0 + 1.9)
    assert [row["average_voltage_V"] for row in rows] == pytest.approx([2.1 / 2, 2.35 / 2, 2.1 / 2])
    assert [row["volume_change_percent"] for row in rows] == pytest.approx([4, 6, 7])
    assert [row["stable"] for row in rows] == [False, True, False]
    assert [row["above_hull_eV"] for row in rows] == pytest.approx([0.25, 0, 0.5])
    assert [(s.start, s.stop, s.voltage) for s in profile.steps] == [(0, 2, pytest.approx(2.35 / 2))]
    assert voltage_profile(12, FilledHost(0, -50.0, 1, "H"), entries, -1.9, charge=1).rows()[1][
        "average_voltage_V"
    ] == pytest.approx(2.35)
    with pytest.raises(InputError, match="at least one filled"):
        voltage_profile(12, FilledHost(0, -50.0, 1, "H"), [], -1.9)


def test_archive_and_structures_agree_and_are_the_formula(tmp_path):
    energies = evaluate([SPINEL, filled(1), filled(2)], what="e").energies.tolist()
    records = [record([3] * n, SITES[:n], energies[n] / (12 + n)) for n in (2, 1)]
    records.append(record([3], [0.5, 0, 0], energies[1] / 13 + 0.1))  # a worse one
    records.append(record([3, 12], SITES, -7.0))  # of two elements: no voltage
    with Archive(archive_of(tmp_path / "a.h5", records)) as archive:
        (profile,) = archive_profiles(archive)
        assert archive_profiles(archive, hosts=["lambda*"], ions=[3])[0].rows() == profile.rows()
        with pytest.raises(InputError, match="places guests of one element only"):
            archive_profiles(archive, ions=[11])
    assert [one.count for one in profile.filled] == [1, 1, 2]
    average = [-(energies[n] - energies[0] - n * LITHIUM) / n for n in (1, 2)]
    rows = profile.rows()
    assert [rows[0]["average_voltage_V"], rows[2]["average_voltage_V"]] == pytest.approx(average, abs=1e-4)
    assert rows[1]["above_hull_eV"] == pytest.approx(1.3, abs=1e-3) and not rows[1]["stable"]
    assert rows[0]["volume_change_percent"] == 0.0 and 3.0 < average[1] < 4.6
    direct = structure_profile(SPINEL, [filled(1), filled(2)], settings=None)
    assert [row["energy_eV"] for row in direct.rows()] == pytest.approx(energies[1:], abs=1e-4)
    assert [s.voltage for s in direct.steps] == pytest.approx([s.voltage for s in profile.steps], abs=1e-4)


def test_the_host_is_relaxed_where_the_candidates_were(tmp_path):
    host, one = relax([SPINEL, filled(1)], settings=RelaxSettings("cell", fmax=0.2))
    static = evaluate([filled(1)], what="e").energy_per_atom[0]
    path = archive_of(tmp_path / "a.h5", [record([3], SITES[0], float(static), one)], "cell", fmax=0.2)
    with Archive(path) as archive:
        (profile,) = archive_profiles(archive)
    assert profile.treatment == "cell"
    assert profile.empty.energy == pytest.approx(host.energy_per_atom * 12, abs=1e-3)
    assert profile.filled[0].energy == pytest.approx(one.energy_per_atom * 13)
    expected = 100 * (one.crystal.volume / host.crystal.volume - 1)
    assert profile.rows()[0]["volume_change_percent"] == pytest.approx(expected, abs=0.05)


def test_cells_of_other_sizes_and_hosts_that_hold_some_already():
    double = np.concatenate([filled(2).frac_coords * [0.5, 1, 1], filled(2).frac_coords * [0.5, 1, 1] + [0.5, 0, 0]])
    lattice = SPINEL.lattice * [[2], [1], [1]]
    big = Crystal(np.tile(filled(2).numbers, 2), double, lattice, "double")
    profile = structure_profile(SPINEL, [big, filled(2)], settings=None)
    assert [one.count for one in profile.filled] == [2, 2]
    assert profile.filled[0].energy == pytest.approx(profile.filled[1].energy, abs=1e-3)
    assert profile.filled[0].volume == pytest.approx(SPINEL.volume)
    step = structure_profile(filled(1), [filled(2)], settings=None)
    assert step.filled[0].count == 1 and step.ion == 3
    whole = structure_profile(SPINEL, [filled(1), filled(2)], settings=None)
    if len(whole.steps) == 2:
        assert step.steps[0].voltage == pytest.approx(whole.steps[1].voltage, abs=1e-4)


def test_what_has_no_voltage(tmp_path):
    with pytest.raises(InputError, match="is not lambda_mp-25275 with more guests"):
        structure_profile(SPINEL, [SPINEL.without(25)])
    with pytest.raises(InputError, match="and Na with more guests"):
        structure_profile(SPINEL, [filled(1)], ion=11)
    with pytest.raises(InputError, match="different guests"):
        structure_profile(SPINEL, [filled(1), SPINEL.with_guests([12], SITES[:1])], settings=None)
    with pytest.raises(InputError, match="'guests' has no meaning"):
        structure_profile(SPINEL, [filled(1)], settings=RelaxSettings("guests"))
    apart = SPINEL.with_guests([3], SPINEL.frac_coords[:1])
    with pytest.raises(InputError, match="no energy by CHGNet: two atoms are"):
        structure_profile(SPINEL, [apart], settings=None)
    path = archive_of(tmp_path / "a.h5", [record([3], SITES[0], np.nan)])
    with Archive(path) as archive, pytest.raises(InputError, match="score: true"):
        archive_profiles(archive)


def test_as_users_see_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    energies = evaluate([filled(1), filled(2)], what="e").energy_per_atom.tolist()
    archive_of(tmp_path / "archive.h5", [record([3] * n, SITES[:n], energies[n - 1]) for n in (1, 2)])

    def invoke(*args):
        return CliRunner().invoke(cli, ["voltage", *map(str, args)])

    shown = invoke(tmp_path, "--picture", "v.png")  # a folder with an archive, as a run directory is
    assert shown.exit_code == 0, shown.output
    assert "V against Li/Li+" in shown.output and "not relaxed" in shown.output
    assert (tmp_path / "v.png").read_bytes()[:4] == b"\x89PNG"
    found = json.loads(invoke("archive.h5", "--json", "--ion", "Li").output)["profiles"]
    assert [row["guests"] for row in found[0]["filled"]] == [1, 2] and found[0]["against"] == "Li/Li+"
    for one, name in ((SPINEL, "host.cif"), (filled(2), "full.cif")):
        one.to_structure().to(filename=name)
    direct = json.loads(invoke("host.cif", "full.cif", "--relax", "none", "--json").output)["profiles"]
    average = found[0]["filled"][1]["average_voltage_V"]
    assert direct[0]["filled"][0]["average_voltage_V"] == pytest.approx(average, abs=1e-3)
    for args, message in (
        (("none.h5",), "no such archive"),
        (("archive.h5", "--ion", "Xx"), "unknown element 'Xx'"),
        (("archive.h5", "--host", "beta*"), "none of its tasks|no task"),
        (("archive.h5", "--picture", "v.gif"), "a picture is .png"),
    ):
        failed = invoke(*args)
        assert failed.exit_code == 2 and len(failed.output.strip().splitlines()) == 1
        assert any(part in failed.output for part in message.split("|")), failed.output


def test_capacity_is_charge_by_mass_of_the_host():
    """CoO2: 1 mol of Li for each 90.93 g is 294.7 mAh/g."""
    entries = [FilledHost(1, -54.0, 104.0)]
    profile = replace(voltage_profile(3, FilledHost(0, -50.0, 100.0), entries, -1.9), formula="Co1 O2")
    assert profile.milliampere_hours_per_gram == pytest.approx(294.7, abs=0.1)
    magnesium = replace(voltage_profile(12, FilledHost(0, -50.0, 100.0), entries, -1.9), formula="Co2 O4")
    assert magnesium.milliampere_hours_per_gram == pytest.approx(294.7, abs=0.1)
    assert voltage_profile(3, FilledHost(0, -50, 1), entries, -1.9).milliampere_hours_per_gram is None


@pytest.mark.parametrize(
    ("formula", "label", "axes"),
    [
        ("Mn4 O8", "x in Li$_x$Mn$_{4}$O$_{8}$", 1),
        ("Li1 Mn2 O4", "Li added to the host cell", 1),
        ("", "Li added to the host cell", 0),
    ],
)
def test_axes_of_the_voltage_curve(formula, label, axes):
    entries = [FilledHost(n, -50.0 - 4 * n, 100.0) for n in (0.5, 1, 3)]
    profile = replace(voltage_profile(3, FilledHost(0, -50.0, 100.0), entries, -1.9), formula=formula)
    axis = Figure().subplots()
    _curve(axis, profile)
    assert axis.get_xlabel() == label and len(axis.child_axes) == axes
    assert all(tick == round(tick) for tick in axis.get_xticks())
    if axes:
        (above,) = axis.child_axes
        assert above.get_xlabel() == "mAh per g of the host"


def profile_of(volts, ion=3, treatment="cell", formula="Mn4 O8", **empty):
    """A profile whose steps of one guest each have these voltages."""
    energies = [-50.0 - sum(v + 1.9 for v in volts[:n]) for n in range(len(volts) + 1)]
    entries = [FilledHost(n, energy, 100.0) for n, energy in enumerate(energies) if n]
    profile = voltage_profile(ion, FilledHost(0, -50.0, 100.0), entries, -1.9, charge=1, treatment=treatment)
    return replace(profile, formula=formula)


def test_capacity_and_energy_of_each_filling_and_step():
    """LiMnO2 of MnO2: 308 mAh/g of MnO2 (86.94 g/mol), 285 of LiMnO2 (93.88 g/mol)."""
    found = profile_of([4.0, 3.5, 3.0, 2.5]).as_dict()
    half, full = found["filled"][1], found["filled"][3]
    assert (half["x"], half["formula"], full["formula"]) == (0.5, "Li0.5MnO2", "LiMnO2")
    assert full["capacity_mAh_per_g_host"] == pytest.approx(308.3, abs=0.1)
    assert full["capacity_mAh_per_g_filled"] == pytest.approx(285.5, abs=0.1)
    assert full["energy_Wh_per_kg_host"] == pytest.approx(3.25 * 308.3, abs=0.5)
    # The steps are parts of the whole.
    for key in ("capacity_mAh_per_g_host", "energy_Wh_per_kg_host"):
        assert (
            sum(step[key] for step in found["steps"]) == pytest.approx(found["total"][key]) == pytest.approx(full[key])
        )
    assert found["steps"][1]["capacity_mAh_per_g_filled"] == pytest.approx(half["capacity_mAh_per_g_filled"] / 2)
    holds = profile_of([3.0], formula="Li1 Mn2 O4").as_dict()["filled"][0]
    assert (holds["x"], holds["formula"]) == (1.0, "LiMnO2")
    unknown = profile_of([3.0], formula="").as_dict()["filled"][0]
    assert unknown["x"] is unknown["formula"] is unknown["capacity_mAh_per_g_host"] is None


def test_the_typical_error_belongs_to_the_treatment_it_was_measured_for():
    measured = profile_of([3.0]).as_dict()["voltage_error"]
    assert (measured["mean_absolute_V"], measured["electrodes"], measured["electrodes_of_ion"]) == (0.27, 40, 26)
    assert profile_of([3.0], treatment="guests").as_dict()["voltage_error"] is None
    assert profile_of([3.0], ion=37).as_dict()["voltage_error"] is None
    assert profile_of([3.0, 2.9], treatment="guests").as_dict()["filled"][0]["within_error"] is None


@pytest.mark.parametrize(
    ("volts", "close"),
    [
        ([3.5, 3.45], [1]),
        ([3.756, 3.623, 3.247, 3.051], [1, 2, 3]),  # LixFePO4 by CHGNet; two phases in experiment
        ([3.4, 3.5], [1]),  # above the hull, little
        ([2.5, 3.5], []),  # two phases for sure
        ([4.1, 2.9], []),  # as the spinel LiMn2O4, a phase for sure
        ([4.06, 3.70, 2.91, 2.89], [1, 3]),  # as spinel by CHGNet: the middle is deep once its neighbours are gone
    ],
)
def test_fillings_that_could_be_two_phases(volts, close):
    profile = profile_of(volts)
    assert [k for k, row in enumerate(profile.rows(), start=1) if row["within_error"]] == close
    notes = [text for text in profile.as_dict()["remarks"] if "two-phase or solid solution: within the error" in text]
    assert len(notes) == bool(close) and all("340 meV per Li" in text for text in notes)


def test_remarks_on_what_is_no_insertion():
    profile = profile_of([1.0, -0.5])
    assert [text for text in profile.as_dict()["remarks"] if "plated" in text] == [
        "1 to 2 Li: the voltage is negative: Li metal would be plated instead of inserted"
    ]
    broken = tuple(replace(one, departure="2 host bonds broke, Mn-O from 1.90 to 2.90 A") for one in profile.filled[1:])
    texts = replace(profile, filled=(*profile.filled[:1], *broken)).as_dict()["remarks"]
    assert sum("no longer the host's framework (2 host bonds broke" in text for text in texts) == 1


def test_the_picture_shows_capacity_energy_and_error():
    axis = Figure().subplots()
    _curve(axis, profile_of([4.0, 3.5, 3.0, 2.5]))
    assert axis.get_title() == (
        "CHGNet 0.3.0, relaxed: cell; typical error 0.3 V\nLiMnO2: 308 mAh/g, 1002 Wh/kg of the host"
    )
    low, high = axis.get_ylim()
    assert low < 2.5 - 0.27 and high > 4.0 + 0.27


def test_the_terminal_shows_it_in_80_columns(capsys):
    where = {"wyckoff": ("16c",) * 3, "coordination": ("O6",) * 3, "spacegroup": "I4_1/amd"}
    entries = [replace(e, **where, label="eac81ddcf580:12")
               for e in profile_of([4.0, 3.5, 3.0]).filled]  # fmt: skip
    profile = replace(profile_of([4.0, 3.5, 3.0]), filled=tuple(entries), fitting=4, charges=charge_limits(SPINEL, 3))
    print_profile(profile)
    shown = capsys.readouterr().out
    for text in (
        "0 to 1 Li: 4.00 V against Li/Li+ (typical error 0.3); 77 mAh/g, 308 Wh/kg",
        "most by distance between sites: 4 Li in the host cell",
        "most by charge: Mn to +3: 4 Li (x = 1, LiMnO2); Mn to +2: 8 Li (x = 2, Li2MnO2)",
        "mean absolute error 0.27 V",
        "16c x3",
        "Li0.75MnO2",
    ):
        assert text in shown
    tables = [line.rstrip() for line in shown.splitlines() if line.startswith((" ", "Li", "host", "\u2500"))]
    assert max(map(len, tables)) <= 80 and "eac81ddcf580:12" in shown and "\u2026" not in shown
    print_profile(replace(profile, filled=tuple(replace(e, label="LiMn2O4_relaxed_by_hand_2") for e in entries)))
    assert max(len(line) for line in capsys.readouterr().out.splitlines() if "LiMn2O4" in line) <= 80
