"""The main job before the floor: every method with several seeds, each network on all test beats, dies and attacks.

Its neurons have no floor, so they are not those of the chip. ``benchmarks.floor_study`` is the main job with the chip's
neurons.

    python -m benchmarks.main_job --out runs/main_job                # everything, one network after the other
    python -m benchmarks.main_job --out runs/main_job --seeds 1      # one seed; several commands can run side by side
    python -m benchmarks.main_job --out runs/main_job --summary      # only print the tables of finished results
    python -m benchmarks.main_job --out benchmarks/results/main_job.json --summary     # those of the committed results

``neurorobust.demo.train`` trains the network of each method and seed. Each result is one JSON file, so an interrupted
run continues. Dies and attacks use seed 1 for every network, so all networks meet the same dies.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import neurorobust as nr
from benchmarks.robustness.tables import mean_and_range, table
from neurorobust._util import digests, files
from neurorobust.chip.installed import chip_model
from neurorobust.data.recurrent import adaptive_neurons
from neurorobust.demo import Size, attacks, fleet_json, plan, train
from neurorobust.evaluation import evaluate
from neurorobust.train.methods import EPOCHS, METHODS

SIZE = Size(epochs=EPOCHS, seconds=1800.0, attacked=10**6, quick=(0.05, 0.1), thorough=(0.05, 0.1))
DIES = 1
LABELS = {
    "standard": "standard",
    "standard, 40 epochs": "standard, 40 epochs",
    "forward_noise": "forward noise 0.3",
    "adversarial": "adversarial (ζ .1, β .4, 3 steps, every kind)",
}
"""Titles of the first rows of the tables, by method."""

Column = Callable[[dict], float]
ON_DIES: dict[str, Column] = {
    "nominal": lambda r: r["fleet"]["nominal"],
    "programmed": lambda r: r["fleet"]["programmed"],
    "dynapse2 dies: mean": lambda r: r["fleet"]["mean"],
    "5th pct": lambda r: r["fleet"]["q05"],
    "min": lambda r: r["fleet"]["min"],
    "yield ≥ .90": lambda r: r["fleet"]["yield"]["fraction"],
    "yield ≥ .95": lambda r: float(np.mean(np.array(r["fleet"]["balanced_accuracy"]) >= 0.95)),
}
UNDER_STRESS: dict[str, Column] = {
    "mismatch 0.3: mean": lambda r: r["mismatch"]["0.3"]["mean"],
    "min of 100": lambda r: r["mismatch"]["0.3"]["min"],
    "0.5: mean": lambda r: r["mismatch"]["0.5"]["mean"],
    "ten steps .05": lambda r: r["attacks"]["quick"]["0.05"]["balanced_accuracy"],
    "ten steps .1": lambda r: r["attacks"]["quick"]["0.1"]["balanced_accuracy"],
    "thorough .05": lambda r: r["attacks"]["thorough"]["0.05"]["balanced_accuracy"],
    "thorough .1": lambda r: r["attacks"]["thorough"]["0.1"]["balanced_accuracy"],
}


def measure(task: nr.data.Task, name: str, seed: int, out: Path) -> None:
    """Train and measure one network, unless its result exists."""
    path = out / f"{name}-{seed}.json"
    if path.exists():
        return
    chip, folder = chip_model("dynapse2").with_host(exact=False), out / f"{name}-{seed}"
    if not (folder / "config.json").exists():
        planned = plan(task, chip, name, seed=seed, size=SIZE, hidden=adaptive_neurons)
        train(task, chip, planned, folder, seed=seed, size=SIZE)
    network, info = nr.load(folder)
    keys = ("epochs", "epochs_planned", "best_epoch", "best_score", "seconds")
    result = {
        "method": name,
        "seed": seed,
        **{key: info[key] for key in keys},
        "fleet": fleet_json(evaluate(network, task.test, chip, n_dies=100, seed=DIES), 0.9),
        "mismatch": {
            f"{level:g}": fleet_json(evaluate(network, task.test, nr.mismatch(level), n_dies=100, seed=DIES), 0.9)
            for level in (0.3, 0.5)
        },
        "attacks": attacks(network, task, SIZE, DIES, print),
    }
    digests.write_json(path, result)


def read(out: Path) -> list[dict]:
    """All results of a folder, or of one file that holds a list of them."""
    if out.is_file():
        return json.loads(out.read_text(encoding="utf-8"))
    return [digests.read_json(path, "remove it to measure again.") for path in sorted(out.glob("*-*.json"))]


def summary(results: Sequence[dict]) -> str:
    """Two tables in Markdown; each cell is the mean over training seeds with the lowest and the highest seed."""
    tables = []
    for columns in (ON_DIES, UNDER_STRESS):
        rows = []
        for method in dict.fromkeys([*LABELS, *(result["method"] for result in results)]):
            own = [result for result in results if result["method"] == method]
            if own:
                cells = [mean_and_range([column(result) for result in own]) for column in columns.values()]
                rows.append([LABELS.get(method, method), str(len(own)), *cells])
        tables.append(table(["method", "n", *columns], rows))
    return "\n".join(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/main_job"), help="folder of all results")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--summary", action="store_true", help="only print the tables of finished results")
    arguments = parser.parse_args()
    if not arguments.summary:
        task, out = nr.tasks.ecg(), files.make_folder(arguments.out)
        with files.locked(out):
            for seed in arguments.seeds:
                for name in arguments.methods:
                    measure(task, name, seed, out)
    print(summary(read(arguments.out)))


if __name__ == "__main__":
    main()
