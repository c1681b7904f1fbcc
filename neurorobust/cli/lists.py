"""``tasks``, ``methods`` and ``info``: what is installed."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch
import typer
from rich.table import Table

from .. import __version__, kernels
from ..attacks.installed import attack_classes
from ..chip.installed import chip_models
from ..data.installed import task_functions
from ..nn.installed import neuron_classes
from ..train.methods import METHODS
from .shared import Json, folded, pairs, show

order = 3
app = typer.Typer()
tasks_app = typer.Typer(help="Tasks.", no_args_is_help=True)
methods_app = typer.Typer(help="Training methods.", no_args_is_help=True)
app.add_typer(tasks_app, name="tasks")
app.add_typer(methods_app, name="methods")


@tasks_app.command("list")
def tasks_list(as_json: Json = False) -> None:
    """All installed tasks.

    [bold]Example[/bold]

      neurorobust tasks list
    """
    payload = {name: (build.__doc__ or "").strip().partition("\n")[0] for name, build in task_functions().items()}
    show(payload, as_json, lambda: pairs("tasks", payload))


@methods_app.command("list")
def methods_list(as_json: Json = False) -> None:
    """All training methods, with their settings and the four candidates of their tuning; `train` uses the first.

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
        shown = folded("method", "what it is", "settings", "other candidates", title="training methods")
        shown.columns[0].no_wrap = True
        for name, entry in payload.items():
            first, *others = entry["trials"]
            tried = [_settings(dict(trial.items() - first.items())) for trial in others]
            shown.add_row(name, entry["title"], _settings(first), "; ".join(tried))
        return shown

    show(payload, as_json, table)


def _settings(trial: dict[str, float]) -> str:
    return " ".join(f"{key}={value:g}" for key, value in sorted(trial.items()))


@app.command()
def info(as_json: Json = False) -> None:
    """Version, loops in use, and the reason if these are not the fastest.

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
        "tasks": ", ".join(sorted(task_functions())),
        "neurons": ", ".join(sorted(neuron_classes())),
        "attacks": ", ".join(sorted(attack_classes())),
    }
    show(payload, as_json, lambda: pairs("neurorobust", payload))
