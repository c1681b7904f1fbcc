"""Weights as bit masks over a few currents that a whole core shares, and the fit of these currents."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..._util.errors import check_count, check_finite
from .codec import Codec

ROUNDS = 50
"""Rounds of the fit's alternation from one start, at most."""
SAME = 1e-6
"""Relative difference of two magnitudes that are equal but for rounding."""


@dataclass(frozen=True)
class MaskCodebook(Codec):
    """w = ± Σ_k bit_k(code) · currents[k]: a mask over a few free currents that a whole core shares.

    Codes are integers from −(2^n − 1) to 2^n − 1; the sign is that of the synapse type (+ AMPA, − GABA), 0 is no
    synapse. ``encode`` refuses no finite weight: a fit gives up the rare large ones for the many small ones;
    ``error`` counts those beyond the largest level.

    Attributes:
        currents: the n currents, ascending, in units of the weight.

    Example:
        >>> codec = nr.chip.encodings.MaskCodebook((0.25, 0.5))
        >>> codec.encode(torch.tensor([0.7, -0.2])).tolist(), codec.quantize(torch.tensor([0.7, -0.2])).tolist()
        ([3, -1], [0.75, -0.25])
    """

    currents: tuple[float, ...]

    @classmethod
    def example(cls, draw: Random) -> Self:
        return cls(tuple(sorted(draw.uniform(1e-3, 10) for _ in range(draw.randint(1, 5)))))

    @property
    def first(self) -> int:
        return 1 - 2 ** len(self.currents)

    def levels(self) -> np.ndarray:
        """The 2^n magnitudes, by code."""
        n = len(self.currents)
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return bits @ np.asarray(self.currents)

    def held(self) -> np.ndarray:
        levels = self.levels()
        return np.concatenate([-levels[:0:-1], levels])

    def nearest(self, values: Tensor) -> Tensor:
        """The code of the nearest level, for every weight; halfway the smaller magnitude."""
        levels = self.levels()
        order = np.argsort(levels, kind="stable")
        bounds = (levels[order][1:] + levels[order][:-1]) / 2
        codes = order[np.searchsorted(bounds, values.detach().abs().double().numpy())]
        return torch.from_numpy(np.asarray(codes)) * values.sign().long()

    def encode(self, values: Tensor, name: str = "values") -> Tensor:
        check_finite({name: values.detach()})
        return self.nearest(values)


def fit_masks(weights: Tensor, bits: int = 4, starts: int = 0) -> MaskCodebook:
    """The currents whose subset sums lie nearest to the magnitudes of some weights, in mean square.

    Alternates between assigning every weight its nearest level and solving for the currents (least squares), from
    several binary-weighted starts; the best is kept. Where that leaves an error, though some of the magnitudes have all
    others as sums, as after an earlier fit, these start once more. Deterministic.

    Args:
        weights: any shape, at least one non-zero. bits: number of currents.
        starts: how many further starts to try, geometric series of other ratios; the result is never worse for it.
    """
    bits = check_count("bits", bits)
    starts = check_count("starts", starts, 0)
    magnitudes = weights.detach().abs().double().numpy().ravel()
    if not magnitudes.any():
        raise ValueError("weights: all are 0; a core without a synapse has no codebook.")
    fit = _Fit(magnitudes, bits)
    for ratio, fraction in [(2.0, fraction) for fraction in (0.3, 0.45, 0.6, 0.8, 1.0)] + _more_starts(starts):
        series = ratio ** np.arange(bits)
        fit.descend(series / series.sum() * magnitudes.max() * fraction)
    exact = _summands(np.unique(magnitudes[magnitudes > 0]), bits)
    if exact is not None and fit.error > (SAME * magnitudes.max()) ** 2:
        fit.descend(exact)
    return MaskCodebook(tuple(float(current) for current in np.sort(fit.best)))


class _Fit:
    """The best currents for some magnitudes so far, and their mean square error."""

    def __init__(self, magnitudes: np.ndarray, bits: int):
        self.magnitudes = magnitudes
        self.order = np.argsort(magnitudes, kind="stable")
        self.ascending = magnitudes[self.order]
        self.selects = (np.arange(2**bits)[:, None] >> np.arange(bits) & 1).astype(float)
        self.solved: dict[bytes, np.ndarray] = {}  # several starts meet: the same codes have the same best currents
        self.best, self.error = 2.0 ** np.arange(bits), np.inf

    def descend(self, currents: np.ndarray) -> None:
        """Alternate from a start."""
        for _ in range(ROUNDS):
            codes = np.empty(len(self.order), dtype=np.uint16 if len(currents) > 8 else np.uint8)
            codes[self.order] = _nearest_of_sorted(self.ascending, MaskCodebook(tuple(currents)).levels())
            chosen = self.selects[codes]
            error = float(np.square(self.magnitudes - chosen @ currents).mean())
            if error < self.error * (1 - 1e-9):
                self.best, self.error = currents, error
            key = codes.tobytes()
            if key not in self.solved:
                self.solved[key] = np.abs(np.linalg.lstsq(chosen, self.magnitudes, rcond=None)[0])
            improved = self.solved[key]
            if np.allclose(improved, currents, rtol=1e-6, atol=0):
                break
            currents = np.sort(improved)


def _summands(ascending: np.ndarray, bits: int) -> np.ndarray | None:
    """The ``bits`` of some magnitudes of which all others are sums, to the rounding of float32; None without any."""
    if len(ascending) >= 2**bits:
        return None
    found, sums = list[float](), np.zeros(1)
    for magnitude in ascending:
        if np.abs(sums - magnitude).min() > SAME * magnitude:
            found.append(magnitude)
            sums = np.concatenate([sums, sums + magnitude])
        if len(found) > bits:
            return None
    return np.array(found) if len(found) == bits else None


def _nearest_of_sorted(ascending: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The codes of ascending magnitudes, as :meth:`MaskCodebook.nearest` has them: halfway the smaller level."""
    order = np.argsort(levels, kind="stable")
    bounds = (levels[order][1:] + levels[order][:-1]) / 2
    ends = np.searchsorted(ascending, bounds, side="right")
    return np.repeat(order, np.diff(ends, prepend=0, append=len(ascending)))


def _more_starts(n: int) -> list[tuple[float, float]]:
    """Ratios from 1.2 to 3 and full scales from 0.2 to 1 of the largest magnitude, spread evenly (the R₂ sequence)."""
    spread = np.arange(1, n + 1)[:, None] * [0.7548776662466927, 0.5698402909980532] % 1
    return [(1.2 + 1.8 * float(a), 0.2 + 0.8 * float(b)) for a, b in spread]
