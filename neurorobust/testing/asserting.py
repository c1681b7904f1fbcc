"""The assertions of a test: a check that did not pass raises AssertionError with all that it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, Unpack

from torch import Tensor, nn

from ..attacks import Attack, Ball, Suite
from ..chip import ChipModel
from .baseline import BaselineCheck, Paired, check_baseline
from .chips import ChipCheck, check_chip
from .robust import RobustCheck, check_robust
from .session import current
from .yields import Sequential, YieldCheck, check_yield


class Check(Protocol):
    """A result that passed or did not."""

    @property
    def passed(self) -> bool: ...


C = TypeVar("C", bound=Check)


def assert_yield(
    network: nn.Module,
    data: Any,
    chip: ChipModel | str,
    *,
    spec: float,
    at_least: float,
    seed: int = 1,
    **settings: Unpack[Sequential],
) -> YieldCheck:
    """Fail unless the yield of a network reaches a value; arguments and result as :func:`check_yield`.

    The message names the dies below the specification and how much they miss, the exact error rates of the test,
    and the path of a figure. A test that is undecided after ``max_dies`` dies fails, and says so.

    Raises:
        AssertionError: the yield is too small, or undecided.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.2], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> check = nr.testing.assert_yield(nr.wrap(layer), data, nr.mismatch(0.1), spec=0.9, at_least=0.95)
        >>> check.good, len(check.scores), check.passed
        (27, 27, True)
    """
    __tracebackhide__ = True
    return passed(check_yield(network, data, chip, spec=spec, at_least=at_least, seed=seed, **settings))


def assert_not_worse(
    network: nn.Module,
    data: Any,
    chip: ChipModel | str,
    *,
    baseline: str | Path,
    n_dies: int | None = None,
    seed: int | None = None,
    **settings: Unpack[Paired],
) -> BaselineCheck:
    """Fail if a network is worse than a baseline on the same dies; arguments and result as :func:`check_baseline`.

    The message names the dies that became worse and how much, the rate of false alarms and the power of the test,
    and the path of a figure. ``pytest --neurorobust-update`` writes the baseline.

    Raises:
        AssertionError: the mean loss is surely above the margin. FileNotFoundError: there is no baseline. ValueError:
            it cannot be compared.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> model, data = nr.wrap(nn.Linear(2, 2)), nr.data.Data(torch.eye(2), torch.arange(2))
        >>> path = Path(tempfile.mkdtemp()) / "baseline.json"
        >>> _ = nr.testing.Baseline.measure(model, data, nr.mismatch(0.3), n_dies=8, seed=1).save(path)
        >>> nr.testing.assert_not_worse(model, data, nr.mismatch(0.3), baseline=path).passed
        True
    """
    __tracebackhide__ = True
    return passed(check_baseline(network, data, chip, baseline=baseline, n_dies=n_dies, seed=seed, **settings))


def assert_robust(
    network: nn.Module,
    data: Any,
    ball: Ball,
    *,
    floor: float,
    attack: Attack | Suite | None = None,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
) -> RobustCheck:
    """Fail if a frozen suite of attacks finds a die below a floor; arguments, shapes and result as
    :func:`check_robust`.

    The message says which attack found the die, how much below the floor it is, the budget, and the path of a figure.

    Raises:
        AssertionError: a die below the floor was found.

    Example:
        >>> layer, attack = nn.Linear(2, 2, bias=False), nr.attacks.quick()
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> check = nr.testing.assert_robust(nr.wrap(layer), data, nr.Ball.uniform(0.2), floor=0.4, attack=attack)
        >>> check.worst.score
        0.5
    """
    __tracebackhide__ = True
    return passed(check_robust(network, data, ball, floor=floor, attack=attack, seed=seed, candidates=candidates))


def assert_chip_unchanged(chip: ChipModel | str, *, snapshot: str | Path) -> ChipCheck:
    """Fail if a number of a chip model differs from its snapshot; arguments and result as :func:`check_chip`.

    Raises:
        AssertionError: numbers changed without a new version, or the version changed.

    Example:
        >>> import chipmodels, tempfile
        >>> from pathlib import Path
        >>> from neurorobust.chip.snapshot import save
        >>> path = Path(tempfile.mkdtemp()) / "dynapse2.json"
        >>> _ = save(chipmodels.load("dynapse2"), path)
        >>> nr.testing.assert_chip_unchanged("dynapse2", snapshot=path).drift
        {}
    """
    __tracebackhide__ = True
    return passed(check_chip(chip, snapshot=snapshot))


def passed(check: C) -> C:
    """The check, if it passed; AssertionError with its words and the path of its figure if not."""
    __tracebackhide__ = True
    if check.passed:
        return check
    where, told = current().figure, ""
    if where is not None and not isinstance(check, ChipCheck):  # numbers by name: nothing to draw
        from . import figures  # matplotlib is slow to import

        told = f"\n  Figure: {figures.save(check, where)}"
    raise AssertionError(f"{check}{told}")
