"""The equations of a chip in place of a network's own, and snnTorch networks as networks of this package."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

import chipmodels
import neurorobust as nr
from neurorobust.chip import Range
from neurorobust.data import Data, Task
from neurorobust.deploy import adapt, moments, translated
from neurorobust.dynamics import Ahp, ToValue
from neurorobust.interop import decode
from neurorobust.nn import AdaptiveLif, CubaLif, LeakyIntegrator, Lif, Linear, LinearizedDpi, Network
from neurorobust.train import Schedule

DT, N_IN, STEPS = 1e-3, 6, 25
CHIPS = {name: chipmodels.load(name) for name in ("dynapse1", "dynapse2", "rolls", "brainscales2", "xylo", "pcm")}
DYNAPSE2 = CHIPS["dynapse2"]
BRIEF = {"schedule": Schedule(learning_rate=0.05, batch_size=10, select_every=5)}


def two_rates(n: int, seed: int) -> Data:
    """Class 1 has its events on the second half of the channels."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    rate = torch.full((n, N_IN), 0.1)
    rate[y == 0, : N_IN // 2] = rate[y == 1, N_IN // 2 :] = 0.5
    return Data((torch.rand(n, STEPS, N_IN, generator=generator) < rate[:, None]).float(), y)


TASK = Task("two", ("a", "b"), two_rates(100, 0), two_rates(20, 1), two_rates(20, 2), nn.functional.cross_entropy)


def own(hidden: object | None = None) -> Network:
    generator = torch.Generator().manual_seed(3)
    if hidden is None:
        options = {"tau_mem": 0.01, "tau_adapt": 0.05, "adaptation": 0.3, "v_threshold": 0.1}
        recurrent = Linear.random(8, 8, generator=generator)
        hidden = AdaptiveLif(Linear.random(N_IN, 8, generator=generator), recurrent=recurrent, **options)
    readout = LeakyIntegrator(Linear.random(8, 2, generator=generator, bias=True), tau_mem=0.02)
    network = Network({"hidden": hidden, "readout": readout}, DT)
    for name, value in network.named_parameters():
        value.requires_grad_(name.endswith(("weight", "bias", "v_threshold", "hidden.tau_mem")))
    return network


def lif(**options: object) -> Lif:
    weights = Linear.random(N_IN, 8, generator=torch.Generator().manual_seed(1))
    return Lif(weights, **{"tau_mem": 0.01, "v_threshold": 0.05} | options)


def neuron(cls: type = snn.Leaky, **options: object) -> nn.Module:
    return cls(**{"beta": 0.9, "threshold": 0.4, "init_hidden": True} | options)


def row(*hidden: nn.Module, n_in: int = N_IN, last: nn.Module | None = None, **options: object) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(n_in, 8), *hidden, nn.Linear(8, 2), last or neuron(output=True, **options))


# ---- a network of this package


@pytest.mark.parametrize("chip", ["dynapse1", "dynapse2", "rolls"])
def test_the_result_has_the_equations_of_the_chip(chip):
    """Nothing differs but what a linearisation leaves out; the network that was given is the same as before."""
    network = own()
    before = nr.nominal(network)
    found = adapt(network, CHIPS[chip], TASK, epochs=0)
    assert found.equations.verdict.startswith("the chip's")
    assert isinstance(found.network.layers()["hidden"], LinearizedDpi) and not found.violations
    assert all(torch.equal(value, before[name]) for name, value in nr.nominal(network).items())
    assert found.history is None and found.scores["after"] == found.scores["converted"]


def test_training_raises_the_score_and_the_report_says_it():
    found = adapt(own(), DYNAPSE2, TASK, loss=TASK.loss, epochs=5, seed=1, **BRIEF)
    assert list(found.scores) == ["before", "converted", "after"]
    assert found.scores["after"] > max(0.9, found.scores["converted"])
    assert found.history is not None and len(found.history.rows) == 5
    told = str(found)
    for words in ("no floor → floor at rest", "adaptive threshold → adaptation current", "on 20 validation samples"):
        assert words in told
    assert f"after {found.scores['after']:.3f}" in told and max(map(len, told.splitlines())) <= 110
    assert found.entry()["epochs"] == 5 and found.entry()["scores"] == dict(found.scores)
    assert nr.deploy.onto(found.network, DYNAPSE2).report.neurons == 8


def test_the_same_dies_are_measured_at_every_moment():
    """Means are those of `nr.evaluate` on the validation part, dies 0 to 5 of seed 1; the differences are paired."""
    network = own()
    found = adapt(network, DYNAPSE2, TASK, epochs=0, n_dies=6)
    assert list(found.fleets) == ["before", "converted", "after"]
    for moment, one in (("before", network), ("converted", found.network), ("after", found.network)):
        fleet = nr.evaluate(one, TASK.validation, DYNAPSE2, n_dies=6, seed=1)
        assert (fleet.score == found.fleets[moment].score).all() and found.fleets[moment].serials == tuple(range(6))
    gain = nr.compare(found.fleets["after"], found.fleets["before"])
    told = str(found)
    assert f"after {found.fleets['after'].mean:.3f}, mean of 6 dies of dynapse2\n" in told
    assert f"after − before: {gain.difference:+.3f} [{gain.ci95[0]:+.3f}, {gain.ci95[1]:+.3f}], paired" in told
    entry = found.entry()["dies"]
    assert entry["before"]["change"] is None and entry["after"]["change"] == gain.difference
    none = adapt(network, DYNAPSE2, TASK, epochs=0, n_dies=0)
    assert not none.fleets and "dies       not measured: pass n_dies=10" in str(none)
    with pytest.raises(ValueError, match=r"n_dies: got -1"):
        adapt(network, DYNAPSE2, TASK, epochs=0, n_dies=-1)


def test_a_network_that_the_chip_cannot_hold_is_not_measured_and_the_reason_is_said():
    """Its threshold is outside the range of the chip, before and after; without errors it is measured all the same."""
    limited = replace(DYNAPSE2.kinds["v_threshold"], range=Range(0.2, 1.0, "assumed", "test"))
    chip = replace(DYNAPSE2, kinds={**DYNAPSE2.kinds, "v_threshold": limited})
    with pytest.warns(UserWarning, match="cannot hold it"):
        found = adapt(own(), chip, TASK, epochs=0)
    assert not found.fleets and set(found.refused) == {"before", "converted", "after"} == set(found.scores)
    assert "before not measured: " in str(found) and "v_threshold" in found.refused["before"]


def test_a_loss_on_dies_is_a_warning(monkeypatch):
    """A network that is surely worse on the same dies is named with its loss; one that may be equal is not."""
    before, converted = [0.9, 0.92, 0.91], [0.5, 0.5, 0.5]
    measured = iter([before, converted, [0.6, 0.66, 0.64], before, converted, [0.91, 0.89, 0.91]])

    def evaluate(network, data, chip, *, n_dies, seed):
        fleet = nr.evaluate(network, data, chip, n_dies=n_dies, seed=seed)
        return replace(fleet, score=np.array(next(measured)))

    monkeypatch.setattr(moments, "evaluate", evaluate)
    options = {"loss": TASK.loss, "epochs": 1, "n_dies": 3}
    with pytest.warns(UserWarning, match=r"3 dies of dynapse2 its mean score is 0\.277 lower than before"):
        adapt(own(), DYNAPSE2, TASK, **options)
    adapt(own(), DYNAPSE2, TASK, **options)


def test_the_default_is_the_adversarial_method():
    """Without a loss, the same network as with that of the adversarial method, and another than with plain training."""
    method = nr.train.methods.METHODS["adversarial"].regularize(TASK.loss)
    default, same, plain = (
        adapt(own(), DYNAPSE2, TASK, loss=loss, epochs=1).network for loss in (None, method, TASK.loss)
    )
    weights = [each.get_parameter("hidden.input.weight") for each in (default, same, plain)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_an_adaptive_threshold_becomes_a_current_that_lowers_the_membrane_as_much():
    """In the limit of slow adaptation and many spikes: threshold + b is the same as a membrane lower by b."""
    found = adapt(own(), DYNAPSE2, TASK, epochs=0).network.layers()["hidden"]
    assert isinstance(found, LinearizedDpi) and found.rule == Ahp()
    rho = math.exp(-DT / 0.05)
    raised = 0.3 * (1 - rho)  # of the threshold by one spike
    c = found.floored_coefficients(DT)
    assert c.raised is None and c.ahp is not None
    lowered = c.ahp / (1 - c.alpha)  # of the membrane's target
    assert lowered.tolist() == pytest.approx([raised * (1 - rho) * 0.05 / DT] * 8, rel=1e-5)
    rolls = adapt(own(), CHIPS["rolls"], TASK, epochs=0).network.layers()["hidden"]
    assert rolls.floored_coefficients(DT).raised is not None  # ROLLS can raise a threshold


def test_potentials_are_shifted_to_rest():
    """v_leak 0.02 and a threshold of 0.07 are a threshold of 0.05 above rest; without inhibition, the same spikes."""
    shifted = lif(v_leak=torch.full((8,), 0.02), v_threshold=0.07, v_reset=0.02, reset=ToValue())
    plain = lif(v_threshold=0.05, v_reset=0.0, reset=ToValue())
    for layer in (shifted, plain):
        with torch.no_grad():
            layer.input.weight.abs_()
    found = adapt(own(shifted), DYNAPSE2, TASK, epochs=0, tau_syn=DT / 100)
    layer = found.network.layers()["hidden"]
    assert layer.v_threshold.tolist() == pytest.approx([0.05] * 8)
    assert (
        sum("dynapse2 has no v_leak" in change or "dynapse2 has no v_reset" in change for change in found.changes) == 2
    )
    spikes = [network(TASK.test.x)[1]["hidden"] for network in (own(plain), found.network)]
    assert spikes[0].sum() > 0 and torch.equal(*spikes)
    with pytest.raises(ValueError, match=r"layer 'hidden' rests above its threshold"):
        adapt(own(lif(v_leak=0.2)), DYNAPSE2, TASK, epochs=0)


def test_what_a_core_sets_once_is_not_trained_per_neuron():
    weights = Linear(torch.ones(8, N_IN), torch.linspace(0, 1, 8))
    layer = Lif(weights, tau_mem=torch.full((8,), 0.01), v_threshold=0.05)
    found = adapt(own(layer), DYNAPSE2, TASK, epochs=0)
    hidden = found.network.layers()["hidden"]
    assert hidden.input.bias is None and "8 biases of input removed" in str(found)
    assert not hidden.tau_mem.requires_grad and hidden.v_threshold.requires_grad
    equal = Lif(Linear(torch.ones(8, N_IN), torch.full((8,), 0.1)), tau_mem=0.01, v_threshold=0.05)
    kept = adapt(own(equal), DYNAPSE2, TASK, epochs=0).network.layers()["hidden"]
    assert kept.input.bias is not None and not kept.input.bias.requires_grad


def test_a_network_that_has_the_equations_is_only_trained_on():
    first = adapt(own(), DYNAPSE2, TASK, epochs=0)
    again = adapt(first.network, DYNAPSE2, TASK, epochs=0)
    assert not again.changes and "changed    nothing" in str(again)
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), again.network.parameters()))
    crossbar = adapt(own(), CHIPS["pcm"], TASK, epochs=0)
    assert not crossbar.changes and "the network's own" in crossbar.equations.verdict


def test_a_chip_that_cannot_hold_the_network_is_said_before_training():
    network = own(lif(tau_mem=1.0))
    with pytest.warns(UserWarning, match=r"before and after training: range of hidden\.tau_mem"):
        found = adapt(network, DYNAPSE2, TASK, epochs=0)
    assert [violation.limit for violation in found.violations] == ["range"] and "fits       range" in str(found)


class OwnLif(Lif):
    """Not installed."""


def test_what_cannot_be_converted_is_refused_with_every_reason():
    layers = {"a": OwnLif(Linear(torch.ones(4, N_IN)), tau_mem=0.01, v_threshold=0.1)}
    layers["b"] = OwnLif(Linear(torch.ones(2, 4)), tau_mem=0.01, v_threshold=0.1)
    with pytest.raises(TypeError, match=r"(?s)layer 'a': got a OwnLif.*layer 'b': got a OwnLif"):
        adapt(Network(layers, DT), DYNAPSE2, TASK, epochs=0)
    with pytest.raises(ValueError, match=r"(?s)layer a: states no equations.*layer b: states no equations"):
        adapt(Network(layers, DT), CHIPS["xylo"], TASK, epochs=0)
    with pytest.raises(ValueError, match=r"(?s)no conversion is known.*brainscales2.*no floor;.*reset"):
        adapt(own(lif()), CHIPS["brainscales2"], TASK, epochs=0)
    with pytest.raises(TypeError, match="data: got a Data; expected a Task, with a part to train on"):
        adapt(own(), DYNAPSE2, TASK.train)
    with pytest.raises(TypeError, match="chip: got 'dynapse2'; expected a ChipModel"):
        adapt(own(), "dynapse2", TASK)
    with pytest.raises(ValueError, match="epochs: got -1"):
        adapt(own(), DYNAPSE2, TASK, epochs=-1)
    with pytest.raises(ValueError, match="tau_syn: got 0"):
        adapt(own(), DYNAPSE2, TASK, epochs=0, tau_syn=0.0)
    with pytest.raises(TypeError, match=r"network: got a Linear; expected a neurorobust\.Network"):
        adapt(nn.Linear(2, 2), DYNAPSE2, TASK)


# ---- snnTorch networks

ROWS = {
    "subtract": lambda: row(neuron()),
    "zero": lambda: row(neuron(reset_mechanism="zero")),
    "at once": lambda: row(neuron(reset_delay=False), reset_delay=False),
    "none": lambda: row(neuron(reset_mechanism="none")),
    "Synaptic": lambda: row(neuron(snn.Synaptic, alpha=0.7)),
    "RLeaky": lambda: row(neuron(snn.RLeaky, linear_features=8)),
    "one to one": lambda: row(neuron(snn.RLeaky, all_to_all=False, V=0.3)),
    "RSynaptic": lambda: row(neuron(snn.RSynaptic, alpha=0.7, linear_features=8)),
    "Lapicque": lambda: row(snn.Lapicque(R=2.0, C=5e-3, time_step=1e-3, threshold=0.2, init_hidden=True)),
    "per neuron": lambda: row(neuron(beta=torch.linspace(0.5, 0.95, 8), threshold=torch.linspace(0.2, 0.5, 8))),
    "dropout": lambda: row(neuron(), nn.Dropout(0.5)).eval(),
    "no weights": lambda: row(neuron(), neuron()),
    "read-out without neurons": lambda: nn.Sequential(*row(neuron())[:3]),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_translation_has_the_same_spikes(name):
    """Float64: all spikes of all layers and the logits are those of snnTorch's network."""
    model = nr.from_snntorch(ROWS[name](), DT).double()
    network = translated(model)
    x = 2 * torch.rand(6, 60, N_IN, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (expected, spikes), (logits, outputs) = model(x), network(x)
    assert sum(each.sum() for each in spikes.values()) > 20
    assert all(torch.equal(outputs[layer], each) for layer, each in spikes.items())
    assert torch.allclose(logits, expected, rtol=1e-9)


@pytest.mark.parametrize("function", [decode.mean_membrane, decode.max_membrane, decode.last_membrane])
@pytest.mark.parametrize("cls", [snn.Leaky, snn.Synaptic])
def test_a_last_membrane_without_reset_is_a_readout_on_the_host(function, cls):
    last = neuron(cls, output=True, reset_mechanism="none", **({"alpha": 0.6} if cls is snn.Synaptic else {}))
    model = nr.from_snntorch(row(neuron(), last=last), DT, decode=function)
    network = translated(model)
    x = 2 * torch.rand(6, 60, N_IN, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network(x)[0], model(x)[0], atol=1e-4) and bool((network.layers()["3"].core == nr.HOST).all())
    with pytest.raises(ValueError, match=r"'3' \(Leaky\): its membrane is the output, and spikes change it"):
        translated(nr.from_snntorch(row(neuron()), DT, decode=function))


def test_convolutions_and_pooling_are_translated():
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(1, 2, 3, padding=1), neuron(), nn.Flatten(), nn.Linear(32, 2), neuron(output=True)
    )
    model = nr.from_snntorch(net, DT, sample=torch.zeros(2, 3, 1, 8, 8))
    x = 2 * torch.rand(3, 40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits, network = model(x)[0], translated(model)
    assert logits.sum() > 0 and torch.equal(network(x.flatten(2))[0], logits)
    data = Data(x, torch.tensor([0, 1, 1]))
    assert nr.deploy.onto(model, CHIPS["pcm"], data).report.samples == 3


class Loop(nn.Module):
    """A forward of its own, as in snnTorch's tutorials."""

    def __init__(self, factor: float = 1.0):
        super().__init__()
        torch.manual_seed(2)
        self.fc1, self.lif1 = nn.Linear(N_IN, 8), snn.Leaky(beta=0.9, threshold=0.4)
        self.fc2, self.lif2 = nn.Linear(8, 2), snn.Leaky(beta=0.8, threshold=0.4)
        self.factor = factor

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one, two = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for step in x:
            spike, one = self.lif1(self.factor * self.fc1(step), one)
            spike, two = self.lif2(self.fc2(spike), two)
            spikes.append(spike)
            membranes.append(two)
        return torch.stack(spikes), torch.stack(membranes)


def test_a_loop_of_its_own_is_translated_if_it_is_a_row_of_layers():
    x = 2 * torch.rand(6, 60, N_IN, generator=torch.Generator().manual_seed(0))
    model = nr.from_snntorch(Loop(), DT, sample=x)
    assert torch.equal(translated(model)(x)[0], model(x)[0])
    with pytest.raises(ValueError, match="layer 'lif1' has other spikes than its layers in a row would have"):
        translated(nr.from_snntorch(Loop(1.5), DT, sample=x))


def quiet(factor: float) -> nr.interop.SnnTorchNetwork:
    """A loop whose first layer is silent at usual inputs; factor: of the input of that layer, in the loop only."""
    loop = Loop(factor)
    loop.lif1 = snn.Leaky(beta=0.9, threshold=300.0)
    return nr.from_snntorch(loop, DT, sample=torch.zeros(2, 5, N_IN))


def test_the_inputs_of_the_comparison_grow_until_every_layer_spikes():
    """Without a spike every factor would look alike."""
    x = 2 * torch.rand(6, 60, N_IN, generator=torch.Generator().manual_seed(0))
    assert not quiet(1.0)(x)[1]["lif1"].any()
    assert translated(quiet(1.0)).names == ["lif1", "lif2"]
    with pytest.raises(ValueError, match="layer 'lif1' has other spikes than its layers in a row would have"):
        translated(quiet(1.5))


def test_a_layer_that_never_spikes_is_named_in_a_warning():
    never = row(neuron())
    with torch.no_grad():
        never[2].weight.zero_()
        never[2].bias.fill_(-1.0)
    with pytest.warns(UserWarning, match=r"no random input makes layer '3' spike, so its spikes could not be compared"):
        assert translated(nr.from_snntorch(never, DT)).names == ["1", "3"]


def test_what_is_trained_in_snntorch_is_trained_here():
    net = row(neuron(learn_beta=True), learn_threshold=True)
    net[0].bias.requires_grad_(False)
    trained = {name for name, value in translated(nr.from_snntorch(net, DT)).named_parameters() if value.requires_grad}
    assert trained == {"1.tau_mem", "1.input.weight", "3.v_threshold", "3.input.weight", "3.input.bias"}


def test_cores_and_absent_synapses_of_a_placed_network_are_kept():
    net = row(neuron())
    with torch.no_grad():
        net[0].weight[:, 0] = 0
    model = nr.from_snntorch(net, DT)
    assert bool(translated(model).layers()["1"].input.mask.all())
    model.place({"1": torch.arange(8) % 4, "3": 3})
    layer = translated(model).layers()["1"]
    assert layer.core.tolist() == [0, 1, 2, 3] * 2
    assert layer.input.mask.sum(0).tolist() == [0] + [8] * (N_IN - 1)


def test_every_part_without_a_counterpart_is_named():
    net = row(
        neuron(snn.RLeaky, linear_features=8, reset_mechanism="zero"),
        nn.Linear(8, 8),
        nn.ReLU(),
        graded_spikes_factor=2.0,
    )
    model = nr.from_snntorch(net, DT, decode=lambda output: output[0].sum(0))
    with pytest.raises(ValueError, match="no counterpart") as caught:
        translated(model)
    told = str(caught.value)
    for words in (
        "decode: <lambda>",
        "'1' (RLeaky): 'zero' drops",
        "'3' (ReLU): expected Linear",
        "'4' (Linear): a second",
    ):
        assert words in told
    assert "'5' (Leaky): graded spikes" in told


def conv(*parts: nn.Module, padding: object = 0, n: int) -> nr.interop.SnnTorchNetwork:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=padding), *parts, nn.Flatten(), nn.Linear(n, 2), neuron(output=True))
    sample = torch.zeros(2, 3, 1, 8, 8)
    norms = {"normalisation": "digital"} if any(isinstance(part, nn.BatchNorm2d) for part in parts) else None
    return nr.from_snntorch(net, DT, sample=sample, decode=decode.spike_count, kinds=norms)


@pytest.mark.parametrize(
    ("parts", "n", "words"),
    [
        ((nn.MaxPool2d(2), neuron()), 18, r"'1' \(MaxPool2d\): .* Use a stride of the convolution, or AvgPool2d"),
        ((nn.BatchNorm2d(2), neuron()), 72, r"'1' \(BatchNorm2d\): .* Fold it into the layer .*fuse_conv_bn_eval"),
        ((nn.ReLU(), neuron()), 72, r"'1' \(ReLU\): .* Leave it out"),
        ((neuron(snn.Alpha, alpha=0.9, beta=0.8),), 72, r"'1' \(Alpha\): its equations have no counterpart"),
    ],
    ids=["max pooling", "norm", "relu", "neuron"],
)
def test_a_part_without_a_counterpart_is_the_only_reason(parts, n, words):
    """What follows from it, as a shape that does not fit, is no reason of its own; the message says what to do."""
    with pytest.raises(ValueError, match=words) as caught:
        translated(conv(*parts, n=n))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(("padding", "n"), [("same", 128), ("valid", 72)])
def test_padding_by_name_is_translated(padding, n):
    model = conv(neuron(), padding=padding, n=n)
    x = 2 * torch.rand(3, 40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = model(x)[0]
    assert logits.sum() > 0 and torch.equal(translated(model)(x.flatten(2))[0], logits)


def test_pooling_between_layers_on_a_chip_is_refused_by_its_name():
    first, draw = nn.Conv2d(1, 1, 3, bias=False), torch.Generator().manual_seed(0)
    layers = {
        "one": Lif(nr.nn.Conv2d(first.weight, (1, 6, 6)), tau_mem=0.01, v_threshold=0.1),
        "two": Lif(
            nr.nn.Chain(nr.nn.AvgPool2d((1, 4, 4), 2), Linear.random(4, 2, generator=draw)),
            tau_mem=0.01,
            v_threshold=0.1,
        ),
    }
    with pytest.raises(nr.deploy.DeploymentError, match=r"pooling before its weights, .* a stride for pooling"):
        nr.deploy.onto(Network(layers, DT), DYNAPSE2)


def test_other_refusals_of_a_translation():
    with pytest.warns(UserWarning, match="Inhibition is an unstable feature"):
        inhibiting = row(neuron(inhibition=True))
    for net, words in (
        (inhibiting, "inhibition or state_quant"),
        (row(neuron(snn.Alpha, alpha=0.9, beta=0.8)), r"'1' \(Alpha\): its equations have no counterpart"),
    ):
        with pytest.raises(ValueError, match=words):
            translated(nr.from_snntorch(net, DT))
    sample = torch.zeros(2, 5, N_IN)
    image = nr.from_snntorch(row(neuron()), DT, prepare=lambda x: x.transpose(0, 1), sample=sample)
    with pytest.raises(ValueError, match="its prepare is a function of its own"):
        translated(image)


def test_an_snntorch_network_is_adapted_and_its_original_stays():
    net = row(neuron(), reset_mechanism="none")
    model = nr.from_snntorch(net, DT, decode=decode.mean_membrane)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = adapt(model, DYNAPSE2, TASK, loss=TASK.loss, epochs=5, **BRIEF)
    assert found.scores["after"] > 0.9 and "8 biases of input removed" in str(found)
    assert found.equations.verdict.startswith("the chip's") and not found.violations
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert nr.deploy.onto(found.network, DYNAPSE2).report.host == ("3 (2)",)


def test_an_snntorch_network_is_deployed_with_its_own_equations_and_the_report_says_so():
    net = row(neuron(), reset_mechanism="none")
    net[0].bias = None
    model = nr.from_snntorch(net, DT, decode=decode.mean_membrane)
    deployment = nr.deploy.onto(model, DYNAPSE2, TASK.test)
    assert "not the chip's (linear membrane, no floor, subtractive reset" in deployment.report.equations
    before, _ = deployment.report.scores
    with torch.no_grad():
        assert before == pytest.approx(nr.evaluation.balanced_accuracy(model(TASK.test.x)[0], TASK.test.y))


def test_a_layer_on_the_host_keeps_its_equations():
    second = Lif(Linear(torch.ones(4, 8)), core=torch.full((4,), nr.HOST), tau_mem=0.01, v_threshold=0.5)
    layers = {"hidden": lif(), "host": second, "readout": LeakyIntegrator(Linear(torch.ones(2, 4)), tau_mem=0.02)}
    found = adapt(Network(layers, DT), DYNAPSE2, TASK, epochs=0).network.layers()
    assert [type(found[name]) for name in layers] == [LinearizedDpi, Lif, LeakyIntegrator]


def test_a_filtered_synapse_stays_one():
    cuba = CubaLif(Linear(torch.ones(8, N_IN)), tau_syn=0.004, tau_mem=0.01, v_threshold=0.05)
    layer = adapt(own(cuba), DYNAPSE2, TASK, epochs=0).network.layers()["hidden"]
    assert float(layer.exc.tau_syn) == pytest.approx(0.004)


def test_images_are_flattened():
    """A task whose samples have a shape is taken as flat samples."""
    shaped = [Data(each.x.unflatten(2, (2, 3)), each.y) for each in (TASK.train, TASK.validation, TASK.test)]
    task = replace(TASK, train=shaped[0], validation=shaped[1], test=shaped[2])
    found, plain = (adapt(own(), DYNAPSE2, each, epochs=0) for each in (task, TASK))
    assert found.scores == plain.scores and plain.task is TASK
    assert torch.equal(found.task.test.x, TASK.test.x)
    assert nr.evaluate(found.network, found.task.test, DYNAPSE2, n_dies=1).score.shape == (1,)


def test_samples_with_several_dimensions_are_refused_with_the_way_out():
    """Boards, estimates and judgements take flat samples; each message says how to make them."""
    shaped, deployment = TASK.test.x.unflatten(2, (2, 3)), nr.deploy.onto(own(), DYNAPSE2)
    way = r"latten the inputs: x\.flatten\(2\)\."
    with pytest.raises(ValueError, match=way):
        nr.deploy.estimate(deployment, shaped)
    with pytest.raises(ValueError, match=way):
        nr.deploy.judge(deployment, Data(shaped, TASK.test.y), serials=range(2))
    with pytest.raises(ValueError, match=r"Flatten its channels: x\.flatten\(1\)\."):
        nr.deploy.Events.of_steps(shaped[0], DT)
    with pytest.raises(ValueError, match=r"recordings\.$"):  # flattening would not help
        nr.deploy.estimate(deployment, shaped[..., :2])


def test_an_snntorch_convolution_on_dies_is_refused_with_the_way_out():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), neuron(), nn.Flatten(), nn.Linear(8, 2), neuron(output=True))
    model = nr.from_snntorch(net, DT, sample=torch.zeros(2, 3, 1, 4, 4), decode=decode.spike_count)
    model.place({"1": 0, "4": nr.HOST})
    data = Data(
        (torch.rand(4, 9, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float(), torch.arange(4) % 2
    )
    with pytest.raises(
        ValueError, match=r"unrolled in an snnTorch network\. nr\.deploy\.adapt.*nr\.deploy\.translated"
    ):
        nr.evaluate(model, data, DYNAPSE2, n_dies=1)
    flat = Data(data.x.flatten(2), data.y)
    assert len(nr.evaluate(translated(model), flat, DYNAPSE2, n_dies=2).score) == 2


def test_samples_without_steps_are_refused():
    """One sentence that says what a chip takes, and no IndexError."""
    task = nr.data.Task("flat", ("a", "b"), *[nr.data.Data(torch.rand(6, 3), torch.arange(6) % 2)] * 3, loss=None)
    with pytest.raises(ValueError, match=r"data: got samples of shape \(6, 3\); expected \(samples, steps, …\)"):
        nr.deploy.adapt(nr.zoo.load("ecg/standard")[0], chipmodels.load("dynapse2"), task, epochs=0)
