"""``explore``: one page with every die of some runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from .. import __version__
from .._util.console import err
from ..evaluation import Yield
from ..viz import explorer, fleets
from .shared import Json, folded, show

order = 3
app = typer.Typer()


@app.command()
def explore(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Model folders in which `evaluate --keep` or `demo` kept dies, folders that hold such folders, or "
            "single files of theirs.",
            show_default=False,
        ),
    ],
    out_: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("page.html"),
    spec: Annotated[float, typer.Option(help="The specification at the start.", min=0, max=1)] = 0.9,
    as_json: Json = False,
) -> None:
    """Write one page with every die of some runs: choose methods, dies, seed and specification in a browser.

    The page needs no other file and sends no request. It shows the yield with its interval, the five worst dies, the
    deviations of a die, and which kind of parameter breaks it.

    [bold]Examples[/bold]

      neurorobust explore runs/demo --out page.html

      neurorobust explore runs/plain runs/mine --spec 0.95 --out page.html
    """
    if out_.suffix != ".html":  # kept dies are JSON: none can be overwritten
        raise ValueError(f"out: got {str(out_)!r}; expected a file that ends in .html, such as page.html.")
    records = fleets.read_runs(runs)
    source = f"neurorobust {__version__} · neurorobust explore {' '.join(run.name for run in runs)}"
    path = explorer.write(records, out_, spec=spec, source=source)
    rows = [_row(record, spec) for record in records]
    show({"page": str(path), "spec": spec, "fleets": rows}, as_json, lambda: _table(rows, spec))
    err.print(f"Open {path}.", markup=False)


def _row(record: fleets.FleetRecord, spec: float) -> dict[str, Any]:
    scores = np.array(record.scores)
    good = Yield.of(scores, spec)
    return {
        "method": record.method,
        "seed": record.seed,
        "dies": record.dies,
        "die_seed": record.die_seed,
        "n_dies": len(scores),
        "mean": float(scores.mean()),
        "min": float(scores.min()),
        "yield": {"spec": good.spec, "fraction": good.fraction, "ci95": list(good.ci95)},
        "worst": record.worst(),
    }


def _table(rows: list[dict[str, Any]], spec: float) -> Table:
    table = folded("method", "seed", "dies", "n", "mean", "min", f"yield ≥ {spec:g} [95 %]", "worst dies")
    table.columns[0].no_wrap = True
    for row in rows:
        low, high = row["yield"]["ci95"]
        cells = [row["method"], "–" if row["seed"] is None else str(row["seed"]), row["dies"], str(row["n_dies"])]
        cells += [f"{row['mean']:.3f}", f"{row['min']:.3f}", f"{row['yield']['fraction']:.2f} [{low:.2f}, {high:.2f}]"]
        table.add_row(*cells, ", ".join(map(str, row["worst"])))
    return table
