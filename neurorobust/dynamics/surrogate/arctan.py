"""The derivative of an arc tangent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..._util.errors import check_number
from .base import Surrogate


@dataclass(frozen=True)
class ArcTan(Surrogate):
    """dz/du = alpha/2 / (1 + (π/2 · alpha · u)²); ``snntorch.surrogate.atan`` (Fang et al. 2021).

    Raises:
        ValueError: ``alpha`` is not above 0.

    Example:
        >>> nr.nn.ArcTan(alpha=2.0).derivative(torch.tensor([0.0, 0.5])).tolist()
        [1.0, 0.28840041160583496]
    """

    alpha: float = 2.0
    scaled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("alpha", self.alpha, strict=True)

    def derivative(self, u: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * u).square())
