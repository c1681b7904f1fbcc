"""The whole network, and the gradient of every parameter, against the equations of oracle.py."""

from __future__ import annotations

import oracle
import pytest
import torch
from conftest import DT, draw, tiny
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurorobust as nr
from neurorobust.core.placement import NOWHERE
from neurorobust.core.run import forward, nominal
from neurorobust.nn.connections import Linear
from neurorobust.nn.decoders import last_step, max_over_time, mean_over_time, per_step
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import LeakyIntegrator, Lif


def both(seed, kernel_forward=forward):
    """(value, gradients by name) of Σ c · logits from the package and from the oracle, at the same leaves."""
    network, x, weights = tiny(seed), draw(seed + 20, 5, 25, 3) + 0.5, draw(seed + 21, 5, 2)
    masks = placement_of(network).masks
    results = []
    for compute in (
        lambda p: kernel_forward(network, p, x)[0],
        lambda p: oracle.network(oracle.expand(p), x, DT, masks)[0],
    ):
        leaves = {name: value.requires_grad_() for name, value in nominal(network).items()}
        value = (weights * compute(leaves)).sum()
        results.append((value.detach(), dict(zip(leaves, torch.autograd.grad(value, list(leaves.values()))))))
    return results


@pytest.mark.parametrize("kernel", ["reference", "compiled"])
@given(seed=st.integers(0, 2**20))
def test_logits_and_gradients_of_every_parameter(kernel, seed):
    """Logits to 1e-12 and gradients of weights, bias, time constants, adaptation and thresholds to 1e-10 of float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROROBUST_KERNEL", kernel)
        (value, gradients), (expected, expected_gradients) = both(seed)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    for name, gradient in gradients.items():
        scale = expected_gradients[name].abs().max().item()
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=0, atol=1e-10 * scale + 1e-14, msg=name)


def test_no_gradient_is_trivially_zero():
    """The comparison above is not one of zeros: every parameter of the tiny network has a gradient, and it spikes."""
    (_, gradients), _ = both(0)
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients.values())
    network = tiny(0)
    with torch.no_grad():
        rates = network(draw(20, 5, 25, 3) + 0.5)[1]["hidden"].mean((0, 1))
    assert 0.03 < rates.mean() < 0.5


@given(seed=st.integers(0, 2**20))
def test_gradient_of_r_and_threshold_of_lif(seed):
    """Lif with trained r, v_threshold and tau_mem: gradients to 1e-10 of the float64 equations."""
    layer = Lif(
        Linear(draw(seed, 4, 3)), recurrent=Linear(0.3 * draw(seed + 1, 4, 4)), tau_mem=0.01, v_threshold=0.6,
        r=draw(seed + 2, 4).exp(),
    )  # fmt: skip
    x, weights = draw(seed + 3, 30, 2, 3), draw(seed + 4, 30, 2, 4)
    gradients = torch.autograd.grad((weights * layer(x, DT)).sum(), list(layer.parameters()))
    leaves = {name: value.detach().clone().requires_grad_() for name, value in layer.named_parameters()}
    alpha = torch.exp(-DT / leaves["tau_mem"]).expand(4)
    none = torch.zeros(4).double()
    spikes, gaps = oracle.population(
        x @ leaves["input.weight"].T, leaves["recurrent.weight"], alpha, (1 - alpha) * leaves["r"], none, none,
        leaves["v_threshold"].expand(4), 0,
    )  # fmt: skip
    assert gaps.abs().min() > 1e-9
    assert torch.equal(spikes.detach(), layer(x, DT).detach())
    expected = torch.autograd.grad((weights * spikes).sum(), list(leaves.values()))
    for name, one, two in zip(leaves, gradients, expected):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10 * two.abs().max().item() + 1e-14, msg=name)


def test_oracle_gradient_equals_finite_differences():
    """The oracle itself, with a smooth spike, against central differences in every parameter: no detached path."""
    network, x = tiny(3), draw(0, 2, 6, 3) + 0.5
    masks, params = placement_of(network).masks, nominal(network)

    def logits(*values):
        p = oracle.expand(dict(zip(params, values)))
        alpha = torch.exp(-DT / p["hidden.tau_mem"])
        spikes, _ = oracle.population(
            x.transpose(0, 1) @ p["hidden.input.weight"].T,
            p["hidden.recurrent.weight"] * masks["hidden.recurrent.weight"],
            alpha, 1 - alpha, torch.exp(-DT / p["hidden.tau_adapt"]), p["hidden.adaptation"], p["hidden.v_threshold"],
            0, oracle.smooth_spike,
        )  # fmt: skip
        beta = torch.exp(-DT / p["readout.tau_mem"])
        return oracle.integrate(spikes @ p["readout.input.weight"].T + p["readout.input.bias"], beta, 1 - beta).mean(0)

    assert torch.autograd.gradcheck(logits, [value.requires_grad_() for value in params.values()])


def test_logits_are_the_mean_over_time(network, data):
    """Logits equal the mean over time of the read-out's recorded membrane."""
    with torch.no_grad():
        logits, outputs = network(data.x)
    torch.testing.assert_close(logits, sum(outputs["readout"]) / 20)


def test_placement_of_the_tiny_network(network):
    """Cores, masks and expansion indices are those the layers were built with."""
    placement = placement_of(network)
    assert placement.cores["hidden"].tolist() == [0, 0, 0, 1, 1, 1] and placement.cores["readout"].tolist() == [-1, -1]
    assert set(placement.index) == {"hidden.tau_mem", "hidden.tau_adapt", "hidden.v_threshold", "readout.tau_mem"}
    assert set(placement.masks) == {"hidden.input.weight", "hidden.recurrent.weight", "readout.input.weight"}
    assert torch.equal(placement.masks["hidden.recurrent.weight"], network.hidden.recurrent.mask)


def test_bad_networks_are_refused():
    """Layers that do not fit each other, none at all, and a time step that is not positive."""
    layer = LeakyIntegrator(Linear(torch.ones(3, 2)), tau_mem=0.01)
    with pytest.raises(ValueError, match=r"layers\['b'\]: takes 2 inputs; got 'a' \(3\)"):
        Network({"a": layer, "b": layer}, DT)
    with pytest.raises(ValueError, match="layers: got none"):
        Network({}, DT)
    with pytest.raises(ValueError, match=r"dt: got 0.0; expected a finite number > 0"):
        Network({"a": layer}, 0.0)


def layers(**sizes):
    """Leaky integrators by name, (n_out, n_in) each."""
    return {
        name: LeakyIntegrator(Linear(draw(i, *size)), tau_mem=0.004 * (i + 1))
        for i, (name, size) in enumerate(sizes.items())
    }


def test_several_inputs_are_side_by_side():
    """A skip connection and two parallel populations, by hand: features in the order of the names."""
    parts = layers(a=(4, 3), b=(2, 3), c=(5, 6), out=(2, 8))
    net = Network(parts, DT, {"b": "x", "c": ("b", "a"), "out": ["x", "c"]})
    x = draw(9, 2, 7, 3)
    signal = x.transpose(0, 1)
    a, b = parts["a"](signal, DT), parts["b"](signal, DT)
    c = parts["c"](torch.cat([b, a], -1), DT)
    out = parts["out"](torch.cat([signal, c], -1), DT)
    logits, outputs = net(x)
    assert torch.equal(logits, out.mean(0)) and list(outputs) == ["a", "b", "c", "out"]
    assert all(torch.equal(outputs[name], value) for name, value in zip("abc", (a, b, c)))
    assert net.n_in == 3 and set(net.placement().cores) == {"a", "b", "c", "out"}


def test_decoders():
    """Each decoder against its words, per-step outputs batch first; a function of the user's own works too."""
    x, output = draw(1, 2, 7, 3), None
    for decode, expected in [
        (mean_over_time, lambda v: sum(v) / len(v)),
        (max_over_time, lambda v: v.max(0).values),
        (last_step, lambda v: v[6]),
        (per_step, lambda v: torch.stack(list(v), 1)),
        (lambda v: v[2:].sum(0), lambda v: v[2] + v[3] + v[4] + v[5] + v[6]),
    ]:
        logits, outputs = Network(layers(a=(4, 3)), DT, decode=decode)(x)
        output = outputs["a"]
        torch.testing.assert_close(logits, expected(output), rtol=1e-14, atol=1e-14)
    with pytest.raises(TypeError, match="decode: got 'mean'"):
        Network(layers(a=(4, 3)), DT, decode="mean")


@pytest.mark.parametrize(
    ("sizes", "inputs", "message"),
    [
        ({"a": (4, 3), "b": (2, 4)}, {"c": "a"}, "inputs: layer: 'c' does not exist"),
        ({"hidden": (4, 3), "b": (2, 4)}, {"b": "hiden"}, "Did you mean 'hidden'"),
        ({"a": (4, 3), "b": (2, 4)}, {"a": ("x", "b")}, r"inputs\['a'\]: 'b' is not an earlier layer.*feedback"),
        ({"a": (4, 7), "b": (2, 4)}, {"a": ("x", "a")}, r"inputs\['a'\]: 'a' is not an earlier layer"),
        ({"a": (4, 3), "b": (2, 8)}, {"b": ("a", "x")}, r"layers\['b'\]: takes 8 .*leaves 4 for 'x'; expected 3"),
        ({"a": (4, 3), "b": (2, 4)}, {"b": ("a", "x")}, r"leaves 0 for 'x'; expected 3"),
        ({"a": (4, 3), "b": (2, 4)}, {"b": ()}, r"inputs\['b'\]: got none"),
        ({"a": (4, 3), "b": (2, 3)}, {"b": "x"}, "no layer takes 'a'"),
        ({"x": (4, 3), "b": (2, 4)}, {}, "'x' is the name of the network's input"),
        ({"a": (4, 3), "b": (2, 9)}, {"b": ("a", "a")}, r"takes 9 inputs; got 'a' \(4\)"),
    ],
)
def test_bad_graphs_are_refused(sizes, inputs, message):
    """Unknown names, cycles, sizes that do not add up, layers without a reader: named."""
    with pytest.raises(ValueError, match=message):
        Network(layers(**sizes), DT, inputs)


def test_placement_is_asked_of_the_module():
    """Any module that has a placement() is asked for it; one that has none is nowhere."""

    class Placed(torch.nn.Module):
        def placement(self):
            return "here"

    assert placement_of(Placed()) == "here"
    assert placement_of(torch.nn.Linear(2, 2)) is NOWHERE


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_input_of_another_type_is_refused(network, dtype):
    """Events as integers, or float32 for a float64 network, say what to convert."""
    with pytest.raises(ValueError, match=r"x: got torch.* on cpu; the parameters are torch.float64 on cpu. Convert"):
        network(torch.zeros(2, 4, 3, dtype=dtype))


def test_what_is_no_part_of_a_network_is_refused_by_name():
    lif = nr.neurons.Lif(nr.nn.Linear(torch.rand(4, 8)), tau_mem=0.02, v_threshold=0.3)
    for layers, words in (
        ([lif], r"layers: got \[.*; expected neurons by name"),
        ({"a": nn.Linear(8, 4)}, r"layers\['a'\]: got Linear.*; expected a neuron of nr\.neurons"),
    ):
        with pytest.raises(TypeError, match=words):
            nr.Network(layers, dt=1e-3)
    with pytest.raises(ValueError, match=r"layers: got the name 'a\.b'; expected a text without dots"):
        nr.Network({"a.b": lif}, dt=1e-3)
    with pytest.raises(ValueError, match=r"x: got shape \(2, 5, 2, 4\).* Flatten the inputs: x\.flatten\(2\)"):
        nr.Network({"a": lif}, dt=1e-3)(torch.zeros(2, 5, 2, 4))


@pytest.mark.parametrize("kind", [nr.neurons.Lif, nr.neurons.LinearizedDpi])
def test_what_is_no_part_of_a_neuron_is_refused_by_name(kind):
    numbers = {"tau_mem": 0.02, "v_threshold": 0.3}
    if kind is nr.neurons.LinearizedDpi:
        numbers |= {"tau_syn_exc": 0.01, "tau_syn_inh": 0.01}
    synapses = nr.nn.Linear(torch.rand(4, 8))
    with pytest.raises(
        TypeError, match=r"input: got tensor.*; expected a connection of nr\.nn, such as nr\.nn\.Linear"
    ):
        kind(torch.ones(4, 8), **numbers)
    with pytest.raises(TypeError, match=r"recurrent: got Linear.*nr\.nn\.Linear\(layer\.weight\.detach\(\)\)"):
        kind(synapses, recurrent=nn.Linear(4, 4), **numbers)
    with pytest.raises(TypeError, match=r"surrogate: got 'atan'; expected a neurorobust\.dynamics\.Surrogate"):
        kind(synapses, surrogate="atan", **numbers)
