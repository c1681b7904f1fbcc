"""Which kind of parameter breaks a die: each kind alone, and all kinds but one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from .._util.console import progress
from .._util.errors import check_count
from .._util.printed import Printed
from ..chip import ChipModel, Fleet
from ..core.apply import apply
from ..core.params import Params, kind_of
from ..core.run import evaluating
from ..data.samples import as_samples
from ..nn.network import placement_of
from .fleet_work import noisy_run
from .inputs import foreign_inputs
from .predict import checked_params, outputs_on
from .statistics import check_outputs, score


@dataclass(frozen=True)
class KindScores(Printed):
    """The scores of one die of which a part deviates; what does not deviate has its programmed value.

    Attributes:
        alone: only this kind deviates. without: all kinds but this one deviate.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> found = nr.evaluation.ablate_kinds(nr.wrap(layer), data, nr.mismatch(0.3), serials=range(20))
        >>> [serial for serial, kinds in found.items() if kinds["weight"].alone < 1]  # dies that weights break
        [3, 4, 7, 13, 14, 16, 17, 18]
    """

    alone: float
    without: float


def ablate_kinds(
    network: nn.Module, data: Any, chip: ChipModel, *, serials: Sequence[int], seed: int = 1
) -> dict[int, dict[str, KindScores]]:
    """Which kind of parameter breaks some dies: serial → kind → :class:`KindScores`.

    A kind breaks a die if the score is low with this kind alone, or if the die recovers without it. Where several
    kinds break a die together, no kind alone has a low score. :func:`neurorobust.sensitivity` asks the same of a
    network; this function asks it of single dies, which are those of :func:`neurorobust.evaluate` with the same seed.
    It runs the network twice for each kind and die.

    Args:
        network, data, chip: as for :func:`neurorobust.evaluate`. serials: the dies. seed: of the dies.

    Raises:
        ValueError: no serial, or nothing deviates.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> found = nr.evaluation.ablate_kinds(nr.wrap(layer), data, nr.mismatch(0.3), serials=[0, 1])
        >>> found[0]
        {'bias': KindScores(alone=1.0, without=1.0), 'weight': KindScores(alone=1.0, without=1.0)}
    """
    data = as_samples(data)
    data.check_classes("data")
    params = checked_params(network, data)
    serials = tuple(check_count("serials", serial, 0) for serial in serials)
    programmed = chip.program(params, placement_of(network))
    foreign_inputs(network, chip, data)
    kinds = sorted({kind_of(name) for name in programmed.expanded()})
    if not serials or not kinds:
        raise ValueError(f"serials: got {list(serials)} and {len(kinds)} kinds that deviate; expected at least one.")
    repeated = tuple(serial for serial in serials for _ in range(2 * len(kinds)))
    fleet = Fleet(chip, repeated, check_count("seed", seed, 0))

    def parts() -> Iterator[Params]:
        for die in Fleet(chip, serials, fleet.seed):
            whole = die.deviations(programmed)
            for kind in kinds:
                alone = {name: delta for name, delta in whole.items() if kind_of(name) == kind}
                others = {name: delta for name, delta in whole.items() if kind_of(name) != kind}
                yield apply(programmed.params, alone, programmed.placement)
                yield apply(programmed.params, others, programmed.placement)

    scores = []
    with evaluating(network), progress(f"kinds on {len(serials)} dies of {chip.label}", len(repeated)) as tick:
        run = noisy_run(network, fleet, programmed) if chip.noise else None
        for outputs in outputs_on(network, parts(), data, run):
            check_outputs(outputs, data.y)
            scores.append(score(outputs, data.y))
            tick()
    pairs = iter(zip(scores[::2], scores[1::2]))
    return {serial: {kind: KindScores(*next(pairs)) for kind in kinds} for serial in serials}
