"""How sharp a minimum is: the largest curvatures of the loss.

The loss of a spiking network has no useful Hessian. Between two changes of a spike it does not depend on the parameters
before the read-out, and where a spike changes it jumps. The field of surrogate gradients is no substitute: its Jacobian
is not symmetric, so it is not the gradient of any function. The Hessian of the loss averaged over dies is well defined:
L̄(u) = E[L(u + w)], w ~ N(0, 1). It is smooth for any loss and is the mean loss of a fleet. The surrogates only suggest
directions; every number is computed from losses alone. So a bad surrogate can hide curvature but cannot create it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._util.console import progress
from .._util.errors import check_count, check_number
from .._util.printed import Printed
from .._util.randomness import generator
from ..attacks import Ball
from ..core.apply import apply
from ..core.params import Deviations, Params
from ..core.run import differentiating, evaluating, forward
from ..data.samples import as_samples
from ..nn.network import placement_of
from .landscape import loss_of
from .parts import has_surrogates
from .predict import ATTACK_BATCH, checked_params, outputs_on, predict_all
from .statistics import check_outputs, mean_interval

FIVE_PERCENT, WHOLE = Ball.uniform(0.05), Ball.uniform(1.0)
SEARCHED = 4
TOLERANCE, MOST_STEPS = 1e-4, 100

Operator = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Sharpness(Printed):
    """Curvatures of the loss averaged over dies.

    Attributes:
        curvature: along orthonormal directions, largest suspected first, shape (count,); loss for each squared
            standard deviation of the dies. But for the error of sampling, the first is never above the largest
            eigenvalue, nor the first k together above the k largest, wherever along the direction that is largest.
        ci95: Student's interval of each over dies, shape (count, 2).
        asymmetry: ‖H − Hᵀ‖/‖H + Hᵀ‖ of the surrogate field's Jacobian where it was searched: 0 for a gradient.
        passes: forward passes, a third of those of the search with a gradient.

    Example:
        >>> layer, data = nn.Linear(2, 2), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> found = nr.evaluation.sharpness(nr.wrap(layer), data, count=1, dies=8)
        >>> found.curvature.shape, found.ci95.shape, found.largest == found.curvature[0]
        ((1,), (1, 2), np.True_)
    """

    curvature: np.ndarray
    ci95: np.ndarray
    asymmetry: float
    passes: int

    @property
    def largest(self) -> float:
        """Curvature along the first direction."""
        return float(self.curvature[0])

    def __repr__(self) -> str:
        rows = (f"{c:.3g} [{low:.3g}, {high:.3g}]" for c, (low, high) in zip(self.curvature, self.ci95))
        return f"Sharpness({', '.join(rows)}; asymmetry {self.asymmetry:.2f})"


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(Printed):
    """The largest eigenvalues of a symmetric operator, descending, shape (count,), each within its ``residual`` of an
    eigenvalue; ``vectors`` are theirs, shape (count, d).

    Example:
        >>> layer, data = nn.Linear(2, 2), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> found = nr.evaluation.hessian_eigenvalues(nr.wrap(layer), data, count=1)
        >>> found.vectors.shape, bool((found.residual < 1e-4).all())
        (torch.Size([1, 6]), True)
    """

    values: np.ndarray
    residual: np.ndarray
    vectors: Tensor


class _DieLosses:
    """Losses and gradients of a network on the die δ = ζ·u; u has one number for every element."""

    def __init__(self, network: nn.Module, data: Any, ball: Ball):
        data = as_samples(data)
        self.network, self.data = network, data
        self.params, self.placement = checked_params(network, data), placement_of(network)
        center = ball.center(self.params, self.placement)
        self.radii = {name: ball.radius(name) for name in center if ball.radius(name) > 0}
        if not self.radii:
            raise ValueError(f"ball: {ball} gives no parameter of this network a radius; name a kind it has.")
        self.shapes = {name: center[name].shape for name in self.radii}
        self.like = next(iter(center.values()))
        self.size = sum(shape.numel() for shape in self.shapes.values())

    def normals(self, key: torch.Generator) -> Tensor:
        return torch.randn(self.size, generator=key, dtype=torch.float64)

    def die(self, u: Tensor) -> Params:
        parts = u.split([shape.numel() for shape in self.shapes.values()])
        deviations: Deviations = {
            name: self.radii[name] * part.reshape(shape).to(self.like)
            for part, (name, shape) in zip(parts, self.shapes.items())
        }
        return apply(self.params, deviations, self.placement)

    def gradient(self, u: Tensor) -> Tensor:
        """∂loss/∂u, through the surrogates where it spikes."""
        leaf = u.clone().requires_grad_()
        loss = loss_of(predict_all(self.network, self.die(leaf), self.data), self.data.y)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient

    def losses(self, dies: Iterator[Tensor]) -> Iterator[float]:
        for outputs in outputs_on(self.network, (self.die(u) for u in dies), self.data):
            check_outputs(outputs, self.data.y)
            yield float(loss_of(outputs, self.data.y))

    def hessian_product(self, v: Tensor) -> Tensor:
        """∇²loss(0) v, exact where the network is smooth."""
        total = torch.zeros_like(v)
        for where, x in self.data.blocks(ATTACK_BATCH):
            y = self.data.y[where]
            leaf = torch.zeros_like(v).requires_grad_()
            loss = loss_of(forward(self.network, self.die(leaf), x)[0], y)
            (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
            (product,) = torch.autograd.grad(gradient @ v, leaf)
            total += product * len(y) / len(self.data)
        return total


@differentiating()
def sharpness(
    network: nn.Module,
    data: Any,
    *,
    ball: Ball = FIVE_PERCENT,
    count: int = 3,
    dies: int = 32,
    reach: float = 5.0,
    seed: int = 0,
) -> Sharpness:
    """The largest curvatures of the loss averaged over dies with δ = ζ·u, u ~ N(0, 1).

    **Directions**: Rayleigh–Ritz on the Krylov space of the Jacobian of the surrogate gradients, averaged over a few
    dies, by differences over ±h; its symmetric part gives the directions v. **Curvatures**, on other dies w without
    their component along v: the mean of (L(w + h v) − 2 L(w) + L(w − h v))/h², which is vᵀ∇²L̄(t v)v averaged over
    abs(t) < h with weights (h − abs(t))/h², exactly. A die is √d away from the nominal network, 150 in 20,000
    dimensions, so h = 5 is local. At h = √3, jumps from single spikes are larger than the curvature. For a smooth
    network and small ζ this is ζ² vᵀHv.

    Args:
        network: around its nominal parameters, which are not changed.
        data: samples and labels or targets.
        ball: ζ of each kind or parameter: spread of the dies, and unit. Parameters without a radius do not deviate.
        count: directions. dies: over which curvatures are measured. reach: h. seed: of the dies.

    Raises:
        ValueError: ``count`` below 1, fewer than two dies, or ``reach`` not above 0.

    Example:
        >>> layer, data = nn.Linear(2, 2), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> found = nr.evaluation.sharpness(nr.wrap(layer), data, count=1, dies=8)
        >>> found.passes, bool(found.curvature[0] > 0)
        (52, True)
    """
    count = check_count("count", count)
    dies = check_count("dies", dies, 2)
    reach = check_number("reach", reach, strict=True)
    losses_of = _DieLosses(network, data, ball)
    steps = min(2 * count + 6, losses_of.size)
    bases = [losses_of.normals(generator(seed, "sharpness", "search", k)) for k in range(SEARCHED)]
    with evaluating(network), progress("curvatures", 2 * SEARCHED * steps + 3 * count * dies) as tick:

        def gradient(u: Tensor) -> Tensor:
            tick()
            return losses_of.gradient(u)

        def jacobian(v: Tensor) -> Tensor:
            total = torch.zeros_like(v)
            for w in bases:
                w = w - (w @ v) * v
                total += gradient(w + reach * v) - gradient(w - reach * v)
            return total / (2 * reach * SEARCHED)

        start = losses_of.normals(generator(seed, "sharpness", "start"))
        start = start / start.norm()
        uphill = sum((losses_of.gradient(w) for w in bases), torch.zeros_like(start))
        basis, images = krylov(jacobian, start / 2 + uphill / uphill.norm().clamp(min=1e-300), steps)
        found, asymmetry = ritz(basis, images, min(count, len(basis)))

        def places() -> Iterator[Tensor]:
            for die in range(dies):
                w = losses_of.normals(generator(seed, "sharpness", "measure", die))
                for v in found.vectors:
                    rest = w - (w @ v) * v
                    yield from (rest, rest + reach * v, rest - reach * v)

        losses = []
        for loss in losses_of.losses(places()):
            losses.append(loss)
            tick()
    middle, up, down = np.array(losses).reshape(dies, len(found.vectors), 3).transpose(2, 0, 1)
    curvature = (up - 2 * middle + down) / reach**2
    ci95 = np.array([mean_interval(column) for column in curvature.T])
    return Sharpness(curvature.mean(0), ci95, asymmetry, SEARCHED * (2 * len(basis) + 1) + len(losses))


@differentiating()
def hessian_eigenvalues(
    network: nn.Module, data: Any, *, ball: Ball = WHOLE, count: int = 3, seed: int = 0
) -> Spectrum:
    """The largest eigenvalues of the loss's Hessian in u (δ = ζ·u) at a smooth network, by Lanczos with exact products.

    With the default ball these are curvatures in relative deviations, in which a network that computes the same with
    rescaled weights is as sharp as before. Steps until every residual is below 1e-4 of the largest eigenvalue, or 100.

    Args:
        network, data: see :func:`sharpness`. ball: which parameters, and their units. count: eigenvalues.
        seed: of the start.

    Raises:
        ValueError: the network spikes; :func:`sharpness` is for it.

    Example:
        >>> layer, data = nn.Linear(2, 2), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> nr.evaluation.hessian_eigenvalues(nr.wrap(layer), data, count=2).values.round(3).tolist()
        [0.098, 0.098]
    """
    count = check_count("count", count)
    if has_surrogates(network):
        raise ValueError("network: spikes, so its loss has no Hessian; nr.evaluation.sharpness averages it over dies.")
    losses_of = _DieLosses(network, data, ball)
    start = losses_of.normals(generator(seed, "hessian"))
    with evaluating(network):
        return lanczos(losses_of.hessian_product, start, count)


def lanczos(operator: Operator, start: Tensor, count: int) -> Spectrum:
    """The ``count`` largest eigenvalues of a symmetric operator, with full reorthogonalisation."""
    steps = min(max(10, 3 * count), len(start))
    basis, images = krylov(operator, start, steps)
    while True:
        found, _ = ritz(basis, images, min(count, len(basis)))
        done = found.residual.max() <= TOLERANCE * max(np.abs(found.values).max(), 1e-300)
        if done or len(basis) >= min(MOST_STEPS, len(start)) or len(basis) < steps:
            return found
        steps = min(steps + 10, MOST_STEPS, len(start))
        basis, images = krylov(operator, start, steps, (basis, images))


def krylov(
    operator: Operator, start: Tensor, steps: int, begun: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Arnoldi: an orthonormal basis of start, A start, A² start …, and A times it, each (≤ steps, d), float64.

    Ends early if the space is closed under A. ``begun``: the result of a call with fewer steps.
    """
    if begun is None:
        basis, images = [], []
        following = start
    else:
        basis, images = list(begun[0]), list(begun[1])
        following = images[-1]
    scale = 0.0
    while len(basis) < steps:
        size = following.norm()
        rest = following
        for _ in range(2):  # once is not enough in floating point
            for v in basis:
                rest = rest - (rest @ v) * v
        if rest.norm() <= 1e-10 * max(scale, size.item()) or not size > 0:
            break
        basis.append(rest / rest.norm())
        images.append(operator(basis[-1]))
        following = images[-1]
        scale = max(scale, following.norm().item())
    return torch.stack(basis), torch.stack(images)


def ritz(basis: Tensor, images: Tensor, count: int) -> tuple[Spectrum, float]:
    """The ``count`` largest eigenvalues of the symmetric part of an operator in a space, and the asymmetry of the
    operator there. Residuals are those of the operator itself."""
    projected = basis @ images.T
    symmetric = (projected + projected.T) / 2
    values, vectors = torch.linalg.eigh(symmetric)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    found = vectors.T @ basis
    residual = (vectors.T @ images - values[:, None] * found).norm(dim=1)
    asymmetry = (projected - projected.T).norm() / (2 * symmetric).norm().clamp(min=1e-300)
    return Spectrum(values.numpy(), residual.numpy(), found), float(asymmetry)
