"""The work of each process of test_parallel.py: train the tiny network robustly and write its parameters."""

from __future__ import annotations

from pathlib import Path

import torch
from conftest import DT, draw, events, tiny
from lightning_fabric import Fabric
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust._util import digests
from neurorobust.core.placement import HOST
from neurorobust.data import Data, Task
from neurorobust.nn import Conv2d, LeakyIntegrator, Lif, Linear
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


def convolution() -> nr.Network:
    """A convolution before spiking neurons, unlike in every channel."""
    conv = Conv2d(draw(1, 3, 2, 3, 3), (2, 4, 3))
    hidden = Lif(conv, core=torch.zeros(conv.n_out, dtype=torch.long), tau_mem=0.01, v_threshold=0.05)
    readout = LeakyIntegrator(Linear(draw(0, 2, conv.n_out)), core=torch.full((2,), HOST), tau_mem=0.01)
    return nr.Network({"hidden": hidden, "readout": readout}, DT)


def pictures(seed: int, n: int) -> Data:
    """Two classes of events from a sensor of 2 × 4 × 3 points; one has more of them."""
    y = torch.arange(n) % 2
    x = torch.rand(n, 12, 24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Data((x < (0.2 + 0.2 * y)[:, None, None]).double(), y)


def train_on_chip(network: torch.nn.Module) -> None:
    """Programmed onto a chip whose neurons have synapses of their own, so kernels are unrolled there, and attacked."""
    parts = (pictures(1, 13), pictures(2, 10), pictures(3, 10))
    task = Task("pictures", ("a", "b"), *parts, functional.cross_entropy, None, "f")
    inner = nr.regularizers.ProgrammedOn(functional.cross_entropy, chipmodels.load("dynapse2"))
    loss = nr.regularizers.Adversarial(inner, nr.attacks.PGA(2), nr.Ball.uniform(0.1), 0.5)
    nr.fit(network, task, loss, epochs=2, seed=0, schedule=nr.Schedule(batch_size=5))


def convolutions(fabric: Fabric, path: str) -> None:
    """Train a convolution on a chip in this process, and write its parameters."""
    torch.set_num_threads(1)
    network = convolution()
    train_on_chip(Parallel(network, fabric))
    torch.save(network.state_dict(), Path(path) / f"{fabric.global_rank}.pt")
    fabric.barrier()
    torch.distributed.destroy_process_group()


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
