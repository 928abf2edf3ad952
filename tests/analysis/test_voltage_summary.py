"""`inpaint-hpc voltage` of many hosts: one table, sorted, in 80 columns."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner
from example_hosts import SPINEL
from test_voltage import SITES, record

from inpaint_hpc.analysis.charge_limits import charge_limits
from inpaint_hpc.analysis.voltage import FilledHost, voltage_profile
from inpaint_hpc.analysis.voltage_summary import voltage_summary
from inpaint_hpc.archive.rows import HostEnergies, Provenance
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.cli.main import cli
from inpaint_hpc.scoring.chgnet.models import weights_digest

KNOWN = Provenance(potential="CHGNet 0.3.0", potential_sha256=weights_digest(), treatment="none")


def profile(name, *energies, departure="", notes=(), formula="Mn4 O8"):
    """Of 1, 2 ... Li whose metal has energy 0, in an empty host of energy 0."""
    filled = [FilledHost(n, energy, 100.0, departure=departure) for n, energy in enumerate(energies, start=1)]
    found = voltage_profile(3, FilledHost(0, 0.0, 100.0, name), filled, 0.0, notes=list(notes))
    return replace(found, formula=formula, charges=charge_limits(SPINEL, 3))


@pytest.fixture
def archive(tmp_path):
    """Li in nine hosts and Mg in one of them, with energies of the hosts, so that no potential is needed."""
    known = {"provenance": KNOWN, "host_energies": HostEnergies(energy=-97.0)}
    hosts = [
        replace(SPINEL, name=f"a rather long name of a host {k}", lattice=SPINEL.lattice * (1 + 0.001 * k))
        for k in range(9)
    ]
    tasks = [replace(record([3], SITES[0], -7.7 - 0.02 * k, host=host), **known) for k, host in enumerate(hosts)]
    tasks.append(replace(record([12], SITES[0], -7.65, host=hosts[0]), **known))
    write_result(tmp_path / "a.h5", tasks)
    return tmp_path / "a.h5"


def voltage(*arguments):
    done = CliRunner().invoke(cli, ["voltage", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_rows_say_what_to_look_at():
    profiles = [
        profile("low", 1.0, departure="Mn-O bonds broke"),
        profile("high", -4.0, -7.0, notes=["a note"]),
        profile("full", *(-2.0 * n for n in range(1, 10)), formula=""),
    ]
    found = voltage_summary(profiles).set_index("host")
    assert found.index.tolist() == ["high", "full", "low"]
    assert found.note.tolist() == ["notes: 1", "over charge limit", "below 0 V; framework broken"]
    assert found.voltage_V.tolist() == [3.5, 2.0, -1.0] and found.steps["high"] == 2
    assert (found.x_from["high"], found.x_to["high"], found.formula["high"]) == (0.0, 0.5, "MnO2")
    assert found.capacity_mAh_per_g_host["high"] == pytest.approx(154.1, abs=0.1)
    assert pd.isna(found.x_to["full"]) and "a note" in found.notes["high"]


def test_many_hosts_are_one_sorted_table_in_80_columns(archive, tmp_path):
    lines = voltage(archive, "--csv", tmp_path / "v.csv").splitlines()
    assert max(map(len, lines)) <= 80 and not any("eV/cell" in line for line in lines)
    assert sum("0-0.25 LixMnO2" in line for line in lines) == 9 and "note" not in lines[1]  # nothing to note
    written = pd.read_csv(tmp_path / "v.csv")
    assert len(written) == 10 and written.voltage_V.is_monotonic_decreasing
    assert set(written.ion) == {"Li", "Mg"}
    found = json.loads(voltage(archive, "--json"))["profiles"]
    assert [one["total"]["voltage_V"] for one in found] == pytest.approx(written.voltage_V.tolist())


def test_one_host_is_shown_in_full(archive, tmp_path):
    shown = voltage(archive, "--host", "*host 3", "--csv", tmp_path / "v.csv")
    assert "above hull" in shown and "0 to 1 Li:" in shown
    assert len(pd.read_csv(tmp_path / "v.csv")) == 1
