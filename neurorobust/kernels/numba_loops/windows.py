"""Convolutions and poolings by events.

Inside, channels are the last axis of an output, so that what an event adds is one stretch of memory for each row of the
window: weight (C, kH, kW, width) and output (places, width), positions in the window in the order in which the places
of a row see one input. ``width`` are the channels with those that fill up vectors of eight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy import ndarray

from .intrinsics import LANES, parallel_for
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias
from .records import RowEvents
from .rows import GROUP, add_1, add_scaled_1, clear, cleared, copy, events_of_row, positions, products

EIGHT = 8


class Reach(NamedTuple):
    """What each input reaches.

    Attributes:
        table: (n_in, 4): where its weights begin, where its places begin, how many rows of the window reach places, and
            how many numbers each of them adds.
        weight_row, place_row: numbers from one row of the window, and of the output, to the next.
    """

    table: ndarray
    weight_row: int
    place_row: int


class Pooled(NamedTuple):
    """What each input reaches by a pooling.

    Attributes:
        table: as of :class:`Reach`, with places where channels come first; (0, 4) without a pooling.
        place: (n_in,), that of each input, or ``n`` for none; (0,) where windows overlap.
        row: numbers from one row of places to the next. n: how many places there are.
        divisor: of a sum over a window.
    """

    table: ndarray
    place: ndarray
    row: int
    n: int
    divisor: int


class Layout(NamedTuple):
    """How an output lies in memory.

    Attributes:
        channels, width: with and without those that fill up vectors.
        first: (places · width,), where each number is where channels come first; −1 for what fills up. last: (n,), the
            reverse.
    """

    channels: int
    width: int
    first: ndarray
    last: ndarray


class Back(NamedTuple):
    """What each place reaches on the way back, where images have channels last too, (C filled up to whole vectors).

    Attributes:
        table: (places, 4): where its inputs begin, where its entries of the window begin, how many rows of the window
            are inside the image, and how many numbers each of them has.
        window_row, image_row: numbers from one row of the window, and of the image, to the next. image: (n_in,), where
            each input is in such an image.
    """

    table: ndarray
    window_row: int
    image_row: int
    image: ndarray


class Frame(NamedTuple):
    """Room for one image: its events (places and values), what is pooled (n + 1,), an output with channels last, the
    gradient of what is pooled (n + 1,), that of the image with channels last, and four windows of it."""

    events: RowEvents
    pooled: ndarray
    out: ndarray
    gradient: ndarray
    image: ndarray
    windows: ndarray


def _spread(builder, factor, lanes):
    kind = ir.VectorType(factor.type, lanes)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), factor, ir.IntType(32)(0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), order)


def _fused(builder, number, lanes):
    kind, bits = ir.VectorType(number, lanes), "f32" if isinstance(number, ir.FloatType) else "f64"
    name = f"llvm.fmuladd.v{lanes}{bits}"
    return builder.module.declare_intrinsic(name, fnty=ir.FunctionType(kind, [kind, kind, kind]))


def _spot(builder, data, place, number, lanes):
    return builder.bitcast(builder.gep(data, [place]), ir.VectorType(number, lanes).as_pointer())


def _chunks(context, builder, length, each):
    """``each(place, lanes)`` for the vectors of a stretch whose length is a multiple of eight."""
    many = builder.lshr(length, context.get_constant(types.intp, 4))
    with cgutils.for_range(builder, many) as loop:
        each(builder.shl(loop.index, context.get_constant(types.intp, 4)), LANES)
    rest = builder.and_(length, context.get_constant(types.intp, EIGHT))
    with builder.if_then(cgutils.is_not_null(builder, rest)):
        each(builder.shl(many, context.get_constant(types.intp, 4)), EIGHT)


@intrinsic
def add_stretch(typingctx, out, at, numbers, begin, length, factor):
    """out[at : at + length] += factor · numbers[begin : begin + length]; the length is a multiple of eight."""

    def generate(context, builder, signature, arguments):
        to, source = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2)
        )  # fmt: skip
        number, factor = context.get_data_type(signature.args[0].dtype), arguments[5]
        spread = {lanes: _spread(builder, factor, lanes) for lanes in (LANES, EIGHT)}

        def each(place, lanes):
            target = _spot(builder, to, builder.add(arguments[1], place), number, lanes)
            loaded = builder.load(_spot(builder, source, builder.add(arguments[3], place), number, lanes), align=4)
            fused = _fused(builder, number, lanes)
            builder.store(builder.call(fused, [spread[lanes], loaded, builder.load(target, align=4)]), target, align=4)

        _chunks(context, builder, arguments[4], each)
        return context.get_dummy_value()

    return types.void(out, types.intp, numbers, types.intp, types.intp, out.dtype), generate


@intrinsic
def turn_block(typingctx, out, at, row, numbers, begin, numbers_row):
    """out[at + i row + r] = numbers[begin + r numbers_row + i] for r = 0 … 7, i = 0 … 15."""

    def generate(context, builder, signature, arguments):
        to, source = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 3)
        )  # fmt: skip
        number = context.get_data_type(signature.args[0].dtype)
        _, at, row, _, begin, numbers_row = arguments

        def chosen(first, second, order):
            return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))

        def times(value, i):
            return builder.mul(value, context.get_constant(types.intp, i))

        vectors = [
            builder.load(_spot(builder, source, builder.add(begin, times(numbers_row, r)), number, LANES), align=4)
            for r in range(EIGHT)
        ]
        halves = [[half * EIGHT + i // 2 + LANES * (i % 2) for i in range(LANES)] for half in (0, 1)]
        for _ in range(3):  # a perfect shuffle of 128 numbers, three times
            pairs = zip(vectors[: EIGHT // 2], vectors[EIGHT // 2 :])
            vectors = [chosen(a, b, order) for a, b in pairs for order in halves]
        for i in range(LANES):
            vector, first = vectors[i // 2], i % 2 * EIGHT
            place = _spot(builder, to, builder.add(at, times(row, i)), number, EIGHT)
            builder.store(chosen(vector, vector, list(range(first, first + EIGHT))), place, align=4)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, numbers, types.intp, types.intp), generate


@njit_no_nrt
def send_windows(out, weight, places, values, count, reach):
    """out += what the first ``count`` events add."""
    table, weight_row, place_row = reach
    for k in range(count):
        place, value = places[k], values[k]
        begin, at, rows, length = (
            np.int64(table[place, 0]), np.int64(table[place, 1]), table[place, 2], np.int64(table[place, 3])
        )  # fmt: skip
        for r in range(rows):
            add_stretch(out, at + r * place_row, weight, begin + r * weight_row, length, value)


@njit_no_nrt
def credit_windows(g_weight, gradient, places, values, count, reach):
    """g_weight += what the first ``count`` events get from the gradient of an output."""
    table, weight_row, place_row = reach
    for k in range(count):
        place, value = places[k], values[k]
        begin, at, rows, length = (
            np.int64(table[place, 0]), np.int64(table[place, 1]), table[place, 2], np.int64(table[place, 3])
        )  # fmt: skip
        for r in range(rows):
            add_stretch(g_weight, begin + r * weight_row, gradient, at + r * place_row, length, value)


@njit_no_nrt
def image_gradient(image, gradient, rows, back, windows):
    """image = the gradient of an image from that of an output: rows (width, numbers of a window) of the weight, one for
    each output channel, times the gradient at each place."""
    table, window_row, image_row, _ = back
    n, one = table.shape[0], image.dtype.type(1)
    places = gradient.reshape(n, rows.shape[0])
    clear(image)
    for p in range(0, n, GROUP):
        group = min(GROUP, n - p)
        for r in range(group):
            clear(windows[r])
        if group == GROUP:
            products(windows, rows, places[p : p + GROUP])
        else:
            for r in range(group):
                for k in range(rows.shape[0]):
                    add_scaled_1(windows[r], rows[k], places[p + r, k])
        for r in range(group):
            at, begin, length = np.int64(table[p + r, 0]), np.int64(table[p + r, 1]), np.int64(table[p + r, 3])
            for k in range(table[p + r, 2]):
                add_stretch(image, at + k * image_row, windows[r], begin + k * window_row, length, one)


@njit_no_nrt
def add_pooled(out, places, values, count, pooled):
    """out += the first ``count`` events, at every place that they reach."""
    table, place, row = pooled.table, pooled.place, pooled.row
    if len(place):
        for k in range(count):
            out[place[places[k]]] += values[k]
        return
    for k in range(count):
        i = places[k]
        for r in range(table[i, 2]):
            at = table[i, 1] + r * row
            for j in range(table[i, 3]):
                out[at + j] += values[k]


@njit_noalias
def divide(out, divisor):
    """out /= divisor."""
    for i in range(out.shape[0]):
        out[i] /= divisor


@njit_noalias
def take(out, numbers, index):
    """out = numbers[index]."""
    for i in range(out.shape[0]):
        out[i] = numbers[index[i]]


@njit_no_nrt
def gradient_before_pool(g_x, gradient, pooled):
    """g_x = the gradient of the input of a pooling; ``gradient`` (n + 1,) is divided, and ends with a 0."""
    table, place, row = pooled.table, pooled.place, pooled.row
    divide(gradient, gradient.dtype.type(pooled.divisor))
    if len(place):
        take(g_x, gradient, place)
        return
    for i in range(g_x.shape[0]):
        total = gradient.dtype.type(0)
        for r in range(table[i, 2]):
            at = table[i, 1] + r * row
            for j in range(table[i, 3]):
                total += gradient[at + j]
        g_x[i] = total


@njit_no_nrt
def list_row(values, lists, row, events):
    """List the events of a row, from the lists of all rows if they are given; return how many."""
    count, binary = events_of_row(values, lists, row, events.places, events.values)
    if binary:  # lists of ones have no values
        for k in range(count):
            events.values[k] = 1
    return count


@njit_no_nrt
def pool_events(events, count, pooled, sums):
    """Turn ``count`` events into those of what is pooled; return how many. ``sums`` (n + 1,) is room for that."""
    divisor = sums.dtype.type(pooled.divisor)
    clear(sums)
    add_pooled(sums, events.places, events.values, count, pooled)
    count = positions(sums[: pooled.n], events.places)
    for k in range(count):
        events.values[k] = sums[events.places[k]] / divisor
    return count


@njit_no_nrt
def events_of_frame(values, lists, row, pooled, frame):
    """List the events of an image, after the pooling if there is one; return how many."""
    count = list_row(values, lists, row, frame.events)
    return count if pooled.n == 0 else pool_events(frame.events, count, pooled, frame.pooled)


@jit
def frame_for(n_in, pooled, last, image, window, dtype):
    """Room for an image with so many inputs, an output of so many numbers and, for the way back, an image and windows
    with channels last of so many."""
    most = max(n_in, pooled.n)
    return Frame(
        RowEvents(np.empty(most + LANES, np.int32), np.empty(most + LANES, dtype)),
        np.zeros(pooled.n + 1, dtype),
        cleared(1, last, dtype)[0],
        np.zeros(pooled.n + 1, dtype),
        cleared(1, image, dtype)[0],
        cleared(GROUP, window, dtype),
    )


@njit_no_nrt
def channels_first(out, last, layout):
    """The same output (channels · places,) with channels first."""
    channels, width = layout.channels, layout.width
    places = out.shape[0] // channels
    for c in range(channels):
        for p in range(places):
            out[c * places + p] = last[p * width + c]


@njit_no_nrt
def channels_last(out, first, layout):
    """The reverse of :func:`channels_first`; what fills up vectors stays as it is."""
    channels, width = layout.channels, layout.width
    places = first.shape[0] // channels
    turned = channels // EIGHT * EIGHT if places >= LANES else 0
    for c in range(0, turned, EIGHT):
        for p in range(0, places, LANES):
            p = min(p, places - LANES)
            turn_block(out, p * width + c, width, first, c * places + p, places)
    for p in range(places):
        for c in range(turned, channels):
            out[p * width + c] = first[c * places + p]


@njit_no_nrt
def convolve_frame(out, values, lists, row, weight, base, reach, pooled, frame):
    """out = base, which is the bias everywhere, + the convolution of one image, channels last."""
    count = events_of_frame(values, lists, row, pooled, frame)
    copy(out, base)
    send_windows(out, weight, frame.events.places, frame.events.values, count, reach)


@njit_inline
def frame_back(gradient, values, lists, row, rows, g_weight, g_x, geometry, frame):
    """The gradients that one image gives, of its input and of the weight, if there is room for them."""
    _, reach, pooled, back = geometry
    if g_weight.shape[0] > 0:
        count = events_of_frame(values, lists, row, pooled, frame)
        credit_windows(g_weight, gradient, frame.events.places, frame.events.values, count, reach)
    if g_x.shape[0] > 0:
        image_gradient(frame.image, gradient, rows, back, frame.windows)
        if pooled.n == 0:
            take(g_x, frame.image, back.image)
        else:
            take(frame.gradient[: pooled.n], frame.image, back.image)
            gradient_before_pool(g_x, frame.gradient, pooled)


@njit_no_nrt
def convolve_rows(chip, from_chip, low, high, inputs, weight, base, geometry, out, frame):
    """:func:`convolve` for one chip."""
    steps, (layout, reach, pooled, _) = out.shape[2], geometry
    for row in range(low, high):
        i, j = row // steps, row % steps
        convolve_frame(frame.out, inputs.x[from_chip, i, j], inputs.lists, row, weight, base, reach, pooled, frame)
        channels_first(out[chip, i, j], frame.out, layout)


@jit
def convolve(chip, low, high, inputs, weight, base, geometry, out):
    """Convolutions of images ``low`` to ``high``.

    Shapes: x (chips, p, q, n_in); weight (chips, numbers) and the bias everywhere (chips, last) with channels last; out
    (chips, p, q, n) with channels first. ``geometry``: :class:`Layout`, :class:`Reach`, :class:`Pooled`, :class:`Back`.
    """
    x, own, offset = inputs.x, weight[min(chip, len(weight) - 1)], base[min(chip, len(base) - 1)]
    frame = frame_for(x.shape[3], geometry[2], offset.shape[0], 0, 0, x.dtype)
    convolve_rows(chip, min(chip, len(x) - 1), low, high, inputs, own, offset, geometry, out, frame)


@njit_no_nrt
def convolve_rows_back(chip, from_chip, low, high, gradient, inputs, rows, geometry, g_x, g_weight, sums, frame):
    """:func:`convolve_back` for one chip."""
    steps = gradient.shape[2]
    for row in range(low, high):
        i, j = row // steps, row % steps
        channels_last(frame.out, gradient[chip, i, j], geometry[0])
        add_1(sums, frame.out)
        to_x = g_x[chip, i, j] if g_x.shape[0] > 0 else sums[:0]
        frame_back(frame.out, inputs.x[from_chip, i, j], inputs.lists, row, rows, g_weight, to_x, geometry, frame)


@njit_no_nrt
def sum_places(out, sums):
    """out = the sum over places."""
    width = out.shape[0]
    clear(out)
    for p in range(sums.shape[0] // width):
        add_1(out, sums[p * width : (p + 1) * width])


@jit
def convolve_back(chip, block, low, high, gradient, inputs, rows, geometry, results):
    """Gradients of images ``low`` to ``high`` of :func:`convolve`: of x, (0, …) if it is not needed; of weight and bias
    summed into ``block``, the weight (chips, blocks, 0) if it is not needed. ``rows`` (chips, width, numbers of a
    window): the weight with both channels last, row = output channel."""
    g_x, g_weight, g_bias = results
    x, own, (layout, _, pooled, back) = inputs.x, rows[min(chip, len(rows) - 1)], geometry
    last = gradient.shape[3] // layout.channels * layout.width
    image = min(len(g_x), 1) * back.image_row * (1 + back.image.max() // back.image_row)
    frame, sums = frame_for(x.shape[3], pooled, last, image, own.shape[1], x.dtype), cleared(1, last, x.dtype)[0]
    g_weight[chip, block][:] = 0
    from_chip, to_weight = min(chip, len(x) - 1), g_weight[chip, block]
    convolve_rows_back(
        chip, from_chip, low, high, gradient, inputs, own, geometry, g_x, to_weight, sums, frame
    )  # fmt: skip
    sum_places(g_bias[chip, block], sums)


@njit_no_nrt
def pool_rows(chip, low, high, inputs, pooled, out, frame):
    """:func:`pool` for one chip."""
    steps = out.shape[2]
    for row in range(low, high):
        i, j = row // steps, row % steps
        events = frame.events
        count = list_row(inputs.x[chip, i, j], inputs.lists, row, events)
        clear(frame.pooled)
        add_pooled(frame.pooled, events.places, events.values, count, pooled)
        copy(out[chip, i, j], frame.pooled)
        divide(out[chip, i, j], out.dtype.type(pooled.divisor))


@jit
def pool(chip, low, high, inputs, pooled, out):
    """The pooling of images ``low`` to ``high``: x (chips, p, q, n_in) → out (chips, p, q, n)."""
    pool_rows(chip, low, high, inputs, pooled, out, frame_for(inputs.x.shape[3], pooled, 0, 0, 0, out.dtype))


@njit_no_nrt
def pool_rows_back(chip, low, high, gradient, pooled, g_x, spare):
    """:func:`pool_back` for one chip."""
    steps = g_x.shape[2]
    for row in range(low, high):
        i, j = row // steps, row % steps
        copy(spare[: pooled.n], gradient[chip, i, j])
        gradient_before_pool(g_x[chip, i, j], spare, pooled)


@jit
def pool_back(chip, low, high, gradient, pooled, g_x):
    """The gradient of x in images ``low`` to ``high`` of :func:`pool`."""
    pool_rows_back(chip, low, high, gradient, pooled, g_x, np.zeros(pooled.n + 1, g_x.dtype))


_convolve_parallel = parallel_for(convolve, False)
_convolve_back_parallel = parallel_for(convolve_back, True)
_pool_parallel = parallel_for(pool, False)
_pool_back_parallel = parallel_for(pool_back, False)


@jit
def convolve_blocks(team, chips, blocks, *rest):
    return _convolve_parallel(team, chips, blocks, rest)


@jit
def convolve_back_blocks(team, chips, blocks, *rest):
    return _convolve_back_parallel(team, chips, blocks, rest)


@jit
def pool_blocks(team, chips, blocks, *rest):
    return _pool_parallel(team, chips, blocks, rest)


@jit
def pool_back_blocks(team, chips, blocks, *rest):
    return _pool_back_parallel(team, chips, blocks, rest)
