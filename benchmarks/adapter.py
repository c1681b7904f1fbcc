"""The price of ``nr.from_snntorch``: the time of a forward pass, as a ratio to that of the user's own module.

    python -m benchmarks.adapter --out benchmarks/results/adapter.json
    python -m benchmarks.adapter --only loop --profile     # where the time of one pass goes

Both run in one process and in turns, without gradient, on the same samples; the order is reversed every second time.
A ratio is that of the medians. Rows of layers are called once per step, as snnTorch's tutorials do.
"""

from __future__ import annotations

import argparse
import cProfile
import platform
import pstats
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import snntorch as snn
import torch
from snntorch import utils
from torch import Tensor, nn

import neurorobust as nr
from neurorobust._util import digests
from neurorobust.core.run import forward
from neurorobust.interop.decode import spike_count

STEPS = 25


class Loop(nn.Module):
    """Two layers with a loop over time, as in snnTorch's tutorials."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, cls: Any = snn.Leaky, **options: Any):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(n_in, n_hidden), cls(beta=0.9, **options)
        self.fc2, self.lif2 = nn.Linear(n_hidden, n_out), snn.Leaky(beta=0.9)

    def currents(self, x: Tensor) -> Iterator[Tensor]:
        return (self.fc1(step) for step in x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state = self.lif1.reset_mem()
        states = list(state) if isinstance(state, tuple) else [state]
        mem, spikes, membranes = self.lif2.reset_mem(), [], []
        for current in self.currents(x):
            z, *states = self.lif1(current, *states)
            z, mem = self.lif2(self.fc2(z), mem)
            spikes.append(z)
            membranes.append(mem)
        return torch.stack(spikes), torch.stack(membranes)


class Picture(Loop):
    """The same picture in every step."""

    def currents(self, x: Tensor) -> Iterator[Tensor]:
        return (self.fc1(x) for _ in range(STEPS))


class Convolutions(nn.Module):
    """The convolutional network of tutorial 6, with the picture repeated inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(1, 12, 5), nn.Conv2d(12, 64, 5), nn.Linear(64 * 4 * 4, 10)
        self.lif1, self.lif2, self.lif3 = (snn.Leaky(beta=0.5) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, mem3 = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        spikes = []
        for _ in range(5):
            z, mem1 = self.lif1(torch.max_pool2d(self.conv1(x), 2), mem1)
            z, mem2 = self.lif2(torch.max_pool2d(self.conv2(z), 2), mem2)
            z, mem3 = self.lif3(self.fc(z.flatten(1)), mem3)
            spikes.append(z)
        return torch.stack(spikes)


def row(n_in: int, n_hidden: int, n_out: int, cls: Any = snn.Leaky, **options: Any) -> nn.Sequential:
    """Two layers in an ``nn.Sequential``."""
    return nn.Sequential(
        nn.Linear(n_in, n_hidden),
        cls(beta=0.9, init_hidden=True, **options),
        nn.Linear(n_hidden, n_out),
        snn.Leaky(beta=0.9, init_hidden=True),
    )


def events(samples: int, steps: int, n: int) -> Tensor:
    """Binary inputs (B, T, n), a fifth of them 1."""
    return (torch.rand(samples, steps, n, generator=torch.Generator().manual_seed(0)) < 0.2).float()


def pictures(*shape: int) -> Tensor:
    """Pictures in [0, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


WORKLOADS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "row 20-64-4": (lambda: row(20, 64, 4), lambda: events(32, 50, 20)),
    "row 100-256-10": (lambda: row(100, 256, 10), lambda: events(64, 50, 100)),
    "row 784-1000-10": (lambda: row(784, 1000, 10), lambda: events(64, STEPS, 784)),
    "row RLeaky 100-128-10": (lambda: row(100, 128, 10, snn.RLeaky, linear_features=128), lambda: events(64, 50, 100)),
    "row Synaptic 100-256-10": (lambda: row(100, 256, 10, snn.Synaptic, alpha=0.8), lambda: events(64, 50, 100)),
    "loop 3-16-2, 1 sample": (lambda: Loop(3, 16, 2), lambda: events(1, 50, 3)),
    "loop 20-64-4": (lambda: Loop(20, 64, 4), lambda: events(32, 50, 20)),
    "loop 100-256-10": (lambda: Loop(100, 256, 10), lambda: events(64, 50, 100)),
    "loop picture 784-1000-10": (lambda: Picture(784, 1000, 10), lambda: pictures(128, 784)),
    "loop RLeaky 100-128-10": (
        lambda: Loop(100, 128, 10, snn.RLeaky, linear_features=128),
        lambda: events(64, 50, 100),
    ),
    "loop Synaptic 100-256-10": (lambda: Loop(100, 256, 10, snn.Synaptic, alpha=0.8), lambda: events(64, 50, 100)),
    "loop Leaky to zero 20-64-4": (lambda: Loop(20, 64, 4, reset_mechanism="zero"), lambda: events(32, 50, 20)),
    "loop convolutions": (Convolutions, lambda: pictures(32, 1, 28, 28)),
}


def passes(name: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The user's pass over all samples, and ours; checked to give the same spike counts up to ties."""
    make, data = WORKLOADS[name]
    torch.manual_seed(0)
    net, x = make().eval(), data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nr.from_snntorch(net, 1e-3, sample=x, decode=spike_count)
    whole = x.transpose(0, 1) if x.ndim == 3 else x

    def theirs() -> Tensor:
        if isinstance(net, nn.Sequential):
            utils.reset(net)
            return torch.stack([net(step) for step in whole]).sum(0)
        return spike_count(net(whole))

    params = nr.nominal(model)
    found, expected = forward(model, params, x)[0], theirs()
    if bool(((found - expected).abs() > 1).any()):
        raise ValueError(f"{name}: the outputs differ by more than one spike.")
    return theirs, lambda: forward(model, params, x)


@torch.no_grad()
def ratio(name: str, runs: int) -> dict[str, float]:
    """Median times in ms of both passes, and their ratio."""
    theirs, ours = passes(name)
    times: dict[Callable[[], Any], list[float]] = {theirs: [], ours: []}
    for k in range(runs + 2):
        for run in (theirs, ours) if k % 2 else (ours, theirs):
            start = time.perf_counter()
            run()
            times[run].append(time.perf_counter() - start)
    own, adapted = (1e3 * statistics.median(times[run][2:]) for run in (theirs, ours))
    return {"own_ms": round(own, 3), "adapted_ms": round(adapted, 3), "ratio": round(adapted / own, 3)}


@torch.no_grad()
def show_profile(name: str, runs: int) -> None:
    """Print where the time of our pass goes."""
    _, ours = passes(name)
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(runs):
        ours()
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, help="a JSON file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    for name in WORKLOADS:
        if args.only not in name:
            continue
        if args.profile:
            show_profile(name, args.runs)
            continue
        found[name] = ratio(name, args.runs)
        print(f"{name:32s} own {found[name]['own_ms']:9.3f} ms   adapted {found[name]['adapted_ms']:9.3f} ms   "
              f"ratio {found[name]['ratio']:.2f}", flush=True)  # fmt: skip
    for kind in ("row", "loop"):
        ratios = [each["ratio"] for name, each in found.items() if name.startswith(kind)]
        if ratios:
            print(f"{kind}: median {statistics.median(ratios):.2f}, largest {max(ratios):.2f}")
    if args.out is not None:
        machine = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__, "threads": 1}
        digests.write_json(args.out, {"environment": machine | {"runs": args.runs}, "workloads": found})


if __name__ == "__main__":
    main()
