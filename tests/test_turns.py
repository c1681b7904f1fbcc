"""Threads that run one network at once: each has its own parameters, and the network keeps its own."""

from __future__ import annotations

import copy
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import DT, draw
from engine import dies_of, events
from torch import nn

import neurorobust as nr
from neurorobust.core.turns import turn
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.neurons import LeakyIntegrator, Lif


@pytest.fixture
def hurried():
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def spiking():
    hidden = Lif(nr.nn.Linear(draw(1, 20, 10)), recurrent=nr.nn.Linear(draw(2, 20, 20)), tau_mem=0.02, v_threshold=0.1)
    return nr.Network({"hidden": hidden, "out": LeakyIntegrator(nr.nn.Linear(draw(3, 3, 20)), tau_mem=0.02)}, DT)


def wrapped():
    linear = nn.Linear(10, 3).double()
    with torch.no_grad():
        linear.weight.copy_(draw(1, 3, 10))
        linear.bias.copy_(draw(2, 3))
    return nr.wrap(nn.Sequential(linear, nn.Tanh()))


def one(network, die, x):
    return nr.run(network, die, x)


def fleet(network, die, x):
    return next(fleet_logits(network, [die], x))


def own(network, die, x):
    """The network at its own parameters, whatever others run."""
    return network(x)[0].detach()


@pytest.mark.parametrize("make", [spiking, wrapped])
@pytest.mark.parametrize("pass_", [one, fleet, own])
def test_every_thread_has_its_own_parameters(make, pass_, hurried):
    """Four threads, eight dies, many times; beside them others run the network and read its parameters."""
    network = make()
    x = events(4, 0.3, 4, 6, 10) if make is spiking else draw(4, 4, 10)
    nominal, dies = nr.nominal(network), list(dies_of(network, 8))
    expected = [pass_(network, die, x) for die in dies]
    with ThreadPoolExecutor(4) as pool:
        beside = [pool.submit(one, network, die, x) for die in dies]
        found = list(pool.map(lambda die: pass_(network, die, x), 6 * dies))
        read = [pool.submit(nr.nominal, network) for _ in range(8)]
        beside += [pool.submit(one, network, die, x) for die in dies]
    assert all(torch.equal(a, b) for a, b in zip(found, 6 * expected))
    assert all(torch.equal(a.result()[name], nominal[name]) for a in read for name in nominal)
    assert all(future.exception() is None for future in beside)
    after = dict(network.named_parameters())
    assert all(isinstance(after[name], nn.Parameter) and torch.equal(after[name], nominal[name]) for name in nominal)


def test_a_turn_is_of_one_network():
    """Another thread waits for the same network, not for its copy; the thread itself may go in again."""
    network = spiking()
    passed = {name: threading.Event() for name in ("same", "copy")}

    def wait_for(name, its):
        with turn(its):
            passed[name].set()

    with turn(network), turn(network):
        threads = [
            threading.Thread(target=wait_for, args=(name, its))
            for name, its in (("same", network), ("copy", copy.deepcopy(network)))
        ]
        for thread in threads:
            thread.start()
        assert passed["copy"].wait(30)
        assert not passed["same"].wait(0.05)
    assert passed["same"].wait(30)
    for thread in threads:
        thread.join()


def test_a_placement_waits_for_the_run_of_another_thread():
    """Meanwhile the modules hold the tensors of that run, which are no parameters."""
    network, found = spiking(), threading.Event()
    with turn(network):
        thread = threading.Thread(target=lambda: network.placement() and found.set())
        thread.start()
        assert not found.wait(0.05)
    assert found.wait(30)
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_lacks():
    """A thread of the parent is inside when the parent forks."""
    network, inside, leave = spiking(), threading.Event(), threading.Event()

    def stay():
        with turn(network):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(30)
    child = os.fork()
    if child == 0:
        free = turn(network).acquire(timeout=20)
        os._exit(0 if free else 1)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
