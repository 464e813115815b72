import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from models.blend.blending import CandidateScores, learned_weights
from models.blend.ensemble import Ensemble, log_scores
from models.by_name import create, load
from models.checkout_model import CheckoutModel
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.options import OptionsError, TrainingOptions
from models.serving.export import export_artifact, package
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

SMALL = TrainingOptions(
    embedding_size=16, epochs=4, negatives=32, learning_rate=0.01, members="attention+neighbours+cooccurrence"
)


@pytest.fixture(scope="module")
def trained():
    model = create("ensemble", SMALL)
    report = model.fit(rings(400, 1))
    return model, report


def accuracy(model, log):
    return summarize(rank_targets(model, next_item_examples(log)), (1,))["recall@1"]


def test_learned_weights_make_the_targets_most_likely():
    generator = np.random.default_rng(3)
    values = generator.standard_normal((4000, 6, 2)).astype(np.float32)
    known = np.ones((4000, 6), bool)
    known[:, 5] = False
    drawn = np.exp(values @ np.array([1.5, 0.0]))[:, :5]
    target = np.array([generator.choice(5, p=row / row.sum()) for row in drawn])
    learned = learned_weights(CandidateScores(values, known, target), np.full(2, 0.5, np.float32))
    assert learned == pytest.approx([1.5, 0.0], abs=0.1)


def test_candidate_scores_keep_examples_whose_target_is_a_candidate_and_each_item_once():
    log_scores_given = np.arange(2 * 4, dtype=np.float32).reshape(2, 4, 1)
    kept = CandidateScores.of(
        log_scores_given, np.array([[3, 1, 3], [2, 1, 1]], np.int32), np.array([3, 3], np.int32)
    )
    assert kept.values[0, kept.known[0], 0].tolist() == [1.0, 3.0]
    assert (len(kept.target), kept.values[0, kept.target[0], 0]) == (1, 3.0)


def test_scores_of_all_kinds_become_log_probabilities():
    logits = tf.constant([[-np.inf, 2.0, 0.0, 0.0]])
    shares = tf.constant([[-np.inf, 0.5, 0.5, -1.0]])
    counts = tf.constant([[-np.inf, 3.0, -0.5]])  # of a model that knows one item less
    logs = log_scores([logits, shares, counts], ["logits", "shares", "counts"])
    total = np.log(np.exp(2) + 2)
    np.testing.assert_allclose(logs[0][0, 1:], [2 - total, -total, -total], rtol=1e-5)
    np.testing.assert_allclose(logs[1][0, 1:], np.log([0.5001, 0.5001, 0.0001]), rtol=1e-5)
    np.testing.assert_allclose(logs[2][0, 1:], [np.log(4), 0.0, 0.0], rtol=1e-5)


def test_a_member_that_knows_nothing_gets_little_weight(trained):
    model, report = trained
    untrained = create("attention", SMALL.but(epochs=0))
    untrained.fit(rings(400, 1))
    log = rings(200, 5)
    blend = Ensemble.of({"good": model, "useless": untrained}, log)
    assert blend.weights["good"] > 5 * abs(blend.weights["useless"])
    assert accuracy(blend, rings(100, 6)) == pytest.approx(accuracy(model, rings(100, 6)), abs=0.03)
    assert (report.items, report.new_items, report.sessions) == (40, 40, 400)


def test_weights_are_learned_before_the_members_have_seen_the_sessions(monkeypatch):
    seen = []
    monkeypatch.setattr(Ensemble, "_learn_weights", lambda self, log: seen.append((log, self.vocabulary)))
    model = create("ensemble", SMALL.but(members="neighbours+cooccurrence"))
    log = rings(90, 1)
    model.fit(SessionLog.concat([log, SessionLog.from_lists([["late", "i1"]] * 10)]))
    (tail, vocabulary), *rest = seen
    assert not rest
    assert list(tail) == [["late", "i1"]] * 10
    assert vocabulary.encode(["late", "i1"]).tolist()[0] == 0
    assert model.vocabulary.encode(["late"])[0] > 0
    model.warm_start(SessionLog.from_lists([["newest", "i1"]]))
    assert seen[-1][1].encode(["newest"])[0] == 0
    assert model.vocabulary.encode(["newest"])[0] > 0


def test_loaded_and_packed_ensembles_score_the_same(trained, tmp_path):
    model, _ = trained
    model.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    prefixes = model.vocabulary.encode(["i1", "i2", "i3", "i9"]).reshape(2, 2).astype(np.int32)
    np.testing.assert_array_equal(loaded.scores(prefixes), model.scores(prefixes))
    assert loaded.weights == model.weights
    mlflow.pyfunc.save_model(str(tmp_path / "model"), **package(model, tmp_path / "packed"))
    sessions = [["i1", "i2"], ["i9"]]
    answer = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(pd.DataFrame({"items": sessions}))
    assert answer["items"].tolist() == model.recommend(sessions, k=20)[0]
    for one in (model, loaded):
        one.warm_start(rings(200, 8))
    np.testing.assert_allclose(loaded.scores(prefixes), model.scores(prefixes), atol=1e-5)


def test_versions_of_one_model_are_blended_but_have_no_warm_start(tmp_path):
    old = create("attention", SMALL)
    old.fit(rings(300, 1))
    old.save(tmp_path)
    new = load(tmp_path)
    new.warm_start(SessionLog.concat([rings(100, 2), SessionLog.from_lists([["fresh", "i3"]] * 20)]))
    blend = Ensemble.of({"2": new, "1": old}, rings(150, 3))
    assert list(blend.weights) == ["2", "1"]
    assert len(blend.vocabulary) == 41
    prefixes = blend.vocabulary.encode(["fresh"])[None, :].astype(np.int32)
    assert np.isfinite(blend.scores(prefixes)[0, 1:]).all()
    blend.save(tmp_path / "blend")
    np.testing.assert_array_equal(load(tmp_path / "blend").scores(prefixes), blend.scores(prefixes))
    light = CheckoutModel(export_artifact(blend, tmp_path / "packed")["light"])
    for session in (["fresh"], ["i1", "fresh", "i2"], ["fresh", "i1"]):
        prefixes = blend.vocabulary.encode(session)[None, :].astype(np.int32)
        np.testing.assert_allclose(light.score([(session, None)])[0], blend.scores(prefixes), atol=1e-4)
    with pytest.raises(ModelError, match="train it anew"):
        blend.warm_start(rings(10, 4))
    other = create("attention", SMALL.but(epochs=0))
    other.fit(rings(50, 9, prefix="x"))
    with pytest.raises(ModelError, match="the member other numbers its items in another way"):
        Ensemble.of({"new": new, "other": other}, rings(10, 4))


def test_wrong_members_are_refused():
    for members, error in (("", OptionsError), ("attention+", OptionsError)):
        with pytest.raises(error, match="members"):
            SMALL.but(members=members)
    with pytest.raises(ModelError, match="no such model: 'guess'"):
        create("ensemble", SMALL.but(members="guess")).fit(rings(20, 1))
    model = create("ensemble", SMALL.but(members="neighbours"))
    model.fit(rings(50, 1))
    with pytest.raises(ModelError, match="members"):
        model.warm_start(rings(20, 2), options=SMALL)
    with pytest.raises(ModelError, match="not trained"):
        create("ensemble").scorer()
