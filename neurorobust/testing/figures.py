"""Figures of checks that failed."""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..viz import plotting
from .baseline import BaselineCheck
from .common import score_name
from .robust import RobustCheck
from .yields import YieldCheck

BAD, GOOD, LINE = plotting.COLORS[0], plotting.COLORS[1], "0.4"


def save(check: object, path: Path) -> Path:
    """Draw a check and write it as PNG; ``path`` has no suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(plotting.STYLE):
        figure = Figure(figsize=(5.0, 3.6), layout="constrained")
        draw(check, figure.subplots())
        plotting.save_figure(figure, path, (".png",))
    return path.with_suffix(".png")


@singledispatch
def draw(check: object, ax: Axes) -> Axes:
    """Draw a check."""
    raise TypeError(f"check: got {check!r}; expected the result of a check.")


@draw.register
def _(check: YieldCheck, ax: Axes) -> Axes:
    """The score of every die by its serial number, and the specification."""
    scores = np.array(check.scores)
    ax.scatter(np.arange(len(scores)), scores, s=12, c=np.where(scores < check.spec, BAD, GOOD))
    ax.axhline(check.spec, color=LINE, ls="--", lw=1, label=f"specification {check.spec:g}")
    ax.set(xlabel="serial number of the die", ylabel=score_name(check.regression))
    ax.set_title(f"{check.good} of {len(scores)} dies of {check.chip}", fontsize=9)
    ax.legend()
    return ax


@draw.register
def _(check: BaselineCheck, ax: Axes) -> Axes:
    """The score of every die now over that of the baseline."""
    before, after = np.array(check.before.scores), np.array(check.after.scores)
    ends = [min(before.min(), after.min()), max(before.max(), after.max())]
    ax.plot(ends, ends, color=LINE, ls="--", lw=1, label="equal")
    ax.scatter(before, after, s=12, c=np.where(after < before, BAD, GOOD))
    ax.set(xlabel=f"{score_name(check.regression)} in the baseline", ylabel="now")
    ax.set_title(f"{len(before)} dies of {check.before.chip}, mean {check.differences.mean():+.4f}", fontsize=9)
    ax.legend()
    return ax


@draw.register
def _(check: RobustCheck, ax: Axes) -> Axes:
    """The nominal score, that of the worst die, and the floor."""
    values = {"nominal": check.worst.nominal, "worst die found": check.worst.score}
    ax.bar(list(values), list(values.values()), color=[GOOD, BAD], width=0.5)
    ax.axhline(check.floor, color=LINE, ls="--", lw=1, label=f"floor {check.floor:g}")
    ax.set(ylabel=score_name(check.regression))
    ax.set_title(f"found by {check.worst.attack}", fontsize=7)
    ax.legend()
    return ax
