"""Rockpool 3.1, torch: ``LinearTorch``, ``LIFTorch`` and ``ExpSynTorch`` in a ``Sequential``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules.torch import ExpSynTorch, LIFTorch, LinearTorch
from rockpool.parameters import Constant
from torch import Tensor, nn

from ..tool import TorchTool, decay, unit_gain
from ..workloads import DT, Workload

TAU_SYN = DT / 17  # s: what is left of a synaptic current after a step, 4e-8, is lost in float32
REST = float(torch.exp(torch.tensor(-DT / TAU_SYN)))  # what a synaptic current enters with, made up for in the weights


class Network(nn.Module):
    """The layers of the workload; time is rockpool's own."""

    def __init__(self, work: Workload):
        super().__init__()
        n_in, n_hidden, n_out = work.sizes
        spiking = {
            "tau_syn": Constant(TAU_SYN),
            "bias": Constant(0.0),
            "max_spikes_per_dt": torch.tensor(1.0),
            "dt": DT,
        }
        tau = torch.ones(n_hidden) if work.recurrent else torch.ones(())
        hidden = LIFTorch(n_hidden, tau_mem=tau, threshold=tau.clone(), has_rec=work.recurrent, **spiking)
        readout = (
            ExpSynTorch(n_out, tau=torch.ones(n_out), dt=DT)
            if work.recurrent
            else LIFTorch(n_out, tau_mem=torch.ones(()), threshold=torch.ones(()), **spiking)
        )
        self.net = Sequential(
            LinearTorch((n_in, n_hidden), has_bias=False),
            hidden,
            LinearTorch((n_hidden, n_out), has_bias=False),
            readout,
        )

    def forward(self, x: Tensor) -> Tensor:
        self.net.reset_state()
        return self.net(x)[0].mean(1)


class Rockpool(TorchTool):
    """The same neuron but for the reset, which subtracts at once, and a synapse that every neuron has: with a time
    constant of a seventeenth of a step its current is gone one step later. Surrogate: its default, piecewise linear."""

    reset = "Subtract"

    def network(self, work: Workload) -> nn.Module:
        return Network(work)

    def tensors(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        folded, readout = unit_gain(params, DT), "net.3_LIFTorch"
        tensors = {
            "net.0_LinearTorch.weight": folded["hidden.input.weight"].T / REST,
            "net.1_LIFTorch.tau_mem": params["hidden.tau_mem"],
            "net.1_LIFTorch.threshold": params["hidden.v_threshold"],
        }
        if "hidden.recurrent.weight" in params:
            tensors["net.1_LIFTorch.w_rec"] = folded["hidden.recurrent.weight"].T / REST
            tensors["net.3_ExpSynTorch.tau"] = params["readout.tau_mem"]
            rest = decay(params["readout.tau_mem"], DT)
        else:
            tensors[f"{readout}.tau_mem"] = params["readout.tau_mem"]
            rest = torch.tensor(REST)
        return tensors | {"net.2_LinearTorch.weight": folded["readout.input.weight"].T / rest}


tool = Rockpool()
