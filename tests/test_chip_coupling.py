"""Kinds that a circuit derives from others: one device moves several numbers of a neuron."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from conftest import DT, draw, events

import chipmodels
import neurorobust as nr
from neurorobust.chip import ChipModel, KindModel, SourcedValue
from neurorobust.chip.variability import Exact, LogNormal, Normal
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import Lif

DPI = {
    "weight": KindModel(Normal(0.1), SourcedValue(0.1, "assumed", "made up")),
    "bias": KindModel(Normal(0.1), SourcedValue(0.1, "assumed", "made up")),
    "tau_mem": KindModel(LogNormal(0.2), SourcedValue(0.2, "assumed", "made up")),
    "v_threshold": KindModel(LogNormal(0.1), SourcedValue(0.1, "assumed", "made up")),
    "r": KindModel(Exact(), SourcedValue(0.0, "assumed", "made up"), derived={"tau_mem": 1.0}),
}


def lif(**more) -> Network:
    layer = Lif(
        Linear(draw(1, 6, 3), draw(2, 6)), recurrent=Linear(0.5 * draw(3, 6, 6)), tau_mem=0.01, v_threshold=0.1, **more
    )
    return Network({"a": layer}, DT)


def test_the_leak_current_moves_time_constant_and_gain():
    """r = I_gain/I_τ derived from τ = C·U_T/(κ·I_τ): δ_r = δ_τ; with own spread and another source they add up; a layer
    without r spikes as one with r = 1, its weights and biases taking the factor."""
    chip = ChipModel("dpi", "made up", DPI)
    x = events(0, 5).x
    spikes = {}
    for name, network in (("with", lif(r=1.0)), ("without", lif())):
        programmed = chip.program(nr.nominal(network), placement_of(network))
        delta = chip.fabricate([3], 0)[0].deviations(programmed)
        params = nr.apply(programmed.params, delta, programmed.placement)
        spikes[name] = nr.run(network, params, x, record=True)[1]["a"]
        if name == "with":
            assert torch.equal(delta["a.r"], delta["a.tau_mem"])
        else:
            plain = replace(chip, kinds=DPI | {"r": replace(DPI["r"], derived={})}).fabricate([3], 0)[0]
            own = nr.apply(programmed.params, plain.deviations(programmed), programmed.placement)
            factor = delta["a.tau_mem"].exp()
            torch.testing.assert_close(params["a.input.weight"], own["a.input.weight"] * factor[:, None])
            torch.testing.assert_close(params["a.input.bias"], own["a.input.bias"] * factor)
            torch.testing.assert_close(params["a.recurrent.weight"], own["a.recurrent.weight"] * factor[:, None])
    assert torch.equal(spikes["with"], spikes["without"])
    assert spikes["with"].any()
    both = replace(DPI["r"], law=LogNormal(0.1), derived={"tau_mem": -0.5, "v_threshold": 2.0})
    chip = replace(chip, kinds=DPI | {"r": both})
    programmed = chip.program(nr.nominal(lif(r=1.0)), placement_of(lif(r=1.0)))
    die = chip.fabricate([3], 0)[0]
    delta = die.deviations(programmed)
    own = 0.1 * die.normals(programmed)["a.r"]
    expected = own - 0.5 * delta["a.tau_mem"] + 2 * delta["a.v_threshold"]
    torch.testing.assert_close(delta["a.r"], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("more", [{}, {"r": 2.0}])
def test_corners_of_what_is_derived_hold_all_corners(more):
    """At every combination of u = ±2 of a device and its source the deviation is between the corners, and some
    combination reaches each; an attack stays inside."""
    chip = ChipModel("dpi", "made up", DPI | {"r": replace(DPI["r"], law=LogNormal(0.1), derived={"tau_mem": -1.5})})
    network = lif(**more)
    programmed = chip.program(nr.nominal(network), placement_of(network))
    die, ball = chip.fabricate([0], 0)[0], nr.Ball.from_chip(chip, programmed, sigmas=2)
    found = []
    for own in (-2.0, 2.0):
        for source in (-2.0, 2.0):
            u = {
                name: torch.full_like(value, source if name == "a.tau_mem" else own)
                for name, value in programmed.expanded().items()
            }
            found.append(die.deviate(u, programmed))
    for name, (low, high) in ball.corners.items():
        every = torch.stack([each[name] for each in found])
        torch.testing.assert_close(every.amin(0), low, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(every.amax(0), high, rtol=1e-12, atol=1e-14)
    data = events(1, 8)
    worst = nr.worst_case(network, data, ball, nr.attacks.PGA(steps=1), seed=0)
    for name, (low, high) in ball.corners.items():
        assert ((worst.deviations[name] >= low) & (worst.deviations[name] <= high)).all()


@pytest.mark.parametrize(
    ("kind", "derived", "said"),
    [
        ("r", {"tau": 1.0}, "dpi: r derives from: 'tau' does not exist"),
        ("weight", {"tau_mem": 1.0}, "weight derives from tau_mem; expected two positive kinds"),
        ("tau_mem", {"r": 1.0}, "tau_mem derives from r, which itself derives from tau_mem"),
    ],
)
def test_derivations_that_mean_nothing_are_refused(kind, derived, said):
    """Unknown kinds, signed ones, chains."""
    with pytest.raises(ValueError, match=said):
        ChipModel("dpi", "made up", DPI | {kind: replace(DPI[kind], derived=derived)})


def test_a_corner_moves_every_device_and_what_follows_it():
    """Time constants e^0.1 and weights e^−0.2 times those of the same die; r, derived from tau_mem, moves along; the
    label says so."""
    chip, network = ChipModel("dpi", "made up", DPI), lif(r=2.0)
    programmed = chip.program(nr.nominal(network), placement_of(network))
    slow = chip.with_corner(tau_mem=0.1, weight=-0.2)
    assert slow.label == "dpi, tau_mem +0.1, weight -0.2"
    there, here = (
        nr.apply(programmed.params, each.fabricate([1], 0)[0].deviations(programmed), programmed.placement)
        for each in (slow, chip)
    )
    for name, shift in (("a.tau_mem", 0.1), ("a.r", 0.1), ("a.input.weight", -0.2), ("a.v_threshold", 0.0)):
        torch.testing.assert_close(there[name], here[name] * math.exp(shift), rtol=1e-12, atol=1e-15)
    die = chipmodels.load("dynapse2").with_corner(tau_mem=0.1).fabricate([1], 0)[0]
    alone = Network({"a": Lif(Linear(draw(1, 6, 3)), tau_mem=0.01, v_threshold=0.1, r=1.0)}, DT)
    delta = die.deviations(die.model.program(nr.nominal(alone), placement_of(alone)))
    assert torch.equal(delta["a.r"], delta["a.tau_mem"])
    for bad, said in (({"tau": 0.1}, "'tau' does not exist"), ({"tau_mem": -9.0}, "tau_mem: got -9")):
        with pytest.raises(ValueError, match=said):
            chip.with_corner(**bad)
    with pytest.raises(ValueError, match="v_leak may be 0"):
        chipmodels.load("brainscales2").with_corner(v_leak=0.1)
