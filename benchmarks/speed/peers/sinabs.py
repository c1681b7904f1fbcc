"""sinabs 3.1: ``LIF``, ``LIFRecurrent`` and ``ExpLeak``, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from sinabs.activation import MembraneSubtract, SingleSpike
from sinabs.layers import LIF, ExpLeak, LIFRecurrent
from torch import Tensor, nn

from ..tool import ImageLayers, TorchTool, image_weights
from ..workloads import DT, TAU_MEM, ImageWorkload, Workload


class Network(nn.Module):
    """The layers of the workload; time is sinabs' own."""

    def __init__(self, work: Workload):
        super().__init__()
        n_in, n_hidden, n_out = work.sizes
        self.fc1, self.fc2 = nn.Linear(n_in, n_hidden, bias=False), nn.Linear(n_hidden, n_out, bias=False)
        spiking = {"spike_fn": SingleSpike, "reset_fn": MembraneSubtract(), "norm_input": True}
        self.lif1: LIF
        self.lif2: LIF
        if work.recurrent:
            self.lif1 = LIFRecurrent(
                tau_mem=torch.ones(n_hidden),
                rec_connect=nn.Linear(n_hidden, n_hidden, bias=False),
                spike_threshold=torch.ones(n_hidden),
                **spiking,
            )
            self.lif1.spike_threshold.requires_grad_()
            self.lif2 = ExpLeak(tau_mem=torch.ones(n_out), norm_input=True)
        else:
            self.lif1 = LIF(tau_mem=1.0, spike_threshold=torch.ones(()), **spiking)
            self.lif2 = LIF(tau_mem=1.0, spike_threshold=torch.ones(()), **spiking)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.lif1, self.lif2):  # sinabs.reset_states passes over LIFRecurrent
            layer.reset_states()
        return self.lif2(self.fc2(self.lif1(self.fc1(x)))).mean(1)


class Images(ImageLayers):
    """The network of convolutions; the layers take all images at once."""

    def __init__(self, work: ImageWorkload):
        super().__init__(work)
        self.lif1, self.lif2, self.lif3 = (
            LIF(
                tau_mem=TAU_MEM / DT,
                spike_threshold=torch.ones(()),
                spike_fn=SingleSpike,
                reset_fn=MembraneSubtract(),
                norm_input=True,
            )
            for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.lif1, self.lif2, self.lif3):
            layer.reset_states()
        sequence = x.shape[:2]
        spikes = self.lif1(self.conv1(x.reshape(-1, *self.image)).unflatten(0, sequence))
        spikes = self.lif2(self.conv2(self.pool(spikes.flatten(0, 1))).unflatten(0, sequence))
        return self.lif3(self.fc(self.pool(spikes.flatten(0, 1)).flatten(1)).unflatten(0, sequence)).mean(1)


class Sinabs(TorchTool):
    """The same neuron but for the reset, which subtracts at once; its threshold learns through the reset alone.
    Surrogate: its default, an exponential."""

    reset = "Subtract"

    convolves = True

    def network(self, work: Workload) -> nn.Module:
        return Images(work) if isinstance(work, ImageWorkload) else Network(work)

    def tensors(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if "conv1.tau_mem" in params:
            return image_weights(params)
        tensors = {
            "fc1.weight": params["hidden.input.weight"],
            "lif1.tau_mem": params["hidden.tau_mem"] / DT,
            "lif1.spike_threshold": params["hidden.v_threshold"],
            "fc2.weight": params["readout.input.weight"],
            "lif2.tau_mem": params["readout.tau_mem"] / DT,
        }
        if "hidden.recurrent.weight" in params:
            tensors["lif1.rec_connect.weight"] = params["hidden.recurrent.weight"]
        return tensors


tool = Sinabs()
