"""Error messages of one form: the argument, the value given, the value expected, and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def unknown(argument: str, got: object, choices: Iterable[str]) -> ValueError:
    """An error for an unknown name; it lists the known names and the nearest match."""
    names = sorted(choices)
    near = difflib.get_close_matches(str(got), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"{argument}: {got!r} does not exist; choose one of {', '.join(names)}.{hint}")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError naming the first tensor that holds NaN or infinity."""
    for name, tensor in tensors.items():
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ValueError(
                f"{name}: {bad} of {tensor.numel()} values are NaN or infinite; expected finite values. "
                f"Clean the data, or lower the learning rate if training produced them."
            )


def check_positive(name: str, tensor: Tensor, remedy: str = "") -> None:
    """Raise ValueError unless every value of the tensor is finite and > 0; with a remedy as last sentence."""
    check_finite({name: tensor})
    if tensor.numel() and tensor.min() <= 0:
        raise ValueError(f"{name}: smallest value is {tensor.min().item():g}; expected values > 0. {remedy}".rstrip())


def check_number(name: str, value: float, *, low: float = 0.0, strict: bool = False) -> float:
    """Return the value as a float, or raise unless it is finite and ≥ low (> low when strict)."""
    bound = f"> {low:g}" if strict else f"≥ {low:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: got {value!r} ({type(value).__name__}); expected a number {bound}.")
    if not (low < value if strict else low <= value) or value == float("inf"):
        raise ValueError(f"{name}: got {value!r}; expected a finite number {bound}.")
    return float(value)


def check_count(name: str, value: int, low: int = 1) -> int:
    """Return the value, or raise unless it is an integer ≥ low."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: got {value!r} ({type(value).__name__}); expected an integer ≥ {low}.")
    if value < low:
        raise ValueError(f"{name}: got {value}; expected an integer ≥ {low}.")
    return value


def check_input(x: Tensor, parameter: Tensor, *, integers: bool = False) -> None:
    """Raise ValueError unless an input has the dtype and the device of the parameters; with ``integers``, an integer
    dtype is accepted too."""
    if x.device != parameter.device or (x.dtype != parameter.dtype and (x.is_floating_point() or not integers)):
        raise ValueError(
            f"x: got {x.dtype} on {x.device}; the parameters are {parameter.dtype} on {parameter.device}. Convert one "
            f"of them with .to(…)."
        )
