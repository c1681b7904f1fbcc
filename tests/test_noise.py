"""Noise of every step against its stated moments and against drawing it the long way; nothing else moves."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import DT, double, draw, events
from hypothesis import given
from hypothesis import strategies as st

from neurorobust.core.noise import Noise, jitter, lose, membrane, survival
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import LeakyIntegrator

SIGMAS = 5.0  # every bound below; the false alarm of one normal figure is 6e-7


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def variance_is(sample: torch.Tensor, expected: float, independent: float) -> None:
    """The variance of normals, so many of them independent, is as expected within 5 standard errors √(2/n)."""
    assert abs(sample.square().mean().item() / expected - 1) <= SIGMAS * math.sqrt(2 / independent)


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 1e-2])
def test_membrane_noise_has_the_stated_spread_whatever_dt_is(dt):
    """Leaky integrators driven by it alone: standard deviation 30 mV at every dt, for τ of 2 and 20 ms.

    After 5 τ the start is forgotten to e^−10 of the variance. 500 samples (50 at the smallest dt), one value
    every 2 τ or every step: of values correlated by ρ the number that counts is (1 − ρ²)/(1 + ρ²) of them. Two figures,
    each false with 6e-7.
    """
    tau = double(2e-3, 20e-3)
    steps = round(0.3 / dt) + 1
    noise = membrane(0.03, tau, dt, (steps, 500 if dt > 1e-4 else 50), seeded())
    layer = LeakyIntegrator(Linear(torch.eye(2).double()), tau_mem=tau)
    v = layer(noise, dt).detach()
    for i, each in enumerate(tau.tolist()):
        every = v[round(5 * each / dt) :: max(round(2 * each / dt), 1), :, i]
        kept = math.exp(-2 * max(round(2 * each / dt), 1) * dt / each)
        variance_is(every, 0.03**2, every.numel() * (1 - kept) / (1 + kept))


def test_membrane_noise_starts_at_rest():
    """After t steps the variance is σ²(1 − α^(2t)), for t = 1 and 3 over 40 000 samples."""
    tau, alpha = double(5e-3), math.exp(-DT / 5e-3)
    noise = membrane(1.0, tau, DT, (3, 40_000), seeded(1))
    v = LeakyIntegrator(Linear(torch.ones(1, 1).double()), tau_mem=tau)(noise, DT).detach()
    for t in (1, 3):
        variance_is(v[t - 1], 1 - alpha ** (2 * t), 40_000)


def test_membrane_noise_is_differentiable_and_per_neuron():
    """Proportional to σ, one for each neuron; its derivative in τ is that of √coth(dt/2τ)."""
    sigma, tau = double(0.05, 0.1, 0.2).requires_grad_(), double(1e-3, 5e-3, 2e-2).requires_grad_()

    def draws(sigma, tau):
        return membrane(sigma, tau, DT, (4, 2), seeded(2))

    assert torch.autograd.gradcheck(draws, (sigma, tau), eps=1e-8, atol=1e-5)
    xi = torch.randn(4, 2, 3, generator=seeded(2), dtype=torch.float64)
    torch.testing.assert_close(draws(sigma, tau), sigma / torch.tanh(DT / (2 * tau)).sqrt() * xi)


def read_noise(x: torch.Tensor, sigma: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The part that read noise adds to the current of a dense layer."""
    xi = torch.randn(*x.shape[:2], len(sigma), generator=generator, dtype=torch.float64)
    return Noise(read={"input": (sigma, xi)}).read_error("input", Linear(torch.ones_like(sigma)), x, DT)


def test_read_noise_is_that_of_weights_drawn_in_every_step():
    """Second moments of the shortcut and of x @ (σξ)ᵀ with every ξ drawn agree with Σ x²σ², 20 000 draws each; neurons,
    steps and samples are uncorrelated (20 figures, together false with 1.2e-5)."""
    x, sigma, n = draw(0, 2, 2, 3), draw(1, 2, 3).abs(), 20_000
    expected = torch.einsum("tbj,ij->tbi", x.square(), sigma.square())
    generator = seeded(3)
    short = read_noise(x.repeat(1, n, 1), sigma, generator).reshape(2, n, 2, 2)
    weights = sigma * torch.randn(2, n, 2, 2, 3, generator=generator, dtype=torch.float64)
    long = torch.einsum("tbj,tnbij->tnbi", x, weights)
    for drawn in (short, long):
        for t, b, i in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
            variance_is(drawn[t, :, b, i], expected[t, b, i].item(), n)
    flat = short.transpose(0, 1).reshape(n, 8)
    for other in (1, 2, 4, 7):
        assert abs(torch.corrcoef(flat[:, [0, other]].T)[0, 1]) <= SIGMAS / math.sqrt(n)


def test_silent_inputs_make_no_read_noise():
    """No spike, no noise, and a gradient that is 0 there, not NaN."""
    x, sigma = torch.zeros(3, 2, 4).double(), draw(0, 5, 4).abs().requires_grad_()
    noise = read_noise(x, sigma, seeded())
    assert torch.equal(noise, torch.zeros(3, 2, 5).double())
    assert torch.equal(torch.autograd.grad(noise.sum(), sigma)[0], torch.zeros(5, 4).double())


@given(st.integers(0, 2**16), st.sampled_from([0.0, 0.2, 1.0]))
def test_lost_events_are_a_binomial(seed, p):
    """Of 3000 events in bins of 0 to 3 each survives with 1 − p: 5 σ; none is made, p = 0 and 1 are exact."""
    counts = torch.arange(2000).reshape(20, 10, 10) % 4
    kept = lose(counts.float(), p, seeded(seed))
    assert kept.dtype == torch.float32 and (kept <= counts).all() and (kept == kept.round()).all()
    n = int(counts.sum())
    assert abs(kept.sum().item() - (1 - p) * n) <= SIGMAS * math.sqrt(n * p * (1 - p))
    again = survival((n,), p, seeded(seed))
    assert abs(again.sum().item() - (1 - p) * n) <= SIGMAS * math.sqrt(n * p * (1 - p))
    assert set(again.unique().tolist()) <= {0.0, 1.0}


def test_jitter_moves_every_event_by_itself():
    """10 000 events, two to a bin in the middle of 400 steps: moves have mean 0 and variance (σ/dt)² + 1/12 (rounding
    to steps), each within 5 standard errors; pairs stay together as often as two independent normals do."""
    x = torch.zeros(5000, 400, 1)
    x[:, 200] = 2
    moved = jitter(x, 4e-3, DT, seeded(5))
    assert moved.sum() == 10_000
    times = torch.repeat_interleave(moved.nonzero()[:, 1], moved[moved > 0].long()).double() - 200
    variance = 16 + 1 / 12
    assert abs(times.mean().item()) <= SIGMAS * math.sqrt(variance / 10_000)
    variance_is(times, variance, 10_000)
    together = (moved == 2).any(1).double().mean().item()
    chance = sum(
        (0.5 * (math.erf((k + 0.5) / 4 / 2**0.5) - math.erf((k - 0.5) / 4 / 2**0.5))) ** 2 for k in range(-40, 41)
    )
    assert abs(together - chance) <= SIGMAS * math.sqrt(chance * (1 - chance) / 5000)


@given(st.integers(0, 2**16))
def test_jitter_keeps_channels_and_samples(seed):
    """No event changes its channel or sample; those that leave the recording are missing from its sum; σ = 0 moves
    none."""
    x = events(seed, 4, 12).x
    assert torch.equal(jitter(x, 0.0, DT, seeded(seed)), x)
    moved = jitter(x, 5e-3, DT, seeded(seed))
    assert (moved.sum(1) <= x.sum(1)).all() and moved.min() >= 0 and moved.dtype == x.dtype
    far = jitter(x, 1e3, DT, seeded(seed))
    assert far.sum() <= 1


def test_noise_is_applied_where_it_is_named():
    """transmitted multiplies, driven adds, in the signal's type; what is not named passes as it is."""
    signal = draw(0, 3, 2, 4)
    noise = Noise(added={"a": torch.ones(3, 2, 4)}, kept={"x": torch.tensor([1.0, 0.0, 1.0, 0.0])})
    assert torch.equal(noise.driven("a", signal), signal + 1) and noise.driven("x", signal) is signal
    assert (
        torch.equal(noise.transmitted("x", signal), signal * double(1, 0, 1, 0))
        and noise.transmitted("a", signal) is signal
    )


def test_noise_in_a_layer_is_its_current():
    """Noise on the input of an integrator adds the same as these numbers through an input of weight 1."""
    layer = LeakyIntegrator(Linear(draw(0, 2, 3)), tau_mem=0.01)
    wider = LeakyIntegrator(Linear(torch.cat([layer.input.weight.detach(), torch.eye(2).double()], 1)), tau_mem=0.01)
    x, added = draw(1, 4, 6, 3), draw(2, 4, 6, 2)
    noise = Noise(added={"out": added.transpose(0, 1)})
    current = noise.driven("out", layer.input(x.transpose(0, 1), DT))
    plain = LeakyIntegrator(Linear(torch.eye(2).double()), tau_mem=0.01)
    expected = Network({"out": wider}, DT)(torch.cat([x, added], 2))[0]
    torch.testing.assert_close(Network({"out": plain}, DT)(current.transpose(0, 1))[0], expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda g: membrane(0.1, double(1e-3), DT, (3, 2), g),
        lambda g: survival((30,), 0.5, g),
        lambda g: lose(torch.ones(30), 0.5, g),
        lambda g: jitter(torch.ones(2, 30, 1), 5e-3, DT, g),
    ],
    ids=["membrane", "survival", "lose", "jitter"],
)
def test_noise_depends_on_its_generator_alone(make):
    """The same bits for the same seed, other bits for another; the global generator is neither read nor moved."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = make(seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(first, make(seeded(1)))
    assert not torch.equal(first, make(seeded(2)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g: membrane(-0.1, double(1e-3), DT, (1, 1), g), "sigma: smallest value is -0.1"),
        (lambda g: membrane(double(0.1, math.nan), double(1e-3, 1e-3), DT, (1, 1), g), "sigma: 1 of 2 values are NaN"),
        (lambda g: membrane(0.1, double(0.0), DT, (1, 1), g), "tau_mem: smallest value is 0"),
        (lambda g: membrane(0.1, double(1e-3), 0.0, (1, 1), g), "dt: got 0.0"),
        (lambda g: survival((2,), 1.1, g), "p: got 1.1"),
        (lambda g: lose(torch.ones(2), -0.1, g), "p: got -0.1"),
        (lambda g: lose(torch.tensor([0.5]), 0.1, g), "events: got values from 0.5 to 0.5, not all whole numbers"),
        (lambda g: jitter(-torch.ones(1, 2, 1), 1e-3, DT, g), "events: got values from -1 to -1"),
        (lambda g: jitter(torch.ones(1, 2, 1), math.nan, DT, g), "sigma: got nan"),
    ],
)
def test_what_no_noise_can_be_is_refused(wrong, message):
    """A wrong argument is named, with what came."""
    with pytest.raises(ValueError, match=message):
        wrong(seeded())
