"""A codec that holds values out of range at its ends."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Self

import numpy as np
from torch import Tensor

from ..._util.errors import check_finite
from .codec import Codec
from .levels import Uniform


@dataclass(frozen=True)
class Saturating(Codec):
    """Another codec that holds a value out of range at its end; ``error`` still counts it, and its gradient is 1.

    Example:
        >>> codec = nr.chip.encodings.Saturating(nr.chip.encodings.Uniform(bits=4, step=0.25))
        >>> codec.quantize(torch.tensor([0.6, 5.0])).tolist()  # the largest level instead of an error
        [0.5, 1.75]
    """

    codec: Codec

    @classmethod
    def example(cls, draw: Random) -> Self:
        return cls(Uniform(draw.randint(1, 8), 10 ** draw.uniform(-12, 3)))

    @property
    def first(self) -> int:
        return self.codec.first

    def held(self) -> np.ndarray:
        return self.codec.held()

    def position(self, values: Tensor) -> Tensor:
        return self.codec.position(values)

    def encode(self, values: Tensor, name: str = "values") -> Tensor:
        check_finite({name: values.detach()})
        return self.nearest(values)
