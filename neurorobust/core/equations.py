"""Equations of neurons in a small vocabulary: one for the layers of a network and for the neurons of a chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from .._util.errors import unknown

UNKNOWN = "unknown"

VOCABULARY: Mapping[str, tuple[str, ...]] = {
    "membrane": ("linear membrane", "DPI membrane", "exponential membrane", "quadratic membrane"),
    "floor": ("no floor", "floor at rest", "floor below rest"),
    "reset": ("no reset", "reset to rest", "reset to a value", "subtractive reset"),
    "refractory": (
        "no refractory time",
        "refractory time that holds the membrane",
        "refractory time that only blocks spikes",
    ),
    "synapse": ("no synaptic current", "one synaptic current", "synaptic currents by sign"),
    "inhibition": ("subtracted inhibition", "inhibition up to the excitation", "shunting inhibition"),
    "adaptation": ("no adaptation", "adaptation current", "adaptive threshold"),
}
"""The words for each point of a neuron's equations; :class:`Equations` explains them."""


def check_word(point: str, word: str) -> None:
    """Raise ValueError unless a word is one of the vocabulary of a point."""
    if word not in VOCABULARY[point]:
        raise unknown(point, word, VOCABULARY[point])


@dataclass(frozen=True)
class Equations:
    """The equations of the neurons of one layer: one word of :data:`VOCABULARY` for each point, or ``"unknown"``.

    Attributes:
        membrane: a linear leak; the current of a differential-pair integrator (DPI); or a membrane with an exponential
            or a quadratic upswing.
        floor: the lowest value of the membrane; "below rest" is a floor anywhere but at rest.
        reset: the effect of a spike on the membrane.
        refractory: in the time without spikes the membrane is held, or integrates on.
        synapse: no current that outlasts an event; a current with one time constant; or one for excitation and one for
            inhibition.
        inhibition: subtracted from the excitation, also below 0; subtracted down to 0; or a larger leak.
        adaptation: a subtracted current, or a raised threshold, which every spike makes larger.

    Raises:
        ValueError: a word that is not in the vocabulary of its point.

    Example:
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> equations = network.hidden.equations()
        >>> equations.floor, equations.reset, equations.inhibition
        ('floor at rest', 'reset to rest', 'subtracted inhibition')
    """

    membrane: str = UNKNOWN
    floor: str = UNKNOWN
    reset: str = UNKNOWN
    refractory: str = UNKNOWN
    synapse: str = UNKNOWN
    inhibition: str = UNKNOWN
    adaptation: str = UNKNOWN

    def __post_init__(self) -> None:
        for point, word in self.words().items():
            if word != UNKNOWN:
                check_word(point, word)

    def words(self) -> dict[str, str]:
        """The word of each point."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
