"""Recurrent LIF neurons in NEST, forward, on one thread; as :mod:`forward_brian`, without its argument.

    .venv-oracles/bin/python benchmarks/oracles/forward_nest.py

``iaf_psc_exp``: a recurrent spike arrives a step later than in Brian and in ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lines import events_of, serve  # type: ignore[import-not-found]  # the script beside this one


def build(given: dict[str, Any]) -> Callable[[], dict[str, float]]:
    import nest
    import numpy as np

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    dt, n, n_in, copies = 1e3 * given["dt"], given["n"], given["n_in"], given["at_once"]
    nest.set(resolution=dt, local_num_threads=1)
    tau, tau_syn = 1e3 * given["tau_mem"], 1e3 * given["tau_syn"]
    silence = 40 * round(tau_syn / dt) * dt  # after a run, until no current is left: it cannot be set
    about = {
        "tau_m": tau, "C_m": tau / given["r"], "E_L": 0.0, "V_reset": 0.0, "V_th": float(np.nextafter(1, 2)),
        "t_ref": 0.0, "tau_syn_ex": tau_syn, "tau_syn_in": tau_syn, "V_m": 0.0,
    }  # fmt: skip
    neurons = nest.Create("iaf_psc_exp", copies * n, params=about)
    inputs = nest.Create("spike_generator", copies * n_in)
    every = np.arange(copies)[:, None]
    for first, size, name in ((inputs.tolist()[0], n_in, "input"), (neurons.tolist()[0], n, "recurrent")):
        before, after = (np.array(given[name][part]) for part in ("source", "target"))
        nest.Connect(
            (first + every * size + before).ravel(),
            (neurons.tolist()[0] + every * n + after).ravel(),
            "one_to_one",
            {"weight": np.tile(given[name]["weight"], copies), "delay": np.full(copies * len(before), dt)},
        )
    counter = nest.Create("spike_recorder")
    nest.Connect(neurons, counter)
    chunks = []
    for sources, steps in events_of(given):
        times: list[list[float]] = [[] for _ in range(copies * n_in)]
        for source, step in zip(sources, steps):
            times[source].append(dt * (step + 1))  # the earliest time that NEST takes is one step
        chunks.append([{"spike_times": sorted(own)} for own in times])

    def run() -> dict[str, float]:
        found = {"seconds": 0.0, "processor": 0.0, "spikes": 0}
        for times in chunks:
            inputs.set(times)
            inputs.origin = nest.biological_time
            neurons.V_m = 0.0
            counter.n_events = 0
            nest.Prepare()
            began, busy = time.perf_counter(), time.process_time()
            nest.Run(dt * (given["steps"] + 2))  # an event acts on the second step after it
            found["seconds"] += time.perf_counter() - began
            found["processor"] += time.process_time() - busy
            nest.Cleanup()
            found["spikes"] += int(counter.n_events)
            nest.Simulate(silence)
        return found

    return run


if __name__ == "__main__":
    serve(build)
