"""Memory and time of dies and a training step of a large, sparse network, in a process of its own.

A recurrent layer of LIF neurons, each with 32 of 256 inputs and 1 % of the other neurons, and ten read-outs. The
synapses are held alone (``nr.nn.SparseLinear``)::

    python -m benchmarks.large_network [--neurons 20000] [--share 0.01]

Time is that of the processor, of one thread. Memory is the peak of the process, and what importing the package takes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time

BATCH, STEPS, DIES = 16, 50, 4


def measured(neurons: int, share: float) -> dict[str, float]:
    """Seconds of every part and MB, by name."""
    import torch

    import neurorobust as nr

    from .speed import machine

    torch.set_num_threads(1)
    found = {"import, MB": machine.peak_mb()}
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(BATCH, STEPS, 256, generator=generator) < 0.05).float()
    began = time.process_time()

    def until_now(part: str) -> None:
        nonlocal began
        found[f"{part}, s"], found[f"{part}, MB"] = time.process_time() - began, machine.peak_mb()
        began = time.process_time()

    hidden = nr.neurons.Lif(
        nr.nn.SparseLinear.random(256, neurons, fan_in=32, generator=generator),
        recurrent=nr.nn.SparseLinear.random(neurons, neurons, fan_in=round(share * neurons), generator=generator),
        tau_mem=0.02,
        v_threshold=0.03,
    )
    readout = nr.neurons.LeakyIntegrator(nr.nn.Linear.random(neurons, 10, generator=generator), tau_mem=0.02)
    network, chip = nr.Network({"hidden": hidden, "readout": readout}, dt=1e-3), nr.mismatch(0.2)
    until_now("construction")
    held = chip.program(nr.nominal(network), network.placement())
    die = chip.fabricate([0], seed=0)[0].params(held)
    until_now("die")
    for run in ("first run", "run"):  # the first one may compile
        rate = float(nr.run(network, die, x, record=True)[1]["hidden"].mean())
        until_now(run)
    data = nr.data.Data(x, torch.arange(BATCH) % 10)
    nr.evaluate(network, data, chip, n_dies=DIES)
    until_now(f"evaluation of {DIES} dies")
    for step in ("first training step", "training step"):
        torch.nn.functional.cross_entropy(network(x)[0], torch.arange(BATCH) % 10).backward()
        until_now(step)
    found["synapses"] = sum(value.numel() for name, value in network.named_parameters() if name.endswith("weight"))
    found["spikes per neuron and step"] = rate
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=20_000)
    parser.add_argument("--share", type=float, default=0.01, help="of the other neurons that each one listens to")
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(measured, (arguments.neurons, arguments.share))
    for name, value in found.items():
        print(f"{name:<32}{value:>14,.3f}")


if __name__ == "__main__":
    main()
