"""The price of a training step: its time divided by that of a standard step, in turns on the same network."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

from torch import nn

from neurorobust.train.loop import trial_step
from neurorobust.train.methods import METHODS

from ..cell import Cell
from ..measurement import Measurement, Values, always

RUNS = 9


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    trial = METHODS[cell.method].trials[cell.read()["training"]["trial"]]
    losses = (
        cell.study.regularizer(cell.method, trial),
        cell.study.regularizer("standard", METHODS["standard"].trials[0]),
    )
    twin, batch = copy.deepcopy(network).train(), cell.study.task.train.first(cell.study.schedule.batch_size)
    steps = [trial_step(twin, batch, loss) for loss in losses]
    for step in steps:  # compiles
        step()
    own, standard = (
        statistics.median(times) for times in zip(*[[_seconds(step) for step in steps] for _ in range(RUNS)])
    )
    return {"ratio": own / standard, "ms": 1e3 * own, "standard ms": 1e3 * standard, "runs": RUNS}


def _seconds(step: Callable[[], None]) -> float:
    """CPU seconds of this process on all its threads; other work on the machine changes them little."""
    started = time.process_time()
    step()
    return time.process_time() - started


measurement = Measurement(
    "CPU time of a training step, divided by that of a standard step",
    always("step"),
    measure,
    lambda budget: 1000 * RUNS,
    stage=1,
    shown="ratio",
    timed=True,
)
