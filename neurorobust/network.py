"""A network: layers of neurons in a row, and the only place that knows time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from .errors import check_number
from .neurons import Neuron
from .params import NOWHERE, Placement


class Network(nn.Module):
    """Layers one after the other; the mean over time of the last layer's output is the logits.

    Args:
        layers: by name, in order; each takes the output of the one before.
        dt: length of one time step, s.
    """

    def __init__(self, layers: Mapping[str, Neuron], dt: float):
        super().__init__()
        if not layers:
            raise ValueError("layers: got none; expected at least one named layer.")
        sizes = [layer.input.weight.shape for layer in layers.values()]
        for (name, _), above, below in zip(list(layers.items())[1:], sizes[1:], sizes):
            if above[1] != below[0]:
                raise ValueError(f"layers[{name!r}]: takes {above[1]} inputs; the layer before it has {below[0]}.")
        self.dt = check_number("dt", dt, strict=True)
        self.names = list(layers)
        self.n_in = sizes[0][1]
        for name, layer in layers.items():
            self.add_module(name, layer)

    def layers(self) -> dict[str, Neuron]:
        """The layers by name, in order."""
        return {name: cast(Neuron, self.get_submodule(name)) for name in self.names}

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Input (B, T, n_in), batch first → logits (B, n_out) and the output (T, B, n) of every layer."""
        if x.ndim != 3 or x.shape[-1] != self.n_in:
            raise ValueError(f"x: got shape {tuple(x.shape)}; expected (batch, time, {self.n_in}), batch first.")
        if 0 in x.shape:
            raise ValueError(f"x: got shape {tuple(x.shape)}; expected at least one sample and one time step.")
        signal = x.transpose(0, 1)
        outputs = {}
        for name, layer in self.layers().items():
            signal = outputs[name] = layer(signal, self.dt)
        return signal.mean(0), outputs


def placement_of(network: nn.Module) -> Placement:
    """Where the elements of a network's parameters sit; a foreign module has no cores and no masks."""
    if not isinstance(network, Network):
        return NOWHERE
    cores, index, masks = {}, {}, {}
    for layer_name, layer in network.layers().items():
        cores[layer_name] = layer.core
        for kind, _ in layer.named_parameters(recurse=False):
            entries = layer.index(kind)
            if entries is not None:
                index[f"{layer_name}.{kind}"] = entries
        for part in ("input", "recurrent"):
            connection = getattr(layer, part)
            if connection is not None:
                masks[f"{layer_name}.{part}.weight"] = connection.mask
    return Placement(cores, index, masks)
