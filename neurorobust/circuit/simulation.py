"""The simulator: from a circuit and its input events to spikes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._util.errors import check_number
from . import loops
from .description import Circuit, DendriteType
from .recording import Events, Recording

SAMPLE_STEP = 1e-4
"""Time between two samples of a membrane, s, unless another is asked for."""
MOST_SAMPLES = 1e8
"""Samples of membranes of one recording, at most: 0.8 GB."""


def simulate(
    circuit: Circuit,
    events: Events,
    duration: float,
    *,
    tolerance: float = 1e-5,
    watch: Sequence[int] = (),
    sample_step: float = SAMPLE_STEP,
) -> Recording:
    """The spikes of a circuit in continuous time.

    Every neuron follows the equation of the DPI neuron (Chicca, Stefanini, Bartolozzi and Indiveri, Proceedings of the
    IEEE 102, 2014; Livi and Indiveri, ISCAS 2009), all currents in A::

        τ (1 + I_gain/I_mem) dI_mem/dt = (I_gain/I_τ)(I_in − I_s − I_τ) + f − I_mem (1 + I_s/I_τ)      I_mem ≥ I_0
        I_in = max(I_0, I_AMPA + I_NMDA + I_dc − I_GABA)             I_s = I_ahp + I_SHUNT
        f = (I_a/I_τ)(I_mem + I_gain)                                τ = C_mem U_T/(κ I_τ)
        I_a = I_0^(1/(κ+1)) I_mem^(κ/(κ+1)) with positive feedback, else 0

    A current that an event makes larger decays exactly: see :class:`Dendrite`. A neuron spikes at I_mem = I_thr; then
    I_ahp jumps, and I_mem is held at I_0 for the refractory time, while the other currents go on. All begin with
    I_mem = I_0 and no other current.

    **Numbers.** Each neuron takes its own steps, with an estimate of their error, from event to event; a spike is
    located inside a step. Spikes arrive at their exact times, and in the order of time for any delay. The result does
    not depend on anything random. The module :mod:`neurorobust.circuit.loops` has the details.

    Args:
        circuit: see :class:`Circuit`. events: input. duration: s; events and spikes from then on do not exist.
        tolerance: largest estimated error of one step, as a fraction of I_thr + I_gain; of I_mem + I_gain in neurons
            with positive feedback.
        watch: neurons whose membranes are recorded. sample_step: time between two samples of them, s.

    Raises:
        ValueError: an event beyond the channels or the duration, or another argument out of range.
        RuntimeError: no step is small enough, as with currents of many orders of magnitude.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> held = chipmodels.load("dynapse2").program(nr.nominal(network), network.placement())
        >>> events = nr.circuit.Events([0.001, 0.002], [3, 17])
        >>> recording = nr.circuit.simulate(nr.circuit.circuit_of(network, held), events, duration=0.02)
        >>> bool((recording.times < 0.02).all()), recording.steps > 0
        (True, True)
    """
    duration = check_number("duration", duration, strict=True)
    tolerance = check_number("tolerance", tolerance, strict=True)
    sample_step = check_number("sample_step", sample_step, strict=True)
    _check_events(circuit, events, duration)
    watched, sample_times = _watched(watch, circuit.neurons.n), np.empty(0)
    if len(watched):
        if len(watched) * (duration / sample_step) > MOST_SAMPLES:
            raise ValueError(
                f"sample_step: got {sample_step:g} s; {len(watched)} neurons over {duration:g} s have more than "
                f"{MOST_SAMPLES:g} samples; choose a longer step."
            )
        sample_times = np.arange(int(np.ceil(duration / sample_step)), dtype=np.float64) * np.float64(sample_step)
        sample_times = sample_times[sample_times < duration]
    m = model_of(circuit)
    traces = loops.Traces(
        sample_step, np.empty((len(watched), len(sample_times))), np.zeros(len(watched), dtype=np.int64)
    )
    how, spikes, numbers = loops.run(
        m,
        wiring_of(circuit),
        _at_rest(m, watched),
        loops.Inputs(events.times, events.channels),
        traces,
        loops.Limits(duration, tolerance),
    )
    if how == loops.STUCK:
        raise RuntimeError(
            f"tolerance: no step of {loops.SMALLEST:g} s or more has an error below {tolerance:g}; check the currents, "
            f"or raise the tolerance."
        )
    return Recording(
        times=spikes[:, 0].copy(),
        neurons=spikes[:, 1].astype(np.int64),
        n=circuit.neurons.n,
        duration=duration,
        membranes=traces.x * circuit.neurons.i_gain_mem[watched, None],
        sample_times=sample_times,
        steps=int(numbers[loops.STEPS]),
        rejected=int(numbers[loops.REJECTED]),
    )


def _watched(watch: Sequence[int], n: int) -> np.ndarray:
    """The watched neurons, checked: different integers from 0 to n − 1."""
    given = np.asarray(watch if len(watch) else np.empty(0, dtype=np.int64))
    right = given.ndim == 1 and given.dtype.kind in "iu" and bool(((given >= 0) & (given < n)).all())
    if not right or len(np.unique(given)) < len(given):
        raise ValueError(f"watch: got {list(watch)}; expected different neurons from 0 to {n - 1}.")
    return given.astype(np.int64)


def _check_events(circuit: Circuit, events: Events, duration: float) -> None:
    if not isinstance(circuit, Circuit):
        raise TypeError(f"circuit: got {type(circuit).__name__}; expected a neurorobust.circuit.Circuit.")
    if not isinstance(events, Events):
        raise TypeError(f"events: got {type(events).__name__}; expected a neurorobust.circuit.Events.")
    if not len(events.times):
        return
    if events.channels.max() >= circuit.n_channels:
        raise ValueError(
            f"events: channel {events.channels.max()} does not exist; the circuit has {circuit.n_channels} channels."
        )
    if events.times[-1] >= duration:
        raise ValueError(
            f"events: the last is at {events.times[-1]:g} s; expected all before the duration, {duration:g} s."
        )


def model_of(circuit: Circuit) -> loops.Model:
    """The constants as the loop takes them: times in s, currents divided by I_τ."""
    c, t = circuit.neurons, circuit.technology
    i_tau = c.i_tau_mem
    rates = np.zeros((c.n, len(DendriteType) + 1))
    for kind, dendrite in circuit.dendrites.items():
        rates[:, kind] = 1 / t.tau(t.c_syn, dendrite.i_tau)
    rates[:, loops.AHP] = 1 / t.tau(t.c_ahp, c.i_tau_ahp)
    step = -np.expm1(-t.charge_time(t.c_pulse, c.i_pulse_ahp) * rates[:, loops.AHP]) * c.i_gain_ahp / c.i_tau_ahp
    power = t.kappa / (t.kappa + 1)
    x_floor, x_threshold = t.i_0 / c.i_gain_mem, c.i_thr / c.i_gain_mem
    return loops.Model(
        tau=t.tau(t.c_mem, i_tau),
        pace=1 / t.tau(t.c_mem, i_tau),
        rates=rates,
        least=t.i_0 / i_tau,
        direct=c.i_dc / i_tau,
        feedback=np.where(c.feedback, t.i_0 ** (1 - power) * c.i_gain_mem**power / i_tau, 0.0),
        power=power,
        u_floor=x_floor + np.log(x_floor),
        u_threshold=x_threshold + np.log(x_threshold),
        x_threshold=x_threshold,
        ahp=step * c.i_w_ahp / i_tau,
        t_ref=t.charge_time(t.c_ref, c.i_ref),
        table=loops.table_of_omega(),
    )


def jumps(circuit: Circuit) -> np.ndarray:
    """The jump of the filter's current at an event, A, (m,): (1 − e^(−t_pulse/τ)) I_w I_gain/I_τ of the filter."""
    t, s = circuit.technology, circuit.synapses
    factors = np.zeros((len(DendriteType), circuit.neurons.n))
    for kind, dendrite in circuit.dendrites.items():
        pulse = t.charge_time(t.c_pulse, dendrite.i_pulse) / t.tau(t.c_syn, dendrite.i_tau)
        factors[kind] = -np.expm1(-pulse) * dendrite.i_gain / dendrite.i_tau
    return np.asarray(factors[s.dendrite, s.target] * s.weight)


def wiring_of(circuit: Circuit) -> loops.Wiring:
    """The synapses as the loop takes them, ordered by source, delay and target."""
    s = circuit.synapses
    order = np.lexsort((s.dendrite, s.target, s.delay, s.source))
    first = np.searchsorted(s.source[order], np.arange(circuit.n_channels + circuit.neurons.n + 1))
    jump = jumps(circuit) / circuit.neurons.i_tau_mem[s.target]
    last = np.repeat(first[1:], np.diff(first))
    return loops.Wiring(first, last, s.target[order], s.dendrite[order], jump[order], s.delay[order])


def _at_rest(m: loops.Model, watched: np.ndarray) -> loops.State:
    n = len(m.tau)
    trace = np.full(n, -1, dtype=np.int64)
    trace[watched] = np.arange(len(watched))
    zeros = [np.zeros(n) for _ in range(6)]
    return loops.State(
        time=zeros[0],
        u=m.u_floor.copy(),
        slope=zeros[1],
        currents=np.zeros(m.rates.shape),
        end=zeros[2],
        how=np.full(n, loops.CUT),
        length=zeros[3],
        u_end=zeros[4],
        slope_end=zeros[5],
        next_length=0.1 * m.tau,
        trace=trace,
        heap=np.arange(n),
        place=np.arange(n),
        stale=np.arange(n),
        marked=np.ones(n, dtype=np.bool_),
    )
