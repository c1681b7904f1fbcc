"""A network: layers of neurons, their inputs, and the length of a time step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from .. import kernels
from .._util.errors import check_input, check_number, flatten_hint, shown, unknown
from ..core.noise import INPUT as INPUT
from ..core.noise import Noise
from ..core.pattern import Pattern
from ..core.placement import Placement
from ..core.placement import placement_of as placement_of
from ..core.turns import turn
from .connections import Connection, Conv1d, Conv2d, called_plainly, convolution_of
from .decoders import Decode, mean_over_time
from .neurons import CubaLeakyIntegrator, LeakyIntegrator, LinearizedDpi, Neuron
from .neurons.neuron import SpikingNeuron, inherits
from .sparse_linear import FUSED

LIF_FAMILY = SpikingNeuron, LeakyIntegrator, CubaLeakyIntegrator


class Network(nn.Module):
    """Layers of neurons; ``decode`` turns the output of the last one into logits.

    Args:
        layers: by name, in the order of computation: each layer after all its inputs.
        dt: length of one time step, s.
        inputs: by layer name, its inputs: an earlier layer, ``"x"`` (the input of the network), or several of these,
            concatenated along the features. By default, a layer takes the previous layer, and the first layer takes
            ``"x"``. Other inputs make skip connections and parallel populations.
        decode: from the last layer's output (T, B, n) to the logits: :func:`mean_over_time`, :func:`max_over_time`,
            :func:`last_step`, :func:`per_step`, or any other function; a network with such a function cannot be saved.

    Raises:
        ValueError: no layers, an input that is no earlier layer, layers of different sizes, or ``dt`` not above 0.
            TypeError: ``decode`` is no function, or a layer no neuron.

    Example:
        >>> hidden = nr.neurons.Lif(nr.nn.Linear(torch.rand(4, 3)), tau_mem=0.02, v_threshold=0.1)
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.rand(2, 4)), tau_mem=0.02)
        >>> network = nr.Network({"hidden": hidden, "readout": readout}, dt=1e-3)
        >>> nr.run(network, nr.nominal(network), torch.ones(5, 30, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        layers: Mapping[str, Neuron],
        dt: float,
        inputs: Mapping[str, str | Sequence[str]] | None = None,
        decode: Decode = mean_over_time,
    ):
        super().__init__()
        _check_layers(layers)
        if not callable(decode):
            raise TypeError(f"decode: got {decode!r}; expected a function of (T, B, n), such as nr.nn.last_step.")
        self.dt = check_number("dt", dt, strict=True)
        self.decode = decode
        self.names = list(layers)
        self.inputs = _sources(self.names, inputs or {})
        self.n_in = _n_in(layers, self.inputs)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def layers(self) -> dict[str, Neuron]:
        """The layers by name, in order."""
        return {name: cast(Neuron, self._modules[name]) for name in self.names}

    def check(self, x: Tensor) -> None:
        """Raise ValueError for an input with a wrong shape, dtype or device."""
        if x.ndim != 3 or x.shape[-1] != self.n_in:
            raise ValueError(
                f"x: got shape {tuple(x.shape)}; expected (batch, time, {self.n_in}), batch first."
                f"{flatten_hint(x.shape, self.n_in, 2)}"
            )
        if 0 in x.shape:
            raise ValueError(f"x: got shape {tuple(x.shape)}; expected at least one sample and one time step.")
        check_input(x, next(self.parameters()))

    def forward(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Input (B, T, n_in), batch first → logits, and by name the output (T, B, n) of every layer."""
        with turn(self):
            return self._forward(x, noise)

    def _forward(self, x: Tensor, noise: Noise | None) -> tuple[Tensor, dict[str, Tensor]]:
        self.check(x)
        signals = {INPUT: x.transpose(0, 1)}
        if noise is not None:
            self._check_noise(noise, signals[INPUT])
        for name, layer in self.layers().items():
            inputs = [
                signals[source] if noise is None else noise.transmitted(source, signals[source])
                for source in self.inputs[name]
            ]
            signal = inputs[0] if len(inputs) == 1 else torch.cat(inputs, -1)
            try:
                signals[name] = layer(signal, self.dt) if noise is None else layer.noisy(name, signal, self.dt, noise)
            except Exception as error:
                error.add_note(f"In layer {name!r}.")
                raise
        del signals[INPUT]
        return self.decode(signals[self.names[-1]]), signals

    def _check_noise(self, noise: Noise, signal: Tensor) -> None:
        layers = self.layers()
        connections = {
            f"{name}.{part}": connection.n_out
            for name, layer in layers.items()
            for part, connection in layer.connections().items()
            if list(connection.masks()) == ["weight"]
        }
        sizes = {name: layer.n for name, layer in layers.items()} | {INPUT: self.n_in}
        noise.check(sizes, connections, (signal.shape[0], signal.shape[1]))
        for name, (sigma, _) in noise.read.items():
            shape = cast(Tensor, self.get_submodule(name).weight).shape
            if sigma.shape != shape or bool((sigma < 0).any()):
                raise ValueError(
                    f"noise.read[{name!r}]: got standard deviations of shape {tuple(sigma.shape)}; expected that of "
                    f"the weight, {tuple(shape)}, all ≥ 0."
                )

    def plan(self) -> list[kernels.Layer] | None:
        """The layers for the compiled loop over dies, at the present parameters; None for an unsupported network.

        Supported are LIF layers with Linear or SparseLinear inputs on the CPU; the last one may be an integrator.
        Hooks and other ``forward`` methods are not supported.
        """
        layers = self.mixed_plan()
        plan = [] if layers is None else [layer for layer in layers if isinstance(layer, kernels.Layer)]
        return plan if layers is not None and len(plan) == len(layers) else None

    def mixed_plan(self) -> list[kernels.AnyLayer] | None:
        """:meth:`plan`, where layers may also be :class:`LinearizedDpi`, or have convolutions."""
        if type(self).forward is not Network.forward or any(map(_hooked, self.modules())):
            return None
        plan = []
        for name, layer in self.layers().items():
            sources = tuple(-1 if source == INPUT else self.names.index(source) for source in self.inputs[name])
            planned = _planned(layer, sources, self.dt)
            if planned is None or (planned.dynamics is None and name != self.names[-1]):
                return None
            plan.append(planned)
        return plan

    def placement(self) -> Placement:
        """The placement of all parameters: cores, index, masks, convolutions, and the equations of every layer."""
        with turn(self):
            return self._placement()

    def _placement(self) -> Placement:
        cores: dict[str, Tensor] = {}
        index: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        patterns: dict[str, Pattern] = {}
        shared: dict[str, Callable[[], Tensor]] = {}
        for name, layer in self.layers().items():
            cores[name] = layer.core
            for kind in layer.population_parameters():
                entries = layer.index(kind)
                if entries is not None:
                    index[f"{name}.{kind}"] = entries
            for part, connection in layer.connections().items():
                masks |= {f"{name}.{part}.{weight}": mask for weight, mask in connection.masks().items()}
                patterns |= {f"{name}.{part}.{weight}": own for weight, own in connection.patterns().items()}
                shared |= {f"{name}.{part}.{own}": make for own, make in connection.convolutions().items()}
        equations = {name: layer.equations() for name, layer in self.layers().items()}
        return Placement(cores, index, masks, convolutions=shared, equations=equations, patterns=patterns)


def _check_layers(layers: object) -> None:
    """Raise for what is no layers by name."""
    if not isinstance(layers, Mapping):
        raise TypeError(
            f"layers: got {shown(layers)}; expected neurons by name, such as {{'hidden': …, 'readout': …}}."
        )
    if not layers:
        raise ValueError("layers: got none; expected at least one named layer.")
    for name, layer in layers.items():
        if not isinstance(name, str) or "." in name or not name:
            raise ValueError(f"layers: got the name {name!r}; expected a text without dots.")
        if not isinstance(layer, Neuron):
            raise TypeError(f"layers[{name!r}]: got {shown(layer)}; expected a neuron of nr.neurons, such as Lif.")


def _planned(layer: Neuron, sources: tuple[int, ...], dt: float) -> kernels.AnyLayer | None:
    """A layer for the compiled loops over dies; None where they have none for it."""
    if isinstance(layer, LinearizedDpi):
        return _floored(layer, sources, dt)
    c, dynamics = layer.coefficients(dt), layer.dynamics()
    own = any(inherits(type(layer), base, "forward", "current", "respond") for base in LIF_FAMILY)
    if c is None or not own or not kernels.compiles(c.alpha, dynamics):
        return None
    if _has_lists(layer.input):
        weight, recurrent = layer.input.synapses(), layer.recurrent_synapses()
        return kernels.Layer(sources, weight, layer.bias(), recurrent, c, dynamics)
    convolution = convolution_of(layer.input)
    if convolution is None or len(sources) > 1 or layer.recurrent is not None:
        return None
    return kernels.WindowLayer(sources, *convolution, layer.bias(), c, dynamics)


def _floored(layer: LinearizedDpi, sources: tuple[int, ...], dt: float) -> kernels.FlooredLayer | None:
    c, dynamics = layer.floored_coefficients(dt), layer.floored_dynamics()
    own = inherits(type(layer), LinearizedDpi, "forward", "currents")
    if not own or not _has_lists(layer.input) or not kernels.compiles_floored(c.alpha, dynamics):
        return None
    return kernels.FlooredLayer(sources, layer.input.synapses(), layer.recurrent_synapses(), c, dynamics)


def _has_lists(connection: Connection) -> bool:
    """Whether its weight is a matrix or lists of synapses: also that of a convolution on a chip without kernels."""
    if isinstance(connection, (Conv1d, Conv2d)):
        return called_plainly(connection, Conv2d.forward) and connection.unrolled()
    return type(connection) in FUSED


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _sources(names: Sequence[str], inputs: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The inputs of each layer, with defaults."""
    if INPUT in names:
        raise ValueError(f"layers: {INPUT!r} is the name of the network's input; rename the layer.")
    for name in inputs:
        if name not in names:
            raise unknown("inputs: layer", name, names)
    result = {}
    for i, name in enumerate(names):
        given = inputs.get(name, names[i - 1] if i else INPUT)
        result[name] = (given,) if isinstance(given, str) else tuple(given)
        if not result[name]:
            raise ValueError(f"inputs[{name!r}]: got none; expected at least one layer, or {INPUT!r}.")
        for source in result[name]:
            if source in names[i:]:
                raise ValueError(
                    f"inputs[{name!r}]: {source!r} is not an earlier layer; order the layers so that each comes after "
                    f"its inputs. For feedback, use the recurrent connection of a layer."
                )
            if source not in (INPUT, *names[:i]):
                raise unknown(f"inputs[{name!r}]", source, (INPUT, *names[:i]))
    used = {source for sources in result.values() for source in sources}
    for name in (INPUT, *names[:-1]):
        if name not in used:
            raise ValueError(f"inputs: no layer takes {name!r}; remove it, or use it in inputs.")
    return result


def _n_in(layers: Mapping[str, Neuron], inputs: Mapping[str, tuple[str, ...]]) -> int:
    """The number of input channels of the network, checked against all layers."""
    n_in: int | None = None
    for name, layer in layers.items():
        sizes = {source: layers[source].n for source in inputs[name] if source != INPUT}
        rest = layer.input.n_in - sum(layers[source].n for source in inputs[name] if source != INPUT)
        times = inputs[name].count(INPUT)
        if times == 0:
            if rest:
                given = " + ".join(f"{source!r} ({n})" for source, n in sizes.items())
                raise ValueError(f"layers[{name!r}]: takes {layer.input.n_in} inputs; got {given}.")
            continue
        if rest <= 0 or rest % times or n_in not in (None, rest // times):
            expected = "at least one channel" if n_in is None else f"{n_in} channels"
            raise ValueError(
                f"layers[{name!r}]: takes {layer.input.n_in} inputs, which leaves {rest} for {INPUT!r}; expected "
                f"{expected}{'' if times == 1 else f', {times} times'}."
            )
        n_in = rest // times
    return cast(int, n_in)
