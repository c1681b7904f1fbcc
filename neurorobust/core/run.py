"""Run a network at given parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from .._util.errors import check_finite, shown, unknown
from .noise import Noise
from .params import Params, check_dtype, check_not_compiled, check_values, kind_of
from .slots import called_at, slots_of
from .turns import turn


def nominal(network: nn.Module) -> Params:
    """The nominal parameters of a network, trained or set: a detached copy, SI units.

    Returns:
        ``{name: tensor}``; a parameter with one value per core keeps that shape.

    Raises:
        ValueError: a parameter of no known kind, or that is complex or of less than 32 bits. TypeError: a torch.jit
            module.

    Example:
        >>> params = nr.nominal(nr.wrap(nn.Linear(6, 2)))
        >>> sorted(params), params["weight"].requires_grad
        (['bias', 'weight'], False)
    """
    check_not_compiled("network:", network)
    with turn(network):
        params = {name: value.detach().clone() for name, value in network.named_parameters()}
    for name, value in params.items():
        kind_of(name)
        check_dtype("network", name, value)
    return params


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """A context in which all modules of a network are in ``eval`` mode; each returns to its previous mode.

    A module with its own ``train`` method (which merges weights, or keeps a norm frozen) is told by it both times.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        for module, mode in modes:
            if type(module).train is not nn.Module.train and module.training != mode:
                module.train(mode)
        for module, mode in modes:
            module.training = mode


@contextmanager
def differentiating() -> Iterator[None]:
    """A context in which gradients are computed, wherever the caller is: ``torch.no_grad()`` and
    ``torch.inference_mode()`` around it have no effect inside."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def forward(
    network: nn.Module,
    params: Mapping[str, Tensor],
    x: Tensor,
    *,
    update_buffers: bool = False,
    noise: Noise | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and spikes at the given parameters, without :func:`run`'s checks: for inner loops.

    With ``update_buffers`` a module in ``train`` mode may change its buffers (a batch norm's running mean); without
    it, buffers do not change. A network with ``slots``, ``{parameter: all places of its tensor}``, holds a foreign
    module. It gets copies: a module that writes into its parameters changes neither ``params`` nor its own.

    Threads that run one network wait for each other.
    """
    with turn(network):
        return _forward(network, params, x, update_buffers, noise)


def _forward(
    network: nn.Module, params: Mapping[str, Tensor], x: Tensor, update_buffers: bool, noise: Noise | None
) -> tuple[Tensor, dict[str, Tensor]]:
    if x.is_inference() and not torch.is_inference_mode_enabled():
        x = x.clone()  # a tensor of torch.inference_mode cannot be kept for the backward pass
    places, own = slots_of(network), getattr(network, "slots", None)
    layered = hasattr(network, "layers")
    values = {slot.name: slot.tensor for slot in places if slot.buffer}
    if not update_buffers:
        # of our connections: constant, and known by its identity
        kept = (".mask", ".lists") if own is None and layered else ()
        values = {name: value if name.endswith(kept) else value.clone() for name, value in values.items()}
    values |= params
    if noise is not None:
        if not layered:
            raise TypeError(
                f"noise: {type(network).__name__} holds a foreign module, which does not support "
                f"noise; expected a Network."
            )
        return _checked(network, called_at(network, places, values, (x, noise)))
    if own is None:
        return _checked(network, called_at(network, places, values, (x,)))
    # Not torch's tie_weights: it leaves other weights behind in a module that is used twice (torch 2.13).
    values |= {name: value.clone() for name, value in params.items()}
    values = {slot: value for name, value in values.items() for slot in own.get(name, (name,))}
    return torch.func.functional_call(network, values, (x,), tie_weights=False)


def _checked(network: nn.Module, result: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Raise TypeError unless a network gave logits, and signals by layer: another one is a module of the user."""
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
        return result
    raise TypeError(
        f"network: got a {type(network).__name__}, a torch module as it is; expected a neurorobust.Network. Bring the "
        f"module here: nr.from_snntorch(network, dt) if it has snnTorch neurons, else nr.wrap(network)."
    )


def first_look(network: nn.Module, x: Tensor) -> None:
    """Let a network that holds a foreign module check that module with these samples, unless it did so before."""
    look = getattr(type(network), "first_look", None)
    if look is not None:
        look(network, x)


@overload
def run(
    network: nn.Module, params: Mapping[str, Tensor], x: Tensor, *, record: Literal[True], noise: Noise | None = None
) -> tuple[Tensor, dict[str, Tensor]]: ...


@overload
def run(
    network: nn.Module,
    params: Mapping[str, Tensor],
    x: Tensor,
    *,
    record: Literal[False] = False,
    noise: Noise | None = None,
) -> Tensor: ...


def run(
    network: nn.Module, params: Mapping[str, Tensor], x: Tensor, *, record: bool = False, noise: Noise | None = None
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """Run a network at the given parameters; its own parameters do not change.

    Threads that run one network wait for each other; a copy of it (``copy.deepcopy``) for each thread does not wait.

    Args:
        network: a :class:`neurorobust.Network`.
        params: every parameter of the network, nominal or deviated (see :func:`apply`).
        x: input, batch first: (B, T, n_in) for a spiking network, or any input of a wrapped module.
        record: also return the outputs of the layers.
        noise: tensors of :class:`neurorobust.core.noise.Noise`, new in every time step.

    Returns:
        Logits of shape (B, n_classes); with ``record`` the pair (logits, {layer: spikes of shape (B, T, n)}), which is
        empty for a wrapped module.

    Raises:
        ValueError: an unknown, missing or non-finite parameter, an input or noise of the wrong shape.
        TypeError: noise for a foreign module, or for neurons that do not support it.

    Example:
        >>> model = nr.wrap(nn.Linear(6, 2))
        >>> params = nr.nominal(model) | {"bias": torch.zeros(2)}
        >>> nr.run(model, params, torch.zeros(3, 6)).tolist()
        [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    if not isinstance(params, Mapping):
        raise TypeError(f"params: got {shown(params)}; expected tensors by name: nr.nominal(network).")
    with turn(network):
        expected = dict(network.named_parameters())
    for name in params:
        if name not in expected:
            raise unknown("params: parameter", name, expected)
    missing = [name for name in expected if name not in params]
    if missing:
        raise ValueError(f"params: {', '.join(missing)} missing; start from nr.nominal(network), which has them all.")
    check_values(params)
    check_finite({"x": x})
    first_look(network, x)
    logits, spikes = forward(network, params, x, noise=noise)
    if record:
        return logits, {name: value.transpose(0, 1) for name, value in spikes.items()}
    return logits
