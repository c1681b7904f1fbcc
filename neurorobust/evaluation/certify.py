"""Certified robustness: answers that no parameter in a ball can change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._util.console import progress
from .._util.errors import check_count, plain_fields
from .._util.printed import Printed
from ..attacks import Ball
from ..bounds import Bounds, Box, MeanValueForm, NaturalExtension, StepBounds, box, logit_bounds, populations
from ..bounds.modules import module_bounds
from ..bounds.spiking import DECODERS
from ..core.run import evaluating
from ..data.samples import Data, in_memory
from ..interop.wrapped import Wrapped
from ..nn.network import Network, placement_of
from .predict import checked_params, predict
from .statistics import mean_recall, recall

ROWS = 2048
"""Rows (samples, or branches of them) bounded at once."""


@dataclass(frozen=True)
class Intervals:
    """Plain interval arithmetic, the published baseline (arXiv 2106.05009). Each operation uses only the bounds of its
    inputs and ignores that the inputs depend on each other, so the bounds become loose.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network, x = nr.Network({"readout": readout}, dt=1e-3), torch.ones(2, 50, 1)
        >>> data, ball = nr.data.Data(x, torch.tensor([0, 1])), nr.Ball.uniform(0.1)
        >>> found = [nr.evaluation.certify(network, data, ball, nr.evaluation.Intervals())]
        >>> found += [nr.evaluation.certify(network, data, ball, nr.evaluation.Branches())]
        >>> [round(each.margin[0].item(), 2) for each in found]  # a larger margin is a tighter bound
        [0.99, 1.1]
    """

    @property
    def steps(self) -> StepBounds:
        return NaturalExtension()

    @property
    def levels(self) -> list[int]:
        return [1]


@dataclass(frozen=True)
class Branches:
    """Intervals that use which quantities are constant, and one case for each outcome of an undecided spike.

    A parameter is one number in all steps: see :class:`neurorobust.bounds.MeanValueForm`. Where a neuron may or may not
    spike, the sample continues in two branches; in each the spike is certain. Their number grows exponentially with the
    undecided spikes; in a sample that would need more than ``limit``, undecided spikes become intervals.

    Args:
        limit: largest number of branches per sample; 1 for none.

    Raises:
        ValueError: ``limit`` is no whole number ≥ 1.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network, x = nr.Network({"readout": readout}, dt=1e-3), torch.ones(2, 50, 1)
        >>> data = nr.data.Data(x, torch.tensor([0, 1]))
        >>> nr.evaluation.certify(network, data, nr.Ball.uniform(0.1), nr.evaluation.Branches(limit=8)).accuracy
        0.5
    """

    limit: int = 64

    def __post_init__(self) -> None:
        plain_fields(self)
        check_count("limit", self.limit)

    @property
    def steps(self) -> StepBounds:
        return MeanValueForm()

    @property
    def levels(self) -> list[int]:
        """Limits to try one after the other, each for the samples that were lost under the one before."""
        return [level for level in (8, 64, 512) if level < self.limit] + [self.limit]


@dataclass(frozen=True, eq=False, repr=False)
class Certified(Printed):
    """Statements that hold for every parameter in the ball.

    Attributes:
        verified: whether a sample's class is right whatever the parameters, (n,). False may mean that it is not, or
            that the bounds are too loose to tell.
        correct: whether it is right at the nominal parameters, (n,).
        accuracy, balanced_accuracy, recall: of ``verified``; no die in the ball is worse. Recall: one number per class.
        margin: lower bounds of logit[y] − largest other logit, (n,). lower, upper: bounds of the logits, (n, K).
        undecided: the first step at which some spike depends on the parameters, (n,); the number of steps if none does.
            0 for networks without spikes.
        leaves: branches at the end, (n,). lost: whether a sample needed more branches than a limit above 1, (n,).

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network, x = nr.Network({"readout": readout}, dt=1e-3), torch.ones(2, 50, 1)
        >>> data = nr.data.Data(x, torch.tensor([0, 1]))
        >>> proved = nr.evaluation.certify(network, data, nr.Ball.uniform(0.1))
        >>> proved.verified.tolist(), proved.correct.tolist()
        ([True, False], [True, False])
    """

    verified: Tensor
    correct: Tensor
    accuracy: float
    balanced_accuracy: float
    recall: tuple[float, ...]
    margin: Tensor
    lower: Tensor
    upper: Tensor
    undecided: Tensor
    leaves: Tensor
    lost: Tensor


@torch.no_grad()
def certify(network: nn.Module, data: Any, ball: Ball, method: Intervals | Branches = Branches()) -> Certified:
    """Prove, sample by sample, that no parameter in a ball changes the right answer.

    The claim is about the logits that :func:`neurorobust.run` computes, in the float32 or float64 of the parameters,
    at whatever ``apply(params, δ, placement)`` gives for any δ in the ball: rounding is bounded a priori, for sums in
    any order, so it holds for each of the kernels. A time constant that does not deviate enters by the decay that the
    layer itself computes on this machine. Samples are certified one by one, each against its own worst parameters, so
    the verified accuracy is at most the accuracy on the worst single die.

    Args:
        network: a :class:`Network` of this package's own neurons (no ``SnntorchSubtract``, no ``Delayed``), its logits
            a mean, a last value or a maximum over the steps; or :func:`neurorobust.wrap` of a ``Sequential`` of Linear,
            Conv1d, Conv2d, ReLU, MaxPool2d, AvgPool2d, ZeroPad2d, Flatten, Dropout and Identity.
        data: samples with one class label each.
        ball: bounds for every element: :class:`Ball`, or ``Ball.from_chip``.
        method: :class:`Branches` or :class:`Intervals`.

    Raises:
        TypeError, ValueError: what cannot be bounded, by name.

    Example:
        >>> from neurorobust.nn.connections import Linear
        >>> readout = nr.neurons.LeakyIntegrator(Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3)
        >>> data = nr.data.Data(torch.ones(2, 50, 1), torch.tensor([0, 1]))
        >>> nr.evaluation.certify(network, data, nr.Ball.uniform(0.1)).verified.tolist()
        [True, False]
    """
    data = in_memory(data)
    if data.regression or data.y.ndim != 1:
        raise ValueError(f"data: got labels of shape {tuple(data.y.shape)}, {data.y.dtype}; expected one class each.")
    if not isinstance(method, Intervals | Branches):
        raise TypeError(f"method: got {method!r}; expected Branches() or Intervals().")
    if not isinstance(ball, Ball):
        raise TypeError(f"ball: got {ball!r}; expected one such as nr.Ball.uniform(1e-4).")
    params = checked_params(network, data)
    with evaluating(network):
        outputs = predict(network, params, data)
        region = box(params, ball, placement_of(network))
        with progress(f"certifying {len(data)} samples", len(data)) as tick:
            found = _all_bounds(network, region, data, method, tick)
    margin = found.margins.amin(1)
    verified = margin > 0
    fake = torch.where(verified, data.y, (data.y + 1) % outputs.shape[-1])
    each = recall(fake, data.y, outputs.shape[-1])
    return Certified(
        verified,
        outputs.argmax(-1) == data.y,
        float(verified.double().mean()),
        mean_recall(each),
        tuple(each.tolist()),
        margin,
        found.logits.lo,
        found.logits.hi,
        found.undecided,
        found.leaves,
        found.lost,
    )


def _all_bounds(
    network: nn.Module, region: Box, data: Data, method: Intervals | Branches, tick: Callable[[], None]
) -> Bounds:
    """Bounds of all samples, a few at a time; more branches only for samples that need them."""
    result: Bounds | None = None
    open_samples = torch.arange(len(data))
    for limit in method.levels:
        parts = [
            _batch_bounds(network, region, Data(data.x[some], data.y[some]), method.steps, limit)
            for some in open_samples.split(max(1, ROWS // limit))
        ]
        found = Bounds.join(parts)
        result = found if result is None else result.replaced(open_samples, found)
        undone = found.lost & ~(found.margins > 0).all(1)
        for _ in range(len(open_samples) - int(undone.sum()) * (limit != method.levels[-1])):
            tick()
        open_samples = open_samples[undone]
        if not len(open_samples):
            break
    assert result is not None
    return result


def _batch_bounds(network: nn.Module, region: Box, data: Data, steps: StepBounds, limit: int) -> Bounds:
    if isinstance(network, Network):
        if network.decode not in DECODERS:
            names = ", ".join(decode.__name__ for decode in DECODERS)
            raise TypeError(f"decode: {network.decode!r} has no bounds; expected one of {names}.")
        network.check(data.x)
        return logit_bounds(populations(network, region), data.x, data.y, network.decode, steps, limit)
    if isinstance(network, Wrapped):
        return module_bounds(network, region, data.x, data.y, tight=isinstance(steps, MeanValueForm))
    raise TypeError(
        f"network: {type(network).__name__} has no bounds; expected a Network of this package's neurons or nr.wrap of "
        f"a torch.nn.Sequential."
    )
