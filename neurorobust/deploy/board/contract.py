"""The contract of a board: what a driver implements, and the session that a user holds.

A driver is a class of one file: it subclasses :class:`Board` and has five methods. :class:`Session` keeps the states,
checks every argument before the driver sees it, and is the same for all boards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from enum import Enum
from types import TracebackType

import numpy as np

from ..._util.errors import check_number, plain
from ...chip.design import check_type
from ...circuit import Events
from ..deployment import Deployment, check_deployment
from ..image.asked import digest_of
from .recording import BoardRecording

ULPS = 8
"""An event that is nearer to the end of a run, in units of its last place, is at its end: 0.3 s of 0.1 s + 0.2 s."""


class State(Enum):
    """The states of a session.

    OPEN: connected, and nothing of ours is on the board. PROGRAMMED: a deployment is on it, and was read back.
    UNKNOWN: a call failed half-way, so what the board holds is not known; program it again, or close the session.
    CLOSED: not connected.

    Example:
        >>> import chipmodels
        >>> with nr.deploy.VirtualChip(chipmodels.load("dynapse2"), serial=17).open() as session:
        ...     inside = session.state
        >>> inside.name, session.state.name
        ('OPEN', 'CLOSED')
    """

    OPEN = "open"
    PROGRAMMED = "programmed"
    UNKNOWN = "unknown"
    CLOSED = "closed"


class BoardError(RuntimeError):
    """A board did not do what it was asked, or was asked in a state in which it cannot.

    Example:
        >>> import chipmodels
        >>> session = nr.deploy.VirtualChip(chipmodels.load("dynapse2"), serial=17).open()
        >>> try:
        ...     session.run(nr.deploy.Events([], []), duration=0.1)
        ... except nr.deploy.BoardError as error:
        ...     print(error)
        virtual dynapse2 17: nothing is programmed; call program(deployment) first.
    """


class Board(ABC):
    """One board. Users call :meth:`open`, and then the session; the other methods are those of the driver.

    A driver may raise anything; ``TimeoutError`` if the device does not answer in time. After an error in ``write`` or
    ``execute`` the session is in state UNKNOWN, whatever the device did.

    Attributes:
        name: of the board, for messages. chip: the name of the chip model that deployments have to be for.
        version: of that model.
    """

    name: str
    chip: str
    version: int
    _session: Session | None = None

    def open(self) -> Session:
        """Connect. One session at a time.

        Raises:
            BoardError: another session is open.
        """
        if self._session is not None and self._session.state is not State.CLOSED:
            raise BoardError(f"{self.name}: is busy: a session is open; close it first.")
        self.connect()
        self._session = Session(self)
        return self._session

    @abstractmethod
    def connect(self) -> None:
        """Open the device."""

    @abstractmethod
    def disconnect(self) -> None:
        """Close the device; allowed in every state."""

    @abstractmethod
    def write(self, deployment: Deployment) -> None:
        """Put a deployment on the chip."""

    @abstractmethod
    def read(self) -> str:
        """The digest of the deployment that the chip holds, from what is read off the chip where that is possible."""

    def check_program(self, deployment: Deployment) -> None:  # noqa: B027
        """Raise for a deployment that this board cannot hold, before anything is written: the state of the session does
        not change.

        By default a board can hold all that :meth:`Session.program` takes.
        """

    def check(self, samples: Sequence[Events], duration: float, watch: Sequence[int]) -> None:  # noqa: B027
        """Raise for a run that this board cannot do, before anything is sent: the state of the session does not change.

        By default a board can do all that :meth:`Session.run` takes.
        """

    @abstractmethod
    def execute(
        self, samples: Sequence[Events], duration: float, watch: Sequence[int], timeout: float
    ) -> list[BoardRecording]:
        """Run each sample for ``duration`` seconds, each from rest; a recording for each.

        Args:
            watch: neurons whose membranes are recorded, at most one per core. timeout: s, in all.
        """


class Session:
    """An open board: program it, run it, close it. A context manager; leaving it closes the board.

    ::

        OPEN ── program ──> PROGRAMMED ── run ──> PROGRAMMED
          any failure of program or run ──> UNKNOWN ── program ──> PROGRAMMED
          close, in every state ──> CLOSED

    Raises:
        TypeError: no board.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=17).open() as session:
        ...     session.program(deployment)
        ...     recording = session.run(nr.deploy.Events([0.01], [3]), duration=0.05)
        >>> recording.n, session.state
        (128, <State.CLOSED: 'closed'>)
    """

    def __init__(self, board: Board):
        check_type("board", board, Board, "a Board, such as nr.deploy.VirtualChip(chip, serial=0); call its open()")
        self._board = board
        self._state = State.OPEN
        self._deployment: Deployment | None = None

    @property
    def state(self) -> State:
        return self._state

    @property
    def deployment(self) -> Deployment:
        """The deployment that the board holds.

        Raises:
            BoardError: nothing, or it is not known.
        """
        self._check(State.PROGRAMMED)
        assert self._deployment is not None
        return self._deployment

    def program(self, deployment: Deployment) -> None:
        """Put a deployment on the board, read it back, and compare.

        Raises:
            ValueError: it is for another chip or version, breaks a limit, or this board cannot hold it; the state does
                not change.
            BoardError: what was read back differs; the state is UNKNOWN. Whatever the driver raises: likewise.
        """
        self._check(State.OPEN, State.PROGRAMMED, State.UNKNOWN)
        check_deployment(deployment)
        board = self._board
        if (deployment.chip.name, deployment.chip.version) != (board.chip, board.version):
            raise ValueError(
                f"deployment: is for {deployment.chip.name}, version {deployment.chip.version}; expected one for "
                f"{board.chip}, version {board.version}, the chip of {board.name}."
            )
        if broken := deployment.check():
            raise ValueError(f"deployment: {broken[0]}")
        board.check_program(deployment)
        self._state, self._deployment = State.UNKNOWN, None
        board.write(deployment)
        asked, found = digest_of(deployment), board.read()
        if found != asked:
            raise BoardError(
                f"{board.name}: was given the deployment {asked[:12]}…, and holds {found[:12] or 'nothing'}…; program "
                f"it again."
            )
        self._state, self._deployment = State.PROGRAMMED, deployment

    def read_back(self) -> str:
        """The SHA-256 of the deployment that the board holds, as it says itself. Where it is another one than was
        programmed, or the driver raises, the state is UNKNOWN."""
        asked = digest_of(self.deployment)
        self._state = State.UNKNOWN
        found = self._board.read()
        if found == asked:
            self._state = State.PROGRAMMED
        return found

    def run(
        self, events: Events, duration: float, *, watch: Sequence[int] = (), timeout: float = 60.0
    ) -> BoardRecording:
        """Send events and record spikes for ``duration`` seconds, from rest.

        Args:
            events: in order of time, all before the duration. duration: s, > 0.
            watch: neurons whose membranes are recorded: at most one per core, as the chip has one output for each.
            timeout: s; where the board takes longer, the state is UNKNOWN.

        Raises:
            ValueError, TypeError: an argument is wrong; the state does not change.
            BoardError: the board holds nothing, or it is not known what. Whatever the driver raises: state UNKNOWN.
        """
        return self.run_many([events], duration, watch=watch, timeout=timeout)[0]

    def run_many(
        self, samples: Sequence[Events], duration: float, *, watch: Sequence[int] = (), timeout: float = 3600.0
    ) -> list[BoardRecording]:
        """Several runs of one duration, each from rest; see :meth:`run`. ``timeout`` is for all together."""
        deployment = self.deployment
        if not isinstance(samples, Iterable):
            raise TypeError(f"samples: got one {type(samples).__name__}; expected a list of nr.deploy.Events.")
        samples = list(samples)
        duration = check_number("duration", duration, strict=True)
        timeout = check_number("timeout", timeout, strict=True)
        channels = deployment.native.n_in
        for i, events in enumerate(samples):
            _check_events(f"samples[{i}]" if len(samples) > 1 else "events", events, channels, duration)
        watch = _watched(watch, deployment)
        if not samples:
            return []
        self._board.check(samples, duration, watch)
        self._state = State.UNKNOWN
        recordings = self._board.execute(samples, duration, watch, timeout)
        if not isinstance(recordings, Sequence) or len(recordings) != len(samples):
            got = len(recordings) if isinstance(recordings, Sequence) else f"a {type(recordings).__name__} as"
            raise BoardError(f"{self._board.name}: got {got} recordings of {len(samples)} samples; mend its driver.")
        self._state = State.PROGRAMMED
        return recordings

    def close(self) -> None:
        """Disconnect; closing twice does nothing."""
        if self._state is not State.CLOSED:
            self._state, self._deployment = State.CLOSED, None
            self._board.disconnect()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self._board.name}, {self._state.value})"

    def _check(self, *allowed: State) -> None:
        if self._state in allowed:
            return
        ways = {
            State.CLOSED: "the session is closed; open the board again",
            State.OPEN: "nothing is programmed; call program(deployment) first",
            State.UNKNOWN: "a call failed, so what it holds is not known; program it again, or close the session",
        }
        raise BoardError(f"{self._board.name}: {ways[self._state]}.")


def _check_events(name: str, events: object, channels: int, duration: float) -> None:
    if not isinstance(events, Events):
        raise TypeError(f"{name}: got a {type(events).__name__}; expected nr.deploy.Events(times, channels).")
    if len(events.channels) and events.channels.max() >= channels:
        raise ValueError(f"{name}: has channel {events.channels.max()}; the network has {channels}, from 0.")
    if len(events.times) and events.times[-1] >= duration - ULPS * np.spacing(duration):
        raise ValueError(f"{name}: the last is at {float(events.times[-1])!r} s; expected all before {duration!r} s.")


def _watched(watch: Sequence[int], deployment: Deployment) -> tuple[int, ...]:
    """The watched neurons, checked: at most one of a core."""
    if not isinstance(watch, Iterable):
        raise TypeError(f"watch: got {watch!r}; expected a list of numbers of neurons, such as [{watch!r}].")
    watch = tuple(plain(neuron) for neuron in watch)
    cores = [core for places in deployment.cores.values() for core in places.tolist()]
    for neuron in watch:
        if isinstance(neuron, bool) or not isinstance(neuron, int) or not 0 <= neuron < len(cores):
            raise ValueError(f"watch: got {neuron!r}; expected numbers of neurons, 0 to {len(cores) - 1}.")
    taken = [cores[neuron] for neuron in watch]
    for core in taken:
        if taken.count(core) > 1:
            raise ValueError(f"watch: got two neurons of core {core}; a core shows the membrane of one.")
    return watch
