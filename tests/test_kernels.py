"""The compiled loops against the reference, both against an independent float64 one and finite differences."""

from __future__ import annotations

import os
import subprocess
import sys

import hypothesis
import numba
import pytest
import torch
from conftest import draw
from hypothesis import given
from hypothesis import strategies as st
from oracle import integrate, population, smooth_spike

from neurorobust import kernels
from neurorobust.kernels import (
    Coefficients,
    DelayedSubtract,
    DelayedToValue,
    Dynamics,
    LifCoefficients,
    NoReset,
    SnntorchSubtract,
    Subtract,
    ToValue,
    compiled,
    reference,
)
from neurorobust.surrogate import ArcTan, FastSigmoid, Triangle, spike

NAMES = ("current", "recurrent", *Coefficients._fields)


def layer(seed, steps=25, batch=5, n=7, recurrent=True, dtype=torch.float64):
    """Inputs of a busy layer, by name, ready for gradients."""
    c = Coefficients(
        alpha=0.80 + 0.15 * torch.sigmoid(draw(seed + 1, n)),
        gain=0.05 + 0.10 * torch.sigmoid(draw(seed + 2, n)),
        rho=0.70 + 0.25 * torch.sigmoid(draw(seed + 3, n)),
        adaptation=torch.sigmoid(draw(seed + 4, n)),
        v_threshold=0.10 + 0.10 * torch.sigmoid(draw(seed + 5, n)),
    )
    tensors = {
        "current": draw(seed, steps, batch, n) + 1,
        "recurrent": 0.5 * draw(seed + 6, n, n) if recurrent else None,
        **c._asdict(),
    }
    return {k: None if v is None else v.to(dtype).requires_grad_() for k, v in tensors.items()}


def evaluate(function, tensors, refractory, weights):
    """Spikes, and the gradients of Σ weights · spikes, by input name."""
    current, recurrent, *c = (tensors[name] for name in NAMES)
    spikes = function(current, recurrent, c, refractory)
    present = {name: value for name, value in tensors.items() if value is not None}
    gradients = torch.autograd.grad((weights.to(spikes.dtype) * spikes).sum(), list(present.values()))
    return spikes.detach(), dict(zip(present, gradients))


def by(module):
    return lambda current, recurrent, c, refractory: module.adaptive_lif(
        current, recurrent, Coefficients(*c), Triangle(), refractory
    )


def by_oracle(current, recurrent, c, refractory):
    return population(current, recurrent, *c, refractory)[0]


def gap(tensors, refractory):
    """v − ϑ of every neuron at every step."""
    current, recurrent, *c = (None if tensors[name] is None else tensors[name].detach() for name in NAMES)
    return population(current, recurrent, *c, refractory)[1]


@pytest.mark.parametrize("module", [reference, compiled], ids=["reference", "compiled"])
@given(
    seed=st.integers(0, 2**20),
    steps=st.integers(1, 30),
    batch=st.sampled_from([1, 2, 15, 16, 17, 35]),
    n=st.integers(1, 9),
    recurrent=st.booleans(),
    refractory=st.integers(0, 3),
)
def test_loops_equal_the_equations(module, seed, steps, batch, n, recurrent, refractory):
    """Spikes exactly, gradients of every input to 1e-10 relative, against the float64 equations of oracle.py."""
    tensors = layer(seed, steps, batch, n, recurrent)
    weights = draw(seed + 9, steps, batch, n)
    assert gap(tensors, refractory).abs().min() > 1e-9
    expected, expected_gradients = evaluate(by_oracle, tensors, refractory, weights)
    spikes, gradients = evaluate(by(module), tensors, refractory, weights)
    assert torch.equal(spikes, expected)
    for name, gradient in gradients.items():
        error = (gradient - expected_gradients[name]).abs().max()
        assert error <= 1e-10 * expected_gradients[name].abs().max() + 1e-13, name


@pytest.mark.parametrize("refractory", [0, 1, 2, 5])
def test_the_layer_above_is_busy_and_rests(refractory):
    """The data of the tests above spike 5 to 60 % of the time, and no closer than the refractory steps allow."""
    tensors = layer(3, steps=60)
    spikes = by(compiled)(tensors["current"], tensors["recurrent"], [tensors[k] for k in NAMES[2:]], refractory)
    assert 0.05 < spikes.mean() < 0.6
    windows = spikes.detach().unfold(0, refractory + 1, 1).sum(-1)
    assert windows.max() == 1


def test_reference_gradient_equals_finite_differences(monkeypatch):
    """With a smooth spike in place of the step, autograd of the reference loop equals central differences."""
    monkeypatch.setattr(reference, "spike", smooth_spike)
    tensors = layer(5, steps=6, batch=2, n=3)

    def smooth(current, recurrent, *c):
        return by(reference)(current, recurrent, c, 0)

    assert torch.autograd.gradcheck(smooth, [tensors[name] for name in NAMES])


@pytest.mark.parametrize("module", [reference, compiled], ids=["reference", "compiled"])
def test_integrator_equals_its_impulse_response_and_finite_differences(module):
    """v[t] = Σ alpha^(t−s) gain · I[s]; gradients equal central differences."""
    current = draw(1, 9, 3, 4).requires_grad_()
    alpha = (0.5 + 0.4 * torch.sigmoid(draw(2, 4))).requires_grad_()
    gain = draw(3, 4).exp().requires_grad_()
    torch.testing.assert_close(module.leaky_integrator(current, alpha, gain), integrate(current, alpha, gain))
    assert torch.autograd.gradcheck(module.leaky_integrator, (current, alpha, gain))


def test_float32_flips_only_at_ties():
    """Without recurrence the first float32 flip of a neuron falls where float64 has |v − ϑ| < 1e-5; flips < 0.1 %."""
    double = layer(7, steps=200, batch=64, n=16, recurrent=False)
    single = {name: None if value is None else value.detach().float() for name, value in double.items()}
    double = {name: None if value is None else value.detach().double() for name, value in single.items()}
    exact, _ = population(double["current"], None, *(double[name] for name in NAMES[2:]), 1)
    near = gap(double, 1).abs()
    spikes = by(compiled)(single["current"], None, [single[name] for name in NAMES[2:]], 1)
    flips = spikes.double() != exact
    first = flips & (flips.cumsum(0) == 1)
    assert flips.double().mean() < 1e-3
    assert (near[first] < 1e-5).all()


def test_float32_gradients_are_near_float64():
    """Every float32 gradient within 1e-3 of its tensor's largest float64 one, at data without flips (asserted)."""
    double = layer(11, steps=40, batch=8, recurrent=True)
    single = {name: value.detach().float().requires_grad_() for name, value in double.items()}
    double = {name: value.detach().double().requires_grad_() for name, value in single.items()}
    weights = draw(12, 40, 8, 7)
    expected, expected_gradients = evaluate(by_oracle, double, 1, weights)
    spikes, gradients = evaluate(by(compiled), single, 1, weights)
    assert torch.equal(spikes.double(), expected)
    for name, gradient in gradients.items():
        error = (gradient.double() - expected_gradients[name]).abs().max()
        assert error < 1e-3 * expected_gradients[name].abs().max(), name


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba has no second thread to differ")
def test_bits_do_not_depend_on_threads():
    """Spikes and all gradients of the compiled loop have the same bits with one and with two threads."""
    weights = draw(4, 30, 37, 7)
    results = []
    by(compiled)(*[torch.ones(1, 1, 1), None, [torch.ones(1)] * 5], 0)  # starts the threads
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(evaluate(by(compiled), layer(2, 30, 37, dtype=torch.float32), 1, weights))
            assert numba.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    (one, one_gradients), (two, two_gradients) = results
    assert torch.equal(one, two)
    for name in one_gradients:
        assert torch.equal(one_gradients[name], two_gradients[name]), name


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has no second thread to start")
def test_a_kernel_leaves_torchs_threads_alone():
    """In a fresh process torch.set_num_threads(1) still holds after a compiled loop ran."""
    code = (
        "import torch; torch.set_num_threads(1); from neurorobust.kernels import leaky_integrator as f;"
        "f(torch.zeros(2, 2, 2), torch.ones(2), torch.ones(2)); print(torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_choice_of_kernel(monkeypatch):
    """Compiled by default on the CPU, reference on demand and under vmap; an unknown choice lists the known ones."""
    current = torch.zeros(2, 1, 1)
    monkeypatch.delenv("NEUROROBUST_KERNEL", raising=False)
    assert kernels._implementation(current) is compiled
    seen = []
    torch.func.vmap(lambda row: seen.append(kernels._implementation(row)) or row)(current)
    assert seen == [reference]
    monkeypatch.setenv("NEUROROBUST_KERNEL", "reference")
    assert kernels._implementation(current) is reference
    monkeypatch.setenv("NEUROROBUST_KERNEL", "fast")
    with pytest.raises(ValueError, match="auto, compiled, reference"):
        kernels._implementation(current)
    monkeypatch.setenv("NEUROROBUST_KERNEL", "compiled")
    with pytest.raises(ValueError, match="float16"):
        kernels._implementation(current.half())


# The LIF family: the compiled loop against the reference, which test_snntorch_neurons.py holds against snnTorch.


def lif_layer(seed, steps, batch, n, dtype=torch.float64):
    """Inputs of a busy LIF layer with everything it can have, by name, ready for gradients."""
    tensors = {
        "current": draw(seed, steps, batch, n) + 1,
        "recurrent": 0.5 * draw(seed + 1, n, n),
        "alpha": 0.80 + 0.15 * torch.sigmoid(draw(seed + 2, n)),
        "gain": 0.05 + 0.10 * torch.sigmoid(draw(seed + 3, n)),
        "v_threshold": 0.20 + 0.20 * torch.sigmoid(draw(seed + 4, n)),
        "syn": 0.1 + 0.6 * torch.sigmoid(draw(seed + 5, n)),
        "v_leak": 0.1 * draw(seed + 6, n),
        "v_reset": 0.05 * draw(seed + 7, n) - 0.1,
    }
    return {name: value.to(dtype).requires_grad_() for name, value in tensors.items()}


def run_lif(module, tensors, refractory, dynamics, weights):
    """Spikes, membrane and the gradients of Σ weights · (spikes, membrane), by input name."""
    current, recurrent, *_ = (tensors.get(name) for name in ("current", "recurrent"))
    c = LifCoefficients(**{k: tensors.get(k) for k in LifCoefficients._fields[:-1]}, refractory=refractory)
    outputs = module.lif(current, recurrent, c, dynamics)
    value = sum((w.to(part.dtype) * part).sum() for w, part in zip(weights, outputs))
    found = torch.autograd.grad(value, list(tensors.values()), allow_unused=True, materialize_grads=True)
    return [output.detach() for output in outputs], dict(zip(tensors, found))


SURROGATES = [s(scaled=scaled) for s in (Triangle, FastSigmoid, ArcTan) for scaled in (True, False)]
COMPILED_RESETS = [NoReset, DelayedSubtract, Subtract, ToValue, DelayedToValue]


@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(st.integers(1, 30), st.sampled_from([1, 2, 17, 35]), st.integers(1, 8)),
    omitted=st.sets(st.sampled_from(["recurrent", "syn", "v_leak", "v_reset"])),
    longest=st.integers(0, 3),
    surrogate=st.sampled_from(SURROGATES),
    reset=st.sampled_from([reset(detach) for reset in COMPILED_RESETS for detach in (True, False)]),
)
@hypothesis.settings(max_examples=100)
def test_compiled_lif_equals_the_reference(seed, size, omitted, longest, surrogate, reset):
    """Spikes exactly, membrane and gradients to 1e-10, with and without each part, each surrogate, reset, detach."""
    tensors = {name: value for name, value in lif_layer(seed, *size).items() if name not in omitted}
    refractory = torch.arange(size[2]).remainder(longest + 1).double() if longest else None
    weights = draw(seed + 8, *size), draw(seed + 9, *size)
    results = [run_lif(m, tensors, refractory, Dynamics(surrogate, reset), weights) for m in (reference, compiled)]
    ((expected, expected_membrane), expected_gradients), ((spikes, membrane), gradients) = results
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(membrane, expected_membrane, rtol=1e-12, atol=1e-12)
    for name, gradient in gradients.items():
        scale = expected_gradients[name].abs().max().item()
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=0, atol=1e-10 * scale + 1e-13, msg=name)


@pytest.mark.parametrize("reset", [NoReset(), DelayedSubtract(), Subtract(), SnntorchSubtract(), ToValue()], ids=repr)
@pytest.mark.parametrize("leak", [True, False], ids=["v_leak", "no leak"])
def test_reference_lif_gradient_equals_finite_differences(reset, leak, monkeypatch):
    """With a smooth spike in place of the step, autograd of the reference LIF loop equals central differences."""
    monkeypatch.setattr(reference, "spike", smooth_spike)
    tensors = lif_layer(5, 5, 2, 3)
    if not leak:
        del tensors["v_leak"], tensors["syn"]

    def smooth(*values):
        p = dict(zip(tensors, values))
        current, recurrent = p.pop("current"), p.pop("recurrent")
        return reference.lif(current, recurrent, LifCoefficients(**p), Dynamics(Triangle(), reset))

    assert torch.autograd.gradcheck(smooth, list(tensors.values()))


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba has no second thread to differ")
def test_bits_of_lif_do_not_depend_on_threads():
    """Spikes, membrane and gradients of the compiled LIF loop have the same bits with one and with two threads."""
    before, results, weights = torch.get_num_threads(), [], (draw(4, 30, 37, 7), draw(5, 30, 37, 7))
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            dynamics = Dynamics(Triangle(), DelayedSubtract())
            results.append(run_lif(compiled, lif_layer(2, 30, 37, 7), None, dynamics, weights))
    finally:
        torch.set_num_threads(before)
    (outputs, gradients), (other_outputs, other_gradients) = results
    assert all(map(torch.equal, outputs, other_outputs))
    assert all(torch.equal(gradients[name], other_gradients[name]) for name in gradients)


@pytest.mark.parametrize("surrogate", [FastSigmoid(), ArcTan(), Triangle(scaled=False)], ids=repr)
def test_what_has_no_compiled_loop_takes_the_reference(surrogate, monkeypatch):
    """Adaptive neurons with another surrogate, and snnTorch's undelayed subtraction, run, and are refused by name
    where compiled loops are demanded."""
    current, one = torch.rand(4, 2, 3), torch.ones(3)
    c, lif = Coefficients(*(one / 2,) * 5), LifCoefficients(one / 2, one / 2, one)
    dynamics = Dynamics(surrogate, SnntorchSubtract())
    monkeypatch.setenv("NEUROROBUST_KERNEL", "auto")
    assert torch.equal(
        kernels.adaptive_lif(current, None, c, surrogate, 0), reference.adaptive_lif(current, None, c, surrogate, 0)
    )
    assert torch.equal(kernels.lif(current, None, lif, dynamics)[0], reference.lif(current, None, lif, dynamics)[0])
    monkeypatch.setenv("NEUROROBUST_KERNEL", "compiled")
    with pytest.raises(ValueError, match="no surrogate and reset that have compiled loops"):
        kernels.adaptive_lif(current, None, c, surrogate, 0)
    with pytest.raises(ValueError, match="no surrogate and reset that have compiled loops"):
        kernels.lif(current, None, lif, dynamics)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
def test_surrogates(surrogate):
    """Each derivative by its formula; through spike(), dz/dv and dz/dϑ follow from u, scaled or not; all under vmap."""
    u = torch.linspace(-3, 3, 41, dtype=torch.float64)
    formula = {
        Triangle: lambda u: 0.3 * torch.clamp(1 - abs(u), min=0),
        FastSigmoid: lambda u: 1 / (1 + 25 * abs(u)) ** 2,
        ArcTan: lambda u: 1 / (1 + (torch.pi * u) ** 2),
    }[type(surrogate)]
    torch.testing.assert_close(surrogate.derivative(u), formula(u), rtol=1e-14, atol=0)
    threshold = torch.tensor(0.5, dtype=torch.float64)
    by = torch.func.vmap(torch.func.grad(lambda v, bound: spike(v, bound, surrogate), (0, 1)), (0, None))
    at_v, at_threshold = by(u, threshold)
    distance = (u - threshold) / threshold if surrogate.scaled else u - threshold
    slope = formula(distance)
    torch.testing.assert_close(at_v, slope / threshold if surrogate.scaled else slope, rtol=1e-12, atol=0)
    expected = -slope * u / threshold**2 if surrogate.scaled else -slope
    torch.testing.assert_close(at_threshold, expected, rtol=1e-12, atol=1e-15)


def test_bad_surrogates_and_resets_are_refused():
    """A width that is not positive, and flags that are none."""
    for call in (lambda: FastSigmoid(0.0), lambda: ArcTan(-1.0), lambda: Triangle(0.0)):
        with pytest.raises(ValueError, match="expected a finite number > 0"):
            call()
    with pytest.raises(TypeError, match="scaled: got 1"):
        ArcTan(scaled=1)
    with pytest.raises(TypeError, match="detach: got 'yes'"):
        ToValue("yes")
