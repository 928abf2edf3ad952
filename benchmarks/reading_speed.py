"""How long reading hosts takes, against another checkout of this code, in turns.

    git worktree add ../before COMMIT
    python benchmarks/reading_speed.py ../shared/data/wbm_dev.h5 --limit 2000 --other ../before

Writes crystals as CIF (by pymatgen, with symmetry), POSCAR, and one JSON list of pymatgen's dictionaries; each checkout
reads all of them in a process of its own, three times in turns.  Prints CPU milliseconds per host (least of the three),
peak memory, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
READ = """
import sys, time
from inpaint_hpc.crystals.reading import iter_hosts
list(iter_hosts(sys.argv[2]))  # imports
start = time.process_time()
count = sum(1 for _ in iter_hosts(sys.argv[1], on_error=lambda error: None))
seconds = time.process_time() - start
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(count, seconds, int(peak) / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="packed file")
    parser.add_argument("--limit", type=int, default=1000, help="first crystals of it")
    parser.add_argument("--other", type=Path, help="another checkout")
    options = parser.parse_args()
    trees = [HERE] if options.other is None else [HERE, options.other.resolve()]
    with tempfile.TemporaryDirectory() as folder:
        for kind, path, one in write(options, Path(folder)):
            best: dict[Path, tuple[int, float, float]] = {}
            for _ in range(3):
                for tree in trees:
                    count, seconds, memory = measure(tree, path, one)
                    best[tree] = (count, min(seconds, best.get(tree, (0, 1e9, 0))[1]), memory)
            said = [f"{1e3 * s / n:.2f} ms per host, {n} hosts, {m:.0f} MiB" for n, s, m in best.values()]
            ratio = f"; ratio {best[trees[0]][1] / best[trees[1]][1]:.2f}" if options.other else ""
            print(f"{kind:7}: {' | '.join(said)}{ratio}", flush=True)


def write(options: argparse.Namespace, folder: Path) -> list[tuple[str, Path, Path]]:
    """By format: its name, what to read, and one file of it."""
    from pymatgen.io.cif import CifWriter

    from inpaint_hpc.crystals.reading import read_hosts

    warnings.simplefilter("ignore")
    structures = [crystal.to_structure() for crystal in read_hosts(f"{options.data}::0:{options.limit}")]
    for kind in ("cif", "poscar"):
        (folder / kind).mkdir()
    for index, structure in enumerate(structures):
        CifWriter(structure, symprec=0.01).write_file(folder / "cif" / f"{index:06d}.cif")
        structure.to(str(folder / "poscar" / f"{index:06d}.vasp"), fmt="poscar")
    for name, some in (("all.json", structures), ("one.json", structures[:1])):
        (folder / name).write_text(json.dumps([structure.as_dict() for structure in some]))
    return [
        ("CIF", folder / "cif", folder / "cif" / "000000.cif"),
        ("POSCAR", folder / "poscar", folder / "poscar" / "000000.vasp"),
        ("JSON", folder / "all.json", folder / "one.json"),
    ]


def measure(tree: Path, path: Path, one: Path) -> tuple[int, float, float]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", READ, path, one], env=environment, cwd="/", capture_output=True, text=True, check=True
    )
    count, seconds, memory = run.stdout.split()
    return int(count), float(seconds), float(memory)


if __name__ == "__main__":
    main()
