"""One cell of the grid: a method in a study with a training seed. Its folder holds all that is known of it::

    out/raw/ecg/tuning.adversarial.json    the trials of a method, and which was chosen
    out/raw/ecg/adversarial/0/cell.json    settings, training, every measurement; versions and times
    out/raw/ecg/adversarial/0/model.safetensors, config.json, log.csv, die-0.1.npz

Here the task is ecg, the method adversarial and the seed 0. A cell without a folder may be in the archive; see
:mod:`benchmarks.robustness.archive`.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from neurorobust import __version__
from neurorobust._util import digests, files
from neurorobust.data import Data
from neurorobust.io import zoo

from .archive import archived
from .record import AGAIN, checked, checked_tuning, name_of
from .study import Budget, Study

RESULTS = Path(__file__).parent / "results"
"""The committed results."""

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("neurorobust", "chipmodels", "benchmarks/robustness/*.py")


@dataclass(frozen=True)
class Cell:
    """A method in a study with a training seed, and the folder of all results."""

    study: Study
    method: str
    seed: int
    out: Path

    @property
    def name(self) -> str:
        return f"{self.study.name}/{self.method}/{self.seed}"

    @property
    def folder(self) -> Path:
        return folder_of(self.out, self.study, self.method) / str(self.seed)

    @property
    def budget(self) -> Budget:
        return self.study.budget

    @property
    def fleet_data(self) -> Data:
        """The test samples that every die of a fleet is measured on."""
        return self.study.task.test.first(self.budget.samples)

    @property
    def attacked_data(self) -> Data:
        """The test samples that an attack sees."""
        test = self.study.task.test
        return (test.balanced if self.budget.balanced else test.first)(self.budget.attacked)

    def read(self) -> dict[str, Any]:
        """All that is known of it, from its folder or else from the archive; empty if nothing is."""
        path = self.folder / "cell.json"
        if path.exists():
            return read_cell(path)
        line = archived(self.out).get(self.name)
        return {} if line is None else json.loads(line)

    def write(self, record: dict[str, Any]) -> None:
        write(self.folder / "cell.json", record)

    def model_folder(self) -> Path | None:
        """The folder of its trained network: its own, or the zoo's where that holds the same file; None without one.

        Raises:
            ValueError: its own folder holds another network than the one that was measured.
        """
        expected = self.read().get("model_sha256")
        for folder in (self.folder, zoo.FOLDER / self.study.name / self.method):
            path = folder / "model.safetensors"
            found = digests.of_file(path) if path.exists() else None
            if found is not None and (found == expected or (folder == self.folder and expected is None)):
                return folder
            if found is not None and folder == self.folder:
                raise ValueError(
                    f"{self.name}: {path} is not the network that was measured (its SHA-256 is {found[:12]}…, "
                    f"cell.json says {str(expected)[:12]}…); put the measured one back, or choose another --out."
                )
        return None

    def lock(self) -> AbstractContextManager:
        """Held while a process works on the cell, and released when that process ends.

        Raises:
            InUse: at once, if another process holds it.
        """
        return files.locked(files.make_folder(self.folder))


def folder_of(out: Path, study: Study, method: str) -> Path:
    """The folder of a method's cells."""
    return out / "raw" / study.name / method


def read(path: Path) -> dict[str, Any]:
    """The JSON object that :func:`write` wrote, or an empty one if there is no such file.

    Raises:
        ValueError: the file is damaged or was edited.
    """
    return digests.read_json(path, AGAIN) if path.exists() else {}


def read_cell(path: Path) -> dict[str, Any]:
    """The record of a cell, from its ``cell.json``.

    Raises:
        ValueError: the file is damaged, was edited, or holds the record of another cell.
    """
    record, own = checked(read(path), str(path), AGAIN), "/".join(path.parts[-4:-1])
    if name_of(record) != own:
        raise ValueError(f"{path}: holds the cell {name_of(record)}; expected {own}; {AGAIN}")
    return record


def read_tuning(path: Path) -> dict[str, Any]:
    """The tuning of a method; empty if there is no such file. Raises ValueError as :func:`read_cell`."""
    return checked_tuning(read(path), str(path), AGAIN) if path.exists() else {}


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON object with its digest, whole or not at all."""
    text = json.dumps(digests.sealed(record), indent=1, allow_nan=False)
    flat = re.sub(r"\[[^][{}\"]*\]", lambda found: " ".join(found[0].split()), text)  # numbers in one line
    files.write_text(path, flat + "\n")


@cache
def code_and_machine() -> dict[str, str]:
    """The version of the code and the machine, kept beside every number."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {"numpy": np.__version__, "numba": numba.__version__}
    return {"neurorobust": __version__, "commit": _commit(), "machine": platform.machine(), **versions}


def _commit() -> str:
    """The commit of this file, with a mark where sources were changed since; ``unknown`` outside a checkout."""

    def git(*words: str) -> str:
        command = ("git", "-C", str(Path(__file__).parent), *words)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # the file may lie in another repository
        changed = git("status", "--porcelain", *(str(ROOT / name) for name in SOURCES))
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
