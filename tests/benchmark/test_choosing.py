"""Which crystals a benchmark is about, and what is taken out of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import inpaint_hpc
from inpaint_hpc.benchmark.choosing import COUNT, SPECIES, Choice, chosen_pairs, filled_host, read_ids, single_ions
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.packed import read_electrodes
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.errors import InputError

ELECTRODES = Path(__file__).parents[1] / "data" / "electrodes.h5"
SPINEL = read_hosts(Path(inpaint_hpc.__file__).parent / "examples" / "mno2" / "lambda_mp-25275.cif")[0]


@pytest.mark.parametrize(
    ("numbers", "anions", "fits"),
    [
        ([3, 8], ["O"], True),
        ([3, 8, 9], ["O"], False),
        ([3, 8, 9], ["O", "F"], True),
        ([3, 13], ["O"], False),
        ([3, 13], [], True),
        ([3, 6, 8], ["O"], True),  # carbonates: C is no anion here
    ],
)
def test_anions(numbers, anions, fits):
    crystal = Crystal(np.array(numbers), np.random.default_rng(0).random((len(numbers), 3)), 9 * np.eye(3), "x")
    assert Choice(["Li"], anions=anions).fits(crystal) is fits
    assert not Choice(["Li"], anions=anions, exclude=["x"]).fits(crystal)
    assert not Choice(["Li"], anions=anions, max_atoms=1).fits(crystal)


def test_ids_are_one_a_line(tmp_path):
    (tmp_path / "ids").write_text("# comment\nb\n\n a  # why\n")
    assert read_ids(tmp_path / "ids") == ["a", "b"]
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no text file"):
        read_ids(tmp_path / "binary")


def test_electrodes_are_filled_where_the_discharged_crystal_has_the_ions():
    pairs = read_electrodes(ELECTRODES)
    chosen = chosen_pairs(pairs, Choice(["Li", "Mg"], max_atoms=60))
    assert chosen and all(pair.info["recommended"] == 1 and pair.guest_z in (3, 12) for pair in chosen)
    assert len(chosen_pairs(pairs, Choice(["Li", "Mg"], limit=3, max_atoms=60))) == 3
    for pair in chosen:
        host = filled_host(pair)
        n = len(pair.host)
        assert (host.frac_coords[:n] == pair.host.frac_coords).all() and (host.lattice == pair.host.lattice).all()
        assert (host.frac_coords[n:] == pair.reference.frac_coords[n:]).all()
        assert (host.info[SPECIES], host.info[COUNT]) == ({3: "Li", 12: "Mg"}[pair.guest_z], pair.n_guest)
    pair = chosen[0]
    on_an_atom = np.concatenate([pair.host.frac_coords, np.repeat(pair.host.frac_coords[:1], pair.n_guest, axis=0)])
    with pytest.raises(InputError, match="apart"):
        filled_host(replace(pair, reference=replace(pair.reference, frac_coords=on_an_atom)))


def test_one_task_for_each_distinct_site():
    both = np.array([[0.125] * 3, [0.875] * 3])
    filled = SPINEL.with_guests([3, 3], both)  # two tetrahedral sites that a symmetry of the spinel exchanges
    (only,) = single_ions(filled, "Li")
    assert only.name == f"{SPINEL.name}_Li1" and only.info["framework"] == SPINEL.name
    assert (only.frac_coords[-1] == both[0]).all() and only.numbers[-1] == 3 and len(only) == len(filled)
    octahedral = SPINEL.with_guests([3, 3, 3], [*both, [0.5, 0.5, 0.0]])
    sites = list(single_ions(octahedral, "Li"))
    assert [site.name[-3:] for site in sites] == [f"Li{k + 1}" for k in range(len(sites))] and len(sites) >= 2
    for site in sites:
        assert sorted(map(tuple, site.frac_coords)) == sorted(map(tuple, octahedral.frac_coords))
