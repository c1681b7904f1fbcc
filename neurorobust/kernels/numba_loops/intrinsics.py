"""Instructions that numba has no function for: prefetch, compress, sums in registers, and blocks on several threads."""

from __future__ import annotations

from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the memory of ``array[index]`` (one dimension, contiguous), which will be read soon."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        data = context.make_array(kind)(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        asks = builder.module.declare_intrinsic(
            "llvm.prefetch.p0", fnty=ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        )
        builder.call(asks, [place, number(0), number(3), number(1)])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


LANES = 16
COMPRESSES = bool(llvm.get_host_cpu_features().get("avx512f"))
"""Whether this processor moves the chosen numbers of a vector to its front in one instruction."""


@intrinsic
def list_set(typingctx, values, start, places, count):
    """Write the positions of the numbers in values[start : start + 16] that are not 0 to places[count:]; return the new
    count. What follows them in places[count : count + 16] is overwritten with anything."""

    def generate(context, builder, signature, arguments):
        kind, target = signature.args[0], signature.args[2]
        number, lanes = ir.IntType(32), ir.VectorType(ir.IntType(32), LANES)
        source = context.make_array(kind)(context, builder, arguments[0]).data
        wide = ir.VectorType(context.get_data_type(kind.dtype), LANES)
        loaded = builder.load(builder.bitcast(builder.gep(source, [arguments[1]]), wide.as_pointer()), align=1)
        zero = ir.Constant(wide, None)
        real = isinstance(kind.dtype, types.Float)
        chosen = builder.fcmp_unordered("!=", loaded, zero) if real else builder.icmp_unsigned("!=", loaded, zero)
        base = builder.insert_element(ir.Constant(lanes, ir.Undefined), builder.trunc(arguments[1], number), number(0))
        repeated = builder.shuffle_vector(base, ir.Constant(lanes, ir.Undefined), ir.Constant(lanes, [0] * LANES))
        where = builder.add(repeated, ir.Constant(lanes, list(range(LANES))))
        compress = builder.module.declare_intrinsic(
            "llvm.experimental.vector.compress.v16i32", fnty=ir.FunctionType(lanes, [lanes, chosen.type, lanes])
        )
        front = builder.call(compress, [where, chosen, ir.Constant(lanes, ir.Undefined)])
        out = context.make_array(target)(context, builder, arguments[2]).data
        builder.store(front, builder.bitcast(builder.gep(out, [arguments[3]]), lanes.as_pointer()), align=4)
        bits = builder.bitcast(chosen, ir.IntType(LANES))
        return builder.add(arguments[3], builder.zext(builder.ctpop(bits), arguments[3].type))

    return types.intp(values, types.intp, places, types.intp), generate


def _add_block(vectors: int):
    """:func:`add_block` for so many vectors of 16 numbers, whose sums stay in registers."""

    @intrinsic
    def add_block(typingctx, out, base, numbers, at, active, begin, count, start):
        """out = base + some rows of numbers[at:], each as long as out: the ``count`` whose numbers are in ``active``
        from ``begin`` on. Only what is in columns from ``start`` on, as far as the vectors go."""

        def generate(context, builder, signature, arguments):
            def array(i):
                return context.make_array(signature.args[i])(context, builder, arguments[i])

            def vectors_at(i, offset):
                first = builder.gep(array(i).data, [builder.add(offset, start)])
                wide = builder.bitcast(first, kind.as_pointer())
                return [builder.gep(wide, [context.get_constant(types.intp, j)]) for j in range(vectors)]

            kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
            at, _, begin, count, start = arguments[3:]
            width, zero = builder.extract_value(array(0).shape, 0), context.get_constant(types.intp, 0)
            sums = [cgutils.alloca_once_value(builder, builder.load(spot, align=4)) for spot in vectors_at(1, zero)]
            with cgutils.for_range(builder, count) as loop:
                number = builder.load(builder.gep(array(4).data, [builder.add(begin, loop.index)]))
                row = builder.add(at, builder.mul(builder.sext(number, width.type), width))
                for one, spot in zip(sums, vectors_at(2, row)):
                    builder.store(builder.fadd(builder.load(one), builder.load(spot, align=4)), one)
            for one, spot in zip(sums, vectors_at(0, zero)):
                builder.store(builder.load(one), spot, align=4)
            return context.get_dummy_value()

        return types.void(out, base, numbers, types.intp, active, types.intp, types.intp, types.intp), generate

    return add_block


WIDE = 16 if COMPRESSES else 4
"""How many vectors of 16 numbers in float32 a processor's registers hold, and leave room for others."""
add_block_wide, add_block_4, add_block_1 = _add_block(WIDE), _add_block(4), _add_block(1)


def _signed_block(vectors: int):
    """:func:`signed_block` for so many vectors of 16 numbers, whose sums stay in registers."""

    @intrinsic
    def signed_block(typingctx, out, rows, factors, start):
        """out[r] += Σ_k factors[r, k] · max(rows[k], 0) + factors[r, K + k] · max(−rows[k], 0) for r = 0 … 3; only in
        columns from ``start`` on, as far as the vectors go. Shapes: out (4, n), rows (K, n), factors (4, 2 K)."""

        def generate(context, builder, signature, arguments):
            sums_of, table, scales = (
                context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args[:3], arguments)
            )
            start = arguments[3]
            number = context.get_data_type(signature.args[0].dtype)
            kind, lanes = ir.VectorType(number, LANES), ir.VectorType(ir.IntType(32), LANES)
            width, depth = builder.extract_value(table.shape, 1), builder.extract_value(table.shape, 0)
            bits = "f32" if isinstance(number, ir.FloatType) else "f64"
            fused = builder.module.declare_intrinsic(
                f"llvm.fmuladd.v{LANES}{bits}", fnty=ir.FunctionType(kind, [kind, kind, kind])
            )
            size_of = builder.module.declare_intrinsic(f"llvm.fabs.v{LANES}{bits}", fnty=ir.FunctionType(kind, [kind]))

            def spots(data, offset):
                wide = builder.bitcast(builder.gep(data, [builder.add(offset, start)]), kind.as_pointer())
                return [builder.gep(wide, [context.get_constant(types.intp, j)]) for j in range(vectors)]

            def times(value, r):
                return builder.mul(value, context.get_constant(types.intp, r))

            def spread(r, place):
                factor = builder.load(
                    builder.gep(scales.data, [builder.add(times(builder.add(depth, depth), r), place)])
                )
                first = builder.insert_element(ir.Constant(kind, ir.Undefined), factor, ir.IntType(32)(0))
                return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(lanes, [0] * LANES))

            places = [spots(sums_of.data, times(width, r)) for r in range(4)]
            sums = [[cgutils.alloca_once_value(builder, builder.load(p, align=4)) for p in row] for row in places]
            with cgutils.for_range(builder, depth) as loop:
                loaded = [builder.load(p, align=4) for p in spots(table.data, builder.mul(loop.index, width))]
                negative = [builder.fcmp_ordered("<", row, ir.Constant(kind, None)) for row in loaded]
                sizes = [builder.call(size_of, [row]) for row in loaded]
                for r in range(4):
                    plus, minus = spread(r, loop.index), spread(r, builder.add(loop.index, depth))
                    for total, size, is_negative in zip(sums[r], sizes, negative):
                        factor = builder.select(is_negative, minus, plus)  # a weight has one sign: one product
                        builder.store(builder.call(fused, [factor, size, builder.load(total)]), total)
            for row, totals in zip(places, sums):
                for p, total in zip(row, totals):
                    builder.store(builder.load(total), p, align=4)
            return context.get_dummy_value()

        return types.void(out, rows, factors, types.intp), generate

    return signed_block


TILE = 4 if COMPRESSES else 1
"""How many vectors of 16 numbers for four rows a processor's registers hold, and leave room for others."""
signed_block_wide, signed_block_1 = _signed_block(TILE), _signed_block(1)


def _fused(builder, kind):
    """a b + c of vectors of this kind, rounded once where the processor can."""
    bits = "f32" if isinstance(kind.element, ir.FloatType) else "f64"
    fused = builder.module.declare_intrinsic(
        f"llvm.fmuladd.v{LANES}{bits}", fnty=ir.FunctionType(kind, [kind, kind, kind])
    )
    return lambda a, b, c: builder.call(fused, [a, b, c])


def _shuffle(builder, a, b, order):
    """The lanes of a, then b, in this order."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))


def _product_block(vectors: int):
    """:func:`product_block` for so many vectors of 16 numbers, whose sums stay in registers."""

    @intrinsic
    def product_block(typingctx, out, rows, factors, start):
        """out[r] += Σ_k factors[r, k] · rows[k] for r = 0 … 3; only in columns from ``start`` on, as far as the vectors
        go. Shapes: out (4, n), rows (K, n), factors (4, K)."""

        def generate(context, builder, signature, arguments):
            sums_of, table, scales = (
                context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args[:3], arguments)
            )
            start = arguments[3]
            kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
            width, depth = builder.extract_value(table.shape, 1), builder.extract_value(table.shape, 0)
            fused, nothing = _fused(builder, kind), ir.Constant(kind, ir.Undefined)

            def number(i):
                return context.get_constant(types.intp, i)

            def spots(data, offset):
                wide = builder.bitcast(builder.gep(data, [builder.add(offset, start)]), kind.as_pointer())
                return [builder.gep(wide, [number(j)]) for j in range(vectors)]

            def spread(r, k):
                factor = builder.load(builder.gep(scales.data, [builder.add(builder.mul(depth, number(r)), k)]))
                first = builder.insert_element(nothing, factor, ir.IntType(32)(0))
                return _shuffle(builder, first, nothing, [0] * LANES)

            places = [spots(sums_of.data, builder.mul(width, number(r))) for r in range(4)]
            sums = [[cgutils.alloca_once_value(builder, builder.load(p, align=4)) for p in row] for row in places]
            with cgutils.for_range(builder, depth) as loop:
                loaded = [builder.load(p, align=4) for p in spots(table.data, builder.mul(loop.index, width))]
                for r in range(4):
                    factor = spread(r, loop.index)
                    for total, row in zip(sums[r], loaded):
                        builder.store(fused(factor, row, builder.load(total)), total)
            for row, totals in zip(places, sums):
                for p, total in zip(row, totals):
                    builder.store(builder.load(total), p, align=4)
            return context.get_dummy_value()

        return types.void(out, rows, factors, types.intp), generate

    return product_block


product_block_wide, product_block_1 = _product_block(TILE), _product_block(1)


def _dots_block(vectors: int):
    """:func:`dots_block` for so many vectors of 16 numbers, which stay in registers."""

    @intrinsic
    def dots_block(typingctx, out, rows, vector, places, count, start):
        """out[i] += rows[i] · vector for the i that are the first ``count`` of ``places``, four at once; only of
        columns from ``start`` on, as far as the vectors go. Shapes: out (K,), rows (K, n), vector (n,)."""

        def generate(context, builder, signature, arguments):
            sums_of, table, factors, listed = (
                context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args[:4], arguments)
            )
            count, start = arguments[4:]
            number = context.get_data_type(signature.args[0].dtype)
            kind, width = ir.VectorType(number, LANES), builder.extract_value(table.shape, 1)
            fused = _fused(builder, kind)

            def vectors_at(data, offset):
                wide = builder.bitcast(builder.gep(data, [builder.add(offset, start)]), kind.as_pointer())
                spots = [builder.gep(wide, [context.get_constant(types.intp, j)]) for j in range(vectors)]
                return [builder.load(spot, align=4) for spot in spots]

            def dot(place, held):
                total = ir.Constant(kind, None)
                for one, other in zip(vectors_at(table.data, builder.mul(place, width)), held):
                    total = fused(one, other, total)
                return total

            held = vectors_at(factors.data, count.type(0))
            last = builder.sub(count, count.type(1))
            with cgutils.for_range_slice(builder, count.type(0), count, count.type(4)) as (k, _):
                numbers = [builder.add(k, count.type(q)) for q in range(4)]
                exist = [builder.icmp_signed("<=", m, last) for m in numbers]
                spots = [builder.gep(listed.data, [builder.select(e, m, last)]) for e, m in zip(exist, numbers)]
                at = [builder.sext(builder.load(spot), width.type) for spot in spots]
                sums = _sums_of_four(builder, [dot(place, held) for place in at])
                for q, (place, e) in enumerate(zip(at, exist)):  # one after the other: the last can come again, with 0
                    found = builder.select(
                        e, builder.extract_element(sums, ir.IntType(32)(q)), ir.Constant(number, 0.0)
                    )
                    spot = builder.gep(sums_of.data, [place])
                    builder.store(builder.fadd(builder.load(spot), found), spot)
            return context.get_dummy_value()

        return types.void(out, rows, vector, places, types.intp, types.intp), generate

    return dots_block


def _sums_of_four(builder, vectors):
    """The sum of each of four vectors of 16 numbers, in a vector of 4."""

    def halves(a, b, first, second):
        return builder.fadd(_shuffle(builder, a, b, first), _shuffle(builder, a, b, second))

    quarters, n = range(0, LANES, 4), LANES
    low = [q + i for q in quarters for i in (0, n, 1, n + 1)]
    ab, cd = (halves(a, b, low, [i + 2 for i in low]) for a, b in (vectors[:2], vectors[2:]))  # a b a b in each quarter
    low = [q + i for q in quarters for i in (0, 1, n, n + 1)]
    abcd = halves(ab, cd, low, [i + 2 for i in low])
    half = halves(abcd, abcd, list(range(8)), list(range(8, 16)))
    return halves(half, half, list(range(4)), list(range(4, 8)))


dots_block_wide, dots_block_4, dots_block_1 = _dots_block(WIDE), _dots_block(4), _dots_block(1)


@intrinsic
def sum_of_targets(typingctx, out, table, places, values, begin, end):
    """out = Σ values[k] · table[places[k]] over k from ``begin`` to ``end``; table is (n, 16), out (16,)."""

    def generate(context, builder, signature, arguments):
        sums_of, rows, at, scales = (
            context.make_array(kind)(context, builder, value).data for kind, value in zip(signature.args[:4], arguments)
        )
        number = context.get_data_type(signature.args[0].dtype)
        kind, lanes = ir.VectorType(number, LANES), ir.VectorType(ir.IntType(32), LANES)
        nothing = ir.Constant(kind, ir.Undefined)
        bits = "f32" if isinstance(number, ir.FloatType) else "f64"
        fused = builder.module.declare_intrinsic(
            f"llvm.fmuladd.v{LANES}{bits}", fnty=ir.FunctionType(kind, [kind, kind, kind])
        )
        total = cgutils.alloca_once_value(builder, ir.Constant(kind, None))
        wide = builder.bitcast(rows, kind.as_pointer())
        with cgutils.for_range_slice(builder, *arguments[4:], context.get_constant(types.intp, 1)) as (k, _):
            row = builder.load(builder.gep(wide, [builder.load(builder.gep(at, [k]))]), align=4)
            first = builder.insert_element(nothing, builder.load(builder.gep(scales, [k])), ir.IntType(32)(0))
            scale = builder.shuffle_vector(first, nothing, ir.Constant(lanes, [0] * LANES))
            builder.store(builder.call(fused, [scale, row, builder.load(total)]), total)
        builder.store(builder.load(total), builder.bitcast(sums_of, kind.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(out, table, places, values, types.intp, types.intp), generate


class _Spots(ir.instructions.Instruction):
    """The addresses of several numbers of an array: ``getelementptr`` with a vector, which llvmlite does not write."""

    def __init__(self, builder, data, places):
        kind = ir.VectorType(data.type, places.type.count)
        super().__init__(builder.block, kind, "getelementptr", [data, places])
        builder.block.instructions.append(self)
        builder.position_at_end(builder.block)

    def descr(self, buf):
        data, places = ((value.type, value.get_reference()) for value in self.operands)
        buf.append(f"getelementptr {data[0].pointee}, {data[0]} {data[1]}, {places[0]} {places[1]}\n")


@intrinsic
def add_targets(typingctx, out, numbers, places, begin, end):
    """out[k] += numbers[places[k]] over k from ``begin`` to ``end``, 16 at a time."""

    def generate(context, builder, signature, arguments):
        sums_of, source, at = (
            context.make_array(kind)(context, builder, value).data for kind, value in zip(signature.args[:3], arguments)
        )
        begin, end = arguments[3:]
        number, whole = context.get_data_type(signature.args[0].dtype), ir.IntType(32)
        kind, lanes = (ir.VectorType(one, LANES) for one in (number, whole))
        bits, size = ("f32", whole(4)) if isinstance(number, ir.FloatType) else ("f64", whole(8))

        def masked(name, result, arguments):
            kinds = ir.FunctionType(result, [argument.type for argument in arguments])
            return builder.call(builder.module.declare_intrinsic(f"llvm.masked.{name}", fnty=kinds), arguments)

        with cgutils.for_range_slice(builder, begin, end, context.get_constant(types.intp, LANES)) as (k, _):
            left = builder.insert_element(
                ir.Constant(lanes, ir.Undefined), builder.trunc(builder.sub(end, k), whole), whole(0)
            )
            left = builder.shuffle_vector(left, left, ir.Constant(lanes, [0] * LANES))
            within = builder.icmp_signed("<", ir.Constant(lanes, list(range(LANES))), left)
            where = builder.bitcast(builder.gep(at, [k]), lanes.as_pointer())
            chosen = masked(f"load.v{LANES}i32.p0", lanes, [where, whole(4), within, ir.Constant(lanes, None)])
            spots, spot = _Spots(builder, source, chosen), builder.bitcast(builder.gep(sums_of, [k]), kind.as_pointer())
            zero = ir.Constant(kind, None)
            got = masked(f"gather.v{LANES}{bits}.v{LANES}p0", kind, [spots, size, within, zero])
            before = masked(f"load.v{LANES}{bits}.p0", kind, [spot, size, within, zero])
            masked(f"store.v{LANES}{bits}.p0", ir.VoidType(), [builder.fadd(before, got), spot, size, within])
        return context.get_dummy_value()

    return types.void(out, numbers, places, types.intp, types.intp), generate


def _transpose(adds: bool):
    """:func:`interleave_block`, or with ``adds`` :func:`add_transposed`."""

    @intrinsic
    def transpose(typingctx, out, rows, to, start):
        """The transpose of 16 by 16 numbers, the first of which is rows[0, start]."""

        def generate(context, builder, signature, arguments):
            target, source = (
                context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args[:2], arguments)
            )
            kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
            to, start = arguments[2:]

            def spot(array, row, column):
                width = builder.extract_value(array.shape, 1)
                place = builder.add(builder.mul(row, width), column)
                return builder.bitcast(builder.gep(array.data, [place]), kind.as_pointer())

            def number(i):
                return context.get_constant(types.intp, i)

            def zipped(a, b, half):
                order = [half * LANES // 2 + i // 2 + LANES * (i % 2) for i in range(LANES)]
                return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order))

            vectors = [builder.load(spot(source, number(r), start), align=4) for r in range(LANES)]
            for _ in range(4):  # a perfect shuffle of rows, four times
                pairs = zip(vectors[: LANES // 2], vectors[LANES // 2 :])
                vectors = [zipped(a, b, half) for a, b in pairs for half in (0, 1)]
            for i, vector in enumerate(vectors):
                place = spot(target, number(i), to) if adds else spot(target, builder.add(to, number(i)), number(0))
                if adds:
                    vector = builder.fadd(builder.load(place, align=4), vector)
                builder.store(vector, place, align=4)
            return context.get_dummy_value()

        return types.void(out, rows, types.intp, types.intp), generate

    return transpose


interleave_block = _transpose(False)
"""table[to + i, r] = rows[r, start + i] for i, r = 0 … 15; the table has 16 columns."""
add_transposed = _transpose(True)
"""out[r, to + i] += sums[i, start + r] for i, r = 0 … 15."""


def parallel_for(function, numbered: bool):
    """An intrinsic that runs ``function(chip, low, high, …)``, or ``(chip, block, low, high, …)`` if it is numbered,
    for every chip and block of rows, on several threads that do not need the interpreter's lock.

    Its arguments: a :class:`~neurorobust.kernels.runtime.threads.Team`, how many chips there are, the blocks of rows
    (blocks, 2), and a tuple of all other arguments of the function. Each thread has its own part of the blocks,
    the same one in every loop with as many blocks, so its data are still in its cache. A thread that is ready
    helps the others. Returns False if a block failed, which happens where there is no memory.
    """

    @intrinsic
    def run(typingctx, team, chips, blocks, rest):
        own = (types.intp,) * (4 if numbered else 3) + tuple(rest.types)
        called = typingctx.resolve_value_type(function).get_call_type(typingctx, own, {})

        def generate(context, builder, signature, arguments):
            start, thread_number, n_threads, index, counters = cgutils.unpack_tuple(builder, arguments[0])
            taken = context.make_array(signature.args[0].types[4])(context, builder, counters)
            bounds = context.make_array(signature.args[2])(context, builder, arguments[2])
            n_blocks, stretches = (builder.extract_value(array.shape, 0) for array in (bounds, taken))
            values = [n_blocks.type(0), thread_number, index, taken.data, stretches, bounds.data, n_blocks]
            values += [builder.mul(arguments[1], n_blocks), *cgutils.unpack_tuple(builder, arguments[3])]
            packed = cgutils.alloca_once(builder, ir.LiteralStructType([value.type for value in values]))
            for i, value in enumerate(values):
                builder.store(value, cgutils.gep_inbounds(builder, packed, 0, i))
            compiled = function.overloads[called.args]
            context.add_linking_libs([compiled.library])
            body = _body(context, builder.module, packed.type, (compiled.fndesc, called))
            data = builder.bitcast(packed, cgutils.voidptr_t)
            with builder.if_else(cgutils.is_null(builder, start)) as (alone, many):
                with alone:
                    builder.call(body, [data])
                with many:
                    unsigned = ir.IntType(32)
                    kind = ir.FunctionType(ir.VoidType(), [body.type, data.type, unsigned, unsigned])
                    parallel = builder.inttoptr(start, kind.as_pointer())
                    builder.call(parallel, [body, data, builder.trunc(n_threads, unsigned), unsigned(0)])
            failed = builder.load(cgutils.gep_inbounds(builder, packed, 0, 0))
            return cgutils.is_null(builder, failed)

        return types.boolean(team, chips, blocks, rest), generate

    def _body(context, module, kind, called):
        """The body of one thread: take the next block of its own stretch, then of the others', until there is none."""
        function_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
        body = ir.Function(module, function_type, module.get_unique_name("neurorobust_parallel_for"))
        body.linkage = "internal"
        builder = ir.IRBuilder(body.append_basic_block("entry"))
        packed = builder.bitcast(body.args[0], kind)
        thread_number, index, counters, stretches, bounds, n_blocks, total, *rest = (
            builder.load(cgutils.gep_inbounds(builder, packed, 0, i)) for i in range(1, len(kind.pointee.elements))
        )
        one, me = n_blocks.type(1), cgutils.alloca_once_value(builder, index)
        with builder.if_then(cgutils.is_not_null(builder, thread_number)):
            get = builder.inttoptr(thread_number, ir.FunctionType(ir.IntType(32), []).as_pointer())
            builder.store(builder.sext(builder.call(get, []), index.type), me)
        with cgutils.for_range(builder, stretches) as loop:
            stretch = builder.urem(builder.add(builder.load(me), loop.index), stretches)
            begin = builder.udiv(builder.mul(stretch, total), stretches)
            end = builder.udiv(builder.mul(builder.add(stretch, one), total), stretches)
            again, work, done = (builder.append_basic_block(name) for name in ("again", "work", "done"))
            builder.branch(again)
            builder.position_at_end(again)
            place = builder.gep(counters, [stretch])
            number = builder.add(begin, builder.atomic_rmw("add", place, one, "monotonic"))
            builder.cbranch(builder.icmp_signed("<", number, end), work, done)
            builder.position_at_end(work)
            chip, block = builder.sdiv(number, n_blocks), builder.srem(number, n_blocks)
            low_at = builder.mul(block, n_blocks.type(2))
            low, high = (builder.load(builder.gep(bounds, [i])) for i in (low_at, builder.add(low_at, one)))
            which = [chip, block] if numbered else [chip]
            status, _ = context.call_internal_no_propagate(builder, *called, [*which, low, high, *rest])
            with builder.if_then(status.is_error):
                builder.atomic_rmw("add", cgutils.gep_inbounds(builder, packed, 0, 0), one, "monotonic")
            builder.branch(again)
            builder.position_at_end(done)
        builder.ret_void()
        return body

    return run
