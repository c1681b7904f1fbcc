"""Training through rounding: the oracle at held values, straight-through gradients, and how it nests."""

from __future__ import annotations

import functools
import math

import oracle
import pytest
import torch
from conftest import DT, draw, events, tiny
from placed import placed
from torch.nn import functional

import chipmodels
from neurorobust.attacks import PGA, Ball
from neurorobust.chip import mismatch
from neurorobust.chip.encodings import BitShift, LevelTable, LogUniform, Saturating, SignedPair, Uniform, fit_masks
from neurorobust.core.apply import apply
from neurorobust.core.placement import HOST, NOWHERE, Placement, expand
from neurorobust.core.run import forward, nominal
from neurorobust.nn.network import placement_of
from neurorobust.regularizers import Adversarial, FiringRate, ForwardNoise
from neurorobust.regularizers.quantized import Quantized
from neurorobust.train.descent import Schedule
from neurorobust.train.loop import fit

COARSE = Uniform(6, 0.11)
SHIFTS = BitShift(DT, 8)
CODECS = {"weight": COARSE, "tau_mem": SHIFTS}
entropy = functional.cross_entropy


def gradients(loss, network, data, seed: int = 1):
    leaves = {name: value.requires_grad_() for name, value in nominal(network).items()}
    value = loss(network, leaves, (data.x, data.y), torch.Generator().manual_seed(seed))
    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(leaves, found))


def by_hand(network, codecs=CODECS):
    """Expanded values with each weight and time constant of the hidden layer held, absent synapses as they are."""
    values = oracle.expand(nominal(network))
    masks = placement_of(network).masks
    for name, value in values.items():
        codec = codecs.get(name.rsplit(".", 1)[-1])
        if codec is not None and name.startswith("hidden"):
            held = codec.decode(codec.encode(value)).to(value.dtype)
            values[name] = torch.where(masks[name], held, value) if name in masks else held
    return values


def test_it_is_the_inner_loss_at_held_values():
    """Cross-entropy of the oracle with every weight and time constant of the hidden layer rounded by hand; the read-out
    on the host is not."""
    network, data = tiny(), events(0, 12)
    value, _ = gradients(Quantized(entropy, CODECS), network, data)
    held = by_hand(network)
    masks = placement_of(network).masks
    torch.testing.assert_close(value, entropy(oracle.network(held, data.x, DT, masks)[0], data.y))
    plain = entropy(forward(network, nominal(network), data.x)[0], data.y)
    assert abs(value - plain) > 1e-3


def test_its_gradient_is_that_at_the_held_values():
    """Straight-through: the gradient in θ is the loss's gradient at the held values, summed over the neurons of a core
    where one value is set for all of them."""
    network, data = tiny(), events(0, 12)
    _, found = gradients(Quantized(entropy, CODECS), network, data)
    held = {name: value.requires_grad_() for name, value in by_hand(network).items()}
    loss = entropy(oracle.network(held, data.x, DT, placement_of(network).masks)[0], data.y)
    expected = dict(zip(held, torch.autograd.grad(loss, list(held.values()))))
    core = network.hidden.core
    per_core = torch.zeros(2, dtype=torch.float64)
    for name in ("hidden.tau_mem", "hidden.v_threshold"):
        expected[name] = per_core.index_add(0, core, expected[name])
    for name in ("hidden.tau_adapt", "readout.tau_mem"):
        expected[name] = expected[name].sum()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12, msg=name)


def test_what_is_held_already_stays():
    """At values the codecs hold the loss is the inner one, bit for bit."""
    network, data = tiny(), events(0, 12)
    with torch.no_grad():
        for name, value in network.named_parameters():
            kind = name.rsplit(".", 1)[-1]
            if kind in CODECS and name.startswith("hidden"):
                value.copy_(CODECS[kind].quantize(value))
    value, _ = gradients(Quantized(entropy, CODECS), network, data)
    assert value == entropy(forward(network, nominal(network), data.x)[0], data.y)


def test_quantize_first_then_deviate():
    """Quantized(ForwardNoise(L)) is L at apply(held, noise), the noise in units of the held weight; ForwardNoise around
    it rounds the deviated ones."""
    network, data = tiny(), events(0, 12)
    level, theta = 0.3, expand(nominal(network), placement_of(network))
    generator = torch.Generator().manual_seed(1)
    noise = {
        name: level * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in theta.items()
    }
    masks = placement_of(network).masks
    value, _ = gradients(Quantized(ForwardNoise(entropy, level), CODECS), network, data)
    die = oracle.deviate(by_hand(network), noise)
    torch.testing.assert_close(value, entropy(oracle.network(die, data.x, DT, masks)[0], data.y))
    around, _ = gradients(ForwardNoise(Quantized(entropy, {"weight": Saturating(COARSE)}), level), network, data)
    die = oracle.deviate(oracle.expand(nominal(network)), noise)
    for name in ("hidden.input.weight", "hidden.recurrent.weight"):
        held = Saturating(COARSE).quantize(die[name])
        die[name] = torch.where(masks[name], held, die[name])
    torch.testing.assert_close(around, entropy(oracle.network(die, data.x, DT, masks)[0], data.y))


def test_an_attack_inside_attacks_what_is_held():
    """Quantized(Adversarial(L)) is Adversarial(L) at the held values: the same attack, value and gradient."""
    network, data = tiny(), events(0, 12)
    attacked = Adversarial(FiringRate(entropy, "hidden"), PGA(3), Ball.uniform(0.1), 0.5)
    value, found = gradients(Quantized(attacked, CODECS), network, data)
    held = {name: each.requires_grad_() for name, each in by_hand(network).items()}
    alone = attacked(network, held, (data.x, data.y), torch.Generator().manual_seed(1))
    torch.testing.assert_close(value, alone.detach(), rtol=1e-12, atol=0)
    at_held = torch.autograd.grad(alone, held["hidden.recurrent.weight"])[0]
    torch.testing.assert_close(found["hidden.recurrent.weight"], at_held, rtol=1e-9, atol=1e-12)


def test_a_rule_gets_what_shares_a_core():
    """A rule is asked once for each core, with all synapses into it, absent ones left out, and none of the host's."""
    network = placed([0, 0, 0, 1, 1, 0])
    placement, params, seen = placement_of(network), nominal(network), []

    def rule(values):
        seen.append(values)
        return SignedPair.holding(values, 6)

    held = Quantized(entropy, {"weight": rule}).quantized_params(params, placement)
    for values, rows in zip(seen, ([0, 1, 2, 5], [3, 4]), strict=True):
        expected = torch.cat(
            [params[name][rows][placement.masks[name][rows]] for name in placement.masks if name.startswith("hidden")]
        )
        assert torch.equal(values, expected)
    for name, mask in placement.masks.items():
        assert torch.equal(held[name][~mask], params[name][~mask])
    assert torch.equal(held["readout.input.weight"], params["readout.input.weight"])
    for rows, values in (([0, 1, 2, 5], seen[0]), ([3, 4], seen[1])):
        there = held["hidden.recurrent.weight"][rows][placement.masks["hidden.recurrent.weight"][rows]]
        steps = there / (values.abs().max() / 63)
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-9)


def test_masks_fitted_to_each_core_are_what_dynapse2_programs():
    """With the rule fit_masks the held weights are, bit for bit, those that dynapse2 is programmed with."""
    network = placed([0, 0, 0, 1, 1, 0])
    placement, params = placement_of(network), nominal(network)
    held = Quantized(entropy, {"weight": fit_masks}).quantized_params(params, placement)
    programmed = chipmodels.load("dynapse2").program(params, placement)
    for name in placement.masks:
        assert torch.equal(held[name], programmed.params[name]), name


def test_without_a_placement_a_rule_gets_a_parameter():
    """Parameters that sit nowhere: each its own range; scalars too."""
    params = {"a.weight": draw(0, 4, 3), "b.weight": 10 * draw(1, 2, 2), "a.tau_mem": torch.tensor(0.02).double()}
    rules = {"weight": functools.partial(Uniform.holding, bits=4), "tau_mem": LogUniform(1e-3, 1.0, 0.1)}
    held = Quantized(entropy, rules).quantized_params(params, NOWHERE)
    for name in ("a.weight", "b.weight"):
        assert torch.equal(held[name], Uniform.holding(params[name], 4).quantize(params[name]))
    assert held["a.tau_mem"] == rules["tau_mem"].quantize(params["a.tau_mem"])


def test_a_kernel_shared_by_many_neurons_is_held_whole():
    """A kernel, whose rows are not its neurons, is quantized as one parameter; on the host it is left alone."""
    params = {"c.input.weight": draw(0, 2, 1, 3)}
    for core, held in ((torch.zeros(8, dtype=torch.long), True), (torch.full((8,), HOST), False)):
        found = Quantized(entropy, {"weight": COARSE}).quantized_params(params, Placement(cores={"c": core}))[
            "c.input.weight"
        ]
        assert torch.equal(found, COARSE.quantize(params["c.input.weight"]) if held else params["c.input.weight"])


def test_a_value_out_of_range_is_refused_by_name_or_saturates():
    """A narrow codec stops the training and names the parameter; Saturating holds the value and its gradient is 1."""
    network, data = tiny(), events(0, 12)
    narrow = Uniform(2, 0.1)
    with pytest.raises(ValueError, match=r"hidden\.input\.weight: \d+ of \d+ values, .* out of the range of Uniform"):
        gradients(Quantized(entropy, {"weight": narrow}), network, data)
    params, placement = nominal(network), placement_of(network)
    weight = params["hidden.input.weight"].requires_grad_()
    held = Quantized(entropy, {"weight": Saturating(narrow)}).quantized_params(params, placement)["hidden.input.weight"]
    assert held.min() == -0.2 and held.max() == 0.1
    assert torch.equal(torch.autograd.grad(held.sum(), weight)[0], torch.ones_like(weight))


def test_a_time_constant_of_zero_is_refused():
    """A codec that holds a positive kind as 0 or less is named with the parameter."""
    with pytest.raises(ValueError, match=r"hidden\.tau_mem, as Uniform holds it: smallest value is 0"):
        gradients(Quantized(entropy, {"tau_mem": Uniform(4, 0.02, signed=False)}), tiny(), events(0, 12))


def test_codecs_that_are_none_are_refused():
    """Unknown kinds, digital numbers, and what is neither a codec nor a rule; a kind the network lacks is ignored."""
    with pytest.raises(ValueError, match=r"codecs: kind: 'wieght' does not exist.*Did you mean 'weight'"):
        Quantized(entropy, {"wieght": COARSE})
    with pytest.raises(ValueError, match=r"codecs: kind: 'digital' does not exist"):
        Quantized(entropy, {"digital": COARSE})
    with pytest.raises(TypeError, match=r"codecs\['weight'\]: got 4; expected a Codec"):
        Quantized(entropy, {"weight": 4})
    with pytest.raises(TypeError, match=r"codecs\['weight'\]: the rule gave 4; expected a Codec"):
        gradients(Quantized(entropy, {"weight": lambda values: 4}), tiny(), events(0, 12))
    network, data = tiny(), events(0, 12)
    idle, _ = gradients(Quantized(entropy, {"t_ref": COARSE}), network, data)
    assert idle == entropy(forward(network, nominal(network), data.x)[0], data.y)


def test_its_repr_is_the_same_in_every_process():
    """A checkpoint knows its loss by its repr: codecs by their numbers, rules by name, no addresses."""
    shown = repr(Quantized(entropy, {"weight": fit_masks, "tau_mem": BitShift(1e-3, 8)}))
    assert "fit_masks" in shown and "BitShift(dt=0.001, largest=8, smallest=1)" in shown and " at 0x" not in shown


@pytest.mark.parametrize("seed", [0, 1])
def test_training_through_rounding_lowers_the_loss_at_held_values(seed):
    """Forty steps on the weights, held in 7 levels a core: the loss at the held values falls by more than 0.3."""
    network, data = tiny(seed), events(9, 60)
    loss = Quantized(entropy, {"weight": functools.partial(SignedPair.holding, bits=2)})
    params = dict(network.named_parameters())
    optimizer = torch.optim.Adam([value for name, value in params.items() if name.endswith("weight")], lr=0.05)
    losses = []
    for _ in range(41):
        optimizer.zero_grad()
        losses.append(loss(network, params, (data.x, data.y)))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.3


def test_fit_trains_through_rounding(task):
    """It is a loss like any other to fit: one epoch has a finite loss and moves the weights."""
    network = tiny()
    before = nominal(network)
    loss = Quantized(entropy, {"weight": functools.partial(SignedPair.holding, bits=4)})
    history = fit(network, task, loss, epochs=1, schedule=Schedule(batch_size=8))
    assert len(history.rows) == 1 and math.isfinite(history.rows[0]["loss"])
    assert not torch.equal(before["hidden.input.weight"], nominal(network)["hidden.input.weight"])


def test_a_die_deviates_from_what_is_held():
    """Evaluation's order: apply(held, δ) of a die differs from held by δ · abs(held), so a weight held as 0 stays 0."""
    network = tiny()
    placement = placement_of(network)
    ternary = {"weight": lambda values: SignedPair.holding(values, 1)}
    held = Quantized(entropy, ternary).quantized_params(nominal(network), placement)
    assert (held["hidden.input.weight"] == 0).any()
    chip = mismatch(0.3)
    die = chip.fabricate([0], seed=0)[0].deviations(chip.program(held, placement))
    moved = apply(held, die, placement)["hidden.input.weight"]
    assert torch.equal(moved == 0, held["hidden.input.weight"] == 0)
    assert math.isfinite(moved.sum())


def test_a_table_without_zero_makes_no_synapse():
    """Absent synapses stay absent where no level is 0."""
    network = tiny()
    placement = placement_of(network)
    held = Quantized(entropy, {"weight": Saturating(LevelTable((-1.0, 1.0)))}).quantized_params(
        nominal(network), placement
    )
    mask = placement.masks["hidden.recurrent.weight"]
    assert not held["hidden.recurrent.weight"][~mask].any() and held["hidden.recurrent.weight"][mask].abs().min() == 1
