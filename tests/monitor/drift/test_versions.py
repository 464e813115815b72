"""The difference between versions, and drops of the live hit rate."""

import numpy as np
import pytest

from lastaisle.monitor.drift.concept import hit_rate_drop, hits
from lastaisle.monitor.drift.versions import churn, neighbour_drift, version_scores
from models.data.sequences import SessionLog
from models.recommender import create


def test_a_rotation_and_a_stretch_of_all_vectors_change_no_neighbour():
    generator = np.random.default_rng(1)
    vectors = generator.standard_normal((60, 8)).astype(np.float32)
    rotation = np.linalg.qr(generator.standard_normal((8, 8)))[0].astype(np.float32)
    assert neighbour_drift(vectors, 3 * vectors @ rotation) == pytest.approx(0.0, abs=0.01)


def test_independent_vectors_have_other_neighbours_also_if_their_lengths_differ():
    generator = np.random.default_rng(2)
    first, second = (generator.standard_normal((200, size)).astype(np.float32) for size in (8, 12))
    assert neighbour_drift(first, second) == pytest.approx(1 - 10 / 199, abs=0.02)


def test_churn_is_the_share_of_each_list_that_is_new():
    assert churn([["a", "b"], ["c", "d"]], [["b", "a"], ["c", "e"]]) == 0.25
    assert churn([[], ["a"]], [[], ["b"]]) == 1.0
    assert churn([], []) == 0.0


def shop(step, n=300):
    """Return sessions that go around a ring of forty items by a step."""
    return SessionLog.from_lists([[f"i{(s + step * place) % 40}" for place in range(4)] for s in range(n)])


def trained(log):
    model = create("cooccurrence")
    model.fit(log)
    return model


@pytest.mark.training
def test_equal_versions_do_not_differ_and_versions_of_two_shops_do():
    log = shop(1)
    same = {each.feature: each.score for each in version_scores(trained(log), trained(log), log)}
    assert same == {"predictions": 0.0, "recommended_popularity": 0.0}
    other = {each.feature: each.score for each in version_scores(trained(log), trained(shop(7)), log)}
    assert other["predictions"] > 0.4


@pytest.mark.training
def test_hits_are_the_share_of_a_sessions_next_items_that_the_champion_ranked_first():
    model = trained(shop(1))
    assert hits(model, shop(1, 50)).tolist() == [1.0] * 50
    log = SessionLog.from_lists([["i0", "unknown"], ["i0"], ["i0", "i1", "unknown"]])
    assert hits(model, log).tolist() == [0.0, 0.5]


def streams(*rates, sessions=800):
    generator = np.random.default_rng(3)
    return [(generator.random(sessions) < rate).astype(np.float32) for rate in rates]


def test_a_drop_of_the_hit_rate_is_detected_and_a_constant_rate_or_a_rise_is_not():
    *past, fallen = streams(*[0.4] * 14, 0.3)
    found = hit_rate_drop(past, fallen, 0.001)
    assert found.dropped
    assert found.drop == pytest.approx(0.1, abs=0.03)
    assert not hit_rate_drop(past, streams(0.5)[0], 0.001).dropped
    assert not any(hit_rate_drop(past, day, 0.001).dropped for day in streams(*[0.4] * 20))


def test_the_first_window_of_a_champion_is_no_drop():
    assert not hit_rate_drop([], streams(0.1)[0], 0.001).dropped
