"""``import``: a network from a file of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..export import from_nir
from ..io import save
from .shared import Json, pairs, show

order = 7
app = typer.Typer(name="import", help="Networks from files of other tools.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("nir")
def import_nir(
    file: Annotated[Path, typer.Argument(help="A NIR file.", show_default=False)],
    dt: Annotated[float, typer.Option(help="Length of one step, s.", show_default=False)],
    out_: Annotated[Path, typer.Option("--out", help="Model folder to write.", show_default=False)],
    reader: Annotated[
        str | None, typer.Option(help="Read it as this package does; NIR's own meaning without.", show_default=False)
    ] = None,
    unit: Annotated[float, typer.Option(help="The unit of time of the file in seconds.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Read a NIR file of anybody and write it as a model folder.

    A node that no network here is equal to is refused by name.

    [bold]Examples[/bold]

      neurorobust import nir net.nir --dt 1e-3 --out runs/theirs

      neurorobust import nir net.nir --dt 1e-4 --reader snntorch --out runs/theirs --json
    """
    network = from_nir(file, dt=dt, reader=reader, unit=unit)
    save(network, out_)
    layers = {name: f"{layer.n} {type(layer).__name__}" for name, layer in network.layers().items()}
    summary: dict[str, Any] = {"folder": str(out_), "dt": network.dt} | layers
    show(summary, as_json, lambda: pairs("imported", summary))
