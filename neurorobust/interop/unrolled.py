"""An snnTorch network over a whole sequence: layer by layer if it is an ``nn.Sequential``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import snntorch
import torch
from torch import Tensor, nn

from .. import kernels
from ..dynamics import DelayedSubtract, DelayedToValue, Dynamics, NoReset
from ..kernels import LifCoefficients
from .decode import Output
from .snntorch_neurons import surrogate_of

# Layers that compute each sample of a batch independently: all time steps go through in one call.
SAMPLEWISE = (
    nn.Linear,
    nn.Identity,
    nn.Flatten,
    nn.ReLU,
    nn.Dropout,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
)
DENSE = 512  # largest number of neurons whose one-to-one recurrence becomes a matrix in a fused loop
RESETS = {
    "subtract": DelayedSubtract(detach=True),
    "zero": DelayedToValue(detach=True),
    "none": NoReset(detach=True),
}


class Unrolled(nn.Module):
    """The network over time, from rest: input (T, B, …), output stacked over time, and the spikes of every neuron.

    An ``nn.Sequential`` has no feedback from a later layer to an earlier one, so each layer computes the whole sequence
    before the next one starts. Any other module runs its own loop over time.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Output, dict[str, Tensor]]:
        spikes: dict[str, Tensor] = {}
        if is_row(self.net):
            return _row(self.net, x, "", spikes), spikes
        return _recorded(lambda: self.net(x), self.net, "", spikes), spikes


def is_row(net: nn.Module) -> bool:
    """True for an ``nn.Sequential`` with torch's ``forward``."""
    return isinstance(net, nn.Sequential) and type(net).forward is nn.Sequential.forward


def _recorded(run: Callable[[], Output], module: nn.Module, prefix: str, spikes: dict[str, Tensor]) -> Output:
    """Run a function and record the spikes of every neuron of a module, stacked over its calls."""
    steps: dict[str, list[Tensor]] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple, Output], None]:
        def record(neuron: nn.Module, inputs: tuple, output: Output) -> None:
            steps.setdefault(name, []).append(output if isinstance(output, Tensor) else output[0])

        return record

    hooks = [
        part.register_forward_hook(recorder(f"{prefix}{name}"))
        for name, part in module.named_modules()
        if isinstance(part, snntorch.SpikingNeuron)
    ]
    try:
        output = run()
    finally:
        for hook in hooks:
            hook.remove()
    spikes |= {name: torch.stack(several) for name, several in steps.items()}
    return output


def _row(row: nn.Module, signal: Output, prefix: str, spikes: dict[str, Tensor]) -> Output:
    for name, layer in row.named_modules(remove_duplicate=False):  # a layer may occur twice
        if not name or "." in name:  # the Sequential, and parts of its layers
            continue
        if not isinstance(signal, Tensor):
            raise ValueError(
                f"net: the layer before {prefix + name!r} gives {len(signal)} tensors; only the last neuron "
                f"may have output=True, and each needs init_hidden=True."
            )
        if is_row(layer):
            signal = _row(layer, signal, f"{prefix}{name}.", spikes)
        elif isinstance(layer, snntorch.SpikingNeuron):
            signal = _neuron(layer, signal)
            spikes[prefix + name] = signal if isinstance(signal, Tensor) else signal[0]
        elif isinstance(layer, SAMPLEWISE) and type(layer).__module__.startswith("torch.nn.modules."):
            signal = layer(signal.flatten(0, 1)).unflatten(0, signal.shape[:2])
        else:
            signal = _recorded(partial(_steps, layer, signal), layer, f"{prefix}{name}.", spikes)
    return signal


def _steps(layer: nn.Module, signal: Tensor) -> Output:
    outputs = [layer(step) for step in signal]
    if isinstance(outputs[0], Tensor):
        return torch.stack(outputs)
    return tuple(torch.stack(several) for several in zip(*outputs))


def _neuron(neuron: Any, current: Tensor) -> Output:
    """A neuron over time: in one fused loop if there is one for it, else step by step."""
    surrogate = surrogate_of(neuron)
    fuses = (
        type(neuron) in (snntorch.Leaky, snntorch.RLeaky, snntorch.Synaptic, snntorch.RSynaptic)
        and (neuron.reset_mechanism != "zero" or type(neuron) is snntorch.Leaky)
        and neuron.reset_delay
        and not neuron.inhibition
        and not neuron.state_quant
        and not (hasattr(neuron, "V") and current[0, 0].numel() > DENSE)
        and (not hasattr(neuron, "recurrent") or hasattr(neuron, "V") or isinstance(neuron.recurrent, nn.Linear))
    )
    wants_more = neuron.output or not neuron.init_hidden
    if (
        surrogate is None or not fuses or (wants_more and hasattr(neuron, "alpha"))
    ):  # the synaptic current is not recorded
        return _steps(neuron, current)
    shape, n = current.shape, current[0, 0].numel()
    current, recurrent = current.flatten(2), None
    if hasattr(neuron, "V"):
        recurrent = torch.diag_embed(_flat(neuron.V, shape[2:]))
    elif hasattr(neuron, "recurrent"):
        recurrent = neuron.recurrent.weight
        current = current if neuron.recurrent.bias is None else current + neuron.recurrent.bias
    alpha = _flat(neuron.beta.clamp(0, 1), shape[2:])
    coefficients = LifCoefficients(
        alpha=alpha,
        gain=torch.ones(n, dtype=alpha.dtype, device=alpha.device),
        v_threshold=_flat(neuron.threshold, shape[2:]),
        syn=_flat(neuron.alpha.clamp(0, 1), shape[2:]) if hasattr(neuron, "alpha") else None,
    )
    z, v = kernels.lif_trace(current, recurrent, coefficients, Dynamics(surrogate, RESETS[neuron.reset_mechanism]))
    z = z.unflatten(2, shape[2:]) * neuron.graded_spikes_factor
    return (z, v.unflatten(2, shape[2:])) if wants_more else z


def _flat(value: Tensor, shape: torch.Size) -> Tensor:
    return value.expand(shape).reshape(-1)
