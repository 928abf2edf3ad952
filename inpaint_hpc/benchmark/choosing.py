"""Which crystals a benchmark is about: by the ion, the anions, the size, and the sha256 of their names."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inpaint_hpc.crystals.batch import Crystal
from inpaint_hpc.crystals.checking import check_crystal
from inpaint_hpc.crystals.packed import ElectrodePair
from inpaint_hpc.crystals.symmetry import symmetry_operations
from inpaint_hpc.errors import InputError

# What `--anions` is about (an element of these that is not listed excludes a crystal), and `main_anion`.
ANIONS = ("N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I")
SPECIES, COUNT, FRAMEWORK = "removed", "n_removed", "framework"  # columns of hosts


@dataclass(frozen=True)
class Choice:
    """What is chosen of the input.

    Attributes:
        ions: symbols of what is taken out.
        limit: so many crystals for each ion, those whose sha256 of the name is smallest: the same everywhere; None
            takes all.
        max_atoms: most atoms, ions included.
        anions: symbols; a crystal holds at least one of them and no other of `ANIONS`.  Empty takes any.
        exclude: names that are left out.
    """

    ions: Sequence[str]
    limit: int | None = None
    max_atoms: int = 40
    anions: Sequence[str] = ()
    exclude: Collection[str] = ()

    def fits(self, crystal: Crystal) -> bool:
        """Whether a crystal, with its ions, may be chosen."""
        from ase.data import atomic_numbers

        if len(crystal) > self.max_atoms or crystal.name in self.exclude:
            return False
        if not self.anions:
            return True
        held = set(crystal.numbers.tolist())
        wanted = {atomic_numbers[symbol] for symbol in self.anions}
        return bool(held & wanted) and not held & ({atomic_numbers[symbol] for symbol in ANIONS} - wanted)


def main_anion(symbols: Iterable[str]) -> str:
    """The most electronegative (Pauling) of those symbols that are of `ANIONS`; 'none' without one, as in a metal."""
    from pymatgen.core import Element

    return max(set(symbols) & set(ANIONS), key=lambda symbol: Element(symbol).X, default="none")


def chosen_hosts(crystals: Iterable[Crystal], choice: Choice) -> dict[str, list[Crystal]]:
    """Crystals to take each ion out of: they hold it and something else; only chosen ones are kept."""
    from ase.data import atomic_numbers

    found: dict[str, _First] = {ion: _First(choice.limit) for ion in choice.ions}
    for crystal in crystals:
        if not choice.fits(crystal):
            continue
        for ion, first in found.items():
            held = int(np.count_nonzero(crystal.numbers == atomic_numbers[ion]))
            if 0 < held < len(crystal):
                first.add(crystal.name, crystal)
    return {ion: first.sorted() for ion, first in found.items()}


def chosen_pairs(pairs: Iterable[ElectrodePair], choice: Choice) -> list[ElectrodePair]:
    """Electrode pairs that count: recommended ones, where the file says which; `limit` is of all ions together."""
    from ase.data import chemical_symbols

    first = _First(choice.limit)
    for pair in pairs:
        wanted = chemical_symbols[pair.guest_z] in choice.ions and pair.info.get("recommended", 1) == 1
        if wanted and pair.n_guest and choice.fits(replace(pair.reference, name=pair.name)):
            first.add(pair.name, pair)
    return first.sorted()


def filled_host(pair: ElectrodePair) -> Crystal:
    """The host as it relaxed without the ions, with the ions, last, where the discharged crystal has them.

    Host and discharged crystal share cell vectors and origin as closely as they can, so that the ions keep their
    fractional coordinates.

    Raises:
        InputError: the ions do not fit into the empty host, as atoms would lie on each other.
    """
    guests = slice(len(pair.host), None)
    filled = pair.host.with_guests(pair.reference.numbers[guests], pair.reference.frac_coords[guests])
    check_crystal(filled, pair.name)
    return replace(filled, name=pair.name, info=_marked(pair.info, pair.guest_z, pair.n_guest))


def single_ions(crystal: Crystal, ion: str, symprec: float = 0.1) -> Iterator[Crystal]:
    """The crystal once for each symmetry-distinct site of the ion, its first atom last, to be taken out alone.

    Args:
        crystal: holds the ion.
        ion: its symbol.
        symprec: distance tolerance of the symmetry, A.
    """
    from ase.data import atomic_numbers

    rotations, translations = symmetry_operations(crystal, symprec)
    rest = np.flatnonzero(crystal.numbers == atomic_numbers[ion]).tolist()
    site = 0
    while rest:
        atom, site = rest[0], site + 1
        images = np.einsum("oij,j->oi", rotations, crystal.frac_coords[atom]) + translations
        distance = images[:, None] - crystal.frac_coords[rest]
        distance = np.linalg.norm((distance - np.round(distance)) @ crystal.lattice, axis=-1).min(axis=0)
        # As wide as the rounding of coordinates and symmetry together; atoms of a crystal are further apart.
        rest = [one for one, apart in zip(rest, distance, strict=True) if one != atom and apart > 3 * symprec]
        order = [k for k in range(len(crystal)) if k != atom] + [atom]
        yield replace(
            crystal,
            numbers=crystal.numbers[order],
            frac_coords=crystal.frac_coords[order],
            name=f"{crystal.name}_{ion}{site}",
            info=_marked({FRAMEWORK: crystal.name, **crystal.info}, atomic_numbers[ion], 1),
        )


def read_ids(path: Path) -> list[str]:
    """Ids of a file, one a line; blank lines and what follows a '#' are left out.

    Raises:
        InputError: the file is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text file with one id a line") from None
    return sorted({text for line in lines if (text := line.split("#")[0].strip())})


class _First:
    """The first so many by sha256 of their names, whatever their order."""

    def __init__(self, limit: int | None) -> None:
        self.limit, self.heap = limit, list[tuple[int, str, int, object]]()
        self.count = 0

    def add(self, name: str, one: object) -> None:
        place = -int(hashlib.sha256(name.encode()).hexdigest(), 16)
        self.count += 1
        heapq.heappush(self.heap, (place, name, self.count, one))  # the count keeps equal names apart
        if self.limit is not None and len(self.heap) > self.limit:
            heapq.heappop(self.heap)

    def sorted(self) -> list:
        return [one for _, _, _, one in sorted(self.heap, key=lambda entry: entry[:3], reverse=True)]


def _marked(info: dict, species: int, count: int) -> dict:
    from ase.data import chemical_symbols

    return {**info, SPECIES: chemical_symbols[species], COUNT: count}
