"""Drops are found soon, seldom by chance, and end when the figures are back or are the new normal."""

import dataclasses

import numpy as np
import pytest

from lastaisle.baseline.fit import DAY, WEEK, Series, fit_baseline
from lastaisle.monitor.alerts.shop.episodes import course_of
from lastaisle.monitor.alerts.shop.level import chance_of, level_of, steps_of
from tests.monitor.alerts.shop.counts import JUDGED, NO_DAYS, OPENED, RULE, changed, counts

FIRST = JUDGED - OPENED


def judged(series, rule=RULE):
    """Judge all hours after the first eight weeks."""
    return course_of(series, rule, int(series.hours[-1]) + 1, JUDGED)


def test_a_quiet_shop_has_few_alarms():
    """RULE allows about one in five months; the chance of more than three is below 1 %."""
    alarms = [len(judged(counts(FIRST + 4 * WEEK, seed=seed)).episodes) for seed in range(4)]
    assert sum(alarms) <= 3


@pytest.mark.parametrize("start", [FIRST + 30, FIRST + 44, FIRST + 100])
def test_a_drop_of_a_fifth_is_found_within_two_hours(start):
    (drop,) = judged(counts(start + 40, level=changed(start, start + 40, 0.8), sessions=20_000)).episodes
    assert (drop.since, drop.ending) == (OPENED + start, None)
    assert drop.found <= OPENED + start + 1
    assert drop.change == pytest.approx(-0.2, abs=0.05)


def test_a_drop_of_a_tenth_is_found_within_a_day():
    start = FIRST + 50
    (drop,) = judged(counts(start + DAY, level=changed(start, start + DAY, 0.9))).episodes
    assert drop.change == pytest.approx(-0.1, abs=0.04)


def test_a_measure_that_falls_to_nothing_is_found_at_once():
    start = FIRST + 50
    (drop,) = judged(counts(start + 3, level=changed(start, start + 3, 0.0))).episodes
    assert (drop.since, drop.found, drop.change) == (OPENED + start, OPENED + start, -1.0)


def test_a_rise_is_no_drop_and_a_rise_of_what_should_be_low_is():
    start = FIRST + 50
    rises = counts(start + 24, level=changed(start, start + 24, 1.3))
    assert not judged(rises).episodes
    (rise,) = judged(rises, dataclasses.replace(RULE, sign=-1)).episodes
    assert rise.change == pytest.approx(0.3, abs=0.05)


def test_a_drop_ends_when_the_figures_are_back():
    start, back = FIRST + 50, FIRST + 80
    (drop,) = judged(counts(back + WEEK, level=changed(start, back, 0.75))).episodes
    assert drop.ending == "back"
    assert drop.back == pytest.approx(OPENED + back, abs=1)
    assert drop.ended <= OPENED + back + 4
    assert drop.change == pytest.approx(-0.25, abs=0.04)


def test_figures_that_are_back_by_half_are_not_back():
    start = FIRST + 50
    half = lambda clock: np.where(clock < start, 1, np.where(clock < start + 30, 0.6, 0.75))  # noqa: E731
    (drop,) = judged(counts(start + 60, level=half)).episodes
    assert drop.ending is None


def test_a_second_drop_after_the_first_is_another():
    first, second = FIRST + 50, FIRST + 200
    level = lambda clock: changed(first, first + 20, 0.7)(clock) * changed(second, second + 20, 0.7)(clock)  # noqa: E731
    drops = judged(counts(second + 100, level=level)).episodes
    assert [drop.since for drop in drops] == [OPENED + first, OPENED + second]
    assert [drop.ending for drop in drops] == ["back", "back"]


def test_a_level_that_stays_is_the_new_normal_from_which_the_next_drop_is_measured():
    start, next_drop = FIRST + 50, FIRST + 4 * WEEK
    level = lambda clock: changed(start, 10**6, 0.8)(clock) * changed(next_drop, 10**6, 0.8)(clock)  # noqa: E731
    first, second = judged(counts(next_drop + 20, level=level)).episodes
    assert (first.ending, first.ended) == ("new normal", OPENED + start + 14 * DAY - 1)
    assert (second.since, second.ending) == (OPENED + next_drop, None)
    assert second.change == pytest.approx(-0.2, abs=0.05)


def test_what_was_said_of_an_hour_stays_said():
    start = FIRST + 50
    whole = counts(start + 3 * DAY, level=changed(start, start + 3 * DAY, 0.85))
    found = {
        (course_of(whole.between(0, end), RULE, end, JUDGED).episodes[0].since)
        for end in range(OPENED + start + 12, OPENED + start + 3 * DAY, 7)
    }
    assert len(found) == 1


def test_an_hour_is_judged_alike_however_many_hours_were_judged_before():
    start = FIRST + 5 * WEEK
    whole = counts(start + 20, level=changed(start, start + 20, 0.8))
    assert course_of(whole, RULE, OPENED + start + 20).episodes == judged(whole).episodes


def test_few_sessions_do_not_shout():
    for seed in range(6):
        assert not judged(counts(FIRST + 4 * WEEK, sessions=4, seed=seed)).episodes


def test_days_that_vary_by_themselves_do_not_shout():
    for seed in range(2):
        assert not judged(counts(FIRST + 4 * WEEK, sessions=50_000, spread=0.08, seed=seed)).episodes


def test_rates_that_drift_over_the_day_do_not_shout():
    """A level that moves smoothly, by several per cent within half a day, is no jump."""
    fades = 1 - 1 / 12
    for seed in range(2):
        steps = np.random.default_rng(seed).normal(0, 0.03 * (1 - fades**2) ** 0.5, FIRST + 4 * WEEK)
        drift = np.zeros_like(steps)
        for hour in range(1, len(steps)):
            drift[hour] = fades * drift[hour - 1] + steps[hour]
        series = counts(len(drift), sessions=50_000, spread=0, level=lambda _, drift=drift: np.exp(drift))
        assert not judged(series).episodes


def test_on_a_holiday_only_a_great_drop_is_an_alarm():
    day = FIRST + 3 * DAY
    holiday = dataclasses.replace(RULE, holidays=np.array([(OPENED + day) // DAY]))
    mild, great = (counts(day + DAY, level=changed(day, day + DAY, level)) for level in (0.8, 0.3))
    assert judged(mild).episodes
    assert not judged(mild, holiday).episodes
    assert judged(great, holiday).episodes


def test_hours_without_rows_and_hours_without_orders_are_judged_as_well():
    start = FIRST + 50
    whole = counts(start + 20, level=changed(start, start + 20, 0.0))
    night = whole.where(whole.hours % DAY != 3)
    (drop,) = judged(night).episodes
    assert drop.since == OPENED + start


def test_a_short_history_is_not_judged():
    course = course_of(counts(10 * DAY), RULE, OPENED + 10 * DAY)
    assert (course.level, course.episodes) == (None, ())
    assert course_of(Series(NO_DAYS, np.zeros((0, 1)), np.zeros((0, 1))), RULE, OPENED).episodes == ()


def test_the_change_of_a_level_is_the_least_squares_estimate():
    """The estimate equals the textbook's, with the whole covariance matrix inverted."""
    series = counts(FIRST + 60)
    past = series.between(OPENED, JUDGED)
    level = level_of(fit_baseline(past), past, NO_DAYS)
    some = series.between(JUDGED - 40, JUDGED + 60)
    steps = steps_of(level, some, JUDGED + 30)
    totals, expected = level.baseline.expected(some)
    step = (some.hours >= JUDGED + 35).astype(float)
    inverse = np.linalg.inv(level.covariance(some.hours, expected))
    known = step @ inverse @ step
    assert steps.known[-1, 5] == pytest.approx(known)
    assert steps.moved[-1, 5] == pytest.approx(step @ inverse @ (totals / expected - 1))


@pytest.mark.parametrize(("mean", "count"), [(20, 8), (5, 0), (200, 150)])
def test_the_chance_of_a_drop_of_a_poisson_count_is_exact(mean, count):
    from scipy.stats import poisson

    change, variance = np.array(count / mean - 1), np.array(1 / mean)
    assert chance_of(change, variance, 1) == pytest.approx(poisson.cdf(count, mean))
    assert chance_of(-change, variance, -1) == pytest.approx(poisson.sf(2 * mean - count - 1, mean))
