"""Error of LinearizedDpi against the equations of the DPI neuron's circuit.

    python -m benchmarks.dpi_circuit

Prints the tables of docs/physics.md. The circuit, with all currents in A (Chicca, Stefanini, Bartolozzi and
Indiveri, Proceedings of the IEEE 102, 2014: the DPI neuron; Livi and Indiveri, ISCAS 2009)::

    τ (1 + I_gain/I_mem) dI_mem/dt = I_∞ + f(I_mem) − I_mem (1 + I_ahp/I_τ)        I_mem ≥ I_0
    I_∞ = (I_gain/I_τ) (I_in − I_ahp − I_τ)         f = (I_a/I_τ) (I_mem + I_gain)      τ = C U_T/(κ I_τ)
    I_a = I_0^(1/(κ+1)) I_mem^(κ/(κ+1))

It spikes at I_thr, is reset to I_0 and held there for t_ref. f is the positive feedback of the exponential neuron; the
threshold neuron has none. The linearisation leaves out I_gain/I_mem, f and I_ahp/I_τ: v_leak = −I_gain, v_floor =
v_reset = I_0, r = I_gain/I_τ. It is run as the package runs it.

The constants κ, U_T, I_0 and C are those of rockpool's DynapSim. In the exponential neuron I_thr is half the current
at which the positive feedback alone would fire it, so that the neuron can be linear at all: I_τ (I_τ/I_0)^(1/κ) / 2.
In the threshold neuron it is free; the first tables use the same one, the others give it as a multiple of I_gain.

The circuit is integrated by scipy's ``solve_ivp``, in ln I_mem, between events and up to each spike. Nothing of it is
shared with the package's neuron.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from neurorobust import kernels
from neurorobust.dynamics import CancelsExcitation, Inhibition, PullsDown
from neurorobust.nn import Linear, LinearizedDpi

KAPPA, U_T, I_0, C_MEM = 0.705, 0.025, 0.5e-12, 3e-12  # V, A, F
GAIN = 4.0  # I_gain/I_τ
T_REF = 2e-3  # s
TAUS = (5e-3, 20e-3, 40e-3)
DRIVES = (1.05, 1.2, 1.5, 2.0, 4.0, 8.0)  # I_∞/I_thr
LONG, RATIOS = (5e-3, 20e-3, 40e-3, 80e-3, 160e-3), (4.0, 10.0, 30.0, 100.0, 300.0)  # τ in s, I_thr/I_gain
DRIVEN = ((20e-3, 80e-3, 160e-3), (10.0, 30.0, 100.0, 300.0))  # those of the run with events
SECONDS, TAU_SYN, EVENTS = 20.0, 5e-3, 200.0  # of the run with events; s; events of each sign in a second
EXCITATION, INHIBITION = 2.2, 1.0  # their mean current, in units of the current that just reaches the threshold
STEP = 1e-4  # s, of events
C_SYN, PULSES, STRONGEST = 24.5e-12, (10e-6, 100e-6), 0.49e-6  # F, s, A: of the largest weight
PICO = 1e12


@dataclass(frozen=True)
class Circuit:
    """A DPI neuron.

    Attributes:
        tau: s. feedback: whether it is the exponential neuron. ratio: I_thr/I_gain; None for half the firing point.
    """

    tau: float
    feedback: bool
    ratio: float | None = None

    @property
    def i_tau(self) -> float:
        return C_MEM * U_T / (KAPPA * self.tau)

    @property
    def i_gain(self) -> float:
        return GAIN * self.i_tau

    @property
    def i_thr(self) -> float:
        if self.ratio is not None:
            return self.ratio * self.i_gain
        return self.i_tau * (self.i_tau / I_0) ** (1 / KAPPA) / 2

    @property
    def i_reach(self) -> float:
        """The constant I_in that just reaches the threshold: I_∞ = I_thr."""
        return self.i_tau * (1 + self.i_thr / self.i_gain)

    def flow(self, i_infinity: float, i_ahp: float, log_current: float) -> float:
        """d ln(I_mem)/dt above I_0."""
        i = math.exp(log_current)
        f = I_0 ** (1 / (KAPPA + 1)) * i ** (KAPPA / (KAPPA + 1)) * (i + self.i_gain) / self.i_tau
        drive = i_infinity + (f if self.feedback else 0.0) - i * (1 + i_ahp / self.i_tau)
        return drive / (self.tau * (i + self.i_gain))

    def membrane(self, i_infinity: float, start: float, times: np.ndarray, i_ahp: float = 0.0) -> np.ndarray:
        """I_mem at some times under a constant current, without threshold."""
        span = (0.0, float(times[-1]))
        found = solve_ivp(
            lambda _, y: [self.flow(i_infinity, i_ahp, y[0])], span, [math.log(start)], t_eval=times, method="LSODA",
            rtol=1e-9, atol=1e-11,
        )  # fmt: skip
        return np.maximum(np.exp(found.y[0]), I_0)

    def time_to_spike(self, i_infinity: float, i_ahp: float = 0.0) -> float:
        """From I_0 to the threshold under a constant current, s; infinite if it is never reached."""

        def reached(_: float, y: np.ndarray) -> float:
            return y[0] - math.log(self.i_thr)

        reached.terminal = True  # type: ignore[attr-defined]
        found = solve_ivp(
            lambda _, y: [self.flow(i_infinity, i_ahp, y[0])], (0.0, 200 * self.tau), [math.log(I_0)], events=reached,
            method="LSODA", rtol=1e-9, atol=1e-11,
        )  # fmt: skip
        return float(found.t_events[0][0]) if len(found.t_events[0]) else math.inf

    def closed_time_to_spike(self, i_infinity: float) -> float:
        """:meth:`time_to_spike` without feedback, in closed form."""
        rise = math.log((i_infinity - I_0) / (i_infinity - self.i_thr))
        return self.tau * (rise + self.i_gain / i_infinity * (math.log(self.i_thr / I_0) + rise))


def linearised(
    circuit: Circuit,
    i_infinity: float,
    i_ahp: float = 0.0,
    weight: torch.Tensor | None = None,
    inhibition: Inhibition = PullsDown(),
) -> LinearizedDpi:
    """The package's neuron for such a circuit, currents in pA; a constant current, or a weight (1, n_in) in pA."""
    direct = (i_infinity / circuit.i_gain + 1) * circuit.i_tau - i_ahp
    synapses = Linear(torch.zeros(1, 1).double(), torch.tensor([direct * PICO], dtype=torch.float64))
    return LinearizedDpi(
        synapses if weight is None else Linear(weight),
        tau_mem=circuit.tau,
        tau_syn_exc=TAU_SYN,
        tau_syn_inh=TAU_SYN,
        r=circuit.i_gain / circuit.i_tau,
        v_threshold=circuit.i_thr * PICO,
        v_leak=-circuit.i_gain * PICO,
        v_floor=I_0 * PICO,
        v_reset=I_0 * PICO,
        t_ref=T_REF,
        inhibition=inhibition,
    )


@torch.no_grad()
def linear_rate(circuit: Circuit, i_infinity: float, i_ahp: float = 0.0) -> float:
    """Rate of the package's neuron, Hz, from its spikes after the first; i_ahp is held constant."""
    dt = min(circuit.tau, T_REF) / 400
    layer = linearised(circuit, i_infinity, i_ahp)
    spikes = layer(torch.zeros(round(40 * circuit.tau / dt), 1, 1).double(), dt)[:, 0, 0].nonzero()[:, 0]
    return 0.0 if len(spikes) < 2 else (len(spikes) - 1) / (float(spikes[-1] - spikes[0]) * dt)


@torch.no_grad()
def linear_membrane(circuit: Circuit, i_infinity: float, start: float, times: np.ndarray) -> np.ndarray:
    """Membrane of the package's neuron, A, as :meth:`Circuit.membrane`; ``times`` at equal steps from 0."""
    dt = float(times[1])
    layer = linearised(circuit, i_infinity)
    c = layer.floored_coefficients(dt)._replace(v_threshold=torch.full((1,), 1e9).double())
    first = torch.zeros(len(times) - 1, 1, 1).double()
    alpha = math.exp(-dt / circuit.tau)
    first[0] = alpha * (start + circuit.i_gain) * PICO  # from v_leak to the start, at once
    _, above = kernels.floored(torch.zeros(len(times) - 1, 1, 2).double(), None, c, layer.floored_dynamics(), first)
    return np.concatenate([[start], (above[:, 0, 0].numpy().clip(0) / PICO) + I_0])


def rate_error(circuit: Circuit, drive: float, i_ahp: float = 0.0) -> tuple[float, float]:
    """Rate of the circuit, Hz, and the relative error of the linearisation."""
    i_infinity = drive * circuit.i_thr
    reduced = i_infinity - GAIN * i_ahp
    true = 1 / (T_REF + circuit.time_to_spike(reduced, i_ahp))
    return true, linear_rate(circuit, i_infinity, i_ahp) / true - 1 if true else math.nan


def crossing(times: np.ndarray, values: np.ndarray, level: float) -> float:
    """The first time at which a monotone curve passes a level."""
    passed = np.flatnonzero((values >= level) if values[0] < level else (values <= level))
    return float(times[passed[0]]) if len(passed) else math.inf


def membrane_errors(circuit: Circuit) -> tuple[float, float, float]:
    """Of a step from I_0 to I_∞ = I_thr/2 and back: the largest difference on the way up as a fraction of I_thr/2; the
    time to half of it, and the time to fall to a tenth of it, each of the circuit over that of the linearisation. For
    the threshold neuron: the exponential one may fire by itself from there."""
    times, half = np.linspace(0, 12 * circuit.tau, 4801), circuit.i_thr / 2
    up, linear_up = circuit.membrane(half, I_0, times), linear_membrane(circuit, half, I_0, times)
    down = circuit.membrane(-circuit.i_gain, half, times)
    linear_down = linear_membrane(circuit, -circuit.i_gain, half, times)
    rise = crossing(times, up, half / 2) / crossing(times, linear_up, half / 2)
    fall = crossing(times, down, half / 10) / crossing(times, linear_down, half / 10)
    return float(np.abs(up - linear_up).max() / half), rise, fall


def events(seconds: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts of excitatory and inhibitory events (steps of STEP, 2), Poisson, and the size of each event as a fraction
    of the current that reaches the threshold."""
    counts = np.random.default_rng(seed).poisson(EVENTS * STEP, (round(seconds / STEP), 2))
    return counts, np.array([EXCITATION, INHIBITION]) / (EVENTS * TAU_SYN)


def circuit_spikes(circuit: Circuit, counts: np.ndarray, sizes: np.ndarray, *, pulls: bool = True) -> int:
    """Spikes of the circuit under events, whose currents jump and decay with TAU_SYN; without ``pulls`` inhibition
    cancels excitation but never makes I_in negative."""
    floor, top = math.log(I_0), math.log(circuit.i_thr)

    def drive(t: float, net: float) -> float:
        net = net if pulls else max(net, 0.0)
        return circuit.i_gain * (net * math.exp(-t / TAU_SYN) / circuit.i_tau - 1)

    def flow(t: float, y: np.ndarray, net: float) -> list[float]:
        return [circuit.flow(drive(t, net), 0.0, y[0])]

    def reached(_: float, y: np.ndarray, *__: float) -> float:
        return y[0] - top

    def fallen(_: float, y: np.ndarray, *__: float) -> float:
        return y[0] - floor

    reached.terminal = fallen.terminal = True  # type: ignore[attr-defined]
    fallen.direction = -1  # type: ignore[attr-defined]
    times = np.append(np.flatnonzero(counts.any(1)), len(counts)) * STEP
    signed = (counts * sizes * circuit.i_reach) @ np.array([1.0, -1.0])  # both decay alike, so their difference does
    log_current, net, begin, free, spikes = floor, 0.0, 0.0, 0.0, 0
    for end in times:
        t, last = max(0.0, min(free, end) - begin), end - begin
        while t < last and (log_current > floor or flow(t, np.array([floor]), net)[0] > 0):  # else it stays there
            found = solve_ivp(
                flow, (t, last), [log_current], "LSODA", args=(net,), events=(reached, fallen), rtol=1e-6, atol=1e-8
            )
            log_current, t = max(float(found.y[0, -1]), floor), float(found.t[-1])
            if len(found.t_events[0]):
                log_current, spikes, t = floor, spikes + 1, t + T_REF
                free = begin + t
            elif len(found.t_events[1]):
                log_current = floor
        net = net * math.exp(-last / TAU_SYN) + (signed[round(end / STEP)] if end < times[-1] else 0.0)
        begin = end
    return spikes


@torch.no_grad()
def linear_spikes(circuit: Circuit, counts: np.ndarray, sizes: np.ndarray, *, pulls: bool = True) -> int:
    """Spikes of the package's neuron under the same events; ``pulls`` as in :func:`circuit_spikes`."""
    weight = torch.tensor(sizes * circuit.i_reach * PICO * np.array([1.0, -1.0]))[None]
    layer = linearised(circuit, 0.0, weight=weight, inhibition=PullsDown() if pulls else CancelsExcitation())
    return int(layer(torch.from_numpy(counts)[:, None].double(), STEP).sum())


def event_size(largest: float, start: float, i_gain: float) -> float:
    """By how much an event raises the current of a DPI synapse, as a fraction of the jump J = ``largest`` of a linear
    one. ∫ (1 + I_gain/I) dI = J from I = start, for a pulse much shorter than τ."""

    def missing(log_end: float) -> float:
        end = math.exp(log_end)
        return end - start + i_gain * (log_end - math.log(start)) - largest

    low, high = math.log(start), math.log(start + largest)
    return (math.exp(float(brentq(missing, low, high))) - start) / largest


def spread(values: Sequence[float]) -> str:
    """The smallest and the largest of some fractions, in per cent."""
    low, high = (f"{100 * value:+.0f}" for value in (min(values), max(values)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def free_threshold_tables() -> None:
    """The threshold neuron over I_thr/I_gain and τ_mem."""
    head = " | ".join(f"{ratio:g}" for ratio in RATIOS)
    print(f"\n| τ_mem | I_τ, I_gain (pA) | {head} |\n" + "|---" * (2 + len(RATIOS)) + "|")
    for tau in LONG:
        circuits = [Circuit(tau, False, ratio) for ratio in RATIOS]
        cells = [spread([rate_error(circuit, drive)[1] for drive in DRIVES]) for circuit in circuits]
        sizes = f"{PICO * circuits[0].i_tau:.2f}, {PICO * circuits[0].i_gain:.1f}"
        print(f"| {1e3 * tau:g} ms | {sizes} | " + " | ".join(cells) + " |")
    print(f"\n| τ_mem | {head} |\n" + "|---" * (1 + len(RATIOS)) + "|")
    for tau in LONG:
        found = [membrane_errors(Circuit(tau, False, ratio)) for ratio in RATIOS]
        cells = [f"{100 * error:.0f} %, × {rise:.2f}, × {fall:.2f}" for error, rise, fall in found]
        print(f"| {1e3 * tau:g} ms | " + " | ".join(cells) + " |")
    print(f"\n| τ_mem | {head} |\n" + "|---" * (1 + len(RATIOS)) + "|")
    for tau in LONG:
        circuits = [Circuit(tau, False, ratio) for ratio in RATIOS]
        cells = [f"{PICO * c.i_thr:.0f}, {PICO * c.i_reach:.0f}" for c in circuits]
        print(f"| {1e3 * tau:g} ms | " + " | ".join(cells) + " |")


def event_tables() -> None:
    """The threshold neuron under excitation and inhibition, and the size of one event."""
    counts, sizes = events(SECONDS)
    print(
        "\n| τ_mem | " + " | ".join(f"{ratio:g}" for ratio in DRIVEN[1]) + " |\n" + "|---" * (1 + len(DRIVEN[1])) + "|"
    )
    for tau in DRIVEN[0]:
        cells = []
        for ratio in DRIVEN[1]:
            circuit = Circuit(tau, False, ratio)
            found = [
                spikes(circuit, counts, sizes, pulls=pulls)
                for spikes in (circuit_spikes, linear_spikes)
                for pulls in (True, False)
            ]
            cells.append(", ".join(map(str, found)))
        print(f"| {1e3 * tau:g} ms | " + " | ".join(cells) + " |")
    i_tau = C_SYN * U_T / (KAPPA * TAU_SYN)
    print("\n| pulse | weight | J/I_gain | from I_gain/100 | from I_gain | from 10 I_gain |\n" + "|---" * 6 + "|")
    for pulse in PULSES:
        for part in (1, 15):
            jump = (1 - math.exp(-pulse / TAU_SYN)) * STRONGEST / part / i_tau  # in units of I_gain
            cells = [f"{100 * event_size(jump, start, 1.0):.0f} %" for start in (0.01, 1.0, 10.0)]
            weight = "largest" if part == 1 else f"1/{part}"
            print(f"| {1e6 * pulse:g} µs | {weight} | {jump:.2g} | " + " | ".join(cells) + " |")


def main() -> None:
    print("| τ_mem | I_thr, I_gain (pA) | neuron | " + " | ".join(f"{drive:g}" for drive in DRIVES) + " |")
    print("|---" * (3 + len(DRIVES)) + "|")
    for tau in TAUS:
        for feedback, name in ((False, "threshold"), (True, "exponential")):
            circuit = Circuit(tau, feedback)
            cells = []
            for drive in DRIVES:
                rate, error = rate_error(circuit, drive)
                cells.append(f"{rate:.1f} Hz, {100 * error:+.0f} %")
            sizes = f"{PICO * circuit.i_thr:.1f}, {PICO * circuit.i_gain:.1f}"
            print(f"| {1e3 * tau:g} ms | {sizes} | {name} | " + " | ".join(cells) + " |")
    print("\n| τ_mem | largest error on the way up | time to half | time to fall to a tenth |\n|---|---|---|---|")
    for tau in TAUS:
        error, rise, fall = membrane_errors(Circuit(tau, False))
        print(f"| {1e3 * tau:g} ms | {100 * error:.0f} % | × {rise:.2f} | × {fall:.2f} |")
    print("\n| I_ahp/I_τ | rate of the circuit, error of ours |\n|---|---|")
    for ratio in (0.0, 0.1, 0.3, 1.0):
        circuit = Circuit(20e-3, False)
        rate, error = rate_error(circuit, 4.0, ratio * circuit.i_tau)
        print(f"| {ratio:g} | {rate:.1f} Hz, {100 * error:+.0f} % |")
    print("\n| I_ahp/I_τ, I_thr = 100 I_gain | rate of the circuit, error of ours |\n|---|---|")
    for ratio in (0.0, 0.3, 1.0, 3.0, 10.0):
        circuit = Circuit(20e-3, False, 100.0)
        rate, error = rate_error(circuit, 4.0, ratio * circuit.i_tau)
        print(f"| {ratio:g} | {rate:.1f} Hz, {100 * error:+.0f} % |")

    free_threshold_tables()
    event_tables()


if __name__ == "__main__":
    main()
