"""Where words for people go: results to stdout, everything else to stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

out = Console()
err = Console(stderr=True)


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """A bar with the time that is left, on stderr and only in a terminal; yields a function that advances it by one
    and takes a new ``description``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TextColumn("·"), TimeElapsedColumn(), TextColumn("gone,"), TimeRemainingColumn(), TextColumn("to go"))
    with Progress(*columns, *times, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(description, total=total, completed=done)

        def advance(description: str | None = None) -> None:
            bar.update(task, advance=1, description=description)

        yield advance
