"""A part of a suite, and the gradients that it goes through: of another surrogate, of another floor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from ..attacks import Suite
from ..dynamics import Floor
from ..dynamics.surrogate import Surrogate
from .floors import TRUE


class Part(NamedTuple):
    """A part of a suite.

    Attributes:
        suite: what runs.
        surrogate: the derivative of every spike; None for the network's own.
        floor: the gradient through every floor.
    """

    suite: Suite
    surrogate: Surrogate | None = None
    floor: Floor = TRUE

    def __str__(self) -> str:
        through = [repr(other) for other, own in ((self.surrogate, None), (self.floor, TRUE)) if other != own]
        return " and ".join(through)


@contextmanager
def using_surrogate(network: nn.Module, surrogate: Surrogate | None) -> Iterator[None]:
    """Differentiate every spike of a network through another surrogate inside the ``with`` block; spikes do not change.

    Layers of this package scale the surrogate by their threshold. snnTorch's neurons take it as a function of v − ϑ in
    volts, which is the same for thresholds of 1. Without surrogates in the network, or for None, nothing happens.
    """
    holders = _surrogate_holders(network) if surrogate is not None else []
    before = [holder.surrogate for holder, _ in holders]
    try:
        for holder, scales in holders:
            holder.surrogate = surrogate if scales else replace(surrogate, scaled=False)  # type: ignore[type-var]
        yield
    finally:
        for (holder, _), own in zip(holders, before):
            holder.surrogate = own


def has_surrogates(network: nn.Module) -> bool:
    """Whether a network has surrogates that can be exchanged."""
    return bool(_surrogate_holders(network))


def _surrogate_holders(network: nn.Module) -> list[tuple]:
    """The objects that hold the surrogates of a network, each with whether it scales them by a threshold."""
    holders: list[tuple] = []
    for module in network.modules():
        if isinstance(getattr(module, "surrogate", None), Surrogate):
            holders.append((module, True))
        elif isinstance(getattr(getattr(module, "spike_grad", None), "surrogate", None), Surrogate):
            holders.append((module.spike_grad, False))
    return holders
