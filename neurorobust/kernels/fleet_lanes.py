"""Eight dies of one network with neurons that have a floor, side by side in one compiled loop.

Each die's output has the bits of the layers one by one. So a network is taken only if the order of all sums is known
before it runs: weights by lists, and matrices with so few rows that each gets a dot product.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from .blocks import blocks_of, run_blocks
from .compiled import coefficients_of
from .compiled_floored import layer_of
from .events import events_of
from .fleet import SILENT, numbers_of
from .layer import AnyLayer, FlooredLayer, parts_of
from .numba_loops import fleet_lanes as loop
from .numba_loops.lanes import DIES
from .runtime.memory import empty
from .sparse_weight import SparseWeight, Weight


class _Lists:
    """The lists of all weights of eight dies, one behind the other."""

    def __init__(self) -> None:
        self.starts = [np.empty(0, np.int64)]
        self.places = [np.empty(0, np.int32)]
        self.values: list[Tensor] = []
        self.sources = self.synapses = 0

    def add(self, weights: Sequence[SparseWeight], signed: bool) -> int:
        """Put a weight of all dies behind the others; where its ``starts`` begin. ``signed``: sizes go to one of two
        halves by sign; where dies differ in it, a synapse is there twice, and one of both is 0 on every die."""
        pattern = weights[0].pattern
        n, n_in = pattern.shape
        lists, values = pattern.lists.numpy(), torch.stack([weight.values for weight in weights], -1)
        starts, places = lists[: n_in + 1].astype(np.int64), lists[n_in + 1 :]
        if signed:
            negative = values < 0
            some, every = negative.any(1), negative.all(1)
            twice = (some & ~every).numpy()
            values = values.abs()
            places = places + n * every.numpy()
            if twice.any():
                starts += np.concatenate([[0], np.cumsum(twice)])[starts]
                again = np.repeat(np.arange(len(twice)), 1 + twice)
                second = torch.from_numpy(np.concatenate([[False], again[1:] == again[:-1]]))
                chosen = torch.from_numpy(again)
                absent = negative[chosen] ^ second[:, None]
                values = values[chosen].masked_fill_(absent & torch.from_numpy(twice[again])[:, None], 0)
                places = places[again] + n * second.numpy()
        begin = self.sources
        self.starts.append(starts + self.synapses)
        self.places.append((places * DIES).astype(np.int32))
        self.values.append(values)
        self.sources += len(starts)
        self.synapses += len(values)
        return begin

    def arrays(self, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = empty((self.synapses * DIES,), dtype)
        if self.values:
            torch.cat(self.values, out=values.view(-1, DIES))
        return np.concatenate(self.starts), np.concatenate(self.places), values.numpy()


def _numbers(layer: AnyLayer) -> tuple[Tensor, Tensor]:
    """The rows of a layer's coefficients, and its refractory steps."""
    if isinstance(layer, FlooredLayer):
        (rows, refractory), _ = layer_of(layer.coefficients, layer.dynamics, False)
        return rows[0], refractory[0]
    return numbers_of(layer)


def _matrix(layer: AnyLayer) -> Tensor:
    """The rows of a matrix; excitation, then inhibition."""
    assert isinstance(layer.weight, Tensor)
    if not isinstance(layer, FlooredLayer):
        return layer.weight
    positive = layer.weight.clamp(min=0)
    return torch.cat([positive, positive - layer.weight])


def _lists_of(weights: Sequence[Weight | None], lists: _Lists, signed: bool) -> int:
    """Where the lists of a weight begin; −1 for a matrix, and for none."""
    sparse = [weight for weight in weights if isinstance(weight, SparseWeight)]
    return lists.add(sparse, signed) if sparse else -1


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


def _lanes(dies: Sequence[Sequence[AnyLayer]]) -> loop.Lanes:
    """The numbers of exactly eight dies."""
    table = np.zeros((len(dies[0]), loop.COLUMNS), np.int64)
    sources: list[int] = []
    lists = _Lists()
    dtype = np.float32 if dies[0][0].weight.dtype == torch.float32 else np.float64
    matrices, numbers, refractory = ([np.empty(0, kind)] for kind in (dtype, dtype, np.int32))
    for row, *same in zip(table, *dies):
        first = same[0]
        _rules(row, first)
        row[loop.FIRST], row[loop.END] = len(sources), len(sources) + len(first.sources)
        sources += first.sources
        signed = isinstance(first, FlooredLayer)
        row[loop.LISTS] = _lists_of([layer.weight for layer in same], lists, signed)
        row[loop.RECURRENT] = _lists_of([layer.recurrent for layer in same], lists, signed)
        row[loop.MATRIX] = sum(map(len, matrices))
        if row[loop.LISTS] < 0:
            matrices.append(torch.stack([_matrix(layer) for layer in same]).reshape(-1).numpy())
        row[loop.NUMBERS] = sum(map(len, numbers))
        rows, steps = (torch.stack(each, -1) for each in zip(*map(_numbers, same)))
        numbers.append(rows.reshape(-1).numpy())
        refractory.append(steps.reshape(-1).numpy())
        row[loop.REFRACTORY] = int(steps.max())
    table[:, loop.NEURON] = [0, *accumulate(table[:-1, loop.N])]
    whole = (np.concatenate(parts) for parts in (matrices, numbers, refractory))
    return loop.Lanes(table, np.array(sources, np.int64), *lists.arrays(dies[0][0].weight.dtype), *whole)


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
