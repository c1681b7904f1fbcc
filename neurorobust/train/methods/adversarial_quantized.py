"""An attack on every kind, through the rounding of a chip."""

from __future__ import annotations

from functools import partial

from ...chip import ChipModel
from ...chip.encodings import SignedPair
from ...regularizers import ProgrammedOn, Quantized, Regularizer
from ...regularizers.regularizer import Criterion
from . import adversarial
from .base import AROUND, ATTACK, Method, trials


def build(loss: Criterion, chip: ChipModel | None, *, bits: float, **settings: float) -> Regularizer:
    robust = adversarial.build(loss, chip, **settings)
    if chip is None or not chip.encodes_weights:
        return Quantized(robust, {"weight": partial(SignedPair.holding, bits=int(bits))})
    return ProgrammedOn(robust, chip)


method = Method(
    "adversarial through the chip's rounding, or with 4-bit weights where it has none",
    build,
    trials({**ATTACK, "bits": 4}, *AROUND),
    order=13,
)
