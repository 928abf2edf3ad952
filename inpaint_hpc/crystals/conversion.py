"""Packs files of any readable format into one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inpaint_hpc.crystals.packed import SPLITS, is_validation
from inpaint_hpc.crystals.packed_writing import write_packed
from inpaint_hpc.crystals.reading import expand_paths, iter_hosts
from inpaint_hpc.errors import InputError


@dataclass
class PackReport:
    """Outcome of the inputs.

    Attributes:
        train: crystals in the training part.
        validation: crystals in the validation part.
        too_large: crystals left out for having too many atoms.
        errors: one line for each file or crystal that could not be used.
    """

    train: int = 0
    validation: int = 0
    too_large: int = 0
    errors: list[str] = field(default_factory=list)


def pack_files(
    paths: Sequence[str | Path],
    out: str | Path,
    max_atoms: int | None = None,
    val_modulus: int = 50,
    keep_going: bool = False,
    attributes: dict[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Pack crystals, split into training and validation by their reduced formula (`is_validation`).

    Args:
        paths: as `read_hosts`.
        out: the packed file to write; it appears when everything is in it.
        max_atoms: leave out larger crystals.
        val_modulus: one in this many formulas goes to validation.
        keep_going: leave out what cannot be read, and report it, instead of raising.
        attributes: file attributes (title, source, licence, citation).
        progress: called with (inputs done, inputs) after each input file.

    Raises:
        InputError: an input that cannot be used (without `keep_going`), or no crystal left to write.
        OSError: the file cannot be written.
    """
    report = PackReport()
    crystals, split = [], []
    files = [str(path) if selection is None else f"{path}::{selection}" for path, selection in expand_paths(paths)]
    names: dict[str, int] = {}
    on_error = (lambda error: report.errors.append(str(error))) if keep_going else None
    for done, file in enumerate(files, start=1):
        for crystal in iter_hosts(file, on_error, names):
            if max_atoms is not None and len(crystal) > max_atoms:
                report.too_large += 1
                continue
            validation = is_validation(crystal.numbers, val_modulus)
            crystals.append(crystal)
            split.append(SPLITS["val"] if validation else SPLITS["train"])
            report.validation += validation
            report.train += not validation
        if progress is not None:
            progress(done, len(files))
    if not crystals:
        reason = f"{len(report.errors)} could not be read" if report.errors else f"all exceed {max_atoms} atoms"
        raise InputError(f"{out}: no crystal left to write, {reason}")
    rule = f"0 train, 1 val; val when int(sha256(canonical reduced formula)) mod {val_modulus} == 0"
    write_packed(out, crystals, split, {"split_rule": rule, **(attributes or {})})
    return report
