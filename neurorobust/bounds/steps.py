"""Bounds of one time step of a layer, for every parameter of its box.

A state is a dictionary of intervals of shape (rows, n); a row is a sample or one of its branches. ``v``: the membrane
minus v_leak. ``i``: the filtered current. ``b``: the adaptation. ``z``: the spike of the step before. ``refractory``:
the refractory steps that remain. ``threshold``: the value that the membrane must exceed to spike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dynamics import DelayedSubtract, Subtract
from .interval import FLOAT64_ROUNDOFF, Interval, leaky_step, point_interval
from .linear import BoundedSum
from .population import Population, is_constant

State = dict[str, Interval]
CURRENT_ROUNDINGS = 8  # of a current besides those of its sum: gain, resistance, and the membrane's own
TINY = 1e-37  # absolute error where float32 numbers underflow


class StepBounds(ABC):
    """How bounds are computed from those of the step before."""

    def initial_state(self, p: Population, rows: int) -> State:
        """The state before the first step: all zero."""
        zero = point_interval(torch.zeros(rows, p.n, dtype=torch.float64))
        names = [*self.state_names(p), "z", *(["refractory"] if p.refractory is not None else [])]
        return {name: zero for name in names}

    def state_names(self, p: Population) -> list[str]:
        """Names of the states of a layer besides its spikes."""
        return ["v", *(["i"] if p.alpha_syn is not None else []), *(["b"] if p.alpha_adapt is not None else [])]

    def advance(self, p: Population, state: State, drive: BoundedSum) -> State:
        """Adaptation, threshold, current and membrane of the next step; its spikes are not decided yet."""
        state = dict(state)
        z, reset_amount = state["z"], p.threshold
        if p.alpha_adapt is not None and p.adaptation is not None and p.threshold is not None:
            error = 4 * p.unit * (state["b"].magnitude() + 2 * z.hi)
            self.low_pass(p.alpha_adapt, "b", state, z, error)
            reset_amount = p.threshold.plus(p.adaptation.times(state["b"]))
            reset_amount = reset_amount.widen(4 * p.unit * reset_amount.magnitude())
        current = drive.rounded(p.unit, CURRENT_ROUNDINGS)
        if p.r is not None:
            current = p.r.times(current)
        if p.alpha_syn is not None:
            error = 4 * p.unit * (state["i"].magnitude() + current.magnitude())
            self.low_pass(p.alpha_syn, "i", state, current, error)
            current = state["i"]
        self.membrane(p, state, current, reset_amount)
        if reset_amount is not None:
            threshold = (
                reset_amount
                if p.v_leak is None
                else reset_amount.minus(p.v_leak).widen(4 * p.unit * (reset_amount.magnitude() + p.v_leak.magnitude()))
            )
            state["threshold"] = threshold.widen(TINY).map(lambda value: value.expand(z.lo.shape))
        return state

    def rounding_error(self, p: Population, v: Interval, current: Interval) -> Tensor:
        """Bound of the rounding error of one step of the membrane, without that of its current."""
        error = 6 * p.unit * v.magnitude() + 8 * FLOAT64_ROUNDOFF * current.magnitude() + TINY
        return error if p.v_leak is None else error + 8 * p.unit * p.v_leak.magnitude()

    def spike(self, p: Population, state: State) -> State:
        """Sets ``z``: its lower bound is 1 for neurons that must spike, its upper bound for those that may."""
        v, threshold = state["v"], state["threshold"]
        z = Interval((v.lo > threshold.hi).to(v.lo.dtype), (v.hi > threshold.lo).to(v.lo.dtype))
        if p.refractory is None:
            return {**state, "z": z}
        remaining = state["refractory"]
        z = Interval(z.lo * (remaining.hi <= 0), z.hi * (remaining.lo <= 0))
        return {**state, "z": z}

    def after_spikes(self, p: Population, state: State) -> State:
        """Sets the remaining refractory steps, after the spikes of this step have been decided or branched."""
        if p.refractory is None:
            return state
        z, before = state["z"], state["refractory"].map(lambda value: value - 1)
        return {**state, "refractory": by_spike(z, p.refractory.map(lambda value: value.expand(z.lo.shape)), before)}

    @abstractmethod
    def low_pass(self, alpha: Interval, name: str, state: State, inflow: Interval, error: Tensor) -> None:
        """y[t] = α y[t−1] + (1 − α) inflow for ``y = state[name]``, in place."""

    @abstractmethod
    def membrane(self, p: Population, state: State, current: Interval, reset_amount: Interval | None) -> None:
        """The membrane after reset, decay and current, in place; ``reset_amount`` is ϑ of this step."""


@dataclass(frozen=True)
class NaturalExtension(StepBounds):
    """Natural interval extensions of the recursions: each operation uses only the bounds of its inputs.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3)
        >>> box = nr.bounds.box(nr.nominal(network), nr.Ball.uniform(0.1), network.placement())
        >>> layers, x, y = nr.bounds.populations(network, box), torch.ones(1, 50, 1), torch.tensor([0])
        >>> found = nr.bounds.logit_bounds(layers, x, y, network.decode, nr.bounds.NaturalExtension())
        >>> round(found.logits.width()[0, 0].item(), 2)  # MeanValueForm gives 0.19
        0.32
    """

    def low_pass(self, alpha: Interval, name: str, state: State, inflow: Interval, error: Tensor) -> None:
        state[name] = _natural(alpha, state[name], inflow).widen(error)

    def membrane(self, p: Population, state: State, current: Interval, reset_amount: Interval | None) -> None:
        v, z = state["v"], state["z"]
        scale = v if reset_amount is None else v.hull(z.times(reset_amount))
        if p.reset is Subtract and reset_amount is not None:
            v = v.minus(z.times(reset_amount))
        elif p.resets_to_value and p.v_reset is not None:
            v = by_spike(z, p.v_reset.map(lambda value: value.expand(v.lo.shape)), v)
        after = _natural(p.alpha_mem, v, current)
        if p.reset is DelayedSubtract and reset_amount is not None:
            after = after.minus(z.times(reset_amount))
        state["v"] = after.widen(self.rounding_error(p, scale.hull(v), current))


@dataclass(frozen=True)
class MeanValueForm(StepBounds):
    """Tighter bounds that use dependencies which plain intervals ignore.

    In each step α and 1 − α are one number, and over the steps a decay is the same number. For given inputs and spikes
    the membrane is a smooth function of α. The mean-value theorem bounds it by its value at one α₀ (state ``v0``) plus
    its derivative (``v1``) times α − α₀, each bounded for the whole box. A neuron with an undecided spike was above its
    threshold or was not; each case continues with its own membrane.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3)
        >>> box = nr.bounds.box(nr.nominal(network), nr.Ball.uniform(0.1), network.placement())
        >>> layers, x, y = nr.bounds.populations(network, box), torch.ones(1, 50, 1), torch.tensor([0])
        >>> found = nr.bounds.logit_bounds(layers, x, y, network.decode, nr.bounds.MeanValueForm())
        >>> round(found.logits.width()[0, 0].item(), 2)  # NaturalExtension gives 0.32
        0.19
    """

    def state_names(self, p: Population) -> list[str]:
        alphas = {"v": p.alpha_mem, "i": p.alpha_syn, "b": p.alpha_adapt}
        plain = super().state_names(p)
        deviating = [name for name in plain if not is_constant(alphas[name])]  # type: ignore[arg-type]
        cases = [] if p.reset is None else ["cases"]
        return [*plain, *(f"{name}{order}" for name in deviating for order in (0, 1)), *cases]

    def low_pass(self, alpha: Interval, name: str, state: State, inflow: Interval, error: Tensor) -> None:
        y = state[name]
        if f"{name}0" in state:
            self.mean_value(alpha, name, state, (state[f"{name}0"], state[f"{name}1"], y), inflow)
        step = leaky_step(alpha, y, inflow).widen(error)
        self.intersect(alpha, name, state, step, error, restart=True)

    def mean_value(
        self, alpha: Interval, name: str, state: State, y: tuple[Interval, Interval, Interval], inflow: Interval
    ) -> None:
        """Value at α₀ and derivative one step later, without errors; y: value, derivative, bounds after the reset."""
        at, derivative, whole = y
        middle = _middle(alpha)
        own = 8 * FLOAT64_ROUNDOFF * (whole.magnitude() + inflow.magnitude() + at.magnitude())
        state[f"{name}0"] = leaky_step(point_interval(middle), at, inflow).widen(own)
        state[f"{name}1"] = (
            alpha.times(derivative).plus(whole).minus(inflow).widen(own + 8 * FLOAT64_ROUNDOFF * derivative.magnitude())
        )

    def intersect(
        self, alpha: Interval, name: str, state: State, step: Interval, error: Tensor, *, restart: bool
    ) -> None:
        """The bounds of ``name``: the intersection of one interval step and of the mean-value form.

        If the step is far tighter, as after an undecided spike, the mean-value form starts again from it.
        """
        if f"{name}0" not in state:
            state[name] = step
            return
        at, derivative = state[f"{name}0"].widen(error), state[f"{name}1"]
        middle = _middle(alpha)
        reach = Interval(
            (alpha.lo - middle) * (1 + 4 * FLOAT64_ROUNDOFF), (alpha.hi - middle) * (1 + 4 * FLOAT64_ROUNDOFF)
        )
        along = derivative.times(reach)
        whole = at.plus(along).widen(4 * FLOAT64_ROUNDOFF * (at.magnitude() + along.magnitude()))
        state[name] = step.meet(whole)
        if restart:
            anew = step.width() < 0.5 * whole.width()
            at = Interval(torch.where(anew, step.lo, at.lo), torch.where(anew, step.hi, at.hi))
            derivative = derivative.map(lambda value: torch.where(anew, 0.0, value))
        state[f"{name}0"], state[f"{name}1"] = at, derivative

    def membrane(self, p: Population, state: State, current: Interval, reset_amount: Interval | None) -> None:
        v, z = state["v"], state["z"]
        spiked, quiet = v, v
        if "cases" in state:
            spiked, quiet = Interval(state["cases"].lo, v.hi), Interval(v.lo, state["cases"].hi)
        at, derivative = state.get("v0"), state.get("v1")
        delayed = p.reset is DelayedSubtract and reset_amount is not None
        if p.reset is Subtract and reset_amount is not None:
            spiked = spiked.minus(reset_amount)
            at = None if at is None else at.minus(z.times(reset_amount))
        elif p.resets_to_value and p.v_reset is not None:
            spiked = p.v_reset.map(lambda value: value.expand(v.lo.shape))
            at = None if at is None else by_spike(z, spiked, at)
            derivative = None if derivative is None else by_spike(z, derivative.map(torch.zeros_like), derivative)
        whole = by_spike(z, spiked, quiet)
        scale = whole.hull(v) if reset_amount is None else whole.hull(v).hull(z.times(reset_amount))
        error = self.rounding_error(p, scale, current)
        if at is not None and derivative is not None:
            self.mean_value(p.alpha_mem, "v", state, (at, derivative, whole), current)
            if delayed and reset_amount is not None:
                state["v0"] = state["v0"].minus(z.times(reset_amount))
        if delayed and reset_amount is not None:
            step = by_spike(
                z, leaky_step(p.alpha_mem, spiked, current).minus(reset_amount), leaky_step(p.alpha_mem, quiet, current)
            )
        else:
            step = leaky_step(p.alpha_mem, whole, current)
        self.intersect(p.alpha_mem, "v", state, step.widen(error), error, restart=p.reset is not None)
        if "error" in state:
            state["error"] = state["error"].map(lambda value: p.alpha_mem.hi * value + error)

    def after_spikes(self, p: Population, state: State) -> State:
        """Also sets the membrane of each case: above the threshold after a spike, not above it otherwise."""
        v, z, threshold = state["v"], state["z"], state["threshold"]
        spiked = v.lo.maximum(threshold.lo)
        free = p.refractory is None or state["refractory"].hi <= 0
        quiet = v.hi.minimum(torch.where(torch.as_tensor(free), threshold.hi, torch.inf))
        v = Interval(torch.where(z.lo > 0, spiked, v.lo), torch.where(z.hi > 0, v.hi, quiet))
        return super().after_spikes(p, {**state, "v": v, "cases": Interval(spiked, quiet)})


def _natural(alpha: Interval, y: Interval, inflow: Interval) -> Interval:
    return alpha.times(y).plus(Interval(1 - alpha.hi, 1 - alpha.lo).times(inflow))


def _middle(alpha: Interval) -> Tensor:
    return alpha.lo + (alpha.hi - alpha.lo) / 2


def by_spike(z: Interval, spiked: Interval, quiet: Interval) -> Interval:
    """``spiked`` for neurons that spiked, ``quiet`` for those that did not, their hull where z is undecided."""
    both = spiked.hull(quiet)
    certain, never = z.lo > 0, z.hi <= 0
    return Interval(
        torch.where(certain, spiked.lo, torch.where(never, quiet.lo, both.lo)),
        torch.where(certain, spiked.hi, torch.where(never, quiet.hi, both.hi)),
    )
