"""The loop written by hand, through ``torch.compile``."""

from __future__ import annotations

import shutil

import torch
from torch import Tensor, nn

from ..tool import CannotError, decay
from ..workloads import DT, Workload
from .torch_loop import Network, TorchLoop, lif_step

CHUNK = 20  # steps in one compiled graph: more take minutes to compile


@torch.compile(dynamic=False)
def _chunk(
    current: Tensor, recurrent: Tensor | None, state: tuple[Tensor, Tensor], alpha: Tensor, threshold: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    spikes, trace = [], []
    for step in current:
        state = lif_step(step, recurrent, state, alpha, threshold)
        trace.append(state[0])
        spikes.append(state[1])
    return torch.stack(spikes), torch.stack(trace), state


def lif(current: Tensor, recurrent: Tensor | None, tau: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`.torch_loop.lif`, a chunk at a time."""
    zero, alpha = torch.zeros_like(current[0]), decay(tau, DT)
    state, spikes, trace = (zero, zero.clone()), [], []
    for steps in current.split(CHUNK):
        z, v, state = _chunk(steps, recurrent, state, alpha, threshold)
        spikes.append(z)
        trace.append(v)
    return torch.cat(spikes), torch.cat(trace)


class TorchCompile(TorchLoop):
    """As torch-loop. Its first step compiles, which takes a minute and is not timed."""

    convolves = False

    def network(self, work: Workload) -> nn.Module:
        if not (shutil.which("g++") or shutil.which("clang++")):
            raise CannotError("needs a C++ compiler, and there is none")
        return Network(work, lif)


tool = TorchCompile()
