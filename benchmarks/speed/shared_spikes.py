"""How many of eight dies of W9 spike where any does; a fleet sends the spike of one die to all eight.

python -m benchmarks.speed.shared_spikes        # seconds; counts, no time
"""

from __future__ import annotations

import argparse

import torch

import neurorobust as nr

from . import ours
from .workloads import WORKLOADS

DIES = 8


@torch.no_grad()
def spikes_of_dies() -> torch.Tensor:
    """Spikes of the hidden neurons of W9's first dies, (dies, B, T, n)."""
    work = WORKLOADS["W9"]
    network = ours.network(work)
    dies = ours.dies_of(network, work)[:DIES]
    return torch.stack([nr.run(network, die, work.x, record=True)[1]["hidden"] for die in dies])


def main() -> None:
    assert __doc__ is not None
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    spikes = spikes_of_dies() > 0
    together = spikes.sum(0)
    active = together[together > 0].double()
    print(f"spikes per neuron and step, on one die: {spikes.double().mean():.3f}")
    print(f"neurons that spike on any of {DIES} dies, per step: {(together > 0).double().mean():.3f}")
    print(f"dies that spike, of those {DIES}, for each of them: {active.mean():.2f}")
    print(f"share of these where only one die spikes: {(active == 1).double().mean():.2f}")


if __name__ == "__main__":
    main()
