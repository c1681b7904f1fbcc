"""The main job: a standard and a robust network on heart beats, on the same dies and under the same attacks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import __version__
from ._util import digests, files
from .attacks import Ball, quick, thorough
from .chip import ChipModel, mismatch
from .core.run import evaluating, forward, nominal
from .data import Data, Task
from .evaluation import FleetResult, balanced_accuracy, compare, evaluate
from .evaluation.worst_case import search_worst_case
from .io.models import save
from .train.loop import SELECTION, History, fit
from .train.methods import SCHEDULE, method
from .viz import report

NETWORKS = {"standard": "standard", "robust": "adversarial"}


@dataclass(frozen=True)
class Size:
    """Size of the demo.

    Attributes:
        n_hidden: neurons. epochs: of each training. seconds: time budget of each training.
        n_dies: dies per fleet. attacked: test beats for the attacks, equally many per class.
        quick, thorough: sizes ζ of the suites :func:`neurorobust.attacks.quick` and
            :func:`neurorobust.attacks.thorough`. steps, restarts: of the second.
    """

    n_hidden: int = 128
    epochs: int = 30
    seconds: float = 210.0
    n_dies: int = 100
    attacked: int = 200
    quick: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    thorough: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    steps: int = 30
    restarts: int = 3


def fleet_json(result: FleetResult, spec: float) -> dict:
    """A fleet as one JSON object; mean, std, min, q05, nominal and programmed are of balanced accuracy."""
    quantized = not result.chip.startswith("mismatch ")
    good = result.yield_at(spec)
    return {
        "nominal": result.nominal,
        "programmed": result.programmed if quantized else None,
        "accuracy": None if result.accuracy is None else result.accuracy.tolist(),
        "balanced_accuracy": result.balanced_accuracy.tolist(),
        "mean": result.mean,
        "std": _number(result.std),
        "min": result.min,
        "q05": result.quantile(0.05),
        "ci95": [_number(bound) for bound in result.ci95],
        "yield": {"spec": good.spec, "fraction": good.fraction, "ci95": list(good.ci95)},
        "recall": None if result.recall is None else result.recall.mean(0).tolist(),
        "chip": result.chip if quantized else None,
        "seed": result.seed,
    }


def training_json(history: History) -> dict:
    """The facts of a training for the report."""
    return {
        "epochs": len(history.rows),
        "epochs_planned": history.epochs_planned,
        "out_of_time": history.out_of_time,
        "best_epoch": history.best_epoch,
        "best_score": history.best_score,
        "seconds": round(history.seconds, 1),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def train(task: Task, chip: ChipModel, name: str, out: Path, *, seed: int, size: Size) -> tuple[nn.Module, History]:
    """Train one network by one method and save it to a folder; an interrupted run found there continues."""
    chosen = method(name)
    network = task.network(chip, n_hidden=size.n_hidden, seed=seed)
    schedule = replace(SCHEDULE, max_seconds=size.seconds)
    history = fit(
        network,
        task,
        chosen.regularize(task.loss, chip),
        epochs=size.epochs,
        seed=seed,
        out=out,
        schedule=schedule,
    )
    info = {
        "task": task.name,
        "chip": chip.name,
        "method": name,
        "seed": seed,
        "selection": SELECTION,
        "data_sha256": task.data_sha256,
        "version": __version__,
    } | training_json(history)
    save(network, out, info)
    return network, history


def demo(task: Task, chip: ChipModel, out: Path, *, seed: int = 0, size: Size = Size(), say: Callable = print) -> dict:
    """Run the main job and write ``results.json``, ``results.csv``, figures, ``report.html`` and two model folders.

    Args:
        task: the task. chip: the chip of the networks. out: folder.
        seed: of training; dies and attacks use seed + 1, so training never uses them.
        size: sizes of all parts. say: function that receives a line of text before each part.

    Returns:
        The content of ``results.json``, without its digest.

    Raises:
        OSError: another run uses the folder.
    """
    with files.locked(files.make_folder(out)):
        return _demo(task, chip, out, seed=seed, size=size, say=say)


def _demo(task: Task, chip: ChipModel, out: Path, *, seed: int, size: Size, say: Callable) -> dict:
    started = time.perf_counter()
    results: dict[str, Any] = {
        "version": __version__,
        "task": task.name,
        "classes": list(task.classes),
        "chip": chip.name,
        "chip_title": chip.title,
        "chip_notes": list(chip.notes),
        "seed": seed,
        "spec": 0.9,
        "n_dies": size.n_dies,
        "attacked_samples": min(size.attacked, len(task.test)),
        "test_samples": len(task.test),
        "selection": SELECTION,
        "networks": {},
    }
    fleets, trained = {}, {}
    for label, name in NETWORKS.items():
        title = str(method(name))
        say(f"training the {label} network ({title}), at most {size.seconds:.0f} s …")
        trained[label], history = train(task, chip, name, out / label, seed=seed, size=size)
        entry = {"method": name, "title": title} | training_json(history)
        say(
            f"{size.n_dies} dies of {chip.name} and {size.n_dies} with mismatch 0.3, {len(task.test)} test beats each …"
        )
        fleets[label] = evaluate(trained[label], task.test, chip, n_dies=size.n_dies, seed=seed + 1)
        spread = evaluate(trained[label], task.test, mismatch(0.3), n_dies=size.n_dies, seed=seed + 1)
        entry["fleet"], entry["mismatch"] = (fleet_json(fleet, results["spec"]) for fleet in (fleets[label], spread))
        entry["programming"] = fleets[label].programming
        entry["attacks"] = attacks(trained[label], task, size, seed + 1, say)
        entry["nominal_attacked"] = nominal_score(trained[label], task.test.balanced(size.attacked))
        results["networks"][label] = entry
    paired = compare(fleets["robust"], fleets["standard"])
    results["paired"] = {
        "difference": paired.difference,
        "ci95": [_number(bound) for bound in paired.ci95],
        "better": paired.better,
        "n": paired.n,
    }
    results["example"] = first_beats(trained, task)
    results["seconds"] = time.perf_counter() - started
    digests.write_json(out / "results.json", results)
    report.write(out)
    return results


def nominal_score(network: nn.Module, data: Data) -> float:
    """Balanced accuracy at the nominal parameters."""
    with torch.no_grad(), evaluating(network):
        return balanced_accuracy(forward(network, nominal(network), data.x)[0], data.y)


def attacks(network: nn.Module, task: Task, size: Size, seed: int, say: Callable) -> dict:
    """Balanced accuracy under the quick and the thorough suite, by size ζ, on equally many test beats per class.

    Where the quick suite reaches chance, the thorough one is not run: it contains the quick one, so it can only find
    worse dies.
    """
    data = task.test.balanced(size.attacked)
    found: dict[str, dict] = {"quick": {}, "thorough": {}}
    for suite, sizes in (("quick", size.quick), ("thorough", size.thorough)):
        attack = quick() if suite == "quick" else thorough(size.steps, size.restarts)
        for zeta in sizes:
            weaker = found["quick"].get(f"{zeta:g}")
            if suite == "thorough" and weaker is not None and weaker["balanced_accuracy"] <= 1 / len(task.classes):
                say(f"thorough attack at ζ = {zeta:g} left out: the quick attack reaches chance")
                found[suite][f"{zeta:g}"] = weaker
                continue
            say(f"{suite} attack, every kind, ζ = {zeta:g}, {len(data)} test beats …")
            worst = search_worst_case(network, data, Ball.uniform(zeta), attack, seed=seed)
            found[suite][f"{zeta:g}"] = {
                "nominal": worst.nominal,
                "balanced_accuracy": worst.balanced_accuracy,
                "recall": list(worst.recall),
                "version": worst.suite,
                "caution": worst.caution,
            }
    return found


def hidden_spikes(network: nn.Module, x: Tensor) -> Tensor:
    """Spikes of the hidden layer, (T, B, n), at the nominal parameters."""
    with torch.no_grad(), evaluating(network):
        return forward(network, nominal(network), x)[1]["hidden"]


def first_beats(networks: dict[str, nn.Module], task: Task) -> dict:
    """Events and hidden spikes of the first test beat of each class, as lists of (step, channel)."""
    shown = {}
    for label, title in enumerate(task.classes):
        chosen = task.test.y == label
        x = task.test.x[chosen][:1]
        spikes = {name: hidden_spikes(network, x)[:, 0] for name, network in networks.items()}
        shown[title] = {
            "steps": x.shape[1],
            "dt": next(iter(networks.values())).dt,
            "channels": x.shape[2],
            "recording": None if task.test.recording is None else task.test.recording[chosen][0].tolist(),
            "events": x[0].nonzero().tolist(),
            "spikes": {name: value.nonzero().tolist() for name, value in spikes.items()},
            "neurons": {name: value.shape[1] for name, value in spikes.items()},
        }
    return shown
