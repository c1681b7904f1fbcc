"""What is claimed, each with its test, computed from the raw data; a claim that fails is printed as failing.

Differences are paired: the same training seeds, and on fleets the same dies. Intervals are 95 %, from a bootstrap over
training seeds and, within each, over dies; the worst of a fleet and what an attack finds are resampled over seeds only.
A claim holds when its whole interval lies on its side of the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.statistics import Interval, paired_interval
from .results import records, strong
from .study import RIVALS

Record = dict[str, Any]
Read = Callable[[Record], list[float] | float | None]


@dataclass(frozen=True)
class Claim:
    """``first`` minus each of ``against`` is above a threshold.

    Attributes:
        text: in words.
        first, against: methods; the claim is about all of those that were measured.
        read: a cell's record → its number, or one a die; None if it was not measured.
        threshold: in the unit of ``read``.
        statistic: of the dies of a network.
        scale: of numbers for people: 100 for points.
        ratio: compare log(first / second), for times and curvatures.
    """

    text: str
    first: str
    against: tuple[str, ...]
    read: Read
    threshold: float
    statistic: Callable[..., Any] = np.mean
    sign: int = 1


@dataclass(frozen=True)
class Verdict:
    """A claim as it was tested on one study against one method.

    Attributes:
        verdict: ``holds``; ``fails``: the interval lies on the other side; ``not shown``: it holds the threshold.
        seeds, dies: how many of each were compared.
    """

    claim: Claim
    study: str
    second: str
    interval: Interval
    seeds: int
    dies: int

    @property
    def verdict(self) -> str:
        low, high = self.interval.low, self.interval.high
        if self.seeds < 2:
            return "fails (one seed: no interval)"
        if low > self.claim.threshold:
            return "holds"
        return "fails" if high <= self.claim.threshold else "fails (not shown: the interval holds the threshold)"

    def words(self) -> tuple[str, ...]:
        """A row of a table for people."""
        estimate, low, high = (f"{100 * value:+.1f}" for value in (self.interval.estimate, *self._bounds()))
        dies = f"{self.dies} dies × " if self.dies > 1 else ""
        needs = f"> {100 * self.claim.threshold:+.1f}"
        return (
            self.study,
            self.claim.text,
            f"{self.claim.first} − {self.second}" if self.claim.sign > 0 else f"{self.second} − {self.claim.first}",
            f"{estimate} [{low}, {high}]",
            needs,
            f"{dies}{self.seeds} seeds",
            self.verdict,
        )

    def _bounds(self) -> tuple[float, float]:
        return self.interval.low, self.interval.high


def attacked(zeta: str) -> Read:
    """Balanced accuracy on the worst die."""

    def read(record: Record) -> float | None:
        found = record.get("evaluations", {}).get("strong", {"levels": {}})["levels"]
        return strong(record, zeta) if zeta in found else None

    return read


def measured(evaluation: str, level: str, metric: str = "balanced_accuracy") -> Read:
    """A metric of an evaluation, one a die where it has dies."""

    def read(record: Record) -> list[float] | float | None:
        levels = record.get("evaluations", {}).get(evaluation, {"levels": {}})["levels"]
        return levels[level]["values"].get(metric) if level in levels else None

    return read


def logarithm(read: Read) -> Read:
    """Of a positive number, so that a difference is a ratio."""

    def of(record: Record) -> float | None:
        value = read(record)
        return math.log(value) if isinstance(value, float | int) and value > 0 else None

    return of


def seconds(record: Record) -> float | None:
    return record.get("training", {}).get("seconds")


CLAIMS: Sequence[Claim] = (
    Claim("strong attack, ζ = 0.05: at least 10 points above every rival", "beta", RIVALS, attacked("0.05"), 0.1),
    Claim("strong attack, ζ = 0.1: at least 10 points above every rival", "beta", RIVALS, attacked("0.1"), 0.1),
    Claim("mismatch 0.3, mean: not lower", "beta", RIVALS, measured("mismatch", "0.3"), -0.005),
    Claim("mismatch 0.3, minimum: not lower", "beta", RIVALS, measured("mismatch", "0.3"), -0.005, np.min),
    Claim("nominal: within 1 point of standard", "beta", ("standard",), measured("nominal", "test"), -0.01),
    Claim("every kind attacked beats weights only, strong, ζ = 0.1", "beta", ("beta_weights",), attacked("0.1"), 0.0),
    Claim("warm start no less robust, strong, ζ = 0.1", "beta_warm", ("beta",), attacked("0.1"), -0.005),
)


def test(out: Path, claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """Every claim that can be tested on what was measured, from the raw data."""
    by_study: dict[str, dict[tuple[str, int], Record]] = {}
    for record in records(out):
        by_study.setdefault(record["study"], {})[record["method"], record["seed"]] = record
    found = [
        _test(claim, study, second, cells)
        for study, cells in by_study.items()
        for claim in claims
        for second in claim.against
    ]
    return [verdict for verdict in found if verdict is not None]


def _test(claim: Claim, study: str, second: str, cells: Mapping[tuple[str, int], Record]) -> Verdict | None:
    pairs = []
    for method, seed in sorted(cells):
        if method == claim.first and (second, seed) in cells:
            mine, other = claim.read(cells[method, seed]), claim.read(cells[second, seed])
            if mine is not None and other is not None:
                pairs.append((np.atleast_1d(mine), np.atleast_1d(other)))
    if not pairs:
        return None
    mine, others = (np.array([pair[side] for pair in pairs], dtype=float) for side in (0, 1))
    interval = paired_interval(mine, others, claim.statistic, dies=claim.statistic is np.mean)
    return Verdict(claim, study, second, interval, *mine.shape)
