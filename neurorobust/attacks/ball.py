"""How far an attack may go: a radius for each kind or each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..errors import check_number, unknown
from ..params import KINDS, Deviations, Params, Placement, expand, kind_of


@dataclass(frozen=True, init=False)
class Ball:
    """The deviations an attack may choose: abs(δ) ≤ ζ for every element.

    On signed kinds this is abs(θ* − θ) ≤ ζ·abs(θ), on positive kinds abs(log(θ*/θ)) ≤ ζ, on absolute kinds
    abs(θ* − θ) ≤ ζ in the parameter's unit. What is not named is not attacked; a kind the network lacks is ignored.

    Args:
        radii: ζ by full parameter name (``{"hidden.recurrent.weight": 0.1}``); goes before its kind's.
        kinds: ζ by kind (``weight=0.1, tau_mem=0.1``).

    Example:
        >>> Ball(weight=0.1, tau_mem=0.05).radius("hidden.tau_mem")
        0.05
    """

    radii: Mapping[str, float]

    def __init__(self, radii: Mapping[str, float] | None = None, /, **kinds: float):
        for kind in kinds:
            if kind not in KINDS:
                raise unknown("Ball: kind", kind, KINDS)
        for name in radii or {}:
            kind_of(name)
        merged = {**kinds, **(radii or {})}
        object.__setattr__(
            self, "radii", {name: check_number(f"Ball: {name}", radius) for name, radius in merged.items()}
        )

    @classmethod
    def uniform(cls, radius: float) -> Ball:
        """The same relative radius for every kind with a relative deviation (all but v_leak and v_reset)."""
        return cls(**{kind: radius for kind in sorted(KINDS - {"v_leak", "v_reset"})})

    def radius(self, name: str) -> float:
        """ζ of one parameter; 0 where it may not be attacked."""
        return self.radii.get(name, self.radii.get(kind_of(name), 0.0))

    def center(self, params: Params, placement: Placement) -> Deviations:
        """Zero deviations, in expanded shapes, for every parameter this ball names, a radius of 0 included.

        Raises:
            ValueError: a parameter named in full does not exist.
        """
        for name in self.radii:
            if "." in name and name not in params:
                raise unknown("Ball: parameter", name, params)
        named = {name: value for name, value in params.items() if name in self.radii or kind_of(name) in self.radii}
        expanded = expand(named, placement)
        return {name: torch.zeros_like(value) for name, value in expanded.items()}

    def project(self, deviations: Deviations) -> Deviations:
        """The nearest deviations inside the ball; what has no radius returns to 0."""
        return {name: delta.clamp(-self.radius(name), self.radius(name)) for name, delta in deviations.items()}
