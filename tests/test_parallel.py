"""Training on many processes: the same bits with one, the same numbers to rounding with two."""

from __future__ import annotations

import torch
from conftest import tiny
from lightning_fabric import Fabric
from parallel_run import train, work

from neurorobust.train.parallel import Parallel


def test_one_process_has_the_same_bits():
    """A Fabric of one process changes nothing."""
    alone, wrapped = tiny(), tiny()
    train(alone)
    train(Parallel(wrapped, Fabric(accelerator="cpu", devices=1)))
    for name, value in alone.state_dict().items():
        assert torch.equal(value, wrapped.state_dict()[name]), name


def test_two_processes_train_as_one(tmp_path):
    """gloo, two processes, batches they cannot share evenly: one process's parameters to 1e-9, and the same in both."""
    alone = tiny()
    start = {name: value.clone() for name, value in alone.state_dict().items()}
    train(alone)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    fabric.launch(work, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-9)
        assert torch.equal(first[name], second[name])
    assert any(not torch.equal(start[name], value) for name, value in first.items())
