"""Published figures of the energy and the time that a chip takes, per count of something."""

from __future__ import annotations

from dataclasses import dataclass

from .._util.errors import check_number, plain_fields, unknown
from .sourced import SourcedValue

COUNTS = (
    "input events",
    "spikes",
    "synaptic operations",
    "broadcasts",
    "routes",
    "multiplications",
    "products",
    "seconds",
)
"""Counts that a figure may be per; :func:`neurorobust.deploy.estimate` counts them, and its page explains them."""

UNITS = ("J", "s")


@dataclass(frozen=True)
class Cost:
    """One figure: joules or seconds per count. A power is joules per second.

    Attributes:
        what: takes it. per: one of :data:`COUNTS`. unit: ``"J"`` or ``"s"``.
        low, high: the range that was published; low is None where only an upper bound was.
        status, source: as in :class:`~neurorobust.chip.SourcedValue`.

    Raises:
        ValueError: an unknown count, unit or status, no source, or not 0 < low ≤ high.

    Example:
        >>> import chipmodels
        >>> cost = chipmodels.load("xylo").costs[0]
        >>> cost.what, cost.high, cost.unit, cost.status  # 291 µW
        ('whole chip', 0.000291, 'J', 'published')
    """

    what: str
    per: str
    unit: str
    low: float | None
    high: float
    status: str
    source: str

    def __post_init__(self) -> None:
        plain_fields(self)
        for name, value, known in (("per", self.per, COUNTS), ("unit", self.unit, UNITS)):
            if value not in known:
                raise unknown(name, value, known)
        SourcedValue(self.high, self.status, self.source)  # checks number, status and source
        check_number("high", self.high, strict=True)
        if self.low is not None and not 0 < check_number("low", self.low) <= self.high:
            raise ValueError(f"low: got {self.low:g}; expected a number > 0 and at most high, {self.high:g}, or None.")

    def range(self) -> str:
        """The range as text; joules per second are W."""
        low = "at most " if self.low is None else "" if self.low == self.high else f"{self.low:g}–"
        return f"{low}{self.high:g} {'W' if (self.unit, self.per) == ('J', 'seconds') else self.unit}"
