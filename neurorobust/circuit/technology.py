"""Physical constants that all neurons of a chip share."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .._util.errors import check_number, plain_fields
from ..chip.design import check_type

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Technology:
    """Constants of the process and of the layout; the same for all neurons.

    The defaults are those of rockpool's model of DYNAP-SE2 (synsense/rockpool at commit 42cee1c96422,
    ``devices/dynapse/lookup/defaults.py``), which no publication confirms. Open Neuromorphic's page, after Richter et
    al. 2024, says 7.7 pF for the membrane.

    A current I charges a capacitance C with the time constant C U_T/(κ I), and to the voltage V_ref in the time
    C V_ref/I.

    Attributes:
        kappa: slope factor κ of the transistors, 1: the mean of 0.75 (n) and 0.66 (p).
        u_t: thermal voltage U_T, V. i_0: leakage current I_0, A, below which no current can go.
        v_ref: voltage to which a pulse or a refractory time charges its capacitance, V.
        c_mem: of the membrane, F. c_syn: of a synaptic filter, F. c_ahp: of the adaptation's filter, F.
        c_ref: of the refractory time, F. c_pulse: of a pulse, F.

    Raises:
        ValueError: a constant that is not above 0.

    Example:
        >>> technology = nr.circuit.Technology()
        >>> round(1e3 * technology.tau(technology.c_mem, 5e-12), 1)  # ms, of a membrane with a leak of 5 pA
        21.3
    """

    kappa: float = 0.705
    u_t: float = 0.025
    i_0: float = 0.5e-12
    v_ref: float = 0.7
    c_mem: float = 3e-12
    c_syn: float = 24.5e-12
    c_ahp: float = 40e-12
    c_ref: float = 1.5e-12
    c_pulse: float = 0.5e-12

    def __post_init__(self) -> None:
        plain_fields(self)
        for field in fields(self):
            check_number(field.name, getattr(self, field.name), strict=True)

    def tau(self, capacitance: float, current: Floats) -> Floats:
        """C U_T/(κ I), s."""
        return capacitance * self.u_t / (self.kappa * current)

    def current(self, capacitance: float, tau: Floats) -> Floats:
        """The current of a time constant, A: C U_T/(κ τ)."""
        return self.tau(capacitance, tau)

    def charge_time(self, capacitance: float, current: Floats) -> Floats:
        """C V_ref/I, s; also the current for a time."""
        return capacitance * self.v_ref / current


def checked_technology(technology: Technology | None) -> Technology:
    """The technology, or its defaults; TypeError for anything else."""
    if technology is None:
        return Technology()
    check_type("technology", technology, Technology, "nr.circuit.Technology(…), or None for its defaults")
    return technology
