"""Error messages of one form: the argument, the value given, the value expected, and the remedy."""

from __future__ import annotations

import difflib
import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST, REASON = 80, 600
"""Characters of a value in an error message, and of the message of another error."""


def shown(value: object) -> str:
    """``repr`` of a value, cut where it is long: a message is read by people."""
    text = repr(value).replace("\n", " ")
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def one_line(words: object, most: int = MOST) -> str:
    """Words from a file in one line, cut where they are long."""
    line = " ".join(str(words).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def reason(error: BaseException) -> str:
    """What an error says, in one line, for the message of another; a library may repeat a whole file in it."""
    return one_line(error, REASON)


def unknown(argument: str, got: object, choices: Iterable[str]) -> ValueError:
    """An error for an unknown name; it lists the known names and the nearest match."""
    names = sorted(choices)
    near = difflib.get_close_matches(str(got)[:MOST], names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"{argument}: {shown(got)} does not exist; choose one of {', '.join(names)}.{hint}")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError naming the first tensor that holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise ValueError(f"{name}: is on the device meta, so it has no values; make it on cpu or cuda.")
        if not tensor.is_complex() and math.isfinite(tensor.sum().item()):
            continue  # and so is every value
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ValueError(
                f"{name}: {bad} of {tensor.numel()} values are NaN or infinite; expected finite values. "
                f"Clean the data, or lower the learning rate if training produced them."
            )


def check_positive(name: str, tensor: Tensor, remedy: str = "") -> None:
    """Raise ValueError unless every value of the tensor is finite and > 0; with a remedy as last sentence."""
    if not tensor.is_meta and tensor.numel():
        low, high = tensor.aminmax()
        if low.item() > 0 and high.item() < math.inf:
            return
    check_finite({name: tensor})
    if tensor.numel() and tensor.min() <= 0:
        raise ValueError(f"{name}: smallest value is {tensor.min().item():g}; expected values > 0. {remedy}".rstrip())


def plain(value: Any) -> Any:
    """A number of NumPy or torch, a scalar or an array without axes, as Python's number; anything else unchanged.

    A float of less than 64 bits becomes the shortest decimal that it stands for: ``np.float32(0.1)`` is 0.1.
    """
    if isinstance(value, Tensor) and not value.ndim and value.dtype != torch.bfloat16:
        value = value.detach().cpu().numpy()
    if not isinstance(value, (np.generic, np.ndarray, Tensor)) or value.ndim:
        return value
    if isinstance(value, Tensor) or value.dtype.kind != "f":
        return value.item()
    return float(str(value)) if value.dtype.itemsize < 8 else float(value)


def plain_fields(instance: Any) -> None:
    """Replace the numbers of NumPy and torch in the fields of a frozen dataclass, and in tuples there, by Python's.

    So equal settings are printed, hashed and written to JSON alike.
    """
    for name in (field.name for field in fields(instance)):
        value = getattr(instance, name)
        inside = tuple(map(plain, value)) if type(value) is tuple else plain(value)
        if inside is not value:
            object.__setattr__(instance, name, inside)


def check_number(name: str, value: Any, *, low: float = 0.0, strict: bool = False) -> float:
    """Return the value as a Python float, or raise unless it is a finite real number ≥ low (> low when strict).

    Numbers of NumPy and torch are taken as :func:`plain` reads them. A bool is no number.
    """
    bound = "" if low == -math.inf else f" > {low:g}" if strict else f" ≥ {low:g}"
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"{name}: got {shown(value)} ({type(value).__name__}); expected a number{bound}.")
    try:
        result = float(number)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result) or not (low < result if strict else low <= result):
        raise ValueError(f"{name}: got {shown(number)}; expected a finite number{bound}.")
    return result


def check_count(name: str, value: Any, low: int = 1) -> int:
    """Return the value as a Python int, or raise unless it is an integer ≥ low, of Python, NumPy or torch."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise TypeError(f"{name}: got {shown(value)} ({type(value).__name__}); expected an integer ≥ {low}.")
    if number < low:
        raise ValueError(f"{name}: got {number}; expected an integer ≥ {low}.")
    return operator.index(number)


def check_flag(name: str, value: Any) -> bool:
    """Return the value as a Python bool, or raise unless it is True or False, of Python, NumPy or torch."""
    flag = plain(value)
    if not isinstance(flag, bool):
        raise TypeError(f"{name}: got {shown(value)} ({type(value).__name__}); expected True or False.")
    return flag


def check_path(name: str, value: Any) -> Path:
    """Return the value as a path, or raise unless it is a string or a path."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name}: got {shown(value)} ({type(value).__name__}); expected the path of a file.")
    return Path(value)


def check_floating(name: str, value: Any, expected: str) -> Tensor:
    """Return a tensor of floating numbers, or raise TypeError; ``expected`` is its shape in words."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: got {shown(value)} ({type(value).__name__}); expected a tensor {expected}.")
    if not value.is_floating_point():
        raise TypeError(f"{name}: got a tensor of {value.dtype}; expected floating numbers: {name}.float().")
    return value


def flatten_hint(shape: Sequence[int], n_in: int, before: int) -> str:
    """What to do with samples that have the right number of inputs per step, but in several dimensions.

    Args:
        shape: of the samples. n_in: inputs per step. before: dimensions before the inputs: 2 for (B, T, …).

    Returns:
        The end of a message, or nothing where flattening would not help.
    """
    inputs = shape[before:]
    return f" Flatten the inputs: x.flatten({before})." if len(inputs) > 1 and math.prod(inputs) == n_in else ""


def check_input(x: Tensor, parameter: Tensor, *, integers: bool = False) -> None:
    """Raise ValueError unless an input has the dtype and the device of the parameters; with ``integers``, an integer
    dtype is accepted too."""
    if x.device != parameter.device or (x.dtype != parameter.dtype and (x.is_floating_point() or not integers)):
        raise ValueError(
            f"x: got {x.dtype} on {x.device}; the parameters are {parameter.dtype} on {parameter.device}. Convert one "
            f"of them with .to(…); samples of a data set with Data.of(…, dtype={parameter.dtype}), and with "
            f'data.to("{parameter.device}").'
        )
