"""Outputs of a network for a whole data set, in blocks of samples, so that memory does not grow with it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .._util.errors import check_finite
from ..core.params import Params
from ..core.run import evaluating, forward, nominal
from ..data.task import Data
from ..interop.look import check_function
from ..nn.fleet_run import SAMPLES
from .statistics import check_outputs, score

ATTACK_BATCH = 1000
"""Samples per forward pass of an attack, which keeps their activations. A fixed number: results have the same bits on
every machine."""

EVALUATION_BATCH = SAMPLES
"""Samples per forward pass without a gradient."""


def checked_params(network: nn.Module, data: Data) -> Params:
    """The nominal parameters of a network; ValueError unless they are finite and the network keeps no state."""
    params = nominal(network)
    check_finite(params)
    check_function(network, data.x)
    return params


def predict_batched(network: nn.Module, params: Mapping[str, Tensor], x: Tensor, block: int = ATTACK_BATCH) -> Tensor:
    """Outputs for all samples, differentiable in ``params``; keeps the activations of one block at a time.

    Each block is run again in the backward pass, and the gradients of the blocks are summed in a fixed order. A loss
    computed from the outputs sees all samples, so its gradient is exact. With a single block this is one ordinary
    graph, bit for bit.

    Args:
        network: in ``eval`` mode, where the output of a sample does not depend on the other samples.
        params: every parameter, nominal or deviated. x: samples, (n, …). block: samples per block.
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
def predict(network: nn.Module, params: Mapping[str, Tensor], data: Data) -> Tensor:
    """Outputs for all samples, without a graph; ValueError unless their shape fits the labels or targets."""
    outputs = predict_batched(network, params, data.x, EVALUATION_BATCH)
    check_outputs(outputs, data.y)
    return outputs


def nominal_score(network: nn.Module, data: Data) -> float:
    """Balanced accuracy, or R², without deviations."""
    with evaluating(network):
        return score(predict(network, nominal(network), data), data.y)
