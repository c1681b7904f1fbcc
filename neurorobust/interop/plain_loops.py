"""snnTorch's neurons over a whole sequence in plain torch, where there is no compiled loop.

snnTorch detaches the spikes that reset a membrane. So the loop over time needs no surrogate, and all spikes come from
all membranes in one call after it; what does not depend on the step is computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch
import torch
from torch import Tensor

from .snntorch_neurons import by_number, reset_of

Advance = Callable[[dict[str, Tensor], Tensor, Tensor], dict[str, Tensor]]
"""From the states, the spikes that reset, and the input of a step to the next states."""

NEURONS = (snntorch.Leaky, snntorch.Synaptic, snntorch.Lapicque, snntorch.Alpha)


def has_plain_loop(neuron: Any) -> bool:
    """True if :func:`stepped` computes what the code of this neuron computes; its other options are not looked at."""
    return type(neuron) in NEURONS and reset_of(neuron) is not None and by_number(neuron.spike_grad)


def stepped(neuron: Any, current: Tensor) -> dict[str, Tensor]:
    """The spikes ``spk`` of a neuron and its states, by name, over time; all (T, B, …) as the current."""
    advance, names = _advance(neuron), [name for name in ("syn", "syn_exc", "syn_inh") if hasattr(neuron, name)]
    states = dict.fromkeys([*names, "mem"], torch.zeros_like(current[0]))
    trace = []
    for step in current.unbind(0):
        reset = (states["mem"].detach() - neuron.threshold.detach() > 0).to(step.dtype)
        states = advance(states, reset, step)
        trace.append(states)
    found = {name: torch.stack([states[name] for states in trace]) for name in states}
    return {"spk": neuron.spike_grad(found["mem"] - neuron.threshold) * neuron.graded_spikes_factor, **found}


def _advance(neuron: Any) -> Advance:
    reset = reset_of(neuron)
    if isinstance(neuron, snntorch.Alpha):
        return _alpha(neuron, reset)
    if isinstance(neuron, snntorch.Lapicque):
        decay = 1 - neuron.time_step / (neuron.R * neuron.C)
        gain = neuron.R * (1 / (neuron.R * neuron.C)) * neuron.time_step
    else:
        decay, gain = neuron.beta.clamp(0, 1), None
    synaptic = neuron.alpha.clamp(0, 1) if hasattr(neuron, "alpha") else None
    keeps_input = reset == "zero" and type(neuron) is snntorch.Leaky  # a reset of the others takes it away, too

    def advance(states: dict[str, Tensor], spikes: Tensor, step: Tensor) -> dict[str, Tensor]:
        mem, drive, now = states["mem"], step if gain is None else gain * step, {}
        if synaptic is not None:
            drive = now["syn"] = synaptic * states["syn"] + drive
        if keeps_input:
            mem = (1 - spikes) * mem
        mem = decay * mem + drive
        if reset == "subtract":
            mem = mem - spikes * neuron.threshold
        elif reset == "zero" and not keeps_input:
            mem = (1 - spikes) * mem
        return {**now, "mem": mem}

    return advance


def _alpha(neuron: Any, reset: str | None) -> Advance:
    """mem = tau · (syn_exc + syn_inh), tau = ln α/(ln β − ln α) + 1; the resets are snnTorch's."""
    alpha, beta = neuron.alpha.clamp(0, 1), neuron.beta.clamp(0, 1)
    tau = torch.log(alpha) / (torch.log(beta) - torch.log(alpha)) + 1

    def advance(states: dict[str, Tensor], spikes: Tensor, step: Tensor) -> dict[str, Tensor]:
        before = states["syn_inh"]
        exc, inh = alpha * states["syn_exc"] + step, beta * before - step
        mem = tau * (exc + inh)
        if reset == "subtract":
            exc, inh, mem = exc - spikes * neuron.threshold, inh * (1 - spikes), mem + before * spikes
        elif reset == "zero":
            kept = 1 - spikes
            exc, inh, mem = exc * kept, inh * kept, mem * kept
        return {"syn_exc": exc, "syn_inh": inh, "mem": mem}

    return advance
