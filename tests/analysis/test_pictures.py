"""Pictures of hosts: geometry of the views, and known sites where the literature has them."""

import numpy as np
import pytest
from pymatgen.core import Lattice

from inpaint_hpc.analysis.known_sites import KNOWN_SITES, MNO2, POLYMORPHS, ranks_of_known
from inpaint_hpc.analysis.pictures import host_picture, site_area
from inpaint_hpc.analysis.projections import default_axes, drawing_cell, make_view, repeated
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.crystals.symmetry import wyckoff_label
from inpaint_hpc.pipeline.results import Candidate, InpaintResult

HOSTS = {host.name: host for host in read_hosts([MNO2 / f"{name}.cif" for name in POLYMORPHS])}


def result_of(host, *positions):
    candidates = [
        Candidate(
            rank=rank,
            guest_frac_coords=np.array([position]),
            sample=rank,
            members=(rank,),
            agreement=1 / len(positions),
            spread=0.0,
            min_distance=2.0,
        )
        for rank, position in enumerate(positions)
    ]
    return InpaintResult(host, (3,), tuple(candidates), len(positions), 0)


def test_every_packaged_host_has_a_name():
    assert set(HOSTS) == set(POLYMORPHS) >= set(KNOWN_SITES)


@pytest.mark.parametrize("name", KNOWN_SITES)
def test_known_sites_have_their_coordination_and_wyckoff_position(name):
    host = HOSTS[name]
    for site in KNOWN_SITES[name]:
        assert site.source and site.compound
        oxygen = host.frac_coords[host.numbers == 8]
        lattice = Lattice(host.lattice)
        near = lattice.get_points_in_sphere(oxygen, lattice.get_cartesian_coords(site.frac_position), 3.0)
        distances = np.array([entry[1] for entry in near])
        assert len(distances) == site.neighbors
        # All at the same distance: the file's own asymmetry apart.
        assert np.ptp(distances) < 0.06
        expected = site.kind.split()[-1]
        if expected[0].isdigit():
            assert str(wyckoff_label(host, np.array(site.frac_position), 0.1)) == expected


def test_rank_of_a_known_site_counts_every_equivalent_position():
    host = HOSTS["lambda_mp-25275"]
    known = KNOWN_SITES["lambda_mp-25275"]
    result = result_of(host, [0.5, 0.25, 0.1], [0.874, 0.876, 0.875])
    assert ranks_of_known(result, known) == [1, None]


@pytest.mark.parametrize("name", HOSTS)
def test_view_fills_the_picture_with_whole_cells(name):
    host = HOSTS[name]
    for axis in range(3):
        view = make_view(host.lattice, axis)
        np.testing.assert_allclose(view.plane @ view.plane.T, np.eye(2), atol=1e-12)
        # The cell vector along which one looks is a point on the page.
        np.testing.assert_allclose(view.project(host.lattice, np.eye(3)[axis]), 0.0, atol=1e-9)
        images = view.images(host.lattice, np.zeros((1, 3)), margin=0.0)
        page = view.project(host.lattice, images)
        assert (np.abs(page - view.centre) < view.half_width).all()
        # Brute force over a larger patch of the lattice finds no further image.
        steps = np.array(np.meshgrid(*[np.arange(-25, 26)] * 2)).reshape(2, -1).T
        patch = np.zeros((len(steps), 3))
        patch[:, [(axis + 1) % 3, (axis + 2) % 3]] = steps
        inside = np.abs(view.project(host.lattice, patch) - view.centre).max(axis=1) < view.half_width
        assert len(images) == inside.sum() >= 4


@pytest.mark.parametrize("name", HOSTS)
def test_drawing_cell_holds_the_same_crystal(name):
    host = HOSTS[name]
    cell = drawing_cell(host)
    points = repeated(cell, host.frac_coords)
    assert len(points) == round(abs(np.linalg.det(cell))) * len(host)
    back = points @ cell
    difference = back[:, None] - host.frac_coords[None]
    assert (np.abs(difference - np.round(difference)).max(axis=2).min(axis=1) < 1e-9).all()
    assert len(np.unique(np.round(points % 1.0 % 1.0, 6), axis=0)) == len(points)


def test_axes_to_look_along():
    assert default_axes(np.diag([3.0, 9.0, 5.0])) == (0, 1)
    assert default_axes(np.diag([4.0, 4.0, 4.0])) == (2,)
    assert default_axes(np.diag([9.0, 9.0, 3.0])) == (2, 1)


def test_area_grows_with_agreement():
    assert site_area(1.0) > site_area(0.5) > site_area(0.05) > 0


def test_picture_is_written_and_differs_with_what_was_found(tmp_path):
    host = HOSTS["delta_mp-25424"]
    one = host_picture([result_of(host, [0.5, 0.5, 0.5])], tmp_path / "one.png", "title", KNOWN_SITES[host.name])
    two = host_picture([result_of(host, [0.25, 0.25, 0.25])], tmp_path / "two.png", "title", KNOWN_SITES[host.name])
    assert one.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert one.read_bytes() != two.read_bytes()
    host_picture([result_of(host), result_of(host, [0.5, 0.5, 0.5])], tmp_path / "none.svg")
    assert (tmp_path / "none.svg").read_text().lstrip().startswith("<?xml")
    with pytest.raises(ValueError, match="one host"):
        host_picture([result_of(host), result_of(HOSTS["R_mp-19326"])], tmp_path / "no.png")
