"""Contracts of every installed chip model: provenance, dies, programming, evaluation, attack."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from conftest import DT, events
from first_dies import fingerprint, programmed_small, stored
from scipy.special import ndtri

import chipmodels
import neurorobust as nr
from neurorobust.chip import STATUSES, Cell, Die, Range, SourcedValue
from neurorobust.chip.equations import INPUTS, POINTS
from neurorobust.chip.variability import Exact, Offset, Reading
from neurorobust.core.apply import apply
from neurorobust.core.equations import UNKNOWN, VOCABULARY
from neurorobust.core.run import nominal
from neurorobust.nn.network import placement_of

CHIPS = chipmodels.models()
every_chip = pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)


def facts(thing, path=""):
    """Every SourcedValue and Range inside a chip model, with where it is."""
    if isinstance(thing, (SourcedValue, Range)):
        yield path, thing
    elif is_dataclass(thing):
        for part in fields(thing):
            yield from facts(getattr(thing, part.name), f"{path}.{part.name}")
    elif hasattr(thing, "items"):
        for key, value in thing.items():
            yield from facts(value, f"{path}.{key}")


@every_chip
def test_every_number_has_a_status_and_a_source(chip):
    """No number without provenance; an unknown spread is never 0: only what is exact by design is."""
    found = [fact for _, fact in facts(chip)] + list(chip.limits.facts().values())
    assert len(found) > len(chip.kinds)
    for fact in found:
        assert fact.status in STATUSES
        assert fact.source.strip()
        assert all(math.isfinite(getattr(fact, name)) for name in ("value", "low", "high") if hasattr(fact, name))
    for model in chip.kinds.values():
        assert model.cv.value > 0 or isinstance(model.law, Exact) or chip.name == "ideal"
    assert chip.title
    assert chip.notes
    assert chipmodels.load(chip.name).version == chip.version


@every_chip
def test_the_audit_has_every_point(chip):
    """Each point of the audit is a text with a status and, unless it is unknown, a source. A chip with neurons of its
    own has words for what is known; what a neuron does not decide is also said of our model. Only a chip that is not
    of this package may state nothing."""
    if chip.neuron is None:
        assert chip.name not in {key.split()[0] for key in stored()}
        return
    assert list(chip.neuron.points()) == list(POINTS)
    for name, point in chip.neuron.points().items():
        assert point.text and point.status in (*STATUSES, UNKNOWN) and (point.source or point.status == UNKNOWN)
        assert bool(point.model) == (name not in VOCABULARY)
        if name in VOCABULARY and point.words:
            assert point.status != UNKNOWN and not chip.neuron.as_network
    assert chip.neuron.as_network or any(chip.neuron.points()[name].words for name in VOCABULARY)


@every_chip
def test_a_chip_says_what_its_inputs_are(chip):
    """Events, or any numbers, with a source; or that it is unknown. A chip with neurons of its own takes events."""
    point = chip.inputs
    assert point.text and point.model and point.status in (*STATUSES, UNKNOWN), "state inputs=SourcedText(…)"
    assert (point.words and point.source) or point.status == UNKNOWN
    assert set(point.words) <= set(INPUTS) and chip.takes_numbers == (point.words != ("events",))
    if chip.neuron is not None and point.words:
        assert chip.takes_numbers == chip.neuron.as_network


@every_chip
def test_a_law_has_the_spread_it_states(chip):
    """The standard deviation of θ* over 20 001 quantiles of u, over its mean, is the stated CV at the stated point."""
    u = torch.from_numpy(ndtri((np.arange(20001) + 0.5) / 20001))
    for kind, model in chip.kinds.items():
        point = torch.full_like(u, 1.0 if model.cv.at is None else model.cv.at)
        law = model.law.without_outliers.of_first_normal
        moved = apply({kind: point}, {kind: law.deviate(kind, (u,), point)})[kind]
        spread = float(moved.std()) / (1 if isinstance(law, Offset) else float(moved.mean()))
        assert spread == pytest.approx(model.cv.value, rel=0.02, abs=1e-12)


@every_chip
def test_every_chip_is_programmed_evaluated_and_attacked(chip):
    """A network that fits is programmed, measured on dies and attacked within the chip's own tolerances; codes decode
    to what is programmed again."""
    network, programmed = programmed_small(chip)
    data = events(1, 8)
    result = nr.evaluate(network, data, chip, n_dies=2, seed=3)
    assert result.score.shape == (2,)
    again = chip.program(programmed.params, programmed.placement)
    for name, value in programmed.params.items():
        torch.testing.assert_close(again.params[name], value, rtol=1e-9, atol=1e-12)
    ball = nr.Ball.from_chip(chip, programmed, sigmas=3)
    on_chip = [name for name in programmed.params if not name.startswith("readout")]
    varying = [name for name in on_chip if chip.kinds[name.rsplit(".")[-1]].cv.value > 0]
    assert {name for name in ball.radii if ball.radius(name) > 0} == set(varying)
    if varying:
        worst = nr.worst_case(network, data, ball, nr.attacks.PGA(steps=2), seed=0)
        for name, (low, high) in ball.corners.items():
            assert bool(((worst.deviations[name] >= low) & (worst.deviations[name] <= high)).all())


@every_chip
def test_every_chip_takes_defects_and_noise(chip):
    """All defects and all noise at once on every chip; its dies without them are as they were; a week later too, where
    its drift is known, and with other weights' bits, where it has any."""
    network, programmed = programmed_small(chip)
    worn = chip.with_defects(nr.chip.DeadNeurons(0.5), nr.chip.BadSynapses(0.2), nr.chip.StuckDevices(0.2))
    worn = worn.with_noise(nr.noise.Membrane(0.1), nr.noise.SpikeLoss(0.1), nr.noise.Jitter(2e-3), nr.noise.Read(0.1))
    result = nr.evaluate(network, events(1, 8), worn, n_dies=2, seed=3)
    assert result.chip.startswith(f"{chip.name}, Membrane 0.1") and result.chip.endswith("StuckDevices 0.2")
    sound, die = (each.fabricate([3], 0)[0] for each in (chip, worn))
    broken, plain = die.broken(programmed), sound.deviations(programmed)
    for name, delta in die.deviations(programmed).items():
        here = broken.get(name, torch.zeros_like(delta, dtype=torch.bool))
        assert torch.equal(delta[~here], plain[name][~here])
    assert any(here.any() for here in broken.values())
    time = "1 day"
    varies = any(model.cv.value > 0 for model in chip.kinds.values())
    if any(model.law.ages for model in chip.kinds.values()) or not varies:
        assert nr.evaluate(network, events(1, 8), worn.at(time), n_dies=1).chip.startswith(f"{chip.name} at {time}")
    else:
        with pytest.raises(ValueError, match="its drift is not published"):
            worn.at(time)


@every_chip
def test_tolerance_corners_are_the_law_at_k_sigmas(chip):
    """Corners against u = ±2 of the law of each element, without its outliers; a programmed network has both ends."""
    _, programmed = programmed_small(chip)
    die = replace(
        chip, kinds={kind: replace(model, law=model.law.without_outliers) for kind, model in chip.kinds.items()}
    ).fabricate([0], 0)[0]
    ends = [
        die.deviate({name: torch.full_like(value, u) for name, value in programmed.expanded().items()}, programmed)
        for u in (-2.0, 2.0)
    ]
    for name, (low, high) in nr.Ball.from_chip(chip, programmed, sigmas=2).corners.items():
        assert torch.equal(low, torch.minimum(ends[0][name], ends[1][name]))
        assert torch.equal(high, torch.maximum(ends[0][name], ends[1][name]))


@every_chip
def test_the_first_die_is_pinned(chip):
    """No refactoring changes a die unnoticed; a new chip or version is kept with ``python tests/first_dies.py``."""
    kept = stored().get(f"{chip.name} {chip.version}")
    if kept is None:
        pytest.skip("no fingerprint is kept of this version")
    assert fingerprint(chip) == kept


def test_the_chips_of_the_package_are_pinned():
    """Every name that has a fingerprint is still there, in a version that has one."""
    kept = stored()
    assert all(f"{name} {CHIPS[name].version}" in kept for name in {key.split()[0] for key in kept})


@every_chip
def test_a_die_survives_a_file(chip, tmp_path):
    """Saved and found again by name, a die deviates as it did, and compares as the same die."""
    _, programmed = programmed_small(chip)
    die = chip.fabricate([5], 2)[0]
    again = chipmodels.load_die(die.save(tmp_path / "die.json"))
    first, second = die.deviations(programmed), again.deviations(programmed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    if chip.limits.cores is not None and die.maps():
        assert die.compare(again) == pytest.approx(dict.fromkeys(die.maps(), 1.0))


@every_chip
def test_a_twice_programmed_die_keeps_its_personality(chip):
    """Other values at the same sites: the same normals, all of them."""
    _, first = programmed_small(chip)
    second = replace(first, params={name: 0.7 * value for name, value in first.params.items()})
    die = chip.fabricate([1], 1)[0]
    draws = [die.draws(programmed) for programmed in (first, second)]
    assert all(torch.equal(a, b) for name in draws[0] for a, b in zip(draws[0][name], draws[1][name]))


def test_a_file_of_another_version_is_refused(tmp_path):
    """A die of a model that has changed since is another die."""
    chip = CHIPS["dynapse2"]
    path = chip.fabricate([0], 0)[0].save(tmp_path / "die.json")
    with pytest.raises(ValueError, match=r"dynapse2 version 2; got dynapse2 version 3, whose dies differ"):
        Die.load(path, replace(chip, version=3))
    path.write_text("{}")
    with pytest.raises(ValueError, match="is not a die"):
        chipmodels.load_die(path)


# Single chips


def test_dynapse1_counts_synapses():
    """Weights are whole numbers of one strength for each sign, and no neuron has more than 64 of its synapses."""
    _, programmed = programmed_small(CHIPS["dynapse1"])
    codes = programmed.codes
    entries = sum(code.abs().sum(1) for code in codes.values())
    assert set(codes) == {"hidden.input.weight", "hidden.recurrent.weight"}
    assert 50 < int(entries.max()) <= 64
    plus, minus = torch.tensor(programmed.report[0]["strengths"], dtype=torch.float64)
    for name, code in codes.items():
        expected = code * torch.where(code > 0, plus, minus)
        torch.testing.assert_close(programmed.params[name], expected, rtol=1e-12, atol=0)


def test_brainscales2_seconds_are_its_own():
    """20 ms of the network are 20 µs of the chip, inside its range; 100 ms are 100 µs and are refused."""
    chip = CHIPS["brainscales2"]
    network, programmed = programmed_small(chip)
    assert float(programmed.gains["hidden.tau_mem"][0]) == pytest.approx(1e-3)
    slow = nominal(network) | {"hidden.tau_mem": torch.tensor(0.1, dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"hidden.tau_mem: values from 0.0001 .* holds 5e-07 to 6e-05"):
        chip.program(slow, placement_of(network))


def test_brainscales2_voltages_share_a_scale():
    """3 LSB of v_leak, on a scale of 45 LSB for the threshold of 0.1: σ = 0.1 · 3/45 in the network's unit."""
    chip = CHIPS["brainscales2"]
    _, programmed = programmed_small(chip)
    die = chip.fabricate([0], 0)[0]
    u, delta = die.normals(programmed)["hidden.v_leak"], die.deviations(programmed)["hidden.v_leak"]
    torch.testing.assert_close(delta, 0.1 * 3 / 45 * u)


def test_one_leak_current_moves_tau_and_gain():
    """On a DPI chip r deviates exactly as tau_mem does."""
    _, programmed = programmed_small(CHIPS["dynapse2"])
    found = CHIPS["dynapse2"].fabricate([3], 0)[0].deviations(programmed)
    assert torch.equal(found["hidden.r"], found["hidden.tau_mem"])
    assert len(found["hidden.r"].unique()) == 6


def test_xylo_holds_shifts_and_bytes():
    """Weights are whole numbers to ±127 of the largest, decays 1 − 2^−n, and all dies the same."""
    chip = CHIPS["xylo"]
    _, programmed = programmed_small(chip)
    weights = programmed.params["hidden.input.weight"] * programmed.gains["hidden.input.weight"][:, None]
    torch.testing.assert_close(weights, weights.round(), rtol=0, atol=1e-9)
    decay = torch.exp(-DT / programmed.params["hidden.tau_mem"])
    torch.testing.assert_close(decay, torch.full_like(decay, 1 - 2.0**-4))
    assert not any(bool(delta.any()) for delta in chip.fabricate([9], 9)[0].deviations(programmed).values())


def test_a_pcm_die_drifts_and_is_compensated():
    """A day later the mean magnitude is restored exactly, every weight by its own exponent: against the closed form
    (1 + t/t0)^−ν of the device that carries it, idle devices left out."""
    chip = CHIPS["pcm"]
    cell = chip.kinds["weight"].law
    plain = replace(chip.kinds["weight"], law=replace(cell, compensated=False))
    chip = replace(chip, kinds={**chip.kinds, "weight": plain})
    _, programmed = programmed_small(chip)
    name = "hidden.input.weight"
    die = chip.fabricate([0], 0)[0]
    u = die.draws(programmed)[name]
    silent = {name: (u[0], u[1], torch.full_like(u[2], -9.0), u[3])}  # the idle device programmed to 0
    now, later = (each.deviate(silent, programmed)[name] for each in (die, die.at("1 day")))
    weight = programmed.params[name]
    gain = programmed.gain(name, weight)
    r = weight.abs() * gain / 25e-6
    nu = (-0.0155 * r.log() + 0.0244).clamp(0.049, 0.1) + (-0.0125 * r.log() - 0.0059).clamp(0.008, 0.045) * u[1]
    with pytest.raises(ValueError, match="got 1; ageing needs all 4"):
        die.at("1 day").deviate({name: u[0]}, programmed)
    with pytest.raises(ValueError, match="got 3; expected 1 or all 4"):
        die.deviate({name: u[:3]}, programmed)
    expected = (1 + now * weight.sign()) * (1 + 86400 / 20) ** -nu.abs()
    torch.testing.assert_close(1 + later * weight.sign(), expected)
    compensated = cell.deviate("weight", u, weight * gain, Reading(86400.0))
    fresh = cell.deviate("weight", u, weight * gain)
    sizes = [(weight * (1 + delta * weight.sign())).abs().mean() for delta in (fresh, compensated)]
    assert float(sizes[0]) == pytest.approx(float(sizes[1]))


def test_chips_without_a_known_drift_refuse_to_age():
    """Nobody published how DYNAP-SE2 drifts; a digital chip does not."""
    with pytest.raises(ValueError, match="dynapse2: its drift is not published"):
        CHIPS["dynapse2"].fabricate([0], 0)[0].at("30 days")
    assert CHIPS["xylo"].fabricate([0], 0)[0].at("30 days").time == 30 * 86400


def test_a_reram_die_is_known_at_three_times():
    """One second, a day, two days; anything else is refused with the times."""
    _, programmed = programmed_small(CHIPS["reram"])
    die = CHIPS["reram"].fabricate([0], 0)[0]
    assert isinstance(CHIPS["reram"].kinds["weight"].law, Cell)
    fresh = die.deviations(programmed)["hidden.input.weight"]
    torch.testing.assert_close(fresh, die.at(1.0).deviations(programmed)["hidden.input.weight"])
    with pytest.raises(ValueError, match="measured at 1, 86400, 172800 s only"):
        die.at("1 h").deviations(programmed)
