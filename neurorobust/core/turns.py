"""One thread at a time in a network.

A pass at given parameters puts them into the modules of a network for as long as it runs. Without turns, another thread
would compute with them, and could leave them there.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from threading import RLock
from weakref import WeakKeyDictionary

import torch
from torch import nn

_locks: WeakKeyDictionary[nn.Module, AbstractContextManager] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_locks.clear)  # nobody is left in a child to open them


def turn(network: nn.Module) -> AbstractContextManager:
    """A context in which no other thread runs this network; it may be entered again inside. A class of networks that
    has one turn for all of them names it ``turn``."""
    if torch.compiler.is_compiling():
        return nullcontext()
    shared: AbstractContextManager | None = getattr(type(network), "turn", None)
    return shared or _locks.setdefault(network, RLock())
