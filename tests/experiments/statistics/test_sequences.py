"""The sequence of intervals: the same as ville's, and it holds the truth at all looks together."""

from __future__ import annotations

import numpy as np
import pytest
from ville import AsymptoticABTest, AsymptoticCS, best_rho

from lastaisle.experiments.statistics.comparison import compare
from lastaisle.experiments.statistics.fixed import z_value
from lastaisle.experiments.statistics.moments import Moments
from lastaisle.experiments.statistics.sequences import critical_value, tuned_rho


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
def test_the_sequence_of_a_mean_is_that_of_ville(alpha):
    values = np.random.default_rng(3).gamma(2.0, 1.0, 2000)
    theirs = AsymptoticCS(alpha=alpha, t_opt=1000).fit(values)
    counts = np.arange(100, 2001)
    deviations = np.array([values[:count].std(ddof=1) for count in counts])
    half = critical_value(counts, 1 / np.sqrt(theirs.rho_), alpha) * deviations / np.sqrt(counts)
    np.testing.assert_allclose(half, (theirs.upper_ - theirs.lower_)[99:] / 2, rtol=1e-9)


@pytest.mark.parametrize("units", [100, 10_000, 1_000_000])
def test_it_is_tuned_as_ville_tunes_it(units):
    assert tuned_rho(units, 0.05) == pytest.approx(1 / np.sqrt(best_rho(units, 0.05)), rel=1e-3)
    widths = critical_value(units, tuned_rho(units, 0.05) * np.array([0.9, 1.0, 1.1]), 0.05)
    assert widths.argmin() == 1


def test_the_difference_is_nearly_that_of_ville():
    """Ville weighs outcomes by the known propensity; the difference of means is as wide, or narrower."""
    draw = np.random.default_rng(5)
    treated = draw.integers(0, 2, 20_000)
    outcome = (draw.random(20_000) < 0.1 + 0.02 * treated).astype(float)
    theirs = AsymptoticABTest(alpha=0.05, t_opt=20_000).fit(outcome, treated)
    arms = [Moments.of_units(outcome[treated == arm][None, :]) for arm in (0, 1)]
    low, high = compare(*arms).interval(critical_value(20_000, 1 / np.sqrt(best_rho(20_000, 0.05)), 0.05))
    np.testing.assert_allclose([low, high], theirs.interval(), atol=3e-4)


def test_without_units_it_is_infinite():
    assert np.isinf(critical_value(0, 0.1, 0.05))
    assert np.isfinite(critical_value(1, 0.1, 0.05))


@pytest.mark.parametrize(("units", "alpha"), [(0, 0.05), (-1, 0.05), (10, 0.0), (10, 1.0)])
def test_numbers_out_of_range_are_refused(units, alpha):
    with pytest.raises(ValueError, match="received"):
        tuned_rho(units, alpha)


def test_looks_at_every_hour_find_no_difference_where_there_is_none():
    """Of 400 experiments without a difference at most 5 % end with one; looking at 1.96 finds many more."""
    draw, hours, alpha = np.random.default_rng(7), 100, 0.05
    units = np.full((400, hours, 2, 1), 500)
    wins = draw.binomial(units, 0.1)
    sums = Moments.of_successes(units, wins).running(1)
    found = compare(sums[:, :, 0], sums[:, :, 1])
    distance = np.abs(found.difference) / np.sqrt(found.variance)
    always = critical_value(found.units, tuned_rho(2 * 500 * hours, alpha), alpha)
    assert (distance > always).any(1).mean() <= alpha
    assert (distance > z_value(alpha)).any(1).mean() > 0.25
