"""The kind of each parameter of a torch module, from its name or from the user's argument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from torch import nn

from .._util.errors import unknown
from ..core.params import DIGITAL, KINDS

NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
# weight, weight_ih_l0_reverse, in_proj_weight, q_proj_weight … and the same for biases: torch's own names.
_NAMES = {kind: re.compile(rf"((\w+_)?proj_)?{kind}(_[ih]h(_l\d+(_reverse)?)?)?") for kind in ("weight", "bias")}


def kinds_of(module: nn.Module, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """The kind of every parameter of a module, by its own name.

    Args:
        module: any torch module.
        overrides: kinds by name or pattern (``{"bn*.*": "digital"}``); the first match counts, before
            torch's names (``weight``, ``bias``, ``weight_ih_l0`` …) and NIR's (``tau_mem`` …).

    Raises:
        ValueError: a name is unknown or belongs to a normalisation, or an override matches no parameter.
    """
    overrides = dict(overrides or {})
    names = [name for name, _ in module.named_parameters()]
    check_overrides(overrides, names)
    return {name: _kind(module, name, overrides) for name in names}


def check_overrides(overrides: Mapping[str, str], names: list[str]) -> None:
    """Raise ValueError for a kind that does not exist or a pattern that matches no name."""
    for pattern, kind in overrides.items():
        if kind not in KINDS | DIGITAL:
            raise unknown(f"kinds[{pattern!r}]", kind, KINDS | DIGITAL)
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown("kinds: parameter", pattern, names)


def override(name: str, overrides: Mapping[str, str]) -> str | None:
    """The kind the user gave a name, or None."""
    return next((kind for pattern, kind in overrides.items() if fnmatchcase(name, pattern)), None)


def _kind(module: nn.Module, name: str, overrides: Mapping[str, str]) -> str:
    chosen = override(name, overrides)
    if chosen is not None:
        return chosen
    path, _, last = name.rpartition(".")
    owner = module.get_submodule(path)
    if isinstance(owner, NORMS):
        raise ValueError(
            f"kinds: {name} belongs to a {type(owner).__name__}; an analog array cannot hold it. Fold it into the "
            f"layer before it, or pass kinds={{{(path + '.*').lstrip('.')!r}: 'digital'}} to have it computed exactly."
        )
    if last in KINDS:
        return last
    for kind, pattern in _NAMES.items():
        if pattern.fullmatch(last):
            return kind
    hint = " torch.nn.utils.prune.remove makes a pruned weight plain." if last.endswith("_orig") else ""
    raise ValueError(
        f"kinds: {name} of {type(owner).__name__} has no known kind; pass kinds={{{name!r}: …}} with one of "
        f"{', '.join(sorted(KINDS | DIGITAL))}.{hint}"
    )


def named(name: str, kind: str) -> str:
    """The name of a parameter in the wrapped network: its name in the module, with the kind as last segment."""
    return name if name.rpartition(".")[2] == kind else f"{name}.{kind}"


def adopt(holder: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Register a parameter under a dotted name, making empty modules on the way."""
    *path, last = name.split(".")
    for segment in path:
        if segment not in dict(holder.named_children()):
            if hasattr(holder, segment):
                raise ValueError(f"parameter {name!r}: a module may not be called {segment!r} here; rename it.")
            holder.add_module(segment, nn.Module())
        holder = holder.get_submodule(segment)
    holder.register_parameter(last, parameter)


def slots_of(module: nn.Module, parameter: nn.Parameter) -> list[str]:
    """Every place in a module where a tensor is used; each submodule is counted once."""
    return [
        f"{path}.{name}".lstrip(".")
        for path, part in module.named_modules()
        for name, value in part.named_parameters(recurse=False, remove_duplicate=False)
        if value is parameter
    ]


def check_alike(module: nn.Module) -> None:
    """Raise ValueError unless all floating parameters have one dtype and one device."""
    found: dict[tuple[torch.dtype, torch.device], str] = {}
    for name, value in module.named_parameters():
        if isinstance(value, nn.parameter.UninitializedParameter):
            raise ValueError(f"module: {name} has no shape yet; run the module once before you bring it here.")
        found.setdefault((value.dtype, value.device), name)
    if len(found) > 1:
        listed = "; ".join(f"{name} is {dtype} on {device}" for (dtype, device), name in found.items())
        raise ValueError(f"module: {listed}; expected one type and one device. Call module.to(dtype, device) first.")
    if not found:
        raise ValueError("module: has no parameters; there is nothing to perturb or train.")
