"""Heart beats on dynapse2 with the physics of its neurons: every method retrained, and networks without a floor beside.

    python -m benchmarks.floor_study --out runs/floor --train                 # the trainings, hours on one core
    python -m benchmarks.floor_study --out runs/floor                         # what is missing of them, then measures
    python -m benchmarks.floor_study --out runs/floor --collect benchmarks/results/floor_study.json
    python -m benchmarks.floor_study --out benchmarks/results/floor_study.json --summary     # prints the tables

Networks: 128 neurons of :func:`neurorobust.data.recurrent.dpi_neurons` (a floor and a reset at rest, synapses and
refractory time of 5 ms), ``EPOCHS`` epochs. Every method is tuned with the same effort, with seed 0: three learning
rates with its first settings, further doubled as long as the largest is the best, then its three other settings at the
best rate. The candidate with the best score on
validation data is used for all seeds; the score is that of ``benchmarks.robustness``. Test beats and dies of seed
``DIES`` are used for nothing else.

Ablation: the adversarial networks without adaptation, and with a threshold that adapts.

Beside them: the networks of the zoo for heart beats, trained without a floor, with one put in afterwards
(``nr.nn.with_floor``): as they stand, trimmed, and trained on for ``TUNED`` epochs with the floor.

Each training resumes from its checkpoint, and each measurement is one file; an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import nn

import neurorobust as nr
from benchmarks.robustness.tables import mean_and_range, table
from benchmarks.robustness.work import tuning_score
from neurorobust._util import digests, files
from neurorobust.attacks import Ball
from neurorobust.chip.installed import chip_model
from neurorobust.data import Task
from neurorobust.data.recurrent import Hidden, dpi_neurons
from neurorobust.dynamics import Adaptation, AdaptiveThreshold
from neurorobust.evaluation import evaluate, paired_interval, strong_worst_case, transfer
from neurorobust.io import zoo
from neurorobust.nn import Network, with_floor
from neurorobust.train.loop import SELECTION, fit
from neurorobust.train.methods import METHODS, SCHEDULE, Trial

ORDER = ("standard", "forward_noise", "adversarial", "awp", "adversarial_weights")
RATES, SEEDS, EPOCHS, N_HIDDEN = (3e-3, 1e-2, 2e-2), (0, 1, 2), 20, 128
ABLATION: dict[str, Adaptation | None] = {"no adaptation": None, "adaptive threshold": AdaptiveThreshold()}
CHIP = "dynapse2"
STUDY, SHIPPED = "ecg_dpi", ("standard", "forward_noise", "adversarial")
DIES, TRIM, ATTACKED, ZETA, SYNAPSE, TUNED = 1, 50, 200, 0.05, 5e-3, 10


MARK = "<!-- tables: python -m benchmarks.floor_study --collect -->"
"""The command writes its part of the page after this line."""

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
        while (rate := max(scores, key=scores.__getitem__)[1]) == max(each for _, each in scores):
            scores[0, 2 * rate] = _score(task, method, (0, 2 * rate), out)
        for number in range(1, len(METHODS[method].trials)):
            scores[number, rate] = _score(task, method, (number, rate), out)
        entries = [{"trial": number, "rate": rate, "score": score} for (number, rate), score in scores.items()]
        digests.write_json(path, {"candidates": entries})
    entries = digests.read_json(path, "remove it to tune again.")["candidates"]
    best = max(entries, key=lambda entry: entry["score"])
    return best["trial"], best["rate"]


def _score(task: Task, method: str, candidate: Candidate, out: Path) -> float:
    """The score of the older study on validation data."""
    network, _ = trained(task, method, candidate, SEEDS[0], out)
    return tuning_score(network, task.validation, SEEDS[0])["score"]


def ablated(task: Task, name: str, seed: int, out: Path) -> nn.Module:
    """The adversarial network with another adaptation."""
    hidden = partial(dpi_neurons, rule=ABLATION[name])
    folder = files.make_folder(out / name.replace(" ", "_"))
    return trained(task, "adversarial", tuned(task, "adversarial", out), seed, folder, hidden)[0]


def floored(name: str) -> tuple[nn.Module, Trial]:
    """A network of the zoo with a floor put in, and the trial by which it was trained."""
    network, info = nr.zoo.load(f"ecg/{name}")
    assert isinstance(network, Network)
    return with_floor(network, tau_syn=SYNAPSE), METHODS[name].trials[info["trial"]]


def fine_tuned(task: Task, name: str, out: Path) -> nn.Module:
    """A network of the zoo, trained on with the floor by its own method and settings; seed 0."""
    folder = out / f"tuned-{name}"
    if not (folder / "config.json").exists():
        network, trial = floored(name)
        loss = METHODS[name].regularize(task.loss, chip_model(CHIP), **trial.settings)
        fit(network, task, loss, epochs=TUNED, seed=0, out=folder, schedule=SCHEDULE)
        nr.save(network, folder, {"task": task.name, "chip": CHIP, "method": name, "seed": 0, "epochs": TUNED})
    return nr.load(folder)[0]


# ---- measurements


def on_dies(network: nn.Module, task: Task) -> dict[str, Any]:
    """Scores of every die: as it stands, and trimmed on labelled and on unlabelled validation beats."""
    trims = {"labelled": nr.Trim(task.validation, TRIM), "unlabelled": nr.Trim(task.validation.x, TRIM)}
    found: dict[str, Any] = {}
    for place, chip in (("chip", chip_model(CHIP)), ("mismatch", nr.mismatch(0.3))):
        scores: dict[str, list[float]] = {}
        for name, trim in trims.items():
            fleet = evaluate(network, task.test, chip, n_dies=100, seed=DIES, trim=trim)
            assert fleet.trimmed is not None
            scores |= {"as it stands": fleet.score.tolist(), name: fleet.trimmed.score.tolist()}
        found |= {place: scores, "nominal": fleet.nominal}
        found |= {"programmed": fleet.programmed, "equations": str(fleet.equations)} if place == "chip" else {}
    return found


def attacked(network: nn.Module, task: Task, die: Path) -> dict[str, Any]:
    """The worst die that the strong suite finds in the ball of what the chip holds; the die itself goes to a file."""
    worst = strong_worst_case(network, task.test.balanced(ATTACKED), Ball.uniform(ZETA).on_chip(network), seed=DIES)
    with files.replacing(die) as temporary:
        safetensors.torch.save_file(dict(worst.deviations), temporary)
    keys = ("score", "nominal", "recall", "attack", "passes", "suite", "at_floor")
    return {key: getattr(worst, key) for key in keys}


def transferred(network: nn.Module, task: Task, dies: Sequence[Path]) -> dict[str, Any]:
    """The worst of the dies that were found for other networks."""
    candidates = [safetensors.torch.load_file(die) for die in dies]
    ball = Ball.uniform(ZETA).on_chip(network)
    return {"score": transfer(network, task.test.balanced(ATTACKED), ball, candidates).score, "dies": len(dies)}


def once(path: Path, make: Callable[[], dict[str, Any]]) -> None:
    """Write a measurement, unless it is there."""
    if not path.exists():
        digests.write_json(path, make())


def measure(task: Task, out: Path) -> None:
    """Measure every network: dies first, then attacks, then the dies found for the others."""
    plain = {f"{method}-{seed}": (method, seed) for seed in SEEDS for method in ORDER}
    networks = {name: trained(task, m, tuned(task, m, out), seed, out)[0] for name, (m, seed) in plain.items()}
    others = {f"{name}-{seed}": ablated(task, name, seed, out) for seed in SEEDS for name in ABLATION}
    others |= {f"{name}, floor put in": floored(name)[0] for name in ORDER}
    others |= {f"{name}, trained on": fine_tuned(task, name, out) for name in ORDER}
    for name, network in (networks | others).items():
        once(out / f"{name}.dies.json", partial(on_dies, network, task))
    dies = {name: out / f"{name}.worst.safetensors" for name in networks}
    for name, network in networks.items():
        once(out / f"{name}.attack.json", partial(attacked, network, task, dies[name]))
    for name, network in networks.items():
        apart = [die for other, die in dies.items() if other != name]
        once(out / f"{name}.transfer.json", partial(transferred, network, task, apart))


def collected(out: Path) -> dict[str, Any]:
    """All measurements and tunings of a folder."""
    if out.is_file():
        return json.loads(out.read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for path in sorted(out.glob("*.json")):
        name, _, part = path.stem.rpartition(".")
        found.setdefault(name, {})[part] = digests.read_json(path, "remove it to measure again.")
    return found


def publish(task: Task, out: Path) -> None:
    """Put the networks of the first seed into the zoo."""
    for method in SHIPPED:
        network, info = trained(task, method, tuned(task, method, out), SEEDS[0], out)
        nr.save(network, zoo.FOLDER / STUDY / method, info | {"study": STUDY}, packed=True)


# ---- tables


Number = Callable[[dict[str, Any]], float]


def on(place: str, kind: str, statistic: Callable[[Any], float]) -> Number:
    """A statistic over the dies of a network."""
    return lambda one: float(statistic(one["dies"][place][kind]))


AS_IT_STANDS = ("as it stands",)
TRIMMED = ("unlabelled", "labelled")
PLACES = {"dynapse2": "chip", "mismatch 0.3": "mismatch"}
STATISTICS: dict[str, Callable[[Any], float]] = {"mean": np.mean, "min": min}


def die_columns(kinds: Sequence[str]) -> dict[str, Number]:
    """Columns of dies, by their titles."""
    return {
        f"{title} {how}" if kind == "as it stands" else f"{title} {how}, {kind}": on(place, kind, statistic)
        for title, place in PLACES.items()
        for kind in kinds
        for how, statistic in STATISTICS.items()
    }


TABLES: dict[str, dict[str, Number]] = {
    "As they stand": {"nominal": lambda one: one["dies"]["nominal"], **die_columns(AS_IT_STANDS)},
    f"Trimmed on {TRIM} validation beats per die": die_columns(TRIMMED),
    f"Worst die inside ζ = {ZETA} of what the chip holds, {ATTACKED} beats": {
        "these beats, no error": lambda one: one["attack"]["nominal"],
        "strong": lambda one: one["attack"]["score"],
        "dies of the others": lambda one: one["transfer"]["score"],
        "at the floor": lambda one: one["attack"]["at_floor"],
    },
}


def summary(results: Mapping[str, Any]) -> str:
    """The tables in Markdown: means over seeds, with the lowest and the highest."""
    groups = {name: [f"{name}-{seed}" for seed in SEEDS] for name in (*ORDER, *ABLATION)}
    groups |= {f"{name}, {what}": [f"{name}, {what}"] for what in ("floor put in", "trained on") for name in ORDER}
    text = ""
    for title, columns in TABLES.items():
        rows = []
        for name, names in groups.items():
            cells, n = [], 0
            for number in columns.values():
                found = _numbers(results, names, number)
                cells.append(mean_and_range(found) if found else "–")
                n = max(n, len(found))
            if n:
                rows.append([name, str(n), *cells])
        text += f"{title}:\n\n{table(['network', 'n', *columns], rows)}\n"
    return f"{text}Tried on validation data, seed 0:\n\n{tuning(results)}\n{paired(results)}"


def _numbers(results: Mapping[str, Any], names: Sequence[str], number: Number) -> list[float]:
    found = []
    for name in names:
        try:
            found.append(number(results[name]))
        except KeyError:  # not measured
            continue
    return found


def tuning(results: Mapping[str, Any]) -> str:
    """The settings tried for each method, on validation data."""
    rows = []
    for name in ORDER:
        if "tuning" in results.get(name, {}):
            for one in results[name]["tuning"]["candidates"]:
                trial = METHODS[name].trials[one["trial"]]
                rate = trial.schedule.get("learning_rate", one["rate"]) if one["trial"] else one["rate"]
                settings = ", ".join(f"{key} {value:g}" for key, value in trial.settings.items())
                rows.append([name, f"{rate:g}", settings or "–", f"{one['score']:.3f}"])
    return table(["method", "learning rate", "settings", "score on validation data"], rows)


def paired(results: Mapping[str, Any]) -> str:
    """Adversarial minus each rival: means over the same seeds and dies, with 95 % intervals."""
    rows = []
    for rival in ORDER:
        if rival == "adversarial" or not all(f"{rival}-{seed}" in results for seed in SEEDS):
            continue
        cells = []
        for place in ("chip", "mismatch"):
            for kind in ("as it stands", "labelled"):
                ours, theirs = (
                    np.array([results[f"{name}-{seed}"]["dies"][place][kind] for seed in SEEDS])
                    for name in ("adversarial", rival)
                )
                found = paired_interval(100 * ours, 100 * theirs)
                cells.append(f"{found.estimate:+.1f} [{found.low:+.1f}, {found.high:+.1f}]")
        rows.append([rival, *cells])
    header = [f"{place}, {kind}" for place in ("dynapse2", "mismatch 0.3") for kind in ("as it stands", "trimmed")]
    return "Adversarial minus each rival, points:\n\n" + table(["rival", *header], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/floor"), help="folder of all results")
    parser.add_argument("--train", action="store_true", help="only train")
    parser.add_argument("--summary", action="store_true", help="only print the tables of finished results")
    parser.add_argument("--publish", action="store_true", help="only put the networks of the first seed into the zoo")
    parser.add_argument("--collect", type=Path, help="write all results to FILE.json and the tables to FILE.md")
    arguments = parser.parse_args()
    if arguments.publish:
        return publish(nr.tasks.ecg(), arguments.out)
    if not (arguments.summary or arguments.collect):
        task, out = nr.tasks.ecg(), files.make_folder(arguments.out)
        for seed in SEEDS:
            for method in ORDER:
                trained(task, method, tuned(task, method, out), seed, out)
        if not arguments.train:
            measure(task, out)
    results = collected(arguments.out)
    if arguments.collect:
        files.write_text(arguments.collect, json.dumps(results, indent=1) + "\n")
        page = arguments.collect.with_suffix(".md")
        before, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
        files.write_text(page, f"{before}{mark}\n\n{summary(results)}")
    print(summary(results))


if __name__ == "__main__":
    main()
