"""Boards at the edges: the end of a run, refusals that leave the state as it is, time-outs, recordings of others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from imaged import dpi_network

import chipmodels
import neurorobust as nr
from neurorobust.deploy import BoardRecording, CircuitEngine, Events, Replay, State, VirtualChip
from neurorobust.deploy.board.recording import steps_in

CHIP = chipmodels.load("dynapse2")
NOTHING = Events([], np.zeros(0, dtype=int))


@pytest.fixture(scope="module")
def deployment():
    return nr.deploy.onto(dpi_network(((0, 0, 1, 1, 2), (1, 3, 3)), v_threshold=0.02), CHIP)


@pytest.fixture
def session(deployment):
    with VirtualChip(CHIP, 0).open() as opened:
        opened.program(deployment)
        yield opened


@pytest.mark.parametrize("steps", range(1, 60))
def test_an_event_at_the_end_but_for_rounding_is_refused(session, steps):
    """As k·dt and as the sum of k times dt, an event at the end of k steps is not before the end."""
    dt = session.deployment.network.dt
    product, total = steps * dt, float(np.sum(np.full(steps, dt)))
    for time, duration in ((product, total), (total, product), (product, float(np.nextafter(product, 1)))):
        with pytest.raises(ValueError, match=r"events: the last is at .* s; expected all before"):
            session.run(Events([time], [0]), duration)
        assert steps_in(duration, dt) == steps
    assert session.state is State.PROGRAMMED
    inside = session.run(Events([(steps - 1) * dt], [0]), total)
    assert nr.deploy.logits(session.deployment, [inside]).shape == (1, 2)


@pytest.mark.parametrize("early", [0.0, 1e-9])
def test_a_spike_just_before_the_end_is_in_the_last_step(deployment, early):
    """Time stamps such as 39999 · 1e-6 s may lie within rounding of the end: they count in the last step."""
    dt, n = deployment.network.dt, 8
    end = 40 * dt
    near = float(np.nextafter(end, 0)) if not early else end * (1 - early)
    middle = 39.5 * dt
    last, usual = (
        nr.deploy.logits(deployment, [BoardRecording(NOTHING, np.array([time]), np.array([5]), n, end)])
        for time in (near, middle)
    )
    assert torch.equal(last, usual)
    longer = BoardRecording(NOTHING, np.array([end * (1 + 1e-10)]), np.array([5]), n, end * (1 + 2e-10))
    assert torch.equal(nr.deploy.logits(deployment, [longer]), usual)


@pytest.mark.parametrize("resolution", [1e-9, 1e-6, 1e-3, 7e-4])
def test_logits_of_every_time_base(deployment, resolution):
    dt = deployment.network.dt
    x = (torch.rand(40, 4, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    with VirtualChip(CHIP, 0, engine=CircuitEngine(), resolution=resolution).open() as session:
        session.program(deployment)
        recording = session.run(Events.of_steps(x, dt), 40 * dt)
    assert len(recording.times) and torch.isfinite(nr.deploy.logits(deployment, [recording])).all()


@pytest.mark.parametrize("resolution", [1e-9, 1e-6, 1e-3])
def test_a_spike_at_a_multiple_of_the_resolution_keeps_its_time(deployment, resolution):
    x = (torch.rand(1, 2000, 4, generator=torch.Generator().manual_seed(1)) < 0.7).float()
    found = []
    for each in (0.0, resolution):
        with VirtualChip(CHIP, 0, resolution=each).open() as session:
            session.program(deployment)
            found += nr.deploy.measure(session, x)
    exact, stamped = (each.times for each in found)
    assert len(np.unique(exact)) > 500 and np.abs(stamped - exact).max() < resolution / 100


@pytest.mark.parametrize(
    ("arguments", "more", "error", "words"),
    [
        ((NOTHING, 0.01), {"watch": [0]}, ValueError, r"watch: the engine of the network has no membranes in A; use"),
        ((NOTHING, 0.01), {"watch": 5}, TypeError, r"watch: got 5; expected a list of numbers of neurons, such as"),
        ((NOTHING, 0.01), {"watch": np.array([8])}, ValueError, r"watch: got 8; expected numbers of neurons, 0 to 7"),
        ((NOTHING, 1e300), {}, ValueError, r"duration: 1e\+300 s are 1e\+303 steps of 0.001 s; expected at most"),
        ((NOTHING, 1e9), {}, ValueError, r"duration: 1e\+09 s are 1e\+12 steps of 0.001 s; expected at most 1000000"),
    ],
)
def test_what_a_board_cannot_do_is_refused_before_it_is_sent(session, arguments, more, error, words):
    with pytest.raises(error, match=words):
        session.run(*arguments, **more)
    assert session.state is State.PROGRAMMED
    with pytest.raises(TypeError, match=r"samples: got one Events; expected a list of nr.deploy.Events"):
        session.run_many(NOTHING, 0.01)


def test_neurons_to_watch_may_be_numbers_of_numpy(deployment):
    with VirtualChip(CHIP, 0, engine=CircuitEngine()).open() as session:
        session.program(deployment)
        found = session.run(Events([0.0], [0]), 0.01, watch=np.array([0, 2]))
    assert sorted(found.membranes) == [0, 2] and all(type(neuron) is int for neuron in found.membranes)


def test_a_single_run_can_be_late(session, deployment):
    """The clock is looked at after a run, too: a late answer is no answer, and programming again mends the board."""
    with pytest.raises(TimeoutError, match=r"virtual dynapse2 0: 1 of 1 samples took more than 1e-09 s"):
        session.run(NOTHING, 0.01, timeout=1e-9)
    assert session.state is State.UNKNOWN
    session.program(deployment)
    assert session.run(NOTHING, 0.01).n == 8


def test_a_replay_stays_programmed_when_it_has_no_answer(session, deployment, tmp_path):
    recording = session.run(Events([0.0, 0.001], [0, 1]), 0.05)
    path = nr.deploy.save_recordings(tmp_path / "r.json", deployment, [recording])
    with Replay(path).open() as replayed:
        replayed.program(deployment)
        for events, more in ((NOTHING, {}), (recording.events, {"watch": [0]})):
            with pytest.raises(nr.deploy.BoardError, match="has no"):
                replayed.run(events, 0.05, **more)
            assert replayed.state is State.PROGRAMMED
        assert np.array_equal(replayed.run(recording.events, 0.05).times, recording.times)


@pytest.mark.parametrize(
    ("times", "neurons", "words"),
    [
        ([0.02], [0], r"spikes: the last is at 0.02 s; expected all before 0.01 s"),
        ([0.01], [0], r"spikes: the last is at 0.01 s; expected all before 0.01 s"),
        ([0.002, 0.001], [0, 0], r"spikes: times: event 1 is at .*; expected finite times ≥ 0, sorted"),
        ([-0.001], [0], r"spikes: times: event 0 is at .*; expected finite times ≥ 0, sorted"),
        ([float("nan")], [0], r"spikes: times: event 0 is at .*nan.*; expected finite"),
        ([0.001], [8], r"spikes: got neuron 8; expected 0 to 7"),
        ([0.001], [-1], r"spikes: channels: got -1; expected"),
    ],
)
def test_a_driver_cannot_return_spikes_that_cannot_be(times, neurons, words):
    with pytest.raises(ValueError, match=words):
        BoardRecording(NOTHING, np.array(times), np.array(neurons), 8, 0.01)


def test_recordings_of_something_else(session, deployment, tmp_path):
    recording = session.run(NOTHING, 0.01)
    path = tmp_path / "r.json"
    for call in (
        lambda given: nr.deploy.logits(deployment, given),
        lambda given: nr.deploy.save_recordings(path, deployment, given),
    ):
        with pytest.raises(TypeError, match=r"recordings: got a BoardRecording; expected a list of BoardRecording"):
            call(recording)
        with pytest.raises(TypeError, match=r"recordings\[1\]: got a NoneType; expected a BoardRecording"):
            call([recording, None])
        with pytest.raises(ValueError, match=r"recordings: one has 9 neurons; the deployment has 8"):
            call([BoardRecording(NOTHING, np.zeros(0), np.zeros(0, dtype=int), 9, 0.01)])
    for call in (nr.deploy.logits, lambda *given: nr.deploy.save_recordings(path, *given)):
        with pytest.raises(TypeError, match=r"deployment: got a Network; expected a Deployment"):
            call(deployment.network, [recording])
    far = BoardRecording(Events([0.0], [4]), np.zeros(0), np.zeros(0, dtype=int), 8, 0.01)
    with pytest.raises(ValueError, match=r"recordings: got channel 4; the deployment has 4, from 0"):
        nr.deploy.logits(deployment, [far])
    assert not path.exists()
