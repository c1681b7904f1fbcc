"""Exported networks in NEST: spike for spike as IF_curr_delta and iaf_psc_delta, in their rates as IF_curr_exp.

    make oracles
    python -m benchmarks.pynn_nest

Random networks of 10 inputs, 20 recurrent neurons and 5 outputs, each neuron with its own time constant, resistance,
threshold, rest, reset and bias; 200 ms of events, and 1 s for rates. NEST runs in ``.venv-oracles``. Smaller steps are
those of another network: the same events and the same charge of each, in steps of another length. Rows are kept in
``results/pynn_nest.json``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurorobust as nr
from benchmarks.circuit_oracles import oracle
from neurorobust._util import files
from neurorobust.nn import CubaLif, Lif, Linear, ToValue

N, DT, DURATION, LONG, CHANNELS = 20, 1e-3, 0.2, 1.0, 10
PARTS = (1, 2, 4, 8)
"""Steps per millisecond."""
RESULTS = Path(__file__).parent / "results" / "pynn_nest.json"


def network(seed: int, kind: type = Lif, parts: int = 1, high: float = 1.0) -> nr.Network:
    """Float64; with ``parts``, a step is so many times shorter, and an event has the same charge. ``high``: a factor of
    all thresholds."""
    key = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=key, dtype=torch.float64)

    def between(low: float, high: float, n: int) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=key, dtype=torch.float64)

    def layer(n_in: int, n: int, loops: bool) -> Lif | CubaLif:
        own = {
            "tau_mem": between(0.005, 0.02, n),
            "v_threshold": high * between(0.2, 0.4, n),
            "r": between(0.8, 1.2, n),
            "v_leak": between(-0.05, 0.05, n),
            "v_reset": between(-0.1, 0.05, n),
        }
        if kind is CubaLif:
            own["tau_syn"] = between(0.003, 0.008, n)
        weights = Linear(parts * (1.5 * normal(n, n_in) + 0.5), 0.05 * normal(n))
        back = Linear(parts * normal(n, n), 0.02 * normal(n)) if loops else None
        return kind(weights, recurrent=back, reset=ToValue(), **own)

    return nr.Network({"hidden": layer(CHANNELS, 20, True), "out": layer(20, 5, False)}, DT / parts)


def events(seed: int, parts: int = 1, duration: float = DURATION) -> Tensor:
    """(T, channels), at whole milliseconds whatever the step."""
    key = torch.Generator().manual_seed(1000 + seed)
    steps = round(duration / DT)
    x = torch.zeros(steps * parts, CHANNELS, dtype=torch.float64)
    x[::parts] = (torch.rand((steps, CHANNELS), generator=key) < 0.2).double()
    return x


@torch.no_grad()
def spikes(net: nr.Network, x: Tensor) -> dict[str, Tensor]:
    """(T, n) by layer, for one sample (T, channels)."""
    return {name: value[:, 0] for name, value in net(x[None])[1].items()}


def in_pynn(networks: Sequence[nr.Network], xs: Sequence[Tensor], **more: Any) -> list[dict[str, Tensor]]:
    """The spikes of the exported scripts in PyNN on NEST, (T, n) by layer."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            {"folder": str(nr.to_pynn(net, Path(folder) / str(k), **more)), "x": x.tolist()}
            for k, (net, x) in enumerate(zip(networks, xs))
        ]
        answer = oracle("pynn_nest", {"runs": runs})["spikes"]
    return [
        {name: _counts(pairs, len(x), net.layers()[name].n) for name, pairs in found.items()}
        for net, x, found in zip(networks, xs, answer)
    ]


def in_nest(networks: Sequence[nr.Network], xs: Sequence[Tensor]) -> list[Tensor]:
    """The spikes of the first layers, recurrent, in ``iaf_psc_delta``, written to NEST without PyNN, (T, n)."""
    given = []
    for net, x in zip(networks, xs):
        layer = net.layers()["hidden"]
        recurrent = layer.recurrent
        assert isinstance(layer.input, Linear) and isinstance(recurrent, Linear)
        assert layer.input.bias is not None and recurrent.bias is not None
        names = {"r": "r", "threshold": "v_threshold", "leak": "v_leak", "reset": "v_reset"}
        own = {name: layer.per_neuron(kind).tolist() for name, kind in names.items()}
        own |= {"tau": (1e3 * layer.per_neuron("tau_mem")).tolist(), "x": x.tolist()}
        own |= {"weight": layer.input.matrix().tolist(), "recurrent": recurrent.matrix().tolist()}
        given.append(own | {"bias": (layer.input.bias + recurrent.bias).tolist()})
    answer = oracle("nest_delta", {"dt": 1e3 * DT, "networks": given})["spikes"]
    return [_counts(pairs, len(x), net.layers()["hidden"].n) for net, x, pairs in zip(networks, xs, answer)]


def _counts(pairs: Sequence[tuple[int, int]], steps: int, n: int) -> Tensor:
    counts = torch.zeros(steps, n, dtype=torch.float64)
    for step, neuron in pairs:
        if step < steps:
            counts[step, neuron] += 1
    return counts


def delta(n: int = N) -> dict[str, int]:
    """Spikes, and bins that differ, of exported networks as IF_curr_delta."""
    networks, xs = [network(seed) for seed in range(n)], [events(seed) for seed in range(n)]
    expected = [spikes(net, x) for net, x in zip(networks, xs)]
    found = in_pynn(networks, xs)
    pairs = [(one[name], other[name]) for one, other in zip(expected, found) for name in one]
    return _compared(pairs, n)


def direct(n: int = N) -> dict[str, int]:
    """The same of recurrent layers in iaf_psc_delta. A step without events comes first, as NEST needs one."""
    networks, xs = [network(seed) for seed in range(n)], [events(seed) for seed in range(n)]
    later = [torch.cat([torch.zeros(1, CHANNELS, dtype=torch.float64), x]) for x in xs]
    expected = [spikes(net, x)["hidden"] for net, x in zip(networks, later)]
    return _compared(list(zip(expected, in_nest(networks, later))), n)


def _compared(pairs: Sequence[tuple[Tensor, Tensor]], n: int) -> dict[str, int]:
    return {
        "networks": n,
        "bins": sum(one.numel() for one, _ in pairs),
        "spikes": sum(int(one.sum()) for one, _ in pairs),
        "differing": sum(int((one != other).sum()) for one, other in pairs),
    }


def rates(parts: int, n: int = N, high: float = 4.0) -> dict[str, float]:
    """Spikes of exported networks as IF_curr_exp against those here, at one length of a step: of all networks together,
    and the mean over the networks of the size of the difference. With ``high`` = 4 neurons fire at about 40 Hz; with 1,
    so often that their own rates depend on the step."""
    networks = [network(seed, CubaLif, parts, high) for seed in range(n)]
    xs = [events(seed, parts, LONG) for seed in range(n)]
    ours = [sum(float(value.sum()) for value in spikes(net, x).values()) for net, x in zip(networks, xs)]
    theirs = [sum(float(value.sum()) for value in found.values()) for found in in_pynn(networks, xs)]
    each = [abs(other / one - 1) for one, other in zip(ours, theirs)]
    return {
        "dt_ms": 1e3 * DT / parts,
        "hz": sum(ours) / (n * 25 * LONG),
        "networks": n,
        "spikes": sum(ours),
        "in_nest": sum(theirs),
        "difference": sum(theirs) / sum(ours) - 1,
        "mean_difference_of_a_network": sum(each) / n,
        "largest": max(each),
    }


def main() -> None:
    found: dict[str, Any] = {"IF_curr_delta": delta(), "iaf_psc_delta": direct()}
    found["IF_curr_exp"] = [rates(parts) for parts in PARTS]
    found["IF_curr_exp, low thresholds"] = [rates(parts, high=1.0) for parts in PARTS]
    files.write_text(RESULTS, json.dumps(found, indent=1) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
