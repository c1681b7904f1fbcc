"""The authors' attack on an ordinary convolutional network, against arXiv 2106.05009's formulas written out by hand.

The authors never project, take the last iterate, and differentiate through θ* = θ + abs(θ)·(ε R + (ζ/N) Σ_t d_t) with
the directions d_t held constant. Everything here is float64 and shares nothing with the package but the generator.
"""

from __future__ import annotations

import pytest
import torch
from conftest import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from neurorobust.attacks import PGA, Ball, L2Ball
from neurorobust.core.run import nominal
from neurorobust.regularizers import Adversarial

STEPS, START, ZETA, BETA = 10, 1e-3, 0.1, 0.25
SHAPES = {
    "conv.weight": (3, 1, 3, 3),
    "conv.bias": (3,),
    "deep.weight": (4, 3, 2, 2),
    "deep.bias": (4,),
    "dense.weight": (3, 16),
    "dense.bias": (3,),
}


class Cnn(nn.Module):
    """Convolution, ReLU, max-pool, convolution, ReLU, dense: images (B, 1, 8, 8) → 3 logits."""

    def __init__(self, seed: int):
        super().__init__()
        self.conv, self.deep, self.dense = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 2), nn.Linear(16, 3)
        self.double()
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.copy_(0.5 * draw(seed + number, *parameter.shape))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        hidden = functional.max_pool2d(functional.relu(self.conv(x)), 2)
        return self.dense(functional.relu(self.deep(hidden)).flatten(1)), {}


def by_hand(p: dict[str, Tensor], x: Tensor) -> Tensor:
    """The same network from its weights alone: convolutions as sums over shifted images."""

    def convolve(image, weight, bias):
        size = weight.shape[-1]
        out = image.shape[-1] - size + 1
        total = bias[None, :, None, None]
        for i in range(size):
            for j in range(size):
                window = image[:, :, i : i + out, j : j + out]
                total = total + torch.einsum("bchw,oc->bohw", window, weight[:, :, i, j])
        return total

    hidden = convolve(x, p["conv.weight"], p["conv.bias"]).clamp(min=0)
    hidden = hidden.reshape(len(x), 3, 3, 2, 3, 2).amax((3, 5))
    deep = convolve(hidden, p["deep.weight"], p["deep.bias"]).clamp(min=0)
    return deep.reshape(len(x), -1) @ p["dense.weight"].T + p["dense.bias"]


def divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """Σ p (log p − log max(q, 1e-6)), batch mean."""
    p, q = clean.exp() / clean.exp().sum(1, keepdim=True), attacked.exp() / attacked.exp().sum(1, keepdim=True)
    return (p * (p.log() - q.clamp(min=1e-6).log())).sum(1).mean()


def published(theta: dict[str, Tensor], batch: tuple[Tensor, Tensor], noise: dict[str, Tensor], euclidean: bool):
    """The loss, its gradient in θ with the Jacobian put in by hand, that without it, and how far θ* went."""
    x, y = batch
    moved = {name: START * noise[name] for name in theta}
    clean = by_hand(theta, x)
    for _ in range(STEPS):
        star = {name: (theta[name] + theta[name].abs() * moved[name]).requires_grad_() for name in theta}
        slopes = torch.autograd.grad(divergence(clean, by_hand(star, x)), list(star.values()))
        for name, slope in zip(theta, slopes):
            if euclidean:  # steepest in δ: the gradient there is abs(θ) times that in θ*
                slope = slope * theta[name].abs()
                moved[name] = moved[name] + ZETA / STEPS * slope / slope.square().sum().sqrt()
            else:
                moved[name] = moved[name] + ZETA / STEPS * slope.sign()
    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    star = {name: (theta[name] + theta[name].abs() * moved[name]).requires_grad_() for name in theta}
    clean = by_hand(leaves, x)
    natural = -(clean - clean.exp().sum(1, keepdim=True).log())[torch.arange(len(y)), y].mean()
    total = natural + BETA * divergence(clean, by_hand(star, x))
    through_clean = torch.autograd.grad(total, list(leaves.values()), retain_graph=True)
    through_star = torch.autograd.grad(total, list(star.values()))
    jacobian = {name: 1 + theta[name].sign() * moved[name] for name in theta}
    exact = {name: a + jacobian[name] * b for name, a, b in zip(theta, through_clean, through_star)}
    constant = {name: a + b for name, a, b in zip(theta, through_clean, through_star)}
    return total.item(), exact, constant, moved


@pytest.mark.parametrize("treat_as_constant", [False, True])
@pytest.mark.parametrize("ball", [Ball, L2Ball], ids=["p = inf", "p = 2"])
@settings(max_examples=4)
@given(seed=st.integers(0, 2**16))
def test_the_wrapped_cnn_under_the_authors_attack(ball, treat_as_constant, seed):
    """Loss and every gradient to 1e-10 of the hand-written ones, KL, ten steps, unprojected start noise ε = 0.001."""
    network = Cnn(seed)
    batch = draw(seed + 100, 7, 1, 8, 8), torch.arange(7) % 3
    theta = nominal(network)
    assert {name: tuple(value.shape) for name, value in theta.items()} == SHAPES
    attack = PGA(STEPS, START, "kl", project=False)
    loss = Adversarial(
        functional.cross_entropy,
        attack,
        ball(weight=ZETA, bias=ZETA),
        BETA,
        treat_as_constant=treat_as_constant,
    )
    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    total = loss(network, leaves, batch, torch.Generator().manual_seed(seed))
    found = torch.autograd.grad(total, list(leaves.values()))

    replay = torch.Generator().manual_seed(seed)
    noise = {name: torch.randn(shape, generator=replay, dtype=torch.float64) for name, shape in SHAPES.items()}
    value, exact, constant, moved = published(theta, batch, noise, ball is L2Ball)
    expected = constant if treat_as_constant else exact
    assert total.item() == pytest.approx(value, rel=1e-10, abs=0)
    scale = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in zip(theta, found):
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-10 * scale, msg=name)
    other = exact if treat_as_constant else constant
    assert max((expected[name] - other[name]).abs().max() for name in theta) > 1e-8 * scale
    if ball is Ball:
        assert max(delta.abs().max() for delta in moved.values()) > ZETA


def test_the_projected_attack_stays_inside():
    """With projection, the default, the same attack differs and no element of θ* is further than ζ·abs(θ)."""
    network, ball, batch = Cnn(3), Ball(weight=ZETA, bias=ZETA), (draw(4, 7, 1, 8, 8), torch.arange(7) % 3)
    totals, found = [], []

    class Spy(PGA):
        def search(self, *arguments, **options):
            found.append(super().search(*arguments, **options))
            return found[-1]

    for project in (True, False):
        loss = Adversarial(functional.cross_entropy, Spy(STEPS, START, project=project), ball, BETA)
        totals.append(loss(network, nominal(network), batch).item())
    assert max(delta.abs().max() for delta in found[0].values()) <= ZETA
    assert max(delta.abs().max() for delta in found[1].values()) > ZETA
    assert totals[0] != totals[1]
