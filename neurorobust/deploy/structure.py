"""The structure of a network as text, for digests."""

from __future__ import annotations

import json
from typing import Any

from ..io.structure import decoders, layer_entry, name_of
from ..nn.installed import neuron_classes
from ..nn.network import Network


def structure_entry(network: Network) -> dict[str, Any]:
    """Classes, options, inputs and decoder of a network, as JSON values without tensors."""
    known = neuron_classes()
    return {
        "dt": network.dt,
        "layers": [layer_entry(name, layer, known) for name, layer in network.layers().items()],
        "inputs": {name: list(sources) for name, sources in network.inputs.items()},
        "decode": name_of("decode", network.decode, decoders()),
    }


def structure_of(network: Network) -> str:
    return json.dumps(structure_entry(network), sort_keys=True)
