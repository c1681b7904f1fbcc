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
from collections.abc import Callable, Iterator, Mapping, Sequence
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
PROBES, REFITTED, CHOSEN = 5, 50, "chosen"
"""Beats that every layout runs for the choice of neurons, and beats of the refit after it; folder of its files."""

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


def chosen(deployment: nr.deploy.Deployment, serial: int, task: nr.data.Task) -> Scores:
    """The scores of one board on chosen neurons, as it stands and refitted, and the measurements of the choice."""
    drawn = torch.randperm(len(task.validation), generator=generator(SEED, "calibration", serial))[: max(COUNTS)]
    with nr.deploy.VirtualChip(deployment.chip, serial, seed=SEED).open() as session:
        found = nr.deploy.choose_neurons(session, deployment, task.validation.x[drawn[-PROBES:]])
        session.program(found.deployment)
        known = nr.deploy.measure(session, task.validation.x[drawn[:REFITTED]])
        tested = nr.deploy.measure(session, task.test.x)
    logits = [nr.deploy.logits(found.deployment, tested), nr.deploy.refit(found.deployment, known).logits(tested)]
    scores = dict(zip(("chosen", "chosen, refit"), (balanced_accuracy(each, task.test.y) for each in logits)))
    return scores | {"measurements": found.measurements, "programmings": found.programmings}


def missing(out: Path, boards: int) -> Iterator[tuple[str, str, int]]:
    """(chip, network, first serial) of all blocks that are not there, so that all networks grow side by side."""
    for first in range(0, boards, AT_ONCE):
        for chip, network in itertools.product(chips(), NETWORKS):
            if not (out / f"{chip}-{network}-{first}.json").exists():
                yield chip, network, first


def blocks(out: Path, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Scores]]:
    """By chip and network, the boards of a folder that all of them have."""
    found: dict[tuple[str, str], list[Scores]] = {key: [] for key in keys}
    for first in itertools.count(step=AT_ONCE):
        paths = {key: out / f"{key[0]}-{key[1]}-{first}.json" for key in keys}
        if not all(path.exists() for path in paths.values()):
            return found
        for key, path in paths.items():
            found[key] += digests.read_json(path, "delete it.")["boards"]
    raise AssertionError


def collected(out: Path) -> dict[str, dict[str, Scores]]:
    """By chip and network, the scores of the boards that all of them have."""
    found: dict[str, dict[str, Scores]] = {}
    for (chip, network), boards in blocks(out, list(itertools.product(chips(), NETWORKS))).items():
        on_chosen = blocks(out / CHOSEN, [(chip, network)])
        scores: Scores = {"nothing": [round(one["nothing"], 4) for one in boards]}
        for name, n in itertools.product(CALIBRATIONS, map(str, COUNTS)):
            scores.setdefault(name, {})[n] = [round(one[name][n], 4) for one in boards]
        for name in ("chosen", "chosen, refit"):
            scores[name] = [round(one[name], 4) for one in on_chosen[chip, network]]
        found.setdefault(chip, {})[network] = scores
    return found


def text(value: float) -> str:
    """A fraction without its leading zero."""
    return f"{value:.3f}".removeprefix("0")


def yield_of(scores: Sequence[float]) -> str:
    """The fraction of boards that reach the specification, with its exact interval."""
    good = sum(score >= SPEC for score in scores)
    low, high = (f"{end:.2f}".removeprefix("0") for end in clopper_pearson(good, len(scores)))
    return f"{good / len(scores):.2f} ({low}–{high})"


STATISTICS = {"mean": lambda x: text(float(np.mean(x))), "worst board": lambda x: text(min(x)), "yield": yield_of}


def by_count(networks: Mapping[str, Scores], statistic: Callable[[Sequence[float]], str]) -> str:
    """A table: network and calibration × measurements."""
    rows = [
        [f"{network}, {name}", statistic(found["nothing"]), *(statistic(found[name][str(n)]) for n in COUNTS)]
        for (network, found), name in itertools.product(networks.items(), CALIBRATIONS)
    ]
    return table(["network, calibration", "0", *map(str, COUNTS)], rows)


def difference(first: Sequence[float], second: Sequence[float]) -> str:
    """The difference of two means on the same boards, in points, with its interval."""
    found = paired_interval(np.array(first), np.array(second))
    return f"{100 * found.estimate:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})".replace("-", "−")


def differences(networks: Mapping[str, Scores]) -> str:
    """A table: network and calibration × what it is compared with."""
    n, rows = str(REFITTED), []
    for (network, found), name in itertools.product(networks.items(), CALIBRATIONS):
        others = (found["nothing"], found["trim"][n], networks["adversarial"]["nothing"])
        row = [difference(found[name][n], other) for other in others]
        rows.append([f"{network}, {name}", row[0], "–" if name == "trim" else row[1], row[2]])
    return table(["network, calibration", "over nothing", "over trim", "over adversarial, nothing"], rows)


def on_chosen(networks: Mapping[str, Scores]) -> str:
    """A table: the boards whose neurons were chosen, before and after, each with and without a refit."""
    rows = []
    for network, found in networks.items():
        boards = len(found["chosen"])
        if not boards:
            continue
        parts = {"nothing": found["nothing"], "refit": found["refit"][str(REFITTED)]}
        parts |= {name: found[name] for name in ("chosen", "chosen, refit")}
        for name, scores in parts.items():
            gain = difference(scores[:boards], found["nothing"][:boards])
            rows.append(
                [f"{network}, {name}", str(boards), *(show(scores[:boards]) for show in STATISTICS.values()), gain]
            )
    return table(["network", "boards", *STATISTICS, "over nothing"], rows)


def summary(scores: Mapping[str, Mapping[str, Scores]]) -> str:
    """Tables in Markdown."""
    parts = []
    for chip, networks in scores.items():
        boards, few = len(networks["standard"]["nothing"]), max(len(found["chosen"]) for found in networks.values())
        for title, statistic in STATISTICS.items():
            parts.append(f"**{chip}, {title}**, {boards} boards\n\n" + by_count(networks, statistic))
        parts.append(
            f"**{chip}, differences** of the mean in points, {REFITTED} measurements\n\n" + differences(networks)
        )
        if few:
            parts.append(f"**{chip}, chosen neurons**\n\n" + on_chosen(networks))
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--boards", type=int, default=200, help="serial numbers 0 to BOARDS − 1, in tens")
    parser.add_argument("--collect", type=Path, help="write one file of the boards that all networks have")
    parser.add_argument("--summary", action="store_true", help="print the tables of a collected file")
    parser.add_argument("--choose", action="store_true", help="measure the choice of physical neurons")
    arguments = parser.parse_args()
    if arguments.summary:
        print(summary(digests.read_json(arguments.out, "measure again.")["scores"]))
        return
    if arguments.collect:
        settings = {"seed": SEED, "spec": SPEC, "wide": WIDE, "counts": COUNTS, "probes": PROBES, "refitted": REFITTED}
        scores = collected(arguments.out)
        boards = len(scores["wide"]["standard"]["nothing"])
        entry = {"boards": boards, "settings": settings, "scores": scores}
        digests.write_json(arguments.collect, entry, indent=None)
        return
    torch.set_num_threads(1)
    out, one = (arguments.out / CHOSEN, chosen) if arguments.choose else (arguments.out, measured)
    out.mkdir(parents=True, exist_ok=True)
    task, deployments = nr.tasks.ecg(), {}
    for (label, chip), name in itertools.product(chips().items(), NETWORKS):
        network, _ = nr.zoo.load(f"ecg_dpi/{name}")
        deployments[label, name] = nr.deploy.onto(network, chip)
    for label, name, first in missing(out, arguments.boards):
        found = [one(deployments[label, name], serial, task) for serial in range(first, first + AT_ONCE)]
        digests.write_json(out / f"{label}-{name}-{first}.json", {"boards": found})
        print(label, name, first, found[0], flush=True)


if __name__ == "__main__":
    main()
