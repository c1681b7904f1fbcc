"""How many cores are left for this process, and what follows for its threads.

Only Linux says it, in /proc/stat and in the files of cgroups. Elsewhere all cores count as free. What others used since
an earlier reading says it best. Without such a reading, at first and after a pause, who runs right now has to do.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

SYSTEM = Path("/")
BUSY, FREE = 0.25, 0.12  # cores that are missing before threads wait asleep, and before they wait awake again
MARGIN, BACK = 0.25, 0.4  # cores above half of the threads that are needed to keep all, and to have all again
LOOKS, APART = 3, 1e-3  # glances at who runs, and s between them: a daemon that wakes up for a moment is not load


class Reading(NamedTuple):
    """Seconds of processor time since some moment in the past.

    Attributes:
        wall: s. own: of all threads of this process.
        cores: that this process may use. busy: of everybody on these cores.
        quota: how many cores the container may use on average, ∞ without a limit. used: of the whole container.
    """

    wall: float
    own: float
    cores: frozenset[int]
    busy: float
    quota: float = math.inf
    used: float = 0.0


class Plan(NamedTuple):
    """Attributes: threads: for a loop. asleep: whether OpenMP's threads wait asleep, so that others have the cores."""

    threads: int
    asleep: bool


def comparable(before: Reading | None, now: Reading) -> bool:
    """Whether time has passed between two readings of the same cores, by one process and not by its parent."""
    return before is not None and now.wall > before.wall and now.own >= before.own and before.cores == now.cores


def room(before: Reading, now: Reading, polite: float = 0.0) -> float:
    """Cores that were left for this process between two readings: min(cores, quota), each less what others used; so
    many ``polite`` cores of that they leave when this process needs them (:mod:`.polite`)."""
    seconds = now.wall - before.wall
    own = (now.own - before.own) / seconds
    others = max((now.busy - before.busy) / seconds - own - polite, 0.0)
    beside = max((now.used - before.used) / seconds - own, 0.0) if now.quota < math.inf else 0.0
    return max(min(len(now.cores) - others, now.quota - beside), 0.0)


def room_beside(others: int, now: Reading) -> float:
    """Cores that are left while so many threads of others run."""
    return max(min(float(len(now.cores) - others), now.quota), 0.0)


def plan(room: float, allowed: int, before: Plan) -> Plan:
    """The plan for so much room, of at most ``allowed`` threads; the plan before it changes only if room did clearly.

    Either all threads take part or one: OpenMP starts its threads anew when their number changes.
    """
    needed = allowed / 2 + (BACK if before.threads == 1 else MARGIN)
    asleep = allowed - room > (FREE if before.asleep else BUSY)
    return Plan(allowed if room >= min(needed, allowed) else 1, asleep and allowed > 1)


def read() -> Reading | None:
    """A reading of now; None where the system does not say how busy its cores are."""
    try:
        cores = frozenset(os.sched_getaffinity(0))
        text = (SYSTEM / "proc/stat").read_text(encoding="ascii")
        busy, quota = _busy(text, cores), _quota()
        used = _used(quota)
    except (AttributeError, OSError, ValueError, IndexError):
        return None
    return Reading(time.monotonic(), time.process_time(), cores, busy, quota.cores, used)


def others_running() -> int:
    """How many threads of others run or wait for a core right now: the least of a few glances; 0 where nothing says
    it, or where this process may not use all cores, since others may run on the cores that it may not use."""
    try:
        least = _others_running()
        for _ in range(LOOKS - 1):
            if least:
                time.sleep(APART)
                least = min(least, _others_running())
    except (AttributeError, OSError, ValueError, IndexError):
        return 0
    return least


def _others_running() -> int:
    lines = (SYSTEM / "proc/stat").read_text(encoding="ascii").splitlines()
    if sum(line.startswith("cpu") for line in lines) - 1 != len(os.sched_getaffinity(0)):
        return 0
    running = next((int(line.split()[1]) for line in lines if line.startswith("procs_running")), 0)
    return max(running - _own_running(), 0) if running > 1 else 0


def _own_running() -> int:
    """Threads of this process that run: the caller, and OpenMP's for some ms after an operation of torch."""
    states = []
    for task in (SYSTEM / "proc/self/task").iterdir():
        with suppress(OSError):  # it has just ended
            states.append((task / "stat").read_bytes().rpartition(b") ")[2][:1])
    return max(states.count(b"R"), 1)


def _busy(text: str, cores: frozenset[int]) -> float:
    """Seconds that anyone has used on these cores, from the text of /proc/stat."""
    names, ticks = {f"cpu{core}" for core in cores}, 0
    for line in text.splitlines():
        if not line.startswith("cpu"):
            break
        name, *fields = line.split()
        if name in names:
            user, nice, system, _idle, _waiting, *interrupts = map(int, fields[:8])
            ticks += user + nice + system + sum(interrupts)
    return ticks / os.sysconf("SC_CLK_TCK")


class Quota(NamedTuple):
    """Attributes: cores: that a container may use on average. used: the file that says what it used, None of none;
    unit: of that file, s."""

    cores: float
    used: Path | None = None
    unit: float = 1e-6


@cache
def _quota() -> Quota:
    """The smallest limit of the cgroups that this process is in, of version 2 (``cpu.max``) or 1."""
    try:
        lines = (SYSTEM / "proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        lines = []
    found = [Quota(math.inf)]
    for kinds, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        controllers = kinds.split(",") if kinds else [""]
        if "cpu" in controllers or not kinds:
            found += [_limit(where, kinds) for where in _folders(path)]
    return min(found, key=lambda quota: quota.cores)


def _folders(path: str) -> list[str]:
    """The path of a cgroup and of all above it. In a container the path may be the host's, of which only "" exists."""
    names = path.strip("/").split("/")
    return ["/".join(names[:n]) for n in range(len(names), -1, -1)]


def _limit(path: str, kinds: str) -> Quota:
    folder = SYSTEM / "sys/fs/cgroup" / kinds / path
    try:
        if not kinds:
            most, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            return Quota(int(most) / int(period), folder / "cpu.stat")
        most, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        usage = SYSTEM / "sys/fs/cgroup/cpuacct" / path / "cpuacct.usage"
        return Quota(int(most) / int(period) if int(most) > 0 else math.inf, usage, 1e-9)
    except (OSError, ValueError, ZeroDivisionError):  # there is none, or it is "max"
        return Quota(math.inf)


def _used(quota: Quota) -> float:
    """Seconds that all processes of a container have used."""
    if quota.used is None or quota.cores == math.inf:
        return 0.0
    words = quota.used.read_text(encoding="ascii").split()
    return quota.unit * int(words[words.index("usage_usec") + 1] if "usage_usec" in words else words[0])


def limit() -> float:
    """Cores that this process may use: by affinity, and by the limit of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(float(cores), _quota().cores)
