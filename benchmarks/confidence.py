"""How likely is the first candidate right?  Fitted to benchmarks, measured on frameworks that were not fitted.

    inpaint-hpc benchmark electrodes ../shared/data/electrodes_dev.h5 --limit 100 --out electrodes
    inpaint-hpc benchmark wbm ../shared/data/wbm_dev.h5 --ions Li,Na,Mg,Ca --limit 100 --out wbm
    python benchmarks/confidence.py electrodes wbm --plot confidence.png --write inpaint_hpc/pretrained/small.json

Takes folders of `inpaint-hpc benchmark`, run directories, or archives, all without relaxation.  Frameworks are split
into halves by the hash of their name; each half is predicted by the fit to the other, and the card gets the fit to all.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

BEFORE = 2.243  # 1 - (1 - agreement)^k of the placement that most samples agree on was the confidence of `small` before
SPLITS = 10
KINDS = {
    "ranked": "first candidate, ranked by energy",
    "placed": "first candidate, ranked by agreement alone",
    "before": "first candidate, ranked by energy, by the former formula",
}


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--write", "card", type=click.Path(exists=True, path_type=Path), help="Put the fit on this card.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="The same entry, for ship_weights.py.")
@click.option("--plot", type=click.Path(path_type=Path), help="PNG of the reliability diagram.")
def main(sources, card, json_file, plot) -> None:
    """Print calibration error, AUC and reliability, and write the fit."""
    import numpy as np

    from inpaint_hpc.benchmark.confidence import reliability
    from inpaint_hpc.benchmark.first_confidence import card_entry, groups_of, held_out, outcomes_of, quality
    from inpaint_hpc.benchmark.sources import find_source
    from inpaint_hpc.sampling.deduplication import calibrated_agreement

    on_card = json.loads(card.read_text(encoding="utf-8")) if card else {}
    archives = {path.name: find_source(path) for path in sources}
    if len(archives) < len(sources):
        raise click.UsageError("two sources have the same name")
    outcomes = [
        one for name, source in archives.items() for one in outcomes_of(source, name, on_card.get("sha256", ""))
    ]
    entry = card_entry(outcomes, {name: source.archive for name, source in archives.items()})
    right = np.array([one.right for one in outcomes])
    before = np.array([calibrated_agreement(one.favourite, BEFORE) for one in outcomes])
    groups = groups_of(outcomes)
    former = {name: quality(before[rows], right[rows]) for name, rows in groups.items()}
    for kind, measured in {**entry["held_out"], "before": former}.items():
        print(f"\n{KINDS[kind]}\n{'':14} hosts   right  calibration error (of a perfect predictor)    AUC")
        for name, one in measured.items():
            auc = "-" if one["discrimination"] is None else f"{one['discrimination']:.3f}"
            print(f"{name:14} {one['hosts']:5d} {100 * one['correct']:5.1f} % {one['calibration_error']:18.3f} "
                  f"({one['calibration_error_by_chance']:.3f}) {auc:>25}")  # fmt: skip
    print(f"\n{KINDS['ranked']}, means over {SPLITS} other splits: calibration error, AUC")
    others = [held_out(outcomes, str(k)) for k in range(SPLITS)]
    for name, rows in groups.items():
        found = [quality(one[rows], right[rows]) for one in others]
        aucs = [one["discrimination"] for one in found if one["discrimination"] is not None]
        error = np.mean([one["calibration_error"] for one in found])
        print(f"{name:14} {error:.3f} {np.mean(aucs) if aucs else np.nan:.3f}")
    p = held_out(outcomes)
    bins = {name: reliability(p[rows], right[rows]) for name, rows in groups.items()}
    for name, some in bins.items():
        print(f"\n{name}: hosts, confidence, right")
        for b in some:
            print(f"{b.count:5d} {100 * b.predicted:8.1f} % {100 * b.correct:6.1f} %")
        apart = [row for row in groups[name] if outcomes[row].found["apart"]]
        if apart:
            print(f"{len(apart):5d} {100 * p[apart].mean():8.1f} % {100 * right[apart].mean():6.1f} %  "
                  "where most samples agree on another candidate")  # fmt: skip
    if json_file:
        json_file.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    if card:
        card.write_text(json.dumps({**on_card, "confidence": entry}, indent=2) + "\n", encoding="utf-8")
    if plot:
        _draw(bins, entry["held_out"]["ranked"], plot)


def _draw(bins, measured, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfectly calibrated")
    for name, some in bins.items():
        if name != "all" or len(bins) == 1:
            sizes = [12 + 300 * b.count / measured[name]["hosts"] for b in some]
            label = f"{name}, {measured[name]['hosts']} hosts"
            axes.scatter([b.predicted for b in some], [b.correct for b in some], sizes, alpha=0.7, label=label)
    axes.set(xlabel="confidence", ylabel="share of first candidates that are right", xlim=(0, 1.05), ylim=(-0.05, 1.05))
    axes.set_title(f"hosts never fitted, calibration error {measured['all']['calibration_error']:.3f}", fontsize=10)
    axes.legend(fontsize=8, loc="lower right", markerscale=0.5)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
