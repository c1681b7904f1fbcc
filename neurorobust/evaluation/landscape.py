"""The loss along lines through a network's parameters, as arXiv 2106.05009 draws it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .._util.console import progress
from .._util.errors import check_count
from .._util.printed import Printed
from .._util.randomness import generator
from ..attacks import APGD, Ball
from ..core.apply import apply
from ..core.params import Deviations, Params
from ..core.run import differentiating, evaluating
from ..data.samples import as_samples
from ..nn.network import placement_of
from .predict import checked_params, outputs_on, predict_all
from .statistics import check_outputs, score

if TYPE_CHECKING:
    import pandas as pd

TWENTY_PERCENT = Ball.uniform(0.2)
FARTHEST = 2.0
STEPS = 20


@dataclass(frozen=True, eq=False, repr=False)
class Landscape(Printed):
    """Loss and score along lines.

    Attributes:
        a: positions on each line, shape (points,), from −2 to 2.
        loss: along random directions, shape (directions, points): cross-entropy, or mean squared error. score: same.
        adversarial_loss, adversarial_score: along the adversarial direction, shape (points,).
        nominal_loss, nominal_score: of the network itself.

    Example:
        >>> layer, data = nn.Linear(2, 2), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> found = nr.evaluation.landscape(nr.wrap(layer), data, points=5, directions=2)
        >>> found.a.tolist(), found.loss.shape  # directions, points
        ([-2.0, -1.0, 0.0, 1.0, 2.0], (2, 5))
    """

    a: np.ndarray
    loss: np.ndarray
    score: np.ndarray
    adversarial_loss: np.ndarray
    adversarial_score: np.ndarray
    nominal_loss: float
    nominal_score: float

    @property
    def rise(self) -> float:
        """Mean added loss over all random directions and positions, the steepness of the minimum in one number."""
        return float(self.loss.mean() - self.nominal_loss)

    @property
    def adversarial_rise(self) -> float:
        """Mean added loss over the positions a > 0 of the adversarial direction."""
        return float(self.adversarial_loss[self.a > 0].mean() - self.nominal_loss)

    def table(self) -> pd.DataFrame:
        """One row for every position: direction (a number, or ``"adversarial"``), a, loss, score."""
        import pandas as pd  # slow to import

        lines = [(str(i), *line) for i, line in enumerate(zip(self.loss, self.score))]
        lines.append(("adversarial", self.adversarial_loss, self.adversarial_score))
        rows = [(name, *row) for name, losses, scores in lines for row in zip(self.a, losses, scores)]
        return pd.DataFrame(rows, columns=["direction", "a", "loss", "score"])


@differentiating()
def landscape(
    network: nn.Module,
    data: Any,
    *,
    ball: Ball = TWENTY_PERCENT,
    points: int = 50,
    directions: int = 5,
    seed: int = 0,
) -> Landscape:
    """Loss at θ deviated by a · δ, for ``points`` values of a from −2 to 2 on each of several lines.

    On random directions δ = ζ·N(0, 1): a signed kind is θ + a·0.2·abs(θ)·N(0, 1), the paper's, a positive one
    θ·exp(a·0.2·N(0, 1)). The adversarial direction is the die with the highest loss that 20 steps of APGD find in the
    ball, so its elements move about as far. (points + 1) · (directions + 1) passes, and 20 with a gradient.

    Args:
        network: around its nominal parameters, which are not changed.
        data: samples and labels or targets.
        ball: ζ of each kind or parameter, L∞; v_leak and v_reset only if named (in V). Parameters without a radius do
            not deviate.
        points, directions: positions per line, and number of random lines. seed: of the directions.

    Raises:
        ValueError: fewer than two points or one direction, or data that do not fit the network.

    Example:
        >>> layer, data = nn.Linear(2, 2), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> found = nr.evaluation.landscape(nr.wrap(layer), data, points=5, directions=2)
        >>> round(found.nominal_loss, 3), bool(found.adversarial_loss.max() > found.nominal_loss)
        (0.313, True)
    """
    points = check_count("points", points, 2)
    directions = check_count("directions", directions)
    data = as_samples(data)
    params, placement = checked_params(network, data), placement_of(network)
    center = ball.center(params, placement)

    def attacked_loss(deviations: Deviations) -> Tensor:
        return loss_of(predict_all(network, apply(params, deviations, placement), data), data.y)

    lines = [normal_direction(center, ball, generator(seed, "landscape", k)) for k in range(directions)]
    a = np.linspace(-FARTHEST, FARTHEST, points)
    found = []
    with evaluating(network), progress("places on lines", (directions + 1) * points + 1) as tick:
        attack = APGD(STEPS, objective="mse" if data.regression else "ce")
        lines.append(attack.search(attacked_loss, center, ball, generator(seed, "landscape", "adversarial")))

        def dies() -> Iterator[Params]:
            yield params
            for line in lines:
                for place in a.tolist():
                    yield apply(params, {name: place * delta for name, delta in line.items()}, placement)

        for outputs in outputs_on(network, dies(), data):
            check_outputs(outputs, data.y)
            found.append((float(loss_of(outputs, data.y)), score(outputs, data.y)))
            tick()
    (at_center, score_at_center), *rest = found
    table = np.array(rest).reshape(directions + 1, points, 2)
    losses, scores = table[..., 0], table[..., 1]
    return Landscape(a, losses[:-1], scores[:-1], losses[-1], scores[-1], at_center, score_at_center)


def normal_direction(center: Deviations, ball: Ball, key: torch.Generator) -> Deviations:
    """ζ·N(0, 1) for every element of a ball's parameters."""
    return {
        name: ball.radius(name) * torch.randn(zero.shape, generator=key, dtype=zero.dtype).to(zero.device)
        for name, zero in center.items()
    }


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy, or squared error to targets, in float64, unweighted."""
    outputs = outputs.double()
    if y.is_floating_point():
        return functional.mse_loss(outputs, y.double())
    return functional.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), y.reshape(-1))
