"""The cost of wrapping: a training step of a bare module against the same step through neurorobust, interleaved.

    python -m benchmarks.wrapping            # a table; --json for the numbers

Goal: less than 5 % for a torch module. Medians of runs in turns on identical weights and inputs. Quote the ratio: times
are for one machine on one day.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional

import neurorobust as nr
from neurorobust.core.run import forward
from neurorobust.data.tasks.fashion_mnist import cnn


def step(forward: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """One forward and backward pass."""

    def run() -> None:
        module.zero_grad(set_to_none=True)
        functional.cross_entropy(forward(x), y).backward()

    return run


def through(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Run a network as every regularizer does: at given parameters."""
    return lambda x: forward(model, dict(model.named_parameters()), x, update_buffers=True)[0]


def snn_loop(net: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """Run an snnTorch network as its tutorials do."""

    def run(x: Tensor) -> Tensor:
        for module in net:
            if isinstance(module, snn.SpikingNeuron):
                module.reset_mem()
        return torch.stack([net(part)[0] for part in x.transpose(0, 1)]).sum(0)

    return run


def workloads() -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    """(bare, through neurorobust) for a CNN and for an snnTorch network."""
    draw = torch.Generator().manual_seed(0)
    image, label = torch.randn(25, 1, 28, 28, generator=draw), torch.arange(25) % 10
    bare = cnn(torch.Generator().manual_seed(0))
    wrapped = cnn(torch.Generator().manual_seed(0))
    events, y = (torch.rand(25, 100, 32, generator=draw) < 0.05).float(), torch.arange(25) % 2
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(32, 128),
        snn.RLeaky(beta=0.9, linear_features=128, init_hidden=True),
        nn.Linear(128, 2),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    )
    model = nr.from_snntorch(net, dt=1e-3)
    return {
        "Fashion-MNIST CNN, batch 25": (
            step(bare, bare, image, label),
            step(through(nr.wrap(wrapped)), wrapped, image, label),
        ),
        "snnTorch 32-128-2 recurrent, T 100, batch 25": (
            step(snn_loop(net), net, events, y),
            step(through(model), model, events, y),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="timed runs of each, interleaved")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {}
    for name, pair in workloads().items():
        times: tuple[list[float], list[float]] = ([], [])
        for run in range(arguments.runs + 2):
            for which in range(2) if run % 2 else (1, 0):
                started = time.perf_counter()
                pair[which]()
                if run >= 2:
                    times[which].append(time.perf_counter() - started)
        bare, ours = (1e3 * float(np.median(part)) for part in times)
        results[name] = {"bare_ms": bare, "neurorobust_ms": ours, "ratio": ours / bare}
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"{torch.get_num_threads()} threads, medians of {arguments.runs} interleaved runs")
    for name, row in results.items():
        print(f"{name}: bare {row['bare_ms']:.1f} ms, here {row['neurorobust_ms']:.1f} ms, ratio {row['ratio']:.3f}")


if __name__ == "__main__":
    main()
