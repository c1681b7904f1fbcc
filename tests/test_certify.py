"""Certified bounds against dies drawn in the ball, its corners, brute force, attacks, and other precisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurorobust as nr
from neurorobust.bounds import box, logit_bounds, populations
from neurorobust.bounds.interval import Interval, gamma, leaky_step
from neurorobust.bounds.steps import MeanValueForm, NaturalExtension
from neurorobust.core.apply import apply
from neurorobust.core.run import nominal
from neurorobust.dynamics import DelayedSubtract, DelayedToValue, NoReset, SnntorchSubtract, Subtract, ToValue
from neurorobust.evaluation import Branches, Intervals, certify
from neurorobust.kernels import using
from neurorobust.nn import decoders
from neurorobust.nn.connections import AvgPool2d, Chain, Conv2d, Delayed, Linear, OneToOne
from neurorobust.nn.network import placement_of
from neurorobust.nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif

METHODS = (Intervals(), Branches(1), Branches(16))
N, T, B = 6, 12, 5


def hidden(model: str, generator: torch.Generator) -> nn.Module:
    """A small layer that spikes a lot."""

    def drawn(*shape):
        return torch.randn(*shape, generator=generator)

    def around(value, n=N):
        return value * (0.7 + 0.6 * torch.rand(n, generator=generator))

    parts: dict[str, Any] = {
        "input": Linear(drawn(N, 3), 0.3 * drawn(N)),
        "recurrent": Linear(0.8 * drawn(N, N), mask=drawn(N, N) > 0),
    }
    core = torch.arange(N) % 2
    if model == "adaptive":
        own = dict(tau_mem=around(5e-3, 2), tau_adapt=around(0.02), adaptation=around(0.3, 2), v_threshold=around(0.3))
        return AdaptiveLif(**parts, core=core, **own)
    own = dict(tau_mem=around(5e-3), v_threshold=around(0.3), r=around(1.2), v_leak=0.1 * drawn(N))
    resets = {
        "subtract": Subtract(),
        "delayed": DelayedSubtract(),
        "none": NoReset(),
        "to value": ToValue(),
        "delayed to value": DelayedToValue(),
        "cuba": Subtract(),
        "one to one": DelayedSubtract(),
    }
    own |= {"reset": resets[model], "t_ref": 0.0024 if model in ("delayed", "cuba") else None}
    if "value" in model:
        own["v_reset"] = 0.1 * drawn(N)
    if model == "one to one":
        parts["recurrent"] = OneToOne(drawn(N), 0.1 * drawn(N))
    return CubaLif(**parts, tau_syn=around(3e-3), **own) if model == "cuba" else Lif(**parts, **own)


MODELS = ("adaptive", "subtract", "delayed", "none", "to value", "delayed to value", "cuba", "one to one")


def small(model: str, seed: int, decode=decoders.mean_over_time, last: str = "li") -> tuple[nr.Network, nr.data.Data]:
    """A random network of two hidden layers and a read-out, in float64, and samples of random classes."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, N, generator=generator)
    if last == "li":
        readout = LeakyIntegrator(Linear(weight, torch.randn(3, generator=generator)), tau_mem=8e-3)
    elif last == "cuba":
        readout = CubaLeakyIntegrator(
            Linear(weight), tau_mem=8e-3, tau_syn=4e-3, r=2.0, v_leak=torch.tensor([0.1, -0.2, 0.3])
        )
    else:
        readout = Lif(Linear(weight), tau_mem=4e-3, v_threshold=0.2)
    second = Lif(Linear(torch.randn(N, N, generator=generator)), tau_mem=6e-3, v_threshold=0.3)
    net = nr.Network({"hidden": hidden(model, generator), "second": second, "readout": readout}, 1e-3, decode=decode)
    x = torch.randn(B, T, 3, generator=generator).double() + 0.5
    return net.double(), nr.data.Data(x, torch.arange(B) % 3)


def everything(zeta: float) -> nr.Ball:
    """Every kind, absolute ones included."""
    return nr.Ball({"*": zeta})


def dies(network: nn.Module, ball: nr.Ball, seed: int, n: int):
    """Deviations in the ball: half of them corners."""
    center = ball.center(nominal(network), placement_of(network))
    generator = torch.Generator().manual_seed(seed)
    for number in range(n):
        die = ball.sample(center, generator)
        if number % 2:
            die = ball.project({name: delta.sign() * 1e9 for name, delta in die.items()})
        yield apply(nominal(network), die, placement_of(network))


def check_sound(network: nn.Module, data: nr.data.Data, ball: nr.Ball, seed: int, n: int = 24) -> None:
    """No die leaves the bounds of any method; each is inside the one before it where samples are not lost."""
    found = [certify(network, data, ball, method) for method in METHODS]
    row = torch.arange(len(data))
    for die in dies(network, ball, seed, n):
        logits = nr.run(network, die, data.x).double()
        others = logits.clone()
        others[row, data.y] = -torch.inf
        margin = logits[row, data.y] - others.amax(1)
        for method, certified in zip(METHODS, found):
            assert (certified.lower <= logits).all() and (logits <= certified.upper).all(), method
            assert (certified.margin <= margin).all(), method
    for certified in found:
        assert (certified.lower <= certified.upper).all()
        assert (certified.correct | ~certified.verified).all()
    assert (found[1].margin >= found[0].margin - 1e-12).all()


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.sampled_from(MODELS), st.integers(0, 10**6), st.sampled_from([1e-4, 3e-3, 0.05, 0.4]))
def test_bounds_hold_for_every_die(model, seed, zeta):
    """Dies drawn in the ball and at its corners, all kinds, every neuron and reset, two hidden layers."""
    network, data = small(model, seed)
    check_sound(network, data, everything(zeta), seed)


KINDS_OF = [("weight", "bias"), ("tau_mem", "tau_syn", "tau_adapt"), ("v_threshold", "adaptation"), ("r", "v_leak")]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.sampled_from(MODELS),
    st.integers(0, 10**6),
    st.sampled_from([1e-3, 0.05, 0.4]),
    st.sets(st.sampled_from(KINDS_OF)),
)
def test_bounds_hold_where_only_some_kinds_deviate(model, seed, zeta, parts):
    """As above; decays, thresholds or weights that stay as they are take other paths."""
    network, data = small(model, seed)
    ball = nr.Ball(**{kind: zeta for part in parts | {("weight",)} for kind in part})
    check_sound(network, data, ball, seed, n=12)
    if "v_threshold" not in ball.radii:
        check_sound(network, data, nr.Ball(v_threshold=zeta), seed, n=12)


@pytest.mark.parametrize("decode", [decoders.mean_over_time, decoders.last_step, decoders.max_over_time])
@pytest.mark.parametrize("last", ["li", "cuba", "spiking"])
def test_bounds_hold_for_every_readout(decode, last):
    """Each decoder behind integrators and a spiking last layer."""
    network, data = small("adaptive", 5, decode, last)
    check_sound(network, data, everything(0.01), 1)


@pytest.mark.parametrize("kernel", ["reference", "compiled"])
def test_bounds_hold_in_float32_in_every_kernel(kernel):
    """At ζ = 0 and in a tiny ball nothing but rounding moves the logits of a float32 network."""
    for seed, model in enumerate(MODELS):
        network, data = small(model, seed)
        network, data = network.float(), nr.data.Data(data.x.float(), data.y)
        with using(kernel):
            check_sound(network, data, everything(0.0), 1, n=2)
            check_sound(network, data, everything(1e-6), 1, n=6)


def test_rounding_covers_float32_against_float64():
    """The bounds of a float32 network at ζ = 0 hold what it computes and what float64 computes from the same numbers;
    they are not a hundred times wider than these two differ where all spikes are decided."""
    network, data = small("adaptive", 3)
    network, data = network.float(), nr.data.Data(data.x.float(), data.y)
    certified = certify(network, data, nr.Ball(weight=0.0))
    single = nr.run(network, nominal(network), data.x).double()
    exact = certified.undecided == T
    assert exact.any()
    double = nr.run(network.double(), nominal(network), data.x.double())
    assert (certified.lower <= single).all() and (single <= certified.upper).all()
    assert (certified.lower[exact] <= double[exact] + 1e-6).all()
    gap = (certified.upper - certified.lower)[exact].max()
    assert 0 < gap < 1e-4


@pytest.mark.parametrize("model", MODELS)
def test_no_ball_verifies_what_is_right(model):
    """At ζ = 0 in float64 every correctly classified sample is verified, by either method."""
    network, data = small(model, 11)
    logits = nr.run(network, nominal(network), data.x)
    data = replace(data, y=logits.argmax(1))
    for method in METHODS:
        certified = certify(network, data, everything(0.0), method)
        assert certified.verified.all() and certified.correct.all()
        assert certified.balanced_accuracy == certified.accuracy == 1
        assert (certified.undecided == T).all() and (certified.leaves == 1).all() and not certified.lost.any()
        assert torch.allclose(certified.lower, logits, atol=1e-10)
        assert torch.allclose(certified.upper, logits, atol=1e-10)


def test_membrane_of_decided_spikes_is_exact_for_weights():
    """The read-out's weights and biases alone, its spikes decided: both ends of every logit are attained, since spikes
    are ≥ 0, by the dies whose weights are all largest or all smallest."""
    network, data = small("adaptive", 2)
    params = nominal(network)
    names = ("readout.input.weight", "readout.input.bias")
    for method in METHODS:
        certified = certify(network, data, nr.Ball({"readout.input.*": 0.1}), method)
        assert (certified.undecided == T).all()
        for bound, zeta in ((certified.lower, -0.1), (certified.upper, 0.1)):
            die = {name: torch.full_like(params[name], zeta) for name in names}
            assert torch.allclose(nr.run(network, apply(params, die), data.x), bound, rtol=1e-9, atol=1e-12)


def test_a_time_constant_is_the_same_in_all_steps():
    """One integrator, its time constant alone, an input that alternates: the range, on a grid of 2001 values, is met to
    second order in ζ by the mean-value form, and several times exceeded by plain intervals."""
    readout = LeakyIntegrator(Linear(torch.tensor([[1.0], [0.0]]).double()), tau_mem=0.01)
    network = nr.Network({"readout": readout}, 1e-3, decode=decoders.last_step).double()
    x = torch.tensor([1.0, -1.0]).double().repeat(40)[None, :, None]
    data, ball = nr.data.Data(x, torch.tensor([0])), nr.Ball(tau_mem=0.01)
    grid = torch.linspace(-0.01, 0.01, 2001).double()
    dies = [{"readout.tau_mem": torch.stack([delta, torch.zeros(()).double()])} for delta in grid]
    values = torch.stack(
        [nr.run(network, apply(nominal(network), die, placement_of(network)), x)[0, 0] for die in dies[::50]]
    )
    true = float(values.max() - values.min())
    widths = {}
    for method in (Intervals(), Branches()):
        certified = certify(network, data, ball, method)
        widths[type(method)] = float(certified.upper[0, 0] - certified.lower[0, 0])
    assert true <= widths[Branches] < 1.25 * true
    assert widths[Intervals] > 3 * widths[Branches]


def test_branches_equal_brute_force():
    """One neuron whose threshold alone is in doubt at one step: the bounds are the two outcomes, and nothing else."""
    lif = Lif(Linear(torch.tensor([[1.0]]).double()), tau_mem=5e-3, v_threshold=0.5)
    readout = LeakyIntegrator(Linear(torch.tensor([[1.0], [-1.0]]).double()), tau_mem=5e-3)
    network = nr.Network({"hidden": lif, "readout": readout}, 1e-3).double()
    x = torch.zeros(1, T, 1).double()
    x[0, 2] = 1.0
    top = 1 - torch.exp(torch.tensor(-0.2).double())
    with torch.no_grad():
        lif.v_threshold.fill_(float(top))
    data, ball = nr.data.Data(x, torch.tensor([0])), nr.Ball(v_threshold=0.01)
    certified = certify(network, data, ball)
    params = nominal(network)
    outcomes = [
        nr.run(network, apply(params, {"hidden.v_threshold": torch.tensor([delta]).double()}, placement_of(network)), x)
        for delta in (-0.01, 0.01)
    ]
    assert not torch.equal(*outcomes)
    assert torch.allclose(certified.lower, torch.minimum(*outcomes), atol=1e-12)
    assert torch.allclose(certified.upper, torch.maximum(*outcomes), atol=1e-12)
    assert certified.undecided.tolist() == [2] and certified.leaves.tolist() == [2] and not certified.lost.any()


def test_branches_verify_more_than_intervals_and_less_than_attacks():
    """Verified samples: intervals ⊂ branches ⊂ right on the worst die of an attack; strictly more by branching."""
    gained = 0
    for seed in range(3):
        network, data = small("adaptive", seed)
        y = nr.run(network, nominal(network), data.x).argmax(1)
        y[0] = (y[0] + 1) % 3  # so that one sample is wrong, and two classes are there
        data = replace(data, y=y)
        ball = nr.Ball.uniform(0.02)
        plain, branched = (certify(network, data, ball, method) for method in (Intervals(), Branches(64)))
        assert (branched.verified | ~plain.verified).all() and not branched.verified[0]
        gained += int(branched.verified.sum() - plain.verified.sum())
        worst = nr.worst_case(network, data, ball, nr.attacks.PGA(steps=5))
        die = apply(nominal(network), worst.deviations, placement_of(network))
        right = nr.run(network, die, data.x).argmax(1) == data.y
        assert (right | ~branched.verified).all()
        assert branched.accuracy <= worst.accuracy and branched.balanced_accuracy <= worst.balanced_accuracy
    assert gained > 0


def test_the_limit_bounds_the_branches():
    """However many spikes are in doubt, no sample has more rows than the limit; samples found under a lower limit are
    not lost, and a higher limit loses no more samples."""
    network, data = small("adaptive", 4)
    few, many = (certify(network, data, nr.Ball.uniform(0.05), Branches(limit)) for limit in (20, 300))
    assert (few.leaves <= 20).all() and (many.leaves <= 300).all()
    assert few.lost.any() and (few.lost | ~many.lost).all() and int(many.lost.sum()) < int(few.lost.sum())
    assert (many.verified | ~few.verified).all()


def test_tolerance_corners_of_a_chip():
    """Bounds of their own for every element hold for dies between them."""
    network, data = small("adaptive", 6)
    generator = torch.Generator().manual_seed(0)
    center = nr.Ball.uniform(1).center(nominal(network), placement_of(network))
    corners = {
        name: tuple(sign * 0.01 * torch.rand(zero.shape, generator=generator, dtype=zero.dtype) for sign in (-1, 1))
        for name, zero in center.items()
    }
    check_sound(network, data, nr.attacks.ball.ToleranceBox(corners), 3)


def test_convolutions_and_pooling():
    """A spiking convolution behind a pooling, its shared kernel attacked."""
    generator = torch.Generator().manual_seed(0)
    conv = Conv2d(torch.randn(2, 1, 2, 2, generator=generator), (1, 3, 3), torch.randn(2, generator=generator))
    layer = Lif(Chain(AvgPool2d((1, 6, 6), 2), conv), tau_mem=3e-3, v_threshold=0.3)
    readout = LeakyIntegrator(Linear(torch.randn(2, 8, generator=generator)), tau_mem=5e-3)
    network = nr.Network({"conv": layer, "readout": readout}, 1e-3).double()
    data = nr.data.Data(torch.rand(3, 10, 36, generator=generator).double(), torch.tensor([0, 1, 0]))
    check_sound(network, data, nr.Ball.uniform(0.01), 0)


def cnn(seed: int) -> tuple[nn.Module, nr.data.Data]:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.ZeroPad2d(1),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(36, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )
    return nr.wrap(net.double().eval()), nr.data.Data(torch.randn(6, 1, 6, 6).double(), torch.arange(6) % 3)


@pytest.mark.parametrize("zeta", [0.0, 1e-3, 0.05])
def test_wrapped_modules(zeta):
    """A chain of torch layers: sound, and margins that share the last layer's inputs are the larger ones."""
    network, data = cnn(0)
    check_sound(network, data, nr.Ball.uniform(zeta), 0)
    data = replace(data, y=nr.run(network, nominal(network), data.x).argmax(1))
    if zeta == 0:
        assert certify(network, data, nr.Ball.uniform(0.0), Intervals()).verified.all()


def test_wrapped_modules_in_float32():
    network, data = cnn(1)
    network = network.float()
    check_sound(network, nr.data.Data(data.x.float(), data.y), nr.Ball.uniform(0.0), 0, n=2)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.floats(-2, 2), min_size=6, max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_mix_is_the_exact_range(ends, low, high):
    """α y + (1 − α) i over a box: bounds equal the largest and smallest of its corners."""
    y, i = sorted(ends[:2]), sorted(ends[2:4])
    alpha = sorted([low, high])
    tensors = [Interval(*(torch.tensor([value], dtype=torch.float64) for value in pair)) for pair in (alpha, y, i)]
    found = leaky_step(*tensors)
    corners = [a * v + (1 - a) * c for a in alpha for v in y for c in i]
    assert float(found.lo) == pytest.approx(min(corners), abs=1e-12)
    assert float(found.hi) == pytest.approx(max(corners), abs=1e-12)


def test_gamma_bounds_sums_in_any_order():
    """γ_n covers the error of float32 dot products added forwards and backwards."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 200, 1000, generator=generator)
    exact, scale = (a.double() * b.double()).sum(1), (a.double() * b.double()).abs().sum(1)
    for order in (a * b, (a * b).flip(1)):
        error = (order.cumsum(1)[:, -1].double() - exact).abs()
        assert (error <= gamma(1000.0, 2.0**-24) * scale).all()
        assert (error > 0).any()


def test_refusals_name_what_has_no_bounds():
    network, data = small("adaptive", 0)
    with pytest.raises(TypeError, match="ball: got L2Ball"):
        certify(network, data, nr.attacks.L2Ball(weight=0.1))
    with pytest.raises(ValueError, match="names no parameter"):
        certify(network, data, nr.Ball(v_leak=0.1))
    with pytest.raises(TypeError, match="method: got 'intervals'"):
        certify(network, data, nr.Ball(weight=0.1), "intervals")
    with pytest.raises(ValueError, match="expected one class each"):
        certify(network, replace(data, y=torch.zeros(B)), nr.Ball(weight=0.1))
    network.decode = decoders.per_step
    network_of = network.decode
    assert network_of is decoders.per_step
    with pytest.raises(ValueError, match="network: gives outputs"):
        certify(network, data, nr.Ball(weight=0.1))
    strange = Lif(Linear(torch.ones(2, 3)), tau_mem=0.1, v_threshold=1.0, reset=SnntorchSubtract())
    late = Lif(Delayed(Linear(torch.ones(2, 3)), 1e-3), tau_mem=0.1, v_threshold=1.0)
    data = nr.data.Data(data.x.float(), torch.tensor([0, 1, 0, 1, 0]))
    for layer, message in ((strange, "reset SnntorchSubtract"), (late, "Delayed has no bounds")):
        with pytest.raises(TypeError, match=message):
            certify(nr.Network({"hidden": layer}, 1e-3), data, nr.Ball(weight=0.1))
    wrapped = nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Tanh()))
    with pytest.raises(TypeError, match=r"module '2': Tanh has no bounds"):
        certify(wrapped, data, nr.Ball(weight=0.1))


def test_plain_is_never_inside_tight_on_one_step():
    """The tighter steps without branches are inside the plain ones, logit by logit, at every ζ."""
    for seed in range(3):
        network, data = small("delayed", seed)
        for zeta in (1e-3, 0.1):
            region = box(nominal(network), nr.Ball.uniform(zeta), placement_of(network))
            layers = populations(network, region)
            plain, tight = (
                logit_bounds(layers, data.x, data.y, network.decode, steps).logits
                for steps in (NaturalExtension(), MeanValueForm())
            )
            assert (tight.lo >= plain.lo - 1e-12).all() and (tight.hi <= plain.hi + 1e-12).all()


def test_decided_counts_what_is_undecided():
    """The term is 0 exactly where no spike is undecided; a threshold close to the membrane has a gradient."""
    network, data = small("adaptive", 0)
    params = dict(network.named_parameters())
    criterion = nn.functional.cross_entropy

    def term(zeta: float, at: dict) -> torch.Tensor:
        loss = nr.regularizers.Decided(criterion, nr.Ball({"*weight": zeta, "*bias": zeta}), 1.0)
        return loss(network, at, (data.x, data.y)) - criterion(nr.run(network, at, data.x), data.y)

    for zeta in (1e-4, 3e-3, 0.05):
        ball = nr.Ball({"*weight": zeta, "*bias": zeta})
        undecided = (certify(network, data, ball).undecided < T).any()
        assert bool(term(zeta, params) > 1e-12) == bool(undecided)
    (slope,) = torch.autograd.grad(term(0.05, params), [params["second.v_threshold"]])
    assert torch.isfinite(slope).all() and (slope != 0).any()


def test_decided_training_decides_spikes():
    """Descending the term lowers it, and fewer samples are undecided than before."""
    network, data = small("adaptive", 0)
    ball = nr.Ball({"*weight": 0.02})
    loss = nr.regularizers.Decided(lambda logits, y: logits.sum() * 0, ball, 1.0)
    params = dict(network.named_parameters())
    before = float(loss(network, params, (data.x, data.y)).detach())
    descent = torch.optim.Adam([params["hidden.input.weight"], params["second.input.weight"]], lr=0.01)
    for _ in range(8):
        descent.zero_grad()
        loss(network, params, (data.x, data.y)).backward()
        descent.step()
    after = float(loss(network, params, (data.x, data.y)).detach())
    assert after < 0.8 * before


def test_decided_refuses_what_has_no_spikes():
    network, data = cnn(0)
    loss = nr.regularizers.Decided(nn.functional.cross_entropy, nr.Ball(weight=0.1), 1.0)
    with pytest.raises(TypeError, match="network: got Wrapped"):
        loss(network, dict(network.named_parameters()), (data.x, data.y))
    with pytest.raises(TypeError, match=r"ball: got 0\.1"):
        nr.regularizers.Decided(nn.functional.cross_entropy, 0.1, 1.0)


def test_rounding_of_a_membrane_adds_up():
    """Integrators of long time constants over 2000 steps in float32: what they lose is far more than one step's current
    loses, and inside the bounds; these are at most a hundred times wider than the loss."""
    n = 8
    tau = torch.linspace(0.5, 2.0, n)
    readout = LeakyIntegrator(Linear(torch.linspace(0.1, 0.3, n)[:, None]), tau_mem=tau)
    network = nr.Network({"readout": readout}, 1e-3, decode=decoders.last_step)
    data = nr.data.Data(torch.ones(1, 2000, 1), torch.tensor([n - 1]))
    certified = certify(network, data, nr.Ball(weight=0.0))
    single = nr.run(network, nominal(network), data.x).double()
    assert (certified.lower <= single).all() and (single <= certified.upper).all()
    lost = (single - (certified.lower + certified.upper) / 2).abs().max()
    assert lost > 16 * 2.0**-24 * single.max()
    assert (certified.upper - certified.lower).max() < 100 * lost
