"""Recurrent layers in NEST's ``iaf_psc_delta``, written to NEST directly: JSON on stdin, spikes on stdout.

    .venv-oracles/bin/python benchmarks/oracles/nest_delta.py < networks.json

Input: {"dt": ms, "networks": […]}, of each network weights (n, channels), recurrent weights (n, n), and tau, r,
threshold, leak, reset, bias, (n,), and the events x, (T, channels), in the units of the network. An event jumps the
membrane by (1 − α) r w; a recurrent spike arrives one step later; v = threshold does not spike in the network.

Output: for every network the pairs (step, neuron) of its spikes. The first step must have no events: a spike source of
NEST has its first event at the end of it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np


def run(nest: Any, dt: float, network: dict[str, Any]) -> list[tuple[int, int]]:
    nest.ResetKernel()
    nest.resolution = dt
    tau, r, threshold, leak, reset, bias = (
        np.array(network[name]) for name in ("tau", "r", "threshold", "leak", "reset", "bias")
    )
    x = np.array(network["x"])
    gain = (1 - np.exp(-dt / tau)) * r
    neurons = nest.Create("iaf_psc_delta", len(tau))
    values = {
        "tau_m": tau,
        "C_m": tau,
        "E_L": leak,
        "V_th": np.nextafter(threshold, np.inf),
        "V_reset": reset,
        "t_ref": 0 * tau,
        "I_e": r * bias,
        "V_m": leak,
    }
    for k, neuron in enumerate(neurons):
        neuron.set({name: float(value[k]) for name, value in values.items()})
    sources = nest.Create("spike_generator", x.shape[1])
    for channel, source in enumerate(sources):
        source.spike_times = [dt * step for step in np.flatnonzero(x[:, channel])]
    for before, weights in ((sources, network["weight"]), (neurons, network["recurrent"])):
        synapse = {"weight": gain[:, None] * np.array(weights), "delay": dt}
        nest.Connect(before, neurons, "all_to_all", synapse)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Simulate(dt * (len(x) + 2))
    first = neurons.tolist()[0]
    events = recorder.events
    return [(round(time / dt) - 1, int(sender) - first) for time, sender in zip(events["times"], events["senders"])]


def main() -> None:
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    given = json.load(sys.stdin)
    print(json.dumps({"spikes": [run(nest, given["dt"], network) for network in given["networks"]]}))


if __name__ == "__main__":
    main()
