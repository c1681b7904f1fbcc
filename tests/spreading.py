"""Executors of the tests of spread work, every measurement that takes one, and comparisons bit by bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from conftest import DT, draw, events, tiny
from torch import Tensor, nn

import neurorobust as nr
from neurorobust import evaluation
from neurorobust.core.noise import Membrane
from neurorobust.core.placement import HOST
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import LeakyIntegrator, LinearizedDpi

BALL = nr.Ball.uniform(0.2)
FEW = 6
"""Times that bytes go to two workers at most: twice, and again where an executor gave them to one that had them."""


def floored() -> Network:
    """Neurons with a floor, so that every attack runs twice."""
    core = torch.zeros(6, dtype=torch.long)
    hidden = LinearizedDpi(
        Linear(draw(2, 6, 3)), core=core, tau_mem=0.02, tau_syn_exc=5e-3, tau_syn_inh=5e-3, v_threshold=0.05
    )
    readout = LeakyIntegrator(Linear(3 * draw(4, 2, 6)), core=torch.full((2,), HOST), tau_mem=0.01)
    return Network({"hidden": hidden.double(), "readout": readout}, DT)


def dense() -> nn.Module:
    """A foreign module with dropout, in train mode."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(60, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for seed, value in enumerate(layers.parameters()):
            value.copy_(0.3 * draw(seed, *value.shape))
    return nr.wrap(layers.train())


def regression() -> nr.data.Data:
    data = events(5, 12)
    return nr.data.Data(data.x, data.x.mean((1, 2))[:, None].expand(-1, 2) + 0.1 * draw(1, 12, 2))


def evaluate(executor: Any = None, n_dies: int = 7) -> Any:
    return nr.evaluate(tiny(), events(0, 12), nr.mismatch(0.3), n_dies=n_dies, executor=executor)


def trimmed(executor: Any = None) -> Any:
    trim = nr.Trim(events(1, 20).x, 6)
    return nr.evaluate(floored(), events(0, 12), nr.mismatch(0.3), n_dies=5, trim=trim, executor=executor)


def noisy(executor: Any = None) -> Any:
    chip = nr.mismatch(0.2).with_noise(Membrane(0.1)).with_defects(nr.chip.DeadNeurons(0.2))
    return nr.evaluate(tiny(), events(0, 12), chip, n_dies=5, executor=executor)


def foreign(executor: Any = None) -> Any:
    return nr.evaluate(dense(), events(0, 12), nr.mismatch(0.3), n_dies=5, executor=executor)


def regressed(executor: Any = None) -> Any:
    return nr.evaluate(tiny(), regression(), nr.mismatch(0.3), n_dies=5, executor=executor)


def quick(executor: Any = None) -> Any:
    attack = nr.attacks.restarted(nr.attacks.quick(), 2)
    return nr.worst_case(tiny(), events(0, 12), BALL, attack, seed=3, executor=executor)


def candidates(executor: Any = None) -> Any:
    other = nr.worst_case(tiny(1), events(0, 12), BALL, nr.attacks.RandomSearch(3), seed=3).deviations
    attack = nr.attacks.RandomSearch(70)
    return nr.worst_case(tiny(3), events(0, 12), BALL, attack, candidates=[other], seed=1, executor=executor)


def through_floors(executor: Any = None) -> Any:
    return nr.worst_case(floored(), events(0, 12), BALL, nr.attacks.PGA(steps=3), executor=executor)


def strong(executor: Any = None) -> Any:
    return evaluation.strong_worst_case(tiny(), events(0, 12), nr.Ball.uniform(0.05), seed=1, executor=executor)


def sensitive(executor: Any = None) -> Any:
    found = nr.sensitivity(tiny(), events(0, 12), attack=nr.attacks.PGA(steps=2), n_dies=3, seed=2, executor=executor)
    return found.groups


def rare(executor: Any = None) -> Any:
    few = evaluation.SubsetSimulation(50, 4)
    return evaluation.rare_failures(
        tiny(), events(0, 12), nr.mismatch(0.2), spec=0.5, simulation=few, seed=1, executor=executor
    )


@cache
def deployment() -> Any:
    import chipmodels

    return nr.deploy.onto(floored(), chipmodels.load("dynapse2"), events(0, 12))


def judged(executor: Any = None) -> Any:
    causes = nr.deploy.causes.CAUSES[:2]
    return nr.deploy.judge(deployment(), events(0, 12), range(4), causes=causes, executor=executor).entry()


MEASUREMENTS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        *(evaluate, trimmed, noisy, foreign, regressed, quick, candidates, through_floors, strong, sensitive, rare),
        judged,
    )
}


@cache
def here(name: str) -> Any:
    """A measurement in this process."""
    return MEASUREMENTS[name]()


def same(one: Any, two: Any) -> bool:
    """Whether two results have the same bits."""
    if isinstance(one, Tensor):
        return same(one.numpy(), two.numpy())
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if is_dataclass(one) and type(one).__eq__ is object.__eq__:
        return all(same(getattr(one, each.name), getattr(two, each.name)) for each in fields(one))
    return bool(one == two) or (one != one and two != two)


class KilledWorker(Exception):
    """As Dask's."""


class Unreliable(Executor):
    """Threads, and a coin that decides whether a task is lost before it runs, after it ran, or not at all. Results come
    in another order than the tasks."""

    def __init__(self, seed: int, lost: float = 0.3, threads: int = 2):
        self.coin, self.lost, self.pool = random.Random(seed), lost, ThreadPoolExecutor(threads)
        self.n_lost = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        outcome = self.coin.random() / self.lost if self.lost else 1
        if outcome >= 1:
            return self.pool.submit(fn, *args, **kwargs)
        self.n_lost += 1

        def lose() -> None:
            if outcome < 0.5:
                fn(*args, **kwargs)
            raise KilledWorker("a worker died")

        return self.pool.submit(lose)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.pool.shutdown(wait, cancel_futures=cancel_futures)


class Counted(Executor):
    """Another executor; counts the tasks and the bytes that they carry, by blob."""

    def __init__(self, inner: Executor):
        self.inner, self.tasks, self.sent = inner, 0, list[tuple[str, int]]()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.tasks += 1
        self.sent += [(name, len(blob)) for name, blob in args[2].items()]
        return self.inner.submit(fn, *args, **kwargs)
