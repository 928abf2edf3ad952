"""`inpaint-hpc weights`."""

from __future__ import annotations

import json

import click


@click.group()
def weights() -> None:
    """List, describe and verify network weights."""


@weights.command("list")
def list_() -> None:
    """List the weights that come with the package."""
    from inpaint_hpc.network.weights import DEFAULT, list_weights

    for info in list_weights():
        size = info.path.stat().st_size / 1e6
        default = "  (default)" if info.name == DEFAULT else ""
        click.echo(f"{info.name:12} {info.card['parameters']:>10,} parameters  {size:5.1f} MB{default}")


@weights.command()
@click.argument("name", required=False)
def info(name: str | None) -> None:
    """Print the model card of packaged weights or a .safetensors file as JSON."""
    from inpaint_hpc.network.weights import find_weights

    click.echo(json.dumps(find_weights(name).card, indent=2))


@weights.command()
@click.argument("name", required=False)
def verify(name: str | None) -> None:
    """Load weights and check checksum, sizes and finite values; without NAME, all packaged weights."""
    from inpaint_hpc.network.weights import find_weights, list_weights, load_network

    for found in [find_weights(name)] if name else list_weights():
        load_network(found.path)
        click.echo(f"{found.name}: ok, sha256 {found.sha256}")
