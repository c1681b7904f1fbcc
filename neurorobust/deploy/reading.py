"""Reading a deployment file: every value is checked before anything is made from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._util import discovery
from ..chip import ChipModel, Programmed, agreement, encodings
from ..chip.convolutions import place_convolutions
from ..chip.encodings import BitMaskedCurrents, Codec, SharedGain
from ..chip.encodings.encoding import UNQUANTIZED, EncodedCore
from ..chip.sourced import NO_LIMITS
from ..core.params import Params, check_values, kind_of
from ..core.placement import HOST, Placement
from ..core.run import nominal
from ..io.structure import decoders, layer_of, named
from ..nn.installed import neuron_classes
from ..nn.network import Network
from . import sealed
from .deployment import Deployment
from .lowering import demand_of, set_cores
from .report import Report
from .routing import check_routes
from .sealed import FileKind
from .writing import FORMAT, LARGEST

DEPLOYMENT_FILE = FileKind(FORMAT, "deployment", "Deployment.save", "deployment.schema.json")


def load(path: str | Path, chip: ChipModel) -> Deployment:
    """Read a deployment file that :meth:`Deployment.save` wrote. It gives the same logits, bit for bit.

    Raises:
        FileNotFoundError: there is no such file. TypeError: ``chip`` is no chip model. ValueError, in one sentence: the
            file is larger than 64 MiB, no JSON, damaged, of a newer format, for another chip or version, or says
            something that the chip cannot do.
    """
    path = Path(path)
    if not isinstance(chip, ChipModel):
        raise TypeError(f"chip: got {chip!r}; expected the ChipModel that the network was deployed onto.")
    entry = read_entry(path)
    there, here = entry["chip"], (chip.name, chip.version)
    if (there["name"], there["version"]) != here:
        raise ValueError(
            f"{path}: is for {there['name']}, version {there['version']}; got {chip.name}, version {chip.version}; "
            f"deploy the network again."
        )
    if chip.architecture is None:
        raise ValueError(f"chip: {chip.name} states no architecture, so a deployment cannot be checked.")
    try:
        return _deployment(entry, chip)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def read_entry(path: Path) -> dict[str, Any]:
    """The content of a deployment file: whole, undamaged, of this format, with the types of its schema."""
    return sealed.read(path, DEPLOYMENT_FILE)


def schema() -> dict[str, Any]:
    """The JSON schema of a deployment file."""
    return sealed.schema_of(DEPLOYMENT_FILE)


def _deployment(entry: dict[str, Any], chip: ChipModel) -> Deployment:
    assert chip.architecture is not None
    cores = _cores(entry["placement"], chip)
    held = _settings(entry["settings"], chip)
    network = _network(entry, cores, held)
    unlimited = replace(chip, limits=NO_LIMITS, architecture=None)
    placement = place_convolutions(unlimited, nominal(network), network.placement())
    placement = _numbered(entry["placement"], placement)
    demand = demand_of(network.layers(), network.inputs, chip)
    broken = [*chip.architecture.check_demand(demand), *chip.architecture.check_places(demand, cores)]
    if broken:
        raise ValueError("; ".join(map(str, broken)))
    programmed = Programmed(
        nominal(network),
        _codes(entry["parameters"]),
        placement,
        [dict(row) for row in entry["report"]["programming"]],
        _gains(placement, held, chip, network),
        chip.exact_host,
        agreement(chip.name, chip.neuron, placement),
        held,
    )
    deployment = Deployment(chip, network, programmed, demand, cores, Report.of(entry["report"]), entry["source"])
    check_routes(entry["routes"], deployment.routes, chip.architecture)
    if broken := deployment.check():
        raise ValueError("; ".join(map(str, broken)))
    return deployment


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
    return {layer: torch.tensor(where["core"]) for layer, where in entry.items()}


def _numbered(entry: Mapping[str, Any], placement: Placement) -> Placement:
    """The placement with the numbers of neurons on their cores, where they are not those of a filled core."""
    found = {layer: where["neuron"] for layer, where in entry.items() if where["neuron"] is not None}
    if all(numbers == placement.numbering[layer].number.tolist() for layer, numbers in found.items()):
        return placement
    return replace(placement, numbers={layer: torch.tensor(numbers) for layer, numbers in found.items()})


def _settings(entry: Mapping[str, Any], chip: ChipModel) -> dict[tuple[str, int], EncodedCore]:
    """Gain, scale and codec of every kind on every core."""
    result = {}
    for core, kinds in entry.items():
        for kind, setting in kinds.items():
            if kind not in chip.kinds:
                raise ValueError(f"settings of core {core}: {chip.name} has no kind {kind!r}.")
            codec = None if setting["codec"] is None else _codec(setting["codec"])
            own = getattr(chip.kinds[kind].encoding, "codec", codec)
            if type(own) is not type(codec) or own != codec:
                raise ValueError(f"settings of core {core}: {kind} has a codec that is not {chip.name}'s.")
            if not setting["gain"] > 0 or not setting["scale"] > 0:
                raise ValueError(
                    f"settings of core {core}: {kind} has gain {setting['gain']:g} and scale "
                    f"{setting['scale']:g}; expected numbers > 0."
                )
            _check_currents(f"{kind} on core {core}", chip, kind, codec, setting["gain"])
            result[kind, int(core)] = EncodedCore(setting["gain"], codec, setting["scale"])
    return result


def _check_currents(where: str, chip: ChipModel, kind: str, codec: Codec | None, gain: float) -> None:
    """A codebook of currents has as many as the chip, within the reach of its bias generator."""
    encoding = chip.kinds[kind].encoding
    if not isinstance(encoding, BitMaskedCurrents):
        return
    currents = getattr(codec, "currents", ())
    if len(currents) != encoding.bits:
        raise ValueError(f"{where} has {len(currents)} currents; {chip.name} has {encoding.bits}.")
    for current in (current * gain for current in currents):
        if not encoding.range.low <= current <= encoding.range.high:
            raise ValueError(
                f"{where} needs a current of {current:.3g} A; the chip reaches {encoding.range.low:g} to "
                f"{encoding.range.high:g} A."
            )


def _codec(entry: Mapping[str, Any]) -> Codec:
    known = discovery.classes(encodings, Codec)
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return named("codec", settings.pop("type"), known)(**settings)


def _network(
    entry: Mapping[str, Any], cores: Mapping[str, Tensor], held: Mapping[tuple[str, int], EncodedCore]
) -> Network:
    """The network with the values that the chip holds."""
    dtype = getattr(torch, entry["network"]["dtype"])
    tensors = {name: _host_tensor(name, part) for name, part in entry["host"].items()}
    for name, part in entry["parameters"].items():
        layer = name.split(".")[0]
        if layer not in cores:
            raise ValueError(f"parameter {name}: layer {layer!r} has no place.")
        tensors |= _decoded(name, part, cores[layer], held, dtype)
    known, layers = neuron_classes(), {}
    for each in entry["network"]["layers"]:
        name = each["name"]
        try:
            layers[name] = layer_of(each, tensors, known)
            set_cores(layers[name], cores.get(name, torch.full_like(layers[name].core, HOST)))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"layer {name!r}: its structure and its parameters do not fit: {error}") from error
    unknown = cores.keys() - layers.keys()
    if unknown:
        raise ValueError(f"placement: the network has no layer {sorted(unknown)[0]!r}.")
    decode = named("decode", entry["network"]["decode"], decoders())
    inputs = {name: tuple(sources) for name, sources in entry["network"]["inputs"].items()}
    network = Network(layers, entry["network"]["dt"], inputs, decode).eval()
    left = tensors.keys() - network.state_dict().keys()
    if left:
        raise ValueError(f"parameter {sorted(left)[0]}: the network has no such parameter.")
    check_values(nominal(network))
    return network


def _host_tensor(name: str, entry: Mapping[str, Any]) -> Tensor:
    kind, values = getattr(torch, entry["dtype"]), entry["values"]
    if (kind == torch.bool) != all(isinstance(value, bool) for value in values) and values:
        raise ValueError(f"{name}: has values that are not {entry['dtype']}.")
    if len(values) != math.prod(entry["shape"]):
        raise ValueError(f"{name}: has {len(values)} values for shape {tuple(entry['shape'])}.")
    return torch.tensor(values, dtype=kind).reshape(entry["shape"])


def _decoded(
    name: str, entry: Mapping[str, Any], cores: Tensor, held: Mapping[tuple[str, int], EncodedCore], dtype: torch.dtype
) -> Params:
    """A parameter and, for a weight, its mask."""
    shape, kind = tuple(entry["shape"]), kind_of(name)
    if ("codes" in entry) == ("values" in entry):
        raise ValueError(f"{name}: expected either codes or values.")
    n = shape[0] if shape else 1
    size = math.prod(shape)
    if size > LARGEST:
        raise ValueError(f"{name}: has shape {shape}, more than a file can hold.")
    if kind == "weight":
        flat, mask = _places_of(name, entry, n, size)
    else:
        flat, mask = torch.arange(size), None
    rows = flat // max(size // max(n, 1), 1)
    given = entry["codes"] if "codes" in entry else entry["values"]
    if len(given) != len(flat):
        raise ValueError(f"{name}: has {len(given)} numbers for {len(flat)} places.")
    value = torch.zeros(size, dtype=dtype)
    if "values" in entry:
        value[flat] = torch.tensor(given, dtype=torch.float64).to(dtype)
    else:
        codes = torch.tensor(given, dtype=torch.long)
        own = cores[rows] if n == len(cores) else cores[:1].expand(len(rows))
        for core in own.unique().tolist():
            here = own == core
            if (kind, core) not in held or held[kind, core].codec is None:
                raise ValueError(f"{name}: core {core} has no codec for {kind}.")
            try:
                value[flat[here]] = held[kind, core].decode(codes[here]).to(dtype)
            except ValueError as error:
                raise ValueError(f"{name} on core {core}: outside its codec: {error}") from error
    found = {name: value.reshape(shape)}
    return found if mask is None else found | {f"{name.removesuffix('weight')}mask": mask.reshape(shape)}


def _places_of(name: str, entry: Mapping[str, Any], n: int, size: int) -> tuple[Tensor, Tensor]:
    """The flat index of every synapse, and the mask."""
    if "rows" not in entry or "columns" not in entry or len(entry["rows"]) != len(entry["columns"]):
        raise ValueError(f"{name}: expected rows and columns, one of each for every synapse.")
    rows, columns = torch.tensor(entry["rows"], dtype=torch.long), torch.tensor(entry["columns"], dtype=torch.long)
    width = size // max(n, 1)
    if len(rows) and (int(rows.max()) >= n or int(columns.max()) >= width):
        raise ValueError(f"{name}: has a synapse beyond its shape {tuple(entry['shape'])}.")
    flat = rows * width + columns
    mask = torch.zeros(size, dtype=torch.bool)
    mask[flat] = True
    if int(mask.sum()) != len(flat):
        ordered = flat.sort().values
        twice = int(ordered[1:][ordered[1:] == ordered[:-1]][0])
        raise ValueError(
            f"{name}: synapse {twice % width} of neuron {twice // width} is there twice: an address twice."
        )
    return flat, mask


def _codes(entry: Mapping[str, Any]) -> dict[str, Tensor]:
    result = {}
    for name, part in entry.items():
        if "codes" not in part:
            continue
        codes = torch.zeros(math.prod(part["shape"]), dtype=torch.long)
        if "rows" in part:
            width = codes.numel() // max(part["shape"][0], 1)
            where = torch.tensor(part["rows"], dtype=torch.long) * width + torch.tensor(
                part["columns"], dtype=torch.long
            )
        else:
            where = torch.arange(codes.numel())
        codes[where] = torch.tensor(part["codes"], dtype=torch.long)
        result[name] = codes.reshape(part["shape"])
    return result


def _gains(
    placement: Placement, held: Mapping[tuple[str, int], EncodedCore], chip: ChipModel, network: Network
) -> dict[str, Tensor]:
    """Chip units per network unit of every row, as programming sets them."""
    result = {}
    for name in nominal(network):
        core = placement.core(name)
        if core is None or not placement.on_chip(name):
            continue
        kind = kind_of(name)
        encoding = chip.kinds[kind].encoding
        kind = encoding.kind if isinstance(encoding, SharedGain) else kind
        if chip.kinds[kind].encoding == UNQUANTIZED and chip.speed(kind) == 1:
            continue
        gain = torch.ones(len(core), dtype=torch.float64)
        for number in core.unique().tolist():
            if (kind, number) not in held:
                raise ValueError(f"settings of core {number}: has no {kind}, which {name} needs.")
            gain[core == number] = held[kind, number].gain
        result[name] = gain
    return result
