"""What a measurement will cost, before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .._util.errors import check_count
from ..attacks import Attack, Ball, Question, Suite
from ..chip import ChipModel
from ..core.apply import apply
from ..core.params import Deviations
from ..core.run import evaluating, nominal
from ..data.task import Data
from ..nn.network import placement_of
from .blocks import ATTACKED, JUDGED, judged_outputs
from .noisy import noisy_logits
from .worst_case import Trail, Witness, suite_of


def estimate_evaluate(network: nn.Module, data: Data, chip: ChipModel, *, n_dies: int = 100) -> float:
    """Seconds that :func:`neurorobust.evaluate` will take on this machine as busy as it is now, from programming, one
    die and 250 samples. The network stays as it is; the arguments are those of ``evaluate``."""
    check_count("n_dies", n_dies)
    few = data.first(JUDGED)
    started = time.perf_counter()
    programmed = chip.program(nominal(network), placement_of(network))
    programming = time.perf_counter() - started
    fleet = chip.fabricate([0], 0)

    def run() -> None:
        if chip.noise:
            list(noisy_logits(network, [programmed.params], few.x, fleet, programmed))
        else:
            judged_outputs(network, programmed.params, few)

    with evaluating(network):
        look = min(_seconds(run) for _ in range(2))
    deviate = min(
        _seconds(lambda: apply(programmed.params, fleet[0].deviations(programmed), programmed.placement))
        for _ in range(2)
    )
    return programming + (n_dies + 2) * look * len(data) / len(few) + n_dies * deviate


def estimate_worst_case(
    network: nn.Module, data: Data, ball: Ball, attack: Attack | Suite, *, restarts: int = 1
) -> float:
    """Seconds that :func:`neurorobust.worst_case` will take on this machine as busy as it is now, from a pass with a
    slope and one without, over 250 samples. The network stays as it is; the arguments are those of
    ``worst_case``."""
    suite = suite_of(attack, restarts)
    slopes, looks = count_passes(suite)
    _time_passes(network, data.first(8), ball, suite)  # compiles
    few = data.first(JUDGED)
    look, slope = _time_passes(network, few, ball, suite)
    if len(data) > ATTACKED:  # each block is run again in the backward pass
        slope += look
    return (slopes * slope + (looks + 1) * look) * len(data) / len(few)


def _time_passes(network: nn.Module, data: Data, ball: Ball, suite: Suite) -> tuple[float, float]:
    """Seconds of one pass without and one with a slope, 0 if the suite makes none of these."""
    with evaluating(network):
        witness = Witness(network, data, ball)
        attack = suite.members[0][0]
        trail = Trail(witness, attack, attack.objectives[0], torch.Generator(), 0)

        def seconds(slope: bool) -> float:
            return _seconds(lambda: witness.answer([(trail, Question([witness.center], slope))]))

        return seconds(False), seconds(True) if count_passes(suite)[0] else 0.0


def count_passes(suite: Suite) -> tuple[int, int]:
    """Forward passes with and without a slope, counted in a dry run on a single number instead of a network."""
    slopes = looks = 0
    calls: list[bool] = []

    def loss(deviations: Deviations) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return deviations["weight"].sum()

    for member, restarts in suite.members:
        calls.clear()
        member.search(loss, {"weight": torch.zeros(1)}, Ball(weight=1.0), torch.Generator())
        times = restarts * len(member.objectives)
        slopes += times * sum(calls)
        looks += times * (len(calls) - sum(calls))
    return slopes, looks


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
