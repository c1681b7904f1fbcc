"""The first look at an snnTorch network: which input its module takes, found by trying."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn, cast

import torch
from torch import Tensor, nn

from .._util.warn import warn
from .decode import Output
from .snntorch_states import needed, others, takes_more
from .unrolled import Record, Steps
from .words import Refused

Prepare = Callable[[Tensor], Any]
"""From samples to the input of a module, or to a tuple of all its arguments."""


def time_first(x: Tensor) -> Tensor:
    """(B, T, …) → (T, B, …), the order of snnTorch."""
    return x.transpose(0, 1)


def as_it_is(x: Tensor) -> Tensor:
    """Samples first, as they come."""
    return x


def flat(x: Tensor) -> Tensor:
    """(B, …) → (B, n): each picture as one row of numbers."""
    return x.flatten(1)


def flat_time_first(x: Tensor) -> Tensor:
    """(B, T, …) → (T, B, n)."""
    return x.transpose(0, 1).flatten(2)


class Preparation(NamedTuple):
    """One way to give samples (B, T, …) to a module.

    Attributes:
        prepare: from the samples to the input of the module. steps: how the module is called. text: how a user writes
            the preparation.
    """

    prepare: Prepare
    steps: Steps = Steps()
    text: str = ""

    @property
    def told(self) -> str:
        """The name of this way in a message."""
        return f"prepare={self.text}" + (", one call per step" if self.steps.by_step else "")


class Trial(NamedTuple):
    """What a network did with a preparation: its output and the record of its neurons, or an error.

    Attributes:
        misfit: why this is no run over time of all samples; empty if it is one. single: every neuron ran once.
    """

    way: Preparation
    output: Output | None
    record: Record | None
    error: Exception | None
    misfit: str
    single: bool = False


class Found(NamedTuple):
    """The way in which a network takes samples, its output and the record of its neurons on the sample."""

    way: Preparation
    output: Output
    record: Record


Run = Callable[[Preparation, Tensor], tuple[Output, Record]]


def time_first_and_steps(x: Tensor) -> tuple[Tensor, int]:
    """(B, T, …) → (T, B, …) and T."""
    return x.transpose(0, 1), x.shape[1]


BY_STEP = Steps(by_step=True)
TIME_FIRST = Preparation(time_first, text="lambda x: x.transpose(0, 1)")
WAYS = (TIME_FIRST, Preparation(as_it_is, text="lambda x: x"), TIME_FIRST._replace(steps=BY_STEP))
_FLAT_TIME_FIRST = Preparation(flat_time_first, text="lambda x: x.transpose(0, 1).flatten(2)")
FLAT_WAYS = (
    _FLAT_TIME_FIRST,
    Preparation(flat, text="lambda x: x.flatten(1)"),
    _FLAT_TIME_FIRST._replace(steps=BY_STEP),
)
COUNTED = Preparation(time_first_and_steps, text="lambda x: (x.transpose(0, 1), x.shape[1])")
IN_TIME = (time_first, flat_time_first, time_first_and_steps)
REPEATED = Preparation(lambda x: x.expand(25, *x.shape), text="lambda x: x.expand(25, *x.shape)")
_OWN = "Give each layer a neuron of its own"
ADVICE = (
    "If the module takes samples first, or a picture that it repeats, pass prepare=lambda x: x; if each of 25 steps "
    "gets the same picture, prepare=lambda x: x.expand(25, *x.shape); if one call computes one step, put the module "
    "into an nn.Sequential; a module of a fixed batch size needs a sample of that many."
)


def find(run: Run, net: nn.Module, given: Prepare | None, row: bool, x: Tensor) -> Found:
    """The way in which a network takes samples (B, T, …), and its run: each neuron takes one step after the other, on
    all samples.

    Args:
        run: the network on samples prepared in some way; leaves nothing behind.
        net: the module. given: the user's ``prepare``, or None. row: it is a row of layers, called for every step.
        x: samples, batch first.

    Raises:
        ValueError: the network cannot run on the samples, two ways give different outputs, or a neuron serves several
            layers; says what the network was given.

    Warns:
        UserWarning: the way that was found, unless it is time first or the user's.
    """
    if given is not None:
        return _found(_given(run, net, given, row, x))
    trials: list[Trial] = []
    for ways in (WAYS, FLAT_WAYS, (COUNTED,)):
        tried = _tried(run, _ways(run, ways, net, row, x), net, x)
        fits = [trial for trial in tried if not (trial.misfit or trial.single or _loses(run, net, trial, x))]
        if len(fits) > 1:
            fits = [trial for trial in fits if not _restarts(run, trial, x)] or fits
        if fits:
            _check_same(net, fits)
            if fits[0].way is not TIME_FIRST:
                warn(_taken(net, fits[0].way, x))
            return _found(fits[0])
        trials += tried
    _refuse(trials, net, row, run, x)


def _tried(run: Run, ways: list[Preparation], net: nn.Module, x: Tensor) -> list[Trial]:
    """A trial of each way; up to the first that fits for a module with cells of torch, which crash on wrong shapes."""
    fragile = any(isinstance(part, nn.RNNCellBase) for part in net.modules())
    trials: list[Trial] = []
    for way in ways:
        trials.append(_checked(run, way, x))
        if fragile and not (trials[-1].misfit or trials[-1].single):
            break
    return trials


def _found(trial: Trial) -> Found:
    return Found(trial.way, cast(Output, trial.output), cast(Record, trial.record))


def _ways(run: Run, ways: Iterable[Preparation], net: nn.Module, row: bool, x: Tensor) -> list[Preparation]:
    """Those of some ways that a module may be tried with."""
    fitting = []
    for way in ways:
        least = 3 if way.prepare is flat or way is COUNTED else 4 if way in FLAT_WAYS else 2
        if x.ndim < least:
            continue
        if row or not others(net):
            usual = way.prepare in (time_first, flat_time_first) and not way.steps.by_step
            fitting += [way] if way is not COUNTED and (usual or not row) else []
        elif way.steps.by_step:
            fitting += _by_step(run, way, x)
        elif len(needed(net)) == (way is COUNTED):
            fitting.append(way)
    return fitting


def _by_step(run: Run, way: Preparation, x: Tensor) -> list[Preparation]:
    """One call per step for a module with other arguments, with the states that it gives back; not where one of them
    may be a state that is lost."""
    with suppress(Exception):
        carried = cast(Any, run(way._replace(steps=Steps(find=True)), x)[0])
        return [] if carried is None else [way._replace(steps=Steps(by_step=True, carried=carried))]
    return []


def _loses(run: Run, net: nn.Module, trial: Trial, x: Tensor) -> bool:
    """Whether a way that runs loses something: a state in an argument with a default, or an argument that is not the
    number of steps but is given it."""
    if trial.way is COUNTED:
        fewer = _try(run, Preparation(lambda x: (x.transpose(0, 1), x.shape[1] - 1)), x).record
        return fewer is None or any(len(spikes) != x.shape[1] - 1 for spikes in fewer.spikes.values())
    return takes_more(net) and not trial.way.steps.carried and _restarts(run, trial, x)


def _restarts(run: Run, trial: Trial, x: Tensor) -> bool:
    """Whether a module that is called for every step forgets its states between the calls, as far as the sample
    shows: after the last step alone, every membrane is the same."""
    if not trial.way.steps.by_step or x.shape[1] < 2 or trial.record is None:
        return False
    alone = _try(run, trial.way, x[:, -1:]).record
    before = trial.record.membranes or {}
    return alone is not None and all(
        name in before and torch.equal(several[-1], before[name][-1])
        for name, several in (alone.membranes or {}).items()
    )


def _given(run: Run, net: nn.Module, prepare: Prepare, row: bool, x: Tensor) -> Trial:
    """The user's way; a module that computes one step a call is called for every step."""
    whole = _try(run, Preparation(prepare, text="…"), x)
    if not whole.misfit and not whole.single:
        return whole
    way = Preparation(prepare, BY_STEP, "…")
    for each in () if row else (way,) if not others(net) else _by_step(run, way, x):
        steps = _try(run, each, x)
        if not steps.misfit and not steps.single:
            warn(_taken(net, steps.way, x))
            return steps
    if whole.misfit:
        _refuse([whole], net, row, run, x)
    if prepare is not time_first:
        warn(
            "net: every neuron ran once on the sample, so the network computes a single time step. If the sample has "
            "several, use another prepare=, or put the module into an nn.Sequential."
        )
    return whole


def _taken(net: nn.Module, way: Preparation, x: Tensor) -> str:
    name, shape = type(net).__name__, _shape(way.prepare(x))
    constant = [key for key, value in others(net) if key not in {state.name for state in way.steps.carried}]
    stays = f" Left at their defaults: {', '.join(constant)}." if constant and way.steps.by_step else ""
    if way.steps.carried:
        states = ", ".join(state.name for state in way.steps.carried)
        return (
            f"net: one call of {name} computes one step and takes {states}, so it is called for each of the {shape[0]} "
            f"steps of the sample, {shape[1:]}, with the states that the call before gave back, from rest.{stays}"
        )
    if way.steps.by_step:
        return (
            f"net: one call of {name} computes one step, so it is called for each of the {shape[0]} steps of the "
            f"sample, {shape[1:]}. nn.Sequential(net) does the same, without this warning.{stays}"
        )
    if way is COUNTED:
        return (
            f"net: forward of {name} needs {needed(net)[0]} beside its input; it is given the number of steps, "
            f"{shape[0]}. prepare={way.text} says so, without this warning."
        )
    what = "samples first, or repeats a picture" if way.prepare is as_it_is else "flat samples"
    return f"net: {name} takes {what}: it is given {shape}. prepare={way.text} says so, without this warning."


def _shape(prepared: Any) -> tuple[int, ...]:
    return tuple((prepared[0] if isinstance(prepared, tuple) else prepared).shape)


def _check_same(net: nn.Module, fits: list[Trial]) -> None:
    """Refuse to choose between two ways that give different outputs."""
    for other in fits[1:]:
        if not _equal(fits[0].output, other.output):
            raise ValueError(
                f"net: {type(net).__name__} runs with {fits[0].way.told} and with {other.way.told}, and gives "
                f"different outputs; pass the prepare= that you mean (an nn.Sequential is called once per step)."
            )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.allclose(a, b, equal_nan=True)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return a is b or (isinstance(a, float | int) and a == b)


def alike_in_form(a: Any, b: Any) -> bool:
    """Whether two outputs consist of the same parts: tensors of equal shapes in equal containers."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(alike_in_form, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike_in_form(a[key], b[key]) for key in a)
    return type(a) is type(b)


def _checked(run: Run, way: Preparation, x: Tensor) -> Trial:
    """A trial; where as many samples as steps hide a mistake, or one sample does, also with more samples."""
    trial = _try(run, way, x)
    if trial.misfit or trial.single or len(x) not in (1, x.shape[1]):
        return trial
    larger = _try(run, way, more(x))
    return trial if larger.error is not None else trial._replace(misfit=larger.misfit)  # a module of a fixed batch size


def more(x: Tensor) -> Tensor:
    """More samples than one, and not as many as steps."""
    n = next(n for n in range(len(x) + 1, len(x) + 4) if n != x.shape[1])
    return x[torch.arange(n, device=x.device) % len(x)]


def _try(run: Run, way: Preparation, x: Tensor) -> Trial:
    try:
        output, record = run(way, x)
    except (torch.OutOfMemoryError, Refused):
        raise
    except Exception as error:
        return Trial(way, None, None, error, f"raised {type(error).__name__} on the sample: {_line(error)}")
    steps = x.shape[1] if way.prepare in IN_TIME else None
    misfit = next((text for text in _misfits(record, steps, len(x)) if text), "")
    single = bool(record.spikes) and all(len(spikes) == 1 for spikes in record.spikes.values())
    return Trial(way, output, record, None, misfit, single)


def _misfits(record: Record, steps: int | None, samples: int) -> Iterable[str]:
    for name in sorted(record.mixed):
        yield (
            f"neuron {name!r} serves several layers: it is called with a state, or on a number of neurons, that is not "
            f"of its last call. {_OWN}"
        )
    if not record.spikes:
        yield "no neuron ran on the sample"
    for name, spikes in record.spikes.items():
        calls, there = spikes.shape[0], spikes.shape[1] if spikes.ndim > 1 else None
        if steps and there == samples and calls > steps and calls % steps == 0 and steps > 1:
            yield (
                f"neuron {name!r} is called {calls // steps} times in each of {steps} steps, so its states mix. "
                f"{_OWN}; if the module divides a step itself, pass prepare={TIME_FIRST.text}"
            )
        if there != samples or (steps and calls != steps):
            expected = f"{'' if steps is None else f'{steps} steps of '}{samples} samples"
            yield f"neuron {name!r} ran {calls} times on {there} samples; expected {expected}"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def _refuse(trials: list[Trial], net: nn.Module, row: bool, run: Run, x: Tensor) -> NoReturn:
    """Raise ValueError with what happened, the input of the module, and what to do."""
    own = (trial.error for trial in trials if isinstance(trial.error, ValueError))
    if told := next((error for error in own if str(error).startswith(("net: ", "x: "))), None):
        raise told
    mixed = next((trial.misfit for trial in trials if _OWN in trial.misfit), None)
    if mixed is not None:
        raise ValueError(f"net: {mixed}.")
    if any(trial.single and not trial.misfit for trial in trials):
        states = ", ".join(name for name, _ in others(net))
        if states and x.shape[1] > 1:
            raise ValueError(
                f"net: one call of {type(net).__name__} computes one step, and its forward takes {states} too: write a "
                f"module around it that loops over time; not all states could be found in what it gives back."
            )
        raise ValueError(
            f"net: one call of {type(net).__name__} computes one step, and the sample {tuple(x.shape)} has one step or "
            f"none (samples are (B, T, …)). "
            + (
                f"Its forward takes {states} too: write a module around it that loops over time."
                if states
                else "If each of 25 steps gets the same picture, pass prepare=lambda x: x.expand(25, *x.shape)."
            )
        )
    if missing := ", ".join(needed(net)):
        raise ValueError(
            f"net: forward of {type(net).__name__} needs {missing} beside its input. Pass prepare=lambda x: (x, …), "
            f"a function from the samples to all arguments, such as (x, 25) for 25 steps; or write a module around it "
            f"that loops over time and takes the input alone."
        )
    first, given = trials[0], "prepare raised it"
    with suppress(Exception):
        given = f"It was given shape {_shape(first.way.prepare(x))}, made by prepare from a sample of {tuple(x.shape)}"
    ways = [REPEATED] if row else [WAYS[1], REPEATED, REPEATED._replace(steps=BY_STEP)]
    runs = next(
        (way.text for way in ways for trial in (_try(run, way, x),) if not (trial.misfit or trial.single)), None
    )
    advice = ADVICE if runs is None else f"It runs with prepare={runs}."
    raise ValueError(f"net: {first.misfit}. {given}. {advice}") from first.error
