"""The first look at an snnTorch network: what it does with a sample, and what it should be given instead."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import torch
from torch import Tensor

from .._util.warn import warn
from .decode import Output
from .look import Refused
from .unrolled import Record

Prepare = Callable[[Tensor], Tensor]
Run = Callable[[Tensor], tuple[Output, Record]]


def time_first(x: Tensor) -> Tensor:
    """(B, T, …) → (T, B, …), the order of snnTorch."""
    return x.transpose(0, 1)


PREPARATIONS: dict[str, Prepare] = {
    "lambda x: x": lambda x: x,
    "lambda x: x.expand(25, *x.shape)": lambda x: x.expand(25, *x.shape),
}
ADVICE = (
    "If the module takes samples first, or a picture that it repeats, pass prepare=lambda x: x; if each of 25 steps "
    "gets the same picture, prepare=lambda x: x.expand(25, *x.shape); if one call computes one step, put the module "
    "into an nn.Sequential."
)


def look(run: Run, prepare: Prepare, x: Tensor) -> tuple[Output, Record]:
    """Run samples (B, T, …) once, and check that each neuron takes one step after the other, on all samples.

    Args:
        run: from a prepared input to the network's output and the record of its neurons.
        prepare: of the user; x: samples, batch first.

    Raises:
        ValueError: the network cannot run on the sample, or a neuron serves several layers; says what the network was
            given, and which preparation it would run with.
    """
    try:
        output, record = run(prepare(x))
    except (torch.OutOfMemoryError, Refused):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(("net: ", "x: ")):
            raise
        _refuse(f"raised {type(error).__name__} on the sample: {_line(error)}", run, prepare, x, error)
    for name in sorted(record.mixed):
        raise ValueError(
            f"net: neuron {name!r} serves several layers: it is called with a state, or on a number of neurons, that "
            f"is not of its last call. Give each layer a neuron of its own."
        )
    steps = x.shape[1] if prepare is time_first else None
    for name, spikes in record.spikes.items():
        calls, samples = spikes.shape[0], spikes.shape[1] if spikes.ndim > 1 else None
        if steps and samples == len(x) and calls > steps and calls % steps == 0:
            raise ValueError(
                f"net: neuron {name!r} is called {calls // steps} times in each of {steps} steps, so its states mix. "
                f"Give each layer a neuron of its own; if the module divides a step itself, pass "
                f"prepare=lambda x: x.transpose(0, 1)."
            )
        if samples != len(x) or (steps and calls != steps):
            expected = f"{'' if steps is None else f'{steps} steps of '}{len(x)} samples"
            _refuse(f"neuron {name!r} ran {calls} times on {samples} samples; expected {expected}", run, prepare, x)
    if steps is None and record.spikes and all(len(spikes) == 1 for spikes in record.spikes.values()):
        warn(
            "net: every neuron ran once on the sample, so the network computes a single time step. If the sample has "
            "several, use another prepare=, or put the module into an nn.Sequential."
        )
    return output, record


def look_larger(run: Run, prepare: Prepare, x: Tensor) -> None:
    """Look again at as many samples as steps: with one more sample, a module that takes samples first is seen."""
    larger = torch.cat([x, x[:1]])
    try:
        run(prepare(larger))
    except Exception:  # a module of a fixed batch size
        return
    look(run, prepare, larger)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def _refuse(what: str, run: Run, prepare: Prepare, x: Tensor, cause: Exception | None = None) -> NoReturn:
    """Raise ValueError with what happened, the input of the module, and a preparation with which it runs."""
    given = "prepare raised it"
    with suppress(Exception):
        given = f"It was given shape {tuple(prepare(x).shape)}, made by prepare from a sample of {tuple(x.shape)}"
    runs = next((text for text, other in PREPARATIONS.items() if _runs(run, other, x)), None)
    advice = ADVICE if runs is None else f"It runs with prepare={runs}."
    raise ValueError(f"net: {what}. {given}. {advice}") from cause


def _runs(run: Run, prepare: Prepare, x: Tensor) -> bool:
    """True if the network takes several steps of all samples with another preparation."""
    with suppress(Exception):
        record = run(prepare(x))[1]
        return not record.mixed and all(
            spikes.ndim > 1 and len(spikes) > 1 and spikes.shape[1] == len(x) for spikes in record.spikes.values()
        )
    return False
