"""The plain call, nr.from_snntorch(net, dt, sample=x): the way in and the decoder are found, said once, or refused."""

from __future__ import annotations

import copy
import re
import warnings

import pytest
import snntorch as snn
import torch
from conftest import draw
from plain_networks import (
    AllFire,
    BatchFirst,
    Both,
    Convolution,
    Counted,
    Counts,
    Dictionary,
    Empty,
    FixedView,
    FixedZeros,
    FlatPicture,
    Forgets,
    FromZero,
    Hidden,
    HiddenFirst,
    Hiddens,
    InAList,
    LastStep,
    Lists,
    LowPass,
    Masked,
    MembraneFirst,
    Membranes,
    Named,
    Nested,
    Net,
    Optional,
    OutBatchFirst,
    OutTimeLast,
    OwnRecurrence,
    Picture,
    ReadOut,
    Recurrent,
    Resets,
    SpikeList,
    StepsLast,
    Swapped,
    Together,
    WithState,
    handed,
    row,
    stepped,
    swapped_by_hand,
    x_of,
)
from test_snntorch import DT, SLOPES, InFloat64
from torch import nn

import neurorobust as nr
from neurorobust.data import Data, Task
from neurorobust.interop import decode


@pytest.fixture(autouse=True)
def _only_neurons_of_this_test(monkeypatch):
    """snnTorch's ``utils.reset`` resets every neuron of the process, and fails on some that other tests made."""
    monkeypatch.setattr(snn.SpikingNeuron, "instances", [])


SEQUENCE, PICTURE = x_of(5, 12, 3), x_of(5, 3)
COUNT, FLAT = (lambda net, x: net(x).sum(0)), x_of(5, 1, 1, 3)
EARLY = "takes samples first, or repeats a picture"
SUMMED = "the spikes of 'lif2' are summed over time (spike_count)"
PLAIN = {  # network, sample, what is said, the logits as its user computes them
    "time first": (Net, SEQUENCE, (SUMMED,), lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "RLeaky": (lambda: Net(cls=snn.RLeaky), SEQUENCE, (SUMMED,), lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "Lapicque": (lambda: Net(cls=snn.Lapicque), SEQUENCE, (SUMMED,), lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "Alpha": (lambda: Net(cls=snn.Alpha, alpha=0.9), SEQUENCE, (SUMMED,), lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "Synaptic": (lambda: Net(cls=snn.Synaptic, alpha=0.7), SEQUENCE, (SUMMED,),
                 lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "as many samples as steps": (Net, x_of(5, 5, 3), (SUMMED,), lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "one sample": (Net, x_of(1, 12, 3), (SUMMED,), lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "both": (Both, SEQUENCE, ("the spikes of 'lif2', output 0 of 2, are summed",),
             lambda net, x: net(x.transpose(0, 1))[0].sum(0)),
    "both, no reset": (lambda: Both(last="none"), SEQUENCE, ("the membranes of 'lif2', output 1 of 2, are averaged",),
                       lambda net, x: net(x.transpose(0, 1))[1].mean(0)),
    "lists": (lambda: Lists(last="none"), SEQUENCE, ("membranes of 'lif2'",),
              lambda net, x: torch.stack(net(x.transpose(0, 1))[1]).mean(0)),
    "list": (SpikeList, SEQUENCE, (SUMMED,), lambda net, x: sum(net(x.transpose(0, 1)))),
    "membranes": (Membranes, SEQUENCE, ("the membranes of 'lif2' are summed",),
                  lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "membranes, no reset": (lambda: Membranes(last="none"), SEQUENCE, ("the membranes of 'lif2' are averaged",),
                            lambda net, x: net(x.transpose(0, 1)).mean(0)),
    "membranes first": (MembraneFirst, SEQUENCE, ("the spikes of 'lif2', output 1 of 2, are summed",),
                        lambda net, x: net(x.transpose(0, 1))[1].sum(0)),
    "counts": (Counts, SEQUENCE, (), lambda net, x: net(x.transpose(0, 1))),
    "out batch first": (OutBatchFirst, SEQUENCE, ("axis 1 of it is time",),
                        lambda net, x: net(x.transpose(0, 1)).sum(1)),
    "out batch first, as many": (OutBatchFirst, x_of(5, 5, 3), ("axis 1 of it is time",),
                                 lambda net, x: net(x.transpose(0, 1)).sum(1)),
    "out time last": (OutTimeLast, SEQUENCE, ("axis -1 of it is time",),
                      lambda net, x: net(x.transpose(0, 1)).sum(-1)),
    "batch first": (BatchFirst, SEQUENCE, (EARLY, SUMMED), COUNT),
    "batch first, as many": (BatchFirst, x_of(5, 5, 3), (EARLY, SUMMED), COUNT),
    "batch first, one sample": (BatchFirst, x_of(1, 12, 3), (EARLY, SUMMED), COUNT),
    "picture": (Picture, PICTURE, (EARLY, SUMMED), COUNT),
    "square picture": (Picture, x_of(3, 3), (EARLY, SUMMED), COUNT),
    "picture flattened inside": (FlatPicture, FLAT, (EARLY, SUMMED), COUNT),
    "picture to be flattened": (Picture, x_of(5, 1, 3, 1), ("takes flat samples", SUMMED),
                                lambda net, x: COUNT(net, x.flatten(1))),
    "convolution": (Convolution, x_of(5, 1, 6, 6), (EARLY, SUMMED), COUNT),
    "one convolved picture": (Convolution, x_of(1, 1, 6, 6), (EARLY, SUMMED), COUNT),
    "frames to be flattened": (Net, x_of(5, 12, 1, 3, 1), ("takes flat samples", SUMMED),
                               lambda net, x: net(x.transpose(0, 1).flatten(2)).sum(0)),
    "one step": (Hidden, SEQUENCE, ("one call of Hidden computes one step", "the spikes of 'lif2'"),
                 lambda net, x: stepped(net, x)[0].sum(0)),
    "one step, as many": (Hidden, x_of(5, 5, 3), ("one call of Hidden computes one step", "the spikes of 'lif2'"),
                          lambda net, x: stepped(net, x)[0].sum(0)),
    "row": (lambda: row(output=True), SEQUENCE, ("the spikes of '4'",), lambda net, x: stepped(net, x)[0].sum(0)),
    "row, no reset": (lambda: row("none", output=True), SEQUENCE, ("membranes of '4'",),
                      lambda net, x: stepped(net, x)[1].mean(0)),
    "a dictionary": (Dictionary, SEQUENCE, ("the spikes of 'lif2', output 1 of 2, are summed",),
                     lambda net, x: net(x.transpose(0, 1))["spikes"].sum(0)),
    "read-out beside records": (ReadOut, SEQUENCE, ("every step, output 0 of 2, are summed", "lif2 never ran"),
                                lambda net, x: net(x.transpose(0, 1))[0].sum(0)),
    "the last step beside a record": (LastStep, SEQUENCE, ("the spikes of 'lif2', output 2 of 4, are summed",),
                                      lambda net, x: net(x.transpose(0, 1))[2].sum(0)),
    "hidden layers before the last": (Hiddens, SEQUENCE, ("the spikes of 'lif2', output 2 of 3, are summed",),
                                      lambda net, x: net(x.transpose(0, 1))[2].sum(0)),
    "a number of steps": (Counted, SEQUENCE, ("needs n beside its input; it is given the number of steps, 12", SUMMED),
                          lambda net, x: net(x.transpose(0, 1), 12).sum(0)),
    "state": (WithState, SEQUENCE, ("takes mem, so it is called for each of the 12 steps", "the spikes of 'lif'"),
              lambda net, x: handed(net, x, torch.zeros(1))),
    "optional states": (Optional, SEQUENCE, ("takes mem1, mem2, so it is", "the spikes of 'lif2', output 0 of 3,"),
                        lambda net, x: handed(net, x, None, None)),
    "states in one argument": (Nested, SEQUENCE,
                               ("takes state, so it is called", "the spikes of 'lif2', output 0 of 2,"),
                               lambda net, x: handed(net, x, None)),
    "states of a recurrent layer": (Recurrent, SEQUENCE, ("takes spk, mem, unused, so", "spikes of 'lif', output 1"),
                                    lambda net, x: handed(net, x, torch.zeros(1), torch.zeros(1), None, part=1)),
    "a module that resets itself": (Resets, x_of(5, 12, 2, 3), (EARLY,), lambda net, x: net(x)),
    "states that rest together": (Together, SEQUENCE, ("takes mem, spk, so it is", "every step, output 0 of 3"),
                                  lambda net, x: handed(net, x, None, None)),
    "equal states in another order": (Swapped, SEQUENCE, ("takes .*, so it is called", "the spikes of 'lif'"),
                                      swapped_by_hand),
    "a mask and a switch": (Masked, SEQUENCE, ("takes mem, .* Left at their defaults: mask, double", "spikes of 'lif'"),
                            lambda net, x: handed(net, x, None)),
    "a named read-out": (Named, SEQUENCE, (r"output 2 of the network, \(5, 2\), is taken as logits",),
                         lambda net, x: net(x.transpose(0, 1))["logits"]),
    "fixed view": (FixedView, SEQUENCE, (SUMMED,), lambda net, x: net(x.transpose(0, 1)).sum(0)),
    "fixed zeros": (FixedZeros, SEQUENCE, (SUMMED,), lambda net, x: net(x.transpose(0, 1)).sum(0)),
}  # fmt: skip


def plainly(net, x, said=(), **options):
    """The plain call; exactly these warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = nr.from_snntorch(net, DT, sample=x, **options)
    texts = [str(one.message) for one in caught]
    assert len(texts) == len(said) and all(re.search(part, text) or part in text for part, text in zip(said, texts)), (
        texts
    )
    return model


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_call(name):
    """The user's own logits, bit for bit, and the user's gradients; what was found is said once."""
    make, x, said, expected = PLAIN[name]
    net = make()
    model = plainly(net, x, said)
    params = dict(model.named_parameters())
    for lif in net.modules():
        if isinstance(lif, snn.SpikingNeuron):
            lif.spike_grad = lambda u: InFloat64.apply(u, SLOPES["default"])
    found, wanted = nr.run(model, params, x), expected(net, x)
    assert torch.equal(found, wanted) and bool((found != 0).any())
    weight = draw(2, *found.shape)
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    for own, value in net.named_parameters():
        torch.testing.assert_close(params[own].grad, value.grad, rtol=1e-9, atol=1e-12)
    if len(x) > 1:
        dies = nr.evaluate(model, Data(x, torch.arange(len(x)) % 2), nr.mismatch(0.3), n_dies=2, seed=0)
        assert len(dies.score) == 2


@pytest.mark.parametrize("cls", [FixedView, FixedZeros])
@pytest.mark.parametrize("n", [1, 3, 5, 13])
def test_a_fixed_batch_size_runs_on_any_number_of_samples(cls, n):
    """In batches of that size: the logits and spikes of a network without that limit, and its gradients."""
    model, free = (plainly(make(), SEQUENCE, (SUMMED,)) for make in (cls, Net))
    x = x_of(n, 12, 3)
    (ours, spikes), (theirs, expected) = (nr.run(m, dict(m.named_parameters()), x, record=True) for m in (model, free))
    assert torch.equal(ours, theirs)
    assert all(torch.equal(spikes[name], expected[name]) for name in expected)
    for logits in (ours, theirs):
        logits.square().sum().backward()
    for (name, a), (_, b) in zip(model.named_parameters(), free.named_parameters()):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12, msg=name)


class TwoSilent(Net):
    """Gives the spikes of two layers of one size, which are silent on the sample."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 2).double(), nn.Linear(2, 2).double()

    def forward(self, x):
        mem, first, spikes = [self.lif1.reset_mem(), self.lif2.reset_mem()], [], []
        for step in x:
            z, mem[0] = self.lif1(self.fc1(0 * step) - 9, mem[0])
            y, mem[1] = self.lif2(self.fc2(z) - 9, mem[1])
            first.append(z), spikes.append(y)
        return torch.stack(first), torch.stack(spikes)


class Ambiguous(Net):
    """Takes either order, and gives different outputs: its batch size is fixed, and is the number of steps."""

    def steps(self, x):
        return (self.fc1(step.reshape(5, 3)) for step in x.reshape(5, 5, 3))


class PictureOf(Net):
    """Repeats a picture; its caller says how often."""

    def forward(self, x, n):
        return super().forward(x.expand(n, *x.shape))


class Chooses(Net):
    """Needs a number that is not that of steps."""

    def forward(self, x, task):
        return super().forward(x if task == 1 else 2 * x)


class EmptyState(WithState):
    """Takes its state from an empty tuple, and does not give it back."""

    def forward(self, x, state=()):
        return self.lif(self.fc(x), state[0] if state else self.lif.reset_mem())[0]


class OneNumber(Net):
    def forward(self, x):
        return super().forward(x).mean(0)[:, 0]


REFUSED = {
    "two silent layers": (TwoSilent, SEQUENCE, "outputs 0 and 1 of the network both look like the spikes of 'lif2'"),
    "ambiguous": (Ambiguous, x_of(5, 5, 3), "runs with prepare=.*x.transpose.* and with prepare=lambda x: x, and"),
    "a state that is not given back": (Forgets, SEQUENCE, r"Forgets needs mem .* prepare=lambda x: \(x, …\)"),
    "steps of a picture": (PictureOf, PICTURE, r"needs n beside its input. Pass prepare=lambda x: \(x, …\)"),
    "another number": (Chooses, SEQUENCE, r"needs task beside its input. Pass prepare=lambda x: \(x, …\)"),
    "a state that is lost": (EmptyState, SEQUENCE, "one call of EmptyState .* takes state too: write a module"),
    "a state of no neuron": (LowPass, SEQUENCE, "its forward takes mem, out too: .* not all states could be found"),
    "a recurrence of its own": (OwnRecurrence, SEQUENCE, "its forward takes mem, spk too: .* not all states"),
    "a state with a number as default": (FromZero, SEQUENCE, "its forward takes out too: .* not all states"),
    "a needed state of no neuron": (Empty, SEQUENCE, "forward of Empty needs mem, trace beside its input"),
    "a read-out after a record": (HiddenFirst, SEQUENCE, r"of 'lif1', and output 1, \(5, 2\), may be a read-out"),
    "two layers alike": (AllFire, SEQUENCE, "outputs 0 and 1 of the network both look like the spikes of 'lif2'"),
    "as many steps as classes": (StepsLast, x_of(5, 2, 3), r"\(5, 2, 2\), may have its time on axis 1 or axis -1"),
    "a neuron in a list": (InAList, SEQUENCE, "layers holds a Leaky in a plain list"),
    "one number per sample": (OneNumber, SEQUENCE, r"gives \(5,\) .* the logit of the second against 0: pass decode="),
    "one step, a picture": (Hidden, PICTURE, "one call of Hidden .* pass prepare=lambda x: x.expand"),
    "row, a picture": (row, x_of(5, 1, 1, 3), "prepare=lambda x: x.expand"),
    "no way": (Net, x_of(5, 12, 4), r"raised RuntimeError .* It was given shape \(12, 5, 4\), .* fixed batch size"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_no_silent_guess(name):
    make, x, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        plainly(make(), x)


def test_a_picture_for_every_step():
    """What the refusal names works: a row, and a module that computes one step a call."""
    repeat = {"prepare": lambda x: x.expand(25, *x.shape), "decode": decode.spike_count}
    for net, x, said in ((row(output=True), x_of(5, 1, 1, 3), ()), (Hidden(), PICTURE, ("one call of Hidden",))):
        model = plainly(net, x, said, **repeat)
        steps = x.expand(25, *x.shape).transpose(0, 1)
        assert torch.equal(nr.run(model, nr.nominal(model), x), stepped(net, steps)[0].sum(0))


def test_a_row_without_a_sample_and_without_biases():
    """All of its outputs are 0 on the zeros it is measured with; spikes come first, membranes last."""
    for last, function in (("subtract", decode.spike_count), ("none", decode.mean_membrane)):
        net = nn.Sequential(
            nn.Linear(3, 2, bias=False), snn.Leaky(beta=0.8, init_hidden=True, output=True, reset_mechanism=last)
        )
        with pytest.warns(UserWarning, match="decode: the"):
            assert nr.from_snntorch(net, DT).decode is function


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_a_decay_without_a_time_constant_stays_exact(beta):
    """A neuron without memory, or without a leak: said, and the user's own spikes."""
    net = Net(beta=beta, threshold=0.5)
    model = plainly(net, SEQUENCE, ("lif1.beta of 0, or of 1 and more: there is no time constant", SUMMED))
    assert "lif1.tau_mem" not in nr.nominal(model)
    assert torch.equal(nr.run(model, nr.nominal(model), SEQUENCE), net(SEQUENCE.transpose(0, 1)).sum(0))


class Appends(Net):
    """Adds to a record that it never empties."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def forward(self, x):
        self.kept.append(super().forward(x))
        return self.kept[-1]


def test_a_record_that_only_grows_does_not_grow_here():
    model = plainly(Appends(), SEQUENCE, (SUMMED,))
    for _ in range(5):
        nr.run(model, dict(model.named_parameters()), SEQUENCE)
    assert len(model.get_submodule("_unrolled.net").kept) == 0


class Lstm(nn.Module):
    def __init__(self, pool=0):
        super().__init__()
        torch.manual_seed(0)
        self.lstm = snn.SConv2dLSTM(1, 2, 3, threshold=0.01, max_pool=pool, reset_mechanism="subtract")
        self.out = nn.Linear(2 * (6 // (pool or 1)) ** 2, 2)

    def forward(self, x):
        syn, mem = self.lstm.reset_mem()
        spikes = []
        for step in x:
            z, syn, mem = self.lstm(step, syn, mem)
            spikes.append(self.out(z.flatten(1)))
        return torch.stack(spikes)


class Slstm(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.out = snn.SLSTM(3, 3, threshold=0.01), nn.Linear(3, 2)

    def forward(self, x):
        syn, mem = self.lstm.reset_mem()
        spikes = []
        for step in x:
            z, syn, mem = self.lstm(step, syn, mem)
            spikes.append(self.out(z))
        return torch.stack(spikes)


@pytest.mark.parametrize(
    ("make", "shape", "said"),
    [
        (Slstm, (5, 12, 3), ()),
        (Lstm, (5, 12, 1, 6, 6), ()),
        (lambda: Lstm(2), (5, 12, 1, 6, 6), ("the threshold of SConv2dLSTM 'lstm' stays exact",)),
    ],
    ids=["SLSTM", "SConv2dLSTM", "pooled"],
)
def test_spiking_lstms(make, shape, said):
    """Their weights are those of torch's layers inside; a threshold deviates on each neuron."""
    net, x = make(), x_of(*shape).float()
    model = plainly(net, x, (*said, "the outputs of every step are summed"))
    assert torch.equal(nr.run(model, nr.nominal(model), x), net(x.transpose(0, 1)).sum(0))
    changed = {name: 1.1 * value for name, value in nr.nominal(model).items()}
    found = nr.run(model, changed, x)
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(1.1)
        if not said:
            net.lstm.threshold.mul_(1.1)
    assert torch.equal(found, net(x.transpose(0, 1)).sum(0)) and ("lstm.v_threshold" in changed) == (not said)


def test_the_print_fits_a_screen():
    """Layers with type, number and constants, the decoder, the way in; 40 layers too."""
    text = repr(plainly(BatchFirst(), SEQUENCE, (EARLY, SUMMED)))
    for part in ("SnnTorchNetwork of BatchFirst", "dt 1 ms", "as_it_is", "decode spike_count", "lif2", "Leaky",
                 "tau_mem 4.481 ms", "v_threshold 0.3", "fc1.weight 6×3", "reset subtract"):  # fmt: skip
        assert part in text, text
    deep = [part for _ in range(40) for part in (nn.Linear(3, 3), snn.Leaky(beta=0.8, init_hidden=True))]
    lines = repr(nr.from_snntorch(nn.Sequential(*deep), DT)).splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100 and any("27 more" in line for line in lines)


def test_a_loss_in_every_step_needs_labels_in_every_step():
    model = plainly(Net(), SEQUENCE, decode=decode.every_step)
    y = torch.arange(5) % 2
    with pytest.raises(ValueError, match=r"give a label for every step, y\[:, None\].expand\(-1, 12\)"):
        nr.evaluate(model, Data(SEQUENCE, y), nr.mismatch(0.1), n_dies=2)
    assert len(nr.evaluate(model, Data(SEQUENCE, y[:, None].expand(-1, 12)), nr.mismatch(0.1), n_dies=2).score) == 2


def test_population_code():
    """As snntorch.functional sums it: neurons 0 … k − 1 are class 0."""
    spikes = (draw(0, 7, 3, 6) > 0).double()
    expected = torch.stack([spikes[:, :, 2 * c : 2 * c + 2].sum((0, 2)) for c in range(3)], 1)
    assert torch.equal(decode.Population(3)(spikes), expected)
    with pytest.raises(ValueError, match=r"6 output neurons; expected a multiple of n_classes \(=4\)"):
        decode.Population(4)(spikes)


def test_membranes_of_a_network_that_gives_none():
    with pytest.raises(ValueError, match=r"gives spikes alone; .* output=True"):
        plainly(Net(), SEQUENCE, decode=decode.mean_membrane)


def test_arguments_of_forward_come_from_prepare():
    """The way out that the refusal names: a tuple of all arguments."""
    net = PictureOf()
    model = plainly(net, PICTURE, prepare=lambda x: (x, 9), decode=decode.spike_count)
    assert torch.equal(nr.run(model, nr.nominal(model), PICTURE), net(PICTURE, 9).sum(0))


class Tokens(Net):
    """Numbers of words, through an embedding."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 3).double()

    def steps(self, x):
        return (self.fc1(self.words(step)) for step in x)


def test_tokens():
    net, x = Tokens(), torch.arange(35).reshape(5, 7) % 9
    model = plainly(net, x, (SUMMED,))
    assert torch.equal(nr.run(model, nr.nominal(model), x), net(x.T).sum(0))
    assert "words.weight" in nr.nominal(model)
    result = nr.worst_case(model, Data(x, torch.arange(5) % 2), nr.Ball.uniform(0.1), nr.attacks.PGA(steps=2), seed=0)
    assert 0 <= result.balanced_accuracy <= 1
    net.words = nn.Embedding(9, 3, max_norm=1.0).double()
    with pytest.raises(ValueError, match="words has max_norm"):
        plainly(net, x)


def test_states_in_one_batch_of_dies():
    """Each die keeps its own states: those of the user's loop with that die's numbers."""
    net = Optional()
    model = plainly(net, SEQUENCE, decode=decode.spike_count, said=("takes mem1, mem2",))
    params = {
        name: value * (1 + 0.1 * draw(k, *value.shape)) for k, (name, value) in enumerate(nr.nominal(model).items())
    }
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(params[name])
    nr.to_snntorch(model)
    assert torch.equal(nr.run(model, nr.nominal(model), SEQUENCE), handed(net, SEQUENCE, None, None))


def test_norms_stay_exact():
    """Said once, unless the user says it; only the other numbers deviate."""
    layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), snn.Leaky(beta=0.9, init_hidden=True)]
    layers += [nn.Linear(6, 2), nn.LayerNorm(2), snn.Leaky(beta=0.9, init_hidden=True, output=True)]
    net = nn.Sequential(*layers).eval()
    with pytest.warns(UserWarning, match=r"1.weight, 1.bias, 4.weight, 4.bias belong to norms, .* computed exactly"):
        silent = nr.from_snntorch(net, dt=1e-3)
    model = plainly(net, None, kinds={"normalisation": "digital"}, decode=decode.spike_count)
    for each in (silent, model):
        deviating = {name for name in nr.nominal(each) if not name.endswith(".digital")}
        assert {"0.weight", "3.weight"} < deviating and not any(name.startswith(("1.", "4.")) for name in deviating)


class Parallel(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lif, self.out = snn.LeakyParallel(3, 6, beta=0.9, learn_beta=True), nn.Linear(6, 2)

    def forward(self, x):
        return self.out(self.lif(3 * x.transpose(0, 1))).sum(0)


def test_a_learned_parallel_decay_names_the_way_out():
    """A copy without the hook has the same outputs, can be measured and trained, and stays diagonal."""
    with pytest.raises(ValueError, match=r"LeakyParallel with learn_beta=True: .* copy.deepcopy\(module\) has no hook"):
        nr.wrap(Parallel())
    net, data = copy.deepcopy(Parallel()), Data(SEQUENCE.float(), torch.arange(5) % 2)
    matrix = net.lif.rnn.weight_hh_l0.requires_grad_(False)
    with pytest.warns(UserWarning, match=r"lif.beta, lif.threshold of snnTorch neurons stay exact"):
        model = nr.wrap(net)
    assert torch.equal(nr.run(model, nr.nominal(model), data.x), Parallel()(data.x))
    loss = nn.functional.cross_entropy
    nr.fit(model, Task("t", ("a", "b"), data, data, data, loss), loss, epochs=1, seed=0)
    assert torch.equal(matrix, torch.diag(matrix.diag()))
