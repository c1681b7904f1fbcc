"""Fleets of neurons with a floor, eight dies side by side: bit for bit the dies one by one."""

from __future__ import annotations

import pytest
import torch
from conftest import DT
from engine import dies_of, same
from hypothesis import given, settings
from hypothesis import strategies as st

import neurorobust as nr
from neurorobust import kernels
from neurorobust.core.run import forward
from neurorobust.dynamics import (
    AdaptiveThreshold,
    Ahp,
    CancelsExcitation,
    HardFloor,
    LeakyFloor,
    NoFloor,
    PullsDown,
    Subtract,
    ToValue,
)
from neurorobust.kernels import choice as choice_of
from neurorobust.kernels import masks
from neurorobust.nn import fleet_run
from neurorobust.nn.decoders import per_step
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, LinearizedDpi


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    """Every weight that lacks a synapse is taken by lists."""
    monkeypatch.setattr(choice_of, "CACHED", 0)
    monkeypatch.setattr(choice_of, "SPARSE", 0.999)
    masks._known.clear()
    yield
    masks._known.clear()


@pytest.fixture
def abreast(monkeypatch):
    """How many dies went through the loop at a time."""
    seen, outputs = [], kernels.lane_outputs
    monkeypatch.setattr(kernels, "lane_outputs", lambda dies, x: seen.append(len(dies)) or outputs(dies, x))
    return seen


class Maker:
    """Random layers, in single or double precision."""

    def __init__(self, seed, dtype=torch.float64):
        self.draws, self.dtype = torch.Generator().manual_seed(seed), dtype

    def one_of(self, *choices):
        return choices[int(torch.randint(len(choices), (), generator=self.draws))]

    def normal(self, *shape):
        return torch.randn(shape, generator=self.draws, dtype=torch.float64).to(self.dtype)

    def positive(self, value, n):
        return (value * (0.5 + torch.rand(n, generator=self.draws, dtype=torch.float64))).to(self.dtype)

    def sparse(self, n_in, n, gain=1.0, bias=None):
        mask = torch.rand(n, n_in, generator=self.draws) < self.one_of(0.1, 0.3, 0.8)
        mask[0, 0], mask[-1, -1] = True, False
        return nr.nn.Linear(gain * self.normal(n, n_in), bias, mask)

    def dpi(self, n_in, n, dense=False):
        floor = self.one_of(HardFloor(), LeakyFloor(0.3), NoFloor())
        numbers = {
            "tau_mem": self.positive(0.02, n),
            "tau_syn_exc": self.positive(0.005, n),
            "tau_syn_inh": self.positive(0.007, n),
            "v_threshold": self.positive(0.3, n),
            "v_leak": self.one_of(None, 0.01 * self.normal(n)),
            "v_reset": self.one_of(None, 0.02 * self.normal(n)),
            "v_floor": None if isinstance(floor, NoFloor) else self.one_of(None, -self.positive(0.05, n)),
            "t_ref": self.one_of(None, self.positive(2 * DT, n)),
            "r": self.one_of(None, self.positive(1.3, n)),
        }
        if self.one_of(True, False):
            rule = self.one_of(Ahp(), AdaptiveThreshold())
            numbers |= {"tau_adapt": self.positive(0.03, n), "adaptation": self.positive(0.02, n), "rule": rule}
        bias = self.one_of(None, 0.1 * self.normal(n))
        weight = nr.nn.Linear(self.normal(n, n_in), bias) if dense else self.sparse(n_in, n, bias=bias)
        recurrent = None if n == 1 else self.one_of(None, self.sparse(n, n))
        inhibition = PullsDown() if isinstance(floor, NoFloor) else self.one_of(PullsDown(), CancelsExcitation())
        return LinearizedDpi(weight, recurrent=recurrent, floor=floor, inhibition=inhibition, **numbers)

    def lif(self, n_in, n, dense=False):
        bias = self.one_of(None, 0.1 * self.normal(n))
        weight = nr.nn.Linear(self.normal(n, n_in), bias) if dense else self.sparse(n_in, n, bias=bias)
        recurrent = None if n == 1 else self.one_of(None, self.sparse(n, n))
        numbers = {"tau_mem": self.positive(0.02, n), "v_threshold": self.positive(0.1, n)}
        numbers |= {"v_leak": self.one_of(None, 0.01 * self.normal(n)), "t_ref": self.one_of(None, 2 * DT)}
        kind = self.one_of(Lif, CubaLif, AdaptiveLif)
        if kind is CubaLif:
            numbers |= {"tau_syn": self.positive(0.005, n)}
        if kind is AdaptiveLif:
            del numbers["v_leak"], numbers["t_ref"]
            return kind(weight, recurrent=recurrent, tau_adapt=0.03, adaptation=0.2, **numbers)
        return kind(weight, recurrent=recurrent, reset=self.one_of(None, ToValue(), Subtract()), **numbers)

    def readout(self, n_in, n, sparse=False):
        bias = self.one_of(None, self.normal(n))
        weight = self.sparse(n_in, n, bias=bias) if sparse else nr.nn.Linear(self.normal(n, n_in), bias)
        return LeakyIntegrator(weight, tau_mem=0.02, v_leak=self.one_of(None, 0.1 * self.normal(n)))

    def network(self):
        """Two hidden layers, one of them with a floor, and a read-out of any kind, with several sources."""
        n_in, n, m, n_out = (self.one_of(*sizes) for sizes in ((1, 9, 33), (2, 7, 16, 50), (1, 3, 8, 40), (1, 4, 16)))
        kinds = self.one_of((self.dpi, self.dpi), (self.lif, self.dpi), (self.dpi, self.lif))
        last = self.one_of(self.readout, lambda *size: self.readout(*size, sparse=True), self.lif, self.dpi)
        layers = {
            "a": kinds[0](n_in, n),
            "b": kinds[1](n + n_in, m, dense=m <= 8 and self.one_of(True, False)),
            "o": last(m + n, n_out),
        }
        inputs = {"b": self.one_of(["a", "x"], ["x", "a"]), "o": ["b", "a"]}
        return nr.Network(layers, DT, inputs, decode=self.one_of(per_step, nr.nn.mean_over_time))

    def x(self, network):
        batch, steps = self.one_of((1, 9), (5, 20), (13, 3))
        events = torch.rand(batch, steps, network.n_in, generator=self.draws) < self.one_of(0.05, 0.4, 1.0)
        return events.to(self.dtype) * self.one_of(1, self.normal(batch, steps, network.n_in).abs())


def alone(net, dies, x):
    return [forward(net, die, x)[0].detach() for die in dies]


def dies_in(net, n, dtype):
    return [{name: value.to(dtype) for name, value in die.items()} for die in dies_of(net, n)]


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]), st.integers(4, 11))
def test_a_die_has_the_bits_that_it_has_alone(seed, dtype, n):
    """Random networks of neurons with and without a floor: side by side, one by one, and in the reference."""
    make = Maker(seed, dtype)
    net = make.network()
    x, dies = make.x(net), dies_in(net, n, dtype)
    layers = net.mixed_plan()
    assert layers is not None and kernels.fits_lanes(layers) and net.plan() is None
    found, expected = list(fleet_logits(net, dies, x)), alone(net, dies, x)
    assert all(map(torch.equal, found, expected)) and len(found) == n
    if dtype == torch.float64:
        with kernels.using("reference"):
            for die, reference in zip(found, alone(net, dies, x)):
                same(die, reference)


def chip(dtype=torch.float32, n=70, n_in=20, n_out=5):
    """A sparse recurrent layer with a floor and a dense read-out."""
    make = Maker(3, dtype)
    numbers = {"tau_mem": 0.02, "tau_syn_exc": 0.004, "tau_syn_inh": 0.006, "v_threshold": 0.3}
    hidden = LinearizedDpi(make.sparse(n_in, n, 2), recurrent=make.sparse(n, n, 0.3), **numbers)
    readout = LeakyIntegrator(nr.nn.Linear(make.normal(n_out, n)), tau_mem=0.02)
    return nr.Network({"hidden": hidden, "readout": readout}, DT)


def events(net, batch=9, steps=30, rate=0.2):
    drawn = torch.rand(batch, steps, net.n_in, generator=torch.Generator().manual_seed(1)) < rate
    return drawn.to(next(net.parameters()).dtype)


@pytest.mark.parametrize(("n", "groups"), [(3, []), (4, [4]), (8, [8]), (11, [8]), (20, [8, 8, 4])])
def test_dies_go_side_by_side(abreast, n, groups):
    """Eight at a time, and the rest if there are enough of them; the same bits, and those of ``nr.run``."""
    net = chip()
    x, dies = events(net), dies_in(net, n, torch.float32)
    found = list(fleet_logits(net, dies, x))
    assert abreast == groups
    assert all(map(torch.equal, found, [nr.run(net, die, x) for die in dies]))
    assert 0.01 < net(x)[1]["hidden"].mean() < 0.5 and not torch.equal(found[0], found[1])


def test_every_die_may_differ_in_the_sign_of_a_synapse(abreast):
    """A synapse that excites on some dies and inhibits on others, and one of weight 0."""
    net = chip()
    x, dies = events(net), dies_in(net, 8, torch.float32)
    for k, die in enumerate(dies):
        for name in ("hidden.input.weight", "hidden.recurrent.weight"):
            flips = torch.rand(die[name].shape, generator=torch.Generator().manual_seed(k)) < 0.3
            die[name] = torch.where(flips, -die[name], die[name])
            die[name][k] = 0
    found = list(fleet_logits(net, dies, x))
    assert abreast == [8] and all(map(torch.equal, found, alone(net, dies, x)))


def test_blocks_of_samples_and_free_memory_do_not_show(abreast, monkeypatch):
    """More samples than one pass takes, and memory for few dies or none at all: the same bits."""
    net = chip(n=20)
    x, dies = events(net, batch=300, steps=6), dies_in(net, 8, torch.float32)
    expected = list(fleet_logits(net, dies, x))
    assert abreast == [8] and all(map(torch.equal, expected, alone(net, dies, x)))
    for room, most in ((0, []), (5, [5])):
        abreast.clear()
        size = 4 * (250 * 6 * 5 + sum(value.numel() for value in dies[0].values()))
        monkeypatch.setattr(fleet_run.memory, "available", lambda room=room, size=size: room * size * fleet_run.SHARE)
        assert all(map(torch.equal, fleet_logits(net, dies, x), expected))
        assert abreast == most


def test_the_number_of_threads_does_not_show():
    """One thread and four."""
    net = chip()
    x, dies = events(net, batch=40), dies_in(net, 8, torch.float32)
    one = list(fleet_logits(net, dies, x))
    torch.set_num_threads(4)
    try:
        assert all(map(torch.equal, fleet_logits(net, dies, x), one))
    finally:
        torch.set_num_threads(1)


def test_a_few_neurons_with_matrices(abreast):
    """A network without any lists: 8 neurons with a floor get two dot products each."""
    make = Maker(7, torch.float32)
    numbers = {"tau_mem": 0.02, "tau_syn_exc": 0.004, "tau_syn_inh": 0.006, "v_threshold": 0.3}
    hidden = LinearizedDpi(nr.nn.Linear(2 * make.normal(8, 6)), **numbers)
    net = nr.Network({"hidden": hidden, "readout": make.readout(8, 3)}, DT)
    x, dies = events(net), dies_in(net, 5, torch.float32)
    assert all(map(torch.equal, fleet_logits(net, dies, x), alone(net, dies, x)))
    assert abreast == [5] and net(x)[1]["hidden"].mean() > 0.01


class Doubled(LinearizedDpi):
    """A neuron with a forward pass of its own."""

    def forward(self, x, dt):
        return 2 * super().forward(x, dt)


def refused():
    """Networks whose sums have an order that only a run of the layers decides, and parts that a plan does not have."""
    make = Maker(5)
    numbers = {"tau_mem": 0.02, "tau_syn_exc": 0.004, "tau_syn_inh": 0.006, "v_threshold": 0.3}
    hidden, readout = LinearizedDpi(make.sparse(6, 20), **numbers), make.readout(20, 3)
    return {
        "a dense layer": {"h": LinearizedDpi(nr.nn.Linear(make.normal(20, 6)), **numbers), "o": readout},
        "a dense recurrence": {
            "h": LinearizedDpi(make.sparse(6, 20), recurrent=nr.nn.Linear(make.normal(20, 20)), **numbers),
            "o": readout,
        },
        "a wide read-out": {"h": hidden, "o": make.readout(20, 17)},
        "a filtered read-out": {
            "h": hidden,
            "o": CubaLeakyIntegrator(nr.nn.Linear(make.normal(3, 20)), tau_mem=0.02, tau_syn=0.01),
        },
        "a neuron of its own": {"h": Doubled(make.sparse(6, 20), **numbers), "o": readout},
        "one by one": {"h": LinearizedDpi(nr.nn.OneToOne(make.normal(20)), **numbers), "o": readout},
    }


@pytest.mark.parametrize("name", refused())
def test_what_the_loop_cannot_take_runs_die_by_die(name, abreast):
    """It gives the bits of the forward pass."""
    net = nr.Network(refused()[name], DT)
    x, dies = events(net), dies_in(net, 5, torch.float64)
    assert all(map(torch.equal, fleet_logits(net, dies, x), alone(net, dies, x)))
    assert not abreast and net.plan() is None


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_input_that_is_not_finite_runs_die_by_die(abreast, value):
    """It silences what it reaches, on each die by the sign of its own weights."""
    net = chip()
    x, dies = events(net), dies_in(net, 4, torch.float32)
    x[2, 4, 1] = value
    found = list(fleet_logits(net, dies, x))
    assert not abreast and all(map(torch.equal, found, alone(net, dies, x)))
    assert all(logits.isfinite().all() for logits in found)


def test_the_reference_runs_die_by_die(abreast):
    net = chip(torch.float64)
    x, dies = events(net), dies_in(net, 4, torch.float64)
    with kernels.using("reference"):
        assert net.mixed_plan() is None
        expected = list(fleet_logits(net, dies, x))
    assert not abreast
    for found, die in zip(fleet_logits(net, dies, x), expected, strict=True):
        same(found, die)
