"""The compiled loop of :func:`neurorobust.circuit.simulate`: neurons that wait for each other's events.

All functions are in this file because numba keeps compiled code per file. No option that reorders sums is on, so the
spikes are the same on every run. Nothing compiled allocates, so numba need not count references, which took a third of
the time: :func:`run` makes room.

**One neuron between two events.** With x = I_mem/I_gain and u = x + ln x the equation of the circuit is::

    τ du/dt = I_in/I_τ − (1 + (I_ahp + I_shunt − I_a)/I_τ)(1 + x)        u ≥ u_0, where I_mem = I_0

x is the Wright omega function of u. The right side is smooth and bounded, so steps can be long. One step is the 3/8
rule of Kutta, fourth order. Its error is estimated by a third order formula that takes the slope at the end (Hairer,
Nørsett and Wanner, Solving Ordinary Differential Equations I, II.4); the next step begins with that slope. Inside a
step the membrane is the cubic between the two ends. The decaying currents are exact.

**All neurons.** Each neuron has a candidate step, which ends at its next spike if there is one inside. The earliest of
all ends and arrivals is next. An arrival inside a candidate step cuts it there.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import wrightomega

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Pair = tuple[float, float]

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
_jit = numba.njit(**_OPTIONS)
_inline = numba.njit(**_OPTIONS, forceinline=True)

AMPA, NMDA, GABA, SHUNT, AHP = range(5)
"""The decaying currents of a neuron, by their place."""
STEP, CUT, SPIKE, HELD = range(4)
"""How a candidate ends: as a step, as one that an arrival cut, with a spike, or with the refractory time."""
DONE, STUCK, FULL = range(3)
"""How :func:`proceed` ends. STUCK: a step became too small. FULL: there is no more room."""
EVENT, WAITING, SPIKES, STALE, STEPS, REJECTED = range(6)
"""Numbers of a run: of the next event; of entries in the queue, of spikes, of stale neurons, and of steps."""

SMALLEST = 1e-12  # s
SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0
LOW, HIGH, NODES = -30.0, 128.0, 64  # range of the table of omega, and its nodes per unit


class Model(NamedTuple):
    """The constants of all neurons, (n,) each unless it is said.

    Attributes:
        tau: of the membrane, s. pace: 1/τ, 1/s. rates: 1/τ of the decaying currents, (n, 5), 1/s; 0 for a current that
            is not used.
        least: I_0/I_τ. direct: I_dc/I_τ. feedback: I_a/I_τ at x = 1; 0 without feedback. power: κ/(κ + 1), a number.
        u_floor, u_threshold: u at I_0 and at I_thr. x_threshold: I_thr/I_gain.
        ahp: the step of I_ahp/I_τ at a spike. t_ref: refractory time, s.
        table: of :func:`table_of_omega`.
    """

    tau: Floats
    pace: Floats
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
    table: Floats


class Wiring(NamedTuple):
    """The synapses, ordered by source and delay.

    Attributes:
        first: the first synapse of every source, (sources + 1,). last: the end of the synapses of the same source,
            (m,). target, kind: neuron and current of each synapse.
        jump: of the current divided by I_τ of the target. delay: s.
    """

    first: Integers
    last: Integers
    target: Integers
    kind: Integers
    jump: Floats
    delay: Floats


class Inputs(NamedTuple):
    """External events in the order of time."""

    times: Floats
    channels: Integers


class State(NamedTuple):
    """Every neuron at its own time.

    Attributes:
        time: s. u, slope: of the membrane there, slope as the candidate step uses it. currents: /I_τ, (n, 5).
        end, how: of the candidate. length: of the candidate before a spike cut it. u_end, slope_end: there.
        next_length: proposed for the next step. trace: row of the neuron's trace, or −1.
        heap: the neurons, the one with the earliest end on top. place: of each neuron in it.
        stale: the neurons whose candidate is to be made again, the first ``numbers[STALE]``. marked: whether, (n,).
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
    heap: Integers
    place: Integers
    stale: Integers
    marked: NDArray[np.bool_]


class Room(NamedTuple):
    """What grows.

    Attributes:
        spikes: (time, neuron) of each, (room, 2). queue: arrivals in a heap, the earliest on top: (time of arrival,
            time of the spike, its source's next synapse), (room, 3).
    """

    spikes: Floats
    queue: Floats


class Limits(NamedTuple):
    """Of a run: duration, s, and tolerance of a step."""

    duration: float
    tolerance: float


class Traces(NamedTuple):
    """x of the watched neurons at multiples of ``step``, (watched, samples), and the next sample of each."""

    step: float
    x: Floats
    following: Integers


@cache
def table_of_omega() -> Floats:
    """x and 1/(1 + x) of x + ln x = u for u from LOW to HIGH."""
    x = wrightomega(LOW + np.arange(round((HIGH - LOW) * NODES) + 1) / NODES)
    return np.stack([x, 1.0 / (1.0 + x)], axis=1)


@_jit
def far_omega(u: float) -> float:
    """:func:`omega` beyond the table: at most two iterations of Fritsch, Shafer and Crowley (CACM 16, 1973)."""
    if u < LOW:
        return np.exp(u)
    log = np.log(u)
    x = u - log + log / u
    for _ in range(2):
        r = u - x - np.log(x)
        w = 1.0 + x
        q = 2.0 * w * (w + 2.0 / 3.0 * r)
        x *= 1.0 + r / w * (q - r) / (q - 2.0 * r)
    return x


@_inline
def omega(table: Floats, u: float) -> float:
    """x with x + ln x = u, by Taylor's series at the nearest node: with w = 1/(1 + x) there, dx/du = x w and
    dw/du = −x w³. Relative error below 1e-12."""
    if not LOW <= u <= HIGH:
        return far_omega(u)
    k = int((u - LOW) * NODES + 0.5)
    x, w = table[k, 0], table[k, 1]
    d = (u - (LOW + k / NODES)) * w
    third, fourth = (3.0 * w - 2.0) / 6.0, ((15.0 * w - 20.0) * w + 6.0) / 24.0
    return x + x * d * (1.0 + w * d * (0.5 + d * (third + d * fourth)))


@_inline
def slope_at(m: Model, i: int, u: float, drive: float, leak: float) -> float:
    """du/dt of a neuron, 0 where the floor holds it.

    Args:
        drive: (excitation − inhibition)/I_τ, the direct current included. leak: 1 + (I_ahp + I_shunt)/I_τ.
    """
    floor = m.u_floor[i]
    above = max(u, floor)
    x = omega(m.table, above)
    if m.feedback[i] > 0.0:
        leak -= m.feedback[i] * np.exp(m.power * (above - x))  # x^power: above − x is ln x
    slope = (max(m.least[i], drive) - leak * (1.0 + x)) * m.pace[i]
    return 0.0 if u <= floor and slope < 0.0 else slope


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


@_inline
def later(m: Model, s: State, i: int, h: float) -> tuple[Pair, Pair, Pair, Pair]:
    """(drive, leak) as :func:`slope_at` takes them: now, and after h, 2 h and 3 h."""
    d0 = d1 = d2 = d3 = m.direct[i]
    l0 = l1 = l2 = l3 = 1.0
    for k in range(5):
        a0 = s.currents[i, k]
        if a0 != 0.0:
            q = np.exp(-h * m.rates[i, k])
            a1 = a0 * q
            a2 = a1 * q
            a3 = a2 * q
            if k >= SHUNT:
                l0, l1, l2, l3 = l0 + a0, l1 + a1, l2 + a2, l3 + a3
            else:
                sign = -1.0 if k == GABA else 1.0
                d0, d1, d2, d3 = d0 + sign * a0, d1 + sign * a1, d2 + sign * a2, d3 + sign * a3
    return (d0, l0), (d1, l1), (d2, l2), (d3, l3)


@_inline
def plan(m: Model, s: State, i: int, tolerance: float, numbers: Integers) -> bool:
    """Make the next candidate of a neuron that is free; False if no step is small enough."""
    u, h = s.u[i], min(s.next_length[i], m.tau[i])
    scale = tolerance * (1.0 + (omega(m.table, u) if m.feedback[i] > 0.0 else m.x_threshold[i]))
    s1 = s.slope_end[i]
    while True:
        (d0, l0), (d1, l1), (d2, l2), (d3, l3) = later(m, s, i, h / 3.0)
        if s.how[i] != STEP:
            s1 = slope_at(m, i, u, d0, l0)
        s2 = slope_at(m, i, u + h / 3.0 * s1, d1, l1)
        s3 = slope_at(m, i, u + h * (s2 - s1 / 3.0), d2, l2)
        s4 = slope_at(m, i, u + h * (s1 - s2 + s3), d3, l3)
        u1 = u + h / 8.0 * (s1 + 3.0 * (s2 + s3) + s4)
        s5 = slope_at(m, i, u1, d3, l3)
        error = h / 24.0 * abs(3.0 * (s2 - s3 - s4) - s1 + 4.0 * s5) / scale
        numbers[STEPS] += 1
        factor = min(GROW, max(SHRINK, SAFETY / np.sqrt(np.sqrt(error)))) if error > 0.0 else GROW
        if error <= 1.0:
            break
        numbers[REJECTED] += 1
        h *= factor if error < np.inf else SHRINK  # NaN: the last stage ran away
        if not h > SMALLEST:
            return False
    s.slope[i], s.slope_end[i] = s1, s5
    s.next_length[i] = h * factor
    s.length[i], s.u_end[i] = h, max(u1, m.u_floor[i])
    part = crossing(u, s1, s.u_end[i], s5, h, m.u_threshold[i])
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
            traces.x[row, k] = omega(m.table, membrane(m, s, i, k * traces.step))
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


@_inline
def move(queue: Floats, origin: int, to: int) -> None:
    for k in range(3):
        queue[to, k] = queue[origin, k]


@_jit
def push(queue: Floats, size: int, arrival: float, start: float, synapse: int) -> int:
    at = size
    while at > 0 and arrival < queue[(at - 1) // 2, 0]:
        move(queue, (at - 1) // 2, at)
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
        move(queue, child, at)
        at = child
    queue[at, 0], queue[at, 1], queue[at, 2] = arrival, start, synapse
    return size


@_jit
def emit(w: Wiring, source: int, time: float, room: Room, numbers: Integers) -> None:
    """Put the first arrival of an event or a spike into the queue."""
    synapse = w.first[source]
    if synapse < w.first[source + 1]:
        numbers[WAITING] = push(room.queue, numbers[WAITING], time + w.delay[synapse], time, synapse)


@_jit
def mark(s: State, i: int, numbers: Integers) -> None:
    if not s.marked[i]:
        s.marked[i] = True
        s.stale[numbers[STALE]] = i
        numbers[STALE] += 1


@_jit
def deliver(m: Model, w: Wiring, s: State, traces: Traces, room: Room, numbers: Integers) -> None:
    """Let the first arrival of the queue act on all targets that have its delay."""
    now, began, synapse = room.queue[0, 0], room.queue[0, 1], int(room.queue[0, 2])
    numbers[WAITING] = pop(room.queue, numbers[WAITING])
    end, delay = w.last[synapse], w.delay[synapse]
    while synapse < end and w.delay[synapse] == delay:
        i = w.target[synapse]
        if not s.marked[i]:
            advance(m, s, i, now, traces)
            mark(s, i, numbers)
        if s.how[i] != HELD:
            s.how[i] = CUT
        s.currents[i, w.kind[synapse]] += w.jump[synapse]
        synapse += 1
    if synapse < end:
        numbers[WAITING] = push(room.queue, numbers[WAITING], began + w.delay[synapse], began, synapse)


@_jit
def renew(m: Model, s: State, tolerance: float, numbers: Integers) -> bool:
    """Make the candidates of the stale neurons; False if one has no step that is small enough."""
    for k in range(numbers[STALE]):
        i = s.stale[k]
        s.marked[i] = False
        if s.how[i] != HELD and not plan(m, s, i, tolerance, numbers):
            return False
        settle(s.heap, s.place, s.end, i)
    numbers[STALE] = 0
    return True


@_jit
def spike(m: Model, w: Wiring, s: State, i: int, now: float, room: Room, numbers: Integers) -> None:
    """Note a spike, send it, and hold its neuron at the floor."""
    room.spikes[numbers[SPIKES], 0], room.spikes[numbers[SPIKES], 1] = now, i
    numbers[SPIKES] += 1
    s.u[i] = m.u_floor[i]
    s.currents[i, AHP] += m.ahp[i]
    s.how[i], s.end[i] = HELD, now + m.t_ref[i]
    s.next_length[i] = min(s.next_length[i], 0.1 * m.tau[i])
    settle(s.heap, s.place, s.end, i)
    emit(w, len(w.first) - 1 - len(m.tau) + i, now, room, numbers)


@_jit
def proceed(
    m: Model, w: Wiring, s: State, inputs: Inputs, traces: Traces, room: Room, numbers: Integers, limits: Limits
) -> int:
    """Go on until the duration, or until the room is full; how it ended."""
    now = -1.0
    while numbers[WAITING] < len(room.queue) and numbers[SPIKES] < len(room.spikes):
        event, waiting = numbers[EVENT], numbers[WAITING]
        if event < len(inputs.times) and (waiting == 0 or inputs.times[event] <= room.queue[0, 0]):
            emit(w, inputs.channels[event], inputs.times[event], room, numbers)
            numbers[EVENT] += 1
            continue
        arrival = room.queue[0, 0] if waiting > 0 else np.inf
        if arrival > now and not renew(m, s, limits.tolerance, numbers):
            return STUCK
        i = s.heap[0]
        first = s.end[i] if numbers[STALE] == 0 else np.inf
        now = min(arrival, first)
        if now >= limits.duration:
            return DONE
        if first > arrival:
            deliver(m, w, s, traces, room, numbers)
            continue
        advance(m, s, i, now, traces)
        if s.how[i] == SPIKE:
            spike(m, w, s, i, now, room, numbers)
        else:
            if s.how[i] == HELD:
                s.how[i] = CUT
            mark(s, i, numbers)
    return FULL


def run(m: Model, w: Wiring, s: State, inputs: Inputs, traces: Traces, limits: Limits) -> tuple[int, Floats, Integers]:
    """All spikes before the duration.

    Returns:
        how it ended; (time, neuron) of every spike, (k, 2); the numbers of the run.
    """
    room = Room(np.empty((1024, 2)), np.empty((1024, 3)))
    numbers = np.zeros(6, dtype=np.int64)
    numbers[STALE] = len(m.tau)
    while (how := proceed(m, w, s, inputs, traces, room, numbers, limits)) == FULL:
        room = Room(*(np.concatenate([each, np.empty_like(each)]) for each in room))
    for i in np.flatnonzero(s.trace >= 0):
        advance(m, s, i, limits.duration, traces)
    return how, room.spikes[: numbers[SPIKES]], numbers
