"""apply, kinds, expansion and run against the formulas of design.md."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from conftest import double, draw, tiny
from hypothesis import given
from hypothesis import strategies as st

from neurorobust.core.apply import apply
from neurorobust.core.equations import Equations
from neurorobust.core.params import ABSOLUTE, KINDS, POSITIVE, SIGNED, kind_of
from neurorobust.core.pattern import Pattern
from neurorobust.core.placement import HOST, Placement, expand
from neurorobust.core.run import forward, nominal, run
from neurorobust.nn.network import placement_of

finite = st.floats(-1e3, 1e3)
small = st.floats(-2, 2)


@given(theta=finite, delta=small, kind=st.sampled_from(sorted(SIGNED)))
def test_signed_law(theta, delta, kind):
    """weight and bias: θ + abs(θ)·δ, in Python floats."""
    moved = apply({f"a.{kind}": double(theta)}, {f"a.{kind}": double(delta)})
    assert moved[f"a.{kind}"].item() == pytest.approx(theta + abs(theta) * delta, rel=1e-12, abs=1e-12)


@given(theta=finite, delta=finite, kind=st.sampled_from(sorted(ABSOLUTE)))
def test_absolute_law(theta, delta, kind):
    """v_leak and v_reset: θ + δ, a nominal of 0 included."""
    moved = apply({kind: double(theta, 0.0)}, {kind: double(delta, delta)})
    assert moved[kind].tolist() == pytest.approx([theta + delta, delta])


@given(theta=st.floats(1e-6, 1e3), delta=small, kind=st.sampled_from(sorted(POSITIVE)))
def test_positive_law(theta, delta, kind):
    """Positive kinds: θ·e^δ, and so never negative; a nominal adaptation of 0 stays 0."""
    moved = apply({kind: double(theta, 0.0)}, {kind: double(delta, delta)})
    assert moved[kind].tolist() == pytest.approx([theta * math.exp(delta), 0.0], rel=1e-12)


def test_every_kind_has_one_law():
    """The three families of design.md are disjoint and hold exactly its twelve kinds."""
    listed = "weight bias tau_mem tau_syn tau_adapt adaptation v_threshold v_leak v_reset v_floor r t_ref"
    assert set(listed.split()) == KINDS
    assert len(SIGNED) + len(ABSOLUTE) + len(POSITIVE) == len(KINDS) == 12
    assert all(kind_of(f"net.hidden.{kind}") == kind for kind in KINDS)


@given(seed=st.integers(0, 2**20))
def test_jacobian_is_the_papers(seed):
    """∂θ*/∂θ with δ constant: 1 + sign(θ)·δ (arXiv 2106.05009); e^δ for positive kinds; 1 for absolute ones."""
    theta, delta = draw(seed, 8), 0.3 * draw(seed + 1, 8)
    formulas = {"weight": 1 + theta.sign() * delta, "tau_mem": delta.exp(), "v_leak": torch.ones(8).double()}
    for kind, formula in formulas.items():
        jacobian = torch.func.jacrev(lambda value, kind=kind: apply({kind: value}, {kind: delta})[kind])(theta)
        torch.testing.assert_close(jacobian, torch.diag(formula))


def test_one_value_per_core_deviates_on_every_neuron():
    """The nominal is copied to each neuron of its core, and gradients sum back: Σ over the core's neurons of e^δ."""
    value = torch.tensor([0.02, 0.05], dtype=torch.float64, requires_grad=True)
    core, delta = torch.tensor([0, 1, 1, 0, 1]), draw(0, 5)
    moved = apply({"h.tau_mem": value}, {"h.tau_mem": delta}, Placement(index={"h.tau_mem": core}))["h.tau_mem"]
    torch.testing.assert_close(moved, double(0.02, 0.05, 0.05, 0.02, 0.05) * delta.exp())
    (gradient,) = torch.autograd.grad(moved.sum(), value)
    factors = delta.exp()
    torch.testing.assert_close(gradient, torch.stack([factors[[0, 3]].sum(), factors[[1, 2, 4]].sum()]))


def test_expansion_of_the_tiny_network(network):
    """Per core, per layer and per neuron values all become one value per neuron, in the order of the neurons."""
    params = expand(nominal(network), placement_of(network))
    assert params["hidden.tau_mem"].tolist() == [0.005] * 3 + [0.02] * 3
    assert params["hidden.tau_adapt"].tolist() == [0.03] * 6
    assert params["readout.tau_mem"].tolist() == [0.01] * 2
    assert torch.equal(params["hidden.adaptation"], network.hidden.adaptation)


def test_absent_synapses_stay_absent(network):
    """Whatever its deviation, a masked weight is 0 on every die, adds nothing to the logits and gets no gradient."""
    params, placement = nominal(network), placement_of(network)
    absent = ~placement.masks["hidden.recurrent.weight"]
    assert absent.diagonal().all() and absent.sum() > 6
    weight = params["hidden.recurrent.weight"]
    assert (
        apply({"recurrent.weight": weight}, {"recurrent.weight": 1e6 * draw(0, 6, 6)})["recurrent.weight"][absent] == 0
    ).all()
    x = draw(1, 4, 20, 3).abs()
    forced = params | {"hidden.recurrent.weight": weight + 1e6 * absent}
    assert torch.equal(run(network, forced, x), run(network, params, x))
    leaf = weight.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(run(network, params | {"hidden.recurrent.weight": leaf}, x).square().sum(), leaf)
    assert (gradient[absent] == 0).all() and (gradient[~absent] != 0).any()


def test_a_chip_axis_is_a_loop_over_chips():
    """Deviations with a leading axis of 3 chips give what each chip gives alone."""
    params = {"weight": draw(0, 4, 2), "bias": draw(1, 4), "tau_mem": draw(2, 1).exp(), "v_leak": draw(3, 4)}
    placement = Placement(index={"tau_mem": torch.zeros(4, dtype=torch.long)})
    shapes = {"weight": (4, 2), "bias": (4,), "tau_mem": (4,), "v_leak": (4,)}
    fleet = {name: draw(9, 3, *shape) for name, shape in shapes.items()}
    together = apply(params, fleet, placement)
    for chip in range(3):
        alone = apply(params, {name: delta[chip] for name, delta in fleet.items()}, placement)
        for name in params:
            assert torch.equal(together[name][chip], alone[name]), name


def test_a_die_can_deviate_again(network):
    """Deviations compose: applying 0 to a die gives that die, bit for bit."""
    placement = placement_of(network)
    nothing = {name: torch.zeros_like(value) for name, value in expand(nominal(network), placement).items()}
    some = {name: 0.1 * draw(0, *value.shape) for name, value in nothing.items()}
    die = apply(nominal(network), some, placement)
    again = apply(die, nothing, placement)
    assert [name for name in die if not torch.equal(die[name], again[name])] == []


def test_network_under_vmap_equals_the_loop_over_chips(network, data):
    """torch.func.vmap over deviations of four dies gives the logits of each die run alone."""
    params, placement = nominal(network), placement_of(network)
    fleet = {name: 0.2 * draw(3, 4, *value.shape) for name, value in expand(params, placement).items()}

    def logits(deviations):
        return forward(network, apply(params, deviations, placement), data.x)[0]

    together = torch.func.vmap(logits)(fleet)
    alone = torch.stack([logits({name: delta[chip] for name, delta in fleet.items()}) for chip in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    assert (alone.std(0) > 1e-3).all()


def test_torch_func_grad_equals_autograd(network, data):
    """torch.func.grad (reference loop) and autograd (compiled loop) agree to 1e-10 on every parameter."""
    params = nominal(network)
    functional = torch.func.grad(lambda p: forward(network, p, data.x)[0].square().sum())(params)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    direct = torch.autograd.grad(forward(network, leaves, data.x)[0].square().sum(), list(leaves.values()))
    for (name, one), two in zip(functional.items(), direct):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12, msg=name)


def test_nominal_is_a_copy(network):
    """Changing what nominal returned leaves the network as it was."""
    params = nominal(network)
    before = params["hidden.input.weight"].clone()
    params["hidden.input.weight"].zero_()
    assert torch.equal(network.hidden.input.weight, before)
    assert set(params) == {
        "hidden.input.weight", "hidden.recurrent.weight", "hidden.tau_mem", "hidden.tau_adapt", "hidden.adaptation",
        "hidden.v_threshold", "readout.input.weight", "readout.input.bias", "readout.tau_mem",
    }  # fmt: skip


def test_run_takes_parameters_as_they_are_given(network, data):
    """run(other parameters) is what a network with those parameters gives; its own parameters do not matter."""
    other = tiny(seed=50)
    other.hidden.recurrent.mask.copy_(network.hidden.recurrent.mask)
    with torch.no_grad():
        other.hidden.recurrent.weight.mul_(other.hidden.recurrent.mask)
        expected, _ = other(data.x)
        logits, spikes = run(network, nominal(other), data.x, record=True)
    assert torch.equal(logits, expected)
    assert spikes["hidden"].shape == (12, 20, 6) and spikes["readout"].shape == (12, 20, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p | {"hiden.tau_mem": torch.ones(1)},
            "'hiden.tau_mem' does not exist.*Did you mean 'hidden.tau_mem'",
        ),
        (lambda p: {k: v for k, v in p.items() if k != "hidden.tau_mem"}, "hidden.tau_mem missing"),
        (lambda p: p | {"hidden.tau_mem": torch.full((2,), math.nan)}, "hidden.tau_mem: 2 of 2 values are NaN"),
        (lambda p: p | {"readout.input.bias": torch.tensor([0.0, math.inf])}, "readout.input.bias: 1 of 2"),
    ],
)
def test_run_refuses_bad_parameters(network, data, change, message):
    """An unknown, missing or non-finite parameter is named."""
    with pytest.raises(ValueError, match=message):
        run(network, change(nominal(network)), data.x)


@pytest.mark.parametrize("tau", [0.0, -0.01])
def test_run_refuses_a_non_positive_time_constant(network, data, tau):
    """τ ≤ 0 is named; it would make a membrane that grows, or forgets within a step."""
    with pytest.raises(ValueError, match=r"hidden.tau_mem: smallest value is .*; expected values > 0"):
        run(network, nominal(network) | {"hidden.tau_mem": double(tau, 0.02)}, data.x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, 20, 5), r"x: got shape \(4, 20, 5\); expected \(batch, time, 3\)"),
        (torch.zeros(20, 3), r"x: got shape \(20, 3\)"),
        (torch.zeros(0, 20, 3), "at least one sample"),
        (torch.full((1, 2, 3), math.nan), "x: 6 of 6 values are NaN"),
    ],
)
def test_run_refuses_bad_input(network, x, message):
    """Wrong shapes and NaN in the input are named, with what was expected."""
    with pytest.raises(ValueError, match=message):
        run(network, nominal(network), x.double())


def test_apply_refuses_unknown_names_and_wrong_shapes(network):
    """A deviation that names no parameter, or has the nominal's shape instead of the expanded one, is refused."""
    params, placement = nominal(network), placement_of(network)
    with pytest.raises(ValueError, match=r"'hidden.tau' does not exist; choose one of .*Did you mean 'hidden.tau_mem'"):
        apply(params, {"hidden.tau": torch.zeros(6)}, placement)
    with pytest.raises(ValueError, match=r"deviations\['hidden.tau_mem'\]: got shape \(2,\); expected \(6,\)"):
        apply(params, {"hidden.tau_mem": torch.zeros(2)}, placement)
    with pytest.raises(ValueError, match=r"'colour' does not exist.*tau_mem"):
        kind_of("hidden.colour")


# Where everything sits


def placement():
    """Two layers that share core 1: three neurons with two weights, two more with one, all but one on the chip."""
    weight = torch.tensor([[True, False], [True, True], [False, True]])
    return Placement(
        cores={"a": torch.tensor([1, 0, 1]), "b": torch.tensor([HOST, 1])},
        index={"a.tau_mem": torch.tensor([0, 0, 1])},
        masks={
            "a.input.weight": weight,
            "a.recurrent.weight": torch.ones(3, 3, dtype=torch.bool),
            "kernel.weight": torch.ones(4, 1, 3, dtype=torch.bool),
        },
        feeds={"kernel": "b"},
        convolutions={"kernel.weight": lambda: torch.zeros(2, 3, dtype=torch.long)},
        equations={"a": Equations(), "b": Equations(floor="no floor")},
        arrays=("matrix.weight",),
    )


def test_neurons_are_numbered_on_their_core():
    """Layers fill a core one after the other; the host counts by itself."""
    found = placement().numbering
    assert [sites.number.tolist() for sites in found.values()] == [[0, 0, 1], [0, 2]]
    assert placement().occupied() == {0: 1, 1: 3}


def test_synapses_are_numbered_on_their_neuron():
    """Input synapses first, then the recurrent ones; −1 where there is none; a kernel's by themselves."""
    where, weight = placement(), torch.ones(3, 2)
    assert where.slots("a.input.weight", weight).tolist() == [[0, -1], [0, 1], [-1, 0]]
    assert where.slots("a.recurrent.weight", torch.ones(3, 3)).tolist() == [[1, 2, 3], [2, 3, 4], [1, 2, 3]]
    assert where.slots("kernel.weight", torch.ones(4, 1, 3)).tolist() == [[0, 1, 2]] * 4
    assert where.fan_in("a").tolist() == [4, 5, 4] and where.fan_in("b").tolist() == [0, 0]


def test_elements_on_a_core():
    """Rows of a weight that exist, one value per neuron, a grid of neurons; a shared kernel is on none."""
    where = placement()
    assert where.on_core("a.input.weight", torch.ones(3, 2), 1).tolist() == [[True, False], [False] * 2, [False, True]]
    assert where.on_core("a.tau_mem", torch.ones(3), 0).tolist() == [False, True, False]
    assert where.on_core("a.v_threshold", torch.ones(3, 1, 1), 1).flatten().tolist() == [True, False, True]
    assert where.sites("kernel.weight", torch.ones(4, 1, 3)) is None and where.sites("c.bias", torch.ones(3)) is None
    with pytest.raises(ValueError, match=r"kernel\.weight: sits at no neuron"):
        where.on_core("kernel.weight", torch.ones(4, 1, 3), 1)


def test_a_prefix_keeps_every_field():
    """No field is lost, and layers and what feeds them are found under their new names."""
    where = replace(placement(), numbers={"a": torch.tensor([5, 2, 9]), "b": torch.tensor([0, 7])}, unplaced={"c": 4})
    where = replace(where, patterns={"a.weight": Pattern.of(torch.ones(3, 2, dtype=torch.bool))})
    inside = where.prefixed("net.")
    for field in fields(Placement):
        before, after = getattr(where, field.name), getattr(inside, field.name)
        assert before and {f"net.{name}" for name in before} == set(after), field.name
    assert inside.layer("net.kernel.weight") == "net.b" and inside.core("net.a.tau_mem") is where.cores["a"]
    assert inside.convolutions["net.kernel.weight"] is where.convolutions["kernel.weight"]


def test_a_deviation_that_is_a_number_is_refused_with_the_way_out():
    params = {"hidden.weight": torch.ones(2, 3)}
    with pytest.raises(
        TypeError, match=r"deviations\['hidden.weight'\]: got 0.1; expected a tensor, one deviation per"
    ):
        apply(params, {"hidden.weight": 0.1})
