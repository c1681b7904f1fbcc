"""Heart beats of three classes: ECG5000, as events."""

from __future__ import annotations

from pathlib import Path

from ..task import Task
from .ecg import example as example_of
from .ecg import read_beats, split, task_of

CLASSES = ("normal", "R-on-T", "other")


def ecg_three(folder: Path | None = None, *, seed: int = 0) -> Task:
    """ECG5000 as events: is a beat normal (class 1), R-on-T (2) or another one (3–5)?

    All 5000 beats, 2919/1767/314, the 24 unclassified ones among the others; 80/10/10 stratified by original class, the
    same parts for every seed; encoded as for :func:`neurorobust.data.tasks.ecg`.

    Args:
        folder: see :func:`neurorobust.data.tasks.ecg.read_beats`.
        seed: not used, because nothing is drawn; every task function takes one.

    Example:
        >>> task = nr.tasks.ecg_three()
        >>> task.classes, task.test.y.bincount().tolist()
        (('normal', 'R-on-T', 'other'), [292, 177, 31])
    """
    beats, original = read_beats(folder)
    y = (original - 1).clamp(max=2)
    return task_of("ecg_three", (beats, original, y), split(original, (0.8, 0.1)), CLASSES)


def example() -> Task:
    """The task of 60 made-up beats, for the contract tests."""
    return example_of("ecg_three", CLASSES)
