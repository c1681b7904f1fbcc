"""Parameters, their kinds, and the one function that applies deviations to them.

A die is a set of deviations from the programmed network. Mismatch draws deviations, an attack searches for them, and
:func:`apply` alone defines their effect on each kind:

==========  ==================================================================  =================
family      kinds                                                               deviated value
==========  ==================================================================  =================
signed      weight, bias                                                        θ + abs(θ) · δ
absolute    v_leak, v_reset, v_floor (nominal may be 0; δ in volts)             θ + δ
positive    tau_mem, tau_syn, tau_adapt, adaptation, v_threshold, r, t_ref      θ · exp(δ)
digital     digital: a number that is computed exactly, off the analog array    θ, always
==========  ==================================================================  =================
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._util.errors import check_finite, check_positive, unknown

Params = dict[str, Tensor]
Deviations = dict[str, Tensor]


SIGNED = frozenset({"weight", "bias"})
ABSOLUTE = frozenset({"v_leak", "v_reset", "v_floor"})
POSITIVE = frozenset({"tau_mem", "tau_syn", "tau_adapt", "adaptation", "v_threshold", "r", "t_ref"})
ABOVE_ZERO = POSITIVE - {"adaptation"}  # adaptation may be 0: a constant threshold
DIGITAL = frozenset({"digital"})
KINDS = SIGNED | ABSOLUTE | POSITIVE


@cache
def kind_of(name: str) -> str:
    """The kind of a parameter: the last segment of its name (``hidden.tau_mem`` → ``tau_mem``).

    Raises:
        ValueError: the last segment is no known kind.

    Example:
        >>> nr.core.kind_of("hidden.recurrent.weight")
        'weight'
    """
    kind = name.rsplit(".", 1)[-1]
    if kind not in KINDS | DIGITAL:
        raise unknown(f"kind of parameter {name!r}", kind, KINDS | DIGITAL)
    return kind


def check_dtype(argument: str, name: str, value: Tensor) -> None:
    """Raise ValueError unless a parameter holds real floating numbers of 32 bits or more."""
    if not value.is_floating_point():
        raise ValueError(
            f"{argument}: {name} is {value.dtype}; expected real floating numbers, which can deviate. Write a complex "
            f"weight as its real and its imaginary part, and bring a network before it is quantized."
        )
    if value.dtype.itemsize < 4:
        raise ValueError(
            f"{argument}: {name} is {value.dtype}, in which small deviations and steps of training are rounded away; "
            f"expected torch.float32 or torch.float64: call .float() on the network."
        )


def check_not_compiled(where: str, module: nn.Module) -> None:
    """Raise TypeError for a torch.jit module, whose parameters a pass cannot replace."""
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(f"{where} is a torch.jit module, compiled once; bring the Python module it was made from.")


class Sites(NamedTuple):
    """The sites of neurons.

    Attributes:
        core: the core of each neuron, ``HOST`` off the chip, (n,). number: the number of each neuron on its core, (n,).
    """

    core: Tensor
    number: Tensor


KEEP_POSITIVE = "A training loop of your own keeps them so with nr.train.leaves(network)."


def check_values(params: Mapping[str, Tensor]) -> None:
    """Raise ValueError naming the first parameter that is not finite, or has values outside the range of its kind."""
    check_finite(params)
    for name, value in params.items():
        kind = kind_of(name)
        if kind == "adaptation" and value.numel() and value.min() < 0:
            raise ValueError(f"{name}: smallest value is {value.min().item():g}; expected values ≥ 0.")
        if kind in ABOVE_ZERO:
            check_positive(name, value, KEEP_POSITIVE)
