"""Cost of a step of LinearizedDpi beside AdaptiveLif, one thread, in turns.

    python -m benchmarks.speed.neuron_cost [PAIRS]

Recurrent layers of one shape, with the same input, masks and, within 5 %, the same rate of spikes: the weights of the
DPI neurons are scaled until it is. A pass is forward alone, or forward and backward to every parameter. Each pair of
runs comes one after the other, in alternating order; times are CPU times, the ratio is the median over the pairs, with
its quartiles.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurorobust.nn import AdaptiveLif, Linear, LinearizedDpi, Neuron

DT, PAIRS = 5e-3, 40


@dataclass(frozen=True)
class Shape:
    """A layer and its input."""

    n: int
    n_in: int
    steps: int
    batch: int
    fan_in: int
    rate: float

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Input (T, B, n_in), its weight, the recurrent weight and its mask."""
        draw = torch.Generator().manual_seed(0)
        x = (torch.rand(self.steps, self.batch, self.n_in, generator=draw) < self.rate).float()
        weight = torch.randn(self.n, self.n_in, generator=draw) / self.n_in**0.5
        mask = torch.rand(self.n, self.n, generator=draw) < self.fan_in / self.n
        return x, weight, torch.randn(self.n, self.n, generator=draw) / self.fan_in**0.5, mask


SHAPES = {
    "ecg: 256 neurons, fan-in 60": Shape(256, 4, 140, 25, 60, 0.12),
    "128 neurons, fan-in 60": Shape(128, 4, 140, 25, 60, 0.12),
    "keywords: 256 neurons, 40 inputs, dense": Shape(256, 40, 100, 32, 256, 0.05),
    "a chip: 1024 neurons, fan-in 64": Shape(1024, 64, 100, 25, 64, 0.05),
}


def adaptive(shape: Shape) -> Neuron:
    _, weight, recurrent, mask = shape.tensors()
    values = {"tau_mem": 0.05, "tau_adapt": 0.1, "adaptation": 0.5, "v_threshold": 0.1}
    arguments: dict[str, Any] = per_neuron(shape.n, values)
    return AdaptiveLif(Linear(2 * weight), recurrent=Linear(0.5 * recurrent, mask=mask), **arguments)


def dpi(shape: Shape, adapted: bool, t_ref: float | None, scale: float) -> Neuron:
    _, weight, recurrent, mask = shape.tensors()
    values = {"tau_mem": 0.05, "tau_syn_exc": 0.005, "tau_syn_inh": 0.007, "v_threshold": 0.1}
    values |= {"tau_adapt": 0.1, "adaptation": 0.02} if adapted else {}
    values |= {} if t_ref is None else {"t_ref": t_ref}
    arguments: dict[str, Any] = per_neuron(shape.n, values)
    return LinearizedDpi(Linear(2 * scale * weight), recurrent=Linear(0.5 * scale * recurrent, mask=mask), **arguments)


def per_neuron(n: int, values: dict[str, float]) -> dict[str, Tensor]:
    """Every value for each neuron: what an attack differentiates."""
    return {kind: torch.full((n,), value) for kind, value in values.items()}


def at_rate(make: Callable[[float], Neuron], x: Tensor, rate: float) -> tuple[Neuron, float]:
    """The layer at the scale of weights at which it spikes as often, by bisection; and its rate."""
    low, high, found = 0.01, 20.0, 0.0
    for _ in range(14):
        middle = (low * high) ** 0.5
        with torch.no_grad():
            found = make(middle)(x, DT).mean().item()
        if abs(found / rate - 1) < 0.05:
            break
        low, high = (low, middle) if found > rate else (middle, high)
    return make(middle), found


def passes(layer: Neuron, x: Tensor) -> dict[str, Callable[[], object]]:
    def forward() -> None:
        with torch.no_grad():
            layer(x, DT)

    def both() -> None:
        for parameter in layer.parameters():
            parameter.grad = None
        layer(x, DT).sum().backward()

    return {"forward": forward, "forward and backward": both}


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(base: Callable[[], object], other: Callable[[], object], pairs: int) -> tuple[float, float, np.ndarray]:
    """Median ms of both, and the quartiles of their ratio over pairs."""
    base(), other()
    times = []
    for i in range(pairs):
        first, second = (base, other) if i % 2 == 0 else (other, base)
        a, b = seconds(first), seconds(second)
        times.append((a, b) if i % 2 == 0 else (b, a))
    both = 1e3 * np.array(times)
    return (
        float(np.median(both[:, 0])),
        float(np.median(both[:, 1])),
        np.quantile(both[:, 1] / both[:, 0], (0.25, 0.5, 0.75)),
    )


def main() -> None:
    torch.set_num_threads(1)
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    print("| layer | neuron | rate | pass | AdaptiveLif ms | ms | ratio (quartiles) |\n|---|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        x, base = shape.tensors()[0], adaptive(shape)
        with torch.no_grad():
            rate = base(x, DT).mean().item()
        for label, adapted, t_ref in (("no adaptation", False, None), ("Ahp", True, None), ("Ahp, t_ref", True, 1e-2)):
            layer, found = at_rate(partial(dpi, shape, adapted, t_ref), x, rate)
            own, others = passes(layer, x), passes(base, x)
            for kind in own:
                a, b, (low, middle, high) = compare(others[kind], own[kind], pairs)
                print(
                    f"| {name} | {label} | {rate:.3f} / {found:.3f} | {kind} | {a:.2f} | {b:.2f} | {middle:.2f} "
                    f"({low:.2f}–{high:.2f}) |"
                )


if __name__ == "__main__":
    main()
