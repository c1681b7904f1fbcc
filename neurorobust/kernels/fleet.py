"""Many dies of one network in one compiled loop: each thread carries a few samples through all layers of a die, step by
step, so nothing of the size (T, B, n) is ever kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..dynamics.resets import Dynamics, NoReset
from ..dynamics.surrogate import Triangle
from .blocks import blocks_of, run_blocks
from .compiled import coefficients_of
from .events import VECTOR, events_of
from .layer import Layer, LifLayer, WindowLayer
from .numba_loops import fleet as loop
from .runtime.memory import empty
from .sparse_weight import SparseWeight, Weight

SILENT = Dynamics(Triangle(), NoReset())


def _structure(layers: Sequence[LifLayer]) -> tuple[loop.Structure, int]:
    """The numbers and lists that all dies share, and how many numbers a die has; nothing of a convolution itself."""
    table = np.zeros((len(layers), loop.COLUMNS), np.int64)
    sources: list[int] = []
    lists: list[np.ndarray] = []
    at = 0
    for row, layer in zip(table, layers):
        rules = coefficients_of(layer.coefficients, layer.dynamics or SILENT)[2]
        row[loop.N], row[loop.SPIKES] = layer.n, layer.dynamics is not None
        row[loop.TO_VALUE], row[loop.HAS_SYN], row[loop.ADAPTIVE] = rules.to_value, rules.has_syn, rules.adaptive
        row[loop.FIRST], row[loop.END] = len(sources), len(sources) + len(layer.sources)
        sources += layer.sources
        if isinstance(layer, WindowLayer):
            continue
        row[loop.WIDTH] = width = _whole_vectors(layer.n)
        row[loop.N_IN] = layer.weight.shape[1]
        row[loop.WEIGHT], row[loop.LISTS] = at, _listed(layer.weight, lists)
        at += _size(layer.weight, width)
        row[loop.RECURRENT], row[loop.RECURRENT_LISTS] = -1 if layer.recurrent is None else at, -1
        if layer.recurrent is not None:
            row[loop.RECURRENT_LISTS] = _listed(layer.recurrent, lists)
            at += _size(layer.recurrent, width)
    return loop.Structure(table, np.array(sources, np.int64), np.concatenate([np.empty(0, np.int32), *lists])), at


def _listed(weight: Weight, lists: list[np.ndarray]) -> int:
    """Where the lists of targets begin, which are put behind those that are there; −1 for a matrix."""
    if not isinstance(weight, SparseWeight):
        return -1
    lists.append(weight.pattern.lists.numpy())
    return sum(map(len, lists[:-1]))


def _size(weight: Weight, width: int) -> int:
    """How many numbers of a die a weight takes; each begins with a vector."""
    return _whole_vectors(len(weight.values)) if isinstance(weight, SparseWeight) else weight.shape[1] * width


def _whole_vectors(n: int) -> int:
    """Neurons with those that fill up the last vector: silent ones, all of whose numbers are 0."""
    return -(-n // VECTOR) * VECTOR


def numbers_of(layer: LifLayer) -> tuple[Tensor, Tensor]:
    """The rows of a layer's numbers, coefficients, then the bias, (10, n); and its refractory steps (n,)."""
    c = layer.coefficients
    rows, refractory, _ = coefficients_of(c, layer.dynamics or SILENT)
    if layer.dynamics is None and c.v_leak is not None:
        rows[loop.LEAK] = c.v_leak
    bias = torch.zeros_like(rows[:1]) if layer.bias is None else layer.bias[None]
    return torch.cat([rows, bias]), refractory


def _fill(
    layers: Sequence[LifLayer], table: np.ndarray, numbers: Tensor, coefficients: Tensor, refractory: Tensor
) -> None:
    """Write the numbers of one die: its weights, where the table says, and the coefficients, bias and refractory steps
    of its layers."""
    for layer, about, own, own_refractory in zip(layers, table, coefficients, refractory):
        if isinstance(layer, WindowLayer):
            continue
        n, width = (int(about[column]) for column in (loop.N, loop.WIDTH))
        own[:, :n], own_refractory[:n] = numbers_of(layer)
        for column, weight in ((loop.WEIGHT, layer.weight), (loop.RECURRENT, layer.recurrent)):
            at = int(about[column])
            if isinstance(weight, SparseWeight):
                numbers[at : at + len(weight.values)] = weight.values
            elif weight is not None:
                rows = numbers[at : at + weight.shape[1] * width].view(-1, width)
                rows[:, :n], rows[:, n:] = weight.T, 0


def numbers_in(dies: Sequence[Sequence[LifLayer]], dtype: torch.dtype) -> tuple[loop.Structure, loop.Dies]:
    """What all dies share, and the numbers of each; without those of convolutions."""
    structure, total = _structure(dies[0])
    table = structure.table
    most = int(table[:, loop.WIDTH].max())
    numbers = torch.empty(len(dies), total, dtype=dtype)  # begins at a line of the cache, so its rows do too
    coefficients = torch.zeros(len(dies), len(table), loop.BIAS + 1, most, dtype=dtype)
    refractory = torch.zeros(len(dies), len(table), most, dtype=torch.int32)
    for layers, *die in zip(dies, numbers, coefficients, refractory):
        _fill(layers, table, *die)
    table[:, loop.REFRACTORY] = refractory.amax((0, 2)).numpy() if most else 0
    return structure, loop.Dies(numbers.numpy(), coefficients.numpy(), refractory.numpy())


def inputs_of(x: Tensor) -> loop.FleetInputs:
    """An input (B, T, n_in) by its events."""
    lists = events_of(x.unsqueeze(0)).lists
    return loop.FleetInputs(lists, not len(lists.values), x.shape[-1])


@torch.no_grad()
def outputs(dies: Sequence[Sequence[Layer]], x: Tensor) -> Tensor:
    """Output of the last layer of every die: input (B, T, n_in) → (dies, B, T, n); no gradient."""
    structure, whole = numbers_in(dies, x.dtype)
    table, (batch, steps, _) = structure.table, x.shape
    out = empty((len(dies), batch, steps, int(table[-1, loop.N])), x.dtype)
    size = len(dies) * batch * steps * int(table[:, loop.N].sum())
    blocks = blocks_of(batch, size // len(dies), group=8)
    run_blocks(loop.fleet_blocks, len(dies), blocks, size, inputs_of(x), whole, structure, out.numpy())
    return out
