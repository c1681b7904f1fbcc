"""Wrong arguments of the public functions of deployment: one clear sentence each, and the board stays as it was."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from imaged import dpi_network

import chipmodels
import neurorobust as nr
from neurorobust.circuit import Recording, Technology
from neurorobust.data import Data, Task
from neurorobust.deploy import (
    BoardError,
    BoardRecording,
    CircuitEngine,
    EquationsEngine,
    Events,
    NetworkEngine,
    Replay,
    Session,
    State,
    VirtualChip,
    causes,
)
from neurorobust.train import Schedule

CHIP = chipmodels.load("dynapse2")
NETWORK = dpi_network(((0, 0, 1, 1, 2), (1, 3, 3)), v_threshold=0.02)
DEPLOYMENT = nr.deploy.onto(NETWORK, CHIP)
X = (torch.rand(4, 20, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
DATA = Data(X, torch.tensor([0, 1, 0, 1]))
TASK = Task("two", ("a", "b"), DATA, DATA, DATA, torch.nn.functional.cross_entropy)
EVENT = Events([0.001], [0])
NUMBERS = {"layer0": torch.arange(5), "layer1": torch.arange(5, 8)}


def opened() -> Session:
    session = VirtualChip(CHIP, 0).open()
    session.program(DEPLOYMENT)
    return session


SESSION = opened()
RECORDINGS = nr.deploy.measure(SESSION, X)
IMAGE = DEPLOYMENT.image()
JUDGED = nr.deploy.judge(DEPLOYMENT, DATA, range(2), causes=())

# Every function with good arguments, and the arguments that may also be None.
TRAINED = {"data": TASK, "loss": TASK.loss, "epochs": 0, "seed": 0, "schedule": Schedule(), "out": None}


def judged_on(**boards):
    return nr.deploy.judge(DEPLOYMENT, DATA, range(1), boards=nr.deploy.VirtualBoards(**boards), causes=())


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any], set[str]]] = {
    "onto": (nr.deploy.onto, {"network": NETWORK, "chip": CHIP, "data": DATA, "tolerance": 0.0}, {"data"}),
    "adapt": (
        nr.deploy.adapt,
        {"network": NETWORK, "chip": CHIP, "tau_syn": 0.1, **TRAINED},
        {"loss", "tau_syn", "out"},
    ),
    "fit_to": (nr.deploy.fit_to, {"network": NETWORK, "chip": CHIP, **TRAINED}, {"loss", "out"}),
    "translated": (nr.deploy.translated, {"model": NETWORK}, set()),
    "load": (nr.deploy.load, {"path": "net.json", "chip": CHIP}, set()),
    "load_image": (nr.deploy.load_image, {"path": "net.json"}, set()),
    "Replay": (Replay, {"path": "net.json"}, set()),
    "save": (DEPLOYMENT.save, {"path": "no folder/net.json"}, set()),
    "save image": (IMAGE.save, {"path": "no folder/net.json"}, set()),
    "diff": (nr.deploy.diff, {"first": DEPLOYMENT, "second": DEPLOYMENT}, set()),
    "digest_of": (nr.deploy.digest_of, {"deployment": DEPLOYMENT}, set()),
    "estimate": (nr.deploy.estimate, {"deployment": DEPLOYMENT, "x": X, "spikes": None}, {"spikes"}),
    "judge": (
        nr.deploy.judge,
        {"deployment": DEPLOYMENT, "data": DATA, "serials": range(1), "trained": None, "causes": ()}
        | {"boards": nr.deploy.VirtualBoards()},
        {"trained"},
    ),
    "logits": (nr.deploy.logits, {"deployment": DEPLOYMENT, "recordings": RECORDINGS}, set()),
    "measure": (nr.deploy.measure, {"session": SESSION, "x": X}, set()),
    "trim": (nr.deploy.trim, {"deployment": DEPLOYMENT, "recordings": RECORDINGS, "labels": DATA.y}, {"labels"}),
    "refit": (nr.deploy.refit, {"deployment": DEPLOYMENT, "recordings": RECORDINGS, "labels": DATA.y}, {"labels"}),
    "choose_neurons": (
        nr.deploy.choose_neurons,
        {"session": SESSION, "deployment": DEPLOYMENT, "x": X, "candidates": 2},
        {"candidates"},
    ),
    "save_recordings": (
        nr.deploy.save_recordings,
        {"path": "no folder/r.json", "deployment": DEPLOYMENT, "recordings": RECORDINGS},
        set(),
    ),
    "judge on boards": (judged_on, {"engine": nr.deploy.NetworkEngine(), "seed": 1}, set()),
    "VirtualChip": (
        VirtualChip,
        {"chip": CHIP, "serial": 0, "seed": 1, "engine": None, "drops": 0.0, "resolution": 0.0},
        {"engine"},
    ),
    "CircuitEngine": (
        CircuitEngine,
        {"tolerance": 1e-4, "ratio": 100.0, "delay": 0.0, "current_cv": 0.1},
        {"current_cv"},
    ),
    "EquationsEngine": (
        EquationsEngine,
        {"floor": False, "reset": False, "tau_syn": 0.1, "substeps": 1, "waits": True},
        {"tau_syn"},
    ),
    "Session": (Session, {"board": VirtualChip(CHIP, 0)}, set()),
    "program": (SESSION.program, {"deployment": DEPLOYMENT}, set()),
    "run": (SESSION.run, {"events": EVENT, "duration": 0.02, "watch": (), "timeout": 60.0}, set()),
    "run_many": (SESSION.run_many, {"samples": [EVENT], "duration": 0.02, "watch": (), "timeout": 60.0}, set()),
    "Events": (Events, {"times": [0.001], "channels": [0]}, set()),
    "of_steps": (Events.of_steps, {"x": X[0], "dt": 1e-3}, set()),
    "BoardRecording": (
        BoardRecording,
        {"events": EVENT, "times": np.array([0.001]), "neurons": np.array([0]), "n": 8, "duration": 0.02}
        | {"dropped_inputs": 0, "dropped_spikes": 0, "membranes": {}},
        set(),
    ),
    "image": (
        DEPLOYMENT.image,
        {"ratio": 100.0, "technology": None, "pulse": None, "weight": 1.0},
        {"technology", "pulse"},
    ),
    "check image": (IMAGE.check, {"deployment": DEPLOYMENT, "technology": Technology()}, {"deployment", "technology"}),
    "circuit of an image": (IMAGE.circuit, {"delay": 0.0, "technology": None}, {"technology"}),
    "events_over_gain": (IMAGE.events_over_gain, {"technology": None}, {"technology"}),
    "dies": (DEPLOYMENT.dies, {"serials": [0], "seed": 1}, set()),
    "at_neurons": (DEPLOYMENT.at_neurons, {"numbers": NUMBERS}, set()),
    "yield_at": (JUDGED.yield_at, {"spec": 0.5}, set()),
    "crossing": (JUDGED.crossing, {"other": JUDGED, "spec": 0.5}, set()),
    "difference": (JUDGED.difference, {"other": JUDGED}, set()),
    **{
        f"cause {cause.__name__}": (cause, {"deployment": DEPLOYMENT, "engine": EquationsEngine()}, {"engine"})
        for cause in causes.CAUSES
    },
}
WRONG = {"None": None, "a string": "abc", "NaN": float("nan"), "an object": object(), "a class": Data, "-1": -1}
STRINGS = {"path", "out"}
"""Arguments that may be strings."""
ANY = {("cause " + cause.__name__, "engine") for cause in causes.CAUSES}
"""An engine that a cause cannot use is an answer in words."""
EACH = [(name, argument) for name, (_, good, _) in CALLS.items() for argument in good if (name, argument) not in ANY]


@pytest.mark.parametrize(("name", "argument"), EACH)
def test_a_wrong_argument_is_refused_by_its_name(name, argument):
    """Each in one sentence that begins with the argument; a board on which something is programmed keeps it."""
    function, good, may_be_none = CALLS[name]
    for kind, value in WRONG.items():
        if (value is None and argument in may_be_none) or (value == "abc" and argument in STRINGS):
            continue
        with pytest.raises((TypeError, ValueError, OSError), match=r"^[\w.]+( of [\w']+)?(\[.*\])?: .*\S") as caught:
            function(**good | {argument: value})
        said = str(caught.value)
        known = {argument, "network", "cv", "recordings", "spikes", "times"}  # what another function says of it
        assert said.startswith(tuple(known)), (kind, said)
        assert "expected" in said or "choose" in said, (kind, said)
        assert SESSION.state is State.PROGRAMMED and SESSION.deployment is DEPLOYMENT


def test_the_good_arguments_are_good():
    """Else the test above would pass for another reason."""
    for name, (function, good, _) in CALLS.items():
        if not STRINGS & good.keys() or name in ("adapt", "fit_to"):
            function(**good)


@pytest.mark.parametrize("change", [nr.deploy.adapt, nr.deploy.fit_to])
def test_options_of_training_are_checked_without_training_too(change):
    for option, error, words in (
        ({"loss": "abc"}, TypeError, r"loss: got 'abc'; expected a function of"),
        ({"schedule": 3}, TypeError, r"schedule: got 3; expected a neurorobust.train.Schedule"),
        ({"seed": -1}, ValueError, r"seed: got -1"),
        ({"out": 5}, TypeError, r"out: got 5 \(int\); expected the path"),
        ({"learning_rate": 0.1}, TypeError, r"learning_rate: is unknown; expected seed, out, schedule"),
    ):
        with pytest.raises(error, match=words):
            change(NETWORK, CHIP, TASK, epochs=0, **option)


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    for call in (lambda path: nr.deploy.load(path, CHIP), nr.deploy.load_image, Replay):
        with pytest.raises(FileNotFoundError, match=r"none.json: there is no such file; expected one that"):
            call(tmp_path / "none.json")
    with pytest.raises(OSError, match=r": is a folder; choose the name of a file, such as"):
        DEPLOYMENT.save(tmp_path)


# ---- what changes the state of a session


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X * 0.5, r"x: values that are not counts"),
        (X * float("nan"), r"x: values that are not counts"),
        (X[..., :2], r"x: got 2 channels; the network has 4"),
        (torch.cat([X, X], 2), r"x: got 8 channels; the network has 4"),
        (X[:0], r"x: got shape \(0, 20, 4\)"),
        (X[:, :0], r"x: got shape \(4, 0, 4\)"),
        (X[0], r"x: got shape \(20, 4\)"),
    ],
)
def test_samples_are_checked_before_a_layout_is_programmed(x, words):
    """Nothing is on the board yet, and nothing is afterwards."""
    with VirtualChip(CHIP, 0).open() as session:
        with pytest.raises(ValueError, match=words):
            nr.deploy.choose_neurons(session, DEPLOYMENT, x, candidates=2)
        assert session.state is State.OPEN
        session.program(DEPLOYMENT)
        with pytest.raises(ValueError, match=words):
            nr.deploy.measure(session, x)
        assert session.state is State.PROGRAMMED


def test_samples_of_other_types_are_counted_alike():
    expected = [each.times.tolist() for each in RECORDINGS]
    for x in (X.bool(), X.long(), X.half(), X.clone().requires_grad_()):
        assert [each.times.tolist() for each in nr.deploy.measure(SESSION, x)] == expected


def test_a_replay_refuses_another_deployment_before_it_changes(tmp_path):
    path = nr.deploy.save_recordings(tmp_path / "r.json", DEPLOYMENT, RECORDINGS)
    replay = Replay(path)
    assert repr(replay).startswith("Replay(4 recordings of the deployment ")
    with replay.open() as session:
        session.program(DEPLOYMENT)
        with pytest.raises(BoardError, match="was recorded with the deployment"):
            session.program(nr.deploy.onto(dpi_network(((0, 0, 1), (2,)), v_threshold=0.02), CHIP))
        assert session.state is State.PROGRAMMED and session.deployment is DEPLOYMENT
    with pytest.raises(ValueError, match=r"recordings: got none; expected at least one"):
        nr.deploy.save_recordings(tmp_path / "nothing.json", DEPLOYMENT, [])


class Reset(VirtualChip):
    """A board that forgets what it holds, or does not answer."""

    answer: str | Exception | None = None

    def read(self) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return super().read() if self.answer is None else self.answer


@pytest.mark.parametrize("answer", ["0" * 64, OSError("unplugged")])
def test_reading_back_something_else_makes_the_state_unknown(answer):
    board = Reset(CHIP, 0)
    with board.open() as session:
        session.program(DEPLOYMENT)
        assert session.read_back() == nr.deploy.digest_of(DEPLOYMENT) and session.state is State.PROGRAMMED
        board.answer = answer
        try:
            assert session.read_back() == answer
        except OSError as error:
            assert error is answer
        assert session.state is State.UNKNOWN


@pytest.mark.parametrize(
    ("duration", "watch", "words"),
    [
        (1e7, (), r"duration: 1e\+07 s are 1e\+10 steps of 0.001 s; expected at most 1000000"),
        (1e7, (0,), r"duration: 1e\+07 s are 1e\+10 steps"),
        (999.0, (0, 2, 4) * 4, r"watch: got two neurons of core 0"),
    ],
)
def test_a_circuit_refuses_a_run_that_is_too_long_before_it_starts(duration, watch, words):
    with VirtualChip(CHIP, 0, engine=CircuitEngine()).open() as session:
        session.program(DEPLOYMENT)
        with pytest.raises(ValueError, match=words):
            session.run(EVENT, duration, watch=watch)
        assert session.state is State.PROGRAMMED


def test_too_many_samples_of_membranes_are_refused_before_the_run():
    slow = dpi_network(([0], [1], [2], [3]), v_threshold=0.02)
    network = nr.Network(slow.layers(), dt=5e-3)
    with VirtualChip(CHIP, 0, engine=CircuitEngine()).open() as session:
        session.program(nr.deploy.onto(network, CHIP))
        with pytest.raises(
            ValueError, match=r"watch: 4 membranes over 4000 s have more than 1e\+08 samples; watch few"
        ):
            session.run(EVENT, 4000.0, watch=[0, 1, 2, 3])
        assert session.state is State.PROGRAMMED


# ---- edges in time


@pytest.mark.parametrize("engine", [NetworkEngine(), EquationsEngine(), EquationsEngine(substeps=20), CircuitEngine()])
@pytest.mark.parametrize("duration", [0.0201, 0.0205, 0.02])
def test_a_run_that_ends_inside_a_step(engine, duration):
    """Spikes after the end do not exist, and those before it are those of a longer run."""
    events = Events.of_steps(torch.ones(20, 4), 1e-3)
    with VirtualChip(CHIP, 0, engine=engine).open() as session:
        session.program(DEPLOYMENT)
        found, longer = (session.run(events, each) for each in (duration, 0.04))
    inside = longer.times < duration
    assert len(found.times) > 10 and np.allclose(found.times, longer.times[inside], rtol=1e-6)
    assert np.array_equal(found.neurons, longer.neurons[inside])


def test_events_at_the_edges():
    """At 0, several at one time, none, and one that is at the end but for rounding, whose digits are said."""
    at_once = SESSION.run(Events([0.0, 0.0, 0.0], [0, 0, 1]), 0.01)
    counts = torch.zeros(1, 10, 4)
    counts[0, 0, :2] = torch.tensor([2.0, 1.0])
    assert at_once.times.tolist() == nr.deploy.measure(SESSION, counts)[0].times.tolist() != []
    for nothing in (
        Events([], []),
        Events(np.zeros(0), np.zeros(0, dtype=int)),
        Events(torch.zeros(0), torch.zeros(0)),
    ):
        recording = SESSION.run(nothing, 0.01)
        assert not len(recording.times) and not nr.deploy.logits(DEPLOYMENT, [recording]).any()
    with pytest.raises(ValueError, match=r"events: the last is at 0.009999999999999998 s; expected all before 0.01 s"):
        SESSION.run(Events([np.nextafter(0.01, 0)], [0]), 0.01)
    assert SESSION.state is State.PROGRAMMED


def test_events_may_be_tensors():
    events = Events(torch.tensor([0.001, 0.002], dtype=torch.float64), torch.tensor([3, 0]))
    assert events.times.tolist() == [0.001, 0.002] and events.channels.tolist() == [3, 0]


def test_spikes_at_the_edge_of_a_step_are_in_the_step_that_begins():
    """k times dt divided by dt is below k for many k; the step of each is k in a simulation as on a board."""
    for dt in (1e-3, 1e-4, 7e-4, 1 / 3000):
        times = np.arange(500) * dt
        recording = Recording(times, np.zeros(500, dtype=int), 1, 500 * dt, np.zeros((0, 0)), np.zeros(0), 1, 0)
        assert (recording.binned(dt, 500) == 1).all()
        assert recording.binned(dt, 3).tolist() == [[1.0]] * 3


# ---- the die


def test_no_attribute_copy_or_pickle_of_a_board_shows_its_die():
    """No attribute is a parameter of the die, or prints one. A copy is the same die, switched off."""
    board = VirtualChip(CHIP, 17)
    with board.open() as session:
        session.program(DEPLOYMENT)
        expected = nr.deploy.measure(session, X)
        (moved,) = DEPLOYMENT.dies([17])
        for holder in (board, session):
            for name, value in vars(holder).items():
                assert name in ALLOWED or ("Die(" not in repr(value) and not hasattr(value, "__dict__")), name
        stored = pickle.dumps(board)
        for value in moved.values():
            assert value.numpy().tobytes() not in stored
        again = [pickle.loads(stored), copy.copy(board), copy.deepcopy(board)]
    for other in again:
        assert repr(other) == repr(board)
        with other.open() as session:
            assert session.state is State.OPEN
            session.program(DEPLOYMENT)
            found = nr.deploy.measure(session, X)
        assert all(np.array_equal(a.times, b.times) for a, b in zip(found, expected, strict=True))


ALLOWED = {"_model", "_engine", "_session", "_board", "_state", "_deployment"}
"""The chip model, the engine, and what a user gave."""


# ---- one board


def test_one_board_has_no_interval():
    one = nr.deploy.judge(DEPLOYMENT, DATA, [3], causes=())
    assert repr(one).startswith("1 virtual board of dynapse2 (") and "nan" not in repr(one)
    assert np.isnan(one.ci95).all() and one.entry()["ci95"] is None
    difference = one.difference(one)
    assert difference.estimate == 0 and np.isnan(difference.low)


def test_an_estimate_says_that_recordings_lost_events():
    with VirtualChip(CHIP, 0, drops=0.3).open() as session:
        session.program(DEPLOYMENT)
        lossy = nr.deploy.measure(session, X)
    lost = sum(each.dropped_inputs + each.dropped_spikes for each in lossy)
    with pytest.warns(UserWarning, match=rf"x: the recordings lost {lost} events; counts are of the events that the h"):
        found = nr.deploy.estimate(DEPLOYMENT, lossy)
    assert lost > 10 and found.counts["spikes"] == sum(len(each.times) for each in lossy) / 4
    assert nr.deploy.estimate(DEPLOYMENT, RECORDINGS).counts["input events"] == X.sum() / 4
