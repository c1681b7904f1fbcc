"""Heart beats on dynapse2 with the physics of its neurons: every method retrained, and networks without a floor beside.

    python -m benchmarks.floor_study --out runs/floor --train                 # the trainings, hours on one core
    python -m benchmarks.floor_study --out runs/floor                         # what is missing of them, then measures
    python -m benchmarks.floor_study --out benchmarks/results/floor_study.json --summary     # prints the tables

Networks: 128 neurons of :func:`neurorobust.data.recurrent.dpi_neurons` (a floor and a reset at rest, synapses and
refractory time of 5 ms), ``EPOCHS`` epochs. Every method has the same grid of learning rates. Each is trained at each
rate with seed 0, and the rate with the best score on validation data is used for the other seeds; the score is that of
``benchmarks.robustness``. Test beats and dies of seed ``DIES`` are used for nothing else.

Ablation (``--ablation``): the adversarial networks without adaptation, and with a threshold that adapts.

Beside them: the networks of the zoo for heart beats, trained without a floor, with one put in afterwards
(``nr.nn.with_floor``): as they stand, trimmed, and trained on for ``TUNED`` epochs with the floor.

Each training resumes from its checkpoint, and each measurement is one file; an interrupted run continues.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

import neurorobust as nr
from neurorobust._util import digests, files
from neurorobust.chip.installed import chip_model
from neurorobust.data import Task
from neurorobust.data.recurrent import Hidden, dpi_neurons
from neurorobust.dynamics import Adaptation, AdaptiveThreshold
from neurorobust.evaluation import evaluate
from neurorobust.train.loop import SELECTION, fit, selection_score
from neurorobust.train.methods import METHODS, SCHEDULE

ORDER = ("standard", "forward_noise", "adversarial", "awp", "adversarial_weights")
RATES, SEEDS, EPOCHS, N_HIDDEN = (3e-3, 1e-2), (0, 1, 2), 20, 128
ABLATION: dict[str, Adaptation | None] = {"no adaptation": None, "adaptive threshold": AdaptiveThreshold()}
CHIP, TUNING_DIES, TUNING_FLEET = "dynapse2", 2, 20


def trained(
    task: Task, method: str, rate: float, seed: int, out: Path, hidden: Hidden = dpi_neurons
) -> tuple[nn.Module, dict]:
    """The network of a method, trained now if it is missing, and the facts that were saved with it."""
    folder = out / f"{method}-{rate:g}-{seed}"
    if not (folder / "config.json").exists():
        chip = chip_model(CHIP)
        network = task.network(chip, n_hidden=N_HIDDEN, seed=seed, hidden=hidden)
        loss = METHODS[method].regularize(task.loss, chip)
        schedule = replace(SCHEDULE, learning_rate=rate)
        history = fit(network, task, loss, epochs=EPOCHS, seed=seed, out=folder, schedule=schedule)
        facts = {
            "task": task.name,
            "chip": CHIP,
            "method": method,
            "learning_rate": rate,
            "seed": seed,
            "selection": SELECTION,
            "epochs": len(history.rows),
            "best_epoch": history.best_epoch,
            "seconds": round(history.seconds, 1),
        }
        nr.save(network, folder, facts)
    return nr.load(folder)


def chosen_rate(task: Task, method: str, out: Path) -> tuple[float, dict[str, float]]:
    """The rate with the best score on validation data, and the score of each rate; seed 0."""
    path = out / f"{method}.rates.json"
    if not path.exists():
        scores = {}
        for rate in RATES:
            network, _ = trained(task, method, rate, SEEDS[0], out)
            fleet = evaluate(network, task.validation, nr.mismatch(0.3), n_dies=TUNING_FLEET, seed=TUNING_DIES)
            clean, attacked = selection_score(network, task.validation, SEEDS[0])
            scores[f"{rate:g}"] = (clean + attacked + fleet.mean) / 3
        digests.write_json(path, scores)
    scores = digests.read_json(path, "remove it to choose again.")
    return max(RATES, key=lambda rate: scores[f"{rate:g}"]), scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/floor"), help="folder of all results")
    parser.add_argument("--methods", nargs="+", choices=ORDER, default=list(ORDER))
    parser.add_argument("--train", action="store_true", help="only train")
    parser.add_argument("--ablation", action="store_true", help="train the networks of the ablation too")
    arguments = parser.parse_args()
    task, out = nr.tasks.ecg(), files.make_folder(arguments.out)
    for position, seed in enumerate(SEEDS):
        for method in arguments.methods:
            rate, _ = chosen_rate(task, method, out)
            if position:
                trained(task, method, rate, seed, out)
    if arguments.ablation:
        rate, _ = chosen_rate(task, "adversarial", out)
        for seed in SEEDS:
            for name, rule in ABLATION.items():
                folder = files.make_folder(out / name.replace(" ", "_"))
                trained(task, "adversarial", rate, seed, folder, partial(dpi_neurons, rule=rule))


if __name__ == "__main__":
    main()
