"""Faults of the machine: a full disk leaves the old file or the new one, at any byte, and one line names the file; a
terminal that cannot show a letter, or cannot be written to, gets no traceback."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import tiny
from deep import cases
from imaged import dpi_network
from placed import placed
from test_training import SCHEDULE, student
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust._util import digests
from neurorobust.core.run import nominal
from neurorobust.train.loop import fit

CHIP = chipmodels.load("dynapse2")


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond ``size`` bytes: the system answers as on a full disk (EFBIG instead of ENOSPC)."""
    kept, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, handler)


def model(folder: Path, seed: int, task: object) -> None:
    network = tiny()
    with torch.no_grad():
        next(network.parameters()).add_(seed)
    nr.save(network, folder)


def die(folder: Path, seed: int, task: object) -> None:
    CHIP.fabricate([seed], 1)[0].save(folder / "die.json")


def deployment(folder: Path, seed: int, task: object) -> None:
    nr.deploy.onto(placed([0, 0, 1], seed=seed), CHIP).save(folder / "net.json")


def image(folder: Path, seed: int, task: object) -> None:
    cores = ([0, 1, 0, 1, 1], [2, 0]) if seed else ([0, 0, 0, 1, 1], [2, 0])
    nr.deploy.onto(dpi_network(cores), CHIP).image().save(folder / "image.json")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}


@pytest.mark.deep
@pytest.mark.parametrize("write", [model, die, deployment, image], ids=lambda write: write.__name__)
def test_a_full_disk_leaves_the_old_files(write: Callable[..., None], tmp_path, task):
    write(tmp_path, 0, task)
    old = content(tmp_path)
    largest = max(map(len, old.values()))
    for case in cases(f"full disk {write.__name__}", here=8, deep=500):
        room = random.Random(case).randrange(largest - 1)
        with full_disk(room), pytest.raises(OSError) as caught:
            write(tmp_path, 1, task)
        words = str(caught.value)
        assert "\n" not in words and any(name in words for name in old), (case, words)
        assert content(tmp_path) == old, case


def run(folder: Path, task: object) -> str:
    """A training of two epochs; the digest of its network."""
    network = student()
    fit(network, task, functional.cross_entropy, epochs=2, schedule=SCHEDULE, out=folder)
    return digests.of_tensors(nominal(network))


@pytest.mark.deep
def test_a_training_goes_on_after_a_full_disk(tmp_path, task):
    """The checkpoint is as it was or the next one, and the run ends with the same bits."""
    whole = run(tmp_path / "whole", task)
    size = (tmp_path / "whole" / "checkpoint.pt").stat().st_size
    for case in cases("full disk checkpoint", here=4, deep=200):
        folder = tmp_path / str(case)
        with full_disk(random.Random(case).randrange(size - 100)), pytest.raises(OSError, match=r"checkpoint\.pt"):
            run(folder, task)
        assert set(content(folder)) <= {"checkpoint.pt", "log.csv"}, case
        assert run(folder, task) == whole, case


def test_a_full_stdout_is_one_line():
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "neurorobust", "chips", "list"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert found.returncode == 2 and found.stderr == b"error: [Errno 28] No space left on device: 'standard output'\n"
