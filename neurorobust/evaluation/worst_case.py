"""The worst die an attack finds for a whole data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..attacks import Attack, Ball, RandomSearch, Suite
from ..attacks.objectives import Objective, name_of
from ..console import progress
from ..errors import check_count, check_finite
from ..network import placement_of
from ..params import Deviations, apply, forward, nominal
from ..randomness import generator
from ..tasks.task import Data
from .statistics import balanced_accuracy, recall


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The worst die found, of all that were looked at.

    Attributes:
        balanced_accuracy, accuracy, recall: on that die; recall one number per class.
        deviations: the die itself, inside the ball.
        attack: which member of the suite found it; it may be the nominal network.
        passes: forward passes made, over the whole data set.
    """

    balanced_accuracy: float
    accuracy: float
    recall: tuple[float, ...]
    deviations: Deviations
    attack: str
    passes: int


class _Witness:
    """Runs the network for an attack and remembers the die with the lowest balanced accuracy it was shown."""

    def __init__(self, network: nn.Module, data: Data, ball: Ball, tick: Callable[[], None]):
        self.network, self.data, self.tick = network, data, tick
        self.params = nominal(network)
        self.placement = placement_of(network)
        with torch.no_grad():
            self.clean = forward(network, self.params, data.x)[0]
        self.lowest, self.logits = balanced_accuracy(self.clean, data.y), self.clean
        self.deviations = ball.center(self.params, self.placement)
        self.finder, self.attack, self.passes = "the nominal parameters", "", 0

    def loss(self, objective: Objective, deviations: Deviations) -> Tensor:
        self.passes += 1
        self.tick()
        logits = forward(self.network, apply(self.params, deviations, self.placement), self.data.x)[0]
        score = balanced_accuracy(logits.detach(), self.data.y)
        if score < self.lowest:
            self.lowest, self.logits, self.finder = score, logits.detach(), self.attack
            self.deviations = {name: delta.detach().clone() for name, delta in deviations.items()}
        return objective(logits, self.clean, self.data.y)


def worst_case(
    network: nn.Module, data: Data, ball: Ball, attack: Attack | Suite, *, restarts: int = 1, seed: int = 0
) -> WorstCase:
    """Search for ONE die inside the ball that is worst for a whole data set.

    Every die the attack looks at counts, not only where it ends, and so does the network as it is. With the same
    seed a suite visits the very dies its members visit alone, so it is never weaker than they are.

    Args:
        network: attacked at its nominal parameters, which stay as they are.
        data: samples and labels; balanced accuracy over all of them is what is minimised.
        ball: how far each kind may move.
        attack: an attack or a suite.
        restarts: searches from different starts, for each member and objective.
        seed: of every random number.
    """
    check_count("restarts", restarts)
    total = sum(n * restarts * len(member.objectives) * (member.steps + 1) for member, n in _members(attack))
    with progress(f"attacking {len(data)} samples", total) as tick:
        return search(network, data, ball, attack, (restarts, seed), tick)


def _members(attack: Attack | Suite) -> tuple[tuple[Attack, int], ...]:
    return attack.members if isinstance(attack, Suite) else ((attack, 1),)


def search(
    network: nn.Module,
    data: Data,
    ball: Ball,
    attack: Attack | Suite,
    restarts_seed: tuple[int, int] = (1, 0),
    tick: Callable[[], None] = lambda: None,
) -> WorstCase:
    """What :func:`worst_case` does, without its progress bar: ``tick`` is called after every forward pass."""
    restarts, seed = restarts_seed
    data.check_classes("data")
    check_finite(nominal(network))
    witness = _Witness(network, data, ball, tick)
    center = witness.deviations
    if not center:
        raise ValueError(f"ball: {ball} names no parameter of this network; name a kind it has.")
    for member, member_restarts in _members(attack):
        witness.attack = repr(member)
        for restart in range(member_restarts * restarts):
            for objective in member.objectives:
                start = generator(seed, type(member).__name__, name_of(objective), restart)
                member.search(partial(witness.loss, objective), center, ball, start)
    predicted = witness.logits.argmax(-1)
    return WorstCase(
        balanced_accuracy=witness.lowest,
        accuracy=float((predicted == data.y).double().mean()),
        recall=tuple(recall(predicted, data.y, witness.logits.shape[-1]).tolist()),
        deviations=witness.deviations,
        attack=witness.finder,
        passes=witness.passes,
    )


def random_search(network: nn.Module, data: Data, ball: Ball, *, passes: int, seed: int = 0) -> WorstCase:
    """The control: the worst of ``passes`` dies drawn uniformly in the ball."""
    return worst_case(network, data, ball, RandomSearch(steps=check_count("passes", passes) - 1), seed=seed)
