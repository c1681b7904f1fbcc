"""An attack that knows of the trim: the zoo's networks for heart beats, as they stand and with a trimmed read-out.

    python -m benchmarks.trim --out benchmarks/results/trim.json
    python -m benchmarks.trim --out benchmarks/results/trim.json --summary    # the table of the committed results

Trains nothing. For each network and size ζ: APGD on the margin through ``Triangle(1.0)``, on what the chip holds, once
on the logits and once on the trimmed logits (the offsets are differentiated too). The trim is unlabelled, on validation
beats. One attack, few beats: the numbers are upper bounds, for an order of size only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import neurorobust as nr
from benchmarks.robustness.tables import table
from neurorobust._util import digests
from neurorobust.attacks import APGD
from neurorobust.core.placement import Placement, placement_of
from neurorobust.core.run import forward, nominal
from neurorobust.dynamics.surrogate import Triangle
from neurorobust.evaluation.parts import using_surrogate
from neurorobust.evaluation.worst_case import find_worst_case

NETWORKS = ("standard", "forward_noise", "awp", "adversarial")
SIZES = (0.05, 0.1)
COLUMNS = {
    "nominal": "no error",
    "raw": "attacked, as it stands",
    "same die, trimmed": "the same die, trimmed",
    "trimmed": "attacked with the trim known, trimmed",
}
"""Titles of columns by the keys of a result."""


class TrimmedNetwork(nn.Module):
    """A network with an unlabelled trim inside: every die is calibrated on the same samples before it is used.

    Args:
        network: with a ``placement`` and spikes of this package. x: the samples of the trim, batch first.
    """

    calibration: Tensor
    reference: Tensor

    def __init__(self, network: nr.Network, x: Tensor):
        super().__init__()
        self.network = network
        with torch.no_grad():
            reference = forward(network, nominal(network), x)[0].mean(0)
        self.register_buffer("calibration", x)
        self.register_buffer("reference", reference)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Input (B, T, n_in) → trimmed logits (B, K), and the outputs (T, B, n) of every layer."""
        n = len(self.calibration)
        logits, signals = self.network(torch.cat([self.calibration, x]))
        offsets = self.reference - logits[:n].mean(0)
        return logits[n:] + offsets, {name: signal[:, n:] for name, signal in signals.items()}

    def placement(self) -> Placement:
        """That of the network, with the parameter names of this module."""
        return placement_of(self.network).prefixed("network.")


def attacked(network: nn.Module, data: nr.data.Data, zeta: float, steps: int, more: Any = ()) -> Any:
    """The worst die that one attack finds on what the chip holds."""
    with using_surrogate(network, Triangle(1.0)):
        attack = APGD(steps, 1e-3, "margin")
        return find_worst_case(network, data, nr.Ball.uniform(zeta).on_chip(network), attack, candidates=more)


def measure(name: str, task: nr.data.Task, zeta: float, beats: int, n: int, steps: int) -> dict:
    """One network at one size, as it stands and trimmed."""
    network, _ = nr.zoo.load(f"ecg/{name}")
    assert isinstance(network, nr.nn.Network)
    data = task.test.balanced(beats)
    trimmed = TrimmedNetwork(network, task.validation.x[:n])
    raw = attacked(network, data, zeta, steps)
    same = [{f"network.{key}": delta for key, delta in raw.deviations.items()}]
    alone = nr.transfer(trimmed, data, nr.Ball.uniform(zeta), same).score
    knowing = attacked(trimmed, data, zeta, steps, same)
    return {"nominal": raw.nominal, "raw": raw.score, "same die, trimmed": alone, "trimmed": knowing.score}


def summary(found: dict[str, dict]) -> str:
    """A table in Markdown: a row for each size and network."""
    rows = [
        [zeta, f"`{name}`", *(f"{row[key]:.2f}".lstrip("0") for key in COLUMNS)]
        for zeta, by_name in found.items()
        for name, row in by_name.items()
    ]
    return table(["ζ", "network", *COLUMNS.values()], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--beats", type=int, default=100, help="attacked test beats, as many of each class")
    parser.add_argument("--n", type=int, default=50, help="validation beats of the trim")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--summary", action="store_true", help="print the table of the file, measure nothing")
    chosen = parser.parse_args()
    if chosen.summary:
        print(summary(digests.read_json(chosen.out, "measure again.")["attacked"]))
        return
    task = nr.tasks.ecg()
    settings = {"beats": chosen.beats, "n": chosen.n, "steps": chosen.steps}
    found: dict[str, dict] = {}
    for zeta in SIZES:
        for name in NETWORKS:
            found.setdefault(f"{zeta:g}", {})[name] = measure(name, task, zeta, chosen.beats, chosen.n, chosen.steps)
            print(zeta, name, found[f"{zeta:g}"][name], flush=True)
            digests.write_json(chosen.out, {"settings": settings, "attacked": found}, indent=2)


if __name__ == "__main__":
    main()
