"""Deployment: from a trained network to what a chip gets.

:func:`onto` maps a network onto a chip, checks every limit, and quantizes it. The result is a :class:`Deployment`. It
can be saved, loaded, compared, and run on the dies of :func:`neurorobust.evaluate`. :meth:`Deployment.image` is what a
board of DYNAP-SE is given; a :class:`VirtualChip` stands in for the board. No real board is attached to any of it.
"""

from .board import (
    Board,
    BoardError,
    BoardRecording,
    CircuitEngine,
    Engine,
    Events,
    NetworkEngine,
    Replay,
    Session,
    State,
    VirtualChip,
    logits,
    save_recordings,
)
from .deployment import Deployment
from .diff import Difference, diff
from .errors import DeploymentError
from .image import Image, load_image
from .judging import Crossing, EquationsEngine, GapRow, Judgement, judge
from .judging import causes as causes
from .mapping import onto
from .reading import load
from .report import Report

__all__ = [
    "Board",
    "BoardError",
    "BoardRecording",
    "CircuitEngine",
    "Crossing",
    "Deployment",
    "DeploymentError",
    "Difference",
    "Engine",
    "EquationsEngine",
    "Events",
    "GapRow",
    "Image",
    "Judgement",
    "NetworkEngine",
    "Replay",
    "Report",
    "Session",
    "State",
    "VirtualChip",
    "causes",
    "diff",
    "judge",
    "load",
    "load_image",
    "logits",
    "onto",
    "save_recordings",
]
