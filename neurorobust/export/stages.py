"""Connections as nodes without neurons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..nn import AvgPool2d, Chain, Connection, Conv1d, Conv2d, Delayed, Linear, OneToOne, SparseLinear, SumPool2d
from .cell import Array
from .hdf5 import Node

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """A node with the shapes of its input and its output, without batch and time."""

    node: Node
    shape: Shape
    out: Shape


def stages_of(connection: Connection) -> list[Stage]:
    """The stages of a connection, in the order of the signal.

    Raises:
        ValueError: a connection that NIR does not have.
    """
    if isinstance(connection, Chain):
        return [stage for part in connection.parts() for stage in stages_of(part)]
    if isinstance(connection, Delayed):
        inner = stages_of(connection.connection)
        delay = Node("Delay", {"delay": connection.delay.detach().cpu().double().numpy().copy()})
        return [Stage(delay, (connection.n_in,), (connection.n_in,)), *inner]
    whole = isinstance(connection, (Linear, OneToOne, SparseLinear))
    if whole or _unrolled(connection):
        bias = connection.offset(0.0)
        weight = connection.matrix() if whole else cast(Tensor, connection.weight)
        return [
            Stage(
                _affine(_numbers(weight), None if bias is None else _numbers(bias)),
                (connection.n_in,),
                (connection.n_out,),
            )
        ]
    if isinstance(connection, (Conv1d, Conv2d)):
        return [_convolution(connection)]
    if isinstance(connection, (AvgPool2d, SumPool2d)):
        sizes = {"kernel_size": connection.kernel, "stride": connection.stride, "padding": (0, 0)}
        node = Node(type(connection).__name__, {name: np.array(value) for name, value in sizes.items()})
        return [Stage(node, connection.shape, connection.out_shape)]
    raise ValueError(
        f"{type(connection).__name__} is not in NIR; expected Linear, OneToOne, a convolution or a pooling."
    )


def _unrolled(connection: Connection) -> bool:
    shape = getattr(connection, "weight", torch.empty(0)).shape
    return isinstance(connection, (Conv1d, Conv2d)) and shape == (connection.n_out, connection.n_in)


def _affine(weight: Array, bias: Array | None) -> Node:
    if bias is None:
        return Node("Linear", {"weight": weight})
    return Node("Affine", {"weight": weight, "bias": bias})


def _convolution(connection: Conv1d | Conv2d) -> Stage:
    weight = _numbers(connection.masked())
    bias = np.zeros(len(weight), weight.dtype) if connection.bias is None else _numbers(connection.bias)
    sizes: dict[str, Any] = {"stride": connection.stride, "padding": connection.padding, "dilation": (1, 1)}
    sizes["input_shape"] = connection.shape[1:]
    if connection.dims == 1:
        sizes = {name: np.array(value[0]) for name, value in sizes.items()}
    else:
        sizes = {name: np.array(value) for name, value in sizes.items()}
    node = Node(type(connection).__name__, {"weight": weight, "bias": bias, "groups": np.array(1)} | sizes)
    return Stage(node, connection.shape, connection.out_shape)


def split(stages: Sequence[Stage], sizes: Sequence[int]) -> list[list[Stage]]:
    """The stages from each of several inputs, which are concatenated along the features.

    Raises:
        ValueError: stages that are no sum over their inputs.
    """
    if len(sizes) == 1:
        return [list(stages)]
    *delays, last = stages
    if any(stage.node.type != "Delay" for stage in delays) or "weight" not in last.node.fields:
        raise ValueError(
            f"several inputs go into a {stages[0].node.type}, which NIR cannot join; expected one Linear or one "
            f"convolution there."
        )
    places = math.prod(last.shape[1:])
    if any(size % places for size in sizes):
        raise ValueError(f"inputs of {list(sizes)} neurons do not end where a channel of {places} places does.")
    result, begin = [], 0
    for i, size in enumerate(sizes):
        here = slice(begin // places, (begin + size) // places)
        own = dict(last.node.fields) | {"weight": last.node.fields["weight"][:, here]}
        if i and last.node.type == "Affine":
            del own["bias"]
        elif i and "bias" in own:
            own["bias"] = np.zeros_like(own["bias"])
        node = Node("Linear" if last.node.type == "Affine" and i else last.node.type, own)
        shape = (size // places, *last.shape[1:])
        arrived = [
            Stage(Node("Delay", {"delay": stage.node.fields["delay"][begin : begin + size]}), (size,), (size,))
            for stage in delays
        ]
        result.append([*arrived, replace(last, node=node, shape=shape)])
        begin += size
    return result


def with_bias(stage: Stage, bias: Array) -> Stage:
    """The stage with a bias more, (n,).

    Raises:
        ValueError: the stage has no bias of its own, or neurons that share one differ.
    """
    own = stage.node.fields
    if "weight" not in own:
        raise ValueError(f"the bias of the recurrent connection cannot go into a {stage.node.type}; leave it out.")
    before = own.get("bias", np.zeros(len(own["weight"]), own["weight"].dtype))
    return replace(
        stage,
        node=replace(
            stage.node,
            type="Affine" if stage.node.type == "Linear" else stage.node.type,
            fields=dict(own) | {"bias": before + _of_rows(stage, bias)},
        ),
    )


def scaled(stage: Stage, rows: Array | None) -> Stage:
    """The stage with each row of the weight, and the bias, times ``rows``, (n,), in float64.

    Raises:
        ValueError: the stage has no weight, or neurons that share one have different factors.
    """
    if rows is None:
        return stage
    own = dict(stage.node.fields)
    if "weight" not in own:
        if (rows == 1).all():
            return stage
        raise ValueError(
            f"the weights have to be scaled, and a {stage.node.type} has none; put a OneToOne or a Linear after it."
        )
    rows = _of_rows(stage, rows)
    own["weight"] = own["weight"] * rows.reshape(-1, *[1] * (own["weight"].ndim - 1))
    if "bias" in own:
        own["bias"] = own["bias"] * rows
    return replace(stage, node=replace(stage.node, fields=own))


def _of_rows(stage: Stage, values: Array) -> Array:
    """One value for each row of the weight, from one for each neuron."""
    grouped = values.reshape(len(stage.node.fields["weight"]), -1)
    if not (grouped == grouped[:, :1]).all():
        raise ValueError(
            "the weights have to be scaled for each neuron, and those of a convolution are shared: neurons of one "
            "channel have different parameters. Give each channel one value of every parameter."
        )
    return grouped[:, 0]


def _numbers(value: Tensor) -> Array:
    return value.detach().cpu().numpy().copy()
