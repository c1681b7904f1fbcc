"""Cells of a table of measurements: labels, numbers and settings, compared by what they mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from .._util.errors import plain, shown

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII)
NO_VALUE = frozenset({"", "nan", "+nan", "-nan", "na", "n/a", "#n/a", "<na>", "null", "none"})
WHOLE = re.compile(r"(0|-?[1-9]\d*)(\.0*)?", re.ASCII)
DECIMAL = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
SAME = 1e-6  # relative difference of two settings below which they are one
ZERO = 1e-12  # of the largest setting: what a setting of 0 may be off


def numbers(column: pd.Series) -> np.ndarray:
    """The numbers of a column, float64; NaN where there is none.

    Raises:
        ValueError: a cell is not a number. Text must be written with a decimal point and without thousands separators.
    """
    kind = pd.api.types
    if kind.is_bool_dtype(column.dtype) or kind.is_complex_dtype(column.dtype) or column.dtype.kind in "mM":
        raise ValueError(f"{column.name}: got a column of type {column.dtype}; expected numbers.")
    if kind.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=float, na_value=np.nan)
    return np.array([_number(str(column.name), row, plain(cell)) for row, cell in enumerate(column)], dtype=float)


def _number(name: str, row: int, cell: Any) -> float:
    if _missing(cell) or (isinstance(cell, str) and cell.strip().casefold() in NO_VALUE):
        return float("nan")
    if isinstance(cell, str) and NUMBER.fullmatch(cell.strip()):
        return float(cell)
    if isinstance(cell, Real) and not isinstance(cell, bool):
        return float(cell)
    raise ValueError(
        f"{name}: row {row} is {shown(cell)}; expected a number with a decimal point and without thousands separators, "
        f"or an empty cell for no value."
    )


def _missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, Real) and cell != cell)


def labels(column: pd.Series) -> list[int | str]:
    """The labels of a column: text without spaces around it, or an integer where the label is one. So 1, 1.0, "1" and
    " 1 " are one label. NA, null and None are labels like any other.

    Raises:
        ValueError: a row has no label, or two labels differ only in case or spaces, or in how a number is written.
    """
    result: list[int | str] = []
    for row, cell in enumerate(column):
        missing = _missing(plain(cell))
        found = "" if missing else label(cell)
        if found == "":
            hint = " If it was NA, null or None, read the file by pandas.read_csv(…, keep_default_na=False)."
            raise ValueError(f"{column.name}: row {row} has none; expected a label.{hint * missing}")
        result.append(found)
    _check_distinct(str(column.name), dict.fromkeys(result))
    return result


def label(cell: Any) -> int | str:
    """One label; see :func:`labels`."""
    cell = plain(cell)
    text = cell.strip() if isinstance(cell, str) else str(cell)
    number = WHOLE.fullmatch(text)
    return int(number[1]) if number else text


def _check_distinct(name: str, found: Iterable[int | str]) -> None:
    seen: dict[Any, int | str] = {}
    for one in found:
        text = " ".join(unicodedata.normalize("NFKC", str(one)).casefold().split())
        other = seen.setdefault(Fraction(text) if DECIMAL.fullmatch(text) else text, one)
        if other != one:
            raise ValueError(f"{name}: {shown(other)} and {shown(one)} may be the same; write each label in one way.")


def settings(values: np.ndarray, *, absolute: bool) -> np.ndarray:
    """Settings in which values that differ by 1e-6 of their size or less are replaced by one of them, the commonest.

    Args:
        values: finite settings of one kind, (rows,). absolute: also one that differs from 0 by 1e-12 of the largest.

    Raises:
        ValueError: a chain of settings, each that close to the next, but not the last to the first.
    """
    distinct, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    floor = ZERO * float(np.abs(distinct).max()) if absolute and len(distinct) else 0.0
    close = np.diff(distinct) <= SAME * np.maximum(np.abs(distinct[1:]), np.abs(distinct[:-1])) + floor
    group = np.concatenate([[0], np.cumsum(~close)]).astype(int)[: len(distinct)]
    for number in np.unique(group[1:][close]):
        members = np.flatnonzero(group == number)
        low, high = float(distinct[members[0]]), float(distinct[members[-1]])
        if high - low > 2 * (SAME * max(abs(low), abs(high)) + floor):
            raise ValueError(
                f"setting: got {len(members)} settings from {low!r} to {high!r} that differ by less than {SAME:g} of "
                f"their size from one to the next; expected settings that are equal or further apart."
            )
        distinct[members] = distinct[members[np.argmax(count[members])]]
    return distinct[inverse]
