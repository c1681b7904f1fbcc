"""The grid at work: jobs on any executor, in as many processes and runs as there are; cells are locked, one by one."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch
from filelock import Timeout

from .. import console
from .plan import Job
from .work import measure

AGAIN = 2.0
"""Seconds before a cell that somebody else works on is looked at again."""


@dataclass(frozen=True)
class Outcome:
    """What came of a job: ``done``, ``busy`` (somebody else works on the cell) or ``failed``, and why."""

    job: Job
    status: str
    error: str = ""


def visit(job: Job) -> Outcome:
    """Do a job, in whatever process; it has to see the folder of the results."""
    try:
        with job.cell.lock():
            measure(job.cell, job.evaluations)
    except Timeout:
        return Outcome(job, "busy")
    except Exception as error:
        return Outcome(job, "failed", _words(error))
    return Outcome(job, "done")


def _words(error: BaseException) -> str:
    """An error in one line, those of a group one after the other."""
    inner = getattr(error, "exceptions", None)
    if inner:
        return "; ".join(_words(one) for one in inner)
    notes = " ".join(getattr(error, "__notes__", ()))
    return " ".join(f"{type(error).__name__} {notes}: {error}".split())


def run(
    jobs: Sequence[Job], executor: Executor, tell: Callable[[Outcome], None] = lambda outcome: None
) -> list[Outcome]:
    """Do all jobs; those that others are at are waited for, and done if the others leave them.

    Args:
        jobs: in their order.
        executor: any of ``concurrent.futures``, or of a cluster whose machines share the folder of the results.
        tell: is told of each outcome but ``busy``.

    Returns:
        One outcome a job.
    """
    outcomes, waiting = [], list(jobs)
    while waiting:
        futures = {executor.submit(visit, job): job for job in waiting}
        waiting = []
        for future in as_completed(futures):
            try:
                outcome = future.result()
            except BrokenProcessPool:
                words = "its worker was killed; run the same command again, and it goes on where it was"
                outcome = Outcome(futures[future], "failed", words)
            if outcome.status == "busy":
                waiting.append(outcome.job)
                continue
            outcomes.append(outcome)
            tell(outcome)
        if waiting:
            waiting.sort(key=list(jobs).index)
            time.sleep(AGAIN)
    return outcomes


def pool(jobs: int, threads: int = 1) -> ProcessPoolExecutor:
    """Worker processes of this machine, each with so many threads; they say nothing."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_quiet, initargs=(threads,))


def _quiet(threads: int) -> None:
    torch.set_num_threads(threads)
    console.err.quiet = True
