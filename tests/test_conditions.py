"""Conditions of a chip: time, noise in every step, defects, bits; each against a formula or the long way round."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import DT, double, draw, events, tiny
from placed import placed

import chipmodels
import neurorobust as nr
from neurorobust.chip import BadSynapses, DeadNeurons, Die, StuckDevices
from neurorobust.chip.defects import Clustered
from neurorobust.core.apply import apply
from neurorobust.core.noise import Jitter, Membrane, Noise, Place, Read, SpikeLoss, jitter, survival, together
from neurorobust.core.placement import HOST
from neurorobust.core.run import nominal, run
from neurorobust.nn.connections import Chain, Conv1d, Delayed, Linear
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, LinearizedDpi
from neurorobust.nn.neurons.neuron import Neuron, SpikingNeuron

NOTHING = nr.mismatch(0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recurrent(n: int = 6, n_in: int = 3) -> Network:
    """Spiking neurons with recurrence in float64, and two read-outs."""
    hidden = Lif(Linear(draw(1, n, n_in)), recurrent=Linear(0.8 * draw(2, n, n)), tau_mem=0.01, v_threshold=0.1)
    return Network({"hidden": hidden, "readout": opposed(n)}, DT)


def opposed(n: int) -> LeakyIntegrator:
    """Two read-outs on the host, one the negative of the other, with as much excitation as inhibition."""
    weight = draw(3, 1, n) - draw(3, 1, n).mean()
    return LeakyIntegrator(Linear(torch.cat([weight, -weight])), core=torch.full((2,), HOST), tau_mem=0.01)


def step_by_step(params, x, noise: Noise) -> torch.Tensor:
    """Spikes of ``recurrent``'s neurons, one step after the other, every weight drawn where it is read."""
    alpha = math.exp(-DT / 0.01)
    weight, onto = params["hidden.input.weight"], params["hidden.recurrent.weight"]
    v = torch.zeros(x.shape[0], len(weight), dtype=torch.float64)
    received, z = torch.zeros_like(v), torch.zeros_like(v)
    spikes = []
    for t in range(x.shape[1]):
        now = x[:, t] * noise.kept["x"][t]
        current = now @ weight.T + received @ onto.T + noise.added["hidden"][t]
        for name, source in (("hidden.input", now), ("hidden.recurrent", received)):
            sigma, xi = noise.read[name]
            current = current + ((source**2) @ (sigma**2).T).sqrt() * xi[t]
        v = alpha * v + (1 - alpha) * current - 0.1 * z
        z = (v > 0.1).double()
        received = z * noise.kept["hidden"][t]
        spikes.append(z)
    return torch.stack(spikes, 1)


def test_a_run_with_noise_is_the_loop_over_single_steps():
    """Added current, lost spikes and read noise at once, recurrence included, for 5 samples of 40 steps: every spike as
    in a loop over steps; the spikes differ from those without noise, and each kind of noise changes them alone."""
    network = recurrent()
    params, x = nominal(network), events(0, 5, 40).x
    full = Noise(
        added={"hidden": 0.2 * draw(4, 40, 5, 6)},
        kept={"hidden": (draw(5, 40, 5, 6) > -0.5).double(), "x": (draw(6, 40, 5, 3) > -1).double()},
        read={
            "hidden.input": (0.3 * params["hidden.input.weight"].abs(), draw(7, 40, 5, 6)),
            "hidden.recurrent": (0.3 * params["hidden.recurrent.weight"].abs(), draw(8, 40, 5, 6)),
        },
    )
    logits, spikes = run(network, params, x, record=True, noise=full)
    assert torch.equal(spikes["hidden"], step_by_step(params, x, full))
    clean, quiet = run(network, params, x, record=True)
    assert torch.equal(run(network, params, x, noise=Noise()), clean)
    parts = [
        Noise(added=full.added),
        *(Noise(kept={name: full.kept[name]}) for name in full.kept),
        *(Noise(read={name: full.read[name]}) for name in full.read),
    ]
    assert all(
        not torch.equal(run(network, params, x, record=True, noise=p)[1]["hidden"], quiet["hidden"]) for p in parts
    )
    assert torch.equal(run(network, params, x, noise=together(parts)), logits)


def test_lost_spikes_reach_no_other_layer():
    """The read-out of lost spikes is that of the spikes times what is kept; what the layer puts out stays."""
    network = recurrent()
    params, x = nominal(network), events(1, 4).x
    params["hidden.recurrent.weight"] *= 0
    kept = (draw(9, 20, 4, 6) > 0).double()
    logits, spikes = run(network, params, x, record=True, noise=Noise(kept={"hidden": kept}))
    clean = run(network, params, x, record=True)[1]["hidden"]
    assert torch.equal(spikes["hidden"], clean)
    received = (clean.transpose(0, 1) * kept) @ params["readout.input.weight"].T
    v, alpha = torch.zeros(4, 2, dtype=torch.float64), math.exp(-DT / 0.01)
    trace = []
    for current in received:
        v = alpha * v + (1 - alpha) * current
        trace.append(v)
    torch.testing.assert_close(logits, torch.stack(trace).mean(0), rtol=1e-12, atol=1e-14)


def test_noise_has_a_gradient():
    """d logits / d added of a linear read-out is its impulse response: (1 − α) Σ_{s ≥ t} α^(s−t) / T."""
    layer = LeakyIntegrator(Linear(draw(1, 1, 2)), tau_mem=0.01)
    network = Network({"out": layer}, DT)
    added = torch.zeros(20, 3, 1, dtype=torch.float64, requires_grad=True)
    x = draw(2, 3, 20, 2)
    run(network, nominal(network), x, noise=Noise(added={"out": added})).sum().backward()
    alpha = math.exp(-DT / 0.01)
    expected = (1 - alpha ** torch.arange(20, 0, -1, dtype=torch.float64)) / 20
    torch.testing.assert_close(added.grad, expected[:, None, None].expand(20, 3, 1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("tau_syn", [None, 0.008])
def test_membrane_noise_is_a_fraction_of_the_threshold_behind_any_synapse(tau_syn):
    """0.05 thresholds on a membrane with r = 4, with and without a synapse: its standard deviation after 5 τ, over
    20 000 samples, within 5 standard errors 1/√(2n) (false alarm 6e-7 for each of two neurons)."""
    tau, threshold = double(0.004, 0.006), double(0.1, 0.5)
    synapse = None if tau_syn is None else torch.full((2,), tau_syn).double()
    place = Place("v", 2, threshold, tau, synapse, torch.full((2,), 4.0).double())
    current = Membrane(0.05).draw([place], (30, 20_000), DT, seeded())
    make = LeakyIntegrator if tau_syn is None else CubaLeakyIntegrator
    settings = {"tau_mem": tau, "r": 4.0} | ({} if tau_syn is None else {"tau_syn": tau_syn})
    v = make(Linear(torch.eye(2).double()), **settings).respond(current.added["v"], DT).detach()[-1]
    expected = 0.05 * threshold * (1 - torch.exp(-2 * 30 * DT / tau)).sqrt()
    assert ((v.std(0) / expected - 1).abs() < 5 / math.sqrt(2 * 20_000)).all()


def test_sources_draw_what_they_say_and_add_up():
    """Loss keeps 1 − p of spikes and events, jitter moves events as noise.jitter does, read noise is a fraction of each
    weight; levels 0 change nothing."""
    places = [Place("a", 50, weights={"a.input": draw(1, 50, 4)})]
    kept = SpikeLoss(0.3).draw(places, (40, 10), DT, seeded()).kept["a"]
    assert abs(float(kept.mean()) - 0.7) < 5 * math.sqrt(0.21 / 20_000)  # false alarm 6e-7
    x = torch.full((10, 40, 50), 3.0)
    assert abs(float(SpikeLoss(0.3).events(x, DT, seeded()).mean()) / 3 - 0.7) < 5 * math.sqrt(0.21 / 60_000)
    assert torch.equal(Jitter(0.002).events(x, DT, seeded(1)), jitter(x, 0.002, DT, seeded(1)))
    sigma, xi = Read(0.1).draw(places, (40, 10), DT, seeded()).read["a.input"]
    assert torch.equal(sigma, 0.1 * places[0].weights["a.input"].abs())
    assert xi.shape == (40, 10, 50)
    none = NOTHING.with_noise(Membrane(0.0), SpikeLoss(0.0), Jitter(0.0), Read(0.0))
    network, data = tiny(), events(3, 10)
    assert np.array_equal(
        nr.evaluate(network, data, none, n_dies=2).score, nr.evaluate(network, data, NOTHING, n_dies=2).score
    )


@pytest.mark.parametrize("wrap", [lambda inner: Delayed(inner, 0.0), Chain])
def test_read_noise_that_no_weight_would_get_is_refused(wrap):
    """A weight inside a Delayed or a Chain has no read noise."""
    hidden = Lif(wrap(Linear(draw(1, 6, 3))), tau_mem=0.01, v_threshold=0.1)
    network, chip = Network({"hidden": hidden, "readout": opposed(6)}, DT), NOTHING.with_noise(Read(0.1))
    with pytest.raises(TypeError, match=r"Read: hidden.input.(connection|0).weight is inside a Delayed or a Chain"):
        nr.evaluate(network, events(3, 10), chip, n_dies=2)


def test_conditions_do_not_depend_on_torchs_default_type():
    """Read noise of a die's devices, lost spikes: the same numbers where torch.set_default_dtype was called."""
    network, pcm = tiny(), chipmodels.load("pcm").at("1 day")
    programmed = pcm.program(nominal(network), placement_of(network))

    def found() -> tuple[torch.Tensor, torch.Tensor]:
        die = pcm.fabricate([3], seed=0)[0]
        return die.deviations(programmed)["hidden.input.weight"], survival((1000,), 0.3, seeded())

    usual = found()
    torch.set_default_dtype(torch.float64)
    try:
        other = found()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(usual, other))


def test_read_noise_of_a_kernel_is_that_of_its_unrolled_weights():
    """Spread of a convolution's current = that of the matrix it stands for, each entry read by itself."""
    conv = Conv1d(draw(1, 2, 1, 3), (1, 6), bias=draw(2, 2))
    x = draw(3, 4, 2, 6).abs()
    matrix = conv(torch.eye(6, dtype=torch.float64)[None], DT)[0].T - conv.bias.repeat_interleave(4)[:, None]
    sigma = 0.2 * conv.weight.detach().abs()
    xi = draw(4, 4, 2, 8)
    found = Noise(read={"c": (sigma, xi)}).read_error("c", conv, x, DT)
    expected = ((x**2) @ (0.2 * matrix.detach()).square().T).sqrt() * xi
    torch.testing.assert_close(found.detach(), expected, rtol=1e-12, atol=1e-14)


def test_noise_of_dies_is_theirs():
    """Die 1 sees the same noise in a fleet of two and of four; another seed sees other; membrane noise of 30 % changes
    scores; on the host there is none."""
    network, data = recurrent(), events(4, 40)
    noisy = NOTHING.with_noise(Membrane(0.3), SpikeLoss(0.2), Read(0.1))
    four = nr.evaluate(network, data, noisy, n_dies=4, seed=2)
    two = nr.evaluate(network, data, noisy, n_dies=2, seed=2)
    assert np.array_equal(four.score[:2], two.score)
    assert four.chip == "mismatch 0, Membrane 0.3, SpikeLoss 0.2, Read 0.1"
    assert len(set(four.accuracy.tolist())) > 1
    for layer in network.layers().values():
        layer.core.fill_(HOST)
    on_host = nr.evaluate(network, data, NOTHING.with_noise(Membrane(0.3)), n_dies=2, seed=2)
    assert (on_host.score == on_host.nominal).all()


# ---- defects


def programmed_on(chip, network):
    return chip.program(nominal(network), placement_of(network))


def test_a_dead_neuron_is_never_received_and_stays_dead():
    """Dead neurons of dynapse2: silent in a run, all others as when the dead ones' spikes are lost; as many as a
    binomial allows at 1e-6; more of the same at a higher fraction; where they are does not depend on the network."""
    chip = chipmodels.load("dynapse2")
    network = placed([0] * 60 + [1] * 40)
    programmed = programmed_on(chip, network)
    die = chip.with_defects(DeadNeurons(0.3)).fabricate([5], 0)[0]
    dead = die.broken(programmed)["hidden.v_threshold"]
    assert 10 <= int(dead.sum()) <= 53  # 100 neurons at 0.3: both tails below 1e-6
    more = chip.with_defects(DeadNeurons(0.5)).fabricate([5], 0)[0].broken(programmed)["hidden.v_threshold"]
    assert (more | ~dead).all()
    plain = chip.fabricate([5], 0)[0]
    x = events(5, 6).x
    params = apply(programmed.params, die.deviations(programmed), programmed.placement)
    healthy = apply(programmed.params, plain.deviations(programmed), programmed.placement)
    logits, spikes = run(network, params, x, record=True)
    assert not spikes["hidden"][..., dead].any()
    alone = run(network, healthy, x, record=True, noise=Noise(kept={"hidden": (~dead).double()}))
    assert torch.equal(spikes["hidden"][..., ~dead], alone[1]["hidden"][..., ~dead])
    torch.testing.assert_close(logits, alone[0], rtol=1e-9, atol=1e-12)
    assert spikes["hidden"].any()
    small = placed([0] * 20)
    fewer = die.broken(programmed_on(chip, small))["hidden.v_threshold"]
    assert torch.equal(fewer, dead[:20])
    result = nr.evaluate(network, events(5, 6), chip.with_defects(DeadNeurons(1.0)), n_dies=2)
    assert (result.score == 0.5).all()


def test_what_is_broken_lies_where_the_pattern_says():
    """Clustered dead neurons of one core are Clustered.hits of the normals of its 16 × 16 grid; neighbours die together
    more often than chance; a cluster of synapses likewise over 256 neurons × 64 inputs."""
    chip = chipmodels.load("dynapse2")
    network = placed([0] * 256)
    programmed, where = programmed_on(chip, network), Clustered(0.3, 3.0)
    die = chip.with_defects(DeadNeurons(where)).fabricate([1], 0)[0]
    dead = die.broken(programmed)["hidden.v_threshold"].reshape(16, 16)
    pairs = (dead[1:] & dead[:-1]).double().mean() / dead.double().mean()
    assert pairs > 0.6  # 0.3 ± 0.05 where each dies by itself; far neighbours of a field of length 3 agree
    synapses = chip.with_defects(BadSynapses(where)).fabricate([1], 0)[0].broken(programmed)["hidden.input.weight"]
    assert 0.1 < float(synapses.double().mean()) < 0.5
    assert float((synapses[1:] & synapses[:-1]).double().mean() / synapses.double().mean()) > 0.6


def test_bad_synapses_pass_nothing_and_stuck_devices_stay():
    """Bad: the weight is 0, the others are the die's. Stuck at 0.5 of the largest on the core: the weight is ± half of
    it, or itself less half of it where the idle device is stuck, or 0 where both are."""
    chip = chipmodels.load("pcm")
    network = placed([0] * 30 + [1] * 30)
    programmed = programmed_on(chip, network)
    plain = apply(programmed.params, chip.fabricate([2], 0)[0].deviations(programmed), programmed.placement)
    bad = chip.with_defects(BadSynapses(0.2)).fabricate([2], 0)[0]
    hits = bad.broken(programmed)
    params = apply(programmed.params, bad.deviations(programmed), programmed.placement)
    for name in ("hidden.input.weight", "hidden.recurrent.weight"):
        assert not params[name][hits[name]].any()
        assert torch.equal(params[name][~hits[name]], plain[name][~hits[name]])
    assert "readout.input.weight" not in hits  # the host
    n = int((programmed.params["hidden.input.weight"] != 0).sum())
    assert abs(int(hits["hidden.input.weight"].sum()) - 0.2 * n) < 5 * math.sqrt(0.16 * n)  # false alarm 6e-7
    stuck = chip.with_defects(StuckDevices(0.3, at=0.5)).fabricate([2], 0)[0]
    hits, delta = stuck.broken(programmed), stuck.deviations(programmed)
    params = apply(programmed.params, delta, programmed.placement)
    w, here = programmed.params["hidden.input.weight"], hits["hidden.input.weight"]
    core = torch.tensor([0] * 30 + [1] * 30)
    for number in (0, 1):
        rows = core == number
        full = max(programmed.params[f"hidden.{part}.weight"][rows].abs().max() for part in ("input", "recurrent"))
        held = params["hidden.input.weight"][rows] * w[rows].sign()
        options = torch.stack([torch.full_like(held, full / 2), w[rows].abs() - full / 2, torch.zeros_like(held)])
        gap = (options - held).abs().amin(0)
        assert float(gap[here[rows]].max()) < 1e-9 * float(full)
    assert torch.equal(params["hidden.input.weight"][~here], plain["hidden.input.weight"][~here])


def test_a_dead_neuron_without_threshold_gets_no_input():
    """A read-out on the chip, dead: its membrane stays at rest; the others' is as it was."""
    synapses, on_chip = Linear(draw(1, 8, 3), draw(2, 8)), torch.zeros(8, dtype=torch.long)
    network = Network({"out": LeakyIntegrator(synapses, core=on_chip, tau_mem=0.01)}, DT)
    chip = NOTHING.with_defects(DeadNeurons(0.5))
    programmed = programmed_on(chip, network)
    die = chip.fabricate([0], 0)[0]
    dead = die.broken(programmed)["out.input.bias"]
    assert 0 < int(dead.sum()) < 8
    x = draw(3, 2, 10, 3)
    logits = run(network, apply(programmed.params, die.deviations(programmed), programmed.placement), x)
    assert not logits[:, dead].any()
    torch.testing.assert_close(logits[:, ~dead], run(network, nominal(network), x)[:, ~dead], rtol=1e-12, atol=0)


def test_a_die_with_defects_is_saved_with_them(tmp_path):
    """Saved and loaded with the same defects it is the same die; with others it is refused."""
    chip = chipmodels.load("dynapse2")
    broken = chip.with_defects(DeadNeurons(0.2))
    die = broken.fabricate([3], 1)[0]
    path = die.save(tmp_path / "die.json")
    assert Die.load(path, broken) == die
    for model in (chip, chip.with_defects(DeadNeurons(0.3))):
        with pytest.raises(ValueError, match=r"has defects DeadNeurons\(pattern=0\.2.*with_defects"):
            Die.load(path, model)


def test_the_label_tells_apart_what_differs():
    """A baseline and a kept fleet know their chip by its label."""
    plain = NOTHING.with_defects(BadSynapses(0.1), StuckDevices(0.2))
    assert plain.label.endswith(", BadSynapses 0.1, StuckDevices 0.2")
    others = NOTHING.with_defects(BadSynapses(Clustered(0.1, 2.0)), StuckDevices(0.2, at=0.0, pair=False))
    assert others.label.endswith(
        ", BadSynapses 0.1 Clustered(fraction=0.1, length=2.0), StuckDevices 0.2 at=0.0 pair=False"
    )


def test_a_die_is_saved_with_its_corner_and_its_noise(tmp_path):
    """Both act on its numbers, so ``load_die``, which finds the model without them, refuses it."""
    chip = chipmodels.load("dynapse2")
    for there, what in (
        (chip.with_corner(tau_mem=0.5), r"has corner tau_mem 0\.5; the model given has none.*with_corner"),
        (chip.with_noise(Membrane(0.1)), r"has noise Membrane\(.*; the model given has none.*with_noise"),
    ):
        die = there.fabricate([3], 1)[0]
        path = die.save(tmp_path / "die.json")
        assert Die.load(path, there) == die
        with pytest.raises(ValueError, match=what):
            chipmodels.load_die(path)
        with pytest.raises(ValueError, match=r"has (corner|noise) none"):
            Die.load(chip.fabricate([3], 1)[0].save(path), there)


def test_a_layer_on_fewer_cores_than_another_can_be_stuck():
    """The scale of a core is the largest weight on it, of any layer, where a later core holds another layer too."""
    first = Lif(Linear(draw(0, 2, 3)), recurrent=None, core=torch.tensor([0, 0]), tau_mem=0.01, v_threshold=0.1)
    second = Lif(Linear(3 * draw(1, 2, 2)), recurrent=None, core=torch.tensor([0, 1]), tau_mem=0.01, v_threshold=0.1)
    network = Network({"first": first, "second": second}, DT)
    chip = nr.mismatch(0.0).with_defects(StuckDevices(1.0, pair=False))
    programmed = programmed_on(chip, network)
    params = apply(programmed.params, chip.fabricate([0], 0)[0].deviations(programmed), programmed.placement)
    a, b = (programmed.params[f"{name}.input.weight"] for name in ("first", "second"))
    on_zero = torch.maximum(a.abs().max(), b[0].abs().max())
    torch.testing.assert_close(params["first.input.weight"], a.sign() * on_zero)
    torch.testing.assert_close(
        params["second.input.weight"], b.sign() * torch.stack([on_zero, b[1].abs().max()])[:, None]
    )


# ---- time, reading, bits


def test_a_chip_at_a_time_is_its_dies_at_that_time():
    """PCM after 30 days: the dies of the model are the dies aged, the label says when; the score is that of a run at
    their deviations as they are read."""
    chip, network, data = chipmodels.load("pcm"), placed([0] * 8), events(6, 40)
    later = chip.at("30 days")
    programmed = programmed_on(chip, network)
    die = later.fabricate([4], 2)[0]
    assert die.time == chip.fabricate([4], 2)[0].at("30 days").time == 2592000
    aged = chip.fabricate([4], 2)[0].at("30 days").deviations(programmed)
    assert all(torch.equal(value, aged[name]) for name, value in die.deviations(programmed).items())
    assert later.label == "pcm at 30 days"
    assert chip.at("1 year").label == "pcm at 1 year"
    result = nr.evaluate(network, data, later, n_dies=2, seed=2)
    for k, score in enumerate(result.score):
        die = later.fabricate([k], 2)[0]
        params = apply(programmed.params, die.deviations(programmed), programmed.placement)
        predicted = run(network, params, data.x).argmax(1)
        assert score == pytest.approx(
            np.mean([float((predicted == data.y)[data.y == c].double().mean()) for c in (0, 1)])
        )
    with pytest.raises(ValueError, match="its drift is not published"):
        chipmodels.load("dynapse2").at("1 day")


@pytest.mark.parametrize("name", ["pcm", "reram"])
def test_a_reading_departs_from_the_die_by_its_read_noise(name):
    """Over 400 readings of 15 weights, mean and spread of the magnitude over √((σ₊ G₊)² + (σ₋ G₋)²) of its pair, within
    5 standard errors of 0 and 1 (false alarm 2e-5 together); one occasion is one reading."""
    chip = chipmodels.load(name)
    weight = torch.linspace(0.2, 0.8, 15, dtype=torch.float64)[None]
    synapses, on_chip = Linear(torch.cat([weight, weight.new_ones(1, 1)], 1)), torch.zeros(1, dtype=torch.long)
    network = Network({"out": LeakyIntegrator(synapses, core=on_chip, tau_mem=0.01)}, DT)
    programmed, name = programmed_on(chip, network), "out.input.weight"
    die = chip.fabricate([0], 0)[0]
    cell = chip.kinds["weight"].law
    u, gain = die.draws(programmed)[name], programmed.gain(name, programmed.params[name])
    target = programmed.params[name] * gain
    active, idle = ((u[0], u[0]), (u[2], u[2])) if cell.one_normal else ((u[0], u[1]), (u[2], u[3]))
    low = torch.full_like(target, cell.device.low)
    variance = torch.zeros_like(target)
    for goal, normals in ((low + target, active), (low, idle)):
        relative = cell.device.reading.sigma(cell.device.program(goal, normals[0]) / cell.device.g_max, 0.0)
        variance += (relative * cell.device.at(goal, normals, 0.0)).square()
    readings = torch.stack([die.deviations(programmed, occasion)[name] for occasion in range(400)])
    still = die.deviate(die.draws(programmed), programmed)[name]
    sample = ((readings - still) * target / variance.sqrt())[:, 0, :15]
    assert (sample.mean(0).abs() < 5 / math.sqrt(400)).all()
    assert ((sample.std(0) - 1).abs() < 5 / math.sqrt(800)).all()
    assert not torch.equal(readings[0], readings[1])
    assert torch.equal(readings[0], die.deviations(programmed, 0)[name])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_of_so_many_bits(bits):
    """An ideal chip holds at most 2^bits − 1 evenly spaced weights, the largest exactly; pcm keeps its gain;
    dynapse2 has as many currents; a number of synapses has no bits."""
    network = placed([0] * 30)
    ideal = chipmodels.load("ideal").with_bits(bits)
    programmed = programmed_on(ideal, network)
    codes = torch.cat([programmed.codes[f"hidden.{part}.weight"].flatten() for part in ("input", "recurrent")])
    assert int(codes.abs().max()) == 2 ** (bits - 1) - 1
    largest = max(value.abs().max() for name, value in nominal(network).items() if name in programmed.codes)
    held = torch.cat([programmed.params[name].flatten() for name in programmed.codes])
    torch.testing.assert_close(held, codes * largest / (2 ** (bits - 1) - 1), rtol=1e-12, atol=1e-12)
    pcm = chipmodels.load("pcm")
    assert torch.equal(
        programmed_on(pcm.with_bits(bits), network).gains["hidden.input.weight"],
        programmed_on(pcm, network).gains["hidden.input.weight"],
    )
    if bits == 2:
        masks = programmed_on(chipmodels.load("dynapse2").with_bits(2), network)
        assert len(masks.report[0]["currents_A"]) == 2
        with pytest.raises(ValueError, match="dynapse1: holds weights as SynapseCounts, which has no bits"):
            chipmodels.load("dynapse1").with_bits(4)


def test_everything_at_once_composes_in_any_order():
    """Bits, time, defects and noise on pcm: the order in which they are put on does not matter."""
    chip, network, data = chipmodels.load("pcm"), placed([0] * 8), events(7, 20)
    one = chip.with_bits(4).at("1 day").with_defects(DeadNeurons(0.1)).with_noise(Membrane(0.1))
    two = chip.with_noise(Membrane(0.1)).with_defects(DeadNeurons(0.1)).with_bits(4).at("1 day")
    assert one.label == two.label == "pcm with 4-bit weights at 1 day, Membrane 0.1, DeadNeurons 0.1"
    a, b = (nr.evaluate(network, data, each, n_dies=2, seed=0) for each in (one, two))
    assert np.array_equal(a.score, b.score)
    assert {part["what"] for part in nr.chip.card(one)["defects"]} == {"DeadNeurons"}
    ball = nr.Ball.from_chip(one, programmed_on(one, network), sigmas=3)
    assert ball.radii == nr.Ball.from_chip(chip.with_bits(4), programmed_on(chip.with_bits(4), network), sigmas=3).radii


SPIKING = {"tau_mem": 0.01, "v_threshold": 0.1}
NEURONS = {
    Lif: SPIKING,
    CubaLif: SPIKING | {"tau_syn": 0.005},
    AdaptiveLif: SPIKING | {"tau_adapt": 0.03, "adaptation": 0.5},
    LeakyIntegrator: {"tau_mem": 0.01, "v_leak": 0.1},
    CubaLeakyIntegrator: {"tau_mem": 0.01, "tau_syn": 0.005},
    LinearizedDpi: SPIKING | {"tau_syn_exc": 0.005, "tau_syn_inh": 0.007, "v_floor": -0.1},
}


@pytest.mark.parametrize("kind", NEURONS, ids=lambda kind: kind.__name__)
def test_every_neuron_takes_noise(kind):
    """A constant added to the current is a bias; without noise, what it makes of its own current is its output."""
    weight, x = draw(1, 4, 3), draw(2, 20, 3, 3)
    plain, biased = (
        kind(Linear(weight, bias), **NEURONS[kind]) for bias in (None, torch.full((4,), 0.3, dtype=torch.float64))
    )
    assert set(NEURONS) == {n for n in vars(nr.neurons).values() if isinstance(n, type) and issubclass(n, Neuron)} - {
        Neuron,
        SpikingNeuron,
    }
    if kind is not LinearizedDpi:  # what it integrates are two currents
        torch.testing.assert_close(plain.respond(plain.current(x, DT), DT), plain(x, DT), rtol=1e-12, atol=1e-14)
    noise = Noise(added={"a": torch.full((20, 3, 4), 0.3, dtype=torch.float64)})
    torch.testing.assert_close(plain.noisy("a", x, DT, noise), biased(x, DT), rtol=1e-9, atol=1e-12)


class Deaf(Neuron):
    """A neuron of somebody's own that knows nothing of noise."""

    def forward(self, x, dt):
        return self.current(x, dt)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SpikeLoss(1.5), ValueError, "p: got 1.5; expected a probability"),
        (lambda: Membrane(-0.1), ValueError, "sigma: got -0.1"),
        (lambda: Read(-1.0), ValueError, "fraction: got -1.0"),
        (lambda: DeadNeurons(1.2), ValueError, "fraction: got 1.2; expected 0 to 1"),
        (lambda: DeadNeurons("half"), TypeError, "pattern: got 'half'; expected a fraction"),
        (lambda: StuckDevices(0.1, at=2.0), ValueError, "at: got 2.0"),
        (lambda: NOTHING.with_noise(DeadNeurons(0.1)), TypeError, "noise: got DeadNeurons"),
        (lambda: NOTHING.with_defects(Membrane(0.1)), TypeError, "defects: got Membrane"),
        (lambda: NOTHING.with_noise(Membrane(0.1, status="rumour")), ValueError, "status: 'rumour' does not exist"),
        (lambda: NOTHING.with_bits(1), ValueError, "bits: got 1"),
        (lambda: NOTHING.with_bits(17), ValueError, "bits: got 17"),
    ],
)
def test_bad_conditions_are_refused(make, error, message):
    """One line that names the argument and what came."""
    with pytest.raises(error, match=message):
        chip = make()
        if isinstance(chip, DeadNeurons):
            chip.level  # noqa: B018


def test_noise_that_does_not_fit_is_refused():
    """Layers, connections and shapes that are not the network's, two readings of one weight, modules without layers."""
    network, x = recurrent(), events(0, 2).x
    params = nominal(network)
    bad = [
        (Noise(added={"hiden": torch.zeros(20, 2, 6)}), r"noise.added: layer: 'hiden' does not exist.*'hidden'"),
        (Noise(added={"x": torch.zeros(20, 2, 3)}), "noise.added: layer: 'x' does not exist"),
        (Noise(kept={"y": torch.zeros(6)}), "noise.kept: layer: 'y' does not exist"),
        (Noise(read={"hidden": (torch.zeros(6, 3), torch.zeros(20, 2, 6))}), "noise.read: connection: 'hidden'"),
        (Noise(added={"hidden": torch.zeros(20, 6)}), r"noise.added\['hidden'\]: got shape \(20, 6\)"),
        (Noise(kept={"hidden": torch.zeros(5)}), r"noise.kept\['hidden'\]: got shape \(5,\)"),
        (Noise(added={"hidden": torch.full((20, 2, 6), torch.nan)}), "NaN"),
        (Noise(read={"hidden.input": (torch.zeros(3, 6), torch.zeros(20, 2, 6))}), "got standard deviations of shape"),
    ]
    for noise, message in bad:
        with pytest.raises(ValueError, match=message):
            run(network, params, x, noise=noise)
    read = Noise(read={"hidden.input": (torch.zeros(6, 3), torch.zeros(20, 2, 6))})
    with pytest.raises(ValueError, match=r"two sources of noise for 'hidden\.input'"):
        read.and_(read)
    with pytest.raises(TypeError, match="holds a foreign module, which does not support noise"):
        wrapped = nr.wrap(torch.nn.Linear(3, 2).double())
        run(wrapped, nominal(wrapped), x[:, 0], noise=Noise())
    with pytest.raises(TypeError, match="layers take no noise in every step"):
        nr.evaluate(wrapped, nr.data.Data(x[:, 0], torch.tensor([0, 1])), NOTHING.with_noise(Membrane(0.1)))
    deaf = Network({"d": Deaf(Linear(draw(1, 2, 3)))}, DT)
    with pytest.raises(TypeError, match="Deaf: does not support noise"):
        run(deaf, nominal(deaf), x, noise=Noise(added={"d": torch.zeros(20, 2, 2)}))


def test_defects_that_have_no_place_are_refused():
    """A cluster without a grid, a network without thresholds or cores."""
    network = recurrent()
    chip = NOTHING.with_defects(DeadNeurons(Clustered(0.1, 2.0)))
    with pytest.raises(ValueError, match="does not say how many neurons a core has"):
        chip.fabricate([0], 0)[0].deviations(programmed_on(chip, network))
    wrapped = nr.wrap(torch.nn.Linear(3, 2).double())
    chip = NOTHING.with_defects(DeadNeurons(0.1))
    with pytest.raises(ValueError, match="no neuron can be dead"):
        chip.fabricate([0], 0)[0].deviations(programmed_on(chip, wrapped))


def test_declared_noise_and_defects_say_where_they_come_from():
    """A chip file may declare both, with status and source; the card shows them, evaluation applies them."""
    loss = SpikeLoss(0.5, status="published", source="a paper")
    dead = DeadNeurons(0.5, status="measured", source="a wafer")
    chip = replace(chipmodels.load("ideal"), noise=(loss,), defects=(dead,))
    card = nr.chip.card(chip)
    assert card["noise"] == [{"what": "SpikeLoss", "value": 0.5, "status": "published", "source": "a paper"}]
    assert card["defects"] == [{"what": "DeadNeurons", "value": 0.5, "status": "measured", "source": "a wafer"}]
    rows = list(nr.chip.numbers(chip))
    assert ("noise.SpikeLoss", "0.5", "published", "a paper") in rows
    assert ("defects.DeadNeurons", "0.5", "measured", "a wafer") in rows
    assert nr.evaluate(recurrent(), events(8, 20), chip, n_dies=2).chip == "ideal, SpikeLoss 0.5, DeadNeurons 0.5"


def test_a_synaptic_layer_takes_noise_like_any_other():
    """CubaLif with recurrence under membrane noise, on dies: the same twice, not what it is without."""
    hidden = CubaLif(
        Linear(draw(1, 6, 3)),
        recurrent=Linear(0.5 * draw(2, 6, 6)),
        tau_mem=0.01,
        tau_syn=0.005,
        v_threshold=0.05,
        r=2.0,
    )
    network, data = Network({"hidden": hidden, "readout": opposed(6)}, DT), events(9, 60)
    noisy = NOTHING.with_noise(Membrane(5.0))
    one, two = (nr.evaluate(network, data, noisy, n_dies=2, seed=1) for _ in range(2))
    assert np.array_equal(one.score, two.score)
    assert (one.score != one.nominal).any()
