"""Many dies of one network in one compiled loop: each thread carries a few samples through all layers of a die, step by
step, so nothing of the size (T, B, n) is ever kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..dynamics.resets import Dynamics, NoReset
from ..dynamics.surrogate import Triangle
from . import loops
from .compiled import _blocks, _spread, coefficients_of
from .interface import Layer
from .listed import VECTOR, hearing
from .memory import empty

SILENT = Dynamics(Triangle(), NoReset())


def _table(layers: Sequence[Layer]) -> tuple[np.ndarray, np.ndarray, int]:
    """What all dies share, as the loop reads it: table and sources; and how many numbers a die has."""
    table = np.zeros((len(layers), loops.COLUMNS), np.int64)
    sources: list[int] = []
    at = 0
    for row, layer in zip(table, layers):
        n, n_in = layer.weight.shape
        width = _wide(n)
        rules = coefficients_of(layer.coefficients, layer.dynamics or SILENT)[2]
        row[loops.N], row[loops.WIDTH], row[loops.SPIKES] = n, width, layer.dynamics is not None
        row[loops.TO_VALUE], row[loops.HAS_SYN], row[loops.ADAPTIVE] = rules[1], rules[3], rules[4]
        row[loops.FIRST], row[loops.END] = len(sources), len(sources) + len(layer.sources)
        sources += layer.sources
        row[loops.WEIGHT] = at
        at += n_in * width
        row[loops.RECURRENT] = -1 if layer.recurrent is None else at
        at += 0 if layer.recurrent is None else n * width
    return table, np.array(sources, np.int64), at


def _wide(n: int) -> int:
    """Neurons with those that fill up the last vector: silent ones, all of whose numbers are 0."""
    return -(-n // VECTOR) * VECTOR


def _fill(
    layers: Sequence[Layer], table: np.ndarray, numbers: Tensor, coefficients: Tensor, refractory: Tensor
) -> None:
    """Writes what one die consists of: its weights, where the table says, and the coefficients, bias and refractory
    steps of its layers."""
    for layer, about, own, pauses in zip(layers, table, coefficients, refractory):
        n, width = (int(about[column]) for column in (loops.N, loops.WIDTH))
        own[: loops.BIAS, :n], pauses[:n], _ = coefficients_of(layer.coefficients, layer.dynamics or SILENT)
        if layer.dynamics is None and layer.coefficients.v_leak is not None:
            own[6, :n] = layer.coefficients.v_leak  # the row of a reset's value is free to hold the leak
        if layer.bias is not None:
            own[loops.BIAS, :n] = layer.bias
        for column, weight in ((loops.WEIGHT, layer.weight), (loops.RECURRENT, layer.recurrent)):
            if weight is not None:
                at = int(about[column])
                rows = numbers[at : at + weight.shape[1] * width].view(-1, width)
                rows[:, :n], rows[:, n:] = weight.T, 0


@torch.no_grad()
def outputs(dies: Sequence[Sequence[Layer]], x: Tensor) -> Tensor:
    """Output of the last layer of every die: input (B, T, n_in) → (dies, B, T, n); no gradient."""
    table, sources, total = _table(dies[0])
    most, (batch, steps, _) = int(table[:, loops.WIDTH].max()), x.shape
    numbers = torch.empty(len(dies), total, dtype=x.dtype)  # begins at a line of the cache, so its rows do too
    coefficients = torch.zeros(len(dies), len(table), loops.BIAS + 1, most, dtype=x.dtype)
    refractory = torch.zeros(len(dies), len(table), most, dtype=torch.int32)
    for layers, *die in zip(dies, numbers, coefficients, refractory):
        _fill(layers, table, *die)
    table[:, loops.RESTS] = refractory.amax((0, 2)).numpy()
    out = empty((len(dies), batch, steps, int(table[-1, loops.N])), x.dtype)
    lists = hearing(x.unsqueeze(0)).lists
    heard = *lists, not len(lists[2]), x.shape[2]
    size = len(dies) * batch * steps * int(table[:, loops.N].sum())
    whole = numbers.numpy(), coefficients.numpy(), refractory.numpy()
    parts = _blocks(batch, size // len(dies), group=8)
    _spread(loops.fleet_blocks, len(dies), parts, size, heard, whole, table, sources, out.numpy())
    return out
