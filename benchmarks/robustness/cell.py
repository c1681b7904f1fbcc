"""One cell of the grid: a method in a study with a seed; its folder holds everything that is known of it::

    out/raw/ecg/tuning.adversarial.json    the trials of a method, and which was chosen
    out/raw/ecg/adversarial/0/cell.json    settings, training, every measurement; versions and times
    out/raw/ecg/adversarial/0/model.safetensors, config.json, log.csv, die-0.1.npz

Here the task is ecg, the method adversarial and the seed 0.
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
from filelock import FileLock

from neurorobust import __version__
from neurorobust._util import files
from neurorobust.data import Data

from .study import Budget, Study


@dataclass(frozen=True)
class Cell:
    """A method in a study with a seed, and the folder all results are in."""

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
        """What every die is measured on."""
        return self.study.task.test.first(self.budget.samples)

    @property
    def attacked_data(self) -> Data:
        """What an attack sees."""
        test = self.study.task.test
        return (test.balanced if self.budget.balanced else test.first)(self.budget.attacked)

    def read(self) -> dict[str, Any]:
        """What is known of it; empty if nothing is."""
        return read(self.folder / "cell.json")

    def write(self, record: dict[str, Any]) -> None:
        write(self.folder / "cell.json", record)

    def lock(self) -> AbstractContextManager:
        """Held while somebody works on it; the system lets go of it if they die. Raises filelock.Timeout at once."""
        return FileLock(files.folder(self.folder) / ".lock", timeout=0)


def folder_of(out: Path, study: Study, method: str) -> Path:
    """Where the cells of a method are."""
    return out / "raw" / study.name / method


def read(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one if there is no such file."""
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); remove it, and it will be made again.") from error


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    text = json.dumps(record, indent=1, allow_nan=False)
    flat = re.sub(r"\[[^][{}\"]*\]", lambda found: " ".join(found[0].split()), text)  # numbers in one line
    files.write_text(path, flat + "\n")


@cache
def code_and_machine() -> dict[str, str]:
    """Which code and which machine."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {"numpy": np.__version__, "numba": numba.__version__}
    return {"neurorobust": __version__, "commit": _commit(), "machine": platform.machine(), **versions}


def _commit() -> str:
    """The commit of this file, with a mark where the package was changed since; ``unknown`` outside a checkout."""

    def git(*words: str) -> str:
        command = ("git", "-C", str(Path(__file__).parent), *words)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # the package may lie in somebody else's repository
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "..") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
