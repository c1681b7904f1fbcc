"""Design of a chip as data: kinds, limits, time base, noise, defects. The behaviour is in ``chip/model.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Self

from .._util.errors import check_number
from ..core.noise import Source
from .architectures import Architecture
from .costs import Cost
from .defects import Defect, Scattered
from .drift import seconds, words
from .encodings.encoding import UNQUANTIZED, Encoding
from .equations import NOT_FOUND, NeuronModel, SourcedText
from .sourced import NO_LIMITS, REAL_TIME, Limits, Range, SourcedValue, TimeBase
from .spatial import Correlation, DependenceStructure, SharedComponent
from .variability import Exact, Law
from .wording import short


def check_type(what: str, value: object, expected: type, hint: str) -> None:
    """Raise TypeError unless a value is of a type."""
    if not isinstance(value, expected):
        raise TypeError(f"{what}: got {value!r}; expected {hint}.")


def a_chip(given: object) -> str:
    """The expected chip model, for a message: by the name that was given, if it is one."""
    return f"a ChipModel: chipmodels.load({(given if isinstance(given, str) else 'dynapse2')!r})"


MISMATCH = "mismatch "  # how the names of models begin that describe no chip: their mismatch is everywhere
TIMES = frozenset({"tau_mem", "tau_syn", "tau_adapt", "t_ref"})


@dataclass(frozen=True)
class KindModel:
    """Model of one kind of parameter on a chip.

    Attributes:
        law: variability over neurons or synapses, in the chip's units.
        cv: coefficient of variation with its source, at the programmed value ``cv.at`` if the spread depends on it.
        per_core: True if the chip has one value for all neurons of a core.
        range: lowest and highest value, chip units, or None where unknown.
        encoding: gain into the chip's units, and quantization.
        shared: components that sites share: gradients, cores, corners.
        shares_deviate_of: the kind whose normals this one uses: one device sets both.
        derived: kinds of the same layer whose deviations are added to this one, each times a factor:
            ``{"tau_mem": 1.0}`` for r of a DPI neuron, where τ = C·U_T/(κ·I_τ) and the gain is I_gain/I_τ. Where a
            layer has no r, its weights and biases take the factor of r.

    Raises:
        TypeError: a field of another type. ValueError: a negative spread.

    Example:
        >>> cv = nr.chip.SourcedValue(0.2, "measured", "our bench, 3 chips")
        >>> kind = nr.chip.KindModel(nr.chip.variability.LogNormal.from_cv(0.2), cv, per_core=True)
        >>> kind.law.in_words()
        'lognormal, median at the programmed value, CV 20 %'
    """

    law: Law
    cv: SourcedValue
    per_core: bool = False
    range: Range | None = None
    encoding: Encoding = UNQUANTIZED
    shared: tuple[SharedComponent, ...] = ()
    shares_deviate_of: str | None = None
    derived: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type("law", self.law, Law, "a law, such as neurorobust.chip.variability.LogNormal(0.1)")
        check_type("cv", self.cv, SourcedValue, "a SourcedValue(value, status, source)")
        check_type("encoding", self.encoding, Encoding, "an encoding, such as neurorobust.chip.Scaled")
        if self.range is not None:
            check_type("range", self.range, Range, "a Range(low, high, status, source), or None")
        for part in self.shared:
            check_type("shared", part, SharedComponent, "parts such as neurorobust.chip.spatial.PerCore(0.2, 'core')")
        check_number("cv", self.cv.value)

    @property
    def digital(self) -> bool:
        """True if it is exact and unquantized, so that it needs no place on a chip."""
        return isinstance(self.law, Exact) and self.encoding == UNQUANTIZED


@dataclass(frozen=True)
class ChipDesign:
    """One ASIC design as data.

    Attributes:
        name: the name for :func:`chipmodels.load`. title: one line of text.
        kinds: the model of each kind; a network with another kind is refused.
        limits: cores, neurons per core, inputs per neuron.
        notes: declared approximations, one sentence each.
        version: increased when dies of the model change.
        time_base: the clock of the chip.
        grid: rows and columns of the neurons of a core, numbered row by row; for gradients and maps.
        correlation: between kinds of one neuron, or None.
        facts: further numbers of laws and encodings, by name.
        shares_kernels: True if a convolution's kernel is held once and read at all positions, as on a crossbar;
            else every neuron has separate synapses, which deviate independently.
        noise: sources of noise, new on every die in every time step; ``nr.evaluate`` draws it.
        corner: by kind, a shift of every device of every die: the logarithm of a factor. See
            :meth:`neurorobust.chip.ChipModel.with_corner`.
        defects: of its dies. time: seconds between programming and use of its dies.
        exact_host: True if layers on the host are computed exactly; False if they deviate like the rest, as in
            :func:`neurorobust.mismatch`. See :meth:`neurorobust.chip.ChipModel.with_host`.
        inputs: what can be given to it, ``words=("events",)``, or ``("events", "numbers")`` where any number can; see
            :data:`neurorobust.chip.equations.INPUTS`. Where it is not stated nothing is checked.
        neuron: the equations that its neurons obey, and the other points of its audit; None if nothing is stated.
        architecture: the budget that :func:`neurorobust.deploy.onto` places a network in; None if nothing is stated.
        costs: published figures of energy and time, for :func:`neurorobust.deploy.estimate`.
    """

    name: str
    title: str
    kinds: Mapping[str, KindModel]
    limits: Limits = NO_LIMITS
    notes: tuple[str, ...] = ()
    version: int = 1
    time_base: TimeBase = REAL_TIME
    grid: tuple[int, int] = (16, 16)
    correlation: Correlation | None = None
    facts: Mapping[str, SourcedValue] = field(default_factory=dict)
    shares_kernels: bool = False
    noise: tuple[Source, ...] = ()
    defects: tuple[Defect, ...] = ()
    corner: Mapping[str, float] = field(default_factory=dict)
    time: float = 0.0
    exact_host: bool = True
    inputs: SourcedText = NOT_FOUND
    neuron: NeuronModel | None = None
    architecture: Architecture | None = None
    costs: tuple[Cost, ...] = ()

    @cached_property
    def structure(self) -> DependenceStructure:
        """The dependence between the normals of its dies."""
        return DependenceStructure(
            {kind: model.shared for kind, model in self.kinds.items() if model.shared},
            {kind: model.shares_deviate_of for kind, model in self.kinds.items() if model.shares_deviate_of},
            self.correlation,
            self.grid[1],
        )

    @property
    def takes_numbers(self) -> bool:
        """False if it takes events only; True where any number can be its input, or where nothing is stated."""
        return not self.inputs.words or "numbers" in self.inputs.words

    @property
    def encodes_weights(self) -> bool:
        """True if weights are held synapse by synapse."""
        return "weight" in self.kinds and self.kinds["weight"].encoding != UNQUANTIZED

    @property
    def needs_placement(self) -> bool:
        """True if programming needs the core of every neuron."""
        return self.limits != NO_LIMITS or any(model.encoding != UNQUANTIZED for model in self.kinds.values())

    @property
    def label(self) -> str:
        """The name with all modifications, such as ``pcm at 30 days, DeadNeurons 0.1``."""
        time = f" at {words(self.time)}" if self.time else ""
        parts = [f"{kind} {shift:+g}" for kind, shift in sorted(self.corner.items())]
        parts += [_named(part) for part in self.noise + self.defects]
        if self.exact_host == self.name.startswith(MISMATCH):
            parts.append("exact host" if self.exact_host else "host deviates")
        return ", ".join([self.name + time, *parts])

    def speed(self, kind: str) -> float:
        """Chip seconds per network second where the kind is a time, else 1."""
        return 1 / self.time_base.speedup.value if kind in TIMES else 1.0

    def at(self, time: str | float) -> Self:
        """The same dies some time after programming: ``chip.at("30 days")``; a number is in seconds.

        Raises:
            ValueError: no drift is known of this chip, though it varies.
        """
        kinds = self.kinds.values()
        if not any(model.law.ages for model in kinds) and any(model.cv.value > 0 for model in kinds):
            raise ValueError(f"{self.name}: its drift is not published, so a die at {time!r} is unknown.")
        return replace(self, time=seconds(time))


def _named(part: Source | Defect) -> str:
    """The class and the level of a noise or a defect, and what is not as usual: two that differ have two names."""
    words = [type(part).__name__, f"{part.level:g}"]
    if isinstance(part, Defect) and not isinstance(part.where, Scattered):
        words.append(short(part.where))
    for own in fields(part):
        value = getattr(part, own.name)
        if own.name not in ("status", "source") and own.default not in (MISSING, value):
            words.append(f"{own.name}={value!r}")
    return " ".join(words)
