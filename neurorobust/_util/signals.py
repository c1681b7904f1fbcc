"""Signals that wait until something is done that an exception in its middle would break."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from . import console

Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def signals_wait(what: str) -> Iterator[None]:
    """Handlers of signals that Python runs, such as that of Ctrl-C, are run at the end of the block, each once.

    The first Ctrl-C says that it waits for ``what``; the second one is not held back. Other threads run no handlers, so
    there the block is as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = ((number, signal.getsignal(number)) for number in signal.valid_signals())
    before: dict[int, Handler] = {number: handler for number, handler in found if callable(handler)}
    waiting: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            waiting.append(number)
        elif number in waiting:
            before[number](number, frame)
        else:
            waiting.append(number)
            console.err.print(f"interrupted; waits for {what}. Once more to stop now.", soft_wrap=True, markup=False)

    try:
        for number in before:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _deliver(list(dict.fromkeys(waiting)))


def _deliver(numbers: list[int]) -> None:
    """Run the handlers; one that raises does not keep the others from running."""
    if numbers:
        try:
            signal.raise_signal(numbers[0])
        finally:
            _deliver(numbers[1:])
