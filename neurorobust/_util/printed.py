"""Results printed so that they fit a screen."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from torch import Tensor

WIDTH, LINES = 120, 30
"""Columns and lines that a printed result takes at most."""


class Printed:
    """A result: ``print`` takes at most 30 lines of 120 columns. Without a text of its own it is a summary: numbers as
    they are; of an array its shape, range and mean; of a collection how many items. A dataclass says ``repr=False``."""

    def __repr__(self) -> str:
        return summary(self)

    def __str__(self) -> str:
        return fitted(repr(self))


def fitted(text: str) -> str:
    """The text in lines of at most 120 columns, at most 30 of them; the last one counts those that are left out."""
    lines = [
        short for line in text.splitlines() for short in textwrap.wrap(line, WIDTH, subsequent_indent=" " * 4) or [""]
    ]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"… ({len(lines) - LINES + 1} more lines)"]
    return "\n".join(lines)


def bracketed(ends: tuple[float, float], form: str = ".3f") -> str:
    """An interval behind its number, ``" [0.123, 0.456]"``; nothing where there is none, (NaN, NaN)."""
    return "" if math.isnan(ends[0]) else f" [{ends[0]:{form}}, {ends[1]:{form}}]"


def summary(result: Any) -> str:
    """One line for each field of a dataclass."""
    lines = [f"  {field.name:<20} {brief(getattr(result, field.name))}" for field in fields(result)]
    short = [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines]
    return "\n".join([type(result).__name__, *short])


def brief(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, Mapping):
        return f"{len(value)} by name: {', '.join(map(str, list(value)[:6]))}{', …' if len(value) > 6 else ''}"
    if isinstance(value, tuple | list) and (len(value) > 6 or any(not _simple(item) for item in value)):
        return f"{len(value)} × {type(value[0]).__name__}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(brief, value))})"
    if _simple(value):
        return (str(value).splitlines() or [""])[0]
    if isinstance(value, Printed) and hasattr(value, "shape"):
        return f"{type(value).__name__}, shape {tuple(value.shape)}"
    return getattr(value, "__name__", type(value).__name__)


def _simple(value: Any) -> bool:
    return isinstance(value, str | bool | int | float) or value is None


def _array(value: np.ndarray) -> str:
    shape = f"shape {value.shape}"
    if not value.size:
        return shape
    if value.dtype == bool:
        return f"{shape}, {int(value.sum())} true"
    if value.dtype.kind not in "iuf" or np.isnan(value.astype(float)).all():
        return shape
    low, mean, high = (f(value.astype(float)) for f in (np.nanmin, np.nanmean, np.nanmax))
    return f"{shape}, {low:.4g} to {high:.4g}, mean {mean:.4g}"
