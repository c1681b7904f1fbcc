"""A stand-in for a back end of PyNN: it records what a script makes, and plays ``IF_curr_delta`` as PyNN defines it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


@dataclass
class Cell:
    model: str
    parameters: dict[str, Any]


@dataclass
class Neurons:
    size: int
    cell: Cell
    label: str
    v: Any = None
    spike_times: list[Any] = field(default_factory=list)

    def initialize(self, v: Any) -> None:
        self.v = np.array(v)

    def set(self, spike_times: Sequence[Any]) -> None:
        self.spike_times = [np.asarray(times, float) for times in spike_times]

    def values(self, name: str) -> Any:
        return np.broadcast_to(np.asarray(self.cell.parameters[name], float), (self.size,))


@dataclass
class Synapses:
    pre: Neurons
    post: Neurons
    connections: list[list[float]]
    columns: list[str]
    receptor: str


class Sim:
    """``cells``: the names of its cell types, besides spike sources."""

    def __init__(self, *cells: str, apart: bool = False):
        self.populations: list[Neurons] = []
        self.projections: list[Synapses] = []
        self.settings: dict[str, Any] = {}
        models = {name: self._cell(name) for name in ("SpikeSourceArray", *cells)}
        synapses = {"StaticSynapse": lambda: None}
        if apart:  # as pynn-brainscales keeps them
            self.cells, self.synapses = SimpleNamespace(**models), SimpleNamespace(**synapses)
        else:
            self.__dict__.update(models | synapses)

    @staticmethod
    def _cell(name: str) -> Any:
        return lambda **parameters: Cell(name, parameters)

    def setup(self, **settings: Any) -> None:
        self.settings = settings

    def get_time_step(self) -> float:
        return float(self.settings.get("timestep", 0.1))

    def FromListConnector(self, connections: list, column_names: list[str]) -> tuple[list, list[str]]:
        assert all(len(row) == 2 + len(column_names) for row in connections)
        return connections, column_names

    def Population(self, size: int, cell: Cell, label: str) -> Neurons:
        self.populations.append(Neurons(size, cell, label))
        return self.populations[-1]

    def Projection(self, pre: Neurons, post: Neurons, connector: Any, synapse_type: Any, receptor_type: str) -> None:
        sign = {"excitatory": 1, "inhibitory": -1}[receptor_type]
        connections, columns = connector
        assert all(sign * row[2] > 0 for row in connections)
        self.projections.append(Synapses(pre, post, connections, columns, receptor_type))

    def run(self, duration: float) -> dict[str, list[list[float]]]:
        """The spike trains of every population, ms: the membrane solved exactly over a step, then the events that
        arrive at its end, then the spikes."""
        step = self.settings["timestep"]
        n = round(duration / step) + 1
        arriving = {p.label: np.zeros((2 * n + 100, p.size)) for p in self.populations}
        fired: dict[str, list[list[float]]] = {p.label: [[] for _ in range(p.size)] for p in self.populations}
        leaving = {id(p): [each for each in self.projections if each.pre is p] for p in self.populations}
        v = {p.label: p.v.astype(float) for p in self.populations if p.v is not None}
        due = {
            (round(time / step), p.label, k)
            for p in self.populations
            for k, times in enumerate(p.spike_times)
            for time in times
        }
        for now in range(1, n):
            for p in self.populations:
                if p.label in v:
                    spikes = self._membrane(p, v[p.label], arriving[p.label][now], step)
                else:
                    spikes = [k for k in range(p.size) if (now, p.label, k) in due]
                for k in spikes:
                    fired[p.label][k].append(now * step)
                for each in leaving[id(p)]:
                    for source, target, weight, delay in each.connections:
                        if int(source) in spikes:
                            arriving[each.post.label][now + round(delay / step), int(target)] += weight
        return fired

    @staticmethod
    def _membrane(p: Neurons, v: Any, events: Any, step: float) -> list[int]:
        alpha = np.exp(-step / p.values("tau_m"))
        settled = p.values("v_rest") + p.values("i_offset") * p.values("tau_m") / p.values("cm")
        v[:] = settled + alpha * (v - settled) + events
        spikes = np.flatnonzero(v >= p.values("v_thresh"))
        v[spikes] = p.values("v_reset")[spikes]
        return [int(k) for k in spikes]


@contextmanager
def pynn_parameters() -> Iterator[None]:
    """``pyNN.parameters.Sequence``, for scripts where PyNN is not installed."""
    names = ("pyNN", "pyNN.parameters")
    before = {name: sys.modules.get(name) for name in names}
    modules = {name: ModuleType(name) for name in names}
    modules["pyNN.parameters"].Sequence = np.array  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
