"""Fleets of networks with convolutions in one compiled loop, against the layers one by one and the reference."""

from __future__ import annotations

import random

import pytest
import torch
from conftest import DT, draw
from deep import cases
from engine import by, dies_of, events, same

import neurorobust as nr
from neurorobust import kernels
from neurorobust.core.run import forward
from neurorobust.dynamics import DelayedToValue, NoReset, SnntorchSubtract, Subtract, ToValue
from neurorobust.kernels import choice, fleet_windows
from neurorobust.kernels.runtime import threads
from neurorobust.nn import AvgPool2d, Chain, Conv1d, Conv2d, Linear, SparseLinear, SumPool2d
from neurorobust.nn.decoders import mean_over_time, per_step
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, LinearizedDpi


class Made:
    """Random parts of networks, all from one seed."""

    def __init__(self, seed, dtype=torch.float64):
        self.chance, self.draws, self.dtype = random.Random(seed), torch.Generator().manual_seed(seed), dtype

    def one_of(self, *choices):
        return self.chance.choice(choices)

    def normal(self, *shape):
        return torch.randn(shape, generator=self.draws, dtype=torch.float64).to(self.dtype)

    def positive(self, value, n):
        return (value * (0.5 + torch.rand(n, generator=self.draws, dtype=torch.float64))).to(self.dtype)

    def neuron(self, connection):
        n = connection.n_out
        numbers = {"tau_mem": self.positive(0.01, n), "v_threshold": self.positive(0.03, n)}
        kind = self.one_of(Lif, Lif, CubaLif, AdaptiveLif)
        if kind is AdaptiveLif:
            return kind(connection, tau_adapt=0.03, adaptation=0.2, **numbers)
        numbers |= {"v_leak": self.one_of(None, 0.01 * self.normal(n)), "t_ref": self.one_of(None, 2 * DT)}
        reset = self.one_of(None, ToValue(), Subtract(), DelayedToValue(), NoReset())
        if kind is CubaLif:
            return kind(connection, tau_syn=0.004, reset=reset, **numbers)
        value = 0.05 if isinstance(reset, (ToValue, DelayedToValue)) and self.one_of(True, False) else None
        return kind(connection, reset=reset, v_reset=value, **numbers)

    def pooled(self, shape):
        """A pooling for half of all images, and the shape of what comes out."""
        if self.one_of(True, False):
            return [], shape
        kernel = tuple(self.chance.randint(1, min(3, size)) for size in shape[1:])
        pool = self.one_of(AvgPool2d, SumPool2d)(shape, kernel, self.one_of(None, 1, 2))
        return [pool], pool.out_shape

    def convolution(self, shape):
        """A convolution of images, perhaps behind a pooling, and the shape of what comes out."""
        before, (channels, *space) = self.pooled(shape)
        kernel = [self.chance.randint(1, min(4, size)) for size in space]
        mask = self.normal(self.one_of(1, 3, 8, 16, 19), channels, *kernel)
        size = mask[0].numel() ** -0.5
        conv = Conv2d(
            3 * size * self.normal(*mask.shape),
            (channels, *space),
            self.one_of(None, 0.2 * self.normal(len(mask))),
            self.one_of(None, mask > -1),
            self.one_of(1, 2, 3),
            self.one_of(0, 1, 2),
        )
        return Chain(*before, conv) if before else conv, conv.out_shape

    def readout(self, shape, n):
        before, behind = self.pooled(shape)
        linear = Linear(self.normal(n, torch.Size(behind).numel()), self.one_of(None, self.normal(n)))
        connection = Chain(*before, linear) if before else linear
        leak = self.one_of(None, 0.1 * self.normal(n))
        if self.one_of(True, False):
            return CubaLeakyIntegrator(connection, tau_syn=0.004, tau_mem=0.02, v_leak=leak)
        return LeakyIntegrator(connection, tau_mem=0.02, v_leak=leak)

    def network(self):
        """One to three convolutions, then a layer of another kind in a third of all networks, then a last layer."""
        layers, shape = {}, (self.one_of(1, 2, 3), self.one_of(1, 5, 9), self.one_of(4, 8, 11))
        for name in "abc"[: self.one_of(1, 2, 3)]:
            connection, shape = self.convolution(shape)
            layers[name] = self.neuron(connection)
        if self.one_of(True, False, False):
            n = torch.Size(shape).numel()
            hidden = 2 * n**-0.5 * self.normal(7, n)
            sparse = SparseLinear.of(Linear(hidden, mask=hidden.abs() > hidden.abs().median()))
            recurrent = self.one_of(None, Linear(0.2 * self.normal(7, 7)))
            layers["d"] = Lif(self.one_of(Linear(hidden), sparse), recurrent=recurrent, tau_mem=0.02, v_threshold=0.02)
            shape = (7, 1, 1)
        last = self.one_of("read-out", "read-out", "convolution", "spikes")
        if last == "read-out":
            layers["o"] = self.readout(shape, self.one_of(1, 4, 19))
        elif last == "convolution":
            layers["o"] = LeakyIntegrator(self.convolution(shape)[0], tau_mem=0.02)
        return nr.Network(layers, DT, decode=self.one_of(per_step, mean_over_time))

    def x(self, network):
        batch, steps = self.one_of((1, 9), (5, 20), (13, 3))
        found = torch.rand(batch, steps, network.n_in, generator=self.draws) < self.one_of(0.05, 0.4, 1.0)
        return found.to(self.dtype) * self.one_of(1, self.normal(batch, steps, network.n_in))


@pytest.fixture
def together(monkeypatch):
    """How many dies went through a loop together, in order."""
    seen, outputs = [], kernels.fleet_outputs
    monkeypatch.setattr(kernels, "fleet_outputs", lambda dies, x: seen.append(len(dies)) or outputs(dies, x))
    return seen


@pytest.mark.deep
def test_a_fleet_equals_its_dies(together):
    """Random networks with random windows, neurons and read-outs: the reference to 1e-12, and the same spikes."""
    for seed in cases("fleets of convolutions", here=40, deep=4000):
        make = Made(seed)
        net = make.network()
        x, count = make.x(net), make.one_of(1, 3, 8, 11)
        found = list(fleet_logits(net, dies_of(net, count), x))
        assert together.pop() == count
        for logits, die in zip(found, dies_of(net, count), strict=True):
            same(logits, by("reference", lambda die=die, net=net, x=x: forward(net, die, x)[0].detach())[0], 1e-12)


def test_the_random_networks_are_not_silent():
    """Most layers of most of these networks spike, and not always: else nothing was compared."""
    spiking = []
    for seed in range(40):
        make = Made(seed)
        net = make.network()
        outputs = net(make.x(net))[1]
        spiking += [0.001 < outputs[name].mean() < 0.9 for name, layer in net.layers().items() if layer.spiking]
    assert sum(spiking) > 0.7 * len(spiking) > 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(8))
def test_spikes_have_the_bits_of_single_dies(seed, dtype):
    """In the order of the layers one by one, events are added up to the same bits."""
    make = Made(100 + seed, dtype)
    shape, layers = (2, 7, 9), {}
    for name in "ab":
        connection, shape = make.convolution(shape)
        layers[name] = make.neuron(connection)
    net = nr.Network(layers, DT, decode=per_step)
    x = make.x(net)
    dies = [{name: value.to(dtype) for name, value in die.items()} for die in dies_of(net, 9)]
    for logits, die in zip(fleet_logits(net, dies, x), dies, strict=True):
        assert torch.equal(logits, forward(net, die, x)[0])


def network():
    first, pool = Conv2d(draw(1, 8, 2, 3, 3), (2, 11, 12), draw(2, 8)), AvgPool2d((8, 9, 10), 2)
    second, last = Conv2d(draw(3, 5, 8, 2, 2), pool.out_shape), AvgPool2d((5, 3, 4), (3, 2))
    layers = {
        "a": Lif(first, tau_mem=0.01, v_threshold=0.2),
        "b": Lif(Chain(pool, second), tau_mem=0.01, v_threshold=0.05, reset=Subtract()),
        "o": LeakyIntegrator(Chain(last, Linear(draw(4, 3, last.n_out))), tau_mem=0.02),
    }
    return nr.Network(layers, DT)


@pytest.mark.parametrize("abreast", [1, 3, 16])
def test_what_runs_together_does_not_show(abreast, monkeypatch):
    """Dies in other groups, samples in other blocks, and a sample alone have the same bits."""
    net, x = network(), events(5, 0.2, 17, 20, 264)
    expected = list(fleet_logits(net, dies_of(net, 11), x))
    monkeypatch.setattr(fleet_windows, "ABREAST", abreast)
    assert all(map(torch.equal, fleet_logits(net, dies_of(net, 11), x), expected))
    for die, logits in zip(dies_of(net, 11), expected):
        assert torch.equal(next(fleet_logits(net, [die], x[4:5])), logits[4:5])
    assert len({tuple(logits.flatten().tolist()) for logits in expected}) == 11


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(count, monkeypatch):
    net, x, before = network(), events(5, 0.2, 40, 10, 264), torch.get_num_threads()
    expected = list(fleet_logits(net, dies_of(net, 5), x))
    monkeypatch.setattr(threads, "SMALL", 0)
    try:
        torch.set_num_threads(count)
        assert all(map(torch.equal, fleet_logits(net, dies_of(net, 5), x), expected))
    finally:
        torch.set_num_threads(before)


def test_two_convolutions_of_the_input_and_a_layer_that_takes_both():
    """Two layers see the input by their own windows; a dense layer takes both of them, and the input itself."""
    one, two = Conv2d(draw(1, 3, 1, 3, 3), (1, 6, 6)), Conv1d(draw(2, 5, 1, 4), (1, 36), stride=3)
    joined = Linear(draw(3, 20, one.n_out + two.n_out + 36) / 4, draw(4, 20))
    layers = {
        "a": Lif(one, tau_mem=0.01, v_threshold=0.3),
        "b": Lif(two, tau_mem=0.01, v_threshold=0.3),
        "c": Lif(joined, tau_mem=0.01, v_threshold=0.3),
        "o": LeakyIntegrator(Linear(draw(5, 2, 20)), tau_mem=0.02),
    }
    net, x = nr.Network(layers, DT, {"b": "x", "c": ["b", "x", "a"]}, per_step), events(5, 0.2, 6, 30, 36)
    assert all(0.01 < net(x)[1][name].mean() < 0.9 for name in "abc")
    for logits, die in zip(fleet_logits(net, dies_of(net, 9), x), dies_of(net, 9), strict=True):
        same(logits, by("reference", lambda die=die: forward(net, die, x)[0].detach())[0], 1e-12)


def on_synapses(make, connection):
    """The same as on a chip without kernels: an own weight for each synapse of each neuron."""
    index = connection.convolutions()["weight"]()
    return torch.where(
        index < 0, 0, connection.weight.detach().flatten()[index] * (1 + 0.2 * make.normal(*index.shape))
    )


@pytest.mark.parametrize("kind", ["lif", "dpi"])
def test_unrolled_convolutions_run_together(kind, together, monkeypatch):
    """On a chip that holds no kernels, their synapses go by lists, of neurons with a floor too."""
    make, abreast, lanes = Made(3), [], kernels.lane_outputs
    monkeypatch.setattr(choice, "CACHED", 0)  # small matrices by lists too
    monkeypatch.setattr(kernels, "lane_outputs", lambda dies, blocks: abreast.append(len(dies)) or lanes(dies, blocks))
    numbers = {"tau_mem": 0.01, "v_threshold": 0.2}
    if kind == "dpi":
        numbers |= {"tau_syn_exc": 0.004, "tau_syn_inh": 0.006}
    cell = {"lif": Lif, "dpi": LinearizedDpi}[kind]
    first = Conv2d(draw(1, 4, 1, 3, 3), (1, 20, 20), 0.05 * draw(2, 4), stride=2)
    second = Conv2d(draw(3, 6, 4, 2, 2), first.out_shape)
    layers = {"a": cell(first, **numbers), "b": cell(second, **numbers)}
    layers["o"] = LeakyIntegrator(Linear(draw(4, 3, second.n_out)), tau_mem=0.02)
    net, x = nr.Network(layers, DT, decode=per_step), events(5, 0.3, 6, 30, 400)
    assert all(0.01 < net(x)[1][name].mean() < 0.9 for name in "ab")
    dies = [
        die | {f"{name}.input.weight": on_synapses(make, layers[name].input) for name in "ab"}
        for die in dies_of(net, 9)
    ]
    found = list(fleet_logits(net, dies, x))
    assert (together, abreast) == (([9], []) if kind == "lif" else ([], [8]))
    for logits, die in zip(found, dies, strict=True):
        same(logits, by("reference", lambda die=die: forward(net, die, x)[0].detach())[0], 1e-12)
        assert kind == "lif" or torch.equal(logits, forward(net, die, x)[0])


@pytest.mark.parametrize("order", ["first", "between", "last", "alone"])
def test_kernels_and_unrolled_ones_in_one_fleet(order, together):
    """Before the dies of a chip without kernels comes the network itself, which has them: each is what it is alone."""
    conv = Conv2d(draw(1, 4, 1, 3, 3), (1, 8, 8), 0.05 * draw(2, 4))
    layers = {"a": Lif(conv, tau_mem=0.01, v_threshold=0.2)}
    layers["o"] = LeakyIntegrator(Linear(draw(3, 2, conv.n_out)), tau_mem=0.02)
    net, x = nr.Network(layers, DT), events(5, 0.3, 4, 30, 64)
    kernels_of = {"first": [0, 1], "between": [2], "last": [4], "alone": [0, 2, 4]}[order]
    dies = [
        die | ({} if k in kernels_of else {"a.input.weight": on_synapses(Made(k), conv)})
        for k, die in enumerate(dies_of(net, 5))
    ]
    found = list(fleet_logits(net, iter(dies), x))
    assert sum(together) == 5 and len(together) == {"first": 2, "between": 3, "last": 2, "alone": 5}[order]
    for logits, die in zip(found, dies, strict=True):
        same(logits, by("reference", lambda die=die: forward(net, die, x)[0].detach())[0], 1e-12)


def refused():
    conv, plain = Conv2d(draw(1, 2, 1, 3, 3), (1, 6, 6)), {"tau_mem": 0.01, "v_threshold": 0.2}
    hooked = Conv2d(draw(1, 2, 1, 3, 3), (1, 6, 6))
    hooked.register_forward_hook(lambda module, inputs, output: 2 * output)
    twice = Conv2d(draw(2, 2, 2, 2, 2), (2, 4, 8))
    return {
        "a recurrence": ({"a": Lif(conv, recurrent=Linear(0.1 * draw(3, 32, 32)), **plain)}, None),
        "snnTorch's subtraction": ({"a": Lif(conv, reset=SnntorchSubtract(), **plain)}, None),
        "a hook": ({"a": Lif(hooked, **plain)}, None),
        "two sources": ({"a": Lif(conv, **plain), "b": Lif(twice, **plain)}, {"b": ["a", "a"]}),
        "neurons with a floor": ({"a": LinearizedDpi(conv, tau_syn_exc=0.004, tau_syn_inh=0.006, **plain)}, None),
    }


@pytest.mark.parametrize("name", refused())
def test_what_the_loop_cannot_take_runs_die_by_die(name, together):
    """It has the bits of the forward pass."""
    layers, inputs = refused()[name]
    net, x = nr.Network(layers, DT, inputs), events(5, 0.3, 4, 30, 36)
    expected = [forward(net, die, x)[0] for die in dies_of(net, 3)]
    assert all(map(torch.equal, fleet_logits(net, dies_of(net, 3), x), expected))
    assert not together and all(logits.abs().sum() > 0 for logits in expected)


class Doubled(LeakyIntegrator):
    """A read-out with a response of its own."""

    def respond(self, current, dt):
        return 2 * super().respond(current, dt)


class Halved(Lif):
    """A neuron with a current of its own."""

    def current(self, x, dt):
        return super().current(x, dt) / 2


class Excited(LinearizedDpi):
    """A neuron that nothing inhibits."""

    def currents(self, x, dt):
        excitation, inhibition = super().currents(x, dt).chunk(2, -1)
        return torch.cat([excitation, 0 * inhibition], -1)


class Counted(Conv2d):
    """A convolution with a pass of its own."""

    def forward(self, x, dt):
        return 3 * super().forward(x, dt)


def test_a_connection_of_a_subclass_is_called(together):
    """Its own pass counts, with kernels and unrolled."""
    conv = Counted(draw(1, 2, 1, 3, 3), (1, 6, 6))
    net, x = nr.Network({"a": Lif(conv, tau_mem=0.01, v_threshold=0.2)}, DT), events(5, 0.3, 4, 30, 36)
    for unroll in (False, True):
        dies = [
            die | ({"a.input.weight": on_synapses(Made(k), conv)} if unroll else {})
            for k, die in enumerate(dies_of(net, 3))
        ]
        assert all(map(torch.equal, fleet_logits(net, dies, x), [forward(net, die, x)[0] for die in dies]))
    assert not together


def test_methods_of_a_subclass_are_called(together):
    """Its current, or its response to it, counts in a run and in a fleet; the layer's own would be a wrong number."""
    weight, x = Linear(draw(1, 4, 3)), events(5, 0.3, 4, 30, 3)
    spiking = {"tau_mem": 0.01, "v_threshold": 0.05}
    floored = spiking | {"tau_syn_exc": 0.004, "tau_syn_inh": 0.006}
    for own, base, numbers in (
        (Doubled, LeakyIntegrator, {"tau_mem": 0.01}),
        (Halved, Lif, spiking),
        (Excited, LinearizedDpi, floored),
    ):
        net, plain = (nr.Network({"o": kind(weight, **numbers)}, DT) for kind in (own, base))
        expected = [forward(net, die, x)[0] for die in dies_of(net, 3)]
        if own is Doubled:
            assert all(
                torch.equal(2 * forward(plain, die, x)[0], logits) for die, logits in zip(dies_of(net, 3), expected)
            )
        else:
            assert not any(torch.equal(forward(plain, die, x)[0], one) for die, one in zip(dies_of(net, 3), expected))
        assert all(map(torch.equal, fleet_logits(net, dies_of(net, 3), x), expected)) and not together
