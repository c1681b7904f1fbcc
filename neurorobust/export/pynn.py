"""PyNN out: a network as numbers and one script."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .._util.discovery import instances
from .._util.errors import unknown
from .._util.files import make_folder, replacing
from ..chip import Die
from ..core.noise import INPUT
from ..deploy import Deployment
from ..nn import AdaptiveLif, Connection, CubaLif, Delayed, Lif, LinearizedDpi, Network, Neuron
from . import backends as package
from .backend import Backend, Neurons, Population
from .cell import Array, cell_of
from .exchange import on_die
from .scripts import network as script
from .stages import stages_of
from .writing import written_layers

GROUP = "neurorobust.pynn_backends"
AT_ONCE = 256


class Projection(NamedTuple):
    """Synapses of one sign between two populations, one row each: source, target, weight, delay in steps."""

    source: str
    target: str
    receptor: str
    synapses: Array


@cache
def _known() -> dict[str, Backend]:
    return instances(package, Backend, GROUP)


def backends() -> dict[str, Backend]:
    """Every back end of PyNN that a network can be written for, by name.

    Example:
        >>> sorted(nr.export.backends())
        ['brainscales2', 'nest']
    """
    return dict(_known())


def to_pynn(network: Network | Deployment, path: str | Path, *, backend: str = "nest", die: Die | None = None) -> Path:
    """Write a network for PyNN: a folder with ``data.npz``, numbers alone, and ``network.py``, a script that needs
    NumPy and PyNN, and nothing of this package. Its ``build(sim, data)`` makes the populations and their synapses.

    On NEST, ``Lif`` becomes ``IF_curr_delta`` and has the spikes of this network at its dt, step for step, in float64.
    ``CubaLif`` becomes ``IF_curr_exp``, which has the same rates in the limit of small steps. BrainScaleS-2 takes a
    deployment on that chip: targets of its calibration, integer weights, times of the hardware, no delays.

    In a simulator a spike takes at least one step from one population to the next. So each population is as many steps
    late as there are populations before it, and all delays are chosen so that spikes meet as they do here.

    Args:
        network: of :class:`~neurorobust.nn.Lif` and :class:`~neurorobust.nn.CubaLif` with ``reset=ToValue()``; or a
            deployment of one. A last layer without spikes, the read-out, stays on the host.
        path: the folder.
        backend: see :func:`neurorobust.export.backends`.
        die: for a simulator: write the parameters of the network on this die, as in
            :func:`~neurorobust.export.to_nir`.

    Returns:
        The path.

    Raises:
        TypeError: no Network, or a network where a deployment is needed. ValueError: an unknown back end, or layers
            that the back end cannot have, each with the reason.

    Example:
        >>> layer = nr.nn.Lif(nr.nn.Linear(torch.ones(2, 3)), tau_mem=0.01, v_threshold=0.02, reset=nr.nn.ToValue())
        >>> folder = nr.to_pynn(nr.Network({"hidden": layer}, dt=1e-3), "build/net_pynn")
        >>> sorted(path.name for path in folder.iterdir())
        ['data.npz', 'network.py']
    """
    known = backends()
    if backend not in known:
        raise unknown("backend", backend, known)
    chosen = known[backend]
    plain = on_die(network, die)
    chosen.check(network)
    if die is not None and chosen.speedup != 1:
        raise ValueError(
            f"die: {backend} is the chip itself; expected no die, or another back end for a simulated one."
        )
    gains = network.programmed.gains if isinstance(network, Deployment) else {}
    content = _content(copy.deepcopy(plain).double(), chosen, gains)
    folder = make_folder(path)
    with replacing(folder / "data.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, **content)
    with replacing(folder / "network.py") as temporary:
        shutil.copyfile(str(script.__file__), temporary)
    return folder


def _content(network: Network, backend: Backend, gains: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the data file."""
    layers = written_layers(network, readout=False)
    depth, errors = {INPUT: 0}, []
    step = 1e3 * network.dt / backend.speedup
    populations = [INPUT, *layers]  # in the file by number: a layer may have any name
    first = f"population{populations.index(INPUT)}"
    content: dict[str, Any] = {f"{first}/cell": "SpikeSourceArray", f"{first}/size": network.n_in, f"{first}/depth": 0}
    projections: list[Projection] = []
    events: dict[str, float] = {}
    for name, layer in layers.items():
        depth[name] = 1 + max(depth[source] for source in network.inputs[name])
        try:
            own = {key.removeprefix(f"{name}."): np.asarray(value) for key, value in gains.items()}
            neurons, found = _layer(name, layer, network, backend, depth, own)
        except ValueError as error:
            text = str(error)
            errors.append(text if text.startswith("layer ") else f"layer {name!r}: {text}")
            continue
        projections += found
        events |= {} if neurons.event is None else {name: neurons.event}
        key = f"population{populations.index(name)}"
        content |= {f"{key}/cell": neurons.model, f"{key}/size": layer.n, f"{key}/depth": depth[name]}
        content |= {f"{key}/parameter/{own}": np.asarray(value) for own, value in neurons.parameters.items()}
        content |= {} if neurons.start is None else {f"{key}/start": neurons.start}
    if errors:
        raise ValueError("\n".join(errors))
    if events and not np.allclose([*events.values()], next(iter(events.values())), rtol=1e-4):
        said = ", ".join(f"{name} {event:g}" for name, event in events.items())
        raise backend.refuse(
            f"has one strength of synapses; an event of weight 1 would have to raise membranes by {said} LSB/µs. Train "
            f"all layers with one r / (tau_mem · tau_syn)."
        )
    longest = max([1, *(int(each.synapses[:, 3].max()) for each in projections)])
    for k, each in enumerate(projections):
        rows = each.synapses * [1, 1, 1, step]
        content[f"projection{k}"] = np.array(each[:3])
        content[f"projection{k}/synapses"] = rows if backend.delays else rows[:, :3]
    content |= {f"setup/{key}": value for key, value in backend.setup(step, longest).items()}
    content |= {"backend": backend.name, "step": step, "dt": network.dt, "projections": len(projections)}
    content |= {"event": next(iter(events.values()))} if events else {}
    return content | {"populations": np.array(populations), "writer": "neurorobust"}


def _layer(
    name: str,
    layer: Neuron,
    network: Network,
    backend: Backend,
    depth: Mapping[str, int],
    gains: Mapping[str, Array],
) -> tuple[Neurons, list[Projection]]:
    """The neurons of a layer, and its projections."""
    _check_layer(name, layer, network.dt)
    sources = network.inputs[name]
    matrix, drive = _synapses(layer.input, network.dt)
    if matrix[:, 3].any() and not backend.delays:
        raise backend.refuse("has no delays of synapses; train without Delayed.")
    sizes = [network.n_in if source == INPUT else network.layers()[source].n for source in sources]
    starts = np.cumsum([0, *sizes])
    parts: list[tuple[str, Array]] = []
    for source, begin, end in zip(sources, starts, starts[1:]):
        part = matrix[(matrix[:, 0] >= begin) & (matrix[:, 0] < end)]
        part[:, 0] -= begin
        part[:, 3] += depth[name] - depth[source]
        parts.append((source, part))
    if layer.recurrent is not None:
        own, constant = _synapses(layer.recurrent, network.dt)
        own[:, 3] += 1
        parts.append((name, own))
        drive = drive + constant
    neurons = backend.neurons(Population(cell_of(name, layer, network.dt), drive, network.dt, depth[name], gains))
    found = []
    for source, part in parts:
        part[:, 2] = backend.weights(part[:, 2] * neurons.rows[part[:, 1].astype(int)])
        for receptor, chosen in (("excitatory", part[:, 2] > 0), ("inhibitory", part[:, 2] < 0)):
            if chosen.any():
                found.append(Projection(source, name, receptor, part[chosen]))
    return neurons, found


def _check_layer(name: str, layer: Neuron, dt: float) -> None:
    """Raise ValueError for neurons that no cell type of PyNN here is equal to."""
    if isinstance(layer, AdaptiveLif):
        raise ValueError(
            f"layer {name!r}: AdaptiveLif: the cell types have no adaptive threshold, and calix no target for "
            f"adaptation; without it the neurons fire more often. Train the network with Lif or CubaLif."
        )
    if isinstance(layer, LinearizedDpi):
        raise ValueError(
            f"layer {name!r}: LinearizedDpi: the cell types have no floor under the membrane; without it inhibition "
            f"pulls neurons further down: other spikes. Train the network with Lif or CubaLif."
        )
    if layer.spiking and type(layer) not in (Lif, CubaLif):
        raise ValueError(
            f"layer {name!r}: {type(layer).__name__}: no cell type has its equations; expected Lif, CubaLif."
        )
    if "t_ref" in layer.population_parameters():
        waits = layer.per_neuron("t_ref")
        if bool((torch.round(waits / dt) > 0).any()):
            raise ValueError(
                f"layer {name!r}: t_ref up to {waits.max().item():g} s: the membrane integrates on in it, and that of "
                f"the cell types is held; other spikes. Train without t_ref."
            )


@torch.no_grad()
def _synapses(connection: Connection, dt: float) -> tuple[Array, Array]:
    """Every synapse as a row (source, target, weight, delay in steps), and the constant input of each target."""
    delay = np.zeros(connection.n_in)
    while isinstance(connection, Delayed):
        delay = delay + np.rint(connection.delay.numpy() / dt)
        connection = connection.connection
    stages_of(connection)  # refuses what is no sum over its inputs
    if any(isinstance(part, Delayed) for part in connection.modules()):
        raise ValueError("a delay inside a chain of connections; expected Delayed around the whole chain.")
    constant = connection(torch.zeros(1, 1, connection.n_in, dtype=torch.float64), dt)[0]
    found = []
    for begin in range(0, connection.n_in, AT_ONCE):
        n = min(AT_ONCE, connection.n_in - begin)
        probe = torch.zeros(1, n, connection.n_in, dtype=torch.float64)
        probe[0, torch.arange(n), begin + torch.arange(n)] = 1
        answer = (connection(probe, dt)[0] - constant).numpy()
        source, target = np.nonzero(answer)
        found.append(np.stack([source + begin, target, answer[source, target], delay[source + begin]], 1))
    return np.concatenate(found), constant[0].numpy()
