"""The refusal of a deployment."""

from __future__ import annotations

from ..chip import Violation


class DeploymentError(ValueError):
    """A network that a chip cannot hold.

    Attributes:
        violations: every limit that it breaks.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> try:
        ...     nr.deploy.onto(network, chipmodels.load("xylo"))
        ... except nr.deploy.DeploymentError as error:
        ...     print(len(error.violations), error.violations[0].where)
        6 hidden.t_ref
    """

    def __init__(self, chip: str, violations: tuple[Violation, ...]):
        self.violations = violations
        told = "\n".join(f"  {violation}" for violation in violations)
        super().__init__(f"the network does not fit {chip}:\n{told}")
