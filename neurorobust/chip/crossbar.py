"""Crossbars of memory cells: a weight is the difference of two devices, everything else is computed digitally."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.params import KINDS
from .design import KindModel
from .drift import Device, compensation
from .sourced import SourcedValue
from .variability import FRESH, Exact, Law, Reading


@dataclass(frozen=True)
class Cell(Law):
    """A weight as G₊ − G₋, both devices programmed, the idle one to the device's lowest conductance, and aged; S.

    Four normals per weight: programming and ageing of the device that carries it, then of the idle one. Truncated
    as the device is. A weight of exactly 0 stays 0.

    Attributes:
        device: the law of one memory cell.
        one_normal: whether a device has one normal for programming and ageing together.
        compensated: whether one digital factor per array restores the mean magnitude after drift.

    Example:
        >>> import chipmodels
        >>> cell, u = chipmodels.load("pcm").kinds["weight"].law, torch.tensor([-1.0, 0.0, 1.0])
        >>> delta = cell.deviate("weight", (u, u * 0, u * 0, u * 0), torch.full((3,), 10e-6))  # u of programming
        >>> [round(value, 2) for value in delta.tolist()]  # relative
        [-0.09, 0.0, 0.09]
    """

    device: Device
    one_normal: bool = False
    compensated: bool = True

    n_extra_normals = 3

    @property
    def ages(self) -> bool:  # type: ignore[override]
        return self.device.ageing is not None

    @property
    def has_read_noise(self) -> bool:  # type: ignore[override]
        return self.device.reading is not None

    @property
    def of_first_normal(self) -> Law:
        return CellProgramming(self.device)

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        time = reading.time
        now = self._pair(normals, nominal, time, reading.noise)
        if self.compensated and time > 0 and bool((nominal != 0).any()):
            now = now * compensation(self._pair(normals, nominal, 0.0), self._pair(normals, nominal, time))
        return _relative(now, nominal)

    def _pair(
        self, normals: tuple[Tensor, ...], nominal: Tensor, time: float, noise: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The magnitude that two devices hold together, with read noise if there is any."""
        u, age, idle_u, idle_age = normals
        active, idle = ((u, u), (idle_u, idle_u)) if self.one_normal else ((u, age), (idle_u, idle_age))
        lowest, device = torch.full_like(nominal, self.device.low), self.device
        target = lowest + nominal.abs()
        if noise is None:
            held = device.at(target, active, time) - device.at(lowest, idle, time)
        else:
            held = device.read(target, active, noise[0], time) - device.read(lowest, idle, noise[1], time)
        return torch.where(nominal == 0, 0.0, held)

    def in_words(self, unit: str = "") -> str:
        return f"the difference of two memory cells; {self.device.in_words()}" + (
            "; one digital factor for each array restores the mean size" if self.compensated else ""
        )


@dataclass(frozen=True)
class CellProgramming(Law):
    """Programming alone of the device of a :class:`Cell` that carries the weight; the idle device is exact."""

    device: Device

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        held = self.device.program(self.device.low + nominal.abs(), normals[0]) - self.device.low
        return _relative(held, nominal)


def _relative(held: Tensor, nominal: Tensor) -> Tensor:
    """δ of a weight whose magnitude became ``held``."""
    size = torch.where(nominal == 0, 1.0, nominal.abs())
    return torch.where(nominal == 0, 0.0, nominal.sign() * (held / size - 1))


def digital(source: str, status: str = "assumed") -> dict[str, KindModel]:
    """Every kind as digital logic computes it: exact.

    Example:
        >>> nr.chip.digital("data sheet", "published")["tau_mem"].law.in_words()
        'exact'
    """
    return {kind: KindModel(Exact(), SourcedValue(0.0, status, source)) for kind in sorted(KINDS)}
