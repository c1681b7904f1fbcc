"""Tables of the claims: one row for each claim and task, and claims × tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from .claims import Verdict


@dataclass(frozen=True)
class Summary:
    """A claim on one task, against all rivals that were measured.

    Attributes:
        shown: the comparison that decides: see :func:`deciding`.
        failed: methods against which the claim fails.
        compared: number of methods it was tested against. missing: number of its methods that were not measured.
    """

    shown: Verdict
    failed: tuple[str, ...]
    compared: int
    missing: int

    @property
    def held(self) -> str:
        """The number of methods against which the claim holds; empty for a claim about one method."""
        if len(self.shown.claim.against) == 1:
            return ""
        missing = f", {self.missing} rivals not measured" if self.missing else ""
        return f"{self.compared - len(self.failed)} of {self.compared}{missing}"

    def row(self) -> dict[str, str]:
        """The row of a table for readers."""
        row = self.shown.row()
        verdict = row.pop("verdict")
        return row | {"holds against": self.held, "verdict": verdict}

    def short(self) -> str:
        """Verdict and number of the comparison that is shown."""
        beside = f" ({self.missing} rivals not measured)" if self.missing and self.shown.holds else ""
        return f"{'holds' if self.shown.holds else 'FAILS'}: {self.shown.row()['found [95 %]']}{beside}"


def deciding(verdicts: Iterable[Verdict]) -> Verdict:
    """The comparison with the best rival, for one claim on one task; if it fails against some, the best of those.

    The best rival is the one that did best by the quantity of the claim.
    """
    return min(verdicts, key=lambda one: (one.holds, (-1 if one.claim.ratio else 1) * one.interval.estimate))


def summarize(verdicts: Sequence[Verdict]) -> list[Summary]:
    """One summary for each task and claim."""
    found = []
    for _, group in groupby(verdicts, key=lambda one: (one.study, one.claim.text)):
        own = list(group)
        failed = tuple(one.second for one in own if not one.holds)
        found.append(Summary(deciding(own), failed, len(own), len(own[0].claim.against) - len(own)))
    return found


def by_task(summaries: Sequence[Summary]) -> list[dict[str, str]]:
    """Claims × tasks: whether each claim holds, and the number that decides."""
    tasks = list(dict.fromkeys(one.shown.study for one in summaries))
    rows: dict[str, dict[str, str]] = {}
    for one in summaries:
        claim = one.shown.claim.text
        row = rows.setdefault(claim, {"claim": claim, "needs": one.shown.row()["needs"], **dict.fromkeys(tasks, "–")})
        row[one.shown.study] = one.short()
    return list(rows.values())
