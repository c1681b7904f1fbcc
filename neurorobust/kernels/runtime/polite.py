"""Processes that use a core only as long as this one does not need it: niced ones, and those of the idle class.

They take a whole free core, so their time looks like load. Where the kernel compares them with this process, they leave
it. It does so within one control group and, where autogroups are on, within one session (a terminal, say).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

IDLE_CLASS = 5  # SCHED_IDLE
STEP = 1.25  # between the weights of two nice values that follow each other
PERIOD, SHARE = 3.0, 1e-3  # s between two searches for such processes, or longer: this share of the time at most
MOST = 40  # processes to follow
OLD = 1.0  # s after which an earlier look says nothing


class Process(NamedTuple):
    """From /proc/…/stat. Attributes: session. ticks: of processor time. nice. core: on which it ran last. policy."""

    session: int
    ticks: int
    nice: int
    core: int
    policy: int


def process_of(text: bytes) -> Process:
    """Read the content of /proc/…/stat."""
    fields = text.rpartition(b") ")[2].split()  # the first of them is the third, since names hold spaces
    return Process(int(fields[3]), int(fields[11]) + int(fields[12]), *(int(fields[k]) for k in (16, 36, 38)))


def yields(other: Process, own: Process) -> float:
    """How much less a process counts as load than an equal one, which gets half of a core that both want: 0 to 1."""
    if (other.policy == IDLE_CLASS) != (own.policy == IDLE_CLASS):
        return 1.0 if other.policy == IDLE_CLASS else 0.0
    steps = other.nice - own.nice
    return max(1 - 2 * STEP**-steps / (1 + STEP**-steps), 0.0)


class Polite:
    """Follows such processes, as long as somebody asks.

    Args:
        proc: the folder /proc.
    """

    def __init__(self, proc: Path = Path("/proc")):
        self.proc, self.due, self.wall = proc, 0.0, 0.0
        self.parts: dict[int, float] = {}  # of each process, what it leaves
        self.ticks: dict[int, int] = {}  # of each, at the last look

    def cores(self) -> float:
        """Cores that they used since the last look and would leave; 0 at first, after a pause, and where the system
        does not say it."""
        try:
            now, usable = time.monotonic(), os.sched_getaffinity(0)
            if now >= self.due:
                self._search(now)
            found = {pid: each for pid in self.parts if (each := self._read(pid)) is not None}
        except (AttributeError, OSError, ValueError, IndexError):
            return 0.0
        before, seconds = self.ticks, now - self.wall
        self.ticks, self.wall = {pid: each.ticks for pid, each in found.items()}, now
        if not 0 < seconds <= OLD:
            return 0.0
        used = (
            self.parts[pid] * (each.ticks - before[pid])
            for pid, each in found.items()
            if pid in before and each.core in usable
        )
        return sum(used) / os.sysconf("SC_CLK_TCK") / seconds

    def _read(self, pid: int) -> Process | None:
        try:
            return process_of((self.proc / str(pid) / "stat").read_bytes())
        except OSError:  # it has ended
            return None

    def _search(self, now: float) -> None:
        own = self._read(os.getpid())
        found = {}
        for pid in (int(name) for name in os.listdir(self.proc) if name.isdecimal()):
            if own is not None and (other := self._read(pid)) is not None and self._compared(pid, other, own):
                found[pid] = (other.ticks, yields(other, own))
        busiest = sorted(found, key=lambda pid: found[pid][0])[-MOST:]
        self.parts = {pid: found[pid][1] for pid in busiest}
        self.due = now + max(PERIOD, (time.monotonic() - now) / SHARE)

    def _compared(self, pid: int, other: Process, own: Process) -> bool:
        """Whether it leaves anything, and the kernel compares it with this process."""
        if not yields(other, own) or (self._autogroups() and other.session != own.session):
            return False
        try:
            groups = [(self.proc / name / "cgroup").read_bytes() for name in (str(pid), str(os.getpid()))]
        except OSError:
            return False
        return groups[0] == groups[1]

    def _autogroups(self) -> bool:
        try:
            return (self.proc / "sys/kernel/sched_autogroup_enabled").read_bytes().strip() != b"0"
        except OSError:
            return False
