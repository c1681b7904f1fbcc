"""Logits of a spiking network for every parameter of a box, through time, with branches where spikes are undecided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..nn.decoders import Decode, last_step, max_over_time, mean_over_time
from ..nn.network import INPUT
from .interval import OURS, Interval, gamma, point
from .linear import Biased, Sum, Weighted, beside, matrix_of
from .population import Population
from .steps import State, Steps, Tight

DECODERS = (mean_over_time, last_step, max_over_time)
BLURRED = 0.1  # fraction of a layer's spikes undecided, on average over a sample's rows, that makes them one row
PAIRS = 400  # of classes whose margins are bounded together, at most


@dataclass(frozen=True)
class Bounds:
    """What is known of some samples for every parameter of a box.

    Attributes:
        logits: bounds, (B, K). margins: lower bounds of logit[y] − logit[k], (B, K); infinite for k = y.
        undecided: the first step at which a spike of some neuron is undecided, (B,); the number of steps if none is.
        leaves: branches followed at the end, (B,). lost: whether there were too many, so that undecided spikes became
            intervals.
    """

    logits: Interval
    margins: Tensor
    undecided: Tensor
    leaves: Tensor
    lost: Tensor

    @classmethod
    def join(cls, parts: Sequence[Bounds]) -> Bounds:
        """The bounds of several groups of samples, one after the other."""
        columns = [[part._columns()[i] for part in parts] for i in range(6)]
        return cls._from(*(torch.cat(column) for column in columns))

    def replaced(self, samples: Tensor, other: Bounds) -> Bounds:
        """With these samples' bounds taken from ``other``."""
        return self._from(*(own.index_copy(0, samples, new) for own, new in zip(self._columns(), other._columns())))

    def _columns(self) -> tuple[Tensor, ...]:
        return *self.logits, self.margins, self.undecided, self.leaves, self.lost

    @classmethod
    def _from(cls, low: Tensor, high: Tensor, *others: Tensor) -> Bounds:
        return cls(Interval(low, high), *others)


class _Rows:
    """All there is to know of the rows (samples, or branches of them) at one step; moved about together."""

    def __init__(self, samples: int):
        self.sample = torch.arange(samples)
        self.states: list[State] = []
        self.signals: dict[str, Interval] = {}
        self.sums: State = {}

    def take(self, rows: Tensor) -> None:
        """Keep these rows, in this order."""
        self._each(lambda interval: interval.map(lambda value: value[rows]))
        self.sample = self.sample[rows]

    def merge(self, rows: Tensor) -> None:
        """One row, the hull, for all rows with the same number in ``rows``, numbered from 0."""
        n = int(rows.max()) + 1

        def reduce(value: Tensor, how: str) -> Tensor:
            index = rows.reshape(-1, *[1] * (value.ndim - 1)).expand(value.shape)
            return value.new_empty(n, *value.shape[1:]).scatter_reduce(0, index, value, how, include_self=False)

        self._each(lambda interval: Interval(reduce(interval.lo, "amin"), reduce(interval.hi, "amax")))
        self.sample = reduce(self.sample, "amin")

    def _each(self, change: Callable[[Interval], Interval]) -> None:
        self.states = [{name: change(value) for name, value in state.items()} for state in self.states]
        self.signals = {name: change(value) for name, value in self.signals.items()}
        self.sums = {name: change(value) for name, value in self.sums.items()}


def logit_bounds(
    layers: Sequence[Population], x: Tensor, y: Tensor, decode: Decode, steps: Steps, limit: int = 1
) -> Bounds:
    """Bounds for samples x (B, T, n_in) of classes y (B,).

    Args:
        layers: as :func:`populations` gives them. decode: one of ``DECODERS``.
        steps: how bounds go from one step to the next.
        limit: branches a sample may have. Where one has more, all of them become one row, their hull, in which spikes
            that are undecided are intervals.
    """
    samples, n_steps, _ = x.shape
    x = x.double()
    rows = _Rows(samples)
    rows.states = [steps.start(p, samples) for p in layers]
    outside = [_precomputed(p, x) for p in layers]
    readout = Readout(layers[-1], decode, n_steps, steps, layers)
    rows.states[-1] |= readout.start(samples)
    rows.sums = readout.sums(samples)
    undecided = torch.full((samples,), n_steps)
    lost = torch.zeros(samples, dtype=torch.bool)
    for t in range(n_steps):
        rows.signals = {INPUT: point(x[rows.sample, t])}
        for number, p in enumerate(layers):
            whole = outside[number]
            drive = p.heard(beside(rows.signals, p.sources)) if whole is None else _at(whole, rows.sample, t)
            if p.recurrent is not None:
                drive = drive.plus(p.recurrent(rows.states[number]["z"]))
            if number == len(layers) - 1 and readout.joint is not None:
                rows.sums["joint"] = readout.together(t, beside(rows.signals, p.sources), rows.sums["joint"])
            state = steps.advance(p, rows.states[number], drive)
            if p.reset is None:
                rows.states[number] = state
                rows.signals[p.name] = (
                    state["x"]
                    if p.leak is None
                    else state["x"].plus(p.leak).widen(2 * p.unit * (state["x"].magnitude() + p.leak.magnitude()))
                )
                continue
            rows.states[number] = steps.fire(p, state)
            z = rows.states[number]["z"]
            doubtful = rows.sample[(z.lo != z.hi).any(1)]
            undecided[doubtful] = undecided[doubtful].clamp(max=t)
            if limit > 1:
                _branch(rows, number, limit, lost)
            rows.states[number] = steps.rest(p, rows.states[number])
            rows.signals[p.name] = rows.states[number]["z"]
        rows.sums = readout.count(t, rows.states[-1], rows.signals[layers[-1].name], rows.sums)
    logits, margins = readout.result(rows.states[-1], rows.sums, y[rows.sample])
    leaves = torch.bincount(rows.sample, minlength=samples)
    rows.signals, rows.states, rows.sums = {}, [], {"logits": logits, "margins": Interval(margins, margins)}
    rows.merge(rows.sample.clone())
    return Bounds(rows.sums["logits"], rows.sums["margins"].lo, undecided, leaves, lost)


def _precomputed(p: Population, x: Tensor) -> Sum | None:
    """The current of all steps (B, T, n) for a layer that hears nothing but the input."""
    if set(p.sources) != {INPUT}:
        return None
    flat = x.reshape(-1, x.shape[-1]).repeat(1, len(p.sources))
    found = p.heard(point(flat))
    shape = (*x.shape[:2], -1)
    terms = found.terms.reshape(shape) if isinstance(found.terms, Tensor) else found.terms
    return Sum(found.value.map(lambda value: value.reshape(shape)), found.scale.reshape(shape), terms)


def _at(whole: Sum, sample: Tensor, t: int) -> Sum:
    terms = whole.terms[sample, t] if isinstance(whole.terms, Tensor) else whole.terms
    return Sum(whole.value.map(lambda value: value[sample, t]), whole.scale[sample, t], terms)


def _branch(rows: _Rows, number: int, limit: int, lost: Tensor) -> None:
    """Follow every combination of the layer's undecided spikes in a row of its own. Samples that would need more than
    ``limit`` rows are lost: their undecided spikes are intervals from here on, and once these are many the rows become
    one."""
    z = rows.states[number]["z"]
    doubt = z.lo != z.hi
    exponent = doubt.sum(1)
    if not bool(exponent.any()):
        return
    need = torch.zeros(len(lost), dtype=torch.float64).index_add(0, rows.sample, 2.0 ** exponent.double().clamp(max=60))
    lost |= need > limit
    spread = torch.zeros(len(lost), dtype=torch.float64).index_add(0, rows.sample, exponent.double() / doubt.shape[1])
    rows_of = torch.bincount(rows.sample, minlength=len(lost))
    blurred = lost & (rows_of > 1) & (spread > BLURRED * rows_of)
    doubt &= ~lost[rows.sample][:, None]
    low, high, parent = z.lo.clone(), z.hi.clone(), torch.arange(len(z.lo))
    while bool(doubt.any()):
        split = doubt.any(1).nonzero()[:, 0]
        neuron = doubt[split].int().argmax(1)
        doubt[split, neuron] = False
        parent, doubt = torch.cat([parent, parent[split]]), torch.cat([doubt, doubt[split]])
        spiked_low, spiked_high = low[split], high[split]
        spiked_low[torch.arange(len(split)), neuron] = 1.0
        high[split, neuron] = 0.0
        low, high = torch.cat([low, spiked_low]), torch.cat([high, spiked_high])
    if len(parent) > len(z.lo):
        rows.take(parent)
        rows.states[number]["z"] = Interval(low, high)
    if bool(blurred.any()):
        own = len(lost) + torch.arange(len(rows.sample))
        group = torch.where(blurred[rows.sample], rows.sample, own)
        rows.merge(group.unique(return_inverse=True)[1])


class Readout:
    """From the last layer's output to bounds of the logits and of their differences.

    The mean of a leaky integrator over the steps, or its last value, is Σ_t κ(t) · current(t) with weights κ that its
    time constant fixes, so logit[y] − logit[k] is bounded with each spike counted once for both (``joint``), at the
    centres of the time constants; the mean-value theorem adds what these may change.
    """

    def __init__(self, p: Population, decode: Decode, n_steps: int, steps: Steps, layers: Sequence[Population]):
        self.p, self.decode, self.n_steps = p, decode, n_steps
        spiking = {layer.name for layer in layers if layer.reset is not None}
        linear = p.reset is None and p.syn is None and decode in (mean_over_time, last_step)
        possible = linear and isinstance(steps, Tight) and set(p.sources) <= spiking and p.n**2 <= PAIRS
        self.joint = self._joint() if possible else None

    def _joint(self) -> list[Weighted] | None:
        """For each step the map from spikes to lower bounds of what they add to logit[y] − logit[k], (y, k) in rows."""
        own = self.p.heard
        bias = own.bias if isinstance(own, Biased) else None
        heard = own.map if isinstance(own, Biased) else own
        if not isinstance(heard, Weighted) or not heard.dense:
            return None
        weight = (
            heard.weight
            if bias is None
            else Interval(torch.cat([heard.weight.lo, bias.lo[None]]), torch.cat([heard.weight.hi, bias.hi[None]]))
        )
        if self.p.r is not None:
            weight = weight.times(self.p.r)
        alpha = self.p.alpha.lo + (self.p.alpha.hi - self.p.alpha.lo) / 2
        impulse = (1 - alpha) * alpha ** torch.arange(self.n_steps, dtype=torch.float64)[:, None]
        kappa = impulse.cumsum(0) / self.n_steps if self.decode is mean_over_time else impulse
        self.bias = bias is not None
        maps = []
        for share in kappa.flip(0):
            shared = weight.times(point(share))
            low, high, size = shared.lo, shared.hi, shared.magnitude()
            pairs = Interval(low[:, :, None] - high[:, None, :], high[:, :, None] - low[:, None, :])
            slack = (64 + 2 * self.n_steps) * OURS * (size[:, :, None] + size[:, None, :])
            maps.append(matrix_of(pairs.widen(slack).map(lambda value: value.flatten(1).T)))
        return maps

    def start(self, rows: int) -> State:
        """What the last layer's state holds besides."""
        return {} if self.joint is None else {"error": point(torch.zeros(rows, self.p.n, dtype=torch.float64))}

    def sums(self, rows: int) -> State:
        """What is summed over the steps."""
        zero = point(torch.zeros(rows, self.p.n, dtype=torch.float64))
        names = ["output", "size", "x0", "x1", "error"]
        joint = {} if self.joint is None else {"joint": point(torch.zeros(rows, self.p.n**2, dtype=torch.float64))}
        return {name: zero for name in names} | joint

    def together(self, t: int, x: Interval, before: Interval) -> Interval:
        """Lower bounds of all differences of two logits so far."""
        assert self.joint is not None
        if self.bias:
            one = torch.ones(len(x.lo), 1, dtype=torch.float64)
            x = x.map(lambda value: torch.cat([value, one], 1))
        found = self.joint[t](x)
        return before.plus(found.rounded(OURS, 4 + self.n_steps))

    def count(self, t: int, state: State, output: Interval, sums: State) -> State:
        """The sums after another step."""
        new = dict(sums)
        if self.decode is max_over_time:
            if t == 0:
                new["output"] = output
            else:
                new["output"] = Interval(sums["output"].lo.maximum(output.lo), sums["output"].hi.maximum(output.hi))
            return new
        last = self.decode is last_step
        named = {"output": output, "size": point(output.magnitude()), "error": state.get("error")}
        named |= {name: state.get(name) for name in ("x0", "x1")}
        for name, value in named.items():
            if value is not None:
                new[name] = value if last else sums[name].plus(value)
        return new

    def result(self, state: State, sums: State, y: Tensor) -> tuple[Interval, Tensor]:
        """Bounds of the logits and lower bounds of logit[y] − logit[k], by row."""
        p = self.p
        if self.decode is max_over_time:
            logits = sums["output"]
            return logits, separate(logits, y)
        steps = 1 if self.decode is last_step else self.n_steps
        slack = gamma(steps + 3.0, p.unit) * sums["size"].hi / steps
        mean = {name: value.map(lambda total: total / steps) for name, value in sums.items()}
        logits = mean["output"]
        along = None
        if "x1" in state and p.reset is None:
            middle = p.alpha.lo + (p.alpha.hi - p.alpha.lo) / 2
            along = mean["x1"].times(p.alpha.minus(point(middle)).map(lambda value: value * (1 + 4 * OURS)))
            whole = mean["x0"].plus(along)
            logits = logits.meet(whole if p.leak is None else whole.plus(p.leak))
        logits = logits.widen(slack)
        margins = separate(logits, y)
        if self.joint is not None:
            row = torch.arange(len(y))
            joint = sums["joint"].lo.reshape(len(y), p.n, p.n)[row, y]
            loss = mean["error"].hi + slack
            if along is not None:
                loss = loss + along.magnitude()
            if p.leak is not None:
                joint = joint + p.leak.lo[y][:, None] - p.leak.hi
            together = joint - loss - loss[row, y][:, None]
            together[row, y] = torch.inf
            margins = margins.maximum(together)
        return logits, margins


def separate(logits: Interval, y: Tensor) -> Tensor:
    """Lower bounds of logit[y] − logit[k] from bounds of each."""
    row = torch.arange(len(y))
    margins = logits.lo[row, y][:, None] - logits.hi
    margins[row, y] = torch.inf
    return margins
