"""Outputs of a network for a whole data set, in blocks of samples, so that memory does not grow with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .._util.errors import check_finite
from ..core.params import Params
from ..core.run import evaluating, forward, nominal
from ..data.samples import Samples
from ..interop.look import Foreign, check_function
from ..nn.fleet_run import SAMPLES, fleet_logits, samples_at_once
from .statistics import check_numbers, check_outputs, score

ATTACK_BATCH = 1000
"""Samples per forward pass of an attack, which keeps their activations. A fixed number: results have the same bits on
every machine."""

EVALUATION_BATCH = SAMPLES
"""Samples per forward pass without a gradient."""


HELD = 2**26
"""Numbers of outputs and parameters that are kept for the dies of one pass over a stream, at most; 256 MiB."""

Run = Callable[[Sequence[Params], int, Tensor, int], Iterator[Tensor]]
"""(parameters of some dies, number of the first, samples x, passes before these samples) → outputs of each die."""


def checked_params(network: nn.Module, data: Samples) -> Params:
    """The nominal parameters of a network; ValueError unless they are finite and the network keeps no state."""
    params = nominal(network)
    check_finite(params)
    look_with(network, data)
    return params


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a network by name, for its digest."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def look_with(network: nn.Module, data: Samples) -> None:
    """:func:`~neurorobust.interop.look.check_function` with the first samples of some data."""
    if any(isinstance(part, Foreign) for part in network.modules()):
        check_function(network, data.few(SAMPLES))


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


def predict_all(network: nn.Module, params: Mapping[str, Tensor], data: Samples, block: int = ATTACK_BATCH) -> Tensor:
    """Outputs for all samples of some data, in their order, differentiable in ``params``: :func:`predict_batched`.

    Samples of a stream are read again in the backward pass, the last block first where that is possible. So the
    gradient has the bits that the same samples in memory give.
    """
    if (x := data.whole) is not None:
        return predict_batched(network, params, x, samples_at_once(x, block))
    if not torch.is_grad_enabled():
        return _read_once(network, params, data, block)
    if len(data.plan(block)) > 1:
        return _Streamed.apply(network, data, block, list(params), *params.values())
    return data.joined([forward(network, params, x)[0] for _, x in data.blocks(block)])


def _read_once(network: nn.Module, params: Mapping[str, Tensor], data: Samples, block: int) -> Tensor:
    whole: Tensor | None = None
    for where, x in data.blocks(block):
        whole = data.placed(whole, where, forward(network, params, x)[0])
        del x
    assert whole is not None
    return whole


class _Streamed(torch.autograd.Function):
    """Outputs for a stream as a function of the parameters; each pass over it holds one block."""

    @staticmethod
    def forward(ctx: Any, network: nn.Module, data: Samples, block: int, names: list[str], *values: Tensor) -> Tensor:
        ctx.network, ctx.data, ctx.block, ctx.names = network, data, block, names
        ctx.save_for_backward(*values)
        return _read_once(network, dict(zip(names, values)), data, block)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values = [value.detach() for value in ctx.saved_tensors]
        wanted = [k for k, needed in enumerate(ctx.needs_input_grad[4:]) if needed]
        for k in wanted:
            values[k].requires_grad_()
        totals: list[Tensor | None] = [None] * len(values)
        for where, x in ctx.data.blocks(ctx.block, backwards=True):
            with torch.enable_grad():
                outputs = forward(ctx.network, dict(zip(ctx.names, values)), x)[0]
            if not outputs.requires_grad:
                break
            own = torch.autograd.grad(outputs, [values[k] for k in wanted], gradients[0][where], allow_unused=True)
            for k, gradient in zip(wanted, own):
                before = totals[k]
                totals[k] = gradient if before is None else before if gradient is None else before + gradient
        return None, None, None, None, *totals


@torch.no_grad()
def outputs_on(network: nn.Module, dies: Iterable[Params], data: Samples, run: Run | None = None) -> Iterator[Tensor]:
    """Outputs for all samples on each of many dies, one after the other: :func:`fleet_logits`.

    A stream is read once for many dies: two at first, then as many as :data:`HELD` allows.

    Args:
        dies: all parameters of each die. run: another function than ``fleet_logits`` for some dies and some samples.
    """
    if run is None and (whole := data.whole) is not None:
        yield from fleet_logits(network, dies, whole)
        return
    remaining, first, many = iter(dies), 0, 2
    while some := list(islice(remaining, many)):
        wholes: list[Tensor | None] = [None] * len(some)
        passes = 0
        for where, x in data.blocks(ATTACK_BATCH):
            found = fleet_logits(network, some, x) if run is None else run(some, first, x, passes)
            for k, outputs in enumerate(found):
                wholes[k] = data.placed(wholes[k], where, outputs)
            passes += math.ceil(len(x) / samples_at_once(x))
            del x
        done = [whole for whole in wholes if whole is not None]
        held = done[0].numel() + sum(map(torch.numel, some[0].values()))
        first, many = first + len(some), max(1, HELD // held)
        del some, wholes
        yield from done


@torch.no_grad()
def predict(network: nn.Module, params: Mapping[str, Tensor], data: Samples) -> Tensor:
    """Outputs for all samples, without a graph; ValueError unless their shape fits the labels or targets."""
    outputs = predict_all(network, params, data, EVALUATION_BATCH)
    check_outputs(outputs, data.y)
    return outputs


def nominal_score(network: nn.Module, data: Samples) -> float:
    """Balanced accuracy, or R², without deviations."""
    with evaluating(network):
        outputs = predict(network, nominal(network), data)
    check_numbers(outputs)
    return score(outputs, data.y)
