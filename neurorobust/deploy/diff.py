"""Differences between two deployments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .deployment import Deployment


class Difference(NamedTuple):
    """One place where two deployments differ: its path, and what each has there. Of long lists it is one line."""

    where: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.where}: {self.first} → {self.second}"


def diff(first: Deployment, second: Deployment) -> list[Difference]:
    """Where two deployments differ; empty for equal ones."""
    return list(differences(first.entry(), second.entry()))


def differences(first: Any, second: Any, where: str = "") -> Iterator[Difference]:
    """Where two JSON values differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted(first.keys() | second.keys()):
            yield from differences(first.get(key), second.get(key), f"{where}.{key}" if where else key)
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        apart = [i for i, (a, b) in enumerate(zip(first, second)) if a != b]
        if apart:
            told = f"{len(apart)} of {len(first)} differ, first at {apart[0]}"
            yield Difference(f"{where} ({told})", _short(first[apart[0]]), _short(second[apart[0]]))
    elif first != second:
        yield Difference(where, _short(first), _short(second))


def _short(value: Any) -> str:
    text = f"{len(value)} entries" if isinstance(value, (list, dict)) and len(value) > 4 else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
