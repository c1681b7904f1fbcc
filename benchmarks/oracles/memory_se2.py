"""The connectivity of images of DYNAP-SE2 as rockpool reads it: JSON on stdin, weights on stdout.

    .venv-oracles/bin/python benchmarks/oracles/memory_se2.py < images.json

Input: {"images": […]}, the contents of image files. rockpool's ``MemorySE2`` reads tags, cores and masks from a
stand-in of samna's configuration. What it needs: every neuron has a synapse from a channel and one from a neuron, and
is heard; no tag is of two sources. Entries for the host are left out: to rockpool a monitored neuron has one tag. A
destination of a second chip, which reaches nobody, has the last tag: rockpool's search fails for tags beyond the last.

Output: of every image the address (chip, core, number) of each column, the tags of the rows, masks and codes of
dendrites; its biases through rockpool's bias generator; and what that generator reaches.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

CHIPS, CORES, NEURONS, LAST_TAG = 2, 4, 256, 2047
CODES = {"AMPA": 1024, "GABA": 512, "NMDA": 256, "SHUNT": 128}


def configuration(image: Mapping[str, Any], dendrite: type) -> SimpleNamespace:
    """Chips of cores of neurons with synapses and destinations."""
    chips = [
        SimpleNamespace(
            cores=[
                SimpleNamespace(neurons=[SimpleNamespace(synapses=[], destinations=[]) for _ in range(NEURONS)])
                for _ in range(CORES)
            ]
        )
        for _ in range(CHIPS)
    ]
    for neuron in image["neurons"]:
        there = chips[0].cores[neuron["core"]].neurons[neuron["number"]]
        there.synapses = [
            SimpleNamespace(
                tag=entry["tag"],
                weight=[bool(entry["mask"] >> k & 1) for k in range(4)],
                dendrite=dendrite(CODES[entry["dendrite"]]),
                stp=False,
                precise_delay=False,
                mismatched_delay=False,
            )
            for entry in neuron["cam"]
        ]
        there.destinations = [_destination(**each) for each in neuron["sram"] if each["x_hop"] == each["y_hop"] == 0]
    chips[1].cores[0].neurons[0].destinations = [_destination(LAST_TAG, 1, 7, 7)]
    return SimpleNamespace(chips=chips)


def _destination(tag: int, cores: int, x_hop: int, y_hop: int) -> SimpleNamespace:
    mask = [bool(cores >> core & 1) for core in range(CORES)]
    return SimpleNamespace(tag=tag, core=mask, x_hop=x_hop, y_hop=y_hop)


def read(image: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of an image."""
    from rockpool.devices.dynapse.dynapsim_net.from_config.memory import MemorySE2
    from rockpool.devices.dynapse.samna_alias import Dendrite

    columns: list[Any] = []
    rows: list[Any] = []

    class Recording(MemorySE2):
        """MemorySE2 that notes which neuron a column is, and which tag a row."""

        def get_post_idx_map(self, *locations: Any) -> Any:
            found = super().get_post_idx_map(*locations)
            columns.extend(sorted(found, key=found.get))
            return found

        def fill_weight_matrix(self, shape: Any, synapses: Any, *others: Any) -> Any:
            rows.append([int(tag) for tag in {synapse.tag for synapse in synapses}])
            return super().fill_weight_matrix(shape, synapses, *others)

    spec = Recording().spec_from_config(configuration(image, Dendrite))
    return {
        "columns": [MemorySE2.decode_hash(location) for location in columns],
        "core_map": [[int(part) for part in each] for each in spec["core_map"]],
        "tags_in": rows[0],
        "tags_rec": rows[1],
        **{name: spec[name].tolist() for name in ("weights_in", "dendrites_in", "weights_rec", "dendrites_rec")},
    }


def biases() -> dict[str, Any]:
    """Of every bias: its name on the device, and the smallest and the largest current of the bias generator, A."""
    from rockpool.devices.dynapse.lookup import scale_factor_se2
    from rockpool.devices.dynapse.lookup.parameter_name import sim2device_se2
    from rockpool.devices.dynapse.parameters.biasgen import digital_to_analog

    found = {}
    for name, device in sim2device_se2.items():
        currents = [
            float(digital_to_analog(coarse, fine, scale_factor_se2[device], device[-1]))
            for coarse in range(6)
            for fine in range(256)
        ]
        found[name] = [device, min(current for current in currents if current > 0), max(currents)]
    return found


def codes(image: Mapping[str, Any]) -> dict[str, Any]:
    """Every bias through the bias generator and back: by name and core, A."""
    from rockpool.devices.dynapse.lookup import scale_factor_se2
    from rockpool.devices.dynapse.lookup.parameter_name import sim2device_se2
    from rockpool.devices.dynapse.parameters.biasgen import analog_to_param, digital_to_analog

    found = {}
    for core, currents in image["cores"].items():
        for name, current in currents.items():
            device = sim2device_se2[name]
            coarse, fine = analog_to_param(device, current)
            reached = digital_to_analog(coarse, fine, scale_factor_se2[device], device[-1])
            found[f"{name} {core}"] = [int(coarse), int(fine), float(reached)]
    return found


def main() -> None:
    images = json.load(sys.stdin)["images"]
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    answer = {"read": [read(image) for image in images], "codes": [codes(image) for image in images]}
    json.dump(answer | {"biases": biases()}, sys.stdout)


if __name__ == "__main__":
    main()
