"""Networks on disk: a folder with ``model.safetensors`` (tensors) and ``config.json`` (everything else); no pickle.

``model.safetensors`` also carries the configuration it was saved with. It counts where ``config.json`` names another
``sha256``, so that a save which is stopped between the two files leaves one whole model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from . import discovery, files, neurons
from .connections import Linear
from .errors import check_finite, unknown
from .network import Network
from .params import kind_of
from .surrogate import Triangle

FORMAT = "neurorobust-network/1"


def save(network: Network, folder: str | Path, info: dict | None = None) -> Path:
    """Write a network; each file is whole or not there at all.

    Args:
        network: of the neurons that come with neurorobust.
        folder: made if missing.
        info: anything JSON can hold, kept under ``"info"``: task, chip, method, seed …

    Returns:
        The folder.
    """
    folder = files.folder(folder)
    layers = []
    for name, layer in network.layers().items():
        known = discovery.classes(neurons, neurons.Neuron)
        if known.get(type(layer).__name__) is not type(layer):
            raise unknown(f"network: neuron of layer {name!r}", type(layer).__name__, known)
        entry = {"name": name, "neuron": type(layer).__name__, "recurrent": layer.recurrent is not None}
        surrogate = getattr(layer, "surrogate", None)
        if surrogate is not None:
            if not isinstance(surrogate, Triangle):
                raise unknown(f"network: surrogate of layer {name!r}", type(surrogate).__name__, ["Triangle"])
            entry["triangle"] = asdict(surrogate)
        layers.append(entry)
    trained = [name for name, value in network.named_parameters() if value.requires_grad]
    config: dict[str, Any] = {
        "format": FORMAT,
        "dt": network.dt,
        "layers": layers,
        "trained": trained,
        "info": info or {},
    }
    with files.replacing(folder / "model.safetensors") as temporary:
        tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(tensors, temporary, metadata={"config": json.dumps(config)})
        config["sha256"] = _sha256(temporary)
    files.write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    return folder


def load(folder: str | Path) -> tuple[Network, dict]:
    """Read a network that :func:`save` wrote.

    Returns:
        The network and its ``info``.

    Raises:
        FileNotFoundError: a file is missing. ValueError: a file is truncated, foreign, or does not fit the other.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"model folder {str(folder)!r}: no {name}; expected a folder that neurorobust saved."
            )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "model.safetensors")
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            saved_with = (file.metadata() or {}).get("config")
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"model folder {str(folder)!r}: truncated or foreign file ({error}).") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"model folder {str(folder)!r}: config.json is not of format {FORMAT!r}.")
    if saved_with is not None and config.get("sha256") != _sha256(folder / "model.safetensors"):
        config = json.loads(saved_with)
    if problem := _problem(config):
        raise ValueError(f"model folder {str(folder)!r}: config.json: {problem}.")
    check_finite({name: value for name, value in tensors.items() if value.is_floating_point()})
    try:
        network = Network({entry["name"]: _layer(entry, tensors) for entry in config["layers"]}, config["dt"])
        network.load_state_dict(tensors)
        for name, value in network.named_parameters():
            value.requires_grad_(name in config["trained"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"model folder {str(folder)!r}: config.json and model.safetensors do not fit ({reason})."
        ) from error
    return network, config["info"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _problem(config: dict[str, Any]) -> str:
    """What is wrong with the types in a configuration; empty where nothing is."""
    if isinstance(config.get("dt"), bool) or not isinstance(config.get("dt"), (int, float)):
        return f"dt: got {config.get('dt')!r}; expected a number of seconds"
    for key, kind in (("layers", list), ("trained", list), ("info", dict)):
        if not isinstance(config.get(key), kind):
            return f"{key}: got {config.get(key)!r}; expected a {kind.__name__}"
    if not all(isinstance(name, str) for name in config["trained"]):
        return f"trained: got {config['trained']!r}; expected names of parameters"
    for entry in config["layers"]:
        types = {"name": str, "neuron": str, "recurrent": bool}
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), kind) for key, kind in types.items()):
            return f"layers: got {entry!r}; expected a name, a neuron and whether it is recurrent"
        if not isinstance(entry.get("triangle", {}), dict):
            return f"triangle: got {entry['triangle']!r}; expected its scale"
    return ""


def _layer(entry: dict, tensors: dict[str, torch.Tensor]) -> neurons.Neuron:
    """One layer, from its entry in the configuration and its tensors."""
    known = discovery.classes(neurons, neurons.Neuron)
    if entry["neuron"] not in known:
        raise unknown("config.json: neuron", entry["neuron"], known)
    own = {name.split(".", 1)[1]: value for name, value in tensors.items() if name.split(".", 1)[0] == entry["name"]}
    arguments: dict[str, Any] = {name: value for name, value in own.items() if "." not in name and name != "core"}
    for name in arguments:
        kind_of(name)
    if "triangle" in entry:
        arguments["surrogate"] = Triangle(**entry["triangle"])
    if entry["recurrent"]:
        arguments["recurrent"] = _connection("recurrent", own)
    return known[entry["neuron"]](_connection("input", own), core=own["core"], **arguments)


def _connection(part: str, own: dict[str, torch.Tensor]) -> Linear:
    return Linear(own[f"{part}.weight"], own.get(f"{part}.bias"), own[f"{part}.mask"])
