"""The simulator of circuits against two that others wrote: Brian 2 and rockpool's DynapSim.

    make oracles
    python -m benchmarks.circuit_oracles

Prints the table and the line of docs/circuit.md. The other simulators run in ``.venv-oracles`` and talk through JSON.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from neurorobust.circuit import Circuit, Dendrite, DendriteType, Events, Neurons, Synapses, Technology, simulate
from neurorobust.circuit.simulation import jumps

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-oracles" / "bin" / "python"
T = Technology()
AMPA, GABA, SHUNT = DendriteType.AMPA, DendriteType.GABA, DendriteType.SHUNT
T_REF = 2e-3
BRIAN_DT, DYNAPSIM_DT = 2e-5, 5e-6
SHUNT_PART = 0.05  # of the weight of a GABA synapse: the rates fall by 13 to 27 %
INPUT_RATES = (10.0, 20.0, 40.0, 60.0, 80.0, 120.0)  # Hz per channel


def oracle(script: str, given: dict[str, Any]) -> dict[str, Any]:
    """The answer of a script of benchmarks/oracles."""
    path = ROOT / "benchmarks" / "oracles" / f"{script}.py"
    done = subprocess.run(
        [str(PYTHON), str(path)], input=json.dumps(given), capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise RuntimeError(f"{path}: ended with {done.returncode}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return answer


def dendrite(tau: float, gain: float = 100.0) -> Dendrite:
    i_tau = float(T.current(T.c_syn, np.array(tau)))
    return Dendrite(i_tau=i_tau, i_gain=gain * i_tau)


def sweep(feedback: bool, duration: float, size: int = 6, shunt: float = 0.0) -> tuple[Circuit, Events]:
    """One circuit of ``size`` neurons for every input rate, side by side: 12 channels, a third of all synapses is
    inhibitory, recurrence of both signs, adaptation. Events lie on Brian's steps.

    Args:
        shunt: not 0: every second inhibitory synapse is SHUNT, with this part of its weight.
    """
    generator = np.random.default_rng(7)
    source, target, kind, weight = [], [], [], []
    times, channels = [], []
    parts, n_in = len(INPUT_RATES), 12
    within = [(i, j, "in") for i in range(n_in) for j in range(size)]
    within += [(i, j, "rec") for i in range(size) for j in range(size) if i != j]
    kinds = np.where(generator.random(len(within)) < 0.67, AMPA, GABA)
    weights = generator.lognormal(0.0, 0.4, len(within)) * 6e-9
    if shunt:
        chosen = np.flatnonzero(kinds == GABA)[::2]
        kinds[chosen], weights[chosen] = SHUNT, shunt * weights[chosen]
    for part, rate in enumerate(INPUT_RATES):
        for (i, j, where), each, size_of in zip(within, kinds, weights):
            source.append(part * n_in + i if where == "in" else parts * n_in + part * size + i)
            target.append(part * size + j)
            kind.append(each)
            weight.append(size_of * (1.0 if where == "in" else 0.5))
        for i in range(n_in):
            steps = np.unique(generator.integers(1, round(duration / BRIAN_DT), generator.poisson(rate * duration)))
            times += (steps * BRIAN_DT).tolist()
            channels += [part * n_in + i] * len(steps)
    order = np.argsort(times, kind="stable")
    i_tau = float(T.current(T.c_mem, np.array(20e-3)))
    i_ahp = float(T.current(T.c_ahp, np.array(0.1)))
    neurons = Neurons(
        n=parts * size, i_tau_mem=i_tau, i_gain_mem=4 * i_tau, i_thr=20 * 4 * i_tau, i_ref=T.c_ref * T.v_ref / T_REF,
        feedback=feedback, i_tau_ahp=i_ahp, i_gain_ahp=i_ahp, i_w_ahp=1e-7,
    )  # fmt: skip
    circuit = Circuit(
        neurons=neurons,
        dendrites={AMPA: dendrite(5e-3), GABA: dendrite(8e-3), SHUNT: dendrite(10e-3)},
        synapses=Synapses(
            source=np.array(source), target=np.array(target), dendrite=np.array(kind), weight=np.array(weight)
        ),
        n_channels=parts * n_in,
    )
    return circuit, Events(np.array(times)[order], np.array(channels)[order])


def as_json(circuit: Circuit, events: Events, duration: float) -> dict[str, Any]:
    """A circuit as benchmarks/oracles/brian_dpi.py takes it: currents in pA."""
    c, s, pico = circuit.neurons, circuit.synapses, 1e12
    tau_ahp = T.tau(T.c_ahp, c.i_tau_ahp)
    step = -np.expm1(-T.charge_time(T.c_pulse, c.i_pulse_ahp) / tau_ahp) * c.i_gain_ahp / c.i_tau_ahp * c.i_w_ahp
    jump = jumps(circuit) * pico
    outside = s.source < circuit.n_channels
    synapses = {}
    for name, kind in (("ampa", AMPA), ("gaba", GABA), ("shunt", SHUNT)):
        for where, here in (("channels", outside), ("neurons", ~outside)):
            chosen = here & (s.dendrite == kind)
            first = 0 if where == "channels" else circuit.n_channels
            synapses[f"{name} {where}"] = {
                "source": (s.source[chosen] - first).tolist(),
                "target": s.target[chosen].tolist(),
                "jump": jump[chosen].tolist(),
            }
    return {
        "dt": BRIAN_DT, "duration": duration, "I_0": T.i_0 * pico, "kappa": T.kappa, "n_channels": circuit.n_channels,
        "I_gain": (c.i_gain_mem * pico).tolist(), "I_tau": (c.i_tau_mem * pico).tolist(),
        "I_thr": (c.i_thr * pico).tolist(), "I_dc": (c.i_dc * pico).tolist(), "step": (step * pico).tolist(),
        "feedback": c.feedback.astype(float).tolist(), "tau": T.tau(T.c_mem, c.i_tau_mem).tolist(),
        "tau_ampa": T.tau(T.c_syn, circuit.dendrites[AMPA].i_tau).tolist(),
        "tau_gaba": T.tau(T.c_syn, circuit.dendrites[GABA].i_tau).tolist(), "tau_ahp": tau_ahp.tolist(),
        "tau_shunt": T.tau(T.c_syn, circuit.dendrites[SHUNT].i_tau).tolist(),
        "t_ref": T.charge_time(T.c_ref, c.i_ref).tolist(), "synapses": synapses,
        "event_times": events.times.tolist(), "event_channels": events.channels.tolist(),
    }  # fmt: skip


def against_brian(
    feedback: bool, duration: float, script: str = "brian_dpi", shunt: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean rate of the neurons, Hz, for every input rate: ours and Brian's."""
    circuit, events = sweep(feedback, duration, shunt=shunt)
    ours = simulate(circuit, events, duration, tolerance=1e-5).counts()
    theirs = np.bincount(oracle(script, as_json(circuit, events, duration))["neurons"], minlength=len(ours))
    shape = len(INPUT_RATES), -1
    return ours.reshape(shape).mean(1) / duration, theirs.reshape(shape).mean(1) / duration


def excitatory(duration: float, networks: int = 20, size: int = 5) -> tuple[Circuit, Events, dict[str, Any]]:
    """Networks of exponential neurons, side by side, as ours and as DynapSim's arguments.

    DynapSim differs from the published equation: its input loses the leak once more, and its adaptation never falls
    below I_0. A direct current of I_τ + I_0 makes up for the first. The second makes the leak I_τ' = I_τ + I_0: ours
    gets that, C_mem I_τ/I_τ' and a smaller I_0 in the feedback. Its spikes arrive one step later.
    """
    generator = np.random.default_rng(11)
    n, n_in = networks * size, networks * 3
    block = np.kron(np.eye(networks), np.ones((size, size))) - np.eye(n)
    weights_in = np.kron(np.eye(networks), np.ones((3, size))) * generator.uniform(0.5, 2.0, (n_in, n))
    weights_rec = block * generator.uniform(0.0, 0.3, (n, n))
    steps = round(duration / DYNAPSIM_DT)
    times = np.sort(generator.integers(0, steps, round(n_in * 60 * duration)))
    channels = generator.integers(0, n_in, len(times))
    i_tau = float(T.current(T.c_mem, np.array(5e-3)))
    i_syn = float(T.current(T.c_syn, np.array(10e-3)))
    leak, scale, i_gain, i_thr = i_tau + T.i_0, 10e-9, 4 * i_tau, 100e-9
    t_ref = (round(T_REF / DYNAPSIM_DT) + 0.5) * DYNAPSIM_DT
    smaller = T.i_0 * (i_tau / leak) ** (T.kappa + 1)
    technology = Technology(c_mem=T.c_mem * i_tau / leak, i_0=smaller)
    rows, columns = np.nonzero(weights_in)
    before, after = np.nonzero(weights_rec)
    circuit = Circuit(
        neurons=Neurons(
            n=n, i_tau_mem=leak, i_gain_mem=i_gain, i_thr=i_thr, i_ref=T.c_ref * T.v_ref / t_ref, feedback=True
        ),
        dendrites={AMPA: Dendrite(i_tau=i_syn, i_gain=100 * i_syn)},
        synapses=Synapses(
            source=np.concatenate([rows, n_in + before]),
            target=np.concatenate([columns, after]),
            dendrite=AMPA,
            weight=np.concatenate([weights_in[rows, columns], weights_rec[before, after]]) * scale,
            delay=np.concatenate([np.zeros(len(rows)), np.full(len(before), DYNAPSIM_DT)]),
        ),
        n_channels=n_in,
        technology=technology,
    )
    arguments = {
        "Idc": leak, "Igain_mem": i_gain, "Itau_mem": i_tau, "Ispkthr": i_thr, "Iref": T.c_ref * T.v_ref / t_ref,
        "Igain_syn": 100 * i_syn, "Itau_syn": i_syn, "Iscale": scale, "Ipulse": 35e-9, "dt": DYNAPSIM_DT,
        "Iw_ahp": T.i_0,
    }  # fmt: skip
    given = {
        "arguments": arguments, "weights_in": weights_in.tolist(), "weights_rec": weights_rec.tolist(),
        "steps": steps, "event_steps": times.tolist(), "event_channels": channels.tolist(),
    }  # fmt: skip
    return circuit, Events((times * DYNAPSIM_DT).astype(np.float64), channels), given


def against_dynapsim(duration: float) -> tuple[int, int, int, float]:
    """Spikes of ours and of DynapSim, networks in which every neuron has the same number of spikes in both, and the
    largest difference of times among those, s."""
    circuit, events, given = excitatory(duration)
    ours = simulate(circuit, events, duration, tolerance=1e-5)
    answer = oracle("dynapsim", given)
    times, ids = np.array(answer["steps"]) * DYNAPSIM_DT, np.array(answer["neurons"], dtype=int)
    same, largest = 0, 0.0
    for network in range(20):
        pairs = [(ours.times[ours.neurons == i], np.sort(times[ids == i])) for i in range(5 * network, 5 * network + 5)]
        if all(len(a) == len(b) for a, b in pairs):
            same += 1
            largest = max([largest, *(float(np.abs(a - b).max()) for a, b in pairs if len(a))])
    return len(ours.times), len(times), same, largest


def main() -> None:
    print("| neuron | " + " | ".join(f"{rate:g} Hz" for rate in INPUT_RATES) + " |")
    print("|---" * (1 + len(INPUT_RATES)) + "|")
    for name, feedback, script, shunt in (
        ("threshold", False, "brian_dpi", 0.0),
        ("exponential", True, "brian_dpi", 0.0),
        ("threshold, with shunt", False, "brian_dpi", SHUNT_PART),
        ("threshold, teili's equations", False, "brian_teili", 0.0),
        ("threshold, with shunt, teili's equations", False, "brian_teili", SHUNT_PART),
    ):
        ours, theirs = against_brian(feedback, 1.0, script, shunt)
        cells = [f"{a:.1f}, {b:.1f} ({100 * (a / b - 1):+.1f} %)" for a, b in zip(ours, theirs)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    mine, other, same, largest = against_dynapsim(0.3)
    print(
        f"\n{mine} spikes of ours, {other} of DynapSim; the same number in every neuron of {same} of 20 networks, "
        f"at most {1e3 * largest:.2f} ms apart"
    )


if __name__ == "__main__":
    main()
