"""Are crystals that pymatgen and ASE write as CIF read back as they were?

    python benchmarks/cif_round_trip.py ../shared/data/wbm_dev.h5 ../shared/data/electrodes_dev.h5 --limit 500

Each crystal is written by pymatgen with its symmetry (CifWriter, symprec 0.01) and by ASE, and read back: the same
(StructureMatcher, and a volume within 0.1 %), refused, or another one.  Prints the counts; exit status 1 if there is
another one.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from inpaint_hpc import InputError, read_hosts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path, help="packed files")
    parser.add_argument("--limit", type=int, default=500, help="first crystals of each file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    wrong = 0
    for path in options.data:
        for way in ("pymatgen", "ase"):
            counts: Counter[str] = Counter()
            with tempfile.TemporaryDirectory() as folder:
                for crystal in read_hosts(f"{path}::0:{options.limit}"):
                    said = verdict(crystal, way, Path(folder) / "x.cif")
                    counts[said.split(":")[0]] += 1
                    if not said.startswith("same"):
                        print(f"  {crystal.name} ({crystal.formula}): {said}")
            wrong += counts["another"]
            print(f"{path.name}, written by {way}: {dict(counts)}")
    return 1 if wrong else 0


def verdict(crystal, way: str, path: Path) -> str:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.io.cif import CifWriter

    structure = crystal.to_structure()
    if way == "pymatgen":
        CifWriter(structure, symprec=0.01).write_file(path)
    else:
        crystal.to_atoms().write(path, format="cif")
    try:
        (again,) = read_hosts(path)
    except InputError as error:
        return f"refused: {str(error).partition(': ')[2]}"
    # The conventional cell may hold several of the crystal's own.
    volumes = again.volume / len(again) / (crystal.volume / len(crystal))
    matcher = StructureMatcher(ltol=0.05, stol=0.05, angle_tol=1.0, primitive_cell=True, scale=False)
    same = abs(volumes - 1) < 1e-3 and matcher.fit(structure, again.to_structure())
    return "same" if same else f"another: {again.formula}, volume per atom {volumes:.4f} times"


if __name__ == "__main__":
    raise SystemExit(main())
