"""THE strong suite of attacks: one for all networks, frozen under a version, so that figures stay comparable.

``strong-1`` runs :class:`APGD` of 40 steps through each of three surrogates. A surrogate changes the gradient only,
never a spike. Per surrogate: on the margin once from near the centre and once from anywhere in the ball, and on the
cross-entropy from near the centre. It also runs, through the network's own surrogate, the ten-step attack of arXiv
2106.05009 on KL and on cross-entropy; as many random dies as all these passes; :class:`SPSA`, which needs no gradient;
and every die found for another network. The minimum counts. 863 passes, 391 of them with a gradient. Where nothing
spikes, or the surrogates are not known, there is one gradient and six starts on the margin: 699 passes, 309 with a
gradient. A changed suite gets another version.

On a network with floors the version is ``strong-1+floor-1``: all of strong-1 with the same seeds, through the true
gradient, then every search with a gradient once more through a leaky floor, and as many random dies more. 1645 passes.

The surrogates were chosen on validation beats of two ECG networks that had been trained with ``Triangle(0.3)``: wider
ones find far worse dies than the network's own (balanced accuracy .70 against .84 at ζ = 0.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .._util.console import progress
from .._util.errors import check_count
from .._util.randomness import generator
from ..attacks import APGD, PGA, SPSA, Attack, Ball, RandomSearch, Suite
from ..attacks.suite import ANYWHERE
from ..data.samples import Samples, as_samples
from ..dynamics.surrogate import ArcTan, FastSigmoid, Surrogate, Triangle
from ..nn.floor import has_floors, using_floor
from .floors import LEAK, version_on
from .parts import Part, has_surrogates, using_surrogate
from .spread import Resumable, check_executor
from .spread_search import spread_searches
from .worst_case import STRONG, WorstCase, find_worst_case, result_of, with_floor_fraction, worse

SURROGATES = (Triangle(1.0), FastSigmoid(5.0, scaled=True), ArcTan(5.0, scaled=True))
STEPS, STARTS = 40, 6


def strong_plan(network: nn.Module, data: Samples) -> tuple[Part, ...]:
    """The suites that :func:`strong_worst_case` runs, each with the gradients it goes through.
    ``sum(part.suite.passes for part in plan)`` passes, and one more for each candidate.

    Example:
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> plan = nr.evaluation.strong_plan(nr.wrap(nn.Linear(6, 2)), data)
        >>> sum(part.suite.passes for part in plan)
        699
    """
    hard, soft, old = ("mse", "mse", "mse") if data.regression else ("margin", "ce", "kl")
    surrogates: tuple[Surrogate | None, ...] = SURROGATES if has_surrogates(network) else (None,)
    ascents: tuple[tuple[Attack, int], ...] = (
        (APGD(STEPS, 1e-3, hard), 1),
        (APGD(STEPS, ANYWHERE, hard), STARTS // len(surrogates) - 1),
    )
    published: tuple[tuple[Attack, int], ...] = ((PGA(10, objective=old), 1),)
    if not data.regression:
        ascents += ((APGD(STEPS, 1e-3, soft), 1),)
        published += ((PGA(10, objective=soft), 1),)
    with_gradient = (Part(Suite(published)), *(Part(Suite(ascents), surrogate) for surrogate in surrogates))
    again = [part._replace(floor=LEAK) for part in with_gradient] if has_floors(network) else []
    passes = sum(part.suite.passes for part in (*with_gradient, *again))
    without_gradient = Suite(((RandomSearch(passes - 1, soft), 1), (SPSA(10, objective=hard), 1)))
    return (*with_gradient, Part(without_gradient), *again)


def strong_worst_case(
    network: nn.Module,
    data: Any,
    ball: Ball,
    *,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
    executor: Executor | Resumable | None = None,
) -> WorstCase:
    """The worst die that the strong suite finds for a whole data set; see :func:`neurorobust.worst_case`.

    ``result.suite`` is the version of the suite, ``"strong-1"``: results of the same version can be compared. For a
    network with floors it is ``"strong-1+floor-1"``. This contains strong-1, and is at least as strong.

    Args:
        network: attacked at its nominal parameters, which are not changed.
        data, ball: as for :func:`neurorobust.worst_case`. seed: of every random number.
        candidates: dies found for the other networks of a comparison, ``[strong_worst_case(other, …).deviations]``.
        executor: as for :func:`neurorobust.worst_case`.

    Returns:
        The die; ``attack`` says which attack found it, through which surrogate.

    Raises:
        ValueError: as for :func:`neurorobust.worst_case`, or a negative seed.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> worst = nr.evaluation.strong_worst_case(nr.wrap(layer), data, nr.Ball.uniform(0.2))
        >>> worst.score, worst.suite
        (0.5, 'strong-1')
    """
    check_executor(executor)
    data = as_samples(data)
    seed = check_count("seed", seed, 0)
    plan = strong_plan(network, data)
    seeds = torch.randint(2**31, (len(plan),), generator=generator(seed, STRONG)).tolist()
    worst: WorstCase | None = None
    passes = sum(part.suite.passes for part in plan) + len(candidates)
    with progress(f"attacking {len(data)} samples", passes) as tick:
        if executor is not None:
            parts = tuple(zip(plan, seeds))
            search = spread_searches(executor, network, data, ball, parts, candidates, tick)
            worst = result_of(search, plan[0].suite)
        for part, key in zip(plan if executor is None else (), seeds):
            with using_surrogate(network, part.surrogate), using_floor(network, part.floor):
                found = find_worst_case(network, data, ball, part.suite, seed=key, candidates=candidates, tick=tick)
            candidates = ()
            if str(part):
                found = replace(found, attack=f"{found.attack} through {part}")
            worst = found if worst is None else worse(worst, found)
    assert worst is not None
    return with_floor_fraction(replace(worst, suite=version_on(network, STRONG)), network, data)
