"""The command line ``neurorobust``: one command for each thing people do."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table
from torch import nn

from . import __version__, files, kernels, report, reproduction, storage, tasks
from .attacks import OBJECTIVES, PGA, Attack, Ball, RandomSearch, strong
from .attacks import Suite as AttackSuite
from .chip import DeadNeurons, card, draw_model, numbers
from .chip import compare as compare_chips
from .chip import mismatch as mismatch_model
from .chip.fitting import Recording
from .chip.fitting import estimate as estimate_chip
from .console import duration, err, out
from .demo import Size, fleet_json
from .demo import demo as run_demo
from .demo import train as run_train
from .discovery import chip_model, chip_models, modules
from .errors import unknown
from .evaluation import estimate_evaluate, estimate_worst_case, random_search, worst_case
from .evaluation import evaluate as run_evaluate
from .evaluation.worst_case import suite_of
from .methods import EPOCHS, METHODS, SCHEDULE
from .methods import method as find_method
from .network import placement_of
from .noise import Membrane
from .params import HOST, KINDS
from .tasks import Task
from .training import estimate

app = typer.Typer(
    help="Train spiking neural networks that work on every analog chip, and measure that they do.\n\n"
    "Start with [bold]neurorobust demo[/bold]: it trains a standard and a robust network on real heart beats and puts "
    "both on the same hundred simulated chips.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
chips_app = typer.Typer(help="Chip models.", no_args_is_help=True)
tasks_app = typer.Typer(help="Tasks.", no_args_is_help=True)
methods_app = typer.Typer(help="Training methods.", no_args_is_help=True)
app.add_typer(chips_app, name="chips")
app.add_typer(tasks_app, name="tasks")
app.add_typer(methods_app, name="methods")

TASKS: dict[str, Callable[[], Task]] = {
    name: getattr(module, name)
    for module in modules(tasks)
    if hasattr(module, name := module.__name__.rpartition(".")[2])  # a task is a module with a function of its name
}
Suite = StrEnum("Suite", ["ten", "strong"])
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
Folder = Annotated[Path, typer.Argument(help="A model folder that `train` or `demo` wrote.", show_default=False)]


def _task(name: str) -> Task:
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]()


def _model(folder: Path) -> tuple[nn.Module, Task]:
    """A network and the task it was trained on, whose data must be the same."""
    info, foreign = storage.describe(folder)
    name = info.get("task")
    if not isinstance(name, str):
        raise ValueError(
            f"model folder {str(folder)!r}: its config.json names no task; expected one that `train` wrote."
        )
    task = _task(name)
    if info.get("data_sha256") != task.fingerprint:
        raise ValueError(
            f"model folder {str(folder)!r}: trained on other data than the installed {task.name}; train again."
        )
    return storage.load(folder, task.network() if foreign else None)[0], task


LONG = 20.0


def _say_cost(seconds: float) -> None:
    """A line before anything that takes more than 20 s."""
    if seconds > LONG:
        err.print(f"This will take about {duration(seconds)} on this machine, as busy as it is now.")


def _say_one_class(found: int | None, task: Task) -> None:
    """A line about a network that predicts one class for everything."""
    if found is not None:
        err.print(
            f"The network predicts {task.classes[found]!r} for every sample, which is guessing: it is silent, "
            f"saturated or hardly trained.",
            markup=False,
        )


def _print(payload: dict, as_json: bool, table: Callable[[], Table]) -> None:
    if as_json:
        sys.stdout.write(json.dumps(payload) + "\n")
    else:
        out.print(table())


def _pairs(title: str, rows: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    return table


@app.command()
def demo(
    out_: Annotated[Path, typer.Option("--out", help="Folder for the report, the figures and both models.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Of training; the dies use the next one.", min=0)] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A miniature that only shows that all parts work: its numbers mean nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a standard and a robust network on heart beats and judge both on 100 simulated DYNAP-SE2 chips.

    At most 10 minutes on 2 cores. Interrupted, it goes on where it was when run again.

    [bold]Examples[/bold]

      neurorobust demo

      neurorobust demo --quick --out /tmp/look
    """
    size = (
        Size(n_hidden=16, epochs=1, chips=3, attacked=20, ten=(0.05, 0.1), strong=(0.05, 0.1), steps=2, restarts=1)
        if quick
        else Size()
    )
    results = run_demo(
        tasks.ecg(), chip_model("dynapse2"), out_, seed=seed, size=size, say=lambda line: err.print(line, style="dim")
    )
    _print(results, as_json, lambda: report.table(results))
    err.print(report.verdict(results))
    err.print(f"{results['seconds']:.0f} s. Open {out_ / 'report.html'}.")


@app.command()
def train(
    out_: Annotated[
        Path,
        typer.Option(
            "--out", help="Model folder to write; an interrupted run found there goes on.", show_default=False
        ),
    ],
    task: Annotated[str, typer.Option(help="See `neurorobust tasks list`.")] = "ecg",
    method: Annotated[str, typer.Option(help="See `neurorobust methods list`.")] = "beta",
    chip: Annotated[
        str,
        typer.Option(help="The chip the network has to fit, see `neurorobust chips list`; `ideal` for none."),
    ] = "dynapse2",
    epochs: Annotated[int, typer.Option(help="Passes over the training part.", min=1)] = EPOCHS,
    seed: Annotated[int, typer.Option(help="Of the network and of training.", min=0)] = 0,
    hidden: Annotated[int, typer.Option(help="Hidden neurons.", min=1)] = 128,
    as_json: Json = False,
) -> None:
    """Train one network by one method.

    [bold]Examples[/bold]

      neurorobust train --task ecg --method beta --chip dynapse2 --out runs/mine

      neurorobust train --method standard --epochs 10 --seed 3 --out runs/plain
    """
    loaded = _task(task)
    size = Size(n_hidden=hidden, epochs=epochs, seconds=float("inf"))
    fresh = loaded.network(chip_model(chip), n_hidden=hidden, seed=seed)
    loss = find_method(method).regularize(loaded.loss, chip_model(chip))
    if not (files.folder(out_) / "checkpoint.pt").exists():
        seconds = estimate(fresh, loaded, loss, epochs=epochs, schedule=SCHEDULE)
        err.print(f"{epochs} epochs will take about {seconds / 60:.1f} min on this machine, as busy as it is now.")
    _, history = run_train(loaded, chip_model(chip), method, out_, seed=seed, size=size)
    summary = {
        "folder": str(out_),
        "method": method,
        "epochs": len(history.rows),
        "kept epoch": history.best_epoch,
        "validation score": history.best_score,
        "seconds": history.seconds,
    }
    _print(summary, as_json, lambda: _pairs("trained", summary))
    _say_one_class(history.one_class, loaded)


@app.command()
def evaluate(
    folder: Folder,
    chip: Annotated[str | None, typer.Option(help="Program it onto dies of this chip.")] = None,
    mismatch: Annotated[
        float | None, typer.Option(help="Or: δ = LEVEL·N(0,1) on every neuron and synapse, no quantization.", min=0)
    ] = None,
    chips: Annotated[int, typer.Option(help="Number of dies.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Of the dies.", min=0)] = 1,
    spec: Annotated[float, typer.Option(help="Balanced accuracy a good die has.", min=0, max=1)] = 0.9,
    after: Annotated[str | None, typer.Option(help="Time since programming, such as '30 days'.")] = None,
    bits: Annotated[int | None, typer.Option(help="Of a weight, other than the chip's.", min=2, max=16)] = None,
    dead: Annotated[float, typer.Option(help="Fraction of neurons that never spike.", min=0, max=1)] = 0.0,
    noise: Annotated[float, typer.Option(help="On every membrane, in thresholds.", min=0)] = 0.0,
    as_json: Json = False,
) -> None:
    """Put a network on a fleet of simulated dies; balanced accuracy on the test part.

    [bold]Examples[/bold]

      neurorobust evaluate runs/mine --chip dynapse2 --chips 100 --seed 1

      neurorobust evaluate runs/mine --mismatch 0.3 --json

      neurorobust evaluate runs/mine --chip pcm --after "1 year" --noise 0.1
    """
    if (chip is None) == (mismatch is None):
        raise ValueError(
            "evaluate: got "
            + ("neither" if chip is None else "both")
            + "; give either --chip NAME or --mismatch LEVEL."
        )
    network, task = _model(folder)
    model = chip_model(chip) if chip is not None else mismatch_model(mismatch or 0.0)
    model = model if bits is None else model.with_bits(bits)
    model = model if after is None else model.at(after)
    model = model.with_defects(DeadNeurons(dead)) if dead else model
    model = model.with_noise(Membrane(noise)) if noise else model
    _say_cost(estimate_evaluate(network, task.test, model, n_chips=chips))
    result = run_evaluate(network, task.test, model, n_chips=chips, seed=seed)
    payload = fleet_json(result, spec)
    low, high = payload["yield"]["ci95"]
    shown = {
        key: payload[key] for key in ("nominal", "programmed", "mean", "std", "min", "q05") if payload[key] is not None
    }
    shown["95 % interval of the mean"] = " to ".join(
        "–" if bound is None else f"{bound:.4f}" for bound in payload["ci95"]
    )
    shown[f"yield at {spec:g}"] = f"{payload['yield']['fraction']:.2f} (95 % interval {low:.2f} to {high:.2f})"
    shown |= {f"mean recall, {label}": value for label, value in zip(task.classes, payload["recall"])}
    title = f"{folder} on {chips} dies ({model.label}, seed {seed}): balanced accuracy, {len(task.test)} test samples"
    if any((core == HOST).any() for core in placement_of(network).cores.values()):
        title += "; read-out on the host"
    _print(payload, as_json, lambda: _pairs(title, shown))
    _say_one_class(result.one_class, task)


@app.command()
def attack(
    folder: Folder,
    zeta: Annotated[float, typer.Option(help="Size: relative, of every attacked kind.", min=0)] = 0.1,
    kinds: Annotated[
        str, typer.Option(help=f"`all`, or some of {', '.join(sorted(KINDS))}, separated by commas.")
    ] = "all",
    suite: Annotated[Suite, typer.Option(help="The paper's ten steps, or the strong suite.")] = Suite.ten,
    steps: Annotated[int | None, typer.Option(help="Other than 10 (ten) or 30 (strong) steps.", min=1)] = None,
    restarts: Annotated[
        int | None, typer.Option(help="Searches from different starts; 1 (ten), 3 (strong).", min=1)
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help=f"What `ten` raises: {', '.join(OBJECTIVES)}; kl by default.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random number.", min=0)] = 1,
    samples: Annotated[int | None, typer.Option(help="Only the first N test samples.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Search for the worst die within ζ, on unquantized nominal parameters; balanced accuracy on the test part.

    [bold]Examples[/bold]

      neurorobust attack runs/mine --zeta 0.1 --suite strong

      neurorobust attack runs/mine --zeta 0.2 --kinds tau_mem,v_threshold --json
    """
    network, task = _model(folder)
    data = task.test if samples is None else task.test.first(samples)
    chosen = sorted(KINDS - {"v_leak", "v_reset"}) if kinds == "all" else kinds.split(",")
    ball = Ball(**{kind: zeta for kind in chosen})
    search: Attack | AttackSuite
    if suite is Suite.strong and loss is not None:
        raise ValueError(
            f"loss: got {loss!r}; the strong suite has its own losses. Leave --loss out, or use --suite ten."
        )
    if suite is Suite.strong:
        search, repeats = strong(steps or 30, restarts or 3), 1
    else:
        search, repeats = PGA(steps=steps or 10, divergence=loss or "kl"), restarts or 1
    searched = suite_of(search, repeats)
    control = RandomSearch(searched.passes - 1)
    _say_cost(estimate_worst_case(network, data, ball, AttackSuite((*searched.members, (control, 1)))))
    with err.status(f"{suite} attack on {len(data)} test samples …"):
        worst = worst_case(network, data, ball, search, restarts=repeats, seed=seed)
        random = random_search(network, data, ball, passes=worst.passes, seed=seed)
    payload = {
        "zeta": zeta,
        "kinds": chosen,
        "suite": str(suite),
        "balanced_accuracy": worst.balanced_accuracy,
        "accuracy": worst.accuracy,
        "recall": list(worst.recall),
        "random_search_balanced_accuracy": random.balanced_accuracy,
        "passes": worst.passes,
        "found_by": worst.attack,
        "samples": len(data),
        "seed": seed,
    }
    shown = {key: payload[key] for key in ("balanced_accuracy", "accuracy")}
    shown |= {f"recall, {label}": value for label, value in zip(task.classes, worst.recall)}
    shown["random search, as many passes"] = random.balanced_accuracy
    shown["forward passes"] = worst.passes
    shown["found by"] = worst.attack
    title = f"{folder}: worst die within ζ = {zeta:g} ({kinds}), {suite}, {len(data)} test samples"
    _print(payload, as_json, lambda: _pairs(title, shown))


@chips_app.command("list")
def chips_list(as_json: Json = False) -> None:
    """Every chip model that is installed, with each number's status and source.

    [bold]Example[/bold]

      neurorobust chips list --json
    """
    models = chip_models()
    payload: dict[str, Any] = {
        name: {
            "title": chip.title,
            "version": chip.version,
            "limits": {limit: fact.value for limit, fact in chip.limits.facts().items()},
            "kinds": {
                kind: {"cv": model.cv.value, "status": model.cv.status, "source": model.cv.source}
                for kind, model in chip.kinds.items()
            },
            "notes": list(chip.notes),
        }
        for name, chip in models.items()
    }

    def table() -> Table:
        shown = Table("chip", "kind", "CV", "status", "source", title="chip models", title_justify="left")
        for name, chip in payload.items():
            for kind, fact in chip["kinds"].items():
                shown.add_row(name, kind, f"{fact['cv']:g}", fact["status"], fact["source"])
                name = ""
        return shown

    _print(payload, as_json, table)


@chips_app.command("show")
def chips_show(
    name: Annotated[str, typer.Argument(help="See `neurorobust chips list`.", show_default=False)],
    figure: Annotated[Path | None, typer.Option(help="Draw its distributions: FIGURE.svg, FIGURE.png.")] = None,
    as_json: Json = False,
) -> None:
    """The card of one chip: every number, its status and its source, and what is approximated.

    [bold]Examples[/bold]

      neurorobust chips show dynapse2 --json

      neurorobust chips show dynapse2 --figure dynapse2
    """
    chip = chip_model(name)
    if figure is not None:
        from .plotting import save  # slow to import

        files.folder(figure.parent)
        save(draw_model(chip), figure)

    def table() -> Table:
        title = f"{chip.name}, version {chip.version}: {chip.title}"
        caption = "\n".join(f"· {note}" for note in chip.notes)
        shown = Table(
            "number",
            "value",
            "status",
            "source",
            title=title,
            title_justify="left",
            caption=caption,
            caption_justify="left",
        )
        for row in numbers(chip):
            shown.add_row(*row)
        return shown

    _print(card(chip), as_json, table)


@chips_app.command("compare")
def chips_compare(
    first: Annotated[str, typer.Argument(help="See `neurorobust chips list`.", show_default=False)],
    second: Annotated[str, typer.Argument(help="See `neurorobust chips list`.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Where two chips differ.

    [bold]Example[/bold]

      neurorobust chips compare dynapse2 dynapse1
    """
    payload = compare_chips(chip_model(first), chip_model(second))

    def table() -> Table:
        shown = Table("", first, second, title=f"{first} and {second}", title_justify="left")
        for what, values in payload.items():
            shown.add_row(what, *("–" if value is None else str(value) for value in values.values()))
        return shown

    _print(payload, as_json, table)


@chips_app.command("fit")
def chips_fit(
    csv: Annotated[
        Path,
        typer.Argument(
            help="Columns chip, core, neuron, parameter (a kind), setting, value, perhaps unit; SI units.",
            show_default=False,
        ),
    ],
    grid: Annotated[
        str | None, typer.Option(help="ROWSxCOLUMNS of a core's neurons, numbered row by row; else no field is sought.")
    ] = None,
    floor: Annotated[list[str] | None, typer.Option(help="KIND=VALUE, the lowest that could be recorded.")] = None,
    ceiling: Annotated[list[str] | None, typer.Option(help="KIND=VALUE, the highest that could be recorded.")] = None,
    sentinel: Annotated[list[float] | None, typer.Option(help="A value that stands for none.")] = None,
    as_json: Json = False,
) -> None:
    """What measurements say about a chip: families, spreads, gradients, cores, chips, each with a 95 % interval.

    [bold]Examples[/bold]

      neurorobust chips fit measured.csv --grid 16x16

      neurorobust chips fit measured.csv --ceiling tau_mem=0.08 --json
    """
    fitted = estimate_chip(
        csv,
        name=csv.stem,
        grid=None if grid is None else _sides(grid),
        recording=Recording(_by_kind("floor", floor), _by_kind("ceiling", ceiling), tuple(sentinel or ())),
    )

    def table() -> Table:
        shown = Table("kind", "number", "estimate", "95 % interval", title=str(csv), title_justify="left")
        for row in fitted.rows():
            shown.add_row(*row)
        return shown

    _print(fitted.card(), as_json, table)


def _sides(grid: str) -> tuple[int, int]:
    rows, _, columns = grid.partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise ValueError(f"grid: got {grid!r}; expected rows and columns, 16x16.")
    return int(rows), int(columns)


def _by_kind(option: str, words: list[str] | None) -> dict[str, float]:
    """KIND=VALUE → {kind: value}."""
    try:
        return {kind: float(value) for kind, _, value in (word.partition("=") for word in words or ())}
    except ValueError as error:
        raise ValueError(f"{option}: got {' '.join(words or ())!r}; expected KIND=VALUE, tau_mem=0.08.") from error


@tasks_app.command("list")
def tasks_list(as_json: Json = False) -> None:
    """Every task.

    [bold]Example[/bold]

      neurorobust tasks list
    """
    payload = {name: (build.__doc__ or "").strip().splitlines()[0] for name, build in TASKS.items()}
    _print(payload, as_json, lambda: _pairs("tasks", payload))


@methods_app.command("list")
def methods_list(as_json: Json = False) -> None:
    """Every training method, with its settings and the four candidates of its tuning; the first is what `train` uses.

    [bold]Example[/bold]

      neurorobust methods list --json
    """
    payload: dict[str, Any] = {
        name: {
            "title": found.title,
            "needs a chip that varies": found.needs_chip,
            "trials": [{**trial.settings, **trial.schedule} for trial in found.trials],
        }
        for name, found in METHODS.items()
    }

    def table() -> Table:
        shown = Table("method", "", "settings", "or", title="training methods", title_justify="left")
        for name, entry in payload.items():
            first, *others = entry["trials"]
            tried = [_settings(dict(trial.items() - first.items())) for trial in others]
            shown.add_row(name, entry["title"], _settings(first), "; ".join(tried))
        return shown

    _print(payload, as_json, table)


def _settings(trial: dict[str, float]) -> str:
    return " ".join(f"{key}={value:g}" for key, value in sorted(trial.items()))


@app.command()
def reproduce(
    task: Annotated[str | None, typer.Argument(help="One task of the grid; all of them by default.")] = None,
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="Only these; by default all that the task has.")
    ] = None,
    out_: Annotated[
        Path, typer.Option("--out", help="Folder of all results; what is finished there is not done again.")
    ] = Path("docs/results"),
    evaluations: Annotated[
        str | None, typer.Option(help="Only some, separated by commas: mismatch,strong.", show_default=False)
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Only some, separated by commas: 0,1.", show_default=False)] = None,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    check: Annotated[
        int, typer.Option(help="Do N random finished cells again, elsewhere, and compare.", min=0, show_default=False)
    ] = 0,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Only say what is to be done, how long it will take, and what that is estimated from."
        ),
    ] = False,
    pages: Annotated[
        bool, typer.Option("--pages", help="Only write the table, the page and the claims of what is there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Reproduce the paper: every method on every task, each judged by every evaluation; then table, figures and claims.

    Interrupted or killed, it goes on where it was when run again; several may run at once, on one folder.

    [bold]Examples[/bold]

      neurorobust reproduce ecg standard beta --jobs 2

      neurorobust reproduce --plan

      neurorobust reproduce ecg --evaluations mismatch,strong --seeds 0 --json

      neurorobust reproduce --check 2
    """
    chosen = list(reproduction.all_studies().values()) if task is None else [reproduction.find_study(task)]
    numbers_ = None if seeds is None else _whole("seeds", seeds)
    names = tuple(reproduction.named(evaluations.split(",") if evaluations else None))
    cells = [cell for study in chosen for cell in reproduction.cells_of(study, methods or (), numbers_, out_)]
    if check:
        report_ = reproduction.check(cells, names, check)
        _print(report_.json(), as_json, report_.table)
        if not report_.same:
            raise typer.Exit(1)
        return
    if plan:
        todo = reproduction.estimates(reproduction.plan(cells, names))
        _print(
            {
                "jobs": [
                    {"cell": job.cell.name, "left": job.left, "seconds": one.seconds, "from": list(one.sources)}
                    for job, one in todo.items()
                ]
            },
            as_json,
            lambda: reproduction.forecast(todo, jobs),
        )
        return
    failed = {} if pages else reproduction.complete(cells, names, jobs)
    table = reproduction.write_table(out_)
    reproduction.write_pages(out_)
    verdicts = reproduction.tested(out_)
    payload = {
        "cells": {cell.name: reproduction.state(cell, names) for cell in cells},
        "failed": failed,
        "claims": [verdict.row() for verdict in verdicts],
        "rows": len(table),
        "table": str(out_ / "results.csv"),
        "page": str(out_ / "reproduction.md"),
    }
    _print(payload, as_json, lambda: reproduction.table(cells, names, failed))
    if verdicts and not as_json:
        rows = reproduction.overall(verdicts)
        shown = Table(*rows[0], title="claims", title_justify="left")
        for row in rows:
            shown.add_row(*row.values())
        out.print(shown)
    if failed:
        raise typer.Exit(1)


def _whole(option: str, words: str) -> list[int]:
    """Whole numbers separated by commas."""
    if not all(word.isdecimal() for word in words.split(",")):
        raise ValueError(f"{option}: got {words!r}; expected whole numbers separated by commas, 0,1.")
    return [int(word) for word in words.split(",")]


@app.command()
def info(as_json: Json = False) -> None:
    """Which version and which loops are in use here, and why not faster ones.

    [bold]Example[/bold]

      neurorobust info --json
    """
    payload = {
        "neurorobust": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count() or 1,
        **kernels.describe(),
        "chips": ", ".join(sorted(chip_models())),
        "tasks": ", ".join(sorted(TASKS)),
    }
    _print(payload, as_json, lambda: _pairs("neurorobust", payload))


@app.command("report")
def report_command(
    folder: Annotated[Path, typer.Argument(help="A folder that `demo` wrote.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Draw the figures and write the report again from results.json.

    [bold]Example[/bold]

      neurorobust report runs/demo
    """
    path = report.write(folder)
    results = report.read(folder)
    _print(results, as_json, lambda: report.table(results))
    err.print(f"Open {path}.")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit()


def main() -> None:
    """Exit codes: 0 done · 2 something given is wrong, said in one line · 130 interrupted."""
    try:
        app()
    except SystemExit as exit_:
        if exit_.code == 130:
            err.print("interrupted; finished epochs are kept, run the same command again to go on.")
        raise
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
