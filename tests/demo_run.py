"""The command line in this process, and one `demo --quick` on the real beats that several test files use."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
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


_quick: list[tuple[Path, Ran]] = []


def quick(factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """Folder and output of `demo --quick --json`, run once for all tests of this process.

    Args:
        factory: pytest's ``tmp_path_factory``.
    """
    if not _quick:
        folder = factory.mktemp("quick") / "runs" / "demo"
        _quick.append((folder, cli("demo", "--quick", "--out", folder, "--json")))
    return _quick[0]
