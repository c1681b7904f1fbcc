"""``reproduce``: the grid of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .. import reproduction
from .._util.console import out
from .shared import Json, show

order = 2.5
app = typer.Typer()


@app.command()
def reproduce(
    task: Annotated[str | None, typer.Argument(help="One task of the grid; all of them by default.")] = None,
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="Only these; by default all that the task has.")
    ] = None,
    out_: Annotated[
        Path, typer.Option("--out", help="Folder of all results; what is finished there is not done again.")
    ] = Path("docs/results"),
    evaluations: Annotated[
        str | None, typer.Option(help="Only some, separated by commas: mismatch,strong.", show_default=False)
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Only some, separated by commas: 0,1.", show_default=False)] = None,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    check: Annotated[
        int, typer.Option(help="Do N random finished cells again, elsewhere, and compare.", min=0, show_default=False)
    ] = 0,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Only say what is to be done, how long it will take, and what that is estimated from."
        ),
    ] = False,
    pages: Annotated[
        bool, typer.Option("--pages", help="Only write the table, the page and the claims of what is there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Reproduce the paper: every method on every task, each judged by every evaluation; then table, figures and claims.

    Interrupted or killed, it goes on where it was when run again; several may run at once, on one folder.

    [bold]Examples[/bold]

      neurorobust reproduce ecg standard beta --jobs 2

      neurorobust reproduce --plan

      neurorobust reproduce ecg --evaluations mismatch,strong --seeds 0 --json

      neurorobust reproduce --check 2
    """
    chosen = list(reproduction.all_studies().values()) if task is None else [reproduction.find_study(task)]
    numbers_ = None if seeds is None else _whole("seeds", seeds)
    names = tuple(reproduction.named(evaluations.split(",") if evaluations else None))
    cells = [cell for study in chosen for cell in reproduction.cells_of(study, methods or (), numbers_, out_)]
    if check:
        report_ = reproduction.check(cells, names, check)
        show(report_.json(), as_json, report_.table)
        if not report_.same:
            raise typer.Exit(1)
        return
    if plan:
        todo = reproduction.estimates(reproduction.plan(cells, names))
        show(
            {
                "jobs": [
                    {"cell": job.cell.name, "left": job.left, "seconds": one.seconds, "from": list(one.sources)}
                    for job, one in todo.items()
                ]
            },
            as_json,
            lambda: reproduction.forecast(todo, jobs),
        )
        return
    failed = {} if pages else reproduction.complete(cells, names, jobs)
    table = reproduction.write_table(out_)
    reproduction.write_pages(out_)
    verdicts = reproduction.tested(out_)
    payload = {
        "cells": {cell.name: reproduction.state(cell, names) for cell in cells},
        "failed": failed,
        "claims": [verdict.row() for verdict in verdicts],
        "rows": len(table),
        "table": str(out_ / "results.csv"),
        "page": str(out_ / "reproduction.md"),
    }
    show(payload, as_json, lambda: reproduction.table(cells, names, failed))
    if verdicts and not as_json:
        rows = reproduction.overall(verdicts)
        shown = Table(*rows[0], title="claims", title_justify="left")
        for row in rows:
            shown.add_row(*row.values())
        out.print(shown)
    if failed:
        raise typer.Exit(1)


def _whole(option: str, words: str) -> list[int]:
    """Whole numbers separated by commas."""
    if not all(word.isdecimal() for word in words.split(",")):
        raise ValueError(f"{option}: got {words!r}; expected whole numbers separated by commas, 0,1.")
    return [int(word) for word in words.split(",")]
