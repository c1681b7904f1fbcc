"""The names that other libraries of spiking neurons give to their numbers: sinabs, norse and spikingjelly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..core.params import POSITIVE

DECAY = ""
"""In place of a kind: the number is a decay, which has none."""

# The kind that each name stands for. Time constants of sinabs and spikingjelly count steps; as the deviation of a time
# constant is relative, the unit is of no importance to it. A name that ends in _inv is 1/τ.
_NAMES: Mapping[str, Mapping[str, str]] = {
    "sinabs": {
        "tau_mem": "tau_mem",
        "tau_syn": "tau_syn",
        "tau_adapt": "tau_adapt",
        "spike_threshold": "v_threshold",
        "b0": "v_threshold",
        "adapt_scale": "adaptation",
        "min_v_mem": "v_floor",
        "alpha_mem": DECAY,
        "alpha_syn": DECAY,
        "alpha_adapt": DECAY,
    },
    "norse": {
        "input_weights": "weight",
        "recurrent_weights": "weight",
        "tau_mem_inv": "tau_mem",
        "tau_syn_inv": "tau_syn",
        "tau_syn_exc_inv": "tau_syn",
        "tau_syn_inh_inv": "tau_syn",
        "tau_adapt_inv": "tau_adapt",
        "tau_ada_inv": "tau_adapt",
        "tau_inv": "tau_mem",
        "v_th": "v_threshold",
        "v_reset": "v_reset",
        "v_leak": "v_leak",
        "v_rest": "v_leak",
        "beta": "adaptation",
        "adaptation_spike": "adaptation",
        "rho_reset": "t_ref",
    },
    "spikingjelly": {
        "tau": "tau_mem",
        "tau_w": "tau_adapt",
        "v_threshold": "v_threshold",
        "v_reset": "v_reset",
        "v_rest": "v_leak",
        "w": DECAY,
        "decay": DECAY,
    },
}
# Parameters that stay exact unless the user names them: a level in volts, which not every chip model describes.
_EXACT = frozenset({"v_floor"})


def library_of(module: nn.Module) -> str | None:
    """The library that the class of a neuron is from, or is derived from; None for any other module."""
    for cls in type(module).__mro__:
        path = cls.__module__.split(".")
        if path[0] in _NAMES and "surrogate" not in path:
            return path[0]
    return None


def from_library(module: nn.Module) -> bool:
    """True if a class is from one of the libraries: its neurons, their surrogate gradients, all else there."""
    return any(cls.__module__.split(".")[0] in _NAMES for cls in type(module).__mro__)


def kind_there(module: nn.Module, name: str) -> str | None:
    """The kind that a name stands for in a neuron of one of the libraries, :data:`DECAY` for a decay; None where it is
    of no neuron."""
    library = library_of(module)
    return None if library is None else _NAMES[library].get(name)


def default_kind(module: nn.Module, name: str) -> str | None:
    """The kind of a parameter of a neuron of one of the libraries; None where the user has to say it."""
    kind = kind_there(module, name)
    if kind == DECAY:
        return None
    return "digital" if kind in _EXACT else kind


# --- numbers that are held in a record: norse's LIFParameters, a dataclass, a dictionary ---


def fields_of(value: object) -> Mapping[str, Any]:
    """The fields of a record by name: of a NamedTuple, a dataclass or a dictionary with names; empty for all else."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if is_dataclass(value) and not isinstance(value, type):
        return vars(value) if hasattr(value, "__dict__") else {}
    if isinstance(value, dict) and all(isinstance(key, str) and key.isidentifier() for key in value):
        return value
    return {}


def numbers_in(name: str, value: object, depth: int = 3) -> Iterator[tuple[str, float | int | Tensor]]:
    """A number under its name, and those of a record under the names of its fields (``p.v_th``)."""
    if isinstance(value, bool):
        return
    if isinstance(value, float | int) or (isinstance(value, Tensor) and value.is_floating_point()):
        yield name, value
    elif depth and not name.startswith("_"):
        for key, inner in fields_of(value).items():
            yield from numbers_in(f"{name}.{key}", inner, depth - 1)


def with_number(record: Any, path: list[str], value: Tensor) -> Any:
    """The record with another number at a path; the record itself does not change."""
    if not path:
        return value
    first, *rest = path
    inner = with_number(fields_of(record)[first], rest, value)
    if isinstance(record, dict):
        return type(record)({**record, first: inner})
    changed: Any = getattr(record, "_replace", None) or partial(replace, record)
    return changed(**{first: inner})


def is_rate(name: str, kind: str) -> bool:
    """True for the reciprocal of a time constant, which is held as the time constant."""
    return name.endswith("_inv") and kind in POSITIVE and kind.startswith("tau")
