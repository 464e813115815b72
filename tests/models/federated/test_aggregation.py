"""Aggregation by cases that are computed by hand."""

import numpy as np
import pytest

from models.federated.aggregation import (
    AggregationError,
    Bounds,
    Momentum,
    aggregate,
    bounded,
    multi_krum,
    refusal_of,
    weighted_mean,
)
from models.federated.updates import (
    Update,
    applied,
    change_of,
    clipped,
    length_of,
    popularity_of,
    with_noise,
)


def update(*values, sessions=1, popularity=(0.0, 0.5), recall=float("nan"), loss=float("nan")):
    return Update(
        {"a": np.array(values, np.float32)}, sessions, np.array(popularity, np.float32), recall, loss
    )


def test_a_change_and_what_it_changes():
    before, after = {"a": np.float32([1, 2])}, {"a": np.float32([3, 1])}
    change = change_of(after, before)
    np.testing.assert_array_equal(change["a"], [2, -1])
    np.testing.assert_array_equal(applied(before, change)["a"], [3, 1])


def test_the_length_goes_over_all_arrays():
    assert length_of({"a": np.float32([3]), "b": np.float32([[4]])}) == 5.0


@pytest.mark.parametrize(("clip", "expected"), [(10.0, [3, 4]), (5.0, [3, 4]), (2.5, [1.5, 2.0])])
def test_a_long_change_is_cut_and_keeps_its_direction(clip, expected):
    np.testing.assert_allclose(clipped({"a": np.float32([3, 4])}, clip)["a"], expected)


def test_noise_has_the_deviation_that_was_asked():
    noised = with_noise({"a": np.zeros(20_000, np.float32)}, 0.5, np.random.default_rng(3))["a"]
    assert noised.std() == pytest.approx(0.5, rel=0.03)
    assert noised.mean() == pytest.approx(0.0, abs=0.02)


def test_no_noise_changes_nothing():
    change = {"a": np.float32([1, 2])}
    np.testing.assert_array_equal(with_noise(change, 0.0, np.random.default_rng(0))["a"], [1, 2])


def test_the_popularity_hides_items_with_few_events():
    # 9 of 20 events have an item below the smallest count that is told.
    np.testing.assert_allclose(popularity_of(np.array([0, 11, 9, 0]), 10), [0, 11 / 20, 0, 0])


def test_a_mean_weighs_silos_by_their_sessions():
    mean = weighted_mean(
        [
            update(1, 0, sessions=3, recall=0.2, loss=2.0, popularity=(0, 0.4)),
            update(5, 4, sessions=1, popularity=(0, 0.8)),
        ]
    )
    np.testing.assert_allclose(mean.change["a"], [2, 1])
    np.testing.assert_allclose(mean.popularity, [0, 0.5])
    assert mean.sessions == 4
    assert (mean.recall, mean.loss) == (pytest.approx(0.2), 2.0), "a silo that does not know does not count"


def test_a_trimmed_mean_leaves_the_extremes_of_each_value_out():
    updates = [update(0, 9), update(1, 2), update(3, 4), update(-100, 100)]
    np.testing.assert_allclose(aggregate(updates, "trimmed", 1).change["a"], [0.5, 6.5])


def test_a_trimmed_mean_ignores_what_silos_claim_of_their_sessions():
    updates = [update(1), update(2), update(6, sessions=10**9)]
    np.testing.assert_allclose(aggregate(updates, "trimmed", 1).change["a"], [2])


def test_a_trimmed_mean_needs_a_value_that_is_left():
    with pytest.raises(AggregationError, match="needs 3 updates, received 2"):
        aggregate([update(1), update(2)], "trimmed", 1)


def test_multi_krum_leaves_the_farthest_update_out():
    # n = 5 and one hostile: the score sums the 2 nearest squared distances.
    # 0: 1+4=5, 1: 1+1=2, 2: 1+1=2, 3: 1+4=5, 50: 47**2+48**2.
    updates = [update(0), update(50), update(1), update(2), update(3)]
    assert [float(chosen.change["a"][0]) for chosen in multi_krum(updates, 1)] == [0, 1, 2, 3]
    np.testing.assert_allclose(aggregate(updates, "krum", 1).change["a"], [1.5])


def test_krum_needs_neighbours():
    with pytest.raises(AggregationError, match="needs 3 updates, received 2"):
        multi_krum([update(1), update(2)], 1)


def test_nothing_to_aggregate_is_refused():
    with pytest.raises(AggregationError, match="no silo"):
        aggregate([], "mean")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (update(1, 2, 3), r"a has shape \(3,\), expected \(2,\)"),
        (update(1, float("nan")), "not finite"),
        (update(1, float("inf")), "not finite"),
        (Update({"b": np.zeros(2, np.float32)}, 1), "other names"),
        (update(1, 2, sessions=0), "0 sessions"),
    ],
)
def test_an_update_that_cannot_be_used_is_refused(wrong, reason):
    import re

    assert re.search(reason, refusal_of(wrong, {"a": np.zeros(2, np.float32)}))


def test_an_update_of_the_right_shape_is_taken():
    assert refusal_of(update(1, 2), {"a": np.zeros(2, np.float32)}) is None


def test_no_silo_counts_for_more_than_the_limit():
    cut = bounded([update(1, sessions=10**9), update(1, sessions=5)], Bounds(10.0, 100))
    assert [one.sessions for one in cut] == [100, 5]


def test_a_huge_update_is_cut_to_the_usual_length():
    # The median length of 1, 1 and 1000 is 1; an update may be twice as long.
    cut = bounded([update(1), update(-1), update(1000)], Bounds(500.0, 100))
    assert [float(one.change["a"][0]) for one in cut] == [1, -1, 2]


def test_shares_that_no_silo_can_have_are_bounded():
    cut = bounded([update(1, popularity=(-1, np.nan, 3, 1))], Bounds(1.0, 1))
    np.testing.assert_allclose(cut[0].popularity, [0, 0, 0.5, 0.5])


def test_momentum_takes_a_share_of_the_last_step_again():
    momentum = Momentum(0.5)
    steps = [float(momentum.step({"a": np.float32([value])})["a"][0]) for value in (4, 0, 0)]
    assert steps == [4, 2, 1]


def test_without_momentum_a_step_is_the_change():
    momentum = Momentum()
    assert [float(momentum.step({"a": np.float32([v])})["a"][0]) for v in (4, 1)] == [4, 1]
