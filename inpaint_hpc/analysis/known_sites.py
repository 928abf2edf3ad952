"""Guest sites known from experiment in the packaged MnO2 hosts, to mark in pictures and to test against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inpaint_hpc._version import PACKAGE_FOLDER
from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.symmetry import site_orbit
from inpaint_hpc.pipeline.results import InpaintResult
from inpaint_hpc.sampling.minimum_image import PeriodicCell

MNO2 = PACKAGE_FOLDER / "examples" / "mno2"
SYMPREC = 0.1
SAME_SITE = 0.5  # A


@dataclass(frozen=True)
class KnownSite:
    """A known site and its source.

    Attributes:
        kind: what it is, with its Wyckoff position where that does not depend on the choice of origin.
        compound: where it was found.
        frac_position: one such position in the cell of the packaged file.
        neighbors: oxygen atoms around it.
        source: publication.
    """

    kind: str
    compound: str
    frac_position: tuple[float, float, float]
    neighbors: int
    source: str

    def positions(self, host: Crystal) -> np.ndarray:
        """All equivalent positions in the host's cell, by its symmetry: fractional, (m, 3)."""
        return site_orbit(host, np.array(self.frac_position), SYMPREC)


POLYMORPHS = {
    "alpha_mp-19395": "\N{GREEK SMALL LETTER ALPHA}-MnO$_2$ (hollandite type)",
    "beta_mp-510408": "\N{GREEK SMALL LETTER BETA}-MnO$_2$ (pyrolusite, rutile type)",
    "gamma_mp-644514": "\N{GREEK SMALL LETTER GAMMA}-like MnO$_2$ (intergrowth)",
    "delta_mp-25223": "\N{GREEK SMALL LETTER DELTA}-like MnO$_2$ (layered, 1T)",
    "delta_mp-25424": "\N{GREEK SMALL LETTER DELTA}-like MnO$_2$ (layered, 3R)",
    "lambda_mp-25275": "\N{GREEK SMALL LETTER LAMDA}-MnO$_2$ (spinel framework)",
    "R_mp-19326": "R-MnO$_2$ (ramsdellite type)",
}

KNOWN_SITES = {
    "lambda_mp-25275": (
        KnownSite(
            "tetrahedral 8a",
            "Li in LiMn$_2$O$_4$",
            (0.125, 0.125, 0.125),
            4,
            "J. C. Hunter, J. Solid State Chem. 39, 142 (1981)",
        ),
        KnownSite(
            "octahedral 16c",
            "Li in Li$_2$Mn$_2$O$_4$",
            (0.0, 0.0, 0.0),
            6,
            "M. M. Thackeray, W. I. F. David, P. G. Bruce, J. B. Goodenough, Mater. Res. Bull. 18, 461 (1983)",
        ),
    ),
    "alpha_mp-19395": (
        KnownSite(
            "tunnel centre 2b",
            "K in K$_{1.33}$Mn$_8$O$_{16}$",
            (0.5, 0.0, 0.0),
            8,
            "J. Vicat, E. Fanchon, P. Strobel, D. Tran Qui, Acta Crystallogr. B 42, 162 (1986)",
        ),
    ),
    "delta_mp-25223": (
        KnownSite(
            "octahedral",
            "Li in 1T-LiTiS$_2$",
            (0.0, 0.0, 0.5),
            6,
            "J. R. Dahn, W. R. McKinnon, R. R. Haering, W. J. L. Buyers, B. M. Powell, Can. J. Phys. 58, 207 (1980)",
        ),
    ),
    "delta_mp-25424": (
        KnownSite(
            "octahedral 3b",
            "Li in layered LiMnO$_2$",
            (0.5, 0.5, 0.5),
            6,
            "A. R. Armstrong, P. G. Bruce, Nature 381, 499 (1996)",
        ),
    ),
}


def ranks_of_known(result: InpaintResult, known: Sequence[KnownSite]) -> list[int | None]:
    """For each known site, the rank of the best candidate with a guest within 0.5 A of it, or None."""
    cell = PeriodicCell(result.host.lattice)
    ranks: list[int | None] = []
    for site in known:
        positions = site.positions(result.host)
        near = [c.rank for c in result.candidates if cell.distances(c.guest_frac_coords, positions).min() <= SAME_SITE]
        ranks.append(min(near, default=None))
    return ranks
