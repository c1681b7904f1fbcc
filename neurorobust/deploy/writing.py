"""The deployment file: what it holds, and how it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import Tensor

from .._util import digests, files, strict
from ..chip import ChipModel, Programmed
from ..chip.architectures import Route
from ..chip.encodings import Codec
from ..core.params import kind_of
from ..core.placement import Placement
from ..nn.network import Network
from .structure import structure_entry

FORMAT = "neurorobust-deployment/1"
LARGEST = strict.LARGEST
"""Bytes of the largest file that is written or read."""


def entry_of(
    chip: ChipModel, network: Network, programmed: Programmed, cores: Mapping[str, Tensor], routes: Sequence[Route]
) -> dict[str, Any]:
    """The content of a deployment file: the parts that a board needs, and the host's."""
    assert chip.architecture is not None
    parameters = dict(network.named_parameters())
    held: dict[str, dict[str, Any]] = {}
    for (kind, core), encoded in programmed.held.items():
        held.setdefault(str(core), {})[kind] = {
            "gain": encoded.gain,
            "scale": encoded.scale,
            "codec": None if encoded.codec is None else codec_entry(encoded.codec),
        }
    on_chip = {name for name in parameters if programmed.placement.on_chip(name)}
    check_size(parameters[name].shape for name in on_chip)
    return {
        "format": FORMAT,
        "neurorobust": _version(),
        "chip": {
            "name": chip.name,
            "version": chip.version,
            "architecture": type(chip.architecture).__name__,
            "numbers": {name: fact.value for name, fact in chip.architecture.facts().items()},
        },
        "network": structure_entry(network) | {"dtype": dtype_of(network)},
        "placement": places(cores, programmed.placement),
        "settings": held,
        "parameters": {name: _parameter(name, programmed) for name in sorted(on_chip)},
        "routes": [route._asdict() | {"cores": list(route.cores)} for route in routes],
        "host": {
            name: tensor_entry(value)
            for name, value in network.state_dict().items()
            if name.split(".")[0] not in cores and not name.endswith(".core")
        },
    }


def _version() -> str:
    """The installed version; ``"unknown"`` for a package that is not installed."""
    try:
        return metadata.version("neurorobust")
    except metadata.PackageNotFoundError:
        return "unknown"


def places(cores: Mapping[str, Tensor], placement: Placement) -> dict[str, Any]:
    """Core and number of each neuron. Neurons beside a kernel that is held once have the core alone."""
    numbering = placement.numbering
    return {
        layer: {
            "core": own.tolist(),
            "neuron": numbering[layer].number.tolist() if len(numbering[layer].number) == len(own) else None,
        }
        for layer, own in cores.items()
    }


def dtype_of(network: Network) -> str:
    return str(next(network.parameters()).dtype).removeprefix("torch.")


def codec_entry(codec: Codec) -> dict[str, Any]:
    """Class and fields of a codec; a field may be a codec, too."""
    values = {field.name: getattr(codec, field.name) for field in fields(codec)}  # type: ignore[arg-type]
    return {"type": type(codec).__name__} | {
        name: codec_entry(value) if isinstance(value, Codec) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def check_size(shapes: Iterable[Sequence[int]]) -> None:
    """Raise ValueError for tensors that are too large together, however few synapses they have."""
    if (size := sum(map(math.prod, shapes))) > LARGEST:
        raise ValueError(f"parameters: have {size} places, absent synapses included; a file can hold {LARGEST}.")


def tensor_entry(value: Tensor) -> dict[str, Any]:
    return {
        "dtype": str(value.dtype).removeprefix("torch."),
        "shape": list(value.shape),
        "values": value.detach().cpu().reshape(-1).tolist(),
    }


def _parameter(name: str, programmed: Programmed) -> dict[str, Any]:
    """One parameter on the chip: codes where the chip holds codes, else values; of a weight, existing synapses only."""
    value, codes, mask = programmed.params[name], programmed.codes.get(name), programmed.placement.masks.get(name)
    numbers = value if codes is None else codes
    entry: dict[str, Any] = {"shape": list(value.shape)}
    if kind_of(name) == "weight" and mask is not None:
        rows, columns = mask.reshape(len(mask), -1).cpu().nonzero(as_tuple=True)
        entry |= {"rows": rows.tolist(), "columns": columns.tolist()}
        numbers = numbers.reshape(len(mask), -1)[rows, columns]
    return entry | {"values" if codes is None else "codes": numbers.detach().reshape(-1).tolist()}


def canonical(entry: Mapping[str, Any]) -> str:
    """The text of a JSON object that its digest is of: sorted keys, no spaces, ASCII."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write(path: Path, entry: Mapping[str, Any], noun: str = "deployment") -> Path:
    """Write a JSON file with its digest, atomically; ``noun`` says what it is, for errors.

    Raises:
        ValueError: it would be larger than 32 MiB, or a value is NaN or infinite. OSError: it cannot be written.
    """
    sealed = {**entry, digests.KEY: digests.of_bytes(canonical(entry).encode())}
    text = canonical(sealed) + "\n"
    if len(text) > LARGEST:
        raise ValueError(f"{path}: the {noun} takes {len(text)} bytes; a file has at most {LARGEST} (32 MiB).")
    if path.is_dir():
        raise OSError(f"{path}: is a folder; choose the name of a file, such as {str(path / 'net.json')!r}.")
    if not path.parent.is_dir():
        raise OSError(f"{path}: there is no folder {str(path.parent)!r}; make it, or choose another path.")
    try:
        files.write_text(path, text)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error}); choose another path.") from error
    return path
