"""The error of a network that a chip cannot hold."""

from __future__ import annotations

from ..chip import Violation


class DeploymentError(ValueError):
    """A network that a chip cannot hold.

    Attributes:
        violations: every limit that it breaks.
    """

    def __init__(self, chip: str, violations: tuple[Violation, ...]):
        self.violations = violations
        told = "\n".join(f"  {violation}" for violation in violations)
        super().__init__(f"the network does not fit {chip}:\n{told}")
