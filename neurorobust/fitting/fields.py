"""Spatial fields over a core: candidates, and the split of values into directions inside and outside a field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..chip.spatial import GaussianField, SharedComponent, Surface, quadratic

LENGTHS = (1.0, 1.5, 2.5, 4.0, 6.0)  # of a smooth field, in neurons
SHARES = np.linspace(0, 0.995, 200)  # of the variance within a core


@dataclass(frozen=True, eq=False)
class Directions:
    """The directions of a field among the measured neurons of one core.

    Attributes:
        basis: (n, k) orthonormal, orthogonal to 1. along: (k,) variance of a field of variance 1 along each.
        mean: the variance of the field's mean over the neurons.
    """

    basis: np.ndarray
    along: np.ndarray
    mean: float


NOTHING = Directions(np.zeros((0, 0)), np.zeros(0), 0.0)


def candidates(grid: tuple[int, int]) -> list[SharedComponent]:
    """Candidate fields: a quadratic surface, and smooth ones shorter than half the grid."""
    size = grid[0] * grid[1]
    smooth = [GaussianField(1.0, "field", length=length) for length in LENGTHS if 2 * length <= max(grid)]
    return [Surface(1.0, "field", size=size), *smooth]


def field_matrix(part: SharedComponent, neuron: np.ndarray, width: int) -> np.ndarray:
    """Matrix of a field: its value at neurons of one core is field_matrix @ normals; (n, k)."""
    if isinstance(part, Surface):
        terms = quadratic(part.size, width)
        return terms[neuron] / np.sqrt(terms.shape[1])
    if isinstance(part, GaussianField):
        waves = part.waves()
        phase = np.stack(np.divmod(neuron, width), 1) @ waves.T
        return np.concatenate([np.cos(phase), np.sin(phase)], 1) / np.sqrt(len(waves))
    raise TypeError(f"{part!r}: got a {type(part).__name__}; expected a Surface or a GaussianField field.")


def directions(part: SharedComponent | None, seen: np.ndarray, width: int) -> Directions:
    """The directions of a field among the neurons where ``seen``, (n,) of bool; none without a field."""
    return NOTHING if part is None else _directions(part, np.packbits(seen).tobytes(), len(seen), width)


@lru_cache(maxsize=64)
def _directions(part: SharedComponent, packed: bytes, n: int, width: int) -> Directions:
    seen = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=n).astype(bool)
    terms = field_matrix(part, np.flatnonzero(seen), width)
    mean = terms.mean(0)
    basis, scale, _ = np.linalg.svd(terms - mean, full_matrices=False)
    kept = scale**2 > 1e-6 * max(len(terms), 1)
    return Directions(basis[:, kept], scale[kept] ** 2, float(mean @ mean))


@dataclass(frozen=True, eq=False)
class Energies:
    """Squares of standardized values within cores, averaged over settings.

    Attributes:
        square: sums of squares along directions, over ``count`` of them each. along: the variance of a unit field
            along these. independent: equivalent number of independent settings of the average.
    """

    square: np.ndarray
    count: np.ndarray
    along: np.ndarray
    independent: float

    def total(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted sums of squares where the field counts most, and elsewhere, for every share."""
        variance = share[:, None] * self.along + (1 - share[:, None])
        weighted = self.square / variance
        most = self.along > 1
        return weighted[:, most].sum(1), weighted[:, ~most].sum(1)

    def likelihood(self, share: np.ndarray) -> np.ndarray:
        """The log likelihood of every share, at the variance that fits best."""
        variance = share[:, None] * self.along + (1 - share[:, None])
        n, total = self.count.sum(), (self.square / variance).sum(1)
        return -0.5 * self.independent * ((self.count * np.log(variance)).sum(1) + n * np.log(total / n))


def energies(
    part: SharedComponent | None, x: np.ndarray, width: int, independent: float
) -> tuple[Energies, float, float]:
    """Mean squares of values along the directions of a field.

    Args:
        x: (cores, neurons, settings), standardized; NaN where not measured.

    Returns:
        The energies; the mean over cores and settings of the variance of the field's own mean; that of 1/n.
    """
    rows, means, each = [], [], []
    settings = x.shape[2]
    for d, s in np.ndindex(x.shape[0], settings):
        seen = np.isfinite(x[d, :, s])
        n = int(seen.sum())
        if n < 2:
            continue
        found = directions(part, seen, width)
        centred = x[d, seen, s] - x[d, seen, s].mean()
        square = (found.basis.T @ centred) ** 2 if len(found.along) else np.zeros(0)
        rest = n - 1 - len(square)
        rows.append(np.stack([square, np.ones(len(square)), found.along]))
        if rest > 0:
            rows.append(np.array([[max(0.0, (centred**2).sum() - square.sum())], [rest], [0.0]]))
        means.append(found.mean)
        each.append(1 / n)
    square, count, along = np.concatenate(rows, 1)
    return (
        Energies(square / settings, count / settings, along, independent),
        float(np.mean(means)),
        float(np.mean(each)),
    )


def residuals(part: SharedComponent | None, x: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The rest of (cores, neurons, settings) values without each core's mean and the dominant directions of a field,
    and the number of removed directions; (cores, neurons, settings) and (cores, settings)."""
    left, taken = np.full(x.shape, np.nan), np.zeros((x.shape[0], x.shape[2]), dtype=int)
    for d, s in np.ndindex(x.shape[0], x.shape[2]):
        seen = np.isfinite(x[d, :, s])
        if not seen.any():
            continue
        found = directions(part, seen, width)
        centred = x[d, seen, s] - x[d, seen, s].mean()
        dominant = found.basis[:, found.along > 1] if len(found.along) else np.zeros((len(centred), 0))
        left[d, seen, s] = centred - dominant @ (dominant.T @ centred)
        taken[d, s] = 1 + dominant.shape[1]
    return left, taken
