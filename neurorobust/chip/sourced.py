"""Numbers about chips with their sources: values, ranges, limits, the time base."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from .._util.errors import check_count, check_number, plain_fields, unknown

STATUSES = ("measured", "published", "coded", "assumed")


def _check_provenance(status: str, source: str) -> None:
    if status not in STATUSES:
        raise unknown("status", status, STATUSES)
    if not source:
        raise ValueError(f"source: a number of status {status!r} needs one; name the paper, table or file.")


@dataclass(frozen=True)
class SourcedValue:
    """A number about a chip, with its provenance.

    Attributes:
        value: the number, in SI units.
        status: measured, published, coded (in a public library) or assumed.
        source: paper, table or file.
        at: the programmed value it holds at, chip units, where it depends on that.

    Raises:
        ValueError: a number that is not finite, an unknown status, or no source.

    Example:
        >>> cv = nr.chip.SourcedValue(0.2, "measured", "our bench, 3 chips", at=1e-9)
        >>> cv.value, cv.status, cv.at  # 20 % at 1 nA
        (0.2, 'measured', 1e-09)
    """

    value: float
    status: str
    source: str
    at: float | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_provenance(self.status, self.source)
        check_number("value", self.value, low=-math.inf, strict=True)


@dataclass(frozen=True)
class Range:
    """Lowest and highest value a chip reaches, in its own units, and their source; see :class:`SourcedValue`.

    Raises:
        ValueError: low above high, an unknown status, or no source.

    Example:
        >>> nr.chip.Range(low=1e-9, high=1e-7, status="published", source="data sheet").high  # A
        1e-07
    """

    low: float
    high: float
    status: str
    source: str

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_provenance(self.status, self.source)
        if not self.low <= self.high:
            raise ValueError(f"low: got {self.low:g}; expected at most high, {self.high:g}.")


@dataclass(frozen=True)
class Limits:
    """Limits of a chip; None for no limit. ``fan_in`` counts all synapses of a neuron.

    Attributes:
        cores, neurons_per_core, fan_in, fan_out, tags: numbers. ``fan_out`` is shown and not checked.
        source, status: of all of them but those in ``others``, which has its own (status, source) by name.

    Raises:
        ValueError: a limit that is no whole number ≥ 1, or an unknown name in ``others``.

    Example:
        >>> limits = nr.chip.Limits(cores=4, neurons_per_core=256, fan_in=64, source="data sheet", status="published")
        >>> {name: fact.value for name, fact in limits.facts().items()}
        {'cores': 4, 'neurons_per_core': 256, 'fan_in': 64}
    """

    cores: int | None = None
    neurons_per_core: int | None = None
    fan_in: int | None = None
    fan_out: int | None = None
    tags: int | None = None
    source: str = ""
    status: str = "assumed"
    others: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain_fields(self)
        for name in LIMITS:
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        for name in self.others:
            if name not in LIMITS:
                raise unknown("others: limit", name, LIMITS)
        self.facts()

    def facts(self) -> dict[str, SourcedValue]:
        """Every limit that there is, with its provenance."""
        return {
            name: SourcedValue(getattr(self, name), *self.others.get(name, (self.status, self.source)))
            for name in LIMITS
            if getattr(self, name) is not None
        }


LIMITS = tuple(field.name for field in fields(Limits) if field.name not in ("source", "status", "others"))


@dataclass(frozen=True)
class TimeBase:
    """The clock of a chip.

    Networks, tasks and laws of the network are in seconds of the network. A chip whose circuits run ``speedup`` times
    faster holds a time constant as tau/speedup of its seconds; ranges and codecs of time constants are in these.

    Attributes:
        speedup: network seconds that pass in one of the chip's.

    Raises:
        ValueError: ``speedup`` is not above 0.

    Example:
        >>> import chipmodels
        >>> clock = chipmodels.load("brainscales2").time_base
        >>> 0.02 / clock.speedup.value  # a membrane of 20 ms in the network, s on the chip
        2e-05
    """

    speedup: SourcedValue
    clock: str

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("speedup", self.speedup.value, strict=True)


NO_LIMITS = Limits()
REAL_TIME = TimeBase(SourcedValue(1.0, "assumed", "the chip runs in the network's own time"), "real time")
