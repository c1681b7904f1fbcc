"""Cards of the networks of the zoo: from their own files, with the numbers that were measured of the same network."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
from quoted import FOLDERS, result
from text import table

from neurorobust.io import zoo
from neurorobust.train.methods import METHODS

FLOOR = "ecg_dpi"
MADE = {
    FLOOR: "`python -m benchmarks.floor_study` ([results](results.md))",
    "grid": "`python -m benchmarks.robustness` ([reproduction](results/reproduction.md))",
}


def cards() -> str:
    """An overview with one row for each network, then a card for each task."""
    found = [zoo.describe(name) for name in zoo.names()]
    rows = [[f"`{card['name']}`", *_of(card).values()] for card in found]
    header = ["network", *_of(found[0])]
    text = ["## Every network\n", table(header, rows)]
    for study in dict.fromkeys(card["info"]["study"] for card in found):
        text += [f"## {study}\n", _about([card for card in found if card["info"]["study"] == study])]
    return "\n".join(text)


def _of(card: dict[str, Any]) -> dict[str, str]:
    """Measured numbers of one network, .xxx each; – where it was not measured."""
    return {key: "–" if value is None else f"{value:.3f}".removeprefix("0") for key, value in numbers(card).items()}


def numbers(card: dict[str, Any]) -> dict[str, float | None]:
    """Balanced accuracy on test data: without errors, on 100 dies with mismatch 0.3 (mean, worst), under attack."""
    study, method = card["info"]["study"], card["method"]
    if study == FLOOR:
        record = _floor()[f"{method}-{card['seed']}"]
        dies = record["dies"]
        level = dies["mismatch"]["as it stands"]
        values = [dies["nominal"], float(np.mean(level)), min(level), record["attack"]["score"]]
    else:
        whats = ("nominal test", "mismatch 0.3 mean", "mismatch 0.3 min", "strong 0.05")
        values = [_result(study, method, what, str(card["seed"])) for what in whats]
    return dict(zip(("no error", "mismatch 0.3: mean", "worst of 100", "attack ζ = 0.05"), values))


def _result(*place: str) -> float | None:
    try:
        return result(*place)
    except KeyError:
        return None


@functools.cache
def _floor() -> dict[str, Any]:
    file = next(folder / "floor_study.json" for folder in FOLDERS if (folder / "floor_study.json").exists())
    return json.loads(file.read_text(encoding="utf-8"))


def _about(found: list[dict[str, Any]]) -> str:
    """One study: what its networks have in common, in a table, and how they were made."""
    first = found[0]
    layers = ", ".join(f"{layer['neurons']} `{layer['type']}` ({key})" for key, layer in first["layers"].items())
    rows = [
        ["task", f"`nr.tasks.{first['task']}`"],
        ["chip", f"`{first['chip']}`" if first["chip"] else "none: of no chip's number"],
        ["layers", layers],
        ["weights", _range([card["weights"] for card in found])],
        ["time step", f"{1000 * first['dt']:g} ms"],
        ["epochs, seed", f"{first['epochs']} epochs, seed {first['seed']}; no seed was selected"],
        ["settings", "; ".join(f"`{card['method']}`: {_settings(card)}" for card in found)],
        ["epoch chosen by", first["selection"]],
        ["made by", MADE[FLOOR if first["info"]["study"] == FLOOR else "grid"]],
        ["size of each", f"{_range([round(card['bytes'] / 1000) for card in found])} kB"],
    ]
    return table(["", ""], rows)


def _settings(card: dict[str, Any]) -> str:
    """Learning rate and settings of one training: stored in full, or as the number of a trial of the method."""
    info = card["info"]
    if "trial" in info:
        trial = METHODS[card["method"]].trials[info["trial"]]
        values = info["settings"]["schedule"] | dict(trial.schedule) | dict(trial.settings)
    else:
        values = info | info.get("settings", {})
    shown = {key: values[key] for key in ("learning_rate", "zeta", "beta", "gamma", "level", "steps") if key in values}
    return ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in shown.items())


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
