"""Bounds of the logits of a wrapped chain of torch layers for every parameter of a box."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..interop.wrapped import Wrapped
from .box import Box, unit_of
from .interval import FLOAT64_ROUNDOFF, Interval, gamma, point_interval
from .linear import Weighted
from .spiking import Bounds, separate_margins

MONOTONE = (nn.ReLU, nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.ZeroPad2d, nn.Identity, nn.Dropout, nn.Dropout2d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)
SAMPLES_AT_ONCE = 100


def chain(module: nn.Module, name: str = "_module") -> list[tuple[str, nn.Module]]:
    """The layers of nested ``Sequential`` modules in order, with their names.

    Raises:
        TypeError: a layer that is none of those known, by name.
    """
    if type(module) is nn.Sequential:
        return [layer for key, part in module.named_children() for layer in chain(part, f"{name}.{key}")]
    if type(module) not in (*MONOTONE, *AVERAGES, *WEIGHTED):
        names = ", ".join(cls.__name__ for cls in (*WEIGHTED, *MONOTONE, *AVERAGES))
        raise TypeError(
            f"module {name.removeprefix('_module').lstrip('.') or 'itself'!r}: {type(module).__name__} has no bounds; "
            f"expected a Sequential of {names}."
        )
    if isinstance(module, nn.Conv1d | nn.Conv2d) and (
        module.padding_mode != "zeros" or isinstance(module.padding, str)
    ):
        raise TypeError(f"module {name.removeprefix('_module.')!r}: expected padding by zeros, in numbers.")
    return [(name, module)]


def module_bounds(network: Wrapped, box: Box, x: Tensor, y: Tensor, *, tight: bool) -> Bounds:
    """Bounds for samples x of classes y.

    Args:
        tight: bound logit[y] − logit[k] as one product with the inputs of the last layer, which both logits share.
    """
    if network.decode is not None:
        raise TypeError(f"decode: {network.decode!r} has no bounds; expected a module that gives logits itself.")
    layers = chain(network.get_submodule("_module"))
    unit = unit_of(dict(network.named_parameters())) + 8 * FLOAT64_ROUNDOFF
    owner = {slot: name for name, slots in network.slots.items() for slot in slots}
    logits, margins = [], []
    for samples, classes in zip(x.double().split(SAMPLES_AT_ONCE), y.split(SAMPLES_AT_ONCE)):
        value = before = point_interval(samples)
        for name, layer in layers:
            before = value
            value = _layer_bounds(
                layer, {key: box[owner[f"{name}.{key}"]] for key, _ in layer.named_parameters()}, value, unit
            )
        logits.append(value)
        margins.append(separate_margins(value, classes))
        name, last = layers[-1]
        if tight and isinstance(last, nn.Linear):
            own = {key: box[owner[f"{name}.{key}"]] for key, _ in last.named_parameters()}
            margins[-1] = margins[-1].maximum(_joint_margins(own, before, classes, unit))
    none = torch.zeros(len(x), dtype=torch.long)
    whole = Interval(torch.cat([part.lo for part in logits]), torch.cat([part.hi for part in logits]))
    return Bounds(whole, torch.cat(margins), none, none + 1, none.bool())


def _layer_bounds(layer: nn.Module, own: dict[str, Interval], x: Interval, unit: float) -> Interval:
    if isinstance(layer, MONOTONE):
        return x.map(layer)
    if isinstance(layer, AVERAGES):
        size = layer.kernel_size
        terms = math.prod(size) if isinstance(size, tuple) else size**2
        return x.map(layer).widen((terms + 2) * unit * 1.01 * layer(x.magnitude()))
    op, dims = _op(layer)
    total = Weighted(op, own["weight"], own["weight"].lo[0].numel())(x)
    if "bias" in own:
        bias = own["bias"].map(lambda value: value.reshape(-1, *[1] * dims))
        total = type(total)(total.value.plus(bias), total.scale + bias.magnitude(), total.terms + 1)
    return total.rounded(unit)


def _op(layer: nn.Module) -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
    if isinstance(layer, nn.Linear):
        return functional.linear, 0
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    dims = 1 if isinstance(layer, nn.Conv1d) else 2
    convolve = functional.conv1d if dims == 1 else functional.conv2d
    settings = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}
    return partial(convolve, **settings), dims


def _joint_margins(own: dict[str, Interval], x: Interval, y: Tensor, unit: float) -> Tensor:
    """Lower bounds of logit[y] − logit[k] where both come from the same inputs x."""
    weight, n_classes = own["weight"], len(own["weight"].lo)
    result = torch.empty(len(y), n_classes, dtype=torch.float64)
    plain = Weighted(functional.linear, weight, weight.lo.shape[1])(x)
    rounding = gamma(plain.terms + 4, unit) * plain.scale
    if "bias" in own:
        rounding = rounding + 4 * unit * (plain.scale + own["bias"].magnitude())
    for label in range(n_classes):
        rows = y == label
        pairs = Interval(weight.lo[label] - weight.hi, weight.hi[label] - weight.lo)
        pairs = pairs.widen(4 * FLOAT64_ROUNDOFF * pairs.magnitude())
        found = Weighted(functional.linear, pairs, weight.lo.shape[1])(Interval(x.lo[rows], x.hi[rows]))
        low = found.rounded(2 * FLOAT64_ROUNDOFF).lo
        if "bias" in own:
            low = low + (own["bias"].lo[label] - own["bias"].hi)
        result[rows] = low - rounding[rows] - rounding[rows][:, label : label + 1]
    result[torch.arange(len(y)), y] = torch.inf
    return result
