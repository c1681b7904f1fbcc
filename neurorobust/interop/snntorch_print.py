"""An snnTorch network as text that fits a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.placement import HOST
from .snntorch_neurons import reset_of

MOST = 14
"""Lines of a table; of more, the middle is left out."""
WIDTH = 100

_UNITS = {"tau_mem": (1e3, " ms"), "tau_syn": (1e3, " ms"), "v_threshold": (1, "")}


def table(
    heading: str,
    neurons: Mapping[str, tuple[Any, torch.Size, Mapping[str, Tensor]]],
    weights: Mapping[str, Tensor],
    cores: Mapping[str, Tensor],
) -> str:
    """The heading, one line per layer of neurons, and one for all weights.

    Args:
        heading: the first line. neurons: by name the neuron, the shape of its layer and its numbers by kind.
        weights: the other parameters by name. cores: of the neurons of placed layers.
    """
    rows = [
        (
            name,
            type(neuron).__name__,
            "×".join(map(str, shape)) or "1",
            _constants(neuron, numbers) + _place(cores, name),
        )
        for name, (neuron, shape, numbers) in neurons.items()
    ]
    sizes = [max(len(row[k]) for row in [("layer", "type", "neurons"), *rows]) for k in range(3)]
    lines = [
        "  " + "  ".join([*(text.ljust(size) for text, size in zip(row, sizes)), row[3]])
        for row in [("layer", "type", "neurons", "constants"), *rows]
    ]
    named = ", ".join(f"{name} {'×'.join(map(str, value.shape))}".rstrip() for name, value in weights.items())
    count = sum(value.numel() for value in weights.values())
    lines = [heading, *_shortened(lines), f"  {count:,} weights and others: {named}" if weights else "  no weights"]
    return "\n".join(_cut(line) for line in lines)


def _constants(neuron: Any, numbers: Mapping[str, Tensor]) -> str:
    told = [
        f"{kind.removesuffix('.weight')} {_value(value, *_UNITS.get(kind, (1, '')))}" for kind, value in numbers.items()
    ]
    return ", ".join([*told, f"reset {reset_of(neuron) or 'of its own'}"])


def _place(cores: Mapping[str, Tensor], name: str) -> str:
    if name not in cores:
        return ""
    low, high = int(cores[name].min()), int(cores[name].max())
    return ", on the host" if low == HOST else f", core {low}" if low == high else f", cores {low} to {high}"


def _value(value: Tensor, scale: float, unit: str) -> str:
    low, high = (f"{scale * float(end):.4g}" for end in (value.min(), value.max()))
    return f"{low}{unit}" if low == high else f"{low} … {high}{unit}"


def _shortened(lines: Sequence[str]) -> Iterable[str]:
    left = len(lines) - MOST
    return lines if left <= 1 else [*lines[: MOST - 4], f"  … {left} more", *lines[-4:]]


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 2] + " …"


def name_of(function: Callable[..., Any]) -> str:
    """How a function is called in a text."""
    return str(getattr(function, "__name__", repr(function)))
