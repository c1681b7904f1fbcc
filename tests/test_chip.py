"""Chips: what programming does and refuses, and that a die never changes."""

from __future__ import annotations

import math
import sys
import zlib
from dataclasses import replace
from importlib.metadata import EntryPoint
from statistics import NormalDist

import numpy as np
import pytest
import torch
from conftest import DT, draw, events
from hypothesis import given
from hypothesis import strategies as st
from placed import placed
from scipy import stats

import chipmodels
import neurorobust as nr
from chipmodels.dynapse2 import SLOW_WEIGHT
from neurorobust._util import discovery
from neurorobust.chip import ChipModel, KindModel, Limits, SourcedValue
from neurorobust.chip.encodings import MaskCodebook
from neurorobust.chip.variability import LogNormal
from neurorobust.core.apply import apply
from neurorobust.core.placement import HOST, Placement, expand
from neurorobust.core.run import nominal
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import CubaLeakyIntegrator, LeakyIntegrator, Lif
from neurorobust.regularizers.reprogrammed_chip import ReprogrammedChip

DYNAPSE2 = chipmodels.load("dynapse2")
# Without the gradient: every u is a site's own.
SCATTERED = replace(DYNAPSE2, kinds={kind: replace(model, shared=()) for kind, model in DYNAPSE2.kinds.items()})
ALARM = 1e-6  # false-alarm rate of each distribution test here; the seeds are fixed, so it is paid once
CORE = [0, 0, 0, 1, 1, 1, 1]


def program(network, chip=DYNAPSE2, **changed):
    """The network programmed onto a chip, with some of its parameters replaced."""
    return chip.program(nominal(network) | changed, placement_of(network))


def normals(network, serial=0, seed=0):
    """The u of one die, without what its sites have in common; those of the host too."""
    return SCATTERED.fabricate([serial], seed)[0].normals(program(network, DYNAPSE2.with_host(exact=False)))


def same(first, second):
    """Bit for bit the same dictionary of tensors."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def pooled(u):
    """All u of a die in one row."""
    return torch.cat([value.flatten() for value in u.values()])


# The die


KNOWN = {
    ("hidden.input.weight", (0, 0)): -0.050441197678452586,
    ("hidden.input.weight", (3, 2)): -0.1417967479255941,
    ("hidden.tau_mem", (4,)): -0.623916143733604,
    ("hidden.v_threshold", (0,)): -0.06350222853828207,
    ("readout.input.weight", (1, 6)): 0.9592439521276495,
    ("readout.input.bias", (1,)): -0.4077255327966693,
    ("readout.tau_mem", (0,)): 0.37190039252103274,
}


@pytest.mark.parametrize(("where", "value"), KNOWN.items(), ids=[f"{name}{list(site)}" for name, site in KNOWN])
def test_known_answers(where, value):
    """The identity of die 17 of seed 5, frozen on 2026-11-22: a change would exchange every die ever reported on."""
    name, site = where
    assert float(normals(placed(CORE), serial=17, seed=5)[name][site]) == pytest.approx(value, rel=1e-12)


def philox(counter, key):
    """Philox4x64-10 from its paper (Salmon et al. 2011), in Python's integers."""
    c, k, word = list(counter), list(key), 2**64
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], word)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], word)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) % word, (k[1] + 0xBB67AE8584CAA73B) % word]
    return c


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["weight", "tau_mem", "v_threshold"]))
def test_a_die_is_its_key(seed, serial, kind):
    """u of a site from its key alone: Philox of (seed, serial) at (number, neuron, core, CRC-32 of the kind), Φ⁻¹."""
    u = normals(placed([0, 0, 1], n_in=6), serial, seed)
    for row, (core, neuron) in enumerate([(0, 0), (0, 1), (1, 0)]):
        for number in range(6) if kind == "weight" else [neuron]:
            counter = (number // 4 + 1, neuron + 1 if kind == "weight" else 0, core, zlib.crc32(kind.encode()))
            uniform = ((philox(counter, (seed, serial))[number % 4] >> 11) + 0.5) * 2.0**-53
            found = u["hidden.input.weight"][row, number] if kind == "weight" else u[f"hidden.{kind}"][row]
            assert float(found) == pytest.approx(NormalDist().inv_cdf(uniform), rel=1e-9, abs=1e-12)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5), st.integers(0, 5))
def test_a_die_is_the_same_in_any_fleet(serials, seed):
    """Serial k of a seed alone equals serial k in a fleet of any size and order, bit for bit."""
    programmed = program(placed(CORE))
    fleet = DYNAPSE2.fabricate(serials, seed).deviations(programmed)
    for i, serial in enumerate(serials):
        alone = DYNAPSE2.fabricate([serial], seed)[0].deviations(programmed)
        assert same({name: value[i] for name, value in fleet.items()}, alone)


def test_a_die_outlives_reprogramming():
    """Other weights, signs, time constants and thresholds at the same sites have the same u."""
    first, second = placed(CORE), placed(CORE)
    for value in second.parameters():
        value.data *= 1.7
    second.hidden.input.weight.data *= -1
    assert same(normals(first, 3), normals(second, 3))


def test_the_same_site_in_a_bigger_network():
    """A neuron or synapse at a site has its u whatever else the network holds."""
    small, big = placed([0, 0, 1, 1, 1]), placed([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
    a, b, rows = normals(small), normals(big), [0, 1, 4, 5, 6]
    for name in ("hidden.tau_mem", "hidden.v_threshold", "hidden.input.weight"):
        assert torch.equal(a[name], b[name][rows])
    masks = [placement_of(network).masks["hidden.recurrent.weight"] for network in (small, big)]
    for i, j in enumerate(rows):
        assert torch.equal(a["hidden.recurrent.weight"][i][masks[0][i]], b["hidden.recurrent.weight"][j][masks[1][j]])


def test_two_layers_share_no_site():
    """Neurons of two layers on one core, and the host's, all have u of their own."""
    network = Network(
        {
            "a": Lif(Linear(draw(0, 4, 3)), tau_mem=0.01, v_threshold=0.1),
            "b": Lif(Linear(draw(1, 5, 4)), tau_mem=0.01, v_threshold=0.1),
            "c": LeakyIntegrator(Linear(draw(2, 2, 5), draw(3, 2)), core=torch.full((2,), HOST), tau_mem=0.01),
        },
        1e-3,
    )
    everything = pooled(normals(network))
    assert len(everything.unique()) == len(everything)


def test_input_and_recurrent_synapses_share_no_site():
    """Every synapse of a neuron, input or recurrent, is a device of its own."""
    u = normals(placed(CORE))
    for i in range(len(CORE)):
        row = torch.cat([u["hidden.input.weight"][i], u["hidden.recurrent.weight"][i]])
        present = row[row != 0]
        assert len(present.unique()) == len(present) == 3 + 4


def test_absent_synapses_do_not_deviate():
    """u is 0 exactly where the mask is False."""
    network = placed(CORE)
    absent = ~placement_of(network).masks["hidden.recurrent.weight"]
    assert torch.equal(normals(network)["hidden.recurrent.weight"] == 0, absent)


def test_deviates_are_standard_normal():
    """23 000 u of one die, and u of one synapse over 3000 dies, against N(0, 1): KS with false alarm 1e-6 each."""
    big = placed([0] * 200 + [1] * 200, fan_in=50)
    u = pooled(normals(big))
    assert stats.kstest(u[u != 0].numpy(), "norm").pvalue > ALARM
    programmed = program(placed([0, 0], fan_in=0))
    one = [float(die.normals(programmed)["hidden.input.weight"][1, 2]) for die in SCATTERED.fabricate(range(3000), 0)]
    assert stats.kstest(one, "norm").pvalue > ALARM


def test_seeds_serials_and_kinds_are_independent():
    """Correlation of 400 u for each of 190 pairs of streams: |r| √400 < 6, false alarm 190 · 2e-9 = 4e-7."""
    network = placed([0] * 200 + [1] * 200, fan_in=0)
    streams = []
    for seed, serial in ((0, 0), (0, 1), (1, 0), (1, 1)):
        u = normals(network, serial, seed)
        streams += [u[f"hidden.{kind}"] for kind in ("tau_mem", "tau_adapt", "v_threshold")]
        streams += [u["hidden.input.weight"][:, 0], u["hidden.input.weight"][:, 1]]
    r = torch.corrcoef(torch.stack(streams)) - torch.eye(len(streams))
    assert float(r.abs().max()) * math.sqrt(400) < 6


@pytest.mark.parametrize("bad", [{"serials": [-1], "seed": 0}, {"serials": [0], "seed": -1}])
def test_impossible_dies_are_refused(bad):
    """Serials and seeds count from 0."""
    with pytest.raises(ValueError, match="expected an integer ≥ 0"):
        DYNAPSE2.fabricate(**bad)


# From u to the die's parameters


def test_every_kind_deviates_by_its_law():
    """On dynapse2 θ* = θ·exp(σu), σ = √ln(1 + cv²): cv 0.1 where nobody measured it, for weights that of their current
    over the measured table by hand, u turned by 0.35 rad an e-fold from 5.6 nA."""
    network = placed(CORE)
    programmed = program(network)
    die = DYNAPSE2.fabricate([4], 2)[0]
    found = apply(programmed.params, die.deviations(programmed), programmed.placement)
    expected = expand(programmed.params, programmed.placement)
    for name, u in die.draws(programmed).items():
        if name.endswith(("tau_adapt", "adaptation", "v_threshold", "bias")):
            sigma = math.sqrt(math.log1p(0.1**2))
            torch.testing.assert_close(found[name], expected[name] * torch.exp(sigma * u[0]))
    rows = {row["core"]: row["gain_A_per_unit"] for row in programmed.report}
    volts, cvs = zip(*SLOW_WEIGHT)
    for name in ("hidden.input.weight", "hidden.recurrent.weight"):
        u, v = die.draws(programmed)[name]
        for i, core in enumerate(CORE):
            for j, weight in enumerate(expected[name][i].tolist()):
                if weight:
                    volt = abs(weight) * rows[core] * 7.5e6
                    sigma = math.sqrt(math.log1p(np.interp(math.log(volt), np.log(volts), cvs) ** 2))
                    angle = 0.35 * math.log(volt / 0.042)
                    turned = float(u[i, j]) * math.cos(angle) + float(v[i, j]) * math.sin(angle)
                    assert float(found[name][i, j]) == pytest.approx(weight * math.exp(sigma * turned), rel=2e-3)


def test_a_read_out_on_the_host_is_exact_or_deviates_unquantized():
    """Weights, bias and τ of the host keep every bit when programmed and have no codes. No die and no tolerance changes
    them; with ``with_host(exact=False)`` they deviate. What is on the chip is the same on both dies, bit for bit."""
    network = placed(CORE)
    exact, deviating = program(network), program(network, DYNAPSE2.with_host(exact=False))
    die = DYNAPSE2.fabricate([0], 0)[0]
    dies = [die.deviations(programmed) for programmed in (exact, deviating)]
    boxes = [nr.Ball.from_chip(DYNAPSE2, programmed).radii for programmed in (exact, deviating)]
    for name, trained in nominal(network).items():
        if name.startswith("readout"):
            for programmed in (exact, deviating):
                assert torch.equal(programmed.params[name], trained)
                assert name not in programmed.codes
            assert name not in dies[0] and (dies[1][name] != 0).all()
            assert name not in boxes[0] and boxes[1][name] > 0
        else:
            assert torch.equal(dies[0][name], dies[1][name])
            assert boxes[0][name] == boxes[1][name]


def test_mismatch_knows_no_chip_so_its_host_deviates_unless_asked():
    """`mismatch(level)` moves the read-out on the host; asked for an exact host it does not, and its label says so."""
    network, data = placed(CORE), events(0, 8)
    everywhere, on_chip = nr.mismatch(0.3), nr.mismatch(0.3).with_host(exact=True)
    assert "readout.input.weight" in everywhere.fabricate([0], 0)[0].deviations(program(network, everywhere))
    assert "readout.input.weight" not in on_chip.fabricate([0], 0)[0].deviations(program(network, on_chip))
    assert on_chip.label == "mismatch 0.3, exact host" and everywhere.label == "mismatch 0.3"
    assert DYNAPSE2.with_host(exact=False).label == "dynapse2, host deviates" and DYNAPSE2.label == "dynapse2"
    results = [nr.evaluate(network, data, chip, n_dies=2) for chip in (everywhere, on_chip)]
    with pytest.raises(ValueError, match="same dies for both"):
        nr.compare(*results)
    with pytest.raises(TypeError, match="exact: got 1; expected True or False"):
        DYNAPSE2.with_host(exact=1)


@pytest.mark.parametrize("chip", [DYNAPSE2, chipmodels.load("pcm"), nr.mismatch(0.3)], ids=lambda chip: chip.name)
def test_every_measurement_of_a_chip_leaves_its_host_exact(chip):
    """Dies, rare failures and trainings act on what an exact host leaves: normals, noise, tolerances, defects."""
    network = placed([0] * 7)
    chip = chip.with_host(exact=True)
    programmed = program(network, chip.with_defects(nr.chip.BadSynapses(0.9)))
    die = chip.with_defects(nr.chip.BadSynapses(0.9)).fabricate([0], 0)[0]
    for found in (die.draws(programmed), die.deviations(programmed), die.broken(programmed), programmed.expanded()):
        assert found and not any(name.startswith("readout") for name in found)
    step = ReprogrammedChip(chip).batch(nominal(network), placement_of(network))
    assert step.expanded().keys() == programmed.expanded().keys()
    assert nr.Ball.from_chip(chip, step).radii.keys() == programmed.expanded().keys()


def test_a_read_out_without_a_core_is_on_the_host(tmp_path):
    """Models without spikes are read-outs: no core puts them on the host, a core keeps them on the chip; both come back
    from a folder, so a network that was saved with a read-out on core 0 has it there."""
    readout = LeakyIntegrator(Linear(draw(0, 2, 7)), tau_mem=0.01)
    filtered = CubaLeakyIntegrator(Linear(draw(0, 2, 7)), tau_mem=0.01, tau_syn=0.01)
    assert (readout.core == HOST).all() and (filtered.core == HOST).all()
    assert not LeakyIntegrator(Linear(draw(0, 2, 7)), core=torch.zeros(2, dtype=torch.long), tau_mem=0.01).core.any()
    assert not Lif(Linear(draw(0, 2, 7)), tau_mem=0.01, v_threshold=0.1).core.any()
    for core in (None, torch.zeros(2, dtype=torch.long)):
        network = Network({"out": LeakyIntegrator(Linear(draw(0, 2, 3)), core=core, tau_mem=0.01)}, DT)
        nr.save(network, tmp_path)
        assert torch.equal(nr.load(tmp_path)[0].out.core, network.out.core)


def test_a_chip_that_would_hold_nothing_is_refused():
    """A network whose every layer is on the host (no die could differ), and a layer on host and chip."""
    alone = Network({"out": LeakyIntegrator(Linear(draw(0, 2, 3)), tau_mem=0.01)}, DT)
    with pytest.raises(ValueError, match="every layer is on the host, so dynapse2 holds nothing"):
        program(alone)
    assert program(alone, nr.mismatch(0.1)).expanded()
    split = Placement({"out": torch.tensor([HOST, 0])})
    with pytest.raises(ValueError, match="layer 'out': has 1 of its 2 neurons on the host and the others on mismatch"):
        nr.mismatch(0.1).with_host(exact=True).program(nominal(alone), split)


def test_a_ball_leaves_the_host_out_when_asked():
    """`Ball.on_chip`: radius 0 on the host, as before elsewhere; full names too; a box of tolerances drops it."""
    network, data = placed(CORE), events(0, 8)
    for ball in (nr.Ball.uniform(0.2), nr.Ball({"readout.*": 0.3, "readout.tau_mem": 0.3, "hidden.*": 0.2})):
        on_chip = ball.on_chip(network)
        assert type(on_chip) is nr.Ball
        for name in nominal(network):
            assert on_chip.radius(name) == (0 if name.startswith("readout") else ball.radius(name))
        worst = nr.worst_case(network, data, on_chip, nr.attacks.PGA(steps=2, objective="ce"))
        moved = {name for name, delta in worst.deviations.items() if delta.any()}
        assert moved and all(name.startswith("hidden") for name in moved)
    chip = DYNAPSE2.with_host(exact=False)
    box = nr.Ball.from_chip(chip, program(network, chip)).on_chip(network)
    assert box.radii.keys() == nr.Ball.from_chip(DYNAPSE2, program(network)).radii.keys()
    with pytest.raises(ValueError, match="is on the host; give a layer a core"):
        nr.Ball({"readout.*": 0.3}).on_chip(network)
    with pytest.raises(TypeError, match="WhitenedBall: has one norm"):
        nr.attacks.WhitenedBall(1.0).on_chip(network)
    wrapped = nr.wrap(torch.nn.Linear(3, 2))
    assert nr.Ball.uniform(0.1).on_chip(wrapped) == nr.Ball.uniform(0.1)


@pytest.mark.parametrize("level", [0.05, 0.3, 0.5])
def test_mismatch_has_the_deviations_asked_for(level):
    """`mismatch(L)`: weights and biases θ + |θ|·L·u, positive kinds θ·exp(L·u), u as in every die; no codes."""
    network, chip = placed(CORE), nr.mismatch(level)
    programmed = program(network, chip)
    assert same(programmed.params, nominal(network))
    die = chip.fabricate([0], 0)[0]
    assert same(die.normals(programmed), normals(network))
    found = apply(programmed.params, die.deviations(programmed), programmed.placement)
    for name, value in expand(programmed.params, programmed.placement).items():
        move = level * normals(network)[name]
        signed = name.endswith(("weight", "bias"))
        torch.testing.assert_close(found[name], value + value.abs() * move if signed else value * torch.exp(move))


def test_mismatch_takes_unprogrammable_networks():
    """Per-neuron values, any fan-in and any core are fine: a mismatch level knows no limits."""
    network = placed([0] * 100, fan_in=99, tau_mem=torch.linspace(0.01, 0.02, 100, dtype=torch.float64))
    assert program(network, nr.mismatch(0.1)).codes == {}


@pytest.mark.parametrize("level", [-0.1, math.nan, math.inf])
def test_impossible_mismatch_is_refused(level):
    """A level is a finite number ≥ 0."""
    with pytest.raises(ValueError, match="mismatch level"):
        nr.mismatch(level)


# Programming


def test_codes_mean_the_programmed_params():
    """Codes and the reported currents alone give the programmed weights back, core by core; |code| ≤ 15, 4 currents."""
    network = placed(CORE)
    programmed = program(network)
    core = placement_of(network).cores["hidden"]
    assert set(programmed.codes) == {"hidden.input.weight", "hidden.recurrent.weight", "hidden.tau_mem"}
    for row in programmed.report:
        assert len(row["currents_A"]) == 4
        book = MaskCodebook(tuple(current / row["gain_A_per_unit"] for current in row["currents_A"]))
        for name in ("hidden.input.weight", "hidden.recurrent.weight"):
            codes = programmed.codes[name]
            assert int(codes.abs().max()) <= 15
            here = core == row["core"]
            torch.testing.assert_close(programmed.params[name][here], book.decode(codes[here]), rtol=1e-12, atol=0)


def test_input_and_recurrent_weights_of_a_core_share_four_currents():
    """All weights into a core, input and recurrent together, have at most 15 different magnitudes besides 0."""
    network = placed([0] * 30 + [1] * 30, fan_in=20)
    programmed = program(network)
    for number in (0, 1):
        here = placement_of(network).cores["hidden"] == number
        weights = torch.cat(
            [programmed.params[f"hidden.{part}.weight"][here].flatten() for part in ("input", "recurrent")]
        )
        magnitudes = weights.abs()[weights != 0]
        assert len(magnitudes.unique()) <= 15 < len(magnitudes)


def test_programming_keeps_signs_and_absent_synapses():
    """+ stays AMPA, − stays GABA (or the synapse becomes 0), and no synapse appears."""
    network = placed(CORE)
    programmed = program(network)
    for name, mask in placement_of(network).masks.items():
        assert (programmed.params[name] * nominal(network)[name] >= 0).all()
        assert (programmed.params[name][~mask] == 0).all()


def test_programming_a_programmed_network_changes_nothing():
    """Programmed values can be programmed again: subset sums of four currents come back unchanged."""
    network = placed(CORE)
    book = MaskCodebook((0.1, 0.2, 0.4, 0.8))
    masks = placement_of(network).masks
    codes = {
        name: (draw(7, *masks[name].shape) * 9).long().clamp(-15, 15) for name in masks if name.startswith("hidden")
    }
    codes["hidden.input.weight"][[0, 3], 0] = 15
    changed = {name: book.decode(code) * masks[name] for name, code in codes.items()}
    programmed = program(network, **changed)
    for name, value in changed.items():
        torch.testing.assert_close(programmed.params[name], value, rtol=1e-9, atol=1e-12)


def test_report_has_a_row_for_each_core():
    """Counts, errors and gains of each core recomputed from weights before and after."""
    network = placed(CORE)
    network.hidden.input.weight.data[5, 1] = 1e-9
    programmed, before, masks = program(network), nominal(network), placement_of(network).masks
    assert [row["core"] for row in programmed.report] == [0, 1]
    for row in programmed.report:
        here = placement_of(network).cores["hidden"] == row["core"]
        names = ("hidden.input.weight", "hidden.recurrent.weight")
        old = torch.cat([before[name][here][masks[name][here]] for name in names])
        new = torch.cat([programmed.params[name][here][masks[name][here]] for name in names])
        assert row["synapses"] == len(old) == 7 * int(here.sum())
        assert row["rms_error"] == pytest.approx(float((new - old).norm() / old.norm()))
        assert row["largest_error"] == pytest.approx(float((new - old).abs().max()))
        assert row["became_zero"] == int(((new == 0) & (old != 0)).sum())
        assert max(row["currents_A"]) == pytest.approx(8e-9)
        assert row["threshold_gain_A_per_unit"] == pytest.approx(
            1e-7 / float(before["hidden.v_threshold"][row["core"]])
        )
    assert programmed.report[1]["became_zero"] >= 1


def test_programming_leaves_the_trained_parameters_alone():
    """program is a function: its argument and the network are as they were, bit for bit."""
    network = placed(CORE)
    params, before = nominal(network), nominal(network)
    DYNAPSE2.program(params, placement_of(network))
    assert same(params, before)
    assert same(nominal(network), before)


def tau(*values):
    return {"hidden.tau_mem": torch.tensor(values, dtype=torch.float64)}


@pytest.mark.parametrize(
    ("network", "changed", "words"),
    [
        pytest.param(placed([0] * 80, fan_in=62), {}, ["fan_in", "65", "64", "'hidden'"], id="fan-in 65"),
        pytest.param(placed([0, 1, 2, 3, 4]), {}, ["core 4", "0 to 3"], id="a fifth core"),
        pytest.param(placed([0] + [1] * 257), {}, ["257", "core 1", "256"], id="257 neurons on a core"),
        pytest.param(placed(CORE), tau(0.01, 0.4), ["hidden.tau_mem", "0.4", "0.353", "7.7e-08"], id="τ too long"),
        pytest.param(placed(CORE), tau(1e-8, 0.01), ["hidden.tau_mem", "1e-08", "7.7e-08"], id="τ too short"),
        pytest.param(placed(CORE), tau(0.01, 0.0), ["hidden.tau_mem", "0", "> 0"], id="τ = 0"),
        pytest.param(placed(CORE), tau(0.01, -0.01), ["hidden.tau_mem", "-0.01", "> 0"], id="τ < 0"),
        pytest.param(placed(CORE), tau(0.01, math.nan), ["hidden.tau_mem", "NaN"], id="NaN"),
        pytest.param(
            placed(CORE, v_threshold=torch.linspace(0.1, 0.2, 7)),
            {},
            ["hidden.v_threshold", "core 0", "one per core"],
            id="per neuron",
        ),
        pytest.param(
            placed(CORE), {"hidden.v_leak": torch.zeros(2)}, ["hidden.v_leak", "v_leak", "tau_mem"], id="v_leak"
        ),
        pytest.param(placed(CORE), {"hidden.colour": torch.zeros(2)}, ["colour", "tau_mem"], id="no kind at all"),
        pytest.param(placed([0] * 250 + [1] * 250, n_in=1600, fan_in=0), {}, ["1600", "64"], id="too many inputs"),
    ],
)
def test_what_does_not_fit_is_refused_with_names_and_numbers(network, changed, words):
    """A network that breaks one limit of DYNAP-SE2: what, where, how much, and how much there is."""
    with pytest.raises(ValueError) as caught:
        program(network, **changed)
    assert [word for word in words if word not in str(caught.value)] == []


def test_layers_on_one_core_share_its_settings():
    """A core has one leak current: two layers on it cannot have two tau_mem."""
    pair = [Lif(Linear(draw(i, 4, 4)), tau_mem=tau, v_threshold=0.1) for i, tau in enumerate((0.01, 0.02))]
    with pytest.raises(ValueError, match="core 0"):
        program(Network(dict(zip("ab", pair)), 1e-3))


def test_too_many_tags_are_refused():
    """Each input and each neuron needs one of the chip's tags."""
    tight = replace(DYNAPSE2, limits=replace(DYNAPSE2.limits, tags=9), architecture=None)
    with pytest.raises(ValueError, match="10 inputs and neurons need one each; dynapse2 has 9"):
        program(placed(CORE), tight)
    program(placed(CORE), replace(tight, limits=replace(DYNAPSE2.limits, tags=10)))


def test_what_just_fits_is_accepted():
    """256 neurons on each of four cores with 64 synapses each."""
    network = placed([core for core in range(4) for _ in range(256)], n_in=32, fan_in=32)
    assert len(program(network).report) == 4


@pytest.mark.parametrize("weights", [[0.5, 0.5, 0.5], [1.0, 2.0, -1.0], [1.0, 1e-9, 1e-9], [1e3, 1.0, 1e-3]])
def test_odd_weights_are_programmed(weights):
    """Equal, tiny and very unequal weights are as good as any; only a core without a synapse that acts is not."""
    network = placed([0, 0], n_in=3, fan_in=0)
    assert program(network, **{"hidden.input.weight": torch.tensor([weights, weights], dtype=torch.float64)}).report


def test_a_core_without_a_weight_is_refused():
    """All weights into a core are 0: there is no gain that means anything."""
    network = placed([0, 0], n_in=3, fan_in=0)
    with pytest.raises(ValueError, match="all are 0"):
        program(network, **{"hidden.input.weight": torch.zeros(2, 3, dtype=torch.float64)})


# Chip models


def test_dynapse2_has_the_facts_of_the_literature():
    """4 cores × 256 neurons, fan-in 64, weight CV 0.099 and τ CV 0.08 measured, what nobody measured coded as 0.1."""
    limits, kinds = DYNAPSE2.limits, DYNAPSE2.kinds
    assert (limits.cores, limits.neurons_per_core, limits.fan_in, limits.tags) == (4, 256, 64, 2048)
    assert {kind: (model.cv.value, model.cv.status) for kind, model in kinds.items()} == {
        "weight": (0.099, "measured"),
        "tau_mem": (0.08, "measured"),
        "r": (0.08, "measured"),
    } | {kind: (0.1, "coded") for kind in ("tau_syn", "tau_adapt", "adaptation", "v_threshold", "t_ref", "bias")}
    assert kinds["weight"].encoding.bits == 4
    assert {kind for kind, model in kinds.items() if model.per_core} == set(kinds) - {"weight"}
    assert DYNAPSE2.version == 2


def test_a_new_chip_is_one_new_file(tmp_path, monkeypatch):
    """A file in somebody's own package behind an entry point is found; two chips of one name are an error."""
    package = tmp_path / "otherchips"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("from neurorobust.chip import ChipModel\nchip = ChipModel('mine', 'Mine', {})\n")
    (package / "notes.py").write_text("chip = 'no chip model'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [EntryPoint(name, name, "neurorobust.chips") for name in ("chipmodels", "otherchips")]
    monkeypatch.setattr(discovery, "entry_points", lambda group: points if group == "neurorobust.chips" else [])
    try:
        with pytest.warns(RuntimeWarning, match=r"'chip' of module 'otherchips\.notes' is no chip model"):
            assert chipmodels.load("mine").title == "Mine"
        assert "dynapse2" in chipmodels.models()
        (package / "twin.py").write_text(
            "from neurorobust.chip import ChipModel\nchip = ChipModel('mine', 'Twin', {})\n"
        )
        with pytest.raises(ValueError, match=r"two are named 'mine', in otherchips\.mine and otherchips\.twin"):
            chipmodels.models()
    finally:
        for name in [name for name in sys.modules if name.startswith("otherchips")]:
            del sys.modules[name]


def test_an_unknown_chip_names_the_known_ones():
    """The error lists what is installed and the nearest name."""
    with pytest.raises(
        ValueError, match=r"'dynapse3' does not exist; choose one of .*dynapse2.*Did you mean 'dynapse2'"
    ):
        chipmodels.load("dynapse3")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SourcedValue(0.1, "guessed", "me"), "guessed"),
        (lambda: SourcedValue(0.1, "measured", ""), "needs one"),
        (
            lambda: ChipModel("x", "X", {"colour": KindModel(LogNormal(0.1), SourcedValue(0.1, "assumed", "me"))}),
            "colour",
        ),
    ],
)
def test_a_chip_model_without_provenance_is_refused(build, words):
    """A number has a known status and a source; a kind exists."""
    with pytest.raises(ValueError, match=words):
        build()


FACT = SourcedValue(0.1, "assumed", "made up")
KIND = KindModel(LogNormal(0.1), FACT)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: ChipModel("", "b", {"weight": KIND}), ValueError, "name: got none"),
        (lambda: ChipModel("a", "b", {"tau": KIND}), ValueError, "kind of chip a: 'tau' does not exist"),
        (lambda: ChipModel("a", "b", {"weight": LogNormal(0.1)}), TypeError, "chip a: weight: got LogNormal"),
        (lambda: ChipModel("a", "b", {"v_leak": KIND}), ValueError, "chip a: v_leak: LogNormal: got kind 'v_leak'"),
        (lambda: ChipModel("a", "b", {"weight": KIND}, grid=(0, 3)), ValueError, "grid: got 0"),
        (lambda: KindModel("lognormal", FACT), TypeError, "law: got 'lognormal'; expected a law"),
        (lambda: KindModel(LogNormal(0.1), 0.1), TypeError, "cv: got 0.1; expected a SourcedValue"),
        (lambda: KindModel(LogNormal(0.1), SourcedValue(-0.1, "assumed", "x")), ValueError, "cv: got -0.1"),
        (lambda: KindModel(LogNormal(-0.1), FACT), ValueError, "sigma: got -0.1"),
        (lambda: KindModel(LogNormal(0.1), FACT, range=(0, 1)), TypeError, "range: got"),
        (lambda: KindModel(LogNormal(0.1), FACT, encoding=8), TypeError, "encoding: got 8"),
        (lambda: KindModel(LogNormal(0.1), FACT, shared=(0.3,)), TypeError, "shared: got 0.3"),
        (lambda: SourcedValue("0.1", "assumed", "x"), TypeError, "value: got '0.1'"),
        (lambda: SourcedValue(float("nan"), "assumed", "x"), ValueError, "value: got nan"),
        (lambda: Limits(cores=-1, source="x"), ValueError, "cores: got -1"),
        (lambda: Limits(fan_in=6.5, source="x"), TypeError, "fan_in: got 6.5"),
    ],
)
def test_a_bad_chip_file_is_refused_where_it_is_bad(make, error, said):
    """One line with the argument, what came and what was expected, when the file is imported."""
    with pytest.raises(error, match=said):
        make()
