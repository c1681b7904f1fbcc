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
from .numba_loops.dot import order_of
from .numba_loops.lanes import DIES
from .runtime.memory import empty
from .sparse_weight import SparseWeight, Weight


class _Lists:
    """The lists of all weights of eight dies, one behind the other."""

    def __init__(self) -> None:
        self.starts = [np.empty(0, np.int64)]
        self.places = [np.empty(0, np.int32)]
        self.values: list[Tensor] = []
        self.sources = self.chunks = 0

    def add(self, counts: np.ndarray, places: np.ndarray, values: Tensor, nowhere: int) -> int:
        """Put lists behind the others; where their ``starts`` begin. Sources have ``counts`` synapses, which lead to
        ``places`` (k,) with ``values`` (k, 8). Places from ``nowhere`` on are free for what fills up chunks."""
        chunks = -(-counts // loop.CHUNK)
        starts = np.concatenate([[0], np.cumsum(chunks)])
        before = np.cumsum(counts) - counts
        at = np.arange(len(places)) + np.repeat(loop.CHUNK * starts[:-1] - before, counts)
        whole = nowhere + np.arange(loop.CHUNK * starts[-1]) % loop.CHUNK
        whole[at] = places
        filled = values.new_zeros(len(whole), DIES)
        filled[torch.from_numpy(at)] = values
        begin = self.sources
        self.starts.append(starts + self.chunks)
        self.places.append((whole * DIES).astype(np.int32))
        self.values.append(filled)
        self.sources += len(starts)
        self.chunks += starts[-1]
        return begin

    def arrays(self, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = empty((self.chunks * loop.CHUNK * DIES,), dtype)
        if self.values:
            torch.cat(self.values, out=values.view(-1, DIES))
        return np.concatenate(self.starts), np.concatenate(self.places), values.numpy()


def _places(n: int, parts: int) -> np.ndarray:
    """Where what arrives for each neuron is, excitation, then inhibition: tile by tile, (parts · n,)."""
    neuron, part = np.arange(n), np.arange(parts)[:, None]
    begin = neuron // loop.NEURONS * loop.NEURONS
    return (parts * begin + part * np.minimum(loop.NEURONS, n - begin) + neuron - begin).reshape(-1)


def _synapses(weights: Sequence[SparseWeight], signed: bool) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """The synapses of a weight on all dies: how many a source has, the target of each, (k,), and its values, (k, 8).
    ``signed``: sizes go to one of two halves by sign; where dies differ in it, a synapse is there twice, and one of both
    is 0 on every die."""
    pattern = weights[0].pattern
    n, n_in = pattern.shape
    lists, values = pattern.lists.numpy(), torch.stack([weight.values for weight in weights], -1)
    counts, targets = np.diff(lists[: n_in + 1]).astype(np.int64), lists[n_in + 1 :]
    if not signed:
        return counts, targets, values
    negative = values < 0
    some, every = negative.any(1), negative.all(1)
    twice = (some & ~every).numpy()
    values, targets = values.abs(), targets + n * every.numpy()
    if twice.any():
        before = np.concatenate([[0], np.cumsum(twice)])
        counts = counts + np.diff(before[lists[: n_in + 1]])
        again = np.repeat(np.arange(len(twice)), 1 + twice)
        second = torch.from_numpy(np.concatenate([[False], again[1:] == again[:-1]]))
        chosen = torch.from_numpy(again)
        absent = negative[chosen] ^ second[:, None]
        values = values[chosen].masked_fill_(absent & torch.from_numpy(twice[again])[:, None], 0)
        targets = targets[again] + n * second.numpy()
    return counts, targets, values


def _add_weight(same: Sequence[AnyLayer], lists: _Lists) -> int:
    """The lists of a layer's weight, see :meth:`_Lists.add`; those of a matrix lead to partial sums of its products."""
    first, n_rows = same[0], parts_of(same[0]) * same[0].weight.shape[0]
    places = _places(first.weight.shape[0], parts_of(first))
    sparse = [layer.weight for layer in same if isinstance(layer.weight, SparseWeight)]
    if sparse:
        counts, targets, values = _synapses(sparse, isinstance(first, FlooredLayer))
        return lists.add(counts, places[targets], values, n_rows)
    matrices = torch.stack([_matrix(layer) for layer in same], -1)
    n_in, sums = first.weight.shape[1], order_of(matrices.element_size())[0]
    targets = (np.arange(n_in) % sums)[:, None] * n_rows + places
    values = matrices.transpose(0, 1).reshape(-1, DIES)
    return lists.add(np.full(n_in, n_rows), targets.reshape(-1), values, sums * n_rows)


def _add_recurrent(same: Sequence[AnyLayer], lists: _Lists) -> int:
    """The lists of a layer's recurrent weight; −1 for none."""
    weights = [layer.recurrent for layer in same if isinstance(layer.recurrent, SparseWeight)]
    if not weights:
        return -1
    first = same[0]
    places = _places(first.weight.shape[0], parts_of(first))
    counts, targets, values = _synapses(weights, isinstance(first, FlooredLayer))
    return lists.add(counts, places[targets], values, len(places))


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
    lists = _Lists()
    numbers: list[Tensor] = []
    refractory: list[Tensor] = []
    for row, *same in zip(table, *dies):
        first = same[0]
        _rules(row, first)
        row[loop.FIRST], row[loop.END] = len(sources), len(sources) + len(first.sources)
        sources += first.sources
        row[loop.LISTS], row[loop.RECURRENT] = _add_weight(same, lists), _add_recurrent(same, lists)
        row[loop.MATRIX] = isinstance(first.weight, Tensor)
        row[loop.NUMBERS] = sum(map(len, numbers))
        rows, steps = (torch.stack(each, -1) for each in zip(*map(_numbers, same)))
        numbers.append(_tiles(rows))
        refractory.append(steps.reshape(-1))
        row[loop.REFRACTORY] = int(steps.max())
    table[:, loop.NEURON] = [0, *accumulate(table[:-1, loop.N])]
    whole = (torch.cat(parts).numpy() for parts in (numbers, refractory))
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
