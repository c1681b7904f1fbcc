"""The test of pytest that runs now, as the plugin states it: where its files are, and whether baselines are written.

No import of this module is slow: pytest loads it in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


def _nothing(_: str) -> None:
    pass


@dataclass(frozen=True)
class Session:
    """The surroundings of one test.

    Attributes:
        folder: relative paths of baselines start here: the folder of the test file.
        update: whether baselines are written and not compared.
        figure: path of the figure of a failing check, without suffix; None draws none.
        say: takes a line for the end of the report of pytest.
    """

    folder: Path = Path()
    update: bool = False
    figure: Path | None = None
    say: Callable[[str], None] = _nothing


OUTSIDE = Session()
_CURRENT: ContextVar[Session] = ContextVar("neurorobust.testing", default=OUTSIDE)


def current() -> Session:
    """The surroundings of the test that runs now; outside pytest the working directory, without update and figures."""
    return _CURRENT.get()


@contextmanager
def running(session: Session) -> Iterator[None]:
    """Run a test in these surroundings."""
    token = _CURRENT.set(session)
    try:
        yield
    finally:
        _CURRENT.reset(token)
