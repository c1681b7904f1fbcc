"""A whole data set through a network, in blocks of samples, so that memory does not grow with it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .._util.errors import check_finite
from ..core.params import Params
from ..core.run import forward, nominal
from ..data.task import Data
from ..interop.wrapped import check_repeats
from ..nn.fleet_run import SAMPLES
from .statistics import check_outputs

ATTACKED = 1000
"""Samples an attack holds the activations of at once. A fixed number: results have the same bits on every machine."""

JUDGED = SAMPLES
"""Samples at once where nothing is differentiated."""


def examined(network: nn.Module, data: Data) -> Params:
    """The nominal parameters of a network that is to be judged, once they are finite and it keeps no state."""
    params = nominal(network)
    check_finite(params)
    check_repeats(network, data.x)
    return params


def in_blocks(network: nn.Module, params: Mapping[str, Tensor], x: Tensor, block: int = ATTACKED) -> Tensor:
    """What a network gives for all samples, differentiable in ``params``, the activations of one block held at a time.

    Each block is run again in the backward pass, and the slopes of the blocks are summed in a fixed order. Whatever is
    computed from the outputs sees those of all samples, so its slope is exact: a mean over samples and steps, a scale
    taken from the whole set. What fits in one block is one ordinary graph, bit for bit.

    Args:
        network: in ``eval`` mode, where a sample's output does not depend on the others.
        params: every parameter, nominal or deviated. x: samples, (n, …). block: samples at once.
    """

    def run(samples: Tensor) -> Tensor:
        return forward(network, params, samples)[0]

    blocks = x.split(block)
    if len(blocks) == 1:
        return run(x)
    if torch.is_grad_enabled():  # early_stop would leave a network in the middle of its forward pass
        return torch.cat([checkpoint(run, samples, use_reentrant=False, early_stop=False) for samples in blocks])
    return torch.cat([run(samples) for samples in blocks])


@torch.no_grad()
def judged_outputs(network: nn.Module, params: Mapping[str, Tensor], data: Data) -> Tensor:
    """What a network gives for all samples, without a graph; ValueError unless it can be judged against the labels."""
    outputs = in_blocks(network, params, data.x, JUDGED)
    check_outputs(outputs, data.y)
    return outputs
