"""Heart beats on dynapse2 with the physics of its neurons: every method retrained, and networks without a floor beside.

    python -m benchmarks.floor_study --out runs/floor --train                 # the trainings, hours on one core
    python -m benchmarks.floor_study --out runs/floor                         # what is missing of them, then measures
    python -m benchmarks.floor_study --out benchmarks/results/floor_study.json --summary     # prints the tables

Networks: 128 neurons of :func:`neurorobust.data.recurrent.dpi_neurons` (a floor and a reset at rest, synapses and
refractory time of 5 ms), ``EPOCHS`` epochs. Every method is tuned with the same effort, with seed 0: three learning
rates with its first settings, then its three other settings at the best rate. The candidate with the best score on
validation data is used for all seeds; the score is that of ``benchmarks.robustness``. Test beats and dies of seed
``DIES`` are used for nothing else.

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
from typing import Any

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
RATES, SEEDS, EPOCHS, N_HIDDEN = (3e-3, 1e-2, 2e-2), (0, 1, 2), 20, 128
ABLATION: dict[str, Adaptation | None] = {"no adaptation": None, "adaptive threshold": AdaptiveThreshold()}
CHIP, TUNING_DIES, TUNING_FLEET = "dynapse2", 2, 20


Candidate = tuple[int, float]
"""A trial of the method, by number, and a learning rate."""


def trained(
    task: Task, method: str, candidate: Candidate, seed: int, out: Path, hidden: Hidden = dpi_neurons
) -> tuple[nn.Module, dict]:
    """The network of a method, trained now if it is missing, and the facts that were saved with it."""
    number, rate = candidate
    folder = out / f"{method}-{number}-{rate:g}-{seed}"
    if not (folder / "config.json").exists():
        chip, trial = chip_model(CHIP), METHODS[method].trials[number]
        network = task.network(chip, n_hidden=N_HIDDEN, seed=seed, hidden=hidden)
        loss = METHODS[method].regularize(task.loss, chip, **trial.settings)
        changes: dict[str, Any] = {"learning_rate": rate, **trial.schedule}
        schedule = replace(SCHEDULE, **changes)
        history = fit(network, task, loss, epochs=EPOCHS, seed=seed, out=folder, schedule=schedule)
        facts = {
            "task": task.name,
            "chip": CHIP,
            "method": method,
            "settings": dict(trial.settings),
            "learning_rate": schedule.learning_rate,
            "seed": seed,
            "selection": SELECTION,
            "epochs": len(history.rows),
            "best_epoch": history.best_epoch,
            "seconds": round(history.seconds, 1),
        }
        nr.save(network, folder, facts)
    return nr.load(folder)


def tuned(task: Task, method: str, out: Path) -> Candidate:
    """The candidate with the best score on validation data, seed 0: the rates with the first trial's settings, then the
    other trials at the best rate. ``METHOD.tuning.json`` holds every score."""
    path = out / f"{method}.tuning.json"
    if not path.exists():
        scores = {(0, rate): _score(task, method, (0, rate), out) for rate in RATES}
        rate = max(scores, key=scores.__getitem__)[1]
        for number in range(1, len(METHODS[method].trials)):
            scores[number, rate] = _score(task, method, (number, rate), out)
        entries = [{"trial": number, "rate": rate, "score": score} for (number, rate), score in scores.items()]
        digests.write_json(path, {"candidates": entries})
    entries = digests.read_json(path, "remove it to tune again.")["candidates"]
    best = max(entries, key=lambda entry: entry["score"])
    return best["trial"], best["rate"]


def _score(task: Task, method: str, candidate: Candidate, out: Path) -> float:
    """The mean of three scores on validation data: clean, under the quick suite, and over dies of mismatch 0.3."""
    network, _ = trained(task, method, candidate, SEEDS[0], out)
    fleet = evaluate(network, task.validation, nr.mismatch(0.3), n_dies=TUNING_FLEET, seed=TUNING_DIES)
    return (sum(selection_score(network, task.validation, SEEDS[0])) + fleet.mean) / 3


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
            candidate = tuned(task, method, out)
            if position:
                trained(task, method, candidate, seed, out)
    if arguments.ablation:
        candidate = tuned(task, "adversarial", out)
        for seed in SEEDS:
            for name, rule in ABLATION.items():
                folder = files.make_folder(out / name.replace(" ", "_"))
                trained(task, "adversarial", candidate, seed, folder, partial(dpi_neurons, rule=rule))


if __name__ == "__main__":
    main()
