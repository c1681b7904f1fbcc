"""The compiled loops against the reference, both against an independent float64 one and finite differences."""

from __future__ import annotations

import hypothesis
import pytest
import torch
from conftest import draw
from hypothesis import given
from hypothesis import strategies as st
from oracle import integrate, population, smooth_spike

from neurorobust import kernels
from neurorobust.dynamics import DelayedSubtract, DelayedToValue, Dynamics, NoReset, SnntorchSubtract, Subtract, ToValue
from neurorobust.dynamics.surrogate import ArcTan, FastSigmoid, Triangle, spike
from neurorobust.kernels import LifCoefficients, reference
from neurorobust.kernels import choice as choice_of

ADAPTIVE = ("alpha", "gain", "rho", "adaptation", "v_threshold")
KERNELS = ["reference", "compiled"]


def layer(seed, steps=25, batch=5, n=7, recurrent=True, dtype=torch.float64):
    """Inputs of a busy adaptive layer, by name, ready for gradients."""
    tensors = {
        "current": draw(seed, steps, batch, n) + 1,
        "recurrent": 0.5 * draw(seed + 6, n, n),
        "alpha": 0.80 + 0.15 * torch.sigmoid(draw(seed + 1, n)),
        "gain": 0.05 + 0.10 * torch.sigmoid(draw(seed + 2, n)),
        "rho": 0.70 + 0.25 * torch.sigmoid(draw(seed + 3, n)),
        "adaptation": torch.sigmoid(draw(seed + 4, n)),
        "v_threshold": 0.10 + 0.10 * torch.sigmoid(draw(seed + 5, n)),
    }
    return {k: v.to(dtype).requires_grad_() for k, v in tensors.items() if recurrent or k != "recurrent"}


def evaluate(function, tensors, refractory, weights):
    """Spikes, and the gradients of Σ weights · spikes, by input name."""
    spikes = function(tensors, refractory)
    gradients = torch.autograd.grad((weights.to(spikes.dtype) * spikes).sum(), list(tensors.values()))
    return spikes.detach(), dict(zip(tensors, gradients))


def by(kernel):
    """The paper's neuron by one of our kernels."""

    def run(tensors, refractory):
        resting = torch.full_like(tensors["alpha"], refractory) if refractory else None
        c = LifCoefficients(**{name: tensors[name] for name in ADAPTIVE}, refractory=resting)
        with kernels.using(kernel):
            return kernels.lif(tensors["current"], tensors.get("recurrent"), c, Dynamics(Triangle(), DelayedSubtract()))

    return run


def by_oracle(tensors, refractory):
    c = (tensors[name] for name in ADAPTIVE)
    return population(tensors["current"], tensors.get("recurrent"), *c, refractory)[0]


def gap(tensors, refractory):
    """v − ϑ of every neuron at every step."""
    c = (tensors[name] for name in ADAPTIVE)
    return population(tensors["current"], tensors.get("recurrent"), *c, refractory)[1]


@pytest.mark.parametrize("kernel", KERNELS)
@given(
    seed=st.integers(0, 2**20),
    steps=st.integers(1, 30),
    batch=st.sampled_from([1, 2, 15, 16, 17, 35]),
    n=st.integers(1, 9),
    recurrent=st.booleans(),
    refractory=st.integers(0, 3),
)
def test_loops_equal_the_equations(kernel, seed, steps, batch, n, recurrent, refractory):
    """Spikes exactly, gradients of every input to 1e-10 relative, against the float64 equations of oracle.py."""
    tensors = layer(seed, steps, batch, n, recurrent)
    weights = draw(seed + 9, steps, batch, n)
    assert gap(tensors, refractory).abs().min() > 1e-9
    expected, expected_gradients = evaluate(by_oracle, tensors, refractory, weights)
    spikes, gradients = evaluate(by(kernel), tensors, refractory, weights)
    assert torch.equal(spikes, expected)
    for name, gradient in gradients.items():
        error = (gradient - expected_gradients[name]).abs().max()
        assert error <= 1e-10 * expected_gradients[name].abs().max() + 1e-13, name


@pytest.mark.parametrize("refractory", [0, 1, 2, 5])
def test_the_layer_above_is_busy_and_rests(refractory):
    """The data of the tests above spike 5 to 60 % of the time, and no closer than the refractory steps allow."""
    spikes = by("compiled")(layer(3, steps=60), refractory)
    assert 0.05 < spikes.mean() < 0.6
    windows = spikes.detach().unfold(0, refractory + 1, 1).sum(-1)
    assert windows.max() == 1


def test_reference_gradient_equals_finite_differences(monkeypatch):
    """With a smooth spike in place of the step, autograd of the reference loop equals central differences."""
    monkeypatch.setattr(reference, "spike", smooth_spike)
    tensors = layer(5, steps=6, batch=2, n=3)

    def smooth(*values):
        return by("reference")(dict(zip(tensors, values)), 0)

    assert torch.autograd.gradcheck(smooth, list(tensors.values()))


@pytest.mark.parametrize("kernel", KERNELS)
def test_integrator_equals_its_impulse_response_and_finite_differences(kernel):
    """v[t] = Σ alpha^(t−s) gain · I[s]; gradients equal central differences."""
    current = draw(1, 9, 3, 4).requires_grad_()
    alpha = (0.5 + 0.4 * torch.sigmoid(draw(2, 4))).requires_grad_()
    gain = draw(3, 4).exp().requires_grad_()
    with kernels.using(kernel):
        torch.testing.assert_close(kernels.leaky_integrator(current, alpha, gain), integrate(current, alpha, gain))
        assert torch.autograd.gradcheck(kernels.leaky_integrator, (current, alpha, gain))


def test_float32_flips_only_at_ties():
    """Without recurrence the first float32 flip of a neuron falls where float64 has |v − ϑ| < 1e-5; flips < 0.1 %."""
    single = layer(7, steps=200, batch=64, n=16, recurrent=False, dtype=torch.float32)
    double = {name: value.detach().double() for name, value in single.items()}
    exact, near = by_oracle(double, 1), gap(double, 1).abs()
    flips = by("compiled")(single, 1).double() != exact
    first = flips & (flips.cumsum(0) == 1)
    assert flips.double().mean() < 1e-3
    assert (near[first] < 1e-5).all()


def test_float32_gradients_are_near_float64():
    """Every float32 gradient within 1e-3 of its tensor's largest float64 one, at data without flips (asserted)."""
    single = layer(11, steps=40, batch=8, dtype=torch.float32)
    double = {name: value.detach().double().requires_grad_() for name, value in single.items()}
    weights = draw(12, 40, 8, 7)
    expected, expected_gradients = evaluate(by_oracle, double, 1, weights)
    spikes, gradients = evaluate(by("compiled"), single, 1, weights)
    assert torch.equal(spikes.double(), expected)
    for name, gradient in gradients.items():
        error = (gradient.double() - expected_gradients[name]).abs().max()
        assert error < 1e-3 * expected_gradients[name].abs().max(), name


def implementation(monkeypatch, choice, tensor, known=True):
    """The name of the module that runs under NEUROROBUST_KERNEL=choice."""
    monkeypatch.setenv("NEUROROBUST_KERNEL", choice)
    return choice_of.implementation("current", tensor, known).__name__.rpartition(".")[2]


def test_choice_of_kernel(monkeypatch):
    """Compiled by default on the CPU, under vmap too; reference on demand and off the CPU; ``using`` wins over the
    environment and ends with its block, by an error too; an unknown choice lists the known ones."""
    current = torch.zeros(2, 1, 1)
    assert implementation(monkeypatch, "auto", current) == implementation(monkeypatch, "compiled", current)
    assert implementation(monkeypatch, "auto", current) == "compiled"
    seen = []
    torch.func.vmap(lambda row: seen.append(implementation(monkeypatch, "auto", row)) or row)(current)
    assert seen == ["compiled"]
    assert implementation(monkeypatch, "auto", current.to("meta")) == "reference"
    assert implementation(monkeypatch, "auto", current, known=False) == "reference"
    assert implementation(monkeypatch, "reference", current) == "reference"
    with pytest.raises(KeyError), kernels.using("compiled"):
        assert implementation(monkeypatch, "reference", current) == "compiled"
        with kernels.using("reference"):
            assert implementation(monkeypatch, "compiled", current) == "reference"
        raise KeyError
    assert implementation(monkeypatch, "reference", current) == "reference"
    with pytest.raises(ValueError, match="auto, compiled, reference"):
        implementation(monkeypatch, "fast", current)
    with pytest.raises(ValueError, match="kernel"), kernels.using("fast"):
        pass
    with pytest.raises(ValueError, match=r"NEUROROBUST_KERNEL=compiled: got torch.int64"):
        implementation(monkeypatch, "compiled", current.long())


@pytest.mark.parametrize("kernel", [*KERNELS, "auto"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_refused(kernel, dtype):
    """Every loop names the argument, the type that came and what to do, whichever kernel is chosen."""
    x, one = torch.ones(3, 2, 2, dtype=dtype), torch.ones(2, dtype=dtype)
    c, dynamics = LifCoefficients(one / 2, one / 2, one), Dynamics(Triangle(), DelayedSubtract())
    with kernels.using(kernel):
        for name, call in (
            ("current", lambda: kernels.lif(x, None, c, dynamics)),
            ("current", lambda: kernels.lif_trace(x, None, c, dynamics)),
            ("current", lambda: kernels.leaky_integrator(x, one, one)),
            ("x", lambda: kernels.linear(x, x[0], one)),
        ):
            with pytest.raises(TypeError, match=rf"{name}: got {dtype}, .* use \.float\(\) or \.double\(\)"):
                call()


# The LIF family: the compiled loop against the reference, which test_snntorch_neurons.py holds against snnTorch.


def lif_layer(seed, steps, batch, n, drive=1.0):
    """Inputs of a LIF layer with everything it can have, by name, ready for gradients; busy where the drive is 1."""
    tensors = {
        "current": draw(seed, steps, batch, n) + drive,
        "recurrent": 0.5 * draw(seed + 1, n, n),
        "alpha": 0.80 + 0.15 * torch.sigmoid(draw(seed + 2, n)),
        "gain": 0.05 + 0.10 * torch.sigmoid(draw(seed + 3, n)),
        "v_threshold": 0.20 + 0.20 * torch.sigmoid(draw(seed + 4, n)),
        "syn": 0.1 + 0.6 * torch.sigmoid(draw(seed + 5, n)),
        "v_leak": 0.1 * draw(seed + 6, n),
        "v_reset": 0.05 * draw(seed + 7, n) - 0.1,
        "rho": 0.70 + 0.25 * torch.sigmoid(draw(seed + 10, n)),
        "adaptation": torch.sigmoid(draw(seed + 11, n)),
    }
    return {name: value.requires_grad_() for name, value in tensors.items()}


def run_lif(kernel, tensors, refractory, dynamics, weights):
    """Spikes, membrane and the gradients of Σ weights · (spikes, membrane), by input name; numbers stand for layers."""
    n = tensors["current"].shape[-1]
    given = {k: tensors[k].expand(n) for k in LifCoefficients._fields if k in tensors}
    with kernels.using(kernel):
        outputs = kernels.lif_trace(
            tensors["current"], tensors.get("recurrent"), LifCoefficients(**given, refractory=refractory), dynamics
        )
    value = sum((w * part).sum() for w, part in zip(weights, outputs))
    found = torch.autograd.grad(value, list(tensors.values()), allow_unused=True, materialize_grads=True)
    return [output.detach() for output in outputs], dict(zip(tensors, found))


SURROGATES = [s(scaled=scaled) for s in (Triangle, FastSigmoid, ArcTan) for scaled in (True, False)]
RESETS = [r(detach) for r in (NoReset, DelayedSubtract, Subtract, ToValue, DelayedToValue) for detach in (True, False)]
RATES = {-40.0: (0, 0), 0.0: (0, 0.5), 1.0: (0, 0.9), 4.0: (0, 1), 4000.0: (0.2, 1)}
OPTIONAL = ["recurrent", "syn", "v_leak", "v_reset"]


def gaps(function):
    """The result of the function, and the smallest |v − ϑ| that the reference met in it."""
    found = []

    def recorded(v, threshold, surrogate):
        found.append((v - threshold).detach().abs().min().item())
        return spike(v, threshold, surrogate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "spike", recorded)
        result = function()
    return result, min(found)


def spread_out(value, layout):
    """The same numbers laid out in memory otherwise."""
    if layout == "batch first":
        return value.transpose(0, 1).contiguous().transpose(0, 1)
    if layout == "every second":
        return torch.stack([value, value + 9], -1)[..., 0]
    return value


@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(st.sampled_from([1, 2, 9, 30]), st.sampled_from([1, 2, 17, 35]), st.integers(1, 9)),
    drive=st.sampled_from(sorted(RATES)),
    omitted=st.sets(st.sampled_from(OPTIONAL)),
    layer_wide=st.sets(st.sampled_from([*LifCoefficients._fields[:6], "rho", "adaptation"])),
    longest=st.integers(0, 3),
    dynamics=st.builds(Dynamics, st.sampled_from(SURROGATES), st.sampled_from(RESETS)),
    adaptive=st.booleans(),
    layout=st.sampled_from(["plain", "batch first", "every second"]),
)
@hypothesis.settings(max_examples=150)
def test_compiled_lif_equals_the_reference(seed, size, drive, omitted, layer_wide, longest, dynamics, adaptive, layout):
    """Spikes exactly, membrane and gradients to 1e-10 of the largest entry: silent to saturated, each part or not,
    set per neuron or per layer, each surrogate and reset, adaptation, a mask, refractory periods, any layout."""
    if adaptive:
        dynamics = Dynamics(dynamics.surrogate, DelayedSubtract(dynamics.reset.detach))
    else:
        omitted = omitted | {"rho", "adaptation"}
    tensors = {name: value for name, value in lif_layer(seed, *size, drive).items() if name not in omitted}
    tensors |= {k: tensors[k].detach()[0].requires_grad_() for k in layer_wide if k in tensors}
    tensors["current"] = spread_out(tensors["current"].detach(), layout).requires_grad_()
    if "recurrent" in tensors:
        tensors["recurrent"] = (
            (tensors["recurrent"] * (draw(seed + 12, size[2], size[2]) > 0)).detach().requires_grad_()
        )
    refractory = torch.arange(size[2]).remainder(longest + 1).double() if longest else None
    weights = draw(seed + 8, *size), draw(seed + 9, *size)
    (expected, nearest) = gaps(lambda: run_lif("reference", tensors, refractory, dynamics, weights))
    hypothesis.assume(nearest > 1e-9)
    (spikes, membrane), gradients = run_lif("compiled", tensors, refractory, dynamics, weights)
    (expected_spikes, expected_membrane), expected_gradients = expected
    hypothesis.target(spikes.mean().item())
    assert torch.equal(spikes, expected_spikes)
    scale = expected_membrane.abs().max().item()
    torch.testing.assert_close(membrane, expected_membrane, rtol=0, atol=1e-10 * scale)
    for name, gradient in gradients.items():
        scale = expected_gradients[name].abs().max().item()
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=0, atol=1e-10 * scale + 1e-13, msg=name)


@pytest.mark.parametrize("drive", sorted(RATES))
def test_the_drives_above_go_from_silent_to_saturated(drive):
    """The mean rate of the layers of the test above, by drive: 0 % at −40, more than 90 % at 4000 without a rest."""
    dynamics = Dynamics(Triangle(), ToValue())
    tensors = lif_layer(0, 30, 17, 9, drive)
    del tensors["rho"], tensors["adaptation"]
    (spikes, _), _ = run_lif("compiled", tensors, None, dynamics, (draw(1, 30, 17, 9),) * 2)
    low, high = {-40.0: (0, 0), 0.0: (0, 0.1), 1.0: (0.1, 0.6), 4.0: (0.3, 1), 4000.0: (0.9, 1)}[drive]
    assert low <= spikes.mean() <= high


@pytest.mark.parametrize("reset", [NoReset(), DelayedSubtract(), Subtract(), SnntorchSubtract(), ToValue()], ids=repr)
@pytest.mark.parametrize("leak", [True, False], ids=["v_leak", "no leak"])
def test_reference_lif_gradient_equals_finite_differences(reset, leak, monkeypatch):
    """With a smooth spike in place of the step, autograd of the reference LIF loop equals central differences."""
    monkeypatch.setattr(reference, "spike", smooth_spike)
    tensors = lif_layer(5, 5, 2, 3)
    if not isinstance(reset, DelayedSubtract):
        del tensors["rho"], tensors["adaptation"]
    if not leak:
        del tensors["v_leak"], tensors["syn"]

    def smooth(*values):
        p = dict(zip(tensors, values))
        current, recurrent = p.pop("current"), p.pop("recurrent")
        return reference.lif(current, recurrent, LifCoefficients(**p), Dynamics(Triangle(), reset), True)

    assert torch.autograd.gradcheck(smooth, list(tensors.values()))


class Rectangle(Triangle):
    """A surrogate of somebody else's: a subclass is another function, so the triangle's loop is not its own."""

    def derivative(self, u):
        return (u.abs() < 1).to(u.dtype)


@pytest.mark.parametrize(
    "dynamics", [Dynamics(Triangle(), SnntorchSubtract()), Dynamics(Rectangle(), DelayedSubtract())], ids=repr
)
def test_what_has_no_compiled_loop_takes_the_reference(dynamics):
    """snnTorch's undelayed subtraction and a surrogate of somebody else's run, with their own gradient, and are refused
    by name where compiled loops are demanded."""
    tensors = {name: value for name, value in lif_layer(3, 20, 2, 3).items() if name not in ("rho", "adaptation")}
    weights = draw(1, 20, 2, 3), draw(2, 20, 2, 3)
    (expected, expected_gradients) = run_lif("reference", tensors, None, dynamics, weights)
    found, gradients = run_lif("auto", tensors, None, dynamics, weights)
    assert all(map(torch.equal, found, expected)) and found[0].sum() > 0
    assert all(torch.equal(gradients[name], expected_gradients[name]) for name in gradients)
    with pytest.raises(ValueError, match="no surrogate and reset that have compiled loops"):
        run_lif("compiled", tensors, None, dynamics, weights)


@pytest.mark.parametrize("reset", [NoReset(), Subtract(), SnntorchSubtract(), ToValue(), DelayedToValue()], ids=repr)
@pytest.mark.parametrize("kernel", ["auto", *KERNELS])
def test_adaptation_goes_with_the_delayed_subtraction_only(kernel, reset):
    """Adaptation with any other reset is refused by name, by every kernel."""
    one = torch.ones(3)
    c = LifCoefficients(one / 2, one / 2, one, rho=one / 2, adaptation=one)
    with kernels.using(kernel), pytest.raises(ValueError, match="adaptation goes with DelayedSubtract only"):
        kernels.lif(torch.ones(4, 2, 3), None, c, Dynamics(Triangle(), reset))


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
    derivative = formula(distance)
    torch.testing.assert_close(at_v, derivative / threshold if surrogate.scaled else derivative, rtol=1e-12, atol=0)
    expected = -derivative * u / threshold**2 if surrogate.scaled else -derivative
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
