"""The cores of the neurons of an snnTorch network, and the neurons of its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .._util.errors import shown, unknown
from ..core.placement import CORES, HOST
from ..core.placing import written
from .feeds import OUTPUT, Ends, told

Core = Tensor | int | Sequence[int]


class Placing(NamedTuple):
    """Where an snnTorch network is placed.

    Attributes:
        cores: of each neuron, by layer, (n,); of a read-out on the host too.
        feeds: the layer of neurons on which the synapses of a module end.
        neurons: the layers of neurons in ``cores``.
    """

    cores: Mapping[str, Tensor]
    feeds: Mapping[str, str]
    neurons: tuple[str, ...] = ()


def check_cores(cores: Mapping[str, Core], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The core of each neuron, by layer, in the order of the network.

    Raises:
        TypeError, ValueError: a layer is unknown or missing, or a core is none.
    """
    if not isinstance(cores, Mapping):
        raise TypeError(f"cores: got {shown(cores)}; expected cores by layer: {written(dict.fromkeys(shapes, 0))}.")
    for name in cores:
        if name not in shapes:
            raise unknown("cores: layer of neurons", name, shapes)
    found = {name: _cores(name, cores[name], shapes[name].numel()) for name in shapes if name in cores}
    if missing := [name for name in shapes if name not in cores]:
        call = written({name: found.get(name, HOST) for name in shapes})
        raise ValueError(
            f"cores: {', '.join(missing)} missing; give a core, or nr.HOST for a layer off the chip, as in {call}."
        )
    return found


def _cores(layer: str, core: Core, n: int) -> Tensor:
    """The core of each of n neurons, from one core for all or from one per neuron."""
    try:
        tensor = torch.as_tensor(core)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        tensor = torch.empty(0)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"cores[{layer!r}]: got {shown(core)}; expected integers, the core of each of {n} neurons.")
    tensor = tensor.long().cpu().expand(n) if tensor.ndim == 0 else tensor.long().cpu()
    wrong = tensor.shape != (n,) or tensor.min() < HOST or tensor.max() >= CORES
    if wrong or tensor.min() == HOST < tensor.max():
        raise ValueError(
            f"cores[{layer!r}]: got {shown(core)}; expected a core from 0 to 2³¹ − 1 for each of {n} neurons, or "
            f"nr.HOST for all of them."
        )
    return tensor


def check_feeds(
    cores: Mapping[str, Tensor], given: Mapping[str, str | int], ends: Ends, order: Sequence[str]
) -> dict[str, str | int]:
    """For each module with weights, the neurons on which its synapses end, or :data:`HOST`.

    Args:
        cores: of each layer of neurons. given: what the user says, by module or by a part that holds modules.
        ends: what was measured. order: the modules and the neurons, as the network defines them.

    Raises:
        ValueError: a name is unknown, the user says something else than was measured, or several answers are left.
    """
    for part, layer in given.items():
        if not any(f"{module}.".startswith(f"{part}.") for module in ends):
            raise unknown("feeds: module", part, ends)
        if layer != HOST and layer not in cores:
            raise unknown(f"feeds[{part!r}]: layer of neurons", layer, cores)
    found: dict[str, str | int] = {}
    for module, reached in ends.items():
        said = _said(module, given)
        if said is not None:
            _check_said(said, given[said], module, reached, cores)
        if len(reached) == 1:
            found[module] = HOST if OUTPUT in reached else next(iter(reached))
        elif said is not None:
            found[module] = given[said]
        else:
            raise _no_answer(module, ends, {**given, module: _next(module, reached, cores, order)}, cores)
    return found


def _said(module: str, given: Iterable[str]) -> str | None:
    """The longest name that the user gave for a module: its own, or that of a part around it."""
    return max((part for part in given if f"{module}.".startswith(f"{part}.")), key=len, default=None)


def _check_said(part: str, said: str | int, module: str, reached: frozenset[str], cores: Mapping[str, Tensor]) -> None:
    host = {end for end in reached if end == OUTPUT or bool((cores[end] == HOST).all())}
    if reached and said not in reached and not (said == HOST and host):
        where = "nr.HOST" if said == HOST else repr(said)
        raise ValueError(
            f"feeds[{part!r}]: got {where}; but in a pass the synapses of {module!r} end on {told(reached)}. Leave "
            f"feeds out: place finds this by itself."
        )


def _next(module: str, reached: frozenset[str], cores: Mapping[str, Tensor], order: Sequence[str]) -> str | int:
    """One possible answer, for a message: the next layer of neurons in the class; the host after the last one."""
    possible = [name for name in order if name in (reached - {OUTPUT} or cores)]
    after = order[order.index(module) :] if module in order else ()
    return next((name for name in after if name in possible), HOST if OUTPUT in reached or not reached else possible[0])


def _no_answer(module: str, ends: Ends, feeds: Mapping[str, str | int], cores: Mapping[str, Tensor]) -> ValueError:
    if ends[module]:
        why = f"its weights act on {told(ends[module])}, but a synapse of a chip ends on one neuron"
        way = "Give each layer weights of its own, or say with which it deviates"
    else:
        why = "no pass shows a way from it to a neuron or to the output, so it seems to be unused"
        way = "Say where it belongs (this call takes the next layer in the class; check that)"
    return ValueError(f"feeds: {module!r}: {why}. {way}: {written(cores, feeds)}.")
