"""Resets: the effect of a spike on the membrane, as small frozen dataclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .surrogate import Surrogate


class ResetNumbers(Protocol):
    """The per-neuron numbers that a reset may use, of :class:`neurorobust.kernels.LifCoefficients`: decay and threshold
    (of this step, with adaptation), and the value after a spike, None for 0."""

    @property
    def alpha(self) -> Tensor: ...

    @property
    def v_threshold(self) -> Tensor: ...

    @property
    def v_reset(self) -> Tensor | None: ...


class Reset(ABC):
    """The effect of a spike on the membrane.

    A subclass is a frozen dataclass with a field ``detach``: True keeps the spike in the reset out of the gradient, as
    snnTorch does where its reset is delayed; the gradient still reaches the threshold or value it resets by.
    """

    detach: bool

    def __post_init__(self) -> None:
        if not isinstance(self.detach, bool):
            raise TypeError(f"detach: got {self.detach!r}; expected True or False.")

    @abstractmethod
    def decayed(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        """The rest of the membrane v after one step, where the neuron spiked (z = 1) or did not (z = 0)."""

    def membrane(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        """The membrane that is recorded: v, except where the reset acts within the step of the spike."""
        return v

    def barrier(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor | None:
        """The amount by which the next membrane has to exceed the threshold to spike; None for nothing."""
        return None


@dataclass(frozen=True)
class NoReset(Reset):
    """v[t] = α v[t−1] + …: a spike leaves the membrane alone."""

    detach: bool = False

    def decayed(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return c.alpha * v


@dataclass(frozen=True)
class DelayedSubtract(Reset):
    """v[t] = α v[t−1] − z[t−1] ϑ + …: the threshold is subtracted one step later, undecayed.

    The paper's (arXiv 2106.05009), and ``snntorch.Leaky``'s default, whose gradients need ``detach=True``.
    """

    detach: bool = False

    def decayed(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return c.alpha * v - z * c.v_threshold


@dataclass(frozen=True)
class Subtract(Reset):
    """v ← v − z ϑ at once, then v[t] = α v[t−1] + …"""

    detach: bool = False

    def decayed(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return v - z * c.v_threshold


@dataclass(frozen=True)
class SnntorchSubtract(Reset):
    """:class:`Subtract` as snnTorch has it (``reset_delay=False``): a membrane that is still above ϑ after its reset
    has to reach 2ϑ in the next step in order to spike again, and is reset only if it does."""

    detach: bool = False

    def decayed(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return v - z * c.v_threshold

    def barrier(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        above = self.membrane(v, z, c) > c.v_threshold
        return above.to(v.dtype) * c.v_threshold


@dataclass(frozen=True)
class ToValue(Reset):
    """v ← v_reset at once where z = 1 (0 where no v_reset is given), then v[t] = α v[t−1] + …: NIR's reset."""

    detach: bool = False

    def decayed(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return v - z * (v if c.v_reset is None else v - c.v_reset)


@dataclass(frozen=True)
class DelayedToValue(Reset):
    """:class:`ToValue` at the start of the next step: the same spikes, but the membrane that is recorded is the one
    that reached the threshold. ``snntorch.Leaky`` with ``"zero"``, whose gradients need ``detach=True``."""

    detach: bool = False

    def decayed(self, v: Tensor, z: Tensor, c: ResetNumbers) -> Tensor:
        return c.alpha * (v - z * (v if c.v_reset is None else v - c.v_reset))


@dataclass(frozen=True)
class Dynamics:
    """How a LIF neuron spikes: the surrogate derivative, and the effect of a spike on the membrane."""

    surrogate: Surrogate
    reset: Reset
