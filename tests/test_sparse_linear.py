"""Connections that hold synapses only, against masked matrices of the same synapses."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from conftest import DT, double, draw
from engine import dies_of, events, same
from scipy import stats
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust import kernels
from neurorobust.core.noise import Noise
from neurorobust.core.pattern import Pattern
from neurorobust.kernels import choice as choice_of
from neurorobust.kernels import masks
from neurorobust.nn import Delayed, Linear, SparseLinear
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.neurons import AdaptiveLif, CubaLif, LeakyIntegrator, Lif, LinearizedDpi

N, N_IN = 40, 30
EXTRAS = {
    Lif: {},
    CubaLif: {"tau_syn": 0.004},
    AdaptiveLif: {"tau_adapt": 0.05, "adaptation": 0.3},
    LinearizedDpi: {"tau_syn_exc": 0.004, "tau_syn_inh": 0.006},
}
every_neuron = pytest.mark.parametrize("kind", EXTRAS)


def connection(seed, n_in, n, fan_in, bias=False):
    """A masked matrix in float64; every neuron has ``fan_in`` inputs but the first, which has none."""
    drawn = Linear.random(n_in, n, fan_in=fan_in, generator=torch.Generator().manual_seed(seed))
    mask = drawn.mask.clone()
    mask[0] = False
    return Linear(6 * drawn.weight.detach().double(), 0.1 * draw(seed, n) if bias else None, mask)


def network(kind=Lif, bias=False):
    """A sparse recurrent layer on two cores, with a bias where asked, and a sparse read-out on the host."""
    core = torch.arange(N) // 25
    hidden = kind(
        connection(1, N_IN, N, 3, bias),
        recurrent=connection(2, N, N, 4),
        core=core,
        tau_mem=0.02,
        v_threshold=0.1,
        **EXTRAS[kind],
    )
    readout = LeakyIntegrator(connection(3, N, 4, 5), tau_mem=0.02)
    return nr.Network({"hidden": hidden, "readout": readout}, DT)


def pair(kind=Lif, bias=False):
    """A masked network, and the same packed."""
    net = network(kind, bias)
    found = nr.nn.packed(net, share=0.2)
    assert {type(part) for layer in found.layers().values() for part in layer.connections().values()} == {SparseLinear}
    return net, found


def at_synapses(values, patterns):
    """Tensors of a masked network in the order of the packed one."""
    return {
        name: value.flatten(-2)[..., patterns[name].index] if name in patterns else value
        for name, value in values.items()
    }


@pytest.fixture
def lists(monkeypatch):
    """Small masked matrices go by lists, too."""
    monkeypatch.setattr(choice_of, "CACHED", 0)
    monkeypatch.setattr(choice_of, "SPARSE", 0.2)
    masks._known.clear()
    yield
    masks._known.clear()


X, Y = events(3, 0.2, 8, 20, N_IN), torch.arange(8) % 4


def gradients(net, loss):
    net.zero_grad()
    loss(net).backward()
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters()}


# ---- the same values


@every_neuron
@pytest.mark.parametrize("bias", [False, True])
def test_same_bits_as_a_masked_matrix_by_lists(lists, kind, bias):
    """Logits, gradients, a robust loss and a fleet, with the loops that a masked matrix has."""
    net, found = pair(kind, bias)
    patterns = found.placement().patterns
    assert torch.equal(net(X)[0], found(X)[0]) and net(X)[1]["hidden"].mean() > 0.01
    attack = nr.attacks.PGA(steps=2, init_std=1e-300, objective="ce")  # a random start has other numbers
    robust = nr.regularizers.Adversarial(functional.cross_entropy, attack, nr.Ball.uniform(0.1), 0.5)
    for loss in (
        lambda one: functional.cross_entropy(one(X)[0], Y),
        lambda one: robust(one, dict(one.named_parameters()), (X, Y), torch.Generator().manual_seed(0)),
    ):
        right = at_synapses(gradients(net, loss), patterns)
        for name, gradient in gradients(found, loss).items():
            assert torch.equal(gradient, right[name]), name
    dies = list(dies_of(net, 3))
    masked = {name: mask for name, mask in net.placement().masks.items()}
    dies = [{name: value * masked.get(name, 1) for name, value in die.items()} for die in dies]
    logits = [torch.stack(list(fleet_logits(net, dies, X)))]
    logits.append(torch.stack(list(fleet_logits(found, [at_synapses(die, patterns) for die in dies], X))))
    assert torch.equal(*logits) and logits[0].std(0).max() > 0
    alone = [nr.run(found, at_synapses(die, patterns), X) for die in dies]
    assert torch.equal(logits[1], torch.stack(alone))


@every_neuron
@pytest.mark.parametrize("kernel", ["reference", "compiled"])
def test_the_same_to_rounding_as_a_dense_product(kind, kernel):
    """Where the masked matrix is multiplied, and in plain torch: float64 to 1e-10, with the gradients."""
    net, found = pair(kind, bias=True)
    with kernels.using(kernel):
        same(found(X)[0], net(X)[0], 1e-10)
        loss = lambda one: (draw(5, 8, 4) * one(X)[0]).sum()  # noqa: E731
        right = at_synapses(gradients(net, loss), found.placement().patterns)
        for name, gradient in gradients(found, loss).items():
            same(gradient, right[name], 1e-10)


@pytest.mark.parametrize("kernel", ["reference", "compiled"])
def test_under_the_transforms_of_torch(kernel):
    """vmap over dies is the loop over them; grad under vmap; torch.compile gives the same logits."""
    _, found = pair()
    dies = list(dies_of(found, 3))
    stacked = {name: torch.stack([die[name] for die in dies]) for name in dies[0]}
    credit = draw(5, 8, 4)

    def logits(params):
        return torch.func.functional_call(found, params, (X,))[0]

    with kernels.using(kernel):
        together = torch.func.vmap(logits)(stacked)
        slopes = torch.func.vmap(torch.func.grad(lambda params: (credit * logits(params)).sum()))(stacked)
        for i, die in enumerate(dies):
            same(together[i], logits(die), 1e-12)
            alone = torch.func.grad(lambda params: (credit * logits(params)).sum())(die)
            for name, slope in alone.items():
                same(slopes[name][i], slope, 1e-10)


def test_compiled_by_torch(monkeypatch):
    """torch.compile, without a break, by the loops and in plain torch."""
    part = pair()[1].hidden.recurrent
    x = events(4, 0.3, 5, 3, N).double()
    right = part(x, DT).detach()
    for kernel in ("compiled", "reference"):
        monkeypatch.setenv("NEUROROBUST_KERNEL", kernel)
        torch.compiler.reset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of its tracing
            found = torch.compile(lambda x: part(x, DT), backend="aot_eager", fullgraph=True)(x)
        same(found, right, 1e-12)


# ---- the same dies

CHIPS = [nr.mismatch(0.2), nr.mismatch(0.1).with_host(exact=True), *chipmodels.models()]


every_chip = pytest.mark.parametrize(
    "chip",
    [chip if isinstance(chip, nr.chip.ChipModel) else chipmodels.load(chip) for chip in CHIPS],
    ids=lambda chip: chip.name,
)


def programmed(chip):
    """Both networks as a chip holds them, and the patterns."""
    nets = pair()
    if chip.limits.cores == 1:
        for one in nets:
            one.hidden.core.zero_()
            one.hidden.n_cores = 1
    return [chip.program(nr.nominal(one), one.placement()) for one in nets], nets[1].placement().patterns


@every_chip
def test_the_same_values(chip):
    """Codes, decoded values, reports, normals and tolerances of every chip model, synapse by synapse."""
    held, patterns = programmed(chip)
    for name in ("params", "codes"):
        right = at_synapses(getattr(held[0], name), patterns)
        for key, value in getattr(held[1], name).items():
            assert torch.equal(value, right[key]), key
    assert held[0].report == held[1].report
    normals = [chip.fabricate([3], seed=1)[0].draws(each) for each in held]
    for key, values in normals[1].items():
        for value, right in zip(values, normals[0][key], strict=True):
            assert torch.equal(value, at_synapses({key: right}, patterns)[key])
    corners = [chip.tolerances(each, 2.0) for each in held]
    for key, ends in corners[1].items():
        for value, right in zip(ends, corners[0][key]):
            same(value, at_synapses({key: right}, patterns)[key], 1e-12)


@every_chip
def test_the_same_dies(chip):
    """Deviations with and without defects: the same but for rounding, since torch's vectors round in another way than
    their rest."""
    held, patterns = programmed(chip)
    own = [nr.chip.DeadNeurons(0.1), nr.chip.BadSynapses(0.1), nr.chip.StuckDevices(0.1)]
    if chip.limits.neurons_per_core is not None:
        own.append(nr.chip.BadSynapses(nr.chip.defects.Clustered(0.2, 2.0)))
    for model in (chip, *(chip.with_defects(defect) for defect in own)):
        dies = [model.fabricate([3], seed=1)[0].deviations(each) for each in held]
        right = at_synapses(dies[0], patterns)
        assert dies[1].keys() == right.keys()
        for key, value in dies[1].items():
            same(value, right[key], 1e-12)


@pytest.mark.parametrize("total", [7, 16, 100, 2**20, 2**20 + 5, 2**20 + 16, 2**21 + 17])
def test_read_noise_without_the_matrix(total):
    """The reading of a synapse is that in the matrix, and the generator ends in the same state."""
    from neurorobust.chip.die import _fresh

    source = torch.randperm(total, generator=torch.Generator().manual_seed(1))[: total // 9 + 1].sort().values
    pattern = Pattern.between(source, torch.zeros_like(source), (1, total))
    keys = [torch.Generator().manual_seed(2) for _ in range(2)]
    right = torch.randn(1, total, generator=keys[0])
    assert torch.equal(_fresh(source, pattern, keys[1]), right[0, source])
    assert torch.equal(keys[0].get_state(), keys[1].get_state())


def test_dies_with_shared_components_and_of_delayed_inputs():
    """Components of the variance that a chip, a core or a neuron share, and a connection inside another one."""
    from neurorobust.chip.spatial import GaussianField, PerChip, PerCore, PerNeuron

    shares = (PerChip(0.1, "a"), PerCore(0.2, "b"), PerNeuron(0.2, "c"), GaussianField(0.3, "d", length=2.0))
    kinds = dict(nr.mismatch(0.2).kinds)
    kinds["weight"] = replace(kinds["weight"], shared=shares)
    chip = replace(nr.mismatch(0.2), kinds=kinds)
    net = network()
    net.hidden.input = Delayed(net.hidden.input, 2e-3)
    found = nr.nn.packed(net, share=0.2)
    patterns = found.placement().patterns
    assert "hidden.input.connection.weight" in patterns
    dies = [
        chip.fabricate([3], seed=1)[0].params(chip.program(nr.nominal(one), one.placement())) for one in (net, found)
    ]
    for key, right in at_synapses(dies[0], patterns).items():
        same(dies[1][key], right, 1e-12)
    same(nr.run(found, dies[1], X), nr.run(net, dies[0], X), 1e-10)


# ---- what is done with networks


@pytest.fixture(scope="module")
def data():
    return nr.data.Data(X, Y)


@every_neuron
def test_evaluations_and_attacks_are_equal(lists, kind, data):
    """A fleet, a worst case, a sensitivity with its tables, and the floor's fractions."""
    net, found = pair(kind)
    patterns = found.placement().patterns
    chip = nr.mismatch(0.3)
    scores = [nr.evaluate(one, data, chip, n_dies=5).score.tolist() for one in (net, found)]
    assert scores[0] == scores[1]
    attack = nr.attacks.PGA(steps=3, init_std=1e-300, objective="ce")
    worst = [nr.worst_case(one, data, nr.Ball.uniform(0.2), attack) for one in (net, found)]
    assert worst[0].score == worst[1].score
    right = at_synapses(worst[0].deviations, patterns)
    for key, value in worst[1].deviations.items():
        assert torch.equal(value, right[key]), key


def test_sensitivity_of_neurons_and_synapses(data):
    """Losses of neurons, and the places of the most fragile synapses."""
    tables = [nr.sensitivity(one, data, n_dies=2) for one in pair()]
    neurons = [table.neurons().sort_values(["layer", "neuron"], ignore_index=True) for table in tables]
    for column in ("own", "synapses"):
        torch.testing.assert_close(*(torch.tensor(each[column].tolist()) for each in neurons))
    tops = [table.top(20) for table in tables]
    assert tops[0][["parameter", "index"]].equals(tops[1][["parameter", "index"]])


def test_noise_reads_and_defects_of_a_run(data):
    """Noise in every step: membranes, lost spikes and read noise."""
    net, found = pair()
    noise = (nr.noise.Membrane(0.05), nr.noise.SpikeLoss(0.1), nr.noise.Read(0.1))
    chip = nr.mismatch(0.1).with_noise(*noise)
    scores = [nr.evaluate(one, data, chip, n_dies=3).score.tolist() for one in (net, found)]
    assert scores[0] == scores[1]
    sigma = 0.1 * found.hidden.recurrent.weight.detach().abs()
    drawn = Noise(read={"hidden.recurrent": (sigma, draw(1, 20, 8, N))})
    dense = Noise(read={"hidden.recurrent": (0.1 * net.hidden.recurrent.weight.detach().abs(), draw(1, 20, 8, N))})
    same(nr.run(found, nr.nominal(found), X, noise=drawn), nr.run(net, nr.nominal(net), X, noise=dense), 1e-10)


def test_training_is_equal(lists, data):
    """Two epochs of robust training: the same weights, bit for bit; the pattern does not change."""
    nets = pair()
    before = nets[1].hidden.recurrent.lists.clone()
    task = nr.data.Task("mine", tuple("abcd"), data, data, data, functional.cross_entropy)
    for one in nets:
        loss = nr.regularizers.FiringRate(functional.cross_entropy, "hidden")
        nr.fit(one, task, loss, epochs=2)
    right = at_synapses(nr.nominal(nets[0]), nets[1].placement().patterns)
    for name, value in nr.nominal(nets[1]).items():
        assert torch.equal(value, right[name]), name
    assert not torch.equal(nets[1].hidden.recurrent.weight, pair()[1].hidden.recurrent.weight)
    assert torch.equal(nets[1].hidden.recurrent.lists, before)


def test_dropped_inputs_are_equal():
    """DropConnect by neurons draws one number for each input, not for each synapse."""
    nets = pair()
    loss = nr.regularizers.Dropout(functional.cross_entropy, 0.3)
    values = [loss(one, dict(one.named_parameters()), (X, Y), torch.Generator().manual_seed(0)) for one in nets]
    same(values[1], values[0], 1e-10)


def test_stored_and_read_back(tmp_path):
    """All tensors come back, packed or not; state_dict, copies; lists of another network are refused."""
    _, found = pair(AdaptiveLif, bias=True)
    for name, packed in (("whole", False), ("bits", True)):
        again, _ = nr.load(nr.save(found, tmp_path / name, packed=packed))
        assert repr(again) == repr(found)
        for key, value in found.state_dict().items():
            assert torch.equal(again.state_dict()[key], value), key
    other = copy.deepcopy(found)
    other.load_state_dict(found.state_dict())
    assert torch.equal(other(X)[0], found(X)[0])
    damaged = found.state_dict()
    damaged["hidden.recurrent.lists"] = damaged["hidden.recurrent.lists"] + 1
    with pytest.raises(ValueError, match="lists: "):
        other.load_state_dict(damaged)
    assert torch.equal(other(X)[0], found(X)[0])  # compiled loops do not look at lists
    damaged["hidden.recurrent.lists"] = found.hidden.recurrent.lists.long()
    with pytest.raises(ValueError, match="lists: "):
        other.load_state_dict(damaged, assign=True)
    assert torch.equal(other(X)[0], found(X)[0])


def test_the_round_trip_is_exact():
    """packed and dense are inverse, with what is trained, modes and hooks; the network given does not change."""
    net = network(bias=True)
    net.hidden.recurrent.weight.requires_grad_(False)
    net.readout.eval()
    found = nr.nn.packed(net, share=0.2)
    assert not found.hidden.recurrent.weight.requires_grad and found.hidden.input.weight.requires_grad
    assert found.hidden.recurrent.training and not found.readout.input.training
    again = nr.nn.dense(found)
    assert type(net.hidden.input) is Linear and type(found.hidden.input) is SparseLinear
    assert again.state_dict().keys() == net.state_dict().keys()
    for key, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert type(nr.nn.packed(net).hidden.input) is SparseLinear  # 3 of 30
    assert type(nr.nn.packed(net, share=0.05).hidden.input) is Linear


def test_a_connection_in_two_places_stays_one():
    """Its weight is trained once, and has one name."""
    shared = Linear.random(N, N, fan_in=3, generator=torch.Generator().manual_seed(0))
    first = Lif(shared, recurrent=shared, tau_mem=0.02, v_threshold=0.1)
    net = nr.Network({"first": first, "second": Lif(shared, tau_mem=0.02, v_threshold=0.1)}, dt=DT)
    found = nr.nn.packed(net)
    assert type(found.first.input) is SparseLinear
    assert found.first.input is found.first.recurrent is found.second.input
    assert list(nr.nominal(found)) == list(nr.nominal(net)) == list(nr.nominal(nr.nn.dense(found)))


def test_deployed_exported_converted():
    """A deployment and NIR hold what the masked network gives; neurons with a floor keep the connection."""
    nets = pair()
    for one in nets:
        one.float()
        one.dt = 1e-3
    chip = chipmodels.load("dynapse2")
    floored = [nr.nn.with_floor(one, tau_syn=0.005) for one in nets]
    assert type(floored[1].hidden.recurrent) is SparseLinear
    x = X.float()
    same(nr.run(floored[1], nr.nominal(floored[1]), x), nr.run(floored[0], nr.nominal(floored[0]), x), 1e-5)
    deployed = [nr.deploy.onto(one, chip) for one in floored]
    for key, codes in deployed[0].programmed.codes.items():
        assert torch.equal(codes, deployed[1].programmed.codes[key])
    with pytest.raises(TypeError, match=r"SparseLinear has no bounds; take nr\.nn\.dense\(network\)"):
        nr.evaluation.certify(nets[1].double(), nr.data.Data(X, Y), nr.Ball.uniform(0.01))


# ---- construction


def test_random_connections_have_the_distribution_of_linear():
    """fan_in different inputs, each choice alike; weights uniform; a few inputs missing, or all there."""
    generator = torch.Generator().manual_seed(0)
    for fan_in in (1, 3, 6, 9):
        found = SparseLinear.random(9, 2000, fan_in=fan_in, generator=generator, bias=True)
        assert (found.pattern.fan_in() == fan_in).all()
        counts = torch.bincount(found.pattern.sources, minlength=9).double()
        spread = fan_in / 9 * (1 - fan_in / 9) * 9 / 8  # of the number of neurons that take one input
        if spread > 1e-9:
            assert stats.chi2.sf(float((counts - 2000 * fan_in / 9).square().sum()) / (2000 * spread * 8 / 9), 8) > 1e-3
        scaled = found.weight.detach() * fan_in**0.5
        assert stats.kstest(scaled.double().numpy(), "uniform", (-1, 2)).pvalue > 1e-3
        assert stats.kstest(found.bias.detach().double().numpy() * fan_in**0.5, "uniform", (-1, 2)).pvalue > 1e-3
    pairs = SparseLinear.random(5, 5000, fan_in=2, generator=generator).dense().mask.double()
    both = pairs.T @ pairs / 5000
    assert (both[~torch.eye(5, dtype=torch.bool)] - 0.1).abs().max() < 0.02  # 1 of 10 pairs


def test_synapses_in_any_order_and_no_matrix_where_there_are_none():
    """between() sorts; inputs without targets, neurons without inputs, no synapse at all."""
    source, target = torch.tensor([3, 0, 3, 1]), torch.tensor([1, 2, 0, 2])
    found = SparseLinear.between(source, target, double(1, 2, 3, 4), (3, 5), double(0, 0, 1))
    matrix = torch.zeros(3, 5, dtype=torch.float64)
    matrix[target, source] = double(1, 2, 3, 4)
    x = draw(0, 4, 2, 5)
    same(found(x, DT), x @ matrix.T + double(0, 0, 1), 1e-12)
    assert torch.equal(found.matrix(), matrix) and torch.equal(found.pattern.mask(), matrix != 0)
    none = SparseLinear.between(source[:0], target[:0], double(), (3, 5), double(0, 0, 1))
    assert torch.equal(none(x, DT), double(0, 0, 1).expand(4, 2, 3))


def test_what_is_no_list_of_synapses_is_refused():
    """Loops trust the lists, so a wrong number never gets to them."""
    good = SparseLinear.between(torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1]), double(1, 2, 3), (2, 2))
    lists, weight = good.lists, good.weight.detach()

    def changed(i, value):
        other = lists.clone()
        other[i] = value
        return other

    for call, message in [
        (lambda: SparseLinear(weight[:, None], lists, 2), r"weight: got shape \(3, 1\)"),
        (lambda: SparseLinear(weight, lists[:4], 2), "weight: got shape"),
        (lambda: SparseLinear(weight, lists.long(), 2), "lists: got shape .* of torch.int64"),
        (lambda: SparseLinear(weight, changed(0, 1), 2), "lists: got shape"),
        (lambda: SparseLinear(weight, changed(1, 4), 2), "begin behind"),
        (lambda: SparseLinear(weight, changed(3, 2), 2), "lists: targets from 0 to 2; expected 0 to 1"),
        (lambda: SparseLinear(weight, changed(3, -1), 2), "lists: targets from -1"),
        (lambda: SparseLinear(weight, changed(5, 0), 2), "ascending order"),
        (lambda: SparseLinear(weight, lists, 2, weight), r"bias: got shape \(3,\); expected \(2,\)"),
        (lambda: SparseLinear(weight * float("nan"), lists, 2), "weight: 3 of 3 values are NaN"),
        (lambda: SparseLinear.between(torch.tensor([2]), torch.tensor([0]), double(1), (2, 2)), "source: got 2 to 2"),
        (lambda: SparseLinear.between(torch.tensor([0]), torch.tensor([2]), double(1), (2, 2)), "target: got 2 to 2"),
        (lambda: SparseLinear.between(torch.tensor([0]), torch.tensor([0, 1]), double(1), (2, 2)), "shapes"),
        (
            lambda: SparseLinear.between(torch.tensor([0, 0]), torch.tensor([1, 1]), double(1, 2), (2, 2)),
            "ascending order, each once",
        ),
        (lambda: SparseLinear.random(3, 2, fan_in=4, generator=torch.Generator()), "fan_in: got 4; expected at most"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    good.weight = torch.nn.Parameter(double(1, 2))
    with pytest.raises(ValueError, match=r"weight: got shape \(2,\); expected \(3,\), one per synapse"):
        good(draw(0, 1, 1, 2), DT)


LARGE = """
import torch, neurorobust as nr
generator = torch.Generator().manual_seed(0)
n = 20_000
hidden = nr.neurons.Lif(
    nr.nn.SparseLinear.random(256, n, fan_in=32, generator=generator),
    recurrent=nr.nn.SparseLinear.random(n, n, fan_in=200, generator=generator),
    tau_mem=0.02, v_threshold=0.05,
)
readout = nr.neurons.LeakyIntegrator(nr.nn.Linear.random(n, 10, generator=generator), tau_mem=0.02)
network, chip = nr.Network({"hidden": hidden, "readout": readout}, dt=1e-3), nr.mismatch(0.1)
held = chip.program(nr.nominal(network), network.placement())
die = chip.fabricate([0], seed=0)[0].params(held)
x = (torch.rand(4, 20, 256, generator=generator) < 0.05).float()
assert nr.run(network, die, x).std() > 0
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]  # getrusage counts the parent, too
print(peak[0].split()[1])
"""


def test_a_die_of_20000_neurons_needs_less_than_a_gigabyte():
    """4 million of 400 million synapses: as matrices, the weights of one die alone are 1.6 GB."""
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 1e9
