"""A spiking network in PyNN: ``build(sim, data)`` makes it from the numbers in data.npz::

    import pyNN.nest as sim  # on BrainScaleS-2: import pynn_brainscales.brainscales2 as sim
    import network

    data = network.load()
    sim.setup(**network.settings(data))
    populations = network.build(sim, data)
    network.stimulate(populations, data, x)  # x: (T, channels), events per step
    last = populations[network.names(data)[-1]]
    last.record("spikes")
    sim.run(network.duration(data, len(x)))
    trains = last.get_data().segments[0].spiketrains
    spikes = network.steps(data, network.names(data)[-1], trains, len(x))  # (T, n)

It needs NumPy and PyNN. Times are in ms of the simulator: on an accelerated chip these are shorter than the network's.
The input of step k is at (k + FIRST) steps. A population of depth d, the number of populations before it, has its
spikes of step k d steps later.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

FIRST = 2  # steps before the first input: a spike source of NEST needs more than the smallest delay


def load(path: str | Path = Path(__file__).parent / "data.npz") -> dict[str, Any]:
    """The numbers of the network; the file holds no code.

    Raises:
        FileNotFoundError: no such file. ValueError: it is damaged or foreign.
    """
    size = Path(path).stat().st_size
    try:
        with np.load(path, allow_pickle=False) as file:
            needed = sum(entry.file_size for entry in file.zip.infolist())
            if needed > 10 * size + 2**20:
                raise ValueError(f"its arrays take {needed} bytes; {size} bytes may hold ten times their size")
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile and numpy raise many kinds
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".replace("allow_pickle", "code")
        raise ValueError(f"{path}: is damaged or foreign ({reason}); expected numbers that to_pynn wrote.") from error


def names(data: dict[str, Any]) -> list[str]:
    """The populations, from the inputs to the last one."""
    return [str(name) for name in data["populations"]]


def key(data: dict[str, Any], name: str) -> str:
    """The start of the names of a population's numbers. They are by number, so a population may have any name."""
    return f"population{names(data).index(name)}"


def settings(data: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `sim.setup`."""
    return {name.split("/")[1]: value.item() for name, value in data.items() if name.startswith("setup/")}


def build(sim: Any, data: dict[str, Any]) -> dict[str, Any]:
    """The populations by name, connected. Call `sim.setup(**settings(data))` before."""
    _check(sim, data)
    populations = {}
    for name in names(data):
        own = key(data, name)
        cell = _model(sim, str(data[f"{own}/cell"]))
        start = f"{own}/parameter/"
        values = {each.removeprefix(start): value for each, value in data.items() if each.startswith(start)}
        populations[name] = sim.Population(int(data[f"{own}/size"]), cell(**values), label=name)
        if f"{own}/start" in data:
            _start(populations[name], data[f"{own}/start"])
    for k in range(int(data["projections"])):
        source, target, receptor = (str(part) for part in data[f"projection{k}"])
        synapses = data[
            f"projection{k}/synapses"
        ]  # one row each: source, target, weight and, where there are any, delay
        columns = ["weight", "delay"][: synapses.shape[1] - 2]
        connector = sim.FromListConnector(synapses.tolist(), column_names=columns)
        sim.Projection(
            populations[source],
            populations[target],
            connector,
            synapse_type=_model(sim, "StaticSynapse")(),
            receptor_type=receptor,
        )
    return populations


def stimulate(populations: dict[str, Any], data: dict[str, Any], x: Any) -> None:
    """Give the input, (T, channels): the number of events of each channel in each step."""
    from pyNN.parameters import Sequence

    source = populations[names(data)[0]]
    source.set(spike_times=[Sequence(times) for times in spike_times(data, x)])


def spike_times(data: dict[str, Any], x: Any) -> list[Any]:
    """The times of the events of each channel, ms."""
    counts = np.asarray(x)
    channels = int(data[f"{key(data, names(data)[0])}/size"])
    if counts.ndim != 2 or counts.shape[1] != channels:
        raise ValueError(f"x: got shape {counts.shape}; expected (T, {channels}).")
    if (counts < 0).any() or (counts != np.rint(counts)).any():
        raise ValueError("x: expected whole numbers of events, 0 or more; spike sources have no other values.")
    step = np.arange(len(counts)) + FIRST
    return [np.repeat(step, channel.astype(int)) * float(data["step"]) for channel in counts.T]


def duration(data: dict[str, Any], n_steps: int) -> float:
    """The time that n steps of input take until the last population has answered, ms."""
    return (n_steps + FIRST + max(int(data[f"{key(data, name)}/depth"]) for name in names(data)) + 1) * float(
        data["step"]
    )


def steps(data: dict[str, Any], name: str, trains: Any, n_steps: int) -> Any:
    """The number of spikes of each neuron of a population in each step of the network, (T, n)."""
    counts = np.zeros((n_steps, int(data[f"{key(data, name)}/size"])), int)
    for neuron, train in enumerate(trains):
        at = np.asarray(train, float) / float(data["step"]) - FIRST - int(data[f"{key(data, name)}/depth"])
        step = np.ceil(at - 1e-3).astype(int)
        np.add.at(counts[:, neuron], step[(step >= 0) & (step < n_steps)], 1)
    return counts


def _check(sim: Any, data: dict[str, Any]) -> None:
    if any(str(data[f"{key(data, name)}/cell"]) == "IF_curr_delta" for name in names(data)):
        step = float(data["step"])
        if not math.isclose(sim.get_time_step(), step, rel_tol=1e-9):
            raise ValueError(
                f"timestep: got {sim.get_time_step():g} ms; these neurons have their spikes at {step:g} ms only. Call "
                f"sim.setup(**settings(data)) first."
            )
    state = getattr(getattr(sim, "simulator", None), "state", None)
    if getattr(state, "spike_precision", "on_grid") != "on_grid":
        raise ValueError(
            "spike_precision: got 'off_grid', the default on NEST, whose neurons fire between steps; expected "
            "'on_grid'. Call sim.setup(**settings(data)) first."
        )


def _model(sim: Any, name: str) -> Any:
    """A model by name; pynn-brainscales keeps them in `cells` and `synapses`."""
    for place in (sim, getattr(sim, "cells", None), getattr(sim, "synapses", None)):
        if hasattr(place, name):
            return getattr(place, name)
    raise ValueError(f"sim: has no {name}. Which back end this data is for: see data['backend'].")


def _start(population: Any, v: Any) -> None:
    """Set the membranes before the first step, mV. On NEST, `initialize(v=...)` of IF_curr_delta only warns."""
    nodes = getattr(population, "node_collection", None)
    if nodes is None:
        population.initialize(v=v)
    else:
        nodes.V_m = v.tolist()
