"""The threads that the loops run on: torch's own OpenMP threads, called by compiled code.

torch's threads spin for some ms after every operation, so threads of our own would find the cores taken; and they never
need the interpreter's lock. Threads of our own do the same work where there is no OpenMP, and in a forked child in
which OpenMP would wait for ever for the threads of its parent. Beside other work there are fewer, or they wait asleep:
:mod:`.load`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from . import load, openmp
from .load import Plan, Reading
from .polite import Polite

SMALL = 30_000  # numbers to compute below which handing work to another thread costs more than it saves
PERIOD = 0.2  # s between two looks at the load of the machine
IDLE = 1.0  # s without a loop, after which the threads of plain torch wait as they always do, and a reading is old


class Team(NamedTuple):
    """The data that one thread gets before it takes blocks; see
    :func:`~neurorobust.kernels.numba_loops.intrinsics.parallel_for`.

    Attributes:
        start, thread_number: addresses of OpenMP's ``GOMP_parallel`` and ``omp_get_thread_num``; both 0 to run on the
            calling thread alone.
        n_threads: how many threads OpenMP starts. number: that of this thread where it runs alone.
        counters: how many blocks of each thread's stretch are taken.
    """

    start: int
    thread_number: int
    n_threads: int
    number: int
    counters: np.ndarray


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="neurorobust")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


class Watch:
    """Looks at the load of the machine from time to time, and holds the plan that follows.

    Args:
        read: a reading of now. running: how many threads of others run right now. polite: how many of the cores that
            others use they would leave.

    Attributes:
        plan: for so many threads as torch had at the last look. reading: of the last look.
    """

    def __init__(
        self,
        read: Callable[[], Reading | None] = load.read,
        running: Callable[[], int] = load.others_running,
        polite: Callable[[], float] = lambda: 0.0,
    ):
        self.read, self.running, self.polite, self.reading, self.plan = read, running, polite, read(), Plan(0, False)
        self.allowed, self.room, self.due, self.seen = 0, float("inf"), 0.0, 0.0

    def look(self, allowed: int) -> Plan:
        """The plan of now for at most so many threads."""
        self.seen = time.monotonic()
        if allowed == 1:
            return Plan(1, False)
        if self.seen >= self.due:
            self._renew()
        elif allowed == self.allowed:
            return self.plan
        kept = self.plan if allowed == self.allowed else Plan(allowed, self.plan.asleep)
        self.plan, self.allowed = load.plan(self.room, allowed, kept), allowed
        return self.plan

    def _renew(self) -> None:
        """Measure the room since the last reading. One that is old says nothing about now, nor does the plan that
        followed: then who runs at this moment decides, until half a period has been measured."""
        before, now = self.reading, self.read()
        self.reading, self.due = now, self.seen + PERIOD
        if now is None:
            self.room, self.allowed = float("inf"), 0
        elif before is not None and load.comparable(before, now) and now.wall - before.wall <= IDLE:
            self.room = load.room(before, now)
            if self.room < len(now.cores) - load.FREE:
                self.room = load.room(before, now, self.polite())
        else:
            self.room, self.allowed, self.plan = load.room_beside(self.running(), now), 0, Plan(0, False)
            self.due = self.seen + PERIOD / 2

    def stays_asleep(self) -> bool:
        """After a while, whether loops still run and others still need the cores."""
        time.sleep(PERIOD)
        return self.plan.asleep and time.monotonic() - self.seen < IDLE


_watch = Watch(polite=Polite().cores)


def plan() -> Plan:
    """What the threads do now; makes it so."""
    allowed = torch.get_num_threads()
    found = _watch.look(allowed)
    if found.asleep and not openmp.asleep():
        openmp.wait_asleep(allowed, _watch.stays_asleep)
    return found


def said() -> str:
    """The plan of now in words."""
    found = plan()
    return f"{found.threads} of them {'asleep' if found.asleep else 'awake'} while they wait"


def beside_others() -> None:
    """Let torch's threads wait asleep while others need the cores, for a network that runs in plain torch."""
    if not torch.compiler.is_compiling():
        plan()


@contextmanager
def on_planned_threads() -> Iterator[None]:
    """torch's own operations of the calling thread run on as many threads as loops would.

    Only for operations that give the same bits on any number of threads: copies, and the arithmetic of an optimizer.
    Sums, products of matrices, powers and sigmoids do not, so their results would depend on the load of the machine.
    """
    allowed = torch.get_num_threads()
    planned = allowed if torch.compiler.is_compiling() else plan().threads
    with nullcontext() if planned == allowed else openmp.limited(planned):
        yield


def keep_within_limits() -> None:
    """Use no more threads than the container allows cores, for a program of our own; a number that the user set stays.

    torch counts the cores of the machine. In a library that is the user's to set: torch.set_num_threads.
    """
    most = max(int(load.limit()), 1)
    if torch.get_num_threads() > most and not {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys():
        torch.set_num_threads(most)


def run_parallel(run: Callable[[Team], bool], blocks: int, size: int) -> None:
    """Run compiled code on as many threads as torch may use, or on one where other work leaves no room for them.

    Args:
        run: takes blocks until none is left; returns whether all went well. Releases the interpreter's lock.
        blocks: how many there are, fixed by the caller, so that results do not depend on the number of threads.
        size: how many numbers are computed in all.

    Raises:
        MemoryError: a block could not be done.
    """
    n_threads = plan().threads  # all of them or one: another number costs OpenMP its threads
    used = min(n_threads, blocks) if size >= SMALL else 1
    counters, addresses = np.zeros(used, np.int64), openmp.addresses() if used > 1 else (0, 0)
    teams = [Team(*addresses, n_threads, number, counters) for number in range(1 if any(addresses) else used)]
    others = [_pool().submit(run, team) for team in teams[1:]]
    try:
        done = [run(teams[0])]
    finally:
        if others:
            wait(others)
    if not all([*done, *(other.result() for other in others)]):
        raise MemoryError(f"a loop over {size} numbers found no memory for what it needs besides its results.")
