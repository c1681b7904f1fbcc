"""THE strong suite of attacks: one for all networks, frozen under a version, so that figures stay comparable.

``strong-1`` runs :class:`APGD` of 40 steps through each of three surrogates. A surrogate changes the gradient only,
never a spike. Per surrogate: on the margin once from near the centre and once from anywhere in the ball, and on the
cross-entropy from near the centre. It also runs, through the network's own surrogate, the ten-step attack of arXiv
2106.05009 on KL and on cross-entropy; as many random dies as all these passes; :class:`SPSA`, which needs no gradient;
and every die found for another network. The minimum counts. 863 passes, 391 of them with a gradient. Where nothing
spikes, or the surrogates are not known, there is one gradient and six starts on the margin: 699 passes, 309 with a
gradient. A changed suite gets another version.

The surrogates were chosen on validation beats of two ECG networks that had been trained with ``Triangle(0.3)``: wider
ones find far worse dies than the network's own (balanced accuracy .70 against .84 at ζ = 0.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from .._util.console import progress
from .._util.errors import check_count
from .._util.randomness import generator
from ..attacks import APGD, PGA, SPSA, Attack, Ball, RandomSearch, Suite
from ..attacks.suite import ANYWHERE
from ..data.task import Data, check_data
from ..dynamics.surrogate import ArcTan, FastSigmoid, Surrogate, Triangle
from .worst_case import STRONG, WorstCase, find_worst_case

SURROGATES = (Triangle(1.0), FastSigmoid(5.0, scaled=True), ArcTan(5.0, scaled=True))
STEPS, STARTS = 40, 6

Plan = tuple[tuple[Surrogate | None, Suite], ...]


def strong_plan(network: nn.Module, data: Data) -> Plan:
    """The suites that :func:`strong_worst_case` runs, each with its surrogate; None for the network's own.
    ``sum(suite.passes for _, suite in plan)`` passes, and one more for each candidate."""
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
    with_gradient: Plan = ((None, Suite(published)), *((surrogate, Suite(ascents)) for surrogate in surrogates))
    passes = sum(suite.passes for _, suite in with_gradient)
    without_gradient = Suite(((RandomSearch(passes - 1, soft), 1), (SPSA(10, objective=hard), 1)))
    return (*with_gradient, (None, without_gradient))


def strong_worst_case(
    network: nn.Module,
    data: Data,
    ball: Ball,
    *,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
) -> WorstCase:
    """The worst die that the strong suite finds for a whole data set; see :func:`neurorobust.worst_case`.

    ``result.suite`` is the version of the suite, ``"strong-1"``: results of the same version can be compared.

    Args:
        network: attacked at its nominal parameters, which are not changed.
        data, ball: as for :func:`neurorobust.worst_case`. seed: of every random number.
        candidates: dies found for the other networks of a comparison, ``[strong_worst_case(other, …).deviations]``.

    Returns:
        The die; ``attack`` says which attack found it, through which surrogate.
    """
    check_data(data)
    seed = check_count("seed", seed, 0)
    plan = strong_plan(network, data)
    seeds = torch.randint(2**31, (len(plan),), generator=generator(seed, STRONG)).tolist()
    worst: WorstCase | None = None
    passes = 0
    with progress(f"attacking {len(data)} samples", sum(s.passes for _, s in plan) + len(candidates)) as tick:
        for (surrogate, suite), key in zip(plan, seeds):
            with using_surrogate(network, surrogate):
                found = find_worst_case(network, data, ball, suite, seed=key, candidates=candidates, tick=tick)
            candidates, passes = (), passes + found.passes
            if surrogate is not None:
                found = replace(found, attack=f"{found.attack} through {surrogate}")
            worst = found if worst is None or found.score < worst.score else worst
    assert worst is not None
    return replace(worst, passes=passes, suite=STRONG)


@contextmanager
def using_surrogate(network: nn.Module, surrogate: Surrogate | None) -> Iterator[None]:
    """Differentiate every spike of a network through another surrogate inside the ``with`` block; spikes do not change.

    Layers of this package scale the surrogate by their threshold. snnTorch's neurons take it as a function of v − ϑ in
    volts, which is the same for thresholds of 1. Without surrogates in the network, or for None, nothing happens.
    """
    holders = _surrogate_holders(network) if surrogate is not None else []
    before = [holder.surrogate for holder, _ in holders]
    try:
        for holder, scales in holders:
            holder.surrogate = surrogate if scales else replace(surrogate, scaled=False)  # type: ignore[type-var]
        yield
    finally:
        for (holder, _), own in zip(holders, before):
            holder.surrogate = own


def has_surrogates(network: nn.Module) -> bool:
    """Whether a network has surrogates that can be exchanged."""
    return bool(_surrogate_holders(network))


def _surrogate_holders(network: nn.Module) -> list[tuple]:
    """The objects that hold the surrogates of a network, each with whether it scales them by a threshold."""
    holders: list[tuple] = []
    for module in network.modules():
        if isinstance(getattr(module, "surrogate", None), Surrogate):
            holders.append((module, True))
        elif isinstance(getattr(getattr(module, "spike_grad", None), "surrogate", None), Surrogate):
            holders.append((module.spike_grad, False))
    return holders
