"""The base of every floor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor


class Floor(ABC):
    """A membrane that cannot go below a potential: its value there, and the gradient that an attack sees.

    A subclass is a frozen dataclass. Floors differ in the gradient alone, never in the membrane, except
    :class:`~neurorobust.dynamics.NoFloor`. A floor without compiled loops runs on the reference loops.
    """

    @abstractmethod
    def limited(self, v: Tensor, v_floor: Tensor) -> Tensor:
        """max(v, v_floor), with the gradient of this floor; v_floor broadcasts."""

    @classmethod
    def example(cls) -> Self:
        """An instance for the contract tests; override it where an argument has no default."""
        return cls()
