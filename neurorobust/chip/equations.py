"""The equations that the neurons of a chip obey, and where those of a network differ from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor

from .._util.errors import unknown
from ..core.equations import UNKNOWN, VOCABULARY, Equations, check_word
from ..core.placement import HOST, Placement
from .sourced import STATUSES

PAGE = "docs/physics.md"
INPUTS = ("events", "numbers")
"""What a chip may take as input: events (whole numbers ≥ 0 in a step), or any numbers."""
LINEARISED = {("membrane", "linear membrane"), ("inhibition", "subtracted inhibition")}
"""Effects that a linearisation of a circuit leaves out."""


@dataclass(frozen=True)
class SourcedText:
    """One point of the audit of a chip.

    Attributes:
        text: what the circuit does.
        status: measured, published, coded or assumed, as in :class:`~neurorobust.chip.SourcedValue`; or ``"unknown"``.
        source: paper, table or file; may be empty where the status is unknown.
        words: every word of the vocabulary that the circuit can do; for ``inputs``, words of :data:`INPUTS`. Empty: no
            word, or any of them.
        model: what our model of the chip does, as text. Empty for a point that a neuron of the network decides.

    Raises:
        ValueError: an unknown status, no text, or no source for a known fact. TypeError: ``words`` is no tuple.

    Example:
        >>> reset = nr.chip.SourcedText("To rest.", "published", "Chicca et al. 2014", ("reset to rest",))
        >>> reset.status, reset.words
        ('published', ('reset to rest',))
    """

    text: str
    status: str
    source: str
    words: tuple[str, ...] = ()
    model: str = ""

    def __post_init__(self) -> None:
        if self.status not in (*STATUSES, UNKNOWN):
            raise unknown("status", self.status, (*STATUSES, UNKNOWN))
        if not self.text:
            raise ValueError("text: got none; expected what the circuit does, or 'unknown'.")
        if not self.source and self.status != UNKNOWN:
            raise ValueError(f"source: a fact of status {self.status!r} needs one; name the paper, table or file.")
        if type(self.words) is not tuple:
            raise TypeError(f"words: got {self.words!r}; expected a tuple of words, such as ('no floor',).")


NOT_FOUND = SourcedText(UNKNOWN, UNKNOWN, "")
"""A point about which nothing was found."""


@dataclass(frozen=True)
class NeuronModel:
    """Behaviour of the neurons of a chip, each point with its source.

    Attributes:
        membrane, floor, reset, refractory, synapse, inhibition, adaptation: the equations, with words of
            :data:`neurorobust.core.equations.VOCABULARY`.
        signs: how a synapse gets its sign. fan_out: where a spike can go. settings: what has one value per core and
            what one per neuron. readout: on the chip or on the host. time_base: asynchronous or clocked.
        only_in_silicon: what deviates from die to die in the circuit and not in our laws.
        only_in_model: what deviates in our laws and not, or otherwise, in the circuit.
        as_network: True if the chip holds weights only, and neurons are computed beside it as the network has them.

    Raises:
        TypeError: a point that is no :class:`SourcedText`. ValueError: a word that is not in the vocabulary, or words
            on a point that has none.

    Example:
        >>> import chipmodels
        >>> neuron = chipmodels.load("dynapse2").neuron
        >>> neuron.floor.text
        'The leakage current I_0, at rest. A direct current, one value per core, lifts rest above the floor.'
    """

    membrane: SourcedText
    floor: SourcedText
    reset: SourcedText
    refractory: SourcedText
    synapse: SourcedText
    inhibition: SourcedText
    adaptation: SourcedText
    signs: SourcedText
    fan_out: SourcedText
    settings: SourcedText
    readout: SourcedText
    time_base: SourcedText
    only_in_silicon: SourcedText
    only_in_model: SourcedText
    as_network: bool = False

    def __post_init__(self) -> None:
        for name, point in self.points().items():
            if not isinstance(point, SourcedText):
                raise TypeError(f"{name}: got {point!r}; expected a SourcedText(text, status, source).")
            if point.words and name not in VOCABULARY:
                raise ValueError(f"{name}: got words {point.words}; only {', '.join(VOCABULARY)} have words.")
            for word in point.words:
                check_word(name, word)

    def points(self) -> dict[str, SourcedText]:
        """Every point by name, in order."""
        return {name: getattr(self, name) for name in POINTS}

    def entry(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "as_network": self.as_network,
            "points": {name: asdict(point) | {"words": list(point.words)} for name, point in self.points().items()},
        }

    def differing(self, layers: Mapping[str, Equations]) -> list[tuple[str, str, str]]:
        """(layer, point, word of the layer) wherever a layer does what the circuit does not; points that one of them
        does not state are left out."""
        return [
            (name, point, word)
            for name, layer in layers.items()
            for point, word in layer.words().items()
            if word not in (UNKNOWN, *getattr(self, point).words) and getattr(self, point).words
        ]

    def differences(self, layers: Mapping[str, Equations]) -> list[str]:
        """One plain sentence for each entry of :meth:`differing`."""
        return [
            f"layer {name}: {word}; on the chip: {', or '.join(getattr(self, point).words)}."
            for name, point, word in self.differing(layers)
        ]


POINTS = tuple(field.name for field in fields(NeuronModel) if field.name != "as_network")
"""The points of the audit, in order."""


def neurons_beside(neurons: SourcedText, **others: SourcedText) -> NeuronModel:
    """The neurons of a chip that holds weights only, such as a crossbar: they are computed as the network has them.

    Args:
        neurons: the statement for every point of the equations. others: the other points, by name.

    Example:
        >>> neurons = nr.chip.SourcedText("as the network has them", "assumed", "computed beside the crossbar")
        >>> points = ("signs", "fan_out", "settings", "readout", "time_base", "only_in_silicon", "only_in_model")
        >>> nr.chip.neurons_beside(neurons, **dict.fromkeys(points, neurons)).as_network
        True
    """
    return NeuronModel(**dict.fromkeys(VOCABULARY, neurons), **others, as_network=True)


@dataclass(frozen=True)
class Agreement:
    """The equations of a network compared with those of a chip, in one line: ``str(agreement)``.

    Attributes:
        verdict: the line without the reference to the page.
        differences: one sentence for each difference; see :meth:`NeuronModel.differences`.
        cost: what the differences cost, as text, where somebody measured it; it ends the line.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg/standard")  # no floor, as most simulators
        >>> held = chipmodels.load("dynapse2").program(nr.nominal(network), network.placement())
        >>> len(held.equations.differences), held.equations.differences[0]
        (7, 'layer hidden: linear membrane; on the chip: DPI membrane.')
    """

    verdict: str
    differences: tuple[str, ...] = ()
    cost: str = ""

    def __str__(self) -> str:
        page = f": {PAGE}" if self.differences else ""
        return f"equations: {self.verdict}{page}" + (f"; {self.cost}" if self.cost else "")

    def entry(self) -> dict[str, Any]:
        """For JSON."""
        return {"verdict": self.verdict, "differences": list(self.differences), "cost": self.cost or None}


def time_differences(
    neuron: NeuronModel | None, dt: float | None, params: Mapping[str, Tensor], placement: Placement
) -> list[str]:
    """One sentence if a network has steps of time and the chip has none, with the time constants below one step.

    Args:
        neuron: of the chip. dt: of the network, s. params: of the network. placement: those on the host are left out.
    """
    if neuron is None or dt is None or not neuron.time_base.text.startswith("Continuous time"):
        return []
    taus = {name: float(value.min()) for name, value in params.items() if ".tau_" in name and value.numel()}
    short = [name for name, tau in taus.items() if tau < 0.99 * dt and not placement.on_host(name)]
    more = f" {', '.join(short)}: shorter than a step." if short else ""
    return [
        f"time: the network counts events in steps of {1e3 * dt:g} ms; on the chip: no steps, every event acts at its "
        f"own time.{more}"
    ]


def check_inputs(name: str, inputs: SourcedText) -> None:
    """Raise TypeError or ValueError unless this says what the inputs of a chip are."""
    if not isinstance(inputs, SourcedText):
        raise TypeError(f"chip {name}: inputs: got {inputs!r}; expected a SourcedText(text, status, source, words).")
    for word in inputs.words:
        if word not in INPUTS:
            raise unknown(f"chip {name}: inputs", word, INPUTS)


def input_differences(values: Tensor | None) -> list[str]:
    """One sentence if values that enter a chip are no events.

    Args:
        values: all that its first layer reads, any shape; None where that is unknown.
    """
    if values is None or values.dtype.is_complex:
        return []
    strange = values[(values < 0) | (values != values.round())]
    if not strange.numel():
        return []
    return [
        f"input: the first layer on the chip reads numbers such as {float(strange.reshape(-1)[0]):.3g}; on the chip: "
        f"events, whole numbers ≥ 0 in a step."
    ]


def agreement(name: str, neuron: NeuronModel | None, placement: Placement) -> Agreement:
    """Compare the layers of a network with the neurons of a chip; layers on the host are left out.

    Args:
        name: of the chip. neuron: of the chip, None where it states nothing.
        placement: with the equations of the layers.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> chip = chipmodels.load("dynapse2")
        >>> nr.chip.agreement(chip.name, chip.neuron, network.placement()).verdict
        "the chip's, linearised (linear membrane, subtracted inhibition)"
    """
    stated = dict.fromkeys(placement.cores, Equations()) | dict(placement.equations)
    layers = {
        layer: equations
        for layer, equations in stated.items()
        if layer not in placement.cores or bool((placement.cores[layer] != HOST).any())
    }
    if neuron is None:
        return Agreement(f"unknown ({name} states none)")
    if neuron.as_network:
        return Agreement(f"the network's own ({name} has no neurons of its own)")
    if not placement.equations:
        return Agreement("unknown (the network states none)")
    if not layers:
        return Agreement("no layer is on the chip")
    apart = {(point, word) for _, point, word in neuron.differing(layers)}
    unclear = [
        point
        for point in VOCABULARY
        if not getattr(neuron, point).words or any(layer.words()[point] == UNKNOWN for layer in layers.values())
    ]
    words = ", ".join(word for point in VOCABULARY for word in VOCABULARY[point] if (point, word) in apart)
    if not apart:
        verdict = "the chip's" if not unclear else "the chip's where both are known"
    elif apart <= LINEARISED:
        verdict = f"the chip's, linearised ({words})"
    else:
        verdict = f"not the chip's ({words})"
    if unclear:
        verdict += f"; unknown: {', '.join(unclear)}"
    return Agreement(verdict, tuple(neuron.differences(layers)))
