"""Batched FIRE and the cell filter against ASE, on a potential that knows nothing of CHGNet."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from scipy.linalg import expm

from inpaint_hpc.scoring.relaxation.cell_filter import EV_PER_A3_IN_GPA, cell_forces, deformations
from inpaint_hpc.scoring.relaxation.fire import Fire, FireSettings


def cluster(n, seed):
    """Argon-like atoms in a periodic box, each about 1 A off a lattice site."""
    rng = np.random.default_rng(seed)
    sites = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)][:n])
    atoms = Atoms("Ar" * n, 3.6 * sites + rng.normal(0, 0.5, (n, 3)), cell=np.eye(3) * 9.0, pbc=True)
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.2, rc=4.4, smooth=True)
    return atoms


def ase_path(atoms, steps, **options):
    """Positions after each step of ASE's FIRE."""
    path = []
    optimizer = FIRE(atoms, logfile=None, **options)
    optimizer.attach(lambda: path.append(atoms.get_positions()))
    optimizer.run(fmax=0.0, steps=steps)
    return np.array(path)


@pytest.mark.parametrize("options", [{}, {"dt": 0.3, "dtmax": 0.4, "maxstep": 0.1, "Nmin": 2, "a": 0.2, "astart": 0.2}])
def test_every_step_is_that_of_ase_whoever_else_is_in_the_batch(options):
    names = {"dtmax": "dt_max", "maxstep": "max_step", "Nmin": "n_min", "a": "alpha"}
    settings = FireSettings(**{names.get(k, k): v for k, v in options.items() if k != "astart"})
    sizes, steps = [3, 8, 5], 60
    expected = [ase_path(cluster(n, k), steps, **options) for k, n in enumerate(sizes)]
    structures = [cluster(n, k) for k, n in enumerate(sizes)]
    start = np.cumsum([0, *sizes])
    fire = Fire(3, sum(sizes), settings)
    taken = [0, 0, 0]
    for turn in range(2 * steps):
        # The second structure moves at every other turn only, and the third joins late.
        moving = [k for k in range(3) if taken[k] < steps and (k != 1 or turn % 2) and (k != 2 or turn > 20)]
        if not moving:
            continue
        rows = torch.cat([torch.arange(start[k], start[k + 1]) for k in moving])
        owner = torch.cat([torch.full((sizes[k],), i) for i, k in enumerate(moving)])
        forces = torch.tensor(np.concatenate([structures[k].get_forces() for k in moving]))
        shifts = fire.step(torch.tensor(moving), rows, owner, forces).numpy()
        for i, k in enumerate(moving):
            structures[k].positions += shifts[owner.numpy() == i]
            taken[k] += 1
            np.testing.assert_allclose(structures[k].positions, expected[k][taken[k]], atol=1e-9)
    assert taken == [steps] * 3


def test_a_structure_at_rest_stays_at_rest():
    fire, nothing = Fire(1, 2, FireSettings()), torch.zeros(2, 3).double()
    for _ in range(3):
        shift = fire.step(torch.tensor([0]), torch.arange(2), torch.tensor([0, 0]), nothing)
        assert torch.equal(shift, nothing)


def test_forces_on_cells_are_those_of_ase():
    rng = np.random.default_rng(5)
    logarithms, stresses, volumes, counts, expected = [], [], [], [], []
    for k, n in enumerate([4, 7, 8]):
        atoms = cluster(n, k)
        atoms.set_cell(atoms.cell[:] + rng.normal(0, 0.5, (3, 3)))
        cell_filter = FrechetCellFilter(atoms)
        logarithm = rng.normal(0, 0.1, (3, 3))
        coordinates = cell_filter.get_positions()
        coordinates[n:] += n * logarithm
        cell_filter.set_positions(coordinates)
        expected.append(cell_filter.get_forces()[n:])
        logarithms.append(logarithm)
        stresses.append(atoms.get_stress(voigt=False) * EV_PER_A3_IN_GPA)
        volumes.append(atoms.get_volume())
        counts.append(n)
    given = (torch.tensor(np.array(x)) for x in (logarithms, stresses, volumes, counts))
    forces = cell_forces(*given)
    np.testing.assert_allclose(forces.numpy(), expected, atol=1e-10)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(deformations(torch.tensor(np.array(logarithms)))[1], expm(logarithms[1]), atol=1e-12)
