"""Differences between two deployments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .deployment import Deployment, check_deployment


class Difference(NamedTuple):
    """One place where two deployments differ: its path, and what each has there. Of long lists it is one line.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> first = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> network.readout.input.weight.data[0, 0] = 1.0
        >>> found = nr.deploy.diff(first, nr.deploy.onto(network, chipmodels.load("dynapse2")))[0]
        >>> found.where, float(found.second)
        ('host.readout.input.weight.values (1 of 256 differ, first at 0)', 1.0)
    """

    where: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.where}: {self.first} → {self.second}"


def diff(first: Deployment, second: Deployment) -> list[Difference]:
    """Where two deployments differ; empty for equal ones.

    Raises:
        TypeError: one of them is none. ValueError: one holds a network whose code is foreign, see
            :meth:`Deployment.save`.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> first = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> network.readout.input.weight.data[0, 0] = 1.0
        >>> second = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> [difference.where for difference in nr.deploy.diff(first, second)]
        ['host.readout.input.weight.values (1 of 256 differ, first at 0)', 'source']
    """
    return list(differences(check_deployment(first, "first").entry(), check_deployment(second, "second").entry()))


class _Nothing:
    """Stands for a key that one side does not have."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


def differences(first: Any, second: Any, where: str = "") -> Iterator[Difference]:
    """Where two JSON values differ; true and 1 do."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted(first.keys() | second.keys()):
            path = f"{where}.{key}" if where else key
            yield from differences(first.get(key, NOTHING), second.get(key, NOTHING), path)
    elif isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        apart = [i for i, (a, b) in enumerate(zip(first, second)) if not _same(a, b)]
        if apart:
            told = f"{len(apart)} of {len(first)} differ, first at {apart[0]}"
            yield Difference(f"{where} ({told})", _short(first[apart[0]]), _short(second[apart[0]]))
    elif first != second or isinstance(first, bool) != isinstance(second, bool):
        yield Difference(where, _short(first), _short(second))


def _same(first: Any, second: Any) -> bool:
    plain = type(first) is type(second) and not isinstance(first, (dict, list))
    return bool(first == second) if plain else not any(differences(first, second))


def _short(value: Any) -> str:
    text = f"{len(value)} entries" if isinstance(value, (list, dict)) and len(value) > 4 else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
