"""snnTorch 1.0: ``Leaky`` and ``RLeaky``, states passed by hand, as in its tutorials."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn

from ..tool import ImageLayers, TorchTool, decay, image_weights, unit_gain
from ..workloads import DT, ImageWorkload, Workload


class Network(nn.Module):
    """The layers of the workload and the loop over time around them."""

    def __init__(self, work: Workload, spike_grad: Callable[[Tensor], Tensor]):
        super().__init__()
        n_in, n_hidden, n_out = work.sizes
        self.recurrent = work.recurrent
        self.fc1, self.fc2 = nn.Linear(n_in, n_hidden, bias=False), nn.Linear(n_hidden, n_out, bias=False)
        if work.recurrent:
            self.lif1 = snn.RLeaky(
                beta=torch.zeros(n_hidden),
                threshold=torch.ones(n_hidden),
                linear_features=n_hidden,
                learn_beta=True,
                learn_threshold=True,
                spike_grad=spike_grad,
            )
            self.lif1.recurrent = nn.Linear(n_hidden, n_hidden, bias=False)
            self.lif2 = snn.Leaky(
                beta=torch.zeros(n_out), learn_beta=True, reset_mechanism="none", spike_grad=spike_grad
            )
        else:
            self.lif1 = snn.Leaky(beta=0.0, spike_grad=spike_grad)
            self.lif2 = snn.Leaky(beta=0.0, spike_grad=spike_grad)

    def forward(self, x: Tensor) -> Tensor:
        shape = len(x), self.fc1.out_features
        spk = mem1 = x.new_zeros(shape)
        mem2 = x.new_zeros(len(x), self.fc2.out_features)
        record = []
        for step in x.transpose(0, 1):
            current = self.fc1(step)
            spk, mem1 = self.lif1(current, spk, mem1) if self.recurrent else self.lif1(current, mem1)
            out, mem2 = self.lif2(self.fc2(spk), mem2)
            record.append(mem2 if self.recurrent else out)
        return torch.stack(record).mean(0)


class Images(ImageLayers):
    """The network of convolutions and the loop over time around it."""

    def __init__(self, work: ImageWorkload, spike_grad: Callable[[Tensor], Tensor]):
        super().__init__(work)
        self.lif1, self.lif2, self.lif3 = (snn.Leaky(beta=0.0, spike_grad=spike_grad) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        mem1 = mem2 = mem3 = x.new_zeros(())
        record = []
        for step in x.transpose(0, 1):
            spk1, mem1 = self.lif1(self.conv1(step.unflatten(1, self.image)), mem1)
            spk2, mem2 = self.lif2(self.conv2(self.pool(spk1)), mem2)
            spk3, mem3 = self.lif3(self.fc(self.pool(spk2).flatten(1)), mem3)
            record.append(spk3)
        return torch.stack(record).mean(0)


class Snntorch(TorchTool):
    """The same neuron: the threshold is subtracted one step later (without a gradient); β for τ, and the factor 1 − β
    in the weights. Surrogate: ``fast_sigmoid``, of its tutorials."""

    reset = "DelayedSubtract"

    convolves = True

    def network(self, work: Workload) -> nn.Module:
        spike_grad = surrogate.fast_sigmoid()
        return Images(work, spike_grad) if isinstance(work, ImageWorkload) else Network(work, spike_grad)

    def tensors(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        folded = unit_gain(params, DT)
        if "conv1.tau_mem" in params:
            layers = {"lif1": "conv1", "lif2": "conv2", "lif3": "readout"}
            betas = {f"{own}.beta": decay(params[f"{layer}.tau_mem"], DT) for own, layer in layers.items()}
            return image_weights(folded) | betas
        tensors = {
            "fc1.weight": folded["hidden.input.weight"],
            "lif1.beta": decay(params["hidden.tau_mem"], DT),
            "lif1.threshold": params["hidden.v_threshold"],
            "fc2.weight": folded["readout.input.weight"],
            "lif2.beta": decay(params["readout.tau_mem"], DT),
        }
        if "hidden.recurrent.weight" in params:
            tensors["lif1.recurrent.weight"] = folded["hidden.recurrent.weight"]
        return tensors


tool = Snntorch()
