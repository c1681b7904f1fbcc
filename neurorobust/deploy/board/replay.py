"""Recordings in place of a board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..._util.errors import check_path
from ...circuit import Events
from .. import sealed
from ..deployment import Deployment, check_deployment
from ..image.asked import digest_of
from ..sealed import FileKind
from ..writing import write
from .contract import Board, BoardError
from .recording import BoardRecording, listed

FORMAT = "neurorobust-recordings/1"
KIND = FileKind(FORMAT, "recording", "save_recordings", "board/recordings.schema.json")


def save_recordings(path: str | Path, deployment: Deployment, recordings: Sequence[BoardRecording]) -> Path:
    """Write recordings of one deployment to one JSON file, whole or not at all. Membranes are not saved.

    Raises:
        ValueError: the file would be larger than 32 MiB, there are no recordings, or one has another number of neurons
            than the deployment. TypeError: no deployment, or no recordings.

    Example:
        >>> import chipmodels, tempfile
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment, path = nr.deploy.onto(network, chipmodels.load("dynapse2")), tempfile.mkdtemp() + "/day1.json"
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=0).open() as session:
        ...     session.program(deployment)
        ...     recording = session.run(nr.deploy.Events([0.01], [3]), duration=0.05)
        >>> nr.deploy.save_recordings(path, deployment, [recording]).name
        'day1.json'
    """
    path, deployment = check_path("path", path), check_deployment(deployment)
    recordings, n = listed(recordings), sum(len(cores) for cores in deployment.cores.values())
    if not recordings:
        raise ValueError("recordings: got none; expected at least one.")
    wrong = next((each for each in recordings if each.n != n), None)
    if wrong is not None:
        raise ValueError(f"recordings: one has {wrong.n} neurons; the deployment has {n}.")
    entry = {
        "format": FORMAT,
        "chip": {"name": deployment.chip.name, "version": deployment.chip.version},
        "deployment": digest_of(deployment),
        "recordings": [_entry(each) for each in recordings],
    }
    return write(path, entry, "recording")


def _entry(one: BoardRecording) -> dict[str, Any]:
    return {
        "duration": one.duration,
        "neurons": one.n,
        "input": {"times": one.events.times.tolist(), "channels": one.events.channels.tolist()},
        "spikes": {"times": one.times.tolist(), "neurons": one.neurons.tolist()},
        "dropped": {"inputs": one.dropped_inputs, "spikes": one.dropped_spikes},
    }


class Replay(Board):
    """A board that answers with recordings: for examples, tests, and work without the board.

    It takes the deployment that was recorded, and no other; a run has to have the input and the duration of a
    recording. Where an input was recorded several times, the recordings come in turn.

    Args:
        path: a file of :func:`save_recordings`.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is damaged.

    Example:
        >>> import chipmodels, tempfile
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment, path = nr.deploy.onto(network, chipmodels.load("dynapse2")), tempfile.mkdtemp() + "/day1.json"
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=0).open() as session:
        ...     session.program(deployment)
        ...     recording = session.run(nr.deploy.Events([0.01], [3]), duration=0.05)
        >>> board = nr.deploy.Replay(nr.deploy.save_recordings(path, deployment, [recording]))
        >>> board.chip
        'dynapse2'
    """

    def __init__(self, path: str | Path):
        path = check_path("path", path)
        entry = sealed.read(path, KIND)
        self.name = f"replay of {path.name}"
        self.chip, self.version = entry["chip"]["name"], entry["chip"]["version"]
        self._deployment = entry["deployment"]
        self._answers: dict[bytes, list[BoardRecording]] = {}
        try:
            for each in entry["recordings"]:
                one = _recording(each)
                self._answers.setdefault(_key(one.events, one.duration), []).append(one)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{path}: {error}") from error
        self._next: dict[bytes, int] = {}
        self._held = ""

    def __repr__(self) -> str:
        n = sum(map(len, self._answers.values()))
        return f"Replay({n} recordings of the deployment {self._deployment[:12]}… on {self.chip})"

    def connect(self) -> None:
        self._next = {}

    def disconnect(self) -> None:
        self._held = ""

    def check_program(self, deployment: Deployment) -> None:
        found = digest_of(deployment)
        if found != self._deployment:
            raise BoardError(
                f"{self.name}: was recorded with the deployment {self._deployment[:12]}…; got {found[:12]}…; load that "
                f"one."
            )

    def write(self, deployment: Deployment) -> None:
        self.check_program(deployment)
        self._held = self._deployment

    def read(self) -> str:
        return self._held

    def check(self, samples: Sequence[Events], duration: float, watch: Sequence[int]) -> None:
        if watch:
            raise BoardError(f"{self.name}: has no membranes; leave out watch.")
        for events in samples:
            if _key(events, duration) not in self._answers:
                raise BoardError(
                    f"{self.name}: has no recording of this input ({len(events.times)} events in {duration:g} s)."
                )

    def execute(
        self, samples: Sequence[Events], duration: float, watch: Sequence[int], timeout: float
    ) -> list[BoardRecording]:
        found = []
        for events in samples:
            key = _key(events, duration)
            answers, turn = self._answers[key], self._next.get(key, 0)
            self._next[key] = turn + 1
            found.append(answers[turn % len(answers)])
        return found


def _key(events: Events, duration: float) -> bytes:
    return b"".join((np.float64(duration).tobytes(), events.times.tobytes(), b"/", events.channels.tobytes()))


def _recording(entry: dict[str, Any]) -> BoardRecording:
    events = Events(_floats(entry["input"]["times"]), _integers(entry["input"]["channels"]))
    spikes = Events(_floats(entry["spikes"]["times"]), _integers(entry["spikes"]["neurons"]))
    duration, n = float(entry["duration"]), int(entry["neurons"])
    dropped = entry["dropped"]
    return BoardRecording(events, spikes.times, spikes.channels, n, duration, dropped["inputs"], dropped["spikes"])


def _floats(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def _integers(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)
