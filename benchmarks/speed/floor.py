"""The sparse bound of W2 and W5: what their bytes and additions take at the speed this machine has for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import torch

from neurorobust import kernels
from neurorobust.nn.neurons import LinearizedDpi

from . import ours
from .peers.torch_loop import lif
from .workloads import DT, WORKLOADS, Workload

PASSES = 6  # membrane, spikes and the current's gradient of every neuron and step: each written once, read once
FLOORED_PASSES = 8  # and the excitatory synaptic current
BLOCK = 4  # rows added at a time


class Counts(NamedTuple):
    """What one training step moves and adds; see :class:`Floor`."""

    state_bytes: float
    row_additions: float
    list_additions: float
    backward_additions: float


@dataclass(frozen=True)
class Floor:
    """The bound and what it is made of.

    Attributes:
        counts: bytes of membranes, spikes, gradients and, of neurons with a floor, synaptic currents, written and read
            once. Additions of rows: a spike adds its row of weights to the currents (spikes × fan-out), and backward a
            row of gradients to its row of weights: twice as many. Additions by lists: the same where a source has few
            targets. Additions of the recurrent product backward, for the neurons whose surrogate is not 0, which are
            not in the bound.
        bandwidth: bytes/s of a copy far larger than the caches. addition_rate: additions/s of rows that lie in them.
            list_rate: the same of single numbers whose places a list names.
        ours_ms: median of the step.
    """

    counts: Counts
    bandwidth: float
    addition_rate: float
    list_rate: float
    ours_ms: float

    @property
    def bound_ms(self) -> float:
        moved, rows, listed, _ = self.counts
        return 1e3 * (moved / self.bandwidth + rows / self.addition_rate + listed / self.list_rate)

    @property
    def with_backward_ms(self) -> float:
        return self.bound_ms + 1e3 * self.counts.backward_additions / self.addition_rate

    @property
    def times_bound(self) -> float:
        """Ours over the bound."""
        return self.ours_ms / self.bound_ms


def floor(name: str, runs: int = 7) -> Floor:
    """The bound of a workload, the ceilings and ours in turn, best of the ceilings' and median of our runs."""
    work = WORKLOADS[name]
    counts = counts_of(work)
    copy, n_bytes = _copy()
    add, n_additions = _add_rows(work.sizes[1])
    send, n_sent = _add_lists(work.sizes[1], 2 * (work.fan_in or BLOCK))
    step = ours.tool.prepare(work).step
    step()
    times = np.array([[_seconds(copy), _seconds(add), _seconds(send), _seconds(step)] for _ in range(runs)])
    fastest = times.min(0)
    return Floor(
        counts, n_bytes / fastest[0], n_additions / fastest[1], n_sent / fastest[2], 1e3 * float(np.median(times[:, 3]))
    )


def counts_of(work: Workload) -> Counts:
    """What a training step of a recurrent workload moves and adds."""
    return _listed_counts(work) if work.floored else _dense_counts(work)


def _dense_counts(work: Workload) -> Counts:
    _, n_hidden, n_out = work.sizes
    p = work.params
    with torch.no_grad():
        current = work.x.transpose(0, 1) @ p["hidden.input.weight"].T
        threshold = p["hidden.v_threshold"]
        spikes, v = lif(current, p["hidden.recurrent.weight"], p["hidden.tau_mem"], threshold)
        active = ((v - threshold).abs() < threshold).sum().item()
    forward = work.x.sum().item() * n_hidden + spikes.sum().item() * (n_hidden + n_out)
    return Counts(PASSES * 4.0 * v.numel(), 2 * forward, 0.0, active * n_hidden)


def _listed_counts(work: Workload) -> Counts:
    """Of a chip: its neurons have a floor, and every source lists its targets."""
    layer, x = ours.network(work).hidden, work.x.transpose(0, 1)
    assert isinstance(layer, LinearizedDpi)
    with torch.no_grad():
        c = layer.floored_coefficients(DT)
        current = layer.currents(x, DT)
        spikes, v = kernels.floored(current, layer.recurrent_synapses(), c, layer.floored_dynamics())
        active = (v > 0) & (v < 2 * c.v_threshold)  # floor and leak are 0, and the surrogate is a triangle

    def arrivals(events: torch.Tensor, name: str) -> float:
        """Events times the targets of each source."""
        return float(events.reshape(-1, events.shape[-1]).double().sum(0) @ work.masks[name].sum(0).double())

    inputs, own = "hidden.input.weight", "hidden.recurrent.weight"
    forward = arrivals(x, inputs) + arrivals(spikes, own)
    rows = spikes.sum().item() * work.sizes[2]
    return Counts(FLOORED_PASSES * 4.0 * spikes.numel(), 2 * rows, 2 * forward, arrivals(active, own))


def _seconds(run: Callable[[], object]) -> float:
    """On one thread its processor time, which other work does not lengthen."""
    now = time.perf_counter if torch.get_num_threads() > 1 else time.process_time
    started = now()
    run()
    return now() - started


def _copy(n_bytes: int = 2**28) -> tuple[Callable[[], object], int]:
    """A copy of so many bytes, and what it moves: read once, written once."""
    source, target = torch.zeros(n_bytes // 4), torch.ones(n_bytes // 4)
    return lambda: target.copy_(source), 2 * n_bytes


def _add_rows(n: int, batch: int = 256, rows: int = 4000) -> tuple[Callable[[], object], int]:
    """Random rows of an (n, n) matrix added to one accumulator per sample, parallel over samples; its additions."""
    draw = np.random.default_rng(0)
    weight, index = np.ones((n, n), np.float32), draw.integers(0, n, (batch, rows))
    total = np.zeros((batch, n), np.float32)
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))

    def run() -> None:
        _add(weight, index, total)

    run()  # compiles
    return run, batch * rows * n


@numba.njit(parallel=True)
def _add(weight, index, total):  # type: ignore[no-untyped-def]
    for b in numba.prange(len(index)):
        row = total[b]
        for i in range(0, index.shape[1], BLOCK):
            w0, w1 = weight[index[b, i]], weight[index[b, i + 1]]
            w2, w3 = weight[index[b, i + 2]], weight[index[b, i + 3]]
            for j in range(len(row)):
                row[j] += (w0[j] + w1[j]) + (w2[j] + w3[j])


def _add_lists(n: int, fan_out: int, batch: int = 256, events: int = 4000) -> tuple[Callable[[], object], int]:
    """Random lists of ``fan_out`` of n targets added to one accumulator per sample, as :func:`_add_rows`."""
    draw = np.random.default_rng(0)
    fan_out = min(fan_out, n)
    places = np.stack([draw.permutation(n)[:fan_out] for _ in range(n)]).astype(np.uint32)
    values, index = np.ones((n, fan_out), np.float32), draw.integers(0, n, (batch, events))
    total = np.zeros((batch, n), np.float32)

    def run() -> None:
        _send(values, places, index, total)

    run()  # compiles
    return run, batch * events * fan_out


@numba.njit(parallel=True)
def _send(values, places, index, total):  # type: ignore[no-untyped-def]
    for b in numba.prange(len(index)):
        row = total[b]
        for i in range(index.shape[1]):
            j = index[b, i]
            for k in range(values.shape[1]):
                row[places[j, k]] += values[j, k]
