"""A grid of seconds: the tiny task of conftest, found by worker processes as a module of its own."""

from __future__ import annotations

from conftest import events, tiny
from torch.nn import functional

from benchmarks.robustness import Budget, Study
from neurorobust.data import Task
from neurorobust.train.descent import Schedule


def load() -> Task:
    parts = (events(1, 24), events(2, 10), events(3, 10))
    return Task("tiny", ("a", "b"), *parts, functional.cross_entropy, lambda chip, n_hidden, generator: tiny(), "f")


MINI = Study(
    name="mini",
    load=load,
    methods=("standard", "adversarial"),
    epochs=4,
    schedule=Schedule(batch_size=12),
    n_hidden=6,
    seeds=(0,),
    budget=Budget(dies=5, samples=10, attacked=6, levels=1),
)
