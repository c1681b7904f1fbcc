"""Wald's sequential test of a yield, with exact error rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import special

from .._util.errors import check_count, check_number

LONGEST = 10_000
"""No test plans more dies than this."""


@dataclass(frozen=True)
class Rates:
    """The exact behaviour of a sequential test at one true yield.

    Attributes:
        passes, fails, undecided: probabilities; their sum is 1.
        mean_dies: expected number of dies.

    Example:
        >>> test = nr.testing.SequentialTest(at_least=0.95)
        >>> rates = test.rates(0.95)
        >>> round(rates.fails + rates.undecided, 3), round(rates.mean_dies)  # false alarms; dies on average
        (0.047, 55)
    """

    passes: float
    fails: float
    undecided: float
    mean_dies: float


@dataclass(frozen=True)
class SequentialTest:
    """Wald's sequential probability ratio test of a yield, die after die.

    After n dies of which k reach the specification::

        L = k log(p1/p0) + (n − k) log((1 − p1)/(1 − p0)),   p1 = at_least, p0 = at_least − margin
        L ≥ log(1/β): the test passes.   L ≤ log α: it fails.   Else: the next die, at most max_dies.

    Wald's own bounds are approximations. With these here the rates are guaranteed (Ville's inequality): with a yield of
    p1 or more, L falls to log α with a probability of at most α; with a yield of p0 or less, L rises to log(1/β) with a
    probability of at most β. Between p0 and p1, the indifference zone, either may come out.

    A test that is undecided after ``max_dies`` dies does not pass. That is a false alarm, too. So by default
    ``max_dies`` is the smallest number for which all false alarms together, exactly computed, stay at α or below.
    :meth:`rates` gives the exact rates of any test at any yield.

    Args:
        at_least: p1, the yield that passes, above 0, at most 1.
        margin: p1 − p0, width of the indifference zone; larger margins need fewer dies.
        alpha: highest rate of failing with a yield of at least p1. beta: highest rate of passing with a yield of at
            most p0.
        max_dies: most dies; None for as many as alpha needs.

    Raises:
        ValueError: a number out of its range, or a test that needs more than 10000 dies.

    Example:
        >>> test = nr.testing.SequentialTest(at_least=0.95, margin=0.1)
        >>> rates = test.rates(0.85)  # of a network whose yield is too small
        >>> round(rates.passes, 3), round(rates.mean_dies)
        (0.046, 44)
    """

    at_least: float
    margin: float = 0.1
    alpha: float = 0.05
    beta: float = 0.05
    max_dies: int | None = None

    def __post_init__(self) -> None:
        for name in ("at_least", "margin", "alpha", "beta"):
            object.__setattr__(self, name, check_number(name, getattr(self, name), strict=True))
        if self.at_least > 1:
            raise ValueError(f"at_least: got {self.at_least:g}; expected a yield above 0, at most 1, .95 for 95 %.")
        if self.margin >= self.at_least:
            raise ValueError(
                f"margin: got {self.margin:g}; expected less than at_least, {self.at_least:g}: the test tells a yield "
                f"of at_least from one of at_least − margin."
            )
        for name in ("alpha", "beta"):
            if getattr(self, name) >= 0.5:
                raise ValueError(f"{name}: got {getattr(self, name):g}; expected an error rate below 0.5, .05 for 5 %.")
        if self.max_dies is not None:
            object.__setattr__(self, "max_dies", check_count("max_dies", self.max_dies))

    @property
    def bad_yield(self) -> float:
        """p0 = at_least − margin."""
        return self.at_least - self.margin

    @cached_property
    def limit(self) -> int:
        """``max_dies``, or the smallest number of dies with which all false alarms stay at α or below."""
        if self.max_dies is not None:
            return self.max_dies
        unlimited = replace(self, max_dies=LONGEST)
        for n, (passes, _, _) in enumerate(unlimited.walk(self.at_least), 1):
            if passes >= 1 - self.alpha:
                return n
        raise ValueError(
            f"margin: got {self.margin:g}; a yield of {self.at_least:g} cannot be told from one of {self.bad_yield:g} "
            f"with error rates of {self.alpha:g} and {self.beta:g} on {LONGEST} dies; take a larger margin, or give "
            f"max_dies."
        )

    def verdict(self, good: int, n: int) -> bool | None:
        """True: passes. False: fails. None: undecided, after n dies of which ``good`` reach the specification."""
        ratio = float(self.log_ratio(np.array([good]), n)[0])
        return True if ratio >= -np.log(self.beta) else False if ratio <= np.log(self.alpha) else None

    def log_ratio(self, good: np.ndarray, n: int) -> np.ndarray:
        """L for each number of good dies among n; −∞ where one bad die refutes a yield of 1."""
        p1, p0 = self.at_least, self.bad_yield
        return special.xlogy(good, p1 / p0) + special.xlogy(n - good, (1 - p1) / (1 - p0))

    def rates(self, yield_: float) -> Rates:
        """The exact rates at a true yield: the distribution of k over all undecided walks, die by die."""
        after = [(0.0, 0.0, 1.0), *self.walk(check_number("yield_", yield_))]
        return Rates(*after[-1], mean_dies=sum(undecided for _, _, undecided in after[:-1]))

    def walk(self, yield_: float) -> Iterator[tuple[float, float, float]]:
        """Probabilities (passed, failed, undecided) after each die, until ``max_dies`` or nothing is undecided."""
        passed = failed = 0.0
        lowest, alive = 0, np.ones(1)  # probability of each k from `lowest` on, among what is undecided
        for n in range(1, (self.limit if self.max_dies is None else self.max_dies) + 1):
            alive = np.append(alive * (1 - yield_), 0.0) + np.append(0.0, alive * yield_)
            ratio = self.log_ratio(np.arange(lowest, lowest + len(alive)), n)
            up, down = ratio >= -np.log(self.beta), ratio <= np.log(self.alpha)
            passed, failed = passed + float(alive[up].sum()), failed + float(alive[down].sum())
            inside = ~(up | down)
            first = int(down.sum())  # L grows with k
            alive, lowest = alive[inside], lowest + first
            yield passed, failed, float(alive.sum())
            if not len(alive):
                return

    def __str__(self) -> str:
        alarm, missed = 1 - self.rates(self.at_least).passes, self.rates(self.bad_yield).passes
        return (
            f"sequential test, at most {self.limit} dies: a yield of {self.at_least:g} fails with probability "
            f"{alarm:.3f} (asked: ≤ {self.alpha:g}), one of {self.bad_yield:g} passes with {missed:.3f} (asked: ≤ "
            f"{self.beta:g})"
        )
