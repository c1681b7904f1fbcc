"""``export``: a network as a file for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..export import backends, readers, to_nir, to_pynn
from ..io import load
from .shared import Folder, Json, OwnChip, load_deployment, pairs, show

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

    Layers that the reader cannot have are refused, each with the reason. NIR has Lif and CubaLif, but neither the
    floor nor the adaptive threshold of the networks that `train` makes for ecg and keywords.

    [bold]Examples[/bold]

      neurorobust export nir runs/theirs --out net.nir

      neurorobust export nir runs/theirs --reader norse --out net.nir --json
    """
    network, _ = load(folder)
    to_nir(network, out_file, reader=reader, readout=readout)
    kind = readers()[reader or "nir"]
    summary = {"file": str(out_file), "reader": kind.name, "version": kind.version, "dt": network.dt}
    show(summary, as_json, lambda: pairs("exported", summary))


@app.command("pynn")
def export_pynn(
    source: Annotated[
        Path,
        typer.Argument(help="A model folder, or a file that `deploy` wrote.", metavar="DIR", show_default=False),
    ],
    out_folder: Annotated[Path, typer.Option("--out", help="The folder to write.", show_default=False)],
    backend: Annotated[str, typer.Option(help="The back end of PyNN that will run it.")] = "nest",
    chip: OwnChip = None,
    as_json: Json = False,
) -> None:
    """Write a network for PyNN: a data file and one script, which needs NumPy and PyNN alone.

    Layers that the back end cannot have are refused, each with the reason: neurons are Lif or CubaLif, as in
    `export nir`. BrainScaleS-2 takes a deployment on it.

    [bold]Examples[/bold]

      neurorobust export pynn runs/theirs --out net_pynn

      neurorobust export pynn net.json --backend brainscales2 --out net_pynn --json
    """
    if source.is_file():
        deployment = load_deployment(source, chip)
        to_pynn(deployment, out_folder, backend=backend)
        dt = deployment.native.dt
    elif chip is not None:
        raise ValueError(f"chip: is for a deployment file; {str(source)!r} is a model folder.")
    else:
        network, _ = load(source)
        to_pynn(network, out_folder, backend=backend)
        dt = network.dt
    kind = backends()[backend]
    summary = {
        "folder": str(out_folder),
        "script": str(out_folder / "network.py"),
        "data": str(out_folder / "data.npz"),
        "backend": kind.name,
        "version": kind.version,
        "dt": dt,
    }
    show(summary, as_json, lambda: pairs("exported", summary))
