"""Samples that are no events, on a chip that takes events only."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import snntorch as snn
import torch
from conftest import tiny
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import chipmodels
import neurorobust as nr
from neurorobust.chip import SourcedText
from neurorobust.data import Data, Task
from neurorobust.evaluation.dies import die_scores
from neurorobust.nn import LeakyIntegrator, Lif, Linear
from neurorobust.nn.entering import entering
from neurorobust.regularizers import Adversarial, ChipCorners, ForwardNoise, ProgrammedOn
from neurorobust.train import Schedule
from neurorobust.train.checks import chips_in

DYNAPSE2 = chipmodels.load("dynapse2")
WORDS = r"data: input: the first layer on the chip reads numbers such as .*No die of dynapse2"


def samples(grey: bool, n: int = 12) -> Data:
    x = torch.rand(n, 8, 3, generator=torch.Generator().manual_seed(0))
    return Data(x if grey else (x < 0.4).float(), torch.arange(n) % 2)


def network(host: bool = False) -> nr.Network:
    """Three inputs, two layers of spiking neurons, a read-out; the first layer on the host or not."""
    generator = torch.Generator().manual_seed(1)
    own = {"tau_mem": 0.01, "v_threshold": 0.05}
    where = torch.full((4,), nr.HOST if host else 0)
    layers = {
        "first": Lif(Linear.random(3, 4, generator=generator), core=where, **own),
        "second": Lif(Linear.random(4, 4, generator=generator), **own),
        "readout": LeakyIntegrator(Linear.random(4, 2, generator=generator), tau_mem=0.02),
    }
    return nr.Network(layers, 1e-3)


def from_snntorch(prepare: Callable[[Tensor], Tensor] | None = None) -> nn.Module:
    torch.manual_seed(0)
    neuron = {"beta": 0.9, "init_hidden": True}
    last = snn.Leaky(**neuron, reset_mechanism="none", output=True)
    net = nn.Sequential(nn.Linear(3, 8, bias=False), snn.Leaky(**neuron), nn.Linear(8, 2), last)
    options = {} if prepare is None else {"prepare": prepare, "sample": torch.ones(2, 8, 3)}
    model = nr.from_snntorch(net, dt=1e-3, decode=nr.interop.decode.mean_membrane, **options)
    model.place({"1": 0, "3": nr.HOST})
    return model


@pytest.mark.parametrize("make", [network, from_snntorch], ids=["own", "snnTorch"])
def test_grey_values_on_an_event_chip_are_named(make):
    """Once in a warning, and in what `print` of the result says; events and counts are not."""
    with pytest.warns(UserWarning, match=WORDS) as caught:
        fleet = nr.evaluate(make(), samples(grey=True), DYNAPSE2, n_dies=2)
    assert len(caught) == 1 and any(each.startswith("input: ") for each in fleet.differences)
    assert "on the chip: events, whole numbers ≥ 0 in a step" in str(fleet)
    events = samples(grey=False)
    for x in (events.x, 3 * events.x):
        fleet = nr.evaluate(make(), Data(x, events.y), DYNAPSE2, n_dies=2)
        assert not any(each.startswith("input: ") for each in fleet.differences)
    with pytest.warns(UserWarning, match="such as -1"):
        nr.evaluate(make(), Data(-events.x, events.y), DYNAPSE2, n_dies=2)


def test_numbers_for_the_host_or_for_a_crossbar_are_no_fault():
    """The first layer on the host makes spikes of them; a crossbar multiplies them; mismatch is no chip."""
    grey = samples(grey=True)
    nr.evaluate(network(host=True), grey, DYNAPSE2, n_dies=2)
    nr.evaluate(network(), grey, chipmodels.load("pcm"), n_dies=2)
    nr.evaluate(network(), grey, nr.mismatch(0.1), n_dies=2)
    nr.evaluate(network(), grey, chipmodels.load("ideal"), n_dies=2)
    stated = SourcedText("Events.", "assumed", "test", ("events",))
    with pytest.warns(UserWarning, match="reads numbers such as"):
        nr.evaluate(network(), grey, replace(nr.mismatch(0.1), inputs=stated), n_dies=2)


def test_a_module_that_makes_events_of_its_samples_is_looked_at_behind_them():
    """`prepare` turns grey values into events, or events into numbers; what enters the first weights counts."""

    def counted(x: Tensor) -> Tensor:
        return (x > 0.5).to(x).transpose(0, 1)

    def halved(x: Tensor) -> Tensor:
        return 0.5 * x.transpose(0, 1)

    nr.evaluate(from_snntorch(counted), samples(grey=True), DYNAPSE2, n_dies=2)
    with pytest.warns(UserWarning, match=r"such as 0\.5;"):
        nr.evaluate(from_snntorch(halved), samples(grey=False), DYNAPSE2, n_dies=2)


def test_a_stream_is_looked_at():
    grey = samples(grey=True, n=40)
    loader = DataLoader(TensorDataset(grey.x, grey.y), batch_size=10)
    with pytest.warns(UserWarning, match=WORDS):
        nr.evaluate(network(), Data.of(loader, in_memory=False), DYNAPSE2, n_dies=2)


@pytest.mark.parametrize(
    "measure",
    [
        lambda net, data: next(die_scores(net, data, DYNAPSE2, [3], 1)),
        lambda net, data: nr.evaluation.ablate_kinds(net, data, DYNAPSE2, serials=[1]),
        lambda net, data: nr.calibrate_readout(net, DYNAPSE2.fabricate([0, 1], 1), data.x, 6),
        lambda net, data: nr.evaluation.rare_failures(
            net, data, DYNAPSE2, spec=0.0, simulation=nr.evaluation.SubsetSimulation(50, 4)
        ),
    ],
    ids=["die_scores", "ablate_kinds", "calibrate_readout", "rare_failures"],
)
def test_every_measurement_on_a_chip_says_it(measure):
    with pytest.warns(UserWarning, match=WORDS) as caught:
        measure(network(), samples(grey=True))
    assert len(caught) == 1


def test_training_for_a_chip_says_it():
    """`fit` finds the chip wherever it is in the loss; another loss knows no chip."""
    grey = samples(grey=True)
    task = Task("grey", ("a", "b"), grey, grey, grey, functional.cross_entropy)
    options = {"epochs": 1, "schedule": Schedule(batch_size=6)}
    with pytest.warns(UserWarning, match=WORDS) as caught:
        nr.fit(network(), task, ProgrammedOn(functional.cross_entropy, DYNAPSE2), **options)
    assert len(caught) == 1
    nr.fit(network(), task, functional.cross_entropy, **options)
    inner, corners = ForwardNoise(ProgrammedOn(functional.cross_entropy, DYNAPSE2), 0.1), ChipCorners(DYNAPSE2)
    for loss in (inner, Adversarial(functional.cross_entropy, nr.attacks.PGA(steps=1), corners, beta=0.1)):
        assert list(chips_in(loss)) == [DYNAPSE2]
    assert not list(chips_in(ForwardNoise(functional.cross_entropy, 0.1)))


def test_a_wrong_word_is_refused():
    with pytest.raises(ValueError, match=r"chip dynapse2: inputs.*'spikes'"):
        replace(DYNAPSE2, inputs=SourcedText("x", "assumed", "y", ("spikes",)))
    with pytest.raises(TypeError, match="inputs: got 'events'; expected a SourcedText"):
        replace(DYNAPSE2, inputs="events")


def test_looking_changes_nothing():
    """Hooks are gone, and modes and parameters are as before; a module without a place is not looked at."""
    model = from_snntorch().train()
    before = nr.nominal(model)
    assert entering(model, samples(grey=True).x) is not None and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert not any(part._forward_pre_hooks for part in model.modules())
    assert entering(nr.wrap(nn.Linear(3, 2)), torch.rand(4, 3)) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert entering(tiny(), torch.zeros(2, 5, 3).double()) is not None
