"""What the read-out takes of a training step: what a loop that works it out inside the hidden layer could save at most.

python -m benchmarks.speed.read_out             # about a minute; one thread, processor time
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from neurorobust.kernels import operators

from . import ours
from .workloads import WORKLOADS

WORKS = "W2", "W5", "W5-4096"
RUNS = 9


def least(work: Callable[[], object]) -> float:
    """ms of processor time of the fastest of several runs, after a first one that does not count."""
    work()
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1e3 * min(times)


def parts(name: str) -> dict[str, float]:
    """ms of a training step, and of the read-out's product forward, to the spikes and to the weight."""
    work = WORKLOADS[name]
    network = ours.network(work)
    with torch.no_grad():
        spikes = network(work.x)[1]["hidden"].transpose(0, 1).contiguous()[None]
    weight = work.params["readout.input.weight"][None]
    gradient = torch.randn(*spikes.shape[:3], weight.shape[1], generator=torch.Generator().manual_seed(0))
    bias, lists = weight.new_empty((0, weight.shape[1])), torch.empty(0, dtype=torch.int32)

    def back(*needs: bool) -> Callable[[], object]:
        return lambda: operators.project_backward_op(gradient, spikes, weight, lists, needs)

    return {
        "step": least(ours.tool.prepare(work).step),
        "forward": least(lambda: operators.project_op(spikes, weight, bias, lists)),
        "to the spikes": least(back(True, False)),
        "to the weight": least(back(False, True)),
    }


def main() -> None:
    assert __doc__ is not None
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    torch.set_num_threads(1)
    table = Table("", "step, ms", "read-out: forward", "to the spikes", "to the weight")
    for name in WORKS:
        step, *found = parts(name).values()
        table.add_row(name, f"{step:.1f}", *(f"{each:.2f} ({each / step:.1%})" for each in found))
    Console().print(table)


if __name__ == "__main__":
    main()
