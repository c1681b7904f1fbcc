"""Training through the quantization of a chip."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from ..chip import ChipModel, Fixed, mismatch
from ..chip.encodings import Uniform
from ..core.params import Params
from ..core.placement import Placement, expand
from .quantized import groups
from .regularizer import Criterion, Regularizer, Step, as_regularizer
from .reprogrammed_chip import EVERY, ReprogrammedChip


class ProgrammedOn(Regularizer):
    """The inner loss at the quantized parameters of a chip, with the gradient of the identity (straight-through).

    Quantize first, then deviate: ``ProgrammedOn(Adversarial(loss, …), chip)``. The levels of each core are those of the
    last programming, and every value takes the nearest level; values set once per core are encoded again in every
    batch. For your own codecs, or a network without a chip, see :class:`Quantized`.

    Args:
        inner: loss(logits, y) or another regularizer.
        chip: a chip model; one that quantizes nothing changes nothing.
        every: batches from one programming to the next.

    Raises:
        ValueError: the chip cannot hold the parameters.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> loss = nr.regularizers.ProgrammedOn(nn.functional.cross_entropy, chipmodels.load("dynapse2"))
        >>> held = loss.quantized_params(nr.nominal(network), network.placement())
        >>> round((held["hidden.input.weight"] - network.hidden.input.weight).abs().max().item(), 3)  # largest change
        1.091
    """

    def __init__(self, inner: Criterion | Regularizer, chip: ChipModel, every: int = EVERY):
        self.inner = as_regularizer(inner)
        self.reprogrammed = ReprogrammedChip(chip, every)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        chip = mismatch(0.1)
        coarse = replace(chip.kinds["weight"], encoding=Fixed(Uniform(8, 0.4)))
        return cls(inner, replace(chip, kinds={**chip.kinds, "weight": coarse}) if strength else chip)

    def total(self, step: Step) -> Tensor:
        return self.inner.total(step.at(self.quantized_params(step.params, step.placement)))

    def quantized_params(self, params: Params, placement: Placement) -> Params:
        """The quantized parameters, expanded, differentiable (straight-through); counts a batch."""
        placement = self.reprogrammed.batch({n: value.detach() for n, value in params.items()}, placement).placement
        values = expand(params, placement)
        for kind in self.reprogrammed.chip.kinds:
            for number, group in groups(kind, values, placement).items():
                levels = self.reprogrammed.carried.get(f"levels {kind} {number}")
                if levels is None:
                    continue
                exact = torch.cat([values[name][here] for name, here in group.items()])
                coded = self._nearest(kind, number, levels, exact.detach()) + (exact - exact.detach())
                for name, here in group.items():
                    mine, coded = coded.split([int(here.sum()), len(coded) - int(here.sum())])
                    values[name] = values[name].masked_scatter(here, mine)
        return values

    def _nearest(self, kind: str, number: str | int, levels: Tensor, exact: Tensor) -> Tensor:
        model = self.reprogrammed.chip.kinds[kind]
        if not model.per_core:
            return levels[torch.bucketize(exact, (levels[1:] + levels[:-1]) / 2)]
        neuron, where = torch.arange(len(exact)), f"{kind} on core {number}"
        held = model.encoding.encode_core(where, exact, neuron, self.reprogrammed.chip.speed(kind))
        return held.decode(held.encode(exact, where)).to(exact.dtype)
