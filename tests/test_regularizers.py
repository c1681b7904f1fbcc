"""Total losses and their gradients against the paper's formula on the float64 oracle, and closed forms."""

from __future__ import annotations

from dataclasses import replace

import oracle
import pytest
import torch
from conftest import DT, draw, events, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from neurorobust.attacks import PGA, Ball
from neurorobust.core.apply import apply
from neurorobust.core.placement import expand
from neurorobust.core.run import forward, nominal
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import LeakyIntegrator
from neurorobust.regularizers import Adversarial, Dropout, FiringRate, ForwardNoise, TaskLoss


class Spy(PGA):
    """PGA that remembers the die it returned."""

    found = None

    def search(self, *arguments, **options):
        type(self).found = super().search(*arguments, **options)
        return self.found


def leaves_of(network):
    return {name: value.requires_grad_() for name, value in nominal(network).items()}


def gradients(value, leaves):
    return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values()), allow_unused=True)))


def fold(expanded, network):
    """Gradients of expanded values summed back to the nominal ones: over the neurons of a core or of a layer."""
    placement, folded = placement_of(network), {}
    for name, value in nominal(network).items():
        if name in placement.index:
            flat = torch.zeros(value.numel(), dtype=torch.float64).index_add(0, placement.index[name], expanded[name])
            folded[name] = flat.reshape(value.shape)
        else:
            folded[name] = expanded[name]
    return folded


@pytest.mark.parametrize("constant", [False, True])
@settings(max_examples=6)
@given(seed=st.integers(0, 2**16), radius=st.sampled_from([0.05, 0.3]))
def test_adversarial_gradient_is_the_papers(constant, seed, radius):
    """∇(L_nat + β KL) = ∇ through the clean output + J · ∇ at θ*, J = 1 + sign(θ)δ or e^δ put in by hand, or 1 where θ*
    is treated as θ and a constant: to 1e-9."""
    network, data, beta = tiny(seed), events(seed, 8), 0.25
    masks = placement_of(network).masks
    attack = Spy(steps=3)
    leaves = leaves_of(network)
    loss = Adversarial(functional.cross_entropy, attack, Ball.uniform(radius), beta, treat_as_constant=constant)
    total = loss(network, leaves, (data.x, data.y), torch.Generator().manual_seed(seed))
    found = gradients(total, leaves)

    theta = {name: value.detach().requires_grad_() for name, value in oracle.expand(nominal(network)).items()}
    delta = Spy.found
    assert all(value.abs().max() > 0 for value in delta.values()) and set(delta) == set(theta)
    star = {name: value.detach().requires_grad_() for name, value in oracle.deviate(theta, delta).items()}
    clean = oracle.network(theta, data.x, DT, masks)[0]
    attacked = oracle.network(star, data.x, DT, masks)[0]
    loss = functional.cross_entropy(clean, data.y) + beta * oracle.kl(attacked, clean)
    torch.testing.assert_close(total, loss, rtol=1e-10, atol=1e-12)
    through_clean = gradients(loss, theta | {f"* {name}": value for name, value in star.items()})
    expected = fold(
        {
            name: through_clean[name]
            + (
                1.0
                if constant
                else 1 + theta[name].sign() * delta[name]
                if oracle.is_signed(name)
                else delta[name].exp()
            )
            * through_clean[f"* {name}"]
            for name in theta
        },
        network,
    )
    for name, gradient in found.items():
        scale = expected[name].abs().max().item()
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-9 * scale + 1e-14, msg=name)


def test_adversarial_with_beta_zero_is_the_inner_loss(network, data):
    """β = 0 gives the value and the gradient of the inner loss alone."""
    one, two = leaves_of(network), leaves_of(network)
    plain = functional.cross_entropy(forward(network, one, data.x)[0], data.y)
    total = Adversarial(functional.cross_entropy, PGA(2), Ball.uniform(0.1), 0.0)(network, two, (data.x, data.y))
    assert total.item() == plain.item()
    for (name, expected), found in zip(gradients(plain, one).items(), gradients(total, two).values()):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15, msg=name)


@pytest.mark.parametrize("stride, passes", [(1.0, {5}), (8.0, {5, 6})])
def test_the_pass_of_the_worst_die_is_not_run_twice(network, data, stride, passes):
    """Clean, three steps, and the last die: five passes where that die is the worst, so that of θ*. The bits of the
    loss and of its gradient are those of a search and then a pass at its worst die."""
    x, y, placement, objective = data.x, data.y, placement_of(network), functional.cross_entropy
    attack, ball = PGA(steps=3, stride=stride, objective="ce"), Ball.uniform(0.1)
    leaves = leaves_of(network)
    count = []
    network.register_forward_pre_hook(lambda *_: count.append(1))
    total = Adversarial(objective, attack, ball, 0.5)(network, leaves, (x, y), torch.Generator().manual_seed(3))
    assert len(count) in passes
    constant = {name: leaf.detach() for name, leaf in leaves.items()}
    clean = forward(network, leaves, x)[0]
    worst = attack.search(
        lambda deviations: objective(forward(network, apply(constant, deviations, placement), x)[0], y),
        ball.center(constant, placement),
        ball,
        torch.Generator().manual_seed(3),
    )
    star = forward(network, apply(leaves, worst, placement), x)[0]
    expected = objective(clean, y) + 0.5 * objective(star, y)
    assert torch.equal(total, expected)
    assert all(map(torch.equal, gradients(total, leaves).values(), gradients(expected, leaves).values()))


def test_adversarial_attacks_only_its_ball(network, data):
    """A ball of tau_mem deviates tau_mem alone, on every neuron of each core."""
    loss = Adversarial(functional.cross_entropy, Spy(2), Ball(tau_mem=0.2), 1.0)
    loss(network, leaves_of(network), (data.x, data.y))
    assert {name: tuple(delta.shape) for name, delta in Spy.found.items()} == {
        "hidden.tau_mem": (6,),
        "readout.tau_mem": (2,),
    }


@given(seed=st.integers(0, 2**16), strength=st.floats(0, 10), target=st.floats(0, 0.5))
def test_firing_rate_is_a_sum_over_samples_and_neurons(seed, strength, target):
    """L = inner + strength · Σ_samples Σ_neurons (rate − target)², with the oracle's spikes."""
    network, data = tiny(seed), events(seed, 5)
    with torch.no_grad():
        total = FiringRate(functional.cross_entropy, "hidden", target, strength)(
            network, nominal(network), (data.x, data.y)
        )
        logits, spikes = oracle.network(oracle.expand(nominal(network)), data.x, DT, placement_of(network).masks)
    term = sum((spikes[:, b, i].mean() - target) ** 2 for b in range(5) for i in range(6))
    torch.testing.assert_close(total, functional.cross_entropy(logits, data.y) + strength * term)


def test_firing_rate_defaults_are_the_papers():
    """Strength 0.001 and a target of 10 spikes in 1000 steps."""
    regularizer = FiringRate(functional.cross_entropy, "hidden")
    assert (regularizer.strength, regularizer.target) == (1e-3, 0.01)


def test_firing_rate_gradient_reaches_the_weights(network, data):
    """Its gradient is that of the oracle's spikes, through the surrogate."""
    leaves = leaves_of(network)
    found = gradients(
        FiringRate(lambda *_: torch.zeros(()), "hidden", 0.01, 1.0)(network, leaves, (data.x, data.y)), leaves
    )
    theta = {name: value.detach().requires_grad_() for name, value in oracle.expand(nominal(network)).items()}
    spikes = oracle.network(theta, data.x, DT, placement_of(network).masks)[1]
    expected = gradients((spikes.mean(0) - 0.01).square().sum(), theta)
    for name in ("hidden.input.weight", "hidden.recurrent.weight", "hidden.adaptation"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)


def test_forward_noise_has_the_stated_variance():
    """Small noise moves a linear read-out by N(0, level² Σ (θ·slope)²): 1000 draws, mean and variance within 5 σ.

    False alarm about 1e-6: |mean| ≤ 5 sd/√1000, variance within ± 5 √(2/1000) of 1 (normal limit of χ²).
    """
    network = Network({"a": LeakyIntegrator(Linear(draw(0, 2, 3), draw(1, 2)), tau_mem=0.004)}, DT)
    x, level = draw(2, 4, 10, 3), 1e-4
    noise = ForwardNoise(lambda logits, y: logits.sum(), level)
    params, generator = nominal(network), torch.Generator().manual_seed(0)
    base = forward(network, params, x)[0].sum().detach()
    per_neuron = {name: value.requires_grad_() for name, value in expand(params, placement_of(network)).items()}
    slope = gradients(forward(network, per_neuron, x)[0].sum(), per_neuron)
    spread = level * torch.cat([(slope[name] * value).flatten() for name, value in per_neuron.items()]).norm().detach()
    with torch.no_grad():
        moves = torch.stack([noise(network, params, (x, None), generator) - base for _ in range(1000)]) / spread
    assert abs(moves.mean()) <= 5 / 1000**0.5
    assert abs(moves.var() - 1) <= 5 * (2 / 1000) ** 0.5


def test_forward_noise_is_the_inner_loss_on_a_drawn_die(network, data):
    """With the generator's normals R taken by hand: cross-entropy of the oracle at θ + abs(θ)·η·R or θ·e^(η·R)."""
    generator = torch.Generator().manual_seed(4)
    deviations = {
        name: 0.3 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in oracle.expand(nominal(network)).items()
    }
    die = oracle.deviate(oracle.expand(nominal(network)), deviations)
    logits = oracle.network(die, data.x, DT, placement_of(network).masks)[0]
    loss, leaves = ForwardNoise(functional.cross_entropy, 0.3), leaves_of(network)
    value = loss(network, leaves, (data.x, data.y), torch.Generator().manual_seed(4))
    torch.testing.assert_close(value, functional.cross_entropy(logits, data.y))
    theta = {name: value.detach().requires_grad_() for name, value in die.items()}
    logits = oracle.network(theta, data.x, DT, placement_of(network).masks)[0]
    slopes = gradients(functional.cross_entropy(logits, data.y), theta)
    plain = oracle.expand(nominal(network))
    jacobian = {  # of θ + abs(θ)·η·R, or of θ·e^(η·R)
        name: 1 + plain[name].sign() * delta if oracle.is_signed(name) else delta.exp()
        for name, delta in deviations.items()
    }
    expected = fold({name: jacobian[name] * slopes[name] for name in theta}, network)
    for name, found in gradients(value, leaves).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-9, atol=1e-13, msg=name)
    assert loss(network, nominal(network), (data.x, data.y), torch.Generator().manual_seed(5)) != value


def test_noise_inside_adversarial(network, data):
    """Adversarial(ForwardNoise(L)) is L on a noisy die + β · KL between the clean network and θ*, as in the paper; its
    gradient, too."""
    draws = torch.Generator().manual_seed(7)
    nested = Adversarial(ForwardNoise(functional.cross_entropy, 0.3), Spy(2), Ball.uniform(0.1), 0.5)
    leaves, masks = leaves_of(network), placement_of(network).masks
    total = nested(network, leaves, (data.x, data.y), draws)
    theta = {name: value.requires_grad_() for name, value in oracle.expand(nominal(network)).items()}
    clean = oracle.network(theta, data.x, DT, masks)[0]
    term = oracle.kl(oracle.network(oracle.deviate(theta, Spy.found), data.x, DT, masks)[0], clean)
    noise = ForwardNoise(functional.cross_entropy, 0.3)
    replay = torch.Generator().manual_seed(7)
    for name, value in theta.items():
        if name in Spy.found:
            torch.randn(value.shape, generator=replay, dtype=torch.float64)
    others = leaves_of(network)
    alone = noise(network, others, (data.x, data.y), replay)
    torch.testing.assert_close(total, alone + 0.5 * term)
    found, inner, outer = gradients(total, leaves), gradients(alone, others), fold(gradients(term, theta), network)
    for name in found:
        torch.testing.assert_close(found[name], inner[name] + 0.5 * outer[name], rtol=1e-9, atol=1e-13, msg=name)


def test_adversarial_inside_noise(network, data):
    """ForwardNoise(L) of level 0 is L for any L, another regularizer included."""
    inner = Adversarial(functional.cross_entropy, PGA(2), Ball.uniform(0.1), 0.5)
    batch = (data.x, data.y)
    plain = inner(network, nominal(network), batch, torch.Generator().manual_seed(1))
    seen = []

    class Probe(TaskLoss):
        def total(self, step):
            seen.append(inner.total(replace(step, generator=torch.Generator().manual_seed(1))))
            return seen[-1]

    torch.testing.assert_close(ForwardNoise(Probe(None), 0.0)(network, nominal(network), batch), plain)


def with_spikes_dropped(p, x, scale, where):
    """Logits of conftest's network with its hidden spikes multiplied by ``scale`` on their way to ``where``."""
    current = x.transpose(0, 1) @ p["hidden.input.weight"].T
    alpha, rho = (torch.exp(-DT / p[f"hidden.{name}"]) for name in ("tau_mem", "tau_adapt"))
    v, b, z, seen = torch.zeros(len(x), 6), torch.zeros(len(x), 6), torch.zeros(len(x), 6).double(), []
    for drive in current:
        b = rho * b + (1 - rho) * z
        bound = p["hidden.v_threshold"] + p["hidden.adaptation"] * b
        back = z * scale if "recurrent" in where else z
        v = alpha * v + (1 - alpha) * (drive + back @ p["hidden.recurrent.weight"].T) - z * bound
        z = ((v > bound) & (z == 0)).double()
        seen.append(z * scale if "readout" in where else z)
    beta = torch.exp(-DT / p["readout.tau_mem"])
    current = torch.stack(seen) @ p["readout.input.weight"].T + p["readout.input.bias"]
    return oracle.integrate(current, beta, 1 - beta).mean(0)


@pytest.mark.parametrize(
    ("weights", "where"),
    [
        (["hidden.recurrent.weight"], "recurrent"),
        (["readout.input.weight"], "readout"),
        ([("hidden.recurrent.weight", "readout.input.weight")], "recurrent and readout"),
    ],
)
@given(seed=st.integers(0, 2**16))
def test_dropout_drops_spikes(weights, where, seed):
    """The inner loss of a network whose hidden spikes are multiplied by m/(1 − p) wherever the named weights read them,
    by one mask for the batch, taken by hand from the generator."""
    network, data = tiny(seed), events(seed, 6)
    loss = Dropout(functional.cross_entropy, 0.3, *weights)
    value = loss(network, nominal(network), (data.x, data.y), torch.Generator().manual_seed(seed))
    scale = (torch.rand(6, generator=torch.Generator().manual_seed(seed)) >= 0.3).double() / 0.7
    logits = with_spikes_dropped(oracle.expand(nominal(network)), data.x, scale, where)
    torch.testing.assert_close(value, functional.cross_entropy(logits, data.y), rtol=1e-10, atol=0)


class Dense(torch.nn.Module):
    """A foreign module: a convolution whose channels, and a dense layer whose inputs, can be dropped."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv1d(2, 5, 3).double(), torch.nn.Linear(5, 3).double()

    def forward(self, x, channels=1.0, hidden=1.0):
        deep = torch.relu(self.first(x * channels)).mean(2)
        return self.second(deep * hidden), {}


def test_dropout_in_a_foreign_module():
    """Input channels of a convolution and inputs of a dense layer, each with its own mask; gradients as of the masked
    signals."""
    torch.manual_seed(3)
    network, x, y = Dense(), draw(1, 6, 2, 9), torch.arange(6) % 3
    leaves = dict(network.named_parameters())
    loss = Dropout(functional.cross_entropy, 0.5, "first.weight", "second.weight")
    value = loss(network, leaves, (x, y), torch.Generator().manual_seed(1))
    found = torch.autograd.grad(value, list(leaves.values()))
    replay = torch.Generator().manual_seed(1)
    channels, hidden = (2.0 * (torch.rand(n, generator=replay) >= 0.5).double() for n in (2, 5))
    assert 0 < channels.sum() + hidden.sum() < 14
    expected = functional.cross_entropy(network(x, channels[:, None], hidden)[0], y)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    for gradient, by_signal in zip(found, torch.autograd.grad(expected, list(leaves.values()))):
        torch.testing.assert_close(gradient, by_signal, rtol=1e-10, atol=1e-15)


def test_dropout_drops_as_many_as_it_says():
    """Of 10 000 inputs to a weight of ones, 0.7 ± 5 σ stay, each worth 1/0.7 (false alarm 6e-7); p = 0 drops none."""
    network = torch.nn.Linear(10_000, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight.fill_(1.0)

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = network

        def forward(self, x):
            return self.dense(x), {}

    batch = (torch.ones(1, 10_000).double(), None)
    wrapped = Wrapped()
    kept = 0.7 * Dropout(lambda out, _: out.sum(), 0.3, "dense.weight")(wrapped, nominal(wrapped), batch).item()
    assert kept == pytest.approx(round(kept), abs=1e-8)
    assert abs(kept - 7000) <= 5 * (10_000 * 0.3 * 0.7) ** 0.5
    assert Dropout(lambda out, _: out.sum(), 0.0, "dense.weight")(wrapped, nominal(wrapped), batch) == 10_000


def test_dropout_that_does_not_fit_is_refused(network, data):
    """Unknown weights, weights that read different neurons, no weights, one twice, no weight, p of 1."""
    batch, params = (data.x, data.y), nominal(network)
    with pytest.raises(ValueError, match=r"'hiden.recurrent.weight' does not exist.*Did you mean 'hidden.recurrent"):
        Dropout(functional.cross_entropy, 0.3, "hiden.recurrent.weight")(network, params, batch)
    with pytest.raises(ValueError, match=r"hidden.input.weight reads 3 neurons, hidden.recurrent.weight reads 6"):
        Dropout(functional.cross_entropy, 0.3, ("hidden.recurrent.weight", "hidden.input.weight"))(
            network, params, batch
        )
    with pytest.raises(ValueError, match="weights: got none"):
        Dropout(functional.cross_entropy, 0.3)(network, {"hidden.input.weight": params["hidden.input.weight"]}, batch)
    with pytest.raises(ValueError, match=r"weights: got 'a\.weight'; expected names of weights, each once"):
        Dropout(functional.cross_entropy, 0.3, "a.weight", ("a.weight", "b.weight"))
    with pytest.raises(ValueError, match=r"weights: got 'a\.bias'"):
        Dropout(functional.cross_entropy, 0.3, "a.bias")
    with pytest.raises(ValueError, match=r"p: got 1.0; expected a probability ≥ 0 and < 1"):
        Dropout(functional.cross_entropy, 1.0, "a.weight")


def test_an_unknown_layer_is_refused(network, data):
    """A layer that is not there is named beside those that are."""
    loss = FiringRate(functional.cross_entropy, "hiden")
    with pytest.raises(ValueError, match=r"'hiden' does not exist; choose one of hidden, readout"):
        loss(network, nominal(network), (data.x, data.y))


def test_a_ball_that_reaches_nothing_is_refused(network, data):
    """Adversarial says, as worst_case does, that no parameter may move."""
    loss = Adversarial(functional.cross_entropy, PGA(1), Ball(tau_syn=0.1), 1.0)
    with pytest.raises(ValueError, match="names no parameter of this network"):
        loss(network, leaves_of(network), (data.x, data.y))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_levels_are_refused(value):
    """Negative, NaN and infinite β, η, strength and target are named."""
    with pytest.raises(ValueError, match="beta: got"):
        Adversarial(functional.cross_entropy, PGA(), Ball.uniform(0.1), value)
    with pytest.raises(ValueError, match="level: got"):
        ForwardNoise(functional.cross_entropy, value)
    with pytest.raises(ValueError, match="strength: got"):
        FiringRate(functional.cross_entropy, "hidden", strength=value)
    with pytest.raises(ValueError, match="target: got"):
        FiringRate(functional.cross_entropy, "hidden", target=value)
    with pytest.raises(TypeError, match="loss: got 3"):
        ForwardNoise(3, 0.1)
