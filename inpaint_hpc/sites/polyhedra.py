"""What chemists call the surroundings of a site: 'LiO6 octahedron, 2.10-2.14 A'.

The shape is the ideal one with the smallest continuous symmetry measure (M. Pinsky and D. Avnir, Inorg. Chem. 37, 5575
(1998)): of site and neighbours, 0 for the ideal shape and at most 100.  Octahedron and trigonal prism are 17 apart.
Distances are over the typical length of each bond, so that O and Cl can be corners of one octahedron.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .coordination import Shell

CLOSE, DISTORTED, UNEVEN = 2.0, 7.0, 1.2
_STARTS, _TRIED = 3, 5


def environment(symbol: str, shell: Shell) -> str:
    """Ion, neighbours, shape where there is one, shortest and longest distance in A; '' without neighbours."""
    if not len(shell.numbers):
        return ""
    counts = shell.by_element()
    formula = symbol + "".join(f"{element}{count if count > 1 else ''}" for element, (count, _) in counts.items())
    shortest, longest = f"{shell.distances.min():.2f}", f"{shell.distances.max():.2f}"
    lengths = shortest if shortest == longest else f"{shortest}-{longest}"
    return f"{formula} {shape(shell)}".rstrip() + f", {lengths} A"


def shape(shell: Shell) -> str:
    """Name of the shape, with 'distorted' where it is not close; '' where it is none of those known."""
    n = len(shell.numbers)
    if n not in _shapes() or shell.scaled.min() < 0.1:
        return ""
    corners = shell.vectors / shell.distances[:, None] * shell.scaled[:, None]
    name, measure = min(((name, _measure(corners, ideal)) for name, ideal in _shapes()[n].items()), key=lambda s: s[1])
    even = shell.scaled.max() < UNEVEN * shell.scaled.min()
    return name if measure < CLOSE and even else f"distorted {name}" if measure < DISTORTED else ""


def _measure(corners: np.ndarray, ideal: np.ndarray) -> float:
    """Continuous symmetry measure of a site and its neighbours (n, 3) against an ideal shape with its centre at 0.

    The neighbours are assigned to corners by how well they fit after each rotation that brings two of them onto two
    corners; that finds the best of the n! assignments unless the shape is far from ideal.
    """
    from scipy.optimize import linear_sum_assignment

    # Row vectors: corners @ turn is in the frame of the ideal shape.
    starts = _first_frames(ideal.tobytes())
    frames = _frames(corners)
    if not len(frames):  # all in line
        return 100.0
    turns = (frames.transpose(0, 2, 1)[:, None] @ starts[None]).reshape(-1, 3, 3)
    fits = (corners @ turns) @ ideal.T
    likely = np.argsort(-fits.max(axis=2).sum(axis=1), kind="stable")[:_TRIED]
    matched = np.array([ideal[linear_sum_assignment(-fit)[1]] for fit in fits[likely]])
    points, shapes = (_with_centre(part) for part in (corners[None], matched))
    points, shapes = (part - part.mean(axis=1, keepdims=True) for part in (points, shapes))
    stretch = np.linalg.svd(points.transpose(0, 2, 1) @ shapes, compute_uv=False).sum(axis=1)
    return float(100.0 * (1.0 - (stretch**2 / ((points**2).sum() * (shapes**2).sum(axis=(1, 2)))).max()))


def _with_centre(corners: np.ndarray) -> np.ndarray:
    """Of shapes (s, n, 3), with a point at 0 before the others, (s, n + 1, 3)."""
    points = np.zeros((len(corners), corners.shape[1] + 1, 3))
    points[:, 1:] = corners
    return points


@cache
def _first_frames(corners: bytes) -> np.ndarray:
    return _frames(np.frombuffer(corners).reshape(-1, 3))[:_STARTS]


def _frames(corners: np.ndarray) -> np.ndarray:
    """Right-handed axes, as rows, along each corner and towards each other one that is not in line, (f, 3, 3)."""
    unit = corners / np.linalg.norm(corners, axis=1)[:, None]
    first, second = (unit[which] for which in _pairs(len(unit)))
    normal = _cross(first, second)
    size = np.sqrt((normal**2).sum(axis=1))
    apart = size > 0.1
    first, normal = first[apart], normal[apart] / size[apart, None]
    return np.stack([first, _cross(normal, first), normal], axis=1)


@cache
def _pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """All ordered pairs of n."""
    first, second = np.nonzero(~np.eye(n, dtype=bool))
    return first, second


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of rows; numpy's own takes ten times as long for so few."""
    return a[:, [1, 2, 0]] * b[:, [2, 0, 1]] - a[:, [2, 0, 1]] * b[:, [1, 2, 0]]


@cache
def _shapes() -> dict[int, dict[str, np.ndarray]]:
    """Number of neighbours -> name -> corners on the unit sphere."""
    cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    tetrahedron = cube[cube.prod(axis=1) > 0]
    poles = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    golden = (1 + 5**0.5) / 2
    named = {
        3: {"triangle": _ring(3), "trigonal pyramid": tetrahedron[:3]},
        4: {"tetrahedron": tetrahedron, "square plane": _ring(4)},
        5: {"square pyramid": np.vstack([_ring(4), poles[:1]]), "trigonal bipyramid": np.vstack([_ring(3), poles])},
        6: {"octahedron": np.vstack([_ring(4), poles]), "trigonal prism": _two_rings(3, 0.75**0.5)},
        7: {"pentagonal bipyramid": np.vstack([_ring(5), poles])},
        8: {"cube": cube, "square antiprism": _two_rings(4, 0.6, turned=True)},
        9: {"tricapped trigonal prism": np.vstack([_two_rings(3, 1.0), -_ring(3)])},
        12: {
            "cuboctahedron": _edges(1.0),
            "icosahedron": _edges(golden),
            "hexagonal prism": _two_rings(6, 1.0),
        },
    }
    return {
        n: {name: corners / np.linalg.norm(corners, axis=1)[:, None] for name, corners in shapes.items()}
        for n, shapes in named.items()
    }


def _ring(n: int, height: float = 0.0, turn: float = 0.0) -> np.ndarray:
    angles = 2 * np.pi * (np.arange(n) + turn) / n
    return np.column_stack([np.cos(angles), np.sin(angles), np.full(n, height)])


def _two_rings(n: int, height: float, turned: bool = False) -> np.ndarray:
    """A prism, or an antiprism."""
    return np.vstack([_ring(n, height), _ring(n, -height, 0.5 * turned)])


def _edges(longer: float) -> np.ndarray:
    """Middles of the edges of a cube, stretched along one axis each."""
    quarter = np.array([[0.0, a, b * longer] for a in (-1, 1) for b in (-1, 1)])
    return np.vstack([np.roll(quarter, turn, axis=1) for turn in range(3)])
