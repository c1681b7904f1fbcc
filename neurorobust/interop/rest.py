"""A way out for a module that keeps state between calls: the lines of a module around it that begins at rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..core.run import evaluating, forward, nominal
from .excited import excited, repeats
from .guard import RandomState, quiet
from .held_tensors import tensors_in
from .memory import OWN, Memory
from .words import inner

ABSENT = object()
"""In place of a value: the attribute does not exist."""


class Unknown(Exception):
    """A value that cannot be written as a line of code."""


class Change(NamedTuple):
    """What stands for the values at rest.

    Attributes:
        tensor: in the place of a tensor. empty: the containers that are empty.
    """

    tensor: Callable[[Tensor], Any]
    empty: tuple[type, ...] = ()


def _zeros(value: Tensor) -> Tensor:
    if not value.dtype.is_floating_point or bool((value != 0).any()):
        raise Unknown
    return torch.zeros(tuple(value.shape), dtype=value.dtype)


def _none(value: Tensor) -> None:
    return None


def _no_state(value: Tensor) -> Tensor:
    return torch.zeros(0)


CHANGES = (
    Change(_zeros),
    Change(_no_state),
    Change(_none),
    Change(_none, empty=(dict,)),
    Change(_none, empty=(dict, list)),
)
"""Zeros as they are; snnTorch's state at rest; None."""


class Attribute:
    """One attribute of a module that changes in a pass.

    Args:
        module: as it was before any pass. path: of the attribute, with dots.

    Raises:
        Unknown: it is no attribute of a part of the module.
    """

    def __init__(self, module: nn.Module, path: str):
        *parts, self.name = path.split(".")
        self.owner: Any = module
        self.text = "self.net"
        for part in parts:
            if not (part.isidentifier() or part.isdigit()) or not hasattr(self.owner, part):
                raise Unknown
            self.owner = getattr(self.owner, part)
            self.text += f"[{part}]" if part.isdigit() else f".{part}"
        if not self.name.isidentifier() or not hasattr(self.owner, "__dict__"):
            raise Unknown
        if isinstance(self.owner, nn.Module) and self.name in OWN:  # such as its hooks: nobody may take them away
            raise Unknown
        self.before = vars(self.owner).get(self.name, ABSENT)

    def at_rest(self, change: Change | None) -> Any:
        """Its value at rest; ``change`` says what stands for a tensor, None that the attribute does not exist."""
        return ABSENT if change is None or self.before is ABSENT else _rest(self.before, change)

    def put(self, value: Any) -> None:
        """Give it a value."""
        if value is ABSENT:
            vars(self.owner).pop(self.name, None)
        else:
            setattr(self.owner, self.name, value)

    def line(self, value: Any) -> str:
        """The line of code that gives it this value."""
        if value is ABSENT:
            return f"vars({self.text}).pop({self.name!r}, None)"
        return f"{self.text}.{self.name} = {_written(value)}"


def _rest(value: Any, change: Change) -> Any:
    if isinstance(value, Tensor):
        return change.tensor(value)
    if type(value) in change.empty:
        return type(value)()
    if type(value) in (list, tuple):
        return type(value)(_rest(part, change) for part in value)
    if type(value) is dict:
        return {key: _rest(part, change) for key, part in value.items()}
    if value is None or type(value) in (bool, int, float):
        return value
    raise Unknown


def _written(value: Any) -> str:
    if isinstance(value, Tensor):
        shape = ", ".join(map(str, value.shape)) or "()"
        return f"torch.zeros({shape}{'' if value.dtype == torch.float32 else f', dtype={value.dtype}'})"
    if type(value) is list:
        return f"[{', '.join(map(_written, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(_written, value))}{',' if len(value) == 1 else ''})"
    if type(value) is dict:
        if value and not all(isinstance(key, int) for key in value):
            raise Unknown  # keys are not shown
        return f"{{{', '.join(f'{key!r}: {_written(part)}' for key, part in value.items())}}}"
    return repr(value)


def ways(module: nn.Module, names: Sequence[str]) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """The lines that may bring a module to rest, and a function that does it; one way after the other.

    Args:
        module: as it was before any pass. names: of what changed in a pass: an attribute, or a place inside it.
    """
    paths = dict.fromkeys(re.split(r"[\[:]", name)[0] for name in names)
    for change in (*CHANGES, None):
        try:
            attributes = [Attribute(module, path) for path in paths]
            values = [each.at_rest(change) for each in attributes]
            lines = [each.line(value) for each, value in zip(attributes, values)]
        except Unknown:
            continue
        if lines:
            yield lines, _put(attributes, change)


def _put(attributes: list[Attribute], change: Change | None) -> Callable[[], None]:
    def reset() -> None:
        for each in attributes:
            each.put(each.at_rest(change))

    return reset


def way_out(network: Any, x: Tensor, names: Sequence[str]) -> str:
    """The lines of a module around a foreign one that begins at rest, if a trial shows that they do; else nothing.

    Args:
        network: of the foreign module, as it was before any pass. x: a few samples. names: of what changed in a pass.
    """
    for lines, reset in ways(inner(network), names):
        memory, state = Memory(network, network.watch), RandomState()
        try:
            with evaluating(network), quiet(), torch.no_grad():
                call = network.written_call(x)
                if call is not None and _repeats_after(network, x, reset):
                    return f" These lines begin each pass at rest; give FromRest(net):\n\n{written(lines, *call)}"
        except Exception:  # a state that the module does not take
            continue
        finally:
            memory.restore()
            state.restore()
    return ""


def left_by_a_pass(network: Any, x: Tensor) -> str:
    """The same where a foreign module does not run because of tensors that an earlier pass left in its attributes;
    empty if it is not so."""
    names = [
        f"{path}.{name}".lstrip(".")
        for path, part in inner(network).named_modules()
        for name, value in vars(part).items()
        if not name.startswith("_") and next(tensors_in(value), None) is not None
    ]
    lines = way_out(network, x, names)
    return f"a pass before this one left a state in {', '.join(names)}.{lines}" if lines else ""


def _repeats_after(network: nn.Module, x: Tensor, reset: Callable[[], None]) -> bool:
    """Whether passes that begin with a reset repeat, whatever ran before, also with other numbers of samples."""
    params = nominal(network)
    for few in (x, x[: max(1, len(x) // 2)]):
        reset()
        first = forward(network, params, few)[0]
        for other, inputs in excited(params, x, full=True):
            with suppress(Exception):
                forward(network, other, inputs)
        reset()
        if not repeats(first, forward(network, params, few)[0]):
            return False
    return True


def written(lines: Sequence[str], arguments: Sequence[str], call: Sequence[str]) -> str:
    """The class around a module.

    Args:
        lines: that bring it to rest. arguments: of its ``forward``. call: the lines that run it.
    """
    return "\n".join(
        [
            "class FromRest(nn.Module):",
            "    def __init__(self, net):",
            "        super().__init__()",
            "        self.net = net",
            "",
            f"    def forward(self, {', '.join(arguments)}):",
            *(f"        {line}" for line in (*lines, *call)),
        ]
    )
