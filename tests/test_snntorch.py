"""snnTorch networks as they are: the same spikes and gradients as in snnTorch."""

from __future__ import annotations

import copy
import math
import random

import pytest
import snntorch as snn
import torch
from conftest import draw, events
from deep import cases
from snntorch import surrogate
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust.core.run import forward
from neurorobust.data import Task
from neurorobust.interop import decode
from neurorobust.nn.network import placement_of

DT = 1e-3
LOOKED = 4
"""Of so many random networks one passes the look too, which takes most of the time."""
SURROGATES = {
    "fast_sigmoid": lambda: surrogate.fast_sigmoid(slope=10),
    "atan": lambda: surrogate.atan(alpha=3.0),
    "default": lambda: None,
    "sigmoid": lambda: surrogate.sigmoid(slope=5),
}


class InFloat64(torch.autograd.Function):
    """snnTorch's surrogates cast to float32 on the way, their slopes too; the same step and slope without that."""

    @staticmethod
    def forward(ctx, u, slope):
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.slope(*ctx.saved_tensors), None


SLOPES = {
    "fast_sigmoid": lambda u: 1 / (10 * u.abs() + 1) ** 2,
    "atan": lambda u: 1.5 / (1 + (math.pi / 2 * 3 * u) ** 2),
    "default": lambda u: 1 / (1 + (math.pi * u) ** 2),
}


def neuron(cls, n, seed, reset, delay, per_neuron, learn, grad, **extra):
    """A random neuron of n units; everything it has as a number is drawn."""
    number = torch.rand(4, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if not per_neuron:
        number = number[:, 0]
    options = {
        "threshold": 0.3 + 0.5 * number[0],
        "learn_threshold": learn,
        "reset_mechanism": reset,
        "spike_grad": grad,
        "init_hidden": True,
        **extra,
    }
    beta, alpha = 0.3 + 0.5 * number[1], 0.82 + 0.1 * number[2]
    if cls is snn.Lapicque:
        return cls(R=0.5 + number[1].flatten()[0], C=2 + number[2].flatten()[0], time_step=0.7, **options)
    if cls is snn.Alpha:
        return cls(alpha=alpha, beta=beta, learn_beta=learn, **options)
    if cls in (snn.RLeaky, snn.RSynaptic):
        all_to_all = seed % 2 == 0
        options |= {"linear_features": n} if all_to_all else {"V": number[3] - 0.5, "all_to_all": False}
    if cls is snn.Leaky:
        options |= {"graded_spikes_factor": 1.0 if seed % 3 else 0.7}
    options |= {"reset_delay": delay, "learn_beta": learn}
    if cls in (snn.Synaptic, snn.RSynaptic):
        return cls(alpha=alpha, beta=beta, learn_alpha=learn, **options)
    return cls(beta=beta, **options)


def row(cls, seed, **options):
    """Linear – neuron – Linear – neuron, float64, the last one giving its membrane too."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(3, 5),
        neuron(cls, 5, seed, **options),
        nn.Linear(5, 2),
        neuron(cls, 2, seed + 1, **options, output=True),
    ).double()
    with torch.no_grad():
        net[0].weight.mul_(3)
        net[2].weight.mul_(4)
    return promoted(net)


def promoted(net):
    """snnTorch's spikes are float32; a factor of 1 with a dimension turns them into float64 without changing any."""
    for module in net.modules():
        if isinstance(module, snn.SpikingNeuron):
            module.graded_spikes_factor = module.graded_spikes_factor.reshape(1).double()
    return net


def simulate(net, x):
    """The net step by step from rest, as snnTorch's tutorials do; spikes and membranes of its last neuron."""
    neurons = [module for module in net.modules() if isinstance(module, snn.SpikingNeuron)]
    for module in neurons:
        module.reset_mem()
        # snnTorch's resets are float32, too, and a threshold without a dimension, in float64, would be rounded to them
        module.mem_reset = lambda mem, own=module: type(own).mem_reset(own, mem).to(mem.dtype)
    steps = [net(step) for step in x.transpose(0, 1)]
    for module in neurons:
        del module.mem_reset
    return torch.stack([step[0] for step in steps]), torch.stack([step[-1] for step in steps])


def gaps(net, x):
    """The smallest distance any membrane of any neuron ever has from its threshold."""
    found = []

    def watch(module, inputs, output):
        mem = module.mem
        if not getattr(module, "reset_delay", True):  # recorded after its reset: undo it
            spikes = (output if isinstance(output, torch.Tensor) else output[0]) / module.graded_spikes_factor
            mem = torch.where(spikes.bool() & (module.reset_mechanism == "subtract"), mem + module.threshold, mem)
        found.append((mem - module.threshold).abs().min().item())

    hooks = [m.register_forward_hook(watch) for m in net.modules() if isinstance(m, snn.SpikingNeuron)]
    simulate(net, x)
    for hook in hooks:
        hook.remove()
    return min(found)


@pytest.mark.deep
@pytest.mark.parametrize("cls", [snn.Leaky, snn.Synaptic, snn.RLeaky, snn.RSynaptic, snn.Lapicque, snn.Alpha])
def test_spikes_and_gradients_equal_snntorch(cls):
    """Random networks: the same spikes and membranes, and the same gradient of every trained number."""
    tried = [compare(cls, case) for case in cases(f"snnTorch {cls.__name__}", here=40, deep=1000)]
    assert sum(tried) > 0.9 * len(tried)


def compare(cls, case):
    """Compare a random network with snnTorch; False for one whose spikes may differ by rounding.

    To 1e-9 of the largest entry; 1e-5 of the largest of all for a surrogate that snnTorch computes in float32. The
    gradient in tau_mem is snnTorch's in β times dβ/dτ = β dt/τ², and so for tau_syn and α.
    """
    coin = random.Random(case)
    seed, grad = coin.randrange(2**20), coin.choice(sorted(SURROGATES))
    reset = coin.choice(["subtract", "zero", "none"])
    delay, per_neuron, learn = (coin.random() < 0.5 for _ in range(3))
    delay |= cls is snn.RSynaptic  # snnTorch itself cannot run it without
    net = row(cls, seed, reset=reset, delay=delay, per_neuron=per_neuron, learn=learn, grad=SURROGATES[grad]())
    x = draw(seed, 4, 15, 3)
    if gaps(net, x) <= 1e-9:
        return False
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    model = nr.from_snntorch(net, DT, decode=lambda output: output[0].sum(0) + 0.1 * output[-1].mean(0))
    if case % LOOKED:
        model.watch.tensors = ()
    logits, recorded = nr.run(model, dict(model.named_parameters()), x, record=True)
    for module in net[1::2] if grad in SLOPES else ():
        module.spike_grad = lambda u: InFloat64.apply(u, SLOPES[grad])
    spikes, membrane = simulate(net, x)
    assert torch.equal(recorded["3"].transpose(0, 1), spikes)
    torch.testing.assert_close(logits, spikes.sum(0) + 0.1 * membrane.mean(0), rtol=1e-9, atol=1e-9)

    weight = draw(seed + 7, *logits.shape)
    (logits * weight).sum().backward()
    ((spikes.sum(0) + 0.1 * membrane.mean(0)) * weight).sum().backward()
    largest = max(value.grad.abs().max().item() for value in net.parameters() if value.grad is not None)
    for name, ours in model.named_parameters():
        layer, _, kind = name.partition(".")
        source = {"tau_mem": "beta", "tau_syn": "alpha", "v_threshold": "threshold", "V.weight": "V"}.get(kind, kind)
        theirs = dict(net[int(layer)].named_parameters()).get(source)
        assert ours.requires_grad == (theirs is not None and theirs.requires_grad), name
        if not ours.requires_grad or theirs.grad is None:
            continue
        expected = theirs.grad
        if kind.startswith("tau"):
            expected = expected * theirs.detach() * DT / ours.detach() ** 2
        tolerance = 1e-9 * expected.abs().max().item() + 1e-12
        if grad not in SLOPES:  # its slopes go through float32, where the sums over time and samples cancel
            tolerance = 1e-5 * max(largest, expected.abs().max().item())
        torch.testing.assert_close(ours.grad, expected, rtol=0, atol=tolerance, msg=name)
    assert all(torch.equal(before[name], value) for name, value in net.named_parameters())
    return True


class Loop(nn.Module):
    """A network as snnTorch's tutorials write them: its own loop over time, states handed from step to step."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3, 6)
        self.lif1 = snn.Leaky(beta=0.8, threshold=0.4, learn_beta=True)
        self.fc2 = nn.Linear(6, 2)
        self.lif2 = snn.Leaky(beta=torch.tensor([0.7, 0.9]), threshold=0.4)

    def forward(self, x):
        mem1, mem2, spikes, membranes = self.lif1.init_leaky(), self.lif2.init_leaky(), [], []
        for step in x:
            spk1, mem1 = self.lif1(self.fc1(step), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


def loop(seed=0):
    torch.manual_seed(seed)
    net = Loop().double()
    with torch.no_grad():
        net.fc1.weight.mul_(3)
    return promoted(net)


def task():
    return Task("t", ("a", "b"), events(1, 24), events(2, 10), events(3, 10), functional.cross_entropy, None, "f")


@pytest.mark.parametrize("seed", range(20))
def test_a_network_with_its_own_loop(seed):
    """A module with the usual time loop gives its own spikes, and they are recorded by neuron."""
    net, x = loop(seed), draw(seed, 4, 12, 3)
    model = nr.from_snntorch(net, DT, sample=x)
    logits, recorded = nr.run(model, nr.nominal(model), x, record=True)
    spikes, _ = net(x.transpose(0, 1))
    assert torch.equal(logits, spikes.sum(0)) and recorded["lif1"].sum() > 0
    assert torch.equal(recorded["lif2"].transpose(0, 1), spikes) and recorded["lif1"].shape == (4, 12, 6)


@pytest.mark.parametrize("make", [loop, lambda: row(snn.RLeaky, 0, reset="subtract", delay=True, per_neuron=True,
                                                    learn=True, grad=None)], ids=["loop", "row"])  # fmt: skip
def test_nothing_is_left_behind(make):
    """The user's network keeps its hidden state, mode, tensors and attributes; model and network can be copied."""
    net = make()
    x = draw(3, 4, 12, 3)
    (net(x.transpose(0, 1)) if isinstance(net, Loop) else net(x[:, 0]))[0].sum()  # leaves a state with a history
    net.eval()
    states = {name: id(value) for name, value in net.named_buffers()}
    values = {name: value.detach().clone() for name, value in net.state_dict().items()}
    instances = len(snn.SpikingNeuron.instances)
    model = nr.from_snntorch(net, DT, sample=x)
    nr.run(model, nr.nominal(model), x).sum()
    assert states == {name: id(value) for name, value in net.named_buffers()}
    assert all(torch.equal(values[name], value) for name, value in net.state_dict().items())
    assert len(snn.SpikingNeuron.instances) == instances and not net.training and not model.training
    twin = copy.deepcopy(model)
    assert torch.equal(nr.run(twin, nr.nominal(twin), x), nr.run(model, nr.nominal(model), x))


def test_every_number_of_a_layer_deviates_by_itself():
    """A β and a threshold shared by a layer have one deviation for each neuron; the weights one for each synapse."""
    model = nr.from_snntorch(loop(), DT, sample=draw(0, 2, 5, 3))
    center = nr.Ball.uniform(0.1).center(nr.nominal(model), placement_of(model))
    shapes = {name: tuple(delta.shape) for name, delta in center.items()}
    assert shapes == {
        "lif1.tau_mem": (6,),
        "lif1.v_threshold": (6,),
        "lif2.tau_mem": (2,),
        "lif2.v_threshold": (2,),
        "fc1.weight": (6, 3),
        "fc1.bias": (6,),
        "fc2.weight": (2, 6),
        "fc2.bias": (2,),
    }


@pytest.mark.parametrize("seed", range(5))
def test_a_die_is_the_network_with_these_numbers(seed):
    """apply(θ, δ) gives what snnTorch gives with β = exp(−dt/(τ e^δ)), ϑ e^δ and W + abs(W) δ set by hand."""
    net, x = loop(seed), draw(seed, 4, 12, 3)
    model = nr.from_snntorch(net, DT, sample=x)
    placement = placement_of(model)
    deviations = {
        name: 0.2 * draw(seed + i, *zero.shape)
        for i, (name, zero) in enumerate(nr.Ball.uniform(0.1).center(nr.nominal(model), placement).items())
    }
    found = nr.run(model, nr.apply(nr.nominal(model), deviations, placement), x)
    by_hand = copy.deepcopy(net)
    with torch.no_grad():
        for layer in ("fc1", "fc2"):
            for kind in ("weight", "bias"):
                value = getattr(getattr(by_hand, layer), kind)
                value.add_(value.abs() * deviations[f"{layer}.{kind}"])
        for layer in ("lif1", "lif2"):
            lif = getattr(by_hand, layer)
            tau = -DT / lif.beta.log() * deviations[f"{layer}.tau_mem"].exp()
            lif.beta = nn.Parameter(torch.exp(-DT / tau)) if layer == "lif1" else torch.exp(-DT / tau)
            lif.threshold = lif.threshold * deviations[f"{layer}.v_threshold"].exp()
    torch.testing.assert_close(found, by_hand(x.transpose(0, 1))[0].sum(0))


def test_trained_and_back():
    """fit trains the model and leaves the user's net; to_snntorch writes what was trained back, and nothing else."""
    net = loop()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = nr.from_snntorch(net, DT, sample=draw(0, 2, 5, 3))
    loss = nr.regularizers.Adversarial(functional.cross_entropy, nr.attacks.PGA(2), nr.Ball.uniform(0.1), 0.5)
    nr.fit(model, task(), loss, epochs=2)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    x = draw(1, 5, 12, 3)
    back = nr.to_snntorch(model)
    assert back is net
    changed = {name for name, value in net.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {"fc1.weight", "fc1.bias", "lif1.beta", "fc2.weight", "fc2.bias"}
    torch.testing.assert_close(net(x.transpose(0, 1))[0].sum(0), nr.run(model, nr.nominal(model), x))
    other = loop(5)
    assert nr.to_snntorch(model, other) is other
    assert torch.equal(other.fc1.weight, net.fc1.weight) and torch.equal(other.lif1.beta, net.lif1.beta)


def test_untouched_numbers_go_back_bit_for_bit():
    """from_snntorch and to_snntorch with nothing in between leave every bit, β included."""
    net = loop()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    nr.to_snntorch(nr.from_snntorch(net, DT, sample=draw(0, 2, 5, 3)))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_convolutions_have_neurons_on_a_grid():
    """A scalar β of a layer of 2 × 5 × 5 neurons deviates on each; the spikes are snnTorch's."""
    torch.manual_seed(0)
    net = nn.Sequential(  # its neurons on a grid
        nn.Conv2d(1, 2, 3, padding=1),
        snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True),
        nn.AvgPool2d(5),
        nn.Flatten(),
        nn.Linear(2, 2),
        snn.Leaky(beta=0.7, threshold=0.1, init_hidden=True, output=True),
    ).double()
    promoted(net)
    x = draw(0, 3, 8, 1, 5, 5)
    model = nr.from_snntorch(net, DT, sample=x)
    assert placement_of(model).index["1.tau_mem"].shape == (2, 5, 5)
    spikes, _ = simulate(net, x)
    assert torch.equal(nr.run(model, nr.nominal(model), x), spikes.sum(0)) and spikes.sum() > 0


def test_dies_of_a_placed_network():
    """With cores given, a row is quantized for dynapse2 and its dies differ; the read-out stays on the host."""
    import chipmodels

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 6, bias=False),
        snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True),
        nn.Linear(6, 2),
        snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True, output=True),
    ).double()
    model = nr.from_snntorch(net, DT)
    model.place({"1": torch.tensor([0, 0, 0, 1, 1, 1]), "3": nr.HOST})
    programmed = chipmodels.load("dynapse2").program(nr.nominal(model), placement_of(model))
    assert set(programmed.codes) == {"0.weight", "1.tau_mem"} and [row["core"] for row in programmed.report] == [0, 1]
    result = nr.evaluate(model, events(0, 30), chipmodels.load("dynapse2"), n_dies=5)
    assert result.balanced_accuracy.shape == (5,)


def test_a_decay_can_be_left_alone():
    """kinds={'lif1.beta': 'digital'} keeps a decay out of the parameters, even one that has no time constant."""
    net = loop()
    net.lif1.beta = nn.Parameter(torch.ones(()).double())
    with pytest.raises(ValueError, match=r"lif1.beta gives tau_mem = .*; expected a decay in \(0, 1\)"):
        nr.from_snntorch(net, DT, sample=draw(0, 2, 5, 3))
    model = nr.from_snntorch(net, DT, sample=draw(0, 2, 5, 3), kinds={"lif1.beta": "digital"})
    assert "lif1.tau_mem" not in nr.nominal(model)
    x = draw(0, 4, 12, 3)
    assert torch.equal(nr.run(model, nr.nominal(model), x), net(x.transpose(0, 1))[0].sum(0))


def test_vmap_over_dies_equals_the_loop():
    """torch.func.vmap over a leading die axis gives each die's logits, for a row and a network with its own loop."""
    for net in (loop(), row(snn.Synaptic, 3, reset="subtract", delay=True, per_neuron=False, learn=False, grad=None)):
        x = draw(0, 4, 12, 3)
        model = nr.from_snntorch(net, DT, sample=x)
        placement, params = placement_of(model), nr.nominal(model)
        fleet = nr.mismatch(0.2).fabricate(range(3), 0)
        programmed = nr.mismatch(0.2).program(params, placement)
        dies = [nr.apply(params, die.deviations(programmed), placement) for die in fleet]
        stacked = {name: torch.stack([die[name] for die in dies]) for name in params}
        together = torch.func.vmap(lambda p, model=model, x=x: forward(model, p, x)[0])(stacked)
        for die, logits in zip(dies, together):
            torch.testing.assert_close(logits, nr.run(model, die, x))
        copy.deepcopy(model)


def test_one_step_one_sample_one_neuron():
    """T = 1, B = 1, N = 1."""
    net = nn.Sequential(nn.Linear(1, 1), snn.Leaky(beta=0.5, init_hidden=True)).double()
    assert nr.run(nr.from_snntorch(net, DT), nr.nominal(nr.from_snntorch(net, DT)), draw(0, 1, 1, 1)).shape == (1, 1)


@pytest.mark.parametrize("name", ["spike_count", "spike_rate", "mean_membrane", "max_membrane", "last_membrane"])
def test_decoders(name):
    """Each decoder against its definition on (spikes, membrane) of shape (T, B, n)."""
    spikes, membrane = (draw(0, 7, 3, 2) > 0).double(), draw(1, 7, 3, 2)
    expected = {
        "spike_count": lambda: sum(spikes),
        "spike_rate": lambda: sum(spikes) / 7,
        "mean_membrane": lambda: sum(membrane) / 7,
        "max_membrane": lambda: membrane.max(0).values,
        "last_membrane": lambda: membrane[6],
    }[name]()
    torch.testing.assert_close(getattr(decode, name)((spikes, membrane)), expected)


def refused(net, **options):
    return nr.from_snntorch(net, DT, **({"sample": draw(0, 2, 5, 3)} | options))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_events_that_are_no_floating_numbers_are_refused_with_the_way_out(dtype):
    model = nr.from_snntorch(nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=0.5, init_hidden=True, output=True)), DT)
    for steps in (5, 6):
        with pytest.raises(ValueError, match=rf"x: got {dtype}; .*: x\.float\(\)"):
            nr.run(model, nr.nominal(model), torch.ones(2, steps, 3).to(dtype))


def test_what_cannot_be_represented_is_refused_by_name():
    """Foreign neurons, random surrogates, plain torch, a bare neuron, states that are not kept, mixed types."""
    with pytest.raises(ValueError, match=r"'1' is a LeakyParallel; nr.from_snntorch takes Leaky, .* nr.wrap takes"):
        refused(nn.Sequential(nn.Linear(3, 4), snn.LeakyParallel(4, 4)))
    with pytest.raises(ValueError, match=r"surrogate with random gradients"):
        refused(nn.Sequential(nn.Linear(3, 4), snn.Leaky(beta=0.5, spike_grad=surrogate.SSO(), init_hidden=True)))
    with pytest.raises(ValueError, match=r"RSynaptic '1' has reset_delay=False"):
        refused(nn.Sequential(nn.Linear(3, 4), snn.RSynaptic(0.9, 0.5, linear_features=4, reset_delay=False)))
    with pytest.raises(ValueError, match=r"no snnTorch neuron; nr.wrap"):
        refused(nn.Sequential(nn.Linear(3, 4)))
    twice = snn.Leaky(beta=0.5, init_hidden=True)
    with pytest.raises(ValueError, match=r"'1' serves several layers"):
        refused(nn.Sequential(nn.Linear(3, 3), twice, nn.Linear(3, 3), twice).double())
    with pytest.raises(ValueError, match=r"put it into an nn.Sequential"):
        refused(snn.Leaky(beta=0.5))
    with pytest.raises(TypeError, match=r"net: got str"):
        refused("net")
    with pytest.raises(ValueError, match=r"the layer before '2' gives 2 tensors; .* init_hidden=True"):
        refused(nn.Sequential(nn.Linear(3, 4), snn.Leaky(beta=0.5), nn.Linear(4, 2), snn.Leaky(beta=0.5)).double())
    with pytest.raises(ValueError, match=r"sample: needed"):
        refused(loop(), sample=None)
    with pytest.raises(ValueError, match=r"module: .* is torch.float64 .*; .* is torch.float32"):
        refused(nn.Sequential(nn.Linear(3, 4).double(), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match=r"kinds: parameter: 'lif3.\*' does not exist"):
        refused(loop(), kinds={"lif3.*": "digital"})
    with pytest.raises(ValueError, match=r"dt: got -1"):
        nr.from_snntorch(loop(), -1.0, sample=draw(0, 2, 5, 3))
    with pytest.raises(TypeError, match=r"an snnTorch neuron; use nr.from_snntorch"):
        nr.wrap(loop())
    with pytest.raises(TypeError, match=r"expected the result of nr.from_snntorch"):
        nr.to_snntorch(loop())
    with pytest.raises(ValueError, match=r"cores: layer of neurons: 'lif' does not exist"):
        refused(loop()).place({"lif": 0})
    with pytest.raises(ValueError, match=r"cores: lif2 missing"):
        refused(loop()).place({"lif1": 0})


def test_float32_flips_are_ties():
    """In float32 at most one spike in 500 differs from float64: those whose membrane was at its threshold."""
    flips = total = 0
    for seed in range(30):
        net, x = loop(seed), draw(seed, 8, 40, 3)
        model = nr.from_snntorch(copy.deepcopy(net).float(), DT, sample=x.float())
        exact, _ = net(x.transpose(0, 1))
        found = nr.run(model, nr.nominal(model), x.float(), record=True)[1]["lif2"].transpose(0, 1)
        flips, total = flips + int((found != exact).sum()), total + exact.numel()
    assert total == 30 * 8 * 40 * 2 and flips <= total // 500
    assert math.isfinite(flips)


def test_saved_and_loaded(tmp_path):
    """A trained snnTorch network goes to a folder and comes back into one made in the same way."""
    x = draw(1, 5, 12, 3)
    model = nr.from_snntorch(loop(0), DT, sample=x)
    nr.save(model, tmp_path / "m")
    loaded, _ = nr.load(tmp_path / "m", into=nr.from_snntorch(loop(1), DT, sample=x))
    assert torch.equal(nr.run(loaded, nr.nominal(loaded), x), nr.run(model, nr.nominal(model), x))
