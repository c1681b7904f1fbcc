"""One time step of a layer, for every parameter of its box: as plain intervals, and tighter.

A state is a dictionary of intervals (rows, n), a row being a sample or one of its branches: ``x`` the membrane above
v_leak, ``i`` the filtered current, ``b`` the adaptation, ``z`` the spike of the step before, ``silent`` the steps a
neuron still has to rest, ``bound`` what the membrane has to exceed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dynamics import DelayedSubtract, Subtract
from .interval import OURS, Interval, mix, point
from .linear import Sum
from .population import Population, steady

State = dict[str, Interval]
EXTRA = 8  # roundings of a current besides those of its sum: gain, resistance, and what the membrane adds
TINY = 1e-37  # what is lost where float32 numbers run out


class Steps(ABC):
    """How bounds go from one step to the next."""

    def start(self, p: Population, rows: int) -> State:
        """At rest, before the first step."""
        zero = point(torch.zeros(rows, p.n, dtype=torch.float64))
        names = [*self.filters(p), "z", *(["silent"] if p.refractory is not None else [])]
        return {name: zero for name in names}

    def filters(self, p: Population) -> list[str]:
        """What a layer remembers besides its spikes."""
        return ["x", *(["i"] if p.syn is not None else []), *(["b"] if p.rho is not None else [])]

    def advance(self, p: Population, state: State, drive: Sum) -> State:
        """Adaptation, threshold, current and membrane of the next step; its spikes are not decided yet."""
        state = dict(state)
        z, jump = state["z"], p.threshold
        if p.rho is not None and p.adaptation is not None and p.threshold is not None:
            error = 4 * p.unit * (state["b"].magnitude() + 2 * z.hi)
            self.leak(p.rho, "b", state, z, error)
            jump = p.threshold.plus(p.adaptation.times(state["b"]))
            jump = jump.widen(4 * p.unit * jump.magnitude())
        current = drive.rounded(p.unit, EXTRA)
        if p.r is not None:
            current = p.r.times(current)
        if p.syn is not None:
            error = 4 * p.unit * (state["i"].magnitude() + current.magnitude())
            self.leak(p.syn, "i", state, current, error)
            current = state["i"]
        self.membrane(p, state, current, jump)
        if jump is not None:
            bound = (
                jump
                if p.leak is None
                else jump.minus(p.leak).widen(4 * p.unit * (jump.magnitude() + p.leak.magnitude()))
            )
            state["bound"] = bound.widen(TINY).map(lambda value: value.expand(z.lo.shape))
        return state

    def error(self, p: Population, x: Interval, current: Interval) -> Tensor:
        """What one step of the membrane may round away, its current apart."""
        error = 6 * p.unit * x.magnitude() + 8 * OURS * current.magnitude() + TINY
        return error if p.leak is None else error + 8 * p.unit * p.leak.magnitude()

    def fire(self, p: Population, state: State) -> State:
        """Which neurons must spike and which may: 1 at the low and at the high end of ``z``."""
        x, bound = state["x"], state["bound"]
        z = Interval((x.lo > bound.hi).to(x.lo.dtype), (x.hi > bound.lo).to(x.lo.dtype))
        if p.refractory is None:
            return {**state, "z": z}
        rest = state["silent"]
        z = Interval(z.lo * (rest.hi <= 0), z.hi * (rest.lo <= 0))
        return {**state, "z": z}

    def rest(self, p: Population, state: State) -> State:
        """How long neurons have to rest, once their spikes are as decided as they will be."""
        if p.refractory is None:
            return state
        z, before = state["z"], state["silent"].map(lambda value: value - 1)
        return {**state, "silent": either(z, p.refractory.map(lambda value: value.expand(z.lo.shape)), before)}

    @abstractmethod
    def leak(self, alpha: Interval, name: str, state: State, inflow: Interval, error: Tensor) -> None:
        """y[t] = α y[t−1] + (1 − α) inflow for ``y = state[name]``, in place."""

    @abstractmethod
    def membrane(self, p: Population, state: State, current: Interval, jump: Interval | None) -> None:
        """The membrane after reset, decay and current, in place; ``jump`` is ϑ of this step."""


@dataclass(frozen=True)
class Plain(Steps):
    """Natural interval extensions of the recursions as they are written: every operand forgets the others."""

    def leak(self, alpha: Interval, name: str, state: State, inflow: Interval, error: Tensor) -> None:
        state[name] = _natural(alpha, state[name], inflow).widen(error)

    def membrane(self, p: Population, state: State, current: Interval, jump: Interval | None) -> None:
        x, z = state["x"], state["z"]
        scale = x if jump is None else x.hull(z.times(jump))
        if p.reset is Subtract and jump is not None:
            x = x.minus(z.times(jump))
        elif p.to_value and p.target is not None:
            x = either(z, p.target.map(lambda value: value.expand(x.lo.shape)), x)
        after = _natural(p.alpha, x, current)
        if p.reset is DelayedSubtract and jump is not None:
            after = after.minus(z.times(jump))
        state["x"] = after.widen(self.error(p, scale.hull(x), current))


@dataclass(frozen=True)
class Tight(Steps):
    """What intervals forget, remembered.

    α and 1 − α are one number in each step. Over the steps a decay is the same number, too: with inputs and spikes as
    they come, the membrane is a smooth function of α, and the mean-value theorem bounds it by its value at one α₀
    (state ``x0``) plus its slope (``x1``), each bounded for all of the box. A neuron that may or may not have spiked
    was above its threshold or was not, so each case goes on with its own membrane.
    """

    def filters(self, p: Population) -> list[str]:
        alphas = {"x": p.alpha, "i": p.syn, "b": p.rho}
        plain = super().filters(p)
        moving = [name for name in plain if not steady(alphas[name])]  # type: ignore[arg-type]
        cases = [] if p.reset is None else ["cases"]
        return [*plain, *(f"{name}{order}" for name in moving for order in (0, 1)), *cases]

    def leak(self, alpha: Interval, name: str, state: State, inflow: Interval, error: Tensor) -> None:
        y = state[name]
        if f"{name}0" in state:
            self.mean_value(alpha, name, state, (state[f"{name}0"], state[f"{name}1"], y), inflow)
        step = mix(alpha, y, inflow).widen(error)
        self.close(alpha, name, state, step, error, restart=True)

    def mean_value(
        self, alpha: Interval, name: str, state: State, y: tuple[Interval, Interval, Interval], inflow: Interval
    ) -> None:
        """Value at α₀ and slope one step on, without errors; y is value, slope and enclosure after the reset."""
        at, slope, whole = y
        middle = _middle(alpha)
        own = 8 * OURS * (whole.magnitude() + inflow.magnitude() + at.magnitude())
        state[f"{name}0"] = mix(point(middle), at, inflow).widen(own)
        state[f"{name}1"] = alpha.times(slope).plus(whole).minus(inflow).widen(own + 8 * OURS * slope.magnitude())

    def close(self, alpha: Interval, name: str, state: State, step: Interval, error: Tensor, *, restart: bool) -> None:
        """The enclosure: what one step of intervals and the mean-value theorem agree on.

        Where the step is far tighter, as after a doubtful spike, the function starts anew from it.
        """
        if f"{name}0" not in state:
            state[name] = step
            return
        at, slope = state[f"{name}0"].widen(error), state[f"{name}1"]
        middle = _middle(alpha)
        reach = Interval((alpha.lo - middle) * (1 + 4 * OURS), (alpha.hi - middle) * (1 + 4 * OURS))
        along = slope.times(reach)
        whole = at.plus(along).widen(4 * OURS * (at.magnitude() + along.magnitude()))
        state[name] = step.meet(whole)
        if restart:
            anew = step.width() < 0.5 * whole.width()
            at = Interval(torch.where(anew, step.lo, at.lo), torch.where(anew, step.hi, at.hi))
            slope = slope.map(lambda value: torch.where(anew, 0.0, value))
        state[f"{name}0"], state[f"{name}1"] = at, slope

    def membrane(self, p: Population, state: State, current: Interval, jump: Interval | None) -> None:
        x, z = state["x"], state["z"]
        spiked, quiet = x, x
        if "cases" in state:
            spiked, quiet = Interval(state["cases"].lo, x.hi), Interval(x.lo, state["cases"].hi)
        at, slope = state.get("x0"), state.get("x1")
        delayed = p.reset is DelayedSubtract and jump is not None
        if p.reset is Subtract and jump is not None:
            spiked = spiked.minus(jump)
            at = None if at is None else at.minus(z.times(jump))
        elif p.to_value and p.target is not None:
            spiked = p.target.map(lambda value: value.expand(x.lo.shape))
            at = None if at is None else either(z, spiked, at)
            slope = None if slope is None else either(z, slope.map(torch.zeros_like), slope)
        whole = either(z, spiked, quiet)
        scale = whole.hull(x) if jump is None else whole.hull(x).hull(z.times(jump))
        error = self.error(p, scale, current)
        if at is not None and slope is not None:
            self.mean_value(p.alpha, "x", state, (at, slope, whole), current)
            if delayed and jump is not None:
                state["x0"] = state["x0"].minus(z.times(jump))
        if delayed and jump is not None:
            step = either(z, mix(p.alpha, spiked, current).minus(jump), mix(p.alpha, quiet, current))
        else:
            step = mix(p.alpha, whole, current)
        self.close(p.alpha, "x", state, step.widen(error), error, restart=p.reset is not None)
        if "error" in state:
            state["error"] = state["error"].map(lambda value: p.alpha.hi * value + error)

    def rest(self, p: Population, state: State) -> State:
        """Besides, the membrane of each case: above the threshold if it spiked, not above if it could and did not."""
        x, z, bound = state["x"], state["z"], state["bound"]
        one = x.lo.maximum(bound.lo)
        free = p.refractory is None or state["silent"].hi <= 0
        zero = x.hi.minimum(torch.where(torch.as_tensor(free), bound.hi, torch.inf))
        x = Interval(torch.where(z.lo > 0, one, x.lo), torch.where(z.hi > 0, x.hi, zero))
        return super().rest(p, {**state, "x": x, "cases": Interval(one, zero)})


def _natural(alpha: Interval, y: Interval, inflow: Interval) -> Interval:
    return alpha.times(y).plus(Interval(1 - alpha.hi, 1 - alpha.lo).times(inflow))


def _middle(alpha: Interval) -> Tensor:
    return alpha.lo + (alpha.hi - alpha.lo) / 2


def either(z: Interval, spiked: Interval, quiet: Interval) -> Interval:
    """What holds for a neuron that spiked, for one that did not, or for both where z is undecided."""
    both = spiked.hull(quiet)
    sure, never = z.lo > 0, z.hi <= 0
    return Interval(
        torch.where(sure, spiked.lo, torch.where(never, quiet.lo, both.lo)),
        torch.where(sure, spiked.hi, torch.where(never, quiet.hi, both.hi)),
    )
