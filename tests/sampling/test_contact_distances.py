"""The rule for physically possible samples."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.errors import InputError
from inpaint_hpc.pipeline.rejection_sampling import kind_of_reason
from inpaint_hpc.sampling.contact_distances import (
    connected_guests,
    contact_radii,
    invalid_samples,
    packing_fraction,
    require_room,
)

ROCK_SALT = Crystal.from_structure(
    Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0] * 3, [0.5] * 3])
)
EIGHTH = [0.25, 0.25, 0.25]  # tetrahedral hole, 1.82 A from Mg and O


def test_stated_distances():
    li, o, mn = contact_radii([3, 8, 25])
    assert li + o == pytest.approx(1.16, abs=0.005)
    assert li + mn == pytest.approx(1.60, abs=0.005)
    assert 2 * li == pytest.approx(1.54, abs=0.005)


def test_every_element_has_a_radius():
    assert (contact_radii(np.arange(1, 119)) > 0.15).all()


def test_guest_on_host_atom_is_invalid_and_named():
    # Unwrapped on purpose: the image of the host atom decides.
    samples = np.array([[EIGHTH], [[0.01, 2.0, -1.0]], [[0.5, -0.49, 1.5]]])
    found = invalid_samples(ROCK_SALT, [3], samples)
    assert found.invalid.tolist() == [False, True, True]
    assert found.min_distance == pytest.approx([4.2 * np.sqrt(3) / 4, 0.042, 0.042])
    assert found.reason[0] == ""
    assert found.reason[1] == "Li is 0.04 A from host Mg (at least 1.61 A)"
    assert found.reason[2].startswith("Li is 0.04 A from host O (at least 1.16 A)")


def test_guests_too_close_to_each_other():
    close = np.array([[EIGHTH, [0.25, 0.25, 0.45]], [EIGHTH, [0.75, 0.75, 0.75]]])
    found = invalid_samples(ROCK_SALT, [1, 3], close)
    assert found.invalid.tolist() == [True, False]
    assert found.reason[0].startswith("H is 0.84 A from guest Li")


def test_reason_names_the_pair_furthest_below_its_limit():
    # Nearer to the guest H than to the Mg, but H may come nearer.
    host = Crystal([12], [[0.0, 0, 0]], np.eye(3) * 10)
    found = invalid_samples(host, [3, 1], np.array([[[0.11, 0, 0], [0.21, 0, 0]]]))
    assert found.invalid[0] and "host Mg" in found.reason[0]
    assert found.min_distance[0] == pytest.approx(1.0)


def test_own_image_in_a_thin_cell():
    thin = Crystal([8], [[0.0, 0, 0]], np.diag([2.0, 9.0, 9.0]))
    found = invalid_samples(thin, [55], np.array([[[0.5, 0.5, 0.5]]]))
    assert found.invalid[0] and "its own image" in found.reason[0]
    assert found.min_distance[0] == pytest.approx(2.0)
    with pytest.raises(InputError, match="own periodic image"):
        require_room(thin, [55])


def test_not_finite_is_invalid_not_an_error():
    found = invalid_samples(ROCK_SALT, [3], np.array([[[np.nan, 0, 0]], [EIGHTH]]))
    assert found.invalid.tolist() == [True, False]
    assert np.isnan(found.min_distance[0]) and "finite" in found.reason[0]


def test_no_samples_and_empty_host():
    assert len(invalid_samples(ROCK_SALT, [3], np.zeros((0, 1, 3)))) == 0
    empty = Crystal([], np.zeros((0, 3)), np.eye(3) * 4)
    found = invalid_samples(empty, [3, 8], np.array([[[0, 0, 0], [0.5, 0.5, 0.5]], [[0, 0, 0], [0.1, 0, 0]]]))
    assert found.invalid.tolist() == [False, True]


def test_agrees_with_brute_force_over_images():
    rng = np.random.default_rng(3)
    for _ in range(20):
        lattice = Lattice.from_parameters(*rng.uniform(3, 7, 3), *rng.uniform(60, 110, 3)).matrix
        host = Crystal(rng.choice([8, 22, 57], 3), rng.random((3, 3)), lattice)
        guests = np.sort(rng.choice([3, 19], 2))
        samples = rng.uniform(-1, 2, (8, 2, 3))
        found = invalid_samples(host, guests, samples)
        for sample, invalid, distance in zip(samples, found.invalid, found.min_distance, strict=True):
            whole = host.with_guests(guests, sample)
            radii = contact_radii(whole.numbers)
            distances = Lattice(lattice).get_all_distances(whole.frac_coords, whole.frac_coords)
            np.fill_diagonal(distances, min(Lattice(lattice).get_lll_reduced_lattice().abc))
            assert invalid == (distances < radii[:, None] + radii)[3:].any()
            assert distance == pytest.approx(distances[3:].min())


def test_too_many_guests_for_the_volume():
    require_room(ROCK_SALT, [3] * 4)
    with pytest.raises(InputError, match=r"Li=40 is more than the cell of 74 A\^3 can hold"):
        require_room(ROCK_SALT, [3] * 40)


def test_packing_fraction_of_a_known_cell():
    radius = contact_radii([29])[0]
    assert packing_fraction([29] * 4, 47.0) == pytest.approx(4 * 4 / 3 * np.pi * radius**3 / 47.0)


# A sheet in a tall cell: reach of Li is 3.10 A from O, 3.20 A from another Li.
SHEET = Crystal([8], [[0.5, 0.5, 0.1]], np.diag([3.0, 3.0, 30.0]))


def test_a_guest_in_empty_space_is_invalid():
    heights = np.array([0.1 + 3.0 / 30, 0.1 + 3.2 / 30, 0.6])
    samples = np.stack([np.full(3, 0.5), np.full(3, 0.5), heights], axis=1)[:, None]
    found = invalid_samples(SHEET, [3], samples)
    assert found.invalid.tolist() == [False, True, True]
    assert found.reason[1] == "no atom within 3.10 A of Li (the nearest is 3.20 A away)"
    assert connected_guests(SHEET, [3], samples).tolist() == [[True], [False], [False]]
    assert kind_of_reason(found.reason[2]) == "no atom within 3.10 A of Li"


def test_guests_may_be_connected_through_guests():
    def at(*heights):
        return [[0.5, 0.5, 0.1 + height / 30] for height in heights]

    found = invalid_samples(
        SHEET, [3, 3, 3], np.array([at(2.0, 5.1, 8.2), at(2.0, 12.0, 14.5), at(8.2, 5.1, 2.0), at(2.0, 5.1, 8.5)])
    )
    assert found.invalid.tolist() == [False, True, False, True]
    assert found.reason[3] == "no atom within 3.20 A of Li (the nearest is 3.40 A away)"
    assert found.reason[1] == "Li has bonds to other guests alone, none of which has one to the host"
    # Its own image is no bond.
    thin = Crystal([8], [[0.5, 0.5, 0.1]], np.diag([2.2, 2.2, 30.0]))
    assert invalid_samples(thin, [3], np.array([at(12.0)[:1]])).invalid[0]


@pytest.mark.parametrize("part", ["train", "val"])
def test_sites_of_real_crystals_are_within_reach(part):
    """Every metal ion of the packaged crystals, all of its element taken out at once."""
    dataset = PackedDataset("tests/data/smoke.h5", part)
    for k in range(len(dataset)):
        crystal = dataset[k]
        for z in {3, 11, 12, 19, 20, 30, 37, 55} & set(crystal.numbers.tolist()):
            guest = crystal.numbers == z
            if not guest.all():
                assert connected_guests(
                    crystal.without(z), crystal.numbers[guest], crystal.frac_coords[guest][None]
                ).all()
