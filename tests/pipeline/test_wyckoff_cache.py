"""Labels of many sites at once against one by one, and how often spglib is asked."""

from pathlib import Path

import numpy as np
import pytest
import spglib

import inpaint_hpc
from inpaint_hpc.crystals import symmetry
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.crystals.symmetry import site_orbit, wyckoff_label
from inpaint_hpc.pipeline.wyckoff_cache import WyckoffCache

HOSTS = read_hosts(Path(inpaint_hpc.__file__).parent / "examples" / "mno2")


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_sites_together_are_named_as_one_by_one(host):
    rng = np.random.default_rng(0)
    general = rng.random((6, 3))
    special = np.array([[0.5, 0.5, 0.5], [0.0, 0.0, 0.5], [0.25, 0.25, 0.25], [0.0, 0.5, 0.5]])
    positions = np.concatenate([general, special, general[::-1] + 0.001, special])
    found = WyckoffCache(host, 0.1, 0.5).describe(positions)
    again = WyckoffCache(host, 0.1, 0.5)
    for position, said in zip(positions, found, strict=True):
        assert again.describe(position) == [said]
    for position, (multiplicity, label) in zip(positions[:10], found, strict=False):
        near_another = any(
            np.linalg.norm((d - np.round(d)) @ host.lattice) < 1.0 for d in positions[:10] - position if np.abs(d).any()
        )
        if not near_another:  # positions on one orbit share what the first of them is called
            assert multiplicity == len(site_orbit(host, position, 0.1, 0.5))
            assert label == str(wyckoff_label(host, position, 0.1, 0.5))


def test_spglib_is_asked_once_for_all_new_sites_and_never_again(monkeypatch):
    asked = []
    real = spglib.get_symmetry_dataset

    def counted(cell, **options):
        asked.append(cell)
        return real(cell, **options)

    monkeypatch.setattr(spglib, "get_symmetry_dataset", counted)
    host = HOSTS[0]
    # Exactly on their orbits: what is moved further than two sites may differ is looked at again.
    positions = [site_orbit(host, position, 0.1, 0.5)[0] for position in np.random.default_rng(1).random((20, 3))]
    positions = np.array(positions)
    symmetry._dataset_of.cache_clear()
    asked.clear()
    cache = WyckoffCache(host, 0.1, 0.5)
    first = cache.describe(positions)
    # The host, and its standard cell with all sites marked.
    assert len(asked) == 2
    assert cache.describe(positions[::-1]) == first[::-1] and len(asked) == 2
    WyckoffCache(host, 0.1, 0.5).describe(positions[:1])
    assert len(asked) == 3


@pytest.mark.parametrize("tolerance", [0.5, 0.05])
@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_a_label_does_not_depend_on_what_was_asked_before(host, tolerance):
    rng = np.random.default_rng(4)
    centres = np.concatenate([rng.random((4, 3)), rng.integers(0, 8, (4, 3)) / 8])
    steps = rng.normal(scale=0.1, size=(6, 8, 3)) @ np.linalg.inv(host.lattice)
    positions = (centres + steps).reshape(-1, 3)
    cache = WyckoffCache(host, 0.1, tolerance)
    found = cache.describe(positions)
    assert cache.describe(positions) == found
    for _ in range(3):
        order = rng.permutation(len(positions))
        assert WyckoffCache(host, 0.1, tolerance).describe(positions[order]) == [found[row] for row in order]
    for position, (multiplicity, _) in zip(positions, found, strict=True):
        assert multiplicity == len(site_orbit(host, position, 0.1, tolerance))


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_positions_far_from_their_sites_are_remembered(host, monkeypatch):
    for position in np.random.default_rng(2).random((20, 3)):
        cache = WyckoffCache(host, 0.1, 0.5)
        first = cache.describe(position)
        with monkeypatch.context() as patched:
            patched.setattr(symmetry, "_dataset", None)  # not to be asked again
            assert cache.describe(position) == first
