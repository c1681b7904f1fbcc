"""A chip that takes events only, and samples that are no events."""

from __future__ import annotations

from torch import nn

from .._util.warn import warn
from ..chip import ChipModel
from ..chip.equations import input_differences
from ..data.samples import Samples
from ..nn.entering import entering
from ..nn.network import Network

LOOKED_AT = 32
"""Samples of a stream, or of a module of another library, that are looked at; of others all."""


def foreign_inputs(network: nn.Module, chip: ChipModel, data: Samples) -> tuple[str, ...]:
    """A sentence if numbers that are no events reach a layer on a chip that takes events only, and a warning."""
    if chip.takes_numbers:
        return ()
    whole = data.whole if isinstance(network, Network) else None
    found = tuple(input_differences(entering(network, data.few(LOOKED_AT) if whole is None else whole)))
    for each in found:
        warn(
            f"data: {each} No die of {chip.name} can be given them, so these scores are of no chip. Encode the samples "
            f"as events, or compute the first layer on the host (core nr.HOST)."
        )
    return found
