"""The slots of a module's tensors, and the module called with other tensors in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Slot(NamedTuple):
    """A place of a tensor: ``holder[key]``, where a module has it.

    Attributes:
        name: of the tensor in the whole module; a tensor in two slots has one name, that of the first.
        buffer: False for a parameter.
    """

    name: str
    holder: dict[str, Any]
    key: str
    tensor: Tensor
    buffer: bool


def slots_of(module: nn.Module) -> list[Slot]:
    """All slots, in one walk through the modules."""
    found: list[Slot] = []
    _walk(module, "", found, {})
    return found


def _walk(module: nn.Module, prefix: str, found: list[Slot], names: dict[int, str]) -> None:
    if id(module) in names:  # of a module in two places; the slots are the same
        return
    names[id(module)] = prefix
    for holder, buffer in ((module._parameters, False), (module._buffers, True)):
        for key, tensor in holder.items():
            if tensor is not None:
                found.append(Slot(names.setdefault(id(tensor), prefix + key), holder, key, tensor, buffer))
    for key, child in module._modules.items():
        if child is not None:
            _walk(child, f"{prefix}{key}.", found, names)


@contextmanager
def holding(slots: list[Slot], values: Mapping[str, Tensor]) -> Iterator[None]:
    """A context in which slots hold the tensors of their names; then they hold their own again."""
    try:
        for name, holder, key, *_ in slots:
            holder[key] = values[name]
        yield
    finally:
        for _, holder, key, tensor, _ in slots:
            holder[key] = tensor


def called_at(module: nn.Module, slots: list[Slot], values: Mapping[str, Tensor], inputs: tuple) -> Any:
    """``torch.func.functional_call(module, values, inputs, strict=True)``, which looks for every name three times.

    Raises:
        RuntimeError: a tensor is missing, or unknown.
    """
    if torch.compiler.is_compiling() or values.keys() != {slot.name for slot in slots}:
        return torch.func.functional_call(module, dict(values), inputs, strict=True)
    with holding(slots, values):
        return module(*inputs)
