"""Counts by hand, and figures of chips with their sources."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from conftest import draw

import chipmodels
import neurorobust as nr
from neurorobust.chip import STATUSES, Cost
from neurorobust.chip.costs import COUNTS
from neurorobust.data import Data
from neurorobust.deploy import estimate, onto
from neurorobust.nn import Conv1d, LeakyIntegrator, Lif, Linear, Network

DT = 1e-3
CHIPS = chipmodels.models()
STEPS = 10


def two_cores() -> nr.deploy.Deployment:
    """Neurons 0 and 1 on core 0, 2 on core 1. Input 0 drives 0 and 2, input 1 drives 1; 0 drives 1 and 2, 2 itself."""
    mask = torch.tensor([[1, 0], [0, 1], [1, 0]], dtype=torch.bool)
    recurrent = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 0, 1]], dtype=torch.bool)
    weight = Linear(torch.ones(3, 3) * 0.01, mask=recurrent)
    core = torch.tensor([0, 0, 1])
    hidden = Lif(Linear(torch.ones(3, 2), mask=mask), recurrent=weight, core=core, tau_mem=0.02, v_threshold=0.1)
    readout = LeakyIntegrator(Linear(draw(0, 2, 3).float()), tau_mem=0.01)
    return onto(Network({"hidden": hidden, "readout": readout}, DT), CHIPS["dynapse2"])


X = torch.zeros(2, STEPS, 2)
X[0, 0, 0], X[1, 1:3, 1] = 1.0, 1.0  # one event of input 0; two of input 1
SPIKES = torch.zeros(2, STEPS, 3)
SPIKES[0, 1, 0], SPIKES[0, 2, 2], SPIKES[1, 3, 1], SPIKES[1, 4:6, 0] = 1.0, 1.0, 1.0, 1.0


def test_counts_by_hand():
    """Neuron 0 spikes three times, 1 once and 2 once, in two samples."""
    found = estimate(two_cores(), X, {"hidden": SPIKES})
    expected = {
        "input events": 3,
        "spikes": 5,
        "synaptic operations": 1 * 2 + 2 * 1 + 3 * 2 + 1 * 0 + 1 * 1,
        "broadcasts": 1 * 2 + 2 * 1 + 3 * 2 + 0 + 1 * 1,  # 0 is heard on both cores, 1 nowhere, 2 on core 1
        "routes": 3,  # of neuron 0, to core 1
        "seconds": 2 * STEPS * DT,
    }
    assert {name: 2 * value for name, value in found.counts.items()} == pytest.approx(expected)
    assert found.spikes == {"hidden": 2.5} and found.samples == 2 and found.seconds == STEPS * DT


def test_energy_is_the_sum_over_events_without_the_power():
    deployment = two_cores()
    found = estimate(deployment, Data(X, torch.tensor([0, 1])), {"hidden": SPIKES})
    by_hand = [
        sum(getattr(cost, bound) * found.counts[cost.per] for cost in deployment.chip.costs if cost.per != "seconds")
        for bound in ("low", "high")
    ]
    assert found.energy() == pytest.approx(tuple(by_hand)) and len(found.figures) == len(deployment.chip.costs)
    told = str(found)
    assert "no board was measured" in told and "latency                      unknown" in told
    assert "assumed; as on DYNAP-SE1" in told and max(map(len, told.splitlines())) <= 110
    entry = json.loads(json.dumps(found.entry()))
    assert entry["energy"]["high"] == pytest.approx(by_hand[1]) and entry["measured_on_hardware"] is False
    assert all(figure["source"] and figure["status"] in STATUSES for figure in entry["figures"])


def test_spikes_are_those_of_an_ideal_die():
    deployment = two_cores()
    spikes = nr.run(deployment.network, deployment.programmed.params, X, record=True)[1]
    assert estimate(deployment, X).counts == estimate(deployment, X, spikes).counts


def test_recordings_of_a_board_are_counted():
    """The same counts as from the spikes of the same die."""
    deployment = two_cores()
    board = nr.deploy.VirtualChip(deployment.chip, 3)
    x = (torch.rand(4, STEPS, 2, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    with board.open() as session:
        session.program(deployment)
        found = [session.run(nr.deploy.Events.of_steps(each, DT), STEPS * DT) for each in x]
    (params,) = deployment.dies([3])
    spikes = nr.run(deployment.network, params, x, record=True)[1]
    assert estimate(deployment, found) == estimate(deployment, x, spikes)
    for wrong in ([], [found[0], "x"], [found[0], session_of_another_length(deployment)]):
        with pytest.raises(ValueError, match="expected some of one duration and of 3 neurons"):
            estimate(deployment, wrong)


def session_of_another_length(deployment: nr.deploy.Deployment) -> nr.deploy.BoardRecording:
    with nr.deploy.VirtualChip(deployment.chip, 3).open() as session:
        session.program(deployment)
        return session.run(nr.deploy.Events.of_steps(X[0], DT), 2 * STEPS * DT)


def test_inputs_that_are_no_events_are_not_counted():
    found = estimate(two_cores(), X / 2, {"hidden": SPIKES})
    assert found.counts["input events"] is None and found.counts["broadcasts"] is None and found.counts["spikes"] == 2.5
    assert found.energy() == (None, None) and "input events                 unknown" in str(found)


def test_crossbars_count_the_cells_of_every_step():
    """A dense layer of 3 × 300 on two tiles; a kernel of 2 × 3 at 4 places, one after the other."""
    dense = Network({"a": Lif(Linear(draw(0, 3, 300).float()), tau_mem=0.02, v_threshold=0.1)}, DT)
    found = estimate(onto(dense, CHIPS["pcm"]), torch.ones(2, STEPS, 300))
    assert found.counts["multiplications"] == STEPS * 900 and found.counts["products"] == STEPS
    kernel = Network({"a": Lif(Conv1d(draw(0, 2, 1, 3).float(), (1, 6)), tau_mem=0.02, v_threshold=0.1)}, DT)
    found = estimate(onto(kernel, CHIPS["hermes"]), torch.ones(2, STEPS, 6))
    assert found.counts["multiplications"] == STEPS * 6 * 4 and found.counts["products"] == STEPS * 4
    (energy, time) = found.figures
    assert energy.high == pytest.approx(STEPS * 24 * 2 / 2.48e12) and time.cost.unit == "s"
    assert time.low == pytest.approx(STEPS * 4 * 133e-9, rel=0.01)  # 64 tiles of 256 × 256 at 63.1 TOPS
    assert "latency" not in str(found)


def test_a_faster_chip_takes_less_time():
    network = Network({"a": Lif(Linear(draw(0, 3, 4).float()), tau_mem=0.02, v_threshold=0.1)}, DT)
    chip = CHIPS["brainscales2"]
    found = estimate(onto(network, chip), torch.ones(1, STEPS, 4))
    seconds = STEPS * DT / chip.time_base.speedup.value
    assert found.counts["seconds"] == pytest.approx(seconds) and found.figures[0].high == pytest.approx(0.2 * seconds)
    assert found.figures[0].low is None and "at most" in str(found) and found.energy() == (None, None)


@pytest.mark.parametrize("chip", CHIPS)
def test_figures_have_sources_and_are_on_the_card(chip):
    """Where only memory speaks, the status is assumed."""
    costs = CHIPS[chip].costs
    assert bool(costs) == (CHIPS[chip].architecture is not None)
    for cost in costs:
        assert cost.per in COUNTS and cost.source and math.isfinite(cost.high)
        assert cost.status == "assumed" or not any(word in cost.source for word in ("memory", "as on"))
        assert (f"costs.{cost.what}", cost.range(), cost.status, cost.source) in list(nr.chip.numbers(CHIPS[chip]))
    assert len(nr.chip.card(CHIPS[chip])["costs"]) == len(costs)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"per": "joule"}, "per: 'joule' does not exist"),
        ({"unit": "W"}, "unit: 'W' does not exist"),
        ({"low": 2.0}, "low: got 2; expected a number > 0 and at most high"),
        ({"high": 0.0, "low": None}, "high: got 0"),
        ({"source": ""}, "source: a number of status 'assumed' needs one"),
        ({"status": "memory"}, "status: 'memory' does not exist"),
    ],
)
def test_a_wrong_figure_is_refused(changed, message):
    values = {"what": "x", "per": "spikes", "unit": "J", "low": 1.0, "high": 1.0, "status": "assumed", "source": "s"}
    with pytest.raises(ValueError, match=message):
        Cost(**values | changed)


def test_wrong_arguments_are_named():
    deployment = two_cores()
    with pytest.raises(TypeError, match="deployment: got a Network"):
        estimate(deployment.network, X)
    with pytest.raises(ValueError, match=r"x: got shape \(2, 10\); expected samples \(B, T, 2\), data"):
        estimate(deployment, X[..., 0])
    with pytest.raises(ValueError, match=r"spikes\['hidden'\]: got shape \(1, 10, 3\); expected \(2, 10, 3\)"):
        estimate(deployment, X, {"hidden": SPIKES[:1]})
    with pytest.raises(ValueError, match="spikes: 'hidden' missing; expected those of hidden"):
        estimate(deployment, X, {})


def test_what_is_no_count_is_refused():
    """Negative, NaN or infinite spikes and samples, spikes beside recordings, events of channels that are not there."""
    deployment = two_cores()
    for value in (-1.0, float("nan"), float("inf"), 0.5):
        with pytest.raises(ValueError, match=r"spikes\['hidden'\]: got values that are no counts; expected whole"):
            estimate(deployment, X, {"hidden": torch.full_like(SPIKES, value)})
    with pytest.raises(ValueError, match="x: got NaN or infinity"):
        estimate(deployment, torch.full_like(X, float("inf")), {"hidden": SPIKES})
    with pytest.raises(ValueError, match=r"x: got shape \(2, 10, 3\); expected samples \(B, T, 2\)"):
        estimate(deployment, torch.zeros(2, STEPS, 3), {"hidden": SPIKES})
    recording = session_of_another_length(deployment)
    with pytest.raises(ValueError, match="spikes: got some beside recordings"):
        estimate(deployment, [recording], {"hidden": SPIKES})
    far = replace(recording, events=nr.deploy.Events([0.0], [7]))
    with pytest.raises(ValueError, match=r"x: got recordings with an event of channel 7; the network has 2"):
        estimate(deployment, [far])


def test_a_recording_lasts_as_long_as_it_says():
    deployment = two_cores()
    nothing = nr.deploy.Events([], torch.zeros(0, dtype=torch.long).numpy())
    with nr.deploy.VirtualChip(CHIPS["dynapse2"], 0).open() as session:
        session.program(deployment)
        assert estimate(deployment, [session.run(nothing, 0.0205)]).seconds == 0.0205
