"""Eight dies side by side: a neuron's numbers on all of them are one vector, and so are the weights of a synapse.

A place is where such a vector begins; a synapse is one number of ``places`` and eight of ``values``.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .dot import BYTES
from .jit import jit, njit_no_nrt
from .rows import add_1

DIES = 8
ROWS = 16  # of a matrix, at most
AHEAD = 2  # sources whose memory is asked for before it is their turn


def _data(context, builder, signature, arguments):
    """Where an array's numbers begin, by its place among the arguments."""
    return lambda i: context.make_array(signature.args[i])(context, builder, arguments[i]).data


@njit_no_nrt
def _negative(values, k):
    """On how many dies a synapse is negative."""
    count = 0
    for r in range(DIES):
        count += values[r, k] < 0
    return count


@jit
def count_synapses(values, signed):
    """How many synapses :func:`fill_lists` makes of those with these values, (8, k)."""
    count = values.shape[1]
    if signed:
        for k in range(values.shape[1]):
            count += 0 < _negative(values, k) < DIES
    return count


@njit_no_nrt
def _put(out, at, values, k, sign):
    """The sizes of a synapse on the dies where its sign is this, 0 on others; its values if it is 0."""
    zero = values.dtype.type(0)
    for r in range(DIES):
        value = values[r, k]
        size = -value if sign < 0 else value
        out[at * DIES + r] = zero if sign != 0 and (value < 0) != (sign < 0) else size


@jit
def fill_lists(lists, values, order, signed, at, starts, places, out):
    """Write the synapses of one weight from number ``at`` on, and where those of each source begin.

    ``lists`` are those of a pattern, values (8, k). What arrives for target i is at ``order[i]``. With ``signed``, the
    size of a negative weight arrives in the second half; where dies differ in sign, the synapse is there twice, and one
    of both is 0 on every die.
    """
    sources, width = len(starts) - 1, len(order)
    half = width // 2
    for j in range(sources):
        starts[j] = at
        for k in range(lists[j], lists[j + 1]):
            target = lists[sources + 1 + k]
            negative = _negative(values, k) if signed else 0
            if negative < DIES:
                places[at] = order[target] * DIES
                _put(out, at, values, k, 1 if signed else 0)
                at += 1
            if negative > 0:
                places[at] = order[half + target] * DIES
                _put(out, at, values, k, -1)
                at += 1
    starts[sources] = at


def _send(combine):
    """An intrinsic that goes through synapses ``begin`` to ``end``: at their places, out = combine(builder, out, value,
    ``of`` [eight numbers at ``at``]). It asks for the memory of as many synapses from ``later`` on."""

    @intrinsic
    def send(typingctx, out, places, values, begin, end, later, of, at):
        def generate(context, builder, signature, arguments):
            def vector_at(start, index):
                return builder.bitcast(builder.gep(start, [index]), kind.as_pointer())

            data = _data(context, builder, signature, arguments)
            begin, end, later = arguments[3:6]
            number, one = context.get_data_type(signature.args[0].dtype), begin.type(1)
            kind, sums, where, weights = ir.VectorType(number, DIES), data(0), data(1), data(2)
            word, byte = ir.IntType(32), ir.IntType(8).as_pointer()
            asks = builder.module.declare_intrinsic(
                "llvm.prefetch.p0", fnty=ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            )
            own = builder.load(vector_at(data(6), arguments[7]), align=4)
            ahead = builder.sub(later, begin)
            with cgutils.for_range_slice(builder, begin, end, one) as (k, _):
                next_spot = vector_at(weights, builder.mul(builder.add(k, ahead), k.type(DIES)))
                builder.call(asks, [builder.bitcast(next_spot, byte), word(0), word(3), word(1)])
                place = builder.sext(builder.load(builder.gep(where, [k])), k.type)
                spot, weight = vector_at(sums, place), vector_at(weights, builder.mul(k, k.type(DIES)))
                before = builder.load(spot, align=4)
                builder.store(combine(builder, before, builder.load(weight, align=4), own), spot, align=4)
            return context.get_dummy_value()

        return types.void(out, places, values, types.intp, types.intp, types.intp, of, types.intp), generate

    return send


def _where(builder, before, weight, spikes):
    nothing = ir.Constant(spikes.type, None)
    chosen = builder.fcmp_unordered("!=", spikes, nothing)
    return builder.fadd(before, builder.select(chosen, weight, nothing))


def _times(builder, before, weight, factors):
    bits = "f32" if isinstance(weight.type.element, ir.FloatType) else "f64"
    kind = weight.type
    fused = builder.module.declare_intrinsic(
        f"llvm.fmuladd.v{DIES}{bits}", fnty=ir.FunctionType(kind, [kind, kind, kind])
    )
    return builder.call(fused, [factors, weight, before])


send_where = _send(_where)
"""out += the synapses' weights on the dies where ``of`` is not 0."""
send_times = _send(_times)
"""out += ``of`` times the synapses' weights, rounded once where the processor can."""


@njit_no_nrt
def send_all(out, lists, sources, begin, end, of, first, binary):
    """out += what arrives by lists from ``sources[begin:end]``; the eight numbers of source j begin at
    ``of[first + 8 j]``."""
    starts, places, values = lists
    for m in range(begin, end):
        j, later = sources[m], starts[sources[min(m + AHEAD, end - 1)]]
        low, high, at = starts[j], starts[j + 1], first + j * DIES
        if binary:
            send_where(out, places, values, low, high, later, of, at)
        else:
            send_times(out, places, values, low, high, later, of, at)


@intrinsic
def list_any(typingctx, spikes, n, places):
    """List which of n neurons have a spike on any die; return how many. There is room for n + 1."""

    def generate(context, builder, signature, arguments):
        data, n = _data(context, builder, signature, arguments), arguments[1]
        source, target, number = data(0), data(2), ir.IntType(32)
        kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), DIES)
        count = cgutils.alloca_once_value(builder, n.type(0))
        with cgutils.for_range(builder, n) as loop:
            spot = builder.gep(builder.bitcast(source, kind.as_pointer()), [loop.index])
            nonzero = builder.fcmp_unordered("!=", builder.load(spot, align=4), ir.Constant(kind, None))
            found = builder.icmp_unsigned("!=", builder.bitcast(nonzero, ir.IntType(DIES)), ir.IntType(DIES)(0))
            before = builder.load(count)
            builder.store(builder.trunc(loop.index, number), builder.gep(target, [before]))
            builder.store(builder.add(before, builder.zext(found, before.type)), count)
        return builder.load(count)

    return types.intp(spikes, types.intp, places), generate


@njit_no_nrt
def list_pairs(pairs, sources, begin, end, of):
    """List the places of what is not 0 in ``of``, among the eight numbers of each of ``sources[begin:end]``; return how
    many. Free of branches: there is room for one more."""
    count = 0
    for m in range(begin, end):
        for at in range(sources[m] * DIES, sources[m] * DIES + DIES):
            pairs[count] = at
            count += of[at] != 0
    return count


@intrinsic
def add_pairs(typingctx, sums, rows, pairs, count, of, first):
    """For the first ``count`` of ``pairs``, place p of source and die: sums[(p + first) mod len] += of[p] · rows[p], in
    rows of 16 numbers, rounded once where the processor can. ``sums`` has as many as a power of 2."""

    def generate(context, builder, signature, arguments):
        data = _data(context, builder, signature, arguments)
        number, count, first = context.get_data_type(signature.args[0].dtype), arguments[3], arguments[5]
        kind, bits = ir.VectorType(number, ROWS), "f32" if isinstance(number, ir.FloatType) else "f64"
        fused = builder.module.declare_intrinsic(
            f"llvm.fmuladd.v{ROWS}{bits}", fnty=ir.FunctionType(kind, [kind, kind, kind])
        )
        nothing, same = ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), ROWS), [0] * ROWS)
        sums, rows, pairs, of = data(0), data(1), data(2), data(4)
        last = builder.sub(
            builder.udiv(
                context.make_array(signature.args[0])(context, builder, arguments[0]).nitems, count.type(ROWS)
            ),
            count.type(1),
        )

        def row_at(start, index):
            return builder.bitcast(builder.gep(start, [builder.mul(index, count.type(ROWS))]), kind.as_pointer())

        with cgutils.for_range(builder, count) as loop:
            p = builder.sext(builder.load(builder.gep(pairs, [loop.index])), count.type)
            factor = builder.insert_element(nothing, builder.load(builder.gep(of, [p])), ir.IntType(32)(0))
            own = builder.shuffle_vector(factor, nothing, same)
            spot, row = row_at(sums, builder.and_(builder.add(p, first), last)), row_at(rows, p)
            before, weights = (builder.load(each, align=4) for each in (spot, row))
            builder.store(builder.call(fused, [own, weights, before]), spot, align=4)
        return context.get_dummy_value()

    return types.void(sums, rows, pairs, types.intp, of, types.intp), generate


@njit_no_nrt
def fold(sums, width):
    """The partial sums of dot products, (32 or 16, width) in one row, added up in the order of :func:`.dot.dots`; the
    first ``width`` numbers are the result."""
    quarter = BYTES // sums.itemsize // 4
    size = quarter * width
    for half in range(0, 4 * size, 2 * size):
        add_1(sums[half : half + size], sums[half + size : half + 2 * size])
    add_1(sums[:size], sums[2 * size : 3 * size])
    while size > width:
        size //= 2
        add_1(sums[:size], sums[size : 2 * size])
