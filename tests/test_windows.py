"""Convolutions and poolings by events, and LIF layers behind them, against the reference."""

from __future__ import annotations

import itertools
import warnings

import hypothesis
import pytest
import torch
from conftest import DT, draw
from engine import by, events, same
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad

from neurorobust import kernels
from neurorobust.dynamics import DelayedSubtract, DelayedToValue, Dynamics, NoReset, Subtract, ToValue
from neurorobust.dynamics.surrogate import ArcTan, FastSigmoid, Triangle
from neurorobust.kernels import Convolution, LifCoefficients, Window
from neurorobust.kernels.runtime import threads
from neurorobust.nn.connections import AvgPool2d, Chain, Conv1d, Conv2d, Linear
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


def evaluated(function, *leaves, constant=()):
    """The output, and the gradients of a weighted sum of it in all leaves but those whose numbers are constant."""
    leaves = [leaf.detach().clone().requires_grad_(i not in constant) for i, leaf in enumerate(leaves)]
    out = function(*leaves)
    weighted = (draw(99, *out.shape) * out).sum()
    return out.detach(), *torch.autograd.grad(weighted, [leaf for leaf in leaves if leaf.requires_grad])


def compare(function, *leaves, constant=()):
    def evaluate():
        return evaluated(function, *leaves, constant=constant)

    for found, expected in zip(by("compiled", evaluate), by("reference", evaluate), strict=True):
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
    trained=st.sampled_from(["all", "synapses", "synapses behind the input"]),
)
@hypothesis.settings(max_examples=60)
def test_a_layer_behind_a_convolution_equals_the_reference(convolution, seed, size, reset, surrogate, has, trained):
    """Spikes, and the gradients of input, weight, bias and every coefficient, or of the first three or two alone; with
    and without leak, synaptic current, refractory steps and adaptation."""
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

    constant = {"all": (), "synapses": range(1, 6), "synapses behind the input": range(6)}[trained]
    compare(function, x, *one_each, *synapses(convolution, seed + 9, bias), constant=constant)


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


@pytest.mark.parametrize("trained", [".", "weight"])
def test_a_network_of_convolutions_equals_the_reference(trained):
    """Logits and the gradients of all parameters, or of weights alone."""
    net, x = network(), events(5, 0.2, 3, 20, 264)
    for name, value in net.named_parameters():
        value.requires_grad_(trained in name)
    wanted = [value for value in net.parameters() if value.requires_grad]

    def gradients():
        logits, spikes = net(x)
        assert min(spikes[name].mean() for name in "ab") > 0.02
        return logits.detach(), *torch.autograd.grad(logits.square().sum(), wanted)

    for found, expected in zip(by("compiled", gradients), by("reference", gradients), strict=True):
        same(found, expected)


def test_torch_compile_equals_eager():
    """torch.compile(fullgraph=True): logits and all gradients, to the order of a mean's sums."""
    net, x = network(), events(5, 0.2, 3, 20, 264)

    def gradients(function):
        logits = function(x)[0]
        return logits.detach(), *torch.autograd.grad(logits.square().sum(), net.parameters())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its tracing
        found = gradients(torch.compile(net, fullgraph=True, backend="aot_eager"))
    torch._dynamo.reset()
    for ours, eager in zip(found, gradients(net), strict=True):
        assert torch.allclose(ours, eager, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("binary", [True, False])
def test_cached_events_give_the_same_bits(binary):
    """Of a layer, a convolution and a pooling, behind a pooling or not, in the passes that find, list and read them."""
    plain = Convolution(Window((2, 6, 5), (3, 2), (1, 1)), 3)
    pool = Window((2, 6, 5), (2, 2), (2, 2))
    behind = Convolution(Window((2, 3, 2), (2, 2), (1, 1)), 3, pool, 4)
    x = image_events(1, 0.2, binary, 7, 4, 60)
    for convolution in (plain, behind):
        leaves = synapses(convolution, 2, True)
        one = torch.full((convolution.n_out,), 0.5, dtype=torch.float64)
        c = LifCoefficients(one, one, one)

        def spiking(*leaves, convolution=convolution, c=c):
            return kernels.convolve_lif(x, convolution, leaves, c, Dynamics(Triangle(), Subtract()))

        def current(*leaves, convolution=convolution):
            return kernels.convolve(x, convolution, *leaves)

        for function in (spiking, current):
            expected, cached = evaluated(function, *leaves), kernels.CachedEvents(x)
            for _ in range(3):
                with cached:
                    assert all(map(torch.equal, evaluated(function, *leaves), expected))
    expected, cached = kernels.pool(x, pool, 4), kernels.CachedEvents(x)
    for _ in range(3):
        with cached:
            assert torch.equal(kernels.pool(x, pool, 4), expected)


def test_an_unrolled_kernel_works_by_lists_of_targets(monkeypatch):
    """A die with synapses of its own: output and gradients of the reference, by lists; a change of the mask counts."""
    conv = Conv2d(draw(0, 6, 2, 3, 3), (2, 12, 12), draw(1, 6), draw(2, 6, 2, 3, 3) > -1)
    x, given, linear = events(3, 0.2, 8, 3, 288), [], kernels.linear
    monkeypatch.setattr(kernels, "linear", lambda x, weight, bias: given.append(weight) or linear(x, weight, bias))
    for _ in range(2):
        index = conv.convolutions()["weight"]()
        die = torch.where(index < 0, 0, conv.weight.detach().flatten()[index] * (1 + 0.1 * draw(4, *index.shape)))

        def current(weight):
            return torch.func.functional_call(conv, {"weight": weight}, (x, DT))

        def on_synapses(weight, index=index):
            out, gradient = evaluated(current, weight)
            return out, torch.where(index < 0, 0, gradient)

        for found, expected in zip(by("compiled", on_synapses, die), by("reference", on_synapses, die), strict=True):
            same(found, expected)
        assert all(weight.values.numel() == (index >= 0).sum() for weight in given)
        given.clear()
        conv.mask[0, 0, 0, 0] ^= True


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
    weights = [value for name, value in net.named_parameters() if "weight" in name]
    runs = []
    for number, wanted in itertools.product((1, 2, 3), (list(net.parameters()), weights)):
        for value in net.parameters():
            value.requires_grad_(any(value is one for one in wanted))
        torch.set_num_threads(number)
        logits = net(x)[0]
        runs.append([logits.detach(), *torch.autograd.grad(logits.square().sum(), wanted)])
    for i, run in enumerate(runs):
        assert all(map(torch.equal, run, runs[i % 2]))


def test_an_input_that_reaches_no_place_has_no_gradient():
    """Between the windows of large steps."""
    conv = Conv1d(torch.ones(1, 1, 1), (1, 5), stride=2)
    x = torch.ones(1, 1, 5, requires_grad=True)
    assert conv(x, DT).tolist() == [[[1.0, 1.0, 1.0]]]
    conv(x, DT).sum().backward()
    assert x.grad.tolist() == [[[1.0, 0.0, 1.0, 0.0, 1.0]]]


@pytest.mark.parametrize("channels", [7, 8, 9, 16, 25, 32, 48])
def test_the_gradient_of_an_image_reaches_it_through_every_entry_of_the_window(channels):
    """Whatever whole vectors the output channels fill, and however many numbers a window has."""
    for kernel, inputs in itertools.product((1, 3, 4), (1, 8, 16)):
        convolution = Convolution(Window((inputs, 5, 5), (kernel,) * 2, (1, 1), (1, 1)), channels)
        leaves = draw(3, 1, 2, convolution.n_in), draw(2, channels, inputs, kernel, kernel)
        compare(lambda x, weight, shapes=convolution: kernels.convolve(x, shapes, weight, None), *leaves)


def test_hooks_and_methods_of_a_users_own_are_called():
    """Of the connections before a layer of neurons, and of the layer."""

    class Driven(Lif):
        def current(self, x, dt):
            return super().current(x, dt) + 100.0

    class Silenced(Lif):
        def respond(self, current, dt):
            return super().respond(0 * current, dt)

    def hooked(kind, place):
        def shifted(part, inputs, output):
            return output + 100.0

        pool, conv = AvgPool2d((1, 4, 4), 2), Conv2d(torch.full((3, 1, 2, 2), 0.01), (1, 2, 2))
        chain = Chain(pool, conv)
        part = (pool, conv, chain)[place]
        if kind == "hook":
            part.register_forward_hook(shifted)
        elif kind == "backward hook":
            part.register_full_backward_hook(lambda part, of_input, of_output: called.append(part))
        else:
            part.forward = lambda x, dt, before=part.forward: before(x, dt) + 100.0
        return chain

    called, x = [], torch.zeros(4, 2, 16)
    for kind, place in itertools.product(("hook", "backward hook", "method"), range(3)):
        layer = Lif(hooked(kind, place), tau_mem=0.02, v_threshold=0.1)
        out = layer(x.clone().requires_grad_(), DT)
        assert bool(out.any()) == (kind != "backward hook")
        out.sum().backward()
    assert len(called) == 3
    conv = Conv2d(torch.full((3, 1, 2, 2), 5.0), (1, 4, 4))
    assert Driven(conv, tau_mem=0.02, v_threshold=0.1)(x, DT).any()
    assert not Silenced(conv, tau_mem=0.02, v_threshold=0.1)(x + 1, DT).any()


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit, by the first tensor with a tangent
@pytest.mark.parametrize("with_gradient", [True, False])
def test_tangents_are_refused_not_dropped(with_gradient):
    """The loops have no forward mode, also where no gradient is asked for."""
    pool, x = AvgPool2d((1, 4, 4), 2), torch.ones(2, 1, 16)
    with torch.set_grad_enabled(with_gradient), forward_ad.dual_level(), pytest.raises(NotImplementedError):
        pool(forward_ad.make_dual(x, x), DT)
