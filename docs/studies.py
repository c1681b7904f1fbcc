"""Tables of the studies whose numbers are committed as JSON beside the tests."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parent.parent / "tests"


def rare_table() -> str:
    """Subset simulation where the probability is known: one row for each probability, over all limit states."""
    rows = json.loads((TESTS / "interval_study.json").read_text(encoding="utf-8"))["rare"]
    head = "| probability | 95 % intervals that contain it | no number | mean / truth | passes | passes of counting |"
    lines = [head, "|---|---|---|---|---|---|"]
    for exponent in range(-1, -5, -1):
        here = [row for row in rows if round(math.log10(row["probability"])) == exponent]
        studies = sum(row["studies"] for row in here)
        held, given = (sum(row[key] for row in here) for key in ("held", "given"))
        mean, passes, counting = (
            sum(row[key] * row["studies"] for row in here) / studies
            for key in ("mean_over_truth", "passes", "brute_force")
        )
        lines.append(
            f"| 1e{exponent} | {held} of {given} ({held / given:.0%}) | {studies - given} of {studies} | {mean:.2f} | "
            f"{passes:,.0f} | {counting:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def rare_network_table() -> str:
    """Subset simulation on the dies of a small network, against the dies that were counted."""
    study = json.loads((TESTS / "rare_study.json").read_text(encoding="utf-8"))
    head = "| failed | numbers given | mean / counted | intervals that contain it | passes | passes of counting |"
    lines = [head, "|---|---|---|---|---|---|"]
    for row in study["rows"]:
        truth, n = row["failures"] / study["counted"], len(row["estimates"])
        spread = np.hypot(np.std(row["estimates"], ddof=1) / n**0.5, (truth * (1 - truth) / study["counted"]) ** 0.5)
        held = sum(low <= truth <= high for low, high in row["intervals"])
        ratio = f"{np.mean(row['estimates']) / truth:.2f} ± {spread / truth:.2f}"
        cells = [f"{row['failures']:,} ({truth:.1e})", f"{n} of {row['studies']}", ratio, f"{held} of {n}"]
        cells += [f"{row[key]:,.0f}" for key in ("passes", "brute_force")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
