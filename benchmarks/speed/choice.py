"""Test of the engine's choice between rows of events and a matrix product, at every rate.

A recurrent layer always uses rows; it is compared with one matrix product per step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from neurorobust import kernels
from neurorobust.dynamics.resets import Dynamics, Subtract
from neurorobust.dynamics.surrogate import Triangle
from neurorobust.kernels import operators

from .measuring import timed

RATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.5, 0.7, 1.0)
SIZES = ((32, 128), (64, 256), (784, 256), (256, 64))
NEURONS = (64, 256)
STEPS, BATCH = 100, 64


@dataclass(frozen=True)
class Choice:
    """Time (ms) of x weightᵀ forward and backward, for a fraction of inputs that are not 0.

    Attributes:
        sizes: n_in, n_out. rate: the fraction.
        events_ms, product_ms, chosen_ms: rows of events, matrix product, and whatever the engine chooses.
    """

    sizes: tuple[int, int]
    rate: float
    events_ms: float
    product_ms: float
    chosen_ms: float

    @property
    def excess(self) -> float:
        """Time of the chosen way, divided by that of the faster one."""
        return self.chosen_ms / min(self.events_ms, self.product_ms)


@contextmanager
def _always(events: bool) -> Iterator[None]:
    """Always one way, at any rate; replaces the choice of the engine for a while."""
    asked: Any = operators.gathers
    operators.gathers = lambda *_: events
    try:
        yield
    finally:
        operators.gathers = asked


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


@dataclass(frozen=True)
class Recurrent:
    """Time (ms) of a layer of n recurrent neurons forward, of which a fraction spikes in every step.

    Attributes:
        ours_ms: rows of spikes, or of silent neurons. product_ms: the layer without recurrence and a product per step.
    """

    n: int
    rate: float
    ours_ms: float
    product_ms: float

    @property
    def excess(self) -> float:
        return self.ours_ms / self.product_ms


def recurrents(runs: int) -> list[Recurrent]:
    """Every rate at every size, in turn, best of ``runs`` each."""
    return [_recurrent(n, rate, runs) for n in NEURONS for rate in RATES]


@torch.no_grad()
def _recurrent(n: int, rate: float, runs: int) -> Recurrent:
    """Neurons without memory whose input decides on every spike."""
    draw = torch.Generator().manual_seed(0)
    current = torch.where(torch.rand(STEPS, BATCH, n, generator=draw) < rate, 1e3, -1e3)
    weight = torch.randn(n, n, generator=draw) * 1e-3
    numbers = kernels.LifCoefficients(torch.zeros(n), torch.ones(n), torch.ones(n))
    dynamics = Dynamics(Triangle(), Subtract())
    spikes = kernels.lif(current, None, numbers, dynamics)

    def products() -> None:
        for step in spikes:
            torch.mm(step, weight.T)

    ways = (
        lambda: kernels.lif(current, weight, numbers, dynamics),
        lambda: kernels.lif(current, None, numbers, dynamics),
        products,
    )
    for way in ways:
        way()
    ours, alone, product = (
        1e3 * min(column) for column in zip(*([timed(way).seconds for way in ways] for _ in range(runs)))
    )
    return Recurrent(n, rate, ours, alone + product)
