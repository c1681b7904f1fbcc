"""Chip models: programming, fabrication and tolerances of one ASIC design."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .._util.errors import check_count, check_number, plain, plain_fields, unknown
from ..core.noise import Source
from ..core.params import ABSOLUTE, DIGITAL, KINDS, SIGNED, check_values, kind_of
from ..core.placement import Placement, expand
from .architectures import Architecture
from .convolutions import place_convolutions
from .coupling import check_derived, multiplied, shifts
from .defects import Defect
from .design import MISMATCH, ChipDesign, KindModel, check_type
from .die import Fleet
from .encodings.encoding import with_bits
from .equations import NeuronModel, agreement, check_inputs
from .limits import check_host, check_limits, check_per_core, check_placed, check_ranges
from .programming import Programmed, encode
from .sourced import SourcedValue
from .variability import LogNormal, Normal

_EXAMPLES = {
    "noise": "one of neurorobust.core.noise, such as Membrane(0.05)",
    "defects": "one of neurorobust.chip, such as DeadNeurons(0.1)",
}


@dataclass(frozen=True)
class ChipModel(ChipDesign):
    """One ASIC design and its operations. A new chip is one instance in one file of ``chipmodels``.

    Its fields are those of :class:`~neurorobust.chip.design.ChipDesign`.

    Raises:
        ValueError: a field out of range, or kinds that do not fit each other. TypeError: a field of another type. The
            message names the field and the kind.

    Example:
        >>> import chipmodels
        >>> chip = chipmodels.load("dynapse2")
        >>> dies = chip.fabricate(range(3), seed=0)
        >>> chip.name, len(dies), chip.kinds["weight"].cv.value
        ('dynapse2', 3, 0.099)
    """

    def __post_init__(self) -> None:
        plain_fields(self)
        check_count("version", self.version)
        check_number("time", self.time)
        if not isinstance(self.name, str) or not self.name:
            raise ValueError("name: got none; expected the name of the chip, which is also that of its file.")
        for side in self.grid:
            check_count("grid", side)
        check_inputs(self.name, self.inputs)
        if self.neuron is not None:
            check_type("neuron", self.neuron, NeuronModel, "a neurorobust.chip.NeuronModel, or None")
        if self.architecture is not None:
            check_type("architecture", self.architecture, Architecture, "an Architecture such as Cam, or None")
            self._check_architecture(self.architecture)
        for argument, parts, expected in (("noise", self.noise, Source), ("defects", self.defects, Defect)):
            for part in parts:
                if not isinstance(part, expected):
                    raise TypeError(f"{argument}: got {part!r}; expected {_EXAMPLES[argument]}.")
                SourcedValue(part.level, part.status, part.source)
        for kind, model in self.kinds.items():
            self._check_kind(kind, model)
        check_derived(self.name, self.kinds)
        for kind in () if self.correlation is None else self.correlation.kinds:
            if kind not in self.kinds:
                raise unknown(f"chip {self.name}: correlation of kind", kind, self.kinds)
        self.structure  # noqa: B018  raises if shares add up to more than 1

    def _check_architecture(self, architecture: Architecture) -> None:
        """Raise ValueError where the limits and the architecture state different numbers."""
        for name, value in architecture.limits().items():
            stated = getattr(self.limits, name)
            if stated is not None and stated != value:
                raise ValueError(
                    f"chip {self.name}: limits say {name} {stated}, the architecture says {value}; state one number."
                )

    def _check_kind(self, kind: str, model: KindModel) -> None:
        if kind not in KINDS:
            raise unknown(f"kind of chip {self.name}", kind, KINDS)
        check_type(f"chip {self.name}: {kind}", model, KindModel, "a KindModel(law, cv)")
        nothing = torch.zeros(1, dtype=torch.float64)
        try:
            model.law.deviate(kind, (nothing,) * (1 + model.law.n_extra_normals), nothing)
        except ValueError as error:
            raise ValueError(f"chip {self.name}: {kind}: {error}") from error
        if model.shares_deviate_of is not None and model.shares_deviate_of not in self.kinds:
            raise unknown(f"chip {self.name}: {kind} shares the deviate of", model.shares_deviate_of, self.kinds)

    def with_noise(self, *sources: Source) -> ChipModel:
        """The same dies with additional noise in every time step: ``chip.with_noise(nr.noise.Membrane(0.05))``."""
        return replace(self, noise=self.noise + sources)

    def with_defects(self, *defects: Defect) -> ChipModel:
        """The same dies with additional defects: ``chip.with_defects(nr.chip.DeadNeurons(0.1))``."""
        return replace(self, defects=self.defects + defects)

    def with_corner(self, **kinds: float) -> ChipModel:
        """The same dies at a process corner or at another temperature: with ``chip.with_corner(tau_mem=0.1)``, every
        membrane time constant is e^0.1 times as long. Local mismatch is unchanged.

        A kind that shares the deviate of this kind, or derives from it, changes with it. No source gives the size of a
        corner for these chips: the user chooses it. Tolerances (``Ball.from_chip``) do not include it.
        """
        for kind, shift in kinds.items():
            if kind not in self.kinds:
                raise unknown(f"with_corner: kind of chip {self.name}", kind, self.kinds)
            if kind in ABSOLUTE:
                raise ValueError(f"with_corner: {kind} may be 0, so a factor has no meaning for it.")
            check_number(f"with_corner: {kind}", shift, low=-3.0)
        return replace(self, corner={**self.corner, **{kind: plain(shift) for kind, shift in kinds.items()}})

    def with_bits(self, bits: int) -> ChipModel:
        """The chip with ``bits``-bit weights: evenly spaced codes, the last one for the largest magnitude on a core.
        A chip with masks over currents gets ``bits`` currents instead.

        Raises:
            ValueError: the encoding of its weights has no number of bits.
        """
        if "weight" not in self.kinds:
            raise ValueError(f"{self.name}: has no model of weights.")
        encoding = with_bits(self.name, self.kinds["weight"].encoding, bits)
        kinds = dict(self.kinds) | {"weight": replace(self.kinds["weight"], encoding=encoding)}
        return replace(self, name=f"{self.name} with {bits}-bit weights", kinds=kinds)

    def with_host(self, *, exact: bool) -> ChipModel:
        """The same dies, with layers on the host (core ``nr.HOST``) that are exact, or that deviate like the rest.

        A host computes exactly, so a chip's is exact. ``chip.with_host(exact=False)`` gives a read-out on the host the
        spread of the chip's own neurons and synapses, unquantized. :func:`mismatch` describes no chip, so everything
        deviates: ``nr.mismatch(0.3).with_host(exact=True)`` leaves the host out.
        """
        check_type("exact", exact, bool, "True or False")
        return replace(self, exact_host=exact)

    def program(self, params: Mapping[str, Tensor], placement: Placement) -> Programmed:
        """Program the chip: parameters → the values that it holds. What the host computes exactly is no part of it:
        those parameters are not quantized, and no die and no tolerance changes them.

        Raises:
            ValueError: a limit is broken, a kind is unknown to the chip, a value is outside its range, or a core
                would need several values of a per-core kind. The message has names and numbers.
        """
        analog = {name: value for name, value in params.items() if kind_of(name) not in DIGITAL}
        for name in analog:
            if kind_of(name) not in self.kinds:
                raise ValueError(
                    f"chip {self.name}: {name} is of kind {kind_of(name)!r}, which it does not describe; it has "
                    f"{', '.join(sorted(self.kinds))}. Take another chip, or declare the parameter 'digital' where it "
                    f"is not on the chip."
                )
        check_values(params)
        equations = agreement(self.name, self.neuron, placement)
        placement = place_convolutions(self, analog, placement)
        expanded = expand(analog, placement)
        check_placed(self, expanded, placement)
        check_host(self, expanded, placement)
        check_limits(self, placement)
        check_per_core(self, expanded, placement)
        encodings = {kind: (model.encoding, self.speed(kind)) for kind, model in self.kinds.items()}
        programmed = encode(encodings, params, expanded, placement, self.exact_host)
        in_chip_units = {name: value * programmed.gain(name, value) for name, value in expanded.items()}
        check_ranges(self, in_chip_units, placement)
        return replace(programmed, equations=equations)

    def fabricate(self, serials: Sequence[int], seed: int) -> Fleet:
        """The dies with these serial numbers and this seed."""
        seed = check_count("seed", seed, 0)
        if isinstance(serials, str) or not isinstance(serials, Iterable):
            raise TypeError(f"serials: got {serials!r}; expected several, such as range(200).")
        numbers = tuple(check_count("serial", serial, 0) for serial in serials)
        for number in (seed, *numbers):
            if number >= 2**64:
                raise ValueError(f"seed and serials: got {number}; expected numbers below 2**64.")
        return Fleet(self, numbers, seed)

    def tolerances(self, programmed: Programmed, sigmas: float) -> dict[str, tuple[Tensor, Tensor]]:
        """The lowest and the highest δ of every element: its tolerance corners u = ±sigmas, without outliers."""
        sigmas = check_number("sigmas", sigmas)
        result = {}
        for name, value in programmed.expanded().items():
            kind, gain = kind_of(name), programmed.gain(name, value)
            law = self.kinds[kind].law.without_outliers.of_first_normal
            ends = [law.deviate(kind, (torch.full_like(value, u),), value * gain) for u in (-sigmas, sigmas)]
            low, high = torch.minimum(*ends), torch.maximum(*ends)
            result[name] = (low / gain, high / gain) if kind in ABSOLUTE else (low, high)
        return self._derived_tolerances(programmed, result)

    def _derived_tolerances(
        self, programmed: Programmed, own: dict[str, tuple[Tensor, Tensor]]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Tolerances with derived kinds: the corners of a kind and of all its sources together."""

        def share(end: Callable[[Tensor, Tensor], Tensor]) -> Callable[[str, float], Tensor]:
            return lambda name, factor: end(factor * own[name][0], factor * own[name][1])

        result, expanded = dict(own), programmed.expanded()
        lowest, highest = (shifts(self.kinds, programmed, share(end)) for end in (torch.minimum, torch.maximum))
        for name in lowest:
            ends = [
                multiplied(name, expanded[name], delta, shift)
                for delta in own[name]
                for shift in (lowest[name], highest[name])
            ]
            result[name] = torch.stack(ends).amin(0), torch.stack(ends).amax(0)
        return result


def mismatch(level: float) -> ChipModel:
    """A chip with one known number: δ = level·N(0, 1) on every neuron and synapse, without quantization.

    It describes no chip, so a read-out on the host deviates like the rest; :meth:`ChipModel.with_host` changes that.
    Signed kinds θ + abs(θ)δ, positive kinds θ·exp(δ); v_leak, v_reset and v_floor are refused: they may be 0, so a
    relative level has no meaning for them.

    Raises:
        ValueError: a level that is negative, not finite, or above 3 (300 %).

    Example:
        >>> chip = nr.mismatch(0.3)
        >>> chip.name, chip.kinds["weight"].law.in_words()
        ('mismatch 0.3', 'normal, standard deviation 30 % of the programmed value')
    """
    if check_number("mismatch level", level) > 3:
        raise ValueError(f"mismatch level: got {level:g}; expected a fraction, 0.3 for 30 %, at most 3.")
    fact = SourcedValue(level, "assumed", "the level asked for")
    kinds = {
        kind: KindModel(Normal(level) if kind in SIGNED else LogNormal(level), fact)
        for kind in sorted(KINDS - ABSOLUTE)
    }
    return ChipModel(f"{MISMATCH}{level:g}", f"mismatch {level:g} on every kind", kinds, exact_host=False)
