"""Worst dies: attacks on a cell, their values, and how dies are stored beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from neurorobust._util import digests, files
from neurorobust.attacks import PGA, Ball
from neurorobust.core.params import SIGNED, Deviations, kind_of
from neurorobust.core.run import nominal
from neurorobust.evaluation import WorstCase, worst_case
from neurorobust.nn.network import placement_of

from .cell import Cell, folder_of
from .measurement import DIES, Measurement, Values, always, recalls
from .record import SCORE

ZETAS = (0.1, 0.05, 0.2, 0.01, 0.3, 0.005, 0.5)
"""The paper's sizes ζ, the most telling first."""


def values(worst: WorstCase, cell: Cell) -> Values:
    """The values of a worst die."""
    return {
        SCORE: worst.score,
        "accuracy": worst.accuracy,
        **recalls(worst.recall, cell.study.task.classes),
        "passes": worst.passes,
        "found by": worst.attack,
        **({} if worst.at_floor is None else {"at floor": worst.at_floor}),
    }


def ball_of(network: nn.Module, level: str) -> Ball:
    """“0.1 weights”: weights and biases alone; “0.1 others”: every other kind alone.

    Raises:
        ValueError: the network has none of them.
    """
    zeta, which = level.split()
    every = Ball.uniform(float(zeta)).radii
    radii = {kind: radius for kind, radius in every.items() if (kind in SIGNED) == (which == "weights")}
    if not any(kind_of(name) in radii for name in nominal(network)):
        raise ValueError(f"nothing deviates: the network has no {which}.")
    return Ball(**radii)


def ten_steps(objective: str, title: str) -> Measurement:
    """The paper's attack with one of its losses."""

    def measure(network: nn.Module, level: str, cell: Cell) -> Values:
        ball, attack = Ball.uniform(float(level)), PGA(steps=10, objective=objective)
        return values(worst_case(network, cell.attacked_data, ball, attack, seed=DIES), cell)

    return Measurement(title, always(*ZETAS), measure, lambda budget: 31 * budget.attacked)


def store_die(network: nn.Module, deviations: Deviations, level: str, cell: Cell) -> None:
    """Store a die beside its cell, each δ rounded to 1/127 of ζ; absent synapses do not deviate."""
    masks = placement_of(network).masks
    codes = {
        name: (delta / float(level) * 127 * masks.get(name, 1)).round().clamp(-127, 127).to(torch.int8).numpy()
        for name, delta in deviations.items()
    }
    with files.replacing(cell.folder / f"die-{level}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **codes)
        file.flush()
        digests.append(temporary)


def stored_dies(cell: Cell) -> list[tuple[str, str]]:
    """(ζ, method/seed) of every die that is stored in this study."""
    paths = folder_of(cell.out, cell.study, "").glob("*/*/die-*.npz")
    return sorted((path.stem.removeprefix("die-"), f"{path.parent.parent.name}/{path.parent.name}") for path in paths)


def die_path(level: str, source: str, cell: Cell) -> Path:
    """The file of a worst die: its ζ and the cell it was found for, method/seed."""
    return folder_of(cell.out, cell.study, "") / source / f"die-{level}.npz"


def stored_die(level: str, source: str, cell: Cell) -> Deviations:
    """A stored die.

    Raises:
        ValueError: the file is damaged.
    """
    path = die_path(level, source, cell)
    digests.check_appended(path, f"get it again, or remove it and measure cell {source} again.")
    with np.load(path, allow_pickle=False) as codes:
        return {name: torch.from_numpy(codes[name]).float() / 127 * float(level) for name in codes.files}
