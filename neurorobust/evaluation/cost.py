"""Estimates of how long a measurement will take, before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .._util.errors import check_count
from ..attacks import Attack, Ball, Request, Search, Suite, as_objective
from ..attacks.suite import count_passes
from ..chip import ChipModel
from ..core.run import differentiating, evaluating
from ..data.samples import Samples, as_samples
from ..nn.network import placement_of
from .batched_search import RunningSearch, WorstCaseSearch
from .floors import LEAK, leaky_suite
from .noisy import noisy_logits
from .predict import ATTACK_BATCH, EVALUATION_BATCH, checked_params, predict
from .strong import strong_plan
from .worst_case import suite_of


def estimate_evaluate(network: nn.Module, data: Any, chip: ChipModel, *, n_dies: int = 100) -> float:
    """Seconds that :func:`neurorobust.evaluate` will take on this machine with its present load, from programming, one
    die and 250 samples. The network is not changed; the arguments are those of ``evaluate``.

    Raises:
        ValueError: as for :func:`neurorobust.evaluate`.

    Example:
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> seconds = nr.evaluation.estimate_evaluate(nr.wrap(nn.Linear(6, 2)), data, nr.mismatch(0.1), n_dies=100)
        >>> 0 < seconds < 60
        True
    """
    n_dies = check_count("n_dies", n_dies)
    data = as_samples(data)
    few = data.first(EVALUATION_BATCH)
    params = checked_params(network, few)
    started = time.perf_counter()
    programmed = chip.program(params, placement_of(network))
    programming = time.perf_counter() - started
    fleet = chip.fabricate([0], 0)

    def run() -> None:
        if chip.noise:
            for _, x in few.blocks(EVALUATION_BATCH):
                list(noisy_logits(network, [programmed.params], x, fleet, programmed))
        else:
            predict(network, programmed.params, few)

    with evaluating(network):
        forward_pass = min(_seconds(run) for _ in range(2))
    deviate = min(_seconds(lambda: fleet[0].params(programmed)) for _ in range(2))
    return programming + (n_dies + 2) * forward_pass * len(data) / len(few) + n_dies * deviate


def estimate_worst_case(network: nn.Module, data: Any, ball: Ball, attack: Attack | Suite) -> float:
    """Seconds that :func:`neurorobust.worst_case` will take on this machine with its present load, from a pass with a
    gradient and one without, over 250 samples. The network is not changed; the arguments are those of
    ``worst_case``. For the suite strong-1: :func:`estimate_strong_worst_case`.

    Raises:
        ValueError: as for :func:`neurorobust.worst_case`.

    Example:
        >>> data, ball = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2), nr.Ball.uniform(0.1)
        >>> seconds = nr.evaluation.estimate_worst_case(nr.wrap(nn.Linear(6, 2)), data, ball, nr.attacks.quick())
        >>> 0 < seconds < 60
        True
    """
    data, suite = as_samples(data), suite_of(attack)
    checked_params(network, data)
    n_with, n_without = count_passes(Suite((*suite.members, *leaky_suite(network, suite).members)))
    _time_passes(network, data.first(8), ball, suite)  # compiles
    few = data.first(EVALUATION_BATCH)
    without_gradient, with_gradient = _time_passes(network, few, ball, suite)
    if data.whole is None or len(data) > ATTACK_BATCH:  # each block is run again in the backward pass
        with_gradient += without_gradient
    return (n_with * with_gradient + (n_without + 1) * without_gradient) * len(data) / len(few)


def estimate_strong_worst_case(network: nn.Module, data: Any, ball: Ball) -> float:
    """Seconds that :func:`strong_worst_case`, the suite strong-1, will take on this machine with its present load; see
    :func:`estimate_worst_case`. Each candidate adds a pass without a gradient.

    Example:
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> nr.evaluation.estimate_strong_worst_case(nr.wrap(nn.Linear(6, 2)), data, nr.Ball.uniform(0.1)) > 0
        True
    """
    data = as_samples(data)
    return estimate_worst_case(network, data, ball, strong_members(network, data))


def strong_members(network: nn.Module, data: Samples) -> Suite:
    """All attacks of the suite strong-1 as one suite, for an estimate: without those through a leaky floor, which
    :func:`estimate_worst_case` adds to any suite."""
    parts = [part.suite for part in strong_plan(network, data) if part.floor != LEAK]
    return Suite(tuple(member for suite in parts for member in suite.members))


@differentiating()
def _time_passes(network: nn.Module, data: Samples, ball: Ball, suite: Suite) -> tuple[float, float]:
    """Seconds of one pass without and one with a gradient, 0 if the suite makes none of these."""
    with evaluating(network):
        worst_case_search = WorstCaseSearch(network, data, ball)
        attack, center = suite.members[0][0], worst_case_search.center
        search = RunningSearch(attack, as_objective(attack.objective), Search(center, ball, torch.Generator()), 0)

        def seconds(gradient: bool) -> float:
            return _seconds(lambda: worst_case_search.answer([(search, Request([center], gradient))]))

        return seconds(False), seconds(True) if count_passes(suite)[0] else 0.0


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
