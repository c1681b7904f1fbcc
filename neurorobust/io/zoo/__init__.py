"""Trained networks of the package, by name: ``nr.zoo.load("ecg/adversarial")``.

A name is a folder below this one that :func:`neurorobust.save` wrote: tensors, no pickle. ``python -m
benchmarks.robustness`` trained them with the first seed, ``python -m benchmarks.floor_study`` those of ``ecg_dpi``; no
seed was selected. Their ``info`` gives the task and the settings.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from torch import nn

from ..._util.errors import unknown
from ..._util.randomness import generator
from .. import models

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Every network of the zoo: task/method."""
    return sorted(path.parent.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*/config.json"))


def load(name: str) -> tuple[nn.Module, dict]:
    """A trained network and its ``info``, as from :func:`neurorobust.load`.

    Args:
        name: task/method; :func:`names` lists them.

    Raises:
        ValueError: the name is unknown, or a file is damaged.
    """
    if name not in (known := names()):
        task, _, method = name.partition("/")
        command = (
            f"neurorobust train --task {task} --method {method or 'METHOD'} --out runs/{task}-{method or 'METHOD'}"
        )
        raise ValueError(f"{unknown('name', name, known)} The package has only these; to train another: `{command}`.")
    folder = FOLDER / name
    try:
        info, foreign = models.read_info(folder)
        return models.load(folder, _code(info) if foreign else None)
    except ValueError as error:
        raise ValueError(f"{name}: {error} Install neurorobust again.") from error


def _code(info: dict) -> nn.Module:
    """A new network of a task whose networks are wrapped modules; the tensors are loaded into it."""
    task = importlib.import_module(f"neurorobust.data.tasks.{info['task']}")
    return task.build(None, 1, generator(0, "zoo"))
