"""Estimates: a mean lies inside its interval for any order of the sum."""

import numpy as np

from lastaisle.evaluation.measure import _estimates


def test_a_constant_mean_lies_inside_its_interval():
    means, drawn = np.array([0.20000000000000182]), np.full((100, 1), 0.20000000000000007)
    (estimate,) = _estimates(means, drawn, 0.95)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.value == 0.2


def test_an_interval_holds_the_middle_share_of_the_draws():
    drawn = np.linspace(0.0, 1.0, 101)[:, None]
    (estimate,) = _estimates(np.array([0.5]), drawn, 0.9)
    assert (estimate.low, estimate.value, estimate.high) == (0.05, 0.5, 0.95)
