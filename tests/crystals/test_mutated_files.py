"""Structure files with errors of all kinds: a crystal or one line, never a traceback, a hang, or all of the memory.

`INPAINT_HPC_MUTATIONS=20000 python -m pytest tests/crystals/test_mutated_files.py` tries more of them.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.io.cif import CifWriter

from inpaint_hpc import InputError, read_hosts
from inpaint_hpc._version import PACKAGE_FOLDER

EXAMPLES = PACKAGE_FOLDER / "examples" / "mno2"
COUNT = int(os.environ.get("INPAINT_HPC_MUTATIONS", "700"))
SECONDS, MEMORY = 10, 2 << 30
NUMBERS = ("0", "-0", "1e308", "-1e308", "nan", "inf", "1e-300", "200", "-5e6", "1,5", "0x10", "", "9" * 40, "1/0")


def originals(folder: Path) -> list[Path]:
    """A small file of each format."""
    (host,) = read_hosts(EXAMPLES / "beta_mp-510408.cif")
    structure, atoms = host.to_structure(), host.to_atoms()
    CifWriter(structure, symprec=0.01).write_file(folder / "a.cif")
    structure.to(str(folder / "POSCAR"), fmt="poscar")
    structure.to(str(folder / "a.json"), fmt="json")
    (folder / "b.json").write_text(json.dumps([{"id": "x", "initial_structure": structure.as_dict()}]))
    for name in ("a.extxyz", "a.xsf"):
        atoms.write(folder / name)
    return sorted(folder.iterdir())


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four errors: bytes, lines, numbers, encodings."""
    for _ in range(rng.integers(1, 5)):
        lines = data.split(b"\n")
        row = int(rng.integers(len(lines)))
        kind = rng.integers(9)
        if kind == 0:
            position = int(rng.integers(len(data) + 1))
            data = data[:position] + bytes(rng.integers(0, 256, 3, dtype=np.uint8)) + data[position + 2 :]
        elif kind == 1:
            data = b"\n".join([*lines[:row], *lines[row + 1 :]])
        elif kind == 2:
            data = b"\n".join([*lines[: row + 1], *lines[row:]])
        elif kind == 3:
            data = data[: int(rng.integers(len(data) + 1))]
        elif kind in (4, 5):
            words = lines[row].split(b" ")
            words[int(rng.integers(len(words)))] = str(rng.choice(NUMBERS)).encode()
            lines[row] = b" ".join(words)
            data = b"\n".join(lines)
        elif kind == 6:
            data = data.decode("utf-8", "replace").encode(
                str(rng.choice(["utf-16", "latin-1", "utf-8-sig"])), "replace"
            )
        elif kind == 7:
            other = int(rng.integers(len(lines)))
            lines[row], lines[other] = lines[other], lines[row]
            data = b"\n".join(lines)
        else:
            data = data.replace(b"\n", bytes(rng.choice([b"\r\n", b"\r", b"\n\n"])))
    return data


def child(folder: Path, first: int, count: int) -> None:
    """Read mutations, one after another; what went wrong is printed as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (3 * MEMORY, 3 * MEMORY))
    source = folder / "originals"
    files = sorted(source.iterdir())
    read_hosts(files[0])  # what it loads does not count
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def late(number: int, frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, late)
    problems, read = [], 0
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        original = files[number % len(files)]
        target = folder / f"{first}" / original.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(mutated(original.read_bytes(), rng))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of this process's own work, however busy the machine is
        try:
            read += len(read_hosts(target))
        except InputError as error:
            if "\n" in str(error) or not str(error).startswith(str(target)):
                problems.append([number, original.name, f"message: {error}"])
        except BaseException as error:
            problems.append([number, original.name, repr(error)])
        signal.setitimer(signal.ITIMER_PROF, 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - start
    if grown > MEMORY:
        problems.append([first, "", f"{grown >> 20} MiB"])
    print(json.dumps({"read": read, "problems": problems}))


@pytest.mark.parametrize("first", [0, 1_000_000])
def test_mutated_files(tmp_path, first):
    (tmp_path / "originals").mkdir()
    originals(tmp_path / "originals")
    command = [sys.executable, __file__, str(tmp_path), str(first), str(COUNT // 2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == [] and found["read"] > 0


if __name__ == "__main__":
    child(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
