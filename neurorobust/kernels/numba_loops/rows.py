"""Rows of numbers: copied, added up, and listed by what is not 0.

Functions that go through rows are ``njit_no_nrt``: a view of an array counts references to it, and threads that count
the same array wait for each other. Functions that are ``njit_noalias`` are one loop each, over arrays that must not
overlap where one is written.
"""

from __future__ import annotations

import numpy as np

from .intrinsics import (
    COMPRESSES,
    LANES,
    TILE,
    WIDE,
    add_block_1,
    add_block_4,
    add_block_wide,
    dots_block_1,
    dots_block_4,
    dots_block_wide,
    list_set,
    parallel_for,
    prefetch,
    product_block_1,
    product_block_wide,
)
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias

GROUP = 4  # rows of a batch that go back through time together
CHUNK = 32  # steps for which gradients of a matrix are collected
LINE = 16  # numbers in a line of a cache, of 64 bytes, in float32


@jit
def cleared(rows, n, dtype):
    """Zeros (rows, n) that begin with a line of the cache: a vector that lies across two costs two of its loads."""
    memory = np.zeros(rows * n + LINE, dtype)
    start = -memory.ctypes.data % (LINE * 4) // memory.itemsize
    return memory[start : start + rows * n].reshape(rows, n)


@njit_no_nrt
def positions(values, places):
    """List where values are not 0; return how many. Free of branches: spikes cannot be predicted. NaN is not 0."""
    n, count, start = values.shape[0], 0, 0
    zero = values.dtype.type(0)
    if COMPRESSES:
        while start + LANES <= n:
            count = list_set(values, start, places, count)
            start += LANES
    for i in range(start, n):
        places[count] = i
        count += values[i] != zero
    return count


@njit_noalias
def copy(out, row):
    """out = row."""
    for i in range(out.shape[0]):
        out[i] = row[i]


@njit_noalias
def clear(out):
    """out = 0."""
    for i in range(out.shape[0]):
        out[i] = 0


@njit_noalias
def count_set(values):
    """How many values are not 0."""
    zero, count = values.dtype.type(0), np.int32(0)
    for i in range(values.shape[0]):
        count += np.int32(values[i] != zero)
    return count


@njit_noalias
def add_1(out, a):
    """out += a."""
    for i in range(out.shape[0]):
        out[i] += a[i]


@njit_noalias
def add_2(out, a, b):
    """out += a + b."""
    for i in range(out.shape[0]):
        out[i] += a[i] + b[i]


@njit_noalias
def add_4(out, a, b, c, d):
    """out += a + b + c + d."""
    for i in range(out.shape[0]):
        out[i] += (a[i] + b[i]) + (c[i] + d[i])


@njit_noalias
def add_8(out, a, b, c, d, e, f, g, h):
    """out += the sum of eight rows."""
    for i in range(out.shape[0]):
        out[i] += ((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i]))


@njit_noalias
def add_scaled_1(out, a, p):
    """out += p a."""
    for i in range(out.shape[0]):
        out[i] += p * a[i]


@njit_noalias
def add_scaled_4(out, a, b, c, d, p, q, r, s):
    """out += p a + q b + r c + s d."""
    for i in range(out.shape[0]):
        out[i] += (p * a[i] + q * b[i]) + (r * c[i] + s * d[i])


@njit_inline
def sum_rows(out, base, numbers, at, places, begin, count):
    """out = base + the ``count`` rows of numbers[at:] that ``places`` lists from ``begin`` on; out is whole vectors."""
    start, end = 0, out.shape[0]
    while start + WIDE * LANES <= end:
        add_block_wide(out, base, numbers, at, places, begin, count, start)
        start += WIDE * LANES
    while start + 4 * LANES <= end:
        add_block_4(out, base, numbers, at, places, begin, count, start)
        start += 4 * LANES
    while start < end:
        add_block_1(out, base, numbers, at, places, begin, count, start)
        start += LANES


@njit_no_nrt
def add_rows(out, rows, places, count):
    """out += the rows whose numbers are the first ``count`` of ``places``."""
    if out.shape[0] % LANES == 0:
        sum_rows(out, out, rows, 0, places, 0, count)
        return
    k = 0
    while k + 8 <= count:
        a, b, c, d = rows[places[k]], rows[places[k + 1]], rows[places[k + 2]], rows[places[k + 3]]
        e, f, g, h = rows[places[k + 4]], rows[places[k + 5]], rows[places[k + 6]], rows[places[k + 7]]
        add_8(out, a, b, c, d, e, f, g, h)
        k += 8
    if k + 4 <= count:
        add_4(out, rows[places[k]], rows[places[k + 1]], rows[places[k + 2]], rows[places[k + 3]])
        k += 4
    if k + 2 <= count:
        add_2(out, rows[places[k]], rows[places[k + 1]])
        k += 2
    if k < count:
        add_1(out, rows[places[k]])


@njit_no_nrt
def add_weighted(out, rows, values, places, count):
    """out += Σ values[k] · rows[places[k]] over the first ``count`` k."""
    k = 0
    while k + 4 <= count:
        first, second, third, fourth = rows[places[k]], rows[places[k + 1]], rows[places[k + 2]], rows[places[k + 3]]
        add_scaled_4(out, first, second, third, fourth, values[k], values[k + 1], values[k + 2], values[k + 3])
        k += 4
    while k < count:
        add_scaled_1(out, rows[places[k]], values[k])
        k += 1


@njit_no_nrt
def find_events(values, places, found):
    """List where values are not 0, and what they are there; return how many, and whether all are 1."""
    one = values.dtype.type(1)
    count = positions(values, places)
    binary = True
    for k in range(count):
        found[k] = values[places[k]]
        binary &= found[k] == one
    return count, binary


@njit_no_nrt
def events_of_row(values, lists, row, places, found):
    """:func:`find_events` of a row, from the lists of all rows if they are given."""
    if len(lists.starts) == 0:
        return find_events(values, places, found)
    begin, one = lists.starts[row], values.dtype.type(1)
    count, binary = lists.starts[row + 1] - begin, True
    for k in range(count):
        places[k] = lists.places[begin + k]
    if len(lists.values):
        for k in range(count):
            found[k] = lists.values[begin + k]
            binary &= found[k] == one
    return count, binary


@njit_no_nrt
def add_events(out, weight, values, lists, row, spare):
    """out += weightᵀ values, at the price of the values that are not 0."""
    count, binary = events_of_row(values, lists, row, spare.places, spare.values)
    if binary:
        add_rows(out, weight, spare.places, count)
    else:
        add_weighted(out, weight, spare.values, spare.places, count)


@njit_no_nrt
def fetch(row):
    """Ask for the memory of a row."""
    for i in range(0, row.shape[0], LINE):
        prefetch(row, i)


@njit_no_nrt
def dots(out, rows, vector, places, count):
    """out[i] += rows[i] · vector for the i that are the first ``count`` of ``places``."""
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


@njit_noalias
def add_tile(out_a, out_b, out_c, out_d, e, f, g, h, p, q, r, s):
    """Each of four rows += its four numbers times four other rows."""
    for i in range(out_a.shape[0]):
        out_a[i] += (p[0] * e[i] + p[1] * f[i]) + (p[2] * g[i] + p[3] * h[i])
        out_b[i] += (q[0] * e[i] + q[1] * f[i]) + (q[2] * g[i] + q[3] * h[i])
        out_c[i] += (r[0] * e[i] + r[1] * f[i]) + (r[2] * g[i] + r[3] * h[i])
        out_d[i] += (s[0] * e[i] + s[1] * f[i]) + (s[2] * g[i] + s[3] * h[i])


@njit_no_nrt
def products(out, rows, vectors):
    """out[r] += rowsᵀ vectors[r], for four vectors at once. Shapes: out (4, n), rows (K, n), vectors (4, K)."""
    start, n = 0, rows.shape[1]
    if n % LANES != 0:
        products_of_any(out, rows, vectors)
        return
    while start + TILE * LANES <= n:
        product_block_wide(out, rows, vectors, start)
        start += TILE * LANES
    while start < n:
        product_block_1(out, rows, vectors, start)
        start += LANES


@njit_no_nrt
def products_of_any(out, rows, vectors):
    """:func:`products` for rows that are not whole vectors."""
    n = vectors.shape[1]
    p, q, r, s = vectors[0], vectors[1], vectors[2], vectors[3]
    k = 0
    while k + 4 <= n:
        e, f, g, h = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        add_tile(out[0], out[1], out[2], out[3], e, f, g, h, p[k:], q[k:], r[k:], s[k:])
        k += 4
    while k < n:
        add_scaled_1(out[0], rows[k], p[k])
        add_scaled_1(out[1], rows[k], q[k])
        add_scaled_1(out[2], rows[k], r[k])
        add_scaled_1(out[3], rows[k], s[k])
        k += 1


@njit_no_nrt
def dots_of_listed(out, rows, vector, places, count):
    """:func:`dots` for many rows: the vector stays in registers."""
    start, n = 0, vector.shape[0]
    if n % LANES != 0:
        dots(out, rows, vector, places, count)
        return
    while start + WIDE * LANES <= n:
        dots_block_wide(out, rows, vector, places, count, start)
        start += WIDE * LANES
    while start + 4 * LANES <= n:
        dots_block_4(out, rows, vector, places, count, start)
        start += 4 * LANES
    while start < n:
        dots_block_1(out, rows, vector, places, count, start)
        start += LANES


@njit_no_nrt
def sort_collected(collected, steps, space, n, weighted):
    """Sort the events of all m < ``steps`` by place: ``space`` gets the end of each of n places, and the m by place."""
    ends = space.ends
    for j in range(n + 1):
        ends[j] = 0
    for m in range(steps):
        for k in range(collected.counts[m]):
            ends[collected.places[m, k] + 1] += 1
    for j in range(n):
        ends[j + 1] += ends[j]
    for m in range(steps):
        for k in range(collected.counts[m]):
            j = collected.places[m, k]
            space.steps[ends[j]] = m
            if weighted:
                space.values[ends[j]] = collected.values[m, k]
            ends[j] += 1


@njit_no_nrt
def add_collected(matrix, vectors, collected, steps, space, weighted):
    """matrix[j] += Σ value · vectors[m] over all m < ``steps`` that have an event at j: row after row of the matrix, so
    that each is fetched and put back once for all its events."""
    sort_collected(collected, steps, space, matrix.shape[0], weighted)
    begin = 0
    for j in range(matrix.shape[0]):
        count = space.ends[j] - begin
        if weighted:
            add_weighted(matrix[j], vectors, space.values[begin:], space.steps[begin:], count)
        else:
            add_rows(matrix[j], vectors, space.steps[begin:], count)
        begin = space.ends[j]


@jit
def rate(rows, most):
    """The share of numbers that are not 0 in at most ``most`` rows, at even distances but for a shift that grows to one
    distance, so that sequences whose length divides the distance are met at all their steps."""
    stride = max(rows.shape[0] // most, 1)
    count, seen = 0, min(most, rows.shape[0])
    for k in range(seen):
        count += count_set(rows[k * stride + k * stride // seen])
    return count / max(seen * rows.shape[1], 1)


@jit
def list_events(x, starts, places, values):
    """The events of x (rows, n_in): those of a row are from ``starts[row]`` to ``starts[row + 1]``.

    Returns whether all values are 1. ``places`` and ``values`` have room for them and one vector more; with none, only
    ``starts`` is set.
    """
    k, binary = 0, True
    for row in range(x.shape[0]):
        starts[row] = k
        if len(places):
            count, ones = find_events(x[row], places[k:], values[k:])
            binary &= ones
            k += count
        else:
            k += count_set(x[row])
    starts[x.shape[0]] = k
    return binary


@jit
def total(chip, low, high, sums, out):
    """out[chip] = the sum of all blocks' sums[chip], numbers ``low`` to ``high``."""
    copy(out[chip, low:high], sums[chip, 0, low:high])
    for block in range(1, sums.shape[1]):
        add_1(out[chip, low:high], sums[chip, block, low:high])


_total_parallel = parallel_for(total, False)


@jit
def total_blocks(team, chips, blocks, *rest):
    return _total_parallel(team, chips, blocks, rest)
