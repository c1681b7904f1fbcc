"""Convolutions and poolings by events, and LIF layers behind them, against the reference."""

from __future__ import annotations

import hypothesis
import pytest
import torch
from conftest import DT, draw
from engine import by, dies_of, events, same
from hypothesis import given
from hypothesis import strategies as st

from neurorobust import kernels
from neurorobust.core.run import forward
from neurorobust.dynamics import DelayedSubtract, DelayedToValue, Dynamics, NoReset, Subtract, ToValue
from neurorobust.dynamics.surrogate import ArcTan, FastSigmoid, Triangle
from neurorobust.kernels import Convolution, LifCoefficients, Window
from neurorobust.kernels.runtime import threads
from neurorobust.nn.connections import AvgPool2d, Chain, Conv1d, Conv2d, Linear
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import LeakyIntegrator, Lif

axes = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3)).filter(
    lambda axis: axis[0] + 2 * axis[3] >= axis[1]
)  # size, window, step, padding
windows = st.builds(
    lambda channels, high, wide: Window((channels, high[0], wide[0]), *zip(high[1:], wide[1:])),
    st.integers(1, 3),
    axes,
    axes,
)


@st.composite
def pooled_convolutions(draw_from):
    """Convolutions, half of them behind a pooling whose windows overlap or leave gaps."""
    channels = draw_from(st.sampled_from([1, 3, 8, 16, 25]))
    if draw_from(st.booleans()):
        return Convolution(draw_from(windows), channels)
    pool = draw_from(windows.filter(lambda w: all(s >= k for s, k in zip(w.shape[1:], w.kernel))))
    pool = pool._replace(padding=(0, 0))
    shape = (pool.shape[0], *pool.places)
    kernel = tuple(draw_from(st.integers(1, size)) for size in shape[1:])
    window = Window(shape, kernel, draw_from(st.tuples(*(st.integers(1, 2),) * 2)))
    return Convolution(window, channels, pool, draw_from(st.sampled_from([1, 4])))


def synapses(convolution, seed, bias):
    weight = draw(seed, convolution.channels, convolution.window.shape[0], *convolution.window.kernel)
    return [weight, draw(seed + 1, convolution.channels)][: 1 + bias]


def image_events(seed, rate, binary, steps, batch, n):
    x = events(seed, rate, steps, batch, n)
    return x if binary else x * draw(seed + 1, *x.shape)


def evaluated(function, *leaves):
    """The output, and the gradients of a weighted sum of it."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    out = function(*leaves)
    return out.detach(), *torch.autograd.grad((draw(99, *out.shape) * out).sum(), leaves)


def compare(function, *leaves):
    for found, expected in zip(
        by("compiled", evaluated, function, *leaves), by("reference", evaluated, function, *leaves), strict=True
    ):
        same(found, expected)


@given(
    convolution=pooled_convolutions(),
    seed=st.integers(0, 2**20),
    size=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    rate=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    binary=st.booleans(),
    bias=st.booleans(),
)
@hypothesis.settings(max_examples=60)
def test_a_convolution_equals_the_reference(convolution, seed, size, rate, binary, bias):
    """Output and gradients of input, weight and bias to 1e-10, for any window, step, padding, pooling and rate."""
    x = image_events(seed, rate, binary, *size, convolution.n_in)

    def function(x, weight, bias=None):
        return kernels.convolve(x, convolution, weight, bias)

    compare(function, x, *synapses(convolution, seed, bias))


@given(window=windows, seed=st.integers(0, 2**20), divisor=st.integers(1, 5), rate=st.sampled_from([0.1, 1.0]))
@hypothesis.settings(max_examples=30)
def test_a_pooling_equals_the_reference(window, seed, divisor, rate):
    """Output and gradient, where windows overlap, meet, or leave gaps."""
    hypothesis.assume(all(s >= k for s, k in zip(window.shape[1:], window.kernel)))
    pool = window._replace(padding=(0, 0))
    x = image_events(seed, rate, False, 3, 2, Convolution(window, 1).n_in)
    compare(lambda x: kernels.pool(x, pool, divisor), x)


RESETS = [NoReset(), DelayedSubtract(), Subtract(), ToValue(), DelayedToValue()]


@given(
    convolution=pooled_convolutions(),
    seed=st.integers(0, 2**20),
    size=st.tuples(st.integers(1, 8), st.integers(1, 3)),
    reset=st.sampled_from(RESETS),
    surrogate=st.sampled_from([Triangle(), FastSigmoid(), ArcTan()]),
    has=st.tuples(*(st.booleans(),) * 4),
)
@hypothesis.settings(max_examples=60)
def test_a_layer_behind_a_convolution_equals_the_reference(convolution, seed, size, reset, surrogate, has):
    """Spikes, and the gradients of input, weight, bias and every coefficient, with and without leak, synaptic current,
    refractory steps and adaptation."""
    bias, syn, adaptive, refractory = has
    n = convolution.n_out
    x = events(seed, 0.3, *size, convolution.n_in)
    one_each = [0.6 + 0.3 * torch.sigmoid(draw(seed + k, n)) for k in range(5)]

    def function(x, alpha, gain, threshold, decay, leak, weight, bias=None):
        adapts = adaptive and isinstance(reset, DelayedSubtract)
        to_value = isinstance(reset, (ToValue, DelayedToValue))
        c = LifCoefficients(
            alpha, gain, threshold, decay if syn else None, 0.1 * leak, -0.2 * leak if to_value else None,
            (torch.arange(n) % 3).double() if refractory else None, decay if adapts else None, leak if adapts else None,
        )  # fmt: skip
        out = kernels.convolve_lif(x, convolution, (weight, bias), c, Dynamics(surrogate, reset))
        return out + 0 * sum(p.sum() for p in (decay, leak))  # each has a gradient, be it 0

    compare(function, x, *one_each, *synapses(convolution, seed + 9, bias))


def network():
    """Two spiking layers behind convolutions, the second behind a pooling too, and a read-out behind a pooling."""
    first = Conv2d(draw(0, 3, 2, 3, 3), (2, 12, 11), draw(1, 3), draw(2, 3, 2, 3, 3) > -1, padding=1)
    pool = AvgPool2d(first.out_shape, 2)
    second = Conv2d(draw(3, 4, 3, 3, 3), pool.out_shape)
    last = AvgPool2d(second.out_shape, 2)
    layers = {
        "a": Lif(first, tau_mem=0.01, v_threshold=0.2),
        "b": Lif(Chain(pool, second), tau_mem=0.01, v_threshold=0.05, reset=Subtract()),
        "o": LeakyIntegrator(Chain(last, Linear(draw(4, 3, last.n_out))), tau_mem=0.02),
    }
    return Network(layers, DT)


def test_a_network_of_convolutions_equals_the_reference():
    """Logits and the gradients of all parameters; the layers run in the loops of a whole layer."""
    net, x = network(), events(5, 0.2, 3, 20, 264)

    def gradients():
        logits, spikes = net(x)
        assert min(spikes[name].mean() for name in "ab") > 0.02
        return logits.detach(), *torch.autograd.grad(logits.square().sum(), net.parameters())

    for found, expected in zip(by("compiled", gradients), by("reference", gradients), strict=True):
        same(found, expected)


def test_a_fleet_of_convolutions_has_the_bits_of_single_dies():
    """Dies with kernels of their own, many samples or one, and the input's events listed once or not."""
    net, x = network(), events(5, 0.2, 5, 20, 264)
    expected = [forward(net, die, x)[0] for die in dies_of(net, 3)]
    assert all(map(torch.equal, fleet_logits(net, dies_of(net, 3), x), expected))
    for found, logits in zip(fleet_logits(net, dies_of(net, 3), x[2:3]), expected):
        assert torch.equal(found, logits[2:3])


@pytest.fixture
def parallel(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "SMALL", 0)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype, parallel):
    """Logits and gradients of a network that is large enough for several blocks."""
    first = Conv2d(draw(0, 8, 1, 3, 3), (1, 20, 20), draw(1, 8))
    pool = AvgPool2d(first.out_shape, 2)
    layers = {
        "a": Lif(first, tau_mem=0.01, v_threshold=0.2),
        "b": LeakyIntegrator(Chain(pool, Conv2d(draw(2, 2, 8, 2, 2), pool.out_shape, stride=2)), tau_mem=0.02),
    }
    net, x = Network(layers, DT).to(dtype), events(5, 0.1, 6, 15, 400).to(dtype)
    runs = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        logits = net(x)[0]
        runs.append([logits.detach(), *torch.autograd.grad(logits.square().sum(), net.parameters())])
    for run in runs[1:]:
        assert all(map(torch.equal, run, runs[0]))


def test_an_input_that_reaches_no_place_has_no_gradient():
    """Between the windows of large steps."""
    conv = Conv1d(torch.ones(1, 1, 1), (1, 5), stride=2)
    x = torch.ones(1, 1, 5, requires_grad=True)
    assert conv(x, DT).tolist() == [[[1.0, 1.0, 1.0]]]
    conv(x, DT).sum().backward()
    assert x.grad.tolist() == [[[1.0, 0.0, 1.0, 0.0, 1.0]]]


def test_wrong_shapes_and_types_are_refused():
    """Each by name, before any loop runs."""
    convolution = Convolution(Window((2, 4, 4), (3, 3), (1, 1)), 5)
    x, weight, bias = torch.zeros(3, 2, 32), torch.zeros(5, 2, 3, 3), torch.zeros(5)
    c = LifCoefficients(*(torch.ones(20),) * 3)
    for wrong, message in (
        ((x[..., 1:], weight, bias), "x: got shape"),
        ((x, weight[1:], bias), "weight: got shape"),
        ((x, weight.double(), bias), "weight: got"),
        ((x, weight, bias[1:]), "bias: got shape"),
        ((x, weight, bias.double()), "bias: got"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.convolve(wrong[0], convolution, *wrong[1:])
    with pytest.raises(ValueError, match="v_threshold: got shape"):
        kernels.convolve_lif(
            x, convolution, (weight, bias), c._replace(v_threshold=torch.ones(3)), Dynamics(Triangle(), NoReset())
        )
    with pytest.raises(ValueError, match="x: got shape"):
        kernels.pool(x[..., 1:], convolution.window, 1)
