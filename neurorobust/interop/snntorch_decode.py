"""The decoder of an snnTorch network whose user gave none: found from what the network gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._util.warn import warn
from .decode import Output, as_tuple, logits, mean_membrane, spike_count
from .snntorch_neurons import neurons_of, reset_of
from .unrolled import Record

_WAYS = "Pass decode= to choose: nr.interop.decode.spike_count, mean_membrane, max_membrane, last_membrane or your own."


@dataclass(frozen=True)
class Selected:
    """A decoder of one part of the output, with its axis of time anywhere.

    Attributes:
        decode: from (T, B, …). part: its number among the outputs. time: its axis of time.
    """

    decode: Callable[[Output], Tensor]
    part: int
    time: int

    @property
    def __name__(self) -> str:
        axis = "" if self.time == 0 else f", time on axis {self.time}"
        return f"{self.decode.__name__} of output {self.part}{axis}"

    def __call__(self, output: Output) -> Tensor:
        return self.decode(as_tuple(output)[self.part].movedim(self.time, 0))


class _Part(NamedTuple):
    """The part of an output that is decoded: its number, what it holds, and its axis of time."""

    number: int
    kind: str
    time: int


def choose(output: Any, record: Record, net: nn.Module) -> Callable[[Output], Tensor]:
    """The decoder for a network's output: its own read-out if that comes first, else the mean membrane of its last
    neuron if it has no reset, else the spike count.

    A read-out is what no neuron gave: logits (B, n) are taken as they are, outputs over time are summed.

    Raises:
        ValueError: no part of the output is over time or (B, n), or two parts look the same.

    Warns:
        UserWarning: the choice, unless the network gives logits alone.
    """
    parts, spikes = as_tuple(output), record.spikes.get(record.latest)
    if spikes is None:
        return spike_count
    steps, samples = spikes.shape[:2]
    own = tuple(None if _is_record(part, record) else part for part in parts)
    part = (
        _first_of(own[:1], steps, samples)
        or _of_neuron(parts, record, spikes, net)
        or _first_of(own, steps, samples)
        or _first_of(parts, steps, samples)
    )
    if part is None:
        raise ValueError(_undecided(parts, output, steps, samples))
    _check_choice(part, parts, record, steps, samples)
    if part.kind == "logits":
        if len(parts) > 1:
            shape = tuple(parts[part.number].shape)
            warn(f"decode: output {part.number} of the network, {shape}, is taken as logits. {_WAYS}")
        return logits if len(parts) == 1 else Selected(logits, part.number, 0)
    no_reset = reset_of(neurons_of(net)[record.latest]) == "none"
    chosen = mean_membrane if part.kind == "membranes" and no_reset else spike_count
    warn(_said(chosen, part, record.latest, len(parts)))
    usual = 0 if chosen is spike_count else len(parts) - 1
    return chosen if (part.number, part.time) == (usual, 0) else Selected(chosen, part.number, part.time)


def _is_record(part: Any, record: Record) -> bool:
    """Whether a part of an output is the spikes or a state of some neuron, in every step or in the last one."""
    traces: list[Sequence[Tensor]] = [list(spikes) for spikes in record.spikes.values()]
    traces += (record.membranes or {}).values()
    for steps in record.states.values():
        traces += zip(*steps)
    return isinstance(part, Tensor) and any(
        _equal((part,), torch.stack(list(trace)), "")
        or (part.shape == trace[-1].shape and torch.equal(part, trace[-1]))
        for trace in traces
        if len({step.shape for step in trace}) == 1 and trace[0].ndim
    )


def _check_choice(part: _Part, parts: tuple, record: Record, steps: int, samples: int) -> None:
    """Refuse a neuron's output where a later part of another size is no neuron's, and an unknown axis of time."""
    shape = tuple(parts[part.number].shape)
    if part.kind == "outputs" and len(axes := _axes(parts[part.number], steps, samples)) > 1:
        told = " or ".join(f"axis {axis}" for axis in axes)
        raise ValueError(f"decode: output {part.number} of the network, {shape}, may have its time on {told}. {_WAYS}")
    if part.kind in ("logits", "outputs"):
        return
    size = parts[part.number].numel() // (steps * samples)
    for k, other in enumerate(parts):
        found = None if k == part.number or _is_record(other, record) else _first_of((other,), steps, samples)
        if found is not None and other.numel() != size * samples * (1 if found.kind == "logits" else steps):
            raise ValueError(
                f"decode: output {part.number} of the network, {shape}, holds the {part.kind} of {record.latest!r}, "
                f"and output {k}, {tuple(other.shape)}, may be a read-out of them: which has the logits? {_WAYS}"
            )


def _undecided(parts: tuple, output: Any, steps: int, samples: int) -> str:
    shapes = ", ".join(str(tuple(p.shape)) if isinstance(p, Tensor) else type(p).__name__ for p in parts)
    what = f"decode: the network gives {shapes or type(output).__name__} for {samples} samples and {steps} steps; "
    if isinstance(parts[0], Tensor) and parts[0].shape == (samples,):
        first = "out" if len(parts) == 1 else "out[0]"
        return what + (
            f"of two classes, this is the logit of the second against 0: pass decode=lambda out: "
            f"torch.stack([torch.zeros_like({first}), {first}], 1). A number to predict: decode=lambda out: "
            f"{first}[:, None]."
        )
    return what + f"pass decode=, a function from this output to logits ({samples}, n_classes)."


def _of_neuron(parts: tuple, record: Record, spikes: Tensor, net: nn.Module) -> _Part | None:
    """The part that holds the spikes of the last neuron, or its membranes if it has no reset; None if none does."""
    steps = (record.membranes or {}).get(record.latest, [])
    membranes = torch.stack(steps) if steps and all(step.shape == steps[0].shape for step in steps) else None
    fired, held = (_equal(parts, value, kind) for value, kind in ((spikes, "spikes"), (membranes, "membranes")))
    if len(parts) == 1 and fired:
        return fired[0]  # of a silent network, membranes look the same
    n_states = max([1, *map(len, record.states.get(record.latest, []))])
    if len(parts) <= 1 + n_states and fired and held and fired[0].number == 0 and held[-1].number == len(parts) - 1:
        fired, held = fired[:1], held[-1:]  # the usual order
    for found in (fired, held):
        if len(found) > 1:
            raise ValueError(
                f"decode: outputs {' and '.join(str(part.number) for part in found)} of the network both look like the "
                f"{found[0].kind} of {record.latest!r}. {_WAYS}"
            )
    no_reset = reset_of(neurons_of(net)[record.latest]) == "none"
    return next(iter([*held, *fired] if no_reset else [*fired, *held]), None)


def _equal(parts: tuple, value: Tensor | None, kind: str) -> list[_Part]:
    """The parts that hold these values (T, B, …), with time on any of three axes."""
    if value is None:
        return []
    times = [next((time for time in _axes(part, *value.shape[:2]) if torch.equal(part.movedim(time, 0), value)), None)
             for part in parts]  # fmt: skip
    return [_Part(k, kind, time) for k, time in enumerate(times) if time is not None]


def _axes(part: Any, steps: int, samples: int) -> list[int]:
    """The axes of a part that may be time."""
    if not isinstance(part, Tensor) or part.ndim < 3 or not part.is_floating_point():
        return []
    return [time for time in (0, 1, -1) if part.movedim(time, 0).shape[:2] == (steps, samples)]


def _first_of(parts: tuple, steps: int, samples: int) -> _Part | None:
    """The first part that is logits (B, n), or over time."""
    for k, part in enumerate(parts):
        if isinstance(part, Tensor) and part.is_floating_point() and part.ndim == 2 and len(part) == samples:
            return _Part(k, "logits", 0)
        if axes := _axes(part, steps, samples):
            return _Part(k, "outputs", axes[0])
    return None


def _said(chosen: Callable[[Output], Tensor], part: _Part, neuron: str, n: int) -> str:
    what = f"the {part.kind} of {neuron!r}" if part.kind != "outputs" else "the outputs of every step"
    where = f", output {part.number} of {n}," if n > 1 else ""
    axis = "" if part.time == 0 else f" (axis {part.time} of it is time)"
    how = "averaged over time (mean_membrane)" if chosen is mean_membrane else "summed over time (spike_count)"
    return f"decode: {what}{where} are {how}{axis}. {_WAYS}"
