"""Which kinds, layers, neurons and synapses are fragile: by the gradient of the loss, and measured."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .._util.console import progress
from .._util.errors import check_count, check_finite, unknown
from .._util.printed import Printed
from ..attacks import Attack, Ball, RandomSearch, Suite, cross_entropy, mse, quick
from ..chip import die_random
from ..core.apply import apply
from ..core.params import DIGITAL, Deviations, Params, kind_of
from ..core.placement import Placement, expand
from ..core.run import differentiating, evaluating, forward, nominal
from ..data.samples import Samples, as_samples
from ..nn.network import placement_of
from .floors import version_on
from .predict import EVALUATION_BATCH, checked_params, predict
from .spread import Found, Resumable, check_executor, spread
from .statistics import score
from .worst_case import find_through_floors, suite_of

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"
LEVELS = ("network", "layer", "kind", "layer and kind", "parameter")
TEN_PERCENT = Ball.uniform(0.1)
STEPPED = frozenset({"t_ref"})


SHOWN = 20
"""Parts that a printed result lists, the most fragile first."""


@dataclass(frozen=True, eq=False, repr=False)
class ParameterGroup(Printed):
    """Parameters that deviate together while all others stay nominal, and the scores that remain.

    Attributes:
        level: one of ``LEVELS``. layer, kind, parameter: which one; ``"all"`` where they are taken together.
        names: the parameters.
        random: score on each random die, shape (n_dies,): balanced accuracy, or R² of a regression.
        attacked: score on the worst die the attack found; never above nominal.
        attack: class of the attack, or version of the suite; RandomSearch where the loss has no gradient in the group.

    Example:
        >>> model, data = nr.wrap(nn.Linear(2, 2)), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> found = nr.sensitivity(model, data, attack=nr.attacks.PGA(steps=1), n_dies=3)
        >>> [(group.kind, group.random.shape) for group in found.groups if group.level == "kind"]
        [('weight', (3,)), ('bias', (3,))]
    """

    level: str
    layer: str
    kind: str
    parameter: str
    names: tuple[str, ...]
    random: np.ndarray
    attacked: float
    attack: str


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity(Printed):
    """The result of :func:`sensitivity`.

    Attributes:
        nominal: score of the network as it is. loss: its cross-entropy, or the squared error of a regression.
        params: nominal values, expanded: one for every neuron or synapse.
        gradients: ∂loss/∂δ at δ = 0, shapes of ``params``; NaN for parameters without one.
        radii: ζ of each parameter. placement: where the elements sit.
        groups: the measured groups, one per row of :meth:`table`.

    Example:
        >>> model, data = nr.wrap(nn.Linear(2, 2)), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> found = nr.sensitivity(model, data, attack=nr.attacks.PGA(steps=1), n_dies=3)
        >>> found.gradients["weight"].shape, found.radii
        (torch.Size([2, 2]), {'weight': 0.1, 'bias': 0.1})
    """

    nominal: float
    loss: float
    params: Params
    gradients: Deviations
    radii: Mapping[str, float]
    placement: Placement
    groups: tuple[ParameterGroup, ...]

    def __repr__(self) -> str:
        parts = sorted(self.groups, key=lambda group: min(group.attacked, group.random.min()))
        lines = [f"Sensitivity({len(parts)} parts, nominal {self.nominal:.3f}; table() has all)"]
        lines.append(f"  {'level':<10} {'layer':<20} {'kind':<12} {'parameter':<32} dies: mean    min   attacked")
        for group in parts[:SHOWN]:
            names = f"{group.level:<10} {group.layer[:20]:<20} {group.kind:<12} {group.parameter[:32]:<32}"
            lines.append(f"  {names} {group.random.mean():10.3f} {group.random.min():6.3f} {group.attacked:10.3f}")
        return "\n".join([*lines, f"  … {len(parts) - SHOWN} more parts"] if len(parts) > SHOWN else lines)

    def first_order(self, name: str) -> np.ndarray:
        """abs(∂loss/∂δ)·ζ of every element of a parameter, float64, expanded shape: the loss that its worst corner
        adds, to first order; NaN where there is no synapse, or no gradient."""
        if name not in self.gradients:
            raise unknown("name: parameter", name, self.gradients)
        value = (self.gradients[name].abs().double() * self.radii[name]).cpu().numpy()
        return np.where(self._exists(name), value, np.nan)

    def table(self) -> pd.DataFrame:
        """One row for every group, most fragile first within its level.

        Columns: level, layer, kind, parameter; ``elements`` (neurons or synapses that deviate); ``first_order`` (loss
        added at the worst corner, the sum over elements; NaN without a gradient), ``per_element`` (its mean) and
        ``rms`` (standard deviation of the loss over dies with δ ~ N(0, ζ²), to first order); ``nominal``,
        ``random_mean``, ``random_min``, ``attacked`` (scores: balanced accuracy, or R² of a regression) and ``attack``.
        """
        rows = []
        for group in self.groups:
            values = np.concatenate([self.first_order(name).ravel() for name in group.names])
            values = values[~np.isnan(values)]
            some = len(values) > 0
            rows.append(
                {
                    "level": group.level,
                    "layer": group.layer,
                    "kind": group.kind,
                    "parameter": group.parameter,
                    "elements": sum(int(self._exists(name).sum()) for name in group.names),
                    "first_order": values.sum() if some else np.nan,
                    "per_element": values.mean() if some else np.nan,
                    "rms": np.sqrt((values**2).sum()) if some else np.nan,
                    "nominal": self.nominal,
                    "random_mean": group.random.mean(),
                    "random_min": group.random.min(),
                    "attacked": group.attacked,
                    "attack": group.attack,
                }
            )
        import pandas as pd  # slow to import, here and below

        table = pd.DataFrame(rows)
        rank = table.assign(level=table["level"].map(LEVELS.index))
        order = rank.sort_values(["level", "attacked", "first_order"], ascending=[True, True, False], kind="stable")
        return table.loc[order.index].reset_index(drop=True)

    def top(self, n: int = 10) -> pd.DataFrame:
        """The n single elements whose worst corner adds most loss, to first order.

        Columns: ``parameter``; ``index`` into its expanded shape (a synapse is (target, source)); ``nominal`` value;
        ``deviation``, the worst corner ±ζ; ``first_order``. Parameters without a gradient are not among them.
        """
        n = check_count("n", n)
        names = list(self.gradients)
        values = np.concatenate([self.first_order(name).ravel() for name in names])
        firsts = np.cumsum([0] + [self.gradients[name].numel() for name in names])
        order = np.argsort(-values, kind="stable")[: min(n, int((~np.isnan(values)).sum()))]
        rows = []
        for element in order.tolist():
            i = int(np.searchsorted(firsts, element, "right")) - 1
            name, flat = names[i], element - int(firsts[i])
            index = tuple(int(k) for k in np.unravel_index(*self._place(name, flat)))
            sign = float(self.gradients[name].reshape(-1)[flat].sign())
            value = float(self.params[name].reshape(-1)[flat])
            rows.append((name, index, value, sign * self.radii[name], values[element]))
        import pandas as pd

        return pd.DataFrame(rows, columns=["parameter", "index", "nominal", "deviation", "first_order"])

    def neurons(self) -> pd.DataFrame:
        """Every neuron, most fragile first: the loss added when all its own parameters are at their worst corner.

        Columns: ``layer``, ``neuron``, ``own`` (its time constants, threshold, bias …), ``synapses`` (those that end
        on it, not those it drives) and ``first_order``, their sum. What several neurons share (a convolution's kernel)
        and what has no gradient is left out.
        """
        import pandas as pd

        frames = []
        for layer in dict.fromkeys(self._layer(name) for name in self.params):
            names = [name for name in self.params if self._layer(name) == layer and self.params[name].ndim]
            if layer in self.placement.cores:
                n = len(self.placement.cores[layer])
            else:
                n = max((len(self.params[name]) for name in names), default=0)
            columns = {"own": np.zeros(n), "synapses": np.zeros(n)}
            for name in names:
                if self.placement.rows(name, self.params[name]) == n:
                    column = "synapses" if kind_of(name) == "weight" else "own"
                    columns[column] += self._by_row(name, n)
            frames.append(pd.DataFrame({"layer": layer, "neuron": range(n)} | columns))
        table = pd.concat(frames, ignore_index=True)
        table["first_order"] = table["own"] + table["synapses"]
        return table.sort_values("first_order", ascending=False, kind="stable", ignore_index=True)

    def _place(self, name: str, flat: int) -> tuple[int, tuple[int, ...]]:
        """A flat index into the expanded shape of a parameter, and this shape; of a pattern, those of the matrix."""
        if (pattern := self.placement.patterns.get(name)) is not None:
            return int(pattern.index[flat]), pattern.shape
        return flat, tuple(self.gradients[name].shape)

    def _by_row(self, name: str, n: int) -> np.ndarray:
        """The first-order losses of each row of a parameter, added."""
        losses = self.first_order(name)
        if (pattern := self.placement.patterns.get(name)) is not None:
            return np.bincount(pattern.targets.cpu().numpy(), np.nan_to_num(losses), n)
        return np.nansum(losses.reshape(n, -1), 1)

    def _exists(self, name: str) -> np.ndarray:
        if name in self.placement.masks:
            return self.placement.masks[name].cpu().numpy()
        return np.ones(self.gradients[name].shape, dtype=bool)

    def _layer(self, name: str) -> str:
        return _layer(name, self.placement)


@differentiating()
def sensitivity(
    network: nn.Module,
    data: Any,
    *,
    ball: Ball = TEN_PERCENT,
    attack: Attack | Suite | None = None,
    n_dies: int = 20,
    seed: int = 0,
    executor: Executor | Resumable | None = None,
) -> Sensitivity:
    """Which kinds, layers, neurons and synapses are fragile.

    **By gradient**, for every element: g = ∂loss/∂δ at δ = 0, and abs(g)·ζ, the loss that its worst corner adds. The
    loss is the cross-entropy, or the squared error of a regression. The
    sum over elements is the loss that their common worst corner adds, and ζ·‖g‖ is the standard deviation over dies
    with δ ~ N(0, ζ²), both to first order. Before a spike the gradient is that of the surrogate: on the ECG task the
    corner of ζ = 0.1 added 7 (robust) to 110 times (standard) as much as the sum. So use it to rank elements within one
    layer. It does not predict an accuracy, and a read-out, whose gradient is exact, cannot be compared with spiking
    layers. To compare layers, use the measured scores.

    **Measured**, for every kind, layer, kind in a layer, parameter, and all together, with all others nominal:
    the score on random dies, δ = ζ·u with u ~ N(0, 1) (die k has the same u in every row, so rows compare die by die;
    they are the dies of ``nr.mismatch(ζ)`` under the same seed), and on the worst die an attack finds with
    abs(δ) ≤ ζ. A third of the elements of a random die lie beyond ζ, so where a group hardly matters ``random_min`` may
    fall below ``attacked``.

    How to read it:

    - ``random_mean`` or ``random_min`` of a kind is low: dies will fail because of it. A chip designer spends area or
      calibration there, and not where both stay at ``nominal``. Give each kind the chip's own spread
      (``Ball(weight=0.2, tau_mem=0.1)``); with one ζ for all, kinds compare at equal spread.
    - only ``attacked`` is low: random mismatch hardly reaches that corner; correlated errors (temperature, gradients
      across the die) may. Train with that kind in the ball of :class:`neurorobust.regularizers.Adversarial`.
    - a few neurons or synapses lead :meth:`Sensitivity.neurons` or :meth:`Sensitivity.top`: duplicate or prune them,
      or place them where mismatch is small. If none leads, no single repair will help.
    - the row of the whole network is far below every other: deviations add up across kinds.

    Args:
        network: around its nominal parameters, which are not changed.
        data: samples and labels, at least two classes: :class:`neurorobust.data.Data`, or what
            :meth:`neurorobust.data.Data.of` takes, such as a DataLoader.
        ball: ζ of each kind or parameter, L∞; v_leak and v_reset only if named (in V). What has no radius is left out.
        attack: for the measured worst case, by default :func:`neurorobust.attacks.quick`, whose ten steps underestimate
            it; ``nr.attacks.thorough()`` takes ten times as long. Parameters without a gradient (t_ref acts in whole
            steps) are not attacked; for a group of such parameters only,
            :class:`neurorobust.attacks.RandomSearch` of ten steps is used, which is weaker; column ``attack`` shows it.
            A regression needs an attack on its loss, such as ``PGA(objective="mse")``.
        n_dies: random dies. seed: of the dies and the attack.
        executor: as for :func:`neurorobust.evaluate`. A piece is a random die, or the attack on a group.

    Raises:
        TypeError: a ball of another norm. ValueError: a ball that names nothing here, or one class only.

    Example:
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> found = nr.sensitivity(nr.wrap(nn.Linear(6, 2)), data, attack=nr.attacks.PGA(steps=1), n_dies=2)
        >>> {"kind", "attacked", "random_mean"} <= set(found.table().columns)
        True
    """
    n_dies = check_count("n_dies", n_dies)
    seed = check_count("seed", seed, 0)
    check_executor(executor)
    data = as_samples(data)
    attack = quick(regression=data.regression) if attack is None else attack
    data.check_classes("data")
    if type(ball) is not Ball:
        raise TypeError(f"ball: got {type(ball).__name__}; expected Ball: corners and their sums are those of L∞.")
    params, placement = checked_params(network, data), placement_of(network)
    radii = {
        name: ball.radius(name)
        for name in ball.center(params, placement)
        if ball.radius(name) > 0 and kind_of(name) not in DIGITAL
    }
    if not radii:
        raise ValueError(f"ball: {ball} gives no parameter of this network a radius; name a kind it has.")
    expanded = {name: value for name, value in expand(params, placement).items() if name in radii}
    groups = _groups(radii, placement)
    distinct = list(dict.fromkeys(groups.values()))
    with evaluating(network), progress("groups of parameters", len(distinct) * (n_dies + 1)) as tick:
        outputs = predict(network, params, data)
        loss, output_gradient = _output_gradient(outputs, data)
        gradients = _gradients(network, data, output_gradient, expanded)
        steep = {names: tuple(name for name in names if not gradients[name].isnan().any()) for names in distinct}
        control = RandomSearch(10, "mse" if data.regression else "ce")
        work = _Groups(network, data, radii, tuple((names, steep[names]) for names in distinct), attack, control, seed)
        pieces = [(ATTACKED, group) for group in range(len(distinct))] + [(RANDOM, die) for die in range(n_dies)]

        def arrived(piece: tuple[str, int]) -> None:
            for _ in range(1 if piece[0] == ATTACKED else len(distinct)):
                tick()

        found = list(spread(executor, _measured, pieces, work, arrived))
    attacked, dies = (
        torch.stack([each["score"] for each in some]) for some in (found[: len(distinct)], found[len(distinct) :])
    )
    random = {names: dies[:, group].numpy() for group, names in enumerate(distinct)}
    worst = {names: (float(attacked[group]), work.label(group)) for group, names in enumerate(distinct)}
    measured = tuple(ParameterGroup(*key, names, random[names], *worst[names]) for key, names in groups.items())
    return Sensitivity(score(outputs, data.y), loss, expanded, gradients, radii, placement, measured)


ATTACKED, RANDOM = "attacked", "random"


@dataclass(frozen=True, eq=False)
class _Groups:
    """Groups of parameters to measure: the names of each, and those with a gradient."""

    network: nn.Module
    data: Samples
    radii: Mapping[str, float]
    groups: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    attack: Attack | Suite
    control: RandomSearch
    seed: int

    def chosen(self, group: int) -> Attack | Suite:
        """The attack on a group: one with a gradient where there is one."""
        return self.attack if self.groups[group][1] else self.control

    def label(self, group: int) -> str:
        """The version of the suite, or the class of the attack."""
        chosen = self.chosen(group)
        return version_on(self.network, suite_of(chosen).version) or type(chosen).__name__


def _measured(work: _Groups, piece: tuple[str, int]) -> Found:
    """The score of a group under attack, or of all groups on a random die."""
    what, number = piece
    network, data, seed = work.network, work.data, work.seed
    if what == ATTACKED:
        names, steep = work.groups[number]
        corners = Ball({name: work.radii[name] for name in steep or names})
        worst = find_through_floors(network, data, corners, work.chosen(number), seed=seed)
        return {"score": torch.tensor(worst.score, dtype=torch.float64)}
    params, placement, scores = nominal(network), placement_of(network), []
    expanded = {name: value for name, value in expand(params, placement).items() if name in work.radii}
    normals = die_random.normals(expanded, placement, seed=seed, serial=number)
    deviations = {name: work.radii[name] * u.to(expanded[name]) for name, u in normals.items()}
    with evaluating(network):
        for names, _ in work.groups:
            moved = apply(params, {name: deviations[name] for name in names}, placement)
            scores.append(score(predict(network, moved, data), data.y))
    return {"score": torch.tensor(scores, dtype=torch.float64)}


def _layer(name: str, placement: Placement) -> str:
    """The placed layer of a parameter, or the module that holds it."""
    return placement.layer(name) or name.rpartition(".")[0]


def _groups(names: Mapping[str, float], placement: Placement) -> dict[tuple[str, str, str, str], tuple[str, ...]]:
    """(level, layer, kind, parameter) → the names that deviate together."""
    groups: dict[tuple[str, str, str, str], tuple[str, ...]] = {}
    for name in names:
        layer, kind = _layer(name, placement), kind_of(name)
        rows = ((ALL, ALL, ALL), (layer, ALL, ALL), (ALL, kind, ALL), (layer, kind, ALL), (layer, kind, name))
        for level, row in zip(LEVELS, rows):
            groups[level, *row] = (*groups.get((level, *row), ()), name)
    return groups


def _output_gradient(outputs: Tensor, data: Samples) -> tuple[float, Tensor]:
    """The loss of the whole data set and its derivative in every output, shape of the outputs."""
    leaf = outputs.double().detach().requires_grad_()
    value = (mse if data.regression else cross_entropy)(leaf, leaf.detach(), data.y)
    return value.item(), torch.autograd.grad(value, leaf)[0].to(outputs.dtype)


def _gradients(network: nn.Module, data: Samples, output_gradient: Tensor, expanded: Params) -> Deviations:
    """∂loss/∂δ at δ = 0, block by block from the derivative in the outputs."""
    params, placement = nominal(network), placement_of(network)
    leaves = {name: torch.zeros_like(value).requires_grad_() for name, value in expanded.items()}
    totals: dict[str, Tensor | None] = dict.fromkeys(leaves)
    for where, x in data.blocks(EVALUATION_BATCH):
        weight = output_gradient[where]
        outputs = forward(network, apply(params, leaves, placement), x)[0]
        if not outputs.requires_grad:
            break
        found = torch.autograd.grad(outputs, list(leaves.values()), weight, allow_unused=True)
        for name, gradient in zip(leaves, found):
            if gradient is not None and kind_of(name) not in STEPPED:
                before = totals[name]
                totals[name] = gradient if before is None else before + gradient
    check_finite({f"gradient of {name}": total for name, total in totals.items() if total is not None})
    return {
        name: torch.full_like(expanded[name], torch.nan) if total is None else total for name, total in totals.items()
    }
