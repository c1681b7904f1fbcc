"""A figure of a die: maps of every parameter over its cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .die import Chip


def draw(die: Chip, kinds: list[str] | None = None) -> Figure:
    """u of each kind over the die: one row a kind, one square a core, −3 to 3 standard deviations.

    Args:
        die: of a model that says how many cores and neurons it has. kinds: which; None for all with sites of their own.
    """
    model = die.model
    if kinds is None:
        kinds = [kind for kind in die.maps() if model.kinds[kind].follows is None]
    if not kinds:
        raise ValueError(f"kinds: nothing varies on {model.name}; there is no map to draw.")
    maps = {kind: die.map(kind) for kind in kinds}
    cores = min(8, max(len(u) for u in maps.values()))
    rows, columns = next(iter(maps.values())).shape[1:]
    wide = 1.4 * max(1.0, min(4.0, columns / rows))
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
