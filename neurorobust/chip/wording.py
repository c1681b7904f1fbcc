"""Numbers and functions of a chip model in plain words, for its card and its page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
WITH_PREFIX = {"A", "S", "s", "V", "Hz", "W", "J"}


def number(value: float) -> str:
    """Three digits, with a real minus sign.

    Example:
        >>> number(0.123456), number(-2.0)
        ('0.123', '−2')
    """
    return f"{value:.3g}".replace("-", "−") if math.isfinite(value) else str(value)


def percent(fraction: float) -> str:
    """A fraction as a percentage of three digits.

    Example:
        >>> percent(0.0987)
        '9.87 %'
    """
    return f"{number(100 * fraction)} %"


def quantity(value: float, unit: str = "") -> str:
    """A number with its unit; A, S, s, V, Hz, W and J with a prefix.

    Example:
        >>> quantity(5.6e-9, "A"), quantity(63, "LSB"), quantity(0.02, "s"), quantity(0.5)
        ('5.6 nA', '63 LSB', '20 ms', '0.5')
    """
    if unit not in WITH_PREFIX or not value or not math.isfinite(value):
        return f"{number(value)} {unit}".strip()
    power = min(max(3 * math.floor(math.log10(abs(value)) / 3 + 1e-9), -15), 9)
    return f"{number(value / 10**power)} {PREFIXES[power]}{unit}"


def sized(value: float, unit: str, absolute: bool) -> str:
    """A spread: in the chip's unit, or relative."""
    return quantity(value, unit) if absolute else percent(value)


def within(low: float, high: float, unit: str = "") -> str:
    """Ends as text that follows a value; nothing where there are none.

    Example:
        >>> within(0.01, 0.1), within(0, 1, "S"), within(-math.inf, math.inf)
        (' (between 0.01 and 0.1)', ' (between 0 S and 1 S)', '')
    """
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(low):
        return f" (at most {quantity(high, unit)})"
    if math.isinf(high):
        return f" (at least {quantity(low, unit)})"
    return f" (between {quantity(low, unit)} and {quantity(high, unit)})"


def polynomial(coefficients: Sequence[float], name: str = "r") -> str:
    """A polynomial as text; terms that are 0 are left out.

    Example:
        >>> polynomial((0.1, 0, -0.25))
        '0.1 − 0.25 r²'
    """
    powers = ("", f" {name}", f" {name}²", f" {name}³", f" {name}⁴", f" {name}⁵")
    text = ""
    for coefficient, power in zip(coefficients, powers):
        if coefficient:
            sign = ("−" if coefficient < 0 else "") if not text else (" − " if coefficient < 0 else " + ")
            text += f"{sign}{number(abs(coefficient))}{power}"
    return text or "0"


def short(value: object) -> str:
    """A law or encoding in one line: without provenance, long fractions with four digits."""
    text = re.sub(r"SourcedValue\(value=([^,]+),.*?, at=[^)]*\)", r"\1", repr(value))
    text = re.sub(r"Range\(low=([^,]+), high=([^,]+),.*?source=(?:'[^']*'|\"[^\"]*\")\)", r"\1 to \2", text)
    return re.sub(r"\d+\.\d{5,}", lambda match: f"{float(match[0]):.4g}", text)


def words_of(part: Any, unit: str = "") -> str:
    """What a part says of itself; of one that says nothing, its short representation."""
    says = getattr(part, "in_words", None)
    return short(part) if says is None else says(unit)
