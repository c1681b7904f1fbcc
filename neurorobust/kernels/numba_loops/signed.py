"""Products with a recurrent matrix whose positive and negative entries take a vector each, backward."""

from __future__ import annotations

from .intrinsics import LANES, TILE, signed_block_1, signed_block_wide
from .jit import njit_no_nrt, njit_noalias


@njit_noalias
def add_signed_4(out_a, out_b, out_c, out_d, row, plus, minus):
    """out[r] += plus[r] max(row, 0) + minus[r] max(−row, 0) for four rows of the batch."""
    zero = row.dtype.type(0)
    for i in range(row.shape[0]):
        high = zero if row[i] < zero else row[i]
        low = high - row[i]
        out_a[i] += plus[0] * high + minus[0] * low
        out_b[i] += plus[1] * high + minus[1] * low
        out_c[i] += plus[2] * high + minus[2] * low
        out_d[i] += plus[3] * high + minus[3] * low


@njit_no_nrt
def signed_products(out, rows, vectors):
    """out[r] += rows₊ᵀ excitation + rows₋ᵀ inhibition, the halves of vectors[r], for four vectors at once; rows₊ and
    rows₋ are the positive entries and the sizes of the negative ones."""
    n, depth, start = out.shape[1], rows.shape[0], 0
    if n % LANES != 0:
        for k in range(depth):
            plus = vectors[0, k], vectors[1, k], vectors[2, k], vectors[3, k]
            minus = vectors[0, depth + k], vectors[1, depth + k], vectors[2, depth + k], vectors[3, depth + k]
            add_signed_4(out[0], out[1], out[2], out[3], rows[k], plus, minus)
        return
    while start + TILE * LANES <= n:
        signed_block_wide(out, rows, vectors, start)
        start += TILE * LANES
    while start < n:
        signed_block_1(out, rows, vectors, start)
        start += LANES


@njit_no_nrt
def signed_dots(out, rows, vector, places, count):
    """out[i] += rows₊[i] · excitation + rows₋[i] · inhibition for the i that are the first ``count`` of ``places``; as
    :func:`signed_products`."""
    n = rows.shape[1]
    plus, minus = vector[:n], vector[n:]
    zero, k = vector.dtype.type(0), 0
    while k + 2 <= count:
        a, b = places[k], places[k + 1]
        first, second = rows[a], rows[b]
        sum_a = sum_b = zero
        for i in range(n):
            sum_a += first[i] * (-minus[i] if first[i] < zero else plus[i])
            sum_b += second[i] * (-minus[i] if second[i] < zero else plus[i])
        out[a] += sum_a
        out[b] += sum_b
        k += 2
    if k < count:
        row = rows[places[k]]
        total = zero
        for i in range(n):
            total += row[i] * (-minus[i] if row[i] < zero else plus[i])
        out[places[k]] += total
