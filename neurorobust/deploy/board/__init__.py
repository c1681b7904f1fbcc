"""Boards: a deployment and events in, spikes out.

No real board is attached; :class:`Board` is what a driver implements.
"""

from ...circuit import Events
from .circuit_engine import CircuitEngine
from .contract import Board, BoardError, Session, State
from .engine import Configured, Engine, Spikes
from .host import logits
from .network_engine import NetworkEngine
from .recording import BoardRecording
from .replay import Replay, save_recordings
from .virtual import VirtualChip

__all__ = [
    "Board",
    "BoardError",
    "BoardRecording",
    "CircuitEngine",
    "Configured",
    "Engine",
    "Events",
    "NetworkEngine",
    "Replay",
    "Session",
    "Spikes",
    "State",
    "VirtualChip",
    "logits",
    "save_recordings",
]
