"""The base of every reset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from torch import Tensor

from ..._util.errors import plain_fields
from ...core.equations import UNKNOWN
from ..surrogate import Surrogate


class Coefficients(Protocol):
    """Per-neuron numbers of a layer for a reset, each of shape (n,): membrane decay per step, threshold, and
    the potential after a spike, None for 0."""

    @property
    def alpha(self) -> Tensor: ...
    @property
    def v_threshold(self) -> Tensor: ...
    @property
    def v_reset(self) -> Tensor | None: ...


class Reset(ABC):
    """The effect of a spike on the membrane.

    A subclass is a frozen dataclass with a field ``detach``: True keeps the spike in the reset out of the gradient, as
    snnTorch does with a delayed reset; the gradient still reaches the threshold or the reset value. A reset without
    compiled loops runs on the reference loops.

    Raises:
        TypeError: ``detach`` is neither True nor False.
    """

    detach: bool
    word: ClassVar[str] = UNKNOWN
    """Its word in :data:`neurorobust.core.equations.VOCABULARY`."""

    def __post_init__(self) -> None:
        plain_fields(self)
        if not isinstance(self.detach, bool):
            raise TypeError(f"detach: got {self.detach!r}; expected True or False.")

    @abstractmethod
    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        """The membrane one step after v, without input: the neuron spiked at v (z = 1) or did not (0)."""

    def membrane(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        """The membrane that is recorded: v, except where the reset acts within the step of the spike."""
        return v

    def barrier(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor | None:
        """Voltage by which the next membrane must exceed the threshold to spike; None for 0."""
        return None

    @classmethod
    def example(cls) -> Self:
        """An instance for the contract tests; override it where an argument has no default."""
        return cls()


@dataclass(frozen=True)
class Dynamics:
    """The surrogate derivative and the reset of a LIF neuron.

    Example:
        >>> dynamics = nr.dynamics.Dynamics(nr.nn.Triangle(), nr.nn.ToValue())
        >>> dynamics.reset
        ToValue(detach=False)
    """

    surrogate: Surrogate
    reset: Reset
