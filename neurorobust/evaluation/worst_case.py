"""The worst die an attack finds for a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import kernels
from .._util.console import progress
from .._util.errors import check_count, check_finite, unknown
from .._util.randomness import generator
from ..attacks import Attack, Ball, Point, Question, RandomSearch, Search, Suite
from ..attacks.attack import explore_abreast, slopes_of
from ..attacks.objectives import Objective, name_of
from ..core.apply import apply
from ..core.params import Deviations, Params
from ..core.placement import expand
from ..core.run import evaluating, nominal
from ..data.task import Data, check_data
from ..nn.fleet_run import fleet_logits, side_by_side
from ..nn.network import placement_of
from .blocks import ATTACKED, examined, in_blocks
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


class Trail(Search):
    """A search for a witness: what it raises, what it is called and its place in the order of all."""

    def __init__(self, witness: Witness, attack: Attack, objective: Objective, key: torch.Generator, rank: int):
        super().__init__(witness.center, witness.ball, key)
        self.objective, self.attack, self.rank = objective, repr(attack), rank


class Witness:
    """Runs the network for attacks, as many dies in a pass as it and the memory allow, and remembers the die with the
    lowest score it was shown; of several, the one a search of the lowest rank came to first."""

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
        self.at_once = 1 if len(data) > ATTACKED else side_by_side(network, data.x)
        self.lowest, self.outputs, self.rank = score(self.clean, data.y), self.clean, -1
        self.deviations, self.finder, self.passes = self.center, "the nominal parameters", 0

    def answer(self, asked: Sequence[tuple[Trail, Question]]) -> list[list[Point]]:
        """The points that each search asks for."""
        steep = self._slopes([(trail, die) for trail, question in asked if question.slope for die in question.dies])
        flat = self._looks([(trail, die) for trail, question in asked if not question.slope for die in question.dies])
        return [[next(steep if question.slope else flat) for _ in question.dies] for _, question in asked]

    def candidates(self, dies: Sequence[Deviations]) -> None:
        """Dies that were found elsewhere, shown before any search."""
        for number, (die, outputs) in enumerate(zip(dies, self._outputs(dies))):
            self._note(die, outputs, f"candidate {number}", number)

    def _looks(self, wanted: Sequence[tuple[Trail, Deviations]]) -> Iterator[Point]:
        for (trail, die), outputs in zip(wanted, self._outputs([die for _, die in wanted])):
            self._note(die, outputs, trail.attack, trail.rank)
            with torch.no_grad():
                point = Point(die, float(trail.objective(outputs, self.clean, self.data.y)))
            yield point

    def _outputs(self, dies: Sequence[Deviations]) -> Iterator[Tensor]:
        """Outputs on each die, without a graph, one block of samples after the other."""
        blocks = [fleet_logits(self.network, map(self._at, dies), x) for x in self.data.x.split(ATTACKED)]
        return map(torch.cat, zip(*blocks)) if len(blocks) > 1 else blocks[0]

    def _slopes(self, wanted: Sequence[tuple[Trail, Deviations]]) -> Iterator[Point]:
        for first in range(0, len(wanted), self.at_once):
            some = wanted[first : first + self.at_once]
            leaves = {name: torch.stack([die[name] for _, die in some]).requires_grad_() for name in self.center}
            outputs = self._together(leaves)
            values = [trail.objective(own, self.clean, self.data.y) for (trail, _), own in zip(some, outputs)]
            slopes = slopes_of(values, leaves)
            for i, ((trail, die), value) in enumerate(zip(some, values)):
                self._note(die, outputs[i].detach(), trail.attack, trail.rank)
                yield Point(die, value.item(), {name: slope[i] for name, slope in slopes.items()})

    def _together(self, leaves: Deviations) -> Tensor:
        """Outputs on dies side by side, differentiable."""

        def run(die: Deviations) -> Tensor:
            return in_blocks(self.network, self._at(die), self.data.x)

        if len(next(iter(leaves.values()))) == 1:
            return run({name: leaf[0] for name, leaf in leaves.items()})[None]
        return torch.func.vmap(run)(leaves)

    def _at(self, deviations: Deviations) -> Params:
        return apply(self.params, deviations, self.placement)

    def _note(self, deviations: Deviations, outputs: Tensor, attack: str, rank: int) -> None:
        self.passes += 1
        self.tick()
        found = score(outputs, self.data.y)
        if (found, rank) < (self.lowest, self.rank):
            self.lowest, self.outputs, self.finder, self.rank = found, outputs.clone(), attack, rank
            self.deviations = {name: delta.clone() for name, delta in deviations.items()}

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
        """What was found, by the outputs that :func:`neurorobust.run` gives on that die."""
        y = self.data.y
        if self.rank >= 0:  # the nominal ones are known
            with torch.no_grad():
                self.outputs = in_blocks(self.network, self._at(self.deviations), self.data.x)
            self.lowest = score(self.outputs, y)
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
    with evaluating(network), kernels.CachedEvents(data.x):
        witness = Witness(network, data, ball, tick)
        witness.candidates([witness.inside(candidate) for candidate in candidates])
        explore_abreast(_trails(witness, suite_of(attack), seed, len(candidates)), witness.answer)
    return witness.report()


def _trails(witness: Witness, suite: Suite, seed: int, rank: int) -> Iterator[tuple[Attack, Trail]]:
    """Every search of a suite, in its order."""
    for member, restarts in suite.members:
        for restart in range(restarts):
            for objective in member.objectives:
                key = generator(seed, type(member).__name__, name_of(objective), restart)
                yield member, Trail(witness, member, objective, key, rank)
                rank += 1


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
