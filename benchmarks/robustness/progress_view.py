"""Tables of the grid's progress: every cell, the plan, the end of each job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby

from rich.live import Live
from rich.table import Table

from neurorobust._util.console import duration, err

from .cell import Cell
from .grid import Outcome, pool, run
from .plan import Job, plan
from .times import Estimate, estimates
from .work import pending


def progress(cell: Cell, names: Sequence[str]) -> str:
    """The progress of a cell in a few words, from its files alone."""
    record = cell.read()
    if "training" not in record:
        log = cell.folder / "log.csv"
        if log.exists():
            return f"epoch {max(0, len(log.read_text(encoding='utf-8').splitlines()) - 1)}/{cell.study.epochs}"
        return "tuning" if any(cell.folder.parent.glob("trial-*/")) else "–"
    left = pending(cell, names)
    return "done" if not left else f"trained, {len(left)} measurements left"


def _word(cell: Cell, names: Sequence[str], failed: Mapping[str, str]) -> str:
    return "failed" if cell.name in failed else progress(cell, names)


def progress_table(cells: Sequence[Cell], names: Sequence[str], failed: Mapping[str, str] = {}) -> Table:
    """Every cell, a row for each study and method, a column for each seed."""
    seeds = sorted({cell.seed for cell in cells})
    shown = Table("task", "method", *(f"seed {seed}" for seed in seeds), title="reproduction", title_justify="left")
    by_row: dict[tuple[str, str], dict[int, Cell]] = {}
    for cell in cells:
        by_row.setdefault((cell.study.name, cell.method), {})[cell.seed] = cell
    last = ""
    for (study, method), row in by_row.items():
        words = [_word(row[seed], names, failed) if seed in row else "" for seed in seeds]
        shown.add_row("" if study == last else study, method, *words)
        last = study
    return shown


def forecast(jobs: Mapping[Job, Estimate], workers: int) -> Table:
    """The plan: the jobs in their order, and how long they will take."""
    total = sum(one.seconds for one in jobs.values())
    title = (
        f"plan: {len(jobs)} jobs, about {duration(total / workers)} on {workers} processes, on a machine as busy as now"
    )
    shown = Table("task", "methods", "seeds", "to do", "about", "estimated from", title=title, title_justify="left")
    named: set[str] = set()
    for (study, measurements), group in groupby(jobs, key=lambda job: (job.cell.study.name, job.measurements)):
        own = list(group)
        fresh = [job for job in own if not job.trained and job.cell.name not in named]
        named.update(job.cell.name for job in fresh)
        left = {name for job in own for name in job.left}
        todo = ["train"] * bool(fresh) + [name for name in measurements if name in left]
        methods, seeds = (list(dict.fromkeys(str(value) for value in values)) for values in zip(*map(_method, own)))
        time = duration(sum(jobs[job].seconds for job in own))
        origin = dict.fromkeys(word for job in own for word in jobs[job].sources)
        shown.add_row(study, ", ".join(methods), ", ".join(seeds), ", ".join(todo), time, ", ".join(origin))
    return shown


def _method(job: Job) -> tuple[str, int]:
    return job.cell.method, job.cell.seed


@contextmanager
def watching(cells: Sequence[Cell], names: Sequence[str], failed: Mapping[str, str]) -> Iterator[None]:
    """The table of all cells, updated on a terminal; nothing elsewhere."""
    if not err.is_terminal:
        yield
        return
    with Live(console=err, get_renderable=lambda: progress_table(cells, names, failed), refresh_per_second=0.5):
        yield


def line(outcome: Outcome) -> str:
    """An outcome in one line."""
    words = f"{outcome.job.cell.name} ({', '.join(outcome.job.measurements)}): {outcome.status}"
    return f"{words}: {outcome.error}" if outcome.error else words


def complete(cells: Sequence[Cell], names: Sequence[str], processes: int) -> dict[str, str]:
    """Do the jobs that are left in several processes; prints the plan first, and then shows the progress.

    Returns:
        The errors of the cells that failed, by cell.
    """
    failed: dict[str, str] = {}

    def report(outcome: Outcome) -> None:
        if outcome.status == "failed":
            failed[outcome.job.cell.name] = outcome.error
        err.print(line(outcome), soft_wrap=True, markup=False, highlight=False)

    # A finished network adds dies that the others are measured on, so more may be left than at first.
    while jobs := [job for job in plan(cells, names) if job.cell.name not in failed]:
        err.print(forecast(estimates(jobs), processes))
        threads = max(1, (os.cpu_count() or 1) // processes)
        workers = pool(processes, threads)
        try:
            with watching(cells, names, failed):
                run(jobs, workers, report, processes)
        finally:
            workers.shutdown(cancel_futures=True)  # when interrupted, jobs that run are finished
    return failed
