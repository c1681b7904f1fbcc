"""Clusters of settings under a budget of cores: exact for one parameter, k-means for several."""

from __future__ import annotations

import numpy as np

Table = list[tuple[float, np.ndarray]]
"""(sum of squared distances, cluster of each point) for 1, 2, … clusters; inf where they cannot hold all points."""


def one_parameter(values: np.ndarray, most: int, capacity: int) -> Table:
    """The best division of numbers into at most k clusters of at most ``capacity`` points, for k = 1 … ``most``.

    Exact: the best clusters are neighbours in order, so dynamic programming over the sorted numbers finds them.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order] - values.mean()
    n = len(ascending)
    sums, squares = (np.concatenate([[0.0], np.cumsum(ascending**power)]) for power in (1, 2))
    same = np.searchsorted(ascending, ascending, side="left")  # the first point with this value
    best = np.full(n + 1, np.inf)
    best[0] = 0.0
    starts, table = [], []
    for _ in range(most):
        after, start = best.copy(), np.arange(n + 1)  # a cluster may be empty
        for end in range(1, n + 1):
            first = np.arange(max(0, end - capacity), end)
            count = end - first
            spread = (squares[end] - squares[first]) - (sums[end] - sums[first]) ** 2 / count
            spread = np.where(same[end - 1] <= first, 0.0, np.maximum(spread, 0.0))
            total = best[first] + spread
            chosen = int(total.argmin())
            if total[chosen] < after[end]:
                after[end], start[end] = total[chosen], first[chosen]
        best = after
        starts.append(start)
        table.append((float(best[n]), _labels(starts, order)))
    return table


def _labels(starts: list[np.ndarray], order: np.ndarray) -> np.ndarray:
    """The cluster of each point, followed back from the last cluster."""
    labels, end = np.zeros(len(order), dtype=np.int64), len(order)
    for cluster in range(len(starts) - 1, -1, -1):
        first = int(starts[cluster][end])
        labels[order[first:end]] = cluster
        end = first
    return labels


def several_parameters(points: np.ndarray, most: int, capacity: int) -> Table:
    """As :func:`one_parameter` for points (n, d): Lloyd's k-means from centres far apart, and as many clusters as fit.

    A cluster of more than ``capacity`` points takes several cores. Deterministic; not always the best.
    """
    n = len(points)
    table: Table = [(np.inf, np.zeros(n, dtype=np.int64))] * most
    for k in range(1, min(most, n) + 1):
        nearest = _lloyd(points, k)
        labels, used = np.zeros(n, dtype=np.int64), 0
        for cluster in range(k):
            members = np.flatnonzero(nearest == cluster)
            labels[members] = used + np.arange(len(members)) // capacity
            used += -(-len(members) // capacity)
        if used > most:
            continue
        centres = np.stack([points[labels == label].mean(0) for label in range(used)])
        cost = float(np.square(points - centres[labels]).sum())
        for cores in range(used, most + 1):
            if cost < table[cores - 1][0]:
                table[cores - 1] = (cost, labels)
    return table


def _lloyd(points: np.ndarray, k: int) -> np.ndarray:
    """The cluster of each point. The first centre is the point farthest from the mean, each further one that which is
    farthest from all before."""
    centres = points[[int(np.square(points - points.mean(0)).sum(1).argmax())]]
    while len(centres) < k:
        away = np.square(points[:, None] - centres).sum(2).min(1)
        centres = np.concatenate([centres, points[[int(away.argmax())]]])
    nearest = np.zeros(len(points), dtype=np.int64)
    for _ in range(100):
        again = np.square(points[:, None] - centres).sum(2).argmin(1)
        centres = np.stack([points[again == i].mean(0) if (again == i).any() else centres[i] for i in range(k)])
        if np.array_equal(again, nearest):
            break
        nearest = again
    return nearest
