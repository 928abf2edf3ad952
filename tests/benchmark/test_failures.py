"""Kinds of failure in a host whose answers are known."""

import numpy as np
import pytest

from inpaint_hpc.benchmark.failures import kind_of_failure
from inpaint_hpc.crystals.batch import Crystal

# Simple cubic Mn, doubled along c: tunnels along all axes, with room for an ion within reach of eight atoms.
HOST = Crystal([25, 25], [[0, 0, 0], [0, 0, 0.5]], np.diag([4.8, 4.8, 9.6]))
RIGHT = np.array([[0.5, 0.5, 0.25]])
LI = np.array([3])


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ([[0.5, 0.5, 0.30]], "blurred"),  # 0.5 A from the site
        ([[0.5, 0.5, 0.75]], "blurred"),  # an image of the site: nothing but the matcher can be at fault
        ([[0.5, 0.5, 0.5]], "wrong sites"),
        ([[0.0, 0.0, 0.05]], "colliding"),  # 0.5 A from Mn
    ],
)
def test_one_guest(found, kind):
    assert kind_of_failure(HOST, LI, RIGHT, np.array(found)) == kind


def test_several_guests():
    host = Crystal([25, 25, 25, 25], [[0, 0, k / 4] for k in range(4)], np.diag([4.8, 4.8, 12.0]))
    right = np.array([[0.5, 0.5, 0.125], [0.5, 0.5, 0.375]])  # neighbours in the tunnel
    two = np.array([3, 3])
    apart = np.array([[0.5, 0.5, 0.125], [0.5, 0.5, 0.625]])
    assert kind_of_failure(host, two, right, apart) == "other arrangement"
    one_off = np.array([[0.5, 0.5, 0.125], [0.5, 0.0, 0.5]])
    assert kind_of_failure(host, two, right, one_off) == "some wrong sites"
    together = np.array([[0.5, 0.5, 0.125], [0.5, 0.5, 0.15]])
    assert kind_of_failure(host, two, right, together) == "colliding"
