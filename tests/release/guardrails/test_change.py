"""The change of a measure: the estimate, its interval, and how often the interval is wrong."""

import numpy as np
import pytest

from lastaisle.baseline.fit import DAY, Baseline, Series, fit_baseline
from lastaisle.release.guardrails.canary import relative_difference
from lastaisle.release.guardrails.change import change_since, half_widths
from lastaisle.release.guardrails.limits import GuardrailLimits

PLAIN = Baseline(
    rates=np.array([0.1]),
    shape=np.ones(168),
    dispersion=1.0,
    day_variance=0.0,
    correlation=0.0,
    unusual_days=(),
)


def series(totals, units, first=0):
    hours = np.arange(first, first + len(totals))
    return Series(hours, np.array(totals, float)[:, None], np.array(units, float)[:, None])


def simulated(days, rng, sessions=2000, spread=0.03):
    """Return hours whose days vary by a spread."""
    hours = np.arange(days * DAY)
    units = rng.poisson(sessions * (1 + 0.5 * np.sin(2 * np.pi * hours / DAY)))
    level = np.repeat(np.exp(rng.normal(0, spread, days)), DAY)
    return series(rng.binomial(units, np.clip(0.05 * level, 0, 1)), units)


def test_without_effects_of_days_the_change_is_that_of_the_sums():
    before, after = [11, 9, 10, 12, 8, 10], [7, 9, 8]
    change = change_since(PLAIN, series([*before, *after], [100] * 9), 6, 9)
    assert change.value == pytest.approx(8 / 10 - 1)
    # var(ratio - 1) at a level of 1: the variance of a count is its expectation
    assert change.variance == pytest.approx(1 / 30 + 1 / 60)


def test_the_effect_of_the_day_falls_out_of_the_change_on_that_day():
    """A day on which everything is half as much says nothing of the version that begins at noon."""
    days = Baseline(PLAIN.rates, PLAIN.shape, 1e-6, 0.04, 0.0, ())
    totals = [*[10.0] * DAY, *[5.0] * DAY]
    change = change_since(days, series(totals, [100] * 2 * DAY), DAY + 12, 2 * DAY)
    assert change.value == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(("start", "end"), [(0, 9), (9, 12)])
def test_without_hours_before_or_after_there_is_no_change(start, end):
    assert change_since(PLAIN, series([10] * 9, [100] * 9), start, end) is None


def test_the_baseline_finds_the_variation_of_the_days():
    found = [fit_baseline(simulated(56, np.random.default_rng(seed))) for seed in range(8)]
    # The upper end of an interval of the variance, so more than the truth of 3 %.
    assert 0.03 < np.mean([one.day_variance**0.5 for one in found]) < 0.045
    assert np.mean([one.dispersion for one in found]) == pytest.approx(1.0, abs=0.1)


def test_a_day_of_an_outage_is_no_part_of_the_baseline():
    shop = simulated(56, np.random.default_rng(1))
    outage = shop.days == 30
    shop.totals[outage] *= 0.1
    found = fit_baseline(shop)
    assert found.unusual_days == (30,)
    assert found.day_variance**0.5 < 0.06


@pytest.mark.parametrize("days", [0, 13])
def test_a_few_days_are_no_baseline(days):
    assert fit_baseline(simulated(max(days, 1), np.random.default_rng(1)).between(0, days * DAY)) is None


def test_hours_without_any_order_are_no_baseline():
    assert fit_baseline(series([0] * 30 * DAY, [100] * 30 * DAY)) is None


def test_the_interval_holds_at_every_hour_of_a_week():
    """40 shops in which nothing changes, looked at each 6 hours: none is outside of an interval of 1 %."""
    outside = 0
    for seed in range(40):
        shop = simulated(63, np.random.default_rng(seed), spread=0.02)
        start = 56 * DAY + seed % DAY
        baseline = fit_baseline(shop.between(0, start))
        looks = [change_since(baseline, shop, start, start + hours) for hours in range(6, 140, 6)]
        outside += any(change.interval(0.01)[0] > 0 or change.interval(0.01)[1] < 0 for change in looks)
    assert outside <= 1


def test_the_sequence_is_narrowest_where_a_tenth_is_just_found():
    alpha = 0.001
    variances = np.geomspace(1e-6, 1e-2, 400)
    inside = half_widths(variances, alpha) / np.sqrt(variances)
    best = half_widths(variances[[inside.argmin()]], alpha)[0]
    assert best == pytest.approx(0.1, rel=0.5)


def test_more_promotions_make_each_guardrail_stricter():
    limits = GuardrailLimits()
    assert limits.alpha(10) == limits.alpha(52) == pytest.approx(2 * 0.5 / 52 / 5)
    assert limits.alpha(520) == pytest.approx(limits.alpha(52) / 10)


def test_a_canary_differs_from_its_control_by_the_ratio_of_their_rates():
    rng = np.random.default_rng(3)
    control, canary = rng.binomial(9000, 0.05, 48), rng.binomial(1000, 0.04, 48)
    change = relative_difference(series(canary, [1000] * 48), series(control, [9000] * 48))
    assert change.value == pytest.approx(-0.2, abs=0.06)
    assert change.variance**0.5 == pytest.approx(0.8 * (1 / 1920 + 1 / 21600) ** 0.5, rel=0.4)


def test_hours_that_one_arm_lacks_are_not_compared():
    """The control alone has the hours of the sale."""
    control = series([50] * 24 + [500] * 24, [1000] * 48)
    canary = series([50] * 24, [1000] * 24)
    assert relative_difference(canary, control).value == pytest.approx(0.0)


def test_a_few_orders_are_not_compared():
    assert relative_difference(series([1] * 20, [100] * 20), series([9] * 20, [900] * 20)) is None
