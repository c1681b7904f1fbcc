"""Results as tables for readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from .measuring import FOREIGN, Measured
from .peers import OURS
from .workloads import WORKLOADS


def results(name: str, measured: Measured, import_mb: float) -> Table:
    """One workload: a row for each tool, fastest first."""
    table = Table(
        title=f"{name}: {WORKLOADS[name].about}",
        caption=f"hidden neurons spike in {measured.hidden_rate:.1%} of the steps; importing torch alone takes "
        f"{import_mb:.0f} MB",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("tool", no_wrap=True)
    for heading in ("median ms", "min ms", "runs", "peak MB", "we are faster by", "same output"):
        table.add_column(heading, justify="right")
    ratios = measured.ratios()
    for tool, timing in sorted(measured.times.items(), key=lambda item: item[1].median_ms):
        share = measured.agreement.get(tool)
        table.add_row(
            tool,
            f"{timing.median_ms:.1f}",
            f"{timing.min_ms:.1f}",
            str(timing.runs),
            f"{timing.peak_mb:.0f}",
            f"{ratios[tool]:.2f} ×" if tool in ratios else "",
            "" if share is None else f"{share:.0%}",
            style="bold" if tool == OURS else None,
        )
    return table


def remarks(measured: Measured) -> list[str]:
    """Remarks for which a table has no room, one line each."""
    lines = [f"{tool}: {reason}" for tool, reason in measured.refused.items()]
    if measured.foreign:
        lines.append(
            f"foreign load: others used more than {FOREIGN:g} cores during {measured.foreign:.0%} of the runs; "
            f"they were repeated; if too few are clean, all of them count"
        )
    return lines


def plain(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table whose first column is words and whose others are numbers."""
    table = Table(title=title, title_justify="left")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    return table


def fallen(losses: Mapping[tuple[str, str], tuple[float, float]]) -> list[str]:
    """Ratios that fell, a line each."""
    return [
        f"{work}: faster than {peer} by {now:.2f} ×, saved {before:.2f} ×"
        for (work, peer), (before, now) in losses.items()
    ]
