"""Many searches for the worst die of one network, several per forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .._util.errors import check_finite, unknown
from .._util.randomness import generator
from ..attacks import Attack, Ball, Evaluation, Request, Search, Suite, as_objective
from ..attacks.attack import gradient_of_sum
from ..attacks.objectives import Objective, objective_name
from ..core.apply import apply
from ..core.params import Deviations, Params
from ..core.placement import expand
from ..core.run import nominal
from ..data.samples import Samples
from ..nn.fleet_run import fleet_logits, samples_at_once, side_by_side
from ..nn.network import placement_of
from .predict import ATTACK_BATCH, outputs_on, predict_all
from .statistics import check_numbers, check_outputs, score

SEARCHES_AT_ONCE = 16  # at most


class RunningSearch:
    """One search of a suite, and the request it waits for.

    Attributes:
        attack, objective, search: what runs, what it maximises, and where.
        rank: its place in the order of the suite; of equally bad dies that of the lowest rank counts.
        request: what it waits for; None before it is started and after its end.
    """

    def __init__(self, attack: Attack, objective: Objective, search: Search, rank: int):
        self.attack, self.objective, self.search, self.rank = attack, objective, search, rank
        self.label = repr(attack)
        self.request: Request | None = None
        self._requests = search.requests(attack)

    def advance(self) -> bool:
        """Continue to the next request, now that the last one is answered; False at the end."""
        self.request = next(self._requests, None)
        return self.request is not None

    def close(self) -> None:
        """End the search, wherever it is."""
        self._requests.close()


def run_batched(
    searches: Iterable[RunningSearch], answer: Callable[[Sequence[tuple[RunningSearch, Request]]], None]
) -> None:
    """Run searches, at most 16 at once, one request of each per round. When one ends, the next one starts.

    Args:
        searches: each is taken from the iterable when it starts.
        answer: fills in the evaluations of the requests of one round.

    Raises:
        TypeError: an attack does not wait for its evaluations.
    """
    waiting = iter(searches)
    running: list[RunningSearch] = []
    try:
        while True:
            while len(running) < (running[0].search.at_most(SEARCHES_AT_ONCE) if running else 1):
                started = next(waiting, None)
                if started is None:
                    break
                if started.advance():
                    running.append(started)
            if not running:
                return
            answer([(search, search.request) for search in running if search.request])
            running = [search for search in running if search.advance()]
    finally:
        for search in running:
            search.close()


def searches_of(suite: Suite, center: Deviations, ball: Ball, seed: int, rank: int) -> Iterator[RunningSearch]:
    """Every search of a suite, in its order; ``rank`` is that of the first."""
    for member, restarts in suite.members:
        for restart in range(restarts):
            objective = as_objective(member.objective)
            key = generator(seed, type(member).__name__, objective_name(objective), restart)
            yield RunningSearch(member, objective, Search(center, ball, key), rank)
            rank += 1


@dataclass(frozen=True, eq=False)
class Worst:
    """A die that lowers the score, and the outputs on it.

    Attributes:
        score: balanced accuracy, or R² of a regression.
        rank: of the search that found it; −1 for the nominal network.
        found_by: the attack, or which candidate it was.
        deviations, outputs: the die, and what the network gives on it.
    """

    score: float
    rank: int
    found_by: str
    deviations: Deviations
    outputs: Tensor


class WorstCaseSearch:
    """Evaluates dies for attacks, as many per forward pass as the network and the memory allow, and keeps the die with
    the lowest score; of several, that of the lowest rank, and of these the first.

    Attributes:
        center: zeros, one tensor per attacked parameter in its expanded shape.
        worst: the worst die so far; at first the nominal network.
        passes: forward passes made, besides that of the nominal network.
    """

    def __init__(self, network: nn.Module, data: Samples, ball: Ball, tick: Callable[[], None] = lambda: None):
        self.network, self.data, self.ball, self.tick = network, data, ball, tick
        self.params = nominal(network)
        self.placement = placement_of(network)
        self.center = ball.center(self.params, self.placement)
        if not self.center:
            raise ValueError(f"ball: {ball} names no parameter of this network; name a kind it has.")
        with torch.no_grad():
            self.clean = predict_all(network, self.params, data)
        check_outputs(self.clean, data.y)
        check_numbers(self.clean)
        x = data.whole
        one = x is None or len(data) > samples_at_once(x, ATTACK_BATCH)
        self.dies_per_pass = 1 if one or x is None else side_by_side(network, x)
        self.worst = Worst(score(self.clean, data.y), -1, "the nominal parameters", self.center, self.clean)
        self.passes = 0

    def answer(self, requests: Sequence[tuple[RunningSearch, Request]]) -> None:
        """Fill in the evaluations of one request of each search, those of equal type together."""
        with_gradient = self._values_and_grads(
            [(search, die) for search, request in requests if request.gradient for die in request.dies]
        )
        without = self._values(
            [(search, die) for search, request in requests if not request.gradient for die in request.dies]
        )
        for _, request in requests:
            request.evaluations = [next(with_gradient if request.gradient else without) for _ in request.dies]

    def add_candidates(self, dies: Sequence[Deviations]) -> None:
        """Evaluate dies that were found elsewhere, before any search."""
        for number, (die, outputs) in enumerate(zip(dies, self._outputs(dies))):
            self._record(die, outputs, f"candidate {number}", number)

    def project_candidate(self, candidate: Mapping[str, Tensor]) -> Deviations:
        """A die that was found elsewhere, projected into the ball; 0 for parameters that it does not name."""
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

    def params_of(self, deviations: Deviations) -> Params:
        """The parameters of a die."""
        return apply(self.params, deviations, self.placement)

    def _values(self, wanted: Sequence[tuple[RunningSearch, Deviations]]) -> Iterator[Evaluation]:
        for (search, die), outputs in zip(wanted, self._outputs([die for _, die in wanted])):
            self._record(die, outputs, search.label, search.rank)
            with torch.no_grad():
                evaluation = Evaluation(die, float(search.objective(outputs, self.clean, self.data.y)))
            yield evaluation

    def _outputs(self, dies: Sequence[Deviations]) -> Iterator[Tensor]:
        """Outputs on each die, without a graph, one block of samples after the other."""
        x = self.data.whole
        if x is None:
            return outputs_on(self.network, map(self.params_of, dies), self.data)
        split = x.split(samples_at_once(x, ATTACK_BATCH))
        blocks = [fleet_logits(self.network, map(self.params_of, dies), some) for some in split]
        return map(torch.cat, zip(*blocks)) if len(blocks) > 1 else blocks[0]

    def _values_and_grads(self, wanted: Sequence[tuple[RunningSearch, Deviations]]) -> Iterator[Evaluation]:
        for first in range(0, len(wanted), self.dies_per_pass):
            some = wanted[first : first + self.dies_per_pass]
            leaves = {name: torch.stack([die[name] for _, die in some]).requires_grad_() for name in self.center}
            outputs = self._differentiable_outputs(leaves)
            values = [search.objective(own, self.clean, self.data.y) for (search, _), own in zip(some, outputs)]
            gradients = gradient_of_sum(values, leaves)
            for i, ((search, die), value) in enumerate(zip(some, values)):
                self._record(die, outputs[i].detach(), search.label, search.rank)
                yield Evaluation(die, value.item(), {name: gradient[i] for name, gradient in gradients.items()})

    def _differentiable_outputs(self, leaves: Deviations) -> Tensor:
        """Outputs on several dies in one pass, (dies, …); ``leaves`` are their deviations, (dies, …) each."""

        def run(die: Deviations) -> Tensor:
            return predict_all(self.network, self.params_of(die), self.data)

        if len(next(iter(leaves.values()))) == 1:
            return run({name: leaf[0] for name, leaf in leaves.items()})[None]
        return torch.func.vmap(run)(leaves)

    def _record(self, deviations: Deviations, outputs: Tensor, found_by: str, rank: int) -> None:
        self.passes += 1
        self.tick()
        found = score(outputs, self.data.y)
        if (found, rank) < (self.worst.score, self.worst.rank):
            copy = {name: delta.clone() for name, delta in deviations.items()}
            self.worst = Worst(found, rank, found_by, copy, outputs.clone())
