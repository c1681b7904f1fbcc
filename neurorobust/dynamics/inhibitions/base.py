"""The base of every inhibition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import Tensor

from ...core.equations import UNKNOWN
from ..floors import Floor


class Inhibition(ABC):
    """The effect of an inhibitory current on a membrane; a subclass is a frozen dataclass.

    One without compiled loops runs on the reference loops.
    """

    word: ClassVar[str] = UNKNOWN
    """Its word in :data:`neurorobust.core.equations.VOCABULARY`."""

    @abstractmethod
    def driven(self, v: Tensor, excitation: Tensor, inhibition: Tensor, direct: Tensor, floor: Floor) -> Tensor:
        """The membrane after the currents of a step.

        Args:
            v: the membrane that has decayed. excitation, inhibition, direct: what the currents add to it in this step,
                and take from it, V; ``direct`` broadcasts. floor: of the neuron, which chooses a gradient.
        """

    @classmethod
    def example(cls) -> Self:
        """An instance for the contract tests; override it where an argument has no default."""
        return cls()
