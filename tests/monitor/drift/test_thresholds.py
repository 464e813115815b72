"""Limits that are learned from simulated scores of days without a change."""

import numpy as np
import pytest

from lastaisle.monitor.drift.measure import psi
from lastaisle.monitor.drift.thresholds import LimitRule, learn_limit

FEATURES, VISITS, HISTORY = 20, 3000, 56


def quiet_scores(windows, seed, doubled_on=None):
    """Return the psi of each window against the seven before it, [windows - 7, features]."""
    generator = np.random.default_rng(seed)
    found = []
    for chances in generator.dirichlet(np.full(12, 3.0), size=FEATURES):
        counts = generator.multinomial(VISITS, chances, windows).astype(float)
        if doubled_on is not None:
            changed = chances.copy()
            changed[int(np.argsort(chances)[6])] *= 2
            counts[doubled_on] = generator.multinomial(VISITS, changed / changed.sum())
        found.append([psi(counts[day - 7 : day].sum(axis=0), counts[day]) for day in range(7, windows)])
    return np.array(found).T


def alarms(scores, start):
    weekdays = np.arange(len(scores)) % 7
    return [
        sum(
            scores[day, feature]
            > learn_limit(
                scores[:day, feature], weekdays[:day], int(weekdays[day]), FEATURES, LimitRule(floor=0.0)
            )
            for feature in range(FEATURES)
        )
        for day in range(start, len(scores))
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_two_hundred_quiet_windows_raise_at_most_one_alarm(seed):
    found = alarms(quiet_scores(200 + HISTORY + 7, seed), HISTORY)
    assert len(found) == 200
    assert np.count_nonzero(found) <= 1


def test_a_share_that_doubles_raises_an_alarm_at_once():
    scores = quiet_scores(HISTORY + 8, seed=3, doubled_on=HISTORY + 7)
    assert alarms(scores, HISTORY)[-1] == FEATURES


def test_too_short_a_history_has_no_limit_and_a_short_history_has_a_high_limit():
    scores = quiet_scores(70, seed=4)[:, 0]
    weekdays = np.arange(len(scores)) % 7
    rule = LimitRule(floor=0.0)
    assert learn_limit(scores[:13], weekdays[:13], 0, FEATURES, rule) is None
    limits = [learn_limit(scores[:n], weekdays[:n], 0, FEATURES, rule) for n in (14, 62)]
    assert limits[0] > 1.3 * limits[1]


def test_more_features_and_fewer_false_alarms_raise_the_limit():
    scores, weekdays = quiet_scores(60, seed=5)[:, 0], np.arange(53) % 7
    low = learn_limit(scores, weekdays, 2, 1, LimitRule())
    assert learn_limit(scores, weekdays, 2, 100, LimitRule()) > low
    assert learn_limit(scores, weekdays, 2, 1, LimitRule(false_alarms=1e-5)) > low


def test_former_alarms_hardly_change_the_limit():
    scores, weekdays = quiet_scores(60, seed=6)[:, 0], np.arange(53) % 7
    broken = scores.copy()
    broken[[10, 20, 30]] = 5.0
    clean, moved = (learn_limit(each, weekdays, 2, 50, LimitRule()) for each in (scores, broken))
    assert moved < 3 * clean


def test_sundays_are_judged_by_sundays():
    generator = np.random.default_rng(7)
    weekdays = np.arange(56) % 7
    scores = np.where(weekdays == 6, 0.30, 0.05) * generator.uniform(0.95, 1.05, 56)
    limits = [learn_limit(scores, weekdays, weekday, 50, LimitRule()) for weekday in (2, 6)]
    assert limits[0] < 0.30 < limits[1]


def test_the_limit_of_a_shop_with_equal_days_is_the_floor():
    assert learn_limit(np.zeros(56), np.arange(56) % 7, 0, 50, LimitRule()) == LimitRule().floor
