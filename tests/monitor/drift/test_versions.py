"""The difference between versions, and drops of the live hit rate."""

import dataclasses

import numpy as np
import pytest

from lastaisle.monitor.drift.concept import hit_rate_drop, hits
from lastaisle.monitor.drift.serving import ServingVersion
from lastaisle.monitor.drift.versions import neighbour_drift, version_scores
from models.by_name import create
from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary
from models.evaluation.ranking import rank_targets
from models.recommender import Recommender


def test_a_rotation_and_a_stretch_of_all_vectors_change_no_neighbour():
    generator = np.random.default_rng(1)
    vectors = generator.standard_normal((60, 8)).astype(np.float32)
    rotation = np.linalg.qr(generator.standard_normal((8, 8)))[0].astype(np.float32)
    assert neighbour_drift(vectors, 3 * vectors @ rotation) == pytest.approx(0.0, abs=0.01)


def test_independent_vectors_have_other_neighbours_also_if_their_lengths_differ():
    generator = np.random.default_rng(2)
    first, second = (generator.standard_normal((200, size)).astype(np.float32) for size in (8, 12))
    assert neighbour_drift(first, second) == pytest.approx(1 - 10 / 199, abs=0.02)


class Answering:
    """A model that answers by another model, without the shopper, as a packed model does."""

    def __init__(self, model):
        self.model, self.vocabulary = model, model.vocabulary

    def rank(self, examples, k=20, progress=None, *, exclude_seen=False):
        known = dataclasses.replace(examples.log, context={})
        return rank_targets(
            self.model, dataclasses.replace(examples, log=known), k, exclude_seen=exclude_seen
        )


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
    assert scored(trained(log), trained(log), log) == {"predictions": 0.0, "recommended_popularity": 0.0}
    assert scored(trained(log), trained(shop(7)), log)["predictions"] > 0.4


class Known(Recommender):
    """A model that lists its items in their order, with the given vectors."""

    name = "known"

    def __init__(self, items, vectors=None):
        super().__init__()
        self.vocabulary = Vocabulary(items).with_counts(np.array([0.0, *range(len(items), 0, -1)]))
        self.vectors = vectors

    def scores(self, prefixes, context=None):
        return np.tile(
            np.array([-np.inf, *range(len(self.vocabulary), 0, -1)], np.float32), (len(prefixes), 1)
        )

    def item_vectors(self):
        return self.vectors

    def _learn(self, training):
        raise NotImplementedError

    def _forget(self):
        raise NotImplementedError

    def arrays(self):
        return {"table": np.zeros((1, 1)), "items": np.zeros((1, 1))}

    def restore(self, arrays):
        raise NotImplementedError


def scored(previous, champion, log=None, objective="next_item"):
    log = log or SessionLog.from_lists([["a", "b"]] * 3)
    versions = [ServingVersion("1", Answering(model), model) for model in (previous, champion)]
    return {each.feature: each.score for each in version_scores(*versions, log, objective)}


def test_the_lists_that_services_get_are_compared():
    items = [chr(ord("a") + place) for place in range(21)]
    other = [
        *items[1:],
        items[0],
    ]  # without the session's a, both have b to u
    assert scored(Known(items), Known(other))["predictions"] == pytest.approx(1 / 20)
    assert scored(Known(items), Known(other), objective="new_item")["predictions"] == 0.0


def test_the_churn_of_predictions_is_that_of_evaluations():
    items = [chr(ord("a") + place) for place in range(26)]
    assert scored(Known(items), Known(items))["predictions"] == 0.0
    assert scored(Known(items), Known(items[::-1]))["predictions"] == pytest.approx(6 / 20)
    assert scored(Known(items[:4]), Known(items[2:6]))["predictions"] == 0.5


def test_the_model_says_which_vectors_its_items_have():
    generator = np.random.default_rng(4)
    items = [f"i{number}" for number in range(40)]
    vectors = generator.standard_normal((41, 8)).astype(np.float32)
    others = generator.standard_normal((41, 8)).astype(np.float32)
    assert scored(Known(items, vectors), Known(items, vectors))["embeddings"] == 0.0
    assert scored(Known(items, vectors), Known(items, others))["embeddings"] > 0.5
    assert "embeddings" not in scored(Known(items, vectors), Known(items))
    assert "embeddings" not in scored(Known(items), Known(items, vectors))


@pytest.mark.training
def test_hits_are_the_share_of_a_sessions_next_items_that_the_champion_ranked_first():
    model = Answering(trained(shop(1)))
    assert hits(model, shop(1, 50)).tolist() == [1.0] * 50
    log = SessionLog.from_lists([["i0", "unknown"], ["i0"], ["i0", "i1", "unknown"]])
    assert hits(model, log).tolist() == [0.0, 0.5]
    log = SessionLog.from_lists([["i0", "i0"], ["i0", "i1", "i0"]])  # only the i1 is new to its session
    assert hits(model, log).tolist() == [0.0, 0.5]
    assert hits(model, log, "new_item").tolist() == [1.0]
    assert hits(model, SessionLog.from_lists([["i0"]])).tolist() == []


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
