"""Accuracy of a network under quick attacks and under the strong suite, and the epoch that each attack keeps.

    python -m benchmarks.quick_attack --out benchmarks/results/quick_attack.json --part validation
    python -m benchmarks.quick_attack --out benchmarks/results/quick_attack.json              # 25 minutes in all
    python -m benchmarks.quick_attack --out benchmarks/results/quick_attack.json --summary    # prints the tables

Networks: those of the zoo for heart beats and keywords, and networks for spoken digits that are trained here, briefly.
Every measurement is written when it is made, so an interrupted run continues; an interrupted training starts anew.

*Rankings*: ``SAMPLES`` test samples of each task, ζ in ``ZETAS``. The ten-step attack on KL, cross-entropy and margin
with the seeds ``SEEDS``, the same in five steps, and strong-1 with seed 1. The score of a suite is the minimum of its
members' scores.

*Kept epochs*: each training is evaluated after every epoch, on all validation data at ζ = 0.05, under each of the three
ten-step attacks (seed 0). What each rule keeps is then evaluated on test samples under strong-1.

The members of ``quick-1`` were chosen by the validation data (``--part validation``); test data were not used for it.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import time
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

import neurorobust as nr
from benchmarks.robustness.tables import mean_and_range, table
from neurorobust._util import files
from neurorobust._util.randomness import generator
from neurorobust.attacks import PGA
from neurorobust.core.run import evaluating, nominal
from neurorobust.data import Data, Task
from neurorobust.data.recurrent import recurrent_network
from neurorobust.data.synthesis import Word, digest, spoken
from neurorobust.data.tasks.keywords import ACCENTS, CHANNELS, CHUNK, DT, Clips, mix, speakers
from neurorobust.data.tasks.keywords import task_of as as_currents
from neurorobust.evaluation.predict import predict
from neurorobust.evaluation.statistics import score
from neurorobust.train import Schedule, loop
from neurorobust.train.methods import METHODS

SAMPLES, SEEDS, STRONG_SEED = 200, (1, 2, 3), 1
ZETAS = {"ecg": (0.05, 0.02), "keywords": (0.05,), "digits": (0.05,)}
OBJECTIVES = ("kl", "ce", "margin")
ZOO = (
    *("ecg/standard", "ecg/forward_noise", "ecg/adversarial", "ecg/adversarial_weights", "ecg/awp"),
    *("keywords/standard", "keywords/adversarial"),
)
TRAININGS = ("digits/standard", "digits/forward_noise", "digits/adversarial", "ecg/forward_noise", "ecg/standard")
TRAINED = tuple(name for name in TRAININGS if name.startswith("digits"))
EPOCHS, N_HIDDEN, CLEAR = 12, 64, 0.02
RULES: dict[str, tuple[str, ...]] = {
    "KL": ("kl",),
    "CE": ("ce",),
    "margin": ("margin",),
    "KL, CE": ("kl", "ce"),
    "KL, margin": ("kl", "margin"),
    "CE, margin": ("ce", "margin"),
    "KL, CE, margin": OBJECTIVES,
}
DIGITS = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
RENDITIONS = 3


@cache
def task_of(name: str) -> Task:
    """A task of the package by its name, or the spoken digits."""
    return digits() if name == "digits" else getattr(nr.tasks, name)()


def digits() -> Task:
    """Ten spoken digits: the voices, sounds, noise and features of the task ``keywords``, other words."""
    scripts, labels = [], []
    for part, voices in enumerate(speakers()):
        draw = np.random.Generator(np.random.Philox(key=[10, part]))
        spelled = [(voice, label) for voice in voices for label in range(10) for _ in range(RENDITIONS)]
        labels.append(torch.tensor([label for _, label in spelled]))
        scripts.append(
            [
                Word(
                    f"{ACCENTS[draw.integers(len(ACCENTS))]}+{voice}",
                    DIGITS[label],
                    int(draw.integers(150, 231)),
                    int(draw.integers(30, 71)),
                )
                for voice, label in spelled
            ]
        )
    sounds = spoken(tuple(word for script in scripts for word in script))
    rest, parts = iter(sounds), []
    for number, script in enumerate(scripts):
        own, key = [next(rest) for _ in script], generator(0, "digits", number)
        mixed = [mix(own[i : i + CHUNK], key) for i in range(0, len(own), CHUNK)]
        parts.append(Clips(np.concatenate(mixed), labels[number]))
    made = as_currents(parts, f"digits {digest(sounds)}")
    build = partial(recurrent_network, CHANNELS, len(DIGITS), DT)
    return Task("digits", tuple(DIGITS), made.train, made.validation, made.test, functional.cross_entropy, build)


class Results(dict):
    """Results by name in one JSON file, written whenever one is added."""

    def __init__(self, path: Path):
        super().__init__(json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})
        self.path = path

    def add(self, name: str, value: dict) -> None:
        self[name] = value
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(self[key])}" for key in sorted(self))
        files.write_text(self.path, f"{{\n{lines}\n}}\n")
        print(name, json.dumps(value), flush=True)


def quick(network: nn.Module, data: Data, zeta: float, seed: int, steps: int) -> dict[str, float]:
    """The score under each ten-step attack, or one of fewer steps."""
    ball = nr.Ball.uniform(zeta)
    return {
        objective: round(nr.worst_case(network, data, ball, PGA(steps, objective=objective), seed=seed).score, 4)
        for objective in OBJECTIVES
    }


def clean(network: nn.Module, data: Data) -> float:
    """The nominal score."""
    with evaluating(network):
        return round(score(predict(network, nominal(network), data), data.y), 4)


def measure(network: nn.Module, data: Data, zeta: float, *, strong: bool) -> dict:
    """The scores of one network at one ζ, and the seconds of the searches."""
    found: dict = {"samples": len(data), "nominal": clean(network, data)}
    started = time.perf_counter()
    found["ten steps"] = [quick(network, data, zeta, seed, 10) for seed in SEEDS]
    found["seconds of ten steps"] = round((time.perf_counter() - started) / len(SEEDS) / len(OBJECTIVES), 2)
    found["five steps"] = [quick(network, data, zeta, seed, 5) for seed in SEEDS]
    if strong:
        started = time.perf_counter()
        found["strong-1"] = round(attacked(network, data, zeta), 4)
        found["seconds of strong-1"] = round(time.perf_counter() - started, 1)
    return found


def attacked(network: nn.Module, data: Data, zeta: float) -> float:
    """The score that strong-1 leaves."""
    return nr.evaluation.strong_worst_case(network, data, nr.Ball.uniform(zeta), seed=STRONG_SEED).score


def train(name: str) -> tuple[list[dict], dict[int, nn.Module]]:
    """Train a network; the scores after every epoch, and the network of every epoch."""
    task, method = task_of(name.partition("/")[0]), METHODS[name.partition("/")[2]]
    network = task.network(None, n_hidden=N_HIDDEN, seed=0)
    rows: list[dict] = []
    kept: dict[int, nn.Module] = {}

    def look(looked_at: nn.Module, data: Data, seed: int) -> tuple[float, float]:
        row = {"clean": clean(looked_at, data)} | quick(looked_at, data, 0.05, seed, 10)
        kept[len(rows)] = copy.deepcopy(looked_at)
        rows.append(row)
        return row["clean"], min(row[objective] for objective in OBJECTIVES)

    schedule = Schedule(batch_size=25)
    with mock.patch.object(loop, "selection_score", look):
        nr.fit(network, task, method.regularize(task.loss), epochs=EPOCHS, seed=0, schedule=schedule)
    return rows, kept


def kept_epoch(rows: list[dict], members: tuple[str, ...]) -> int:
    """The epoch that a selection under these attacks keeps: the best mean of clean and attacked, else the last."""
    scores = [(row["clean"] + min(row[objective] for objective in members)) / 2 for row in rows]
    return max(range(len(rows)), key=lambda epoch: (scores[epoch], epoch))


def run(results: Results, part: str, folder: Path) -> None:
    """Every training and every measurement that is missing."""
    for name in TRAININGS:
        if f"training {name}" in results:
            continue
        rows, networks = train(name)
        test = task_of(name.partition("/")[0]).test.balanced(SAMPLES)
        epochs = {rule: kept_epoch(rows, members) for rule, members in RULES.items()}
        strong = {}
        for epoch in sorted({epochs["KL"], epochs["KL, CE"], epochs["KL, CE, margin"]}):
            left = round(attacked(networks[epoch], test, 0.05), 4)
            strong[str(epoch)] = {"nominal": clean(networks[epoch], test), "strong-1": left}
        nr.save(networks[epochs["KL"]], folder / name, {"task": name.partition("/")[0]})
        results.add(f"training {name}", {"rows": rows, "kept": epochs, "test": strong})
    for name in (*TRAINED, *ZOO):
        network = nr.load(folder / name)[0] if name in TRAINED else nr.zoo.load(name)[0]
        task = name.partition("/")[0]
        data = getattr(task_of(task), part).balanced(SAMPLES)
        for zeta in ZETAS[task]:
            key = f"{part} {name} {zeta:g}"
            if key not in results:
                results.add(key, measure(network, data, zeta, strong=part == "test"))


# ---- tables


def suites(found: dict) -> dict[str, list[float]]:
    """The score that each suite of ten steps leaves, by seed."""
    return {
        rule: [min(one[objective] for objective in members) for one in found["ten steps"]]
        for rule, members in RULES.items()
    }


def ranking_table(results: Results) -> str:
    """One row for each network and ζ: nominal, what each quick suite leaves (mean of the seeds, and the
    range where they differ), what strong-1 leaves."""
    shown = ("KL", "CE", "margin", "KL, CE", "KL, CE, margin")
    rows = []
    for key, found in results.items():
        part, name, *zeta = key.split(" ")
        if part == "test":
            left = suites(found)
            cells = [mean_and_range(left[rule]) for rule in shown]
            rows.append([name, *zeta, mean_and_range([found["nominal"]]), *cells, mean_and_range([found["strong-1"]])])
    return table(["network", "ζ", "nominal", *shown, "strong-1"], rows)


def agreement_table(results: Results) -> str:
    """One row for each quick suite: how its order of the networks of a task at one ζ agrees with that of strong-1.
    Every seed counts on its own: a user runs one."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for key, found in results.items():
        part, name, *zeta = key.split(" ")
        if part == "test":
            groups.setdefault((name.partition("/")[0], zeta[0]), []).append(found)
    rows = []
    for steps in ("ten steps", "five steps"):
        for rule, members in RULES.items():
            gaps: list[float] = []
            orders: list[float] = []
            signs: list[float] = []  # of each clear pair: below 0 if the quick suite reverses it, 0 if it sees no order
            for group, seed in itertools.product(groups.values(), range(len(SEEDS))):
                left = [min(found[steps][seed][objective] for objective in members) for found in group]
                strong = [found["strong-1"] for found in group]
                gaps += [a - b for a, b in zip(left, strong)]
                orders.append(float(stats.kendalltau(left, strong).statistic) if len(set(left)) > 1 else 0.0)
                for i, j in itertools.combinations(range(len(group)), 2):
                    if abs(strong[i] - strong[j]) >= CLEAR:
                        signs.append((left[i] - left[j]) * np.sign(strong[i] - strong[j]))
            cells = [str(len(members) * (11 if steps == "ten steps" else 6))]
            cells += [f"{100 * np.mean(gaps):.1f}", f"{100 * np.max(gaps):.1f}", f"{np.mean(orders):.2f}"]
            cells += [f"{sum(sign < 0 for sign in signs)} of {len(signs)}", str(sum(sign == 0 for sign in signs))]
            rows.append([f"{rule}, {steps}", *cells])
    head = ["quick suite", "passes", "points above strong-1: mean", "largest", "Kendall τ, mean", "reversed", "tied"]
    return table(head, rows)


def summary(results: Results) -> list[str]:
    """The three tables."""
    return [make(results) for make in (ranking_table, agreement_table, kept_table)]


def kept_table(results: Results) -> str:
    """One row for each training: the epoch that each rule keeps, and what strong-1 leaves of it on test samples."""
    shown = ("KL", "KL, CE", "KL, CE, margin")
    rows = []
    for key, found in results.items():
        if key.startswith("training "):
            row = [key.removeprefix("training ")]
            for rule in shown:
                epoch = found["kept"][rule]
                test = found["test"][str(epoch)]
                row.append(f"{epoch + 1}: {mean_and_range([test['nominal']])} / {mean_and_range([test['strong-1']])}")
            rows.append(row)
    return table(["training", *(f"kept by {rule}: nominal / strong-1" for rule in shown)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/quick_attack/results.json"))
    parser.add_argument("--networks", type=Path, default=Path("runs/quick_attack"), help="folder of trained networks")
    parser.add_argument("--part", choices=["validation", "test"], default="test")
    parser.add_argument("--summary", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    results = Results(arguments.out)
    if not arguments.summary:
        run(results, arguments.part, arguments.networks)
        return
    print("\n".join(summary(results)))


if __name__ == "__main__":
    main()
