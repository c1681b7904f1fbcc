"""Regularizers nest: each takes a loss of the logits or another regularizer, and gives the total loss of a batch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from .._util.errors import check_positive
from .._util.randomness import generator as keyed_generator
from ..core.apply import apply
from ..core.params import ABOVE_ZERO, KEEP_POSITIVE, Deviations, Params, kind_of
from ..core.placement import Placement, expand
from ..core.run import differentiating, first_look, forward
from ..kernels import CachedEvents
from ..nn.network import placement_of
from .carrier import Carrier

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Step:
    """One batch at one set of parameters, the input of a regularizer. The clean pass is computed once and shared.

    Attributes:
        network: the network. params: by name, in their own shapes. batch: (x, y), batch first: x (B, …), y (B,) or
            targets (B, …). generator: of all random numbers.
        counted: empty until a pass over the batch has updated the network's buffers; one list for all steps of a batch,
            so a batch norm counts each batch once, however regularizers nest.

    Example:
        >>> layer, batch = nn.Linear(2, 2, bias=False), (torch.tensor([[1.0, 0.5]]), torch.tensor([0]))
        >>> _ = nn.init.eye_(layer.weight)
        >>> step = nr.regularizers.Step(nr.wrap(layer), dict(layer.named_parameters()), batch, torch.Generator())
        >>> step.clean[0].tolist(), step.y.tolist()
        ([[1.0, 0.5]], [0])
    """

    network: nn.Module
    params: Params
    batch: tuple[Tensor, Tensor]
    generator: torch.Generator
    counted: list[bool] = field(default_factory=list)

    @property
    def x(self) -> Tensor:
        return self.batch[0]

    @property
    def y(self) -> Tensor:
        return self.batch[1]

    @cached_property
    def placement(self) -> Placement:
        return placement_of(self.network)

    @cached_property
    def constant(self) -> Params:
        """The parameters as constants, one value per neuron or synapse."""
        with differentiating():  # made in inference mode, they could not be kept for an attack's way back
            return expand({name: value.detach() for name, value in self.params.items()}, self.placement)

    @cached_property
    def clean(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and spikes at the parameters themselves."""
        first = not self.counted
        self.counted.append(True)
        return forward(self.network, self.params, self.x, update_buffers=first)

    def at(self, params: Params) -> Step:
        """The same batch at other parameters."""
        return replace(self, params=params)

    def logits(self, params: Params, deviations: Deviations) -> Tensor:
        """Logits of the die with these deviations from ``params``."""
        return forward(self.network, apply(params, deviations, self.placement), self.x)[0]


class Regularizer(Carrier, ABC):
    """A total loss: ``regularizer(network, params, (x, y), generator)`` → scalar, differentiable in params.

    ``state()`` holds the tensors kept from batch to batch, ``restore`` puts them back; :func:`neurorobust.fit` uses
    both.
    """

    def __repr__(self) -> str:
        """The same text in every process, without addresses of functions, so that a checkpoint can compare losses."""
        fields = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if key[0] != "_")
        return re.sub(r" at 0x[0-9a-f]+", "", f"{type(self).__name__}({fields})")

    @abstractmethod
    def total(self, step: Step) -> Tensor:
        """The loss of one step, everything nested inside included."""

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Regularizer:
        """One around ``inner`` for the contract tests, whose network has layers ``hidden`` and ``readout``.

        With ``strength`` 0 the loss and its gradients have to be those of ``inner``.
        """
        raise NotImplementedError(f"{cls.__name__}.example(inner, strength): write it, so that tests can build one.")

    def __call__(
        self,
        network: nn.Module,
        params: Params,
        batch: tuple[Tensor, Tensor],
        generator: torch.Generator | None = None,
    ) -> Tensor:
        for name, value in params.items():
            if kind_of(name) in ABOVE_ZERO:
                check_positive(name, value.detach(), KEEP_POSITIVE)
        first_look(network, batch[0])
        with CachedEvents(batch[0]):
            return self.total(Step(network, params, batch, generator or keyed_generator(0, "regularizer")))


class TaskLoss(Regularizer):
    """The innermost one: a criterion(logits, y) at the clean parameters.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.TaskLoss(nn.functional.cross_entropy)
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> round(loss(model, params, batch, generator).item(), 3)
        0.598
    """

    def __init__(self, criterion: Criterion):
        self.criterion = criterion

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Regularizer:
        return as_regularizer(inner)

    def total(self, step: Step) -> Tensor:
        value = self.criterion(step.clean[0], step.y)
        return value if isinstance(value, (int, float)) else check_loss(value)


def check_loss(value: object) -> Tensor:
    """The loss itself; TypeError or ValueError unless it is a tensor with one real number."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"loss: gave {value!r} ({type(value).__name__}); expected a tensor of one number, such as a mean over the "
            f"batch, computed from the logits."
        )
    if value.numel() != 1 or not value.is_floating_point():
        raise ValueError(
            f"loss: gave a {value.dtype} tensor of shape {tuple(value.shape)}; expected one real number for the whole "
            f"batch: use reduction='mean', or .mean()."
        )
    return value


def as_regularizer(loss: Criterion | Regularizer) -> Regularizer:
    """A regularizer as it is; a plain loss(logits, y) becomes a :class:`TaskLoss`.

    Raises:
        TypeError: neither a function nor a regularizer.

    Example:
        >>> nr.regularizers.as_regularizer(nn.functional.cross_entropy)
        TaskLoss(criterion=<function cross_entropy>)
    """
    if isinstance(loss, Regularizer):
        return loss
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(f"loss: got {loss!r}; expected a function of (logits, y) or a Regularizer.")
    return TaskLoss(loss)
