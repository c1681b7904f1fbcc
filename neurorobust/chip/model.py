"""A chip model: what one ASIC design does to each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from .._util.errors import check_count, check_number, unknown
from ..core.noise import Source
from ..core.params import ABSOLUTE, DIGITAL, KINDS, SIGNED, check_values, kind_of
from ..core.placement import Placement, expand
from ..drift import seconds, words
from ..laws import Law, LogNormal, Normal
from ..sites import Common, Correlation, Structure
from .coupling import check_derived, moved, shifts
from .defective import Defect
from .die import Fleet
from .facts import NO_LIMITS, REAL_TIME, Fact, Limits, Range, TimeBase
from .kernels import on_chip
from .limits import check_limits, check_per_core, check_placed, check_ranges
from .programming import Programmed, stored
from .stores import PLAIN, Store, with_bits

_EXAMPLES = {
    "noise": "one of neurorobust.core.noise, such as Membrane(0.05)",
    "defects": "one of neurorobust.chip, such as DeadNeurons(0.1)",
}


def _check(what: str, value: object, expected: type, hint: str) -> None:
    if not isinstance(value, expected):
        raise TypeError(f"{what}: got {value!r}; expected {hint}.")


TIMES = frozenset({"tau_mem", "tau_syn", "tau_adapt", "t_ref"})


@dataclass(frozen=True)
class KindModel:
    """What a chip does to one kind.

    Attributes:
        law: its variability over neurons or synapses, in the chip's units.
        cv: the number behind the law, with its source; what its spread is where the fact says ``at``.
        per_core: whether the chip can only set one value for all neurons of a core.
        range: lowest and highest value, chip units, or None where nobody states one.
        store: where values are placed in the chip's units, and how they are quantized.
        common: what sites have in common: gradients, cores, corners.
        follows: the kind whose normals this one takes: one device moves both.
        derived: kinds of the same layer whose deviation this one takes besides its own, each times a factor:
            ``{"tau_mem": 1.0}`` for r of a DPI neuron, where τ = C·U_T/(κ·I_τ) and the gain is I_gain/I_τ. Where a
            layer has no r, its weights and biases take the factor of r.
    """

    law: Law
    cv: Fact
    per_core: bool = False
    range: Range | None = None
    store: Store = PLAIN
    common: tuple[Common, ...] = ()
    follows: str | None = None
    derived: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("law", self.law, Law, "a law, such as neurorobust.laws.LogNormal(0.1)")
        _check("cv", self.cv, Fact, "a Fact(value, status, source)")
        _check("store", self.store, Store, "a store, such as neurorobust.chip.Scaled")
        if self.range is not None:
            _check("range", self.range, Range, "a Range(low, high, status, source), or None")
        for part in self.common:
            _check("common", part, Common, "parts such as neurorobust.sites.PerCore(0.2, 'core')")
        check_number("cv", self.cv.value)


@dataclass(frozen=True)
class ChipModel:
    """One ASIC design; a new chip is one instance in one file of ``chipmodels``.

    Attributes:
        name: as :func:`chipmodels.load` knows it. title: for people.
        kinds: what it does to each kind; a network with another kind is refused.
        limits: what fits.
        notes: declared approximations, one sentence each.
        version: raised whenever a die of the model changes on purpose.
        time_base: which clock a second belongs to.
        grid: rows and columns in which the neurons of a core stand, row by row; for gradients and maps.
        correlation: between kinds of one neuron, or None.
        facts: further numbers that laws and stores are made of, by name.
        shares_kernels: whether a convolution's kernel is held once and read at all its positions, as on a crossbar;
            elsewhere every neuron has synapses of its own, and each deviates by itself.
        noise: what is new on every die in every time step; ``nr.evaluate`` draws it.
        corner: by kind, a shift of every device of every die: the logarithm of a factor. See :meth:`with_corner`.
        defects: what is broken on its dies. time: seconds after programming at which its dies are.
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
    facts: Mapping[str, Fact] = field(default_factory=dict)
    shares_kernels: bool = False
    noise: tuple[Source, ...] = ()
    defects: tuple[Defect, ...] = ()
    corner: Mapping[str, float] = field(default_factory=dict)
    time: float = 0.0

    def __post_init__(self) -> None:
        check_count("version", self.version)
        check_number("time", self.time)
        if not self.name:
            raise ValueError("name: got none; expected the name of the chip, such as that of its file.")
        for side in self.grid:
            check_count("grid", side)
        for what, parts, expected in (("noise", self.noise, Source), ("defects", self.defects, Defect)):
            for part in parts:
                if not isinstance(part, expected):
                    raise TypeError(f"{what}: got {part!r}; expected {_EXAMPLES[what]}.")
                Fact(part.level, part.status, part.source)
        for kind, model in self.kinds.items():
            if kind not in KINDS:
                raise unknown(f"kind of chip {self.name}", kind, KINDS)
            _check(f"chip {self.name}: {kind}", model, KindModel, "a KindModel(law, cv)")
            nothing = torch.zeros(1, dtype=torch.float64)
            try:
                model.law.deviate(kind, nothing, nothing)
            except ValueError as error:
                raise ValueError(f"chip {self.name}: {kind}: {error}") from error
            if model.follows is not None and model.follows not in self.kinds:
                raise unknown(f"chip {self.name}: {kind} follows", model.follows, self.kinds)
        check_derived(self.name, self.kinds)
        for kind in () if self.correlation is None else self.correlation.kinds:
            if kind not in self.kinds:
                raise unknown(f"chip {self.name}: correlation of kind", kind, self.kinds)
        self.structure  # noqa: B018  refuses shares that add up to more than 1

    @cached_property
    def structure(self) -> Structure:
        """How the normals of its dies hang together."""
        return Structure(
            {kind: model.common for kind, model in self.kinds.items() if model.common},
            {kind: model.follows for kind, model in self.kinds.items() if model.follows},
            self.correlation,
            self.grid[1],
        )

    @property
    def stores_weights(self) -> bool:
        """Whether weights are held synapse by synapse."""
        return "weight" in self.kinds and self.kinds["weight"].store != PLAIN

    @property
    def places(self) -> bool:
        """Whether it matters where things sit."""
        return self.limits != NO_LIMITS or any(model.store != PLAIN for model in self.kinds.values())

    def at(self, time: str | float) -> ChipModel:
        """The same dies some time after programming: ``chip.at("30 days")``; a number is in seconds.

        Raises:
            ValueError: no drift is known of this chip, though it varies.
        """
        kinds = self.kinds.values()
        if not any(model.law.ages for model in kinds) and any(model.cv.value > 0 for model in kinds):
            raise ValueError(f"{self.name}: nobody published its drift, so no die of it is known at {time!r}.")
        return replace(self, time=seconds(time))

    def with_noise(self, *sources: Source) -> ChipModel:
        """The same dies with more noise in every time step: ``chip.with_noise(nr.noise.Membrane(0.05))``."""
        return replace(self, noise=self.noise + sources)

    def with_defects(self, *defects: Defect) -> ChipModel:
        """The same dies with defects: ``chip.with_defects(nr.chip.DeadNeurons(0.1))``; more of them are other ones."""
        return replace(self, defects=self.defects + defects)

    def with_corner(self, **kinds: float) -> ChipModel:
        """The same dies from a wafer at a process corner, or at another temperature: every time constant of
        ``chip.with_corner(tau_mem=0.1)`` is e^0.1 times as long, beside its local mismatch.

        A kind that follows or derives from another moves with it. No source gives a number for any of these chips:
        how far a corner is, is the user's to say. Tolerances (``Ball.from_chip``) do not hold it.
        """
        for kind, shift in kinds.items():
            if kind not in self.kinds:
                raise unknown(f"with_corner: kind of chip {self.name}", kind, self.kinds)
            if kind in ABSOLUTE:
                raise ValueError(f"with_corner: {kind} may be 0, so a factor says nothing about it.")
            check_number(f"with_corner: {kind}", shift, low=-3.0)
        return replace(self, corner={**self.corner, **kinds})

    def with_bits(self, bits: int) -> ChipModel:
        """The chip with weights of so many bits: evenly spaced codes, the largest magnitude of a core the last of
        them; a chip of masks over currents has as many currents.

        Raises:
            ValueError: it does not hold weights in a way that has bits.
        """
        if "weight" not in self.kinds:
            raise ValueError(f"{self.name}: describes no weights.")
        store = with_bits(self.name, self.kinds["weight"].store, bits)
        kinds = dict(self.kinds) | {"weight": replace(self.kinds["weight"], store=store)}
        return replace(self, name=f"{self.name} with {bits}-bit weights", kinds=kinds)

    @property
    def label(self) -> str:
        """Its name and everything that was put on it, such as ``pcm at 30 days, DeadNeurons 0.1``."""
        time = f" at {words(self.time)}" if self.time else ""
        parts = [f"{kind} {shift:+g}" for kind, shift in sorted(self.corner.items())]
        parts += [f"{type(part).__name__} {part.level:g}" for part in self.noise + self.defects]
        return ", ".join([self.name + time, *parts])

    def speed(self, kind: str) -> float:
        """Chip seconds for each network second where the kind is a time, else 1."""
        return 1 / self.time_base.speedup.value if kind in TIMES else 1.0

    def program(self, params: Mapping[str, Tensor], placement: Placement) -> Programmed:
        """What the chip holds when it is programmed with these parameters.

        Raises:
            ValueError: a limit is broken, a kind is unknown to the chip, a value is outside its range or cannot be
                set where it is; with names and numbers.
        """
        analog = {name: value for name, value in params.items() if kind_of(name) not in DIGITAL}
        for name in analog:
            if kind_of(name) not in self.kinds:
                raise unknown(
                    f"chip {self.name}: parameter {name!r} is of a kind it does not describe;",
                    kind_of(name),
                    self.kinds,
                )
        check_values(params)
        placement = on_chip(self, analog, placement)
        expanded = expand(analog, placement)
        check_placed(self, expanded, placement)
        check_limits(self, placement)
        check_per_core(self, expanded, placement)
        stores = {kind: (model.store, self.speed(kind)) for kind, model in self.kinds.items()}
        programmed = stored(stores, params, expanded, placement)
        in_chip_units = {name: value * programmed.gain(name, value) for name, value in expanded.items()}
        check_ranges(self, in_chip_units, placement)
        return programmed

    def fabricate(self, serials: Sequence[int], seed: int) -> Fleet:
        """The dies with these serial numbers, under this seed."""
        for number in (check_count("seed", seed, 0), *serials):
            if number >= 2**64:
                raise ValueError(f"seed and serials: got {number}; expected numbers below 2**64.")
        return Fleet(self, tuple(check_count("serial", serial, 0) for serial in serials), seed)

    def tolerances(self, programmed: Programmed, sigmas: float) -> dict[str, tuple[Tensor, Tensor]]:
        """The lowest and the highest δ of every element at its tolerance corner u = ±sigmas, without outliers."""
        check_number("sigmas", sigmas)
        result = {}
        for name, value in programmed.expanded().items():
            kind, gain = kind_of(name), programmed.gain(name, value)
            law = self.kinds[kind].law.bulk
            ends = [law.deviate(kind, torch.full_like(value, u), value * gain) for u in (-sigmas, sigmas)]
            low, high = torch.minimum(*ends), torch.maximum(*ends)
            result[name] = (low / gain, high / gain) if kind in ABSOLUTE else (low, high)
        return self._derived_tolerances(programmed, result)

    def _derived_tolerances(
        self, programmed: Programmed, own: dict[str, tuple[Tensor, Tensor]]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Corners of what is derived: its own and those of all its sources at once."""

        def share(end: Callable[[Tensor, Tensor], Tensor]) -> Callable[[str, float], Tensor]:
            return lambda name, factor: end(factor * own[name][0], factor * own[name][1])

        result, expanded = dict(own), programmed.expanded()
        lowest, highest = (shifts(self.kinds, programmed, share(end)) for end in (torch.minimum, torch.maximum))
        for name in lowest:
            ends = [
                moved(name, expanded[name], delta, shift)
                for delta in own[name]
                for shift in (lowest[name], highest[name])
            ]
            result[name] = torch.stack(ends).amin(0), torch.stack(ends).amax(0)
        return result


def mismatch(level: float) -> ChipModel:
    """A chip of which only this is known: δ = level·N(0, 1) on every neuron and synapse, nothing quantized.

    Signed kinds θ + abs(θ)δ, positive kinds θ·exp(δ); v_leak and v_reset are refused, a relative level says nothing
    about them.
    """
    if check_number("mismatch level", level) > 3:
        raise ValueError(f"mismatch level: got {level:g}; expected a fraction, 0.3 for 30 %, at most 3.")
    fact = Fact(level, "assumed", "the level asked for")
    kinds = {
        kind: KindModel(Normal(level) if kind in SIGNED else LogNormal(level), fact)
        for kind in sorted(KINDS - ABSOLUTE)
    }
    return ChipModel(f"mismatch {level:g}", f"mismatch {level:g} on every kind", kinds)
