"""Claims in one row each, about the best rival; and all comparisons behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from .claims import Verdict


def hardest(verdicts: Iterable[Verdict]) -> Verdict:
    """Of one claim on one task, the comparison with the rival that did best by what the claim is about."""
    return min(verdicts, key=lambda one: (-1 if one.claim.ratio else 1) * one.interval.estimate)


def summarize(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """One row for each task and claim: the comparison with the best rival that was measured.

    A claim about every rival holds when it holds against each of them; ``rivals`` says against how many it does.
    """
    rows = []
    for _, group in groupby(verdicts, key=lambda one: (one.study, one.claim.text)):
        own = list(group)
        row, weak = hardest(own).row(), [one.second for one in own if not one.holds]
        if row["verdict"] == "holds" and weak:
            row["verdict"] = f"FAILS (against {', '.join(weak)})"
        held = f"{len(own) - len(weak)} of {len(own)}" if len(own[0].claim.against) > 1 else ""
        if missing := len(own[0].claim.against) - len(own):
            held += f", {missing} rivals not measured"
        rows.append(
            {**{key: row[key] for key in row if key != "verdict"}, "holds against": held, "verdict": row["verdict"]}
        )
    return rows


def by_task(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Claims × tasks, from what :func:`summarize` gave: whether each holds, and what was found."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        line = found.setdefault(
            row["claim"], {"claim": row["claim"], "needs": row["needs"], **dict.fromkeys(tasks, "–")}
        )
        _, _, missing = row["holds against"].partition(", ")
        beside = f" ({missing})" if missing and row["verdict"] == "holds" else ""
        line[row["task"]] = f"{row['verdict'].split()[0]}: {row['found [95 %]']}{beside}"
    return list(found.values())
