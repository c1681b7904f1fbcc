"""The base of every adaptation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Self

from torch import Tensor

from ...core.equations import UNKNOWN


class Effects(NamedTuple):
    """The effects of one unit of b on a neuron, each of shape (n,) or None for none.

    Attributes:
        current: subtracted from the current of the membrane. threshold: added to the threshold, V.
    """

    current: Tensor | None
    threshold: Tensor | None


class Adaptation(ABC):
    """The effect of the decaying spike count b[t] = ρ b[t−1] + z[t−1]; a subclass is a frozen dataclass."""

    word: ClassVar[str] = UNKNOWN
    """Its word in :data:`neurorobust.core.equations.VOCABULARY`."""

    @abstractmethod
    def effects(self, adaptation: Tensor) -> Effects:
        """The effects per unit of b of a layer with this parameter ``adaptation``, (n,)."""

    @classmethod
    def example(cls) -> Self:
        """An instance for the contract tests; override it where an argument has no default."""
        return cls()
