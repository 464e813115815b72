"""A model with a delta: its scores, and the model that contains the delta."""

import numpy as np
import pandas as pd
import pytest

from models.by_name import create, load
from models.data.sequences import Context, Examples, SessionLog
from models.evaluation.ranking import rank_targets
from models.online.delta import LEARNS_ONLINE, OnlineDelta, OnlineOptions
from models.online.model import OnlineModel, folded
from models.options import TrainingOptions
from models.serving.export import package
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

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


def test_a_delta_without_changes_scores_as_the_model_does(base):
    prefixes = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    model = OnlineModel(base, OnlineDelta.on(base))
    np.testing.assert_allclose(model.scores(prefixes), base.scores(prefixes), rtol=1e-4, atol=1e-4)


def test_learned_items_are_recommended_at_once(base, changed):
    delta = OnlineDelta.on(base, OnlineOptions(rate=0.2))
    model = OnlineModel(base, delta)
    before = model.recommend([["i2", "i3"]], k=3)[0][0]
    for session in changed:
        delta.learn(session)
    after = model.recommend([["i2", "i3"]], k=3)[0][0]
    assert "new" not in before
    assert "new" in after
    assert base.recommend([["i2", "i3"]], k=3)[0][0] == before, "the model itself has not changed"


def test_the_folded_model_scores_the_same_continues_training_and_is_saved(base, changed, tmp_path):
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


@pytest.fixture
def delta_with_shopper(base):
    """Return a delta that knows the shopper u1, who always views i20 and i21."""
    delta = OnlineDelta.on(base)
    for _ in range(20):
        delta.learn(["i20", "i21"], "u1")
    return delta


def of(*users):
    return Context({"user": np.array(users, dtype=object)})


def test_the_state_of_a_known_shopper_is_mixed_with_the_shopper_vector(base, delta_with_shopper):
    model = OnlineModel(base, delta_with_shopper)
    prefixes = np.array([[0, 1, 2]] * 3, np.int32)
    plain, mixed = model.scores(prefixes), model.scores(prefixes, of("u1", "u2", None))
    np.testing.assert_array_equal(mixed[1:], plain[1:])
    np.testing.assert_array_equal(model.scores(prefixes, Context()), plain)
    state = base.scorer().encoder(delta_with_shopper.table[prefixes[:1]], prefixes[:1] > 0)[0, -1].numpy()
    state = state + delta_with_shopper.options.user_weight * delta_with_shopper.shoppers.of(["u1"])[0]
    expected = delta_with_shopper.table @ (state / np.linalg.norm(state)) / base.options.temperature
    np.testing.assert_allclose(mixed[0, 1:], expected[1:], rtol=1e-3, atol=1e-4)
    assert np.abs(mixed[0, 1:] - plain[0, 1:]).max() > 0.1


def test_items_are_ranked_for_a_known_shopper_before_the_first_item(base, delta_with_shopper):
    log = SessionLog.from_lists([["i20", "i21"]] * 3, context=of("u1", "u2", None).sessions)
    model = OnlineModel(base, delta_with_shopper)
    first = Examples(log, np.arange(3, dtype=np.int32), np.zeros(3, np.int32))
    ranking = rank_targets(model, first)
    popular = model.vocabulary.popular(20)
    assert ranking.ranks[0] <= 2
    np.testing.assert_array_equal(ranking.top[1:], [popular] * 2)
    assert list(ranking.top[0]) != list(popular)
    counts, vector = model.vocabulary.counts[1:] + 1, delta_with_shopper.shoppers.of(["u1"])[0]
    logits = np.log(counts / counts.sum()) + delta_with_shopper.table[1:] @ vector / base.options.temperature
    scores = model.scores(np.zeros((1, 1), np.int32), of("u1"))[0, 1:]
    np.testing.assert_allclose(scores, logits, rtol=1e-3, atol=1e-4)


def served(model, folder):
    import mlflow

    mlflow.pyfunc.save_model(str(folder / "model"), **package(model, folder / "files"))
    return mlflow.pyfunc.load_model(str(folder / "model"))


def test_the_packed_model_knows_its_shoppers(base, delta_with_shopper, tmp_path):
    model = OnlineModel(base, delta_with_shopper)
    packed = served(model, tmp_path)
    items = [["i1", "i2"], [], ["never seen"], [], ["i1", "i2"]]
    users = ["u1", "u1", "u1", "u2", None]
    answer = packed.predict(pd.DataFrame({"items": items, "user": users}), params={"k": 5})
    without = packed.predict(pd.DataFrame({"items": items}), params={"k": 5})
    empty = np.zeros((1, 1), np.int32)
    prefix = model.vocabulary.encode(["i1", "i2"])[None, :]
    for row, prefixes in ((0, prefix), (1, empty), (2, empty)):
        scores = model.scores(prefixes, of("u1"))[0]
        best = np.argsort(-scores, kind="stable")[:5]
        assert answer["items"][row] == model.vocabulary.decode(best).tolist()
        np.testing.assert_allclose(answer["scores"][row], scores[best], rtol=1e-3, atol=1e-3)
        assert answer["items"][row] != without["items"][row] or row == 0
    assert set(answer["items"][1][:2]) == {"i20", "i21"}
    popular = model.vocabulary.decode(model.vocabulary.popular(5)).tolist()
    assert answer["items"][3] == without["items"][1] == popular
    assert answer["scores"][3] == without["scores"][1]
    assert answer["scores"][4] == without["scores"][4]
    assert packed.metadata.metadata["model"] == "attention"


def test_without_shoppers_the_packed_model_equals_the_folded_model(base, changed, tmp_path):
    delta = OnlineDelta.on(base)
    for session in changed:
        delta.learn(session)
    frame = pd.DataFrame({"items": [["i1", "i2"], []], "user": ["u1", "u1"]})
    (tmp_path / "folded").mkdir()
    online = served(OnlineModel(base, delta), tmp_path).predict(frame)
    plain = served(folded(base, delta), tmp_path / "folded").predict(frame)
    pd.testing.assert_frame_equal(online, plain)


@pytest.mark.parametrize("name", sorted({*LEARNS_ONLINE} - {"attention"}))
def test_every_model_that_learns_online_scores_with_its_delta(name):
    model = create(name, OPTIONS.but(epochs=1))
    model.fit(rings(30, seed=1))
    delta = OnlineDelta.on(model)
    delta.learn(["i1", "i2"], "u1")
    prefixes = np.array([[1, 2], [0, 0]], np.int32)
    assert np.isfinite(OnlineModel(model, delta).scores(prefixes, of("u1", "u1"))[:, 1:]).all()


def test_a_model_with_a_delta_is_not_trained(base):
    with pytest.raises(ModelError, match="fold"):
        OnlineModel(base, OnlineDelta.on(base)).fit(rings(10, seed=1))
    with pytest.raises(ModelError, match="popularity"):
        OnlineModel(create("popularity"), OnlineDelta.on(base))
