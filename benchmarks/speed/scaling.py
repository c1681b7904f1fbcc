"""The growth of our time with T, batch and number of dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import ours
from .measuring import interleave, summary, timed
from .workloads import WORKLOADS, Workload

FACTORS = (1, 2, 4, 8, 16)
CHIPS = 1000
RUNS = 3  # at the least


@dataclass(frozen=True)
class Growth:
    """Times (ms) at 1 × to 16 × of something, and the exponent of a power law through them."""

    what: str
    times_ms: tuple[float, ...]

    @property
    def exponent(self) -> float:
        return exponent(FACTORS, self.times_ms)


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The exponent: the gradient of log time over log size, least squares."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def growth() -> list[Growth]:
    """W2 over T and batch, W4 over chips, from the workload to sixteen times as much."""
    step, fleet = WORKLOADS["W2"], WORKLOADS["W4"]
    return [
        Growth("W2 over T", _times(lambda k: _step(replace(step, steps=step.steps * k)))),
        Growth("W2 over batch", _times(lambda k: _step(replace(step, batch=step.batch * k)))),
        Growth("W4 over chips", _times(lambda k: _fleet(fleet, fleet.chips * k))),
    ]


def large_fleet() -> float:
    """W4 at 1000 chips over W4 at 64."""
    fleet = WORKLOADS["W4"]
    return _median(_fleet(fleet, CHIPS), 1) / _median(_fleet(fleet, fleet.chips), RUNS)


def _times(build: Callable[[int], Callable[[], object]]) -> tuple[float, ...]:
    return tuple(_median(build(factor), max(RUNS, FACTORS[-1] // factor)) for factor in FACTORS)


def _median(step: Callable[[], object], runs: int) -> float:
    samples = interleave({"": lambda: timed(step)}, runs)[""]
    return summary(samples, runs, 0.0).median_ms


def _step(work: Workload) -> Callable[[], object]:
    return ours.tool.prepare(work).step


def _fleet(work: Workload, chips: int) -> Callable[[], object]:
    """The logits of a number of chips; the dies of the workload are repeated, so that they need no memory."""
    network, dies = ours.network(work), work.dies
    return lambda: ours.fleet_logits(network, (dies[i % len(dies)] for i in range(chips)), work.x)
