"""Crossbars of memory cells: a weight is the difference of two devices, everything else is computed digitally."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.params import KINDS
from ..drift import Device, compensation
from ..laws import Exact, Law
from .facts import Fact
from .model import KindModel


@dataclass(frozen=True)
class Cell(Law):
    """A weight as G₊ − G₋, both devices programmed, the idle one to the device's lowest conductance, and aged; S.

    Four normals a weight: programming and ageing of the device that carries it, then of the idle one. Truncated as the
    device is. A weight of exactly 0 stays 0.

    Attributes:
        device: the law of one memory cell.
        one_normal: whether a device has one normal for programming and ageing together.
        compensated: whether one digital factor an array restores the mean magnitude after drift.
    """

    device: Device
    one_normal: bool = False
    compensated: bool = True

    more = 3

    @property
    def ages(self) -> bool:  # type: ignore[override]
        return self.device.ageing is not None

    @property
    def reads(self) -> bool:  # type: ignore[override]
        return self.device.reading is not None

    def deviate(self, kind: str, u: Tensor, nominal: Tensor) -> Tensor:
        """Programming alone, the idle device exact."""
        held = self.device.program(self.device.low + nominal.abs(), u) - self.device.low
        return _relative(held, nominal)

    def aged(self, kind: str, u: tuple[Tensor, ...], nominal: Tensor, time: float) -> Tensor:
        return self._deviated(u, nominal, time, None)

    def read(
        self, kind: str, u: tuple[Tensor, ...], nominal: Tensor, time: float, fresh: tuple[Tensor, Tensor]
    ) -> Tensor:
        return self._deviated(u, nominal, time, fresh)

    def _deviated(
        self, u: tuple[Tensor, ...], nominal: Tensor, time: float, fresh: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        now = self._pair(u, nominal, time, fresh)
        if self.compensated and time > 0 and bool((nominal != 0).any()):
            now = now * compensation(self._pair(u, nominal, 0.0), self._pair(u, nominal, time))
        return _relative(now, nominal)

    def _pair(
        self, u: tuple[Tensor, ...], nominal: Tensor, time: float, fresh: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The magnitude that two devices hold together; as it is read, where there are fresh normals."""
        active, idle = ((u[0], u[0]), (u[2], u[2])) if self.one_normal else ((u[0], u[1]), (u[2], u[3]))
        lowest, device = torch.full_like(nominal, self.device.low), self.device
        target = lowest + nominal.abs()
        if fresh is None:
            held = device.at(target, active, time) - device.at(lowest, idle, time)
        else:
            held = device.read(target, active, fresh[0], time) - device.read(lowest, idle, fresh[1], time)
        return torch.where(nominal == 0, 0.0, held)


def _relative(held: Tensor, nominal: Tensor) -> Tensor:
    """δ of a weight whose magnitude became ``held``."""
    size = torch.where(nominal == 0, 1.0, nominal.abs())
    return torch.where(nominal == 0, 0.0, nominal.sign() * (held / size - 1))


def digital(source: str, status: str = "assumed") -> dict[str, KindModel]:
    """Every kind as digital logic computes it: exact."""
    return {kind: KindModel(Exact(), Fact(0.0, status, source)) for kind in sorted(KINDS)}
