"""Weights as the difference of two conductances, for crossbars of memory cells."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..._util.errors import check_finite, check_number, plain_fields


@dataclass(frozen=True)
class ConductancePair:
    """w = (G₊ − G₋)/gain: a weight as the difference of two devices, the idle one at g_min.

    Continuous: nothing is rounded.

    Attributes:
        g_min, g_max: of one device, S, 0 ≤ g_min < g_max. gain: S per unit of weight, > 0.

    Raises:
        ValueError: not 0 ≤ g_min < g_max, or ``gain`` not above 0.

    Example:
        >>> pair = nr.chip.encodings.ConductancePair(g_min=1.0, g_max=25.0, gain=10.0)
        >>> [g.tolist() for g in pair.split(torch.tensor([1.0, -2.0]))]  # G₊ and G₋
        [[11.0, 1.0], [1.0, 21.0]]
    """

    g_min: float
    g_max: float
    gain: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("g_min", self.g_min)
        check_number("g_max", self.g_max, low=self.g_min, strict=True)
        check_number("gain", self.gain, strict=True)

    def split(self, weights: Tensor, name: str = "weights") -> tuple[Tensor, Tensor]:
        """(G₊, G₋) in S, differentiable, shape of the weights.

        Raises:
            ValueError: a weight is not finite, or needs more than g_max.
        """
        check_finite({name: weights.detach()})
        most = (self.g_max - self.g_min) / self.gain
        largest = float(weights.detach().abs().max()) if weights.numel() else 0.0
        if largest > most * (1 + 1e-6):
            raise ValueError(
                f"{name}: the largest magnitude is {largest:g}; a pair from {self.g_min:g} to {self.g_max:g} S holds "
                f"{most:g} at {self.gain:g} S per unit. Choose a smaller gain."
            )
        size, signed = self.gain * weights.abs(), self.gain * weights
        return self.g_min + (size + signed) / 2, self.g_min + (size - signed) / 2

    def join(self, plus: Tensor, minus: Tensor) -> Tensor:
        """The weights that two conductances in S mean."""
        return (plus - minus) / self.gain
