"""The call ``model.place(…)`` for messages: with the layers of a network, to be copied."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import torch
from torch import Tensor

from .placement import HOST, Placement

Cores = Mapping[str, Tensor | int]
MOST = 40
"""Cores that are written one by one, at most."""


def written(cores: Cores, feeds: Mapping[str, str | int] | None = None) -> str:
    """The call as Python code: ``model.place({"lif1": 0, "lif2": nr.HOST}, feeds={"fc1": "lif1"})``."""
    places = ", ".join(f'"{name}": {_core(torch.as_tensor(core))}' for name, core in cores.items())
    ends = ", ".join(f'"{name}": {_end(end)}' for name, end in (feeds or {}).items())
    return f"model.place({{{places}}}{f', feeds={{{ends}}}' if ends else ''})"


def _end(end: str | int) -> str:
    return "nr.HOST" if end == HOST else f'"{end}"'


def _core(core: Tensor) -> str:
    values = core.reshape(-1).tolist()
    if len(set(values)) == 1:
        return "nr.HOST" if values[0] == HOST else str(values[0])
    runs = [(value, len(list(several))) for value, several in groupby(values)]
    short = " + ".join(f"[{value}] * {count}" for value, count in runs)
    return str(values) if len(values) <= MOST and len(str(values)) <= len(short) else short


def suggested(placement: Placement, cores: int | None, neurons: int | None) -> dict[str, Tensor | int]:
    """Cores for the layers of a network that has none yet: one after the other; a last layer without reset, which is
    read as a membrane, on the host.

    Args:
        placement: of the network. cores, neurons: of a chip, and per core; None where any number fits.
    """
    sizes = dict(placement.unplaced)
    last = next(reversed(sizes), "")
    own = placement.equations.get(last)
    host = {last: HOST} if len(sizes) > 1 and own is not None and own.reset == "no reset" else {}
    sizes = {name: n for name, n in sizes.items() if name not in host}
    needed = [1 if neurons is None else -(-n // neurons) for n in sizes.values()]
    apart = cores is None or sum(needed) <= cores
    found: dict[str, Tensor | int] = {}
    first = 0
    for (name, n), count in zip(sizes.items(), needed):
        if apart:
            found[name] = first if count == 1 else first + torch.arange(n) // (neurons or n)
            first += count
        else:  # no core for each layer: one core is filled after the other
            found[name] = (first + torch.arange(n)) // (neurons or n)
            first += n
    return found | host
