"""snnTorch's neurons over a whole sequence in one fused loop, where there is one that computes what their code does."""

from __future__ import annotations

from typing import Any, cast

import snntorch
import torch
from torch import Tensor, nn

from .. import kernels
from ..dynamics import DelayedSubtract, DelayedToValue, Dynamics, NoReset
from ..dynamics.surrogate import Surrogate
from ..kernels import LifCoefficients
from .plain_loops import has_plain_loop, stepped
from .snntorch_neurons import reset_of, surrogate_of

DENSE = 512  # largest number of neurons whose one-to-one recurrence becomes a matrix in a fused loop
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
RESETS = {
    "subtract": DelayedSubtract(detach=True),
    "zero": DelayedToValue(detach=True),
    "none": NoReset(detach=True),
}
STATES_OF = {
    snntorch.Leaky: ("mem",),
    snntorch.Lapicque: ("mem",),
    snntorch.Synaptic: ("syn", "mem"),
    snntorch.RLeaky: ("spk", "mem"),
    snntorch.RSynaptic: ("spk", "syn", "mem"),
    snntorch.Alpha: ("syn_exc", "syn_inh", "mem"),
}
"""The neurons with a loop, and their states in the order in which their forward takes them."""
_RECURRENCE = ("Linear", "RecurrentOneToOne")  # without and with a one-to-one recurrence V


def is_plain(module: nn.Module) -> bool:
    """True if a module has no hooks and no method of its own in place of one of its class."""
    own = vars(module)
    return not any(own[name] for name in HOOKS) and not any(callable(getattr(type(module), name, None)) for name in own)


def gives_states(neuron: Any) -> bool:
    """Whether a call of a neuron gives its states beside its spikes."""
    return bool(neuron.output or not neuron.init_hidden)


def has_loop(neuron: Any) -> bool:
    """True if :func:`over_time` computes what the code of this neuron computes; see :func:`takes` too."""
    return (
        type(neuron) in STATES_OF
        and is_plain(neuron)
        and getattr(neuron, "reset_delay", True)
        and not neuron.inhibition
        and not neuron.state_quant
        and (_compiles(neuron) or has_plain_loop(neuron))
    )


def _compiles(neuron: Any) -> bool:
    """Whether a compiled loop knows the equations of a neuron.

    It knows no reset to zero but that of ``Leaky``: the others take the input of that step away, too. And it knows no
    threshold below 0, which a neuron at rest is above before its first step.
    """
    recurrent, resets = getattr(neuron, "recurrent", None), ("subtract", "none")
    return (
        type(neuron) is not snntorch.Alpha
        and surrogate_of(neuron) is not None
        and not _below_zero(neuron.threshold)
        and (reset_of(neuron) in resets or (reset_of(neuron) == "zero" and type(neuron) is snntorch.Leaky))
        and (
            recurrent is None or (is_plain(recurrent) and type(recurrent).__name__ == _RECURRENCE[hasattr(neuron, "V")])
        )
    )


def _below_zero(threshold: Tensor) -> bool:
    """Whether any threshold is."""
    try:
        return bool((threshold < 0).any())
    except RuntimeError:  # inside vmap there is no answer; a threshold that deviates is a positive kind
        return False


def takes(neuron: Any, step: Tensor) -> bool:
    """Whether a neuron with a loop takes such an input of one step (B, …) in it."""
    known = step.dtype in (torch.float32, torch.float64) and step.ndim > 1 and step.numel() > 0
    return known and not (hasattr(neuron, "V") and step[0].numel() > DENSE)


def over_time(neuron: Any, current: Tensor, synaptic: bool) -> dict[str, Tensor]:
    """The spikes ``spk`` of a neuron of which :func:`has_loop` is true, and its states, over time; of a neuron with a
    synaptic current ``syn`` perhaps only if that is asked for.

    Shapes: current (T, B, …), as all that is returned.
    """
    return _compiled(neuron, current, synaptic) if _compiles(neuron) else stepped(neuron, current)


def _compiled(neuron: Any, current: Tensor, synaptic: bool) -> dict[str, Tensor]:
    shape, n = current.shape[2:], current[0, 0].numel()

    def flat(value: Tensor) -> Tensor:
        return value.to(current.dtype).expand(shape).reshape(-1)

    def whole(value: Tensor) -> Tensor:
        return value.unflatten(2, shape)

    drive, recurrent, factor = current.flatten(2), None, flat(neuron.graded_spikes_factor)
    if hasattr(neuron, "V"):
        recurrent = torch.diag_embed(flat(neuron.V) * factor)  # what comes back is graded, too
    elif hasattr(neuron, "recurrent"):
        recurrent = neuron.recurrent.weight * factor
        drive = drive if neuron.recurrent.bias is None else drive + neuron.recurrent.bias
    ones = torch.ones(n, dtype=current.dtype, device=current.device)
    if isinstance(neuron, snntorch.Lapicque):
        alpha = flat(1 - neuron.time_step / (neuron.R * neuron.C))
        gain = flat(neuron.R * (1 / (neuron.R * neuron.C)) * neuron.time_step)
    else:
        alpha, gain = flat(neuron.beta.clamp(0, 1)), ones
    decay, syn = flat(neuron.alpha.clamp(0, 1)) if hasattr(neuron, "alpha") else None, None
    if decay is not None and synaptic and recurrent is None:
        drive = syn = kernels.leaky_integrator(drive, decay, ones)
    coefficients = LifCoefficients(alpha, gain, flat(neuron.threshold), decay if syn is None else None)
    dynamics = Dynamics(cast(Surrogate, surrogate_of(neuron)), RESETS[cast(str, reset_of(neuron))])
    z, v = kernels.lif_trace(drive, recurrent, coefficients, dynamics)
    if decay is not None and synaptic and syn is None:
        back = torch.cat([torch.zeros_like(z[:1]), z[:-1]]) @ cast(Tensor, recurrent).T
        syn = kernels.leaky_integrator(drive + back, decay, ones)
    states = {"spk": whole(z) * neuron.graded_spikes_factor, "mem": whole(v)}
    return states if syn is None else states | {"syn": whole(syn)}


def output_of(neuron: Any, states: dict[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
    """What a call of a neuron gives, from its spikes and its states."""
    if not gives_states(neuron):
        return states["spk"]
    return tuple(states[name] for name in dict.fromkeys(("spk", *STATES_OF[type(neuron)])))
