"""The time loops as numba compiles them: plain functions of arrays, each for a few rows of a batch on one thread.

Arrays are C-contiguous: current, spikes and traces are (chips, batch, steps, n), so that memory is read in order.
An array that is the same for all chips has a chip axis of length 1. A recurrent matrix is (chips, n, n).
The coefficients are (chips, 9, n), by row alpha, gain, syn, bound, scale, jump, target, rho, adaptation::

    b[t] = rho b[t−1] + (1 − rho) z[t−1]
    s[t] = syn s[t−1] + current[t] + recurrent z[t−1]
    x[t] = alpha x′ + gain s[t] − z[t−1] (jump + adaptation b[t])          x′ = x[t−1], or target after a spike
    z[t] = 1 if x[t] > bound + adaptation b[t] and the neuron has rested

x is the membrane above v_leak. Rules are whole numbers: surrogate (0 triangle, 1 fast sigmoid, 2 arctan), to_value,
detach, has_syn, adaptive, scaled.

Forward a row goes by itself, and a spike adds a row of the matrix; where more than half of the neurons spike, the rows
of the others are taken from the sum of all, if none stands out. Backward rows go in groups of four that share what they
read of it: few neurons with a slope are worked out one by one, many as a small matrix product. The gradient of a matrix
is added up for some steps at once, one of its rows after the other, so that each is fetched and put back once for all
its spikes in them.

Whatever goes through rows is ``lean``: a view counts who sees its array, and threads that count the same one wait for
each other. The functions that are ``apart`` are one loop each, over arrays that must not overlap where one is written.
Lists of events are places, values there and how many: ``told`` of the input, ``fired`` of the layer's own spikes, all
of them 1. ``lists`` are what :class:`~.listed.Heard` knows of an input that comes again and again: the events of all
its rows, batch by steps; they are empty where events are to be looked for.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import (
    COMPRESSES,
    LANES,
    WIDE,
    add_block_1,
    add_block_4,
    add_block_wide,
    apart,
    jit,
    lean,
    list_set,
    part,
    prefetch,
    shared,
)

GROUP = 4
CHUNK = 32  # steps for which gradients of a matrix are collected
LINE = 16  # numbers in a line of a cache, of 64 bytes, in float32
COEFFICIENTS = 9
OUTLIER = 64  # times the mean size of a neuron's other recurrent weights: if one is larger, no sum is taken apart
EDITION = 4  # one more with every change of jit.py: compiled code is kept while this file stays as it is


@jit
def cleared(rows, n, dtype):
    """Zeros (rows, n) that begin with a line of the cache: a vector that lies across two costs two of its loads."""
    memory = np.zeros(rows * n + LINE, dtype)
    start = -memory.ctypes.data % (LINE * 4) // memory.itemsize
    return memory[start : start + rows * n].reshape(rows, n)


@lean
def positions(values, active):
    """Where values are not 0; returns how many. Free of branches: spikes cannot be predicted. NaN is not 0."""
    n, count, start = values.shape[0], 0, 0
    zero = values.dtype.type(0)
    if COMPRESSES:
        while start + LANES <= n:
            count = list_set(values, start, active, count)
            start += LANES
    for i in range(start, n):
        active[count] = i
        count += values[i] != zero
    return count


@apart
def copy(out, row):
    """out = row."""
    for i in range(out.shape[0]):
        out[i] = row[i]


@apart
def clear(out):
    """out = 0."""
    for i in range(out.shape[0]):
        out[i] = 0


@apart
def count_set(values):
    """How many values are not 0."""
    zero, count = values.dtype.type(0), np.int32(0)
    for i in range(values.shape[0]):
        count += np.int32(values[i] != zero)
    return count


@apart
def add_1(out, a):
    """out += a."""
    for i in range(out.shape[0]):
        out[i] += a[i]


@apart
def add_2(out, a, b):
    """out += a + b."""
    for i in range(out.shape[0]):
        out[i] += a[i] + b[i]


@apart
def add_4(out, a, b, c, d):
    """out += a + b + c + d."""
    for i in range(out.shape[0]):
        out[i] += (a[i] + b[i]) + (c[i] + d[i])


@apart
def add_8(out, a, b, c, d, e, f, g, h):
    """out += the sum of eight rows."""
    for i in range(out.shape[0]):
        out[i] += ((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i]))


@apart
def add_scaled_1(out, a, p):
    """out += p a."""
    for i in range(out.shape[0]):
        out[i] += p * a[i]


@apart
def add_scaled_4(out, a, b, c, d, p, q, r, s):
    """out += p a + q b + r c + s d."""
    for i in range(out.shape[0]):
        out[i] += (p * a[i] + q * b[i]) + (r * c[i] + s * d[i])


@part
def sum_rows(out, base, numbers, at, active, begin, count):
    """out = base + the ``count`` rows of numbers[at:] that ``active`` lists from ``begin`` on; out is whole vectors."""
    start, end = 0, out.shape[0]
    while start + WIDE * LANES <= end:
        add_block_wide(out, base, numbers, at, active, begin, count, start)
        start += WIDE * LANES
    while start + 4 * LANES <= end:
        add_block_4(out, base, numbers, at, active, begin, count, start)
        start += 4 * LANES
    while start < end:
        add_block_1(out, base, numbers, at, active, begin, count, start)
        start += LANES


@lean
def add_rows(out, rows, active, count):
    """out += the rows whose numbers are the first ``count`` of ``active``."""
    if out.shape[0] % LANES == 0:
        sum_rows(out, out, rows, 0, active, 0, count)
        return
    k = 0
    while k + 8 <= count:
        a, b, c, d = rows[active[k]], rows[active[k + 1]], rows[active[k + 2]], rows[active[k + 3]]
        e, f, g, h = rows[active[k + 4]], rows[active[k + 5]], rows[active[k + 6]], rows[active[k + 7]]
        add_8(out, a, b, c, d, e, f, g, h)
        k += 8
    if k + 4 <= count:
        add_4(out, rows[active[k]], rows[active[k + 1]], rows[active[k + 2]], rows[active[k + 3]])
        k += 4
    if k + 2 <= count:
        add_2(out, rows[active[k]], rows[active[k + 1]])
        k += 2
    if k < count:
        add_1(out, rows[active[k]])


@lean
def add_weighted(out, rows, values, active, count):
    """out += Σ values[k] · rows[active[k]] over the first ``count`` k."""
    k = 0
    while k + 4 <= count:
        first, second, third, fourth = rows[active[k]], rows[active[k + 1]], rows[active[k + 2]], rows[active[k + 3]]
        add_scaled_4(out, first, second, third, fourth, values[k], values[k + 1], values[k + 2], values[k + 3])
        k += 4
    while k < count:
        add_scaled_1(out, rows[active[k]], values[k])
        k += 1


@lean
def events(values, active, weights):
    """Where values are not 0, and what they are there; how many, and whether all are 1."""
    one = values.dtype.type(1)
    count = positions(values, active)
    binary = True
    for k in range(count):
        weights[k] = values[active[k]]
        binary &= weights[k] == one
    return count, binary


@lean
def listen(values, lists, row, active, weights):
    """:func:`events` of a row, from the lists of all rows if they are given."""
    starts, places, numbers = lists
    if len(starts) == 0:
        return events(values, active, weights)
    begin, one = starts[row], values.dtype.type(1)
    count, binary = starts[row + 1] - begin, True
    for k in range(count):
        active[k] = places[begin + k]
    if len(numbers):
        for k in range(count):
            weights[k] = numbers[begin + k]
            binary &= weights[k] == one
    return count, binary


@lean
def hear(out, rows, told, spare):
    """out += rowsᵀ values, at the price of the values that are not 0; ``told`` is what :func:`listen` takes."""
    active, weights = spare
    count, binary = listen(told[0], told[1], told[2], active, weights)
    if binary:
        add_rows(out, rows, active, count)
    else:
        add_weighted(out, rows, weights, active, count)


@apart
def restart(x, before, target):
    """x = target after a spike."""
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        x[i] = target[i] if before[i] > zero else x[i]


@apart
def filter_drive(s, drive, syn):
    """s = syn s + drive, which becomes the drive."""
    for i in range(s.shape[0]):
        s[i] = syn[i] * s[i] + drive[i]
        drive[i] = s[i]


@apart
def adapt(b, before, rho, adaptation, bound, jump, level, moved):
    """b of this step, and what a neuron has to exceed and loses by a spike at it."""
    one = b.dtype.type(1)
    for i in range(b.shape[0]):
        b[i] = rho[i] * b[i] + (one - rho[i]) * before[i]
        gained = adaptation[i] * b[i]
        level[i] = bound[i] + gained
        moved[i] = jump[i] + gained


@apart
def advance(x, drive, before, after, alpha, gain, level, moved):
    """x and the spikes of this step."""
    for i in range(x.shape[0]):
        x[i] = alpha[i] * x[i] + gain[i] * drive[i] - before[i] * moved[i]
        after[i] = x[i] > level[i]


@apart
def rest(after, silent, refractory):
    """Takes back the spikes of neurons that have not rested."""
    zero = after.dtype.type(0)
    for i in range(after.shape[0]):
        fires = (after[i] > zero) & (silent[i] <= 0)
        silent[i] = refractory[i] if fires else silent[i] - 1
        after[i] = fires


@part
def step(drive, before, after, silent, state, own, refractory, rests, rules):
    """One step of one row of neurons: ``drive`` is what arrives, ``before`` and ``after`` are the spikes of the last
    step and of this one, ``state`` rows x, s, b, and room for two more."""
    x, level, moved = state[0], own[3], own[5]
    if rules[1]:
        restart(x, before, own[6])
    if rules[3]:
        filter_drive(state[1], drive, own[2])
    if rules[4]:
        level, moved = state[3], state[4]
        adapt(state[2], before, own[7], own[8], own[3], own[5], level, moved)
    advance(x, drive, before, after, own[0], own[1], level, moved)
    if rests:
        rest(after, silent, refractory)


@apart
def invert(out, z):
    """out = 1 where z is 0, and 0 where it is 1."""
    one = z.dtype.type(1)
    for i in range(out.shape[0]):
        out[i] = one - z[i]


@apart
def add_difference(out, a, b):
    """out += a − b."""
    for i in range(out.shape[0]):
        out[i] += a[i] - b[i]


@lean
def sum_up(rows, whole, largest):
    """The sum of all rows into ``whole``; whether those of a few may be taken from it: all are finite, and none is so
    much larger than the others that they would drown in it. ``largest`` is room for a row."""
    n = rows.shape[0]
    others, like = rows.dtype.type(n - 1), rows.dtype.type(OUTLIER)
    clear(whole)
    clear(largest)
    for j in range(n):
        add_sizes(whole, largest, rows[j])
    fits = True
    for i in range(n):
        fits &= largest[i] * others <= like * (whole[i] - largest[i])  # false of what is not finite
    clear(whole)
    for j in range(n):
        add_1(whole, rows[j])
    return fits


@apart
def add_sizes(total, largest, row):
    """total += abs(row), and the largest so far."""
    for i in range(row.shape[0]):
        size = abs(row[i])
        total[i] += size
        largest[i] = size if size > largest[i] else largest[i]


@lean
def list_spikes(z, rows, active, rest, known):
    """Where z spikes or, if more than half of it does, where it does not; how many those are, and whether it is so.

    ``rest`` is the sum of all rows, worked out when it is first needed, and room for a row; ``known`` whether it has
    not been (0), may be used (1) or not (2).
    """
    count = positions(z, active)
    if 2 * count <= z.shape[0]:
        return count, False
    if known[0] == 0:
        known[0] = 1 if sum_up(rows, rest[0], rest[1]) else 2
    if known[0] == 2:
        return count, False
    invert(rest[1], z)
    return positions(rest[1], active), True


@lean
def add_spikes(out, rows, listed, active, whole, spare):
    """out += the rows of all spikes, which :func:`list_spikes` has listed; ``whole`` is the sum of all rows."""
    count, silent = listed
    if silent:
        clear(spare)
        add_rows(spare, rows, active, count)
        add_difference(out, whole, spare)
    else:
        add_rows(out, rows, active, count)


@lean
def lif_forward_row(at, current, heard, recurrent, own, refractory, rules, outputs, scratch):
    """A row through time; ``recurrent`` has row = source."""
    rests, hears = at
    spikes, x_trace = outputs
    x, lists, first, weight, bias = heard
    real, at_rest, silent, active, spare, rest, known = scratch
    drive, state = real[0], real[1:]
    keep, has_recurrent = x_trace.shape[0] > 0, recurrent.shape[1] > 0
    for t in range(spikes.shape[0]):
        copy(drive, bias if hears else current[t])
        if hears:
            hear(drive, weight, (x[t], lists, first + t), spare)
        before = spikes[t - 1] if t > 0 else at_rest
        if has_recurrent and t > 0:
            listed = list_spikes(before, recurrent, active, rest, known)
            add_spikes(drive, recurrent, listed, active, rest[0], rest[1])
        step(drive, before, spikes[t], silent, state, own, refractory, rests, rules)
        if keep:
            copy(x_trace[t], state[0])


@jit
def lif_forward(chip, low, high, current, heard, recurrent, coefficients, refractory, rules, outputs):
    """Spikes of rows ``low`` to ``high``, and x where ``outputs`` has room for it.

    What arrives is ``current`` or, where ``heard`` is not empty, worked out on the way from x (chips, batch, steps,
    n_in) and lists of its events, a weight (chips, n_in, n) and a bias (chips, n).
    """
    (x, lists), weight, bias = heard
    spikes, x_trace = outputs
    n, n_in = spikes.shape[3], x.shape[3]
    hears, keep = n_in > 0, x_trace.shape[0] > 0
    own_current, own_x = current[min(chip, len(current) - 1)], x[min(chip, len(x) - 1)]
    own_weight, own_bias = weight[min(chip, len(weight) - 1)], bias[min(chip, len(bias) - 1)]
    own = coefficients[min(chip, len(coefficients) - 1)]
    pauses = refractory[min(chip, len(refractory) - 1)]
    matrix = recurrent[min(chip, len(recurrent) - 1)] if recurrent.shape[0] > 0 else recurrent.reshape(n, 0)
    real = cleared(6, n, spikes.dtype)
    silent = np.empty(n, np.int32)
    spare, active = (np.empty(n_in, np.int32), np.empty(n_in, spikes.dtype)), np.empty(n, np.int32)
    rest, known = cleared(2, n, spikes.dtype), np.zeros(1, np.int32)
    scratch = real, np.zeros(n, spikes.dtype), silent, active, spare, rest, known
    at = pauses.max() > 0, hears
    for row in range(low, high):
        real[:] = 0
        silent[:] = 0
        arriving = own_current[0 if hears else row]
        row_heard = own_x[row if hears else 0], lists, row * spikes.shape[2], own_weight, own_bias
        traces = spikes[chip, row], x_trace[chip, row] if keep else real[:0]
        lif_forward_row(at, arriving, row_heard, matrix, own, pauses, rules, traces, scratch)


@lean
def fetch(row):
    """Asks for the memory of a row."""
    for i in range(0, row.shape[0], LINE):
        prefetch(row, i)


@apart
def level_of(b, bound, jump, scale, adaptation, widens, level, per_span, moved):
    """What a neuron has to exceed at this adaptation, one over the surrogate's scale there, and what a spike takes."""
    one = b.dtype.type(1)
    for i in range(b.shape[0]):
        gained = adaptation[i] * b[i]
        level[i] = bound[i] + gained
        per_span[i] = one / (scale[i] + widens * gained)
        moved[i] = jump[i] + gained


@apart
def triangle(x, level, per_span, width, arriving, g_before, g, slope, u):
    """The gradient g of the spikes, ``arriving`` from outside and ``g_before`` by way of the step after;
    u = (x − level) · per_span, and the derivative of the spike in x there."""
    one = x.dtype.type(1)
    half_width = width * x.dtype.type(0.5)
    for i in range(x.shape[0]):
        at = (x[i] - level[i]) * per_span[i]
        inside = one - abs(at)
        slope[i] = half_width * (inside + abs(inside)) * per_span[i]
        u[i] = at
        g[i] = arriving[i] + g_before[i]


@apart
def fast_sigmoid(x, level, per_span, width, arriving, g_before, g, slope, u):
    """As :func:`triangle`."""
    one = x.dtype.type(1)
    for i in range(x.shape[0]):
        at = (x[i] - level[i]) * per_span[i]
        outside = one + width * abs(at)
        slope[i] = per_span[i] / (outside * outside)
        u[i] = at
        g[i] = arriving[i] + g_before[i]


@apart
def arctan(x, level, per_span, width, arriving, g_before, g, slope, u):
    """As :func:`triangle`."""
    one = x.dtype.type(1)
    scale = x.dtype.type(1 / math.pi) * width
    for i in range(x.shape[0]):
        at = (x[i] - level[i]) * per_span[i]
        slope[i] = scale * per_span[i] / (one + width * width * at * at)
        u[i] = at
        g[i] = arriving[i] + g_before[i]


@apart
def silence(slope, earlier, refractory, back):
    """No slope for neurons that spiked ``back`` steps ago and have to rest longer."""
    zero = slope.dtype.type(0)
    for i in range(slope.shape[0]):
        slope[i] = slope[i] if back > refractory[i] or earlier[i] == zero else zero


@apart
def lower(lam, g, slope, u, s, g_before, x, x_before, z_before, moved, own, g_x, sums, keep):
    """One step back of a neuron from which spikes subtract: lam becomes the gradient of x, g what passed the surrogate,
    s the current that had arrived, and g_before what the spikes of the step before get of it."""
    alpha, per_gain = own
    to_alpha, to_gain, to_bound, to_scale, to_jump = sums
    for i in range(lam.shape[0]):
        held = (x[i] - alpha[i] * x_before[i] + z_before[i] * moved[i]) * per_gain[i]
        through = g[i] * slope[i]
        now = alpha[i] * lam[i] + through + g_x[i]
        s[i] = held
        g[i] = through
        lam[i] = now
        to_bound[i] -= through
        to_scale[i] -= through * u[i]
        to_gain[i] += now * held
        to_alpha[i] += now * x_before[i]
        to_jump[i] -= now * z_before[i]
        g_before[i] = -keep * now * moved[i]


@apart
def lower_to_value(lam, g, slope, u, s, g_before, x, x_before, z_before, spikes, own, g_x, sums, keep):
    """One step back of a neuron that starts again from ``target`` after a spike; as :func:`lower`."""
    alpha, per_gain, target = own
    to_alpha, to_gain, to_bound, to_scale, to_target = sums
    one = lam.dtype.type(1)
    for i in range(lam.shape[0]):
        missing = target[i] - x_before[i]
        began = x_before[i] + z_before[i] * missing
        held = (x[i] - alpha[i] * began) * per_gain[i]
        through = g[i] * slope[i]
        now = alpha[i] * lam[i] * (one - spikes[i]) + through + g_x[i]
        s[i] = held
        g[i] = through
        lam[i] = now
        to_bound[i] -= through
        to_scale[i] -= through * u[i]
        to_gain[i] += now * held
        to_alpha[i] += now * began
        to_target[i] += now * z_before[i] * alpha[i]
        g_before[i] = keep * now * alpha[i] * missing


@apart
def drive_of(drive, lam, gain, out):
    """The gradient of what arrived."""
    for i in range(lam.shape[0]):
        drive[i] = gain[i] * lam[i]
        out[i] = gain[i] * lam[i]


@apart
def filtered_drive_of(drive, later, lam, gain, syn, s, to_syn, out):
    """:func:`drive_of` through a synapse, ``later`` being that of the step after."""
    for i in range(lam.shape[0]):
        to_syn[i] += later[i] * s[i]
        now = gain[i] * lam[i] + syn[i] * later[i]
        drive[i] = now
        out[i] = now


@apart
def lower_adaptation(lam_b, lam, g, u, g_before, b, b_before, z_before, rho, adaptation, widens, to_rho, to_adaptation):
    """One step back of the adaptation."""
    one = lam.dtype.type(1)
    for i in range(lam.shape[0]):
        gained = -g[i] * (one + widens * u[i]) - lam[i] * z_before[i]  # dL/d(adaptation · b)
        now = rho[i] * lam_b[i] + adaptation[i] * gained
        lam_b[i] = now
        to_adaptation[i] += gained * b[i]
        to_rho[i] += now * (b_before[i] - z_before[i])
        g_before[i] += (one - rho[i]) * now


@lean
def dots(out, rows, vector, active, count):
    """out[i] += rows[i] · vector for the i that are the first ``count`` of ``active``."""
    n = vector.shape[0]
    zero = vector.dtype.type(0)
    k = 0
    while k + 4 <= count:
        a, b, c, d = active[k], active[k + 1], active[k + 2], active[k + 3]
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
        row = rows[active[k]]
        total = zero
        for i in range(n):
            total += row[i] * vector[i]
        out[active[k]] += total
        k += 1


@apart
def add_tile(out_a, out_b, out_c, out_d, e, f, g, h, p, q, r, s):
    """Each of four rows += its four numbers times four other rows."""
    for i in range(out_a.shape[0]):
        out_a[i] += (p[0] * e[i] + p[1] * f[i]) + (p[2] * g[i] + p[3] * h[i])
        out_b[i] += (q[0] * e[i] + q[1] * f[i]) + (q[2] * g[i] + q[3] * h[i])
        out_c[i] += (r[0] * e[i] + r[1] * f[i]) + (r[2] * g[i] + r[3] * h[i])
        out_d[i] += (s[0] * e[i] + s[1] * f[i]) + (s[2] * g[i] + s[3] * h[i])


@lean
def products(out, rows, vectors):
    """out[r] += rowsᵀ vectors[r], for four vectors at once."""
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


@lean
def add_collected(matrix, vectors, lists, rows, ends, order, weighted):
    """matrix[j] += Σ value · vectors[m] over all m < ``rows`` and j in m's list, j after j.

    ``lists`` are positions, values there and how many there are; ``ends`` has room for one number more than the matrix
    has rows, ``order``, places and values, for as many as there can be.
    """
    positions_of, values_of, counts = lists
    places, values = order
    n = matrix.shape[0]
    for j in range(n + 1):
        ends[j] = 0
    for m in range(rows):
        for k in range(counts[m]):
            ends[positions_of[m, k] + 1] += 1
    for j in range(n):
        ends[j + 1] += ends[j]
    for m in range(rows):
        for k in range(counts[m]):
            j = positions_of[m, k]
            places[ends[j]] = m
            if weighted:
                values[ends[j]] = values_of[m, k]
            ends[j] += 1
    begin = 0
    for j in range(n):
        count = ends[j] - begin
        if weighted:
            add_weighted(matrix[j], vectors, values[begin:], places[begin:], count)
        else:
            add_rows(matrix[j], vectors, places[begin:], count)
        begin = ends[j]


@lean
def lif_backward_group(at, data, heard, traces, own, per, refractory, rules, width, scratch):
    """Back through time with up to four rows; ``scratch`` holds all that is written besides the gradients."""
    chip, first, group, longest = at
    spikes, x_trace, g_spikes, g_x, g_current, by_source, by_target, matrix = data
    surrogate, to_value, detach, has_syn, adaptive, scaled = rules
    x_in, lists, g_weight, g_bias = heard
    real, spare_rows, drives, active, fired, told, work = scratch
    lam, g_before, g_z, lam_b, u, slope, moved_by = real[0], real[1], real[2], real[3], real[4], real[5], real[6]
    at_rest, level, per_span, s, unused = spare_rows[0], spare_rows[1], spare_rows[2], spare_rows[3], spare_rows[4]
    b_trace, sums = traces
    steps, n = spikes.shape[2], spikes.shape[3]
    dtype = spikes.dtype
    widens, keep = dtype.type(scaled), dtype.type(0 if detach else 1)
    has_recurrent, has_g_x = by_source.shape[1] > 0, g_x.shape[0] > 0
    hears, tells = g_weight.shape[0] > 0, g_current.shape[0] > 0
    x_binary = True
    slot = 0  # the drives of the step after this one; those collected begin with the next
    for t in range(steps - 1, -1, -1):
        later, now = drives[slot : slot + GROUP], drives[slot + GROUP : slot + 2 * GROUP]
        for r in range(group):
            row = first + r
            x, arriving = x_trace[chip, row, t], g_spikes[chip, row, t]
            if t > 1:  # backwards in time is no order that a processor foresees
                fetch(x_trace[chip, row, t - 2])
                fetch(spikes[chip, row, t - 2])
                fetch(g_spikes[chip, row, t - 1])
            bar, per_bar = own[3], per[1]
            if adaptive:
                bar, per_bar = level, per_span
                level_of(b_trace[r, t], own[3], own[5], own[4], own[8], widens, level, per_span, moved_by[r])
            if surrogate == 0:
                triangle(x, bar, per_bar, width, arriving, g_before[r], g_z[r], slope[r], u[r])
            elif surrogate == 1:
                fast_sigmoid(x, bar, per_bar, width, arriving, g_before[r], g_z[r], slope[r], u[r])
            else:
                arctan(x, bar, per_bar, width, arriving, g_before[r], g_z[r], slope[r], u[r])
            for back in range(1, min(longest, t) + 1):
                silence(slope[r], spikes[chip, row, t - back], refractory, back)
        if has_recurrent and t + 1 < steps:
            many = 0
            for r in range(group):
                many += count_set(slope[r])
            # Four rows by four columns at once cost about as much for all neurons as one by one for a quarter of them.
            if 4 * many > GROUP * n:
                products(g_z, by_target, later)
            else:
                for r in range(group):
                    dots(g_z[r], by_source, later[r], active, positions(slope[r], active))
        for r in range(group):
            row, m = first + r, slot + r
            x, z_before = x_trace[chip, row, t], spikes[chip, row, t - 1] if t > 0 else at_rest
            x_before = x_trace[chip, row, t - 1] if t > 0 else at_rest
            g_membrane = g_x[chip, row, t] if has_g_x else at_rest
            # s is what is left of x when the rest of its equation is taken off, so it need not be kept.
            if to_value:
                numbers, grads = (own[0], per[0], own[6]), (sums[0], sums[1], sums[3], sums[4], sums[6])
                spiked = spikes[chip, row, t]
                lower_to_value(
                    lam[r], g_z[r], slope[r], u[r], s, g_before[r], x, x_before, z_before, spiked, numbers, g_membrane,
                    grads, keep,
                )  # fmt: skip
            else:
                moved = moved_by[r] if adaptive else own[5]
                lower(
                    lam[r], g_z[r], slope[r], u[r], s, g_before[r], x, x_before, z_before, moved, (own[0], per[0]),
                    g_membrane, (sums[0], sums[1], sums[3], sums[4], sums[5]), keep,
                )  # fmt: skip
            out = g_current[chip, row, t] if tells else unused
            if has_syn:
                filtered_drive_of(now[r], later[r], lam[r], own[1], own[2], s, sums[2], out)
            else:
                drive_of(now[r], lam[r], own[1], out)
            if adaptive:
                b, b_before = b_trace[r, t], b_trace[r, t - 1] if t > 0 else at_rest
                lower_adaptation(
                    lam_b[r], lam[r], g_z[r], u[r], g_before[r], b, b_before, z_before, own[7], own[8], widens, sums[7],
                    sums[8],
                )  # fmt: skip
            if has_recurrent:
                fired[2][m] = positions(z_before, fired[0][m])
            if hears:
                add_1(g_bias, now[r])
                told[2][m], binary = listen(x_in[row, t], lists, row * steps + t, told[0][m], told[1][m])
                x_binary &= binary
        slot += GROUP
        if slot == CHUNK * GROUP or t == 0:
            if has_recurrent:
                add_collected(matrix, drives[GROUP:], fired, slot, work[0], (work[1], work[2]), False)
            if hears:
                add_collected(g_weight, drives[GROUP:], told, slot, work[3], (work[4], work[5]), not x_binary)
            for r in range(GROUP):
                copy(drives[r], drives[slot + r])
            slot, x_binary = 0, True


@jit
def lif_backward(
    chip, block, low, high, gradients, traces, heard, recurrent, coefficients, refractory, rules, width, grads
):
    """Gradients of rows ``low`` to ``high``: of the current, if there is room for it, as they are, of the rest summed
    into ``block``; of weight and bias if there is room for them, from what :func:`lif_forward` hears: x and lists of
    its events. The recurrent matrix comes with row = source and with row = target."""
    g_spikes, g_x = gradients
    spikes, x_trace = traces
    x, lists = heard
    g_current, g_coefficients, g_recurrent, g_weight, g_bias = grads
    sourced, targeted = recurrent
    adaptive = rules[4]
    steps, n, n_in = spikes.shape[2], spikes.shape[3], x.shape[3]
    dtype = spikes.dtype
    own = coefficients[min(chip, len(coefficients) - 1)]
    has_recurrent, hears = sourced.shape[0] > 0, g_weight.shape[2] > 0
    by_source = sourced[min(chip, len(sourced) - 1)] if has_recurrent else sourced.reshape(n, 0)
    by_target = targeted[min(chip, len(targeted) - 1)] if has_recurrent else targeted.reshape(n, 0)
    matrix = g_recurrent[chip, block] if has_recurrent else sourced.reshape(n, 0)
    data = spikes, x_trace, g_spikes, g_x, g_current, by_source, by_target, matrix
    per = cleared(2, n, dtype)
    for i in range(n):
        per[0, i] = dtype.type(1) / own[1, i] if own[1, i] != 0 else 0
        per[1, i] = dtype.type(1) / own[4, i]
    collected = min(CHUNK, steps) * GROUP
    spiking, hearing = n if has_recurrent else 0, n_in if hears else 0
    fired = (
        np.empty((collected, spiking), np.int32),
        np.empty((1, 0), dtype),
        np.zeros(collected, np.int64),
    )
    told = (
        np.empty((collected, hearing), np.int32),
        np.empty((collected, hearing), dtype),
        np.zeros(collected, np.int64),
    )
    work = (
        np.empty(spiking + 1, np.int64),
        np.empty(collected * spiking, np.int32),
        np.empty(0, dtype),
        np.empty(hearing + 1, np.int64),
        np.empty(collected * hearing, np.int32),
        np.empty(collected * hearing, dtype),
    )
    real, spare_rows = cleared(7 * GROUP, n, dtype).reshape(7, GROUP, n), cleared(5, n, dtype)
    drives = cleared(collected + GROUP, n, dtype)
    active = np.empty(n, np.int32)
    b_trace = np.zeros((GROUP if adaptive else 0, steps, n), dtype)
    sums = g_coefficients[chip, block]
    pauses = refractory[min(chip, len(refractory) - 1)]
    longest = pauses.max()
    place = (chip, block) if hears else (0, 0)
    told_of = x[min(chip, len(x) - 1)], lists, g_weight[place], g_bias[place]
    sums[:] = 0
    if has_recurrent:
        matrix[:] = 0
    if hears:
        g_weight[place][:] = 0
        g_bias[place][:] = 0
    scratch = real, spare_rows, drives, active, fired, told, work
    for first in range(low, high, GROUP):
        group = min(GROUP, high - first)
        real[:] = 0
        drives[:] = 0
        fired[2][:] = 0
        told[2][:] = 0
        if adaptive:
            trace_adaptation(b_trace[:group], spikes[chip], first, own[7])
        at = chip, first, group, longest
        lif_backward_group(at, data, told_of, (b_trace, sums), own, per, pauses, rules, width, scratch)


@apart
def decay_towards(now, before, z, rho):
    """now = rho before + (1 − rho) z."""
    one = rho.dtype.type(1)
    for i in range(now.shape[0]):
        now[i] = rho[i] * before[i] + (one - rho[i]) * z[i]


@lean
def trace_adaptation(b_trace, spikes, first, rho):
    """b[t] = rho b[t−1] + (1 − rho) z[t−1] of the group of rows from ``first`` on."""
    for r in range(b_trace.shape[0]):
        for t in range(1, b_trace.shape[1]):
            decay_towards(b_trace[r, t], b_trace[r, t - 1], spikes[first + r, t - 1], rho)


@apart
def filter_step(v, current, alpha, gain, out):
    """v = alpha v + gain current."""
    for i in range(v.shape[0]):
        v[i] = alpha[i] * v[i] + gain[i] * current[i]
        out[i] = v[i]


@lean
def filter_rows(low, high, current, alpha, gain, trace, v):
    """:func:`filter_forward` for one chip."""
    for row in range(low, high):
        clear(v)
        for t in range(current.shape[1]):
            filter_step(v, current[row, t], alpha, gain, trace[row, t])


@jit
def filter_forward(chip, low, high, current, alpha, gain, trace):
    """v[t] = alpha v[t−1] + gain current[t] of rows ``low`` to ``high``."""
    a, g = alpha[min(chip, len(alpha) - 1)], gain[min(chip, len(gain) - 1)]
    v = np.empty(current.shape[3], current.dtype)
    filter_rows(low, high, current[min(chip, len(current) - 1)], a, g, trace[chip], v)


@apart
def filter_step_back(lam, g_row, arriving, before, alpha, gain, out, to_alpha, to_gain):
    """One step back through :func:`filter_step`."""
    for i in range(lam.shape[0]):
        now = alpha[i] * lam[i] + g_row[i]
        lam[i] = now
        out[i] = gain[i] * now
        to_alpha[i] += now * before[i]
        to_gain[i] += now * arriving[i]


@lean
def filter_rows_back(low, high, arrays, own, grads, scratch):
    """:func:`filter_backward` for one chip."""
    gradient, current, trace = arrays
    alpha, gain = own
    g_current, to_alpha, to_gain = grads
    lam, at_rest = scratch
    clear(to_alpha)
    clear(to_gain)
    for row in range(low, high):
        clear(lam)
        for t in range(trace.shape[1] - 1, -1, -1):
            before = trace[row, t - 1] if t > 0 else at_rest
            out = g_current[row, t]
            filter_step_back(lam, gradient[row, t], current[row, t], before, alpha, gain, out, to_alpha, to_gain)


@jit
def filter_backward(chip, block, low, high, gradient, current, trace, alpha, gain, grads):
    """Gradients of rows ``low`` to ``high``: of the current as they are, of alpha and gain summed into ``block``."""
    g_current, g_coefficients = grads
    own = alpha[min(chip, len(alpha) - 1)], gain[min(chip, len(gain) - 1)]
    arrays = gradient[chip], current[min(chip, len(current) - 1)], trace[chip]
    sums = g_coefficients[chip, block]
    scratch = np.empty(trace.shape[3], trace.dtype), np.zeros(trace.shape[3], trace.dtype)
    filter_rows_back(low, high, arrays, own, (g_current[chip], sums[0], sums[1]), scratch)


@lean
def gather_rows(at, heard, weight, offset, out, spare):
    """:func:`gather` for one chip."""
    chip, from_chip, low, high = at
    x, lists = heard
    width = out.shape[2]
    for row in range(low, high):
        i, j = row // width, row % width
        result = out[chip, i, j]
        copy(result, offset)
        hear(result, weight, (x[from_chip, i, j], lists, row), spare)


@jit
def total(chip, low, high, sums, out):
    """out[chip] = the sum of all blocks' sums[chip], numbers ``low`` to ``high``."""
    copy(out[chip, low:high], sums[chip, 0, low:high])
    for block in range(1, sums.shape[1]):
        add_1(out[chip, low:high], sums[chip, block, low:high])


@jit
def rate(rows, most):
    """The share of numbers that are not 0 in at most ``most`` rows of some, at even distances but for a shift that
    grows to one distance, so that sequences whose length goes into it are met at all their steps."""
    stride = max(rows.shape[0] // most, 1)
    count, seen = 0, min(most, rows.shape[0])
    for k in range(seen):
        count += count_set(rows[k * stride + k * stride // seen])
    return count / max(seen * rows.shape[1], 1)


@jit
def gather(chip, low, high, heard, weight, bias, out):
    """out = x weight + bias of rows ``low`` to ``high``: the rows of the weight (chips, n_in, n) where x is not 0.

    ``heard`` is x (chips, p, q, n_in) and lists of its events, bias (chips, n), out (chips, p, q, n).
    """
    x = heard[0]
    n_in = x.shape[3]
    at = chip, min(chip, len(x) - 1), low, high
    spare = np.empty(n_in, np.int32), np.empty(n_in, x.dtype)
    own = weight[min(chip, len(weight) - 1)]
    gather_rows(at, heard, own, bias[min(chip, len(bias) - 1)], out, spare)


@lean
def skinny_rows(low, high, x, weight, bias, out, every):
    """:func:`skinny` for one chip."""
    width = out.shape[1]
    for row in range(low, high):
        result = out[row // width, row % width]
        copy(result, bias)
        dots(result, weight, x[row // width, row % width], every, result.shape[0])


@jit
def skinny(chip, low, high, x, weight, bias, out):
    """out = x weightᵀ + bias of rows ``low`` to ``high``, for few outputs: a product a number.

    x is (chips, p, q, n_in), weight (chips, n_out, n_in), bias (chips, n_out), out (chips, p, q, n_out).
    """
    own, offset = weight[min(chip, len(weight) - 1)], bias[min(chip, len(bias) - 1)]
    every = np.arange(out.shape[3]).astype(np.int32)
    skinny_rows(low, high, x[min(chip, len(x) - 1)], own, offset, out[chip], every)


@lean
def skinny_back_row(g_x, gradient, weight):
    """g_x = weightᵀ gradient, for few outputs."""
    clear(g_x)
    k = 0
    while k + 4 <= gradient.shape[0]:
        p, q, r, s = gradient[k], gradient[k + 1], gradient[k + 2], gradient[k + 3]
        add_scaled_4(g_x, weight[k], weight[k + 1], weight[k + 2], weight[k + 3], p, q, r, s)
        k += 4
    while k < gradient.shape[0]:
        add_scaled_1(g_x, weight[k], gradient[k])
        k += 1


@lean
def skinny_rows_back(low, high, gradient, weight, g_x):
    """:func:`skinny_back` for one chip."""
    width = g_x.shape[1]
    for row in range(low, high):
        skinny_back_row(g_x[row // width, row % width], gradient[row // width, row % width], weight)


@jit
def skinny_back(chip, low, high, gradient, weight, g_x):
    """The gradient of x in rows ``low`` to ``high`` of :func:`skinny`."""
    skinny_rows_back(low, high, gradient[chip], weight[min(chip, len(weight) - 1)], g_x[chip])


@lean
def skinny_rows_scatter(low, high, x, gradient, target):
    """:func:`skinny_scatter` for one chip."""
    row = low
    while row + 4 <= high:
        a, b, c, d = x[row], x[row + 1], x[row + 2], x[row + 3]
        p, q, r, s = gradient[row], gradient[row + 1], gradient[row + 2], gradient[row + 3]
        for k in range(target.shape[0]):
            add_scaled_4(target[k], a, b, c, d, p[k], q[k], r[k], s[k])
        row += 4
    while row < high:
        for k in range(target.shape[0]):
            add_scaled_1(target[k], x[row], gradient[row, k])
        row += 1


@jit
def skinny_scatter(chip, block, low, high, x, gradient, g_weight):
    """The gradient of the weight from rows ``low`` to ``high`` of :func:`skinny`, into ``g_weight[chip, block]``."""
    own_x = x[min(chip, len(x) - 1)].reshape(-1, x.shape[3])
    g_weight[chip, block][:] = 0
    skinny_rows_scatter(low, high, own_x, gradient[chip].reshape(-1, gradient.shape[3]), g_weight[chip, block])


@lean
def scatter_rows(at, heard, gradient, target, told, work):
    """:func:`scatter` for one chip."""
    chip, from_chip, low, high = at
    x, lists = heard
    width = gradient.shape[2]
    flat = gradient[chip].reshape(-1, gradient.shape[3])
    begin, binary = low, True
    for row in range(low, high):
        m = row - begin
        values = x[from_chip, row // width, row % width]
        told[2][m], ones = listen(values, lists, row, told[0][m], told[1][m])
        binary &= ones
        if m + 1 == len(told[0]) or row + 1 == high:
            add_collected(target, flat[begin:], told, m + 1, work[0], (work[1], work[2]), not binary)
            begin, binary = row + 1, True


@jit
def scatter(chip, block, low, high, heard, gradient, g_weight):
    """g_weight[block] = xᵀ gradient over rows ``low`` to ``high``; shapes as in :func:`gather`."""
    x = heard[0]
    n_in, rows = x.shape[3], min(CHUNK * GROUP, high - low)
    at = chip, min(chip, len(x) - 1), low, high
    told = (
        np.empty((rows, n_in), np.int32),
        np.empty((rows, n_in), x.dtype),
        np.empty(rows, np.int64),
    )
    work = np.empty(n_in + 1, np.int64), np.empty(rows * n_in, np.int32), np.empty(rows * n_in, x.dtype)
    g_weight[chip, block][:] = 0
    scatter_rows(at, heard, gradient, g_weight[chip, block], told, work)


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
            count, ones = events(x[row], places[k:], values[k:])
            binary &= ones
            k += count
        else:
            k += count_set(x[row])
    starts[x.shape[0]] = k
    return binary


# Columns of a fleet's table, one row a layer: neurons, and neurons with those that only fill up a vector; where in the
# chip's numbers its weight (n_in, n) and recurrent weight (−1 for none) begin; whether it spikes and rests; the rules;
# its sources, from … to.
N, WIDTH, WEIGHT, RECURRENT, SPIKES, RESTS, TO_VALUE, HAS_SYN, ADAPTIVE, FIRST, END = range(11)
COLUMNS = 11
STATES = 8  # of a neuron: what arrives, five states, spikes of the last step and of this one
BIAS = COEFFICIENTS  # the row below the coefficients


@apart
def integrate(out, x, drive, alpha, gain, leak):
    """A step of neurons that do not spike."""
    for i in range(out.shape[0]):
        x[i] = alpha[i] * x[i] + gain[i] * drive[i]
        out[i] = x[i] + leak[i]


@lean
def fleet_row(row, heard, out, die, table, sources, scratch):
    """One row of one chip through all layers, step by step; nothing is kept but the output of the last layer."""
    numbers, coefficients, refractory = die
    states, silent, active, counts = scratch
    starts, places, values, binary, n_in = heard
    last, steps = table.shape[0] - 1, out.shape[0]
    for t in range(steps):
        begin, end = starts[row * steps + t], starts[row * steps + t + 1]
        for layer in range(last + 1):
            about, own, rows = table[layer], coefficients[layer], states[layer]
            width, at, base = about[WIDTH], about[WEIGHT], own[BIAS]
            drive, x = rows[0][:width], rows[1][:width]
            for k in range(about[FIRST], about[END]):
                source = sources[k]
                if source >= 0:
                    sum_rows(drive, base, numbers, at, active[source], 0, counts[source])
                elif binary:
                    sum_rows(drive, base, numbers, at, places, begin, end - begin)
                else:
                    if k == about[FIRST]:
                        copy(drive, base)
                    weight = numbers[at : at + n_in * width].reshape(n_in, width)
                    add_weighted(drive, weight, values[begin:], places[begin:], end - begin)
                at += width * (n_in if source < 0 else table[source, N])
                base = drive
            if about[RECURRENT] >= 0:
                sum_rows(drive, base, numbers, about[RECURRENT], active[layer], 0, counts[layer])
            s = rows[2][:width]
            if about[SPIKES]:
                state = x, s, rows[3][:width], rows[4], rows[5]
                before, after = rows[6 + t % 2], rows[7 - t % 2][:width]
                rules = 0, about[TO_VALUE], 0, about[HAS_SYN], about[ADAPTIVE], 0
                step(drive, before, after, silent[layer], state, own, refractory[layer], about[RESTS] > 0, rules)
                counts[layer] = positions(after, active[layer])
                if layer == last:
                    copy(out[t], after)
            else:
                if about[HAS_SYN]:
                    filter_drive(s, drive, own[2])
                integrate(out[t], x, drive, own[0], own[1], own[6])  # the row of a reset's value holds the leak


@jit
def fleet(chip, low, high, heard, dies, table, sources, out):
    """Output of the last layer for rows ``low`` to ``high`` of one chip.

    ``heard`` is lists of events, whether all are 1, and the number of inputs; ``dies`` are numbers (chips, all of a
    chip's), coefficients and bias (chips, layers, 10, most neurons of a layer), refractory (chips, layers, most); out
    is (chips, batch, steps, n).
    """
    numbers, coefficients, refractory = dies
    _, layers, most = refractory.shape
    states = cleared(layers * STATES, most, numbers.dtype).reshape(layers, STATES, most)
    silent = np.empty((layers, most), np.int32)
    active = np.empty((layers, most), np.int32)
    counts = np.empty(layers, np.int64)
    scratch = states, silent, active, counts
    die = numbers[chip], coefficients[chip], refractory[chip]
    for row in range(low, high):
        states[:] = 0
        silent[:] = 0
        counts[:] = 0
        fleet_row(row, heard, out[chip, row], die, table, sources, scratch)


# Each loop over all blocks, on the threads that ``crew`` describes: the first arguments of :func:`~.jit.shared`. They
# stand here because numba keeps compiled code as long as the file it is from stays as it is.
_share_lif_forward = shared(lif_forward, False)
_share_lif_backward = shared(lif_backward, True)
_share_filter_forward = shared(filter_forward, False)
_share_filter_backward = shared(filter_backward, True)
_share_total = shared(total, False)
_share_gather = shared(gather, False)
_share_skinny = shared(skinny, False)
_share_skinny_back = shared(skinny_back, False)
_share_skinny_scatter = shared(skinny_scatter, True)
_share_scatter = shared(scatter, True)
_share_fleet = shared(fleet, False)


@jit
def lif_forward_blocks(crew, chips, parts, *rest):
    return _share_lif_forward(*crew, chips, parts, rest)


@jit
def lif_backward_blocks(crew, chips, parts, *rest):
    return _share_lif_backward(*crew, chips, parts, rest)


@jit
def filter_forward_blocks(crew, chips, parts, *rest):
    return _share_filter_forward(*crew, chips, parts, rest)


@jit
def filter_backward_blocks(crew, chips, parts, *rest):
    return _share_filter_backward(*crew, chips, parts, rest)


@jit
def total_blocks(crew, chips, parts, *rest):
    return _share_total(*crew, chips, parts, rest)


@jit
def gather_blocks(crew, chips, parts, *rest):
    return _share_gather(*crew, chips, parts, rest)


@jit
def skinny_blocks(crew, chips, parts, *rest):
    return _share_skinny(*crew, chips, parts, rest)


@jit
def skinny_back_blocks(crew, chips, parts, *rest):
    return _share_skinny_back(*crew, chips, parts, rest)


@jit
def skinny_scatter_blocks(crew, chips, parts, *rest):
    return _share_skinny_scatter(*crew, chips, parts, rest)


@jit
def scatter_blocks(crew, chips, parts, *rest):
    return _share_scatter(*crew, chips, parts, rest)


@jit
def fleet_blocks(crew, chips, parts, *rest):
    return _share_fleet(*crew, chips, parts, rest)
