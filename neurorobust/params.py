"""Parameters, their kinds, and the one function that applies deviations to them.

A chip is a set of deviations from the network that was programmed. Mismatch draws deviations, an attack
searches for them, and :func:`apply` is the only place that knows what a deviation does to each kind:

==========  ==================================================================  =================
family      kinds                                                               deviated value
==========  ==================================================================  =================
signed      weight, bias                                                        θ + abs(θ) · δ
absolute    v_leak, v_reset (nominal may be 0; δ in the parameter's own unit)   θ + δ
positive    tau_mem, tau_syn, tau_adapt, adaptation, v_threshold, r, t_ref      θ · exp(δ)
digital     digital: a number that is computed exactly, off the analog array    θ, always
==========  ==================================================================  =================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, overload

import torch
from torch import Tensor, nn

from .errors import check_finite, check_positive, unknown
from .noise import Noise

Params = dict[str, Tensor]
Deviations = dict[str, Tensor]

SIGNED = frozenset({"weight", "bias"})
ABSOLUTE = frozenset({"v_leak", "v_reset"})
POSITIVE = frozenset({"tau_mem", "tau_syn", "tau_adapt", "adaptation", "v_threshold", "r", "t_ref"})
ABOVE_ZERO = POSITIVE - {"adaptation"}  # adaptation may be 0: a threshold that stays
DIGITAL = frozenset({"digital"})
KINDS = SIGNED | ABSOLUTE | POSITIVE


def kind_of(name: str) -> str:
    """The kind of a parameter: the last segment of its name (``hidden.tau_mem`` → ``tau_mem``)."""
    kind = name.rsplit(".", 1)[-1]
    if kind not in KINDS | DIGITAL:
        raise unknown(f"kind of parameter {name!r}", kind, KINDS | DIGITAL)
    return kind


@dataclass(frozen=True)
class Placement:
    """Where every element of every parameter sits.

    Attributes:
        cores: core of each neuron, by layer, shape (n,); ``HOST`` where a layer is computed off the chip.
        index: for a parameter that is set once per core (or layer) but deviates on every neuron,
            the entry of the nominal tensor that each neuron reads, shape (n,).
        masks: connectivity of each weight, True where a synapse exists.
        feeds: the layer whose neurons a module's synapses end on, where its name does not say so (``{"0": "1"}``).
        kernels: for a parameter that all positions of a convolution share, what makes the ``index`` with which every
            neuron has synapses of its own: the entry of the kernel each reads, (n, n_in), −1 where there is none.
    """

    cores: Mapping[str, Tensor] = field(default_factory=dict)
    index: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    feeds: Mapping[str, str] = field(default_factory=dict)
    kernels: Mapping[str, Callable[[], Tensor]] = field(default_factory=dict)

    def layer(self, name: str) -> str | None:
        """The placed layer a parameter belongs to: the longest leading part of its name that is one or feeds one."""
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            module = ".".join(parts[:end])
            module = self.feeds.get(module, module)
            if module in self.cores:
                return module
        return None

    def core(self, name: str) -> Tensor | None:
        """The core of each neuron a parameter belongs to, shape (n,); None where its layer is not placed."""
        layer = self.layer(name)
        return None if layer is None else self.cores[layer]


HOST = -1
NOWHERE = Placement()


def nominal(network: nn.Module) -> Params:
    """The parameters of a network as they were trained or set: a detached copy, SI units.

    Returns:
        ``{name: tensor}``; a value set once per core keeps its one entry per core here.
    """
    params = {name: value.detach().clone() for name, value in network.named_parameters()}
    for name in params:
        kind_of(name)
    return params


def check_values(params: Mapping[str, Tensor]) -> None:
    """Raise ValueError naming the first parameter that is not finite, or not positive where its kind has to be."""
    check_finite(params)
    for name, value in params.items():
        kind = kind_of(name)
        if kind == "adaptation" and value.numel() and value.min() < 0:
            raise ValueError(f"{name}: smallest value is {value.min().item():g}; expected values ≥ 0.")
        if kind in ABOVE_ZERO:
            check_positive(name, value)


def expand(params: Mapping[str, Tensor], placement: Placement) -> Params:
    """One value per neuron or synapse: what was set once per core is copied to each of its neurons; what has one value
    per neuron already stays as it is, so a die can deviate again."""
    return {
        name: unrolled(value, placement.index[name])
        if name in placement.index and value.shape != placement.index[name].shape
        else value
        for name, value in params.items()
    }


def unrolled(value: Tensor, index: Tensor) -> Tensor:
    """The entries of a tensor that an index names; 0 where it is −1."""
    read = value.reshape(-1)[index.clamp(min=0)]
    return read if index.ndim < 2 else read * (index >= 0)


def apply(params: Mapping[str, Tensor], deviations: Mapping[str, Tensor], placement: Placement = NOWHERE) -> Params:
    """The parameters of one die: nominal values moved by its deviations.

    Signed kinds θ + abs(θ)·δ, absolute kinds θ + δ, positive kinds θ·exp(δ). Differentiable in both arguments;
    with δ held constant the derivative in θ is the paper's Jacobian 1 + sign(θ)·δ (arXiv 2106.05009).

    Args:
        params: nominal values, shape of the parameter (or one per core where the placement says so).
        deviations: by parameter name, expanded shape; a parameter without an entry does not deviate. A kernel deviates
            as one, or, where they are of the shape (n, n_in), every synapse of its neurons by itself.
        placement: expands what is set once per core.

    Raises:
        ValueError: a deviation names no parameter, or has the wrong shape.
    """
    for name in deviations:
        if name not in params:
            raise unknown("deviations: parameter", name, params)
    result = expand(params, placement)
    for name, delta in deviations.items():
        value = result[name]
        if name in placement.kernels and delta.shape[-value.ndim :] != value.shape:
            value = unrolled(value, placement.kernels[name]())
        if delta.shape[-value.ndim :] != value.shape and value.ndim:
            raise ValueError(
                f"deviations[{name!r}]: got shape {tuple(delta.shape)}; expected {tuple(value.shape)}, "
                f"one deviation for every element."
            )
        kind = kind_of(name)
        if kind in DIGITAL:
            raise ValueError(f"deviations[{name!r}]: a digital number does not deviate; leave it out.")
        if kind in SIGNED:
            result[name] = value + value.abs() * delta
        elif kind in ABSOLUTE:
            result[name] = value + delta
        else:
            result[name] = value * delta.exp()
    return result


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Every part of a network in ``eval`` mode for a while, then each in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def forward(
    network: nn.Module,
    params: Mapping[str, Tensor],
    x: Tensor,
    *,
    update_buffers: bool = False,
    noise: Noise | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and spikes at the given parameters, without :func:`run`'s checks: for inner loops.

    With ``update_buffers`` a module in ``train`` mode may change its buffers (a batch norm's running mean); without,
    they are as they were. A network with ``slots``, ``{parameter: every place its tensor is used}``, holds a foreign
    module.
    """
    values = dict(network.named_buffers())
    if not update_buffers:
        values = {name: value.clone() for name, value in values.items()}
    values |= params
    slots = getattr(network, "slots", None)
    if noise is not None:
        if not hasattr(network, "layers"):
            raise TypeError(
                f"noise: {type(network).__name__} holds a foreign module, whose layers take none; expected a Network."
            )
        return torch.func.functional_call(network, values, (x, noise), strict=True)
    if slots is None:
        return torch.func.functional_call(network, values, (x,), strict=True)
    # Not torch's own tie_weights: it leaves other weights behind in a module that is used twice (torch 2.13).
    values = {slot: value for name, value in values.items() for slot in slots.get(name, (name,))}
    return torch.func.functional_call(network, values, (x,), tie_weights=False)


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
    """Run a network at the given parameters, which need not be its own.

    Args:
        network: a :class:`neurorobust.Network`.
        params: every parameter of the network, nominal or deviated (see :func:`apply`).
        x: input, batch first: (B, T, n_in) for a spiking network, whatever a wrapped module takes.
        record: also return what the layers put out.
        noise: tensors of :class:`neurorobust.noise.Noise`, new in every time step.

    Returns:
        Logits of shape (B, n_classes); with ``record`` the pair (logits, {layer: spikes of shape (B, T, n)}), which is
        empty for a wrapped module.

    Raises:
        ValueError: an unknown, missing or non-finite parameter, an input or noise of the wrong shape.
        TypeError: noise for a foreign module, or for neurons that take none.
    """
    expected = dict(network.named_parameters())
    for name in params:
        if name not in expected:
            raise unknown("params: parameter", name, expected)
    missing = [name for name in expected if name not in params]
    if missing:
        raise ValueError(f"params: {', '.join(missing)} missing; start from nr.nominal(network), which has them all.")
    check_values(params)
    check_finite({"x": x})
    logits, spikes = forward(network, params, x, noise=noise)
    if record:
        return logits, {name: value.transpose(0, 1) for name, value in spikes.items()}
    return logits
