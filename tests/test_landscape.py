"""Lines and curvatures against closed forms, torch.func.hessian and what a kind does to a deviation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import draw, events, tiny
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust._util.randomness import generator
from neurorobust.core.apply import apply
from neurorobust.core.run import forward, nominal
from neurorobust.data import Data
from neurorobust.dynamics.surrogate import Triangle, spike
from neurorobust.evaluation import hessian_eigenvalues, landscape, sharpness
from neurorobust.evaluation.landscape import normal_direction
from neurorobust.evaluation.sharpness import krylov, lanczos, ritz
from neurorobust.nn.network import placement_of


class Line(nn.Module):
    """x → weight · x, one output; the loss against targets is a parabola in the weight."""

    def __init__(self, *weights: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def parabola(*weights: float, scales: tuple[float, ...] | None = None) -> tuple[nn.Module, Data]:
    """MSE = mean_i (sᵢ wᵢ − sᵢ)²: two samples ±s, targets of weight 1."""
    s = torch.tensor(scales or (1.0,) * len(weights), dtype=torch.float64)
    x = torch.stack([s, -s])
    neurons = {"weight": 1} if len(weights) == 1 else None
    return nr.wrap(Line(*weights), neurons=neurons), Data(x, x.clone())


def test_a_parabola_along_a_line():
    """One weight w: the loss at w + a·0.2·abs(w)·u is (w(1 + 0.2 a u) − 1)², whatever u was drawn."""
    network, data = parabola(0.5)
    found = landscape(network, data, points=5, directions=2, seed=3)
    assert found.a.tolist() == [-2, -1, 0, 1, 2]
    assert found.nominal_loss == pytest.approx(0.25)
    for loss in found.loss:
        u = (1 - 0.5 - math.sqrt(loss[3])) / 0.1
        assert loss == pytest.approx((0.5 * (1 + 0.2 * found.a * u) - 1) ** 2)
    worst = (0.5 * (1 - 0.2 * found.a) - 1) ** 2  # the adversary lowers w by ζ
    assert found.adversarial_loss == pytest.approx(worst)
    assert found.adversarial_rise == pytest.approx(worst[3:].mean() - 0.25)
    assert found.rise == pytest.approx(found.loss.mean() - 0.25)


def test_the_landscape_of_a_network_is_that_of_its_dies():
    """Positive kinds move by e^δ: every place of one line equals cross-entropy of run() at apply(a·δ)."""
    network, data = tiny(), events(0, 12)
    ball = nr.Ball({"*.tau_mem": 0.2, "hidden.recurrent.weight": 0.1})
    found = landscape(network, data, ball=ball, points=3, directions=1, seed=1)
    params, placement = nominal(network), placement_of(network)
    line = normal_direction(ball.center(params, placement), ball, generator(1, "landscape", 0))
    assert {name: float(delta.std()) > 0 for name, delta in line.items()} == dict.fromkeys(line, True)
    for place, loss in zip((-2.0, 0.0, 2.0), found.loss[0]):
        moved = apply(params, {name: place * delta for name, delta in line.items()}, placement)
        value = functional.cross_entropy(nr.run(network, moved, data.x), data.y).item()
        assert loss == pytest.approx(value, rel=1e-9)
    assert found.table().shape == (6, 4)
    again = landscape(network, data, ball=ball, points=3, directions=1, seed=1)
    assert (again.loss == found.loss).all() and (again.adversarial_loss == found.adversarial_loss).all()


def test_lanczos_finds_a_known_spectrum():
    """Eigenvalues 10, 5, 2 above 40 more in [−1, 1], in a random basis; residuals bound the error."""
    values = torch.cat([torch.tensor([10.0, 5.0, 2.0], dtype=torch.float64), torch.linspace(-1, 1, 40).double()])
    q, _ = torch.linalg.qr(draw(0, 43, 43))
    matrix = q @ torch.diag(values) @ q.T
    found = lanczos(lambda v: matrix @ v, draw(1, 43), 3)
    assert found.values == pytest.approx([10, 5, 2], abs=1e-6)
    assert (np.abs(found.values - [10, 5, 2]) <= found.residual + 1e-12).all()
    assert (found.vectors[0] @ q[:, 0]).abs().item() == pytest.approx(1, abs=1e-4)


def test_lanczos_in_a_space_that_closes():
    """Rank 2 and identity: the Krylov space ends early and no more is asked for than there is."""
    matrix = torch.diag(torch.tensor([3.0, 1.0, 0.0, 0.0], dtype=torch.float64))
    assert lanczos(lambda v: matrix @ v, torch.ones(4, dtype=torch.float64), 4).values == pytest.approx([3, 1, 0])
    assert lanczos(lambda v: v, torch.ones(4, dtype=torch.float64), 2).values == pytest.approx([1])


def test_asymmetry_is_that_of_the_matrix():
    """[[1, 2], [0, 1]]: symmetric part [[1, 1], [1, 1]] of eigenvalues 2, 0; ‖A − Aᵀ‖/‖A + Aᵀ‖ = √8/4."""
    matrix = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    found, asymmetry = ritz(*krylov(lambda v: matrix @ v, draw(0, 2), 2), 2)
    assert found.values == pytest.approx([2, 0], abs=1e-12)
    assert asymmetry == pytest.approx(math.sqrt(8) / 4)


def smooth() -> tuple[nn.Module, Data]:
    """A small tanh network and three classes."""
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    for seed, parameter in enumerate(module.parameters()):
        parameter.data = draw(seed, *parameter.shape)
    return nr.wrap(module), Data(draw(10, 30, 3), torch.arange(30) % 3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch.func's own
def test_eigenvalues_against_torch_func_hessian():
    """All relative deviations of a tanh network: the largest eigenvalues of the full Hessian."""
    network, data = smooth()
    params = nominal(network)
    names = list(params)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([params[name].numel() for name in names])
        moved = apply(params, {name: part.reshape(params[name].shape) for name, part in zip(names, parts)})
        return functional.cross_entropy(forward(network, moved, data.x)[0], data.y)

    zero = torch.zeros(sum(value.numel() for value in params.values()), dtype=torch.float64)
    exact = torch.linalg.eigvalsh(torch.func.hessian(loss)(zero)).flip(0)
    found = hessian_eigenvalues(network, data, count=3)
    assert found.values == pytest.approx(exact[:3].numpy(), rel=1e-4)
    half = hessian_eigenvalues(network, data, ball=nr.Ball.uniform(0.5), count=1)
    assert half.values == pytest.approx(exact[:1].numpy() / 4, rel=1e-4)


def test_sharpness_of_a_parabola_is_its_hessian():
    """MSE = mean (sᵢ(wᵢ(1 + ζuᵢ) − 1))² has curvatures 2ζ²sᵢ²wᵢ²/3 everywhere: what is measured is exact."""
    network, data = parabola(1.0, 0.5, 2.0, scales=(1.0, 3.0, 2.0))
    found = sharpness(network, data, ball=nr.Ball.uniform(0.1), count=3, dies=4)
    assert found.curvature == pytest.approx(np.array([16.0, 2.25, 1.0]) * 0.02 / 3, rel=1e-6)
    assert found.ci95 == pytest.approx(np.stack([found.curvature] * 2, 1), rel=1e-6)
    assert found.asymmetry < 1e-6


def test_sharpness_of_a_smooth_network_is_near_its_hessian():
    """ζ = 0.001 and h = 5: the largest curvature within 2 % of ζ² times the largest eigenvalue."""
    network, data = smooth()
    found = sharpness(network, data, ball=nr.Ball.uniform(1e-3), count=1, dies=4)
    assert found.largest == pytest.approx(1e-6 * hessian_eigenvalues(network, data, count=1).values[0], rel=0.02)


def test_sharpness_of_steps_is_that_of_their_average():
    """L = H(w(1 + ζu) − 1)² for w = 1 is the step H(u): its second difference over ±2 is (1 − 0 + 0)/4, exactly, though
    its slope is 0 wherever it has one."""

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return spike(x * self.weight, torch.ones((), dtype=torch.float64), Triangle())

    x = torch.ones(2, 1, dtype=torch.float64)
    network, data = nr.wrap(Step(), neurons={"weight": 1}), Data(x, torch.tensor([[0.0], [1e-9]], dtype=torch.float64))
    found = sharpness(network, data, ball=nr.Ball.uniform(0.1), count=1, dies=4, reach=2.0)
    assert found.curvature == pytest.approx([0.25], abs=1e-6)


def test_sharpness_of_a_spiking_network():
    """Orthonormal directions asked of a spiking network: repeatable, with an interval that holds the estimate."""
    network, data = tiny(), events(0, 12)
    found = sharpness(network, data, count=2, dies=3, seed=1)
    again = sharpness(network, data, count=2, dies=3, seed=1)
    assert (found.curvature == again.curvature).all() and found.asymmetry == again.asymmetry
    assert ((found.ci95[:, 0] <= found.curvature) & (found.curvature <= found.ci95[:, 1])).all()
    assert found.largest == found.curvature[0] and repr(found).startswith("Sharpness(")


def test_what_is_refused():
    """A Hessian of spikes; a ball that names nothing."""
    network, data = tiny(), events(0, 12)
    with pytest.raises(ValueError, match="sharpness"):
        hessian_eigenvalues(network, data)
    for measure in (sharpness, landscape):
        with pytest.raises(ValueError, match="ball"):
            measure(network, data, ball=nr.Ball(t_ref=0.1))
