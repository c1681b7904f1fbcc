"""Recurrent LIF neurons in Brian 2, forward: a network as JSON in a line, then a run for every further line.

    .venv-oracles/bin/python benchmarks/oracles/forward_brian.py numpy

The argument is Brian's target, numpy or cython. Answers in lines: {"built": s}, then {"seconds": s, "processor": s,
"spikes": n} of each run over all samples, ``at_once`` of them side by side, from rest. What Brian does before the first
step is not in the time. See :mod:`benchmarks.speed.simulators` for the network.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from lines import events_of, serve  # type: ignore[import-not-found]  # the script beside this one

EQUATIONS = """
dv/dt = (r*s - v)/tau_mem : 1
ds/dt = -s/tau_syn : 1
"""


def build(given: dict[str, Any], target: str) -> Callable[[], dict[str, float]]:
    import brian2 as b
    import numpy as np

    b.BrianLogger.suppress_hierarchy("brian2")
    b.prefs.codegen.target = target
    dt, n, n_in, copies = given["dt"] * b.second, given["n"], given["n_in"], given["at_once"]
    b.defaultclock.dt = dt
    constants = {"r": given["r"], "tau_mem": given["tau_mem"] * b.second, "tau_syn": given["tau_syn"] * b.second}
    group = b.NeuronGroup(
        copies * n, EQUATIONS, threshold="v > 1", reset="v = 0", method="exact", namespace=constants, name="neurons"
    )
    inputs = b.SpikeGeneratorGroup(copies * n_in, [], [] * b.second)
    parts = [group, inputs]
    for source, size, name in ((inputs, n_in, "input"), (group, n, "recurrent")):
        weights = given[name]
        synapses = b.Synapses(source, group, "w : 1", on_pre="s_post += w", name=f"synapses_{name}")
        before, after = np.array(weights["source"]), np.array(weights["target"])
        every = np.arange(copies)[:, None]
        synapses.connect(i=(every * size + before).ravel(), j=(every * n + after).ravel())
        synapses.w = np.tile(weights["weight"], copies)
        parts.append(synapses)
    counter = b.SpikeMonitor(group, record=False)
    moments: list[tuple[float, float]] = []

    def watch() -> None:
        moments.append((time.perf_counter(), time.process_time()))

    begins, ends = (b.NetworkOperation(watch, when=when) for when in ("before_start", "after_end"))
    network = b.Network(*parts, counter, begins, ends)
    network.store()
    chunks = events_of(given)

    def run() -> dict[str, float]:
        found = {"seconds": 0.0, "processor": 0.0, "spikes": 0}
        for sources, steps in chunks:
            network.restore()
            inputs.set_spikes(sources, steps * dt)
            moments.clear()
            network.run((given["steps"] + 1) * dt)  # an event acts on the step after it
            (began, busy), (ended, busy_then) = moments[0], moments[-1]
            found["seconds"] += ended - began
            found["processor"] += busy_then - busy
            found["spikes"] += int(counter.num_spikes)
        return found

    return run


if __name__ == "__main__":
    serve(lambda given: build(given, sys.argv[1]))
