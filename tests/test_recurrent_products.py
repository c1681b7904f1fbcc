"""The products of the recurrent gradient, against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from neurorobust.kernels.numba_loops.rows import dots_of_listed, products

WIDTHS = [5, 16, 96, 336]
"""No vector; one; blocks of 4 and single ones; a wide block, blocks of 4 and single ones."""


def numbers(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("n", WIDTHS)
def test_products_of_four_rows(n):
    out, rows, vectors = numbers(0, 4, n), numbers(1, n, n), numbers(2, 4, n)
    expected = out + vectors @ rows
    products(out, rows, vectors)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_dot_products_with_listed_rows(n, count):
    """Rows that are not listed stay as they are, those of the rest of the list too."""
    out, rows, vector = numbers(0, n), numbers(1, n, n), numbers(2, n)
    places = np.sort(np.random.default_rng(3).permutation(n)[:5]).astype(np.int32)
    expected = out.copy()
    expected[places[:count]] += rows[places[:count]] @ vector
    dots_of_listed(out, rows, vector, places, count)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [5, 336])
def test_a_number_that_is_none_stays_in_its_row(n):
    """A row with a NaN that comes last in a list changes its own sum alone."""
    out, rows, vector = numbers(0, n), numbers(1, n, n), numbers(2, n)
    rows[3, 1] = np.nan
    dots_of_listed(out, rows, vector, np.array([0, 1, 3], np.int32), 3)
    assert np.flatnonzero(np.isnan(out)).tolist() == [3]


def test_float32():
    out, rows, vectors = (
        numbers(seed, *shape, dtype=np.float32) for seed, shape in enumerate([(4, 256), (256,) * 2, (4, 256)])
    )
    expected, places = out + vectors @ rows, np.arange(256, dtype=np.int32)
    both = out.copy()
    products(both, rows, vectors)
    np.testing.assert_allclose(both, expected, rtol=1e-4, atol=1e-4)
    for r in range(4):
        dots_of_listed(out[r], np.ascontiguousarray(rows.T), vectors[r], places, 256)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
