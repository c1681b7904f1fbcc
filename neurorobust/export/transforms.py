"""One node without neurons, as anybody may have written it: checked, with its shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .cell import Array
from .hdf5 import Node
from .stages import Shape, Stage


def transformed(node: Node, shape: Shape, flatten: int) -> Stage:
    """The stage of a node for an input of this shape.

    Raises:
        ValueError: values or shapes that do not fit, or a part that no connection of this package has.
    """
    if node.type == "Flatten":
        start, end = (_integers(node, name, 1)[0] for name in ("start_dim", "end_dim"))
        if start not in (flatten, -len(shape)) or end not in (-1, len(shape) - 1 + flatten):
            raise ValueError(f"start_dim {start}, end_dim {end} leaves several dimensions; expected {flatten} and -1.")
        return Stage(Node("Flatten"), shape, (math.prod(shape),))
    if node.type == "Delay":
        delay = _values(node, "delay")
        if delay.size not in (1, math.prod(shape)) or (delay < 0).any():
            raise ValueError(f"delay: got shape {delay.shape}; expected one for each of {shape}, s, ≥ 0.")
        return Stage(Node("Delay", {"delay": np.broadcast_to(delay.ravel(), (math.prod(shape),))}), shape, shape)
    if node.type in ("Linear", "Affine", "Scale"):
        return _linear(node, shape)
    if node.type in ("SumPool2d", "AvgPool2d"):
        kernel, stride, padding = (_integers(node, name, 2) for name in ("kernel_size", "stride", "padding"))
        if any(padding):
            raise ValueError(f"padding: got {padding}; expected 0.")
        _check_dims(shape, 2)
        sizes = {"kernel_size": kernel, "stride": stride}
        return Stage(Node(node.type, sizes), shape, (shape[0], *_places(shape, kernel, stride, (0, 0))))
    return _convolution(node, shape)


def _linear(node: Node, shape: Shape) -> Stage:
    shape = shape[-1:] if math.prod(shape) == shape[-1] else shape  # some writers leave a batch of one in the shape
    if len(shape) != 1:
        raise ValueError(f"acts on the last axis of an input of shape {shape}; put a Flatten before it.")
    if node.type == "Scale":
        scale = _values(node, "scale")
        if scale.size not in (1, shape[0]):
            raise ValueError(f"scale: got shape {scale.shape}; expected {shape}.")
        return Stage(Node("Scale", {"weight": np.broadcast_to(scale.ravel(), shape)}), shape, shape)
    weight = _values(node, "weight")
    if weight.ndim != 2 or weight.shape[1] != shape[0]:
        raise ValueError(f"weight: got shape {weight.shape}; expected (n_out, {shape[0]}).")
    own = {"weight": weight}
    if node.type == "Affine":
        own["bias"] = _bias(node, len(weight))
    return Stage(Node("Linear", own), shape, (len(weight),))


def _convolution(node: Node, shape: Shape) -> Stage:
    dims = 1 if node.type == "Conv1d" else 2
    _check_dims(shape, dims)
    weight = _values(node, "weight")
    stride, dilation = (_integers(node, name, dims) for name in ("stride", "dilation"))
    if any(step != 1 for step in dilation) or _integers(node, "groups", 1) != (1,):
        raise ValueError("dilation and groups: expected 1.")
    if weight.ndim != dims + 2 or weight.shape[1] != shape[0]:
        raise ValueError(f"weight: got shape {weight.shape}; expected (n_out, {shape[0]}{', k' * dims}).")
    if min(weight.shape) < 1:
        raise ValueError(f"weight: got shape {weight.shape}; expected sizes of at least 1.")
    padding = _padding(node, dims, weight.shape[2:], stride)
    given = node.fields.get("input_shape")
    if isinstance(given, np.ndarray) and given.size and tuple(given.ravel().tolist()) != shape[1:]:
        raise ValueError(f"input_shape: got {given.ravel().tolist()}; its input has {list(shape[1:])}.")
    own = {"weight": weight, "bias": _bias(node, len(weight)), "stride": stride, "padding": padding}
    return Stage(Node(node.type, own), shape, (len(weight), *_places(shape, weight.shape[2:], stride, padding)))


def _padding(node: Node, dims: int, kernel: tuple[int, ...], stride: tuple[int, ...]) -> tuple[int, ...]:
    value = node.fields["padding"]
    if isinstance(value, str):
        if value == "valid":
            return (0,) * dims
        if value != "same" or any(k % 2 == 0 for k in kernel) or any(s != 1 for s in stride):
            raise ValueError(f"padding: got {value[:20]!r}; expected numbers, or 'same' for odd kernels and stride 1.")
        return tuple(k // 2 for k in kernel)
    return _integers(node, "padding", dims)


def _check_dims(shape: Shape, dims: int) -> None:
    if len(shape) != dims + 1:
        raise ValueError(f"its input has shape {shape}; expected channels and {dims} dimensions of space.")


def _places(shape: Shape, kernel: Any, stride: Any, padding: Any) -> list[int]:
    if min((*kernel, *stride)) < 1 or min(padding) < 0:
        raise ValueError("kernel, stride and padding: expected sizes of at least 1, 1 and 0.")
    places = [(size + 2 * p - k) // s + 1 for size, k, s, p in zip(shape[1:], kernel, stride, padding)]
    if min(places) < 1:
        raise ValueError(f"a kernel of {tuple(kernel)} does not fit into {shape[1:]}.")
    return places


def _values(node: Node, name: str) -> Array:
    """Finite numbers, float32 or float64."""
    value = node.fields[name]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or not value.size:
        raise ValueError(f"{name}: expected numbers.")
    value = value.astype(np.float64, copy=False)
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: {int((~np.isfinite(value)).sum())} of {value.size} values are NaN or infinite.")
    return value


def _bias(node: Node, n: int) -> Array:
    bias = _values(node, "bias")
    if bias.shape not in ((n,), (1,), ()):
        raise ValueError(f"bias: got shape {bias.shape}; expected ({n},).")
    return np.broadcast_to(bias, (n,))


def _integers(node: Node, name: str, n: int) -> tuple[int, ...]:
    value = np.asarray(node.fields[name])
    if value.dtype.kind not in "iu" or value.size not in (1, n) or (np.abs(value.astype(np.float64)) > 2**31).any():
        raise ValueError(f"{name}: expected {n} integers.")
    return tuple(int(each) for each in np.broadcast_to(value.ravel(), (n,)))
