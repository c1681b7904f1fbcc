"""python mini_run.py OUT: the whole miniature grid in this process, and its table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import torch
from mini_study import MINI

from benchmarks import robustness

NAMES = ("mismatch", "nominal", "strong", "ten_kl", "transfer")


class Here(Executor):
    """Does the work at once, in this process."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_result(work(*args, **kwargs))
        return future


def complete(out: Path, study: robustness.Study = MINI) -> list[robustness.Outcome]:
    """Every cell of a study, and the table."""
    cells, outcomes = robustness.cells_of(study, (), None, out), []
    while jobs := robustness.plan(cells, NAMES):
        outcomes += robustness.run(jobs, Here())
    robustness.write_table(out)
    return outcomes


if __name__ == "__main__":
    torch.set_num_threads(1)
    complete(Path(sys.argv[1]))
