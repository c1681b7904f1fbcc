"""``python -m neurorobust`` is the command ``neurorobust``."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType


def main() -> None:
    """The command line. Its first interruption (Ctrl-C) ends the command in order, a second one at once."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupted)
    try:
        from .cli import main as command  # takes seconds, in which it may be interrupted

        command()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted.\n")
        sys.exit(130)


def _interrupted(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
