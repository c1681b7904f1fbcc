"""Training on many processes: the same bits with one, the same numbers to rounding with two."""

from __future__ import annotations

import re

import torch
from conftest import DT, draw, tiny
from lightning_fabric import Fabric
from parallel_run import convolution, convolutions, refused, train, train_on_chip, work

import chipmodels
from neurorobust._util import files
from neurorobust.core.placement import HOST
from neurorobust.core.run import nominal
from neurorobust.nn.connections import Conv2d, Linear
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import LeakyIntegrator, Lif
from neurorobust.train.parallel import Parallel


def test_one_process_has_the_same_bits():
    """A Fabric of one process changes nothing."""
    alone, wrapped = tiny(), tiny()
    train(alone)
    train(Parallel(wrapped, Fabric(accelerator="cpu", devices=1)))
    for name, value in alone.state_dict().items():
        assert torch.equal(value, wrapped.state_dict()[name]), name


def test_two_processes_train_as_one(tmp_path):
    """gloo, two processes, batches they cannot share evenly: one process's parameters to 1e-9, and the same in both.
    They share a folder, which rank 0 locks."""
    alone = tiny()
    start = {name: value.clone() for name, value in alone.state_dict().items()}
    train(alone)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    fabric.launch(work, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-9)
        assert torch.equal(first[name], second[name])
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["checkpoint.pt", "log.csv"]
    assert any(not torch.equal(start[name], value) for name, value in first.items())


def test_convolutions_on_a_chip_train_as_in_one_process(tmp_path):
    """gloo, two processes; programmed onto DYNAP-SE2, where a kernel has no shared synapses, and attacked there."""
    alone = convolution()
    start = {name: value.clone() for name, value in alone.state_dict().items()}
    train_on_chip(alone)
    Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn").launch(convolutions, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-9)
        assert torch.equal(first[name], second[name])
    kernel = next(name for name in start if name.endswith("weight") and start[name].ndim == 4)
    assert not torch.equal(start[kernel], first[kernel])


def test_all_processes_end_with_the_same_words(tmp_path):
    """A folder that rank 0 cannot lock, and a checkpoint that rank 1 alone reads as damaged: none waits for another."""
    used, damaged = (files.make_folder(tmp_path / name) for name in ("used", "damaged"))
    train(Parallel(tiny(), Fabric(accelerator="cpu", devices=1)), damaged)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    with files.locked(used, ".fit.lock"):
        fabric.launch(refused, str(tmp_path))
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert re.fullmatch(r"InUse: out: folder .* is in use by another run .*\nValueError: .*: is damaged; .*", first)
    assert sorted(path.name for path in damaged.iterdir()) == ["checkpoint.pt", "log.csv"]


def test_a_convolution_inside_is_placed_as_outside():
    """A chip whose neurons have synapses of their own unrolls the kernel of a network that is spread over processes."""
    conv = Conv2d(draw(1, 3, 2, 3, 3), (2, 5, 4))
    hidden = Lif(conv, recurrent=None, core=torch.zeros(conv.n_out, dtype=torch.long), tau_mem=0.01, v_threshold=0.05)
    readout = LeakyIntegrator(Linear(draw(0, 2, conv.n_out)), core=torch.full((2,), HOST), tau_mem=0.01)
    network = Network({"hidden": hidden, "readout": readout}, DT)
    parallel, chip = Parallel(network, Fabric(accelerator="cpu", devices=1)), chipmodels.load("dynapse2")
    outside = chip.program(nominal(network), placement_of(network))
    inside = chip.program(nominal(parallel), placement_of(parallel))
    assert {name.removeprefix("network."): code.tolist() for name, code in inside.codes.items()} == {
        name: code.tolist() for name, code in outside.codes.items()
    }
