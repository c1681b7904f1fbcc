"""The claims and their tests, computed from the cells; a claim that fails is printed as failing.

Two methods are compared on the same training seeds and, on fleets, on the same dies. The 95 % interval
(:func:`neurorobust.evaluation.statistics.paired_interval`) covers training seeds and dies; for the result of an attack
and for the worst die of a fleet it covers seeds only. A claim holds if the whole interval lies on its side of the
threshold, against every method that it names. Otherwise it fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurorobust.evaluation import STRONG
from neurorobust.evaluation.statistics import ConfidenceInterval, paired_interval, sampling_variance

from .record import RIGHT, SAMPLES, Record
from .results import records, score, values_of
from .study import RIVALS


def mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over the dies of each network."""
    return values.mean(axis)


@dataclass(frozen=True)
class Claim:
    """A comparison of ``first`` with each of ``against``.

    Attributes:
        text: in words.
        first, against: methods; those of ``against`` that were not measured are left out.
        read: a cell's record → its number, or one per die; None if it was not measured.
        threshold: the difference in points has to be above it; a ratio has to be below it.
        statistic: of the dies of a network.
        ratio: compare first / second, of positive numbers of which small ones are good.
        samples: level of the measurement ``samples`` that says which samples the number
            comes from; with it the interval also holds for other test samples.
    """

    text: str
    first: str
    against: tuple[str, ...]
    read: Callable[[Record], list[float] | float | None]
    threshold: float
    statistic: Callable[..., Any] = mean
    ratio: bool = False
    samples: str = ""


@dataclass(frozen=True)
class Verdict:
    """A claim, tested on one study against one method.

    Attributes:
        interval: of the difference in points, or of the ratio.
        seeds, dies: how many were compared. samples: number of test samples, 0 where they count as fixed.
    """

    claim: Claim
    study: str
    second: str
    interval: ConfidenceInterval
    seeds: int
    dies: int
    samples: int = 0

    @property
    def holds(self) -> bool:
        """True if the whole interval lies on the right side; one training seed is not enough."""
        bound = self.interval.high if self.claim.ratio else self.interval.low
        return self.seeds > 1 and (bound < self.claim.threshold if self.claim.ratio else bound > self.claim.threshold)

    @property
    def verdict(self) -> str:
        """``holds``, or ``FAILS`` and whether more data could change that."""
        if self.holds:
            return "holds"
        if self.seeds < 2:
            return "FAILS (one seed only)"
        wrong = self.interval.low if self.claim.ratio else self.interval.high
        beyond = wrong >= self.claim.threshold if self.claim.ratio else wrong <= self.claim.threshold
        return "FAILS" if beyond else "FAILS (the threshold lies inside the interval)"

    def row(self) -> dict[str, str]:
        """The row of a table for readers."""
        form, needs, word = ("{:.2f}", "< {:g}", "/") if self.claim.ratio else ("{:+.1f}", "> {:+g}", "−")
        estimate, low, high = (
            "–" if math.isnan(value) else form.format(value)
            for value in (self.interval.estimate, self.interval.low, self.interval.high)
        )
        return {
            "task": self.study,
            "claim": self.claim.text,
            "compared": f"{self.claim.first} {word} {self.second}",
            "found [95 %]": f"{estimate} [{low}, {high}]",
            "needs": needs.format(self.claim.threshold),
            "over": " × ".join(
                f"{count} {what}"
                for count, what in ((self.seeds, "seeds"), (self.dies, "dies"), (self.samples, "samples"))
                if count > 1 or what == "seeds"
            ),
            "verdict": self.verdict,
        }


def points(measurement: str, level: str) -> Callable[[Record], list[float] | float | None]:
    """Balanced accuracy in points, one number per die where there are dies; of ``strong``, on the worst die."""

    def read(record: Record) -> list[float] | float | None:
        value = score(record, measurement, level)
        return None if value is None else (100 * np.atleast_1d(value)).tolist()

    return read


def right(record: Record, level: str) -> list[np.ndarray]:
    """For each class, which of its samples are right; empty if that level of ``samples`` was not measured."""
    found = values_of(record, "samples", level)
    return [
        np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8))[: found[SAMPLES + key.removeprefix(RIGHT)]]
        for key, bits in found.items()
        if key.startswith(RIGHT)
    ]


def largest(record: Record) -> float | None:
    """The largest eigenvalue of the smoothed Hessian."""
    return score(record, "sharpness", "0.05", "largest")


def price(record: Record) -> float | None:
    """Time of a training step divided by that of a standard step on the same network; 1 for standard itself."""
    return 1.0 if record["method"] == "standard" else score(record, "price", "step", "ratio")


BEYOND = STRONG + ", ζ = {}: at least 10 points above every rival"
CLAIMS: Sequence[Claim] = (
    Claim(BEYOND.format("0.05"), "adversarial", RIVALS, points("strong", "0.05"), 10, samples="0.05"),
    Claim(BEYOND.format("0.1"), "adversarial", RIVALS, points("strong", "0.1"), 10, samples="0.1"),
    Claim("mismatch 0.3, mean: not lower than any rival", "adversarial", RIVALS, points("mismatch", "0.3"), -0.5),
    Claim(
        "mismatch 0.3, minimum: not lower than any rival",
        "adversarial",
        RIVALS,
        points("mismatch", "0.3"),
        -0.5,
        np.min,
    ),
    Claim(
        "lower curvature than every rival",
        "adversarial",
        RIVALS,
        largest,
        1,
        ratio=True,
    ),
    Claim(
        "nominal within a point of standard",
        "adversarial",
        ("standard",),
        points("nominal", "test"),
        -1,
        samples="test",
    ),
    Claim(
        STRONG + ", ζ = 0.1: above adversarial_weights",
        "adversarial",
        ("adversarial_weights",),
        points("strong", "0.1"),
        0,
        samples="0.1",
    ),
    Claim(
        STRONG + " on all kinds but weights, ζ = 0.2: above adversarial_weights",
        "adversarial",
        ("adversarial_weights",),
        points("kinds", "0.2 others"),
        0,
    ),
    Claim(
        "warm start: no less robust, ζ = 0.1",
        "adversarial_warm",
        ("adversarial",),
        points("strong", "0.1"),
        -0.5,
        samples="0.1",
    ),
    Claim(
        "warm start: at most 4 × the time of a standard step", "adversarial_warm", ("standard",), price, 4, ratio=True
    ),
)


def judge_claims(out: Path) -> list[Verdict]:
    """Every claim that can be tested on what was measured."""
    by_study: dict[str, dict[tuple[str, int], Record]] = {}
    for record in records(out):
        by_study.setdefault(record["study"], {})[record["method"], record["seed"]] = record
    found = [
        _tested(claim, study, second, cells)
        for study, cells in by_study.items()
        for claim in CLAIMS
        for second in claim.against
    ]
    return [verdict for verdict in found if verdict is not None]


def _tested(claim: Claim, study: str, second: str, cells: Mapping[tuple[str, int], Record]) -> Verdict | None:
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    rights: list[tuple[list[np.ndarray], list[np.ndarray]]] = []
    for method, seed in sorted(cells):
        if method == claim.first and (second, seed) in cells:
            mine, other = claim.read(cells[method, seed]), claim.read(cells[second, seed])
            if mine is not None and other is not None:
                pairs.append((np.array(mine, dtype=float, ndmin=1), np.array(other, dtype=float, ndmin=1)))
                rights.append((right(cells[method, seed], claim.samples), right(cells[second, seed], claim.samples)))
    if not pairs:
        return None
    firsts, others = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
    if claim.ratio:
        if min(firsts.min(), others.min()) <= 0:
            limit = math.inf if others.min() <= 0 else 0.0  # no ratio: the claim fails
            return Verdict(
                claim, study, second, ConfidenceInterval(limit, math.nan, math.nan), len(firsts), firsts.shape[1]
            )
        firsts, others = np.log(firsts), np.log(others)
    more, samples = [], 0
    if all(mine and other for mine, other in rights):
        both = [[np.stack(seeds) for seeds in zip(*(pair[side] for pair in rights), strict=True)] for side in (0, 1)]
        variance, freedom = sampling_variance(*both)
        more, samples = [(1e4 * variance, freedom)], sum(each.shape[1] for each in both[0])
    found = paired_interval(firsts, others, claim.statistic, dies=claim.statistic is mean, more=more)
    if claim.ratio:
        found = ConfidenceInterval(*(math.exp(bound) for bound in (found.estimate, found.low, found.high)))
    seeds, dies = firsts.shape
    return Verdict(claim, study, second, found, seeds, dies, samples)
