"""The values that enter a chip: those that the first layer on it reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..core.params import kind_of
from ..core.placement import HOST
from ..core.run import evaluating, forward, nominal
from .network import INPUT, Network, placement_of


def entering(network: nn.Module, x: Tensor) -> Tensor | None:
    """The values that the first layer on a chip reads when a network gets samples ``x``.

    Of a :class:`Network` these are the samples, if a layer that is not on the host takes them. Of another module it is
    the input of the first module with weights on the chip that runs. None where no layer on the chip is known.
    """
    placement = placement_of(network)
    if isinstance(network, Network):
        first = [placement.cores.get(name) for name, sources in network.inputs.items() if INPUT in sources]
        return x if any(core is not None and bool((core != HOST).any()) for core in first) else None
    slots: dict[str, tuple[str, ...]] = getattr(network, "slots", None) or {}
    weights = [name for name, _ in network.named_parameters() if kind_of(name) == "weight" and placement.on_chip(name)]
    homes = {slot.rpartition(".")[0] for name in weights for slot in slots.get(name, (name,))}
    found: list[Tensor] = []

    def look(_: nn.Module, given: tuple[Any, ...]) -> None:
        if not found and given and isinstance(given[0], Tensor):
            found.append(given[0].detach())

    handles = [network.get_submodule(home).register_forward_pre_hook(look) for home in sorted(homes)]
    try:
        if handles:
            with torch.no_grad(), evaluating(network):
                forward(network, nominal(network), x)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
