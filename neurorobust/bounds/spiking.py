"""Bounds of the logits of a spiking network for every parameter of a box, with branches at undecided spikes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..nn.decoders import Decode, last_step, max_over_time, mean_over_time
from ..nn.network import INPUT
from .interval import FLOAT64_ROUNDOFF, Interval, gamma, point_interval
from .linear import Biased, BoundedSum, Weighted, concatenated, matrix_map
from .population import Population
from .steps import MeanValueForm, State, StepBounds

DECODERS = (mean_over_time, last_step, max_over_time)
MERGE_FRACTION = 0.1  # of a layer's spikes undecided, on average over a sample's rows: then the rows are merged
MAX_CLASS_PAIRS = 400  # whose margins are bounded jointly


@dataclass(frozen=True)
class Bounds:
    """Bounds for some samples that hold for every parameter of a box.

    Attributes:
        logits: bounds, (B, K). margins: lower bounds of logit[y] − logit[k], (B, K); infinite for k = y.
        undecided: the first step at which a spike of some neuron is undecided, (B,); the number of steps if none is.
        leaves: branches at the end, (B,). lost: whether there were too many branches, so that undecided spikes became
            intervals.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3)
        >>> box = nr.bounds.box(nr.nominal(network), nr.Ball.uniform(0.1), network.placement())
        >>> layers, x, y = nr.bounds.populations(network, box), torch.ones(1, 50, 1), torch.tensor([0])
        >>> found = nr.bounds.logit_bounds(layers, x, y, network.decode, nr.bounds.MeanValueForm())
        >>> found.margins.shape, round(found.margins[0, 1].item(), 2)
        (torch.Size([1, 2]), 1.1)
    """

    logits: Interval
    margins: Tensor
    undecided: Tensor
    leaves: Tensor
    lost: Tensor

    @classmethod
    def join(cls, parts: Sequence[Bounds]) -> Bounds:
        """The bounds of several groups of samples, one after the other."""
        columns = [[part.columns()[i] for part in parts] for i in range(6)]
        return cls._from(*(torch.cat(column) for column in columns))

    def replaced(self, samples: Tensor, other: Bounds) -> Bounds:
        """A copy with the bounds of these samples taken from ``other``."""
        return self._from(*(own.index_copy(0, samples, new) for own, new in zip(self.columns(), other.columns())))

    def columns(self) -> tuple[Tensor, ...]:
        """All tensors, in the order of the constructor; the logits as lower and upper bounds."""
        return *self.logits, self.margins, self.undecided, self.leaves, self.lost

    @classmethod
    def _from(cls, low: Tensor, high: Tensor, *others: Tensor) -> Bounds:
        return cls(Interval(low, high), *others)


class _SampleRows:
    """The states of all rows (samples, or branches of samples) at one step.

    Attributes:
        sample: the sample of each row. states: one per layer. signals: the output of each layer in this step.
        sums: quantities summed over the steps.
    """

    def __init__(self, samples: int):
        self.sample = torch.arange(samples)
        self.states: list[State] = []
        self.signals: dict[str, Interval] = {}
        self.sums: State = {}

    def take(self, rows: Tensor) -> None:
        """Keep these rows, in this order."""
        self._apply(lambda interval: interval.map(lambda value: value[rows]))
        self.sample = self.sample[rows]

    def merge(self, rows: Tensor) -> None:
        """Replaces all rows with the same number in ``rows`` (counted from 0) by their hull, one row."""
        n = int(rows.max()) + 1

        def reduce(value: Tensor, how: str) -> Tensor:
            index = rows.reshape(-1, *[1] * (value.ndim - 1)).expand(value.shape)
            return value.new_empty(n, *value.shape[1:]).scatter_reduce(0, index, value, how, include_self=False)

        self._apply(lambda interval: Interval(reduce(interval.lo, "amin"), reduce(interval.hi, "amax")))
        self.sample = reduce(self.sample, "amin")

    def _apply(self, change: Callable[[Interval], Interval]) -> None:
        self.states = [{name: change(value) for name, value in state.items()} for state in self.states]
        self.signals = {name: change(value) for name, value in self.signals.items()}
        self.sums = {name: change(value) for name, value in self.sums.items()}


def logit_bounds(
    layers: Sequence[Population], x: Tensor, y: Tensor, decode: Decode, steps: StepBounds, limit: int = 1
) -> Bounds:
    """Bounds for samples x (B, T, n_in) of classes y (B,).

    Args:
        layers: as :func:`populations` gives them. decode: one of ``DECODERS``.
        steps: how bounds are computed from those of the step before.
        limit: largest number of branches per sample. A sample that needs more gets a single row, the hull of all, in
            which undecided spikes are intervals.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3)
        >>> box = nr.bounds.box(nr.nominal(network), nr.Ball.uniform(0.1), network.placement())
        >>> layers, x, y = nr.bounds.populations(network, box), torch.ones(1, 50, 1), torch.tensor([0])
        >>> found = nr.bounds.logit_bounds(layers, x, y, network.decode, nr.bounds.MeanValueForm())
        >>> [round(end[0, 0].item(), 2) for end in found.logits]  # of the first class
        [0.55, 0.74]
    """
    samples, n_steps, _ = x.shape
    x = x.double()
    rows = _SampleRows(samples)
    rows.states = [steps.initial_state(p, samples) for p in layers]
    precomputed = [_precomputed_current(p, x) for p in layers]
    readout = Readout(layers[-1], decode, n_steps, steps, layers)
    rows.states[-1] |= readout.initial_state(samples)
    rows.sums = readout.initial_sums(samples)
    undecided = torch.full((samples,), n_steps)
    lost = torch.zeros(samples, dtype=torch.bool)
    for t in range(n_steps):
        rows.signals = {INPUT: point_interval(x[rows.sample, t])}
        for number, p in enumerate(layers):
            whole = precomputed[number]
            if whole is None:
                drive = p.input_map(concatenated(rows.signals, p.sources))
            else:
                drive = _at_step(whole, rows.sample, t)
            if p.recurrent_map is not None:
                drive = drive.plus(p.recurrent_map(rows.states[number]["z"]))
            if number == len(layers) - 1 and readout.joint is not None:
                rows.sums["joint"] = readout.add_joint_margins(
                    t, concatenated(rows.signals, p.sources), rows.sums["joint"]
                )
            state = steps.advance(p, rows.states[number], drive)
            if p.reset is None:
                rows.states[number] = state
                rows.signals[p.name] = (
                    state["v"]
                    if p.v_leak is None
                    else state["v"].plus(p.v_leak).widen(2 * p.unit * (state["v"].magnitude() + p.v_leak.magnitude()))
                )
                continue
            rows.states[number] = steps.spike(p, state)
            z = rows.states[number]["z"]
            doubtful = rows.sample[(z.lo != z.hi).any(1)]
            undecided[doubtful] = undecided[doubtful].clamp(max=t)
            if limit > 1:
                _branch(rows, number, limit, lost)
            rows.states[number] = steps.after_spikes(p, rows.states[number])
            rows.signals[p.name] = rows.states[number]["z"]
        rows.sums = readout.accumulate(t, rows.states[-1], rows.signals[layers[-1].name], rows.sums)
    logits, margins = readout.result(rows.states[-1], rows.sums, y[rows.sample])
    leaves = torch.bincount(rows.sample, minlength=samples)
    rows.signals, rows.states, rows.sums = {}, [], {"logits": logits, "margins": Interval(margins, margins)}
    rows.merge(rows.sample.clone())
    return Bounds(rows.sums["logits"], rows.sums["margins"].lo, undecided, leaves, lost)


def _precomputed_current(p: Population, x: Tensor) -> BoundedSum | None:
    """The current of all steps (B, T, n) for a layer whose only source is the input of the network; else None."""
    if set(p.sources) != {INPUT}:
        return None
    flat = x.reshape(-1, x.shape[-1]).repeat(1, len(p.sources))
    found = p.input_map(point_interval(flat))
    shape = (*x.shape[:2], -1)
    terms = found.terms.reshape(shape) if isinstance(found.terms, Tensor) else found.terms
    return BoundedSum(found.value.map(lambda value: value.reshape(shape)), found.scale.reshape(shape), terms)


def _at_step(whole: BoundedSum, sample: Tensor, t: int) -> BoundedSum:
    terms = whole.terms[sample, t] if isinstance(whole.terms, Tensor) else whole.terms
    return BoundedSum(whole.value.map(lambda value: value[sample, t]), whole.scale[sample, t], terms)


def _branch(rows: _SampleRows, number: int, limit: int, lost: Tensor) -> None:
    """Give every combination of the layer's undecided spikes its own row. Samples that would need more than ``limit``
    rows are lost: their undecided spikes are intervals from now on, and once there are many the rows are merged."""
    z = rows.states[number]["z"]
    undecided = z.lo != z.hi
    exponent = undecided.sum(1)
    if not bool(exponent.any()):
        return
    need = torch.zeros(len(lost), dtype=torch.float64).index_add(0, rows.sample, 2.0 ** exponent.double().clamp(max=60))
    lost |= need > limit
    fraction = torch.zeros(len(lost), dtype=torch.float64).index_add(
        0, rows.sample, exponent.double() / undecided.shape[1]
    )
    rows_of = torch.bincount(rows.sample, minlength=len(lost))
    merged = lost & (rows_of > 1) & (fraction > MERGE_FRACTION * rows_of)
    undecided &= ~lost[rows.sample][:, None]
    low, high, parent = z.lo.clone(), z.hi.clone(), torch.arange(len(z.lo))
    while bool(undecided.any()):
        split = undecided.any(1).nonzero()[:, 0]
        neuron = undecided[split].int().argmax(1)
        undecided[split, neuron] = False
        parent, undecided = torch.cat([parent, parent[split]]), torch.cat([undecided, undecided[split]])
        spiked_low, spiked_high = low[split], high[split]
        spiked_low[torch.arange(len(split)), neuron] = 1.0
        high[split, neuron] = 0.0
        low, high = torch.cat([low, spiked_low]), torch.cat([high, spiked_high])
    if len(parent) > len(z.lo):
        rows.take(parent)
        rows.states[number]["z"] = Interval(low, high)
    if bool(merged.any()):
        own = len(lost) + torch.arange(len(rows.sample))
        group = torch.where(merged[rows.sample], rows.sample, own)
        rows.merge(group.unique(return_inverse=True)[1])


class Readout:
    """Bounds of the logits and of their differences from the output of the last layer.

    The mean of a leaky integrator over the steps, or its last value, is Σ_t κ(t) · current(t) with weights κ that its
    time constant fixes, so logit[y] − logit[k] is bounded with each spike counted once for both (``joint``), at the
    centres of the time constants; the mean-value theorem adds the effect of their deviations.
    """

    def __init__(self, p: Population, decode: Decode, n_steps: int, steps: StepBounds, layers: Sequence[Population]):
        self.p, self.decode, self.n_steps = p, decode, n_steps
        spiking = {layer.name for layer in layers if layer.reset is not None}
        linear = p.reset is None and p.alpha_syn is None and decode in (mean_over_time, last_step)
        possible = (
            linear and isinstance(steps, MeanValueForm) and set(p.sources) <= spiking and p.n**2 <= MAX_CLASS_PAIRS
        )
        self.joint = self._joint_maps() if possible else None

    def _joint_maps(self) -> list[Weighted] | None:
        """For each step the map from spikes to their contributions to logit[y] − logit[k], (y, k) in rows."""
        own = self.p.input_map
        bias = own.bias if isinstance(own, Biased) else None
        input_map = own.map if isinstance(own, Biased) else own
        if not isinstance(input_map, Weighted) or not input_map.dense:
            return None
        weight = (
            input_map.weight
            if bias is None
            else Interval(
                torch.cat([input_map.weight.lo, bias.lo[None]]), torch.cat([input_map.weight.hi, bias.hi[None]])
            )
        )
        if self.p.r is not None:
            weight = weight.times(self.p.r)
        alpha = self.p.alpha_mem.lo + (self.p.alpha_mem.hi - self.p.alpha_mem.lo) / 2
        impulse = (1 - alpha) * alpha ** torch.arange(self.n_steps, dtype=torch.float64)[:, None]
        kappa = impulse.cumsum(0) / self.n_steps if self.decode is mean_over_time else impulse
        self.bias = bias is not None
        maps = []
        for share in kappa.flip(0):
            shared = weight.times(point_interval(share))
            low, high, size = shared.lo, shared.hi, shared.magnitude()
            pairs = Interval(low[:, :, None] - high[:, None, :], high[:, :, None] - low[:, None, :])
            slack = (64 + 2 * self.n_steps) * FLOAT64_ROUNDOFF * (size[:, :, None] + size[:, None, :])
            maps.append(matrix_map(pairs.widen(slack).map(lambda value: value.flatten(1).T)))
        return maps

    def initial_state(self, rows: int) -> State:
        """Additional states of the last layer."""
        return {} if self.joint is None else {"error": point_interval(torch.zeros(rows, self.p.n, dtype=torch.float64))}

    def initial_sums(self, rows: int) -> State:
        """The sums over the steps, before the first one."""
        zero = point_interval(torch.zeros(rows, self.p.n, dtype=torch.float64))
        names = ["output", "size", "v0", "v1", "error"]
        joint = (
            {} if self.joint is None else {"joint": point_interval(torch.zeros(rows, self.p.n**2, dtype=torch.float64))}
        )
        return {name: zero for name in names} | joint

    def add_joint_margins(self, t: int, x: Interval, before: Interval) -> Interval:
        """Lower bounds of all differences of two logits up to step t; ``before``: up to the step before."""
        assert self.joint is not None
        if self.bias:
            one = torch.ones(len(x.lo), 1, dtype=torch.float64)
            x = x.map(lambda value: torch.cat([value, one], 1))
        found = self.joint[t](x)
        return before.plus(found.rounded(FLOAT64_ROUNDOFF, 4 + self.n_steps))

    def accumulate(self, t: int, state: State, output: Interval, sums: State) -> State:
        """The sums after step t."""
        new = dict(sums)
        if self.decode is max_over_time:
            if t == 0:
                new["output"] = output
            else:
                new["output"] = Interval(sums["output"].lo.maximum(output.lo), sums["output"].hi.maximum(output.hi))
            return new
        last = self.decode is last_step
        named = {"output": output, "size": point_interval(output.magnitude()), "error": state.get("error")}
        named |= {name: state.get(name) for name in ("v0", "v1")}
        for name, value in named.items():
            if value is not None:
                new[name] = value if last else sums[name].plus(value)
        return new

    def result(self, state: State, sums: State, y: Tensor) -> tuple[Interval, Tensor]:
        """Bounds of the logits and lower bounds of logit[y] − logit[k], by row."""
        p = self.p
        if self.decode is max_over_time:
            logits = sums["output"]
            return logits, separate_margins(logits, y)
        steps = 1 if self.decode is last_step else self.n_steps
        slack = gamma(steps + 3.0, p.unit) * sums["size"].hi / steps
        mean = {name: value.map(lambda total: total / steps) for name, value in sums.items()}
        logits = mean["output"]
        along = None
        if "v1" in state and p.reset is None:
            middle = p.alpha_mem.lo + (p.alpha_mem.hi - p.alpha_mem.lo) / 2
            along = mean["v1"].times(
                p.alpha_mem.minus(point_interval(middle)).map(lambda value: value * (1 + 4 * FLOAT64_ROUNDOFF))
            )
            whole = mean["v0"].plus(along)
            logits = logits.meet(whole if p.v_leak is None else whole.plus(p.v_leak))
        logits = logits.widen(slack)
        margins = separate_margins(logits, y)
        if self.joint is not None:
            row = torch.arange(len(y))
            joint = sums["joint"].lo.reshape(len(y), p.n, p.n)[row, y]
            loss = mean["error"].hi + slack
            if along is not None:
                loss = loss + along.magnitude()
            if p.v_leak is not None:
                joint = joint + p.v_leak.lo[y][:, None] - p.v_leak.hi
            joint_margins = joint - loss - loss[row, y][:, None]
            joint_margins[row, y] = torch.inf
            margins = margins.maximum(joint_margins)
        return logits, margins


def separate_margins(logits: Interval, y: Tensor) -> Tensor:
    """Lower bounds of logit[y] − logit[k] from bounds of each."""
    row = torch.arange(len(y))
    margins = logits.lo[row, y][:, None] - logits.hi
    margins[row, y] = torch.inf
    return margins
