"""Convolutions and poolings, and LIF layers behind them, as custom operators of torch; see :mod:`.operators`.

Their geometry is the list of integers of :meth:`~.windows.Convolution.numbers`. Images are (c, B, T, C · H · W).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .blocks import array, blocks_of, room_for_sums, run_blocks, total
from .events import events_of
from .numba_loops import lif, windows, windows_lif
from .numba_loops.records import Rules, Traces
from .operators import chips_of
from .registration import fake, operator
from .runtime.memory import empty
from .window_tables import back, layout, order, pooled, reach, whole_vectors
from .windows import Convolution, Window, from_numbers

Geometry = tuple[windows.Layout, windows.Reach, windows.Pooled, windows.Back]


def _geometry(convolution: Convolution) -> Geometry:
    """As the loops take it."""
    window, channels, pool, divisor = convolution
    places = math.prod(window.places)
    return layout(channels, places), reach(window, whole_vectors(channels)), pooled(pool, divisor), back(window)


def _orders(window: Window) -> list[Tensor]:
    return [torch.from_numpy(order(*axis)) for axis in zip(window.kernel, window.stride)]


def numbers_last(weight: Tensor, window: Window) -> np.ndarray:
    """A weight (c, C_out, C, kH, kW) as the loops take it: (c, C · kH · kW · width)."""
    rows, columns = _orders(window)
    last = weight.permute(0, 2, 3, 4, 1)[:, :, rows[:, None], columns]
    return array(_filled(last).flatten(1))


def _numbers_first(last: Tensor, window: Window, channels: int) -> Tensor:
    """The reverse of :func:`numbers_last`, for a gradient."""
    rows, columns = (at.argsort() for at in _orders(window))
    first = last.reshape(len(last), window.shape[0], *window.kernel, -1)[..., :channels]
    return first[:, :, rows[:, None], columns].permute(0, 4, 1, 2, 3).contiguous()


def _filled(last: Tensor, value: float = 0) -> Tensor:
    """With so many zeros behind its channels, the last axis, that they are whole vectors."""
    channels = last.shape[-1]
    return functional.pad(last, (0, whole_vectors(channels) - channels), value=value)


def _rows(weight: Tensor) -> np.ndarray:
    """A weight as the way back takes it: (c, width, kH · kW · C filled up), row = output channel."""
    rows = _filled(weight.permute(0, 1, 3, 4, 2)).flatten(2)
    return array(functional.pad(rows, (0, 0, 0, whole_vectors(rows.shape[1]) - rows.shape[1])))


def _everywhere(bias: Tensor, like: Tensor, convolution: Convolution) -> np.ndarray:
    """The bias at every place, channels last."""
    one = _filled(bias if bias.shape[0] else like.new_zeros((1, bias.shape[1])))
    return array(one.repeat(1, math.prod(convolution.window.places)))


def _shape(x: Tensor, convolution: Convolution, *others: Tensor) -> tuple[int, ...]:
    return (chips_of(x, *others), *x.shape[1:3], convolution.n_out)


@operator
def convolve_op(x: Tensor, weight: Tensor, bias: Tensor, geometry: Sequence[int]) -> Tensor:
    """The convolution of every image, perhaps after a pooling.

    Shapes: weight (c, C_out, C, kH, kW); bias (c, C_out), or (0, C_out) for none; (c, B, T, n_out).
    """
    convolution, events = from_numbers(geometry), events_of(x)
    out = empty(_shape(x, convolution, weight, bias), x.dtype)
    blocks = blocks_of(x.shape[1] * x.shape[2], (x.numel() // len(x)) + out.numel() // len(out))
    numbers = numbers_last(weight, convolution.window), _everywhere(bias, x, convolution)
    arrays = events.arrays, *numbers, _geometry(convolution), out.numpy()
    run_blocks(windows.convolve_blocks, len(out), blocks, x.numel() + out.numel(), *arrays)
    return out


@fake(convolve_op)
def _(x: Tensor, weight: Tensor, bias: Tensor, geometry: Sequence[int]) -> Tensor:
    return x.new_empty(_shape(x, from_numbers(geometry), weight, bias))


def _rooms(x: Tensor, chips: int, blocks: int, convolution: Convolution, needs: Sequence[bool]) -> list[np.ndarray]:
    """Room for the gradients of x, weight and bias."""
    width, window = whole_vectors(convolution.channels), convolution.window
    entries = window.shape[0] * math.prod(window.kernel) * width
    return [
        empty((chips if needs[0] else 0, *x.shape[1:]), x.dtype).numpy(),
        room_for_sums((chips, blocks, entries if needs[1] else 0), x.dtype),
        room_for_sums((chips, blocks, width), x.dtype),
    ]


def _gradients(
    rooms: Sequence[np.ndarray], convolution: Convolution, needs: Sequence[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Those of x, weight and bias; empty where they are not needed."""
    g_x, g_weight, g_bias = rooms
    window, channels = convolution.window, convolution.channels
    no_weight = torch.from_numpy(g_weight).new_empty((0, channels, window.shape[0], *window.kernel))
    of_weight = _numbers_first(total(g_weight), window, channels) if needs[1] else no_weight
    of_bias = total(g_bias)[: None if needs[2] else 0, :channels].clone()
    return torch.from_numpy(g_x), of_weight, of_bias


def _entries(convolution: Convolution) -> int:
    return math.prod(convolution.window.kernel) * convolution.window.shape[0] * convolution.channels


@operator
def convolve_backward_op(
    gradient: Tensor, x: Tensor, weight: Tensor, geometry: Sequence[int], needs: Sequence[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`convolve_op` in x, weight and bias, each for every chip; empty where not needed."""
    convolution, events, chips = from_numbers(geometry), events_of(x), len(gradient)
    images = x.shape[1] * x.shape[2]
    blocks = blocks_of(images, images * (x.shape[3] + gradient.shape[3]), _entries(convolution))
    rooms = _rooms(x, chips, len(blocks), convolution, needs)
    arrays = array(gradient), events.arrays, _rows(weight), _geometry(convolution)
    run_blocks(windows.convolve_back_blocks, chips, blocks, gradient.numel() + x.numel(), *arrays, tuple(rooms))
    return _gradients(rooms, convolution, needs)


def _fake_gradients(x: Tensor, weight: Tensor, chips: int, needs: Sequence[bool]) -> tuple[Tensor, Tensor, Tensor]:
    return (
        x.new_empty((chips if needs[0] else 0, *x.shape[1:])),
        x.new_empty((chips if needs[1] else 0, *weight.shape[1:])),
        x.new_empty((chips if needs[2] else 0, weight.shape[1])),
    )


@fake(convolve_backward_op)
def _(
    gradient: Tensor, x: Tensor, weight: Tensor, geometry: Sequence[int], needs: Sequence[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    return _fake_gradients(x, weight, len(gradient), needs)


@operator
def pool_op(x: Tensor, geometry: Sequence[int]) -> Tensor:
    """The sum over every window, divided: the pooling of a geometry whose convolution does not matter."""
    _, _, window, divisor = from_numbers(geometry)
    about = pooled(window, divisor)
    out = empty((*x.shape[:3], about.n), x.dtype)
    blocks = blocks_of(x.shape[1] * x.shape[2], x.numel() // len(x))
    run_blocks(windows.pool_blocks, len(out), blocks, x.numel(), events_of(x).arrays, about, out.numpy())
    return out


@fake(pool_op)
def _(x: Tensor, geometry: Sequence[int]) -> Tensor:
    return x.new_empty((*x.shape[:3], _pooled_size(geometry)))


def _pooled_size(geometry: Sequence[int]) -> int:
    window = from_numbers(geometry).pool
    assert window is not None
    return window.shape[0] * math.prod(window.places)


@operator
def pool_backward_op(gradient: Tensor, geometry: Sequence[int]) -> Tensor:
    """The gradient of :func:`pool_op` in x."""
    convolution = from_numbers(geometry)
    g_x = empty((*gradient.shape[:3], convolution.n_in), gradient.dtype)
    blocks = blocks_of(g_x.shape[1] * g_x.shape[2], g_x.numel() // len(g_x))
    about = pooled(convolution.pool, convolution.divisor)
    run_blocks(windows.pool_back_blocks, len(g_x), blocks, g_x.numel(), array(gradient), about, g_x.numpy())
    return g_x


@fake(pool_backward_op)
def _(gradient: Tensor, geometry: Sequence[int]) -> Tensor:
    return gradient.new_empty((*gradient.shape[:3], from_numbers(geometry).n_in))


def neurons_last(per_neuron: Tensor, channels: int, value: float = 0) -> Tensor:
    """Numbers (…, n) of neurons whose channels come first, with channels last."""
    return _filled(per_neuron.unflatten(-1, (channels, -1)).mT, value).flatten(-2)


def _numbers(
    weights: np.ndarray, bias: Tensor, coefficients: Tensor, refractory: Tensor, convolution: Convolution, rules: Rules
) -> windows_lif.Numbers:
    """A layer as the loops take it. What fills up vectors never spikes."""
    last = neurons_last(coefficients, convolution.channels)
    last[:, lif.SURROGATE_SCALE] = neurons_last(coefficients[:, lif.SURROGATE_SCALE], convolution.channels, 1)
    return windows_lif.Numbers(
        weights,
        _everywhere(bias, coefficients, convolution),
        array(last),
        array(neurons_last(refractory, convolution.channels)),
        rules,
    )


def _last(convolution: Convolution) -> int:
    return whole_vectors(convolution.channels) * math.prod(convolution.window.places)


@operator
def convolve_lif_op(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    geometry: Sequence[int],
    rules: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Spikes of the neurons behind :func:`convolve_op`; and, if the last of the rules says so, what the way back
    needs: the membrane above v_leak with channels last, (c, B, T, places · channels filled up to whole vectors)."""
    convolution = from_numbers(geometry)
    *own, keep = rules
    shape = _shape(x, convolution, weight, bias, coefficients, refractory)
    spikes = empty(shape, x.dtype)
    v = empty((shape[0] if keep else 0, *shape[1:3], _last(convolution)), x.dtype)
    blocks = blocks_of(shape[1], math.prod(shape[1:]))
    weights = numbers_last(weight, convolution.window)[:, None]
    numbers = _numbers(weights, bias, coefficients, refractory, convolution, Rules(*own))
    arrays = events_of(x).arrays, numbers, _geometry(convolution), Traces(spikes.numpy(), v.numpy())
    run_blocks(windows_lif.convolve_lif_blocks, shape[0], blocks, spikes.numel(), *arrays)
    return spikes, v


@fake(convolve_lif_op)
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    geometry: Sequence[int],
    rules: Sequence[int],
) -> tuple[Tensor, Tensor]:
    convolution = from_numbers(geometry)
    shape = _shape(x, convolution, weight, bias, coefficients, refractory)
    return x.new_empty(shape), x.new_empty((shape[0] if rules[-1] else 0, *shape[1:3], _last(convolution)))


@operator
def convolve_lif_backward_op(
    g_spikes: Tensor,
    spikes: Tensor,
    v: Tensor,
    x: Tensor,
    weight: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    geometry: Sequence[int],
    rules: Sequence[int],
    width: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`convolve_lif_op` in x, weight, bias and coefficients, each for every chip; empty where they
    are not needed."""
    convolution, (chips, batch, _, n) = from_numbers(geometry), spikes.shape
    last, own = _last(convolution), Rules(*rules[:-1])
    blocks = blocks_of(batch, spikes.numel() // chips, _entries(convolution) + lif.COEFFICIENTS * last)
    short = not (needs[3] or own.to_value or own.has_syn or own.adaptive or bool(refractory.any()))
    rooms = _rooms(x, chips, len(blocks), convolution, needs)
    of_coefficients = room_for_sums((chips, len(blocks), lif.COEFFICIENTS, 0 if short else last), x.dtype)
    no_bias = weight.new_empty((0, convolution.channels))
    numbers = _numbers(_rows(weight), no_bias, coefficients, refractory, convolution, own)
    traces, factor = Traces(array(spikes), array(v)), spikes.numpy().dtype.type(width)
    arrays = array(g_spikes), traces, events_of(x).arrays, numbers, _geometry(convolution), factor
    run_blocks(
        windows_lif.convolve_lif_back_blocks, chips, blocks, spikes.numel(), *arrays, (*rooms, of_coefficients)
    )  # fmt: skip
    if not needs[3]:
        return *_gradients(rooms, convolution, needs), coefficients.new_empty((0, lif.COEFFICIENTS, n))
    places = total(of_coefficients).unflatten(-1, (-1, whole_vectors(convolution.channels)))
    g_coefficients = places[..., : convolution.channels].mT.reshape(chips, lif.COEFFICIENTS, n)
    return *_gradients(rooms, convolution, needs), g_coefficients.contiguous()


@fake(convolve_lif_backward_op)
def _(*inputs: Any) -> tuple[Tensor, ...]:
    _, spikes, _, x, weight, *_, needs = inputs
    chips, n = spikes.shape[0], spikes.shape[-1]
    return *_fake_gradients(x, weight, chips, needs), spikes.new_empty((chips if needs[3] else 0, lif.COEFFICIENTS, n))
