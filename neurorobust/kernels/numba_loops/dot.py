"""Dot products of few rows with a vector. The order of sums of long rows is fixed: others can have the same bits.

There are as many partial sums as numbers in 128 bytes. Column j is added to partial sum j mod this number, one after
the other. Then the partial sums are added up in pairs. Rows that are not whole 128 bytes have any order.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import njit_no_nrt

BYTES = 128


def order_of(size: int) -> tuple[int, tuple[int, ...]]:
    """How many partial sums there are for numbers of ``size`` bytes, and the distances d of pairs: partial sum k +=
    partial sum k + d for one d after the other, where both still exist."""
    sums = BYTES // size
    return sums, (sums // 4, sums // 2, *(sums >> k for k in range(3, sums.bit_length())))


def _dot_rows(rows_at_once: int):
    @intrinsic
    def dot_rows(typingctx, out, rows, vector, places, k):
        """out[i] += rows[i] · vector for the i from places[k] on, so many rows at once. Shapes: out (K,), rows (K, n),
        vector (n,)."""

        def generate(context, builder, signature, arguments):
            sums_of, table, factors, listed = (
                context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args[:4], arguments)
            )
            first, width = arguments[4], builder.extract_value(factors.shape, 0)
            number = context.get_data_type(signature.args[0].dtype)
            bits = "f32" if isinstance(number, ir.FloatType) else "f64"
            sums, distances = order_of(4 if bits == "f32" else 8)
            kind = ir.VectorType(number, sums)
            fused = builder.module.declare_intrinsic(
                f"llvm.fmuladd.v{sums}{bits}", fnty=ir.FunctionType(kind, [kind, kind, kind])
            )

            def spot(data, offset):
                return builder.bitcast(builder.gep(data, [offset]), kind.as_pointer())

            listed_at = [builder.gep(listed.data, [builder.add(first, first.type(q))]) for q in range(rows_at_once)]
            targets = [builder.sext(builder.load(at), width.type) for at in listed_at]
            starts = [builder.mul(target, width) for target in targets]
            totals = [cgutils.alloca_once_value(builder, ir.Constant(kind, None)) for _ in targets]

            with cgutils.for_range_slice(builder, width.type(0), width, width.type(sums)) as (begin, _):
                held = builder.load(spot(factors.data, begin), align=4)
                for start, total in zip(starts, totals):
                    one = builder.load(spot(table.data, builder.add(start, begin)), align=4)
                    builder.store(builder.call(fused, [one, held, builder.load(total)]), total)
            for target, total in zip(targets, totals):
                at = builder.gep(sums_of.data, [target])
                builder.store(builder.fadd(builder.load(at), _folded(builder, builder.load(total), distances)), at)
            return context.get_dummy_value()

        return types.void(out, rows, vector, places, types.intp), generate

    return dot_rows


def _folded(builder, vector, distances):
    """The sum of a vector's numbers: number k and number k + d become one, for each distance d."""
    left = list(range(vector.type.count))
    for d in distances:
        known = {k: i for i, k in enumerate(left)}
        left = [k for k in left if not k & d]
        halves = [_chosen(builder, vector, [known[k + e] for k in left]) for e in (0, d)]
        vector = builder.fadd(*halves)
    return builder.extract_element(vector, ir.IntType(32)(0))


def _chosen(builder, vector, places):
    """The numbers of a vector at these places."""
    order = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), order)


_dot_rows_4, _dot_rows_1 = _dot_rows(4), _dot_rows(1)


@njit_no_nrt
def in_lines(n, size):
    """Whether rows of n numbers of ``size`` bytes have the fixed order: they are whole 128 bytes."""
    return n * size % BYTES == 0


@njit_no_nrt
def dots_of_any(out, rows, vector, places, count):
    """:func:`dots` for rows that are not whole lines: the compiler chooses the order."""
    n = vector.shape[0]
    zero = vector.dtype.type(0)
    k = 0
    while k + 4 <= count:
        a, b, c, d = places[k], places[k + 1], places[k + 2], places[k + 3]
        first, second, third, fourth = rows[a], rows[b], rows[c], rows[d]
        sum_a = sum_b = sum_c = sum_d = zero
        for i in range(n):
            sum_a += first[i] * vector[i]
            sum_b += second[i] * vector[i]
            sum_c += third[i] * vector[i]
            sum_d += fourth[i] * vector[i]
        out[a] += sum_a
        out[b] += sum_b
        out[c] += sum_c
        out[d] += sum_d
        k += 4
    while k < count:
        row = rows[places[k]]
        total = zero
        for i in range(n):
            total += row[i] * vector[i]
        out[places[k]] += total
        k += 1


@njit_no_nrt
def dots(out, rows, vector, places, count):
    """out[i] += rows[i] · vector for the i that are the first ``count`` of ``places``."""
    if not in_lines(vector.shape[0], vector.itemsize):
        dots_of_any(out, rows, vector, places, count)
        return
    k = 0
    while k + 4 <= count:
        _dot_rows_4(out, rows, vector, places, k)
        k += 4
    while k < count:
        _dot_rows_1(out, rows, vector, places, k)
        k += 1
