"""The simulator of DPI circuits: against closed forms and against scipy's solver of the same equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import wrightomega

from neurorobust.circuit import (
    CURRENTS,
    Circuit,
    Dendrite,
    DendriteType,
    Events,
    Neurons,
    Synapses,
    Technology,
    deviating,
    loops,
    simulate,
)
from neurorobust.circuit.simulation import jumps

T = Technology()
AMPA, NMDA, GABA, SHUNT = DendriteType
NO_SYNAPSES = Synapses(source=np.zeros(0, int), target=np.zeros(0, int), dendrite=0, weight=np.zeros(0))
NO_EVENTS = Events(np.zeros(0), np.zeros(0, int))
T_REF = 2e-3


def neurons(n: int, tau: float = 0.02, ratio: float = 20.0, **others: object) -> Neurons:
    """Neurons with I_gain = 4 I_τ, I_thr = ratio · I_gain and a refractory time of 2 ms."""
    i_tau = float(T.current(T.c_mem, np.array(tau)))
    values = {"i_thr": 4 * i_tau * ratio} | others
    return Neurons(n=n, i_tau_mem=i_tau, i_gain_mem=4 * i_tau, i_ref=T.c_ref * T.v_ref / T_REF, **values)


def dendrite(tau: float) -> Dendrite:
    """A filter with the gain 100."""
    i_tau = float(T.current(T.c_syn, np.array(tau)))
    return Dendrite(i_tau=i_tau, i_gain=100 * i_tau)


def small(feedback: bool = False, ratio: float = 20.0) -> Circuit:
    """Three neurons in a chain with all four filters and adaptation, two channels, delays of 0 and 1 ms."""
    tau_ahp = float(T.current(T.c_ahp, np.array(0.05)))
    found = neurons(
        3, ratio=ratio, feedback=feedback, i_dc=2e-12, i_tau_ahp=tau_ahp, i_gain_ahp=tau_ahp, i_w_ahp=1.5e-7
    )
    synapses = Synapses(
        source=np.array([0, 0, 0, 1, 1, 1, 2, 3, 4]),
        target=np.array([0, 1, 2, 0, 1, 2, 1, 2, 0]),
        dendrite=np.array([AMPA, AMPA, NMDA, GABA, GABA, SHUNT, AMPA, AMPA, GABA]),
        weight=np.array([8.0, 12.0, 6.0, 5.0, 3.0, 0.2, 9.0, 9.0, 4.0]) * 3e-9,
        delay=np.array([0, 0, 0, 0, 0, 0, 1e-3, 0, 0]),
    )
    filters = {AMPA: dendrite(5e-3), NMDA: dendrite(20e-3), GABA: dendrite(10e-3), SHUNT: dendrite(8e-3)}
    return Circuit(neurons=found, dendrites=filters, synapses=synapses, n_channels=2)


def events(duration: float, rates: tuple[float, ...], seed: int = 0) -> Events:
    """Events at random times, at a rate per channel, Hz."""
    generator = np.random.default_rng(seed)
    counts = [generator.poisson(rate * duration) for rate in rates]
    times = generator.uniform(0, duration, sum(counts))
    channels = np.repeat(np.arange(len(rates)), counts)
    order = np.argsort(times)
    return Events(times[order], channels[order])


def reference(circuit: Circuit, given: Events, duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Spikes by scipy's solver in ln I_mem, all neurons at once, from one discontinuity to the next.

    An independent reading of the equation of the circuit: written with currents in A, as in :func:`simulate`.
    """
    c, s, n = circuit.neurons, circuit.synapses, circuit.neurons.n
    tau = T.c_mem * T.u_t / (T.kappa * c.i_tau_mem)
    rates = np.ones((5, n))
    for kind, filters in circuit.dendrites.items():
        rates[kind] = T.kappa * filters.i_tau / (T.c_syn * T.u_t)
    rates[4] = T.kappa * c.i_tau_ahp / (T.c_ahp * T.u_t)
    jump = jumps(circuit)
    pulse = T.c_pulse * T.v_ref / c.i_pulse_ahp
    step = (1 - np.exp(-pulse * rates[4])) * c.i_gain_ahp / c.i_tau_ahp * c.i_w_ahp
    t_ref = T.c_ref * T.v_ref / c.i_ref
    y, a, free_at = np.full(n, math.log(T.i_0)), np.zeros((5, n)), np.zeros(n)
    spikes: list[tuple[float, int]] = []
    arrivals = [
        (time + s.delay[k], k)
        for time, channel in zip(given.times, given.channels)
        for k in np.where(s.source == channel)[0]
    ]

    def flow(t: float, y: np.ndarray, start: float, held: np.ndarray, currents: np.ndarray) -> np.ndarray:
        now = currents * np.exp(-(t - start) * rates)
        i = np.exp(np.minimum(y, 0.0))  # trial stages of a neuron that runs away
        i_in = np.maximum(T.i_0, now[AMPA] + now[NMDA] + c.i_dc - now[GABA])
        i_s = now[4] + now[SHUNT]
        i_a = np.where(c.feedback, T.i_0 ** (1 / (T.kappa + 1)) * i ** (T.kappa / (T.kappa + 1)), 0)
        f = i_a / c.i_tau_mem * (i + c.i_gain_mem)
        drive = c.i_gain_mem / c.i_tau_mem * (i_in - i_s - c.i_tau_mem) + f - i * (1 + i_s / c.i_tau_mem)
        slope = drive / (tau * (1 + c.i_gain_mem / i)) / i
        slope = np.where((y <= math.log(T.i_0)) & (slope < 0), 0, slope)
        return np.where(held, 0, slope)

    now = 0.0
    while now < duration:
        held = free_at > now
        later = [time for time, _ in arrivals if time > now] + [time for time in free_at if time > now]
        end = min([*later, now + 2e-4, duration])
        events_of = []
        for i in range(n):

            def reached(t: float, y: np.ndarray, *_: object, i: int = i) -> float:
                return y[i] - math.log(c.i_thr[i])

            reached.terminal, reached.direction = True, 1
            events_of.append(reached)
        found = solve_ivp(
            flow, (now, end), y, events=events_of, args=(now, held, a.copy()), method="DOP853", rtol=1e-8, atol=1e-8
        )
        reached_at = float(found.t[-1])
        a = a * np.exp(-(reached_at - now) * rates)
        y, now = np.maximum(found.y[:, -1], math.log(T.i_0)), reached_at
        for i in range(n):
            if len(found.t_events[i]):
                spikes.append((now, i))
                y[i], free_at[i] = math.log(T.i_0), now + t_ref[i]
                a[4, i] += step[i]
                arrivals += [(now + s.delay[k], k) for k in np.where(s.source == circuit.n_channels + i)[0]]
        for time, k in arrivals:
            if time <= now:
                a[s.dendrite[k], s.target[k]] += jump[k]
        arrivals = [each for each in arrivals if each[0] > now]
    return np.array([time for time, _ in spikes]), np.array([i for _, i in spikes], dtype=int)


def test_omega_is_the_inverse_of_x_plus_ln_x():
    """Against scipy, over twelve decades of I_mem/I_gain."""
    for u in [-40.0, -30.0, *np.linspace(-30, 3, 331), 100.0, 1e6]:
        assert loops.omega(loops.table_of_omega(), float(u)) == pytest.approx(float(wrightomega(u).real), rel=1e-12)


@pytest.mark.parametrize("tau", [5e-3, 20e-3])
def test_constant_current_is_the_closed_form(tau):
    """Interval = t_ref + τ [(1 + I_gain/I_∞) ln((I_∞ − I_0)/(I_∞ − I_thr)) + (I_gain/I_∞) ln(I_thr/I_0)]."""
    drives = np.array([1.05, 1.2, 2.0, 8.0])
    base = neurons(4, tau)
    i_tau, i_gain, i_thr = (float(value[0]) for value in (base.i_tau_mem, base.i_gain_mem, base.i_thr))
    i_infinity = drives * i_thr
    direct = (i_infinity / i_gain + 1) * i_tau
    circuit = Circuit(neurons=neurons(4, tau, i_dc=direct), dendrites={}, synapses=NO_SYNAPSES, n_channels=0)
    found = simulate(circuit, NO_EVENTS, 60 * tau, tolerance=1e-7)
    rise = np.log((i_infinity - T.i_0) / (i_infinity - i_thr))
    interval = tau * (rise + i_gain / i_infinity * (np.log(i_thr / T.i_0) + rise))
    for i in range(4):
        times = found.times[found.neurons == i]
        assert times[0] == pytest.approx(interval[i], rel=1e-5)
        np.testing.assert_allclose(np.diff(times), interval[i] + T_REF, rtol=1e-5)
    below = Circuit(neurons=neurons(4, tau, i_dc=0.9 * direct.min()), dendrites={}, synapses=NO_SYNAPSES, n_channels=0)
    assert len(simulate(below, NO_EVENTS, 60 * tau).times) == 0


def test_a_membrane_above_a_large_gain_is_an_exact_sum_of_two_exponentials():
    """One event into a nearly linear neuron: I_mem = (I_gain/I_τ) J τ_s/(τ_s − τ) (e^(−t/τ_s) − e^(−t/τ)), with the
    jump J = (1 − e^(−t_pulse/τ_s)) I_w I_gain/I_τ of the filter: so it decays exactly, and acts from its arrival on."""
    tau, tau_s, start, delay = 0.02, 0.005, 0.01, 0.003
    i_tau = float(T.current(T.c_mem, np.array(tau)))
    # The leak current −I_gain and the slow start near I_gain are small against the membrane: I_gain is 1e-4 of it.
    strong = Neurons(n=1, i_tau_mem=i_tau, i_gain_mem=1e-9, i_thr=1.0, i_ref=1e-9, i_dc=i_tau)
    synapse = Synapses(source=np.array([0]), target=np.array([0]), dendrite=AMPA, weight=np.array([8e-7]), delay=delay)
    circuit = Circuit(neurons=strong, dendrites={AMPA: dendrite(tau_s)}, synapses=synapse, n_channels=1)
    found = simulate(
        circuit, Events(np.array([start]), np.array([0])), 0.1, tolerance=1e-12, watch=[0], sample_step=1e-3
    )
    pulse = T.c_pulse * T.v_ref / 35e-9
    jump = (1 - math.exp(-pulse / tau_s)) * 8e-7 * 100
    assert jumps(circuit)[0] == pytest.approx(jump, rel=1e-9)
    t = found.sample_times - start - delay
    exact = 1e-9 / i_tau * jump * tau_s / (tau_s - tau) * (np.exp(-t / tau_s) - np.exp(-t / tau))
    later = t > 2e-3
    assert exact[later].max() > 1e3 * 1e-9
    np.testing.assert_allclose(found.membranes[0, later], exact[later], rtol=2e-2)
    assert (found.membranes[0, t < -1e-9] == pytest.approx(T.i_0)) and (t < 0).sum() == 13


@pytest.mark.parametrize("feedback", [False, True], ids=["threshold", "exponential"])
def test_spikes_are_those_of_scipy_s_solver(feedback):
    """Inhibition, shunt, adaptation, delays and recurrence: every spike within 20 µs, at a tight tolerance."""
    circuit = small(feedback)
    given = events(0.25, (150.0, 60.0))
    times, ids = reference(circuit, given, 0.25)
    found = simulate(circuit, given, 0.25, tolerance=1e-7)
    assert len(times) > 20 and set(ids.tolist()) == {0, 1, 2}
    assert found.neurons.tolist() == ids.tolist()
    np.testing.assert_allclose(found.times, times, atol=2e-5)


def test_inhibition_cancels_excitation_only():
    """GABA without excitation does nothing to a membrane on its way down; SHUNT makes it fall faster."""
    synapses = Synapses(
        source=np.array([0, 0, 0, 1, 1]),
        target=np.array([0, 1, 2, 1, 2]),
        dendrite=np.array([AMPA, AMPA, AMPA, GABA, SHUNT]),
        weight=np.array([30e-9, 30e-9, 30e-9, 300e-9, 300e-9]),
    )
    circuit = Circuit(
        neurons=neurons(3, i_thr=1.0),
        dendrites={kind: dendrite(1e-3) for kind in (AMPA, GABA, SHUNT)},
        synapses=synapses,
        n_channels=2,
    )
    given = Events(np.array([0.0, 0.03]), np.array([0, 1]))  # the excitation is over, e^−30, when inhibition comes
    alone, inhibited, shunted = simulate(
        circuit, given, 0.06, tolerance=1e-7, watch=[0, 1, 2], sample_step=1e-3
    ).membranes
    np.testing.assert_allclose(inhibited, alone, rtol=1e-4)
    assert alone[25] > 10 * T.i_0
    assert shunted[45] < 0.5 * alone[45]


def test_the_floor_and_the_refractory_time_hold_the_membrane():
    """I_0 before any input and for 2 ms after a spike, and never less."""
    given = events(0.3, (400.0, 200.0), seed=1)
    found = simulate(small(), given, 0.3, watch=[0, 1, 2], sample_step=1e-4)
    assert found.membranes.min() >= T.i_0 * (1 - 1e-9)
    for i in range(3):
        for time in found.times[found.neurons == i]:
            held = (found.sample_times > time) & (found.sample_times < time + T_REF)
            np.testing.assert_allclose(found.membranes[i, held], T.i_0, rtol=1e-9)
    intervals = [np.diff(found.times[found.neurons == i]) for i in range(3)]
    assert min(each.min() for each in intervals) > T_REF


def test_a_spike_acts_before_the_end_of_any_step():
    """A chain with a delay of 0: each neuron's spike moves the next one, which a simulator in steps would delay."""
    n = 20
    synapses = Synapses(
        source=np.arange(n), target=np.arange(n), dendrite=AMPA, weight=np.full(n, 1e-6), delay=0.0
    )  # channel 0 → neuron 0, neuron i → neuron i + 1
    circuit = Circuit(
        neurons=neurons(n, i_thr=1e-10), dendrites={AMPA: dendrite(5e-3)}, synapses=synapses, n_channels=1
    )
    found = simulate(circuit, Events(np.array([1e-3]), np.array([0])), 0.05, tolerance=1e-6)
    first = np.array([found.times[found.neurons == i][0] for i in range(n)])
    alone = simulate(circuit, Events(np.array([1e-3]), np.array([0])), 0.05, tolerance=1e-9)
    steps = np.diff(first)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
    assert 0 < steps[0] < 1e-4
    assert alone.times[0] - 1e-3 == pytest.approx(steps[0], rel=1e-3)


def test_it_converges_and_repeats():
    """Of a feed-forward layer more than 99.5 % of the spikes move by less than 0.1 ms at half the tolerance; a second
    run is the same bit by bit."""
    n, generator = 64, np.random.default_rng(3)
    target = np.repeat(np.arange(n), 30)
    synapses = Synapses(
        source=generator.integers(0, 40, len(target)),
        target=target,
        dendrite=np.where(generator.random(len(target)) < 0.7, AMPA, GABA),
        weight=generator.lognormal(0.0, 0.5, len(target)) * 10e-9,
    )
    circuit = Circuit(
        neurons=neurons(n, i_w_ahp=1e-7),
        dendrites={AMPA: dendrite(5e-3), GABA: dendrite(8e-3)},
        synapses=synapses,
        n_channels=40,
    )
    given = events(0.5, (30.0,) * 40)
    first, again, finer = (simulate(circuit, given, 0.5, tolerance=each) for each in (1e-4, 1e-4, 5e-5))
    assert first.times.tobytes() == again.times.tobytes() and first.neurons.tobytes() == again.neurons.tobytes()
    assert len(first.times) > 1000
    near = sum(
        int((np.abs(finer.times[finer.neurons == i][:, None] - first.times[first.neurons == i]) < 1e-4).any(0).sum())
        for i in range(n)
    )
    assert near > 0.995 * max(len(first.times), len(finer.times))


# ---- dies


def test_a_die_is_lognormal_and_belongs_to_its_site():
    """The CV asked for, the median kept; the same neuron in another circuit has the same deviation."""
    many = Circuit(neurons=neurons(4000, i_dc=1e-12), dendrites={}, synapses=NO_SYNAPSES, n_channels=0)
    die = deviating(many, seed=1, serial=7, cv={"i_tau_mem": 0.2, "i_thr": 0.1})
    for name, cv in (("i_tau_mem", 0.2), ("i_thr", 0.1)):
        u = np.log(getattr(die.neurons, name) / getattr(many.neurons, name)) / math.sqrt(math.log1p(cv**2))
        assert abs(u.mean()) < 0.05 and u.std() == pytest.approx(1, abs=0.04)
    assert (die.neurons.i_gain_mem == many.neurons.i_gain_mem).all()
    few = Circuit(neurons=neurons(2, number=np.array([9, 3])), dendrites={}, synapses=NO_SYNAPSES, n_channels=0)
    part = deviating(few, seed=1, serial=7, cv={"i_tau_mem": 0.2})
    assert part.neurons.i_tau_mem.tolist() == die.neurons.i_tau_mem[[9, 3]].tolist()
    assert (deviating(many, seed=1, serial=8).neurons.i_thr != die.neurons.i_thr).all()
    assert deviating(many, seed=1, serial=7, cv=0.0).neurons.i_thr.tolist() == many.neurons.i_thr.tolist()


def test_every_current_of_a_die_deviates_by_itself():
    """All names of CURRENTS: each changes with its name alone, and no two have the same normals."""
    circuit = small()

    def of(found: Circuit) -> dict[str, np.ndarray]:
        values = {name: getattr(found.neurons, name) for name in CURRENTS if name.startswith("i_")}
        for kind, filters in found.dendrites.items():
            values |= {f"{kind.name}.{name}": getattr(filters, name) for name in ("i_tau", "i_gain", "i_pulse")}
        return values | {"weight": found.synapses.weight}

    nominal = of(circuit)
    assert set(nominal) == set(CURRENTS)
    seen = set()
    for name in CURRENTS:
        moved = of(deviating(circuit, seed=0, serial=0, cv={name: 0.1}))
        changed = {each for each in CURRENTS if (moved[each] != nominal[each]).any()}
        assert changed == {name}
        seen.add(float(np.log(moved[name] / nominal[name])[0]))
    assert len(seen) == len(CURRENTS)


# ---- refusals


@pytest.mark.parametrize(
    ("times", "channels", "error", "words"),
    [
        ([0.0, 0.2, 0.1], [0, 0, 0], ValueError, "times: event 2 is at .*0.1.* s after .*0.2.* s; expected"),
        ([-0.1], [0], ValueError, "event 0 is at .*-0.1.* s; expected finite times ≥ 0"),
        ([math.nan], [0], ValueError, "event 0 is at .*nan"),
        ([0.1], [-1], ValueError, "channels: got -1"),
        ([0.1], [0.5], TypeError, "expected seconds and integer channels"),
        ([0.1, 0.2], [0], ValueError, "expected two arrays"),
    ],
)
def test_bad_events_are_refused(times, channels, error, words):
    with pytest.raises(error, match=words):
        Events(np.array(times), np.array(channels))


def test_events_of_a_network_s_steps():
    """x[t, c] events on channel c at t · dt, in order; what is no count is refused."""
    made = Events.of_steps(np.array([[0, 2], [0, 0], [1, 1]]), 5e-3)
    assert made.times.tolist() == [0.0, 0.0, 0.01, 0.01] and made.channels.tolist() == [1, 1, 0, 1]
    for wrong in ([[0.5]], [[-1]], [[math.nan]]):
        with pytest.raises(ValueError, match="expected whole numbers of events"):
            Events.of_steps(np.array(wrong), 5e-3)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"events": Events(np.array([0.5]), np.array([2]))}, ValueError, "channel 2 does not exist; the circuit has 2"),
        ({"events": Events(np.array([1.0]), np.array([0]))}, ValueError, "expected all before the duration, 1 s"),
        ({"events": ([0.1], [0])}, TypeError, "events: got tuple; expected"),
        ({"duration": 0.0}, ValueError, "duration: got 0.0"),
        ({"tolerance": math.nan}, ValueError, "tolerance: got nan"),
        ({"watch": [3]}, ValueError, "watch: got \\[3\\]; expected different neurons from 0 to 2"),
        ({"watch": [0.7]}, ValueError, "watch: got \\[0.7\\]; expected different neurons"),
        ({"watch": [True]}, ValueError, "watch: got \\[True\\]; expected different neurons"),
        ({"watch": [1, 1]}, ValueError, "watch: got \\[1, 1\\]; expected different neurons"),
        ({"sample_step": 0}, ValueError, "sample_step: got 0"),
        ({"watch": [0], "sample_step": 1e-12}, ValueError, "sample_step: got 1e-12 s; 1 neurons over 1 s have more"),
    ],
)
def test_a_simulation_that_cannot_be_is_refused(change, error, words):
    arguments = {"events": NO_EVENTS, "duration": 1.0} | change
    with pytest.raises(error, match=words):
        simulate(small(), arguments.pop("events"), arguments.pop("duration"), **arguments)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: neurons(2, i_thr=np.array([1e-9, -1e-9])), ValueError, "i_thr: value .* at position 1; expected"),
        (lambda: neurons(2, i_dc=math.nan), ValueError, "i_dc: value .*nan"),
        (lambda: neurons(2, i_thr=np.ones(3)), ValueError, "i_thr: got shape \\(3,\\); expected \\(2,\\)"),
        (lambda: neurons(2, feedback=1.0), TypeError, "feedback: got an array of float64; expected True or False"),
        (lambda: neurons(2, i_thr="big"), TypeError, "i_thr: got an array of .*; expected numbers"),
        (lambda: Technology(kappa=0.0), ValueError, "kappa: got 0.0"),
        (
            lambda: Circuit(neurons=neurons(1, i_thr=1e-13), dendrites={}, synapses=NO_SYNAPSES, n_channels=0),
            ValueError,
            "not above the leakage current",
        ),
        (
            lambda: Circuit(neurons=neurons(2), dendrites={}, synapses=small().synapses, n_channels=2),
            ValueError,
            "synapses.target: 2 at position 2; expected a neuron from 0 to 1",
        ),
        (
            lambda: Circuit(neurons=neurons(3), dendrites={}, synapses=small().synapses, n_channels=2),
            ValueError,
            "dendrites: AMPA is missing, but synapses end there",
        ),
        (
            lambda: Circuit(
                neurons=neurons(1), dendrites={AMPA: Dendrite(i_tau=0, i_gain=1)}, synapses=NO_SYNAPSES, n_channels=0
            ),
            ValueError,
            "dendrites\\[AMPA\\].i_tau",
        ),
        (
            lambda: Circuit(
                neurons=neurons(1), dendrites={"PLASTIC": dendrite(0.01)}, synapses=NO_SYNAPSES, n_channels=0
            ),
            ValueError,
            "dendrites: 'PLASTIC' does not exist; choose one of AMPA, GABA, NMDA, SHUNT",
        ),
        (lambda: deviating(small(), seed=0, serial=0, cv={"i_tau": 0.1}), ValueError, "cv: current: 'i_tau' does not"),
        (lambda: deviating(small(), seed=0, serial=-1), ValueError, "serial: got -1"),
        (lambda: deviating(small(), seed=2**64, serial=0), ValueError, "expected a number below 2\\*\\*64"),
    ],
)
def test_a_circuit_that_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
