"""The work of each process of test_parallel.py: train the tiny network robustly and write its parameters."""

from __future__ import annotations

from pathlib import Path

import torch
from conftest import events, tiny
from lightning_fabric import Fabric
from torch.nn import functional

import neurorobust as nr
from neurorobust._util import digests
from neurorobust.data import Task
from neurorobust.train.parallel import Parallel


def robust() -> nr.regularizers.Regularizer:
    """Forward noise, an attack and a firing rate: everything that is random, searches, or uses spikes."""
    inner = nr.regularizers.ForwardNoise(nr.regularizers.FiringRate(functional.cross_entropy, "hidden"), 0.1)
    return nr.regularizers.Adversarial(inner, nr.attacks.PGA(2), nr.Ball.uniform(0.1), 0.5)


def train(network: torch.nn.Module, out: Path | None = None) -> None:
    """Two epochs in batches of 5, which two processes cannot share evenly, and a last one of 3."""
    parts = (events(1, 13), events(2, 10), events(3, 10))
    task = Task("tiny", ("a", "b"), *parts, functional.cross_entropy, None, "f")
    nr.fit(network, task, robust(), epochs=2, seed=0, schedule=nr.Schedule(batch_size=5), out=out)


def work(fabric: Fabric, path: str) -> None:
    """Train in this process. Each starts from other parameters; those of rank 0 count."""
    torch.set_num_threads(1)
    network = tiny(seed=fabric.global_rank)
    train(Parallel(network, fabric), Path(path) / "shared")
    torch.save(network.state_dict(), Path(path) / f"{fabric.global_rank}.pt")
    fabric.barrier()
    torch.distributed.destroy_process_group()  # whose threads may abort a process that ends with them running


def refused(fabric: Fabric, path: str) -> None:
    """Train into a folder that is in use, and into one that rank 1 alone reads as damaged; write the words of the
    errors in this process."""
    words = []
    for name in ("used", "damaged"):
        if name == "damaged" and fabric.global_rank == 1:
            digests.check_appended = _damaged
        try:
            train(Parallel(tiny(), fabric), Path(path) / name)
        except (OSError, ValueError) as error:
            words.append(f"{type(error).__name__}: {error}")
    (Path(path) / f"{fabric.global_rank}.txt").write_text("\n".join(words))
    fabric.barrier()
    torch.distributed.destroy_process_group()


def _damaged(path: Path, advice: str) -> None:
    raise ValueError(f"{path}: is damaged; {advice}")
