"""``demo``, ``train`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._util import files
from .._util.console import duration, err, several
from ..chip.installed import chip_model
from ..data import tasks
from ..demo import Size, agreement_of, plan
from ..demo import demo as run_demo
from ..demo import train as run_train
from ..train.loop import estimate
from ..train.methods import EPOCHS
from ..viz import report
from .own_files import own_network
from .shared import TASK, Json, OwnModel, continuing, pairs, say_one_class, show, task_of

order = 1
app = typer.Typer()


@app.command()
@continuing("finished epochs and trained networks are kept")
def demo(
    out_: Annotated[Path, typer.Option("--out", help="Folder for the report, the figures and both models.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of training; the dies use the next seed.", min=0)] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A very small run to check all parts; its numbers mean nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a standard and a robust network on heart beats and evaluate both on 100 simulated dies of DYNAP-SE2.

    It takes at most 10 minutes on 2 cores. After an interruption, run it again to continue.

    [bold]Examples[/bold]

      neurorobust demo

      neurorobust demo --quick --out /tmp/quick
    """
    size = (
        Size(n_hidden=16, epochs=1, n_dies=3, attacked=20, quick=(0.05, 0.1), thorough=(0.05, 0.1), steps=2, restarts=1)
        if quick
        else Size()
    )
    results = run_demo(
        tasks.ecg(), chip_model("dynapse2"), out_, seed=seed, size=size, say=lambda line: err.print(line, style="dim")
    )
    show(results, as_json, lambda: report.table(results))
    err.print(report.verdict(results))
    for line in report.equations(results):
        err.print(line, markup=False)
    err.print(f"{results['seconds']:.0f} s. Open {out_ / 'report.html'}.")


@app.command()
@continuing("finished epochs are kept")
def train(
    out_: Annotated[
        Path,
        typer.Option(
            "--out", help="Model folder to write; an interrupted run found there continues.", show_default=False
        ),
    ],
    task: Annotated[str, typer.Option(help=TASK)] = "ecg",
    model_file: OwnModel = None,
    method: Annotated[str, typer.Option(help="See `neurorobust methods list`.")] = "adversarial",
    chip: Annotated[
        str,
        typer.Option(help="The chip of the network, see `neurorobust chips list`; `ideal` for none."),
    ] = "dynapse2",
    epochs: Annotated[int, typer.Option(help="Passes over the training part.", min=1)] = EPOCHS,
    seed: Annotated[int, typer.Option(help="Seed of the network and of training.", min=0)] = 0,
    hidden: Annotated[int, typer.Option(help="Hidden neurons.", min=1)] = 128,
    rate: Annotated[float | None, typer.Option(help="Learning rate; by default that of the method.")] = None,
    as_json: Json = False,
) -> None:
    """Train one network by one method.

    [bold]Examples[/bold]

      neurorobust train --method adversarial --chip dynapse2 --out runs/mine

      neurorobust train --method standard --epochs 10 --seed 3 --out runs/plain

      neurorobust train --task my.py:task --model my.py:net --out runs/my
    """
    loaded = task_of(task)
    size = Size(n_hidden=hidden, epochs=epochs, learning_rate=rate)
    model = chip_model(chip)
    network = None if model_file is None else own_network(model_file, seed)
    planned = plan(loaded, model, method, seed=seed, size=size, network=network)
    with files.locked(files.make_folder(out_)):
        if not (out_ / "checkpoint.pt").exists():
            seconds = estimate(planned.network, loaded, planned.loss, epochs=epochs, schedule=planned.schedule)
            many = several(epochs, "epoch")
            err.print(f"{many} will take about {duration(seconds)} at the present load of this machine.")
        trained, history = run_train(loaded, model, planned, out_, seed=seed, size=size)
    summary: dict[str, Any] = {
        "folder": str(out_),
        "method": method,
        "epochs": len(history.rows),
        "kept epoch": history.best_epoch,
        "validation score": history.best_score,
        "seconds": history.seconds,
    }
    agreed = agreement_of(trained, model)
    summary["equations"] = agreed.entry() if as_json else str(agreed).removeprefix("equations: ")
    show(summary, as_json, lambda: pairs("trained", summary))
    say_one_class(history.one_class, loaded)


@app.command("report")
def report_again(
    folder: Annotated[Path, typer.Argument(help="A folder that `demo` wrote.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Draw the figures and write the report again from results.json.

    [bold]Example[/bold]

      neurorobust report runs/demo
    """
    report.read(folder)
    with files.locked(files.make_folder(folder)):
        path = report.write(folder)
    results = report.read(folder)
    show(results, as_json, lambda: report.table(results))
    err.print(f"Open {path}.")
