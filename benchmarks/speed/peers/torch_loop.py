"""Plain torch, written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..tool import TorchTool, decay
from ..workloads import DT, POOL, ImageWorkload, Workload


class Spike(torch.autograd.Function):
    """A step whose surrogate derivative is the paper's triangle, 0.3 · max(0, 1 − abs(u))."""

    @staticmethod
    def forward(u: Tensor) -> Tensor:
        return (u > 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return gradient * 0.3 * (1 - u.abs()).clamp(min=0)


def lif(current: Tensor, recurrent: Tensor | None, tau: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and membrane (T, B, n) of v ← α v − z ϑ + (1 − α) I, z = v > ϑ."""
    z = v = torch.zeros_like(current[0])
    spikes, trace = [], []
    for step in current:
        v, z = lif_step(step, recurrent, (v, z), decay(tau, DT), threshold)
        spikes.append(z)
        trace.append(v)
    return torch.stack(spikes), torch.stack(trace)


def lif_step(
    current: Tensor, recurrent: Tensor | None, state: tuple[Tensor, Tensor], alpha: Tensor, threshold: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of :func:`lif`."""
    v, z = state
    drive = current if recurrent is None else current + z @ recurrent.T
    v = alpha * v - z * threshold + (1 - alpha) * drive
    return v, Spike.apply(v / threshold - 1)


def integrate(current: Tensor, tau: Tensor) -> Tensor:
    """v ← α v + (1 − α) I, (T, B, n)."""
    v, trace, alpha = torch.zeros_like(current[0]), [], decay(tau, DT)
    for step in current:
        v = alpha * v + (1 - alpha) * step
        trace.append(v)
    return torch.stack(trace)


class Network(nn.Module):
    """The workload's network; its parameters are named like ours, with ``_`` for the dots."""

    def __init__(self, work: Workload, hidden: Callable[..., tuple[Tensor, Tensor]] = lif):
        super().__init__()
        self.recurrent = work.recurrent
        self.hidden = hidden
        for name, value in work.params.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(value.clone()))

    def forward(self, x: Tensor) -> Tensor:
        p = dict(self.named_parameters())
        current = x.transpose(0, 1) @ p["hidden_input_weight"].T
        spikes, _ = self.hidden(current, p.get("hidden_recurrent_weight"), p["hidden_tau_mem"], p["hidden_v_threshold"])
        current = spikes @ p["readout_input_weight"].T
        if self.recurrent:
            return integrate(current, p["readout_tau_mem"]).mean(0)
        return self.hidden(current, None, p["readout_tau_mem"], p["readout_v_threshold"])[0].mean(0)


class Images(nn.Module):
    """The network of convolutions; the layers take all images at once."""

    def __init__(self, work: ImageWorkload):
        super().__init__()
        self.shapes, self.image = work.shapes, work.image
        for name, value in work.params.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(value.clone()))

    def forward(self, x: Tensor) -> Tensor:
        p = dict(self.named_parameters())
        shape, image = (x.shape[1], x.shape[0], -1), x.transpose(0, 1).reshape(-1, *self.image)

        def spikes(layer: str, current: Tensor) -> Tensor:
            return lif(current.reshape(shape), None, p[f"{layer}_tau_mem"], p[f"{layer}_v_threshold"])[0]

        def pooled(spikes: Tensor, shape: tuple[int, int, int]) -> Tensor:
            return functional.avg_pool2d(spikes.reshape(-1, *shape), POOL)

        first = spikes("conv1", functional.conv2d(image, p["conv1_input_weight"]))
        second = functional.conv2d(pooled(first, self.shapes[0]), p["conv2_input_1_weight"])
        third = pooled(spikes("conv2", second), self.shapes[2]).flatten(1) @ p["readout_input_1_weight"].T
        return spikes("readout", third).mean(0)


class TorchLoop(TorchTool):
    """Our equations and surrogate: a matrix product for the input of all steps, a loop over time for the rest."""

    reset = "DelayedSubtract"
    convolves = True

    def network(self, work: Workload) -> nn.Module:
        return Images(work) if isinstance(work, ImageWorkload) else Network(work)

    def tensors(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name.replace(".", "_"): value for name, value in params.items()}


tool = TorchLoop()
