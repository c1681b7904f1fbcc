"""The derivative of a fast sigmoid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..._util.errors import check_number
from .base import Surrogate


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """dz/du = 1/(1 + slope · abs(u))²; ``snntorch.surrogate.fast_sigmoid`` (Zenke & Ganguli 2018).

    Raises:
        ValueError: ``slope`` is not above 0.

    Example:
        >>> nr.nn.FastSigmoid(slope=25.0).derivative(torch.tensor([0.0, 0.04])).tolist()
        [1.0, 0.25]
    """

    slope: float = 25.0
    scaled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("slope", self.slope, strict=True)

    def derivative(self, u: Tensor) -> Tensor:
        return 1 / (1 + self.slope * u.abs()).square()
