"""What several verbs are tried with."""

import pytest
from pymatgen.core import Lattice, Structure
from tiny_network import save_tiny_weights


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A tiny network: what is tested here does not depend on what it has learnt."""
    return save_tiny_weights(tmp_path_factory.mktemp("weights"), seed=1)


@pytest.fixture(scope="session")
def open_host(tmp_path_factory):
    """Two atoms in a cell so wide that most random placements are possible."""
    path = tmp_path_factory.mktemp("hosts") / "open.cif"
    Structure(Lattice.cubic(6.5), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(filename=str(path))
    return path
