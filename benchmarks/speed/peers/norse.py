"""norse 1.1: its functional neurons without a synaptic current (``lif_box``), in a loop over time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from norse.torch.functional.leaky_integrator_box import LIBoxParameters, LIBoxState, li_box_feed_forward_step
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step
from norse.torch.functional.reset import reset_subtract
from torch import Tensor, nn

from ..tool import ImageLayers, TorchTool, decay, image_weights
from ..workloads import DT, TAU_MEM, ImageWorkload, Workload


class Network(nn.Module):
    """The layers of the workload and the loop over time around them."""

    def __init__(self, work: Workload):
        super().__init__()
        n_in, n_hidden, n_out = work.sizes
        self.fc1, self.fc2 = nn.Linear(n_in, n_hidden, bias=False), nn.Linear(n_hidden, n_out, bias=False)
        self.rec = nn.Linear(n_hidden, n_hidden, bias=False) if work.recurrent else None
        self.tau1 = nn.Parameter(torch.ones(n_hidden if work.recurrent else ()))
        self.th1 = nn.Parameter(torch.ones_like(self.tau1))
        self.tau2 = nn.Parameter(torch.ones(n_out if work.recurrent else ()))

    def forward(self, x: Tensor) -> Tensor:
        zero = torch.zeros(())
        p1 = LIFBoxParameters(tau_mem_inv=self.tau1, v_th=self.th1, reset_method=reset_subtract)
        p2 = LIFBoxParameters(tau_mem_inv=self.tau2, reset_method=reset_subtract)
        leaky = LIBoxParameters(tau_mem_inv=self.tau2)
        state1, spk = LIFBoxFeedForwardState(v=zero), x.new_zeros(len(x), self.fc1.out_features)
        state2, readout = LIFBoxFeedForwardState(v=zero), LIBoxState(v=zero)
        record = []
        for current in self.fc1(x.transpose(0, 1)):
            drive = current if self.rec is None else current + self.rec(spk)
            spk, state1 = lif_box_feed_forward_step(drive, state1, p1, DT)
            if self.rec is None:
                out, state2 = lif_box_feed_forward_step(self.fc2(spk), state2, p2, DT)
            else:
                out, readout = li_box_feed_forward_step(self.fc2(spk), readout, leaky, DT)
            record.append(out)
        return torch.stack(record).mean(0)


class Images(ImageLayers):
    """The network of convolutions and the loop over time around it."""

    def forward(self, x: Tensor) -> Tensor:
        rate = (1 - decay(torch.tensor(TAU_MEM), DT)) / DT
        p = LIFBoxParameters(tau_mem_inv=rate, reset_method=reset_subtract)
        state1 = state2 = state3 = LIFBoxFeedForwardState(v=torch.zeros(()))
        record = []
        for step in x.transpose(0, 1):
            spk, state1 = lif_box_feed_forward_step(self.conv1(step.unflatten(1, self.image)), state1, p, DT)
            spk, state2 = lif_box_feed_forward_step(self.conv2(self.pool(spk)), state2, p, DT)
            spk, state3 = lif_box_feed_forward_step(self.fc(self.pool(spk).flatten(1)), state3, p, DT)
            record.append(spk)
        return torch.stack(record).mean(0)


class Norse(TorchTool):
    """The same neuron but for the reset, which subtracts at once: v ← v + dt/τ' (I − v) with dt/τ' = 1 − exp(−dt/τ).
    Surrogate: its default, SuperSpike."""

    reset = "Subtract"

    convolves = True

    def network(self, work: Workload) -> nn.Module:
        return Images(work) if isinstance(work, ImageWorkload) else Network(work)

    def tensors(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if "conv1.tau_mem" in params:
            return image_weights(params)
        tensors = {
            "fc1.weight": params["hidden.input.weight"],
            "tau1": (1 - decay(params["hidden.tau_mem"], DT)) / DT,
            "th1": params["hidden.v_threshold"],
            "fc2.weight": params["readout.input.weight"],
            "tau2": (1 - decay(params["readout.tau_mem"], DT)) / DT,
        }
        if "hidden.recurrent.weight" in params:
            tensors["rec.weight"] = params["hidden.recurrent.weight"]
        return tensors


tool = Norse()
