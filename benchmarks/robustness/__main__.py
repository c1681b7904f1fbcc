"""``python -m benchmarks.robustness``: the paper reproduced; see docs/reproduce.md."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import robustness
from neurorobust._util.console import out
from neurorobust.cli.shared import Json, show

from .cell import RESULTS
from .pages import pages_folder
from .results import TABLE

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def reproduce(
    task: Annotated[str | None, typer.Argument(help="One task of the grid; all of them by default.")] = None,
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="Only these; by default all methods of the task.")
    ] = None,
    out_: Annotated[
        Path, typer.Option("--out", help="Folder of all results; finished results there are not made again.")
    ] = RESULTS,
    measurements: Annotated[
        str | None, typer.Option(help="Only some, separated by commas: mismatch,strong.", show_default=False)
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Only some, separated by commas: 0,1.", show_default=False)] = None,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    check: Annotated[
        int, typer.Option(help="Make N random finished cells again and compare.", min=0, show_default=False)
    ] = 0,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print the jobs that are left and how long they take.")
    ] = False,
    pages: Annotated[
        bool, typer.Option("--pages", help="Only write the table, the pages and the claims of finished results.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Reproduce the paper: train every method on every task, make every measurement, write table, figures and claims.

    An interrupted run continues when it is started again; several runs may share one folder.

    [bold]Examples[/bold]

      python -m benchmarks.robustness ecg standard adversarial --jobs 2

      python -m benchmarks.robustness --plan

      python -m benchmarks.robustness ecg --measurements mismatch,strong --seeds 0 --json

      python -m benchmarks.robustness --check 2
    """
    chosen = list(robustness.all_studies().values()) if task is None else [robustness.find_study(task)]
    numbers = None if seeds is None else _whole("seeds", seeds)
    names = tuple(robustness.find_measurements(measurements.split(",") if measurements else None))
    cells = [cell for study in chosen for cell in robustness.cells_of(study, methods or (), numbers, out_)]
    if check:
        checked = robustness.check(cells, names, check)
        show(checked.json(), as_json, checked.table)
        if not checked.same:
            raise typer.Exit(1)
        return
    if plan:
        _print_plan(cells, names, jobs, as_json)
        return
    failed = {} if pages else robustness.complete(cells, names, jobs)
    _write(cells, names, failed, out_, as_json)
    if failed:
        raise typer.Exit(1)


def _print_plan(cells: list[robustness.Cell], names: tuple[str, ...], jobs: int, as_json: bool) -> None:
    """The jobs that are left, with their estimated times."""
    todo = robustness.estimates(robustness.plan(cells, names))
    rows = [
        {"cell": job.cell.name, "left": job.left, "seconds": one.seconds, "from": list(one.sources)}
        for job, one in todo.items()
    ]
    show({"jobs": rows}, as_json, lambda: robustness.forecast(todo, jobs))


def _write(
    cells: list[robustness.Cell], names: tuple[str, ...], failed: dict[str, str], folder: Path, as_json: bool
) -> None:
    """Table, pages and figures to disk; progress and claims to the terminal."""
    table = robustness.write_table(folder)
    robustness.write_pages(folder)
    verdicts = robustness.judge_claims(folder)
    payload = {
        "cells": {cell.name: robustness.progress(cell, names) for cell in cells},
        "failed": failed,
        "claims": [verdict.row() for verdict in verdicts],
        "rows": len(table),
        "table": str(folder / TABLE),
        "page": str(pages_folder(folder) / "reproduction.md"),
    }
    show(payload, as_json, lambda: robustness.progress_table(cells, names, failed))
    if verdicts and not as_json:
        rows = [summary.row() for summary in robustness.summarize(verdicts)]
        shown = Table(*rows[0], title="claims", title_justify="left")
        for row in rows:
            shown.add_row(*row.values())
        out.print(shown)


def _whole(option: str, words: str) -> list[int]:
    """Whole numbers separated by commas."""
    if not all(word.isdecimal() for word in words.split(",")):
        raise ValueError(f"{option}: got {words!r}; expected whole numbers separated by commas, 0,1.")
    return [int(word) for word in words.split(",")]


if __name__ == "__main__":
    try:
        app(prog_name="python -m benchmarks.robustness")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
