"""Beta warm-started, within a chip's corners, against the whitened die and through a chip's rounding: from scratch, in
float64, without the package."""

from __future__ import annotations

from dataclasses import replace

import oracle
import pytest
import torch
from conftest import DT, draw, events, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from placed import placed
from test_published import Cnn, by_hand, divergence
from test_regularizers import Spy, fold, gradients, leaves_of
from torch import nn
from torch.nn import functional

import chipmodels
from neurorobust._util import digests
from neurorobust.attacks import PGA, Ball, WhitenedBall
from neurorobust.chip import mismatch
from neurorobust.core.apply import apply
from neurorobust.core.placement import expand
from neurorobust.core.run import nominal
from neurorobust.nn.network import placement_of
from neurorobust.regularizers import Adversarial, ChipCorners, ProgrammedOn, TaskLoss, WarmAdversarial, Whitened
from neurorobust.regularizers.regularizer import check_loss
from neurorobust.train import descent
from neurorobust.train.descent import Schedule
from neurorobust.train.loop import fit

entropy = functional.cross_entropy
CORE = [0, 0, 0, 1, 1, 1]

# Warm start


@pytest.mark.parametrize(("steps", "stride"), [(1, 0.5), (2, 0.3), (1, 2.0)])
@settings(max_examples=3)
@given(seed=st.integers(0, 2**16))
def test_warm_start_by_hand(steps, stride, seed):
    """Three batches of a CNN that moves between them: δ ← clip(δ + stride ζ sign g), ``steps`` times from where it was,
    and loss and gradient with the Jacobian 1 + sign(θ)δ, all by hand; to 1e-10."""
    network, zeta, beta = Cnn(seed), 0.1, 0.25
    loss = WarmAdversarial(entropy, Ball(weight=zeta, bias=zeta), beta, steps=steps, stride=stride)
    theta, generator = nominal(network), torch.Generator().manual_seed(seed)
    replay = torch.Generator().manual_seed(seed)
    delta = {
        name: 1e-3 * torch.randn(value.shape, generator=replay, dtype=torch.float64) for name, value in theta.items()
    }
    for batch in range(3):
        x, y = draw(seed + batch, 7, 1, 8, 8), (torch.arange(7) + batch) % 3
        leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
        total = loss(network, leaves, (x, y), generator)
        found = gradients(total, leaves)

        clean = by_hand(theta, x)
        for _ in range(steps):
            star = {name: (theta[name] + theta[name].abs() * delta[name]).requires_grad_() for name in theta}
            slopes = gradients(divergence(clean, by_hand(star, x)), star)
            for name in theta:
                step = stride * zeta * (slopes[name] * theta[name].abs()).sign()
                delta[name] = (delta[name] + step).clamp(-zeta, zeta)
        mine = {name: value.clone().requires_grad_() for name, value in theta.items()}
        star = {name: (theta[name] + theta[name].abs() * delta[name]).requires_grad_() for name in theta}
        clean = by_hand(mine, x)
        natural = -(clean - clean.exp().sum(1, keepdim=True).log())[torch.arange(7), y].mean()
        expected = natural + beta * divergence(clean, by_hand(star, x))
        both = gradients(expected, mine | {f"* {name}": value for name, value in star.items()})
        assert total.item() == pytest.approx(expected.item(), rel=1e-10, abs=0)
        for name in theta:
            exact = both[name] + (1 + theta[name].sign() * delta[name]) * both[f"* {name}"]
            torch.testing.assert_close(found[name], exact, rtol=0, atol=1e-10 * exact.abs().max().item(), msg=name)
            torch.testing.assert_close(loss.state()[name], delta[name], rtol=0, atol=1e-15)
        theta = {name: value - 0.1 * found[name] for name, value in theta.items()}


def test_warm_start_in_every_kind():
    """On the spiking network, two batches: e^δ on time constants and thresholds, 1 + sign(θ)δ on weights, on the oracle
    at the deviations it carries, folded to what is set once a core."""
    network, beta = tiny(2), 0.4
    loss, masks = WarmAdversarial(entropy, Ball.uniform(0.2), beta), placement_of(network).masks
    for batch in range(2):
        data, leaves = events(batch, 8), leaves_of(network)
        total = loss(network, leaves, (data.x, data.y), torch.Generator().manual_seed(1))
        found, delta = gradients(total, leaves), loss.state()
        theta = {name: value.requires_grad_() for name, value in oracle.expand(nominal(network)).items()}
        star = oracle.deviate(theta, delta)
        clean = oracle.network(theta, data.x, DT, masks)[0]
        expected = entropy(clean, data.y) + beta * oracle.kl(oracle.network(star, data.x, DT, masks)[0], clean)
        torch.testing.assert_close(total, expected, rtol=1e-10, atol=0)
        exact = fold(gradients(expected, theta), network)
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, exact[name], rtol=1e-8, atol=1e-12, msg=name)
    assert set(delta) == set(theta)
    assert all(value.abs().max() > 0.05 for value in delta.values())


def test_warm_start_makes_three_passes():
    """One step per batch costs three passes of the network, the clean one included; two cost four."""
    calls = []

    class Counting(Cnn):
        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    network = Counting(0)
    for steps in (1, 2):
        calls.clear()
        WarmAdversarial(entropy, Ball(weight=0.1), 0.4, steps=steps)(
            network, leaves_of(network), (draw(1, 4, 1, 8, 8), torch.arange(4) % 3)
        )
        assert len(calls) == 2 + steps


def test_another_network_is_not_attacked_with_what_is_carried():
    """Deviations of other shapes or names are refused; restore({}) forgets them."""
    loss, data = WarmAdversarial(entropy, Ball(weight=0.1), 0.4), events(0, 4)
    network = tiny()
    loss(network, leaves_of(network), (data.x, data.y))
    other = Cnn(0)
    batch = (draw(1, 4, 1, 8, 8), torch.arange(4) % 3)
    with pytest.raises(ValueError, match=r"carried here are of another network; .* restore\(\{\}\)"):
        loss(other, leaves_of(other), batch)
    loss.restore({})(other, leaves_of(other), batch)


# A chip's corners


def test_corners_of_plain_mismatch_are_a_uniform_ball(network, data):
    """Of δ = 0.1·N(0, 1) the corners at u = ±2 are the ball of 0.2: the same loss and gradients."""
    results = []
    for ball in (ChipCorners(mismatch(0.1), 2.0), Ball.uniform(0.2)):
        leaves = leaves_of(network)
        total = Adversarial(entropy, PGA(3), ball, 0.5)(network, leaves, (data.x, data.y), torch.Generator())
        results.append((total, gradients(total, leaves)))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-14)


def test_corners_follow_the_parameters():
    """On dynapse2, whose spread depends on the current: every ball is that of the parameters of its batch at the gains
    of the last programming, at the first batch and every second one."""
    network, chip = placed(CORE), chipmodels.load("dynapse2")
    placement, corners = placement_of(network), ChipCorners(chip, 1.5, every=2)
    seen = []
    for batch in range(4):
        theta = {
            name: value * (1 + 0.3 * batch) if name.endswith("weight") else value
            for name, value in nominal(network).items()
        }
        if batch % 2 == 0:
            gains = chip.program(theta, placement).gains
        seen.append(corners(theta, placement).corners)
        assert set(seen[-1]) == {name for name in theta if not placement.on_host(name)}
        for name, value in expand({name: theta[name] for name in seen[-1]}, placement).items():
            gain = gains.get(name, torch.ones(1)).double().reshape(-1, *[1] * (value.ndim - 1))
            law = chip.kinds[name.rsplit(".", 1)[-1]].law.without_outliers.of_first_normal
            ends = [
                law.deviate(name.rsplit(".", 1)[-1], (torch.full_like(value, u),), value * gain) for u in (-1.5, 1.5)
            ]
            torch.testing.assert_close(seen[-1][name], (torch.minimum(*ends), torch.maximum(*ends)))
    low = [corners["hidden.input.weight"][0] for corners in seen]
    assert not torch.allclose(low[0], low[1])
    torch.testing.assert_close(low[0], low[2], rtol=1e-3, atol=0)  # 1.6 times the weights, and so the gain: the same


# The whitened die


class Linear(nn.Module):
    """Logits are sums: outputs x · w and 2 log τ."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(draw(1, 5))
        self.tau_mem = nn.Parameter(torch.tensor([0.5, 3.0], dtype=torch.float64))

    def forward(self, x):
        return (x @ self.weight + 2 * self.tau_mem.log().sum())[:, None], {}


def rise(attacked, clean, y):
    """The objective of the attack: the sum of the outputs."""
    return attacked.sum()


@pytest.mark.parametrize("steps", [1, 4])
def test_whitened_die_of_a_linear_network(steps):
    """The worst u of Σ gradient·u in ‖u‖ ≤ k is k s/‖s‖, s = (cv |w| x, 2 cv) over all parameters: loss k‖s‖, and
    the gradient in w has the Jacobian 1 + sign(w) cv u."""
    network, cv, k, x = Linear(), 0.2, 3.0, draw(2, 1, 5)
    leaves = leaves_of(network)
    loss = Whitened(lambda outputs, y: outputs.sum(), PGA(steps, 1e-12, rise), mismatch(cv), k, 0.5)
    total = loss(network, leaves, (x, None))
    found = gradients(total, leaves)
    w, tau = (leaves[name].detach() for name in ("weight", "tau_mem"))
    s = torch.cat([cv * w.abs() * x[0], torch.full((2,), 2 * cv, dtype=torch.float64)])
    u = k * s / s.norm()
    base = float(x[0] @ w + 2 * tau.log().sum())
    assert total.item() == pytest.approx(base + 0.5 * (base + k * float(s.norm())), rel=1e-9)
    torch.testing.assert_close(found["weight"], x[0] + 0.5 * x[0] * (1 + w.sign() * cv * u[:5]), rtol=1e-8, atol=0)
    torch.testing.assert_close(found["tau_mem"], 1.5 * 2 / tau, rtol=1e-8, atol=0)


def test_whitened_die_is_one_of_the_chip():
    """On dynapse2: the attack searches one u for every synapse that exists and every neuron, ‖u‖ at its limit; loss
    and gradient are those of the die these u make."""
    network, chip, data, k = placed(CORE), chipmodels.load("dynapse2"), events(0, 8), 5.0
    leaves, placement = leaves_of(network), placement_of(network)
    generator = torch.Generator().manual_seed(2)
    total = Whitened(entropy, Spy(3), chip, k, 0.5)(network, leaves, (data.x, data.y), generator)
    found, masks = gradients(total, leaves), placement.masks
    assert Spy.found["hidden.recurrent.weight"].shape == (int(masks["hidden.recurrent.weight"].sum()),)
    length = torch.cat([u.flatten() for u in Spy.found.values()]).norm()
    assert 0.9 * k <= length <= k * (1 + 1e-12)

    programmed = chip.program(nominal(network), placement)
    as_trained = replace(programmed, params=nominal(network))
    whole = {name: torch.zeros_like(value) for name, value in as_trained.expanded().items()}
    for name, u in Spy.found.items():
        whole[name][masks.get(name, torch.ones_like(whole[name], dtype=torch.bool))] = u.flatten()
    delta = chip.fabricate([0], 0)[0].deviate(whole, as_trained)
    again = leaves_of(network)
    clean = network_logits(network, again, data.x)
    expected = entropy(clean, data.y)
    expected = expected + 0.5 * oracle.kl(network_logits(network, apply(again, delta, placement), data.x), clean)
    torch.testing.assert_close(total, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(found, gradients(expected, again), rtol=1e-8, atol=1e-12)


def network_logits(network, params, x):
    return torch.func.functional_call(network, params, (x,))[0]


def test_whitened_ball():
    """Projection scales all parameters together keeps what is inside; a step goes along all gradients together; draws
    fill the ball: (‖u‖/k)^n is uniform, mean ½ ± 5 σ of 1000 (false alarm 6e-7)."""
    ball = WhitenedBall(2.0)
    far = {"a.weight": torch.full((3, 3), 1.0).double(), "a.tau_mem": torch.full((16,), 1.0).double()}
    near = ball.project(far)
    torch.testing.assert_close(near, {name: 0.4 * value for name, value in far.items()})
    assert ball.project(near) is near or all(torch.allclose(near[name], ball.project(near)[name]) for name in near)
    zero = {name: torch.zeros_like(value) for name, value in far.items()}
    torch.testing.assert_close(ball.ascent_step(zero, far, 0.5), {name: 0.2 * value for name, value in far.items()})
    assert all((value == 0).all() for value in ball.ascent_step(zero, zero, 0.5).values())
    generator = torch.Generator().manual_seed(0)
    lengths = []
    for _ in range(1000):
        drawn = ball.sample(zero, generator)
        lengths.append(torch.cat([u.flatten() for u in drawn.values()]).norm())
    shares = (torch.stack(lengths) / 2) ** 25
    assert shares.max() <= 1 and abs(shares.mean() - 0.5) <= 5 * (1 / 12 / 1000) ** 0.5


# A chip's rounding


class Seen(TaskLoss):
    """The inner loss, which keeps the parameters it was asked at."""

    def total(self, step):
        self.seen = step.params
        return super().total(step)


@pytest.mark.parametrize("name", ["dynapse2", "dynapse1", "brainscales2", "pcm"])
def test_programmed_is_what_the_chip_holds(name):
    """At the first batch the inner loss is asked at what ``program`` gives, bit for bit, with the gradient there."""
    chip, data = chipmodels.load(name), events(0, 6)
    network = placed(CORE if chip.limits.cores != 1 else [0] * 6)
    placement = placement_of(network)
    programmed = expand(chip.program(nominal(network), placement).params, placement)
    leaves, inner = leaves_of(network), Seen(entropy)
    found = gradients(ProgrammedOn(inner, chip)(network, leaves, (data.x, data.y)), leaves)
    for key, value in programmed.items():
        assert torch.equal(inner.seen[key], value), key
    held = {key: value.clone().requires_grad_() for key, value in programmed.items()}
    exact = gradients(entropy(network_logits(network, held, data.x), data.y), held)
    for key in ("hidden.input.weight", "hidden.recurrent.weight", "readout.input.weight"):
        torch.testing.assert_close(found[key], exact[key], rtol=1e-9, atol=1e-13, msg=key)


def test_levels_stay_until_the_next_programming():
    """Between programmings of dynapse2 every moved weight takes the nearest level its core had; then the new ones."""
    network, chip = placed(CORE), chipmodels.load("dynapse2")
    placement, loss = placement_of(network), ProgrammedOn(entropy, chip, every=2)
    key, masks = "hidden.input.weight", placement_of(network).masks
    theta = nominal(network)
    levels = chip.program(theta, placement).params
    loss.quantized_params(theta, placement)
    moved = theta | {name: value * 1.1 + 0.01 for name, value in theta.items() if name.endswith("weight")}
    held = loss.quantized_params(moved, placement)
    for core in (0, 1):
        here = torch.tensor(CORE) == core
        names = ("hidden.input.weight", "hidden.recurrent.weight")
        offered = torch.cat([levels[name][here][masks[name][here]] for name in names]).unique()
        value = moved[key][here]
        nearest = offered[(value[..., None] - offered).abs().argmin(-1)]
        assert torch.equal(held[key][here], nearest)
    assert torch.equal(loss.quantized_params(moved, placement)[key], chip.program(moved, placement).params[key])


# Training


@pytest.mark.parametrize("name", ["warm", "corners", "rounding"])
def test_training_goes_on_from_what_is_carried(task, tmp_path, name):
    """Killed in the third epoch and resumed: the bits of a run never killed; without what it carried, others."""

    def build():
        inner = entropy
        chip = chipmodels.load("dynapse2")
        if name == "warm":
            return WarmAdversarial(inner, Ball.uniform(0.2), 0.4, stride=0.3)
        if name == "corners":
            return Adversarial(inner, PGA(1), ChipCorners(chip, 2.0, every=4), 0.4)
        return ProgrammedOn(inner, chip, every=4)

    def trained(loss, **options):
        network = placed(CORE)
        for key, value in network.named_parameters():
            value.requires_grad_(key.endswith("weight"))
        fit(network, task, loss, epochs=4, seed=3, schedule=Schedule(learning_rate=0.02, batch_size=8), **options)
        return nominal(network)

    calls = []

    def killed(value):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return check_loss(value)

    loss = build()
    whole = trained(loss)
    assert all(torch.equal(whole[key], value) for key, value in trained(loss).items())  # begins anew
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(descent, "check_loss", killed)
        trained(build(), out=tmp_path)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = trained(build(), out=tmp_path)
    assert all(torch.equal(whole[key], value) for key, value in resumed.items())
    assert checkpoint["states"].pop("loss")
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    digests.append(tmp_path / "checkpoint.pt")
    other = trained(build(), out=tmp_path)
    assert not all(torch.equal(whole[key], value) for key, value in other.items())
