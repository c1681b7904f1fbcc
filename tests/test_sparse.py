"""Weights by lists of targets: the same numbers as a masked matrix, in every loop, for every pattern."""

from __future__ import annotations

import gc

import pytest
import torch
from conftest import DT, draw
from engine import decay, dies_of, events, floored_numbers, same
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call, grad, vmap

import neurorobust as nr
from neurorobust import kernels
from neurorobust.dynamics import (
    CancelsExcitation,
    DelayedSubtract,
    Dynamics,
    HardFloor,
    LeakyFloor,
    Subtract,
    ToValue,
)
from neurorobust.dynamics.surrogate import ArcTan, Triangle
from neurorobust.kernels import FlooredDynamics, LifCoefficients, Pattern, SparseWeight, masks
from neurorobust.kernels import choice as choice_of
from neurorobust.kernels.runtime import threads
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.neurons import AdaptiveLif, LeakyIntegrator, Lif, LinearizedDpi

STEPS, BATCH = 7, 19  # more rows than one load brings


def plain(x, weight, recurrent, alpha):
    """Spikes of LIF neurons with everything but an adaptation."""
    c = LifCoefficients(alpha, 1 - alpha, alpha / 5, alpha / 2, v_leak=0.1 * alpha, refractory=(alpha > 0.85).to(alpha))
    return kernels.lif_layer(x, (weight, 0.3 * alpha), recurrent, c, Dynamics(Triangle(), ToValue()))


def adaptive(x, weight, recurrent, alpha):
    """Spikes of adaptive neurons, from a current that was made before."""
    c = LifCoefficients(alpha, 1 - alpha, alpha / 5, None, rho=alpha, adaptation=0.3 * alpha)
    return kernels.lif(kernels.linear(x, weight, None), recurrent, c, Dynamics(Triangle(), DelayedSubtract()))


def dpi(x, weight, recurrent, alpha):
    """Spikes of neurons with a floor."""
    dynamics = FlooredDynamics(Triangle(), LeakyFloor(0.3))
    return kernels.floored_layer(x, weight, recurrent, floored_numbers(alpha, alpha / 3), dynamics)


def cancelling(x, weight, recurrent, alpha):
    """Spikes of neurons with a floor whose inhibition only cancels."""
    dynamics = FlooredDynamics(ArcTan(), HardFloor(), CancelsExcitation())
    return kernels.floored_layer(x, weight, recurrent, floored_numbers(alpha, alpha / 3), dynamics)


LAYERS = [plain, adaptive, dpi, cancelling]
every_layer = pytest.mark.parametrize("layer", LAYERS)


def inputs(seed, n, n_in, density, *, binary=True, leading=()):
    """x, the weights as matrices, and alpha; masks of both weights."""
    x = events(seed, 0.3, STEPS, BATCH, n_in)
    x = x if binary else x * draw(seed + 9, STEPS, BATCH, n_in).abs()
    mask, recurrent_mask = events(seed + 1, density, n, n_in) > 0, events(seed + 2, density, n, n) > 0
    weight, recurrent = draw(seed + 3, *leading, n, n_in), 0.5 * draw(seed + 4, *leading, n, n)
    return (x, weight, recurrent, decay(seed + 5, *leading, n)), (mask, recurrent_mask)


def listed(layer, patterns):
    """The layer of matrices with the synapses of these patterns, as lists."""

    def run(x, weight, recurrent, alpha):
        lists = [
            None if p is None else SparseWeight(w.reshape(-1)[p.index], p)
            for w, p in zip((weight, recurrent), patterns)
        ]
        return layer(x, weight if lists[0] is None else lists[0], recurrent if lists[1] is None else lists[1], alpha)

    return run


def masked(layer, given_masks):
    """The layer of matrices times their masks."""

    def run(x, weight, recurrent, alpha):
        weight, recurrent = (w if m is None else w * m for w, m in zip((weight, recurrent), given_masks))
        return layer(x, weight, recurrent, alpha)

    return run


def spikes_and_gradients(function, tensors, kernel, with_x):
    """Spikes, and the gradients of a weighted sum of them."""
    leaves = [tensor.detach().clone().requires_grad_(i > 0 or with_x) for i, tensor in enumerate(tensors)]
    with kernels.using(kernel):
        spikes = function(*leaves)
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        return spikes.detach(), torch.autograd.grad((spikes * draw(99, *spikes.shape)).sum(), wanted)


@every_layer
@given(
    seed=st.integers(0, 2**20),
    n=st.sampled_from([1, 2, 7, 16, 33, 48]),
    n_in=st.sampled_from([1, 5, 17]),
    density=st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
    binary=st.booleans(),
    with_x=st.booleans(),
    which=st.sampled_from([(True, True), (True, False), (False, True)]),
)
def test_lists_equal_the_masked_matrix(layer, seed, n, n_in, density, binary, with_x, which):
    """Spikes exactly, gradients of every input to 1e-10, against the reference loop in float64: sources without
    targets, targets without sources, no synapse at all, and all."""
    tensors, own = inputs(seed, n, n_in, density, binary=binary)
    own = [mask if listing else None for mask, listing in zip(own, which)]
    patterns = [None if mask is None else Pattern.of(mask) for mask in own]
    expected, expected_gradients = spikes_and_gradients(masked(layer, own), tensors, "reference", with_x)
    found, gradients = spikes_and_gradients(listed(layer, patterns), tensors, "compiled", with_x)
    assert torch.equal(found, expected)
    for gradient, right in zip(gradients, expected_gradients):
        same(gradient, right)
    again, _ = spikes_and_gradients(listed(layer, patterns), tensors, "reference", with_x)
    assert torch.equal(again, expected)


@every_layer
def test_the_layers_above_spike(layer):
    """The data of these tests spike, and every gradient is there."""
    tensors, own = inputs(3, 33, 17, 0.3)
    spikes, gradients = spikes_and_gradients(masked(layer, own), tensors, "reference", True)
    assert 0.02 < spikes.mean() < 0.6
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@every_layer
def test_vmap_equals_die_by_die(layer):
    """Values, alpha and x per die, or shared: gradients under vmap are those of each die alone."""
    (x, weight, recurrent, alpha), own = inputs(5, 20, 17, 0.2, leading=(3,))
    run = listed(layer, [Pattern.of(mask) for mask in own])
    factors = draw(99, STEPS, BATCH, 20)

    def loss(x, weight, recurrent, alpha):
        return (run(x, weight, recurrent, alpha) * factors).sum()

    every = grad(loss, (0, 1, 2, 3))
    xs = torch.stack([x, 1 - x, x * 0.5])
    for dims, first in (((0, 0, 0, 0), xs), ((None, 0, 0, 0), x)):
        found = vmap(every, dims)(first, weight, recurrent, alpha)
        one_by_one = [every(first[i] if dims[0] == 0 else x, weight[i], recurrent[i], alpha[i]) for i in range(3)]
        for part, alone in zip(found, map(torch.stack, zip(*one_by_one))):
            same(part, alone)
    shared = vmap(every, (0, None, None, None))(xs, weight[0], recurrent[0], alpha[0])
    same(shared[1][1], every(xs[1], weight[0], recurrent[0], alpha[0])[1])


@pytest.fixture
def parallel(monkeypatch):
    """Work of any size goes to more than one thread; torch's number of threads is put back."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "SMALL", 0)
    yield
    torch.set_num_threads(before)


@every_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_any_number_of_threads_gives_the_same_bits(layer, dtype, parallel):
    """Spikes and gradients on one thread and on two."""
    tensors, own = inputs(6, 400, 300, 0.05)
    tensors = [tensor.to(dtype) for tensor in tensors]
    run = listed(layer, [Pattern.of(mask) for mask in own])
    results = []
    for number in (1, 2):
        torch.set_num_threads(number)
        spikes, gradients = spikes_and_gradients(run, tensors, "compiled", True)
        results.append([spikes, *gradients])
    assert results[0][0].mean() > 0.01
    assert all(torch.equal(a, b) for a, b in zip(*results))


# ---- masks


def test_a_pattern_lists_the_targets_of_every_source():
    """Rows are targets, columns are sources; the second source has none."""
    mask = torch.tensor([[True, False, True], [False, False, True]])
    pattern = Pattern.of(mask)
    assert pattern.shape == (2, 3)
    assert pattern.lists.tolist() == [0, 1, 1, 3, 0, 0, 1]
    weight = draw(1, 2, 3)
    listed_weight = SparseWeight(weight.reshape(-1)[pattern.index], pattern)
    assert torch.equal(kernels.dense(listed_weight), weight * mask)


@pytest.fixture
def small(monkeypatch):
    """Lists for sparse matrices of any size."""
    monkeypatch.setattr(choice_of, "CACHED", 0)


def test_few_synapses_of_a_large_matrix_are_lists():
    """At most an eighth, of more than 2¹⁷ entries."""
    assert choice_of.lists_pay(2**15, 512, 512)
    assert not choice_of.lists_pay(2**15 + 1, 512, 512)
    assert not choice_of.lists_pay(2**10, 512, 256)
    assert not choice_of.lists_pay(0, 512, 512)


def test_a_pattern_is_found_once_for_each_version_of_a_mask(small, monkeypatch):
    """The second time it is the same object; after a change in place another; it goes with its mask."""
    masks._known.clear()
    mask = events(1, 0.05, 30, 30) > 0
    first = kernels.pattern_of(mask)
    assert first is not None and kernels.pattern_of(mask) is first
    mask[0, :5] = True
    second = kernels.pattern_of(mask)
    assert second is not first and torch.equal(second.index.sort().values, mask.reshape(-1).nonzero()[:, 0])
    assert len(masks._known) == 1
    del mask
    gc.collect()
    assert len(masks._known) == 0


def through_data(mask):
    mask.data[3] = True


def through_numpy(mask):
    mask.numpy()[3] = True


def other_data(mask):
    mask.data = mask.roll(1, 0)


def other_version(mask):
    with torch.autograd._unsafe_preserve_version_counter(mask):
        mask[:] = mask.roll(1, 1)


@pytest.mark.parametrize("change", [through_data, through_numpy, other_data, other_version])
def test_no_change_of_a_mask_is_missed(small, change):
    """Also those that torch's count of versions misses: masks of pruning and rewiring are often changed so."""
    connection = nr.nn.Linear(draw(1, 40, 30), mask=events(1, 0.05, 40, 30) > 0)
    x = events(2, 0.3, 5, 6, 30)
    before, version = connection(x, DT), connection.mask._version
    with torch.no_grad():
        connection.weight.copy_(draw(3, 40, 30))
    change(connection.mask)
    assert connection.mask._version == version
    same(connection(x, DT), x @ (connection.weight * connection.mask).T)
    assert kernels.pattern_of(connection.mask) is not None
    assert not torch.allclose(connection(x, DT), before)


def test_a_mask_that_scales_is_no_pattern(small):
    """Whoever puts numbers into the place of a mask gets the product with these numbers."""
    connection, x = nr.nn.Linear(draw(1, 40, 30), mask=events(1, 0.05, 40, 30) > 0), events(2, 0.3, 5, 6, 30)
    expected = 0.5 * connection(x, DT)
    connection.mask = 0.5 * connection.mask
    assert kernels.pattern_of(connection.mask) is None
    same(connection(x, DT), expected)


def test_a_connection_keeps_its_own_mask():
    """What is done later to the tensor that was given changes nothing."""
    mask = events(1, 0.5, 4, 3) > 0
    connection = nr.nn.Linear(draw(1, 4, 3), mask=mask)
    kept = mask.clone()
    mask.logical_not_()
    assert torch.equal(connection.mask, kept)


def test_lists_on_the_cpu_whatever_the_default_device(small):
    """torch.set_default_device does not move a network that was there before."""
    connection, x = nr.nn.Linear(draw(1, 40, 30), mask=events(1, 0.05, 40, 30) > 0), events(2, 0.3, 5, 6, 30)
    with torch.device("meta"):
        found = connection(x, DT)
    assert torch.equal(found, connection(x, DT))


def test_other_masks_have_no_pattern(small):
    """Dense ones; those elsewhere than on the CPU; those inside vmap."""
    mask = events(1, 0.05, 30, 30) > 0
    assert kernels.pattern_of(torch.ones(30, 30, dtype=torch.bool)) is None
    assert kernels.pattern_of(mask.to("meta")) is None
    with torch.inference_mode():
        assert kernels.pattern_of(mask.clone()) is None
    seen = []
    vmap(lambda part: seen.append(kernels.pattern_of(part)) or part)(mask.expand(2, 30, 30).clone())
    assert seen == [None]


# ---- networks


def network(kind, n=40, n_in=30, fan_in=3):
    """A sparse recurrent layer and a read-out."""
    generator = torch.Generator().manual_seed(1)

    def connection(n_in):
        drawn = nr.nn.Linear.random(n_in, n, fan_in=fan_in, generator=generator)
        return nr.nn.Linear(6 * drawn.weight.detach().double(), mask=drawn.mask)

    numbers = {"tau_mem": 0.02, "v_threshold": 0.1}
    if kind is AdaptiveLif:
        numbers |= {"tau_adapt": 0.05, "adaptation": 0.3}
    if kind is LinearizedDpi:
        numbers |= {"tau_syn_exc": 0.004, "tau_syn_inh": 0.006}
    extra = {"reset": Subtract()} if kind is Lif else {}
    hidden = kind(connection(n_in), recurrent=connection(n), **numbers, **extra)
    readout = LeakyIntegrator(nr.nn.Linear(draw(2, 3, n)), tau_mem=0.02)
    return nr.Network({"hidden": hidden, "readout": readout}, DT)


every_neuron = pytest.mark.parametrize("kind", [Lif, AdaptiveLif, LinearizedDpi])


def both(monkeypatch, function):
    """What a function gives with lists and with matrices."""
    results = []
    for share in (1 / 8, 0):
        monkeypatch.setattr(choice_of, "SPARSE", share)
        masks._known.clear()
        results.append(function())
    masks._known.clear()
    return results


@every_neuron
def test_a_sparse_network_trains_as_a_masked_one(small, monkeypatch, kind):
    """Logits, gradients and a robust loss; absent synapses have no gradient."""
    net, x, y = network(kind), events(3, 0.2, 9, 20, 30), torch.arange(9) % 3
    attack = nr.attacks.PGA(steps=2)
    loss = nr.regularizers.Adversarial(torch.nn.functional.cross_entropy, attack, nr.Ball.uniform(0.1), 0.5)

    def run():
        torch.manual_seed(0)
        used = kernels.pattern_of(net.layers()["hidden"].input.mask) is not None
        net.zero_grad()
        loss(net, dict(net.named_parameters()), (x, y)).backward()
        return used, net(x)[1]["hidden"].detach(), {k: p.grad.clone() for k, p in net.named_parameters()}

    (used, spikes, gradients), (unused, expected, right) = both(monkeypatch, run)
    assert used and not unused
    assert spikes.mean() > 0.01
    assert torch.equal(spikes, expected)
    for name, gradient in gradients.items():
        same(gradient, right[name], 1e-9)
    assert (gradients["hidden.recurrent.weight"][~net.layers()["hidden"].recurrent.mask] == 0).all()


@every_neuron
@pytest.mark.parametrize("binary", [True, False])
def test_a_fleet_of_a_sparse_network_is_every_die_alone(small, monkeypatch, kind, binary):
    """Logits of all dies, with lists, with matrices, and one by one."""
    net, x = network(kind), events(3, 0.2, 9, 20, 30)
    x = x if binary else 0.7 * x
    dies = list(dies_of(net, 4))
    listed_logits, right = both(monkeypatch, lambda: torch.stack(list(fleet_logits(net, dies, x))))
    same(listed_logits, right)
    one_by_one = torch.stack([functional_call(net, die, (x,))[0] for die in dies]).detach()
    same(listed_logits, one_by_one)
    assert listed_logits.std(0).max() > 0


@every_neuron
def test_a_pattern_serves_all_passes(small, monkeypatch, kind):
    """A fleet, a robust loss and a plain pass look at each of the two masks once."""
    masks._known.clear()
    looked, find = [], Pattern.of
    monkeypatch.setattr(Pattern, "of", lambda mask: looked.append(mask.shape) or find(mask))
    net, x, y = network(kind), events(3, 0.2, 9, 20, 30), torch.arange(9) % 3
    attack = nr.attacks.PGA(steps=2)
    loss = nr.regularizers.Adversarial(torch.nn.functional.cross_entropy, attack, nr.Ball.uniform(0.1), 0.5)
    loss(net, dict(net.named_parameters()), (x, y)).backward()
    list(fleet_logits(net, dies_of(net, 3), x))
    net(x)
    assert sorted(looked) == [(40, 30), (40, 40)]


def test_layers_after_one_another_and_skips(small, monkeypatch):
    """Sparse weights on several sources side by side, in a fleet and one by one."""
    generator = torch.Generator().manual_seed(1)

    def sparse(n_in, n, fan_in):
        drawn = nr.nn.Linear.random(n_in, n, fan_in=fan_in, generator=generator, bias=True)
        return nr.nn.Linear(2 * drawn.weight.detach().double(), drawn.bias.detach().double(), drawn.mask)

    numbers = {"tau_mem": 0.02, "v_threshold": 0.05}
    layers = {
        "a": Lif(sparse(30, 21, 3), **numbers),
        "b": Lif(sparse(51, 17, 5), recurrent=nr.nn.Linear(draw(3, 17, 17)), **numbers),
        "o": LeakyIntegrator(sparse(38, 18, 4), tau_mem=0.02),
    }
    net = nr.Network(layers, DT, {"b": ["a", "x"], "o": ["b", "a"]})
    x, dies = events(3, 0.3, 6, 15, 30), list(dies_of(net, 3))

    def run():
        net.zero_grad()
        logits = net(x)[0]
        logits.square().sum().backward()
        gradients = [p.grad.clone() for p in net.parameters()]
        return [torch.stack(list(fleet_logits(net, dies, x))), logits.detach(), *gradients]

    for found, right in zip(*both(monkeypatch, run)):
        assert right.abs().max() > 0
        same(found, right)


@every_neuron
def test_a_sparse_network_on_another_device_allocates_nothing(small, kind):
    """On torch's meta device, which has no memory: the outputs are there too."""
    net = network(kind).to("meta")
    logits, signals = net(torch.empty(2, 5, 30, dtype=torch.float64, device="meta"))
    assert logits.device.type == signals["hidden"].device.type == "meta"
    logits.sum().backward()
    assert all(p.grad.device.type == "meta" for p in net.parameters())


def test_random_connections_with_a_fan_in():
    """Every neuron has so many inputs, all inputs are used alike, weights are within 1/√fan_in; errors name it."""
    generator = torch.Generator().manual_seed(0)
    connection = nr.nn.Linear.random(200, 3000, fan_in=16, generator=generator)
    assert (connection.mask.sum(1) == 16).all()
    used = connection.mask.sum(0).double()  # mean 240, standard deviation 14.9: 6 of these
    assert (used - 240).abs().max() < 90
    drawn = connection.weight.detach()[connection.mask]
    assert drawn.abs().max() <= 0.25 and drawn.abs().mean() == pytest.approx(0.125, rel=0.02)
    assert (connection.weight[~connection.mask] == 0).all()
    with pytest.raises(ValueError, match=r"fan_in: got 201; expected at most n_in = 200"):
        nr.nn.Linear.random(200, 3, fan_in=201, generator=generator)
    with pytest.raises(ValueError, match=r"fan_in: got 4 beside a mask; expected one of the two"):
        nr.nn.Linear.random(2, 3, fan_in=4, mask=torch.ones(3, 2), generator=generator)
    with pytest.raises(ValueError, match="fan_in"):
        nr.nn.Linear.random(2, 3, fan_in=0, generator=generator)
