"""A model with a delta: what scores, and what it becomes when the delta is folded in."""

import numpy as np
import pytest

from models.online import LEARNS_ONLINE, OnlineDelta, OnlineOptions
from models.online_model import OnlineModel, folded
from models.recommender import ModelError, create, load
from models.training import TrainingOptions
from tests.models.toys import rings

OPTIONS = TrainingOptions(embedding_size=16, epochs=2, batch_size=64, negatives=64)


@pytest.fixture(scope="module")
def base():
    model = create("attention", OPTIONS)
    model.fit(rings(300, seed=1))
    return model


@pytest.fixture(scope="module")
def changed():
    """Sessions in which i3 is always followed by an item that the model does not know."""
    return [["i2", "i3", "new"]] * 100


def test_before_the_first_session_it_scores_as_the_model(base):
    prefixes = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    model = OnlineModel(base, OnlineDelta.on(base))
    np.testing.assert_allclose(model.scores(prefixes), base.scores(prefixes), rtol=1e-4, atol=1e-4)


def test_it_recommends_what_sessions_taught_it_at_once(base, changed):
    delta = OnlineDelta.on(base, OnlineOptions(rate=0.2))
    model = OnlineModel(base, delta)
    before = model.recommend([["i2", "i3"]], k=3)[0][0]
    for session in changed:
        delta.learn(session)
    after = model.recommend([["i2", "i3"]], k=3)[0][0]
    assert "new" not in before
    assert "new" in after
    assert base.recommend([["i2", "i3"]], k=3)[0][0] == before, "the model itself has not moved"


def test_folded_in_it_scores_the_same_learns_on_and_is_saved(base, changed, tmp_path):
    delta = OnlineDelta.on(base)
    for session in changed[:20]:
        delta.learn(session)
    whole = folded(base, delta)
    prefixes = np.array([[0, 1, 2], [3, 4, len(whole.vocabulary)]], np.int32)
    live = OnlineModel(base, delta).scores(prefixes)
    np.testing.assert_allclose(whole.scores(prefixes), live, rtol=1e-4, atol=1e-4)
    untouched = np.flatnonzero(~delta.moved)
    np.testing.assert_array_equal(whole.arrays()["table"][untouched], base.arrays()["table"][untouched])
    whole.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).scores(prefixes), whole.scores(prefixes))
    report = whole.warm_start(rings(100, seed=2))
    assert report.items == len(base.vocabulary) + 1


@pytest.mark.parametrize("name", sorted({*LEARNS_ONLINE} - {"attention"}))
def test_every_model_that_learns_online_has_its_table(name):
    model = create(name, OPTIONS.but(epochs=1))
    model.fit(rings(30, seed=1))
    delta = OnlineDelta.on(model)
    delta.learn(["i1", "i2"])
    assert np.isfinite(OnlineModel(model, delta).scores(np.array([[1, 2]], np.int32))[0, 1:]).all()


def test_it_is_not_trained_itself(base):
    with pytest.raises(ModelError, match="fold"):
        OnlineModel(base, OnlineDelta.on(base)).fit(rings(10, seed=1))
    with pytest.raises(ModelError, match="popularity"):
        OnlineModel(create("popularity"), OnlineDelta.on(base))
