"""Dependence between sites of a die: shared components, Gaussian fields, correlations between kinds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import ClassVar

import numpy as np
from scipy.special import ndtri

from .._util.errors import check_count, check_number, plain_fields, unknown
from ..core.params import KINDS
from .streams import stream
from .wording import number, percent, short


@dataclass(frozen=True)
class SharedComponent(ABC):
    """A component of the variance that the sites of a core or a chip share.

    Attributes:
        share: of the variance, 0 to 1.
        name: kinds whose parts have the same name and class share the part itself.
    """

    share: float
    name: str

    key_name: ClassVar[str] = ""  # stands for the class in the key of its normals

    def __post_init__(self) -> None:
        plain_fields(self)
        if check_number("share", self.share) > 1:
            raise ValueError(f"share: got {self.share:g}; expected a fraction of the variance, at most 1.")
        if not self.name:
            raise ValueError("name: a shared component needs one; kinds that name the same one share it.")

    def named(self, suffix: str) -> SharedComponent:
        """The same component under another name, hence another draw."""
        return replace(self, name=self.name + suffix)

    @abstractmethod
    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        """The standard normal part of some neurons of one core, numbered row by row in a grid ``width`` wide."""

    def stream(self, key: np.ndarray, core: int, n: int) -> np.ndarray:
        """n normals of this part."""
        return stream(key, f"{self.key_name or type(self).__name__}:{self.name}", core, 0, n)

    def in_words(self, unit: str = "") -> str:
        """The part in one line; one without words of its own shows its representation."""
        return short(self)


@dataclass(frozen=True)
class PerChip(SharedComponent):
    """One number for the whole chip: a process corner beside the local mismatch.

    Example:
        >>> nr.chip.spatial.PerChip(0.3, "corner").in_words()
        '30 % of the variance is common to the whole chip'
    """

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        return np.full(len(neuron), self.stream(key, 0, 1)[0])

    def in_words(self, unit: str = "") -> str:
        return f"{percent(self.share)} of the variance is common to the whole chip"


@dataclass(frozen=True)
class PerCore(SharedComponent):
    """One number per core.

    Example:
        >>> nr.chip.spatial.PerCore(0.3, "bias of the core").in_words()
        '30 % of the variance is common to a core'
    """

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        return np.full(len(neuron), self.stream(key, core, 1)[0])

    def in_words(self, unit: str = "") -> str:
        return f"{percent(self.share)} of the variance is common to a core"


@dataclass(frozen=True)
class PerNeuron(SharedComponent):
    """One number per neuron, common to all its synapses.

    Example:
        >>> nr.chip.spatial.PerNeuron(0.3, "driver").in_words()
        '30 % of the variance is common to all synapses of a neuron'
    """

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        return self.stream(key, core, int(neuron.max()) + 1)[neuron]

    def in_words(self, unit: str = "") -> str:
        return f"{percent(self.share)} of the variance is common to all synapses of a neuron"


@dataclass(frozen=True)
class Surface(SharedComponent):
    """A quadratic surface in row and column over each core's square grid of ``size`` neurons: five normals per core.

    The five terms are orthonormal over the grid, so the variance over dies and neurons together is 1.

    Raises:
        ValueError: ``size`` is below 2: one place has no surface.

    Example:
        >>> nr.chip.spatial.Surface(0.3, "gradient").in_words()
        '30 % of the variance is a smooth quadratic surface over each core'
    """

    size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("size", self.size, 2)

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        if neuron.max() >= self.size:
            raise ValueError(f"neuron {neuron.max()} of core {core}: the surface {self.name!r} has {self.size} places.")
        terms = quadratic(self.size, width)
        surface = sum(z * term for z, term in zip(self.stream(key, core, terms.shape[1]), terms.T))
        return np.asarray(surface / np.sqrt(terms.shape[1]))[neuron]

    def in_words(self, unit: str = "") -> str:
        return f"{percent(self.share)} of the variance is a smooth quadratic surface over each core"


@dataclass(frozen=True)
class GaussianField(SharedComponent):
    """A smooth, stationary Gaussian field over each core's grid, correlation near exp(−d²/2·length²) at distance d.

    128 waves, their frequencies fixed low-discrepancy points of the kernel's spectrum: :meth:`correlation` is exact.

    Attributes:
        length: correlation length, in neurons.

    Raises:
        ValueError: ``length`` is not above 0.

    Example:
        >>> field = nr.chip.spatial.GaussianField(0.5, "oxide", length=2.0)
        >>> round(field.correlation(0, 2), 2)  # two neurons apart: near exp(−½)
        0.62
    """

    length: float = 1.0

    key_name: ClassVar[str] = "Smooth"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("length", self.length, strict=True)

    def waves(self) -> np.ndarray:
        """Wave vectors, radians per neuron, (128, 2)."""
        return _low_discrepancy() / self.length

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        waves = self.waves()
        phase = np.stack(np.divmod(neuron, width), 1) @ waves.T
        a, b = self.stream(key, core, 2 * len(waves)).reshape(2, -1)
        return (np.cos(phase) @ a + np.sin(phase) @ b) / np.sqrt(len(waves))

    def correlation(self, rows: float, columns: float) -> float:
        """The correlation of two neurons at this distance."""
        return float(np.cos(self.waves() @ np.array([rows, columns])).mean())

    def in_words(self, unit: str = "") -> str:
        return (
            f"{percent(self.share)} of the variance is a smooth random field over each core, correlation length "
            f"{number(self.length)} neurons"
        )


@cache
def _low_discrepancy() -> np.ndarray:
    """128 points of the standard normal plane; the first of the sequence, 0, is left out."""
    from scipy.stats import qmc  # slow to import

    return ndtri(qmc.Halton(2, scramble=False).random(129)[1:])


@cache
def quadratic(size: int, width: int) -> np.ndarray:
    """Row, column, their squares and their product over a grid, orthonormal to each other and to 1; (size, ≤ 5).

    Gram and Schmidt's way with exactly rounded sums: LAPACK's last digits are those of the processor.
    """
    row, column = np.divmod(np.arange(size, dtype=float), width)
    row, column = row - row.mean(), column - column.mean()
    found = [np.ones(size)]
    for term in (row, column, row**2, row * column, column**2):
        rest = term / max(np.abs(term).max(), 1e-300)
        for basis in 2 * found:  # twice, against cancellation
            rest = rest - math.fsum(rest * basis) / size * basis
        norm = math.sqrt(math.fsum(rest**2))
        if norm > 1e-9:  # else these rows or columns are too few for it
            found.append(rest / (norm / math.sqrt(size)))
    return np.stack(found[1:], 1) if len(found) > 1 else np.empty((size, 0))


@dataclass(frozen=True)
class Correlation:
    """Kinds of one neuron that vary together.

    Attributes:
        kinds: with one value per neuron. matrix: the correlations of their own parts, positive definite.

    Raises:
        ValueError: a kind without one value per neuron, a matrix of another shape, or one that is not symmetric, with
            ones on the diagonal, and positive definite.

    Example:
        >>> pair = nr.chip.spatial.Correlation(("tau_mem", "v_threshold"), ((1.0, 0.6), (0.6, 1.0)))
        >>> pair.factors("v_threshold")  # 0.6² + 0.8² = 1
        {'tau_mem': 0.6, 'v_threshold': 0.8}
    """

    kinds: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS - {"weight"}:
                raise unknown("correlation: kind with one value per neuron", kind, KINDS - {"weight"})
        rho, n = np.array(self.matrix, dtype=float), len(self.kinds)
        if len(set(self.kinds)) != n or rho.shape != (n, n):
            raise ValueError(f"correlation: got a matrix of shape {rho.shape}; expected ({n}, {n}), each kind once.")
        if not (rho == rho.T).all() or not (np.diag(rho) == 1).all():
            raise ValueError("correlation: expected a symmetric matrix with ones on the diagonal.")
        lowest = float(np.linalg.eigvalsh(rho)[0])
        if lowest <= 1e-12:
            raise ValueError(
                f"correlation: not positive definite (smallest eigenvalue {lowest:.3g}); no devices have such "
                f"correlations. Make the entries smaller."
            )

    def factors(self, kind: str) -> dict[str, float]:
        """The kinds whose normals make up this one, each with its factor; itself alone where it is not named."""
        if kind not in self.kinds:
            return {kind: 1.0}
        row = np.linalg.cholesky(np.array(self.matrix))[self.kinds.index(kind)]
        return {other: float(factor) for other, factor in zip(self.kinds, row) if factor}


@dataclass(frozen=True)
class DependenceStructure:
    """Dependence between the normals of a die; independent by default.

    Attributes:
        shared: the shared components of each kind. shares_deviate_of: the kind whose normals another one takes
            (gain ← tau_mem).
        correlation: between kinds, or None. width: of a core's grid, in neurons.
    """

    shared: Mapping[str, Sequence[SharedComponent]] = field(default_factory=dict)
    shares_deviate_of: Mapping[str, str] = field(default_factory=dict)
    correlation: Correlation | None = None
    width: int = 16

    def __post_init__(self) -> None:
        plain_fields(self)
        check_count("width", self.width)
        for kind, parts in self.shared.items():
            if (total := sum(part.share for part in parts)) > 1:
                raise ValueError(
                    f"{kind}: the shares of its shared components add up to {total:g}; expected at most 1."
                )


INDEPENDENT = DependenceStructure()
