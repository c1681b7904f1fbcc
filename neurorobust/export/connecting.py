"""From the stages of a file to one connection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..nn import AvgPool2d, Chain, Connection, Conv1d, Conv2d, Delayed, Linear, OneToOne, SumPool2d
from .cell import Array
from .stages import Stage

POOLS = {"AvgPool2d": AvgPool2d, "SumPool2d": SumPool2d}
CONVOLUTIONS = {"Conv1d": Conv1d, "Conv2d": Conv2d}


def connection_of(paths: Sequence[Sequence[Stage]], sizes: Sequence[int], dtype: torch.dtype) -> Connection:
    """One connection from the concatenated sources of all paths.

    Raises:
        ValueError: several paths that are not all one matrix, or all one convolution of the same sizes.
    """
    if len(paths) == 1:
        return _chain(list(paths[0]), sizes[0], dtype)
    delays = [path[0].node.fields["delay"] if path and path[0].node.type == "Delay" else None for path in paths]
    rest = [path if delay is None else path[1:] for path, delay in zip(paths, delays)]
    joined = _convolutions(rest, dtype) if _same_convolutions(rest) else _matrices(rest, sizes, dtype)
    if all(delay is None for delay in delays):
        return joined
    whole = [np.zeros(size) if delay is None else delay for delay, size in zip(delays, sizes)]
    return Delayed(joined, torch.as_tensor(np.concatenate(whole)))


def recurrent_of(stages: Sequence[Stage], n: int, dtype: torch.dtype) -> Connection:
    """The recurrent connection of n neurons: one matrix.

    Raises:
        ValueError: anything but Linear, Affine or Scale.
    """
    if len(stages) > 1 or any("weight" not in stage.node.fields or len(stage.shape) != 1 for stage in stages):
        kinds = " → ".join(stage.node.type for stage in stages)
        raise ValueError(f"its recurrence is {kinds}; expected one Linear, Affine or Scale.")
    return _one(stages[0], dtype) if stages else OneToOne(torch.ones(n, dtype=dtype))


def _chain(stages: list[Stage], n: int, dtype: torch.dtype) -> Connection:
    if stages and stages[0].node.type == "Delay":
        inner = _chain(stages[1:], n, dtype)
        return Delayed(inner, torch.as_tensor(np.array(stages[0].node.fields["delay"])))
    parts = [_one(stage, dtype) for stage in stages if stage.node.type != "Flatten"]
    if not parts:
        return OneToOne(torch.ones(n, dtype=dtype))
    return parts[0] if len(parts) == 1 else Chain(*parts)


def _one(stage: Stage, dtype: torch.dtype) -> Connection:
    own = stage.node.fields
    if stage.node.type in POOLS:
        return POOLS[stage.node.type](stage.shape, own["kernel_size"], own["stride"])
    if stage.node.type == "Delay":
        raise ValueError("a Delay after another node without neurons; expected it right after a population.")
    weight = _tensor(own["weight"], dtype)
    bias = None if "bias" not in own else _tensor(own["bias"], dtype)
    mask = _mask(weight)
    if stage.node.type in CONVOLUTIONS:
        kind = CONVOLUTIONS[stage.node.type]
        return kind(weight, stage.shape, bias, mask, stride=own["stride"], padding=own["padding"])
    return (OneToOne if stage.node.type == "Scale" else Linear)(weight, bias, mask)


def _same_convolutions(paths: Sequence[Sequence[Stage]]) -> bool:
    """Whether all paths are convolutions that differ in channels and weights alone."""
    if any(len(path) != 1 or path[0].node.type not in CONVOLUTIONS for path in paths):
        return False
    sizes = {
        (
            path[0].node.type,
            path[0].shape[1:],
            path[0].node.fields["weight"].shape[2:],
            path[0].out,
            path[0].node.fields["stride"],
            path[0].node.fields["padding"],
        )
        for path in paths
    }
    return len(sizes) == 1


def _convolutions(paths: Sequence[Sequence[Stage]], dtype: torch.dtype) -> Connection:
    parts = [path[0] for path in paths]
    own: dict[str, Any] = dict(parts[0].node.fields)
    own["weight"] = np.concatenate([part.node.fields["weight"] for part in parts], 1)
    own["bias"] = sum(part.node.fields["bias"] for part in parts)
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    return _one(Stage(type(parts[0].node)(parts[0].node.type, own), shape, parts[0].out), dtype)


def _matrices(paths: Sequence[Sequence[Stage]], sizes: Sequence[int], dtype: torch.dtype) -> Connection:
    weights, biases = [], []
    for path, size in zip(paths, sizes):
        matrices = [stage for stage in path if stage.node.type != "Flatten"]
        if len(matrices) > 1 or any(stage.node.type not in ("Linear", "Scale") for stage in matrices):
            kinds = " → ".join(stage.node.type for stage in path)
            raise ValueError(f"adds {kinds} to another input; expected one Linear, Affine or Scale on each.")
        if not matrices or matrices[0].node.type == "Scale":
            if math.prod((size, size)) > 10 * sum(sizes) + 2**14:
                raise ValueError("adds an input without weights to another; expected a Linear on each.")
            weights.append(np.diag(matrices[0].node.fields["weight"] if matrices else np.ones(size)))
        else:
            weights.append(matrices[0].node.fields["weight"])
            if "bias" in matrices[0].node.fields:
                biases.append(matrices[0].node.fields["bias"])
    weight = _tensor(np.concatenate(weights, 1), dtype)
    bias = _tensor(np.sum(biases, axis=0), dtype) if biases else None
    return Linear(weight, bias, _mask(weight))


def _tensor(value: Array, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.array(value)).to(dtype)


def _mask(weight: Tensor) -> Tensor | None:
    """A weight of 0 is no synapse."""
    present = weight != 0
    return None if bool(present.all()) else present
