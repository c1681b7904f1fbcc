"""Exported scripts, as they are, in PyNN on NEST: JSON on stdin, spikes on stdout.

    .venv-oracles/bin/python benchmarks/oracles/pynn_nest.py < given.json

Input: {"runs": [{"folder": …, "x": (T, channels)}, …]}. Output: {"spikes": […]}, of every run by population the pairs
(step, neuron), one for each spike.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def run(sim: Any, folder: Path, x: Any) -> dict[str, list[list[int]]]:
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    assert spec is not None and spec.loader is not None
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)
    data = network.load()
    sim.setup(**network.settings(data))
    populations = network.build(sim, data)
    network.stimulate(populations, data, x)
    names = network.names(data)[1:]
    for name in names:
        populations[name].record("spikes")
    sim.run(network.duration(data, len(x)))
    found = {}
    for name in names:
        counts = network.steps(data, name, populations[name].get_data().segments[0].spiketrains, len(x))
        pairs = np.argwhere(counts)
        found[name] = np.repeat(pairs, counts[tuple(pairs.T)], axis=0).tolist()
    sim.end()
    return found


def main() -> None:
    import nest
    import pyNN.nest as sim

    nest.verbosity = nest.VerbosityLevel.ERROR
    warnings.simplefilter("ignore")
    given = json.load(sys.stdin)
    spikes = [run(sim, Path(each["folder"]), np.array(each["x"])) for each in given["runs"]]
    print(json.dumps({"spikes": spikes}))


if __name__ == "__main__":
    main()
