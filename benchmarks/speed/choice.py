"""Whether the engine takes the cheaper way: rows of events or a matrix product, at every rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from neurorobust import kernels
from neurorobust.kernels import compiled

from .measuring import timed

RATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
SIZES = ((32, 128), (64, 256), (784, 256), (256, 64))
STEPS, BATCH = 100, 64


@dataclass(frozen=True)
class Choice:
    """Time (ms) of x weightᵀ forward and backward, for a share of inputs that are not 0.

    Attributes:
        sizes: n_in, n_out. rate: the share.
        events_ms, product_ms, chosen_ms: rows of events, matrix product, and whatever the engine chooses.
    """

    sizes: tuple[int, int]
    rate: float
    events_ms: float
    product_ms: float
    chosen_ms: float

    @property
    def excess(self) -> float:
        """What was chosen over the better of the two."""
        return self.chosen_ms / min(self.events_ms, self.product_ms)


@contextmanager
def _always(events: bool) -> Iterator[None]:
    """The one way whatever the rate; what the engine asks is replaced for a while."""
    asked: Any = compiled._sparse
    compiled._sparse = lambda x, n_out: events  # type: ignore[assignment]
    try:
        yield
    finally:
        compiled._sparse = asked


def choices(runs: int) -> list[Choice]:
    """Every rate at every size, the three in turn, best of ``runs`` each."""
    return [_choice(sizes, rate, runs) for sizes in SIZES for rate in RATES]


def _choice(sizes: tuple[int, int], rate: float, runs: int) -> Choice:
    draw = torch.Generator().manual_seed(0)
    x = (torch.rand(BATCH, STEPS, sizes[0], generator=draw) < rate).float().transpose(0, 1)
    weight = torch.randn(sizes[1], sizes[0], generator=draw).requires_grad_()

    def step() -> None:
        weight.grad = None
        kernels.linear(x, weight, None).sum().backward()

    def forced(events: bool) -> Callable[[], None]:
        def run() -> None:
            with _always(events):
                step()

        return run

    ways = (forced(True), forced(False), step)
    for way in ways:
        way()
    times = [[timed(way).seconds for way in ways] for _ in range(runs)]
    return Choice(sizes, rate, *(1e3 * min(column) for column in zip(*times)))
