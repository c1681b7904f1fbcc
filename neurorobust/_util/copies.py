"""Deep copies of modules that have run before."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

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
    """A deep copy of a module; of tensors that it kept from an earlier pass, the values are copied.

    Raises:
        TypeError: the module holds an object that Python cannot copy; names the argument.
    """
    with _WithoutHistory():
        try:
            return copy.deepcopy(module)
        except (TypeError, RuntimeError) as error:
            raise TypeError(
                f"{argument}: {type(module).__name__} cannot be copied ({error}); remove from the module what holds "
                f"such an object (a generator, an open file, a lock)."
            ) from error
