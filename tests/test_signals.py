"""Signals that wait until a loop is compiled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from neurorobust._util.signals import signals_wait

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="a system without these signals")


class Stopped(Exception):
    """What a handler raises."""


@pytest.fixture
def stopping():
    """Handlers of two signals that raise, and the numbers that they got."""
    seen = []

    def stop(number, frame):
        seen.append(number)
        raise Stopped

    numbers = signal.SIGALRM, signal.SIGINT
    before = [signal.signal(number, stop) for number in numbers]
    yield seen
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


def test_a_handler_runs_at_the_end(stopping):
    """Once, whatever happens inside, and the handlers are those of before."""
    handlers = signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT)
    reached = False
    with pytest.raises(Stopped), signals_wait("it"):
        signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGALRM)
        assert stopping == []
        reached = True
    assert reached and stopping == [signal.SIGALRM]
    with pytest.raises(Stopped), signals_wait("it"):
        signal.raise_signal(signal.SIGALRM)
        raise ValueError
    assert handlers == (signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT))


def test_both_handlers_run(stopping, capsys):
    with pytest.raises(Stopped), signals_wait("it"):
        signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGINT)
    assert stopping == [signal.SIGALRM, signal.SIGINT]


def test_the_second_interruption_does_not_wait(stopping, capsys):
    """The first one says what it waits for."""
    with pytest.raises(Stopped), signals_wait("the loop 'f'"):
        signal.raise_signal(signal.SIGINT)
        assert stopping == []
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")
    assert stopping[0] == signal.SIGINT
    assert capsys.readouterr().err == "interrupted; waits for the loop 'f'. Once more to stop now.\n"


def test_another_thread_waits_for_nothing(stopping):
    """It runs no handlers, so it may not set any, and does not."""
    found = []

    def inside():
        with signals_wait("it"):
            found.append(signal.getsignal(signal.SIGALRM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGALRM)]


COMPILE = """
import signal
import numpy as np
import loops

class Stopped(Exception):
    pass

def stop(number, frame):
    raise Stopped

signal.signal(signal.SIGALRM, stop)
stops = 0
for k, loop in enumerate(loops.LOOPS):
    signal.setitimer(signal.ITIMER_REAL, 0.02 * (k + 1))
    try:
        loop(np.ones(3))
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Stopped:
        stops += 1
    assert loop(np.ones(3)).tolist() == [k + 3.0] * 3
print(stops)
"""


def test_a_compilation_is_never_cut(tmp_path):
    """Signals at 12 moments of compilations: each ends, the loop works, and the process lives. Where one is cut in the
    middle, LLVM may free a module twice, which is a segmentation fault."""
    code = [f"def f{k}(a):\n    return a * {k} + a.sum()\n\n" for k in range(12)]
    names = ", ".join(f"f{k}" for k in range(12))
    head = "from neurorobust.kernels.numba_loops.jit import jit\n\n"
    (tmp_path / "loops.py").write_text(head + "".join(code) + f"LOOPS = [jit(f) for f in ({names})]\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 3
