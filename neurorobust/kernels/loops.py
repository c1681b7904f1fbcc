"""The time loops as numba compiles them: plain functions of arrays, each for a few rows of a batch on one thread.

Arrays are C-contiguous: current, spikes and traces are (chips, steps, batch, n), so that a group's rows lie together.
An array that is the same for all chips has a chip axis of length 1. A recurrent matrix is (chips, n, n), row = source.
The coefficients are (chips, 9, n), by row alpha, gain, syn, bound, scale, jump, target, rho, adaptation::

    b[t] = rho b[t−1] + (1 − rho) z[t−1]
    s[t] = syn s[t−1] + current[t] + recurrent z[t−1]
    x[t] = alpha x′ + gain s[t] − z[t−1] (jump + adaptation b[t])          x′ = x[t−1], or target after a spike
    z[t] = 1 if x[t] > bound + adaptation b[t] and the neuron has rested

x is the membrane above v_leak. Rules are whole numbers: surrogate (0 triangle, 1 fast sigmoid, 2 arctan), to_value,
detach, has_syn, adaptive, scaled.

Rows go in groups of four that share what they read of a matrix. What a group does with a matrix depends on its spikes:
few are added row by row, many as a small matrix product.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import jit, lean

GROUP = 4
COEFFICIENTS = 9
SPARE = 8  # what a list of positions has room for besides all of them

# How eight flags, the bytes of one word, become positions: gathered into one byte, then looked up.
EIGHT = np.uint64(8)
GATHER = np.uint64(0x0102040810204080)
_BITS = [[bit for bit in range(8) if pattern >> bit & 1] for pattern in range(256)]
PLACES = np.array([bits + [0] * (8 - len(bits)) for bits in _BITS], np.int32)
COUNTS = np.array([len(bits) for bits in _BITS], np.uint8)


@lean
def positions(flags, active):
    """Where flags (uint8, 0 or 1) are set; returns how many. Free of branches: spikes cannot be predicted.

    ``active`` has room for eight more than the flags.
    """
    n = np.uint64(flags.shape[0])
    whole = n // EIGHT
    words = flags[: whole * EIGHT].view(np.uint64)
    count = np.uint64(0)
    for word in range(whole):
        pattern = (words[word] * GATHER) >> np.uint64(56)  # flag i as bit i
        places, base = PLACES[pattern], np.int32(word * EIGHT)
        for i in range(EIGHT):
            active[count + i] = base + places[i]
        count += np.uint64(COUNTS[pattern])
    for i in range(whole * EIGHT, n):
        active[count] = i
        count += np.uint64(flags[i])
    return np.int64(count)


@lean
def add_rows(out, rows, active, count):
    """out += the rows whose numbers are the first ``count`` of ``active``."""
    n = out.shape[0]
    k = 0
    while k + 4 <= count:
        first, second, third, fourth = rows[active[k]], rows[active[k + 1]], rows[active[k + 2]], rows[active[k + 3]]
        for i in range(n):
            out[i] += (first[i] + second[i]) + (third[i] + fourth[i])
        k += 4
    while k < count:
        row = rows[active[k]]
        for i in range(n):
            out[i] += row[i]
        k += 1


@lean
def add_weighted(out, rows, values, active, count):
    """out += Σ values[a] · rows[a] over the first ``count`` a of ``active``."""
    n = out.shape[0]
    k = 0
    while k + 4 <= count:
        a, b, c, d = active[k], active[k + 1], active[k + 2], active[k + 3]
        first, second, third, fourth = rows[a], rows[b], rows[c], rows[d]
        p, q, r, s = values[a], values[b], values[c], values[d]
        for i in range(n):
            out[i] += (p * first[i] + q * second[i]) + (r * third[i] + s * fourth[i])
        k += 4
    while k < count:
        row, p = rows[active[k]], values[active[k]]
        for i in range(n):
            out[i] += p * row[i]
        k += 1


@lean
def hear(out, rows, values, flags, active):
    """out += rowsᵀ values, at the price of the values that are not 0."""
    zero = values.dtype.type(0)
    one = values.dtype.type(1)
    for j in range(values.shape[0]):
        flags[j] = values[j] != zero
    count = positions(flags, active)
    binary = True
    for k in range(count):
        binary &= values[active[k]] == one
    if binary:
        add_rows(out, rows, active, count)
    else:
        add_weighted(out, rows, values, active, count)


@lean
def step(drive, z, flags, silent, state, own, refractory, rests, rules):
    """One step of one row of neurons, in place: ``drive`` is what arrives, ``state`` rows are x, s and b."""
    alpha, gain, bound, jump = own[0], own[1], own[3], own[5]
    _, to_value, _, has_syn, adaptive, _ = rules
    x, s, b = state[0], state[1], state[2]
    n = drive.shape[0]
    zero = drive.dtype.type(0)
    one = drive.dtype.type(1)
    if to_value:
        target = own[6]
        for i in range(n):
            x[i] = target[i] if z[i] > zero else x[i]
    if has_syn:
        syn = own[2]
        for i in range(n):
            s[i] = syn[i] * s[i] + drive[i]
            drive[i] = s[i]
    if adaptive:
        rho, adaptation = own[7], own[8]
        for i in range(n):
            b[i] = rho[i] * b[i] + (one - rho[i]) * z[i]
            x[i] = alpha[i] * x[i] + gain[i] * drive[i] - z[i] * (jump[i] + adaptation[i] * b[i])
            flags[i] = x[i] > bound[i] + adaptation[i] * b[i]
    else:
        for i in range(n):
            x[i] = alpha[i] * x[i] + gain[i] * drive[i] - z[i] * jump[i]
            flags[i] = x[i] > bound[i]
    if rests:
        for i in range(n):
            flags[i] = flags[i] if silent[i] <= 0 else 0
            silent[i] = refractory[i] if flags[i] else silent[i] - 1
    for i in range(n):
        z[i] = flags[i]


@lean
def lif_forward_group(at, current, heard, recurrent, own, refractory, rules, outputs, scratch):
    """A group of rows through time."""
    chip, from_chip, first, group, rests = at
    spikes, x_trace = outputs
    x, weight, bias, swapped = heard
    real, flags, silent, active, count, x_flags, x_active = scratch
    steps, n = spikes.shape[1], spikes.shape[3]
    keep, has_recurrent, hears = x_trace.shape[0] > 0, recurrent.shape[1] > 0, x.shape[2] > 0
    for t in range(steps):
        for r in range(group):
            row = first + r
            drive, z, state = real[r, 0], real[r, 1], real[r, 2:]
            arriving = bias if hears else current[from_chip, t, row]
            for i in range(n):
                drive[i] = arriving[i]
            if hears:
                hear(drive, weight, x[row, t] if swapped else x[t, row], x_flags, x_active)
            if has_recurrent:
                add_rows(drive, recurrent, active[r], count[r])
            step(drive, z, flags, silent[r], state, own, refractory, rests, rules)
            out = spikes[chip, t, row]
            for i in range(n):
                out[i] = z[i]
            if keep:
                level, trace = state[0], x_trace[chip, t, row]
                for i in range(n):
                    trace[i] = level[i]
            if has_recurrent:
                count[r] = positions(flags, active[r])


@jit
def lif_forward(chip, low, high, current, heard, recurrent, coefficients, refractory, rules, outputs):
    """Spikes of rows ``low`` to ``high``, and x where ``outputs`` has room for it.

    What arrives is ``current`` or, where ``heard`` is not empty, worked out on the way from x (chips, steps, batch,
    n_in) (swapped: batch, steps), a weight (chips, n_in, n) and a bias (chips, n).
    """
    x, weight, bias, swapped = heard
    spikes = outputs[0]
    n, n_in = spikes.shape[3], x.shape[3]
    own_x, own_weight = x[chip if x.shape[0] > 1 else 0], weight[chip if weight.shape[0] > 1 else 0]
    own_heard = own_x, own_weight, bias[chip if bias.shape[0] > 1 else 0], swapped
    own = coefficients[chip if coefficients.shape[0] > 1 else 0]
    rest = refractory[chip if refractory.shape[0] > 1 else 0]
    rows = recurrent[chip if recurrent.shape[0] > 1 else 0] if recurrent.shape[0] > 0 else recurrent.reshape(n, 0)
    real = np.empty((GROUP, 5, n), spikes.dtype)
    silent = np.empty((GROUP, n), np.int32)
    count = np.empty(GROUP, np.int64)
    active, x_active = np.empty((GROUP, n + SPARE), np.int32), np.empty(n_in + SPARE, np.int32)
    scratch = real, np.zeros(n, np.uint8), silent, active, count, np.empty(n_in, np.uint8), x_active
    for first in range(low, high, GROUP):
        real[:] = 0
        silent[:] = 0
        count[:] = 0
        at = chip, chip if current.shape[0] > 1 else 0, first, min(GROUP, high - first), rest.max() > 0
        lif_forward_group(at, current, own_heard, rows, own, rest, rules, outputs, scratch)


@lean
def slopes(x, level, per_span, surrogate, width, slope, u):
    """u = (x − level) · per_span and the derivative of the spike in x there."""
    n = x.shape[0]
    dtype = x.dtype
    one = dtype.type(1)
    if surrogate == 0:
        half_width = width * dtype.type(0.5)
        for i in range(n):
            at = (x[i] - level[i]) * per_span[i]
            inside = one - abs(at)
            slope[i] = half_width * (inside + abs(inside)) * per_span[i]
            u[i] = at
    elif surrogate == 1:
        for i in range(n):
            at = (x[i] - level[i]) * per_span[i]
            outside = one + width * abs(at)
            slope[i] = per_span[i] / (outside * outside)
            u[i] = at
    else:
        scale = dtype.type(1 / math.pi) * width
        for i in range(n):
            at = (x[i] - level[i]) * per_span[i]
            slope[i] = scale * per_span[i] / (one + width * width * at * at)
            u[i] = at


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


@lean
def products(out, rows, vectors):
    """out[r, i] += rows[i] · vectors[r] for all i and four vectors at once."""
    n = vectors.shape[1]
    zero = vectors.dtype.type(0)
    p, q, r, s = vectors[0], vectors[1], vectors[2], vectors[3]
    i = 0
    while i + 4 <= n:
        a, b, c, d = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        pa = pb = pc = pd = qa = qb = qc = qd = zero
        ra = rb = rc = rd = sa = sb = sc = sd = zero
        for k in range(n):
            pa += a[k] * p[k]
            pb += b[k] * p[k]
            pc += c[k] * p[k]
            pd += d[k] * p[k]
            qa += a[k] * q[k]
            qb += b[k] * q[k]
            qc += c[k] * q[k]
            qd += d[k] * q[k]
            ra += a[k] * r[k]
            rb += b[k] * r[k]
            rc += c[k] * r[k]
            rd += d[k] * r[k]
            sa += a[k] * s[k]
            sb += b[k] * s[k]
            sc += c[k] * s[k]
            sd += d[k] * s[k]
        out[0, i] += pa
        out[0, i + 1] += pb
        out[0, i + 2] += pc
        out[0, i + 3] += pd
        out[1, i] += qa
        out[1, i + 1] += qb
        out[1, i + 2] += qc
        out[1, i + 3] += qd
        out[2, i] += ra
        out[2, i + 1] += rb
        out[2, i + 2] += rc
        out[2, i + 3] += rd
        out[3, i] += sa
        out[3, i + 1] += sb
        out[3, i + 2] += sc
        out[3, i + 3] += sd
        i += 4
    while i < n:
        a = rows[i]
        pa = qa = ra = sa = zero
        for k in range(n):
            pa += a[k] * p[k]
            qa += a[k] * q[k]
            ra += a[k] * r[k]
            sa += a[k] * s[k]
        out[0, i] += pa
        out[1, i] += qa
        out[2, i] += ra
        out[3, i] += sa
        i += 1


@lean
def add_outer(matrix, spikes, flags, counts, active, vectors):
    """matrix[j] += Σ_r spikes[r, j] · vectors[r] over a group of rows, for every j with a spike."""
    n = vectors.shape[1]
    p, q, r, s = vectors[0], vectors[1], vectors[2], vectors[3]
    for i in range(n):
        counts[i] = flags[0, i] | flags[1, i] | flags[2, i] | flags[3, i]
    for k in range(positions(counts, active)):
        j = active[k]
        row = matrix[j]
        if flags[0, j] + flags[1, j] + flags[2, j] + flags[3, j] == 1:
            vector = vectors[flags[1, j] + 2 * flags[2, j] + 3 * flags[3, j]]
            for i in range(n):
                row[i] += vector[i]
        else:
            a, b, c, d = spikes[0, j], spikes[1, j], spikes[2, j], spikes[3, j]
            for i in range(n):
                row[i] += (a * p[i] + b * q[i]) + (c * r[i] + d * s[i])


@lean
def lif_backward_group(at, data, heard, traces, own, per, refractory, rules, width, scratch):
    """Back through time with up to four rows; ``scratch`` holds all that is written besides the gradients."""
    chip, first, group, longest = at
    spikes, x_trace, g_spikes, g_x, g_current, recurrent, matrix = data
    surrogate, to_value, detach, has_syn, adaptive, scaled = rules
    x_in, g_weight, g_bias, swapped = heard
    real, whole, active, count, x_flags, x_active = scratch
    lam, g_drive, g_before, g_z, lam_b = real[0], real[1], real[2], real[3], real[4]
    u, slope, z_past = real[5], real[6], real[7]
    level, per_span, jump_now, s, at_rest = real[8, 0], real[8, 1], real[8, 2], real[8, 3], real[9, 0]
    per_gain = per[0]
    flags, fired, counts = whole[0], whole[1], whole[2, 0]
    b_trace, sums = traces
    alpha, gain, syn, bound, scale, jump, target, rho, adaptation = (
        own[0],
        own[1],
        own[2],
        own[3],
        own[4],
        own[5],
        own[6],
        own[7],
        own[8],
    )
    steps, n = spikes.shape[1], spikes.shape[3]
    dtype = spikes.dtype
    zero = dtype.type(0)
    one = dtype.type(1)
    has_recurrent, has_g_x = recurrent.shape[1] > 0, g_x.shape[0] > 0
    widens = one if scaled else zero
    hears, tells = g_weight.shape[0] > 0, g_current.shape[0] > 0
    for t in range(steps - 1, -1, -1):
        for r in range(group):
            row = first + r
            x, g_row, before, g, slope_r = x_trace[chip, t, row], g_spikes[chip, t, row], g_before[r], g_z[r], slope[r]
            if adaptive:
                b = b_trace[r, t]
                for i in range(n):
                    level[i] = bound[i] + adaptation[i] * b[i]
                for i in range(n):
                    per_span[i] = one / (scale[i] + widens * adaptation[i] * b[i])
                slopes(x, level, per_span, surrogate, width, slope_r, u[r])
            else:
                slopes(x, bound, per[1], surrogate, width, slope_r, u[r])
            for i in range(n):
                g[i] = g_row[i] + before[i]
            for back in range(1, min(longest, t) + 1):
                z_back = spikes[chip, t - back, row]
                for i in range(n):
                    slope_r[i] = slope_r[i] if back > refractory[i] or z_back[i] == zero else zero
            if has_recurrent:
                flag = flags[r]
                for i in range(n):
                    flag[i] = slope_r[i] > zero
                count[r] = positions(flag, active[r])
        if has_recurrent and t + 1 < steps:
            many = 0
            for r in range(group):
                many += count[r]
            # Four rows by four columns at once cost about as much for all neurons as one by one for a third of them.
            if 3 * many > GROUP * n:
                products(g_z, recurrent, g_drive)
            else:
                for r in range(group):
                    dots(g_z[r], recurrent, g_drive[r], active[r], count[r])
        for r in range(group):
            row = first + r
            x, z = x_trace[chip, t, row], spikes[chip, t, row]
            z_before = spikes[chip, t - 1, row] if t > 0 else at_rest
            x_before = x_trace[chip, t - 1, row] if t > 0 else at_rest
            lam_r, g, slope_r, u_r, drive, before = lam[r], g_z[r], slope[r], u[r], g_drive[r], g_before[r]
            moved = jump
            if adaptive:
                b = b_trace[r, t]
                for i in range(n):
                    jump_now[i] = jump[i] + adaptation[i] * b[i]
                moved = jump_now
            # s is what is left of x when the rest of its equation is taken off, so it need not be kept.
            if to_value:
                for i in range(n):
                    kept = x_before[i] + z_before[i] * (target[i] - x_before[i])
                    s[i] = (x[i] - alpha[i] * kept) * per_gain[i]
            else:
                for i in range(n):
                    s[i] = (x[i] - alpha[i] * x_before[i] + z_before[i] * moved[i]) * per_gain[i]
            if to_value:
                for i in range(n):
                    lam_r[i] *= one - z[i]
            for i in range(n):
                through = g[i] * slope_r[i]
                lam_r[i] = alpha[i] * lam_r[i] + through
                g[i] = through
            if has_g_x:
                g_row = g_x[chip, t, row]
                for i in range(n):
                    lam_r[i] += g_row[i]
            to_alpha, to_gain, to_syn, to_bound, to_scale = sums[0], sums[1], sums[2], sums[3], sums[4]
            for i in range(n):
                to_bound[i] -= g[i]
                to_scale[i] -= g[i] * u_r[i]
                to_gain[i] += lam_r[i] * s[i]
                to_alpha[i] += lam_r[i] * x_before[i]
            if to_value:
                to_target = sums[6]
                for i in range(n):
                    missing = target[i] - x_before[i]
                    to_alpha[i] += lam_r[i] * z_before[i] * missing
                    to_target[i] += lam_r[i] * z_before[i] * alpha[i]
                    before[i] = zero if detach else lam_r[i] * alpha[i] * missing
            else:
                to_jump = sums[5]
                for i in range(n):
                    to_jump[i] -= lam_r[i] * z_before[i]
                    before[i] = zero if detach else -lam_r[i] * moved[i]
            if has_syn:
                for i in range(n):
                    to_syn[i] += drive[i] * s[i]
                    drive[i] = gain[i] * lam_r[i] + syn[i] * drive[i]
            else:
                for i in range(n):
                    drive[i] = gain[i] * lam_r[i]
            if tells:
                out = g_current[chip, t, row]
                for i in range(n):
                    out[i] = drive[i]
            if hears:
                values = x_in[row, t] if swapped else x_in[t, row]
                for j in range(values.shape[0]):
                    x_flags[j] = values[j] != zero
                for k in range(positions(x_flags, x_active)):
                    value, target_row = values[x_active[k]], g_weight[x_active[k]]
                    for i in range(n):
                        target_row[i] += value * drive[i]
                for i in range(n):
                    g_bias[i] += drive[i]
            if adaptive:
                b, lam_b_r, to_rho, to_adaptation = b_trace[r, t], lam_b[r], sums[7], sums[8]
                b_before = b_trace[r, t - 1] if t > 0 else at_rest
                for i in range(n):
                    s[i] = -g[i] * (one + widens * u_r[i]) - lam_r[i] * z_before[i]  # dL/d(adaptation · b)
                for i in range(n):
                    lam_b_r[i] = rho[i] * lam_b_r[i] + adaptation[i] * s[i]
                for i in range(n):
                    to_adaptation[i] += s[i] * b[i]
                for i in range(n):
                    to_rho[i] += lam_b_r[i] * (b_before[i] - z_before[i])
                for i in range(n):
                    before[i] += (one - rho[i]) * lam_b_r[i]
            if has_recurrent and t > 0:
                z_past_r, fired_r = z_past[r], fired[r]
                for i in range(n):
                    z_past_r[i] = z_before[i]
                    fired_r[i] = z_before[i] > zero
        if has_recurrent and t > 0:
            add_outer(matrix, z_past, fired, counts, active[0], g_drive)


@jit
def lif_backward(
    chip, block, low, high, gradients, traces, x, swapped, recurrent, coefficients, refractory, rules, width, grads
):
    """Gradients of rows ``low`` to ``high``: of the current, if there is room for it, as they are, of the rest summed
    into ``block``; of weight and bias if there is room for them, from x as :func:`lif_forward` hears it."""
    g_spikes, g_x = gradients
    spikes, x_trace = traces
    g_current, g_coefficients, g_recurrent, g_weight, g_bias = grads
    adaptive = rules[4]
    steps, n = spikes.shape[1], spikes.shape[3]
    dtype = spikes.dtype
    own = coefficients[chip if coefficients.shape[0] > 1 else 0]
    has_recurrent = recurrent.shape[0] > 0
    rows = recurrent[chip if recurrent.shape[0] > 1 else 0] if has_recurrent else recurrent.reshape(n, 0)
    matrix = g_recurrent[chip, block] if has_recurrent else recurrent.reshape(n, 0)
    data = spikes, x_trace, g_spikes, g_x, g_current, rows, matrix
    per = np.empty((2, n), dtype)
    for i in range(n):
        per[0, i] = dtype.type(1) / own[1, i] if own[1, i] != 0 else 0
        per[1, i] = dtype.type(1) / own[4, i]
    real = np.zeros((10, GROUP, n), dtype)
    whole = np.zeros((3, GROUP, n), np.uint8)
    active = np.empty((GROUP, n + SPARE), np.int32)
    count = np.zeros(GROUP, np.int64)
    b_trace = np.zeros((GROUP if adaptive else 0, steps, n), dtype)
    sums = g_coefficients[chip, block]
    rest = refractory[chip if refractory.shape[0] > 1 else 0]
    longest = rest.max()
    n_in, hears = x.shape[3], g_weight.shape[2] > 0
    place = (chip, block) if hears else (0, 0)
    heard = x[chip if x.shape[0] > 1 else 0], g_weight[place], g_bias[place], swapped
    for first in range(low, high, GROUP):
        group = min(GROUP, high - first)
        real[:] = 0
        whole[:] = 0
        if adaptive:
            trace_adaptation(b_trace[:group], spikes[chip], first, own[7])
        at = chip, first, group, longest
        scratch = real, whole, active, count, np.empty(n_in, np.uint8), np.empty(n_in + SPARE, np.int32)
        lif_backward_group(at, data, heard, (b_trace, sums), own, per, rest, rules, width, scratch)


@jit
def trace_adaptation(b_trace, spikes, first, rho):
    """b[t] = rho b[t−1] + (1 − rho) z[t−1] of the group of rows from ``first`` on."""
    n = rho.shape[0]
    for r in range(b_trace.shape[0]):
        for t in range(1, b_trace.shape[1]):
            before, now, z = b_trace[r, t - 1], b_trace[r, t], spikes[t - 1, first + r]
            for i in range(n):
                now[i] = rho[i] * before[i] + (rho.dtype.type(1) - rho[i]) * z[i]


@jit
def filter_forward(chip, low, high, current, alpha, gain, trace):
    """v[t] = alpha v[t−1] + gain current[t] of rows ``low`` to ``high``."""
    steps, n = current.shape[1], current.shape[3]
    a = alpha[chip if alpha.shape[0] > 1 else 0]
    g = gain[chip if gain.shape[0] > 1 else 0]
    from_chip = chip if current.shape[0] > 1 else 0
    v = np.empty(n, current.dtype)
    for row in range(low, high):
        v[:] = 0
        for t in range(steps):
            arriving, out = current[from_chip, t, row], trace[chip, t, row]
            for i in range(n):
                v[i] = a[i] * v[i] + g[i] * arriving[i]
                out[i] = v[i]


@jit
def filter_backward(chip, block, low, high, gradient, current, trace, alpha, gain, grads):
    """Gradients of rows ``low`` to ``high``: of the current as they are, of alpha and gain summed into ``block``."""
    g_current, g_coefficients = grads
    steps, n = trace.shape[1], trace.shape[3]
    a = alpha[chip if alpha.shape[0] > 1 else 0]
    g = gain[chip if gain.shape[0] > 1 else 0]
    from_chip = chip if current.shape[0] > 1 else 0
    own = g_coefficients[chip, block]
    lam = np.empty(n, trace.dtype)
    at_rest = np.zeros(n, trace.dtype)
    for row in range(low, high):
        lam[:] = 0
        for t in range(steps - 1, -1, -1):
            g_row, out, arriving = gradient[chip, t, row], g_current[chip, t, row], current[from_chip, t, row]
            before = trace[chip, t - 1, row] if t > 0 else at_rest
            for i in range(n):
                lam[i] = a[i] * lam[i] + g_row[i]
                out[i] = g[i] * lam[i]
            for i in range(n):
                own[0, i] += lam[i] * before[i]
                own[1, i] += lam[i] * arriving[i]


@lean
def gather_rows(at, x, weight, offset, out, scratch):
    """:func:`gather` for one chip."""
    chip, from_chip, low, high, swapped = at
    flags, active, total = scratch
    n, width = out.shape[3], out.shape[2]
    for row in range(low, high):
        i, j = row // width, row % width
        heard = x[from_chip, j, i] if swapped else x[from_chip, i, j]
        result = out[chip, i, j]
        for k in range(n):
            total[k] = offset[k]
        hear(total, weight, heard, flags, active)
        for k in range(n):
            result[k] = total[k]


@jit
def gather(chip, low, high, x, weight, bias, swapped, out):
    """out = x weight + bias of rows ``low`` to ``high``: the rows of the weight (chips, n_in, n) where x is not 0.

    x is (chips, p, q, n_in), bias (chips, n), out (chips, p, q, n); with ``swapped`` x is (chips, q, p, n_in).
    """
    n_in = x.shape[3]
    at = chip, chip if x.shape[0] > 1 else 0, low, high, swapped
    scratch = np.empty(n_in, np.uint8), np.empty(n_in + SPARE, np.int32), np.empty(out.shape[3], x.dtype)
    own = weight[chip if weight.shape[0] > 1 else 0]
    gather_rows(at, x, own, bias[chip if bias.shape[0] > 1 else 0], out, scratch)


@lean
def scatter_rows(at, x, gradient, target, scratch):
    """:func:`scatter` for one chip."""
    chip, from_chip, low, high, swapped = at
    flags, active = scratch
    n_in, n, width = x.shape[3], gradient.shape[3], gradient.shape[2]
    zero = x.dtype.type(0)
    for row in range(low, high):
        p, q = row // width, row % width
        heard = x[from_chip, q, p] if swapped else x[from_chip, p, q]
        g = gradient[chip, p, q]
        for j in range(n_in):
            flags[j] = heard[j] != zero
        for k in range(positions(flags, active)):
            value, own = heard[active[k]], target[active[k]]
            for i in range(n):
                own[i] += value * g[i]


@jit
def scatter(chip, block, low, high, x, gradient, swapped, g_weight):
    """g_weight[block] += xᵀ gradient over rows ``low`` to ``high``; shapes as in :func:`gather`."""
    n_in = x.shape[3]
    at = chip, chip if x.shape[0] > 1 else 0, low, high, swapped
    scatter_rows(at, x, gradient, g_weight[chip, block], (np.empty(n_in, np.uint8), np.empty(n_in + SPARE, np.int32)))


# Columns of a fleet's table, one row a layer: neurons; where in the chip's numbers its weight (n_in, n), bias,
# recurrent weight (−1 for none) and coefficients begin; whether it spikes and rests; the rules; its sources, from … to.
N, WEIGHT, BIAS, RECURRENT, COEFFICIENT, SPIKES, RESTS, TO_VALUE, HAS_SYN, ADAPTIVE, FIRST, END, COLUMNS = range(13)


@lean
def fleet_row(x, out, numbers, refractory, table, sources, scratch):
    """One row of one chip through all layers, step by step; nothing is kept but the output of the last layer."""
    real, bytes_, silent, active, counts, flags, spare = scratch
    layers = table.shape[0]
    for t in range(x.shape[0]):
        for layer in range(layers):
            about = table[layer]
            n = about[N]
            drive, z, state = real[layer, 0, :n], real[layer, 1], real[layer, 2:]
            bias = numbers[about[BIAS] : about[BIAS] + n]
            for i in range(n):
                drive[i] = bias[i]
            at = about[WEIGHT]
            for k in range(about[FIRST], about[END]):
                source = sources[k]
                n_in = x.shape[1] if source < 0 else table[source, N]
                weight = numbers[at : at + n_in * n].reshape(n_in, n)
                if source < 0:
                    hear(drive, weight, x[t], flags, spare)
                else:
                    add_rows(drive, weight, active[source], counts[source])
                at += n_in * n
            if about[RECURRENT] >= 0:
                at = about[RECURRENT]
                add_rows(drive, numbers[at : at + n * n].reshape(n, n), active[layer], counts[layer])
            at = about[COEFFICIENT]
            own = numbers[at : at + COEFFICIENTS * n].reshape(COEFFICIENTS, n)
            rules = 0, about[TO_VALUE], 0, about[HAS_SYN], about[ADAPTIVE], 0
            step(drive, z, bytes_[layer], silent[layer], state, own, refractory[layer], about[RESTS] > 0, rules)
            counts[layer] = positions(bytes_[layer, :n], active[layer]) if about[SPIKES] else 0
        last, result = layers - 1, out[t]
        n, at = table[last, N], table[last, COEFFICIENT]
        own = numbers[at : at + COEFFICIENTS * n].reshape(COEFFICIENTS, n)
        output, leak = real[last, 1], own[6]
        if not table[last, SPIKES]:
            output = real[last, 2]
            for i in range(n):
                result[i] = output[i] + leak[i]
        else:
            for i in range(n):
                result[i] = output[i]


@jit
def fleet(chip, low, high, x, numbers, refractory, table, sources, out):
    """Output of the last layer for rows ``low`` to ``high`` of one chip.

    x is (batch, steps, n_in), numbers (chips, all of a chip's), refractory (chips, layers, most neurons of a layer),
    out (chips, batch, steps, n).
    """
    _, layers, most = refractory.shape
    n_in = x.shape[2]
    real = np.empty((layers, 5, most), x.dtype)
    bytes_ = np.zeros((layers, most), np.uint8)
    silent = np.empty((layers, most), np.int32)
    active = np.empty((layers, most + SPARE), np.int32)
    counts = np.empty(layers, np.int64)
    scratch = real, bytes_, silent, active, counts, np.empty(n_in, np.uint8), np.empty(n_in + SPARE, np.int32)
    for row in range(low, high):
        real[:] = 0
        silent[:] = 0
        counts[:] = 0
        fleet_row(x[row], out[chip, row], numbers[chip], refractory[chip], table, sources, scratch)
