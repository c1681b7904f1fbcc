"""A triangle around the threshold."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..._util.errors import check_number
from .base import Surrogate


@dataclass(frozen=True)
class Triangle(Surrogate):
    """dz/du = scale · max(0, 1 − abs(u)); the paper's, with scale 0.3 (arXiv 2106.05009; Bellec et al. 2018).

    Raises:
        ValueError: ``scale`` is not above 0.

    Example:
        >>> nr.nn.Triangle(scale=0.5).derivative(torch.tensor([0.0, 0.5, 2.0])).tolist()
        [0.5, 0.25, 0.0]
    """

    scale: float = 0.3
    scaled: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("scale", self.scale, strict=True)

    def derivative(self, u: Tensor) -> Tensor:
        return self.scale * (1 - u.abs()).clamp(min=0)
