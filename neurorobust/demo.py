"""The main job: a standard and a robust network on heart beats, on the same dies and under the same attacks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import __version__
from ._util import digests, files
from ._util.console import progress, several
from .attacks import Ball, Suite, quick, thorough
from .chip import Agreement, ChipModel, agreement, mismatch
from .core.run import evaluating, forward, nominal
from .data import Data, Task
from .evaluation import FleetResult, Trim, balanced_accuracy, compare, compare_yields, evaluate
from .evaluation.floors import LEAK, TRUE, leaky_suite, version_on
from .evaluation.worst_case import WorstCase, find_worst_case, with_floor_fraction, worse
from .io import zoo
from .io.models import save
from .nn.floor import has_floors, using_floor
from .nn.network import placement_of
from .regularizers import Regularizer
from .train.descent import Schedule
from .train.loop import SELECTION, History, estimate, fit
from .train.methods import SCHEDULE, method
from .viz import fleets as kept
from .viz import report

NETWORKS = {"standard": "standard", "robust": "adversarial"}
READY = {"ecg": "ecg_dpi"}
"""By task, the folder of the zoo with networks of the same methods."""
READY_DIES = 10
OTHERS: tuple[float, Mapping[str, float]] = (SCHEDULE.learning_rate, {})
TUNED: Mapping[str, tuple[float, Mapping[str, float]]] = {
    "standard": (1e-2, {}),
    "forward_noise": (8e-2, {}),
    "adversarial": (8e-2, {"beta": 0.25}),
    "awp": (2e-2, {"zeta": 0.05, "gamma": 1.0}),
}
"""By method, the learning rate and the settings for networks of DPI neurons. They are the best of those that
``benchmarks.floor_study`` tried on validation data with seed 0 and 20 epochs."""


@dataclass(frozen=True)
class Size:
    """Size of the demo.

    Attributes:
        n_hidden: neurons. epochs: of each training. learning_rate: of each training; None for that of the method, see
            :func:`plan`. seconds: time budget of each training; none by default, because
            with one the result would depend on the load of the machine.
        n_dies: dies per fleet. trim: unlabelled validation beats for the trim of each die.
        taken_apart: of so many of the worst dies of each fleet, every kind is measured by itself, for the explorer.
        attacked: test beats for the attacks, equally many per class.
        quick, thorough: sizes ζ of the suites :func:`neurorobust.attacks.quick` and
            :func:`neurorobust.attacks.thorough`. steps, restarts: of the second.
    """

    n_hidden: int = 128
    epochs: int = 20
    learning_rate: float | None = None
    seconds: float = math.inf
    n_dies: int = 100
    trim: int = 50
    taken_apart: int = 1
    attacked: int = 200
    quick: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    thorough: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    steps: int = 30
    restarts: int = 3


def fleet_json(result: FleetResult, spec: float) -> dict:
    """A fleet as one JSON object; mean, std, min, q05, nominal and programmed are of balanced accuracy. ``trimmed`` has
    the same scores of the dies with trimmed read-outs, the number of samples and the paired gain; null without a trim.
    """
    quantized, trimmed = not result.chip.startswith("mismatch "), None
    if result.trimmed is not None:
        gain = compare(result.trimmed, result)
        trimmed = {"on": result.trimmed.trim, "gain": gain.difference, "gain_ci95": [_number(end) for end in gain.ci95]}
        trimmed |= _scores_json(result.trimmed, spec)
    return {
        "nominal": result.nominal,
        "programmed": result.programmed if quantized else None,
        **_scores_json(result, spec),
        "trimmed": trimmed,
        "chip": result.chip if quantized else None,
        "seed": result.seed,
        "equations": None if result.equations is None else result.equations.entry(),
    }


def _scores_json(result: FleetResult, spec: float) -> dict:
    """The scores of all dies and their statistics."""
    good = result.yield_at(spec)
    return {
        "accuracy": None if result.accuracy is None else result.accuracy.tolist(),
        "balanced_accuracy": result.balanced_accuracy.tolist(),
        "mean": result.mean,
        "std": _number(result.std),
        "min": result.min,
        "q05": result.quantile(0.05),
        "ci95": [_number(bound) for bound in result.ci95],
        "yield": {"spec": good.spec, "fraction": good.fraction, "ci95": list(good.ci95)},
        "recall": None if result.recall is None else result.recall.mean(0).tolist(),
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


def agreement_of(network: nn.Module, chip: ChipModel) -> Agreement:
    """Whether the equations of a network are those of a chip, in one line."""
    return agreement(chip.name, chip.neuron, placement_of(network))


@dataclass(frozen=True)
class Plan:
    """A training that has not begun: the name of the method, the fresh network, the regularized loss, the schedule, and
    all of it in words."""

    method: str
    network: nn.Module
    loss: Regularizer
    schedule: Schedule
    title: str


def plan(
    task: Task,
    chip: ChipModel,
    name: str,
    *,
    seed: int,
    size: Size,
    network: nn.Module | None = None,
    **options: Any,
) -> Plan:
    """The training of a network by a method. Networks with a floor take rate and settings of :data:`TUNED`.

    Args:
        network: fresh; by default the task builds it.
        options: of the builder of networks, see :meth:`neurorobust.data.Task.network`.
    """
    if network is None:
        network = task.network(chip, n_hidden=size.n_hidden, seed=seed, **options)
    rate, settings = TUNED.get(name, OTHERS) if has_floors(network) else OTHERS
    rate = size.learning_rate or rate
    schedule = replace(SCHEDULE, learning_rate=rate, max_seconds=size.seconds)
    chosen = method(name)
    used = {**chosen.trials[0].settings, **settings, "learning rate": rate}
    title = f"{chosen.title} ({', '.join(f'{key} {value:g}' for key, value in used.items())})"
    return Plan(name, network, chosen.regularize(task.loss, chip, **settings), schedule, title)


def train(task: Task, chip: ChipModel, planned: Plan, out: Path, *, seed: int, size: Size) -> tuple[nn.Module, History]:
    """Train the network of a plan and save it to a folder; an interrupted run found there continues."""
    network, schedule = planned.network, planned.schedule
    history = fit(network, task, planned.loss, epochs=size.epochs, seed=seed, out=out, schedule=schedule)
    info = {
        "task": task.name,
        "chip": chip.name,
        "method": planned.method,
        "seed": seed,
        "learning_rate": schedule.learning_rate,
        "selection": SELECTION,
        "data_sha256": task.data_sha256,
        "version": __version__,
        "equations": agreement_of(network, chip).entry(),
    } | training_json(history)
    save(network, out, info)
    return network, history


def training_seconds(task: Task, plans: Iterable[Plan], size: Size) -> float:
    """Estimated seconds of some trainings, at the present load of this machine."""
    return sum(estimate(each.network, task, each.loss, epochs=size.epochs, schedule=each.schedule) for each in plans)


def demo(task: Task, chip: ChipModel, out: Path, *, seed: int = 0, size: Size = Size(), say: Callable = print) -> dict:
    """Run the main job and write ``results.json``, ``results.csv``, figures, ``report.html`` and two model folders with
    every die (``fleets``).

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
    fleets: dict[str, dict[str, FleetResult]] = {"fleet": {}, "mismatch": {}}
    trained = {}
    trim = Trim(task.validation.x, min(size.trim, len(task.validation)))
    plans = {label: plan(task, chip, name, seed=seed, size=size) for label, name in NETWORKS.items()}
    if not all((out / label / "config.json").exists() for label in NETWORKS):
        if task.name in READY and chip.name == "dynapse2":
            say(first_result(task, chip, min(size.n_dies, READY_DIES), seed + 1))
        minutes = training_seconds(task, plans.values(), size) / 60
        say(
            f"two trainings of {several(size.epochs, 'epoch')}: about {max(1, round(minutes))} min at "
            f"the present load of this machine; then dies and attacks, about as long as that or less …"
        )
    for label, planned in plans.items():
        say(f"training the {label} network ({planned.title}), {several(size.epochs, 'epoch')} …")
        trained[label], history = train(task, chip, planned, out / label, seed=seed, size=size)
        entry = {"method": planned.method, "title": planned.title} | training_json(history)
        say(
            f"{size.n_dies} dies of {chip.name} and {size.n_dies} with mismatch 0.3, {len(task.test)} test beats each …"
        )
        for where, model in (("fleet", chip), ("mismatch", mismatch(0.3))):
            fleet = evaluate(trained[label], task.test, model, n_dies=size.n_dies, seed=seed + 1, trim=trim)
            fleets[where][label], entry[where] = fleet, fleet_json(fleet, results["spec"])
            info = {"task": task.name, "method": label, "seed": seed}
            found = kept.records(trained[label], task.test, model, fleet, info, taken_apart=size.taken_apart)
            kept.keep(found, out / label)
        entry["programming"] = fleets["fleet"][label].programming
        entry["attacks"] = attacks(trained[label], task, size, seed + 1, say)
        entry["nominal_attacked"] = nominal_score(trained[label], task.test.balanced(size.attacked))
        results["networks"][label] = entry
    paired = compare(fleets["fleet"]["robust"], fleets["fleet"]["standard"])
    results["paired"] = {
        "difference": paired.difference,
        "ci95": [_number(bound) for bound in paired.ci95],
        "better": paired.better,
        "n": paired.n,
    }
    results["yields"] = {
        where: asdict(compare_yields(found["robust"], found["standard"], results["spec"]))
        for where, found in fleets.items()
    }
    results["example"] = first_beats(trained, task)
    results["seconds"] = time.perf_counter() - started
    digests.write_json(out / "results.json", results)
    report.write(out)
    return results


def first_result(task: Task, chip: ChipModel, n_dies: int, seed: int) -> str:
    """The first dies of two networks of the zoo, which were trained before, in one line: a result within seconds."""
    found = []
    for label, name in NETWORKS.items():
        fleet = evaluate(zoo.load(f"{READY[task.name]}/{name}")[0], task.test, chip, n_dies=n_dies, seed=seed)
        found.append(f"{label} {fleet.mean:.3f}, the worst die {fleet.min:.3f}")
    return (
        f"balanced accuracy of two networks of the zoo on {n_dies} dies of {chip.name}: {'; '.join(found)}; now the "
        f"same with networks trained here …"
    )


def nominal_score(network: nn.Module, data: Data) -> float:
    """Balanced accuracy at the nominal parameters."""
    with torch.no_grad(), evaluating(network):
        return balanced_accuracy(forward(network, nominal(network), data.x)[0], data.y)


def attacks(network: nn.Module, task: Task, size: Size, seed: int, say: Callable) -> dict:
    """Balanced accuracy under the quick and the thorough suite, by size ζ, on equally many test beats per class. What
    the chip holds is attacked: not a read-out on the host.

    Where the quick suite reaches chance, the thorough one is not run: it contains the quick one, so it can only find
    worse dies. Elsewhere only the members are run that the quick one does not have.
    """
    data = task.test.balanced(size.attacked)
    found: dict[str, dict] = {"quick": {}, "thorough": {}}
    already: dict[float, list[WorstCase]] = {}
    at_floor: float | None = None
    for suite, sizes in (("quick", size.quick), ("thorough", size.thorough)):
        whole = quick() if suite == "quick" else thorough(size.steps, size.restarts)
        for zeta in sizes:
            weaker = found["quick"].get(f"{zeta:g}")
            if suite == "thorough" and weaker is not None and weaker["balanced_accuracy"] <= 1 / len(task.classes):
                say(f"thorough attack at ζ = {zeta:g} left out: the quick attack reaches chance")
                found[suite][f"{zeta:g}"] = weaker
                continue
            say(f"{suite} attack, every kind on the chip, ζ = {zeta:g}, {len(data)} test beats …")
            ball = Ball.uniform(zeta).on_chip(network)
            known = already.get(zeta, [])
            members = tuple(member for member in whole.members if not known or member not in quick().members)
            runs = _searches(network, data, ball, Suite(members, whole.version), seed)
            already[zeta] = runs = list(map(worse, known, runs)) if known else runs
            worst = replace(reduce(worse, runs), suite=version_on(network, whole.version))
            if not found["quick"] and not found["thorough"]:
                at_floor = with_floor_fraction(worst, network, data).at_floor
            found[suite][f"{zeta:g}"] = {
                "nominal": worst.nominal,
                "balanced_accuracy": worst.balanced_accuracy,
                "recall": list(worst.recall),
                "version": worst.suite,
                "caution": worst.caution,
            } | ({} if at_floor is None else {"at_floor": at_floor})
    return found


def _searches(network: nn.Module, data: Data, ball: Ball, suite: Suite, seed: int) -> list[WorstCase]:
    """The worst die that a suite finds through the true gradient of floors and, in a network with floors, that through
    the leaky one."""
    parts = {TRUE: suite, LEAK: leaky_suite(network, suite)}
    found = []
    with progress(f"attacking {len(data)} samples", sum(part.passes for part in parts.values())) as tick:
        for floor, part in parts.items():
            if part.members:
                with using_floor(network, floor):
                    found.append(find_worst_case(network, data, ball, part, seed=seed, tick=tick))
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
