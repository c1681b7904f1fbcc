"""The worst die an attack finds for a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..attacks import Attack, Ball, RandomSearch, Suite
from ..attacks.objectives import Objective, name_of
from ..console import progress
from ..errors import check_count, check_finite, unknown
from ..network import placement_of
from ..params import Deviations, apply, evaluating, expand, nominal
from ..randomness import generator
from ..tasks.task import Data, check_data
from .blocks import examined, in_blocks
from .statistics import check_outputs, recall, score

NOTHING = Suite(())


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The worst die found, of all that were looked at.

    Attributes:
        score: on that die, what was minimised: balanced accuracy, or R² of a regression.
        balanced_accuracy, accuracy, recall: on that die, recall one number per class; NaN and () for a regression.
        deviations: the die itself, inside the ball.
        attack: which member of the suite found it; it may be the nominal network.
        passes: forward passes made, over the whole data set, besides that of the nominal network.
    """

    score: float
    balanced_accuracy: float
    accuracy: float
    recall: tuple[float, ...]
    deviations: Deviations
    attack: str
    passes: int


class Witness:
    """Runs the network for an attack and remembers the die with the lowest score it was shown."""

    def __init__(self, network: nn.Module, data: Data, ball: Ball, tick: Callable[[], None] = lambda: None):
        self.network, self.data, self.ball, self.tick = network, data, ball, tick
        self.params = nominal(network)
        self.placement = placement_of(network)
        self.center = ball.center(self.params, self.placement)
        if not self.center:
            raise ValueError(f"ball: {ball} names no parameter of this network; name a kind it has.")
        with torch.no_grad():
            self.clean = in_blocks(network, self.params, data.x)
        check_outputs(self.clean, data.y)
        self.lowest, self.outputs = score(self.clean, data.y), self.clean
        self.deviations, self.finder, self.passes = self.center, "the nominal parameters", 0

    def outputs_of(self, deviations: Deviations, attack: str) -> Tensor:
        """The network's outputs on a die, which is remembered if it is the worst."""
        self.passes += 1
        outputs = in_blocks(self.network, apply(self.params, deviations, self.placement), self.data.x)
        self.tick()
        found = score(outputs.detach(), self.data.y)
        if found < self.lowest:
            self.lowest, self.outputs, self.finder = found, outputs.detach(), attack
            self.deviations = {name: delta.detach().clone() for name, delta in deviations.items()}
        return outputs

    def loss(self, objective: Objective, attack: str, deviations: Deviations) -> Tensor:
        return objective(self.outputs_of(deviations, attack), self.clean, self.data.y)

    def inside(self, candidate: Mapping[str, Tensor]) -> Deviations:
        """A die found elsewhere, projected into the ball; 0 where it does not deviate."""
        expected = expand(self.params, self.placement)
        for name, delta in candidate.items():
            if name not in expected:
                raise unknown("candidates: parameter", name, expected)
            if delta.shape != expected[name].shape:
                raise ValueError(
                    f"candidates: {name} has shape {tuple(delta.shape)}; this network expected "
                    f"{tuple(expected[name].shape)}. Deviations go over between networks of the same layers only."
                )
        check_finite(candidate)
        return self.ball.project({name: candidate.get(name, zero).to(zero) for name, zero in self.center.items()})

    def report(self) -> WorstCase:
        y = self.data.y
        nothing = float("nan")
        balanced, accuracy, per_class = nothing, nothing, ()
        if not y.is_floating_point():
            predicted = self.outputs.argmax(-1)
            balanced, accuracy = self.lowest, float((predicted == y).double().mean())
            per_class = tuple(recall(predicted, y, self.outputs.shape[-1]).tolist())
        return WorstCase(self.lowest, balanced, accuracy, per_class, self.deviations, self.finder, self.passes)


def worst_case(
    network: nn.Module,
    data: Data,
    ball: Ball,
    attack: Attack | Suite,
    *,
    restarts: int = 1,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
) -> WorstCase:
    """Search for ONE die inside the ball that is worst for a whole data set.

    Every die the attack looks at counts, not only where it ends, and so does the network as it is. With the same
    seed a suite visits the very dies its members visit alone, so it is never weaker than they are. What an attack looks
    at is always projected into the ball. More than 1000 samples go through the network 1000 at a time, so memory does
    not grow with them.

    Args:
        network: attacked at its nominal parameters, which stay as they are.
        data: samples and labels or targets; the score over all of them is what is minimised: balanced accuracy, or R².
        ball: how far each kind may move.
        attack: an attack or a suite.
        restarts: searches from different starts, for each member and objective.
        seed: of every random number.
        candidates: deviations found elsewhere, looked at too; see :func:`transfer`.

    Raises:
        ValueError: the ball or a candidate does not fit the network, or the data do not fit its outputs.
    """
    suite = suite_of(attack, restarts)
    with progress(f"attacking {len(data)} samples", suite.passes + len(candidates)) as tick:
        return find(network, data, ball, suite, seed=seed, candidates=candidates, tick=tick)


def transfer(network: nn.Module, data: Data, ball: Ball, candidates: Sequence[Mapping[str, Tensor]]) -> WorstCase:
    """The worst of the dies that were found for other networks, each projected into the ball.

    A network that withstands its own attack but not another network's dies hides its gradient.

    Args:
        network, data, ball: as for :func:`worst_case`.
        candidates: deviations by parameter name, such as ``[worst_case(other, …).deviations]``; a parameter without an
            entry does not deviate, and neither does one the ball does not name.

    Raises:
        ValueError: a parameter this network does not have, or has in another shape; NaN; no candidates.
    """
    if not candidates:
        raise ValueError("candidates: got none; expected deviations found on another network.")
    return find(network, data, ball, NOTHING, candidates=candidates)


def find(
    network: nn.Module,
    data: Data,
    ball: Ball,
    attack: Attack | Suite,
    *,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
    tick: Callable[[], None] = lambda: None,
) -> WorstCase:
    """What :func:`worst_case` does, without its progress bar: ``tick`` is called after every forward pass."""
    check_data(data)
    if not isinstance(ball, Ball):
        raise TypeError(f"ball: got {ball!r}; expected nr.Ball.uniform(0.1) for every kind, or nr.Ball(weight=0.1).")
    data.check_classes("data")
    examined(network, data)
    with evaluating(network):
        witness = Witness(network, data, ball, tick)
        dies = [witness.inside(candidate) for candidate in candidates]
        with torch.no_grad():
            for number, die in enumerate(dies):
                witness.outputs_of(die, f"candidate {number}")
        for member, restarts in suite_of(attack).members:
            for restart in range(restarts):
                for objective in member.objectives:
                    key = generator(seed, type(member).__name__, name_of(objective), restart)
                    member.search(partial(witness.loss, objective, repr(member)), witness.center, ball, key)
    return witness.report()


def suite_of(attack: Attack | Suite, restarts: int = 1) -> Suite:
    """Every member as often as it says, ``restarts`` times over."""
    check_count("restarts", restarts)
    if not isinstance(attack, Attack | Suite):
        raise TypeError(f"attack: got {attack!r}; expected one such as nr.attacks.PGA() or nr.attacks.strong().")
    members = attack.members if isinstance(attack, Suite) else ((attack, 1),)
    return Suite(tuple((member, n * restarts) for member, n in members))


def random_search(network: nn.Module, data: Data, ball: Ball, *, passes: int, seed: int = 0) -> WorstCase:
    """The control: the worst of ``passes`` dies drawn uniformly in the ball."""
    draws = RandomSearch(check_count("passes", passes) - 1, "mse" if data.y.is_floating_point() else "ce")
    return worst_case(network, data, ball, draws, seed=seed)
