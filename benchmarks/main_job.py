"""The main job measured: every method, several training seeds, all test beats, 100 dies, the thorough suite.

    python benchmarks/main_job.py --out runs/main_job                      # everything, in turn
    python benchmarks/main_job.py --out runs/main_job --seeds 1            # one seed; several may run side by side
    python benchmarks/main_job.py --out runs/main_job --summary            # only the table of what is there

Each (method, seed) is trained with ``neurorobust.demo.train`` and kept as one JSON file, so an interrupted run goes on
where it was. Dies and attacks use seed 1 for every network: the same dies for all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import neurorobust as nr
from neurorobust._util import files
from neurorobust.chip.installed import chip_model
from neurorobust.demo import Size, attacks, fleet_json, train
from neurorobust.evaluation import evaluate, mean_interval
from neurorobust.train.methods import EPOCHS, METHODS

SIZE = Size(epochs=EPOCHS, seconds=1800.0, attacked=10**6, quick=(0.05, 0.1), thorough=(0.05, 0.1))
DIES = 1
COLUMNS = {
    "nominal": lambda r: r["fleet"]["nominal"],
    "programmed": lambda r: r["fleet"]["programmed"],
    "dies mean": lambda r: r["fleet"]["mean"],
    "dies 5th pct": lambda r: r["fleet"]["q05"],
    "dies min": lambda r: r["fleet"]["min"],
    "yield .90": lambda r: r["fleet"]["yield"]["fraction"],
    "yield .95": lambda r: float(np.mean(np.array(r["fleet"]["balanced_accuracy"]) >= 0.95)),
    "mismatch .3 mean": lambda r: r["mismatch"]["0.3"]["mean"],
    "mismatch .3 min": lambda r: r["mismatch"]["0.3"]["min"],
    "mismatch .5 mean": lambda r: r["mismatch"]["0.5"]["mean"],
    "quick .05": lambda r: r["attacks"]["quick"]["0.05"]["balanced_accuracy"],
    "quick .1": lambda r: r["attacks"]["quick"]["0.1"]["balanced_accuracy"],
    "thorough .05": lambda r: r["attacks"]["thorough"]["0.05"]["balanced_accuracy"],
    "thorough .1": lambda r: r["attacks"]["thorough"]["0.1"]["balanced_accuracy"],
}


def measure(task: nr.data.Task, name: str, seed: int, out: Path) -> None:
    """Train and measure one network, unless its result is there."""
    path = out / f"{name}-{seed}.json"
    if path.exists():
        return
    chip, folder = chip_model("dynapse2"), out / f"{name}-{seed}"
    if not (folder / "config.json").exists():
        train(task, chip, name, folder, seed=seed, size=SIZE)
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
    files.write_text(path, json.dumps(result, indent=1) + "\n")


def summary(out: Path) -> str:
    """A Markdown table: mean over training seeds ± half of Student's 95 % interval."""
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*-*.json"))]
    lines = ["| method | n | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---|" * len(COLUMNS)]
    for name in METHODS:
        rows = [result for result in results if result["method"] == name]
        if not rows:
            continue
        cells = []
        for column in COLUMNS.values():
            values = np.array([column(row) for row in rows])
            half = mean_interval(values)[1] - values.mean()
            cells.append(f"{values.mean():.3f} ± {half:.3f}")
        lines.append(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/main_job"))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--summary", action="store_true", help="only print the table of what is there")
    arguments = parser.parse_args()
    if not arguments.summary:
        task, out = nr.tasks.ecg(), files.make_folder(arguments.out)
        for seed in arguments.seeds:
            for name in arguments.methods:
                measure(task, name, seed, out)
    print(summary(arguments.out))


if __name__ == "__main__":
    main()
