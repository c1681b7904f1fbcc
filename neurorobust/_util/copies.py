"""Deep copies of modules that have run before."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module", bound=nn.Module)


class _WithoutHistory(TorchFunctionMode):
    """While active, the deepcopy of a tensor with a history is a copy of its values; torch's raises RuntimeError."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def copied(module: Module, argument: str) -> Module:
    """A deep copy of a module.

    Of tensors that it kept from an earlier pass, the values are copied; of a random generator, its state. What Python
    cannot copy (a lock, an open file) is shared.

    Raises:
        TypeError: the module cannot be copied all the same; names the argument.
    """
    with _WithoutHistory():
        try:
            return copy.deepcopy(module)
        except Exception:  # of any class, from any object
            memo = {id(thing): _twin(thing) for part in module.modules() for thing in _uncopied(vars(part), set())}
        try:
            return copy.deepcopy(module, memo)
        except Exception as error:
            raise TypeError(
                f"{argument}: {type(module).__name__} cannot be copied ({type(error).__name__}: {error}); "
                f"copy.deepcopy has to work."
            ) from error


def _uncopied(value: Any, seen: set[int]) -> Iterator[Any]:
    """The objects that a value holds, in containers and attributes, of which Python makes no copy."""
    if id(value) in seen or isinstance(value, Tensor | nn.Module | type):
        return
    seen.add(id(value))
    try:
        copy.deepcopy(value)
    except Exception:  # of any class, from any object
        plain = isinstance(value, dict | list | tuple | set)
        held = value if plain else getattr(value, "__dict__", {})
        items = list(held.values() if isinstance(held, dict) else held)
        for item in items:
            yield from _uncopied(item, seen)
        if not plain and not any(isinstance(item, dict | list | tuple | set | Tensor | nn.Module) for item in items):
            yield value


def _twin(thing: Any) -> Any:
    if isinstance(thing, torch.Generator):
        return torch.Generator(thing.device).set_state(thing.get_state())
    return thing
