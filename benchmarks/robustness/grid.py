"""Jobs on any executor, also in several runs at once; a cell is locked while a process works on it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

import torch

from neurorobust._util import console, files

from .plan import Job
from .work import measure

AGAIN = 2.0
"""Seconds until a worker without other jobs tries a cell again that another process works on."""


@dataclass(frozen=True)
class Outcome:
    """The result of a job: ``done``, ``busy`` (another process has the cell or its tuning) or ``failed``, and why."""

    job: Job
    status: str
    error: str = ""


def visit(job: Job) -> Outcome:
    """Do a job in this process; the process needs access to the folder of the results."""
    try:
        with job.cell.lock():
            measure(job.cell, job.measurements)
    except files.InUse:
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
    jobs: Sequence[Job],
    executor: Executor,
    report: Callable[[Outcome], None] = lambda outcome: None,
    at_once: int | None = None,
) -> list[Outcome]:
    """Do all jobs; jobs of busy cells are tried again whenever another job ends.

    Args:
        jobs: in their order.
        executor: any of ``concurrent.futures``, or of a cluster whose machines share the folder of the results.
        report: called with each outcome but ``busy``.
        at_once: largest number of jobs given to the executor at a time; all by default. Set it to the number of
            workers, so that busy cells are tried again before jobs that wait in the queue of the executor.

    Returns:
        One outcome per job.
    """
    outcomes: list[Outcome] = []
    todo, busy, running = list(jobs), list[Job](), dict[Future[Outcome], Job]()
    room = at_once or len(jobs)
    while todo or busy or running:
        while todo and len(running) < room:
            job = todo.pop(0)
            running[_submitted(executor, job)] = job
        ended: set[Future[Outcome]] = set()
        if running:
            ended = wait(running, AGAIN if busy and len(running) < room else None, FIRST_COMPLETED).done
        else:
            time.sleep(AGAIN)
        fresh = [_outcome(future, running.pop(future)) for future in ended]
        busy += [outcome.job for outcome in fresh if outcome.status == "busy"]
        over = [outcome for outcome in fresh if outcome.status != "busy"]
        for outcome in over:
            outcomes.append(outcome)
            report(outcome)
        if over or not ended:
            todo, busy = sorted(todo + busy, key=list(jobs).index), []
    return outcomes


def _submitted(executor: Executor, job: Job) -> Future[Outcome]:
    """Submit a job; if the executor is broken, a future that raises its error."""
    try:
        return executor.submit(visit, job)
    except BrokenExecutor as error:
        broken: Future[Outcome] = Future()
        broken.set_exception(error)
        return broken


def _outcome(future: Future[Outcome], job: Job) -> Outcome:
    try:
        return future.result()
    except Exception as error:  # of the executor: a job returns its own
        cause = "" if isinstance(error, BrokenExecutor) else f" ({_words(error)})"
        return Outcome(job, "failed", f"its worker was killed{cause}; run the same command again to continue")


def pool(jobs: int, threads: int = 1) -> ProcessPoolExecutor:
    """Worker processes of this machine with a number of threads each; they print nothing."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_quiet, initargs=(threads,))


def _quiet(threads: int) -> None:
    torch.set_num_threads(threads)
    console.err.quiet = True
