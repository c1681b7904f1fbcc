"""Time from the start of a process to its first training step, with compiled code in the cache.

    python -m benchmarks.first_step

Ten processes, one after the other. Prints seconds, median and largest: the import of neurorobust (torch is imported
already), the first step of 25 samples with one attack step (128 adaptive recurrent neurons, 140 steps), the second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

RUNS = 10
CHILD = """
import json, time
import torch
torch.set_num_threads(2)
times = [time.perf_counter()]
import neurorobust as nr
times.append(time.perf_counter())
from neurorobust import neurons
from neurorobust.nn.connections import Linear
draw = torch.Generator().manual_seed(0)
weights = [torch.randn(shape, generator=draw) for shape in ((128, 16), (128, 128), (2, 128))]
synapses = {"input": Linear(weights[0]), "recurrent": Linear(weights[1] / 10)}
hidden = neurons.AdaptiveLif(**synapses, tau_mem=0.02, tau_adapt=0.1, adaptation=0.1, v_threshold=1.0)
network = nr.Network({"hidden": hidden, "out": neurons.LeakyIntegrator(Linear(weights[2]), tau_mem=0.02)}, 1e-3)
loss = nr.regularizers.Adversarial(
    torch.nn.functional.cross_entropy, nr.attacks.PGA(steps=1), nr.Ball.uniform(0.1), beta=0.4
)
batch = (torch.rand(25, 140, 16, generator=draw) < 0.1).float(), torch.arange(25) % 2
for _ in range(2):
    started = time.perf_counter()
    loss(network, dict(network.named_parameters()), batch).backward()
    times.append(time.perf_counter() - started)
print(json.dumps([times[1] - times[0], *times[2:]]))
"""


def main() -> None:
    assert __doc__ is not None
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", CHILD], check=True, capture_output=True, text=True).stdout)
        for _ in range(RUNS + 1)
    ][1:]
    for name, seconds in zip(("import", "first step", "second step"), zip(*runs)):
        print(f"{name}: {statistics.median(seconds):.3f} s, at most {max(seconds):.3f}")


if __name__ == "__main__":
    main()
