"""Times of the parts of the main job, on one thread or more, at this commit or an older one.

    python -m benchmarks.main_shape 2                               # here
    cd OTHER && PYTHONPATH=. python HERE/benchmarks/main_shape.py   # another commit, checked out in OTHER

128 adaptive neurons on ``dynapse2``, 140 steps: a training step of 25 beats with three attack steps, 30 dies on all
test beats, a ten-step attack on 200 beats; ms, the best of 20, 2 and 2.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

import chipmodels
import neurorobust as nr
from neurorobust.data.recurrent import adaptive_neurons


def best(work: Callable[[], object], runs: int) -> float:
    """ms of the fastest of several runs, after a first one that does not count."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return round(1e3 * min(times), 1)


def main() -> None:
    torch.set_num_threads(int((sys.argv[1:] or ["1"])[0]))
    chip, task = chipmodels.load("dynapse2"), nr.tasks.ecg()
    network = task.network(chip, n_hidden=128, seed=0, hidden=adaptive_neurons)
    batch = (task.train.x[:25], task.train.y[:25])
    params: dict[str, Tensor] = dict(network.named_parameters())
    loss = nr.regularizers.Adversarial(task.loss, nr.attacks.PGA(steps=3), nr.Ball.uniform(0.1), beta=0.4)
    few = type(task.test)(task.test.x[:200], task.test.y[:200])
    ball, ten = nr.Ball.uniform(0.1), nr.attacks.PGA(steps=10)
    found = {
        "step": best(lambda: loss(network, params, batch).backward(), 20),
        "fleet of 30": best(lambda: nr.evaluate(network, task.test, chip, n_dies=30, seed=1), 2),
        "attack on 200": best(lambda: nr.worst_case(network, few, ball, ten, seed=1), 2),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
