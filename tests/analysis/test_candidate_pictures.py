"""Pictures of the candidates of archives: any kind of host, files of any name, sites in the legend."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from example_hosts import PRUSSIAN_BLUE, SPINEL
from test_voltage import SITES, record

from inpaint_hpc.analysis.candidate_pictures import _drawing, _legend, file_name
from inpaint_hpc.archive.site_records import sites_of_networks
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.cli.main import cli
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.sites.clustering import network_from_positions
from inpaint_hpc.sites.coordination import surroundings

PNG = b"\x89PNG\r\n\x1a\n"
NIAL = Crystal([28, 13], [[0.0] * 3, [0.5] * 3], 2.88 * np.eye(3), "")  # without a name
ODD_NAME = "../a b: ü $x_ <石墨> " + "long " * 40
LARGE = Crystal(
    np.tile(SPINEL.numbers, 27),
    np.concatenate([(SPINEL.frac_coords + np.unravel_index(k, (3, 3, 3))) / 3 for k in range(27)]),
    3 * SPINEL.lattice,
    "large",
)
NOTHING = Crystal([], np.zeros((0, 3)), 4 * np.eye(3), "generated")


def pictures(path, records, *arguments):
    write_result(path, records)
    done = CliRunner().invoke(cli, ["show", str(path), "--pictures", str(path.parent / "drawn"), *arguments])
    assert done.exit_code == 0, done.output
    return sorted((path.parent / "drawn").iterdir())


def test_any_host_is_drawn_under_a_safe_name(tmp_path):
    hosts = [NIAL, LARGE, PRUSSIAN_BLUE, NOTHING, replace(SPINEL, name=ODD_NAME)]
    records = [record([3], SITES[0], -7.0, host=host) for host in hosts]
    found = pictures(tmp_path / "a.h5", records)
    assert {path.name for path in found} == {file_name(one) for one in records}
    assert all(path.read_bytes().startswith(PNG) for path in found)
    assert all(len(path.name.encode()) < 255 and not set(path.name) & set(" :$<>/") for path in found)


def test_as_many_as_the_table_has_and_each_has_a_name_of_its_own(tmp_path):
    records = [record([3], SITES[0], energy) for energy in (-7.0, -7.1, -7.2)]
    assert len({file_name(one) for one in records}) == 3
    assert len(pictures(tmp_path / "a.h5", records, "--top", "2")) == 2


def test_atoms_of_a_salt_have_polyhedra_and_those_of_an_alloy_bonds():
    anions, shells = surroundings(SPINEL)
    assert anions.tolist() == (SPINEL.numbers == 8).tolist()
    assert [(center, len(corners)) for center, corners in shells] == [(k, 6) for k in range(4)]
    anions, shells = surroundings(NIAL)
    assert anions.all() and [len(corners) for _, corners in shells] == [8, 8]
    assert np.linalg.norm(shells[0][1], axis=1) == pytest.approx(2.88 * 0.75**0.5)


def test_sites_of_the_host_are_in_the_legend(tmp_path):
    """Those of the task, or of another one with the same host and ion; rare ones are left out."""
    network = network_from_positions(SPINEL, 3, [*SITES] * 20 + [[0.0] * 3] * 4 + [[0.375] * 3] * 2, saturated=True)
    one, two = record([3], SITES[0], -7.0), replace(record([3, 3], SITES, -7.2), sites=sites_of_networks([network]))
    labels = [handle.get_label() for handle in _legend(_drawing(two, list(network.orbits)))]
    assert labels[:3] == ["Mn", "O", "Li placed"]
    assert len(network.orbits) == 3
    assert labels[3:] == ["site 8a: O4, 87% of positions", "site 16c: O6, 9% of positions"]
    (tmp_path / "other").mkdir()
    with_sites = pictures(tmp_path / "a.h5", [one, two])
    alone = pictures(tmp_path / "other" / "b.h5", [one])
    of_one = next(path for path in with_sites if path.name == file_name(one))
    assert of_one.read_bytes() != alone[0].read_bytes()
