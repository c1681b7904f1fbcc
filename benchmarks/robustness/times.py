"""Estimates of how long jobs will take, on one thread of a machine as busy as before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from neurorobust.core.run import evaluating, nominal
from neurorobust.evaluation.predict import predict_batched
from neurorobust.train.loop import estimate
from neurorobust.train.methods import METHODS

from .cell import Cell, read_tuning
from .measurement import all_measurements
from .plan import Job
from .results import records_by_name
from .study import Study
from .work import network_of, tuning_path

Figure = tuple[float, str]
"""Seconds, and their source."""

STEP, PASS = "a step now", "a pass now"


@dataclass(frozen=True)
class Estimate:
    """Seconds of a job, and the sources of the estimate in words."""

    seconds: float
    sources: tuple[str, ...]


def estimates(jobs: Sequence[Job]) -> dict[Job, Estimate]:
    """Estimates from similar jobs in the past, else from a step and a pass now."""
    return {
        job: Estimate(sum(seconds for seconds, _ in figures), tuple(sorted({words for _, words in figures})))
        for job, figures in _figures(jobs).items()
    }


def _figures(jobs: Sequence[Job]) -> dict[Job, list[Figure]]:
    """The parts of each job: tuning and training, if it is the first of its cell, and each measurement."""
    tuned: set[tuple[str, str]] = set()
    trained: set[str] = set()
    found: dict[Job, list[Figure]] = {}
    for job in jobs:
        cell, figures = job.cell, found.setdefault(job, [])
        if not job.trained and cell.name not in trained:
            trained.add(cell.name)
            figures.append(_training(cell.study, cell.method, cell.out))
            home = cell.study.tuned_on or cell.study
            if (home.name, cell.method) not in tuned and not tuning_path(cell.study, cell.method, cell.out).exists():
                tuned.add((home.name, cell.method))
                seconds, words = _training(home, cell.method, cell.out)
                share = len(METHODS[cell.method].trials) * home.tuning_epochs / home.epochs
                figures.append((seconds * share, words))
        before = _times(cell.study, cell.out)
        for name, levels in job.left.items():
            passes = all_measurements()[name].passes(cell.budget)
            one = (before[name], "cells") if name in before else (passes * _pass(cell.study), PASS)
            figures.append((one[0] * len(levels), one[1]))
    return found


@cache
def _training(study: Study, method: str, out: Path) -> Figure:
    """A training: the mean of other seeds, or an estimate.

    The estimate is made from the chosen trial, from the ratio to standard in the tuned study, or from a step now.
    """
    home = study.tuned_on or study
    trial = read_tuning(tuning_path(study, method, out))
    if (before := _trained(study, method, out)) is not None:
        return before, "cells"
    if home is study and "chosen" in trial:
        return trial["trials"][trial["chosen"]]["seconds"] * study.epochs / study.tuning_epochs, "tuning"
    there, standard = _trained(home, method, out), _trained(home, "standard", out)
    if method != "standard" and there is not None and standard is not None:
        return _training(study, "standard", out)[0] * there / standard, f"cells of {home.name}"
    network = network_of(Cell(study, method, study.seeds[0], out))
    loss = study.regularizer(method, METHODS[method].trials[0])
    return estimate(network, study.task, loss, epochs=study.epochs, schedule=study.schedule), STEP


def _trained(study: Study, method: str, out: Path) -> float | None:
    """Mean seconds of the trainings that were made; None if there are none."""
    own = [record for name, record in records_by_name(out).items() if name.startswith(f"{study.name}/{method}/")]
    before = [record["training"]["seconds"] for record in own if "training" in record]
    return float(np.mean(before)) if before else None


@cache
def _pass(study: Study) -> float:
    """Seconds that one sample takes forward."""
    network, few = study.network(0), study.task.test.first(100)
    with evaluating(network), torch.no_grad():
        for _ in range(2):
            started = time.perf_counter()
            predict_batched(network, nominal(network), few.x)
            seconds = time.perf_counter() - started
    return seconds / len(few)


@cache
def _times(study: Study, out: Path) -> Mapping[str, float]:
    """Mean seconds a level of each measurement took, over the networks of the study that were measured."""
    found: dict[str, list[float]] = {}
    own = [record for cell, record in records_by_name(out).items() if cell.startswith(f"{study.name}/")]
    for record in own:
        for name, entry in record.get("measurements", {}).items():
            found.setdefault(name, []).extend(level["seconds"] for level in entry["levels"].values())
    return {name: float(np.mean(seconds)) for name, seconds in found.items() if seconds}
