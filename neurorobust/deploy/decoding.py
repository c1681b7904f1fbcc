"""Settings and tensors of a deployment file, checked and decoded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from .._util import discovery
from .._util.errors import check_count, check_number
from ..chip import ChipModel, encodings
from ..chip.encodings import Codec, SharedGain
from ..chip.encodings.encoding import UNQUANTIZED, EncodedCore
from ..chip.programming import errors_of, row_of
from ..core.params import Params, kind_of
from ..core.placement import Placement
from ..io.structure import named
from .writing import check_size

Held = Mapping[tuple[str, int], EncodedCore]
"""Gain, scale and codec by (kind, core)."""


def settings_of(entry: Mapping[str, Any], chip: ChipModel) -> dict[tuple[str, int], EncodedCore]:
    """Gain, scale and codec of every kind on every core, each as the chip can have it."""
    result = {}
    for core, kinds in entry.items():
        if not core.isdecimal() or str(int(core)) != core:
            raise ValueError(f"settings: {core!r} is no number of a core.")
        for kind, setting in kinds.items():
            where = f"settings: {kind} on core {core}"
            if kind not in chip.kinds:
                raise ValueError(f"settings of core {core}: {chip.name} has no kind {kind!r}.")
            gain, scale = (check_number(f"{where}: {name}", setting[name], strict=True) for name in ("gain", "scale"))
            codec = None if setting["codec"] is None else _codec(f"{where}: codec", setting["codec"])
            held = EncodedCore(gain, codec, scale)
            chip.kinds[kind].encoding.check_core(where, held, chip.speed(kind))
            result[kind, int(core)] = held
    return result


def _codec(where: str, entry: Mapping[str, Any]) -> Codec:
    kind = named(where, entry.get("type"), discovery.classes(encodings, Codec))
    needed, got = {field.name for field in fields(kind)}, entry.keys() - {"type"}
    if got != needed:
        raise ValueError(f"{where}: has {', '.join(sorted(got)) or 'nothing'}; expected {', '.join(sorted(needed))}.")
    return kind(**{name: _argument(where, entry[name]) for name in got})


def _argument(where: str, value: Any) -> Any:
    return _codec(where, value) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value


def check_settings(held: Held, params: Params, placement: Placement, chip: ChipModel) -> None:
    """Raise ValueError unless there is one setting for each kind on each core where it is used, and no other."""
    used: dict[tuple[str, int], str] = {}
    for name in params:
        encoding, kind = chip.kinds[kind_of(name)].encoding if placement.on_chip(name) else None, kind_of(name)
        if encoding is None or isinstance(encoding, SharedGain) or (encoding == UNQUANTIZED and chip.speed(kind) == 1):
            continue
        core = placement.core(name)
        assert core is not None
        used.update({(kind, number): name for number in core.unique().tolist()})
    for (kind, number), name in used.items():
        if (kind, number) not in held:
            raise ValueError(f"settings of core {number}: has no {kind}, which {name} needs.")
    for kind, number in held:
        if (kind, number) not in used:
            raise ValueError(f"settings of core {number}: has {kind}, which nothing there uses.")


def rows_of(
    entries: Sequence[Mapping[str, Any]], held: Held, params: Params, placement: Placement, chip: ChipModel
) -> list[dict[str, Any]]:
    """The rows of the programming report, one per core. They follow from the settings, but the errors, which a file
    alone can tell; each has to be a number ≥ 0, or null for an infinite one."""
    rows: dict[int, dict[str, Any]] = {}
    errors: dict[int, list[str]] = {}
    order = list(chip.kinds)
    for (kind, core), one in sorted(held.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        names = [name for name in params if kind_of(name) == kind and placement.on_chip(name)]
        synapses = sum(int(placement.on_core(name, params[name], core).sum()) for name in names)
        row = row_of(kind, chip.kinds[kind].encoding, one, synapses) | dict.fromkeys(errors_of(kind, one))
        rows.setdefault(core, {"core": core}).update(row)
        errors.setdefault(core, []).extend(errors_of(kind, one))
    expected = [core for core, row in sorted(rows.items()) if len(row) > 1]
    if [row["core"] for row in entries] != expected:
        raise ValueError(f"report.programming: expected one row for each of the cores {expected}.")
    for given in entries:
        where, own = f"report.programming, core {given['core']}", rows[given["core"]]
        if given.keys() != own.keys():
            raise ValueError(f"{where}: has {', '.join(sorted(given))}; expected {', '.join(sorted(own))}.")
        for name in errors[given["core"]]:
            what, value = f"{where}: {name}", given[name]
            if name == "became_zero":
                own[name] = check_count(what, value, 0)
            else:
                own[name] = None if value is None else check_number(what, value)
    return [rows[core] for core in expected]


def host_tensor(name: str, entry: Mapping[str, Any]) -> Tensor:
    """A tensor of a layer on the host."""
    dtype, values = getattr(torch, entry["dtype"]), entry["values"]
    if any(isinstance(value, bool) != (dtype == torch.bool) for value in values):
        raise ValueError(f"{name}: has values that are not {entry['dtype']}.")
    if len(values) != math.prod(entry["shape"]):
        raise ValueError(f"{name}: has {len(values)} values for shape {tuple(entry['shape'])}.")
    return torch.tensor(values, dtype=dtype).reshape(entry["shape"])


def parameters_of(
    entry: Mapping[str, Any], cores: Mapping[str, Tensor], held: Held, dtype: torch.dtype
) -> tuple[Params, dict[str, Tensor]]:
    """Parameters on the chip, with a mask beside each weight; and the codes of those that the chip quantizes."""
    check_size(part["shape"] for part in entry.values())
    tensors, found = {}, {}
    for name, part in entry.items():
        layer, kind = name.split(".")[0], kind_of(name)
        if layer not in cores:
            raise ValueError(f"parameter {name}: layer {layer!r} has no place.")
        values, where = _numbers(name, part), _places(name, part)
        shape, row = tuple(part["shape"]), where // max(math.prod(part["shape"][1:]), 1)
        own = cores[layer][row] if part["shape"][:1] == [len(cores[layer])] else cores[layer][:1].expand(len(row))
        if "codes" in part:
            codes = torch.zeros(math.prod(shape), dtype=torch.long)
            codes[where] = values
            found[name] = codes.reshape(shape)
        exact = torch.zeros(math.prod(shape), dtype=dtype)
        for core in own.unique().tolist():
            here = own == core
            exact[where[here]] = _decoded(name, kind, core, values[here], held).to(dtype)
        tensors[name] = exact.reshape(shape)
        if kind == "weight":
            mask = torch.zeros(math.prod(shape), dtype=torch.bool)
            mask[where] = True
            tensors[f"{name.removesuffix('weight')}mask"] = mask.reshape(shape)
    return tensors, found


def _numbers(name: str, entry: Mapping[str, Any]) -> Tensor:
    """The codes, or the values, of a parameter."""
    if ("codes" in entry) == ("values" in entry):
        raise ValueError(f"{name}: expected either codes or values.")
    given = entry["codes"] if "codes" in entry else entry["values"]
    n = len(entry["rows"]) if "rows" in entry else math.prod(entry["shape"])
    if len(given) != n:
        raise ValueError(f"{name}: has {len(given)} numbers for {n} places.")
    return torch.tensor(given, dtype=torch.long if "codes" in entry else torch.float64)


def _places(name: str, entry: Mapping[str, Any]) -> Tensor:
    """The flat index of every number of a parameter; of a weight, that of every synapse."""
    shape = entry["shape"]
    if kind_of(name) != "weight":
        if "rows" in entry or "columns" in entry:
            raise ValueError(f"{name}: is no weight; expected neither rows nor columns.")
        return torch.arange(math.prod(shape))
    if not shape or "rows" not in entry or "columns" not in entry or len(entry["rows"]) != len(entry["columns"]):
        raise ValueError(f"{name}: expected a shape, rows and columns, one of each for every synapse.")
    rows, columns = (torch.tensor(entry[key], dtype=torch.long) for key in ("rows", "columns"))
    width = math.prod(shape[1:])
    if len(rows) and (int(rows.max()) >= shape[0] or int(columns.max()) >= width):
        raise ValueError(f"{name}: has a synapse beyond its shape {tuple(shape)}.")
    flat = rows * width + columns
    ordered = flat.sort().values
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(
            f"{name}: synapse {int(twice[0]) % width} of neuron {int(twice[0]) // width} is there twice: an address "
            f"twice."
        )
    return flat


def _decoded(name: str, kind: str, core: int, numbers: Tensor, held: Held) -> Tensor:
    """The values that the numbers of one core mean: codes where the chip quantizes, else the values themselves."""
    codec = held[kind, core].codec if (kind, core) in held else None
    if codec is None:
        if not numbers.is_floating_point():
            raise ValueError(f"{name}: core {core} has no codec for {kind}.")
        return numbers
    if numbers.is_floating_point():
        raise ValueError(f"{name}: has values; expected codes, as core {core} quantizes {kind}.")
    try:
        return held[kind, core].decode(numbers)
    except ValueError as error:
        raise ValueError(f"{name} on core {core}: outside its codec: {error}") from error


def gains_of(placement: Placement, held: Held, chip: ChipModel, params: Params) -> dict[str, Tensor]:
    """Chip units per network unit of every row, as programming sets them."""
    result = {}
    for name in params:
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
