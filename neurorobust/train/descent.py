"""The descent of training: what the optimizer changes, its learning rate and clipping; for loops of one's own, too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .._util.errors import check_count, check_finite, check_number, plain_fields
from ..core.params import ABOVE_ZERO, Params, check_values, kind_of
from ..kernels.runtime.threads import on_planned_threads
from ..regularizers.regularizer import check_loss
from .checks import check_connected, check_trainable, synapses


class Leaves(Mapping[str, Tensor]):
    """By name, the tensors that :func:`neurorobust.fit` trains, for a training loop of your own.

    For a positive kind (a time constant, a threshold) it is the logarithm of the parameter, so the parameter stays
    positive, and a step is relative: Adam with ``lr=1e-3`` changes a time constant by about 0.1 %. For any other kind
    it is the parameter itself. A parameter without ``requires_grad`` has no leaf.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), snntorch.Leaky(beta=0.9, learn_beta=True, init_hidden=True))
        >>> nr.train.Leaves(nr.from_snntorch(net, dt=1e-3))["1.tau_mem"].exp()
        tensor(0.0095, grad_fn=<ExpBackward0>)
    """

    def __init__(self, network: nn.Module):
        self._own = dict(network.named_parameters())
        self._leaves = {name: _leaf(name, value) for name, value in self._own.items() if value.requires_grad}
        self._logarithms = {name: value for name, value in self._leaves.items() if value is not self._own[name]}

    def __getitem__(self, name: str) -> Tensor:
        return self._leaves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    def params(self) -> Params:
        """Every parameter of the network at the present leaves, as a function of them."""
        return self._own | {name: value.exp() for name, value in self._logarithms.items()}

    @torch.no_grad()
    def write(self) -> None:
        """Write the present values into the parameters of the network; call it after each step of the optimizer."""
        for name, value in self._logarithms.items():
            self._own[name].copy_(value.exp())


def _leaf(name: str, parameter: Tensor) -> Tensor:
    """The tensor to train: the logarithm of a positive parameter, else the parameter itself."""
    if kind_of(name) in ABOVE_ZERO:
        return parameter.detach().log().requires_grad_()
    return parameter


def leaves(network: nn.Module) -> Leaves:
    """The tensors that :func:`neurorobust.fit` trains in the place of a network's parameters, by name.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), snntorch.Leaky(beta=0.9, learn_beta=True, init_hidden=True))
        >>> list(nr.train.leaves(nr.from_snntorch(net, dt=1e-3)))
        ['1.tau_mem', '0.weight', '0.bias']
    """
    return Leaves(network)


@dataclass(frozen=True)
class Schedule:
    """The schedule of training.

    Attributes:
        learning_rate: of Adam. drops: fractions of the epochs after which it is multiplied by ``drop``.
        batch_size: samples per step.
        clip: largest norm of the whole gradient.
        select_every: epochs between evaluations on the validation part (the last epoch is always evaluated).
        max_seconds: training time; training stops after the epoch that exceeds it, and the history records this.

    Raises:
        ValueError: a number out of its range; the message names it.

    Example:
        >>> schedule = nr.Schedule(learning_rate=0.01, batch_size=25)
        >>> schedule.batch_size, schedule.clip
        (25, 1.0)
    """

    learning_rate: float = 3e-3
    drops: tuple[float, ...] = (0.75,)
    drop: float = 0.2
    batch_size: int = 100
    clip: float = 1.0
    select_every: int = 1
    max_seconds: float = math.inf

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("learning_rate", self.learning_rate, strict=True)
        check_number("drop", self.drop, strict=True)
        for fraction in self.drops:
            check_number("drops", fraction)
        check_count("batch_size", self.batch_size)
        check_count("select_every", self.select_every)
        check_number("clip", self.clip, strict=True)
        if not self.max_seconds > 0:
            raise ValueError(f"max_seconds: got {self.max_seconds}; expected a number > 0.")

    def rate(self, epoch: int, epochs: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * self.drop ** sum(epoch >= round(part * epochs) for part in self.drops)


class Descent:
    """The steps that :func:`neurorobust.fit` makes, for a training loop of your own.

    Adam on :class:`Leaves`, with the learning rate of the schedule in each epoch. A step clips the norm of the whole
    gradient at ``schedule.clip``. Synapses that the placement does not have get no gradient, so a pruned network stays
    pruned.

    Attributes:
        leaves: the tensors that are trained. optimizer: Adam on them. schedule: its settings.

    Args:
        network: parameters with ``requires_grad`` are trained, in place.
        epochs: of the whole training; the schedule divides them.

    Raises:
        ValueError: no parameter to train, or no epochs.

    Example:
        >>> layer, x, y = nn.Linear(2, 2, bias=False), torch.eye(2), torch.arange(2)
        >>> _ = nn.init.zeros_(layer.weight)
        >>> model = nr.wrap(layer)
        >>> descent = nr.train.Descent(model, epochs=20, schedule=nr.Schedule(learning_rate=0.1))
        >>> for epoch in range(20):
        ...     descent.start(epoch)
        ...     loss = descent.step(nn.functional.cross_entropy(nr.run(model, descent.params(), x), y))
        >>> round(loss, 2)  # it began at log 2
        0.06
    """

    def __init__(self, network: nn.Module, epochs: int, schedule: Schedule = Schedule()):
        check_trainable(network)
        self.epochs, self.schedule, self.leaves = check_count("epochs", epochs), schedule, Leaves(network)
        self.optimizer = torch.optim.Adam(self.leaves.values(), lr=schedule.learning_rate)
        self._masks, self._own = synapses(network, self.leaves), dict(network.named_parameters())

    def start(self, epoch: int) -> None:
        """Set the learning rate of an epoch, counted from 0."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(epoch, self.epochs)

    def params(self) -> Params:
        """Every parameter of the network, as a function of the leaves."""
        return self.leaves.params()

    def step(self, loss: Tensor) -> float:
        """One step down a loss of :meth:`params`, written into the network; its value.

        Raises:
            ValueError: a loss that is not one finite number, or does not depend on what is trained; values that became
                wrong for their kind.
        """
        self.optimizer.zero_grad(set_to_none=True)
        check_loss(loss)
        check_finite({"loss": loss.detach()})
        check_connected(loss)
        loss.backward()
        check_connected(loss, self.leaves)
        with on_planned_threads():
            for name, mask in self._masks.items():
                if (gradient := self.leaves[name].grad) is not None:
                    gradient.mul_(mask)
        nn.utils.clip_grad_norm_(list(self.leaves.values()), self.schedule.clip)
        with on_planned_threads():
            self.optimizer.step()
        self.leaves.write()
        with on_planned_threads():
            check_values({name: self._own[name].detach() for name in self.leaves})
        return loss.item()
