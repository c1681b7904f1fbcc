"""Trained networks on the dies of every chip model that can hold them.

    python -m benchmarks.dies runs/main_job --out runs/dies.json
    python -m benchmarks.dies --out benchmarks/results/dies.json --summary     # the table of the committed results

Takes the model folders that ``benchmarks.main_job`` wrote (``METHOD-SEED``). Trains nothing. Puts each network on the
same 100 dies of each chip; the read-out on the host deviates like the rest. If a chip cannot hold a network, the
reason is kept. Numbers that the file has already are not measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import neurorobust as nr
from benchmarks.main_job import LABELS
from benchmarks.robustness.tables import mean_and_range, table
from neurorobust._util import digests, files
from neurorobust.chip.installed import chip_models

DIES, CHIPS = 1, 100
SHOWN = {"nominal": "nominal", "programmed": "programmed", "mean": "mean", "min": "min", "yield .90": "yield ≥ .90"}
"""Titles of columns by the keys of a result."""


def measure(folder: Path, chip: nr.chip.ChipModel, task: nr.data.Task) -> dict:
    """One network on the dies of one chip; ``refused`` with the reason if it does not fit."""
    network, _ = nr.load(folder)
    try:
        result = nr.evaluate(network, task.test, chip.with_host(exact=False), n_dies=CHIPS, seed=DIES)
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


def summary(results: dict) -> str:
    """A table in Markdown for each chip; each cell is the mean over training seeds with the lowest and highest seed."""
    tables = []
    for chip, by_folder in results.items():
        rows = []
        for method in dict.fromkeys([*LABELS, *(name.rpartition("-")[0] for name in by_folder)]):
            label = LABELS.get(method, method)
            own = [row for name, row in by_folder.items() if name.rpartition("-")[0] == method]
            if any("refused" in row for row in own):
                rows.append([label, str(len(own)), "refused", *[""] * (len(SHOWN) - 1)])
            elif own:
                rows.append([label, str(len(own)), *(mean_and_range([row[key] for row in own]) for key in SHOWN)])
        tables.append(f"{chip}:\n\n{table(['method', 'n', *SHOWN.values()], rows)}")
    return "\n".join(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="?", help="the folder that benchmarks.main_job wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/dies.json"), help="file of all results")
    parser.add_argument("--chips", nargs="+", default=None, help="chip models; all that are installed by default")
    parser.add_argument("--summary", action="store_true", help="only print the tables of finished results")
    arguments = parser.parse_args()
    if arguments.summary:
        print(summary(read(arguments.out)))
        return
    if arguments.models is None:
        parser.error("the folder of trained networks is missing")
    with files.locked(files.make_folder(arguments.out.parent), f".{arguments.out.name}.lock"):
        _measure(arguments)


def read(path: Path) -> dict:
    """All results so far."""
    return digests.read_json(path, "remove it to measure again.") if path.exists() else {}


def _measure(arguments: argparse.Namespace) -> None:
    results, task, known = read(arguments.out), nr.tasks.ecg(), chip_models()
    folders = [path.parent for path in sorted(arguments.models.glob("*-[0-9]*/config.json"))]
    for name in arguments.chips or sorted(known):
        chip = known[name]
        done = results.setdefault(f"{name} {chip.version}", {})
        for folder in folders:
            if folder.name not in done:
                done[folder.name] = measure(folder, chip, task)
                digests.write_json(arguments.out, results)
                print(name, folder.name, {k: v for k, v in done[folder.name].items() if k != "dies"}, flush=True)
    print(f"torch {torch.__version__}, {CHIPS} dies of seed {DIES}, {len(task.test)} test beats\n")
    print(summary(results))


if __name__ == "__main__":
    main()
