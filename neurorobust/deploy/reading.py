"""Reading a deployment file: every value is checked before anything is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._util.errors import check_path, one_line, reason
from ..chip import ChipModel, Programmed, agreement
from ..chip.architectures import Architecture
from ..chip.convolutions import place_convolutions
from ..chip.limits import check_ranges
from ..chip.sourced import NO_LIMITS
from ..core.params import check_values
from ..core.placement import HOST, Placement
from ..core.run import nominal
from ..io.structure import below, connection_of, decoders, layer_of, named
from ..nn.installed import neuron_classes
from ..nn.network import Network
from ..nn.neurons import Neuron
from . import sealed
from .decoding import Held, check_settings, gains_of, host_tensor, parameters_of, rows_of, settings_of
from .deployment import Deployment
from .diff import differences
from .lowering import check_chip, demand_of, set_cores
from .report import Report, facts_of
from .routing import check_routes
from .sealed import FileKind
from .writing import FORMAT, check_size

DEPLOYMENT_FILE = FileKind(FORMAT, "deployment", "Deployment.save", "deployment.schema.json")


def load(path: str | Path, chip: ChipModel) -> Deployment:
    """Read a deployment file that :meth:`Deployment.save` wrote. It gives the same logits, bit for bit.

    Raises:
        FileNotFoundError: there is no such file. TypeError: ``chip`` is no chip model. ValueError, in one sentence: the
            file is larger than 32 MiB, no JSON, damaged, of a newer format, for another chip or version, or says
            something that the chip cannot do.

    Example:
        >>> import chipmodels, tempfile
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> path = deployment.save(tempfile.mkdtemp() + "/net.json")
        >>> nr.deploy.load(path, deployment.chip).source == deployment.source
        True
    """
    path = check_path("path", path)
    if not isinstance(chip, ChipModel):
        raise TypeError(f"chip: got {chip!r}; expected the ChipModel that the network was deployed onto.")
    entry = read_entry(path)
    there, here = entry["chip"], (chip.name, chip.version)
    if (there["name"], there["version"]) != here:
        raise ValueError(
            f"{path}: is for {one_line(there['name'])}, version {one_line(there['version'])}; "
            f"got {chip.name}, version {chip.version}; deploy the network again."
        )
    check_chip(chip)
    try:
        deployment = _deployment(entry, chip)
        _check_content(entry, deployment)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: {reason(error)}") from error
    return deployment


def read_entry(path: Path) -> dict[str, Any]:
    """The content of a deployment file: whole, undamaged, of this format, with the types of its schema."""
    return sealed.read(path, DEPLOYMENT_FILE)


def schema() -> dict[str, Any]:
    """The JSON schema of a deployment file."""
    return sealed.schema_of(DEPLOYMENT_FILE)


def _deployment(entry: dict[str, Any], chip: ChipModel) -> Deployment:
    assert chip.architecture is not None
    cores = _cores(entry["placement"], chip)
    held = settings_of(entry["settings"], chip)
    network, codes = _network(entry, cores, held, chip.architecture)
    params = nominal(network)
    placement = place_convolutions(replace(chip, limits=NO_LIMITS, architecture=None), params, network.placement())
    placement = _numbered(entry["placement"], placement)
    check_settings(held, params, placement, chip)
    gains = gains_of(placement, held, chip, params)
    rows = rows_of(entry["report"]["programming"], held, params, placement, chip)
    equations = agreement(chip.name, chip.neuron, placement)
    programmed = Programmed(params, codes, placement, rows, gains, chip.exact_host, equations, held)
    on_chip = {name: value for name, value in params.items() if placement.on_chip(name)}
    check_ranges(chip, {name: value * programmed.gain(name, value) for name, value in on_chip.items()}, placement)
    demand = demand_of(network.layers(), network.inputs, chip)
    host = {name: layer.n for name, layer in network.layers().items() if name not in cores}
    facts = facts_of(chip, programmed, demand, cores, host)
    report = replace(Report.of(entry["report"]), **facts)
    deployment = Deployment(chip, network, programmed, demand, cores, report, entry["source"])
    if broken := deployment.check():
        raise ValueError("; ".join(map(str, broken)))
    check_routes(entry["routes"], deployment.routes, chip.architecture)
    return deployment


def _check_content(entry: Mapping[str, Any], deployment: Deployment) -> None:
    """Raise ValueError where a file says something else than the deployment that was made from it. The version that
    wrote it may differ."""
    again = deployment.entry() | {"neurorobust": entry["neurorobust"]}
    if found := next(differences(entry, again), None):
        raise ValueError(f"{found.where}: got {found.first}; the rest of the file means {found.second}.")


def _cores(entry: Mapping[str, Any], chip: ChipModel) -> dict[str, Tensor]:
    """The cores of all neurons; every address once."""
    assert chip.architecture is not None
    taken: dict[tuple[int, int], str] = {}
    for layer, where in entry.items():
        numbers = where["neuron"]
        if numbers is not None and len(numbers) != len(where["core"]):
            raise ValueError(f"placement of {layer!r}: has {len(where['core'])} cores and {len(numbers)} numbers.")
        for i, core in enumerate(where["core"]):
            if core >= chip.architecture.cores:
                raise ValueError(
                    f"neuron {i} of layer {layer!r} is on core {core}; {chip.name} has {chip.architecture.cores}."
                )
            if numbers is None:
                continue
            if not 0 <= numbers[i] < chip.architecture.neurons:
                raise ValueError(
                    f"neuron {i} of layer {layer!r} has number {numbers[i]} on core {core}; a core of {chip.name} has "
                    f"{chip.architecture.neurons}."
                )
            address, owner = (core, numbers[i]), f"neuron {i} of layer {layer!r}"
            if taken.setdefault(address, owner) != owner:
                raise ValueError(f"core {core}, neuron {numbers[i]} is {taken[address]} and {owner}: an address twice.")
    return {layer: torch.tensor(where["core"], dtype=torch.long) for layer, where in entry.items()}


def _numbered(entry: Mapping[str, Any], placement: Placement) -> Placement:
    """The placement with the numbers of neurons on their cores, where they are not those of a filled core."""
    found = {layer: where["neuron"] for layer, where in entry.items() if where["neuron"] is not None}
    if all(numbers == placement.numbering[layer].number.tolist() for layer, numbers in found.items()):
        return placement
    return replace(placement, numbers={layer: torch.tensor(numbers) for layer, numbers in found.items()})


def _network(
    entry: Mapping[str, Any], cores: Mapping[str, Tensor], held: Held, architecture: Architecture
) -> tuple[Network, dict[str, Tensor]]:
    """The network with the values that the chip holds, and its codes."""
    tensors = {name: host_tensor(name, part) for name, part in entry["host"].items()}
    for name in tensors:
        if name.split(".")[0] in cores:
            raise ValueError(f"host: has {name}, and that layer is on the chip.")
    held_there, codes = parameters_of(entry["parameters"], cores, held, getattr(torch, entry["network"]["dtype"]))
    tensors |= held_there
    known, layers = neuron_classes(), dict[str, Neuron]()
    for each in entry["network"]["layers"]:
        name = each["name"]
        if name in layers:
            raise ValueError(f"layer {name!r}: is there twice.")
        try:
            n = _neurons(each, below(name, tensors), architecture)
            own = cores.get(name, torch.full((n,), HOST))
            if len(own) != n:
                raise ValueError(f"it has {n} neurons, and {len(own)} of them have a place")
            layers[name] = layer_of(each, tensors, known)
            _check_per_neuron(layers[name], name in cores)
            set_cores(layers[name], own)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"layer {name!r}: its structure and its parameters do not fit: {error}") from error
    unknown = cores.keys() - layers.keys()
    if unknown:
        raise ValueError(f"placement: the network has no layer {sorted(unknown)[0]!r}.")
    decode = named("decode", entry["network"]["decode"], decoders())
    inputs = {name: tuple(sources) for name, sources in entry["network"]["inputs"].items()}
    network = Network(layers, entry["network"]["dt"], inputs, decode).eval()
    for name, value in network.named_buffers():  # delays of a network that was converted are not float64
        if name in tensors and value.is_floating_point() and tensors[name].is_floating_point():
            owner, _, last = name.rpartition(".")
            setattr(network.get_submodule(owner), last, tensors[name])
    left = tensors.keys() - network.state_dict().keys()
    if left:
        raise ValueError(f"parameter {sorted(left)[0]}: the network has no such parameter.")
    check_values(nominal(network))
    return network, codes


def _neurons(entry: dict[str, Any], own: Mapping[str, Tensor], architecture: Architecture) -> int:
    """The number of neurons of a layer, before any of them exists; the shape of a convolution may be any."""
    connection = connection_of(entry["input"], below("input", own))
    check_size([(connection.n_out,), (connection.n_in, architecture.cores)])
    return connection.n_out


def _check_per_neuron(layer: Neuron, on_chip: bool) -> None:
    for name in layer.population_parameters() if on_chip else ():
        if (shape := tuple(layer.get_parameter(name).shape)) != (layer.n,):
            raise ValueError(f"{name} has shape {shape}; expected one value per neuron, ({layer.n},)")
