"""Neurons that share settings go onto one core: exactly where cores suffice, else with the nearest settings merged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core.params import POSITIVE, kind_of
from .clustering import one_parameter, several_parameters

Key = tuple[tuple[str, float], ...]
"""Settings of a neuron: (name, value), by name; what its layer does not have is missing."""

Layers = Mapping[str, tuple[int, Mapping[str, Tensor]]]
"""(number of neurons, settings (n,) by name) of each layer."""


class Merge(NamedTuple):
    """Values of one setting that became one on a core.

    Attributes:
        core: of the chip. name: of the setting. low, high: the smallest and the largest value. value: what they became.
        neurons: how many changed.
    """

    core: int
    name: str
    low: float
    high: float
    value: float
    neurons: int

    @property
    def change(self) -> float:
        """The largest relative change."""
        return max(abs(self.value / self.low - 1), abs(self.value / self.high - 1))

    def __str__(self) -> str:
        return f"{self.name} on core {self.core}: {self.low:.4g} to {self.high:.4g} became {self.value:.4g}"


@dataclass(frozen=True, eq=False)
class Packed:
    """The result of packing.

    Attributes:
        cores: of every neuron, by layer, if nothing has to change; else None.
        needed: the cores that this takes. sets: the number of different settings. names: of settings that differ.
        merged_cores, merges: a placement with merged settings; empty if there is none.
    """

    cores: dict[str, Tensor] | None
    needed: int
    sets: int
    names: tuple[str, ...]
    merged_cores: dict[str, Tensor] = field(default_factory=dict)
    merges: tuple[Merge, ...] = ()

    @property
    def change(self) -> float | None:
        """The tolerance that the merges need, rounded up to three digits; None if merging does not help."""
        if not self.merged_cores:
            return None
        largest = max((merge.change for merge in self.merges), default=0.0)
        unit = 10.0 ** (math.floor(math.log10(largest)) - 2) if largest else 1.0
        return float(f"{math.ceil(largest / unit) * unit:.3g}")

    def told(self) -> str:
        """The merges in a few words."""
        first = "; ".join(map(str, self.merges[:3]))
        return first + (f"; and {len(self.merges) - 3} more" if len(self.merges) > 3 else "")


def pack(layers: Layers, n_cores: int, capacity: int) -> Packed:
    """Place all neurons. Those with the same settings fill core after core, in the order of the layers.

    A layer without a parameter fits beside any value of it. If this takes more than ``n_cores``, settings are merged:
    see :func:`_merge`.
    """
    keys, owners = _keys(layers)
    groups: dict[Key, list[int]] = {}
    for neuron, key in enumerate(keys):
        groups.setdefault(key, []).append(neuron)
    cores, needed = _fit(groups, len(keys), n_cores, capacity)
    names = sorted({name for key in groups for name, _ in key})
    differ = tuple(name for name in names if len({dict(key).get(name) for key in groups}) > 1)
    found = Packed(_by_layer(cores, owners), needed, len(groups), differ)
    if needed <= n_cores:
        return found
    placed, merges = _merge(keys, n_cores, capacity)
    merged = {} if placed is None else _by_layer(placed, owners)
    return Packed(None, needed, len(groups), differ, merged, merges)


def _keys(layers: Layers) -> tuple[list[Key], list[tuple[str, int]]]:
    """The settings of every neuron of every layer, and (layer, number of neurons) in order."""
    keys: list[Key] = []
    for n, settings in layers.values():
        names = sorted(settings)
        rows = zip(*(settings[name].double().tolist() for name in names)) if names else [()] * n
        keys += [tuple(zip(names, row)) for row in rows]
    return keys, [(name, n) for name, (n, _) in layers.items()]


def _by_layer(cores: np.ndarray, owners: list[tuple[str, int]]) -> dict[str, Tensor]:
    ends = np.cumsum([n for _, n in owners])[:-1]
    return {name: torch.from_numpy(part.copy()) for (name, _), part in zip(owners, np.split(cores, ends))}


def _fit(groups: Mapping[Key, list[int]], n: int, n_cores: int, capacity: int) -> tuple[np.ndarray, int]:
    """The core of every neuron, and the number of cores; first fit.

    Groups with more settings go first. If all have the same ones, no placement takes fewer cores. Else, where this
    order takes too many, others are tried: those that fit beside few others first, then the large ones first.
    """
    first = _first_fit(sorted(groups.items(), key=lambda item: -len(item[0])), n, capacity)
    if first[1] <= n_cores or n > n_cores * capacity or len({tuple(name for name, _ in key) for key in groups}) == 1:
        return first
    apart = {key: _conflicts(key, groups) for key in groups}
    for rank in (lambda item: -apart[item[0]], lambda item: apart[item[0]], lambda item: -len(item[1])):
        found = _first_fit(sorted(groups.items(), key=rank), n, capacity)
        if found[1] <= n_cores:
            return found
    return first


def _first_fit(groups: Sequence[tuple[Key, list[int]]], n: int, capacity: int) -> tuple[np.ndarray, int]:
    """The core of every neuron, and the number of cores: each group goes where there is room beside equal settings."""
    cores = np.zeros(n, dtype=np.int64)
    open_cores: list[tuple[dict[str, float], int]] = []  # settings, and places that are free
    for key, members in groups:
        own, left = dict(key), members
        for core, (settings, free) in enumerate(open_cores):
            if left and free and all(settings.get(name, value) == value for name, value in key):
                cores[left[:free]] = core
                open_cores[core] = (settings | own, free - len(left[:free]))
                left = left[free:]
        while left:
            cores[left[:capacity]] = len(open_cores)
            open_cores.append((own, capacity - len(left[:capacity])))
            left = left[capacity:]
    return cores, len(open_cores)


def _conflicts(key: Key, groups: Mapping[Key, list[int]]) -> int:
    """The number of neurons that cannot be on one core with those of a group."""
    own = dict(key)
    return sum(len(members) for other, members in groups.items() if any(own.get(k, v) != v for k, v in other))


def _merge(keys: list[Key], n_cores: int, capacity: int) -> tuple[np.ndarray | None, tuple[Merge, ...]]:
    """A placement on ``n_cores`` with settings merged; (None, ()) if there is none.

    Only positive settings merge: to their mean logarithm. Neurons that differ in another setting stay on different
    cores, and so do those that lack a setting if :func:`_completed` has no value for them. The cores are divided among
    these classes, and within a class among its neurons, so that the sum of squared changes of logarithms is smallest:
    exactly where one setting differs in a class, by k-means where several do.
    """
    keys = _completed(keys)
    classes: dict[tuple[tuple[str, float | None], ...], list[int]] = {}
    for neuron, key in enumerate(keys):
        hard = tuple((name, None if _merges(name, value) else value) for name, value in key)
        classes.setdefault(hard, []).append(neuron)
    tables = []
    for members in classes.values():
        soft = [[math.log(value) for name, value in keys[neuron] if _merges(name, value)] for neuron in members]
        tables.append(_class_table(np.array(soft, dtype=np.float64).reshape(len(members), -1), n_cores, capacity))
    shares = _divide([[cost for cost, _ in table] for table in tables], n_cores)
    if shares is None:
        return None, ()
    cores, first = np.zeros(len(keys), dtype=np.int64), 0
    for members, table, share in zip(classes.values(), tables, shares):
        labels = table[share - 1][1]
        used = np.unique(labels)
        cores[members] = first + np.searchsorted(used, labels)
        first += len(used)
    return cores, tuple(_merges_of(keys, cores))


def _merges(name: str, value: float) -> bool:
    return kind_of(name) in POSITIVE and value > 0


def _completed(keys: list[Key]) -> list[Key]:
    """A layer without a parameter takes any value of it, so it takes the mean logarithm, or the only value there is."""
    given: dict[str, list[float]] = {}
    for key in keys:
        for name, value in key:
            given.setdefault(name, []).append(value)
    fill = {}
    for name, values in given.items():
        if len(set(values)) == 1:
            fill[name] = values[0]
        elif all(_merges(name, value) for value in values):
            fill[name] = math.exp(math.fsum(map(math.log, values)) / len(values))
    return [tuple(sorted((fill | dict(key)).items())) for key in keys]


def _class_table(logs: np.ndarray, n_cores: int, capacity: int) -> list[tuple[float, np.ndarray]]:
    """(cost, core of each neuron from 0) of one class on 1 … n_cores cores; the cost is inf where they are too few."""
    varying = logs[:, np.ptp(logs, 0) > 0]
    if varying.shape[1] <= 1:
        one = varying[:, 0] if varying.shape[1] else np.zeros(len(logs))
        return one_parameter(one, n_cores, capacity)
    return several_parameters(varying, n_cores, capacity)


def _divide(costs: list[list[float]], n_cores: int) -> list[int] | None:
    """How many cores each class gets, at the smallest total cost; None if there are too few."""
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for row in costs:
        after: dict[int, tuple[float, list[int]]] = {}
        for used, (cost, shares) in best.items():
            for cores, more in enumerate(row, start=1):
                total = cost + more
                if used + cores <= n_cores and math.isfinite(total) and total < after.get(used + cores, (math.inf,))[0]:
                    after[used + cores] = (total, [*shares, cores])
        best = after
    return min(best.items(), key=lambda item: (item[1][0], item[0]))[1][1] if best else None


def _merges_of(keys: list[Key], cores: np.ndarray) -> list[Merge]:
    """The values that became one on each core."""
    found: dict[tuple[int, str], list[float]] = {}
    for key, core in zip(keys, cores.tolist()):
        for name, value in key:
            found.setdefault((core, name), []).append(value)
    merges = []
    for (core, name), values in sorted(found.items()):
        if len(set(values)) > 1:
            value = math.exp(math.fsum(map(math.log, values)) / len(values))
            merges.append(Merge(core, name, min(values), max(values), value, sum(each != value for each in values)))
    return merges
