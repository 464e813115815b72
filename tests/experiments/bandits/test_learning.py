"""What a bandit learns: counts that anyone can check by hand, whatever the order of the rows."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import beta

from lastaisle.experiments.bandits.best import best_of_betas, best_of_normals
from lastaisle.experiments.bandits.learning import learn
from lastaisle.experiments.bandits.policies import policy_probabilities, posterior_of
from tests.experiments.bandits.conftest import NOW, START, bandit, lists


def counts(made, rows, now=NOW):
    return posterior_of(msgspec.structs.replace(made, posterior=learn(made, rows, now))).counts


def test_counts_are_the_lists_and_the_rewards_of_each_arm():
    rows = lists([("control", "", 7, 2), ("new", "", 5, 4), ("gone", "", 9, 9)])
    assert counts(bandit(), rows) == {"control": {"": (7, 2)}, "new": {"": (5, 4)}}


def test_the_order_of_the_rows_changes_nothing():
    made = bandit(options={"half_life_hours": 7})
    hours = [
        lists([("control", "", 3, at % 3), ("new", "", 2, 1)], START + timedelta(hours=at)) for at in range(9)
    ]
    rows = pa.concat_tables(hours)
    order = np.random.default_rng(3).permutation(rows.num_rows)
    assert learn(made, rows, NOW) == learn(made, rows.take(order), NOW)


def test_an_older_list_counts_less():
    made = bandit(options={"half_life_hours": 6, "horizon_hours": 1})
    old = lists([("new", "", 8, 4)], NOW - timedelta(hours=13))
    rows = pa.concat_tables([old, lists([("new", "", 3, 3)], NOW - timedelta(minutes=61))])
    old_weight, new_weight = 0.5 ** (12 / 6), 0.5 ** (1 / 6)
    expected = (8 * old_weight + 3 * new_weight, 4 * old_weight + 3 * new_weight)
    assert counts(made, rows)["new"][""] == pytest.approx(expected, abs=1e-3)


def test_a_list_counts_after_its_horizon_and_until_it_leaves_the_window():
    made = bandit(options={"horizon_hours": 2, "window_hours": 10})
    edges = [timedelta(hours=2), timedelta(hours=2, seconds=1), timedelta(hours=12), timedelta(hours=13)]
    found = [counts(made, lists([("new", "", 1, 1)], NOW - edge)) for edge in edges]
    assert [bool(one) for one in found] == [False, True, True, False]


def test_levels_are_the_frequent_values_and_the_unknown_value_is_none_of_them():
    made = bandit(algorithm="linear_thompson", context=("country",))
    rows = [("new", f"C{at:02}", 30 - at, 1) for at in range(20)] + [("new", "", 99, 0), ("new", "a.b", 5, 0)]
    known = posterior_of(msgspec.structs.replace(made, posterior=learn(made, lists(rows), NOW)))
    assert known.levels == (tuple(f"C{at:02}" for at in range(12)),)
    assert known.counts["new"][""] == (104, 0)
    assert known.counts["new"]["*"] == (sum(30 - at for at in range(12, 20)), 8)


def test_the_probability_of_two_arms_is_the_probability_in_closed_form():
    # P(X > Y) of Beta(a, b) and Beta(c, 1): the integral of the density of X times x ** c.
    rewards, misses = np.array([6.0, 4.0]), np.array([15.0, 1.0])
    first = beta(6, 15).expect(lambda x: x**4)
    assert best_of_betas(rewards, misses) == pytest.approx([first, 1 - first], abs=1e-4)
    made = best_of_normals(np.array([0.3, 0.0]), np.array([0.3, 0.4]))
    assert made[0] == pytest.approx(0.7257468822, abs=1e-4)  # Phi(0.3 / 0.5)


@pytest.mark.parametrize(
    ("rewards", "misses"),
    [
        ([1, 1, 1], [1, 1, 1]),
        ([1, 1, 400], [9e6, 1, 1e4]),
        ([3e5, 3.002e5, 1], [7e6, 7e6, 500]),
        ([1] * 20, [90] * 20),
    ],
)
def test_probabilities_agree_with_random_draws(rewards, misses):
    found = best_of_betas(np.array(rewards, float), np.array(misses, float))
    draws = np.random.default_rng(1).beta(rewards, misses, (40_000, len(rewards)))
    shares = np.bincount(draws.argmax(axis=1), minlength=len(rewards)) / 40_000
    assert found.sum() == pytest.approx(1)
    assert np.abs(found - shares).max() < 0.01


def test_policy_probabilities_are_those_of_beta_counts_by_hand():
    made = bandit(floor=0.0)
    made = msgspec.structs.replace(
        made, posterior=learn(made, lists([("control", "", 19, 5), ("new", "", 3, 3)]), NOW)
    )
    below = beta(6, 15).expect(lambda x: x**4)
    assert policy_probabilities(made, "")["control"] == pytest.approx(below, abs=1e-4)
