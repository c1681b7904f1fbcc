"""Calibration of boards against its cost in measurements: the zoo's heart-beat networks of dynapse2 on virtual boards.

    python -m benchmarks.calibration --out runs/calibration                  # one core, about 2 s for each board
    python -m benchmarks.calibration --out runs/calibration --collect benchmarks/results/calibration.json
    python -m benchmarks.calibration --out benchmarks/results/calibration.json --summary        # prints the tables
    python docs/figures/calibration.py                                                          # draws the figure

Each board is one serial number of a chip, the same for all networks. It runs ``max(COUNTS)`` validation beats, drawn
for it alone, and all test beats. Calibrations see the first n of the former; scores are those of the latter. Ten boards
at a time are written to one file for each chip and network; an interrupted run continues.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import chipmodels
import neurorobust as nr
from benchmarks.robustness.tables import table
from neurorobust._util import digests
from neurorobust._util.randomness import generator
from neurorobust.chip import ChipModel
from neurorobust.chip.variability import LogNormal
from neurorobust.deploy.calibration import features, nominal_logits, refit_weights, trim_offsets
from neurorobust.evaluation import balanced_accuracy, clopper_pearson, paired_interval

NETWORKS = ("standard", "forward_noise", "adversarial")
COUNTS = (10, 20, 50, 100, 200)
SEED, AT_ONCE, SPEC, WIDE = 1, 10, 0.95, 0.3
CALIBRATIONS = ("trim", "trim, labels", "refit", "refit, labels")

Scores = dict[str, Any]
"""``nothing``: a score for each board. Each calibration: by number of measurements, a score for each board."""


def chips() -> dict[str, ChipModel]:
    """dynapse2, and the same chip where every parameter of every neuron and synapse has a CV of 0.3 by itself."""
    chip = chipmodels.load("dynapse2")
    kinds = {kind: replace(model, law=LogNormal.from_cv(WIDE)) for kind, model in chip.kinds.items()}
    return {"dynapse2": chip, "wide": replace(chip, kinds=kinds)}


def measured(deployment: nr.deploy.Deployment, serial: int, task: nr.data.Task) -> Scores:
    """The scores of one board, as it stands and calibrated."""
    drawn = torch.randperm(len(task.validation), generator=generator(SEED, "calibration", serial))[: max(COUNTS)]
    with nr.deploy.VirtualChip(deployment.chip, serial, seed=SEED).open() as session:
        session.program(deployment)
        known = nr.deploy.measure(session, task.validation.x[drawn])
        tested = nr.deploy.measure(session, task.test.x)
    raw, inputs, y = nr.deploy.logits(deployment, tested).double(), features(deployment, tested), task.test.y
    seen, known_inputs = nr.deploy.logits(deployment, known), features(deployment, known)
    nominal = nominal_logits(deployment, known)
    found: Scores = {"nothing": balanced_accuracy(raw, y)}
    for labelled, n in itertools.product((False, True), COUNTS):
        labels = task.validation.y[drawn[:n]] if labelled else None
        offsets = trim_offsets(seen[:n], nominal[:n], labels)
        change, shift = refit_weights(seen[:n], nominal[:n], known_inputs[:, :n], labels)
        refitted = raw + shift + torch.einsum("kbn,kn->bk", inputs, change)
        for name, logits in (("trim", raw + offsets), ("refit", refitted)):
            found.setdefault(f"{name}, labels" if labelled else name, {})[str(n)] = balanced_accuracy(logits, y)
    return found


def missing(out: Path, boards: int) -> Iterator[tuple[str, str, int]]:
    """(chip, network, first serial) of all blocks that are not there, so that all networks grow side by side."""
    for first in range(0, boards, AT_ONCE):
        for chip, network in itertools.product(chips(), NETWORKS):
            if not (out / f"{chip}-{network}-{first}.json").exists():
                yield chip, network, first


def collected(out: Path) -> dict[str, dict[str, Scores]]:
    """By chip and network, the scores of the boards that all of them have."""
    read = {path.stem: digests.read_json(path, "delete it.")["boards"] for path in sorted(out.glob("*-*-*.json"))}
    whole = 0
    while all(f"{chip}-{network}-{whole}" in read for chip, network in itertools.product(chips(), NETWORKS)):
        whole += AT_ONCE
    found: dict[str, dict[str, Scores]] = {}
    for chip, network in itertools.product(chips(), NETWORKS):
        boards = [one for first in range(0, whole, AT_ONCE) for one in read[f"{chip}-{network}-{first}"]]
        scores: Scores = {"nothing": [round(one["nothing"], 4) for one in boards]}
        for name, n in itertools.product(CALIBRATIONS, map(str, COUNTS)):
            scores.setdefault(name, {})[n] = [round(one[name][n], 4) for one in boards]
        found.setdefault(chip, {})[network] = scores
    return found


def text(value: float) -> str:
    """A fraction without its leading zero."""
    return f"{value:.3f}".removeprefix("0")


def cell(scores: Sequence[float]) -> list[str]:
    """Mean, worst board, and yield with its exact interval."""
    good = sum(score >= SPEC for score in scores)
    low, high = (f"{end:.2f}".removeprefix("0") for end in clopper_pearson(good, len(scores)))
    return [text(float(np.mean(scores))), text(min(scores)), f"{good / len(scores):.2f} ({low}–{high})"]


def of_one(scores: Mapping[str, Any], name: str, n: int) -> list[float]:
    """The scores of all boards with one calibration."""
    return list(scores["nothing"] if name == "nothing" else scores[name][str(n)])


def summary(scores: Mapping[str, Mapping[str, Scores]], n: int = 50) -> str:
    """Tables in Markdown."""
    parts = []
    for chip, networks in scores.items():
        rows = [[f"{network}, nothing", "0", *cell(found["nothing"])] for network, found in networks.items()]
        for (network, found), name, count in itertools.product(networks.items(), CALIBRATIONS, COUNTS):
            rows.append([f"{network}, {name}, {count}", str(count), *cell(found[name][str(count)])])
        parts.append(
            f"### {chip}\n\n" + table(["network, calibration", "measurements", "mean", "worst", "yield"], rows)
        )
        rows = []
        for network, found in networks.items():
            for name in CALIBRATIONS:
                gain = paired_interval(np.array(of_one(found, name, n)), np.array(found["nothing"]))
                lead = paired_interval(np.array(of_one(found, name, n)), np.array(networks["adversarial"]["nothing"]))
                rows.append(
                    [
                        f"{network}, {name}",
                        *(f"{100 * x.estimate:+.2f} ({100 * x.low:+.2f} to {100 * x.high:+.2f})" for x in (gain, lead)),
                    ]
                )
        head = ["network, calibration", "gain over nothing", "over adversarial with nothing"]
        parts.append(f"### {chip}, {n} measurements, differences of the mean in points\n\n" + table(head, rows))
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--boards", type=int, default=200, help="serial numbers 0 to BOARDS − 1, in tens")
    parser.add_argument("--collect", type=Path, help="write one file of the boards that all networks have")
    parser.add_argument("--summary", action="store_true", help="print the tables of a collected file")
    chosen = parser.parse_args()
    if chosen.summary:
        print(summary(digests.read_json(chosen.out, "measure again.")["scores"]))
        return
    if chosen.collect:
        scores = collected(chosen.out)
        boards = len(scores["wide"]["standard"]["nothing"])
        settings = {"boards": boards, "seed": SEED, "spec": SPEC, "wide": WIDE, "counts": COUNTS}
        digests.write_json(chosen.collect, {"settings": settings, "scores": scores}, indent=None)
        return
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    task, deployments = nr.tasks.ecg(), {}
    for (label, chip), name in itertools.product(chips().items(), NETWORKS):
        network, _ = nr.zoo.load(f"ecg_dpi/{name}")
        deployments[label, name] = nr.deploy.onto(network, chip)
    for label, name, first in missing(chosen.out, chosen.boards):
        boards = [measured(deployments[label, name], serial, task) for serial in range(first, first + AT_ONCE)]
        digests.write_json(chosen.out / f"{label}-{name}-{first}.json", {"boards": boards})
        print(label, name, first, boards[0]["nothing"], boards[0]["refit"], flush=True)


if __name__ == "__main__":
    main()
