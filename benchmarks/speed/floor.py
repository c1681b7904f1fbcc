"""The sparse bound of W2: what its bytes and additions take at the speed this machine has for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import torch

from . import ours
from .measuring import timed
from .peers.torch_loop import lif
from .workloads import WORKLOADS, Workload

PASSES = 6  # membrane, spikes and the current's gradient of every neuron and step: each written once, read once
BLOCK = 4  # rows added at a time


@dataclass(frozen=True)
class Floor:
    """The bound and what it is made of.

    Attributes:
        state_bytes: of membranes, spikes and gradients, written and read once.
        row_additions: a spike adds its row of weights to the currents (spikes × fan-out), and backward a row of
            gradients to its row of weights: twice as many.
        backward_additions: the recurrent product backward, for the neurons whose surrogate is not 0. Not in the bound.
        bandwidth: bytes/s of a copy far larger than the caches. addition_rate: additions/s of rows that lie in them.
        ours_ms: median of the step.
    """

    state_bytes: float
    row_additions: float
    backward_additions: float
    bandwidth: float
    addition_rate: float
    ours_ms: float

    @property
    def bound_ms(self) -> float:
        return 1e3 * (self.state_bytes / self.bandwidth + self.row_additions / self.addition_rate)

    @property
    def with_backward_ms(self) -> float:
        return self.bound_ms + 1e3 * self.backward_additions / self.addition_rate

    @property
    def times_bound(self) -> float:
        """Ours over the bound."""
        return self.ours_ms / self.bound_ms


def floor(runs: int = 7) -> Floor:
    """The bound of W2, both ceilings and ours in turn, best of the ceilings' and median of our runs."""
    work = WORKLOADS["W2"]
    state_bytes, row_additions, backward_additions = counts(work)
    copy, n_bytes = _copy()
    add, n_additions = _add_rows(work.sizes[1])
    step = ours.tool.prepare(work).step
    step()
    times = np.array([[_seconds(copy), _seconds(add), timed(step).seconds] for _ in range(runs)])
    return Floor(
        state_bytes,
        row_additions,
        backward_additions,
        n_bytes / times[:, 0].min(),
        n_additions / times[:, 1].min(),
        1e3 * float(np.median(times[:, 2])),
    )


def counts(work: Workload) -> tuple[float, float, float]:
    """State bytes, additions of rows, additions of the recurrent product backward, in one training step."""
    _, n_hidden, n_out = work.sizes
    p = work.params
    with torch.no_grad():
        current = work.x.transpose(0, 1) @ p["hidden.input.weight"].T
        threshold = p["hidden.v_threshold"]
        spikes, v = lif(current, p["hidden.recurrent.weight"], p["hidden.tau_mem"], threshold)
        active = ((v - threshold).abs() < threshold).sum().item()
    forward = work.x.sum().item() * n_hidden + spikes.sum().item() * (n_hidden + n_out)
    return PASSES * 4.0 * v.numel(), 2 * forward, active * n_hidden


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


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
