"""Make weights of a training run those of the package, with their measured match rates on the card.

    inpaint-hpc benchmark wbm wbm_dev.h5 --limit 100 --no-score --weights runs/train-small/model.safetensors --out match
    python benchmarks/ship_weights.py runs/train-small/model.safetensors --name small --metrics wbm_dev=match

Refuses metrics that were measured with other weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

SHARES = [share + end for share in ("one_sample", "top1", "any_k") for end in ("", "_low", "_high")]
METRICS = ("hosts", "nfe", *SHARES, "guest_rmsd_median")  # of each group


@click.command()
@click.argument("weights", type=click.Path(exists=True, path_type=Path))
@click.option("--name", default="small", show_default=True)
@click.option("--metrics", multiple=True, help="LABEL=DIR, a folder of `inpaint-hpc benchmark`.")
@click.option("--confidence", type=click.Path(exists=True, path_type=Path), help="Written by confidence.py --json.")
@click.option("--note", "notes", multiple=True, help="A sentence for the card, e.g. a limit of the weights.")
def main(weights, name, metrics, confidence, notes) -> None:
    """Copy tensors and card to inpaint_hpc/pretrained."""
    from inpaint_hpc.network.weights import PRETRAINED, load_network, save_weights

    network = load_network(weights)
    tables = {}
    for entry in metrics:
        label, _, folder = entry.partition("=")
        document = json.loads((Path(folder) / "results" / "summary.json").read_text())
        if document["weights_sha256"] != network.info.sha256:
            raise click.UsageError(f"{folder} was measured with other weights")
        groups = {name: {key: row[key] for key in METRICS} for name, row in document["summary"].items()}
        tables[label] = {"protocol": document["protocol"], "groups": groups}
    card = {**network.info.card, "name": name, "metrics": tables, "limits": list(notes)}
    if confidence is not None:
        card["confidence"] = json.loads(confidence.read_text())
    info = save_weights(network.state_dict(), PRETRAINED / f"{name}.safetensors", card)
    assert info.sha256 == network.info.sha256, "the copy differs from what was measured"
    click.echo(f"{info.path.name}: sha256 {info.sha256}, {info.path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
