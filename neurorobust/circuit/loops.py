"""The compiled loop of :func:`neurorobust.circuit.simulate`: neurons that wait for each other's events.

All functions are in this file because numba keeps compiled code per file. No option that reorders sums is on, so the
spikes are the same on every run.

**One neuron between two events.** With x = I_mem/I_gain and u = x + ln x the equation of the circuit is::

    τ du/dt = I_in/I_τ − (1 + (I_ahp + I_shunt − I_a)/I_τ)(1 + x)        u ≥ u_0, where I_mem = I_0

x is the Wright omega function of u. The right side is smooth and bounded, so steps can be long. One step is that of
Bogacki and Shampine (Applied Mathematics Letters 2, 1989): third order, error estimated by a second order formula, and
the cubic between the two ends inside it. The decaying currents are exact.

**All neurons.** Each neuron has a candidate step, which ends at its next spike if there is one inside. The earliest of
all ends and arrivals is next. An arrival inside a candidate step cuts it there.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")

AMPA, NMDA, GABA, SHUNT, AHP = range(5)
"""The decaying currents of a neuron, by their place."""
STEP, SPIKE, HELD = range(3)
"""How a candidate ends: as a step, with a spike, or with the refractory time."""
DONE, STUCK = range(2)
"""How :func:`run` ends. STUCK: a step became too small."""

SMALLEST = 1e-12  # s
SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0


class Model(NamedTuple):
    """The constants of all neurons, (n,) each unless it is said.

    Attributes:
        tau: of the membrane, s. rates: 1/τ of the decaying currents, (n, 5), 1/s; 0 for a current that is not used.
        least: I_0/I_τ. direct: I_dc/I_τ. feedback: I_a/I_τ at x = 1; 0 without feedback. power: κ/(κ + 1), a number.
        u_floor, u_threshold: u at I_0 and at I_thr. x_threshold: I_thr/I_gain.
        ahp: the step of I_ahp/I_τ at a spike. t_ref: refractory time, s.
    """

    tau: Floats
    rates: Floats
    least: Floats
    direct: Floats
    feedback: Floats
    power: float
    u_floor: Floats
    u_threshold: Floats
    x_threshold: Floats
    ahp: Floats
    t_ref: Floats


class Wiring(NamedTuple):
    """The synapses, ordered by source and delay.

    Attributes:
        first: the first synapse of every source, (sources + 1,). target, kind: neuron and current of each synapse.
        jump: of the current divided by I_τ of the target. delay: s.
    """

    first: Integers
    target: Integers
    kind: Integers
    jump: Floats
    delay: Floats


class State(NamedTuple):
    """Every neuron at its own time.

    Attributes:
        time: s. u, slope: of the membrane there, slope as the candidate step uses it. currents: /I_τ, (n, 5).
        end, how: of the candidate. length: of the candidate before a spike cut it. u_end, slope_end: there.
        next_length: proposed for the next step. trace: row of the neuron's trace, or −1.
    """

    time: Floats
    u: Floats
    slope: Floats
    currents: Floats
    end: Floats
    how: Integers
    length: Floats
    u_end: Floats
    slope_end: Floats
    next_length: Floats
    trace: Integers


class Traces(NamedTuple):
    """x of the watched neurons at multiples of ``step``, (watched, samples), and the next sample of each."""

    step: float
    x: Floats
    following: Integers


@_jit
def omega(u: float) -> float:
    """x with x + ln x = u, by at most two iterations of fourth order (Fritsch, Shafer and Crowley, CACM 16, 1973)."""
    if u < -30.0:
        return np.exp(u)
    if u < 0.0:
        e = np.exp(u)
        x = e / (1.0 + e)
    elif u < 1.0:
        x = 0.567 + 0.433 * u
    else:
        log = np.log(u)
        x = u - log + log / u
    for _ in range(2):
        r = u - x - np.log(x)
        w = 1.0 + x
        q = 2.0 * w * (w + 2.0 / 3.0 * r)
        x *= 1.0 + r / w * (q - r) / (q - 2.0 * r)
        if abs(r) < 1e-3 * w:  # then the new error is below 1e-13
            break
    return x


@_jit
def slope_of(m: Model, i: int, u: float, drive: float, shunt: float) -> float:
    """du/dt of a neuron, 0 where the floor holds it.

    Args:
        drive: (excitation − inhibition)/I_τ, the direct current included. shunt: (I_ahp + I_shunt)/I_τ.
    """
    if u < m.u_floor[i]:
        u = m.u_floor[i]
    x = omega(u)
    leak = 1.0 + shunt
    if m.feedback[i] > 0.0:
        leak -= m.feedback[i] * x**m.power
    slope = (max(m.least[i], drive) - leak * (1.0 + x)) / m.tau[i]
    return 0.0 if u <= m.u_floor[i] and slope < 0.0 else slope


@_jit
def slope_at(m: Model, i: int, u: float, a: Floats, q: Floats, k: int) -> float:
    """:func:`slope_of` k quarters of a step later, in which each of the currents ``a`` decays by q⁴."""
    ampa, nmda, gaba, shunt, ahp = a[0], a[1], a[2], a[3], a[4]
    for _ in range(k):
        ampa *= q[0]
        nmda *= q[1]
        gaba *= q[2]
        shunt *= q[3]
        ahp *= q[4]
    return slope_of(m, i, u, ampa + nmda - gaba + m.direct[i], shunt + ahp)


@_jit
def between(u0: float, s0: float, u1: float, s1: float, h: float, part: float) -> float:
    """The cubic with given ends and slopes at ``part`` of a step of length h."""
    left = 1.0 - part
    return (
        left * left * (1.0 + 2.0 * part) * u0
        + part * part * (3.0 - 2.0 * part) * u1
        + h * part * left * (left * s0 - part * s1)
    )


@_jit
def highest(u0: float, s0: float, u1: float, s1: float, h: float) -> float:
    """The part of the step at which the cubic is highest, for a rise at its beginning; 1 without a turn inside."""
    if not (s0 > 0.0 > s1):
        return 1.0
    a, b = 6.0 * (u0 - u1) + 3.0 * h * (s0 + s1), 6.0 * (u1 - u0) - h * (4.0 * s0 + 2.0 * s1)
    c = h * s0
    root = np.sqrt(max(0.0, b * b - 4.0 * a * c))
    return min(1.0, max(0.0, 2.0 * c / (root - b)))


@_jit
def crossing(u0: float, s0: float, u1: float, s1: float, h: float, level: float) -> float:
    """The first part of the step at which the cubic reaches a level; 2 if it does not."""
    high = 1.0
    if u1 < level:
        high = highest(u0, s0, u1, s1, h)
        if high >= 1.0 or between(u0, s0, u1, s1, h, high) < level:
            return 2.0
    low = 0.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if between(u0, s0, u1, s1, h, middle) < level:
            low = middle
        else:
            high = middle
    return high


@_jit
def plan(m: Model, s: State, i: int, tolerance: float, q: Floats, counts: Integers) -> bool:
    """Make the next candidate of a neuron that is free; False if no step is small enough."""
    u, a = s.u[i], s.currents[i]
    s.slope[i] = s1 = slope_of(m, i, u, a[AMPA] + a[NMDA] - a[GABA] + m.direct[i], a[SHUNT] + a[AHP])
    h = min(s.next_length[i], m.tau[i])
    scale = tolerance * (1.0 + (omega(u) if m.feedback[i] > 0.0 else m.x_threshold[i]))
    while True:
        for k in range(5):
            q[k] = np.exp(-0.25 * h * m.rates[i, k]) if a[k] != 0.0 else 1.0
        s2 = slope_at(m, i, u + 0.5 * h * s1, a, q, 2)
        s3 = slope_at(m, i, u + 0.75 * h * s2, a, q, 3)
        u1 = u + h / 9.0 * (2.0 * s1 + 3.0 * s2 + 4.0 * s3)
        s4 = slope_at(m, i, u1, a, q, 4)
        rough = u + h / 24.0 * (7.0 * s1 + 6.0 * s2 + 8.0 * s3 + 3.0 * s4)
        error = abs(u1 - rough) / scale  # before the floor acts: two wild values would agree there
        counts[0] += 1
        factor = min(GROW, max(SHRINK, SAFETY * error ** (-1.0 / 3.0))) if error > 0.0 else GROW
        if error <= 1.0:
            break
        counts[1] += 1
        h *= factor if error < np.inf else SHRINK  # NaN: the last stage ran away
        if not h > SMALLEST:
            return False
    s.next_length[i] = h * factor
    s.length[i], s.u_end[i], s.slope_end[i] = h, max(u1, m.u_floor[i]), s4
    part = crossing(u, s1, s.u_end[i], s4, h, m.u_threshold[i])
    s.how[i] = SPIKE if part <= 1.0 else STEP
    s.end[i] = s.time[i] + h * min(part, 1.0)
    return True


@_jit
def membrane(m: Model, s: State, i: int, time: float) -> float:
    """u of a neuron inside its candidate."""
    if s.how[i] == HELD:
        return m.u_floor[i]
    part = (time - s.time[i]) / s.length[i]
    u = s.u_end[i] if part == 1.0 else between(s.u[i], s.slope[i], s.u_end[i], s.slope_end[i], s.length[i], part)
    return max(u, m.u_floor[i])


@_jit
def advance(m: Model, s: State, i: int, time: float, traces: Traces) -> None:
    """Move a neuron inside its candidate, to its end at most; fill its trace on the way."""
    row = s.trace[i]
    if row >= 0:
        k = traces.following[row]
        while k < traces.x.shape[1] and k * traces.step < time:
            traces.x[row, k] = omega(membrane(m, s, i, k * traces.step))
            k += 1
        traces.following[row] = k
    passed = time - s.time[i]
    if passed > 0.0:
        s.u[i] = membrane(m, s, i, time)
        for k in range(5):
            if s.currents[i, k] != 0.0:
                s.currents[i, k] *= np.exp(-passed * m.rates[i, k])
    s.time[i] = time


# ---- the neurons in a heap, the one with the earliest end on top


@_jit
def earlier(end: Floats, a: int, b: int) -> bool:
    return end[a] < end[b] or (end[a] == end[b] and a < b)


@_jit
def settle(heap: Integers, place: Integers, end: Floats, i: int) -> None:
    """Put a neuron whose end changed at its place again."""
    at = place[i]
    while at > 0 and earlier(end, i, heap[(at - 1) // 2]):
        heap[at] = heap[(at - 1) // 2]
        place[heap[at]] = at
        at = (at - 1) // 2
    while True:
        child = 2 * at + 1
        if child + 1 < len(heap) and earlier(end, heap[child + 1], heap[child]):
            child += 1
        if child >= len(heap) or not earlier(end, heap[child], i):
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = i
    place[i] = at


# ---- arrivals in a heap: (time of arrival, time of the spike, its source's next synapse), the earliest on top


@_jit
def push(queue: Floats, size: int, arrival: float, start: float, synapse: int) -> int:
    at = size
    while at > 0 and arrival < queue[(at - 1) // 2, 0]:
        queue[at] = queue[(at - 1) // 2]
        at = (at - 1) // 2
    queue[at, 0], queue[at, 1], queue[at, 2] = arrival, start, synapse
    return size + 1


@_jit
def pop(queue: Floats, size: int) -> int:
    """Remove the top: the last takes its place."""
    size -= 1
    arrival, start, synapse = queue[size, 0], queue[size, 1], queue[size, 2]
    at = 0
    while True:
        child = 2 * at + 1
        if child + 1 < size and queue[child + 1, 0] < queue[child, 0]:
            child += 1
        if child >= size or not queue[child, 0] < arrival:
            break
        queue[at] = queue[child]
        at = child
    queue[at, 0], queue[at, 1], queue[at, 2] = arrival, start, synapse
    return size


@_jit
def longer(values: Floats) -> Floats:
    """A copy with room for twice as many rows."""
    room = np.empty((2 * len(values), values.shape[1]))
    room[: len(values)] = values
    return room


@_jit
def emit(w: Wiring, source: int, time: float, queue: Floats, waiting: int) -> tuple[Floats, int]:
    """Put the first arrival of an event or a spike into the queue; the queue and its length afterwards."""
    synapse = w.first[source]
    if synapse == w.first[source + 1]:
        return queue, waiting
    if waiting == len(queue):
        queue = longer(queue)
    return queue, push(queue, waiting, time + w.delay[synapse], time, synapse)


class Stale(NamedTuple):
    """The neurons whose candidate is to be made again: which (n,), whether (n,), and how many (1,)."""

    which: Integers
    marked: NDArray[np.bool_]
    size: Integers


@_jit
def mark(stale: Stale, i: int) -> None:
    if not stale.marked[i]:
        stale.marked[i] = True
        stale.which[stale.size[0]] = i
        stale.size[0] += 1


@_jit
def deliver(m: Model, w: Wiring, s: State, traces: Traces, stale: Stale, queue: Floats, waiting: int) -> int:
    """Let the first arrival of the queue act on all targets that have its delay; the queue's length afterwards."""
    now, began, synapse = queue[0, 0], queue[0, 1], int(queue[0, 2])
    waiting = pop(queue, waiting)
    end = w.first[np.searchsorted(w.first, synapse, side="right")]
    delay = w.delay[synapse]
    while synapse < end and w.delay[synapse] == delay:
        i = w.target[synapse]
        if not stale.marked[i]:
            advance(m, s, i, now, traces)
            mark(stale, i)
        s.currents[i, w.kind[synapse]] += w.jump[synapse]
        synapse += 1
    return push(queue, waiting, began + w.delay[synapse], began, synapse) if synapse < end else waiting


@_jit
def rest(m: Model, s: State, i: int, now: float) -> None:
    """The reset of a neuron that spikes now."""
    s.u[i] = m.u_floor[i]
    s.currents[i, AHP] += m.ahp[i]
    s.how[i], s.end[i] = HELD, now + m.t_ref[i]
    s.next_length[i] = min(s.next_length[i], 0.1 * m.tau[i])


@_jit
def run(
    m: Model, w: Wiring, s: State, traces: Traces, times: Floats, channels: Integers, duration: float, tolerance: float
) -> tuple[int, Floats, Integers]:
    """All spikes before ``duration``.

    Returns:
        how it ended; (time, neuron) of every spike, (k, 2); number of steps tried, and of those that were too long.
    """
    n, n_channels = len(m.tau), len(w.first) - 1 - len(m.tau)
    spikes, n_spikes = np.empty((1024, 2)), 0
    queue, waiting = np.empty((1024, 3)), 0
    heap, place = np.arange(n), np.arange(n)
    stale = Stale(np.arange(n), np.ones(n, dtype=np.bool_), np.full(1, n))
    q, counts = np.empty(5), np.zeros(2, dtype=np.int64)
    event, now = 0, -1.0
    while True:
        while event < len(times) and (waiting == 0 or times[event] <= queue[0, 0]):
            queue, waiting = emit(w, channels[event], times[event], queue, waiting)
            event += 1
        arrival = queue[0, 0] if waiting > 0 else np.inf
        if arrival > now:
            for k in range(stale.size[0]):
                i = stale.which[k]
                stale.marked[i] = False
                if s.how[i] != HELD and not plan(m, s, i, tolerance, q, counts):
                    return STUCK, spikes[:n_spikes], counts
                settle(heap, place, s.end, i)
            stale.size[0] = 0
        i = heap[0]
        first = s.end[i] if stale.size[0] == 0 else np.inf
        now = min(arrival, first)
        if now >= duration:
            break
        if first > arrival:
            waiting = deliver(m, w, s, traces, stale, queue, waiting)
            continue
        advance(m, s, i, now, traces)
        if s.how[i] == SPIKE:
            if n_spikes == len(spikes):
                spikes = longer(spikes)
            spikes[n_spikes, 0], spikes[n_spikes, 1] = now, i
            n_spikes += 1
            rest(m, s, i, now)
            settle(heap, place, s.end, i)
            queue, waiting = emit(w, n_channels + i, now, queue, waiting)
        else:
            s.how[i] = STEP
            mark(stale, i)
    for i in range(n):
        if s.trace[i] >= 0:
            advance(m, s, i, duration, traces)
    return DONE, spikes[:n_spikes], counts
