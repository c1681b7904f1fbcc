"""A study: a task, its network, how it is trained and measured, and which methods compete on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from torch import nn

from neurorobust._util.discovery import modules
from neurorobust._util.errors import unknown
from neurorobust.chip import ChipModel
from neurorobust.chip.installed import chip_model
from neurorobust.data import Task
from neurorobust.data.recurrent import Hidden
from neurorobust.regularizers import Regularizer
from neurorobust.train.descent import Schedule
from neurorobust.train.methods import METHODS, Trial

RIVALS = ("dropout", "forward_noise", "awp", "entropy_sgd", "abcd")
"""The rivals of arXiv 2106.05009."""

BEST_RIVAL = "best_rival"
"""Stands for the rival, other than forward noise, that did best on the validation part of the tuned study."""


@dataclass(frozen=True)
class Budget:
    """The size of the measurements of a network; stored with every number.

    Attributes:
        dies: of each fleet. samples: test samples for each die. attacked: test samples used in attacks.
        balanced: attacks use equally many samples of each class; else the first ones.
        levels: only the first ones of each measurement; None for all.
    """

    dies: int = 100
    samples: int = 1000
    attacked: int = 200
    balanced: bool = False
    levels: int | None = None

    def settings(self) -> dict[str, Any]:
        """The settings that change the numbers, not how many there are."""
        silent = {"levels"} if self.balanced else {"levels", "balanced"}
        return {key: value for key, value in asdict(self).items() if key not in silent}


@dataclass(frozen=True)
class Study:
    """A task with the methods that compete on it: methods × seeds are its cells.

    Attributes:
        name: as the command line and the results know it.
        load: → the task, the same in every process.
        methods: the most informative first.
        epochs, schedule: of every method; a method's trials may change the schedule.
        chip: name of the chip the network has to fit; None for no limits.
        n_hidden: neurons. hidden: makes them, where the task lets one choose; None for those of the task.
        tuning_epochs: of each tuning trial.
        tuned_on: the study whose tuning counts here (of the schedule only where both have the same); None tunes here.
        headline: the first so many methods get all their seeds before the others get their first.
        shipped: methods whose networks of the first seed go into the zoo.
        seeds: of network and training.
        budget: of every measurement.
        spec: balanced accuracy of a die that counts towards the yield.
        cut: how training was shortened, printed beside the numbers.
    """

    name: str
    load: Callable[[], Task]
    methods: tuple[str, ...]
    epochs: int
    schedule: Schedule = Schedule()
    chip: str | None = None
    n_hidden: int = 256
    hidden: Hidden | None = None
    tuning_epochs: int = 1
    tuned_on: Study | None = None
    headline: int = 6
    shipped: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    budget: Budget = Budget()
    spec: float = 0.9
    cut: str = ""

    @property
    def task(self) -> Task:
        """The task, loaded once per process."""
        return _loaded(self.load)

    @property
    def chip_model(self) -> ChipModel | None:
        """The chip; in all recorded cells the read-out on its host deviates like the rest."""
        return None if self.chip is None else chip_model(self.chip).with_host(exact=False)

    def network(self, seed: int) -> nn.Module:
        """A fresh network."""
        options = {} if self.hidden is None else {"hidden": self.hidden}
        return self.task.network(self.chip_model, n_hidden=self.n_hidden, seed=seed, **options)

    def regularizer(self, method: str, trial: Trial) -> Regularizer:
        """A fresh loss of a method in this study."""
        return METHODS[method].regularize(self.task.loss, self.chip_model, **trial.settings)

    def settings(self) -> dict[str, Any]:
        """The settings that change the result of a training, besides method, trial, seed and code."""
        schedule = asdict(self.schedule)
        del schedule["max_seconds"]
        return {"epochs": self.epochs, "n_hidden": self.n_hidden, "chip": self.chip, "schedule": schedule}


@cache
def _loaded(load: Callable[[], Task]) -> Task:
    return load()


def all_studies() -> Mapping[str, Study]:
    """Every study, by name: each module of ``studies`` holds one in the variable ``study``; smaller ``order`` first."""
    from . import studies as package

    found = sorted(modules(package), key=lambda module: (module.order, module.__name__))
    return {module.study.name: module.study for module in found}


def find_study(name: str) -> Study:
    """A study by name."""
    known = all_studies()
    if name not in known:
        raise unknown("task", name, known)
    return known[name]
