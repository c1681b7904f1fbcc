"""Pieces that all checks use: the chip by its name, and words for dies."""

from __future__ import annotations

from collections.abc import Sequence

from ..chip import ChipModel
from ..chip.installed import chip_model

NAMED = 10
"""A message names at most this many dies."""


def as_chip(chip: ChipModel | str) -> ChipModel:
    """A chip model, or the installed one of a name."""
    if isinstance(chip, str):
        return chip_model(chip)
    if not isinstance(chip, ChipModel):
        raise TypeError(
            f"chip: got {chip!r}; expected the name of an installed chip model such as 'dynapse2', a ChipModel, or "
            f"nr.mismatch(level)."
        )
    return chip


def named_dies(serials: Sequence[int], losses: Sequence[float]) -> str:
    """``die 3 (−0.041), die 7 (−0.012)``: the dies with a loss above 0, the largest first; the rest as a number."""
    worst = sorted(((loss, serial) for serial, loss in zip(serials, losses) if loss > 0), key=lambda row: -row[0])
    shown = [f"die {serial} (−{loss:.3f})" for loss, serial in worst[:NAMED]]
    if len(worst) > NAMED:
        shown.append(f"and {len(worst) - NAMED} more")
    return ", ".join(shown) or "none"


def score_name(regression: bool) -> str:
    """The score of a data set in words."""
    return "R²" if regression else "balanced accuracy"
