"""Does agreement among samples say how likely the placement is right?  From the records of `match_rate.py --records`.

    python benchmarks/match_rate.py ../shared/data/wbm_dev.h5 --limit 100 --records wbm.jsonl
    python benchmarks/confidence.py wbm.jsonl --plot confidence.png

For each host the winning placement is the one that most samples agree on; its agreement is its share of the samples.
"""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("records", type=click.Path(exists=True, path_type=Path))
@click.option("--plot", type=click.Path(path_type=Path), help="PNG of the reliability diagram.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(records, plot, json_file) -> None:
    """Print the reliability of agreement and its calibration error."""
    from inpaint_hpc.benchmark.confidence import (
        brier_score,
        calibration_error,
        cross_validated,
        discrimination,
        fit_sharpness,
        reliability,
    )

    agreement, correct = [], []
    for line in records.read_text().splitlines():
        row = json.loads(line)
        winner = row["clusters"][0]
        agreement.append(len(winner) / len(row["matches"]))
        correct.append(row["matches"][winner[0]])
    bins = reliability(agreement, correct)
    calibrated = cross_validated(agreement, correct)
    report = {
        "hosts": len(correct),
        "correct": sum(correct) / len(correct),
        "calibration_error": calibration_error(bins),
        "brier_score": brier_score(agreement, correct),
        "discrimination": discrimination(agreement, correct),
        "sharpness": round(fit_sharpness(agreement, correct), 3),
        "calibration_error_calibrated": calibration_error(reliability(calibrated, correct)),
        "brier_score_calibrated": brier_score(calibrated, correct),
        "bins": [vars(b) for b in bins],
    }
    print(f"{'hosts':>5} {'agreement':>10} {'right':>8}")
    for b in bins:
        print(f"{b.count:5d} {100 * b.predicted:8.1f} % {100 * b.correct:6.1f} %")
    print(f"{len(correct)} hosts, placement that most samples agree on right {100 * report['correct']:.1f} %")
    for name in ("calibration_error", "brier_score", "discrimination"):
        print(f"{name.replace('_', ' ')} {report[name]:.3f}")
    print(f"1 - (1 - agreement)^{report['sharpness']:.2f}, fitted to the other four fifths of the hosts each time: "
          f"calibration error {report['calibration_error_calibrated']:.3f}, "
          f"brier score {report['brier_score_calibrated']:.3f}")  # fmt: skip
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    if plot:
        _draw(bins, report, plot)


def _draw(bins, report, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfectly calibrated")
    x = [k / 200 for k in range(201)]
    label = f"1 - (1 - agreement)^{report['sharpness']:.2f}"
    axes.plot(x, [1 - (1 - a) ** report["sharpness"] for a in x], color="tab:orange", linewidth=1, label=label)
    sizes = [20 + 400 * b.count / report["hosts"] for b in bins]
    axes.scatter([b.predicted for b in bins], [b.correct for b in bins], sizes, label="hosts, by agreement")
    axes.set(
        xlabel="agreement among samples", ylabel="share of placements that are right", xlim=(0, 1.05), ylim=(0, 1.05)
    )
    axes.set_title(f"{report['hosts']} hosts, calibration error {report['calibration_error']:.3f}", fontsize=10)
    axes.legend(fontsize=8, loc="lower right", markerscale=0.4)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
