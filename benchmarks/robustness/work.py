"""The work on a cell: tune the method, train the network, make every measurement."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from neurorobust._util import files
from neurorobust.attacks import QUICK
from neurorobust.chip import mismatch
from neurorobust.data import Data
from neurorobust.evaluation import evaluate
from neurorobust.io import models
from neurorobust.train.loop import SELECTION, History, fit, selection_score
from neurorobust.train.methods import METHODS, Trial

from .cell import Cell, code_and_machine, folder_of, read_tuning, write
from .measurement import all_measurements
from .study import Study

MISMATCH, FLEET, TUNING_DIES = 0.3, 20, 2
TUNING = (
    f"mean of clean balanced accuracy, that under {QUICK} (0.05, every kind) and the mean over {FLEET} dies of "
    f"mismatch {MISMATCH:g} (seed {TUNING_DIES}), on the validation part"
)
"""The score of a trial. Accuracy under attack alone would not separate methods that fall to chance there, and would
choose the least noise for methods that add noise."""


def network_of(cell: Cell) -> nn.Module:
    """A fresh network."""
    return cell.study.network(cell.seed)


# ---- tuning


def tuned(study: Study, method: str, out: Path) -> dict[str, Any]:
    """The tuning of a method, made now if it is missing: every trial; ``chosen`` is the number of the best one.

    Raises:
        InUse: at once, if another process is tuning it.
    """
    study = study.tuned_on or study
    path = tuning_path(study, method, out)
    settings = study.settings() | {"epochs": study.tuning_epochs, "seed": study.seeds[0]}
    if "chosen" not in read_tuning(path):
        with files.locked(files.make_folder(path.parent), f".tuning.{method}.lock"):
            if "chosen" not in read_tuning(path):  # another process may have made it meanwhile
                _tune(study, method, out, settings)
    record = read_tuning(path)
    _check_same(
        record["settings"] | {"selection": record.get("selection")}, settings | {"selection": TUNING}, str(path)
    )
    for folder in folder_of(out, study, method).glob("trial-*"):
        shutil.rmtree(folder, ignore_errors=True)  # other processes may remove it, too
    return record


def _tune(study: Study, method: str, out: Path, settings: dict[str, Any]) -> None:
    trials = [_try(study, method, number, out) for number in range(len(METHODS[method].trials))]
    best = max(range(len(trials)), key=lambda number: trials[number]["score"])
    record = {"settings": settings, "selection": TUNING, "trials": trials, "chosen": best}
    write(tuning_path(study, method, out), record | {"provenance": code_and_machine()})


def tuning_path(study: Study, method: str, out: Path) -> Path:
    return folder_of(out, study, "") / f"tuning.{method}.json"


def _try(study: Study, method: str, number: int, out: Path) -> dict[str, Any]:
    """One trial: a short training, compared on validation data; see :data:`TUNING`."""
    cell = Cell(study, method, study.seeds[0], out)
    trial, network = METHODS[method].trials[number], network_of(cell)
    history = _fit(cell, network, trial, study.tuning_epochs, folder_of(out, study, method) / f"trial-{number}")
    found = tuning_score(network, study.task.validation, cell.seed)
    return _words(study, trial) | found | {"seconds": round(history.seconds, 1)}


def _schedule(study: Study, trial: Trial) -> Mapping[str, Any]:
    """The changes of a trial to the schedule: none where the study's schedule is not the one that was tuned."""
    return trial.schedule if study.schedule == (study.tuned_on or study).schedule else {}


def _words(study: Study, trial: Trial) -> dict[str, Any]:
    """A trial as JSON can hold it."""
    used = {"settings": dict(trial.settings), "schedule": dict(_schedule(study, trial))}
    return json.loads(json.dumps(used, default=repr))


def tuning_score(network: nn.Module, validation: Data, seed: int) -> dict[str, float]:
    """The score of a trained trial, and the three scores that it is the mean of; see :data:`TUNING`."""
    fleet = evaluate(network, validation, mismatch(MISMATCH), n_dies=FLEET, seed=TUNING_DIES)
    clean, attacked = selection_score(network, validation, seed)
    return {"clean": clean, "attacked": attacked, "dies": fleet.mean, "score": (clean + attacked + fleet.mean) / 3}


# ---- training


def _fit(cell: Cell, network: nn.Module, trial: Trial, epochs: int, folder: Path) -> History:
    study = cell.study
    loss = study.regularizer(cell.method, trial)
    return fit(
        network,
        study.task,
        loss,
        epochs=epochs,
        seed=cell.seed,
        out=folder,
        schedule=replace(study.schedule, **_schedule(study, trial)),
    )


def train(cell: Cell, chosen: int | None = None) -> nn.Module:
    """The trained network of a cell, trained now if it is missing; an interrupted training is continued.

    Args:
        cell: of the network. chosen: number of the trial; None for the one that tuning chose.
    """
    record = cell.read()
    if record:
        _check_same(record["settings"], cell.study.settings(), cell.name)
        _check_same(record, {"data_sha256": cell.study.task.data_sha256}, cell.name)
    folder = cell.model_folder()
    if "training" in record and folder is not None:
        foreign = models.read_info(folder)[1]
        return models.load(folder, network_of(cell) if foreign else None)[0]
    number = tuned(cell.study, cell.method, cell.out)["chosen"] if chosen is None else chosen
    trial, network = METHODS[cell.method].trials[number], network_of(cell)
    history = _fit(cell, network, trial, cell.study.epochs, cell.folder)
    training = {
        "trial": number,
        **_words(cell.study, trial),
        "epochs": len(history.rows),
        "best_epoch": history.best_epoch,
        "validation": history.best_score,
        "one_class": history.one_class,
        "seconds": round(history.seconds, 1),
    }
    about = {"task": cell.study.task.name, "chip": cell.study.chip, "method": cell.method, "seed": cell.seed}
    about |= {"study": cell.study.name, "data_sha256": cell.study.task.data_sha256, "selection": SELECTION}
    models.save(network, cell.folder, about | {"settings": cell.study.settings(), "trial": number}, packed=True)
    sha256 = json.loads((cell.folder / "config.json").read_text(encoding="utf-8"))["sha256"]
    if "model_sha256" in record and record["model_sha256"] != sha256:
        raise ValueError(
            f"{cell.name}: its network is not stored here, and training it again gave another one than was measured; "
            f"choose another --out to measure the new one."
        )
    record = about | {"settings": cell.study.settings(), "training": training, "model_sha256": sha256} | record
    cell.write(record | {"provenance": code_and_machine()})
    (cell.folder / "checkpoint.pt").unlink(missing_ok=True)
    return network


# ---- measuring


def measure(cell: Cell, names: Sequence[str]) -> None:
    """Train the network of a cell if it is missing, and measure what was not measured yet, level by level.

    Raises:
        ExceptionGroup: measurements that failed; the others were made.
    """
    network, errors = train(cell), []
    for name in pending(cell, names):
        try:
            _measure(cell, network, name)
        except Exception as error:
            error.add_note(f"in measurement {name!r}")
            errors.append(error)
    if errors:
        raise ExceptionGroup(cell.name, errors)


def _measure(cell: Cell, network: nn.Module, name: str) -> None:
    record = cell.read()
    entry = record.setdefault("measurements", {}).setdefault(name, {"budget": cell.budget.settings(), "levels": {}})
    _check_same(entry["budget"], cell.budget.settings(), f"{cell.name}, {name}")
    for level in all_measurements()[name].pending(cell, entry["levels"]):
        started = time.perf_counter()
        found = all_measurements()[name].measure(network, level, cell)
        values = {metric: None if _infinite(value) else value for metric, value in found.items()}
        entry["levels"][level] = {"values": values, "seconds": round(time.perf_counter() - started, 2)}
        entry["provenance"] = code_and_machine()
        cell.write(record)


def _infinite(value: object) -> bool:
    """True for a number that JSON cannot express."""
    return isinstance(value, float) and not math.isfinite(value)


def pending(cell: Cell, names: Sequence[str]) -> dict[str, list[str]]:
    """The measurements, in their order, and the levels that a cell still lacks."""
    done = cell.read().get("measurements", {})
    found = {
        name: measurement.pending(cell, done.get(name, {}).get("levels", {}))
        for name, measurement in all_measurements().items()
        if name in names
    }
    return {name: levels for name, levels in found.items() if levels}


def _check_same(there: dict[str, Any], here: dict[str, Any], where: str) -> None:
    """Raise ValueError if the stored results were made with other settings."""
    here = json.loads(json.dumps(here))
    words = [f"{key} {there.get(key)!r} there, {here[key]!r} here" for key in here if there.get(key) != here[key]]
    if words:
        raise ValueError(f"{where}: was made with other settings ({'; '.join(words)}); choose another --out.")
