"""Every connection, found by walking its module, against plain sums and torch's own layers."""

from __future__ import annotations

from inspect import isabstract

import pytest
import torch
from conftest import DT, double, draw
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional

from neurorobust.core.apply import apply
from neurorobust.core.run import forward, nominal, run
from neurorobust.nn import connections, neurons, sparse_linear
from neurorobust.nn.connections import (
    AvgPool2d,
    Chain,
    Connection,
    Conv1d,
    Conv2d,
    Delayed,
    Linear,
    OneToOne,
    SumPool2d,
)
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import LeakyIntegrator, Lif

EVERY = {
    name: value
    for name, value in {**vars(connections), **vars(sparse_linear)}.items()
    if isinstance(value, type) and issubclass(value, Connection) and not isabstract(value) and name[0] != "_"
}


def masked(seed, *shape):
    return draw(seed, *shape) > -0.7


def make(name):
    """One connection of each kind, masked where it has a weight."""
    return {
        "Linear": lambda: Linear(draw(0, 4, 3), draw(1, 4), masked(2, 4, 3)),
        "SparseLinear": lambda: sparse_linear.SparseLinear.of(make("Linear")),
        "OneToOne": lambda: OneToOne(draw(0, 5), draw(1, 5), masked(2, 5)),
        "Conv1d": lambda: Conv1d(draw(0, 3, 2, 3), (2, 7), draw(1, 3), masked(2, 3, 2, 3), stride=2, padding=1),
        "Conv2d": lambda: Conv2d(
            draw(0, 3, 2, 3, 2), (2, 5, 4), draw(1, 3), masked(2, 3, 2, 3, 2), (2, 1), (1, 0)
        ),
        "AvgPool2d": lambda: AvgPool2d((2, 5, 4), 2),
        "SumPool2d": lambda: SumPool2d((2, 5, 4), (2, 3), 1),
        "Delayed": lambda: Delayed(Linear(draw(0, 4, 3), draw(1, 4), masked(2, 4, 3)), DT * double(0, 1, 3)),
        "Chain": lambda: Chain(AvgPool2d((2, 6, 4), 2), Conv2d(draw(0, 3, 2, 2, 2), (2, 3, 2))),
    }[name]()  # fmt: skip


def by_torch(name, connection, x):
    """The expected output of each, computed without the package."""
    if name == "SparseLinear":
        return by_torch("Linear", connection.dense(), x)
    weight = connection.weight * connection.mask if hasattr(connection, "weight") else None
    if name == "Linear":
        return torch.einsum("tbj,ij->tbi", x, weight) + connection.bias
    if name == "OneToOne":
        return x * weight + connection.bias
    if name == "Conv1d":
        return functional.conv1d(x.reshape(-1, 2, 7), weight, connection.bias, 2, 1).reshape(*x.shape[:2], -1)
    if name == "Conv2d":
        return functional.conv2d(x.reshape(-1, 2, 5, 4), weight, connection.bias, (2, 1), (1, 0)).reshape(
            *x.shape[:2], -1
        )
    if name == "AvgPool2d":
        return (
            x.reshape(*x.shape[:2], 2, 5, 4)[..., :4, :]
            .unflatten(-2, (2, 2))
            .unflatten(-1, (2, 2))
            .mean((-1, -3))
            .flatten(2)
        )
    if name == "SumPool2d":
        image = x.reshape(*x.shape[:2], 2, 5, 4)
        return torch.stack(
            [image[..., i : i + 2, j : j + 3].sum((-1, -2)) for i in range(4) for j in range(2)], -1
        ).flatten(2)
    if name == "Delayed":
        late = torch.zeros_like(x)
        for channel, steps in enumerate((0, 1, 3)):
            late[steps:, :, channel] = x[: len(x) - steps, :, channel]
        return by_torch("Linear", connection.connection, late)
    pooled = x.reshape(-1, 2, 3, 2, 2, 2).mean((3, 5))
    return functional.conv2d(pooled, connection.get_submodule("1").weight).reshape(*x.shape[:2], -1)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [(6, 3), (1, 3), (6, 1), (2, 1)], ids=str)
def test_values(name, size):
    """The current of every connection by an independent computation, at any T and B; sizes and masks are as said."""
    connection = make(name)
    x = draw(5, *size, connection.n_in)
    current = connection(x, DT)
    assert current.shape == (*size, connection.n_out)
    torch.testing.assert_close(current, by_torch(name, connection, x), rtol=1e-12, atol=1e-12)
    parameters = dict(connection.named_parameters())
    assert set(connection.masks()) == {key for key in parameters if key.endswith("weight")}
    assert all(mask.shape == parameters[key].shape for key, mask in connection.masks().items())
    assert connection.float()(x.float(), DT).dtype == torch.float32


def network(name):
    """A spiking network behind each kind of connection."""
    connection = make(name)
    hidden = Lif(connection, tau_mem=0.005, v_threshold=0.05)
    weight = draw(3, 2, connection.n_out)
    return Network({"hidden": hidden.double(), "out": LeakyIntegrator(Linear(weight), tau_mem=0.01)}, DT)


@pytest.mark.parametrize("name", EVERY)
def test_contract_in_a_network(name):
    """Zero deviation is the identity, every parameter has a gradient, and vmap over dies equals the loop."""
    net = network(name)
    params, x = nominal(net), draw(6, 2, 12, net.n_in) + 0.3
    assert torch.equal(
        run(net, apply(params, {key: torch.zeros_like(value) for key, value in params.items()}), x), run(net, params, x)
    )
    for key, parameter in net.named_parameters():
        (slope,) = torch.autograd.grad((draw(4, 2, 2) * net(x)[0]).sum(), parameter)
        mask = net.placement().masks.get(key, torch.ones_like(slope, dtype=torch.bool))
        assert slope.abs().max() > 0, key
        assert (slope[~mask] == 0).all(), key
    dies = [{key: value * (1 + 0.1 * draw(die, *value.shape)) for key, value in params.items()} for die in (7, 8)]
    for die in dies:
        die["hidden.tau_mem"], die["hidden.v_threshold"] = params["hidden.tau_mem"], params["hidden.v_threshold"]
        die["out.tau_mem"] = params["out.tau_mem"]
    stacked = {key: torch.stack([die[key] for die in dies]) for key in params}
    together = torch.func.vmap(lambda p: forward(net, p, x)[0])(stacked)
    for i, die in enumerate(dies):
        torch.testing.assert_close(together[i], run(net, die, x), rtol=1e-12, atol=1e-12)


@given(
    delays=st.lists(st.floats(0, 0.02), min_size=1, max_size=4), steps=st.integers(1, 12), seed=st.integers(0, 2**20)
)
def test_delays_in_whole_steps(delays, steps, seed):
    """Each channel arrives round(delay/dt) steps later, and nothing before; longer than the sequence, never."""
    connection = Delayed(OneToOne(torch.ones(len(delays)).double()), double(*delays))
    x = draw(seed, steps, 2, len(delays))
    late_output = connection(x, DT)
    for channel, delay in enumerate(delays):
        late = min(round(delay / DT), steps)
        assert (late_output[:late, :, channel] == 0).all()
        assert torch.equal(late_output[late:, :, channel], x[: steps - late, :, channel])


def test_one_to_one_recurrence_is_a_diagonal():
    """A Lif with OneToOne recurrence spikes as one with the diagonal matrix, bias included, with equal gradients."""
    x, w, b = draw(0, 40, 3, 4) + 0.4, draw(1, 4), 0.1 * draw(2, 4)
    layers = [
        Lif(Linear(torch.eye(4).double()), recurrent=recurrent, tau_mem=0.01, v_threshold=0.1)
        for recurrent in (OneToOne(w, b), Linear(torch.diag(w), b))
    ]
    spikes = [layer(x, DT) for layer in layers]
    assert torch.equal(*spikes) and 0.02 < spikes[0].mean() < 0.9
    slopes = [
        torch.autograd.grad((draw(3, 40, 3, 4) * z).sum(), layer.recurrent.weight) for z, layer in zip(spikes, layers)
    ]
    torch.testing.assert_close(slopes[0][0], slopes[1][0].diagonal(), rtol=1e-12, atol=1e-12)


def test_connections_that_do_not_fit_are_refused():
    """Kernels, shapes, strides, delays, chains and recurrent connections: each error names what was wrong."""
    kernel = draw(0, 3, 2, 3, 3)
    for call, message in [
        (lambda: Conv2d(kernel, (1, 5, 5)), r"weight: got shape \(3, 2, 3, 3\); expected \(n_out, 1, k, k\)"),
        (lambda: Conv2d(kernel, (2, 5)), "shape: got"),
        (lambda: Conv2d(kernel, (2, 2, 5)), r"kernel: \(3, 3\) does not fit into \(2, 5\)"),
        (lambda: Conv2d(kernel, (2, 5, 5), stride=0), "stride: got 0"),
        (lambda: Conv2d(kernel, (2, 5, 5), padding=-1), "padding: got -1"),
        (lambda: Conv2d(kernel, (2, 5, 5), mask=torch.ones(3, 2)), "mask: got shape"),
        (lambda: OneToOne(draw(0, 2, 2)), r"weight: got shape \(2, 2\)"),
        (lambda: Delayed(make("Linear"), -1e-3), "delay: smallest value is -0.001"),
        (lambda: Delayed(make("Linear"), float("nan")), "delay: 3 of 3 values are NaN"),
        (lambda: Chain(), "parts: got none"),
        (lambda: Chain(make("Linear"), make("Linear")), "parts: 3 inputs follow 4 outputs"),
        (
            lambda: Lif(make("Linear"), recurrent=AvgPool2d((1, 2, 2), 1), tau_mem=0.01, v_threshold=1.0),
            "recurrent: AvgPool2d has no matrix; expected a Linear or OneToOne",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="shape: got 5"):
        Conv1d(draw(0, 3, 2, 3), 5)


def test_a_parameter_behind_pooling_takes_its_own_type():
    """A connection without weights leaves the type to the value: float64 stays float64, numbers are the default."""
    assert neurons.LeakyIntegrator(AvgPool2d((1, 2, 2), 2), tau_mem=double(0.01)[0]).tau_mem.dtype == torch.float64
    assert neurons.LeakyIntegrator(AvgPool2d((1, 2, 2), 2), tau_mem=0.01).tau_mem.dtype == torch.get_default_dtype()


def test_random_weights_are_those_of_torchs_initialiser():
    """Linear.random: the distribution of torch.nn.Linear, U(−1/√k, 1/√k) with k synapses per neuron, by
    Kolmogorov and Smirnov's test at 1e-4 (fixed seed); the mask and the generator decide, nothing else."""
    drawn = Linear.random(64, 300, generator=torch.Generator().manual_seed(3), bias=True)
    for values in (drawn.weight, drawn.bias):
        assert stats.kstest(8 * values.detach().flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4
    torch.manual_seed(3)
    peer = torch.nn.Linear(64, 300)
    assert abs(peer.weight.std() / drawn.weight.std() - 1) < 0.03 and peer.weight.abs().max() <= 1 / 8
    mask = torch.rand(300, 64, generator=torch.Generator().manual_seed(4)) < 0.25
    masked = Linear.random(64, 300, generator=torch.Generator().manual_seed(3), mask=mask)
    assert torch.equal(masked.weight != 0, mask) and masked.bias is None
    assert (masked.weight.detach().abs() <= mask.sum(1).rsqrt()[:, None]).all() and masked.weight.abs().max() > 1 / 8
    again = Linear.random(64, 300, generator=torch.Generator().manual_seed(3), mask=mask)
    assert torch.equal(masked.weight, again.weight)
    with pytest.raises(ValueError, match=r"mask: got shape \(64, 300\); expected \(n_out, n_in\) = \(300, 64\)"):
        Linear.random(64, 300, generator=torch.Generator(), mask=mask.T)
    with pytest.raises(ValueError, match="n_in"):
        Linear.random(0, 3, generator=torch.Generator())


def test_a_first_network_is_five_lines():
    """Random connections make a network that runs and has gradients for all of its weights."""
    generator = torch.Generator().manual_seed(0)
    hidden = Lif(Linear.random(16, 32, generator=generator), tau_mem=0.02, v_threshold=0.02)
    readout = LeakyIntegrator(Linear.random(32, 2, generator=generator), tau_mem=0.05)
    network = Network({"hidden": hidden, "readout": readout}, dt=1e-3)
    logits, spikes = network((torch.rand(4, 50, 16, generator=generator) < 0.3).float())
    logits.sum().backward()
    assert logits.shape == (4, 2) and spikes["hidden"].any() and hidden.input.weight.grad.any()
