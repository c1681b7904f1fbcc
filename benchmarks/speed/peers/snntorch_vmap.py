"""snnTorch over all chips at once with ``torch.func.vmap``."""

from __future__ import annotations

import torch
from snntorch import SpikingNeuron
from torch import Tensor, nn

from ..tool import CannotError, Run
from ..workloads import Workload
from .snntorch import Network, Snntorch


def step_function(u: Tensor) -> Tensor:
    """A spike without gradient: snnTorch's own surrogates do not go through vmap."""
    return (u > 0).float()


class SnntorchVmap(Snntorch):
    """As snntorch; for the fleet only, and not of convolutions."""

    convolves = False

    def network(self, work: Workload) -> nn.Module:
        return Network(work, step_function)

    def training_step(self, work: Workload) -> Run:
        raise CannotError("vmap is over chips, and here is one")

    def adversarial_step(self, work: Workload) -> Run:
        raise CannotError("vmap is over chips, and here is one")

    def fleet(self, work: Workload) -> Run:
        module, x = self.loaded(work), work.x
        stacked = {name: torch.stack([die[name] for die in work.dies]) for name in work.params}

        def one(params: dict[str, Tensor]) -> Tensor:
            return torch.func.functional_call(module, self.tensors(params), (x,))

        @torch.no_grad()
        def logits() -> Tensor:
            result = torch.func.vmap(one)(stacked)
            for layer in module.children():  # else a state of the last run, batched, is left behind
                if isinstance(layer, SpikingNeuron):
                    layer.mem = layer.spk = layer.reset = torch.zeros(0)
            return result

        return Run(logits, logits)


tool = SnntorchVmap()
