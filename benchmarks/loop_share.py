"""How much of the demo's work, and of a fleet of convolutions, is compiled loops; the rest is small operations.

    python -m benchmarks.loop_share            # about a minute; one thread, processor time
    python -m benchmarks.loop_share --json

A job runs once to warm up, then as often as ``--runs`` says; the least time counts. The share of the loops is what a
faster or a shared loop could save at most.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

import neurorobust as nr
from neurorobust.attacks import PGA
from neurorobust.chip.installed import chip_model
from neurorobust.data import Task
from neurorobust.demo import Size, plan
from neurorobust.kernels import blocks
from neurorobust.kernels.runtime import threads
from neurorobust.train.loop import trial_step

RUNS, DIES, BEATS = 5, 8, 200


@dataclass(frozen=True)
class Share:
    """Attributes: job: what. ms: of processor time per unit. loops: ms of it in compiled loops. calls: of Python
    functions per unit."""

    job: str
    ms: float
    loops: float
    calls: int


@contextmanager
def in_loops() -> Iterator[list[float]]:
    """A list that gets the seconds of each call of a compiled loop meanwhile."""
    run, taken = threads.run_parallel, list[float]()

    def timed(*arguments: Any) -> None:
        started = time.thread_time()
        run(*arguments)
        taken.append(time.thread_time() - started)

    with patch.object(blocks, "run_parallel", timed):
        yield taken


def calls_of(work: Callable[[], object]) -> int:
    """How many Python functions a job calls."""
    count = 0

    def seen(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def share(job: str, work: Callable[[], object], units: int, runs: int) -> Share:
    """Time and share of the loops of a job of so many units; the run with the least time."""
    work()
    found = []
    for _ in range(runs):
        with in_loops() as taken:
            started = time.thread_time()
            work()
            found.append((time.thread_time() - started, sum(taken)))
    whole, loops = min(found)
    return Share(job, 1e3 * whole / units, 1e3 * loops / units, calls_of(work) // units)


def jobs() -> Iterator[tuple[str, Callable[[], object], int]]:
    """(name, job, how many units it does)."""
    chip, task = chip_model("dynapse2"), nr.tasks.ecg()
    for name in ("standard", "adversarial"):
        planned = plan(task, chip, name, seed=0, size=Size())
        batch = task.train.first(planned.schedule.batch_size)
        yield f"demo: a step of training, {name}", trial_step(planned.network, batch, planned.loss), 1
    network = plan(task, chip, "standard", seed=0, size=Size()).network
    data = task.test.balanced(BEATS)

    def attack() -> nr.WorstCase:
        return nr.worst_case(network, data, nr.Ball.uniform(0.1), PGA(5), seed=1)

    yield f"demo: a pass of an attack, {BEATS} beats", attack, attack().passes
    yield _fleet("demo: a die, 1000 beats", task, network, chip)
    images = nr.tasks.fashion_mnist_spiking()
    yield _fleet(
        "a die of a convolutional network, 1000 pictures", images, images.network(chip, seed=0), nr.mismatch(0.2)
    )


def _fleet(job: str, task: Task, network: torch.nn.Module, chip: nr.ChipModel) -> tuple[str, Callable[[], object], int]:
    data = task.test.first(1000)
    return job, lambda: nr.evaluate(network, data, chip, n_dies=DIES, seed=1), DIES


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"timed runs of each job, default {RUNS}")
    parser.add_argument("--json", action="store_true", help="numbers instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = [share(job, work, units, arguments.runs) for job, work, units in jobs()]
    if arguments.json:
        print(json.dumps([vars(each) for each in found], indent=1))
        return
    table = Table("job", "ms", "in loops, ms", "share", "Python calls")
    for each in found:
        table.add_row(each.job, f"{each.ms:.1f}", f"{each.loops:.1f}", f"{each.loops / each.ms:.2f}", str(each.calls))
    Console().print(table)


if __name__ == "__main__":
    main()
