"""Networks and fleets of dies in the compiled loops."""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch
from conftest import DT, draw
from engine import DIES, NETWORKS, by, decay, dies_of, events, same
from torch.func import functional_call, grad, vmap

from neurorobust import kernels
from neurorobust.core.run import forward, nominal
from neurorobust.dynamics import SnntorchSubtract, ToValue
from neurorobust.nn import fleet_run
from neurorobust.nn.connections import Conv1d, Linear
from neurorobust.nn.decoders import per_step
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import LeakyIntegrator, Lif


def test_an_error_of_a_loop_names_the_layer():
    """A parameter of the wrong shape deep in a network: the message, or a note to it, says in which layer."""
    net = NETWORKS["integrator"]
    for bad in ({"c.tau_syn": decay(0, 9)}, {"b.input.weight": draw(0, 5, 8)}, {"o.tau_mem": decay(0, 3)}):
        layer = next(iter(bad))[0]
        with pytest.raises((RuntimeError, ValueError, TypeError)) as caught:
            functional_call(net, nominal(net) | bad, (events(0, 0.3, 2, 5, 3),))
        told = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert f"'{layer}'" in told or f"{layer}." in told


@pytest.mark.parametrize("weighted", [False, True], ids=["events", "weighted input"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fleet_equals_its_dies(name, weighted):
    """The fleet against the layers, compiled and reference, at every step, to 1e-12 for 18 dies of 19 samples."""
    net = NETWORKS[name]
    x = events(1, 0.3, 19, 40, 3)
    x = x * draw(2, *x.shape) if weighted else x
    assert net.plan() is not None
    found = torch.stack(list(fleet_logits(net, dies_of(net, 18), x)))
    for kernel in ("compiled", "reference"):
        (expected,) = by(kernel, lambda: torch.stack([forward(net, die, x)[0] for die in dies_of(net, 18)]))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * expected.abs().max().item())
    outputs = net(x)[1]
    assert all(0.01 < outputs[layer].mean() < 0.9 for layer in "abc")


@pytest.mark.parametrize("n", [16, 33, 80, 340])
def test_a_fleet_of_any_width(n):
    """Layers of 1, 3, 4 + 1 and 16 + 4 + 2 vectors, which are added up in blocks of 16, 4 and 1, equal the reference to
    1e-12; a NaN in the input reaches the output of its own sample and no other."""
    hidden = Lif(
        Linear(draw(1, n, 3), 0.1 * draw(2, n)), recurrent=Linear(0.1 * draw(3, n, n)), tau_mem=0.02, v_threshold=0.1
    )
    readout = LeakyIntegrator(Linear(draw(4, n, n + 3)), tau_mem=0.02)
    net = Network({"h": hidden, "o": readout}, DT, {"o": ["h", "x"]}, decode=per_step)
    x = events(1, 0.3, 5, 20, 3)
    assert 0.01 < net(x)[1]["h"].mean() < 0.9
    for found, die in zip(fleet_logits(net, dies_of(net, 2), x), dies_of(net, 2), strict=True):
        same(found, by("reference", lambda die=die: forward(net, die, x)[0].detach())[0], 1e-12)
    x[2, 4, 1] = torch.nan
    (broken,) = fleet_logits(net, dies_of(net, 1), x)
    assert broken.isnan().flatten(1).any(1).tolist() == [False, False, True, False, False]


def test_a_fleet_of_a_batch_first_or_strided_input():
    """The input's layout in memory makes no difference, bit for bit."""
    net, x = NETWORKS["integrator"], events(1, 0.3, 9, 40, 3)
    expected = list(fleet_logits(net, dies_of(net, 3), x))
    for laid_out in (x.transpose(0, 1).contiguous().transpose(0, 1), torch.stack([x, x], -1)[..., 0]):
        assert all(map(torch.equal, fleet_logits(net, dies_of(net, 3), laid_out), expected))


@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_the_size_of_a_chunk_does_not_show(at_once, monkeypatch):
    """A die's logits have the same bits whatever dies go through the loop with it."""
    net, x = NETWORKS["integrator"], events(1, 0.3, 19, 40, 3)
    expected = list(fleet_logits(net, dies_of(net, 7), x))
    monkeypatch.setattr(fleet_run, "DIES_AT_ONCE", at_once)
    assert all(map(torch.equal, fleet_logits(net, dies_of(net, 7), x), expected))


def test_chunks_fit_into_memory(monkeypatch):
    """As many dies at a time as the free memory has room for, never none, never more than DIES_AT_ONCE; the same
    bits."""
    net, x, seen = NETWORKS["integrator"], events(1, 0.3, 12, 6, 3), []
    expected = list(fleet_logits(net, dies_of(net, 40), x))
    numbers = sum(value.numel() for value in next(dies_of(net, 1)).values())
    one = x.element_size() * (12 * 6 * net.layers()[net.names[-1]].n + numbers)
    outputs = kernels.fleet_outputs
    monkeypatch.setattr(kernels, "fleet_outputs", lambda dies, x: seen.append(len(dies)) or outputs(dies, x))
    for room, most in [(0, 1), (1, 1), (5.5, 5), (16, 16), (1000, 16)]:
        monkeypatch.setattr(fleet_run.memory, "available", lambda room=room: int(room * one * fleet_run.SHARE))
        assert all(map(torch.equal, fleet_logits(net, dies_of(net, 40), x), expected))
        assert sum(seen) == 40 and max(seen) == most
        seen.clear()


def test_a_fleet_streams():
    """Dies are taken as their results are asked for: the first result takes a chunk of them, not all hundred."""
    net, x, taken = NETWORKS["integrator"], events(1, 0.3, 2, 5, 3), []
    dies = (taken.append(k) or die for k, die in enumerate(dies_of(net, 100)))
    next(fleet_logits(net, dies, x))
    assert 1 <= len(taken) <= 32
    assert list(fleet_logits(net, [], x)) == []


class Doubled(LeakyIntegrator):
    """A neuron with a forward pass of its own."""

    def forward(self, x, dt):
        return 2 * super().forward(x, dt)


def conv():
    return Conv1d(draw(1, 2, 1, 3), (1, 3), padding=1)


REFUSED = {
    "a neuron of its own": {"o": Doubled(Linear(draw(0, 2, 3)), tau_mem=0.02)},
    "a convolution": {"o": LeakyIntegrator(conv(), tau_mem=0.02)},
    "an integrator in the middle": {
        "m": LeakyIntegrator(Linear(draw(0, 4, 3)), tau_mem=0.02),
        "o": LeakyIntegrator(Linear(draw(1, 2, 4)), tau_mem=0.02),
    },
    "snnTorch's subtraction": {
        "o": Lif(Linear(draw(0, 2, 3)), tau_mem=0.02, v_threshold=0.01, reset=SnntorchSubtract())
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_fleet_cannot_take_runs_die_by_die(name):
    """Such a network has no plan and gives the bits of the forward pass; so does one forced to the reference."""
    net, x = Network(REFUSED[name], DT), events(1, 0.3, 4, 30, 3)
    assert net.plan() is None
    expected = [forward(net, die, x)[0] for die in dies_of(net, 3)]
    assert all(map(torch.equal, fleet_logits(net, dies_of(net, 3), x), expected))
    assert all(output.abs().sum() > 0 for output in expected)
    with kernels.using("reference"):
        assert NETWORKS["integrator"].plan() is None


def test_a_fleet_of_a_read_out_alone_or_of_single_neurons():
    """A network whose only layer is its read-out, and one with a single step, single sample, single neuron."""
    alone = Network({"o": LeakyIntegrator(Linear(draw(0, 1, 1)), tau_mem=0.02)}, DT, decode=per_step)
    pair = Network(
        {
            "h": Lif(Linear(draw(1, 1, 1)), tau_mem=0.02, v_threshold=0.01, reset=ToValue()),
            "o": LeakyIntegrator(Linear(draw(2, 1, 1)), tau_mem=0.02),
        },
        DT,
        decode=per_step,
    )
    for net, (batch, steps) in itertools.product((alone, pair), ((1, 1), (1, 7), (5, 1))):
        x = draw(3, batch, steps, 1)
        assert net.plan() is not None
        for found, die in zip(fleet_logits(net, dies_of(net, 3), x), dies_of(net, 3)):
            same(found, forward(net, die, x)[0].detach(), 1e-12)


def test_bad_input_of_a_fleet_is_refused():
    """A wrong number of channels, and a wrong type, by name, before any loop runs."""
    net = NETWORKS["integrator"]
    for x in (events(0, 0.3, 2, 5, 4), events(0, 0.3, 2, 5, 3).float(), events(0, 0.3, 2, 5, 3)[:, :0]):
        with pytest.raises((ValueError, TypeError), match="x: got"):
            next(fleet_logits(net, dies_of(net, 2), x))


def gradients(net, x, function):
    """Logits, and the gradient of Σ logits² in every parameter."""
    logits = function(x)[0]
    return logits.detach(), *torch.autograd.grad(logits.square().sum(), net.parameters())


def test_torch_compile_equals_eager():
    """torch.compile(fullgraph=True) of a recurrent network: logits and all gradients, to the order of a mean's sums."""
    hidden = NETWORKS["integrator"].get_submodule("a")
    readout = LeakyIntegrator(Linear(draw(0, 2, 6), draw(1, 2)), tau_mem=0.02, v_leak=0.1)
    net, x = Network({"hidden": hidden, "readout": readout}, DT), events(1, 0.3, 7, 10, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its tracing
        found = gradients(net, x, torch.compile(net, fullgraph=True, backend="aot_eager"))
    torch._dynamo.reset()
    for ours, eager in zip(found, gradients(net, x, net), strict=True):
        assert torch.allclose(ours, eager, rtol=1e-12, atol=1e-15)
    assert found[0].abs().sum() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_functional_call_and_vmap_of_a_network(name):
    """vmap and vmap(grad) of functional_call(strict=True) over dies: output and gradients of the reference's loop."""
    net, x = NETWORKS[name], events(1, 0.3, 5, 20, 3)
    dies = list(dies_of(net, DIES))
    keep = [k for k in dies[0] if not k.endswith("t_ref")]  # without a gradient
    stacked = {k: torch.stack([die[k] for die in dies]) for k in keep}
    fixed = dict(net.named_buffers()) | {k: v for k, v in dies[0].items() if k not in keep}
    weights = draw(3, 5, 20, 2)

    def logits(params):
        return functional_call(net, params | fixed, (x,), strict=True)[0]

    gradients_of = grad(lambda params: (weights * logits(params)).sum())
    (found,) = by("compiled", vmap(logits), stacked)
    (found_gradients_of,) = by("compiled", vmap(gradients_of), stacked)
    for k in range(DIES):
        die = {name: value[k] for name, value in stacked.items()}
        same(found[k], by("reference", logits, die)[0])
        for name, expected in by("reference", gradients_of, die)[0].items():
            same(found_gradients_of[name][k], expected)
