"""Helpers of all commands: networks by folder, costs, tables."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import RenderableType
from rich.table import Column, Table
from torch import nn

from .._util.console import duration, err, out
from ..chip.installed import chip_model, installed_chip
from ..data import Task
from ..data.installed import find_task
from ..deploy import Deployment, load, translated
from ..deploy.reading import read_entry
from ..evaluation import workers
from ..interop.look import Foreign
from ..interop.wrapped import Wrapped
from ..io import models
from .own_files import is_own, own_modules, own_network, own_task, run_again

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
Workers = Annotated[
    int, typer.Option("--workers", help="Processes on this machine; the result is the same for any number.", min=1)
]
Folder = Annotated[Path, typer.Argument(help="A model folder that `train` or `demo` wrote.", show_default=False)]


INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""

TASK = (
    "See `neurorobust tasks list`; or FILE.py:FUNCTION, which gives a neurorobust.data.Task. The file is run, so name "
    "only files you trust."
)
OwnTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Another task than that of the folder: an installed one, or one of your own, FILE.py:FUNCTION, which "
        "gives a neurorobust.data.Task. The file is run, so name only files you trust.",
        show_default=False,
    ),
]
OwnModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Of a wrapped module or an snnTorch network: FILE.py:FUNCTION, which makes it again, untrained; the "
        "folder has the weights. The file is run, so name only files you trust.",
        show_default=False,
    ),
]


OwnChip = Annotated[
    str | None,
    typer.Option(
        "--chip",
        help="The chip model of the deployment file where it is none that is installed: MINE.py. This Python file is "
        "run, so name only files you trust; a deployment file runs nothing.",
        show_default=False,
    ),
]


def task_of(text: str) -> Task:
    """An installed task, or that of a file of the user: FILE.py:FUNCTION."""
    return own_task(text) if is_own(text) else find_task(text)


@contextmanager
def worker_pool(n: int) -> Iterator[Executor | None]:
    """Worker processes of this machine; None for one process, which is this one."""
    if n == 1:
        yield None
        return
    with workers(n, partial(run_again, own_modules())) as pool:
        yield pool


def load_network(folder: Path, model: str | None = None, task: Task | None = None) -> nn.Module:
    """The network of a folder; one of another library is made by a function of a file, or by the task."""
    _, foreign = models.read_info(folder)
    if not foreign:
        if model is not None:
            raise ValueError(f"model: folder {str(folder)!r} holds a whole network; leave --model out.")
        return models.load(folder)[0]
    if model is None and (task is None or task.build is None):
        raise ValueError(
            f"model folder {str(folder)!r}: holds the tensors of a network of another library, not its code; add "
            f"--model FILE.py:FUNCTION, a function that makes the network in the same way."
        )
    network = own_network(model) if model is not None else cast(Task, task).network()
    return models.load(folder, network)[0]


def as_layers(network: nn.Module) -> nn.Module:
    """A network as a deployment file can hold it: that of snnTorch as layers, with the same spikes."""
    theirs = isinstance(network, Foreign) and not isinstance(network, Wrapped)
    return translated(network) if theirs else network


def load_model(folder: Path, task: str | None = None, model: str | None = None) -> tuple[nn.Module, Task]:
    """A network and its task; raises if the data of the task have changed.

    Args:
        task: another task than that of the folder. model: FILE.py:FUNCTION of a network of another library.
    """
    info, _ = models.read_info(folder)
    name = info.get("task") if task is None else task
    if not isinstance(name, str):
        raise ValueError(
            f"model folder {str(folder)!r}: config.json names no task; expected a folder that `train` wrote, or add "
            f"--task NAME, or --task FILE.py:FUNCTION."
        )
    try:
        found = task_of(name) if task is not None else find_task(name)
    except ValueError as error:
        if task is not None or "does not exist" not in str(error):
            raise
        raise ValueError(
            f"model folder {str(folder)!r}: trained on the task {name!r}, which is not installed; if it is one of "
            f"your own, add --task FILE.py:FUNCTION."
        ) from error
    same, digest = found.name == info.get("task"), info.get("data_sha256")
    if same and digest is None:
        err.print("The folder does not say on which data the network was trained; that is not checked.", markup=False)
    elif same and digest != found.data_sha256:
        raise ValueError(
            f"model folder {str(folder)!r}: trained on other data than the task {found.name} has now; train again."
        )
    return load_network(folder, model, found), found


def load_deployment(file: Path, chip: str | None = None) -> Deployment:
    """The deployment of a file, on the installed chip model that it names, or on the one that the user names. A file of
    data never says which Python file is run."""
    named = read_entry(file)["chip"]["name"]
    if chip is not None:
        return load(file, chip_model(chip))
    try:
        model = installed_chip(named)
    except ValueError as error:
        raise ValueError(
            f"{file}: is for the chip {str(named)!r}, which is not installed ({error}) If it is one of your own, add "
            f"--chip MINE.py."
        ) from error
    return load(file, model)


LONG = 20.0


def say_cost(seconds: float) -> None:
    """A line before a job of more than 20 s."""
    if seconds > LONG:
        err.print(f"This will take about {duration(seconds)} at the present load of this machine.")


def say_one_class(found: int | None, task: Task) -> None:
    """A line about a network that predicts one class for every sample."""
    if found is not None:
        label = task.classes[found] if found < len(task.classes) else found
        err.print(
            f"The network predicts {label!r} for every sample, which is chance: its neurons are silent "
            f"or saturated, or it is hardly trained.",
            markup=False,
        )


@contextmanager
def continuing(kept: str) -> Iterator[None]:
    """A command of which an interruption keeps a part says so."""
    try:
        yield
    except KeyboardInterrupt as error:
        ended = SystemExit(INTERRUPTED)
        ended.add_note(f"{kept}; run the same command again to continue.")
        raise ended from error


def write_json(payload: dict) -> None:
    """One JSON object on one line of stdout; JSON has no NaN and no ∞, so these are null."""
    sys.stdout.write(json.dumps(finite(payload), allow_nan=False) + "\n")
    sys.stdout.flush()


def finite(value: Any) -> Any:
    """Values for JSON, with None for a number that is NaN or infinite."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(payload: dict, as_json: bool, table: Callable[[], RenderableType]) -> None:
    if as_json:
        write_json(payload)
    else:
        out.print(table())


def folded(*titles: str, **options: Any) -> Table:
    """A table that breaks long words, and cuts none short: half a name or half a source is no answer."""
    return Table(*(Column(title, overflow="fold") for title in titles), title_justify="left", **options)


def pairs(title: str, rows: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows.items():
        table.add_row(name, _cell(value))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if math.isfinite(value) else "–"
    return str(value)
