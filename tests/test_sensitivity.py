"""Sensitivity analysis, against closed forms, finite differences, and dies and attacks made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import draw, events, tiny
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust.attacks import PGA, L2Ball
from neurorobust.core.placement import expand
from neurorobust.core.run import forward
from neurorobust.data import Data
from neurorobust.evaluation import balanced_accuracy, sensitivity
from neurorobust.evaluation.predict import EVALUATION_BATCH
from neurorobust.evaluation.sensitivity import LEVELS
from neurorobust.nn.network import placement_of

FAST = PGA(steps=2)


class Affine(nn.Module):
    """A foreign network: logits = x Wᵀ + b."""

    def __init__(self, seed: int, n_out: int = 2, n_in: int = 3):
        super().__init__()
        self.read = nn.Linear(n_in, n_out, dtype=torch.float64)
        with torch.no_grad():
            self.read.weight.copy_(draw(seed, n_out, n_in))
            self.read.bias.copy_(draw(seed + 1, n_out))

    def forward(self, x):
        return self.read(x), {}


class Refractory(nn.Module):
    """A foreign network with a t_ref that acts in whole steps of 1 s, with or without a path for the gradient."""

    def __init__(self, path: bool):
        super().__init__()
        self.read = Affine(3).read
        self.t_ref = nn.Parameter(torch.tensor([1.4, 2.4], dtype=torch.float64))
        self.path = path

    def forward(self, x):
        steps = self.t_ref.round() if self.path else self.t_ref.detach().round()
        return self.read(x) * steps, {}


def samples(n: int = 12, n_in: int = 3, n_out: int = 2) -> Data:
    """Two-dimensional inputs, every class present."""
    return Data(draw(n, n, n_in), torch.arange(n) % n_out)


def analyze(network, data, **options):
    """An analysis that is fast enough for tests."""
    return sensitivity(network, data, **{"attack": FAST, "n_dies": 2} | options)


def row(found, level, **where):
    """The one row of the table for this part."""
    table = found.table()
    table = table[table["level"] == level]
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def ce(network, deviations, data) -> float:
    """Cross-entropy on a die."""
    params = nr.apply(nr.nominal(network), deviations, placement_of(network))
    return float(functional.cross_entropy(forward(network, params, data.x)[0], data.y))


@given(st.integers(0, 99), st.integers(2, 4), st.integers(1, 4), st.integers(4, 9), st.floats(0.01, 0.5))
def test_closed_form(seed, n_out, n_in, n, zeta):
    """An affine network's gradients are (softmax − one-hot)ᵀx/n·abs(W) and its column sum for the bias, times ζ."""
    network, data = Affine(seed, n_out, n_in), samples(n, n_in, n_out)
    found = analyze(network, data, ball=nr.Ball.uniform(zeta), n_dies=1, attack=PGA(steps=1))
    with torch.no_grad():
        error = functional.softmax(network(data.x)[0], -1) - functional.one_hot(data.y, n_out)
    weight = (error.T @ data.x / n * network.read.weight.abs()).detach()
    bias = (error.mean(0) * network.read.bias.abs()).detach()
    assert torch.allclose(found.gradients["read.weight"], weight, atol=1e-12)
    assert np.allclose(found.first_order("read.weight"), zeta * weight.abs(), atol=1e-12)
    assert np.allclose(found.first_order("read.bias"), zeta * bias.abs(), atol=1e-12)


def test_blocks_of_samples_add_up():
    """More samples than a block: gradients are those of all at once."""
    network, data = Affine(0), samples(2 * EVALUATION_BATCH + 3)
    found = analyze(network, data, n_dies=1, attack=PGA(steps=1))
    delta = torch.zeros_like(network.read.weight).requires_grad_()
    logits = forward(network, nr.apply(nr.nominal(network), {"read.weight": delta}), data.x)[0]
    loss = torch.nn.functional.cross_entropy(logits, data.y)
    (expected,) = torch.autograd.grad(loss, delta)
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    assert torch.allclose(found.gradients["read.weight"], expected, rtol=1e-10, atol=1e-15)


def test_readout_against_finite_differences(network, data):
    """If a spiking network is smooth (its read-out), every element's gradient is the central difference of the loss."""
    found = analyze(network, data)
    h = 1e-6
    for name in ("readout.tau_mem", "readout.input.weight", "readout.input.bias"):
        for flat in range(found.gradients[name].numel()):
            delta = torch.zeros_like(found.gradients[name])
            delta.reshape(-1)[flat] = h
            slope = (ce(network, {name: delta}, data) - ce(network, {name: -delta}, data)) / (2 * h)
            assert float(found.gradients[name].reshape(-1)[flat]) == pytest.approx(slope, abs=1e-8)


def test_neurons_of_a_core_have_their_own_gradients(network, data):
    """One gradient for each neuron though the value is set per core, and those of a core add up to θ·∂loss/∂θ."""
    found = analyze(network, data)
    functional.cross_entropy(network(data.x)[0], data.y).backward()
    tau, core = network.hidden.tau_mem, network.hidden.core
    assert found.gradients["hidden.tau_mem"].shape == (6,)
    assert len(found.gradients["hidden.tau_mem"].unique()) > 2
    sums = torch.zeros(2, dtype=torch.float64).index_add(0, core, found.gradients["hidden.tau_mem"])
    assert torch.allclose(sums, (tau * tau.grad).detach(), rtol=1e-9)
    assert float(sums.abs().min()) > 0


def test_the_total_is_what_the_common_corner_adds():
    """For small ζ the loss at δ = ζ·sign(g) is nominal + first_order, to second order in ζ."""
    network, data, zeta = Affine(5), samples(), 1e-5
    found = analyze(network, data, ball=nr.Ball.uniform(zeta))
    corner = {name: zeta * gradient.sign() for name, gradient in found.gradients.items()}
    total = row(found, "network")["first_order"]
    assert (ce(network, corner, data) - found.loss) / total == pytest.approx(1, abs=1e-3)


def test_rms_is_the_spread_of_the_loss():
    """For small ζ the standard deviation of the loss over 2000 random dies is rms within 7 %.

    The sampling error of a standard deviation is 1/√4000 = 1.6 %; 7 % is 4.4 of them: a false alarm in 1e5 seeds.
    """
    network, data, zeta = Affine(5), samples(), 1e-4
    found = analyze(network, data, ball=nr.Ball.uniform(zeta))
    die = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(2000):
        noise = {name: zeta * torch.randn(g.shape, generator=die, dtype=g.dtype) for name, g in found.gradients.items()}
        losses.append(ce(network, noise, data))
    assert np.std(losses) == pytest.approx(row(found, "network")["rms"], rel=0.07)


def test_random_dies_are_those_of_the_fleet(network, data):
    """Each row's random dies are mismatch(ζ)'s under the same seed, cut down to that part; the network's are whole."""
    found = analyze(network, data, ball=nr.Ball.uniform(0.3), n_dies=3, seed=7)
    chip, params, placement = nr.mismatch(0.3), nr.nominal(network), placement_of(network)
    programmed = chip.program(params, placement)
    dies = [die.deviations(programmed) for die in chip.fabricate(range(3), 7)]
    for part in found.groups:
        for value, die in zip(part.random, dies):
            moved = nr.apply(params, {name: die[name] for name in part.names}, placement)
            assert value == balanced_accuracy(forward(network, moved, data.x)[0], data.y)
    whole = next(part for part in found.groups if part.level == "network")
    assert np.array_equal(whole.random, nr.evaluate(network, data, chip, n_dies=3, seed=7).balanced_accuracy)


def test_attacks_are_worst_cases_of_one_part(network, data):
    """Each row's attack is worst_case in the ball of its parameters alone, never above nominal."""
    found = analyze(network, data, ball=nr.Ball.uniform(0.4), attack=PGA(steps=3), seed=3)
    for part in found.groups:
        ball = nr.Ball(dict.fromkeys(part.names, 0.4))
        assert part.attacked == nr.worst_case(network, data, ball, PGA(steps=3), seed=3).balanced_accuracy
        assert part.attacked <= found.nominal and part.attack == "PGA"
    assert found.nominal == balanced_accuracy(network(data.x)[0], data.y)


def test_table(network, data):
    """Every level covers every element once; rows hold the statistics of their part, most fragile first."""
    found = analyze(network, data, ball=nr.Ball.uniform(0.4), n_dies=3)
    table = found.table()
    assert list(dict.fromkeys(table["level"])) == list(LEVELS)
    n = sum(v.numel() for v in expand(nr.nominal(network), placement_of(network)).values())
    existing = n - int((~network.hidden.recurrent.mask).sum())
    for _, rows in table.groupby("level"):
        assert rows["elements"].sum() == existing
        assert rows["first_order"].sum() == pytest.approx(table["first_order"].iloc[0])
        assert (rows["rms"] ** 2).sum() == pytest.approx(table["rms"].iloc[0] ** 2)
        assert (rows["attacked"].diff().dropna() >= 0).all()
    assert np.allclose(table["per_element"] * table["elements"], table["first_order"])
    weights = row(found, "layer and kind", layer="hidden", kind="weight")
    assert weights["elements"] == 18 + int(network.hidden.recurrent.mask.sum())
    part = next(p for p in found.groups if p.level == "kind" and p.kind == "tau_mem")
    tau = row(found, "kind", kind="tau_mem")
    assert part.names == ("hidden.tau_mem", "readout.tau_mem")
    assert (tau["random_mean"], tau["random_min"]) == (part.random.mean(), part.random.min())


def test_absent_synapses_are_no_elements(network, data):
    """NaN exactly where the mask has no synapse, in the map and not among the top."""
    found = analyze(network, data)
    values = found.first_order("hidden.recurrent.weight")
    assert np.array_equal(np.isnan(values), ~network.hidden.recurrent.mask.numpy())
    assert len(found.top(10**6)) == row(found, "network")["elements"]


def test_top(network, data):
    """The single elements in order of abs(g)·ζ; their corner is on the side where the loss rises."""
    found = analyze(network, data)
    top = found.top(7)
    every = np.concatenate([found.first_order(name).ravel() for name in found.gradients])
    assert np.allclose(top["first_order"], np.sort(every[~np.isnan(every)])[::-1][:7])
    for entry in top.to_dict("records"):
        name, index = entry["parameter"], entry["index"]
        assert entry["first_order"] == found.first_order(name)[index]
        assert entry["deviation"] * float(found.gradients[name][index]) == pytest.approx(entry["first_order"])
        assert entry["nominal"] == float(found.params[name][index])


def test_neurons(network, data):
    """Neurons add up to their layer, and one of them to its own parameters and the row of its synapses."""
    found = analyze(network, data)
    table = found.neurons()
    assert table.groupby("layer").size().to_dict() == {"hidden": 6, "readout": 2}
    for layer, rows in table.groupby("layer"):
        assert rows["first_order"].sum() == pytest.approx(row(found, "layer", layer=layer)["first_order"])
    assert (table["first_order"].diff().dropna() <= 0).all()
    one = table[(table["layer"] == "hidden") & (table["neuron"] == 4)].iloc[0]
    own = ("tau_mem", "tau_adapt", "adaptation", "v_threshold")
    assert one["own"] == pytest.approx(sum(found.first_order(f"hidden.{kind}")[4] for kind in own))
    rows = [np.nansum(found.first_order(f"hidden.{part}.weight")[4]) for part in ("input", "recurrent")]
    assert one["synapses"] == pytest.approx(sum(rows))


@pytest.mark.parametrize("path", [True, False], ids=["zero", "none"])
def test_parameters_without_gradient_are_named(path):
    """t_ref has NaN gradients, is searched at random, and leaves the rest of the analysis as it is."""
    found = analyze(Refractory(path), samples(), ball=nr.Ball.uniform(0.5))
    alone = row(found, "kind", kind="t_ref")
    assert np.isnan(alone[["first_order", "per_element", "rms"]].to_numpy(dtype=float)).all()
    assert alone["elements"] == 2 and alone["attack"] == "RandomSearch"
    assert "t_ref" not in set(found.top(99)["parameter"])
    whole = row(found, "network")
    assert whole["attack"] == "PGA"
    assert whole["first_order"] == pytest.approx(sum(found.table().query("level == 'kind'")["first_order"].dropna()))


def test_regression():
    """Targets instead of classes: the score is R², and the gradients are those of the mean squared error."""
    network, x = Affine(2), draw(9, 10, 3)
    data = Data(x, network(x)[0].detach() + 0.5 * draw(10, 10, 2))
    found = analyze(network, data, attack=PGA(steps=2, objective="mse"))
    error = network(x)[0].detach() - data.y
    assert found.nominal == pytest.approx(float(1 - error.square().sum() / (data.y - data.y.mean()).square().sum()))
    expected = 2 * error.sum(0) / error.numel() * network.read.bias.detach().abs()
    assert torch.allclose(found.gradients["read.bias"], expected)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ball": nr.Ball(tau_syn=0.1)}, ValueError, "ball: .* no parameter"),
        ({"ball": L2Ball(weight=0.1)}, TypeError, "ball: got L2Ball"),
        ({"n_dies": 0}, ValueError, "n_dies: got 0"),
        ({"seed": -1}, ValueError, "seed: got -1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_arguments(options, error, message):
    """Each wrong argument has one clear error."""
    with pytest.raises(error, match=message):
        analyze(Affine(0), samples(), **options)


def test_bad_use():
    """One class only, an element count and a name that do not exist."""
    data = samples()
    with pytest.raises(ValueError, match="two classes"):
        analyze(Affine(0), Data(data.x, torch.zeros_like(data.y)))
    found = analyze(Affine(0), data)
    with pytest.raises(ValueError, match=r"n: got 0"):
        found.top(0)
    with pytest.raises(ValueError, match=r"Did you mean 'read\.weight'"):
        found.first_order("read.weigth")


def test_the_network_is_left_alone():
    """Parameters, gradients, modes and the global random state are as they were, and a seed gives the same result."""
    network, data = tiny(), events(2, 12)
    network.hidden.train()
    network.readout.eval()
    before, state = nr.nominal(network), torch.get_rng_state()
    first, second = analyze(network, data, seed=4), analyze(network, data, seed=4)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
    assert all(value.grad is None for value in network.parameters())
    assert (network.hidden.training, network.readout.training) == (True, False)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.table().equals(second.table())
