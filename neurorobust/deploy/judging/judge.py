"""A deployment on many virtual boards, and where the gap to training comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ..._util import digests
from ..._util.console import progress
from ..._util.errors import check_count, flatten_hint
from ...circuit import Events
from ...data.hashed import data_sha256
from ...data.samples import Data, in_memory
from ...evaluation.predict import nominal_score
from ...evaluation.spread import Found, Resumable, check_executor, spread
from ...evaluation.statistics import ConfidenceInterval, score
from ...nn.network import Network
from ..board import Engine, NetworkEngine, VirtualChip, logits
from ..deployment import Deployment, check_deployment
from ..structure import structure_of
from .causes import CAUSES, Cause
from .equations_engine import EquationsEngine
from .judgement import GapRow, Judgement, paired

TRAINING = NetworkEngine()
FOREVER = 1e9
"""Seconds."""


@dataclass(frozen=True)
class VirtualBoards:
    """How the boards of :func:`judge` compute, and whose dies they have.

    Attributes:
        engine: of every board: the training equations, or ``CircuitEngine()``.
        seed: of the dies.

    Example:
        >>> nr.deploy.VirtualBoards(engine=nr.deploy.CircuitEngine()).seed
        1
    """

    engine: Engine = TRAINING
    seed: int = 1


def judge(
    deployment: Deployment,
    data: Data,
    serials: Iterable[int] = range(200),
    *,
    boards: VirtualBoards = VirtualBoards(),
    trained: nn.Module | None = None,
    causes: Sequence[Cause] = CAUSES,
    executor: Executor | Resumable | None = None,
) -> Judgement:
    """Run data on virtual boards, score every board, and say where the gap between training and circuit comes from.

    The rows of the gap, each on the same boards and samples:

    =============== ==================================================================================================
    training        the trained network, exact
    programmed      after quantization, on an ideal die
    die             the boards with the training equations: the scores of :func:`neurorobust.evaluate`
    the causes      one after the other: each with all before it, and alone
    =============== ==================================================================================================

    Alone, a cause is put into the training equations without the others. Two cannot be: ``delay`` needs small steps, so
    it is compared with them; and ``circuit`` has all of the others in it, so its "alone" is the whole gap.

    Args:
        deployment: its boards are those of its chip model. data: inputs are counts of events.
        serials: numbers of the boards.
        boards: the engine and the seed of the boards whose scores are the result.
        trained: the network that was deployed, for the row "training".
        causes: in order; ``()`` for scores alone, which is quick. ``functools.partial(nr.deploy.causes.synapse,
            tau_syn=5e-3)`` is a cause, too. Without a circuit: ``nr.deploy.causes.CAUSES[:-1]``.
        executor: as for :func:`neurorobust.evaluate`. A piece is one board with one engine.

    Raises:
        TypeError, ValueError: an argument is wrong; nothing has been run then.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/adversarial")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> beats = nr.tasks.ecg().test.balanced(10)
        >>> nr.deploy.judge(deployment, beats, serials=range(3), causes=()).score.round(2).tolist()
        [1.0, 1.0, 1.0]
    """
    check_deployment(deployment)
    check_executor(executor)
    data = _checked_data(data, deployment)
    numbers = _checked_serials(serials)
    if not isinstance(boards, VirtualBoards):
        raise TypeError(f"boards: got {boards!r}; expected nr.deploy.VirtualBoards(engine=…, seed=1).")
    engine, seed = boards.engine, boards.seed
    if engine is None:
        raise TypeError("engine: got None; expected an Engine, such as nr.deploy.CircuitEngine().")
    for number in numbers:
        VirtualChip(deployment.chip, number, seed=seed, engine=engine)
    if trained is not None:
        _check_trained(trained, deployment)
    stages = _stages(deployment, causes)
    first = _nominal_rows(deployment, data, trained) if stages else []
    wanted = [engine] + ([TRAINING] if stages else []) + [each for stage in stages for each in stage.engines()]
    distinct = [each for k, each in enumerate(wanted) if each not in wanted[:k]]
    with progress(f"boards of {deployment.chip.label}", len(numbers) * len(distinct)) as tick:
        scores = _scores(_Boards(deployment, data, distinct, seed), numbers, executor, tick)
    rows = (
        [*first, *_board_rows(stages, scores, first[-1], partial(paired, regression=data.regression))] if stages else []
    )
    return Judgement(
        chip=deployment.chip.label,
        engine=str(engine),
        seed=seed,
        serials=numbers,
        samples=len(data),
        score=scores(engine),
        gap=tuple(rows),
        regression=data.regression,
        model=deployment.chip,
        data_sha256=data_sha256(data),
    )


@dataclass(frozen=True)
class _Stage:
    """A cause, the engines that it takes, and those to compare them with; words where there is none."""

    name: str
    what: str
    before: Engine
    ordered: Engine | str
    base: Engine
    alone: Engine | str

    def engines(self) -> list[Engine]:
        pairs = ((self.before, self.ordered), (self.base, self.alone))
        return [each for before, after in pairs if isinstance(after, Engine) for each in (before, after)]


def _stages(deployment: Deployment, causes: Sequence[Cause]) -> list[_Stage]:
    if not isinstance(causes, Iterable):
        raise TypeError(f"causes: got {causes!r}; expected a list of functions, such as nr.deploy.causes.CAUSES.")
    found = []
    so_far: Engine = EquationsEngine()
    for cause in causes:
        ordered = _asked(cause, deployment, so_far)
        base = _switched_on(deployment, getattr(_function(cause), "needs", ()))
        alone = base if isinstance(base, str) else _asked(cause, deployment, base)
        before, under = (_run_as(each) for each in (so_far, EquationsEngine() if isinstance(base, str) else base))
        found.append(_Stage(*_told(cause), before, ordered, under, alone))
        so_far = so_far if isinstance(ordered, str) else ordered
    return found


def _asked(cause: Cause, deployment: Deployment, engine: Engine) -> Engine | str:
    if not callable(cause):
        raise TypeError(f"causes: got {cause!r}; expected functions, such as nr.deploy.causes.floor.")
    found = cause(deployment, engine)
    if not isinstance(found, (Engine, str)):
        raise TypeError(
            f"causes: {_told(cause)[0]} returned a {type(found).__name__}; expected an Engine, or words for the row."
        )
    return found


def _switched_on(deployment: Deployment, causes: Sequence[Cause]) -> Engine | str:
    """The training equations with these causes."""
    engine: Engine | str = EquationsEngine()
    for cause in causes:
        engine = engine if isinstance(engine, str) else _asked(cause, deployment, engine)
    return engine


def _run_as(engine: Engine) -> Engine:
    """The engine that computes it: training equations without a change are those of the network."""
    return TRAINING if engine == EquationsEngine() else engine


def _function(cause: Cause) -> Any:
    return cause.func if isinstance(cause, partial) else cause


def _told(cause: Cause) -> tuple[str, str]:
    """Its name and what it does."""
    function = _function(cause)
    name = getattr(function, "__name__", type(function).__name__).replace("_", " ")
    return name, (function.__doc__ or "").strip().partition("\n")[0]


Scores = Callable[[Engine], np.ndarray]
"""The scores of all boards with an engine."""


@dataclass(frozen=True, eq=False)
class _Boards:
    """The boards of a judgement, with several engines."""

    deployment: Deployment
    data: Data
    engines: Sequence[Engine]
    seed: int

    @cached_property
    def events(self) -> list[Events]:
        return [Events.of_steps(sample, self.deployment.native.dt) for sample in self.data.x]

    @property
    def duration(self) -> float:
        return self.data.x.shape[1] * self.deployment.native.dt


def _board_score(boards: _Boards, piece: tuple[int, int]) -> Found:
    """The score of one board: the number of its engine, its serial."""
    engine, serial = piece
    board = VirtualChip(boards.deployment.chip, serial, seed=boards.seed, engine=boards.engines[engine])
    with board.open() as session:
        session.program(boards.deployment)
        recordings = session.run_many(boards.events, boards.duration, timeout=FOREVER)
    found = score(logits(boards.deployment, recordings), boards.data.y)
    return {"score": torch.tensor(found, dtype=torch.float64)}


def _scores(
    boards: _Boards, serials: Sequence[int], executor: Executor | Resumable | None, tick: Callable[..., None]
) -> Scores:
    pieces = [(engine, serial) for engine in range(len(boards.engines)) for serial in serials]
    found = [float(each["score"]) for each in spread(executor, _board_score, pieces, boards, lambda _: tick())]
    table = np.array(found).reshape(len(boards.engines), len(serials))
    return lambda engine: table[next(k for k, each in enumerate(boards.engines) if each == engine)]


def _nominal_rows(deployment: Deployment, data: Data, trained: nn.Module | None) -> list[GapRow]:
    """The rows without a board."""
    what = "The trained network, exact."
    if trained is None:
        first = GapRow("training", what, why="pass trained=network")
    else:
        first = GapRow("training", what, nominal_score(trained, data))
    mean = nominal_score(deployment.native, data)
    change = None if first.mean is None else ConfidenceInterval(mean - first.mean, float("nan"), float("nan"))
    return [first, GapRow("programmed", "After quantization, on an ideal die.", mean, change=change)]


def _board_rows(
    stages: Sequence[_Stage],
    boards: Scores,
    programmed: GapRow,
    change_of: Callable[[np.ndarray, np.ndarray], ConfidenceInterval],
) -> Iterator[GapRow]:
    assert programmed.mean is not None
    die = boards(TRAINING)
    change = change_of(np.full_like(die, programmed.mean), die)
    yield GapRow("die", "The boards, with the training equations.", float(die.mean()), die, change)
    for stage in stages:
        row = GapRow(stage.name, stage.what)
        if isinstance(stage.ordered, Engine):
            scores = boards(stage.ordered)
            change = change_of(boards(stage.before), scores)
            row = replace(row, mean=float(scores.mean()), score=scores, change=change)
        else:
            row = replace(row, why=stage.ordered)
        if isinstance(stage.alone, Engine):
            row = replace(row, alone=change_of(boards(stage.base), boards(stage.alone)))
        elif not row.why:
            row = replace(row, why=f"alone: {stage.alone}")
        yield row


def _checked_data(given: Any, deployment: Deployment) -> Data:
    data = in_memory(given)
    data.check_classes("data")
    n_in = deployment.native.n_in
    if data.x.ndim != 3 or data.x.shape[-1] != n_in:
        raise ValueError(
            f"data: x has shape {tuple(data.x.shape)}; expected (samples, steps, {n_in}): counts of events."
            + flatten_hint(data.x.shape, n_in, 2)
        )
    return data


def _checked_serials(serials: Iterable[int]) -> tuple[int, ...]:
    if isinstance(serials, (int, str)) or not isinstance(serials, Iterable):
        raise TypeError(f"serials: got {serials!r}; expected several, such as range(200).")
    numbers = tuple(check_count("serials", each, 0) for each in serials)
    if not numbers:
        raise ValueError("serials: got none; expected several, such as range(200).")
    if len(set(numbers)) < len(numbers):
        raise ValueError(
            f"serials: got {len(numbers)}, {len(set(numbers))} of them different; expected different ones."
        )
    return numbers


def _check_trained(trained: nn.Module, deployment: Deployment) -> None:
    if not isinstance(trained, Network):
        raise TypeError(
            f"trained: got a {type(trained).__name__}; expected the Network that was deployed; for a network of "
            f"snnTorch it is nr.deploy.translated(model)."
        )
    if digests.of_tensors(dict(trained.state_dict()), structure_of(trained)) != deployment.source:
        raise ValueError(
            f"trained: is another network than the one that was deployed, whose digest is {deployment.source[:12]}…; "
            f"pass that one, as it was before nr.deploy.onto."
        )
