"""Shared by the tests of the compiled engine: operators with their arguments, and networks of all neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DT, draw
from torch import Tensor

from neurorobust import kernels
from neurorobust.core.params import Params
from neurorobust.core.placement import expand
from neurorobust.core.run import nominal
from neurorobust.dynamics import (
    CancelsExcitation,
    DelayedSubtract,
    DelayedToValue,
    Dynamics,
    LeakyFloor,
    Subtract,
    ToValue,
)
from neurorobust.dynamics.surrogate import Triangle
from neurorobust.kernels import FlooredCoefficients, FlooredDynamics, LifCoefficients
from neurorobust.kernels.runtime import memory
from neurorobust.nn.connections import Linear
from neurorobust.nn.decoders import per_step
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, Neuron

STEPS, BATCH, N, DIES = 6, 3, 4, 3
Maker = Callable[..., Tensor]


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    """Assert equality to a fraction of the largest expected entry."""
    scale = expected.detach().abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale + 1e-13)


def by(kernel: str, function: Callable[..., Any], *args: Any) -> tuple[Tensor, ...]:
    """The results of a function by one kernel, as a tuple."""
    with kernels.using(kernel):
        result = function(*args)
    return result if isinstance(result, tuple) else (result,)


def spiking(
    current: Tensor, recurrent: Tensor, alpha: Tensor, v_threshold: Tensor, adaptation: Tensor, refractory: Tensor
) -> Tensor:
    """Spikes and membrane of an adaptive layer, side by side."""
    c = LifCoefficients(alpha, 1 - alpha, v_threshold, None, 0.1 * alpha, None, refractory, alpha, adaptation)
    return torch.cat(kernels.lif_trace(current, recurrent, c, Dynamics(Triangle(), DelayedSubtract())), -1)


def whole_layer(x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor, alpha: Tensor) -> Tensor:
    """Spikes of a layer with its synapses."""
    c = LifCoefficients(alpha, 1 - alpha, alpha / 3, alpha / 2, v_reset=-0.1 * alpha)
    return kernels.lif_layer(x, (weight, bias), recurrent, c, Dynamics(Triangle(), ToValue()))


def floored_numbers(alpha: Tensor, v_floor: Tensor, refractory: Tensor | None = None) -> FlooredCoefficients:
    """Everything that a neuron with a floor can have."""
    return FlooredCoefficients(
        alpha, 1 - alpha, 0.8 * (1 - alpha), alpha / 2, alpha / 3, 0.1 * (1 - alpha), alpha / 10, -0.1 * v_floor,
        0.1 * alpha, -0.05 * alpha, refractory, alpha, 0.02 * alpha, 0.03 * alpha,
    )  # fmt: skip


def floored(current: Tensor, recurrent: Tensor, alpha: Tensor, v_floor: Tensor, refractory: Tensor) -> Tensor:
    """Spikes of a layer with a floor."""
    dynamics = FlooredDynamics(Triangle(), LeakyFloor(0.3))
    return kernels.floored(current, recurrent, floored_numbers(alpha, v_floor, refractory), dynamics)[0]


def cancelling(current: Tensor, recurrent: Tensor, alpha: Tensor, v_floor: Tensor, refractory: Tensor) -> Tensor:
    """:func:`floored` where inhibition only cancels."""
    dynamics = FlooredDynamics(Triangle(), LeakyFloor(0.3), CancelsExcitation())
    return kernels.floored(current, recurrent, floored_numbers(alpha, v_floor, refractory), dynamics)[0]


def floored_layer(x: Tensor, weight: Tensor, recurrent: Tensor, alpha: Tensor, v_floor: Tensor) -> Tensor:
    """Spikes of a layer with a floor and its synapses."""
    dynamics = FlooredDynamics(Triangle(), LeakyFloor(0.3))
    return kernels.floored_layer(x, weight, recurrent, floored_numbers(alpha, v_floor), dynamics)


def swapped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """:func:`neurorobust.kernels.linear` of an input that lies in memory batch first."""
    return kernels.linear(x.transpose(0, 1), weight, bias)


POOLED = kernels.Convolution(
    kernels.Window((2, 3, 2), (2, 2), (1, 1), (1, 0)), 3, kernels.Window((2, 6, 5), (2, 2), (2, 2)), 4
)


def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution with steps of two, of images (2, 6, 5)."""
    window = kernels.Window((2, 6, 5), (3, 2), (2, 1), (0, 1))
    return kernels.convolve(x, kernels.Convolution(window, 3), weight, bias)


def pooled(x: Tensor, scale: Tensor) -> Tensor:
    """A mean over windows that overlap, of a scaled input."""
    return kernels.pool(x * scale, kernels.Window((2, 6, 5), (3, 2), (2, 1)), 6)


def convolved_layer(x: Tensor, weight: Tensor, bias: Tensor, alpha: Tensor, refractory: Tensor) -> Tensor:
    """Spikes of adaptive neurons with synapses behind a pooling and a convolution."""
    c = LifCoefficients(alpha, 1 - alpha, alpha / 6, alpha / 2, 0.1 * alpha, None, refractory, alpha, alpha / 3)
    return kernels.convolve_lif(x, POOLED, (weight, bias), c, Dynamics(Triangle(), DelayedSubtract()))


def events(seed: int, rate: float, *shape: int) -> Tensor:
    """Zeros and ones."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) < rate).double()


def decay(seed: int, *shape: int) -> Tensor:
    return 0.8 + 0.1 * torch.sigmoid(draw(seed, *shape))


def synapses(rate: float, n_out: int) -> list[Maker]:
    """Makers of an input, a weight and a bias."""
    return [
        lambda s, *d: events(s, rate, *d, STEPS, BATCH, 30),
        lambda s, *d: draw(s, *d, n_out, 30),
        lambda s, *d: draw(s, *d, n_out),
    ]


def recurrent_weight(s: int, *d: int) -> Tensor:
    return 0.5 * draw(s, *d, N, N)


def signed_recurrent(s: int, *d: int) -> Tensor:
    return draw(s, *d, N, N) / 2


def per_neuron(s: int, *d: int) -> Tensor:
    return decay(s, *d, N)


def currents(s: int, *d: int) -> Tensor:
    return draw(s, *d, STEPS, BATCH, N) + 1


FLOORED: list[Maker] = [
    lambda s, *d: draw(s, *d, STEPS, BATCH, 2 * N) + 0.7,
    signed_recurrent,
    per_neuron,
    per_neuron,
    lambda s, *d: events(s, 0.5, *d, N),
]

# Each operator, makers of its arguments (from a seed and leading dimensions), and which of these have a gradient.
OPERATORS: dict[str, tuple[Callable[..., Any], list[Maker], range]] = {
    "lif": (
        spiking,
        [
            currents,
            recurrent_weight,
            per_neuron,
            lambda s, *d: decay(s, *d, N) / 3,
            per_neuron,
            lambda s, *d: events(s, 0.5, *d, N),
        ],
        range(5),
    ),
    "floored": (floored, FLOORED, range(4)),
    "floored, inhibition that cancels": (cancelling, FLOORED, range(4)),
    "floored layer": (floored_layer, [*synapses(0.1, N)[:2], signed_recurrent, per_neuron, per_neuron], range(5)),
    "floored layer of many events": (
        floored_layer,
        [*synapses(0.9, N)[:2], signed_recurrent, per_neuron, per_neuron],
        range(5),
    ),
    "layer": (whole_layer, [*synapses(0.1, N), recurrent_weight, per_neuron], range(5)),
    "layer of many events": (whole_layer, [*synapses(0.9, N), recurrent_weight, per_neuron], range(5)),
    "layer of the input": (whole_layer, [*synapses(0.1, N), recurrent_weight, per_neuron], range(1, 5)),
    "integrator": (kernels.leaky_integrator, [currents, per_neuron, per_neuron], range(3)),
    "sparse": (kernels.linear, synapses(0.05, 5), range(3)),
    "sparse wide": (kernels.linear, synapses(0.05, 40), range(3)),
    "dense": (kernels.linear, synapses(1.0, 40), range(3)),
    "convolution": (
        convolved,
        [
            lambda s, *d: events(s, 0.1, *d, STEPS, BATCH, 60),
            lambda s, *d: draw(s, *d, 3, 2, 3, 2),
            lambda s, *d: draw(s, *d, 3),
        ],
        range(3),
    ),
    "pooling": (pooled, [lambda s, *d: events(s, 0.1, *d, STEPS, BATCH, 60), lambda s, *d: draw(s, *d, 60)], range(2)),
    "convolved layer": (
        convolved_layer,
        [
            lambda s, *d: events(s, 0.4, *d, STEPS, BATCH, 60),
            lambda s, *d: draw(s, *d, 3, 2, 2, 2),
            lambda s, *d: draw(s, *d, 3),
            lambda s, *d: decay(s, *d, POOLED.n_out),
            lambda s, *d: events(s, 0.5, *d, POOLED.n_out),
        ],
        range(4),
    ),
    "batch first": (swapped, synapses(0.05, 40), range(3)),
}
every_operator = pytest.mark.parametrize("name", OPERATORS)


def arguments(
    name: str, batched: Sequence[bool] | None = None
) -> tuple[Callable[..., Any], list[Tensor], tuple[int | None, ...]]:
    """The operator, its arguments, those in ``batched`` one for each die, and vmap's in_dims."""
    function, makers, _ = OPERATORS[name]
    batched = [False] * len(makers) if batched is None else batched
    args = [make(i, DIES) if is_batched else make(i) for i, (make, is_batched) in enumerate(zip(makers, batched))]
    return function, args, tuple(0 if is_batched else None for is_batched in batched)


# Networks.


def cores(n: int) -> Tensor:
    return torch.arange(n) * 2 // n


def build(readout: Callable[..., Neuron], **last: Any) -> Network:
    """Three spiking layers of all models, with skip connections, biases, masks, v_leak, refractory times per neuron."""
    hidden = {
        "a": AdaptiveLif(
            Linear(draw(1, 6, 3), 0.1 * draw(2, 6)),
            recurrent=Linear(0.3 * draw(3, 6, 6), 0.1 * draw(4, 6), mask=draw(5, 6, 6) > 0),
            core=cores(6),
            tau_mem=0.02,
            tau_adapt=0.1,
            adaptation=0.5,
            v_threshold=torch.tensor([0.1, 0.12]).double(),
        ),
        "b": Lif(
            Linear(draw(6, 5, 9)), tau_mem=0.01, v_threshold=0.1, v_leak=0.02, v_reset=-0.05, t_ref=decay(7, 5) / 400
        ),
        "c": CubaLif(
            Linear(draw(8, 4, 11)),
            recurrent=Linear(draw(9, 4, 4)),
            tau_mem=0.02,
            tau_syn=0.005,
            v_threshold=0.1,
            t_ref=torch.tensor([1e-4, 1e-3, 2e-3, 3e-3]).double(),
            r=2.0,
            reset=Subtract(),
        ),
    }
    inputs = {"b": ["a", "x"], "c": ["a", "b"], "o": ["c", "x", "a"]}
    output = readout(Linear(draw(10, 2, 13), draw(11, 2)), **last)
    return Network({**hidden, "o": output}, DT, inputs, decode=per_step)


NETWORKS = {
    "integrator": build(LeakyIntegrator, tau_mem=0.02, v_leak=0.3, r=2.0),
    "filtered integrator": build(CubaLeakyIntegrator, tau_mem=0.02, tau_syn=0.01, v_leak=-0.3),
    "spikes": build(Lif, tau_mem=0.02, v_threshold=0.1, reset=DelayedToValue()),
}


def dies_of(net: Network, n: int, seed: int = 0) -> Iterator[Params]:
    """All parameters of n dies: every value moved by 20 %."""
    base = expand(nominal(net), placement_of(net))
    for k in range(n):
        yield {name: value * (1 + 0.2 * draw(seed + k, *value.shape).clamp(-3, 3)) for name, value in base.items()}


def waiting(pool: memory.BufferPool) -> list[np.ndarray]:
    """All memory that nobody uses, the oldest first."""
    with pool.lock:
        pool._gather()
        return list(pool.idle)
