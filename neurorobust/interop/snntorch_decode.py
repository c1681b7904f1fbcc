"""The decoder of an snnTorch network whose user gave none: found from what the network gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """One part of the output: whose spikes or membranes it holds, and which axis is time; "" and None if unknown."""

    kind: str
    neuron: str
    time: int | None


def choose(output: Any, record: Record, net: nn.Module) -> Callable[[Output], Tensor]:
    """The decoder for a network's output: the mean membrane if its last neuron has no reset, else the spike count.

    Logits (B, n) are taken as they are; outputs of other layers are summed over time.

    Raises:
        ValueError: no part of the output is over time or (B, n).

    Warns:
        UserWarning: the choice, where the network gives more than the spikes of its last neuron.
    """
    parts = as_tuple(output)
    spikes = record.spikes.get(record.latest)
    if spikes is None:
        return spike_count
    steps, samples = spikes.shape[:2]
    known = [_look(part, record, steps, samples) for part in parts]
    last = {part.kind: k for k, part in reversed(list(enumerate(known))) if part.neuron == record.latest}
    silent = reset_of(neurons_of(net)[record.latest]) == "none"
    k = last.get("membranes") if silent or "spikes" not in last else last["spikes"]
    k = last.get("spikes") if k is None else k
    if k is None:
        k = next((k for k, part in enumerate(known) if part.kind), None)
    if k is None:
        shapes = ", ".join(
            str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__ for part in parts
        )
        raise ValueError(
            f"decode: the network gives {shapes or type(output).__name__} for {samples} samples and {steps} steps; "
            f"pass decode=, a function from this output to logits ({samples}, n_classes)."
        )
    part = known[k]
    if part.kind == "logits":
        if len(parts) > 1:
            warn(f"decode: output {k} of the network, {tuple(parts[k].shape)}, is taken as logits. {_WAYS}")
        return logits if len(parts) == 1 else Selected(logits, k, 0)
    chosen = mean_membrane if part.kind == "membranes" else spike_count
    usual = 0 if chosen is spike_count else len(parts) - 1
    plain = part.time == 0 and k == usual
    if len(parts) > 1 or part.kind == "membranes" or part.time != 0:
        warn(_said(chosen, part, k, len(parts), samples, steps))
    return chosen if plain else Selected(chosen, k, part.time or 0)


def _said(chosen: Callable[[Output], Tensor], part: _Part, k: int, n: int, samples: int, steps: int) -> str:
    what = f"the {part.kind} of {part.neuron!r}" if part.neuron else "the outputs of every step"
    where = f", output {k} of {n}," if n > 1 else ""
    axis = "" if part.time == 0 else f" (axis {part.time} of it is time)"
    how = "averaged over time (mean_membrane)" if chosen is mean_membrane else "summed over time (spike_count)"
    return f"decode: {what}{where} are {how}{axis}. {_WAYS}"


def _look(part: Any, record: Record, steps: int, samples: int) -> _Part:
    """What a part of the output holds."""
    if not isinstance(part, Tensor) or not part.is_floating_point():
        return _Part("", "", None)
    if part.ndim == 2 and len(part) == samples:
        return _Part("logits", "", None)
    axes = [time for time in (0, 1, -1) if part.ndim > 2 and part.movedim(time, 0).shape[:2] == (steps, samples)]
    held: dict[str, Mapping[str, Any]] = {"spikes": record.spikes, "membranes": record.membranes or {}}
    names = [record.latest, *record.spikes]
    for kind, values in held.items():
        for name in names:
            found = values.get(name)
            value = torch.stack(found) if isinstance(found, list) and _alike(found) else found
            for time in axes:
                if isinstance(value, Tensor) and torch.equal(part.movedim(time, 0), value):
                    return _Part(kind, name, time)
    return _Part("outputs", "", axes[0]) if axes else _Part("", "", None)


def _alike(values: list[Tensor]) -> bool:
    return all(value.shape == values[0].shape for value in values)
