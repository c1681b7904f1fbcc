"""The command line in this process, and one `demo --quick` on the real beats that several test files use."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from unittest import mock

import pytest

import neurorobust as nr
import neurorobust.cli
from neurorobust.data import tasks
from neurorobust.demo import Size

SMALL = Size(n_hidden=8, epochs=2, n_dies=2, attacked=16, quick=(0.05,), thorough=(0.05,), steps=2, restarts=1)


@dataclass(frozen=True)
class Ran:
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


def cli(*arguments: object, task: Callable[[], nr.data.Task] | None = None) -> Ran:
    """`neurorobust ARGUMENTS`, in this process, its data read once; ``task`` stands in for ecg."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["neurorobust", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys.modules["neurorobust.data.tasks.ecg"], "ecg", task or beats),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            neurorobust.cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Ran(code, out.getvalue(), err.getvalue())


@cache
def beats() -> nr.data.Task:
    """Heart beats, all of them."""
    return tasks.ecg()


@cache
def few_beats() -> nr.data.Task:
    """Heart beats, so few that a demo takes seconds."""
    task = beats()
    return replace(task, train=task.train.first(200), validation=task.validation.first(40), test=task.test.first(60))


def quick(factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """Folder and output of `demo --quick --json`, run once for all tests, also those of pytest-xdist's other workers.

    Args:
        factory: pytest's ``tmp_path_factory``.
    """
    place = factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    folder, said = place / "quick" / "runs" / "demo", place / "quick.json"
    with (place / "quick.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            said.write_text(json.dumps(asdict(cli("demo", "--quick", "--out", folder, "--json"))), encoding="utf-8")
    return folder, Ran(**json.loads(said.read_text(encoding="utf-8")))
