"""SpikingJelly 2.0: ``LIFNode`` and ``ParametricLIFNode``, layer by layer where there is no recurrence."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from spikingjelly.activation_based import functional as sj
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

from ..tool import CannotError, Run, TorchTool, decay, image_weights
from ..workloads import DT, KERNELS, POOL, TAU_MEM, ImageWorkload, Workload

TAU = 1 / -torch.tensor(-DT / TAU_MEM, dtype=torch.float64).expm1().item()  # steps: 1/τ = 1 − exp(−dt/tau_mem)


class FeedForward(nn.Module):
    """Multi-step mode: every layer takes the whole sequence."""

    def __init__(self, work: Workload):
        super().__init__()
        n_in, n_hidden, n_out = work.sizes
        self.fc1, self.fc2 = nn.Linear(n_in, n_hidden, bias=False), nn.Linear(n_hidden, n_out, bias=False)
        self.lif1 = neuron.LIFNode(tau=TAU, v_reset=None, step_mode="m")
        self.lif2 = neuron.LIFNode(tau=TAU, v_reset=None, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        sj.reset_net(self)
        spikes = self.lif1(self.fc1(x.transpose(0, 1)))
        return self.lif2(self.fc2(spikes)).mean(0)


class Recurrent(nn.Module):
    """Single-step mode for the recurrent layer."""

    def __init__(self, work: Workload):
        super().__init__()
        n_in, n_hidden, n_out = work.sizes
        self.fc1, self.fc2 = nn.Linear(n_in, n_hidden, bias=False), nn.Linear(n_hidden, n_out, bias=False)
        self.rec = nn.Linear(n_hidden, n_hidden, bias=False)
        self.lif1 = neuron.ParametricLIFNode(init_tau=TAU, v_reset=None)
        self.readout = neuron.NonSpikingLIFNode(tau=TAU, decode="mean-mem")

    def forward(self, x: Tensor) -> Tensor:
        sj.reset_net(self.lif1)
        spk, record = x.new_zeros(len(x), self.fc1.out_features), []
        for current in self.fc1(x.transpose(0, 1)):
            spk = self.lif1(current + self.rec(spk))
            record.append(spk)
        return self.readout(self.fc2(torch.stack(record)))


class Images(nn.Module):
    """Multi-step mode, by its own layers."""

    def __init__(self, work: ImageWorkload):
        super().__init__()
        self.image, (first, _, second, third) = work.image, work.shapes
        self.conv1 = layer.Conv2d(work.image[0], first[0], KERNELS[0], bias=False, step_mode="m")
        self.conv2 = layer.Conv2d(first[0], second[0], KERNELS[1], bias=False, step_mode="m")
        self.pool = layer.AvgPool2d(POOL, step_mode="m")
        self.fc = layer.Linear(math.prod(third), work.sizes[2], bias=False, step_mode="m")
        self.lif1, self.lif2, self.lif3 = (neuron.LIFNode(tau=TAU, v_reset=None, step_mode="m") for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        sj.reset_net(self)
        spikes = self.lif1(self.conv1(x.transpose(0, 1).unflatten(2, self.image)))
        spikes = self.lif2(self.conv2(self.pool(spikes)))
        return self.lif3(self.fc(self.pool(spikes).flatten(2))).mean(0)


class SpikingJelly(TorchTool):
    """The same neuron but for the reset, which subtracts at once. It can learn one time constant per layer: none
    per neuron, no threshold, none in the read-out. Surrogate: its default, a sigmoid."""

    reset = "Subtract"
    convolves = True

    def network(self, work: Workload) -> nn.Module:
        if isinstance(work, ImageWorkload):
            return Images(work)
        return Recurrent(work) if work.recurrent else FeedForward(work)

    def tensors(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if "conv1.tau_mem" in params:
            return image_weights(params)
        tensors = {"fc1.weight": params["hidden.input.weight"], "fc2.weight": params["readout.input.weight"]}
        if "hidden.recurrent.weight" in params:
            tensors["rec.weight"] = params["hidden.recurrent.weight"]
            tensors["lif1.w"] = (1 - decay(params["hidden.tau_mem"], DT)).logit().mean()
        return tensors

    def adversarial_step(self, work: Workload) -> Run:
        raise CannotError("its thresholds are not parameters, and it has one time constant per layer")

    def fleet(self, work: Workload) -> Run:
        raise CannotError("it has one threshold and one time constant per layer; a die has one per neuron")


tool = SpikingJelly()
