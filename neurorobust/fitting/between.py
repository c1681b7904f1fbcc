"""Kinds that vary together: correlations of neurons' own parts, over the neurons in which both were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import norm

from ..chip.spatial import Correlation
from ..core.params import KINDS
from .across import MANY
from .components import LEVEL, IntervalEstimate
from .kind import KindFit


def between(fits: Mapping[str, KindFit]) -> dict[tuple[str, str], IntervalEstimate]:
    """The correlation of every two kinds that have one value per neuron and 20 neurons in common.

    It is that of the residuals of neurons, averaged over settings, without the means of cores and the dominant
    directions of a field. The interval is Fisher's: atanh r is normal with variance 1/(n − k − 2) for k removed
    directions.
    """
    found = {}
    for a, b in combinations([kind for kind in fits if kind in KINDS - {"weight"}], 2):
        left, right, taken = [], [], 0
        for core, (one, gone) in fits[a].own.items():
            other, more = fits[b].own.get(core, (np.zeros(0), 0))
            n = min(len(one), len(other))
            both = np.isfinite(one[:n]) & np.isfinite(other[:n])
            if both.any():
                left.append(one[:n][both])
                right.append(other[:n][both])
                taken += max(gone, more)
        n = sum(map(len, left))
        if n - taken < MANY:
            continue
        x, y = (np.concatenate([each - each.mean() for each in side]) for side in (left, right))
        r = float(x @ y / np.sqrt((x @ x) * (y @ y)))
        reach = float(norm.ppf((1 + LEVEL) / 2)) / np.sqrt(n - taken - 2)
        center = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
        found[a, b] = IntervalEstimate(r, float(np.tanh(center - reach)), float(np.tanh(center + reach)))
    return found


def significant(found: Mapping[tuple[str, str], IntervalEstimate]) -> Correlation | None:
    """The correlations whose interval excludes 0; None if there are none.

    If the matrix is not positive definite, all are reduced by the same factor.
    """
    seen = {pair: e.value for pair, e in found.items() if not e.low <= 0 <= e.high}
    kinds = sorted({kind for pair in seen for kind in pair})
    if not kinds:
        return None
    rho = np.eye(len(kinds))
    for (a, b), r in seen.items():
        rho[kinds.index(a), kinds.index(b)] = rho[kinds.index(b), kinds.index(a)] = r
    lowest = float(np.linalg.eigvalsh(rho)[0])
    if lowest < 1e-3:
        rho = np.eye(len(kinds)) + (rho - np.eye(len(kinds))) * (1 - 1e-3) / (1 - lowest)
    return Correlation(tuple(kinds), _rows(rho))


def _rows(rho: np.ndarray) -> tuple[tuple[float, ...], ...]:
    rows: Sequence[Sequence[float]] = rho.tolist()
    return tuple(tuple(row) for row in rows)
