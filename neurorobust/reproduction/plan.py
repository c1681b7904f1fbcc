"""What is to be done, in which order, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from ..errors import unknown
from ..evaluation.blocks import in_blocks
from ..methods import METHODS
from ..params import evaluating, nominal
from ..training import estimate
from .cell import Cell, folder_of, read
from .evaluation import all_evaluations
from .study import BEST_RIVAL, RIVALS, Study
from .work import network_of, pending, tuning_path


@dataclass(frozen=True)
class Job:
    """Some evaluations of a cell, and whatever has to be done before."""

    cell: Cell
    evaluations: tuple[str, ...]

    @property
    def left(self) -> dict[str, list[str]]:
        """What is still to be measured."""
        return pending(self.cell, self.evaluations)

    @property
    def trained(self) -> bool:
        return "training" in self.cell.read()

    @property
    def done(self) -> bool:
        return self.trained and not self.left


def cells_of(study: Study, methods: Sequence[str], seeds: Sequence[int] | None, out: Path) -> list[Cell]:
    """The cells of a study in their order: headline methods first, seed by seed.

    Args:
        study: whose cells.
        methods: only these; all of the study if there are none.
        seeds: only these; None for all.
        out: folder of all results.

    Raises:
        ValueError: a method the study does not have.
    """
    known = [name for name in (_resolved(name, study, out) for name in study.methods) if name]
    for name in methods:
        if name not in known:
            raise unknown(f"method of {study.name}", name, known)
    return [
        Cell(study, name, seed, out)
        for wave in (known[: study.headline], known[study.headline :])
        for seed in study.seeds
        if seeds is None or seed in seeds
        for name in wave
        if not methods or name in methods
    ]


def _resolved(name: str, study: Study, out: Path) -> str | None:
    """The method a name stands for; None for the best rival while not all rivals are trained."""
    if name != BEST_RIVAL:
        return name
    home = study.tuned_on or study
    rivals = [Cell(home, rival, home.seeds[0], out) for rival in RIVALS if rival != "forward_noise"]
    scores = {cell.method: cell.read().get("training", {}).get("validation") for cell in rivals}
    return None if None in scores.values() else max(scores, key=lambda rival: scores[rival])


def plan(cells: Iterable[Cell], names: Sequence[str]) -> list[Job]:
    """The jobs that are not done, study by study.

    The headline methods are trained and measured by the evaluations of stages 0 and 1, then the other methods; what is
    beyond (stage 2) comes last.
    """
    stages: dict[int, tuple[str, ...]] = {0: (), 1: (), 2: ()}
    for name, evaluation in all_evaluations().items():
        if name in names:
            stages[evaluation.stage] += (name,)
    jobs: list[Job] = []
    for _, group in groupby(cells, key=lambda cell: cell.study.name):
        own = list(group)
        first = [cell for cell in own if cell.method in cell.study.methods[: cell.study.headline]]
        rest = [cell for cell in own if cell not in first]
        waves = [(first, 0), (first, 1), (rest, 0), (rest, 1), (first, 2), (rest, 2)]
        jobs += [Job(cell, stages[stage]) for wave, stage in waves for cell in wave]
    return [job for job in jobs if job.left or (job.evaluations == stages[0] and not job.trained)]


# ---- time


def seconds_of(jobs: Sequence[Job]) -> dict[Job, float]:
    """How long each job will take on one thread: as long as the like of it took, else from a step and a pass now."""
    tuned: set[tuple[str, str]] = set()
    trained: set[str] = set()
    found = {}
    for job in jobs:
        cell, seconds = job.cell, 0.0
        if not job.trained and cell.name not in trained:
            trained.add(cell.name)
            seconds += _training(cell)
            home = cell.study.tuned_on or cell.study
            if (home.name, cell.method) not in tuned and not tuning_path(cell.study, cell.method, cell.out).exists():
                tuned.add((home.name, cell.method))
                trial = Cell(home, cell.method, cell.seed, cell.out)
                seconds += len(METHODS[cell.method].trials) * _training(trial) * home.tuning_epochs / home.epochs
        before = _times(cell)
        for name, levels in job.left.items():
            one = before.get(name) or all_evaluations()[name].passes(cell.detail) * _pass(cell.study)
            seconds += one * len(levels)
        found[job] = seconds
    return found


@cache
def _training(cell: Cell) -> float:
    """Seconds of a training, as measured for another seed or estimated from one step."""
    records = [read(path) for path in folder_of(cell.out, cell.study, cell.method).glob("*/cell.json")]
    before = [record["training"]["seconds"] for record in records if "training" in record]
    if before:
        return float(np.mean(before))
    loss = cell.study.regularizer(cell.method, METHODS[cell.method].trials[0])
    task, schedule = cell.study.task, cell.study.schedule
    return estimate(network_of(cell), task, loss, epochs=cell.study.epochs, schedule=schedule)


@cache
def _pass(study: Study) -> float:
    """Seconds that one sample takes forward."""
    network, few = study.task.network(study.chip_model, n_hidden=study.n_hidden, seed=0), study.task.test.first(100)
    with evaluating(network), torch.no_grad():
        for _ in range(2):
            started = time.perf_counter()
            in_blocks(network, nominal(network), few.x)
            seconds = time.perf_counter() - started
    return seconds / len(few)


def _times(cell: Cell) -> Mapping[str, float]:
    """Mean seconds a level of each evaluation took, over the networks of the study that were measured."""
    found: dict[str, list[float]] = {}
    for path in folder_of(cell.out, cell.study, "").glob("*/*/cell.json"):
        for name, entry in read(path).get("evaluations", {}).items():
            found.setdefault(name, []).extend(level["seconds"] for level in entry["levels"].values())
    return {name: float(np.mean(seconds)) for name, seconds in found.items() if seconds}
