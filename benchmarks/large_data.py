"""A data set that is far larger than memory, through ``evaluate`` and an attack: how much memory and time they take.

    python -m benchmarks.large_data                                  # 60 GB through a module that sums what it reads
    python -m benchmarks.large_data --network lif --gigabytes 6      # a tenth of it through spiking neurons
    python -m benchmarks.large_data --indexed                        # any sample in any order, instead of a generator

Each sample, (100, 1500) in float32, is drawn from its number when it is read, and kept nowhere. Memory is the largest
resident set of this process, Python, torch and the package included. Rows are kept in ``results/large_data.json``,
under the name of the network and the kind of the data set, from 6 GB on.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

import neurorobust as nr
from neurorobust._util import files
from neurorobust.attacks import PGA
from neurorobust.data import Data
from neurorobust.nn import LeakyIntegrator, Lif, Linear

STEPS, CHANNELS, DT = 100, 1500, 1e-3
BYTES = 4 * STEPS * CHANNELS
LEAST = 6
RESULTS = Path(__file__).parent / "results" / "large_data.json"


class Drawn(Dataset):
    """``n`` samples of events; the class says in which half of the channels the first 100 are busier, 8/256 a step
    instead of 7/256."""

    def __init__(self, n: int):
        self.n, self.asked = n, 0
        self.limits = np.full((2, CHANNELS), 7, np.uint8)
        self.limits[1, :100] = self.limits[0, CHANNELS // 2 : CHANNELS // 2 + 100] = 8

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, k: int) -> tuple[np.ndarray, int]:
        self.asked += 1
        drawn = np.frombuffer(np.random.Generator(np.random.SFC64(k)).bytes(STEPS * CHANNELS), np.uint8)
        return (drawn.reshape(STEPS, CHANNELS) < self.limits[k % 2]).astype(np.float32), k % 2


class Generated(IterableDataset):
    """The same samples from a Python generator: one order, and no length."""

    def __init__(self, drawn: Drawn):
        self.drawn = drawn

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return (self.drawn[k] for k in range(self.drawn.n))


class Glance(nn.Module):
    """Logits from the mean over the steps, so that nearly all of the time is spent on the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(CHANNELS, 2)
        with torch.no_grad():
            self.out.weight.copy_(torch.ones(2, CHANNELS))
            self.out.weight[0, : CHANNELS // 2] = self.out.weight[1, CHANNELS // 2 :] = -1
            self.out.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.mean(1))


def glance() -> nn.Module:
    return nr.wrap(Glance())


def lif() -> nn.Module:
    """4 spiking neurons and 2 read-outs."""
    draw = torch.Generator().manual_seed(1)
    signs = torch.ones(4, CHANNELS)
    signs[:2, : CHANNELS // 2] = signs[2:, CHANNELS // 2 :] = -0.97
    hidden = Lif(Linear(signs + 0.3 * torch.randn(signs.shape, generator=draw)), tau_mem=0.02, v_threshold=1.0)
    readout = LeakyIntegrator(Linear(torch.tensor([[1.0, 1, -1, -1], [-1, -1, 1, 1]])), tau_mem=0.02)
    return nr.Network({"hidden": hidden, "readout": readout}, DT)


def peak() -> float:
    """The largest resident set so far, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


NETWORKS = {"glance": glance, "lif": lif}


def measured(network: nn.Module, n: int, n_dies: int, indexed: bool = True) -> dict:
    """Seconds, passes and memory of each part, on n samples."""
    dataset = Drawn(n)
    rows: dict[str, dict] = {"start": {"peak_gb": round(peak(), 3)}}

    def part(name: str, before: int, started: float, found: dict) -> None:
        rows[name] = {
            "seconds": round(time.perf_counter() - started, 1),
            "passes": (dataset.asked - before) / n,
            "peak_gb": round(peak(), 3),
        } | found
        print(name, rows[name], flush=True)

    before, started = dataset.asked, time.perf_counter()
    data = Data.of(dataset if indexed else Generated(dataset), in_memory=False)
    part("labels", before, started, {"samples": len(data), "gigabytes": n * BYTES / 1e9})
    before, started = dataset.asked, time.perf_counter()
    fleet = nr.evaluate(network, data, nr.mismatch(0.3), n_dies=n_dies)
    part("evaluate", before, started, {"dies": n_dies, "nominal": fleet.nominal, "min": fleet.min})
    before, started = dataset.asked, time.perf_counter()
    worst = nr.worst_case(network, data, nr.Ball.uniform(0.1), PGA(1, objective="ce"))
    part("attack", before, started, {"steps": 1, "nominal": worst.nominal, "score": worst.score})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=60.0)
    parser.add_argument("--dies", type=int, default=8)
    parser.add_argument("--network", choices=NETWORKS, default="glance")
    parser.add_argument("--indexed", action="store_true")
    arguments = parser.parse_args()
    n = round(arguments.gigabytes * 1e9 / BYTES)
    rows = measured(NETWORKS[arguments.network](), n, arguments.dies, arguments.indexed)
    if arguments.gigabytes >= LEAST:
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        kind = "indexed" if arguments.indexed else "generator"
        kept[f"{arguments.network}, {kind}"] = {"threads": torch.get_num_threads(), **rows}
        files.write_text(RESULTS, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
