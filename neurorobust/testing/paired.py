"""A paired test of scores on the same dies: is the new mean worse by more than a margin?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from .._util.errors import check_number

FEWEST = 8
"""Fewest dies. With ties, a handful of equal differences would count as certainty."""
SURE = 0.9
"""The power at which :meth:`PairedTest.detectable` names a loss."""
RESOLUTION = 1e-9
"""Differences of scores below this are rounding."""


@dataclass(frozen=True)
class PairedTest:
    """One-sided paired t test of d = after − before, die by die. It fails if the mean loss is surely above a margin::

        t = (mean d + margin) / (sd d / √n),   p = P(T ≤ t), Student's with n − 1 degrees of freedom;   fails if p < α

    A false alarm is a failure though the expected loss is at most ``margin``. Its rate is α where the loss is the
    margin, and far less for a network that is as good as the one before.

    Why t: the score of a die is a mean over samples, and a mean over dies is close to normal. Ties do not harm a mean.
    A sign-flip test has the same statistic in other words (Σe/√Σe² grows with t), needs thousands of sums, and has no
    closed form of its power. If all differences are equal, p is 0 or 1. It is a test of the mean over all dies: if one
    die in a hundred becomes much better and all others a little worse, it can call that worse.

    Args:
        margin: a mean loss of score that is accepted.
        alpha: highest rate of false alarms.
        loss: a mean loss whose probability of being found is stated, larger than the margin.

    Raises:
        ValueError: a negative margin, an alpha outside 0 < alpha < 0.5, or a loss that is not above the margin.

    Example:
        >>> import numpy as np
        >>> test, loss = nr.testing.PairedTest(margin=0.01), np.array([3, 2, 3, 4, 3, 2, 4, 3]) / 100  # of eight dies
        >>> test.fails(-loss), test.p_value(-loss) < 0.001  # a mean loss of 3 points is surely more than 1
        (True, True)
    """

    margin: float = 0.01
    alpha: float = 0.05
    loss: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "margin", check_number("margin", self.margin))
        object.__setattr__(self, "alpha", check_number("alpha", self.alpha, strict=True))
        object.__setattr__(self, "loss", check_number("loss", self.loss, strict=True))
        if self.alpha >= 0.5:
            raise ValueError(f"alpha: got {self.alpha:g}; expected an error rate below 0.5, .05 for 5 %.")
        if self.loss <= self.margin:
            raise ValueError(f"loss: got {self.loss:g}; expected more than the margin, {self.margin:g}.")

    def p_value(self, differences: Sequence[float] | np.ndarray) -> float:
        """p of differences after − before, one per die."""
        d = np.asarray(differences, dtype=float)
        if d.ndim != 1 or len(d) < FEWEST or not np.isfinite(d).all():
            raise ValueError(
                f"differences: got shape {d.shape}; expected {FEWEST} finite numbers or more, one per die."
            )
        excess, spread = d.mean() + self.margin, float(d.std(ddof=1))
        if abs(excess) < RESOLUTION or spread < RESOLUTION:
            return 0.5 if abs(excess) < RESOLUTION else float(excess > 0)
        return float(special.stdtr(len(d) - 1, excess / spread * len(d) ** 0.5))

    def fails(self, differences: Sequence[float] | np.ndarray) -> bool:
        """Whether the mean loss is surely above the margin."""
        return self.p_value(differences) < self.alpha

    def power(self, n: int, spread: float, loss: float | None = None) -> float:
        """Probability of failing at a true mean loss (``self.loss``), for normal differences with this standard
        deviation on n dies: Student's t, not central."""
        shift = ((self.loss if loss is None else loss) - self.margin) * n**0.5
        if spread < RESOLUTION:
            return float(shift > 0)
        critical, shift = float(special.stdtrit(n - 1, 1 - self.alpha)), shift / spread
        if abs(shift) > critical + 30:
            return float(shift > 0)
        return float(1 - special.nctdtr(n - 1, shift, critical))

    def detectable(self, n: int, spread: float) -> float:
        """The mean loss that n dies find with a probability of 0.9."""
        if spread < RESOLUTION:
            return self.margin
        width = spread / n**0.5
        far = self.margin + width * (float(special.stdtrit(n - 1, 1 - self.alpha)) + 30)
        return float(optimize.brentq(lambda loss: self.power(n, spread, loss) - SURE, self.margin, far))


def spread_of_difference(before: Sequence[float] | np.ndarray) -> float:
    """√2 · sd of the scores of a baseline: the standard deviation of a difference if the two scores of a die were
    independent with this spread. Dies that are bad for both networks make the true one smaller."""
    return float(2**0.5 * np.std(np.asarray(before, dtype=float), ddof=1))
