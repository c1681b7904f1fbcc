"""Figures: functions that draw on matplotlib axes and return them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import setp
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import files

COLORS = ("#c44e52", "#2f6fb0", "#55a868", "#8172b3", "#937860")
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


def raster(ax: Axes, spikes: np.ndarray, dt: float, *, color: str | Sequence[str] = "k") -> Axes:
    """One dot for every event: spikes (T, n), dt in seconds; a colour for all channels or one for each."""
    step, channel = np.nonzero(spikes)
    colors = color if isinstance(color, str) else np.asarray(color)[channel]
    ax.scatter(step * dt * 1e3, channel, s=4, c=colors, marker="|", linewidths=1)
    ax.set(xlim=(0, len(spikes) * dt * 1e3), ylim=(-1, spikes.shape[1]))
    ax.grid(False)
    return ax


def fleet_violins(ax: Axes, groups: Mapping[str, Mapping[str, Sequence[float]]], spec: float | None = None) -> Axes:
    """Balanced accuracy over dies: a violin, every die, and the mean, for each network in each group.

    Args:
        groups: ``{condition: {network: one value a die}}``.
        spec: a line at the specification.
    """
    networks = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 0.8 / len(networks)
    spread = np.random.default_rng(0)
    for i, group in enumerate(groups.values()):
        for j, name in enumerate(networks):
            if name not in group:
                continue
            values, x = np.asarray(group[name]), i + (j - (len(networks) - 1) / 2) * width
            if np.ptp(values) > 0:
                violin = ax.violinplot(values, [x], widths=0.9 * width, showextrema=False)
                setp(violin["bodies"], facecolor=COLORS[j], alpha=0.3)
            ax.scatter(x + spread.uniform(-0.12, 0.12, len(values)) * width, values, s=5, color=COLORS[j], alpha=0.6)
            ax.hlines(values.mean(), x - 0.3 * width, x + 0.3 * width, color=COLORS[j], lw=2)
            ax.annotate(
                f"min {values.min():.3f}",
                (x, values.min()),
                (0, -11),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=COLORS[j],
            )
    if spec is not None:
        ax.axhline(spec, color="0.4", lw=1, ls="--", label=f"specification {spec:.2f}")
    for j, name in enumerate(networks):
        ax.plot([], [], color=COLORS[j], lw=4, alpha=0.6, label=name)
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set(ylabel="balanced accuracy", xlim=(-0.6, len(groups) - 0.4))
    ax.margins(y=0.1)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(networks) + 1, frameon=False)
    return ax


def yield_curve(ax: Axes, values: Mapping[str, Sequence[float]], spec: float | None = None) -> Axes:
    """Fraction of dies that reach a specification, for every specification, so that none has to be chosen.

    Args:
        values: ``{network: balanced accuracy of each die}``.
        spec: a line at one specification.
    """
    for j, (name, dies) in enumerate(values.items()):
        reached = np.sort(dies)
        fraction = 1 - np.arange(len(reached)) / len(reached)
        ax.step(np.r_[0, reached, 1], np.r_[1, fraction, 0], where="pre", color=COLORS[j], lw=2, label=name)
    if spec is not None:
        ax.axvline(spec, color="0.4", lw=1, ls="--")
    lowest = min(min(dies) for dies in values.values())
    ax.set(xlabel="specification: balanced accuracy ≥", ylabel="yield", xlim=(max(0, lowest - 0.02), 1), ylim=(0, 1.02))
    return ax


def attack_curve(ax: Axes, curves: Mapping[str, Mapping[str, Mapping[float, float]]], chance: float) -> Axes:
    """Balanced accuracy against the attack's size ζ.

    Args:
        curves: ``{network: {suite: {ζ: balanced accuracy}}}``; each suite has its own line style.
        chance: what guessing gives.
    """
    styles = ("-", ":", "--", "-.")
    suites = list(dict.fromkeys(suite for network in curves.values() for suite in network))
    for j, (network, by_suite) in enumerate(curves.items()):
        for suite, points in by_suite.items():
            size, value = zip(*sorted(points.items()))
            style = styles[suites.index(suite) % len(styles)]
            ax.plot(size, value, style, color=COLORS[j], marker="o", ms=3.5, label=f"{network}, {suite}")
    ax.axhline(chance, color="0.6", lw=1)
    ax.annotate("chance", (0, chance), (2, 3), textcoords="offset points", fontsize=8, color="0.4")
    ax.set(xlabel="attack size ζ (relative, every kind)", ylabel="balanced accuracy", ylim=(0, 1.02))
    ax.set_xlim(left=0)
    ax.legend()
    return ax


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and SVG, each whole or not at all; ``path`` is without suffix."""
    for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
        with files.replacing(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=150, bbox_inches="tight", metadata=metadata)
