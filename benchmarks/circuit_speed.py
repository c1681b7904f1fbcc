"""Speed and convergence of the simulator of circuits.

    python -m benchmarks.circuit_speed

A feed-forward layer of 256 neurons of the threshold type with adaptation, 60 synapses each, for 1 s. For each
tolerance: CPU time, steps, and the spikes that are in the run with half the tolerance within 0.1 ms.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.circuit_oracles import AMPA, GABA, T_REF, T, dendrite
from neurorobust.circuit import Circuit, Events, Neurons, Recording, Synapses, simulate

N, FAN_IN, CHANNELS, RATE, DURATION = 256, 60, 64, 10.0, 1.0
NEAR = 1e-4  # s


def layer() -> tuple[Circuit, Events]:
    generator = np.random.default_rng(0)
    i_tau = float(T.current(T.c_mem, np.array(20e-3)))
    i_ahp = float(T.current(T.c_ahp, np.array(0.1)))
    target = np.repeat(np.arange(N), FAN_IN)
    source = generator.integers(0, CHANNELS, len(target))
    circuit = Circuit(
        neurons=Neurons(
            n=N, i_tau_mem=i_tau, i_gain_mem=1e-9, i_thr=100e-9, i_ref=T.c_ref * T.v_ref / T_REF, i_tau_ahp=i_ahp,
            i_gain_ahp=i_ahp, i_w_ahp=1e-7,
        ),
        dendrites={AMPA: dendrite(5e-3, 250.0), GABA: dendrite(5e-3, 250.0)},
        synapses=Synapses(
            source=source, target=target, dendrite=np.where(generator.random(len(target)) < 0.6, AMPA, GABA),
            weight=generator.lognormal(0.0, 0.5, len(target)) * 2e-9,
        ),
        n_channels=CHANNELS,
    )  # fmt: skip
    times = np.sort(generator.uniform(0, DURATION, round(CHANNELS * RATE * DURATION)))
    return circuit, Events(times, generator.integers(0, CHANNELS, len(times)))


def matched(run: Recording, finer: Recording) -> float:
    """The fraction of all spikes that the other run has within 0.1 ms."""
    near = 0
    for i in range(run.n):
        a, b = run.times[run.neurons == i], finer.times[finer.neurons == i]
        near += int((np.abs(a[:, None] - b) < NEAR).any(1).sum())
    return near / max(len(run.times), len(finer.times))


def main() -> None:
    print("| tolerance | CPU time | spikes | steps for each neuron | matched at half the tolerance |")
    print("|---" * 5 + "|")
    circuit, events = layer()
    simulate(circuit, events, DURATION)  # compiles
    for tolerance in (1e-4, 1e-5, 1e-6):
        seconds = []
        for _ in range(3):
            start = time.process_time()
            run = simulate(circuit, events, DURATION, tolerance=tolerance)
            seconds.append(time.process_time() - start)
        part = matched(run, simulate(circuit, events, DURATION, tolerance=tolerance / 2))
        print(
            f"| {tolerance:g} | {min(seconds):.3f} s | {len(run.times)} | {run.steps / N:.0f} | {100 * part:.2f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
