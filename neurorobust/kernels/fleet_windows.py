"""Dies of one network with convolutions in one compiled loop; see :mod:`.numba_loops.fleet_windows`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .blocks import blocks_of, run_blocks
from .fleet import inputs_of, numbers_in, numbers_of
from .layer import LifLayer, WindowLayer
from .numba_loops import fleet as shared
from .numba_loops import fleet_windows as loop
from .runtime.memory import empty
from .window_operators import neurons_last, numbers_last
from .window_tables import layout, pooled, reach, whole_vectors
from .windows import Convolution

ABREAST = 8  # dies in one loop


class _Stacked:
    """Arrays one behind the other."""

    def __init__(self, dtype: np.dtype):
        self.size, self.parts = 0, [np.empty(0, dtype)]

    def add(self, part: np.ndarray) -> int:
        """Where the part begins."""
        begin, self.size = self.size, self.size + part.size
        self.parts.append(part.reshape(-1))
        return begin

    def array(self) -> np.ndarray:
        return np.concatenate(self.parts)


def _numbers(layers: Sequence[WindowLayer]) -> tuple[Tensor, Tensor, Tensor]:
    """Of one layer on all dies, channels last: weights (dies, C · kH · kW, width), coefficients and bias (dies, 10,
    places, width) and refractory steps (dies, places, width)."""
    convolution = layers[0].convolution
    channels, places = convolution.channels, math.prod(convolution.window.places)
    width = whole_vectors(channels)
    weights = numbers_last(torch.stack([layer.weight for layer in layers]), convolution.window)
    rows, refractory = (torch.stack(each) for each in zip(*map(numbers_of, layers)))
    return (
        torch.from_numpy(weights).view(len(layers), -1, width),
        neurons_last(rows, channels).unflatten(-1, (places, width)),
        neurons_last(refractory, channels).unflatten(-1, (places, width)),
    )


def _side_by_side(own: Tensor) -> Tensor:
    """(dies, …, width) → (1, …, dies · width)."""
    return own.movedim(0, -2).flatten(-2).unsqueeze(0)


def _order(convolution: Convolution, dies: int) -> np.ndarray:
    """Where each neuron of so many dies is, die after die and channels first."""
    places = math.prod(convolution.window.places)
    one = layout(convolution.channels, places).first.reshape(places, 1, -1)
    first = np.arange(dies, dtype=np.int32)[:, None] * convolution.n_out
    return np.where(one < 0, -1, one + first).astype(np.int32)


def _windows(dies: Sequence[Sequence[LifLayer]], layers: np.ndarray, dtype: np.dtype) -> loop.Windows:
    """The convolutions of a few dies; the table of all layers gets to know which of them have refractory steps."""
    table = np.zeros((len(dies[0]), loop.COLUMNS), np.int64)
    tables, steps = _Stacked(np.dtype(np.int32)), _Stacked(np.dtype(np.int32))
    weights, numbers = _Stacked(dtype), _Stacked(dtype)
    for row, about, *same in zip(table, layers, *dies):
        own = [layer for layer in same if isinstance(layer, WindowLayer)]
        if not own:
            continue
        first, parts = own[0], list(_numbers(own))
        if first.sources[0] < 0:  # events of the input: one convolution with the channels of all dies
            parts = [_side_by_side(part) for part in parts]
        weight, rows, refractory = (part.contiguous().numpy() for part in parts)
        row[loop.COPIES], row[loop.LAST], row[loop.WEIGHTS] = len(weight), refractory[0].size, weight[0].size
        row[loop.WEIGHT], row[loop.NEURONS] = weights.add(weight), steps.add(refractory)
        numbers.add(rows)
        about[shared.REFRACTORY] = refractory.max()
        window, _, pool, divisor = first.convolution
        reached, pooling = reach(window, weight.shape[-1]), pooled(pool, divisor)
        row[loop.ORDER] = tables.add(_order(first.convolution, len(dies) // len(weight)))
        row[loop.REACH], row[loop.REACHED] = tables.add(reached.table), len(reached.table)
        row[loop.WEIGHT_ROW], row[loop.PLACE_ROW] = reached.weight_row, reached.place_row
        row[loop.POOL], row[loop.POOL_ROWS] = tables.add(pooling.table), len(pooling.table)
        row[loop.PLACE], row[loop.PLACES] = tables.add(pooling.place), len(pooling.place)
        row[loop.POOL_ROW], row[loop.POOLED], row[loop.DIVISOR] = pooling.row, pooling.n, pooling.divisor
    return loop.Windows(table, tables.array(), weights.array(), numbers.array(), steps.array())


@torch.no_grad()
def outputs(dies: Sequence[Sequence[LifLayer]], x: Tensor) -> Tensor:
    """As :func:`.fleet.outputs`, where layers may have convolutions."""
    out, inputs = empty((len(dies), *x.shape[:2], dies[0][-1].n), x.dtype), inputs_of(x)
    neurons = [layer.n for layer in dies[0]]
    images = [layer.convolution.n_in for layer in dies[0] if isinstance(layer, WindowLayer)]
    for first in range(0, len(dies), ABREAST):
        some = dies[first : first + ABREAST]
        structure, whole = numbers_in(some, x.dtype)
        windows = _windows(some, structure.table, out.numpy().dtype)
        size = len(some) * x.shape[0] * x.shape[1] * sum(neurons)
        arrays = inputs, whole, structure, windows, (max(images), max(neurons)), out.numpy()[first : first + len(some)]
        run_blocks(loop.fleet_windows_blocks, 1, blocks_of(len(x), size), size, *arrays)
    return out
