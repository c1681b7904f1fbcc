"""Why two of 20 networks differ from DynapSim: its equations in steps of its own size, and of a quarter of it.

    make oracles
    python -m benchmarks.dynapsim_steps

DynapSim takes Euler's steps of 5 µs. Here are its equations, written from its description in float64, for steps of any
size; delays, refractory times and events stay where they are. With steps of 5 µs they give DynapSim's spikes, with
smaller ones those of the circuit in continuous time: so the difference is the error of the steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.circuit_oracles import DYNAPSIM_DT, T, excitatory, oracle
from neurorobust.circuit import simulate

NETWORKS, SIZE = 20, 5
Spikes = tuple[np.ndarray, np.ndarray]
"""Times, s, and neurons."""


def in_steps(given: dict[str, Any], parts: int = 1) -> Spikes:
    """DynapSim's equations for what :func:`excitatory` gives it, each of its steps in some parts::

        I_syn ← I_syn e^(−h/τ_s) + (1 − e^(−t_pulse/τ_s)) max(I_0/parts, (I_gain_s/I_τ_s) I_w)
        I_in = max(I_0, I_syn − I_l + I_dc), without the sum in the refractory time        I_l = I_τ + I_0
        I_mem ← max(I_0, I_mem + h I_mem/(τ (I_mem + I_gain)) ((I_gain/I_τ)(I_in − I_l) + f − I_mem (1 + I_0/I_τ)))
        f = I_0 (I_mem/I_0)^(κ/(κ + 1)) (I_mem + I_gain)/I_l        τ = C_mem U_T/(κ I_l)

    A spike is noted with the time of the step that it ends, and arrives one step of DynapSim later.
    """
    a, h, i_0 = given["arguments"], DYNAPSIM_DT / parts, T.i_0
    weights_in, weights_rec = np.array(given["weights_in"]), np.array(given["weights_rec"])
    n, leak = weights_in.shape[1], a["Itau_mem"] + i_0
    tau_syn = float(T.tau(T.c_syn, np.array(a["Itau_syn"])))
    pulse = T.charge_time(T.c_pulse, np.array(a["Ipulse"]))
    refractory = float(T.charge_time(T.c_ref, np.array(a["Iref"])))
    pace = h / float(T.tau(T.c_mem, np.array(leak)))
    decay, charge = np.exp(-h / tau_syn), -np.expm1(-pulse / tau_syn)
    gain_syn, gain = a["Igain_syn"] / a["Itau_syn"] * a["Iscale"], a["Igain_mem"]
    power = T.kappa / (T.kappa + 1)
    arriving = [np.zeros(n)] * (given["steps"] * parts + parts + 1)
    for step, channel in zip(given["event_steps"], given["event_channels"]):
        arriving[step * parts] = arriving[step * parts] + weights_in[channel]
    syn, mem, held = np.full(n, i_0), np.full(n, i_0), np.zeros(n)
    times, neurons = [], []
    for k in range(given["steps"] * parts):
        syn = syn * decay + charge * np.maximum(i_0 / parts, gain_syn * arriving[k])
        drive = np.maximum(i_0, np.where(held > 0, 0.0, syn - leak + a["Idc"]))
        feedback = i_0 * (mem / i_0) ** power * (mem + gain) / leak
        change = gain / a["Itau_mem"] * (drive - leak) + feedback - mem * (1 + i_0 / a["Itau_mem"])
        mem = np.maximum(i_0, mem + pace * mem / (mem + gain) * change)
        held = np.maximum(0.0, held - h)
        fired = np.flatnonzero(mem > a["Ispkthr"])
        if len(fired):
            mem[fired], held[fired] = i_0, refractory
            arriving[k + parts] = arriving[k + parts] + weights_rec[fired].sum(0)
            times += [k * h] * len(fired)
            neurons += fired.tolist()
    return np.array(times), np.array(neurons)


def same(a: Spikes, b: Spikes) -> tuple[int, float]:
    """Networks in which every neuron has the same number of spikes in both, and the largest difference of times among
    those, s."""
    networks, largest = 0, 0.0
    for first in range(0, NETWORKS * SIZE, SIZE):
        pairs = [tuple(np.sort(times[ids == i]) for times, ids in (a, b)) for i in range(first, first + SIZE)]
        if all(len(x) == len(y) for x, y in pairs):
            networks += 1
            largest = max([largest, *(float(np.abs(x - y).max()) for x, y in pairs if len(x))])
    return networks, largest


def main() -> None:
    circuit, events, given = excitatory(0.3)
    exact = simulate(circuit, events, 0.3, tolerance=1e-8)
    answer = oracle("dynapsim", given)
    theirs = np.array(answer["steps"]) * DYNAPSIM_DT, np.array(answer["neurons"])
    print("| its equations in steps of | spikes | networks as DynapSim's | as in continuous time |\n|---|---|---|---|")
    for parts in (1, 2, 4):
        found = in_steps(given, parts)
        cells = (same(found, other) for other in (theirs, (exact.times, exact.neurons)))
        shown = " | ".join(f"{networks} of {NETWORKS}, at most {1e3 * off:.2f} ms" for networks, off in cells)
        print(f"| {1e6 * DYNAPSIM_DT / parts:g} µs | {len(found[0])} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
