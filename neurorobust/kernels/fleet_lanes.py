"""Eight dies of one network with neurons that have a floor, side by side in one compiled loop.

Each die's output has the bits of the layers one by one. So a network is taken only if the order of all sums is known
before it runs: weights by lists, and matrices with so few rows that each gets a dot product.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .blocks import blocks_of, run_blocks
from .compiled import coefficients_of
from .compiled_floored import layer_of
from .events import events_of
from .fleet import SILENT, numbers_of
from .layer import AnyLayer, FlooredLayer, parts_of
from .numba_loops import fleet_lanes as loop
from .numba_loops.dot import in_lines
from .numba_loops.lanes import DIES, ROWS, count_synapses, fill_lists
from .runtime.memory import empty
from .sparse_weight import SparseWeight


class _Synapses(NamedTuple):
    """The synapses of one weight of eight dies, (8, k): ``lists`` of their pattern; ``order``, where what arrives for
    each neuron is; whether sizes go to one of two halves by sign."""

    lists: np.ndarray
    values: np.ndarray
    order: np.ndarray
    signed: bool

    @classmethod
    def of(cls, weights: Sequence[SparseWeight], signed: bool) -> _Synapses:
        pattern, values = weights[0].pattern, torch.stack([weight.values for weight in weights])
        return cls(pattern.lists.numpy(), values.numpy(), _places(pattern.shape[0], 1 + signed), signed)

    @property
    def sources(self) -> int:
        return len(self.lists) - self.values.shape[1] - 1


def _places(n: int, parts: int) -> np.ndarray:
    """Where what arrives for each neuron is, excitation, then inhibition: tile by tile, (parts · n,)."""
    neuron, part = np.arange(n), np.arange(parts)[:, None]
    begin = neuron // loop.NEURONS * loop.NEURONS
    return (parts * begin + part * np.minimum(loop.NEURONS, n - begin) + neuron - begin).reshape(-1)


def _lists(weights: Sequence[_Synapses], dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lists of all weights, one behind the other, as :class:`.numba_loops.fleet_lanes.Lanes` has them."""
    counts = [count_synapses(weight.values, weight.signed) for weight in weights]
    starts = np.empty(sum(weight.sources + 1 for weight in weights), np.int64)
    places = np.empty(sum(counts), np.int32)
    values = empty((len(places) * DIES,), dtype).numpy()
    source = synapse = 0
    for weight, count in zip(weights, counts):
        fill_lists(*weight, synapse, starts[source : source + weight.sources + 1], places, values)
        source, synapse = source + weight.sources + 1, synapse + count
    return starts, places, values


def _numbers(layer: AnyLayer) -> tuple[Tensor, Tensor]:
    """The rows of a layer's coefficients, and its refractory steps."""
    if isinstance(layer, FlooredLayer):
        (rows, refractory), _ = layer_of(layer.coefficients, layer.dynamics, False)
        return rows[0], refractory[0]
    return numbers_of(layer)


def _matrix(same: Sequence[AnyLayer]) -> Tensor:
    """The matrices of a layer as :class:`.numba_loops.fleet_lanes.Lanes` has them; excitation, then inhibition."""
    matrices = torch.stack([layer.weight for layer in same if isinstance(layer.weight, Tensor)])
    if isinstance(same[0], FlooredLayer):
        positive = matrices.clamp(min=0)
        matrices = torch.cat([positive, positive - matrices], 1)
    if not in_lines(matrices.shape[2], matrices.element_size()):
        return matrices
    return functional.pad(matrices.permute(2, 0, 1), (0, ROWS - matrices.shape[1]))


def _rules(row: np.ndarray, layer: AnyLayer) -> None:
    """The kind of a layer, and the form of its equations."""
    row[loop.N], row[loop.N_IN] = layer.weight.shape
    row[loop.PARTS] = parts_of(layer)
    if isinstance(layer, FlooredLayer):
        _, ((*_, adaptive, cancels, _), _) = layer_of(layer.coefficients, layer.dynamics, False)
        row[loop.KIND], row[loop.ADAPTIVE], row[loop.CANCELS] = loop.HAS_FLOOR, adaptive, cancels
        return
    rules = coefficients_of(layer.coefficients, layer.dynamics or SILENT)[2]
    row[loop.KIND] = loop.INTEGRATES if layer.dynamics is None else loop.SPIKES
    row[loop.TO_VALUE], row[loop.HAS_SYN], row[loop.ADAPTIVE] = rules.to_value, rules.has_syn, rules.adaptive
    row[loop.HAS_LEAK] = layer.coefficients.v_leak is not None


def _tiles(rows: Tensor) -> Tensor:
    """Rows of a layer's numbers, (rows, n, 8), tile by tile."""
    return torch.cat([tile.reshape(-1) for tile in rows.split(loop.NEURONS, 1)])


def _lanes(dies: Sequence[Sequence[AnyLayer]]) -> loop.Lanes:
    """The numbers of exactly eight dies."""
    table = np.zeros((len(dies[0]), loop.COLUMNS), np.int64)
    sources: list[int] = []
    synapses: list[_Synapses] = []
    matrices, numbers = ([torch.empty(0, dtype=dies[0][0].weight.dtype)] for _ in range(2))
    refractory: list[Tensor] = []
    for row, *same in zip(table, *dies):
        first = same[0]
        _rules(row, first)
        row[loop.FIRST], row[loop.END] = len(sources), len(sources) + len(first.sources)
        sources += first.sources
        row[loop.MATRIX] = sum(map(len, matrices))
        if isinstance(first.weight, Tensor):
            matrices.append(_matrix(same).reshape(-1))
        for column, weights in (
            (loop.LISTS, [layer.weight for layer in same]),
            (loop.RECURRENT, [layer.recurrent for layer in same]),
        ):
            row[column] = sum(known.sources + 1 for known in synapses)
            if some := [weight for weight in weights if isinstance(weight, SparseWeight)]:
                synapses.append(_Synapses.of(some, isinstance(first, FlooredLayer)))
            else:
                row[column] = -1
        row[loop.NUMBERS] = sum(map(len, numbers))
        rows, steps = (torch.stack(each, -1) for each in zip(*map(_numbers, same)))
        numbers.append(_tiles(rows))
        refractory.append(steps.reshape(-1))
        row[loop.REFRACTORY] = int(steps.max())
    table[:, loop.NEURON] = [0, *accumulate(table[:-1, loop.N])]
    whole = (torch.cat(parts).numpy() for parts in (matrices, numbers, refractory))
    return loop.Lanes(table, np.array(sources, np.int64), *_lists(synapses, dies[0][0].weight.dtype), *whole)


@torch.no_grad()
def outputs(dies: Sequence[Sequence[AnyLayer]], blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Output of the last layer of at most eight dies for each block of the input, (B, T, n_in) → (dies, B, T, n)."""
    lanes = _lanes([*dies, *[dies[-1]] * (DIES - len(dies))])
    for x in blocks:
        events = events_of(x.unsqueeze(0))
        inputs = loop.LaneInputs(events.x[0].numpy(), events.lists, not len(events.lists.values))
        out = empty((len(dies), *x.shape[:2], int(lanes.table[-1, loop.N])), x.dtype)
        size = DIES * x.shape[0] * x.shape[1] * int(lanes.table[:, loop.N].sum())
        run_blocks(loop.fleet_lanes_blocks, 1, blocks_of(len(x), size), size, inputs, lanes, out.numpy())
        yield out
