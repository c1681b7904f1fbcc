"""Figures: functions that draw on matplotlib axes and return them.

They take results of measurements (``FleetResult``, ``WorstCase``, ``Landscape``, ``Sensitivity``, ``History``), or
plain arrays and tables. They keep no state and choose no style; draw inside ``matplotlib.rc_context(plotting.STYLE)``
for the style of the package, on a figure with ``layout="constrained"``.

Example:
    >>> from matplotlib.figure import Figure
    >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
    >>> fleet = nr.evaluate(nr.wrap(nn.Linear(6, 2)), data, nr.mismatch(0.3), n_dies=4)
    >>> axes = nr.plotting.fleet_violins(Figure().subplots(), {"mine": fleet}, 0.9)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import pandas as pd
from matplotlib.artist import setp
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from torch import Tensor, nn

from .._util import files
from .._util.errors import unknown
from ..core.apply import apply
from ..core.params import POSITIVE, Params, kind_of
from ..core.placement import expand
from ..core.run import nominal
from ..evaluation import FleetResult, Landscape, Sensitivity, WorstCase
from ..evaluation.sensitivity import ALL, LEVELS
from ..nn.network import placement_of

NETWORK = "network"
# Far apart for every kind of colour vision.
COLORS = ("#c44e52", "#2f6fb0", "#e69f00", "#222222", "#7fc4ee")

Line = str | tuple[int, tuple[int, ...]]
DASH_DOT_DOT: Line = (0, (5, 1, 1, 1, 1, 1))
METHOD_STYLES: Mapping[str, tuple[str, Line]] = {
    "standard": ("#222222", "-"),
    "dropout": ("#5f6b7a", "--"),
    "forward_noise": ("#0542f5", "-"),
    "awp": ("#19765e", "-"),
    "entropy_sgd": ("#00707f", DASH_DOT_DOT),
    "abcd": ("#9a6700", "--"),
    "sam": ("#7a7a00", "-."),
    "adversarial_weights": ("#6d1c99", "-"),
    "adversarial": ("#b01309", "-"),
    "adversarial_noise": ("#cf0f78", "--"),
    "adversarial_chip": ("#8c510a", DASH_DOT_DOT),
    "adversarial_whitened": ("#a6338b", "-."),
    "adversarial_quantized": ("#6b4a3a", (0, (8, 2))),
    "adversarial_warm": ("#c44b00", "--"),
}
"""Colour and line style of each training method, the same in every figure; on white each has a contrast of 4.5 to 1.

Dotted lines are left to figures that draw a second quantity of a method."""

ALIASES = {"robust": "adversarial"}
"""Names of the demo for methods."""
ABOVE: Any = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3, "frameon": False, "fontsize": 8}
Dies = FleetResult | Sequence[float] | np.ndarray
UNITS = {
    **dict.fromkeys(("tau_mem", "tau_syn", "tau_adapt", "t_ref"), (1e3, "ms")),
    **dict.fromkeys(("v_threshold", "v_leak", "v_reset", "v_floor", "adaptation"), (1e3, "mV")),
}
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "svg.hashsalt": "neurorobust",
    "svg.fonttype": "none",
}


@runtime_checkable
class TrainingHistory(Protocol):
    """The part of :class:`neurorobust.train.loop.History` that a figure needs."""

    rows: list[dict[str, float]]


def method_style(name: str, place: int = 0) -> tuple[str, Line]:
    """Colour and line style of a training method; for any other name, the colour number ``place`` and a solid line.

    Example:
        >>> nr.plotting.method_style("adversarial") == nr.plotting.method_style("adversarial", place=3)
        True
    """
    return METHOD_STYLES.get(ALIASES.get(name, name), (COLORS[place % len(COLORS)], "-"))


def raster(ax: Axes, spikes: np.ndarray | Tensor, dt: float, *, color: str | Sequence[str] = "k") -> Axes:
    """One dot per event: spikes (T, n), dt in seconds; one colour for all channels or one per channel.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> ax = nr.plotting.raster(plt.figure().subplots(), torch.eye(5), dt=1e-3)
        >>> len(ax.lines) + len(ax.collections)
        1
    """
    spikes = _array(spikes)
    step, channel = np.nonzero(spikes)
    colors = color if isinstance(color, str) else np.asarray(color)[channel]
    ax.scatter(step * dt * 1e3, channel, s=4, c=colors, marker="|", linewidths=1)
    ax.set(xlim=(0, len(spikes) * dt * 1e3), ylim=(-1, spikes.shape[1]))
    ax.grid(False)
    return ax


def membranes(
    axes: Sequence[Axes],
    v: np.ndarray | Tensor,
    dt: float,
    *,
    threshold: np.ndarray | Tensor | None = None,
    spikes: np.ndarray | Tensor | None = None,
) -> Sequence[Axes]:
    """Membrane potential of one neuron on each of the axes, top to bottom.

    Args:
        v: potentials, shape (T, n), V. dt: time step, s.
        threshold: shape (n,), or (T, n) where it adapts, V; dashed.
        spikes: shape (T, n); a tick above the trace for each.

    Raises:
        ValueError: another number of axes than of neurons.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> axes = nr.plotting.membranes(plt.figure().subplots(2), torch.rand(50, 2), dt=1e-3, threshold=torch.ones(2))
        >>> [len(ax.lines) for ax in axes]  # a trace and a threshold each
        [2, 2]
    """
    v = _array(v)
    _check_axes(axes, v.shape[1], "one per neuron")
    time = np.arange(len(v)) * dt * 1e3
    limit = None if threshold is None else np.broadcast_to(_array(threshold), v.shape) * 1e3
    spiked = None if spikes is None else _array(spikes) > 0
    for i, ax in enumerate(axes):
        ax.plot(time, v[:, i] * 1e3, color=COLORS[1], lw=1.2, label="membrane")
        if limit is not None:
            ax.plot(time, limit[:, i], color=COLORS[0], lw=1, ls="--", label="threshold")
        if spiked is not None:
            low, high = ax.get_ylim()
            ax.set_ylim(low, high + 0.18 * (high - low))
            above = ax.get_xaxis_transform()
            ax.vlines(time[spiked[:, i]], 0.88, 0.98, transform=above, color=COLORS[3], lw=1.2, label="spike")
        ax.set(ylabel=f"neuron {i}\n(mV)", xlim=(0, len(v) * dt * 1e3))
    axes[0].legend(**ABOVE)
    axes[-1].set_xlabel("time (ms)")
    axes[0].figure.align_ylabels(axes)
    return axes


def distributions(
    axes: Sequence[Axes],
    before: Mapping[str, Tensor] | nn.Module,
    after: Mapping[str, Tensor] | nn.Module | WorstCase,
    *,
    labels: tuple[str, str] = ("before", "after"),
    bins: int = 40,
) -> Sequence[Axes]:
    """Histograms of every parameter before and after, one parameter on each of the axes, in the same bins.

    Heights are fractions of the elements, so a parameter with one value per core compares with one per neuron.
    Positive kinds have a logarithmic axis. Zeros (absent synapses) are left out, and counted in the legend.

    Args:
        before: a network, or parameters by name, SI units. after: the same, or the worst die found for that network.
            Parameters in both are drawn, in the order of ``before``.

    Raises:
        TypeError: a worst die without the network it was found for. ValueError: another number of axes than of
            parameters.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> axes = nr.plotting.distributions(plt.figure().subplots(1, 2), nn.Linear(6, 2), nn.Linear(6, 2))
        >>> [ax.get_xlabel() for ax in axes]
        ['weight', 'bias']
    """
    if isinstance(after, WorstCase):
        if not isinstance(before, nn.Module):
            raise TypeError(f"before: got a {type(before).__name__}; expected the network whose worst die is drawn.")
        worst, placement = after.deviations, placement_of(before)
        after = apply(nominal(before), worst, placement)
        before = {name: value for name, value in expand(nominal(before), placement).items() if name in worst}
    before, after = _params(before), _params(after)
    names = [name for name in before if name in after]
    _check_axes(axes, len(names), "one per parameter in both")
    for ax, name in zip(axes, names):
        kind = kind_of(name)
        factor, unit = UNITS.get(kind, (1.0, ""))
        pair = [_array(params[name]).ravel() * factor for params in (before, after)]
        shown = [values[values != 0] for values in pair]
        edges = _edges(np.concatenate(shown), bins, kind in POSITIVE)
        for j, (values, label) in enumerate(zip(shown, labels)):
            zeros = len(pair[j]) - len(values)
            ax.hist(
                values,
                edges.tolist(),
                weights=np.full(len(values), 1 / max(len(values), 1)),
                histtype="stepfilled",
                color=(COLORS[j], 0.3),
                edgecolor=COLORS[j],
                lw=1.2,
                label=f"{label}, {zeros} zeros left out" if zeros else label,
            )
        if kind in POSITIVE:
            ax.set_xscale("log")
            ticks = sorted({float(f"{tick:.2g}") for tick in np.geomspace(edges[0], edges[-1], 6)[1:-1]})
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.xaxis.set_minor_locator(NullLocator())
        ax.set(xlabel=f"{name} ({unit})" if unit else name, ylabel="fraction", xlim=(edges[0], edges[-1]))
        ax.legend(**ABOVE | {"ncols": 1 if any(len(values) < len(all_) for values, all_ in zip(shown, pair)) else 2})
    return axes


def fleet_violins(
    ax: Axes | Sequence[Axes] | np.ndarray,
    groups: FleetResult | Mapping[str, Dies] | Mapping[str, Mapping[str, Dies]],
    spec: float | None = None,
) -> Axes | list[Axes]:
    """The score over dies: a violin, every die, and the mean, for each network in each group.

    Args:
        ax: axes for all groups; or several, one for each group, which then has its name as title.
        groups: one fleet; ``{network: fleet}``, grouped by chip; ``{network: [one value per die]}``; or ``{condition:
            {network: fleet, or one value per die}}``.
        spec: a line at the specification.

    Raises:
        ValueError: another number of axes than of groups; no dies. TypeError: groups of another form.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> scores = {"standard": [0.62, 0.81, 0.93], "adversarial": [0.91, 0.93, 0.95]}
        >>> ax = nr.plotting.fleet_violins(plt.figure().subplots(), {"dynapse2": scores}, spec=0.9)
        >>> ax.get_ylabel()
        'balanced accuracy'
    """
    groups = _by_condition(groups)
    if isinstance(ax, Sequence | np.ndarray):
        axes = [one for one in np.ravel(np.asarray(ax, dtype=object)) if one is not None]
        _check_axes(axes, len(groups), "one for each group")
        return [cast(Axes, fleet_violins(one, {name: group}, spec)) for one, (name, group) in zip(axes, groups.items())]
    networks = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 0.8 / len(networks)
    colors = [method_style(name, j)[0] for j, name in enumerate(networks)]
    spread = np.random.default_rng(0)
    for i, group in enumerate(groups.values()):
        for j, name in enumerate(networks):
            if name not in group:
                continue
            values, x = _scores(group[name]), i + (j - (len(networks) - 1) / 2) * width
            if np.ptp(values) > 0:
                violin = ax.violinplot(values, [x], widths=0.9 * width, showextrema=False)
                setp(violin["bodies"], facecolor=colors[j], alpha=0.3)
            ax.scatter(x + spread.uniform(-0.12, 0.12, len(values)) * width, values, s=5, color=colors[j], alpha=0.6)
            ax.hlines(values.mean(), x - 0.3 * width, x + 0.3 * width, color=colors[j], lw=2)
            ax.annotate(
                f"{'min ' if len(networks) < 4 else ''}{values.min():.3f}",
                (x, values.min()),
                (0, -11),
                textcoords="offset points",
                ha="center",
                fontsize=9.5,
                color="0.25",
            )
    if spec is not None:
        ax.axhline(spec, color="0.4", lw=1, ls="--", label=f"specification {spec:.2f}")
    for j, name in enumerate(networks):
        ax.plot([], [], color=colors[j], lw=4, alpha=0.6, label=name)
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set(ylabel=_figure_of_merit(*(dies for group in groups.values() for dies in group.values())))
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.margins(y=0.1)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(networks) + 1, frameon=False)
    return ax


def yield_curve(ax: Axes, values: FleetResult | Mapping[str, Dies], spec: float | None = None) -> Axes:
    """Fraction of dies that reach a specification, for every specification.

    Args:
        values: one fleet, or ``{network: fleet, or one value per die}``.
        spec: a line at one specification.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> scores = {"standard": [0.62, 0.81, 0.93], "adversarial": [0.91, 0.93, 0.95]}
        >>> ax = nr.plotting.yield_curve(plt.figure().subplots(), scores, spec=0.9)
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('specification: balanced accuracy ≥', 'yield')
    """
    fleets = {NETWORK: values} if isinstance(values, FleetResult) else values
    scores = {name: np.sort(_scores(dies)) for name, dies in fleets.items()}
    lowest = min(reached[0] for reached in scores.values())
    for j, (name, reached) in enumerate(scores.items()):
        fraction = 1 - np.arange(len(reached)) / len(reached)
        steps = np.r_[min(0, lowest), reached, 1], np.r_[1, fraction, 0]
        ax.step(*steps, where="pre", color=method_style(name, j)[0], lw=2, label=name)
    if spec is not None:
        ax.axvline(spec, color="0.4", lw=1, ls="--", label=f"specification {spec:.2f}")
    ax.set(xlabel=f"specification: {_figure_of_merit(*fleets.values())} ≥", ylabel="yield", ylim=(0, 1.02))
    ax.set_xlim(max(0, lowest - 0.02) if lowest >= 0 else lowest - 0.02, 1)
    ax.legend(loc="lower left")
    return ax


def attack_curve(ax: Axes, curves: Mapping[Any, Any], chance: float | None = None) -> Axes:
    """Balanced accuracy against the attack's size ζ.

    Args:
        curves: ``{ζ: worst case, or its balanced accuracy}`` of one network, ``{network: {ζ: …}}``, or
            ``{network: {suite: {ζ: …}}}``; each suite has its own line style.
        chance: the accuracy of guessing; by default 1 over the number of classes of the first worst case.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> curves = {"standard": {0.0: 0.97, 0.05: 0.50}, "adversarial": {0.0: 0.96, 0.05: 0.95}}
        >>> ax = nr.plotting.attack_curve(plt.figure().subplots(), curves, chance=0.5)
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('attack size ζ (relative)', 'balanced accuracy')
    """
    whole = curves if _depth(curves) > 1 else {NETWORK: curves}
    by_network = {name: found if _depth(found) > 1 else {"": found} for name, found in whole.items()}
    styles = ("-", ":", "--", "-.")
    suites = list(dict.fromkeys(suite for network in by_network.values() for suite in network))
    for j, (network, by_suite) in enumerate(by_network.items()):
        for suite, points in by_suite.items():
            size, found = zip(*sorted(points.items(), key=lambda point: point[0]))
            if chance is None:
                chance = next((1 / len(worst.recall) for worst in found if getattr(worst, "recall", ())), None)
            value = [worst.score if isinstance(worst, WorstCase) else worst for worst in found]
            style, label = styles[suites.index(suite) % len(styles)], f"{network}, {suite}" if suite else network
            ax.plot(size, value, style, color=method_style(network, j)[0], marker="o", ms=3.5, label=label)
    if chance is not None:
        ax.axhline(chance, color="0.6", lw=1)
        ax.annotate("chance", (0, chance), (2, 3), textcoords="offset points", fontsize=8, color="0.4")
    ax.set(xlabel="attack size ζ (relative)", ylabel="balanced accuracy", ylim=(0, 1.02))
    ax.set_xlim(left=0)
    ax.legend()
    return ax


def landscape(axes: Sequence[Axes], found: Landscape | Mapping[str, Landscape]) -> Sequence[Axes]:
    """Loss along lines through the nominal parameters, random directions on the first of two axes, the adversarial one
    on the second, on the same scale; a thin line for each random direction and a thick one for their mean.

    Args:
        axes: two, side by side. found: the result of :func:`neurorobust.evaluation.landscape`, or ``{network: …}``.

    Raises:
        ValueError: another number of axes than two.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> model, data = nr.wrap(nn.Linear(2, 2)), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> found = nr.evaluation.landscape(model, data, points=5, directions=2)
        >>> axes = nr.plotting.landscape(plt.figure().subplots(1, 2), found)
        >>> [ax.get_xlabel() for ax in axes]
        ['place a on random directions', 'place a on the adversarial direction']
    """
    _check_axes(axes, 2, "random, adversarial")
    found = {NETWORK: found} if isinstance(found, Landscape) else found
    for j, (name, lines) in enumerate(found.items()):
        color, style = method_style(name, j)
        for line in lines.loss:
            axes[0].plot(lines.a, line, color=color, lw=0.6, alpha=0.5)
        for ax, line in zip(axes, (lines.loss.mean(0), lines.adversarial_loss)):
            ax.plot(lines.a, line, color=color, ls=style, lw=2, label=name)
    for ax, which in zip(axes, ("random directions", "the adversarial direction")):
        ax.set(xlabel=f"place a on {which}", ylabel="loss", yscale="log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    axes[0].legend(**ABOVE)
    low, high = zip(*(ax.get_ylim() for ax in axes))
    for ax in axes:
        ax.set_ylim(min(low), max(high))
    return axes


def sensitivity_bars(axes: Sequence[Axes], rows: Sensitivity | pd.DataFrame, level: str = "kind") -> Sequence[Axes]:
    """Loss of accuracy when only one part of a network deviates, in the order of the rows, the first on top.

    Args:
        axes: two, side by side: balanced accuracy as measured (random dies from worst to mean, and attacked), and the
            loss added at the worst corner to first order, on a logarithmic axis.
        rows: the result of :func:`neurorobust.sensitivity`, or some rows of its table. For a regression they hold R²:
            change the label of the first axis.
        level: the level of a whole result to draw, one of ``neurorobust.evaluation.sensitivity.LEVELS``.

    Raises:
        ValueError: another number of axes than two, or an unknown level.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> model, data = nr.wrap(nn.Linear(2, 2)), nr.data.Data(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
        >>> found = nr.sensitivity(model, data, attack=nr.attacks.PGA(steps=1), n_dies=3)
        >>> axes = nr.plotting.sensitivity_bars(plt.figure().subplots(1, 2), found)
        >>> sorted(label.get_text() for label in axes[0].get_yticklabels())
        ['bias (2)', 'weight (4)']
    """
    if isinstance(rows, Sensitivity):
        if level not in LEVELS:
            raise unknown("level", level, LEVELS)
        rows = rows.table().query("level == @level")
    _check_axes(axes, 2, "measured, first order")
    measured, first_order = axes
    y = np.arange(len(rows))
    nominal = float(rows["nominal"].iloc[0])
    measured.axvline(nominal, color="0.4", lw=1, ls="--", label="nominal")
    measured.hlines(y, rows["attacked"], nominal, color=COLORS[0], lw=1, alpha=0.5)
    measured.scatter(rows["attacked"], y, s=34, color=COLORS[0], marker="D", label="attacked", zorder=3)
    measured.hlines(y, rows["random_min"], rows["random_mean"], color=COLORS[1], lw=5, alpha=0.4)
    measured.scatter(rows["random_mean"], y, s=34, color=COLORS[1], label="random dies: mean, to worst", zorder=4)
    measured.set_yticks(y, [f"{_part(row)} ({row['elements']})" for row in rows.to_dict("records")])
    measured.set(xlabel="balanced accuracy", ylabel="part (elements)", ylim=(len(rows) - 0.5, -0.5))
    measured.legend(**ABOVE)
    added = rows["first_order"].to_numpy(dtype=float)
    drawn = added > 0
    first_order.barh(y[drawn], added[drawn], color=COLORS[3], height=0.6)
    if drawn.any():
        first_order.set_xscale("log")
        first_order.xaxis.set_minor_formatter(NullFormatter())
        first_order.set_xlim(added[drawn].min() / 10, added[drawn].max() * 2)
    for i in np.flatnonzero(~drawn):
        text = "no gradient" if np.isnan(added[i]) else "0"
        first_order.annotate(
            text, (0, i), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center"
        )
    first_order.set_yticks(y, [""] * len(y))
    first_order.set(xlabel="loss added at the worst corner (first order)", ylim=(len(rows) - 0.5, -0.5))
    return axes


def synapse_map(
    ax: Axes, values: np.ndarray | Sensitivity, name: str = "", *, label: str = "loss added at the worst corner"
) -> Axes:
    """A heat map of the synapses of a layer, row = target, column = source, with a logarithmic colour bar.

    The colours cover three decades below the largest value; absent synapses (NaN) are grey.

    Args:
        values: the result of :func:`neurorobust.sensitivity`, or an array ≥ 0, shape (n_out, n_in); the positions of
            a kernel are side by side.
        name: the weight of a whole result to draw.

    Raises:
        ValueError: no value above 0, or an unknown name.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> loss = torch.tensor([[0.1, 0.02], [0.2, 0.3]]).numpy()  # target neurons, source neurons
        >>> ax = nr.plotting.synapse_map(plt.figure().subplots(), loss)
        >>> ax.images[0].get_array().shape
        (2, 2)
    """
    values = values.first_order(name) if isinstance(values, Sensitivity) else values
    values = values.reshape(len(values), -1)
    top = np.nanmax(values)
    if not top > 0:
        raise ValueError("values: all are 0 or NaN; expected a positive one.")
    ax.set_facecolor("0.85")
    shown = np.ma.masked_invalid(np.clip(values, top / 1e3, None))
    image = ax.imshow(
        shown, norm=LogNorm(top / 1e3, top), cmap="magma_r", aspect="auto", interpolation="none", rasterized=True
    )
    ax.figure.colorbar(image, ax=ax, label=label, extend="min")
    ax.grid(False)
    ax.set(xlabel="source (grey: no synapse)", ylabel="target neuron")
    return ax


def training(
    axes: Sequence[Axes], rows: TrainingHistory | Sequence[Mapping[str, float]] | pd.DataFrame
) -> Sequence[Axes]:
    """Loss on the first of two axes, validation scores and the epoch that was kept on the second.

    Args:
        rows: a :class:`neurorobust.train.loop.History`, its rows, or ``pd.read_csv(folder / "log.csv")``.

    Raises:
        ValueError: another number of axes than two.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> rows = [{"epoch": 0, "loss": 0.7, "clean": 0.5, "attacked": 0.4, "score": 0.45, "seconds": 1.0}]
        >>> axes = nr.plotting.training(plt.figure().subplots(1, 2), rows)
        >>> [ax.get_ylabel() for ax in axes]
        ['training loss', 'balanced accuracy, validation']
    """
    _check_axes(axes, 2, "loss, validation")
    table = pd.DataFrame(rows.rows if isinstance(rows, TrainingHistory) else rows)
    axes[0].plot(table["epoch"], table["loss"], color=COLORS[3], lw=1.5)
    axes[0].set(xlabel="epoch", ylabel="training loss")
    scored = table.dropna(subset="score")
    for color, column in zip((COLORS[1], COLORS[0], COLORS[3]), ("clean", "attacked", "score")):
        label = "score: their mean" if column == "score" else column
        axes[1].plot(scored["epoch"], scored[column], color=color, lw=1.5, marker="o", ms=3, label=label)
    if len(scored):
        best = scored[scored["score"] == scored["score"].max()]["epoch"].iloc[-1]
        axes[1].axvline(best, color="0.4", lw=1, ls="--", label=f"kept: epoch {best:.0f}")
        axes[1].legend(**ABOVE | {"ncols": 2})
    axes[1].set(xlabel="epoch", ylabel="balanced accuracy, validation")
    return axes


def _params(of: Mapping[str, Tensor] | nn.Module) -> Params:
    return nominal(of) if isinstance(of, nn.Module) else dict(of)


def _scores(dies: Dies) -> np.ndarray:
    values = dies.score if isinstance(dies, FleetResult) else np.asarray(dies, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"groups: got scores of shape {values.shape}; expected one value per die, one die or more.")
    return values


def _figure_of_merit(*dies: Dies) -> str:
    """The name of a fleet's score: R² for a regression."""
    regression = any(isinstance(fleet, FleetResult) and fleet.accuracy is None for fleet in dies)
    return "R²" if regression else "balanced accuracy"


def _by_condition(
    groups: FleetResult | Mapping[str, Dies] | Mapping[str, Mapping[str, Dies]],
) -> Mapping[str, Mapping[str, Dies]]:
    """Fleets by condition and network; those without a condition by chip, or ``dies`` for bare scores."""
    if isinstance(groups, FleetResult):
        return {groups.chip: {NETWORK: groups}}
    if not isinstance(groups, Mapping) or not groups:
        raise TypeError(f"groups: got a {type(groups).__name__}; expected a fleet, or fleets or scores by name.")
    found: dict[str, dict[str, Dies]] = {}
    for name, group in groups.items():
        if isinstance(group, Mapping):
            found[name] = dict(group)
        else:
            found.setdefault(group.chip if isinstance(group, FleetResult) else "dies", {})[name] = group
    return found


def _depth(curves: Mapping[Any, Any]) -> int:
    """The number of nested mappings."""
    return 1 + max((_depth(value) for value in curves.values() if isinstance(value, Mapping)), default=0)


def _array(values: np.ndarray | Tensor) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _check_axes(axes: Sequence[Axes], n: int, meaning: str) -> None:
    if len(axes) != n:
        raise ValueError(f"axes: got {len(axes)}; expected {n}: {meaning}.")


def _edges(values: np.ndarray, bins: int, log: bool) -> np.ndarray:
    """Edges of bins that hold all values, with room at both ends."""
    if not len(values):
        return np.linspace(0.5, 2, bins + 1)
    if log:
        low, high = np.log(values.min()), np.log(values.max())
        room = max(0.05 * (high - low), 0.05)
        return np.exp(np.linspace(low - room, high + room, bins + 1))
    room = max(0.05 * np.ptp(values), 0.05 * np.abs(values).max())
    return np.linspace(values.min() - room, values.max() + room, bins + 1)


def _part(row: Mapping[str, Any]) -> str:
    """The name of a row of the table of sensitivities."""
    if row["parameter"] != ALL:
        return row["parameter"]
    return " ".join(part for part in (row["layer"], row["kind"]) if part != ALL) or "the whole network"


def save_figure(figure: Figure, path: str | Path, suffixes: Sequence[str] = (".png", ".svg")) -> None:
    """Write a figure atomically as PNG and SVG, or as one of them; ``path`` has no suffix.

    Example:
        >>> import matplotlib.pyplot as plt, tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> nr.plotting.save_figure(plt.figure(), folder / "mine")
        >>> sorted(path.name for path in folder.iterdir())
        ['mine.png', 'mine.svg']
    """
    for suffix in suffixes:
        metadata = {"Date": None} if suffix == ".svg" else {}
        with files.replacing(Path(path).with_suffix(suffix)) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=150, bbox_inches="tight", metadata=metadata)
