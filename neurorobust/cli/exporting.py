"""``export``: a network as a file for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..export import readers, to_nir
from ..io import load
from .shared import Folder, Json, pairs, show

order = 6
app = typer.Typer(name="export", help="Networks as files for other tools.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("nir")
def export_nir(
    folder: Folder,
    out_file: Annotated[Path, typer.Option("--out", help="The NIR file to write.", show_default=False)],
    reader: Annotated[
        str | None, typer.Option(help="The package that will read it; NIR's own meaning without.", show_default=False)
    ] = None,
    readout: Annotated[bool, typer.Option("--readout", help="Write a last layer without spikes too.")] = False,
    as_json: Json = False,
) -> None:
    """Write a network as a NIR file that a reader turns into the same spikes.

    Layers that the reader cannot have are refused, each with the reason.

    [bold]Examples[/bold]

      neurorobust export nir runs/mine --out net.nir

      neurorobust export nir runs/mine --reader norse --out net.nir --json
    """
    network, _ = load(folder)
    to_nir(network, out_file, reader=reader, readout=readout)
    kind = readers()[reader or "nir"]
    summary = {"file": str(out_file), "reader": kind.name, "version": kind.version, "dt": network.dt}
    show(summary, as_json, lambda: pairs("exported", summary))
