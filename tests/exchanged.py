"""Random networks for the tests of exchange, and their spikes."""

from __future__ import annotations

import torch
from torch import Tensor

from neurorobust.dynamics import Reset, ToValue
from neurorobust.nn import CubaLif, Lif, Linear, Network

DT = 1e-3


def network(
    seed: int,
    kind: type = Lif,
    reset: Reset | None = None,
    *,
    recurrent: bool = True,
    uniform: bool = False,
    scale: float = 1.0,
    **more: Tensor | float,
) -> Network:
    """10–20–5 neurons in float64, with a value of every parameter for each neuron, or for each layer (``uniform``)."""
    key = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=key, dtype=torch.float64)

    def layer(n_in: int, n: int, loops: bool) -> Lif | CubaLif:
        def between(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(() if uniform else (n,), generator=key, dtype=torch.float64)

        own = {"tau_mem": between(0.005, 0.02), "v_threshold": between(0.2, 0.4), "r": between(0.8, 1.2)} | more
        if kind is CubaLif:
            own["tau_syn"] = between(0.003, 0.008)
        weights = Linear(scale * (1.5 * normal(n, n_in) + 0.5), scale * 0.05 * normal(n))
        back = Linear(scale * normal(n, n), scale * 0.02 * normal(n)) if loops else None
        return kind(weights, recurrent=back, reset=reset or ToValue(), **own)

    return Network({"hidden": layer(10, 20, recurrent), "out": layer(20, 5, False)}, DT)


def events(seed: int, n: int = 10, batch: int = 2, steps: int = 200) -> Tensor:
    """Random events, (B, T, n), float64."""
    key = torch.Generator().manual_seed(1000 + seed)
    return (torch.rand((batch, steps, n), generator=key) < 0.2).double()


def spikes(network: Network, x: Tensor) -> Tensor:
    """The output of the last layer, (T, B, n), in float64."""
    with torch.no_grad():
        return network.double()(x.double())[1][network.names[-1]]


@torch.no_grad()
def multiples(network: Network, x: Tensor) -> float:
    """The largest v/ϑ before a reset in any layer of a feed-forward or recurrent network with ``Subtract``."""
    signals, largest = x.transpose(0, 1), 0.0
    for layer in network.layers().values():
        c, matrix = layer.coefficients(network.dt), layer.recurrent_matrix()
        assert c is not None
        current, v, i = layer.current(signals, network.dt), 0.0, 0.0
        z, out = torch.zeros_like(current[0]), []
        for step in current:
            drive = step if matrix is None else step + z @ matrix.T
            i = drive if c.syn is None else c.syn * i + drive
            v = c.alpha * (v - z * c.v_threshold) + c.gain * i
            z = (v > c.v_threshold).double()
            out.append(z)
            largest = max(largest, float((v / c.v_threshold).max()))
        signals = torch.stack(out)
    return largest
