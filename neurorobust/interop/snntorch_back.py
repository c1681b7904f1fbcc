"""The numbers of a model written back into an snnTorch network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._util.description import REMEDY, comparable, describe, difference
from .snntorch_network import SnnTorchNetwork
from .snntorch_neurons import NUMBERS, STATES, from_si, neurons_of, to_si


@torch.no_grad()
def to_snntorch(model: SnnTorchNetwork, net: nn.Module | None = None) -> nn.Module:
    """Write the numbers of a model back into its snnTorch network, and return that network.

    Args:
        model: from :func:`from_snntorch`.
        net: another network of the same layers to write into; None for the original network.

    Raises:
        TypeError: ``model`` does not come from :func:`from_snntorch`. ValueError: ``net`` has other parameters.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
        >>> nr.to_snntorch(nr.from_snntorch(net, dt=1e-3)) is net
        True
    """
    if not isinstance(model, SnnTorchNetwork):
        raise TypeError(f"model: got {type(model).__name__}; expected the result of nr.from_snntorch.")
    net = model.original.net if net is None else net
    inner, targets = model.get_submodule("_unrolled.net"), neurons_of(net)
    here, there = _layout(inner), _layout(net)
    for name in [*here, *there]:
        if here.get(name) != there.get(name):
            raise ValueError(f"net: {name} is {there.get(name)} there and {here.get(name)} in the model.")
    if net is not model.original.net:
        parts = (describe(each, options=True) for each in (net, model.original.net))
        if problem := difference(*comparable(*parts)):
            raise ValueError(f"net: {problem.replace(' here', ' in the original')}; {REMEDY}.")
    tensors: dict[str, Any] = dict(net.named_parameters()) | dict(net.named_buffers())
    written: list[tuple[str, Tensor, Tensor]] = []
    for name, value in [*inner.named_parameters(), *inner.named_buffers()]:
        path, _, last = name.rpartition(".")
        if path in targets and (last in STATES or last in NUMBERS):
            continue
        if name in tensors:
            written.append((name, tensors[name], value))
    for name, neuron in targets.items():
        values = {key: model.get_parameter(f"{name}.{key}").detach() for key in model.links[name]}
        before = to_si(neuron, model.dt, next(model.parameters()).dtype)
        changed = {key: value for key, value in values.items() if not torch.equal(value, before[key])}
        for key, value in from_si(neuron, changed, model.dt).items() if changed else ():
            if not getattr(neuron, key).is_floating_point():
                setattr(neuron, key, getattr(neuron, key).to(value.dtype))
            written.append((f"{name}.{key}", getattr(neuron, key), value))
    _write(written)
    return net


def _write(written: list[tuple[str, Tensor, Tensor]]) -> None:
    """Copy values into tensors, (name, tensor, value); ValueError if one tensor would get two values."""
    holders: dict[int, tuple[str, Tensor]] = {}
    for name, tensor, value in written:
        other, first = holders.setdefault(tensor.data_ptr(), (name, value)) if tensor.numel() else (name, value)
        if not torch.equal(first, value):
            raise ValueError(
                f"net: {other} and {name} are one tensor in the network and have different values in the model; give "
                f"each a tensor of its own."
            )
    for _, tensor, value in written:
        tensor.copy_(value)


def _layout(net: nn.Module) -> dict[str, str]:
    """Shapes of all tensors, types and options of all neurons: two networks with the same can exchange numbers."""
    layout = {}
    neurons = neurons_of(net)
    for name, neuron in neurons.items():
        options = [type(neuron).__name__, neuron.reset_mechanism, f"reset_delay={getattr(neuron, 'reset_delay', True)}"]
        layout[name] = " ".join(options)
        layout |= {
            f"{name}.{key}": f"of shape {tuple(getattr(neuron, key).shape)}"
            for key in NUMBERS
            if isinstance(getattr(neuron, key, None), Tensor)
        }
    connections = [pair for pair in net.named_buffers() if ".recurrent." in pair[0]]  # of idle neurons in a model
    for name, value in [*net.named_parameters(), *connections]:
        if name not in layout and not name.endswith(".recurrent.V"):
            layout[name] = f"of shape {tuple(value.shape)}"
    return layout
