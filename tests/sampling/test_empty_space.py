"""Hosts with empty space, and where guests begin in them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from example_hosts import MNO2, SPINEL

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.sampling import empty_space
from inpaint_hpc.sampling.contact_distances import connected_guests
from inpaint_hpc.sampling.empty_space import (
    GRID,
    VOID,
    has_void,
    largest_empty_sphere,
    sphere_fits,
    starting_positions,
)
from inpaint_hpc.sampling.strategies import SampleBatch
from inpaint_hpc.sampling.tasks import Task


def stretched(host, height):
    """A layer of the host, around z = 0, in a cell of another height in A, as thick as it was."""
    lattice = host.lattice.copy()
    lattice[2] *= height / np.linalg.norm(lattice[2])
    around = (host.frac_coords - np.round(host.frac_coords)) @ host.lattice
    return Crystal(host.numbers, around @ np.linalg.inv(lattice), lattice, "layer")


LAYERED = read_hosts([MNO2 / "delta_mp-25223.cif"])[0]
LAYER = stretched(LAYERED, 25.0)


def batch_of(*hosts, guests=2):
    tasks = [Task(host, {"Li": guests}) for host in hosts]
    return SampleBatch(tasks, [range(40)] * len(tasks), 0, torch.device("cpu"))


def test_the_sphere_is_what_geometry_says():
    # The centre of a cube of edge 8 A with an atom at its corners is 6.93 A from them, and moving the atom is nothing.
    for atom in ([0.0, 0.0, 0.0], [0.45, -0.3, 7.1]):
        assert largest_empty_sphere(8.0 * np.eye(3), np.array([atom]), 9.0) == pytest.approx(6.93, abs=0.55)
    assert largest_empty_sphere(30.0 * np.eye(3), np.zeros((1, 3)), 6.0) == 6.0


def test_crystals_have_no_void_and_layers_in_vacuum_do():
    assert not any(has_void(host) for host in read_hosts([MNO2]))
    assert has_void(LAYER)
    assert not has_void(Crystal([], np.zeros((0, 3)), 20.0 * np.eye(3)))


def test_starting_positions_change_only_where_there_is_a_void():
    ordinary, mixed = batch_of(SPINEL, LAYERED, guests=1), batch_of(SPINEL, LAYER, guests=1)
    assert torch.equal(starting_positions(ordinary), ordinary.uniform_positions())
    assert torch.equal(starting_positions(mixed)[:40], ordinary.uniform_positions()[:40])


def test_in_a_void_guests_begin_within_reach_wherever_they_are_drawn():
    batch = batch_of(LAYER)
    found = starting_positions(batch)
    frac = batch.fractional(found, batch.sample).numpy().reshape(40, 2, 3)
    for guest in range(2):
        assert connected_guests(LAYER, [3], frac[:, guest : guest + 1]).all()
    uniform = batch.fractional(batch.uniform_positions(), batch.sample).numpy().reshape(40, 2, 3)
    assert connected_guests(LAYER, [3, 3], uniform).mean() < 0.6
    later = SampleBatch(batch.tasks, [range(30, 40)], 0, torch.device("cpu"))
    assert torch.equal(starting_positions(later), found[60:])


@pytest.fixture
def asked(monkeypatch):
    """Hosts whose empty space is looked for."""
    calls = []
    find = empty_space.sphere_fits
    monkeypatch.setattr(empty_space, "sphere_fits", lambda *host: calls.append(host) or find(*host))
    return calls


def test_hosts_of_a_whole_unit_are_remembered(asked):
    """Every round of drawing asks for all of them again."""
    hosts = [Crystal(np.array([8]), np.zeros((1, 3)), (3.0 + 1e-3 * k) * np.eye(3)) for k in range(300)]
    found = [has_void(host) for host in [*hosts, *hosts]]
    assert not any(found) and len(asked) == len(hosts)


def test_guests_do_not_make_empty_space(asked):
    """Neither do they fill it: hosts with a void are looked at again."""
    rng = np.random.default_rng(0)
    host, layer = (replace(one, lattice=1.001 * one.lattice) for one in (SPINEL, LAYER))
    for one in (host, layer):
        asked.clear()
        filled = [one, *(one.with_guests([3], rng.random((1, 3))) for _ in range(5))]
        plain = [largest_empty_sphere(c.lattice, c.frac_coords, VOID + GRID) > VOID for c in filled]
        assert [has_void(c) for c in filled] == plain
        assert len(asked) == (1 if one is host else 6)
    other = replace(host, frac_coords=host.frac_coords[::-1].copy())
    assert not has_void(other) and len(asked) == 7


def test_blocks_of_the_grid_give_the_answer_of_the_whole_grid():
    rng = np.random.default_rng(0)
    answers = []
    for k in range(120):
        lattice = rng.uniform(2.0, 9.0, (3, 1)) * (np.eye(3) + rng.uniform(-0.5, 0.5, (3, 3)))
        atoms = rng.uniform(-1.0, 2.0, (rng.integers(1, 12), 3))
        whole = largest_empty_sphere(lattice, atoms, 9.0)
        # At random, just around the largest sphere, and at it.
        radius = [rng.uniform(1.0, 6.0), whole - 1e-9, whole + 1e-9, whole][k % 4]
        answers.append(sphere_fits(lattice, atoms, radius))
        assert answers[-1] == (largest_empty_sphere(lattice, atoms, radius + GRID) > radius)
    assert 30 < sum(answers) < 90
