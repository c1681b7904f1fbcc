"""What the look at a foreign module says about it."""

from __future__ import annotations

from torch import nn


class Refused(ValueError):
    """A foreign module that cannot be measured; the message says why and what to do."""


class KeepsState(Refused):
    """A foreign module that keeps state between calls.

    Attributes:
        names: of the places in the module that a pass changed.
    """

    def __init__(self, message: str, names: tuple[str, ...] = ()):
        super().__init__(message)
        self.names = names


class Draws(Refused):
    """A module that draws random numbers, or another thread that does at the same time."""


def inner(network: nn.Module) -> nn.Module:
    """The foreign module."""
    return network.get_submodule("_module" if hasattr(network, "_module") else "_unrolled.net")


def held(network: nn.Module) -> str:
    """The class of the foreign module, for messages."""
    return type(inner(network)).__name__


def draws(network: nn.Module, names: tuple[str, ...] = ()) -> Draws:
    """The refusal of a module that draws random numbers."""
    found = f" ({', '.join(dict.fromkeys(names))})" if names else ""
    return Draws(
        f"module: {held(network)} draws random numbers in forward{found}, or its decode or prepare does, so every pass "
        f"gives other outputs and dies cannot be compared. Encode the samples once, before they come here; or draw "
        f"from a torch.Generator that forward seeds in every pass. (Another thread that draws at the same time looks "
        f"the same.)"
    )


def keeps_state(network: nn.Module, names: tuple[str, ...], what: str = "outputs") -> Refused:
    """The refusal of a module that keeps state between calls; ``names``: of the places that a pass changed."""
    found = f" ({', '.join(dict.fromkeys(map(short, names)))} changed)" if names else ""
    told = (
        f"module: {held(network)} gives other {what} for the same samples in a second pass in eval mode: it keeps "
        f"state between calls{found}. Reset the state at the start of forward, or register it as a buffer; or it draws "
        f"random numbers: draw from a generator that forward seeds."
    )
    return KeepsState(told, tuple(map(short, names)))


def short(name: str) -> str:
    """The name of a place in the foreign module, from that in the network around it."""
    return name.removeprefix("_module.").removeprefix("_unrolled.net.")
