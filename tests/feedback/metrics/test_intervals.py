"""Intervals of differences between two rates, against published values."""

import math

import pytest

from lastaisle.feedback.metrics.intervals import NOTHING, Estimate, difference, mean, share


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_shares_differ_as_in_the_table_of_newcombe(one, other, low, high):
    """Newcombe (1998), Statistics in Medicine 17, table II, method 10."""
    found = difference(share(*one), share(*other))
    assert found.value == pytest.approx(one[0] / one[1] - other[0] / other[1])
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_means_differ_by_the_normal_interval():
    one, other = mean(100.0, 1200.0, 10), mean(60.0, 500.0, 10)
    found = difference(one, other)
    half = math.hypot(one.high - one.value, other.high - other.value)
    assert found == pytest.approx((4.0, 4.0 - half, 4.0 + half))


def test_a_rate_without_an_interval_gives_a_difference_without_one():
    assert difference(Estimate(2.0, None, None), Estimate(1.0, 0.5, 1.5)) == (1.0, None, None)
    assert difference(NOTHING, Estimate(1.0, 0.5, 1.5)) == NOTHING
