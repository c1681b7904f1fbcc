"""Boards: the contract of a session, the virtual board against ``nr.evaluate``, recordings that are replayed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from imaged import dpi_network
from placed import placed

import chipmodels
import neurorobust as nr
from neurorobust.core.noise import Membrane
from neurorobust.data import Data
from neurorobust.deploy import (
    Board,
    BoardError,
    BoardRecording,
    CircuitEngine,
    Deployment,
    Events,
    NetworkEngine,
    Replay,
    State,
    VirtualChip,
)
from neurorobust.deploy.image.asked import digest_of
from neurorobust.nn.fleet_run import fleet_logits

CHIP = chipmodels.load("dynapse2")
STEPS = 40


def deployed(cores=((0, 0, 1, 1, 2), (1, 3, 3))) -> Deployment:
    return nr.deploy.onto(dpi_network(cores, v_threshold=0.02), CHIP)


def inputs(deployment: Deployment, n: int = 6, seed: int = 0) -> torch.Tensor:
    x = torch.rand(n, STEPS, deployment.network.n_in, generator=torch.Generator().manual_seed(seed)) < 0.4
    x = x * (1 + (torch.arange(n)[:, None, None] % 2))  # in every second sample two events at a time
    return x.to(next(deployment.network.parameters()))


def samples(deployment: Deployment, x: torch.Tensor) -> list[Events]:
    return [Events.of_steps(sample, deployment.network.dt) for sample in x]


def duration(deployment: Deployment) -> float:
    return STEPS * deployment.network.dt


def same(first: BoardRecording, second: BoardRecording) -> bool:
    return np.array_equal(first.times, second.times) and np.array_equal(first.neurons, second.neurons)


# ---- the engine of the network


def parallel() -> nr.Network:
    """A population on the chip beside another, a read-out that hears both and the input, another dt."""
    part = dpi_network(((0, 1, 1), (2, 2)), n_in=3, v_threshold=0.005)
    layers = part.layers()
    twin = dpi_network(((3, 3),), n_in=3, seed=5, v_threshold=0.005).layers()["layer0"]
    readout = nr.nn.LeakyIntegrator(nr.nn.Linear(torch.ones(2, 4 + 3)), core=torch.full((2,), nr.HOST), tau_mem=0.02)
    sources = {"twin": "x", "readout": ("layer1", "twin", "x")}
    layers = {"layer0": layers["layer0"], "layer1": layers["layer1"], "twin": twin, "readout": readout}
    return nr.Network(layers, dt=1 / 3000, inputs=sources, decode=nr.nn.last_step)


NETWORKS = {
    "DPI": dpi_network(((0, 0, 1, 1, 2), (1, 3, 3)), v_threshold=0.02),
    "fused": placed([0, 0, 1, 2]),
    "parallel": parallel(),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_evaluate_to_the_last_bit(name):
    """Spikes as events, the host's part from them: bit for bit what the fleet computes, on three dies."""
    deployment = nr.deploy.onto(NETWORKS[name], CHIP)
    x = inputs(deployment)
    expected = list(fleet_logits(deployment.network, deployment.dies(range(3), seed=4), x))
    spikes = 0
    for serial in range(3):
        with VirtualChip(CHIP, serial, seed=4).open() as session:
            session.program(deployment)
            recordings = session.run_many(samples(deployment, x), duration(deployment))
            assert torch.equal(nr.deploy.logits(deployment, recordings), expected[serial])
            one = session.run(samples(deployment, x)[2], duration(deployment))
        assert same(one, recordings[2])
        spikes += sum(len(each.times) for each in recordings)
    assert spikes > 30 and not torch.equal(expected[0], expected[1])


def test_the_score_is_that_of_evaluate():
    deployment = deployed()
    x = inputs(deployment, 12)
    data = Data(x, torch.arange(12) % 2)
    fleet = nr.evaluate(deployment.network, data, CHIP, n_dies=2, seed=3)
    for serial, expected in enumerate(fleet.accuracy):
        with VirtualChip(CHIP, serial, seed=3).open() as session:
            session.program(deployment)
            recordings = session.run_many(samples(deployment, x), duration(deployment))
        found = nr.deploy.logits(deployment, recordings).argmax(1)
        assert float((found == data.y).double().mean()) == expected


def test_noise_is_new_in_every_run_and_the_same_for_the_same_board():
    deployment = deployed()
    events = samples(deployment, inputs(deployment))
    noisy = CHIP.with_noise(Membrane(0.3))

    def runs() -> list[BoardRecording]:
        with VirtualChip(noisy, 0).open() as session:
            session.program(deployment)
            return [session.run(events[0], duration(deployment)) for _ in range(2)]

    first, second = runs(), runs()
    assert not same(first[0], first[1])
    assert same(first[0], second[0]) and same(first[1], second[1])


def test_defects_are_those_of_the_chip():
    deployment = deployed()
    broken = CHIP.with_defects(nr.chip.DeadNeurons(0.4))
    with VirtualChip(broken, 1).open() as session:
        session.program(deployment)
        counts = session.run(samples(deployment, inputs(deployment))[1], duration(deployment)).counts()
    dead = broken.fabricate([1], 1)
    (die,) = dead
    (params,) = [nr.apply(deployment.programmed.params, die.deviations(deployment.programmed),
                          deployment.programmed.placement)]  # fmt: skip
    _, spikes = nr.run(deployment.network, params, inputs(deployment)[1:2], record=True)
    expected = torch.cat([spikes[name][0].sum(0) for name in deployment.cores])
    assert counts.tolist() == expected.tolist()


# ---- what is lost on the way


def test_dropped_events_are_counted():
    """Each direction loses the fraction that was asked; binomial, both ends 1e-6 beyond: a false alarm in 5e5 runs,
    and the draws are keyed, so it never flickers."""
    deployment = deployed()
    events = samples(deployment, inputs(deployment, 200))
    with VirtualChip(CHIP, 0, drops=0.25).open() as session:
        session.program(deployment)
        recordings = session.run_many(events, duration(deployment))
        again = VirtualChip(CHIP, 0, drops=0.25)
        with again.open() as other:
            other.program(deployment)
            repeated = other.run_many(events, duration(deployment))
    assert all(same(a, b) for a, b in zip(recordings, repeated))
    sent, lost = (
        sum(values) for values in zip(*((len(each.events.times), each.dropped_inputs) for each in recordings))
    )
    back, gone = (sum(values) for values in zip(*((len(each.times), each.dropped_spikes) for each in recordings)))
    for part, whole in ((lost, sent), (gone, back + gone)):
        assert whole > 500 and abs(part / whole - 0.25) < 4.9 * (0.25 * 0.75 / whole) ** 0.5


def test_time_stamps_have_the_resolution_of_the_board():
    """Stamps are multiples, never earlier than the spike, and less than one resolution later."""
    deployment = deployed()
    events = samples(deployment, inputs(deployment))[0]
    found = {}
    for resolution in (0.0, 7e-4):
        board = VirtualChip(CHIP, 0, engine=CircuitEngine(), resolution=resolution)
        with board.open() as session:
            session.program(deployment)
            found[resolution] = session.run(events, 0.5)
    exact, coarse = found[0.0].times, found[7e-4].times
    late = coarse - exact[: len(coarse)]
    assert len(coarse) > 5 and len(exact) - len(coarse) == found[7e-4].dropped_spikes
    assert (late > -1e-12).all() and (late < 7e-4).all()
    assert np.allclose(coarse / 7e-4, np.round(coarse / 7e-4))


# ---- the engine of the circuit


def test_the_circuit_agrees_with_the_network_where_its_equations_do():
    """A neuron that gets few, large, separated inputs at a large ratio: the same number of spikes in both engines."""
    network = dpi_network(((0, 0, 0, 0),), n_in=2, density=0.0, v_threshold=0.02, adaptation=None, tau_adapt=None)
    deployment = nr.deploy.onto(network, CHIP)
    events = Events.of_steps((torch.rand(400, 2, generator=torch.Generator().manual_seed(1)) < 0.5).float(), 1e-3)
    counts = []
    for engine in (NetworkEngine(), CircuitEngine(ratio=1000)):
        with VirtualChip(CHIP, 3, engine=engine).open() as session:
            session.program(deployment)
            counts.append(session.run(events, 0.4).counts())
    assert counts[0].max() >= 10
    assert np.abs(counts[0] - counts[1]).max() <= 1 + 0.1 * counts[0].max()


def test_currents_can_deviate_by_themselves():
    """With current_cv a die is another one; without deviation of the currents it is the nominal image."""
    deployment = deployed()
    events = samples(deployment, inputs(deployment))[1]
    found = {}
    for name, engine in {"none": CircuitEngine(current_cv=0.0), "some": CircuitEngine(current_cv=0.3)}.items():
        for serial in (0, 1):
            with VirtualChip(CHIP, serial, engine=engine).open() as session:
                session.program(deployment)
                found[name, serial] = session.run(events, 0.5)
    assert same(found["none", 0], found["none", 1]) and len(found["none", 0].times) > 5
    assert not same(found["some", 0], found["some", 1])


def test_membranes_are_watched_one_per_core():
    deployment = deployed()
    events = samples(deployment, inputs(deployment))[0]
    with VirtualChip(CHIP, 0, engine=CircuitEngine()).open() as session:
        session.program(deployment)
        found = session.run(events, 0.04, watch=[0, 2])
        assert sorted(found.membranes) == [0, 2] and found.membranes[0].shape == found.sample_times.shape
        assert found.membranes[0].max() > 10 * found.membranes[0].min()
        with pytest.raises(ValueError, match=r"watch: got two neurons of core 0; a core shows the membrane of one"):
            session.run(events, 0.04, watch=[0, 1])
        with pytest.raises(ValueError, match=r"watch: got 8; expected numbers of neurons, 0 to 7"):
            session.run(events, 0.04, watch=[8])
        assert session.state is State.PROGRAMMED


def test_networks_without_a_circuit_are_refused():
    deployment = nr.deploy.onto(placed([0, 0, 1]), CHIP)
    session = VirtualChip(CHIP, 0, engine=CircuitEngine()).open()
    with pytest.raises(ValueError, match=r"layer 'hidden': has neurons AdaptiveLif, whose bias.*NetworkEngine\(\)"):
        session.program(deployment)
    assert session.state is State.OPEN
    held = deployed()
    session.program(held)
    with pytest.raises(ValueError, match=r"layer 'hidden': has neurons AdaptiveLif"):
        session.program(deployment)
    assert session.state is State.PROGRAMMED and session.deployment is held and session.read_back() == digest_of(held)


# ---- the contract, of every board


class Failing(Board):
    """A board that does as a virtual one, and fails at the call of this number."""

    def __init__(self, failing: int, error: Exception):
        self._inner, self._left, self._error = VirtualChip(CHIP, 0), failing, error
        self.name, self.chip, self.version = "failing", self._inner.chip, self._inner.version

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise self._error

    def connect(self) -> None:
        self._count()
        self._inner.connect()

    def disconnect(self) -> None:
        self._inner.disconnect()

    def write(self, deployment: Deployment) -> None:
        self._count()
        self._inner.write(deployment)
        self._count()

    def read(self) -> str:
        self._count()
        return self._inner.read()

    def execute(
        self, samples: Sequence[Events], duration: float, watch: Sequence[int], timeout: float
    ) -> list[BoardRecording]:
        self._count()
        found = self._inner.execute(samples, duration, watch, timeout)
        self._count()
        return found


CALLS = ("connect", "write", "write, after it", "read", "run", "run, after it")


@pytest.mark.parametrize("error", [TimeoutError("late"), OSError("unplugged"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", range(1, len(CALLS) + 1), ids=CALLS)
def test_after_every_failure_the_state_is_said_and_a_later_program_works(failing, error):
    """The call that fails raises the driver's error; nothing runs on an unknown board; programming again mends it."""
    deployment = deployed()
    events = samples(deployment, inputs(deployment))[0]
    expected = next(iter(fleet_logits(deployment.network, deployment.dies([0]), inputs(deployment)[:1])))
    board = Failing(failing, error)
    if CALLS[failing - 1] == "connect":
        with pytest.raises(type(error)):
            board.open()
    session = board.open()
    failed = CALLS[failing - 1] == "connect"
    for call in (lambda: session.program(deployment), lambda: session.run(events, duration(deployment))):
        try:
            call()
        except type(error):
            failed = True
            assert session.state is State.UNKNOWN
            for use in (lambda: session.run(events, 0.1), session.read_back, lambda: session.deployment):
                with pytest.raises(BoardError, match=r"failing: a call failed, so what it holds is not known; program"):
                    use()
            session.program(deployment)
    assert failed and session.state is State.PROGRAMMED and session.read_back() == digest_of(deployment)
    recording = session.run(events, duration(deployment))
    assert torch.equal(nr.deploy.logits(deployment, [recording]), expected)
    session.close()
    session.close()
    assert session.state is State.CLOSED


class Forgetful(Failing):
    """A board that holds something else than it was given."""

    def read(self) -> str:
        return "0" * 64


def test_what_is_read_back_is_compared():
    session = Forgetful(0, OSError()).open()
    with pytest.raises(
        BoardError, match=r"was given the deployment [0-9a-f]{12}…, and holds 000000000000…; program it"
    ):
        session.program(deployed())
    assert session.state is State.UNKNOWN


def test_states_in_words():
    """Each state says in one sentence what to do."""
    deployment, board = deployed(), VirtualChip(CHIP, 17)
    events = Events([], np.zeros(0, dtype=int))
    session = board.open()
    with pytest.raises(BoardError, match=r"virtual dynapse2 17: is busy: a session is open; close it first"):
        board.open()
    with pytest.raises(BoardError, match=r"nothing is programmed; call program\(deployment\) first"):
        session.run(events, 0.1)
    session.program(deployment)
    session.close()
    with pytest.raises(BoardError, match=r"the session is closed; open the board again"):
        session.run(events, 0.1)
    with board.open() as again, pytest.raises(BoardError, match="nothing is programmed"):
        again.read_back()  # it was switched off
    assert board.open().state is State.OPEN


def test_bad_arguments_do_not_change_the_state():
    deployment, board = deployed(), VirtualChip(CHIP, 0)
    nothing = np.zeros(0, dtype=int)
    with board.open() as session:
        with pytest.raises(TypeError, match=r"deployment: got a Network; expected a Deployment"):
            session.program(deployment.network)
        other = nr.deploy.onto(placed([0, 1]), chipmodels.load("pcm"))
        with pytest.raises(ValueError, match=r"deployment: is for pcm, version \d+; expected one for dynapse2"):
            session.program(other)
        assert session.state is State.OPEN
        session.program(deployment)
        late, far = Events([0.2], [0]), Events([0.0], [deployment.network.n_in])
        for arguments, words in (
            ((late, 0.1), r"events: the last is at 0.2 s; expected all before 0.1 s"),
            ((far, 0.1), r"events: has channel 4; the network has 4, from 0"),
            ((Events([], nothing), 0), r"duration: got 0; expected"),
            ((Events([], nothing), -1.0), r"duration: got -1.0; expected"),
            ((Events([], nothing), float("nan")), r"duration: got nan; expected"),
        ):
            with pytest.raises(ValueError, match=words):
                session.run(*arguments)
        with pytest.raises(TypeError, match=r"events: got a list; expected nr.deploy.Events"):
            session.run([(0.0, 1)], 0.1)
        assert session.state is State.PROGRAMMED and session.run_many([], 0.1) == []
    for times, channels in (([0.2, 0.1], [0, 0]), ([-0.1], [0]), ([float("nan")], [0])):
        with pytest.raises(ValueError, match=r"times: event \d is at .* expected finite times ≥ 0, sorted"):
            Events(times, channels)


def test_bad_boards_are_refused():
    for arguments, words in (
        ({"serial": -1}, "serial: got -1"),
        ({"serial": 2**64}, "expected numbers below"),
        ({"serial": 0, "drops": 1.0}, "drops: got 1.0; expected a probability below 1"),
        ({"serial": 0, "resolution": -1e-6}, "resolution: got"),
    ):
        with pytest.raises(ValueError, match=words):
            VirtualChip(CHIP, **arguments)
    with pytest.raises(TypeError, match=r"chip: got 'dynapse2'; expected a ChipModel: chipmodels.load"):
        VirtualChip("dynapse2", 0)
    with pytest.raises(TypeError, match=r"engine: got 'circuit'; expected an Engine"):
        VirtualChip(CHIP, 0, engine="circuit")


def test_the_die_stays_hidden():
    """Nothing that a user can see of a board is a parameter of its die."""
    board = VirtualChip(CHIP, 17)
    assert "Die" not in repr(board) + repr(board.open())
    assert not [name for name in dir(board) if not name.startswith("_") and "die" in name.lower()]


def test_a_slow_board_is_given_up():
    deployment = deployed()
    with VirtualChip(CHIP, 0).open() as session:
        session.program(deployment)
        events = samples(deployment, inputs(deployment))[:1] * 300
        with pytest.raises(TimeoutError, match=r"250 of 300 samples took more than 1e-09 s"):
            session.run_many(events, duration(deployment), timeout=1e-9)
        assert session.state is State.UNKNOWN


# ---- recordings


@pytest.fixture
def recorded(tmp_path):
    deployment = deployed()
    with VirtualChip(CHIP, 5, drops=0.1, engine=CircuitEngine()).open() as session:
        session.program(deployment)
        recordings = session.run_many(samples(deployment, inputs(deployment)), duration(deployment))
    return deployment, recordings, nr.deploy.save_recordings(tmp_path / "recorded.json", deployment, recordings)


def test_recordings_stand_in_for_the_board(recorded):
    """Replayed, they are the same to the last bit; other inputs, durations and deployments are refused."""
    deployment, recordings, path = recorded
    with Replay(path).open() as session:
        session.program(deployment)
        events = samples(deployment, inputs(deployment))
        again = session.run_many(events, duration(deployment))
        assert all(same(a, b) and a.dropped_spikes == b.dropped_spikes for a, b in zip(again, recordings))
        assert torch.equal(nr.deploy.logits(deployment, again), nr.deploy.logits(deployment, recordings))
        with pytest.raises(BoardError, match=r"replay of recorded.json: has no recording of this input \(0 events"):
            session.run(Events([], np.zeros(0, dtype=int)), duration(deployment))
        session.program(deployment)
        with pytest.raises(BoardError, match=r"has no recording of this input"):
            session.run(events[0], 2 * duration(deployment))
        with pytest.raises(BoardError, match=r"was recorded with the deployment [0-9a-f]{12}…; got"):
            session.program(deployed(((0, 0, 1), (2,))))
    path.write_bytes(path.read_bytes().replace(b'"neurons":8', b'"neurons":9', 1))
    with pytest.raises(ValueError, match=r"recorded.json: is damaged or was edited"):
        Replay(path)


def test_several_recordings_of_one_input_come_in_turn(tmp_path):
    deployment = deployed()
    events = samples(deployment, inputs(deployment))[:1]
    with VirtualChip(CHIP.with_noise(Membrane(0.3)), 0).open() as session:
        session.program(deployment)
        recordings = [session.run(events[0], 0.1) for _ in range(3)]
    path = nr.deploy.save_recordings(tmp_path / "r.json", deployment, recordings)
    with Replay(path).open() as session:
        session.program(deployment)
        again = session.run_many(events * 4, 0.1)
    assert [same(a, b) for a, b in zip(again, [*recordings, recordings[0]])] == [True] * 4


def test_recordings_have_to_fit_the_deployment(recorded):
    deployment, recordings, _ = recorded
    with pytest.raises(ValueError, match=r"recordings: one has 8 neurons; the deployment has 4"):
        nr.deploy.logits(deployed(((0, 0, 1), (2,))), recordings)
    with pytest.raises(ValueError, match=r"recordings: got 0 of durations \[\]"):
        nr.deploy.logits(deployment, [])
