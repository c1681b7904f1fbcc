"""Text for the user: results go to stdout, everything else to stderr."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

out = Console()
err = Console(stderr=True)


LINE_EVERY = 30.0
"""Seconds between progress lines without a terminal; a shorter job prints none."""


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """A progress bar with the remaining time, on stderr; without a terminal a line about every half minute.

    Yields a function that advances the bar by one step. It takes an optional new ``description``. With
    ``NEUROROBUST_PROGRESS=off`` in the environment nothing is shown, as for notebooks that are published.
    """
    if os.environ.get("NEUROROBUST_PROGRESS") == "off":
        yield lambda description=None: None
        return
    if not err.is_terminal:
        yield _lines(description, total, done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TextColumn("·"), TimeElapsedColumn(), TextColumn("gone,"), TimeRemainingColumn(), TextColumn("to go"))
    with Progress(*columns, *times, console=err, transient=True) as bar:
        task = bar.add_task(description, total=total, completed=done)

        def advance(description: str | None = None) -> None:
            bar.update(task, advance=1, description=description)

        yield advance


def _lines(description: str, total: int, done: int) -> Callable[..., None]:
    """The function that :func:`progress` yields without a terminal."""
    first, started, made = description, time.monotonic(), 0
    last = started

    def advance(description: str | None = None) -> None:
        nonlocal last, made
        made, now = made + 1, time.monotonic()
        if now - last >= LINE_EVERY and done + made < total:
            last = now
            gone, left = duration(now - started), duration((now - started) / made * (total - done - made))
            line = f"{description or first}: {done + made} of {total}, {gone} gone, about {left} to go"
            err.print(line, soft_wrap=True, markup=False, highlight=False)

    return advance


def duration(seconds: float) -> str:
    """A duration as text.

    Example:
        >>> duration(42.3), duration(600), duration(9000)
        ('42 s', '10.0 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
