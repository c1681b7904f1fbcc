"""Text for the user: results go to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .errors import unknown

out = Console()
err = Console(stderr=True)


class _Named:
    """A stream of text whose errors name it, as those of a file do."""

    def __init__(self, stream: IO[str], name: str):
        self._stream, self._said = stream, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._naming():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._naming():
            self._stream.flush()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, self._said) from error


@contextmanager
def named_output() -> Iterator[None]:
    """Let an error of standard output, such as that of a full disk, name it."""
    with redirect_stdout(cast(IO[str], _Named(sys.stdout, "standard output"))):
        yield


LINE_EVERY = 30.0
"""Seconds between progress lines without a terminal; a shorter job prints none."""


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings of this package are one sentence each: the line of code that a command runs tells its user nothing."""
    usual = warnings.formatwarning

    def words(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
        return f"warning: {message}\n" if category is UserWarning else usual(message, category, *place, **more)

    warnings.formatwarning = words
    try:
        yield
    finally:
        warnings.formatwarning = usual


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """A progress bar with the remaining time, on stderr; without a terminal a line about every half minute.

    Nothing is shown if the environment variable ``NEUROROBUST_PROGRESS`` is ``off``, as for a notebook that is kept.

    Yields a function that advances the bar by one step. It takes an optional new ``description``.

    Raises:
        ValueError: another value of the variable.
    """
    wanted = os.environ.get("NEUROROBUST_PROGRESS", "on")
    if wanted not in ("on", "off"):
        raise unknown("environment variable NEUROROBUST_PROGRESS", wanted, ("on", "off"))
    if wanted == "off":
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


def several(n: int, noun: str) -> str:
    """A number of things: ``1 epoch``, ``2 epochs``."""
    return f"{n} {noun}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """A duration as text.

    Example:
        >>> duration(42.3), duration(600), duration(9000)
        ('42 s', '10.0 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
