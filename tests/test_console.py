"""Progress where there is no terminal: a line now and then, and nothing about what is short."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest

from neurorobust._util import console


@pytest.fixture
def clock(monkeypatch):
    """Seconds since some start, set by the test."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_a_long_run_says_how_far_it_is(clock, capsys):
    """80 epochs of 12 s: a line at the first end of an epoch 30 s or more after the last line, at 36, 72 … s, on stderr
    alone, with what is left at the pace so far."""
    with console.progress("training", 80) as tick:
        for epoch in range(80):
            clock.seconds += 12
            tick(f"training (loss {epoch})")
    found = capsys.readouterr()
    lines = found.err.splitlines()
    assert found.out == "" and len(lines) == 80 // 3
    assert lines[0] == "training (loss 2): 3 of 80, 36 s gone, about 15.4 min to go"
    assert lines[-1] == "training (loss 77): 78 of 80, 15.6 min gone, about 24 s to go"


def test_a_resumed_run_counts_on(clock, capsys):
    """After 70 of 80 epochs that were made before, the pace is that of the new ones; a description that is not renewed
    stays; nothing is wrapped or taken for markup."""
    with console.progress("[bold]" + "x" * 100, 80, 70) as tick:
        clock.seconds += 40
        tick()
    assert capsys.readouterr().err == "[bold]" + "x" * 100 + ": 71 of 80, 40 s gone, about 6.0 min to go\n"


def test_a_short_run_says_nothing(clock, capsys):
    """1000 steps within 29 s."""
    with console.progress("dies", 1000) as tick:
        for _ in range(1000):
            clock.seconds += 0.029
            tick()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99.4, "99 s"), (600, "10.0 min"), (5999, "100.0 min"), (9000, "2.5 h")]
)
def test_durations(seconds, words):
    """Seconds, minutes and hours, each to about two digits."""
    assert console.duration(seconds) == words


def test_progress_can_be_switched_off(clock, capsys, monkeypatch):
    """Whatever the time; a value that is neither on nor off is refused."""
    monkeypatch.setenv("NEUROROBUST_PROGRESS", "off")
    with console.progress("training", 80) as tick:
        for epoch in range(80):
            clock.seconds += 60
            tick(f"training (loss {epoch})")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("NEUROROBUST_PROGRESS", "of")
    with pytest.raises(ValueError, match="NEUROROBUST_PROGRESS: 'of' does not exist; choose one of off, on"):
        console.progress("training", 80).__enter__()


def test_a_warning_on_the_command_line_is_one_sentence():
    """Without the path and the line of the library that ran the command; warnings of others keep theirs."""
    before = warnings.formatwarning
    with console.plain_warnings():
        assert warnings.formatwarning("x: is odd.", UserWarning, "typer/main.py", 3) == "warning: x: is odd.\n"
        assert "main.py:3: FutureWarning: old" in warnings.formatwarning("old", FutureWarning, "main.py", 3)
    assert warnings.formatwarning is before
