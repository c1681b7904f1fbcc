"""Time of a deployment, of writing its file and of reading it.

    python -m benchmarks.deploy_speed

Adaptive recurrent neurons on the four cores of DYNAP-SE2, 64 synapses each, of which every core has one time constant.
The best of three runs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import chipmodels
import neurorobust as nr
from neurorobust.nn import Linear, Network
from neurorobust.nn.neurons import AdaptiveLif, LeakyIntegrator

SIZES = 64, 256, 512, 1024
CHANNELS, FAN_IN, RUNS = 64, 32, 3  # fan-in from the inputs, and as much from the neurons


def network(n: int) -> Network:
    generator = torch.Generator().manual_seed(n)

    def chosen(width: int) -> Tensor:
        """FAN_IN sources for each neuron."""
        order = torch.rand(n, width, generator=generator).argsort(1)[:, :FAN_IN]
        return torch.zeros(n, width, dtype=torch.bool).scatter_(1, order, True)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    hidden = AdaptiveLif(
        Linear(normal(n, CHANNELS), mask=chosen(CHANNELS)),
        recurrent=Linear(normal(n, n), mask=chosen(n)),
        core=torch.arange(n) * 4 // n,
        tau_mem=torch.tensor([0.02, 0.04, 0.08, 0.16]),
        v_threshold=0.1,
        tau_adapt=0.1,
        adaptation=0.2,
    )
    return Network({"hidden": hidden, "readout": LeakyIntegrator(Linear(normal(2, n)), tau_mem=0.02)}, 5e-3)


def best(action: Callable[[], object]) -> float:
    """Seconds of the fastest run."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    chip = chipmodels.load("dynapse2")
    print("| neurons | onto, s | save, s | load, s | bytes |")
    print("|---" * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.json"
        for n in SIZES:
            given = network(n)
            deployment = nr.deploy.onto(given, chip)
            seconds = [
                best(lambda: nr.deploy.onto(given, chip)),  # noqa: B023  called at once
                best(lambda: deployment.save(path)),  # noqa: B023
                best(lambda: nr.deploy.load(path, chip)),
            ]
            print(f"| {n} | " + " | ".join(f"{each:.2f}" for each in seconds) + f" | {path.stat().st_size} |")


if __name__ == "__main__":
    main()
