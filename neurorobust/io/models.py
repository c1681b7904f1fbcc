"""Networks on disk: a folder with ``model.safetensors`` (tensors) and ``config.json`` (everything else); no pickle.

Every bit of both files is checked. ``config.json`` holds the SHA-256 of ``model.safetensors``. That file holds a copy
of the configuration, with a digest of the tensors and of the copy. So it can also be checked alone: an interruption
between the two files leaves one complete model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from .._util import digests, files, strict
from .._util.description import FORMAT as DESCRIBED
from .._util.description import REMEDY, Description, comparable, describe, difference, moved, unknown_part
from .._util.errors import check_finite, check_path, reason, shown
from .._util.warn import warn
from ..nn.installed import neuron_classes
from ..nn.network import Network
from .placed import placement_entry, placement_problem, restore_placement
from .structure import decoders, layer_entry, layer_of, name_of, named

FORMAT = "neurorobust-network/2"
PLACED_FORMAT = "neurorobust-network/3"  # of an snnTorch network with its placement, which older readers would drop
PLACED = ("_placing", "_shapes")  # attributes that say where an snnTorch network is placed: saved apart
LOOKUP = KeyError, IndexError, AttributeError  # what a value of another type raises where it is used
LARGEST, PER_BYTE = 500 * 10**6, 10  # bytes that a packed network may need, and how many more for each byte of its file
COPIES = 4  # of the tensors of a packed network, while it is read
FIRST_FORMAT = "neurorobust-network/1"  # Linear connections in a row, Triangle, the default reset, mean over time


def save(network: nn.Module, folder: str | Path, info: dict | None = None, *, packed: bool = False) -> Path:
    """Write a network; each file is written atomically.

    Args:
        network: of installed neurons, or from :func:`neurorobust.wrap` or :func:`neurorobust.from_snntorch`, of which
            only the tensors are written, and where ``place`` put the neurons.
        folder: made if missing.
        info: anything JSON can hold, kept under ``"info"``: task, chip, method, seed …
        packed: leave out absent synapses and write masks as bits, without loss.

    Returns:
        The folder.

    Raises:
        ValueError: a parameter or buffer that the file cannot hold, such as a sparse tensor, by name; a network that is
            too large and too sparse for ``packed``.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = nr.save(nr.wrap(nn.Linear(6, 2)), mkdtemp(), {"task": "mine"})
        >>> sorted(path.name for path in folder.iterdir())
        ['config.json', 'model.safetensors']
    """
    info = _checked_info(info)
    for name, value in _tensors(network).items():
        _check_storable(name, value)
    folder = files.make_folder(folder)
    trained = [name for name, value in network.named_parameters() if value.requires_grad]
    config: dict[str, Any] = {"format": FORMAT, "trained": trained, "info": info}
    if isinstance(network, Network):
        known = neuron_classes()
        config |= {
            "dt": network.dt,
            "layers": [layer_entry(name, layer, known) for name, layer in network.layers().items()],
            "inputs": {name: list(sources) for name, sources in network.inputs.items()},
            "decode": name_of("decode", network.decode, decoders()),
        }
    else:
        config["module"] = type(network).__name__
        config["dt"] = getattr(network, "dt", None)
        config |= {"described": DESCRIBED, "options": _options_of(network)}
        if (placed := placement_entry(network)) is not None:
            config |= {"format": PLACED_FORMAT, "placement": placed}
    tensors = {name: value.detach().clone().contiguous() for name, value in _tensors(network).items()}
    if packed:
        tensors, config["packed"] = _packed(tensors)
    _write(folder, config, tensors)
    return folder


def _checked_info(info: Any) -> dict:
    """A dictionary that JSON can hold; TypeError or ValueError with the first entry that it cannot."""
    if not isinstance(info, dict | None):
        raise TypeError(f"info: got {shown(info)} ({type(info).__name__}); expected a dictionary, {{'task': 'mine'}}.")
    for key, value in (info or {}).items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise type(error)(f"info[{key!r}]: {reason(error)}; expected what JSON can hold.") from error
    return info or {}


def load(folder: str | Path, into: nn.Module | None = None) -> tuple[Any, dict]:
    """Read a network that :func:`save` wrote.

    Args:
        folder: the model folder.
        into: for a wrapped module or an snnTorch network, a network made in the same way: the same classes, options
            and functions. Its tensors are overwritten. If the saved network was placed, it is placed in the same way.
            A folder without a placement leaves that of this network as it is.

    Returns:
        The network and its ``info``.

    Raises:
        FileNotFoundError: a file is missing. ValueError: a file is damaged, truncated or foreign, the two do not fit
            each other, or ``into`` is another network or is placed in another way.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = mkdtemp()
        >>> network, info = nr.zoo.load("ecg_dpi/standard")
        >>> _ = nr.save(network, folder, info)
        >>> again, info = nr.load(folder)
        >>> info["method"], torch.equal(again.hidden.tau_mem, network.hidden.tau_mem)
        ('standard', True)
    """
    config, tensors = _read(check_path("folder", folder))
    if "module" in config:
        if into is not None and getattr(into, "dt", None) != config.get("dt"):
            raise ValueError(
                f"into: has dt {getattr(into, 'dt', None)}; {str(folder)!r} was saved at {config.get('dt')}."
            )
        if into is not None:
            _check_options(into, config, str(folder))
        return _overwritten(into, tensors, config, str(folder)), config["info"]
    if into is not None:
        raise ValueError(f"into: model folder {str(folder)!r} holds a whole network; leave it out.")
    try:
        check_finite({name: value for name, value in tensors.items() if value.is_floating_point()})
        if config["format"] == FIRST_FORMAT:
            config = _upgraded(config)
        known = neuron_classes()
        layers = {entry["name"]: layer_of(entry, tensors, known) for entry in config["layers"]}
        decode = named("decode", config["decode"], decoders())
        network = Network(layers, config["dt"], config["inputs"], decode)
        network.load_state_dict(tensors)
        for name, value in network.named_parameters():
            value.requires_grad_(name in config["trained"])
    except (*LOOKUP, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        words = reason(error)
        raise ValueError(
            f"model folder {str(folder)!r}: config.json and model.safetensors do not fit ({words})."
        ) from error
    return network, config["info"]


def read_info(folder: str | Path) -> tuple[dict, bool]:
    """The ``info`` of a model folder, and whether its network is foreign: a wrapped module or an snnTorch network, of
    which only the tensors are stored."""
    config, _ = _read(Path(folder))
    return config["info"], "module" in config


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write the two files of a model folder, the tensors first."""
    text = json.dumps(config)
    try:
        strict.check_text(text)
    except ValueError as error:
        raise ValueError(f"info: the configuration of the network {error}.") from error
    config = config | {"digest": digests.of_tensors(tensors, text)}
    with files.replacing(folder / "model.safetensors") as temporary:
        with files.written_by(SafetensorError, folder / "model.safetensors"):
            safetensors.save_file(tensors, temporary, metadata={"config": json.dumps(config)})
        sha256 = digests.of_file(temporary)
    files.write_text(folder / "config.json", json.dumps(config | {"sha256": sha256}, indent=2) + "\n")


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors of a model folder: complete, as they were saved, and of the right types."""
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"model folder {str(folder)!r}: no {name}; expected a folder that nr.save or `neurorobust train` wrote "
                f"(nr.fit alone keeps a checkpoint there, not a model)."
            )
    written = _parsed(folder / "config.json", _json)
    saved = _parsed(folder / "model.safetensors", _saved)
    if not isinstance(written, dict) or written.get("format") not in (FORMAT, PLACED_FORMAT, FIRST_FORMAT):
        raise ValueError(f"model folder {str(folder)!r}: config.json is not of format {FORMAT!r}.")
    try:
        config, tensors = _checked(str(folder), written, saved), saved.tensors
    except RecursionError as error:
        raise ValueError(f"model folder {str(folder)!r}: config.json is nested too deeply.") from error
    if problem := _problem(config):
        raise ValueError(f"model folder {str(folder)!r}: config.json: {problem}.")
    try:
        return config, _unpacked(tensors, config.get("packed", {}))
    except (*LOOKUP, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ValueError(
            f"model folder {str(folder)!r}: config.json and model.safetensors do not fit: packed: {reason(error)}."
        ) from error


class _Saved(NamedTuple):
    """The content of ``model.safetensors``, the copy of the configuration included, and the digest of the file."""

    tensors: dict[str, Tensor]
    config: Any
    sha256: str

    def whole(self) -> bool:
        """Whether tensors and configuration are those that were saved; False for a file of an earlier version."""
        if not isinstance(self.config, dict):
            return False
        config = {key: value for key, value in self.config.items() if key != "digest"}
        return self.config.get("digest") == digests.of_tensors(self.tensors, json.dumps(config))


def _saved(data: bytes) -> _Saved:
    """The content of a safetensors file: 8 bytes n, little-endian, n bytes of JSON, the tensors."""
    header = data[8 : 8 + int.from_bytes(data[:8], "little")].decode("utf-8", "replace")
    strict.check_text(header)
    tensors = safetensors.load(data)
    texts = json.loads(header).get("__metadata__") or {}
    return _Saved(tensors, json.loads(texts.get("config", "null")), digests.of_bytes(data))


def _json(data: bytes) -> Any:
    """The value of a JSON text that is small enough to be parsed."""
    strict.check_text(data.decode())
    return json.loads(data)


def _parsed(path: Path, parse: Callable[[bytes], Any]) -> Any:
    """The content of a file of a model folder."""
    data = path.read_bytes()
    try:
        return parse(data)
    except Exception as error:  # a parser that meets damage raises more than it documents
        words = f"{type(error).__name__}: {reason(error)}"
        raise ValueError(
            f"model folder {str(path.parent)!r}: {path.name}: truncated or foreign file ({words})."
        ) from error


def _checked(folder: str, written: dict[str, Any], saved: _Saved) -> dict[str, Any]:
    """The configuration with which the tensors were saved; ``written`` is the content of ``config.json``.

    Raises:
        ValueError: a file is not the one that was saved.
    """
    if written.get("sha256") == saved.sha256:
        config = {key: value for key, value in written.items() if key != "sha256"}
        if json.dumps(config) != json.dumps(saved.config):
            raise ValueError(
                f"model folder {folder!r}: config.json is damaged or was edited: it differs from its copy inside "
                f"model.safetensors. Copy the folder again from where it is whole, or save the network again."
            )
        return config
    if saved.whole():
        return saved.config  # a save was stopped between the two files
    raise ValueError(
        f"model folder {folder!r}: model.safetensors is damaged or was edited: it has the SHA-256 "
        f"{saved.sha256[:12]}…, config.json says {str(written.get('sha256'))[:12]}…. Copy the folder again from where "
        f"it is whole, or save the network again."
    )


def _packed(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Masked weights as the values of existing synapses, masks as bits; and the shape of each such weight."""
    small, shapes = dict(tensors), {}
    for name, weight in tensors.items():
        mask_name = f"{name.removesuffix('weight')}mask"
        mask = tensors.get(mask_name)
        if name == mask_name or mask is None or mask.shape != weight.shape or weight[~mask].any():
            continue
        shapes[name] = list(weight.shape)
        small[name], small[mask_name] = weight[mask], torch.from_numpy(np.packbits(mask.numpy()))
    _check_dense(small, shapes)
    return small, shapes


def _unpacked(tensors: Mapping[str, Tensor], shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """The inverse of :func:`_packed`."""
    for name, shape in shapes.items():  # before anything of these shapes is made
        mask_name = f"{name.removesuffix('weight')}mask"
        if not all(type(n) is int and n >= 0 for n in shape):  # a list times a number would be a long list
            raise ValueError(f"{name} has the shape {shown(shape)}; expected whole numbers")
        if len(tensors[mask_name]) != -(-math.prod(shape) // 8):
            raise ValueError(f"{name} of shape {shown(shape)} has a mask of {len(tensors[mask_name])} bytes")
    _check_dense(tensors, shapes)
    whole = dict(tensors)
    for name, shape in shapes.items():
        mask_name = f"{name.removesuffix('weight')}mask"
        mask = np.unpackbits(tensors[mask_name].numpy(), count=math.prod(shape)).view(bool)
        if tensors[name].ndim != 1 or len(tensors[name]) != (synapses := int(np.count_nonzero(mask))):
            raise ValueError(
                f"{name} has shape {tuple(tensors[name].shape)}; expected the {synapses} synapses of its mask"
            )
        whole[mask_name] = torch.from_numpy(mask).reshape(shape)
        whole[name] = torch.zeros(shape, dtype=tensors[name].dtype).masked_scatter_(whole[mask_name], tensors[name])
    return whole


def _check_dense(tensors: Mapping[str, Tensor], shapes: Mapping[str, list[int]]) -> None:
    """Raise ValueError if a network of these packed tensors needs far more memory than they take."""
    size = sum(value.nbytes for value in tensors.values())
    needed = COPIES * sum(math.prod(shape) * (tensors[name].itemsize + 1) for name, shape in shapes.items())
    if needed > (most := LARGEST + PER_BYTE * size):
        raise ValueError(
            f"the weights and masks of {size} packed bytes take {needed} bytes of memory when they are read; expected "
            f"at most {most}, {LARGEST} and {PER_BYTE} times the packed ones. Save the network without packed=True, or "
            f"its synapses only: nr.save(nr.nn.packed(network), …)"
        )


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Every tensor of a network once; those of a foreign network by their names in this package."""
    seen: set[int] = set()
    once = {}
    for name, value in network.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            once[name] = value
        seen.add(id(value))
    return once


def _options_of(network: nn.Module) -> Description:
    """Everything in a foreign network that acts on its outputs, besides the tensors that are stored."""
    described = describe(network, options=True)
    return {path: text for path, text in described.items() if not path.startswith(PLACED)}


def _check_storable(name: str, value: Tensor) -> None:
    """Raise ValueError if ``model.safetensors`` cannot hold a tensor."""
    remedy = "or leave it out of the file with register_buffer(…, persistent=False), if the module makes it again"
    if value.layout != torch.strided:
        raise ValueError(
            f"network: {name} is a sparse tensor ({value.layout}), which model.safetensors cannot hold; keep it dense "
            f"(to_dense()), {remedy}."
        )
    try:
        safetensors.save({"x": torch.empty(0, dtype=value.dtype)})
        held = not value.is_meta and not value.is_quantized
    except (KeyError, RuntimeError, ValueError, TypeError):
        held = False
    if not held:
        raise ValueError(
            f"network: {name} is a {value.dtype} tensor on {value.device}, which model.safetensors cannot hold; "
            f"expected plain numbers, {remedy}."
        )


def _check_options(into: nn.Module, config: Mapping[str, Any], folder: str) -> None:
    """Raise ValueError if a network has other options than the saved one; warn of what cannot be compared."""
    here, stored = _options_of(into), config.get("options")
    if stored is None or config.get("described") != DESCRIBED:
        warn(
            f"into: {folder!r} was written by another version, which described options (resets, activations, "
            f"decode …) in another way or not at all, so they were not compared; save it again."
        )
        return
    compared = comparable(stored, here)
    if problem := difference(*compared):
        raise ValueError(f"into: {problem}, where 'there' is {folder!r}; {REMEDY}.")
    if place := moved(*compared):
        warn(
            f"into: {place} is another path than in {folder!r}; a path only says where something lies, so this is "
            f"taken, and what lies there was not compared."
        )
    if unclear := unknown_part(here) or unknown_part(stored):
        warn(f"into: a part was not compared with {folder!r}: {unclear}.")


def _overwritten(
    into: nn.Module | None, tensors: dict[str, Tensor], config: Mapping[str, Any], folder: str
) -> nn.Module:
    """A foreign network with these tensors, placed as the saved one was."""
    if into is None:
        raise ValueError(
            f"into: model folder {folder!r} holds the tensors of a foreign network, not its code; make the network in "
            f"the same way, with nr.wrap or nr.from_snntorch, and pass into=…"
        )
    own = _tensors(into)
    for name in [*tensors, *own]:
        here, there = (
            f"{tuple(place[name].shape)} {place[name].dtype}" if name in place else "not there"
            for place in (own, tensors)
        )
        if here != there:
            raise ValueError(f"into: {name} is {here} in this network, {there} in {folder!r}.")
    parameters = dict(into.named_parameters())
    check_finite({name: value for name, value in tensors.items() if name in parameters})
    if (placed := config.get("placement")) is not None:
        restore_placement(into, placed, folder)
    with torch.no_grad():
        for name, value in tensors.items():
            if not torch.equal(own[name], value.to(own[name].device)):  # a constant may be one number in memory
                own[name].copy_(value)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in config["trained"])
    return into


def _problem(config: dict[str, Any]) -> str:
    """The first wrong type in a configuration, as text; empty if there is none."""
    if "module" in config:
        options = config.get("options", {})
        if not isinstance(options, dict) or not all(isinstance(text, str) for text in options.values()):
            return f"options: got a {type(options).__name__}; expected texts by name"
        if "placement" in config and (problem := placement_problem(config["placement"])):
            return f"placement: {problem}"
        config = config | {"dt": 1.0, "layers": []}
    if isinstance(config.get("dt"), bool) or not isinstance(config.get("dt"), (int, float)):
        return f"dt: got {shown(config.get('dt'))}; expected a number of seconds"
    for key, kind in (("layers", list), ("trained", list), ("info", dict)):
        if not isinstance(config.get(key), kind):
            return f"{key}: got {shown(config.get(key))}; expected a {kind.__name__}"
    if not isinstance(config.get("inputs", {}), dict):
        return f"inputs: got {shown(config['inputs'])}; expected sources by layer"
    if not all(isinstance(name, str) for name in config["trained"]):
        return f"trained: got {shown(config['trained'])}; expected names of parameters"
    for entry in config["layers"]:
        types = {"name": str, "neuron": str}
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), kind) for key, kind in types.items()):
            return f"layers: got {shown(entry)}; expected a name and a neuron, at least"
    return ""


def _upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of the first format, converted to the present one."""
    linear, layers = {"type": "Linear"}, []
    for old in config["layers"]:
        entry = {"name": old["name"], "neuron": old["neuron"], "input": linear}
        if old["recurrent"]:
            entry["recurrent"] = linear
        if "triangle" in old:
            entry["surrogate"] = {"type": "Triangle", **old["triangle"]}
        layers.append(entry)
    return config | {"layers": layers, "inputs": {}, "decode": "mean_over_time"}
