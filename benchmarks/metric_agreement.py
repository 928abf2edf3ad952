"""Does `inpaint-hpc score` call the same samples right as the matcher of the paper?

    python benchmarks/task_cost.py ../shared/data --workloads ions-out --keep cost
    python benchmarks/metric_agreement.py cost/here/ions-out/run/archive.h5

For every sample of an archive whose guests were taken out of crystals: the verdict of `compare_placements` and that of
`StructureMatcher(ltol=0.2, stol=0.2).fit` on the whole crystals.  Prints how many agree, each that does not, and how
many a second of the processor each way takes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from inpaint_hpc.archive.read import Archive
from inpaint_hpc.sampling.placement_distances import compare_placements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    options = parser.parse_args()
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=0.2, stol=0.2)
    count = agree = 0
    seconds = np.zeros(2)
    with Archive(options.archive) as archive:
        for record in archive.iter_records():
            if record.reference_frac_coords is None or not len(record.samples):
                continue
            coords, host, guests = record.samples["guest_frac_coords"], record.host, record.guests
            start = time.process_time()
            ours = compare_placements(host, guests, record.reference_frac_coords, coords)
            between = time.process_time()
            target = host.with_guests(guests, record.reference_frac_coords).to_structure()
            theirs = [bool(matcher.fit(target, host.with_guests(guests, frac).to_structure())) for frac in coords]
            seconds += between - start, time.process_time() - between
            for right, fits, largest in zip(ours.right.tolist(), theirs, ours.largest, strict=True):
                count, agree = count + 1, agree + (right == fits)
                if right != fits:
                    name = f"{host.name} ({host.formula}, {len(guests)} guests)"
                    print(f"{name}: pymatgen {fits}, farthest guest {largest:.2f} A, limit {ours.limit:.2f} A")
    rates = count / seconds
    print(f"{agree} of {count} samples have the same verdict; {rates[0]:.0f} and (pymatgen) {rates[1]:.0f} per second")


if __name__ == "__main__":
    main()
