"""Deployment: from a trained network to what a chip gets.

:func:`onto` maps a network onto a chip, checks every limit, and quantizes it. The result is a :class:`Deployment`. It
can be saved, loaded, compared, and run on the dies of :func:`neurorobust.evaluate`. Before that, :func:`adapt` gives a
network the equations of a chip, and :func:`fit_to` prunes it to the inputs that a neuron of the chip has.
:meth:`Deployment.image` is what a board of DYNAP-SE is given; a :class:`VirtualChip` stands in for the board. No real
board is attached to any of it.

Example:
    >>> import chipmodels
    >>> network, _ = nr.zoo.load("ecg_dpi/standard")
    >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
    >>> str(deployment.report).splitlines()[0].startswith("128 neurons for dynapse2")
    True
"""

from .adapting import adapt
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
from .calibration import CalibratedHost, measure, refit, trim
from .deployment import Deployment
from .diff import Difference, diff
from .errors import DeploymentError
from .estimating import Estimate, estimate
from .image import Image, load_image
from .image.asked import digest_of
from .judging import Crossing, EquationsEngine, GapRow, Judgement, VirtualBoards, judge
from .judging import causes as causes
from .mapping import onto
from .neurons import ChosenNeurons, choose_neurons
from .pruning import fit_to
from .reading import load
from .report import Report
from .retrained import Retrained
from .translating import translated

__all__ = [
    "Board",
    "BoardError",
    "BoardRecording",
    "CalibratedHost",
    "ChosenNeurons",
    "CircuitEngine",
    "Crossing",
    "Deployment",
    "DeploymentError",
    "Difference",
    "Engine",
    "EquationsEngine",
    "Estimate",
    "Events",
    "GapRow",
    "Image",
    "Judgement",
    "NetworkEngine",
    "Replay",
    "Report",
    "Retrained",
    "Session",
    "State",
    "VirtualBoards",
    "VirtualChip",
    "adapt",
    "causes",
    "choose_neurons",
    "diff",
    "digest_of",
    "estimate",
    "fit_to",
    "judge",
    "load",
    "load_image",
    "logits",
    "measure",
    "onto",
    "refit",
    "save_recordings",
    "translated",
    "trim",
]
