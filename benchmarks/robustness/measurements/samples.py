"""The test samples that a network gets right: nominally, on each set in use, and on the worst known die.

From these, claims compute how much of a difference is due to the samples. Stored dies are rounded to 1/127 of ζ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from neurorobust.core.apply import apply
from neurorobust.core.run import evaluating, nominal
from neurorobust.data import Data
from neurorobust.evaluation.predict import predict
from neurorobust.evaluation.statistics import score
from neurorobust.nn.network import placement_of

from ..cell import Cell
from ..measurement import Measurement, Values, always
from ..record import RIGHT, SAMPLES, SCORE
from ..results import worst_source
from ..worst_dies import stored_die

SETS: Mapping[str, Callable[[Cell], Data]] = {
    "test": lambda cell: cell.study.task.test,
    "fleet": lambda cell: cell.fleet_data,
    "attacked": lambda cell: cell.attacked_data,
}
"""Levels at nominal parameters: all test samples, those of every die, those that attacks see."""


def die_of(record: Mapping[str, Any], level: str) -> tuple[str, str] | None:
    """The worst die of ζ 0.05 and 0.1."""
    return None if level in SETS else (level, worst_source(dict(record), level))


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    data, params = SETS.get(level, SETS["attacked"])(cell), nominal(network)
    if level not in SETS:
        source = worst_source(cell.read(), level)
        params = apply(params, stored_die(level, source, cell), placement_of(network))
    with evaluating(network):
        outputs = predict(network, params, data)
    right = (outputs.argmax(-1) == data.y).numpy()
    found = {
        f"{RIGHT}{name}": np.packbits(right[data.y.numpy() == label]).tobytes().hex()
        for label, name in enumerate(cell.study.task.classes)
    }
    counts = {f"{SAMPLES}{name}": int((data.y == label).sum()) for label, name in enumerate(cell.study.task.classes)}
    return {SCORE: score(outputs, data.y), **counts, **found}


measurement = Measurement(
    "nominal accuracy on each set of samples, and accuracy on the worst die of ζ = 0.05 and 0.1",
    always(*SETS, "0.05", "0.1"),
    measure,
    lambda budget: 1000,
    stage=2,
    die_of=die_of,
)
