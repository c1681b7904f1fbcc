"""Training: Adam, one selection rule for every method, atomic checkpoints, resume."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._util import digests, files
from .._util.console import progress
from .._util.copies import copied
from .._util.errors import check_count, shown
from .._util.printed import Printed
from .._util.randomness import generator as keyed_generator
from ..attacks import QUICK, Ball, quick
from ..core.params import Params
from ..core.placement import placement_of
from ..core.run import differentiating, evaluating, forward, nominal
from ..data import Task
from ..data.samples import Samples
from ..evaluation.predict import look_with, predict
from ..evaluation.statistics import check_outputs, one_class
from ..evaluation.worst_case import find_worst_case
from ..regularizers import Regularizer, as_regularizer
from ..regularizers.regularizer import Criterion
from .checks import check_inputs, check_smallest_batch, check_trainable
from .descent import Descent, Schedule
from .parallel import Parallel, agreed
from .same_run import OneRun, check_same

SELECTION = f"mean of clean balanced accuracy and that under {QUICK} (0.05, every kind), on the validation part"


@dataclass
class History(Printed):
    """The history of a training: one row per epoch, the best epoch, and the training time.

    ``one_class`` is a class if the kept network predicts it for the whole validation part: then it learned nothing, or
    its neurons are silent.

    Example:
        >>> data = nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> task = nr.data.Task("mine", ("a", "b"), data, data, data, nn.functional.cross_entropy)
        >>> history = nr.fit(nr.wrap(nn.Linear(2, 2)), task, task.loss, epochs=2)
        >>> sorted(history.rows[0]), history.epochs_planned
        (['attacked', 'clean', 'epoch', 'loss', 'score', 'seconds'], 2)
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_score: float = -math.inf
    epochs_planned: int = 0
    one_class: int | None = None

    def __repr__(self) -> str:
        guess = "" if self.one_class is None else f"; class {self.one_class} is predicted for every sample"
        kept = f"kept epoch {self.best_epoch}, score {self.best_score:.3f}" if self.judged else "no epoch judged"
        return f"History({len(self.rows)} of {self.epochs_planned} epochs, {self.seconds:.0f} s: {kept}{guess})"

    @property
    def judged(self) -> bool:
        """True if an epoch was judged on the validation part; before, ``best_epoch`` is −1 and ``best_score`` −∞."""
        return self.best_epoch >= 0

    @property
    def seconds(self) -> float:
        """Training time, over all interrupted runs; evaluations on the validation part included."""
        return sum(row["seconds"] for row in self.rows)

    @property
    def out_of_time(self) -> bool:
        """True if the time budget ended training before the last planned epoch."""
        return len(self.rows) < self.epochs_planned

    def to_csv(self) -> str:
        """The rows as a table with a header."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()


def selection_score(network: nn.Module, data: Samples, seed: int) -> tuple[float, float]:
    """Scores, clean and under the quick suite (0.05, every kind). Their mean is the selection rule of every method."""
    found = find_worst_case(network, data, Ball.uniform(0.05), quick(regression=data.regression), seed=seed)
    return found.nominal, found.score


@differentiating()
def fit(
    network: nn.Module,
    task: Task,
    loss: Criterion | Regularizer,
    *,
    epochs: int,
    seed: int = 0,
    out: str | Path | None = None,
    schedule: Schedule = Schedule(),
) -> History:
    """Train a network in place and keep the parameters of the epoch with the best validation score.

    The score is the mean of clean balanced accuracy and that under :func:`neurorobust.attacks.quick` (0.05, every
    kind), for every method: clean selection would discard the robust epochs. Every random number is keyed by (seed,
    epoch), and the state of the loss starts new here and is kept in the checkpoint. So an interrupted and resumed run
    equals an uninterrupted one, bit for bit.

    A positive kind is trained in its logarithm: it stays positive, and steps are relative. The mode of the network does
    not change: call ``network.train()`` first to use its dropout or batch norm. A synapse that the placement does not
    have (``placement_of(network).masks``) stays absent.

    A run in ``out`` is resumed only if everything that acts is the same: the loss with all its values and code, the
    network with its options, modes and tensors, the samples, the schedule, and torch's settings.

    Args:
        network: parameters with ``requires_grad`` are trained.
        task: its training and validation parts are used, never its test part. What does not fit into memory is read
            again in every epoch (:meth:`neurorobust.data.Data.of`), in batches of the schedule, in an order that the
            seed gives; an iterable, which has one order, is shuffled inside blocks of 1000 samples. Samples of
            different lengths are in different batches.
        loss: loss(logits, y) or a regularizer.
        epochs: passes over the training part.
        seed: of the batches and of the random numbers of the loss.
        out: folder for ``checkpoint.pt`` and ``log.csv``; a run found there is resumed, if it is the same run. One run
            uses it at a time.
        schedule: learning rate, batches, selection.

    Raises:
        ValueError: a run with other settings is in ``out``, or a damaged checkpoint; a one-class part; a loss that
            became NaN, is not one number, or does not depend on the parameters; a batch too small for the network.
            OSError: another run uses ``out``, or it is not writable.

    Example:
        >>> from torch.nn.functional import cross_entropy
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> task = nr.data.Task("mine", ("a", "b"), data, data, data, cross_entropy)
        >>> loss = nr.regularizers.ForwardNoise(cross_entropy, level=0.1)
        >>> history = nr.fit(nr.wrap(nn.Linear(6, 2)), task, loss, epochs=2, seed=0)
        >>> len(history.rows)
        2
    """
    epochs = check_count("epochs", epochs)
    seed = check_count("seed", seed, 0)
    if not isinstance(task, Task):
        raise TypeError(f"task: got a {type(task).__name__}; expected a Task, which has training and validation parts.")
    task.train.check_classes("training part")
    task.validation.check_classes("validation part")
    loss = as_regularizer(loss)
    check_trainable(network)
    loss.restore({})
    run = None if out is None else OneRun.of(network, task, loss)
    look_with(network, task.train)
    for part in (task.train, task.validation):
        with torch.no_grad(), evaluating(network):
            outputs = forward(network, nominal(network), part.few(schedule.batch_size))[0]
        check_outputs(outputs, part.y)
    check_smallest_batch(network, task.train, schedule.batch_size)
    check_inputs(network, task.train, loss)
    history = History(epochs_planned=epochs)
    settings = {"epochs": epochs, "seed": seed, "task": task.name, "selection": SELECTION} | {
        key: value for key, value in asdict(schedule).items() if key != "max_seconds"
    }
    if task.fingerprint:  # the samples themselves are in OneRun
        settings["data"] = task.fingerprint
    nominal(network)  # raises unless every parameter has a kind
    best, descent = _state(network), Descent(network, epochs, schedule)
    with _checkpoint(out, network) as path:
        if path is not None and run is not None and path.exists():
            history, best = agreed(network, partial(_resume, path, (settings, run), network, loss, descent))
            history.epochs_planned = epochs
            files.write_text(path.with_name("log.csv"), history.to_csv())
        out_of_time = history.seconds >= schedule.max_seconds
        with progress("training", epochs, len(history.rows)) as tick:
            while len(history.rows) < epochs and not out_of_time:
                epoch = len(history.rows)
                started = time.perf_counter()
                descent.start(epoch)
                with torch.random.fork_rng(devices=[]):  # for modules that draw from torch's global generator
                    torch.default_generator.set_state(keyed_generator(seed, "module", epoch).get_state())
                    value = _epoch(network, task.train, loss, descent, (seed, epoch))
                row = {"epoch": epoch, "loss": value, "clean": math.nan, "attacked": math.nan, "score": math.nan}
                out_of_time = history.seconds + time.perf_counter() - started >= schedule.max_seconds
                if (epoch + 1) % schedule.select_every == 0 or epoch + 1 == epochs or out_of_time:
                    row["clean"], row["attacked"] = selection_score(network, task.validation, seed)
                    row["score"] = (row["clean"] + row["attacked"]) / 2
                    if row["score"] >= history.best_score:
                        history.best_epoch, history.best_score, best = epoch, row["score"], _state(network)
                row["seconds"] = time.perf_counter() - started
                history.rows.append(row)
                if path is not None and run is not None:
                    states = {"best": best, "now": _state(network), "loss": loss.state()}
                    _save(path, settings | run.stored(network, loss), history, states, descent)
                    files.write_text(path.with_name("log.csv"), history.to_csv())
                best_so_far = f", best validation score {history.best_score:.3f}" if history.judged else ""
                tick(f"training (loss {value:.3f}{best_so_far})")
    _restore(network, best)
    with evaluating(network):
        history.one_class = one_class(predict(network, nominal(network), task.validation), task.validation.y)
    return history


@contextmanager
def _checkpoint(out: str | Path | None, network: nn.Module) -> Iterator[Path | None]:
    """The path of the checkpoint in a folder that no other run uses meanwhile; None without a folder. The processes of
    one parallel run share the folder: rank 0 locks it, and all ranks learn if it cannot."""
    if out is None:
        yield None
        return
    with ExitStack() as held:
        yield agreed(network, partial(_taken, Path(out), network, held)) / "checkpoint.pt"


def _taken(out: Path, network: nn.Module, held: ExitStack) -> Path:
    folder = files.make_folder(out)
    if not isinstance(network, Parallel) or network.fabric.global_rank == 0:
        held.enter_context(files.locked(folder, ".fit.lock"))
    return folder


def _state(network: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter and every buffer."""
    return {name: value.detach().clone() for name, value in [*network.named_parameters(), *network.named_buffers()]}


@torch.no_grad()
def _restore(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if not torch.equal(value, state[name]):  # a constant may be one number in memory, which nothing can write into
            value.copy_(state[name])


@differentiating()
def estimate(
    network: nn.Module, task: Task, loss: Criterion | Regularizer, *, epochs: int, schedule: Schedule = Schedule()
) -> float:
    """Estimated seconds of :func:`fit` at the present load of this machine, from one step and one evaluation; each runs
    twice, and the second run is timed. Neither the network nor the state of the loss changes.

    Raises:
        ValueError: as for :func:`fit`.

    Example:
        >>> data = nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> task = nr.data.Task("mine", ("a", "b"), data, data, data, nn.functional.cross_entropy)
        >>> seconds = nr.train.estimate(nr.wrap(nn.Linear(2, 2)), task, task.loss, epochs=40)
        >>> 0 < seconds < 600
        True
    """
    epochs = check_count("epochs", epochs)
    loss, twin = as_regularizer(loss), copied(network, "network")
    carried = loss.state()
    sample = _few(task.validation, schedule.batch_size)
    descend = trial_step(twin, _few(task.train, schedule.batch_size), loss)
    step = score = 0.0
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            started = time.perf_counter()
            descend()
            step = time.perf_counter() - started
            score = time.perf_counter()
            selection_score(twin, sample, 0)
            score = time.perf_counter() - score
    loss.restore(carried)
    evaluations = math.ceil(epochs / schedule.select_every) * len(task.validation) / len(sample)
    return epochs * math.ceil(len(task.train) / schedule.batch_size) * step + evaluations * score


def _few(data: Samples, n: int) -> Samples:
    """n samples of all classes, also of a part that is ordered by class."""
    least = 2 if data.regression else len(data.y.unique())
    return data.sample(min(len(data), max(n, least)))


def trial_step(network: nn.Module, batch: Samples, loss: Regularizer) -> Callable[[], None]:
    """A function for timing: loss and gradient of a batch. It sets the gradients of the network, so pass a copy."""
    params: Params = dict(network.named_parameters())
    samples = next(iter(batch.batches(torch.arange(len(batch)), len(batch), 0)))

    def step() -> None:
        network.zero_grad(set_to_none=True)
        loss(network, params, samples, keyed_generator(0, "trial step")).backward()

    return step


def _epoch(network: nn.Module, data: Samples, loss: Regularizer, descent: Descent, key: tuple[int, int]) -> float:
    """One pass over the data; returns the mean loss."""
    generator = keyed_generator(key[0], "epoch", key[1])
    order = torch.randperm(len(data), generator=generator)
    total = 0.0
    for x, y in data.batches(order, descent.schedule.batch_size, generator.initial_seed()):
        total += descent.step(loss(network, descent.params(), (x, y), generator)) * len(y)
    return total / len(data)


def _save(
    path: Path,
    settings: dict,
    history: History,
    states: dict[str, dict[str, Tensor]],
    descent: Descent,
) -> None:
    state = {
        "settings": settings,
        "history": {"rows": history.rows, "best_epoch": history.best_epoch, "best_score": history.best_score},
        "states": states,
        "leaves": {name: leaf.detach().clone() for name, leaf in descent.leaves.items()},
        "optimizer": descent.optimizer.state_dict(),
    }
    with files.replacing(path) as temporary:
        with files.written_by(RuntimeError, path), temporary.open("wb") as file:
            torch.save(state, file)  # not to the path: torch would write its random name into the file
        digests.append(temporary)


def _resume(
    path: Path,
    expected: tuple[dict, OneRun],
    network: nn.Module,
    loss: Regularizer,
    descent: Descent,
) -> tuple[History, dict[str, Tensor]]:
    settings, run = expected
    digests.check_appended(path, "remove it or choose another folder.")
    try:
        state = torch.load(path, weights_only=True)
        rows, found = state["history"], state["settings"]
    except Exception as error:
        raise ValueError(
            f"out: {path} is not a checkpoint of fit ({type(error).__name__}); remove it or choose another folder."
        ) from error
    try:
        check_same(path, found, settings, run, finished=len(rows["rows"]) >= settings["epochs"])
        best = state["states"]["best"]
        for part in (best, state["states"]["now"]):
            _check_state(network, part)
        history = _history(rows)
        descent.optimizer.load_state_dict(state["optimizer"])
        _restore(network, state["states"]["now"])
        loss.restore(state["states"].get("loss", {}))
        with torch.no_grad():
            for name, leaf in descent.leaves.items():
                leaf.copy_(state["leaves"][name])
        return history, best
    except (KeyError, TypeError, AttributeError, IndexError, RuntimeError, ValueError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(
            f"out: {path} does not fit this run ({shown(error)}); remove it or choose another folder."
        ) from error


def _history(kept: Mapping[str, Any]) -> History:
    """The history of a checkpoint. Raises KeyError, TypeError or ValueError for another content."""
    history = History(**kept)
    history.to_csv()
    for number in (history.seconds, history.best_score, *(row["epoch"] for row in history.rows)):
        if not isinstance(number, (int, float)):
            raise TypeError(f"history: got {shown(number)}; expected numbers")
    return history


def _check_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise KeyError or TypeError unless a state has every tensor of a network, in its shape and type, and the cores of
    its neurons, which training does not change."""
    cores = {id(core) for core in placement_of(network).cores.values()}
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        found = state[name]
        if found.shape != value.shape or found.dtype != value.dtype:
            raise TypeError(f"{name} is {found.dtype} {tuple(found.shape)}, not {value.dtype} {tuple(value.shape)}")
        if id(value) in cores and not torch.equal(found, value):
            raise TypeError(f"{name}: neurons lie on other cores")
