"""The OpenMP library that torch has loaded: its functions, its threads that wait, and a fork.

libgomp's threads spin for some ms when they wait, unless there are more of them than cores. Beside other work that
makes a step many times slower: a thread spins for one that has no core. :class:`Sleeper` therefore keeps some idle
threads more than there are cores, as long as others need the cores. No setting changes, and no result.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

HARD = 2  # omp_pause_hard: end all threads
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # as libgomp counts


@cache
def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(torch._C.__file__)
    except (AttributeError, OSError):
        return None


def _function(name: str) -> Any:
    return getattr(_library(), name, None)


@cache
def _found() -> tuple[int, int]:
    """Where ``GOMP_parallel(body, data, threads, flags)``, which runs ``body(data)`` on so many threads, and
    ``omp_get_thread_num()`` are; (0, 0) if there is no such library."""
    start, who = (_function(name) for name in ("GOMP_parallel", "omp_get_thread_num"))
    if start is None or who is None:
        return 0, 0
    return ctypes.cast(start, ctypes.c_void_p).value or 0, ctypes.cast(who, ctypes.c_void_p).value or 0


class Fork:
    """A fork copies the calling thread only. OpenMP's next operation in the child would wait for ever for the others.
    So OpenMP ends its threads before a fork, and starts them again, in parent and child, when it needs them.

    Attributes:
        usable: False in a child in which OpenMP waits for threads that it does not have.
    """

    def __init__(self) -> None:
        # A child of multiprocessing's fork may be what imports this first.
        self.usable = type(multiprocessing.current_process()).__name__ != "ForkProcess"
        self.ended = False

    def before(self) -> None:
        end = _function("omp_pause_resource_all") if sys.platform == "linux" else None  # others have no libgomp
        self.ended = end is not None and end(HARD) == 0

    def in_child(self) -> None:
        _sleeper.forget()
        if not self.ended:
            self.usable = False
            torch.set_num_threads(1)  # torch's own operations would wait, too


class Sleeper:
    """Makes OpenMP's threads wait asleep while a block of idle threads exists."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """There is no such block, as in a forked child."""
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    def start(self, n_threads: int, stay: Callable[[], bool]) -> None:
        """Wait asleep from now on, beside ``n_threads`` of OpenMP's; ``stay``, called in a thread of its own, returns
        after a while whether to go on."""
        with self.lock:
            if self.thread is None and sys.platform == "linux" and any(addresses()):
                more = max(CORES - n_threads + 2, 2)
                self.thread = threading.Thread(target=self._hold, args=(more, stay), name="asleep", daemon=True)
                self.thread.start()

    def _hold(self, more: int, stay: Callable[[], bool]) -> None:
        """Have more threads than there are cores. They end with this one."""
        nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
        _function("GOMP_parallel")(nothing, None, ctypes.c_uint(more), ctypes.c_uint(0))
        while stay():
            pass
        with self.lock:
            self.thread = None


@contextmanager
def limited(n_threads: int) -> Iterator[None]:
    """The calling thread's operations of torch run on so many threads inside. It is OpenMP's setting of this one
    thread: torch.set_num_threads would also be that of every thread that begins meanwhile."""
    limit = _function("omp_set_num_threads")
    before = torch.get_num_threads()
    if limit is None:
        yield
        return
    limit(n_threads)
    try:
        yield
    finally:
        limit(before)


_fork, _sleeper = Fork(), Sleeper()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_fork.before, after_in_child=_fork.in_child)


def addresses() -> tuple[int, int]:
    """The addresses to call, or (0, 0) if threads of our own have to do it."""
    return _found() if _fork.usable else (0, 0)


def wait_asleep(n_threads: int, stay: Callable[[], bool]) -> None:
    """OpenMP's threads wait asleep as long as ``stay`` returns True; see :class:`Sleeper`."""
    _sleeper.start(n_threads, stay)


def asleep() -> bool:
    """Whether OpenMP's threads wait asleep now."""
    return _sleeper.thread is not None
