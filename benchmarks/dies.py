"""Trained networks on the dies of every chip model that can hold them.

    python benchmarks/dies.py runs/main_job --out runs/dies.json

Takes the model folders that ``benchmarks/main_job.py`` wrote (``METHOD-SEED``), trains nothing, and puts each on the
same 100 dies of each chip; a chip that cannot hold the network says why. One JSON file; what is in it is not measured
again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import neurorobust as nr
from neurorobust._util import files
from neurorobust.chip.installed import chip_models
from neurorobust.evaluation import mean_interval

DIES, CHIPS = 1, 100
SHOWN = ("nominal", "programmed", "mean", "min", "yield .90")


def measure(folder: Path, chip: nr.chip.ChipModel, task: nr.data.Task) -> dict:
    """One network on one chip's dies; ``refused`` where it does not fit."""
    network, _ = nr.load(folder)
    try:
        result = nr.evaluate(network, task.test, chip, n_dies=CHIPS, seed=DIES)
    except ValueError as error:
        return {"refused": str(error)}
    return {
        "nominal": result.nominal,
        "programmed": result.programmed,
        "mean": result.mean,
        "min": result.min,
        "yield .90": result.yield_at(0.9).fraction,
        "dies": result.score.tolist(),
    }


def table(results: dict) -> str:
    """Markdown: a row for each chip and method, mean over training seeds ± half of Student's 95 % interval."""
    lines = ["| chip | method | n | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 3) + "|"]
    for chip, by_folder in results.items():
        for method in sorted({name.rpartition("-")[0] for name in by_folder}):
            rows = [row for name, row in by_folder.items() if name.rpartition("-")[0] == method]
            if any("refused" in row for row in rows):
                lines.append(f"| {chip} | {method} | {len(rows)} | refused |" + " |" * (len(SHOWN) - 1))
                continue
            cells = []
            for key in SHOWN:
                values = np.array([row[key] for row in rows])
                half = mean_interval(values)[1] - values.mean()
                cells.append(f"{values.mean():.3f} ± {half:.3f}")
            lines.append(f"| {chip} | {method} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="the folder main_job.py wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/dies.json"))
    parser.add_argument("--chips", nargs="+", default=None, help="chip models; all that are installed by default")
    arguments = parser.parse_args()
    task, known = nr.tasks.ecg(), chip_models()
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    folders = [path.parent for path in sorted(arguments.models.glob("*-[0-9]*/config.json"))]
    for name in arguments.chips or sorted(known):
        chip = known[name]
        done = results.setdefault(f"{name} {chip.version}", {})
        for folder in folders:
            if folder.name not in done:
                done[folder.name] = measure(folder, chip, task)
                files.write_text(arguments.out, json.dumps(results, indent=1) + "\n")
                print(name, folder.name, {k: v for k, v in done[folder.name].items() if k != "dies"}, flush=True)
    print(f"torch {torch.__version__}, {CHIPS} dies of seed {DIES}, {len(task.test)} test beats\n")
    print(table(results))


if __name__ == "__main__":
    main()
