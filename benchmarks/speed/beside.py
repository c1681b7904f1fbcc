"""A training step beside other work: alone, beside a busy process, two of ours, a limited container, one core.

Each worker is a process that stays; the ways take turns, so that other load on the machine meets all alike. A worker
says how long a step took on average. What counts is the ratio to one thread, paired by round; for plain torch, in a
process that just used our loops, the ratio to a process that never did.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .machine import ROOT

WAYS = {
    "one thread": "torch.set_num_threads(1)",
    "ours": "two threads, which wait and are chosen by the load",
    "always awake": "two threads, as OpenMP has them wait",
}
CGROUPS = Path("/sys/fs/cgroup")
WORK = """
import json, sys, time
import torch
torch.set_num_threads(1 if sys.argv[1] == "one thread" else 2)
from benchmarks.speed import beside
step = beside.plain_step(sys.argv[1]) if sys.argv[2] == "plain" else beside.our_step(sys.argv[1])
for _ in range(5):
    step()
print("ready", flush=True)
for line in sys.stdin:
    end, started, n = time.perf_counter() + float(line), time.perf_counter(), 0
    while time.perf_counter() < end:
        step()
        n += 1
    print(json.dumps((time.perf_counter() - started) / n), flush=True)
"""


def our_step(way: str) -> Callable[[], None]:
    """A training step of 256 recurrent neurons."""
    from neurorobust.kernels.runtime import threads
    from neurorobust.kernels.runtime.load import Plan

    from .ours import Ours
    from .workloads import RECURRENT

    if way != "ours":
        import torch

        threads.plan = lambda: Plan(torch.get_num_threads(), False)
    return Ours().prepare(replace(RECURRENT, steps=100, batch=50)).step  # type: ignore[return-value]


def plain_step(way: str) -> Callable[[], None]:
    """Small operations of plain torch, as a loop over time has them; ours: after a step of our own."""
    import torch

    if way == "ours":
        our_step(way)()
    v, x = torch.zeros(200, 256), torch.rand(200, 256)

    def step() -> None:
        state = v
        for _ in range(50):
            state = 0.9 * state + x
            state = state - (state > 1).float()

    return step


class Worker:
    """A process that does steps for a while when asked."""

    def __init__(self, way: str, kind: str = "ours", before: Callable[[], None] | None = None):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORK, way, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=before,
        )
        if self._line() != "ready\n":
            self.stop()
            raise RuntimeError(f"beside: the worker {way!r} did not start; its error is above.")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def start(self, seconds: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def result(self) -> float:
        """Seconds per step."""
        return float(json.loads(self._line()))

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def competitor() -> Iterator[None]:
    """A process that is always busy."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


@contextmanager
def container(cores: float) -> Iterator[Callable[[], None] | None]:
    """What a new process calls to enter a cgroup with so many cores; None where none can be made (it needs root)."""
    name = f"neurorobust-{os.getpid()}"
    if (CGROUPS / "cgroup.controllers").exists():
        made, limit = [CGROUPS / name], ("cpu.max", f"{int(cores * 100_000)} 100000")
    else:
        made, limit = (
            [CGROUPS / kind / name for kind in ("cpu", "cpuacct")],
            ("cpu.cfs_quota_us", f"{int(cores * 1e5)}"),
        )

    def enter() -> None:
        for folder in made:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    with ExitStack() as held:
        for folder in made:
            held.callback(_remove, folder)
        try:
            for folder in made:
                folder.mkdir()
            (made[0] / limit[0]).write_text(limit[1])
        except OSError:
            yield None
        else:
            yield enter


def _remove(folder: Path) -> None:
    for _ in range(20):  # its processes were just killed
        with suppress(FileNotFoundError):
            try:
                folder.rmdir()
            except OSError:
                time.sleep(0.05)
                continue
        return


def one_core() -> None:
    """Keep a new process to one core."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])


@dataclass(frozen=True)
class Beside:
    """Attributes: what: the situation. seconds: per step, of every way, one number per round. base: the way that the
    others are divided by."""

    what: str
    seconds: dict[str, list[float]]
    base: str = "one thread"

    @property
    def ms(self) -> dict[str, float]:
        """The median step of every way, ms."""
        return {way: 1e3 * statistics.median(values) for way, values in self.seconds.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """Every way divided by the base, paired by round: the median."""
        base = self.seconds[self.base]
        return {
            way: statistics.median(mine / one for mine, one in zip(values, base, strict=True))
            for way, values in self.seconds.items()
        }


def measure(rounds: int, seconds: float, tick: Callable[[str], None]) -> list[Beside]:
    """All situations, with every way in turn in each round."""
    ways, found = list(WAYS), []
    with ExitStack() as held:

        def crew(n: int, kind: str = "ours", before: Callable[[], None] | None = None) -> dict[str, list[Worker]]:
            made = {way: [Worker(way, kind, before) for _ in range(n)] for way in ways[kind == "plain" :]}
            for workers in made.values():
                for worker in workers:
                    held.callback(worker.stop)
            return made

        two = crew(2)
        first = {way: workers[:1] for way, workers in two.items()}
        found.append(_turns("alone", first, rounds, seconds, tick))
        with competitor():
            found.append(_turns("one busy competitor", first, rounds, seconds, tick))
        found.append(_turns("two of our processes", two, rounds, seconds, tick))
        with container(1.0) as enter:
            if enter is not None:
                with ExitStack() as inside:
                    limited = crew(1, before=enter)
                    for workers in limited.values():
                        inside.callback(workers[0].stop)
                    found.append(_turns("a container with one core of two", limited, rounds, seconds, tick))
        found.append(_turns("bound to one core", crew(1, before=one_core), rounds, seconds, tick))
        found.append(
            replace(_turns("plain torch, alone", crew(1, "plain"), rounds, seconds, tick), base="always awake")
        )
    return found


def _turns(
    what: str, crews: dict[str, list[Worker]], rounds: int, seconds: float, tick: Callable[[str], None]
) -> Beside:
    taken = {way: list[float]() for way in crews}
    for turn in range(rounds):
        for way in _order(list(crews), turn):
            for worker in crews[way]:
                worker.start(seconds)
            taken[way].append(statistics.fmean([worker.result() for worker in crews[way]]))
            tick(what)
    return Beside(what, taken)


def _order(ways: Sequence[str], turn: int) -> list[str]:
    return list(ways) if turn % 2 == 0 else list(reversed(ways))
