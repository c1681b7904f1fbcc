"""The deviations an attack may choose: a radius per kind, per parameter, or per pattern of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from .._util.errors import check_number, unknown
from ..core.params import ABSOLUTE, KINDS, Deviations, Params, kind_of
from ..core.placement import Placement, expand, placement_of


@dataclass(frozen=True, init=False)
class Ball:
    """The deviations an attack may choose: abs(δ) ≤ ζ for every element, the L∞ ball.

    On signed kinds this is abs(θ* − θ) ≤ ζ·abs(θ), on positive kinds abs(log(θ*/θ)) ≤ ζ, on absolute kinds abs(θ* − θ)
    ≤ ζ in the parameter's unit. Parameters that are not named are not attacked; a kind that the network lacks is
    ignored. Another norm is a subclass with :meth:`clip`, :meth:`direction` and :meth:`sample_unit`.

    Args:
        radii: ζ by full parameter name (``{"hidden.recurrent.weight": 0.1}``) or by pattern (``{"hidden.*": 0.1}``,
            ``*`` stands for anything). A full name goes before the patterns, the first pattern that fits before the
            kind.
        kinds: ζ by kind (``weight=0.1, tau_mem=0.1``).

    Raises:
        TypeError: a number in place of radii by name; :meth:`uniform` takes one. ValueError: an unknown kind, or a
            radius that is negative or not finite.

    Example:
        >>> nr.Ball(weight=0.1, tau_mem=0.05).radius("hidden.tau_mem")
        0.05
    """

    radii: Mapping[str, float]

    def __init__(self, radii: Mapping[str, float] | None = None, /, **kinds: float):
        if radii is not None and not isinstance(radii, Mapping):
            raise TypeError(f"Ball: got {radii!r}; expected radii by name; Ball.uniform({radii!r}) is every kind.")
        for kind in kinds:
            if kind not in KINDS:
                raise unknown("Ball: kind", kind, KINDS)
        for name in radii or {}:
            if "*" not in name:
                kind_of(name)
        merged = {**kinds, **(radii or {})}
        object.__setattr__(
            self, "radii", {name: check_number(f"Ball: {name}", radius) for name, radius in merged.items()}
        )

    @classmethod
    def uniform(cls, radius: float) -> Self:
        """The same relative radius for every kind with a relative deviation (all but v_leak, v_reset and v_floor)."""
        radius = check_number("radius", radius)
        return cls(**{kind: radius for kind in sorted(KINDS - ABSOLUTE)})

    @staticmethod
    def from_chip(chip: Toleranced, programmed: Any, *, sigmas: float = 3.0) -> ToleranceBox:
        """Every element between its own tolerance corners, u = ±sigmas of the chip's law at what is programmed.

        What an exact host computes has no tolerance. No probability is attached: with thousands of elements no die has
        all of them at their corners.

        Args:
            chip: a chip model. programmed: what its ``program`` returned; attack ``programmed.params``.
        """
        corners = chip.tolerances(programmed, check_number("sigmas", sigmas, strict=True))
        return ToleranceBox({name: (low.detach(), high.detach()) for name, (low, high) in corners.items()})

    def on_chip(self, network: nn.Module) -> Self:
        """The same ball without the layers that are on the host (core ``nr.HOST``): these compute exactly.

        A ball knows no chip, so it names a read-out on the host like the rest. :meth:`from_chip` leaves an exact host
        out by itself.

        Raises:
            ValueError: everything that the ball names is on the host.
        """
        placement = placement_of(network)
        named = [name for name, _ in network.named_parameters() if self.key(name)]
        host = [name for name in named if placement.on_host(name)]
        if host and host == named:
            raise ValueError(f"on_chip: all that {self!r} names is on the host; give a layer a core.")
        return self.without(host) if host else self

    def without(self, names: Sequence[str]) -> Self:
        """The same ball in which these parameters do not deviate."""
        return type(self)({**dict.fromkeys(names, 0.0), **{k: r for k, r in self.radii.items() if k not in names}})

    def key(self, name: str) -> str | None:
        """The entry of ``radii`` that applies to a parameter; None if it is not attacked."""
        kind = kind_of(name)
        if kind not in KINDS:
            return None
        patterns = (key for key in self.radii if "*" in key and fnmatchcase(name, key))
        return name if name in self.radii else next(patterns, kind if kind in self.radii else None)

    def radius(self, name: str) -> float:
        """ζ of one parameter; 0 if it is not attacked."""
        key = self.key(name)
        return 0.0 if key is None else self.radii[key]

    def center(self, params: Params, placement: Placement) -> Deviations:
        """Zero deviations, in expanded shapes, for every parameter that this ball names, also with a radius of 0.

        Raises:
            ValueError: a parameter named in full does not exist, or a pattern fits none.
        """
        for entry in self.radii:
            if "*" in entry:
                if not any(fnmatchcase(name, entry) for name in params):
                    raise unknown("Ball: pattern", entry, params)
            elif "." in entry and entry not in params:
                raise unknown("Ball: parameter", entry, params)
        expanded = expand({name: value for name, value in params.items() if self.key(name)}, placement)
        return {name: torch.zeros_like(value) for name, value in expanded.items()}

    def project(self, deviations: Deviations) -> Deviations:
        """The nearest deviations inside the ball; 0 for parameters without a radius."""
        return {name: self.clip(delta, self.radius(name)) for name, delta in deviations.items()}

    def ascent_step(self, deviations: Deviations, gradient: Deviations, length: float) -> Deviations:
        """A step of steepest ascent: ``length`` radii along :meth:`direction` of the gradient, not projected."""
        return {
            name: delta + length * self.radius(name) * self.direction(gradient[name])
            for name, delta in deviations.items()
        }

    def sample(self, center: Deviations, generator: torch.Generator) -> Deviations:
        """Deviations drawn uniformly in the ball, in the shapes of ``center``."""
        return {name: self.radius(name) * self.sample_unit(zero, generator) for name, zero in center.items()}

    def clip(self, delta: Tensor, radius: float) -> Tensor:
        """The nearest tensor in the ball of this radius."""
        return delta.clamp(-radius, radius)

    def direction(self, gradient: Tensor) -> Tensor:
        """The tensor of norm 1 along which a function with this gradient rises fastest."""
        return gradient.sign()

    def sample_unit(self, zero: Tensor, generator: torch.Generator) -> Tensor:
        """One tensor drawn uniformly in the ball of radius 1, shape and type of ``zero``."""
        return 2 * torch.rand(zero.shape, generator=generator, dtype=zero.dtype).to(zero.device) - 1


class Toleranced(Protocol):
    """The method of a chip model that :meth:`Ball.from_chip` uses."""

    def tolerances(self, programmed: Any, sigmas: float) -> dict[str, tuple[Tensor, Tensor]]:
        """The lowest and the highest δ of every element of every parameter."""


@dataclass(frozen=True, init=False, eq=False)
class ToleranceBox(Ball):
    """Separate bounds for every element: low ≤ δ ≤ high, low ≤ 0 ≤ high. See :meth:`Ball.from_chip`.

    ``radius`` is the largest bound of a parameter; a step of one radius moves an element by half its own range.

    Args:
        corners: (low, high) by parameter name, expanded shapes.
    """

    corners: Mapping[str, tuple[Tensor, Tensor]]

    def __init__(self, corners: Mapping[str, tuple[Tensor, Tensor]]):
        for name, (low, high) in corners.items():
            if low.shape != high.shape or bool((low > 0).any() or (high < 0).any()):
                raise ValueError(f"corners[{name!r}]: expected low ≤ 0 ≤ high, of one shape.")
        largest = {name: torch.maximum(-low, high) for name, (low, high) in corners.items()}
        super().__init__({name: float(bound.max()) if bound.numel() else 0.0 for name, bound in largest.items()})
        object.__setattr__(self, "corners", dict(corners))

    def center(self, params: Params, placement: Placement) -> Deviations:
        center = super().center(params, placement)
        return {name: torch.zeros_like(self.corners[name][0]).to(zero) for name, zero in center.items()}

    def without(self, names: Sequence[str]) -> ToleranceBox:
        return ToleranceBox({name: ends for name, ends in self.corners.items() if name not in names})

    def project(self, deviations: Deviations) -> Deviations:
        return {name: torch.clamp(delta, *self._range(name, delta)) for name, delta in deviations.items()}

    def ascent_step(self, deviations: Deviations, gradient: Deviations, length: float) -> Deviations:
        result = {}
        for name, delta in deviations.items():
            low, high = self._range(name, delta)
            result[name] = delta + length * (high - low) / 2 * self.direction(gradient[name])
        return result

    def sample(self, center: Deviations, generator: torch.Generator) -> Deviations:
        result = {}
        for name, zero in center.items():
            low, high = self._range(name, zero)
            result[name] = low + (high - low) * (self.sample_unit(zero, generator) + 1) / 2
        return result

    def _range(self, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        if name not in self.corners:
            return torch.zeros_like(like), torch.zeros_like(like)
        low, high = self.corners[name]
        return low.to(like), high.to(like)
