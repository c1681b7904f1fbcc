"""The circuits at half the tolerance: are the spikes and the logits those of the simulator's numbers?

    python -m benchmarks.circuit_convergence    # a minute; writes circuit_convergence.json and .md of the results

Feed-forward: the fraction of the spikes that both runs have within 0.1 ms, one to one. The zoo's networks for heart
beats without their recurrent synapses, and random layers. Recurrent: an error of a spike grows from neuron to neuron,
so the change of the logits is compared with the difference of two trials, in which every input event moves by a normal
jitter of 0.1 ms; that size is an assumption. The logits of random networks are sums of their spike counts with
random weights.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import chipmodels
import neurorobust as nr
from benchmarks.circuit_speed import NEAR
from benchmarks.judged import beats
from neurorobust._util import files
from neurorobust.circuit import (
    Circuit,
    Dendrite,
    DendriteType,
    Events,
    Neurons,
    Recording,
    Synapses,
    Technology,
    circuit_of,
    simulate,
)
from neurorobust.nn import Network

NETWORKS = ("ecg_dpi/standard", "ecg_dpi/forward_noise", "ecg_dpi/adversarial")
TOLERANCE, JITTER = 1e-5, 1e-4  # the default; s
BEATS, TRIALS, RANDOM, INPUTS = 20, 8, 10, 10
RESULTS = Path(__file__).parent / "results"
T = Technology()


def matched(a: Recording, b: Recording) -> tuple[int, int]:
    """Spikes that have a partner within 0.1 ms in the other run, each partner once; and all spikes of the longer run.

    In each neuron, in the order of time: two spikes that are near are partners, else the earlier has none.
    """
    pairs = 0
    for i in range(a.n):
        first, second = (run.times[run.neurons == i] for run in (a, b))
        j = k = 0
        while j < len(first) and k < len(second):
            if abs(first[j] - second[k]) < NEAR:
                pairs, j, k = pairs + 1, j + 1, k + 1
            elif first[j] < second[k]:
                j += 1
            else:
                k += 1
    return pairs, max(len(a.times), len(b.times))


def feed_forward(circuit: Circuit) -> Circuit:
    """The circuit without synapses from its neurons."""
    s = circuit.synapses
    outside = s.source < circuit.n_channels
    parts = {name: getattr(s, name)[outside] for name in ("source", "target", "dendrite", "weight", "delay", "slot")}
    return replace(circuit, synapses=Synapses(**parts))


def jittered(events: Events, duration: float, generator: np.random.Generator) -> Events:
    """Every event at another time, within the duration."""
    times = np.clip(events.times + generator.normal(0, JITTER, len(events.times)), 0, duration * (1 - 1e-9))
    order = np.argsort(times, kind="stable")
    return Events(times[order], events.channels[order])


def random_circuit(seed: int, n: int = 64, channels: int = 40) -> tuple[Circuit, list[Events], float]:
    """Threshold neurons with adaptation, 30 synapses each from channels and 10 from neurons, a third inhibitory."""
    generator = np.random.default_rng(seed)
    i_tau, i_ahp = float(T.current(T.c_mem, np.array(20e-3))), float(T.current(T.c_ahp, np.array(0.1)))
    target = np.repeat(np.arange(n), 40)
    outside = np.tile(np.arange(40) < 30, n)
    source = np.where(
        outside, generator.integers(0, channels, len(target)), channels + generator.integers(0, n, len(target))
    )
    size = generator.lognormal(0.0, 0.5, len(target)) * np.where(outside, 2e-9, 1e-9)
    filters = {}
    for kind, tau in ((DendriteType.AMPA, 5e-3), (DendriteType.GABA, 8e-3)):
        current = float(T.current(T.c_syn, np.array(tau)))
        filters[kind] = Dendrite(i_tau=current, i_gain=250 * current)
    circuit = Circuit(
        neurons=Neurons(
            n=n, i_tau_mem=i_tau, i_gain_mem=1e-9, i_thr=100e-9, i_ref=T.c_ref * T.v_ref / 2e-3, i_tau_ahp=i_ahp,
            i_gain_ahp=i_ahp, i_w_ahp=1e-7,
        ),
        dendrites=filters,
        synapses=Synapses(
            source=source, target=target, weight=size,
            dendrite=np.where(generator.random(len(target)) < 0.67, DendriteType.AMPA, DendriteType.GABA),
        ),
        n_channels=channels,
    )  # fmt: skip
    samples = []
    for _ in range(INPUTS):
        times = np.sort(generator.uniform(0, 0.5, round(channels * 30 * 0.5)))
        samples.append(Events(times, generator.integers(0, channels, len(times))))
    return circuit, samples, 0.5


def zoo_circuit(name: str) -> tuple[Circuit, list[Events], float, nr.deploy.Deployment]:
    """The nominal circuit of a zoo network on dynapse2, and test beats."""
    network, _ = nr.zoo.load(name)
    assert isinstance(network, Network)
    deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
    x = beats(BEATS).x
    samples = [Events.of_steps(each.int(), network.dt) for each in x]
    return circuit_of(deployment.native, deployment.programmed), samples, x.shape[1] * network.dt, deployment


def logits_of(runs: list[Recording], events: list[Events], deployment: nr.deploy.Deployment | None) -> np.ndarray:
    """Of each run, (runs, outputs)."""
    if deployment is None:
        weights = np.random.default_rng(0).normal(size=(runs[0].n, 2)) / np.sqrt(runs[0].n)
        return np.stack([run.counts() @ weights for run in runs])
    recordings = [
        nr.deploy.BoardRecording(given, times=run.times, neurons=run.neurons, n=run.n, duration=run.duration)
        for run, given in zip(runs, events)
    ]
    return nr.deploy.logits(deployment, recordings).double().numpy()


def measure(
    circuit: Circuit, samples: list[Events], duration: float, deployment: nr.deploy.Deployment | None = None
) -> dict[str, float]:
    """Both comparisons of one network."""

    def both(of: Circuit) -> tuple[list[Recording], list[Recording]]:
        coarse, fine = (
            [simulate(of, each, duration, tolerance=t) for each in samples] for t in (TOLERANCE, TOLERANCE / 2)
        )
        return coarse, fine

    forward = np.array([matched(*pair) for pair in zip(*both(feed_forward(circuit)))]).sum(0)
    coarse, fine = both(circuit)
    recurrent = np.array([matched(*pair) for pair in zip(coarse, fine)]).sum(0)
    here = logits_of(coarse, samples, deployment)
    change = np.abs(logits_of(fine, samples, deployment) - here)
    generator, trials = np.random.default_rng(1), []
    for _ in range(TRIALS):
        moved = [jittered(each, duration, generator) for each in samples]
        runs = [simulate(circuit, each, duration, tolerance=TOLERANCE) for each in moved]
        trials.append(logits_of(runs, moved, deployment))
    spread = np.sqrt(2) * np.stack(trials).std(0, ddof=1)  # root mean square of the difference of two
    return {
        "spikes feed-forward": int(forward[1]),
        "matched feed-forward": float(forward[0] / forward[1]),
        "spikes recurrent": int(recurrent[1]),
        "matched recurrent": float(recurrent[0] / recurrent[1]),
        "logit change": rms(change),
        "logit change largest": float(change.max()),
        "trial difference": rms(spread),
        "change over trial": rms(change) / rms(spread),
    }


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def page(found: dict[str, Any]) -> str:
    lines = [
        "# Circuits at half the tolerance\n",
        f"`python -m benchmarks.circuit_convergence`: {found['tolerance']:g} against half of it. Zoo networks on "
        f"{found['beats']} test beats, no mismatch; random networks on {found['inputs']} inputs of 0.5 s. Matched: "
        f"spikes within 0.1 ms, one to one. Change of logits, and their difference in two of {found['trials']} trials "
        f"with a jitter of 0.1 ms of every input event: root mean square.\n",
        "| network | spikes, feed-forward | matched | spikes, recurrent | matched | change of logits | difference of "
        "trials | change/difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in found["networks"].items():
        lines.append(
            f"| `{name}` | {row['spikes feed-forward']} | {100 * row['matched feed-forward']:.2f} % "
            f"| {row['spikes recurrent']} | {100 * row['matched recurrent']:.2f} % | {row['logit change']:.4f} "
            f"| {row['trial difference']:.4f} | {row['change over trial']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    networks = {name: measure(*zoo_circuit(name)) for name in NETWORKS}
    networks |= {f"random {seed}": measure(*random_circuit(seed)) for seed in range(RANDOM)}
    found = {
        "tolerance": TOLERANCE,
        "beats": BEATS,
        "trials": TRIALS,
        "inputs": INPUTS,
        "jitter_s": JITTER,
        "networks": networks,
    }
    files.write_text(RESULTS / "circuit_convergence.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    files.write_text(RESULTS / "circuit_convergence.md", page(found))


if __name__ == "__main__":
    main()
