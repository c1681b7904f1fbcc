"""LinearizedDpi against closed forms, scipy's ODE solver, a loop around snnTorch's neuron, and its two loops."""

from __future__ import annotations

import math

import hypothesis
import numpy as np
import pytest
import snntorch
import torch
from conftest import DT, double, draw, events
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust import kernels
from neurorobust.core.noise import Noise
from neurorobust.core.placement import HOST
from neurorobust.core.run import nominal, run
from neurorobust.dynamics import (
    AdaptiveThreshold,
    Ahp,
    CancelsExcitation,
    HardFloor,
    LeakyFloor,
    NoFloor,
    PullsDown,
)
from neurorobust.dynamics.surrogate import ArcTan, FastSigmoid, Triangle
from neurorobust.evaluation.certify import certify
from neurorobust.evaluation.worst_case import find_worst_case
from neurorobust.nn import AvgPool2d, Chain, Conv1d, Delayed, LeakyIntegrator, Linear, LinearizedDpi, Network, OneToOne

KERNELS = ["reference", "compiled"]
TAUS = {"tau_mem": 0.01, "tau_syn_exc": 0.004, "tau_syn_inh": 0.006}


def silent_input(n=1):
    """No event will come; n neurons."""
    return torch.zeros(n, 1).double()


# ---- closed forms


@pytest.mark.parametrize("kernel", KERNELS)
@given(
    tau=st.floats(2e-3, 0.1),
    drive=st.floats(1.05, 20),
    r=st.floats(0.3, 3),
    held=st.integers(0, 7),
    leak=st.floats(-0.1, 0.1),
)
def test_time_to_first_spike_and_rate_under_constant_current(kernel, tau, drive, r, held, leak):
    """From v_leak the first spike is at the smallest t with v_leak + r I (1 − α^t) > ϑ, r I = drive (ϑ − v_leak); the
    interval between spikes is t_ref longer: a rate of 1/(t_ref + t)."""
    threshold = 0.3
    exact = math.log(1 - 1 / drive) / (-DT / tau)
    hypothesis.assume(abs(exact - round(exact)) > 1e-6)
    first, period = math.floor(exact) + 1, math.floor(exact) + 1 + held
    current = double((threshold - leak) * drive / r)
    options = {"t_ref": held * DT} if held else {}
    layer = LinearizedDpi(
        Linear(silent_input(), current), **TAUS | {"tau_mem": tau}, v_threshold=threshold, v_leak=leak, r=r,
        v_floor=-0.2, **options,
    ).double()  # fmt: skip
    with kernels.using(kernel):
        spikes = layer(torch.zeros(first + 3 * period, 1, 1).double(), DT)[:, 0, 0]
    assert spikes.nonzero()[:, 0].add(1).tolist() == [first + k * period for k in range(4)]


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 5e-3, 2e-2])
def test_an_event_carries_the_same_charge_at_every_dt(dt):
    """∫ (v − v_leak) dt of one event through a weight w, without spikes, is r w tau_syn at every step length; of an
    inhibitory one without a floor, its negative. The neuron that scales events by 1 − σ would be 4 times off."""
    steps, w, r = round(1.0 / dt), 0.7, 1.3
    values = TAUS | {"tau_mem": 0.03}
    layer = LinearizedDpi(Linear(double([[w], [-w]])[0]), **values, v_threshold=1e6, r=r, floor=NoFloor()).double()
    x = torch.zeros(steps, 1, 1).double()
    x[2] = 1
    with torch.no_grad():
        _, v = kernels.floored(layer.currents(x, dt), None, layer.floored_coefficients(dt), layer.floored_dynamics())
    area = dt * v.sum((0, 1))
    torch.testing.assert_close(area, r * w * double(0.004, -0.006), rtol=1e-9, atol=0)


def membrane(layer, x, dt):
    """v after the floor and before the reset, of a layer without refractory steps, (T, B, n)."""
    floor = torch.zeros(layer.n).double() if not hasattr(layer, "v_floor") else layer.per_neuron("v_floor")
    with torch.no_grad():
        _, above = kernels.floored(
            layer.currents(x, dt), layer.recurrent_matrix(), layer.floored_coefficients(dt), layer.floored_dynamics()
        )
    return above.clamp(min=0) + floor


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_membrane_leaves_its_floor_from_there(kernel):
    """Held down by inhibition, then driven: from v_floor, not from where v would be: v_floor α^t + r I (1 − α^t)."""
    weight = double([[0.5, -4e4]])[0]
    layer = LinearizedDpi(Linear(weight), **TAUS | {"tau_syn_inh": 1e-5}, v_threshold=5.0, v_floor=-0.1).double()
    x = torch.zeros(60, 1, 2).double()
    x[:20, 0, 1] = 1
    x[25:, 0, 0] = 1
    with kernels.using(kernel):
        v = membrane(layer, x, DT)[:, 0, 0]
        at_floor = layer.trace(x, DT).at_floor[:, 0, 0]
    assert at_floor[:20].all() and not at_floor[21:].any() and (v[:20] == -0.1).all()
    alpha, sigma = math.exp(-DT / 0.01), math.exp(-DT / 0.004)
    expected = -0.1 * alpha**5
    current = 0.0
    for t in range(25, 60):
        current = sigma * current + 0.5
        expected = alpha * expected + (1 - alpha) * (1 - sigma) * 0.004 / DT * current
        assert v[t].item() == pytest.approx(expected, abs=1e-12)


def test_a_direct_current_lifts_rest_and_neurons_fire_by_themselves():
    """Without input: rest is v_leak + r I_dc; the neurons whose rest is above ϑ fire at the closed form's rate, the
    others never do. 400 neurons whose current deviates by 10 % on a die: counted, one by one."""
    n, steps, tau = 400, 400, 0.01
    dc = 0.19 * torch.ones(n).double()
    network = Network(
        {"one": LinearizedDpi(Linear(silent_input(n), dc), **TAUS, v_threshold=0.2, v_leak=-0.01, v_floor=-0.02)}, DT
    ).double()
    die = nr.apply(nominal(network), {"one.input.bias": 0.1 * draw(3, n)})
    x = torch.zeros(1, steps, 1).double()
    counts = run(network, die, x, record=True)[1]["one"][0].sum(0)
    rest = -0.01 + die["one.input.bias"]
    fires = rest > 0.2
    exact = torch.log(1 - 0.21 / die["one.input.bias"][fires]) / (-DT / tau)
    periods = exact.floor() + 1
    assert torch.equal(counts[fires], (steps / periods).floor()) and counts[~fires].sum() == 0
    assert 20 < fires.sum() < 200 and counts.sum() > 0
    held = run(network, nominal(network), x, record=True)[1]["one"]
    assert held.sum() == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_adaptation_by_its_closed_form(kernel):
    """After spikes at steps s, b = Σ ρ^(t−s−1); with a constant current, each rule gives the spikes of a loop."""
    tau_adapt, adaptation, drive, threshold = 0.03, 0.08, 0.6, 0.3
    alpha, rho = math.exp(-DT / 0.01), math.exp(-DT / tau_adapt)
    for rule in (Ahp(), AdaptiveThreshold()):
        layer = LinearizedDpi(
            Linear(silent_input(), double(drive)), **TAUS, v_threshold=threshold, tau_adapt=tau_adapt,
            adaptation=adaptation, rule=rule,
        ).double()  # fmt: skip
        with kernels.using(kernel):
            z = layer(torch.zeros(200, 1, 1).double(), DT)[:, 0, 0]
        spikes, v = [], 0.0
        for t in range(200):
            b = sum(rho ** (t - s - 1) for s in spikes)
            ahp = (1 - rho) * tau_adapt / DT * adaptation * b if rule == Ahp() else 0.0
            bound = threshold + (0.0 if rule == Ahp() else adaptation * b)
            v = max(alpha * v + (1 - alpha) * (drive - ahp), 0.0)
            if v > bound:
                spikes.append(t)
                v = 0.0
        assert z.nonzero()[:, 0].tolist() == spikes
        gaps = np.diff(spikes)
        assert len(spikes) > 5 and gaps[-1] > gaps[0]


# ---- the limit of small steps


def driven(p, limited, exc, inh, ahp):
    """r times the current of the membrane."""
    return p["r"] * (limited(exc - inh + p["dc"]) - ahp)


def trajectory(arrivals, weights, p, end, limited):
    """Spike times of the differential equations, by scipy's solver with event detection, and the time at the floor.
    ``limited`` is applied to excitation − inhibition + direct current.

    State: v, i_exc, i_inh, i_ahp. Between events the membrane is free, at its floor, or held after a spike.
    """

    def flow(mode):
        def rhs(_, y):
            v, exc, inh, ahp = y
            dv = (p["v_leak"] - v + driven(p, limited, exc, inh, ahp)) / p["tau_mem"] if mode == "free" else 0.0
            return [dv, -exc / p["tau_syn_exc"], -inh / p["tau_syn_inh"], -ahp / p["tau_adapt"]]

        return rhs

    def crossing(function, direction):
        function.terminal, function.direction = True, direction
        return function

    fires = crossing(lambda _, y: y[0] - p["v_threshold"], 1)
    sinks = crossing(lambda _, y: y[0] - p["v_floor"], -1)

    def push(y):
        return p["v_leak"] - p["v_floor"] + driven(p, limited, *y[1:])

    lifts = crossing(lambda _, y: push(y), 1)
    y, t, mode, until = np.array([p["v_leak"], 0.0, 0.0, 0.0]), 0.0, "free", math.inf
    spikes, floored = [], 0.0
    stops = [*arrivals, (end, None)]
    while t < end:
        (at, channel), *_ = stops
        goal = min(at, until)
        if goal > t:
            watched = {"free": [fires, sinks], "floor": [lifts], "held": []}[mode]
            found = solve_ivp(flow(mode), (t, goal), y, events=watched, rtol=1e-10, atol=1e-13, method="DOP853")
            floored += (found.t[-1] - t) if mode == "floor" else 0.0
            t, y = found.t[-1], found.y[:, -1].copy()
            if found.status == 1:
                if mode == "free" and len(found.t_events[0]):
                    spikes.append(t)
                    y[0], y[3] = p["v_leak"], y[3] + p["adaptation"]
                    mode, until = "held", t + p["t_ref"]
                else:
                    mode = "floor" if mode == "free" else "free"
                continue
        if t >= until:
            mode, until = "free", math.inf
        if t >= at and channel is not None:
            stops.pop(0)
            y[1 if weights[channel] > 0 else 2] += abs(weights[channel])
        if mode != "held":
            mode = "floor" if y[0] <= p["v_floor"] + 1e-12 and push(y) < 0 else "free"
    return np.array(spikes), floored


@pytest.mark.parametrize(
    ("inhibition", "limited"), [(PullsDown(), float), (CancelsExcitation(), lambda drive: max(drive, 0.0))]
)
def test_the_limit_of_small_steps_is_the_differential_equation(inhibition, limited):
    """Spike times converge with order 1 (0.85 to 1.25, from 1/2 to 1/16 ms: a spike waits for the end of its step) to
    those of solve_ivp, and so does the time at the floor; excitation, inhibition, floor, direct current, AHP and t_ref
    together."""
    p = {
        "tau_mem": 0.012, "tau_syn_exc": 0.005, "tau_syn_inh": 0.009, "tau_adapt": 0.04, "adaptation": 0.03, "r": 1.2,
        "v_leak": 0.01, "v_floor": -0.01, "v_threshold": 0.1, "dc": 0.015, "t_ref": 0.003,
    }  # fmt: skip
    weights, end, coarse = [0.5, 0.3, -0.3], 0.6, 1e-3
    draws = np.random.default_rng(2)
    grid = draws.random((600, 3)) < 0.045
    arrivals = [(t * coarse, c) for t, c in zip(*grid.nonzero())]
    spikes, floored = trajectory(arrivals, weights, p, end, limited)
    assert len(spikes) > 10 and floored > 0.05
    errors, fractions = [], []
    steps = [2, 4, 8, 16]
    for finer in steps:
        dt = coarse / finer
        x = torch.zeros(600 * finer, 1, 3).double()
        x[::finer, 0] = torch.from_numpy(grid).double()
        names = {k: v for k, v in p.items() if k != "dc"}
        layer = LinearizedDpi(Linear(double(weights), double(p["dc"])), **names, inhibition=inhibition).double()
        trace = layer.trace(x, dt)
        times = (trace.spikes[:, 0, 0].nonzero()[:, 0].numpy() + 1) * dt
        assert len(times) == len(spikes)
        errors.append(np.abs(times - spikes).mean())
        fractions.append(abs(trace.at_floor.sum().item() * dt - floored))
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 0.85 < order < 1.25 and errors[-1] < 1e-4
    assert fractions[-1] < 0.25 * fractions[0]


# ---- a loop around snnTorch's neuron


def arctan_spike(distance):
    """A step whose derivative is 1/(1 + (π u)²), in float64: ``snntorch.surrogate.atan`` answers in float32."""
    smooth = torch.atan(torch.pi * distance) / torch.pi
    return (distance > 0).double() + (smooth - smooth.detach())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("floor", [HardFloor(), LeakyFloor(0.2)], ids=repr)
@given(seed=st.integers(0, 2**20))
def test_it_equals_a_loop_around_snntorch_s_leaky(kernel, floor, seed):
    """Two synapses, ``snntorch.Leaky`` without reset, its membrane clamped, ``fire`` of it, reset to rest: the spikes
    are equal, gradients within 1e-9 with the stated subgradient, for clamps that differ in it (1e-9 of the largest)."""
    n, n_in, steps, batch = 6, 4, 40, 3
    weight, recurrent = draw(seed, n, n_in).requires_grad_(), (0.5 * draw(seed + 1, n, n)).requires_grad_()
    bias = (0.02 * draw(seed + 2, n) + torch.linspace(0, 0.5, n)).requires_grad_()
    v_floor = (-0.1 * torch.ones(n).double()).requires_grad_()
    x = (draw(seed + 3, steps, batch, n_in) > 0.3).double()
    layer = LinearizedDpi(
        Linear(weight.detach(), bias.detach()), recurrent=Linear(recurrent.detach()), **TAUS, v_threshold=0.3,
        v_floor=v_floor.detach(), floor=floor, surrogate=ArcTan(2.0),
    ).double()  # fmt: skip
    alpha, sigmas = math.exp(-DT / 0.01), [math.exp(-DT / tau) for tau in (0.004, 0.006)]
    means = [(1 - sigma) * tau / DT for sigma, tau in zip(sigmas, (0.004, 0.006))]
    leaky = snntorch.Leaky(
        beta=torch.tensor(alpha, dtype=torch.float64), threshold=torch.tensor(0.3, dtype=torch.float64),
        reset_mechanism="none", spike_grad=arctan_spike,
    )  # fmt: skip
    exc = inh = mem = spk = torch.zeros(batch, n).double()
    found, distances, below = [], [], 0.0
    for now in x:
        exc = sigmas[0] * exc + now @ functional.relu(weight).T + spk @ functional.relu(recurrent).T
        inh = sigmas[1] * inh + now @ functional.relu(-weight).T + spk @ functional.relu(-recurrent).T
        _, mem = leaky((1 - alpha) * (means[0] * exc - means[1] * inh + bias), mem)
        under = mem < v_floor
        slope = getattr(floor, "slope", 0.0)
        leaking = slope * (mem - v_floor) - slope * (mem - v_floor).detach()
        mem = torch.where(under, v_floor + leaking, mem)
        spk = leaky.fire(mem)
        distances.append((mem - 0.3).abs().min().item())
        below += under.double().mean().item() / steps
        mem = mem - spk * mem
        found.append(spk)
    expected = torch.stack(found)
    hypothesis.assume(min(distances) > 1e-9)
    with kernels.using(kernel):
        spikes = layer(x, DT)
    assert torch.equal(spikes, expected) and expected.sum() > 0 and below > 0.05
    assert layer.trace(x, DT).at_floor.double().mean().item() == pytest.approx(below)
    weights = draw(seed + 4, steps, batch, n)
    theirs = torch.autograd.grad((weights * expected).sum(), (weight, recurrent, bias, v_floor))
    own = layer.input.weight, layer.recurrent.weight, layer.input.bias, layer.v_floor
    ours = torch.autograd.grad((weights * spikes).sum(), own)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * max(1.0, b.abs().max().item()))


# ---- floors that never act, and the two loops


@pytest.mark.parametrize("kernel", KERNELS)
@given(seed=st.integers(0, 2**20))
def test_a_floor_that_never_acts_changes_no_bit(kernel, seed):
    """Far below every membrane, spikes and gradients have the bits of the neuron without a floor; at 0 they do not."""
    x, bias = (draw(seed, 50, 4, 3) > 0.3).double(), torch.linspace(0, 0.4, 5).double()

    def result(**options):
        synapses = {"input": Linear(draw(seed + 1, 5, 3), bias), "recurrent": Linear(draw(seed + 2, 5, 5))}
        layer = LinearizedDpi(**synapses, **TAUS, v_threshold=0.2, **options)
        with kernels.using(kernel):
            z = layer.double()(x, DT)
            own = layer.input.weight, layer.recurrent.weight, layer.tau_mem, layer.exc.tau_syn, layer.v_threshold
            return z, torch.autograd.grad((draw(seed + 3, 50, 4, 5) * z).sum(), own), layer.trace(x, DT)

    free, far, near = result(floor=NoFloor()), result(v_floor=-1e9), result(v_floor=0.0)
    assert torch.equal(free[0], far[0]) and all(map(torch.equal, free[1], far[1])) and free[0].sum() > 0
    assert not far[2].at_floor.any() and near[2].at_floor.any()
    assert not all(map(torch.equal, free[1], near[1]))


SURROGATES = [s(scaled=scaled) for s in (Triangle, FastSigmoid, ArcTan) for scaled in (True, False)]


@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(st.sampled_from([1, 2, 9, 30]), st.sampled_from([1, 2, 17, 35]), st.integers(1, 9)),
    longest=st.integers(0, 3),
    floor=st.sampled_from([HardFloor(), LeakyFloor(0.4), LeakyFloor(1.0), NoFloor()]),
    inhibition=st.sampled_from([PullsDown(), CancelsExcitation()]),
    rule=st.sampled_from([None, Ahp(), AdaptiveThreshold()]),
    surrogate=st.sampled_from(SURROGATES),
    omitted=st.sets(st.sampled_from(["recurrent", "v_leak", "v_reset", "v_floor", "r", "bias"])),
    rate=st.sampled_from([0.0, 0.3, 0.9]),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
@hypothesis.settings(max_examples=80)
def test_compiled_loops_equal_the_reference(
    seed, size, longest, floor, inhibition, rule, surrogate, omitted, rate, dtype
):
    """Spikes and places at the floor exactly, gradients of x and every parameter to 1e-9 of the largest: any shape,
    each floor, inhibition, rule and surrogate, each part or not. In float32 to 5e-4, where no membrane is near its
    threshold."""
    steps, batch, n = size
    hypothesis.assume(floor != NoFloor() or inhibition == PullsDown())
    values = {
        "v_leak": 0.02 * draw(seed + 1, n), "v_reset": 0.02 * draw(seed + 2, n),
        "v_floor": 0.03 * draw(seed + 3, n) - 0.05, "r": 1 + 0.3 * draw(seed + 4, n).sigmoid(),
    }  # fmt: skip
    values = {k: v for k, v in values.items() if k not in omitted and not (k == "v_floor" and floor == NoFloor())}
    if longest:
        values["t_ref"] = DT * (torch.arange(n).remainder(longest + 1).double() + 1e-6)
    if rule is not None:
        values |= {
            "tau_adapt": 0.02 + 0.01 * draw(seed + 5, n).sigmoid(),
            "adaptation": 0.1 * draw(seed + 6, n).abs(),
            "rule": rule,
        }
    taus = {k: v * (1 + draw(seed + 7 + i, n).sigmoid()) for i, (k, v) in enumerate(TAUS.items())}
    own = Linear(0.5 * draw(seed + 12, n, n), mask=draw(seed + 13, n, n) > 0)
    recurrent = None if "recurrent" in omitted else own
    layer = LinearizedDpi(
        Linear(draw(seed + 10, n, 3), None if "bias" in omitted else 0.1 * draw(seed + 11, n)),
        recurrent=recurrent,
        **taus,
        v_threshold=0.2 + 0.1 * draw(seed + 14, n).sigmoid(),
        floor=floor,
        surrogate=surrogate,
        inhibition=inhibition,
        **values,
    ).to(dtype)
    drawn = torch.rand(steps, batch, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)
    x = ((drawn < rate) * (1 + (drawn * 30).floor() % 2)).requires_grad_()
    weights = draw(seed + 15, *size).to(dtype)

    def result(kernel):
        with kernels.using(kernel):
            z = layer(x, DT)
            leaves = [x, *layer.parameters()]
            grads = torch.autograd.grad((weights * z).sum(), leaves, allow_unused=True, materialize_grads=True)
            return z.detach(), grads, torch.stack(layer.trace(x, DT)[1:])

    (expected, gradients, places), (spikes, found, own_places) = result("reference"), result("compiled")
    hypothesis.target(spikes.mean().item())
    if dtype == torch.float32:
        hypothesis.assume(torch.equal(spikes, expected) and torch.equal(places, own_places))
    assert torch.equal(spikes, expected) and torch.equal(places, own_places)
    tolerance = 1e-9 if dtype == torch.float64 else 5e-4
    for a, b in zip(found, gradients):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * b.abs().max().item() + tolerance * 1e-2)


@pytest.mark.parametrize("n", [16, 35, 80, 144])
@pytest.mark.parametrize("surrogate", [ArcTan(2.0), Triangle(0.3)], ids=repr)
@pytest.mark.parametrize("inhibition", [PullsDown(), CancelsExcitation()], ids=repr)
def test_wide_layers_equal_the_reference(n, surrogate, inhibition):
    """Gradients of whole and of incomplete vectors of neurons, for a surrogate that is nowhere 0 (dense products) and
    for one that often is, to 1e-9 of the largest; weights of 0 among those of both signs."""
    layer = LinearizedDpi(
        Linear(draw(1, n, 3)),
        recurrent=Linear(0.3 * draw(2, n, n) / n**0.5, mask=draw(3, n, n) > 0),
        **TAUS,
        v_threshold=0.15,
        surrogate=surrogate,
        inhibition=inhibition,
        floor=LeakyFloor(0.2),
    ).double()
    x, weights = (draw(4, 12, 6, 3) > 0).double(), draw(5, 12, 6, n)
    found = []
    for kernel in KERNELS:
        with kernels.using(kernel):
            z = layer(x, DT)
            found.append((z, *torch.autograd.grad((weights * z).sum(), list(layer.parameters()))))
    assert torch.equal(found[0][0], found[1][0]) and 0.02 < found[0][0].mean() < 0.9
    for a, b in zip(found[1][1:], found[0][1:]):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * b.abs().max().item())


def test_the_layers_above_spike_and_touch_the_floor():
    synapses = {"input": Linear(draw(10, 9, 3)), "recurrent": Linear(0.5 * draw(12, 9, 9))}
    layer = LinearizedDpi(**synapses, **TAUS, v_threshold=0.2).double()
    trace = layer.trace((draw(1, 30, 17, 3) > 0.5).double(), DT)
    assert 0.02 < trace.spikes.mean() < 0.5 and 0.1 < trace.at_floor.double().mean() < 0.9


# ---- as part of the package


def small(**options):
    """Two classes from three channels, 8 hidden DPI neurons on cores 0 and 1."""
    hidden = LinearizedDpi(
        Linear(draw(2, 8, 3)),
        recurrent=Linear(0.3 * draw(3, 8, 8)),
        core=torch.arange(8) // 4,
        **TAUS,
        v_threshold=0.1,
        tau_adapt=0.03,
        adaptation=0.02,
        **options,
    )
    readout = LeakyIntegrator(Linear(draw(4, 2, 8)), core=torch.full((2,), HOST), tau_mem=0.01)
    return Network({"hidden": hidden, "readout": readout}, DT).double()


def test_attacks_and_fleets_run_and_move_every_kind(data):
    """An attack moves every kind, and takes other steps through a floor that leaks; a fleet of dies is evaluated."""
    network = small()
    ball = nr.Ball.uniform(0.3)
    worst = find_worst_case(network, data, ball, nr.attacks.PGA(steps=5), seed=0)
    assert set(worst.deviations) == {name for name, _ in network.named_parameters()}
    assert all(value.abs().max() > 0 for value in worst.deviations.values())
    with nr.nn.using_floor(network, LeakyFloor(0.3)):
        other = find_worst_case(network, data, ball, nr.attacks.PGA(steps=5), seed=0)
    assert any(not torch.equal(a, b) for a, b in zip(worst.deviations.values(), other.deviations.values()))
    fleet = nr.evaluate(network, data, nr.mismatch(0.3), n_dies=4, seed=1)
    assert len(fleet.serials) == 4


def test_a_chip_with_one_bias_per_core_holds_two_synapses():
    """dynapse2 sets tau_syn per core, once for each type of synapse; their deviations are drawn apart."""
    chip, network = chipmodels.load("dynapse2"), small()
    programmed = chip.program(nominal(network), network.placement())
    die = chip.fabricate([0], 0)[0].deviations(programmed)
    exc, inh = die["hidden.exc.tau_syn"], die["hidden.inh.tau_syn"]
    assert exc.shape == inh.shape == (8,) and not torch.equal(exc, inh)
    wrong = small()
    with torch.no_grad():
        wrong.hidden.exc.tau_syn = torch.nn.Parameter(torch.linspace(0.003, 0.005, 8).double())
    with pytest.raises(ValueError, match=r"hidden.exc.tau_syn: 4 different values of tau_syn on core 0"):
        chip.program(nominal(wrong), wrong.placement())


def test_noise_of_a_membrane_passes_no_synapse():
    """Membrane noise of σ on a neuron that never fires has the standard deviation σ; lost spikes change the result."""
    n, sigma = 300, 0.02
    layer = LinearizedDpi(
        Linear(silent_input(n)), **TAUS | {"tau_mem": 0.004}, v_threshold=1e6, floor=NoFloor(), r=2.0
    ).double()
    generator = torch.Generator().manual_seed(0)
    pushes = nr.noise.membrane(sigma, layer.per_neuron("tau_mem").detach(), DT, (60, 40), generator) / 2.0
    with torch.no_grad():
        alpha = layer.floored_coefficients(DT).alpha
        pushed = layer.gain(alpha) * pushes
        c, dynamics = layer.floored_coefficients(DT), layer.floored_dynamics()
        _, v = kernels.floored(torch.zeros(60, 40, 2 * n).double(), None, c, dynamics, pushed)
    assert v[-1].std().item() == pytest.approx(sigma, rel=0.05)
    network, x = small(), events(3, 6).x
    quiet = run(network, nominal(network), x, record=True)
    assert quiet[1]["hidden"].sum() > 0
    none = Noise(added={"hidden": torch.zeros(x.shape[1], 6, 8)})
    assert torch.equal(run(network, nominal(network), x, noise=none), quiet[0])
    some = Noise(added={"hidden": 0.1 * draw(5, x.shape[1], 6, 8)})
    assert not torch.equal(run(network, nominal(network), x, noise=some), quiet[0])


def test_a_lost_spike_is_lost_for_the_recurrence():
    """With every spike lost the layer spikes as without recurrence; with none lost as it is."""
    network, x = small(), events(3, 6).x
    alone = small()
    with torch.no_grad():
        alone.hidden.recurrent.weight.zero_()
    for kept, expected in ((0.0, alone), (1.0, network)):
        noise = Noise(kept={"hidden": torch.full((8,), kept)})
        found = run(network, nominal(network), x, noise=noise, record=True)[1]["hidden"]
        assert torch.equal(found, run(expected, nominal(expected), x, record=True)[1]["hidden"]) and found.sum() > 0


def test_read_noise_and_certificates_are_refused_by_name(data):
    network = small()
    sigma = torch.zeros(8, 3).double()
    with pytest.raises(TypeError, match=r"noise.read\['hidden.input'\]: LinearizedDpi does not support read noise"):
        run(network, nominal(network), data.x, noise=Noise(read={"hidden.input": (sigma, draw(1, 20, 12, 8))}))
    with pytest.raises(TypeError, match="'hidden': LinearizedDpi has no bounds"):
        certify(network, data, nr.Ball(weight=1e-4))


@pytest.mark.parametrize(
    "connection",
    [
        lambda: OneToOne(draw(5, 6), draw(6, 6)),
        lambda: Conv1d(draw(3, 2, 2, 3), (2, 3), draw(1, 2), padding=1),
        lambda: Delayed(Linear(draw(4, 6, 6), draw(2, 6)), 0.002),
        lambda: Chain(AvgPool2d((6, 1, 1), 1), Linear(draw(4, 6, 6), draw(2, 6))),
    ],
    ids=["OneToOne", "Conv1d", "Delayed", "Chain"],
)
def test_every_connection_with_a_sign_splits_by_it(connection):
    """Excitation and inhibition are ≥ 0 for events, their difference and the offset are the connection's output; the
    layer spikes."""
    own, x = connection(), (draw(1, 20, 3, 6) > 0).double()
    plus, minus = own.by_sign(x, DT)
    assert plus.min() >= 0 and minus.min() >= 0 and plus.max() > 0 and minus.max() > 0
    torch.testing.assert_close(plus - minus + own.offset(DT), own(x, DT))
    layer = LinearizedDpi(own, **TAUS, v_threshold=0.05).double()
    assert layer(x, DT).sum() > 0 and layer.trace(x, DT).at_floor.any()


def test_what_does_not_fit_is_refused_in_words():
    synapses, values = Linear(draw(1, 4, 3)), TAUS | {"v_threshold": 0.1}
    with pytest.raises(ValueError, match="adaptation: got None beside the other; expected both"):
        LinearizedDpi(synapses, **values, tau_adapt=0.1)
    with pytest.raises(ValueError, match="tau_adapt: got None beside the other"):
        LinearizedDpi(synapses, **values, adaptation=0.1)
    with pytest.raises(ValueError, match=r"v_floor: NoFloor\(\) does not use it"):
        LinearizedDpi(synapses, **values, v_floor=0.0, floor=NoFloor())
    with pytest.raises(TypeError, match="floor: got 'hard'"):
        LinearizedDpi(synapses, **values, floor="hard")
    with pytest.raises(TypeError, match="inhibition: got 'gaba'; expected a"):
        LinearizedDpi(synapses, **values, inhibition="gaba")
    with pytest.raises(
        ValueError, match=r"inhibition: got CancelsExcitation\(\) beside NoFloor\(\), which cuts nothing"
    ):
        LinearizedDpi(synapses, **values, inhibition=CancelsExcitation(), floor=NoFloor())
    with pytest.raises(TypeError, match="rule: got None"):
        LinearizedDpi(synapses, **values, rule=None)
    with pytest.raises(ValueError, match=r"exc.tau_syn: smallest value is -1"):
        LinearizedDpi(synapses, **values | {"tau_syn_exc": -1.0})
    pooled = LinearizedDpi(AvgPool2d((1, 2, 2), 1), **values)
    with pytest.raises(ValueError, match="AvgPool2d: has no weights with a sign"):
        pooled(torch.ones(3, 1, 4), DT)
    with pytest.raises(ValueError, match="Conv1d with weights before the last part leaves the sign"):
        chain = Chain(Conv1d(draw(3, 2, 2, 1), (2, 3)), Linear(draw(4, 6, 6)))
        LinearizedDpi(chain, **values).double()(torch.ones(3, 1, 6).double(), DT)
    c, dynamics = pooled.floored_coefficients(DT), pooled.floored_dynamics()
    with pytest.raises(ValueError, match=r"current: got shape \(3, 1, 4\); expected \(T, B, 8\)"):
        kernels.floored(torch.ones(3, 1, 4), None, c, dynamics)
    with pytest.raises(ValueError, match=r"recurrent: got shape \(8, 4\) .* expected \(4, 4\)"):
        kernels.floored(torch.ones(3, 1, 8), torch.ones(8, 4), c, dynamics)
    with pytest.raises(ValueError, match=r"alpha: got shape \(4,\) .* expected \(8,\)"):
        kernels.floored_layer(torch.ones(3, 1, 3), torch.ones(8, 3), None, c, dynamics)
