"""Verified accuracy against ζ on the ECG task: sound bounds through 140 recurrent steps.

    python -m benchmarks.certify train standard runs/certify/standard --epochs 30 --seconds 150
    python -m benchmarks.certify train adversarial runs/certify/adversarial --epochs 24 --seconds 180
    python -m benchmarks.certify decide runs/certify/adversarial runs/certify/decided --epochs 2 --seconds 300
    python -m benchmarks.certify measure runs/certify/* --out benchmarks/results/certify.json
    python -m benchmarks.certify limits runs/certify/adversarial --out benchmarks/results/certify.json
    python -m benchmarks.certify table benchmarks/results/certify.json > benchmarks/results/certify.md

One training seed, networks of 128 neurons on ``dynapse2``, one thread, the first ``--samples`` test beats. Bounds are
plain intervals, ``Branches(1)``, and up to 64 branches per sample. ``attack`` is the accuracy on the worst die that ten
steps of PGA find for all these beats together, with two objectives.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

import chipmodels
import neurorobust as nr
from neurorobust._util import digests, files
from neurorobust.data.recurrent import adaptive_neurons
from neurorobust.evaluation import Branches, Intervals, certify
from neurorobust.train.methods import METHODS, SCHEDULE

ZETAS = (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
KINDS = {"weights": lambda zeta: nr.Ball(weight=zeta, bias=zeta), "all": nr.Ball.uniform}
METHODS_OF_PROOF: dict[str, Intervals | Branches] = {
    "intervals": Intervals(),
    "branches 1": Branches(1),
    "branches 64": Branches(64),
}
ATTACK = nr.attacks.Suite(((nr.attacks.PGA(steps=10), 1), (nr.attacks.PGA(steps=10, objective="ce"), 1)))
NEURONS = 128
DECIDED = 0.01  # weight of the regularizer, not tuned
COLUMNS = """\
Intervals, no branches, 64 branches: verified accuracy. Ten-step attack: accuracy on the worst die found. The other
columns are about 64 branches. Decided: the fraction of beats in which no spike depends on the die. First undecided: the
median of the first step with a spike that does. Lost: the fraction of beats that need more branches."""


def train(name: str, out: str, epochs: int, seconds: float) -> None:
    """Train a network by one of the ordinary methods."""
    task = nr.tasks.ecg()
    network = task.network(chipmodels.load("dynapse2"), n_hidden=NEURONS, seed=0, hidden=adaptive_neurons)
    schedule = replace(SCHEDULE, max_seconds=seconds)
    history = nr.fit(network, task, METHODS[name].regularize(task.loss), epochs=epochs, seed=0, schedule=schedule)
    nr.save(network, out)
    print(f"{name}: {len(history.rows)} epochs")


def decide(start: str, out: str, epochs: int, seconds: float) -> None:
    """Train a network further with the regularizer that keeps membranes away from their thresholds.

    Weights only, ζ = 0.01, the first 800 training beats.
    """
    task = nr.tasks.ecg()
    task = replace(task, train=task.train.first(800))
    network, _ = nr.load(start)
    loss = nr.regularizers.Decided(task.loss, nr.Ball(weight=0.01, bias=0.01), DECIDED)
    schedule = replace(SCHEDULE, batch_size=50, learning_rate=1e-3, select_every=1, max_seconds=seconds)
    history = nr.fit(network, task, loss, epochs=epochs, seed=0, schedule=schedule)
    nr.save(network, out)
    print(f"decided: {len(history.rows)} epochs")


def measure(folders: list[str], samples: int, out: str) -> None:
    """Measure all networks; results that ``out`` has already are not measured again."""
    path, task = Path(out), nr.tasks.ecg()
    found = read(path) if path.exists() else []
    done = {(row["network"], row["ball"], row["zeta"], row["method"]) for row in found}
    data = task.test.first(samples)
    for folder in folders:
        network, name = nr.load(folder)[0], Path(folder).name
        for ball, make in KINDS.items():
            for zeta in ZETAS:
                for method in (*METHODS_OF_PROOF, "attack"):
                    if (name, ball, zeta, method) in done:
                        continue
                    start = time.perf_counter()
                    row = _attacked(network, data, make(zeta)) if method == "attack" else None
                    row = row or _verified(network, data, make(zeta), METHODS_OF_PROOF[method])
                    row |= {"network": name, "ball": ball, "zeta": zeta, "method": method, "samples": len(data)}
                    found.append(row | {"seconds": round(time.perf_counter() - start, 1)})
                    digests.write_json(path, {"rows": found}, indent=0)
                    print(found[-1], flush=True)


def _attacked(network: torch.nn.Module, data: nr.data.Data, ball: nr.Ball) -> dict:
    worst = nr.worst_case(network, data, ball, ATTACK, seed=1)
    return {"accuracy": worst.accuracy, "balanced_accuracy": worst.balanced_accuracy}


def _verified(network: torch.nn.Module, data: nr.data.Data, ball: nr.Ball, method: Intervals | Branches) -> dict:
    certified = certify(network, data, ball, method)
    return {
        "accuracy": certified.accuracy,
        "balanced_accuracy": certified.balanced_accuracy,
        "nominal": float(certified.correct.double().mean()),
        "decided": float((certified.undecided == data.x.shape[1]).double().mean()),
        "first undecided": float(certified.undecided.double().median()),
        "leaves": float(certified.leaves.double().mean()),
        "lost": float(certified.lost.double().mean()),
    }


def limits(folder: str, samples: int, out: str) -> None:
    """The effect of more branches where 64 are not enough, and of rounding alone in float32 and float64."""
    network, name, data = nr.load(folder)[0], Path(folder).name, nr.tasks.ecg().test.first(samples)
    path = Path(out)
    found = read(path) if path.exists() else []
    for ball, zeta in (("weights", 1e-3), ("all", 3e-4)):
        for limit in (1, 8, 64, 512):
            start = time.perf_counter()
            row = _verified(network, data, KINDS[ball](zeta), Branches(limit))
            row |= {"network": name, "ball": ball, "zeta": zeta, "method": f"limit {limit}", "samples": len(data)}
            found.append(row | {"seconds": round(time.perf_counter() - start, 1)})
            digests.write_json(path, {"rows": found}, indent=0)
    double = nr.data.Data(data.x.double(), data.y)
    for dtype, own, some in (("float32", network, data), ("float64", nr.load(folder)[0].double(), double)):
        row = _verified(own, some, nr.Ball(weight=0.0), Branches(64))
        found.append(row | {"network": name, "ball": dtype, "zeta": 0.0, "method": "limit 64", "samples": len(data)})
    digests.write_json(path, {"rows": found}, indent=0)


def read(path: Path) -> list[dict]:
    """The rows that were measured."""
    return digests.read_json(path, "remove it to measure again.")["rows"]


def table(path: str) -> None:
    """Print the measurements as tables in Markdown."""
    rows = read(Path(path))
    at = {(row["network"], row["ball"], row["zeta"], row["method"]): row for row in rows}
    print(f"{COLUMNS}\n")
    for name in dict.fromkeys(row["network"] for row in rows):
        for ball in KINDS:
            if (name, ball, ZETAS[0], "attack") not in at:
                continue
            some = next(row for row in rows if row["network"] == name and "nominal" in row)
            print(f"**{name}, {ball}** · nominal {some['nominal']:.3f} on {some['samples']} beats\n")
            print("| ζ | intervals | no branches | 64 branches | ten-step attack | decided | first undecided | lost |")
            print("|---|---|---|---|---|---|---|---|")
            for zeta in ZETAS:
                cells = [at[name, ball, zeta, method] for method in (*METHODS_OF_PROOF, "attack")]
                full = cells[2]
                numbers = " | ".join(f"{cell['accuracy']:.3f}" for cell in cells)
                print(
                    f"| {zeta:g} | {numbers} | {full['decided']:.2f} | {full['first undecided']:.0f} | "
                    f"{full['lost']:.2f} |"
                )
            print()
    print("More or fewer branches, on fewer beats. The last two rows show rounding alone (ζ = 0).\n")
    print("| network | ball | ζ | limit | beats | verified | decided | lost | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        if row["method"].startswith("limit"):
            print(
                f"| {row['network']} | {row['ball']} | {row['zeta']:g} | {row['method'][6:]} | {row['samples']} | "
                f"{row['accuracy']:.3f} | {row['decided']:.2f} | {row['lost']:.2f} | {row.get('seconds', '')} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, first in (("train", "method"), ("decide", "start")):
        own = commands.add_parser(command)
        own.add_argument(first)
        own.add_argument("out")
        own.add_argument("--epochs", type=int, required=True)
        own.add_argument("--seconds", type=float, required=True)
    own = commands.add_parser("measure")
    own.add_argument("folders", nargs="+")
    own.add_argument("--samples", type=int, default=200)
    own.add_argument("--out", required=True)
    own = commands.add_parser("limits")
    own.add_argument("folder")
    own.add_argument("--samples", type=int, default=40)
    own.add_argument("--out", required=True)
    commands.add_parser("table").add_argument("path")
    given = parser.parse_args()
    if given.command == "train":
        train(given.method, given.out, given.epochs, given.seconds)
    elif given.command == "decide":
        decide(given.start, given.out, given.epochs, given.seconds)
    elif given.command == "table":
        table(given.path)
    else:
        out = Path(given.out)
        with files.locked(files.make_folder(out.parent), f".{out.name}.lock"):
            if given.command == "measure":
                measure(given.folders, given.samples, given.out)
            else:
                limits(given.folder, given.samples, given.out)


if __name__ == "__main__":
    main()
