"""Equations of neurons: what layers and chips state, how they are compared, and who says so."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import snntorch
import torch
from conftest import DT, events, tiny
from found import NEURONS, every_neuron, neuron_example
from torch import nn
from typer.testing import CliRunner

import benchmarks.dpi_circuit as dpi
import chipmodels
import neurorobust as nr
from neurorobust._util import console
from neurorobust.chip import Agreement, ChipModel, NeuronModel, SourcedText, agreement
from neurorobust.chip.equations import NOT_FOUND, POINTS
from neurorobust.cli import app
from neurorobust.core.equations import UNKNOWN, VOCABULARY, Equations
from neurorobust.core.placement import HOST
from neurorobust.data import Data
from neurorobust.demo import fleet_json
from neurorobust.dynamics import AdaptiveThreshold, CancelsExcitation, NoFloor, NoReset, ToValue
from neurorobust.evaluation.rare import RareFailures
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import AdaptiveLif, CubaLif, LeakyIntegrator, Lif, LinearizedDpi
from neurorobust.viz import report

SPIKING = {
    Lif: {},
    CubaLif: {"tau_syn": 1e-4},
    AdaptiveLif: {"tau_adapt": 0.1, "adaptation": 0.0},
    LinearizedDpi: {"tau_syn_exc": 1e-4, "tau_syn_inh": 1e-4},
}
every_spiking = pytest.mark.parametrize("model", SPIKING, ids=lambda model: model.__name__)


def one(model, **options):
    """One neuron that hardly leaks, with an excitatory and an inhibitory input and a threshold of 0.1."""
    weight = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    return model(Linear(weight), tau_mem=0.3, v_threshold=0.1, **SPIKING[model], **options)


def spikes(layer, *sizes: float) -> int:
    """The spikes in 30 steps after the last of some events, 30 steps apart; one of size 1 lifts v by a threshold."""
    unit = (
        0.1 / (DT / 0.3) / (0.1 if isinstance(layer, LinearizedDpi) else 1.0)
    )  # whose current lasts a tenth of a step
    events = torch.zeros(30 * len(sizes), 1, 2, dtype=torch.float64)
    for i, size in enumerate(sizes):
        events[30 * i, 0, int(size < 0)] = abs(size) * unit
    return int(layer(events, DT)[-30:].sum())


@every_neuron
def test_every_neuron_states_its_equations(model):
    """All points have a word, with and without one value per neuron; a subclass without a statement of its own is
    unknown, as its forward may be another."""
    for per_neuron in (True, False):
        assert UNKNOWN not in neuron_example(model, per_neuron=per_neuron).equations().words().values()
    other = type("Other", (NEURONS[model] if isinstance(model, str) else model,), {})
    layer = neuron_example(model)
    layer.__class__ = other
    assert layer.equations() == Equations()


@every_spiking
def test_a_floor_is_one(model):
    """After strong inhibition, a neuron with a floor spikes at an event that is enough from rest; one without does
    not. Both spike without the inhibition."""
    layer = one(model)
    assert spikes(layer, 0.0, 1.5) >= 1
    assert (spikes(layer, -50.0, 1.5) >= 1) == (layer.equations().floor != "no floor")
    assert (layer.equations().floor == "no floor") == (model is not LinearizedDpi)


@every_spiking
def test_a_subtractive_reset_leaves_the_rest(model):
    """An event of 3.5 thresholds: three spikes where the threshold is subtracted, one where the membrane is reset."""
    layer = one(model)
    subtracts = layer.equations().reset == "subtractive reset"
    assert spikes(layer, 3.5) == (3 if subtracts else 1)
    assert subtracts == (model is not LinearizedDpi)


def test_options_decide_words():
    """Resets, floors, refractory time and adaptation by the option that was given."""
    assert one(Lif, reset=ToValue()).equations().reset == "reset to rest"
    assert one(CubaLif, reset=ToValue(), v_leak=0.01).equations().reset == "reset to a value"
    assert one(Lif, v_reset=-0.1).equations().reset == "reset to a value"
    assert one(Lif, reset=NoReset()).equations().reset == "no reset"
    assert one(Lif, t_ref=2e-3).equations().refractory == "refractory time that only blocks spikes"
    assert one(Lif).equations().refractory == "no refractory time"
    assert one(AdaptiveLif).equations().refractory == "refractory time that only blocks spikes"
    assert one(AdaptiveLif).equations().adaptation == "adaptive threshold"
    dpi = one(LinearizedDpi, t_ref=2e-3, tau_adapt=0.1, adaptation=0.1).equations()
    assert (dpi.floor, dpi.reset, dpi.adaptation) == ("floor at rest", "reset to rest", "adaptation current")
    assert dpi.refractory == "refractory time that holds the membrane"
    assert one(LinearizedDpi, floor=NoFloor()).equations().floor == "no floor"
    assert one(LinearizedDpi, v_leak=0.02).equations().floor == "floor below rest"
    assert one(LinearizedDpi, v_reset=0.02).equations().reset == "reset to a value"
    assert one(LinearizedDpi).equations().inhibition == "subtracted inhibition"
    cancels = one(LinearizedDpi, inhibition=CancelsExcitation()).equations()
    assert cancels.inhibition == "inhibition up to the excitation"
    raised = one(LinearizedDpi, tau_adapt=0.1, adaptation=0.1, rule=AdaptiveThreshold()).equations()
    assert raised.adaptation == "adaptive threshold"


def test_words_outside_the_vocabulary_are_refused():
    """A layer's word, a chip's word, a status and a missing source, each by name."""
    with pytest.raises(ValueError, match="floor: 'none' does not exist; choose one of floor at rest, floor below"):
        Equations(floor="none")
    good = chipmodels.load("dynapse2").neuron
    with pytest.raises(ValueError, match="reset: 'floor at rest' does not exist"):
        replace(good, reset=SourcedText("x", "coded", "y", ("floor at rest",)))
    with pytest.raises(ValueError, match=r"signs: got words \('no floor',\); only membrane, .* have words"):
        replace(good, signs=SourcedText("x", "coded", "y", ("no floor",)))
    with pytest.raises(TypeError, match=r"floor: got 'none'; expected a SourcedText"):
        replace(good, floor="none")
    with pytest.raises(ValueError, match=r"status: 'guessed' does not exist; choose one of .*unknown"):
        SourcedText("x", "guessed", "y")
    with pytest.raises(ValueError, match="source: a fact of status 'coded' needs one"):
        SourcedText("x", "coded", "")
    with pytest.raises(ValueError, match="text: got none"):
        SourcedText("", "coded", "y")
    with pytest.raises(TypeError, match=r"words: got 'no floor'; expected a tuple"):
        SourcedText("x", "coded", "y", "no floor")
    with pytest.raises(TypeError, match=r"neuron: got 'dpi'; expected a neurorobust.chip.NeuronModel, or None"):
        ChipModel("x", "X", {}, neuron="dpi")


def adaptive() -> Network:
    """An adaptive neuron that DYNAP-SE2 takes, and a read-out on the host."""
    readout = LeakyIntegrator(Linear(torch.ones(2, 1).double()), core=torch.full((2,), HOST), tau_mem=0.1)
    return Network({"hidden": one(AdaptiveLif), "readout": readout}, DT)


def said(network: Network, name: str | ChipModel) -> Agreement:
    """The sentence about equations when a network is programmed."""
    chip = name if isinstance(name, ChipModel) else chipmodels.load(name)
    return chip.program(nr.nominal(network), placement_of(network)).equations


def test_an_adaptive_network_is_not_a_dpi_chip():
    """Each difference once, as a word in the line and as a sentence; the read-out on the host is left out."""
    found = said(adaptive(), "dynapse2")
    assert str(found) == (
        "equations: not the chip's (linear membrane, no floor, subtractive reset, refractory time that only blocks "
        "spikes, no synaptic current, subtracted inhibition, adaptive threshold): docs/physics.md"
    )
    assert len(found.differences) == 7
    assert found.differences[1] == "layer hidden: no floor; on the chip: floor at rest, or floor below rest."
    assert not any("readout" in line for line in found.differences)
    network = adaptive()
    network.get_submodule("readout").core.zero_()
    told = agreement("dynapse2", chipmodels.load("dynapse2").neuron, placement_of(network))
    assert "layer readout: no reset; on the chip: reset to rest." in told.differences


def test_a_fleet_lists_what_the_chip_lacks():
    """Every difference of the equations, and steps of time on a chip without a clock; nothing for plain mismatch."""
    network, data = adaptive(), Data(events(0, 4).x[..., :2], torch.arange(4) % 2)
    on_chip = nr.evaluate(network, data, chipmodels.load("dynapse2"), n_dies=2)
    assert on_chip.differences[:-1] == said(network, "dynapse2").differences and len(on_chip.differences) == 8
    assert on_chip.differences[-1].startswith(
        f"time: the network counts events in steps of {1e3 * DT:g} ms; on the chip"
    )
    lines = str(on_chip).splitlines()
    assert "FleetResult(2 dies of dynapse2" in lines[0] and "\n" not in repr(on_chip)
    assert "layer hidden: no floor; on the chip: floor at rest, or floor below rest." in lines
    assert nr.evaluate(network, data, nr.mismatch(0.3), n_dies=2).differences == ()


def test_a_linearised_dpi_is_called_one():
    """Only the linearisation is left; the cost that somebody measured ends the line."""
    found = said(Network({"hidden": one(LinearizedDpi)}, DT), "dynapse2")
    words = "linear membrane, subtracted inhibition"
    assert str(found) == f"equations: the chip's, linearised ({words}): docs/physics.md"
    costly = replace(found, cost="it costs .04 here")
    assert str(costly).endswith("docs/physics.md; it costs .04 here")
    assert costly.entry() == {
        "verdict": f"the chip's, linearised ({words})",
        "differences": list(found.differences),
        "cost": "it costs .04 here",
    }


@pytest.mark.parametrize("chip", ["dynapse1", "dynapse2"])
def test_inhibition_that_only_cancels_is_the_chip_s(chip):
    """Then the linear membrane alone is left, in the line and in the sentences."""
    found = said(Network({"hidden": one(LinearizedDpi, inhibition=CancelsExcitation())}, DT), chip)
    assert str(found) == "equations: the chip's, linearised (linear membrane): docs/physics.md"
    assert found.differences == ("layer hidden: linear membrane; on the chip: DPI membrane.",)


def test_what_is_not_stated_is_unknown():
    """No chip, a chip of a user, a wrapped module, a layer of a class that states nothing, a point that nobody
    found."""
    assert str(said(adaptive(), nr.mismatch(0.3))) == "equations: unknown (mismatch 0.3 states none)"
    dynapse2 = chipmodels.load("dynapse2")
    assert str(said(adaptive(), replace(dynapse2, neuron=None))) == "equations: unknown (dynapse2 states none)"
    wrapped = nr.wrap(nn.Linear(3, 2))
    told = agreement("x", dynapse2.neuron, placement_of(wrapped))
    assert str(told) == "equations: unknown (the network states none)"
    network = Network({"hidden": one(LinearizedDpi)}, DT)
    network.get_submodule("hidden").__class__ = type("Other", (LinearizedDpi,), {})
    told = agreement("x", dynapse2.neuron, placement_of(network))
    assert str(told) == f"equations: the chip's where both are known; unknown: {', '.join(VOCABULARY)}"
    blind = replace(dynapse2.neuron, membrane=NOT_FOUND, inhibition=NOT_FOUND)
    told = agreement("x", blind, placement_of(Network({"hidden": one(LinearizedDpi)}, DT)))
    assert str(told) == "equations: the chip's where both are known; unknown: membrane, inhibition"
    placed = placement_of(Network({"hidden": one(LinearizedDpi)}, DT))
    both = replace(placed, cores=placed.cores | {"other": torch.tensor([0])})
    told = agreement("x", dynapse2.neuron, both)
    assert told.verdict.endswith(f"; unknown: {', '.join(VOCABULARY)}") and len(told.differences) == 2
    host = LeakyIntegrator(Linear(torch.ones(1, 1)), core=torch.tensor([HOST]), tau_mem=0.1)
    told = agreement("x", dynapse2.neuron, placement_of(Network({"readout": host}, DT)))
    assert str(told) == "equations: no layer is on the chip"


def test_equal_equations_are_the_chip_s():
    """A chip that can do all that a layer does."""
    words = one(LinearizedDpi).equations().words()
    points = {name: SourcedText("x", "coded", "y", (words[name],) if name in words else ()) for name in POINTS}
    told = agreement("x", NeuronModel(**points), placement_of(Network({"hidden": one(LinearizedDpi)}, DT)))
    assert told == Agreement("the chip's") and str(told) == "equations: the chip's"


def test_snntorch_neurons_state_theirs():
    """Leaky and Synaptic as our LIF family, by their reset; Alpha, lateral inhibition and a subclass are unknown."""

    class Mine(snntorch.Leaky):
        pass

    def facts(neuron) -> Equations:
        row = nn.Sequential(nn.Linear(3, 4), neuron)
        return placement_of(nr.from_snntorch(row, dt=DT)).equations["1"]

    usual = {"beta": 0.9, "init_hidden": True, "output": True}
    leaky = facts(snntorch.Leaky(**usual))
    assert leaky == one(Lif).equations()
    assert facts(snntorch.Leaky(**usual, reset_mechanism="zero")).reset == "reset to rest"
    assert facts(snntorch.Leaky(**usual, reset_mechanism="none")).reset == "no reset"
    assert facts(snntorch.Synaptic(alpha=0.8, **usual)) == one(CubaLif).equations()
    assert facts(snntorch.Alpha(alpha=0.95, **usual)) == Equations()
    with pytest.warns(UserWarning, match="Inhibition is an unstable feature"):
        lateral = snntorch.Leaky(**usual, inhibition=True)
    assert facts(lateral) == Equations()
    assert facts(Mine(**usual)) == Equations()


def test_a_prefixed_placement_keeps_the_equations():
    """Inside another module the names change, the equations do not."""
    placement = placement_of(tiny())
    assert placement.prefixed("network.").equations["network.hidden"] == placement.equations["hidden"]


def test_a_result_says_which_equations_it_is_about():
    """In the one line that print shows, and in its JSON; also without a chip."""
    data = nr.data.Data(events(1, 8).x[..., :2], events(1, 8).y)
    result = nr.evaluate(adaptive(), data, chipmodels.load("dynapse2"), n_dies=2)
    assert f"; {result.equations}; nominal" in repr(result)
    entry = fleet_json(result, 0.9)["equations"]
    assert entry["verdict"].startswith("not the chip's (linear membrane, no floor")
    assert len(entry["differences"]) == 7 and json.dumps(entry)
    assert "equations: unknown" in repr(nr.evaluate(adaptive(), data, nr.mismatch(0.1), n_dies=2))


def test_a_report_says_which_equations_its_networks_have():
    """One line where all networks have the same, one each where not; nothing for results of an older version."""

    def results(**verdicts) -> dict:
        entries = {name: {"fleet": {"equations": told and {"verdict": told}}} for name, told in verdicts.items()}
        return {"chip": "dynapse2", "networks": entries}

    assert report.equations(results(a="x", b="x")) == ["All networks on dynapse2: equations: x."]
    assert report.equations(results(a="x", b="y")) == [f"{n} on dynapse2: equations: {v}." for n, v in ("ax", "by")]
    assert report.equations(results(a="x")) == ["a on dynapse2: equations: x."]
    assert report.equations(results(a=None)) == []
    assert report.equations({"chip": "dynapse2", "networks": {"a": {"fleet": {}}}}) == []


def test_an_estimate_of_rare_failures_says_it_too():
    """In the line that print shows, with a number and without."""
    refused = RareFailures("dynapse2", 0, 0.9, None, None, 0.0, 7, 1.0, ("few",), (), Agreement("x"))
    given = replace(refused, probability=0.1, ci95=(0.0, 0.2))
    for result in (refused, given):
        assert repr(result).startswith("RareFailures(dynapse2, score below 0.9; equations: x; ")
    assert "score below 0.9: no number" in repr(replace(refused, equations=None))


def test_the_firing_points_of_dynapse2_are_computed():
    """The currents in its notes, from the constants of benchmarks/dpi_circuit.py; C_mem of Richter et al. beside."""

    def firing(tau: float, capacitance: float) -> tuple[float, float]:
        i_tau = capacitance * dpi.U_T / (dpi.KAPPA * tau)
        return i_tau * (i_tau / dpi.I_0) ** (1 / dpi.KAPPA) * 1e12, dpi.GAIN * i_tau * 1e12

    note = next(note for note in chipmodels.load("dynapse2").notes if "positive feedback fires" in note)
    found = [firing(tau, dpi.C_MEM) for tau in (0.02, 0.04, 0.08, 0.16)]
    assert [pair[0] for pair in found] == pytest.approx([152, 28.5, 5.3, 1.0], rel=0.01)
    assert [pair[1] for pair in found] == pytest.approx([21, 10.6, 5.3, 2.66], rel=0.02)
    assert "152 pA at tau_mem 20 ms, 28 pA at 40 ms, 5.3 pA at 80 ms and 1.0 pA at 160 ms" in note
    assert "21, 11, 5.3 and 2.7 pA" in note
    assert [firing(tau, 7.7e-12)[0] for tau in (0.08, 0.16)] == pytest.approx([52, 9.7], rel=0.01)
    assert "52 and 9.7 pA" in note


def test_the_card_of_a_chip_shows_its_equations(monkeypatch):
    """For people and as JSON, with status and source of each point; two chips differ in words."""
    chip = chipmodels.load("dynapse2")
    monkeypatch.setattr(console.out, "_width", 4000)
    monkeypatch.setattr(console.out, "_height", 100)
    run = CliRunner().invoke(app, ["chips", "show", "dynapse2"])
    assert all(point.text in run.stdout and point.source in run.stdout for point in chip.neuron.points().values())
    assert all(point.model in run.stdout for point in chip.neuron.points().values())
    run = CliRunner().invoke(app, ["chips", "show", "dynapse2", "--json"])
    points = json.loads(run.stdout)["neuron"]["points"]
    assert list(points) == list(POINTS)
    assert points["floor"]["words"] == ["floor at rest", "floor below rest"]
    assert nr.chip.card(nr.mismatch(0.1))["neuron"] is None
    other = replace(chip, name="other", neuron=replace(chip.neuron, floor=NOT_FOUND))
    assert nr.chip.differences(chip, other)["neuron.floor"] == {
        "dynapse2": ["floor at rest", "floor below rest"],
        "other": [],
    }
