"""The circuit of an image of DYNAP-SE2 on test beats, for several ratios of threshold and gain current.

    python -m benchmarks.image_circuit > benchmarks/results/image_circuit.md

The table of docs/deploy.md: the zoo network ``ecg_dpi/adversarial``, its read-out on the host, no mismatch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import chipmodels
import neurorobust as nr
from neurorobust.circuit import Events, simulate
from neurorobust.data.installed import find_task
from neurorobust.evaluation.statistics import score
from neurorobust.nn import Network

RATIOS = (3.0, 10.0, 30.0, 100.0, 150.0, 200.0)
BEATS = 100
HEAD = """# The circuit of an image

`python -m benchmarks.image_circuit`: `ecg_dpi/adversarial` on dynapse2, 100 test beats, no mismatch.

| | balanced accuracy | spikes a beat | largest gain of a filter |
|---|---|---|---|"""


def counted(image: nr.deploy.Image, x: Tensor, dt: float) -> Tensor:
    """The spikes of the circuit of an image in the steps of a network, (T, B, n), for inputs (B, T, n_in)."""
    circuit, n_steps = image.circuit(), x.shape[1]
    spikes = np.zeros((n_steps, len(x), len(image.neurons)))
    for i, sample in enumerate(x):
        recording = simulate(circuit, Events.of_steps(sample.int(), dt), n_steps * dt)
        steps = np.minimum((recording.times / dt).astype(int), n_steps - 1)
        np.add.at(spikes[:, i], (steps, recording.neurons), 1)
    return torch.from_numpy(spikes).to(x.dtype)


def main() -> None:
    network, _ = nr.zoo.load("ecg_dpi/adversarial")
    assert isinstance(network, Network)
    deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
    deployed, data = deployment.native, find_task("ecg").test
    chosen = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(0))[:BEATS]
    x, y = data.x[chosen], data.y[chosen]
    print(HEAD)
    with torch.no_grad():
        logits, signals = deployed(x)
        print(f"| network | {score(logits, y):.3f} | {float(signals['hidden'].sum()) / BEATS:.0f} | |")
        for ratio in RATIOS:
            try:
                image = deployment.image(ratio=ratio)
            except nr.deploy.DeploymentError as error:
                print(f"| ratio {ratio:g} | refused | | {error.violations[0].got} |")
                continue
            spikes = counted(image, x, deployed.dt)
            outputs = deployed.decode(deployed.layers()["readout"](spikes, deployed.dt))
            gain = max(biases[name] for biases in image.cores.values() for name in ("Igain_ampa", "Igain_gaba"))
            count = float(spikes.sum()) / BEATS
            print(f"| ratio {ratio:g} | {score(outputs, y):.3f} | {count:.0f} | {gain:.3g} A |")
    over = [each for filters in deployment.image().events_over_gain().values() for each in filters.values()]
    print(f"\nOne event over I_gain of its filter: {min(over):.3f} to {max(over):.3f}.")


if __name__ == "__main__":
    main()
