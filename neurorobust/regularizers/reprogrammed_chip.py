"""A chip that is programmed again and again while the parameters train."""

from __future__ import annotations

import torch

from .._util.errors import check_count
from ..chip import ChipModel, Programmed
from ..chip.convolutions import place_convolutions
from ..core.params import Params
from ..core.placement import Placement
from .carrier import Carrier
from .quantized import groups

EVERY = 100


class ReprogrammedChip(Carrier):
    """A chip that the parameters are programmed onto at the first batch and then every ``every`` batches.

    Programming fits codebooks, which takes as long as many training steps, and a step hardly changes them. In between,
    the gains and the levels of each core are kept, and the parameters are those of the batch. Gains and levels are part
    of ``state()``.

    Args:
        chip: a chip model. every: batches from one programming to the next.

    Raises:
        ValueError: the chip cannot hold the parameters.
    """

    def __init__(self, chip: ChipModel, every: int = EVERY):
        if not isinstance(chip, ChipModel):
            raise TypeError(f"chip: got {chip!r}; expected a ChipModel, such as chipmodels.load('dynapse2').")
        self.chip = chip
        self.every = check_count("every", every)

    def __repr__(self) -> str:
        return f"ReprogrammedChip({self.chip.name} version {self.chip.version}, every={self.every})"

    def batch(self, params: Params, placement: Placement) -> Programmed:
        """The parameters as they are, not quantized, at the gains of the last programming; counts a batch."""
        if self.count() % self.every == 0:
            self._program(params, placement)
        gains = {name[5:]: gain for name, gain in self.carried.items() if name.startswith("gain ")}
        where = place_convolutions(self.chip, params, placement)
        return Programmed(dict(params), {}, where, [], gains, self.chip.exact_host)

    def _program(self, params: Params, placement: Placement) -> None:
        programmed = self.chip.program(params, placement)
        batches, expanded = self.carried["batches"], programmed.expanded()
        self.carried.clear()
        self.carried["batches"] = batches
        self.carried.update({f"gain {name}": gain for name, gain in programmed.gains.items()})
        coded = {name: expanded[name] for name in programmed.codes}
        for kind in self.chip.kinds:
            for number, group in groups(kind, coded, programmed.placement).items():
                held = torch.cat([coded[name].detach()[here] for name, here in group.items()])
                self.carried[f"levels {kind} {number}"] = held.unique()
