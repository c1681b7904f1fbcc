"""Trained networks of the package, by name: ``nr.zoo.load("ecg/adversarial")``.

A name is a folder below this one that :func:`neurorobust.save` wrote: tensors, no pickle. ``python -m
benchmarks.robustness`` trained them with the first seed, ``python -m benchmarks.floor_study`` those of ``ecg_dpi``; no
seed was selected. Their ``info`` gives the task and the settings.

Example:
    >>> network, info = nr.zoo.load("ecg_dpi/adversarial")
    >>> info["task"], len(nr.zoo.names())
    ('ecg', 13)
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from ..._util.errors import unknown
from ..._util.randomness import generator
from ...nn import Network
from .. import models

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Every network of the zoo: task/method.

    Example:
        >>> [name for name in nr.zoo.names() if name.startswith("ecg_dpi/")]
        ['ecg_dpi/adversarial', 'ecg_dpi/forward_noise', 'ecg_dpi/standard']
    """
    return sorted(path.parent.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*/config.json"))


def load(name: str) -> tuple[nn.Module, dict]:
    """A trained network and its ``info``, as from :func:`neurorobust.load`.

    Args:
        name: task/method; :func:`names` lists them.

    Raises:
        ValueError: the name is unknown, or a file is damaged.

    Example:
        >>> network, info = nr.zoo.load("ecg_dpi/adversarial")
        >>> info["task"], info["method"], network.hidden.n
        ('ecg', 'adversarial', 128)
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


def describe(name: str) -> dict[str, Any]:
    """What a network of the zoo is, from its own files: a card as JSON values.

    Keys: ``task``; ``chip`` of its training, or None; ``method``; ``seed``; ``epochs``; ``layers``: type and number of
    neurons of each; ``neurons``; ``weights`` that are not absent, of a convolution those of its kernel; ``trained``:
    numbers that training changed; ``dt`` in s; ``bytes`` of its files; ``folder``, which the commands ``evaluate``,
    ``attack`` and ``deploy`` take; ``selection``: the rule that chose the epoch; ``info`` as :func:`load` returns it.

    Args:
        name: task/method; :func:`names` lists them.

    Raises:
        ValueError: the name is unknown, or a file is damaged.

    Example:
        >>> card = nr.zoo.describe("ecg_dpi/adversarial")
        >>> card["task"], card["chip"], card["layers"]["hidden"]
        ('ecg', 'dynapse2', {'type': 'LinearizedDpi', 'neurons': 128})
    """
    network, info = load(name)
    if missing := [key for key in ("task", "method", "seed", "selection") if key not in info]:
        raise ValueError(f"{name}: config.json has no {missing[0]!r} in info. Install neurorobust again.")
    layers = {
        key: {"type": type(layer).__name__, "neurons": layer.n}
        for key, layer in (network.layers() if isinstance(network, Network) else {}).items()
    }
    weights = [value for key, value in network.named_parameters() if key.endswith("weight")]
    folder = FOLDER / name
    return {
        "name": name,
        "task": info["task"],
        "chip": info.get("chip"),
        "method": info["method"],
        "seed": info["seed"],
        "epochs": info.get("epochs", info.get("settings", {}).get("epochs")),
        "layers": layers,
        "neurons": sum(layer["neurons"] for layer in layers.values()),
        "weights": sum(int((value != 0).sum()) for value in weights),
        "trained": sum(value.numel() for value in network.parameters() if value.requires_grad),
        "dt": getattr(network, "dt", None),
        "bytes": sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        "selection": info["selection"],
        "folder": str(folder),
        "info": info,
    }


def _code(info: dict) -> nn.Module:
    """A new network of a task whose networks are wrapped modules; the tensors are loaded into it."""
    task = importlib.import_module(f"neurorobust.data.tasks.{info['task']}")
    return task.build(None, 1, generator(0, "zoo"))
