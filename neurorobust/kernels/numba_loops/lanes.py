"""Eight dies side by side: a neuron's numbers on all of them are one vector, and so are the weights of a synapse.

A place is where such a vector begins. The synapses of a source are whole chunks: four numbers of ``places`` and four
vectors of ``values``; what fills up the last chunk has weight 0 and places that nobody reads. All chunks of a step are
listed before the first is sent, so the processor need not guess where a source's synapses end, and asks for the memory
of those to come.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .dot import BYTES
from .jit import jit, njit_no_nrt
from .rows import add_1

DIES, CHUNK = 8, 4
ROWS = 16  # of a matrix, at most
AHEAD = 24  # chunks whose memory is asked for before they are sent
LISTED = 16  # chunks of a source that are listed at a time
LINE = 64  # bytes


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
def count_chunks(lists, sources, values, signed):
    """How many chunks :func:`fill_chunks` makes."""
    total = 0
    for j in range(sources):
        count = lists[j + 1] - lists[j]
        if signed:
            for k in range(lists[j], lists[j + 1]):
                count += 0 < _negative(values, k) < DIES
        total += -(-count // CHUNK)
    return total


@njit_no_nrt
def _put(out, at, values, k, sign):
    """The sizes of a synapse on the dies where its sign is this, 0 on others; of any sign if it is 0."""
    zero = values.dtype.type(0)
    for r in range(DIES):
        value = values[r, k]
        out[at * DIES + r] = value if sign == 0 else max(sign * value, zero)


@jit
def fill_chunks(lists, values, order, signed, chunk, starts, places, out):
    """Write the synapses of one weight from ``chunk`` on, and where the chunks of each source begin.

    ``lists`` are those of a pattern, values (8, k). What arrives for target i is at ``order[i]``. With ``signed``, the
    size of a negative weight arrives in the second half; where dies differ in sign, the synapse is there twice, and one
    of both is 0 on every die.
    """
    sources, width = len(starts) - 1, len(order)
    half = width // 2
    at = chunk * CHUNK
    for j in range(sources):
        starts[j] = at // CHUNK
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
        while at % CHUNK:
            places[at] = (width + at % CHUNK) * DIES
            out[at * DIES : at * DIES + DIES] = 0
            at += 1
    starts[sources] = at // CHUNK


@intrinsic
def send(typingctx, out, places, values, chunks, at, of, count):
    """out += ``of`` times the weights at the places of the synapses of the first ``count`` of ``chunks``, rounded once
    where the processor can; the eight numbers ``of`` that belong to a chunk begin at ``at``."""

    def generate(context, builder, signature, arguments):
        data = _data(context, builder, signature, arguments)
        sums, where, weights, listed, begins, factors = map(data, range(6))
        number, count = context.get_data_type(signature.args[0].dtype), arguments[6]
        size, bits = (4, "f32") if isinstance(number, ir.FloatType) else (8, "f64")
        kind, byte, word = ir.VectorType(number, DIES), ir.IntType(8), ir.IntType(32)
        asks = builder.module.declare_intrinsic(
            "llvm.prefetch.p0", fnty=ir.FunctionType(ir.VoidType(), [byte.as_pointer(), word, word, word])
        )
        fused = builder.module.declare_intrinsic(
            f"llvm.fmuladd.v{DIES}{bits}", fnty=ir.FunctionType(kind, [kind, kind, kind])
        )

        def vector_at(start, index):
            return builder.bitcast(builder.gep(start, [index]), kind.as_pointer())

        def number_at(start, index):
            return builder.sext(builder.load(builder.gep(start, [index])), count.type)

        with cgutils.for_range(builder, count) as loop:
            chunk, next_chunk = (
                builder.mul(number_at(listed, builder.add(loop.index, count.type(k))), count.type(CHUNK))
                for k in (0, AHEAD)
            )
            for k in range(0, CHUNK * DIES * size, LINE):
                later = builder.add(builder.mul(next_chunk, count.type(DIES)), count.type(k // size))
                spot = builder.bitcast(builder.gep(weights, [later]), byte.as_pointer())
                builder.call(asks, [spot, word(0), word(3), word(1)])
            own = builder.load(vector_at(factors, number_at(begins, loop.index)), align=4)
            for k in range(CHUNK):
                synapse = builder.add(chunk, count.type(k))
                spot = vector_at(sums, number_at(where, synapse))
                weight = builder.load(vector_at(weights, builder.mul(synapse, count.type(DIES))), align=4)
                builder.store(builder.call(fused, [own, weight, builder.load(spot, align=4)]), spot, align=4)
        return context.get_dummy_value()

    return types.void(out, places, values, chunks, at, of, types.intp), generate


@intrinsic
def _count_from(typingctx, out, at, first, step):
    """out[at + k] = first + step k for k = 0 … 15."""

    def generate(context, builder, signature, arguments):
        target = _data(context, builder, signature, arguments)(0)
        number, kind = ir.IntType(32), ir.VectorType(ir.IntType(32), LISTED)
        nothing, same = ir.Constant(kind, ir.Undefined), ir.Constant(kind, [0] * LISTED)

        def spread(value):
            return builder.shuffle_vector(
                builder.insert_element(nothing, builder.trunc(value, number), number(0)), nothing, same
            )

        steps = builder.mul(spread(arguments[3]), ir.Constant(kind, list(range(LISTED))))
        spot = builder.bitcast(builder.gep(target, [arguments[1]]), kind.as_pointer())
        builder.store(builder.add(spread(arguments[2]), steps), spot, align=4)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, types.intp), generate


@njit_no_nrt
def list_chunks(room, starts, sources, begin, end, first, step):
    """List the chunks of ``sources[begin:end]``, and that the numbers of source j begin at ``first + step j``; return
    how many there are. Source j has the chunks from ``starts[j]`` to ``starts[j + 1]``."""
    chunks, at = room
    count = 0
    for m in range(begin, end):
        j = sources[m]
        low, high = starts[j], starts[j + 1]
        done = 0
        while done < high - low:
            _count_from(chunks, count + done, low + done, 1)
            _count_from(at, count + done, first + step * j, 0)
            done += LISTED
        count += high - low
    return count


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
    """List the places in ``of`` that are not 0, of the eight numbers of each of ``sources[begin:end]``; return how many.
    Free of branches: there is room for one more."""
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
    """The partial sums of dot products, (32 or 16, width) in one row, added up in the order of :func:`.dot.dots`; the first
    ``width`` numbers are the result."""
    quarter = BYTES // sums.itemsize // 4
    size = quarter * width
    for half in range(0, 4 * size, 2 * size):
        add_1(sums[half : half + size], sums[half + size : half + 2 * size])
    add_1(sums[:size], sums[2 * size : 3 * size])
    while size > width:
        size //= 2
        add_1(sums[:size], sums[size : 2 * size])
