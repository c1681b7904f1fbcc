"""Tests of robustness for your own project: a yield, no regression against a baseline, a floor under attack.

The three ``assert_…`` functions are for pytest, and work in any other place. Each has a function that returns the
result instead (``check_yield``, ``check_baseline``, ``check_robust``). The plugin for pytest is
``neurorobust.testing.plugin``; it is installed with the package and does nothing until a test uses it.

Example:
    >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
    >>> check = nr.testing.check_yield(nr.wrap(nn.Linear(6, 2)), data, nr.mismatch(0.1), spec=0.0, at_least=0.5)
    >>> check.passed
    True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asserting import assert_chip_unchanged, assert_not_worse, assert_robust, assert_yield
    from .baseline import Baseline, BaselineCheck, check_baseline
    from .chips import ChipCheck, check_chip
    from .paired import PairedTest
    from .robust import RobustCheck, check_robust
    from .sequential import Rates, SequentialTest
    from .yields import YieldCheck, check_yield

__all__ = [
    "Baseline",
    "BaselineCheck",
    "ChipCheck",
    "PairedTest",
    "Rates",
    "RobustCheck",
    "SequentialTest",
    "YieldCheck",
    "assert_chip_unchanged",
    "assert_not_worse",
    "assert_robust",
    "assert_yield",
    "check_baseline",
    "check_chip",
    "check_robust",
    "check_yield",
]

_MODULES = {
    "asserting": "assert_chip_unchanged assert_not_worse assert_robust assert_yield",
    "baseline": "Baseline BaselineCheck check_baseline",
    "chips": "ChipCheck check_chip",
    "paired": "PairedTest",
    "robust": "RobustCheck check_robust",
    "sequential": "Rates SequentialTest",
    "yields": "YieldCheck check_yield",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: pytest loads this package in every run, torch only where it is needed."""
    for module, names in _MODULES.items():
        if name in names.split():
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
