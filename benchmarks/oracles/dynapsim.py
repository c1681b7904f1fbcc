"""Excitatory circuits in rockpool's DynapSim: JSON on stdin, {"times": s, "neurons": …} on stdout.

    .venv-oracles/bin/python benchmarks/oracles/dynapsim.py < circuit.json

Input: the arguments of DynapSim, the input weights (n_channels, n) and the events, counted in its steps.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Any

import numpy as np


def main() -> None:
    given: dict[str, Any] = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    import jax

    jax.config.update("jax_enable_x64", True)
    from rockpool.devices.dynapse.simulation.dynapsim import DynapSim

    weights = np.array(given["weights_in"])
    steps = int(given["steps"])
    x = np.zeros((1, steps, weights.shape[1]))
    np.add.at(x[0], given["event_steps"], weights[given["event_channels"]])
    module = DynapSim(weights.shape[1], has_rec=True, w_rec=np.array(given["weights_rec"]), **given["arguments"])
    spikes = np.asarray(module(x)[0])[0]
    found = np.argwhere(spikes > 0)
    json.dump({"steps": found[:, 0].tolist(), "neurons": found[:, 1].tolist()}, sys.stdout)


if __name__ == "__main__":
    main()
