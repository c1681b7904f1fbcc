"""python kill_run.py OUT FIRST N: runs that are killed with -9 and done again, each in its own child process.

Case k is killed before its k-th operation on files (even k), or after a random time (odd k). Then the same run is
started again. A line of JSON for each case: whether it was killed, and how the folder differs from that of a run that
nobody killed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conftest import events, tiny
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust._util import digests
from neurorobust.data import Task

OPERATIONS = ("open", "fsync", "replace", "unlink", "write", "close")


def work(out: Path) -> None:
    """A training with checkpoints, a model, a die, a record: all that is written atomically."""
    parts = (events(1, 24), events(2, 10), events(3, 10))
    task = Task("tiny", ("a", "b"), *parts, functional.cross_entropy, None, "f")
    network = tiny()
    nr.fit(network, task, functional.cross_entropy, epochs=4, out=out, schedule=nr.Schedule(batch_size=8))
    nr.save(network, out, {"task": "tiny"})
    chipmodels.load("dynapse2").fabricate([3], 1)[0].save(out / "die.json")
    digests.write_json(out / "results.json", {"score": 0.5})


def killed_before(number: int) -> Callable[[], int]:
    """Kill this process before its n-th operation on files; returns how many are left until then."""
    left = number

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*args, **kwargs)

        return call

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    return lambda: left


def in_child(do: Callable[[], object], seconds: float | None, said: Callable[[], str]) -> bool:
    """Do something in a child process, which may be killed after so many seconds; whether it was killed.

    Raises:
        RuntimeError: it failed, with what it ``said``.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            do()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(said())
    return os.WIFSIGNALED(status)


def child(out: Path, before: int | None = None, seconds: float | None = None) -> bool:
    """Do the work in a child process; whether it was killed."""

    def do() -> None:
        if before is not None:
            killed_before(before)
        work(out)

    return in_child(do, seconds, lambda: f"{out}: failed; see above")


def contents(out: Path) -> dict[str, str]:
    """Every file by a digest; without the seconds that epochs took."""
    found = {path.name: digests.of_file(path) for path in sorted(out.iterdir())}
    found.pop("checkpoint.pt", None)  # holds the seconds
    lines = (out / "log.csv").read_text().splitlines()
    return found | {"log.csv": "\n".join(line.rpartition(",")[0] for line in lines)}


def main(out: Path, first: int, n: int) -> None:
    torch.set_num_threads(1)
    work(out / "warm")  # compiles
    started = time.perf_counter()
    assert not child(out / "whole")
    took, whole = time.perf_counter() - started, contents(out / "whole")
    for case in range(first, first + n):
        folder = out / str(case)
        folder.mkdir()
        if case % 2:
            killed = child(folder, seconds=random.Random(case).uniform(0.0, took))
        else:
            killed = child(folder, before=case)
        again = child(folder)
        here = contents(folder)
        different = sorted(name for name in whole.keys() | here if whole.get(name) != here.get(name))
        print(json.dumps({"case": case, "killed": killed, "again": again, "different": different}), flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
