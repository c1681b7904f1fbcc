"""Helpers of all commands: networks by folder, costs, tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from torch import nn

from .._util.console import duration, err, out
from ..chip.installed import chip_model
from ..data import Task
from ..data.installed import find_task
from ..deploy import Deployment, load
from ..deploy.reading import read_entry
from ..io import models

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
Folder = Annotated[Path, typer.Argument(help="A model folder that `train` or `demo` wrote.", show_default=False)]


def load_model(folder: Path) -> tuple[nn.Module, Task]:
    """A network and its task; raises if the data of the task have changed."""
    info, foreign = models.read_info(folder)
    name = info.get("task")
    if not isinstance(name, str):
        raise ValueError(
            f"model folder {str(folder)!r}: config.json names no task; expected a folder that `train` wrote."
        )
    task = find_task(name)
    if info.get("data_sha256") != task.data_sha256:
        raise ValueError(
            f"model folder {str(folder)!r}: trained on other data than the installed {task.name}; train again."
        )
    return models.load(folder, task.network() if foreign else None)[0], task


def load_deployment(file: Path) -> Deployment:
    """The deployment of a file, on the installed chip model that it names."""
    return load(file, chip_model(read_entry(file)["chip"]["name"]))


LONG = 20.0


def say_cost(seconds: float) -> None:
    """A line before a job of more than 20 s."""
    if seconds > LONG:
        err.print(f"This will take about {duration(seconds)} at the present load of this machine.")


def say_one_class(found: int | None, task: Task) -> None:
    """A line about a network that predicts one class for every sample."""
    if found is not None:
        err.print(
            f"The network predicts {task.classes[found]!r} for every sample, which is chance: its neurons are silent "
            f"or saturated, or it is hardly trained.",
            markup=False,
        )


def write_json(payload: dict) -> None:
    """One JSON object on one line of stdout."""
    sys.stdout.write(json.dumps(payload) + "\n")


def show(payload: dict, as_json: bool, table: Callable[[], RenderableType]) -> None:
    if as_json:
        write_json(payload)
    else:
        out.print(table())


def pairs(title: str, rows: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    return table
