"""Encodings: from trained values to the codes a chip holds, and back.

A :class:`Codec` is a fixed set of values with integer codes. An :class:`Encoding` says how a core of a chip holds all
values of one kind: it chooses the gain into the chip's units and the codec, and gives an :class:`EncodedCore`.
"""

from .codec import Codec, LogCodec, QuantizationLoss
from .conductances import ConductancePair
from .encoding import BitMaskedCurrents, EncodedCore, Encoding, Fixed, Scaled, SharedGain, SynapseCounts, Unquantized
from .levels import BitShift, CoarseFine, LevelTable, LogUniform, Multiplicity, SignedPair, Uniform
from .masks import MaskCodebook, fit_masks
from .saturating import Saturating

__all__ = [
    "BitMaskedCurrents",
    "BitShift",
    "CoarseFine",
    "Codec",
    "ConductancePair",
    "EncodedCore",
    "Encoding",
    "Fixed",
    "LevelTable",
    "LogCodec",
    "LogUniform",
    "MaskCodebook",
    "Multiplicity",
    "QuantizationLoss",
    "Saturating",
    "Scaled",
    "SharedGain",
    "SignedPair",
    "SynapseCounts",
    "Uniform",
    "Unquantized",
    "fit_masks",
]
