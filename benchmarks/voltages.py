"""Average voltages of electrodes whose guests the model places, against the Materials Project's.

python benchmarks/voltages.py ../shared/data/electrodes_dev.h5 --pairs 40 --rows voltages.jsonl [--quick] [--json FILE]

Pairs come in the order of a hash of their names.  Each finished pair is a line of the rows file, and a second run with
the same file goes on where the first one stopped.  CHGNet and these pairs' voltages are both of PBE+U calculations.
"""

# ruff: noqa: E402
from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import click

# Rows and summaries of these sets of pairs.
GROUPS = {
    "all": lambda row: True,
    "one guest": lambda row: row["guests"] == 1,
    "2-3 guests": lambda row: 2 <= row["guests"] <= 3,
    "4 or more": lambda row: row["guests"] >= 4,
}


@click.command()
@click.argument("electrodes", type=click.Path(exists=True, dir_okay=False))
@click.option("--pairs", "n", default=40, show_default=True, help="How many pairs, the first by hash.")
@click.option("--max-atoms", default=40, show_default=True, help="Atoms of the discharged structure.")
@click.option("--samples", default=16, show_default=True)
@click.option("--top-k", default=3, show_default=True, help="Placements whose guests are relaxed.")
@click.option("--fmax", default=0.05, show_default=True, help="eV/A, of the complete relaxations.")
@click.option("--max-steps", default=300, show_default=True)
@click.option("--chgnet", default="0.3.0", show_default=True)
@click.option("--weights", default=None, help="Packaged set or .safetensors file.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--minutes", type=float, help="Start no pair after so many minutes of processor time.")
@click.option("--rows", "rows_file", type=click.Path(path_type=Path), help="Append each pair to this file.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the table as JSON.")
@click.option("--quick", is_flag=True, help="Two small pairs, relaxed a few steps: does it run?")
def main(electrodes, n, max_atoms, weights, device, minutes, rows_file, json_file, quick, **protocol) -> None:
    """Relax, place, relax; print the errors of the voltages of the placed and of the true structures."""
    from inpaint_hpc.benchmark.voltages import VoltageProtocol, choose_pairs, pair_voltage, voltage_errors
    from inpaint_hpc.crystals.packed import read_electrodes
    from inpaint_hpc.network.weights import load_network

    if quick:
        n, max_atoms = 2, 12
        protocol |= {"samples": 4, "top_k": 1, "fmax": 0.2, "max_steps": 30}
    protocol = VoltageProtocol(**protocol)
    network = load_network(weights, device)
    settings = {**asdict(protocol), "weights": network.info.sha256[:12]}
    pairs = choose_pairs(read_electrodes(electrodes), max_atoms)[:n]
    done = _read(rows_file, settings)
    started = time.process_time()
    rows = []
    for pair in pairs:
        row = done.get(pair.name)
        if row is None:
            if minutes is not None and time.process_time() - started > 60 * minutes:
                continue
            row = pair_voltage(network, pair, protocol, device) | {"settings": settings}
            if rows_file:
                with rows_file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        rows.append(row)
        print(_line(row), flush=True)
    print(
        f"\n{len(rows)} of {len(pairs)} pairs of at most {max_atoms} atoms; CHGNet {protocol.chgnet}; V, 95 % intervals"
    )
    print(f"{'pairs':12} {'n':>3}  {'MAE, placed by the model':>26}  {'MAE, true structure':>26}  {'same energy':>11}")
    report = {"settings": settings, "rows": rows, "groups": {}}
    for name, belongs in GROUPS.items():
        group = [row for row in rows if belongs(row)]
        errors = {which: voltage_errors(group, which) for which in ("placed", "true")}
        # Found: relaxed to the energy of the true structure, or below it.
        known = [row["above_true_eV_per_atom"] for row in group if row["above_true_eV_per_atom"] is not None]
        errors["found"] = sum(above < 5e-3 for above in known)
        report["groups"][name] = errors
        cells = "  ".join(f"{_cell(errors[which]):>26}" for which in ("placed", "true"))
        print(f"{name:12} {len(group):3}  {cells}  {errors['found']:>5} of {len(group):2}")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")


def _read(path: Path | None, settings: dict) -> dict[str, dict]:
    """Rows of an earlier run with the same settings."""
    if path is None or not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return {row["name"]: row for row in rows if row["settings"] == settings}


def _line(row: dict) -> str:
    volts = "  ".join("   -  " if row[k] is None else f"{row[k]:6.2f}" for k in ("reported", "placed", "true"))
    above = row["above_true_eV_per_atom"]
    above = "-" if above is None else f"{1e3 * above:.0f}"
    return (
        f"{row['name']:28} z {row['ion']:2} x {row['guests']:2}, {row['atoms']:2} atoms: {volts} V  "
        f"{above:>5} meV/atom above true  {row['seconds']:5.0f} s  {row['error']}"
    )


def _cell(errors: dict) -> str:
    if errors["mae"] is None:
        return "-"
    missing = f", {errors['missing']} missing" if errors["missing"] else ""
    return f"{errors['mae']:.2f} ({errors['mae_low']:.2f}-{errors['mae_high']:.2f}{missing})"


if __name__ == "__main__":
    main()
