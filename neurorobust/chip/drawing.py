"""Figures of a chip: the distributions of its model, and maps of a die's parameters over its cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from ..core.params import ABSOLUTE, SIGNED
from .cards import unit_of
from .design import ChipDesign, KindModel
from .die import Die
from .variability import Offset
from .wording import percent, quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTILES = 4001


def draw_model(chip: ChipDesign, columns: int = 4) -> Figure:
    """Variation of each kind over the devices of a chip, one histogram per kind: θ*/θ, or θ* − θ in the chip's
    unit where θ may be 0; at the programmed value of the stated spread. Exact kinds are left out.

    Args:
        columns: histograms beside each other, at most. Two are readable on a phone.

    Example:
        >>> import chipmodels
        >>> figure = nr.chip.draw_model(chipmodels.load("xylo"))
        >>> len(figure.axes)
        1
    """
    varying = {kind: model for kind, model in chip.kinds.items() if model.cv.value > 0}
    from matplotlib.figure import Figure  # slow to import

    columns = min(columns, max(1, len(varying)))
    rows = -(-max(1, len(varying)) // columns)
    figure = Figure(figsize=(2.3 * columns, 0.6 + 1.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(varying) :]:
        ax.set_axis_off()
    if not varying:
        axes[0].text(0.5, 0.5, "every die is the same", ha="center", va="center")
    for ax, (kind, model) in zip(axes, varying.items()):
        ax.hist(spread(kind, model).numpy(), bins=60, density=True, color="#2f6fb0")
        unit = unit_of(chip, kind)
        size = quantity(model.cv.value, unit) if isinstance(model.law, Offset) else percent(model.cv.value)
        at = "" if model.cv.at is None else f" at {quantity(model.cv.at, unit)}"
        ax.set_title(f"{kind}: {size}{at}\n{model.cv.status}", fontsize=9)
        ax.set(yticks=[])
        ax.tick_params(labelsize=9)
    figure.suptitle(f"{chip.label}: one device\nover its programmed value", fontsize=10)
    return figure


def spread(kind: str, model: KindModel) -> Tensor:
    """Values of 4001 equally likely devices over the programmed one; differences where that may be 0; float64."""
    u = torch.from_numpy(ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES))
    delta = model.law.of_first_normal.deviate(
        kind, (u,), torch.full_like(u, 1.0 if model.cv.at is None else model.cv.at)
    )
    return delta if kind in ABSOLUTE else 1 + delta if kind in SIGNED else delta.exp()


def draw(die: Die, kinds: list[str] | None = None, cores: int = 8) -> Figure:
    """u of each kind over the die: one row per kind, one square per core, −3 to 3 standard deviations.

    Args:
        die: of a model with known numbers of cores and neurons. kinds: to draw; None for all with separate sites.
        cores: to draw, at most.

    Raises:
        ValueError: nothing varies on this chip, or a kind that has no map.

    Example:
        >>> import chipmodels
        >>> die = chipmodels.load("dynapse2").fabricate([17], seed=0)[0]
        >>> figure = nr.chip.draw(die, kinds=["tau_mem"], cores=1)
        >>> len(figure.axes)  # one map and its colour bar
        2
    """
    model = die.model
    if kinds is None:
        kinds = [kind for kind in die.maps() if model.kinds[kind].shares_deviate_of is None]
    if not kinds:
        raise ValueError(f"kinds: nothing varies on {model.name}; there is no map to draw.")
    maps = {kind: die.map(kind) for kind in kinds}
    cores = min(cores, max(len(u) for u in maps.values()))
    rows, columns = next(iter(maps.values())).shape[1:]
    wide = 1.4 * max(1.0, min(2.4, columns / rows))
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(1.2 + wide * cores, 0.6 + 1.5 * len(maps)), layout="constrained")
    axes = figure.subplots(len(maps), cores, squeeze=False)
    image = None
    for line, (kind, u) in zip(axes, maps.items()):
        for number, ax in enumerate(line):
            image = ax.imshow(u[number].numpy(), cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto", interpolation="none")
            ax.set(xticks=[], yticks=[])
            if not number:
                ax.set_ylabel(kind)
            if ax in axes[0]:
                ax.set_title(f"core {number}", fontsize=9)
    assert image is not None
    figure.colorbar(image, ax=axes, label="standard deviations", shrink=0.8)
    figure.suptitle(f"die {die.serial} of {model.name}, seed {die.seed}")
    return figure
