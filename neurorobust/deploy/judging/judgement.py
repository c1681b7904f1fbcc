"""The result of judging a deployment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._util.printed import Printed, bracketed
from ...chip import ChipModel
from ...chip.design import check_type
from ...evaluation.fleet import Yield, check_spec
from ...evaluation.statistics import (
    ConfidenceInterval,
    clopper_pearson,
    difference_interval,
    mean_interval,
    score_bounds,
)


@dataclass(frozen=True, eq=False, repr=False)
class GapRow(Printed):
    """One step from the trained network to the circuit.

    Attributes:
        name: of the step. what: it does, in words.
        mean: score of the network itself, or mean over the boards, with this step and all before; None without a score.
        score: of each board, (n,); None for steps without a board, and where nothing was computed.
        change: the difference to the step before, over the same boards; alone: to the training equations on the same
            boards, if this cause alone is switched on. 95 % intervals of a mean over boards, inside −1 and 1 for
            classes; a step without a board has none, (NaN, NaN). None where nothing was computed.
        why: why there is no number; empty where there is one. Or a remark on it.

    Example:
        >>> row = nr.deploy.GapRow("delay", "spikes arrive at once", why="needs small steps")
        >>> row.mean, row.why
        (None, 'needs small steps')
    """

    name: str
    what: str
    mean: float | None = None
    score: np.ndarray | None = None
    change: ConfidenceInterval | None = None
    alone: ConfidenceInterval | None = None
    why: str = ""

    def entry(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "what": self.what,
            "mean": self.mean,
            "score": None if self.score is None else self.score.tolist(),
            "change": _interval_entry(self.change),
            "alone": _interval_entry(self.alone),
            "why": self.why,
        }


@dataclass(frozen=True)
class Crossing(Printed):
    """Boards that change side at a specification from one judgement to another.

    Attributes:
        lost, gained: boards that reach it only in the first judgement, and only in the second. n: boards.
        ci95: exact (Clopper–Pearson) 95 % interval of the fraction that changes side.

    Example:
        >>> crossing = nr.deploy.Crossing(spec=0.9, lost=3, gained=1, n=40, ci95=(0.03, 0.24))
        >>> (crossing.lost + crossing.gained) / crossing.n
        0.1
    """

    spec: float
    lost: int
    gained: int
    n: int
    ci95: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Judgement(Printed):
    """A deployment on virtual boards: a simulation, not a measurement. The board is the statistical unit.

    Attributes:
        chip: label of the chip model. engine: of the boards, as text. seed, serials: which boards.
        samples: how many. score: of each board, (n,): balanced accuracy, or R² for a regression.
        gap: the rows from the trained network to the circuit; see :func:`neurorobust.deploy.judge`.
        regression: whether the score is R².
        model, data_sha256: the chip model, and the digest of the samples and labels: judgements can be compared only
            where both are the same.

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.85, 0.93, 0.96])
        >>> found = nr.deploy.Judgement("dynapse2", "network", seed=1, serials=(0, 1, 2), samples=50, score=scores)
        >>> round(found.mean, 3), found.yield_at(0.9).fraction
        (0.913, 0.6666666666666666)
    """

    chip: str
    engine: str
    seed: int
    serials: tuple[int, ...]
    samples: int
    score: np.ndarray
    gap: tuple[GapRow, ...] = field(default=())
    regression: bool = False
    model: ChipModel | None = None
    data_sha256: str = ""

    @property
    def mean(self) -> float:
        """Mean score over boards."""
        return float(self.score.mean())

    @property
    def min(self) -> float:
        """Score of the worst board."""
        return float(self.score.min())

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the mean over boards, inside the bounds of the score; see
        :func:`neurorobust.evaluation.mean_interval`."""
        return mean_interval(self.score, bounds=score_bounds(self.regression))

    def yield_at(self, spec: float) -> Yield:
        """The fraction of boards whose score is at least ``spec``, with its exact interval."""
        return Yield.of(self.score, spec)

    def crossing(self, other: Judgement, spec: float) -> Crossing:
        """The boards that are on different sides of ``spec`` here and in another judgement of the same boards.

        Raises:
            TypeError: no judgement. ValueError: not the same boards, other samples, or a specification that is no
                score.
        """
        check_type("other", other, Judgement, "a Judgement, as nr.deploy.judge returns it")
        if _boards(self) != _boards(other):
            raise ValueError(f"other: has {_boards(other)}; expected the same, {_boards(self)}.")
        if None not in (self.model, other.model) and self.model != other.model:
            raise ValueError(f"other: {self.chip!r} is the name of two chip models with different numbers.")
        if "" not in (self.data_sha256, other.data_sha256) and self.data_sha256 != other.data_sha256:
            raise ValueError("other: is of other samples or labels; judge both on the same.")
        here, there = self.score >= check_spec(spec), other.score >= spec
        lost, gained = int((here & ~there).sum()), int((~here & there).sum())
        return Crossing(spec, lost, gained, len(here), clopper_pearson(lost + gained, len(here)))

    def difference(self, other: Judgement) -> ConfidenceInterval:
        """Mean score of ``other`` minus that of this one, over the same boards, with a paired 95 % interval."""
        self.crossing(other, 0.0)
        return paired(self.score, other.score, regression=self.regression)

    def entry(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "chip": self.chip,
            "engine": self.engine,
            "seed": self.seed,
            "serials": list(self.serials),
            "samples": self.samples,
            "mean": self.mean,
            "ci95": _finite(self.ci95),
            "min": self.min,
            "score": self.score.tolist(),
            "gap": [row.entry() for row in self.gap],
        }

    def __repr__(self) -> str:
        mean = f"mean {self.mean:.3f}{bracketed(self.ci95)}"
        boards = "board" if len(self.serials) == 1 else "boards"
        lines = [
            f"{len(self.serials)} virtual {boards} of {self.chip} (a simulation, {self.engine}, seed {self.seed}), "
            f"{self.samples} samples: {mean}, min {self.min:.3f}"
        ]
        if self.gap:
            lines.append(f"{'':16}{'score':>6}  {'in order':24}{'alone':24}")
        lines += [_line(row) for row in self.gap]
        return "\n".join(line.rstrip() for line in lines)


def paired(before: np.ndarray, after: np.ndarray, *, regression: bool = False) -> ConfidenceInterval:
    """Mean of after − before over boards, with Student's paired 95 % interval, between −1 and 1 for classes."""
    difference = after - before
    return ConfidenceInterval(float(difference.mean()), *difference_interval(difference, regression=regression))


def _line(row: GapRow) -> str:
    score = "" if row.mean is None else f"{row.mean:.3f}"
    return f"{row.name:16}{score:>6}  {_signed(row.change):24}{_signed(row.alone):24}{row.why}"


def _signed(interval: ConfidenceInterval | None) -> str:
    if interval is None:
        return ""
    if np.isnan(interval.low):
        return f"{interval.estimate:+.3f}"
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _interval_entry(interval: ConfidenceInterval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    return {"estimate": interval.estimate, "ci95": _finite((interval.low, interval.high))}


def _finite(ci95: tuple[float, float]) -> list[float] | None:
    """An interval for JSON; one board alone has none."""
    return None if np.isnan(ci95[0]) else list(ci95)


def _boards(judged: Judgement) -> str:
    """Which boards ran how many samples."""
    numbers = judged.serials
    several = len(numbers) > 2 and numbers == tuple(range(numbers[0], numbers[-1] + 1))
    told = f"{numbers[0]} to {numbers[-1]}" if several else ", ".join(map(str, numbers))
    return f"boards {told} of {judged.chip}, seed {judged.seed}, with {judged.samples} samples"
