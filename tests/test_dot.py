"""Dot products with an order of sums that does not depend on the compiler."""

from __future__ import annotations

import numpy as np
import pytest

from neurorobust.kernels.numba_loops.dot import dots, order_of


def by_hand(row: np.ndarray, vector: np.ndarray) -> np.floating:
    """Partial sums one after the other, then in pairs. ``vector`` is 0 or 1, so products are exact."""
    count, distances = order_of(row.itemsize)
    sums = np.zeros(count, row.dtype)
    for j in range(len(row)):
        sums[j % count] += row[j] * vector[j]
    left = range(count)
    for d in distances:
        left = [k for k in left if not k & d]
        for k in left:
            sums[k] += sums[k + d]
    return sums[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [32, 64, 96, 256])
def test_sums_have_the_order_that_is_written_down(n, dtype):
    draw = np.random.default_rng(n)
    rows, vector = draw.normal(size=(6, n)).astype(dtype), (draw.random(n) < 0.5).astype(dtype)
    out, places = np.zeros(6, dtype), np.array([5, 0, 1, 2, 3], np.int32)
    dots(out, rows, vector, places, 5)
    assert out[4] == 0
    assert all(out[i] == by_hand(rows[i], vector) for i in places)
