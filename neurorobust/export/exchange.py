"""NIR both ways."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from .._util.discovery import instances
from .._util.errors import check_number, check_path, shown, unknown
from .._util.warn import warn
from ..chip import ChipModel, Die
from ..core import nominal
from ..deploy import Deployment
from ..nn import Network, placement_of
from . import hdf5
from . import readers as package
from .hdf5 import Graph, Node
from .reader import Reader
from .reading import Budget, network_of
from .writing import graph_of

GROUP = "neurorobust.nir_readers"
OWN = "nir"


@cache
def _known() -> dict[str, Reader]:
    return instances(package, Reader, GROUP)


def readers() -> dict[str, Reader]:
    """Every reader of NIR files, by name; ``"nir"`` is NIR's own meaning.

    Example:
        >>> sorted(nr.export.readers())
        ['nir', 'norse', 'rockpool', 'sinabs', 'snntorch', 'spikingjelly']
    """
    return dict(_known())


def to_nir(
    network: Network | Deployment,
    path: str | Path,
    *,
    reader: str | None = None,
    readout: bool = False,
    die: Die | None = None,
) -> Path:
    """Write a network as a NIR file that a reader turns into the same spikes.

    Without a reader, the file has NIR's own meaning: time constants in seconds, one value of each parameter for every
    neuron, recurrence as a graph inside the graph, and dt in the metadata. The numbers are those of the network, in its
    own type of float. With a reader, the file holds other numbers, in float64, from which **that reader, at its tested
    version and at the dt of the network**, computes the spikes of this network. Others read it wrong.

    Spikes are equal as far as rounding allows: a reader that computes in 32 bits may differ where a membrane comes
    within about 1e-6 of its threshold. Masks become weights of 0. Cores, surrogates and ``decode`` are not written.

    Args:
        network: of :class:`~neurorobust.nn.Lif`, :class:`~neurorobust.nn.CubaLif` and leaky integrators; or a
            deployment of one, for the values that its codes stand for.
        path: the file.
        reader: see :func:`neurorobust.export.readers`; None for NIR's own meaning.
        readout: write the last layer too if it has no spikes. Without it, the read-out stays on the host.
        die: write the parameters of the network on this die. A network is programmed on the chip of the die first.

    Returns:
        The path.

    Raises:
        TypeError: no Network. ValueError: an unknown reader, or layers whose spikes the reader cannot have, each with
            the reason. ModuleNotFoundError: h5py is not installed.

    Example:
        >>> from tempfile import mkdtemp
        >>> synapses, reset = nr.nn.Linear(torch.rand(4, 3)), nr.nn.ToValue()
        >>> hidden = nr.neurons.Lif(synapses, tau_mem=0.02, v_threshold=0.1, reset=reset)
        >>> path = nr.to_nir(nr.Network({"hidden": hidden}, dt=1e-3), mkdtemp() + "/net.nir")
        >>> path.name
        'net.nir'
    """
    file = check_path("path", path)
    if file.is_dir():
        raise IsADirectoryError(f"path: {str(file)!r} is a folder; expected a file in it, such as net.nir.")
    return hdf5.write(file, graph_of(on_die(network, die), _reader(reader), readout))


def on_die(network: Network | Deployment, die: Die | None) -> Network:
    """The network with the parameters that a deployment or a die has."""
    if die is not None and not isinstance(die, Die):
        raise TypeError(
            f"die: got a {type(die).__name__}; expected a die, such as chip.fabricate(range(1), seed=1)[0]."
        )
    deployed = network if isinstance(network, Deployment) else None
    plain = network if deployed is None else deployed.network
    if not isinstance(plain, Network):
        raise TypeError(
            f"network: got a {type(plain).__name__}; expected a neurorobust.Network. Of the result of "
            f"nr.from_snntorch, nr.deploy.translated(model) makes one; export another module with the tools of its own "
            f"package."
        )
    if deployed is not None and die is not None and die.model.name != deployed.chip.name:
        raise ValueError(f"die: of {die.model.name}; the network is deployed on {deployed.chip.name}.")
    if deployed is None and die is None:
        return plain
    if deployed is not None:
        programmed = deployed.programmed
    else:
        assert die is not None
        if not isinstance(die.model, ChipModel):
            raise TypeError(f"die: of a {type(die.model).__name__}, which programs no network; pass a deployment.")
        programmed = die.model.program(nominal(plain), placement_of(plain))
    params = programmed.params if die is None else die.params(programmed)
    changed = copy.deepcopy(plain)
    for name, value in params.items():
        owner, _, own = name.rpartition(".")
        changed.get_submodule(owner).register_parameter(own, nn.Parameter(value.detach().clone()))
    return changed


def from_nir(path: str | Path, *, dt: float, reader: str | None = None, unit: float = 1.0) -> Network:
    """Read a NIR file of anybody as a network.

    Without a reader, the file has NIR's own meaning: the differential equations, solved exactly over a step of dt. A
    file that :func:`to_nir` wrote for a reader says so, and is read as that reader reads it. Give the reader for a file
    of that package: each computes its steps in its own way, and writes files that only this way turns into its spikes.

    The network has the type of float of the file, or float64 with a reader. A weight of 0 is no synapse. The file may
    come from anybody: it is checked before memory is asked for.

    Args:
        path: the file. dt: the length of one step, s.
        reader: as in :func:`to_nir`.
        unit: the unit of time of the file in seconds: 1e-3 for milliseconds.

    Returns:
        A network whose layers have the names of the populations; ``decode`` is the mean over time.

    Raises:
        FileNotFoundError: no such file. ValueError: no NIR file, or a node that no network of this package is equal to,
            by name. ModuleNotFoundError: h5py is not installed.

    Example:
        >>> from tempfile import mkdtemp
        >>> synapses, reset = nr.nn.Linear(torch.rand(4, 3)), nr.nn.ToValue()
        >>> hidden = nr.neurons.Lif(synapses, tau_mem=0.02, v_threshold=0.1, reset=reset)
        >>> path = nr.to_nir(nr.Network({"hidden": hidden}, dt=1e-3), mkdtemp() + "/net.nir")
        >>> list(nr.from_nir(path, dt=1e-3).layers())
        ['hidden']
    """
    dt, unit = check_number("dt", dt, strict=True), check_number("unit", unit, strict=True)
    path = check_path("path", path)
    if reader is not None:
        _reader(reader)
    graph, sizes = hdf5.read(path)
    try:
        said = graph.metadata.get("reader", reader)
        if reader not in (None, said):
            raise ValueError(f"was written for reader={str(said)[:40]!r}; got reader={reader!r}.")
        if said is not None and said not in readers():
            raise ValueError(f"was written for an unknown reader, {str(said)[:40]!r}.")
        if "reader" in graph.metadata:
            _check_dt(graph, dt)
        elif said is None and "dt" not in graph.metadata:
            others = ", ".join(sorted(set(readers()) - {OWN}))
            warn(
                f"NIR file {str(path)!r}: does not say which package wrote it, so it is read as NIR defines it. "
                f"{others} compute a step in other ways: give reader= for the spikes of one of them. "
                f"reader={OWN!r} says that NIR's own meaning is right, without this warning."
            )
        budget = Budget(sizes)
        network = network_of(_in_seconds(graph, unit), _reader(said), dt, budget)
    except (ValueError, TypeError) as error:
        raise ValueError(f"NIR file {str(path)!r}: {error}") from error
    return network


def _reader(name: str | None) -> Reader:
    known = readers()
    if name is not None and name not in known:
        raise unknown("reader", name, known)
    return known[OWN if name is None else name]


def _check_dt(graph: Graph, dt: float) -> None:
    written = graph.metadata.get("dt")
    if not isinstance(written, np.ndarray) or written.shape != () or not np.isclose(float(written), dt, rtol=1e-9):
        raise ValueError(f"was written for one reader at dt = {shown(written)} s; got dt = {dt:g} s.")


def _in_seconds(graph: Graph, unit: float) -> Graph:
    """The graph with all times in seconds."""
    if unit == 1:
        return graph

    def converted(node: Node | Graph) -> Node | Graph:
        if isinstance(node, Graph):
            return _in_seconds(node, unit)
        own: dict[str, Any] = {
            name: np.asarray(value) * unit
            if name in ("tau", "tau_mem", "tau_syn", "delay")
            and isinstance(value, np.ndarray)
            and value.dtype != object
            else value
            for name, value in node.fields.items()
        }
        return Node(node.type, own, node.metadata)

    return Graph({name: converted(node) for name, node in graph.nodes.items()}, graph.edges, graph.metadata)
