"""Hooks on parameters that keep synapses absent, such as those of norse's recurrent layers: what they say as masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .._util.randomness import generator
from .memory import Memory


@torch.no_grad()
def absent_by_hook(module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Where synapses exist, for each parameter of which a hook sets the gradient of absent ones to 0.

    A synapse is absent where the gradient becomes 0 and the value is 0. The hooks run on two gradients; a hook that
    does anything else than set some of them to 0 says nothing about synapses.

    Args:
        module: that holds the parameters; what the hooks change in it is put back.
    """
    hooked = {name: value for name, value in parameters.items() if value._backward_hooks}  # noqa: SLF001
    if not hooked:
        return {}
    memory = Memory(module)
    try:
        found = {name: _mask(value) for name, value in hooked.items()}
    finally:
        memory.restore()
    return {name: mask for name, mask in found.items() if mask is not None and not bool(hooked[name][~mask].any())}


def _mask(parameter: nn.Parameter) -> Tensor | None:
    """True where the gradient passes the hooks unchanged; None if it is anything else than 0 elsewhere."""
    random = torch.randn(parameter.shape, generator=generator(0, "hooks"), dtype=torch.float64).to(parameter)
    gradients = [torch.ones_like(parameter), 1 + random.abs()]
    try:
        after = [_through(parameter, gradient.clone()) for gradient in gradients]
    except Exception:  # it needs more than a gradient
        return None
    mask = after[0] != 0
    return mask if all(torch.equal(now, own * mask) for now, own in zip(after, gradients)) else None


def _through(parameter: nn.Parameter, gradient: Tensor) -> Tensor:
    for hook in list((parameter._backward_hooks or {}).values()):  # noqa: SLF001
        changed = hook(gradient)
        gradient = gradient if changed is None else changed
    return gradient
