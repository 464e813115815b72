import numpy as np
import pytest
import tensorflow as tf

from models.by_name import create, load
from models.checkout_model import CheckoutModel
from models.data.sequences import Context, SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.factors.neumf import NeuMF
from models.options import TrainingOptions
from models.serving.export import export_artifact
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

SMALL = TrainingOptions(
    embedding_size=16,
    epochs=8,
    batch_size=128,
    negatives=160,
    learning_rate=0.02,
    warm_epochs=2,
    max_length=8,
)


def trained(log, options=SMALL):
    model = create("ncf", options)
    return model, model.fit(log)


def recall(model, examples):
    return summarize(rank_targets(model, examples), ks=(5,))["recall@5"]


def tastes(n_users, seed):
    """Make four sessions per user: one item that all users share, then three items of one of two tastes."""
    generator = np.random.default_rng(seed)
    sessions, users = [], []
    for user in range(n_users):
        taste = "ab"[user % 2]
        for _ in range(4):
            sessions.append(["common", *(f"{taste}{item}" for item in generator.permutation(6)[:3])])
            users.append(f"u{user}")
    return SessionLog.from_lists(sessions, context={"user": np.array(users, dtype=object)})


def of(*users):
    return Context({"user": np.array(users, dtype=object)})


def test_scores_equal_the_formula():
    network = NeuMF(SMALL.but(embedding_size=2, temperature=0.5))
    weights = {name: value.numpy() for name, value in network.weights.items()}
    generator = np.random.default_rng(1)
    for name, variable in network.weights.items():
        weights[name] = generator.standard_normal(variable.shape).astype(np.float32)
        variable.assign(weights[name])
    rows = generator.standard_normal((5, 34)).astype(np.float32)
    user = generator.standard_normal(34).astype(np.float32)
    items = rows.copy()
    items[:, :2] /= np.linalg.norm(rows[:, :2], axis=1, keepdims=True)
    # The session is 3, 1: the item before the last has the second lag's weight, the last item the first's.
    shares = np.exp(weights["lag"][[1, 0]])
    state = (shares / shares.sum()) @ items[[3, 1]] @ weights["session"] + user
    factors = state[:2] / np.linalg.norm(state[:2]) * weights["product"] / 0.5
    wide = np.maximum(state[2:] + weights["wide_bias"] + items[:, 2:], 0)
    narrow = np.maximum(wide @ weights["narrow"] + weights["narrow_bias"], 0)
    expected = items[:, :2] @ factors + (narrow @ weights["out"])[:, 0]
    normal = network.normalized(tf.constant(rows))
    embedded, known = tf.gather(normal, [[0, 3, 1]]), tf.constant([[False, True, True]])
    states = network.states(embedded, known, user[None])[:, -1]
    for scores in (network.score_all_pairs(states, normal)[0], network.score_by_state(states, normal)[0]):
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(network.score_pairs(states, normal[4:]), expected[4:], rtol=1e-4, atol=1e-4)


def test_ncf_beats_popularity_by_far_and_a_warm_start_learns_new_items_and_keeps_old_items():
    examples = next_item_examples(rings(100, 2))
    model, report = trained(rings(400, 1))
    popularity = create("popularity")
    popularity.fit(rings(400, 1))
    assert recall(model, examples) > max(0.8, 3 * recall(popularity, examples))
    assert report.losses[-1] < report.losses[0]
    assert report.new_items == report.items == 40
    new = rings(150, 9, n_items=20, prefix="new-")
    model.warm_start(new, options=SMALL.but(warm_epochs=6, warm_learning_rate=0.02))
    assert recall(model, next_item_examples(rings(50, 10, n_items=20, prefix="new-"))) > 0.8
    assert recall(model, examples) > 0.5


def test_the_tastes_of_users_are_learned_and_unknown_users_lie_between():
    model, _ = trained(tastes(40, 1), SMALL.but(epochs=12))
    common = np.tile(model.vocabulary.encode(["common"]), (3, 1))
    scores = model.scores(common, of("u0", "u1", None))
    a, b = (model.vocabulary.encode([f"{taste}{item}" for item in range(6)]) for taste in "ab")
    assert scores[0, a].mean() > scores[0, b].mean() + 1
    assert scores[1, b].mean() > scores[1, a].mean() + 1
    assert abs(scores[2, a].mean() - scores[2, b].mean()) < 1
    for nobody in (of("", "", ""), of(*"xyz"), Context({"device_type": np.array(["phone"] * 3)})):
        np.testing.assert_array_equal(model.scores(common, nobody), model.scores(common))


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    arrays = [trained(tastes(20, 3), SMALL.but(epochs=1, seed=seed))[0].arrays() for seed in (1, 1, 2)]
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    assert not np.allclose(arrays[0]["items"], arrays[2]["items"])


def test_loaded_and_exported_models_score_and_continue_training_the_same(tmp_path):
    model, _ = trained(tastes(20, 4), SMALL.but(epochs=2))
    model.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    prefixes = np.random.default_rng(6).integers(0, model.vocabulary.size, (25, 5)).astype(np.int32)
    expected = model.scores(prefixes)
    assert expected[:, 0].max() == -np.inf
    assert np.isfinite(expected[:, 1:]).all()
    np.testing.assert_array_equal(loaded.scores(prefixes), expected)
    users = of(*(f"u{row}" for row in range(25)))
    assert not np.allclose(model.scores(prefixes, users)[:, 1:], expected[:, 1:])
    np.testing.assert_array_equal(loaded.scores(prefixes, users), model.scores(prefixes, users))
    light = CheckoutModel(export_artifact(model, tmp_path / "artifact")["light"])
    for users in (("u3",), (None,), ("nobody",)):
        (ours,), _ = light.score([(["b1", "common"], {"user": users[0]})])
        encoded = model.vocabulary.encode(["b1", "common"])[None].astype(np.int32)
        np.testing.assert_allclose(ours, model.scores(encoded, of(*users))[0], atol=1e-4)
    for one in (model, loaded):
        one.warm_start(tastes(30, 5))
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], array)
    assert model.arrays()["names"].tolist() == [f"u{row}" for row in range(30)]


def test_new_items_do_not_change_old_rows_scores_and_slots():
    model, _ = trained(tastes(10, 6), SMALL.but(epochs=2))
    prefixes = np.array([[0, 0, 1], [5, 6, 5], [1, 2, 3]], np.int32)
    size, users = model.vocabulary.size, of("u0", "u9", None)
    before, old = model.scores(prefixes, users), model.arrays()
    new = SessionLog.from_lists([["n1", "n2"]] * 3, context={"user": np.array(["v0", "u0", None])})
    assert model.warm_start(new, options=SMALL.but(warm_epochs=0)).new_items == 2
    np.testing.assert_allclose(model.scores(prefixes, users)[:, :size], before, rtol=1e-5, atol=1e-5)
    grown = model.arrays()
    for name in ("items", "users", "adam/row_mean", "adam/row_square", "user_adam/row_square"):
        np.testing.assert_array_equal(grown[name][: len(old[name])], old[name])
    assert len(grown["items"]) == size + 2
    assert len(grown["users"]) == 12
    assert grown["adam/steps"] == old["adam/steps"] > 0
    model.warm_start(new, options=SMALL)
    assert model.arrays()["adam/steps"] > old["adam/steps"]


def test_padding_does_not_change_scores():
    model, _ = trained(rings(50, 1), SMALL.but(epochs=0))
    narrow = model.scores(np.array([[4, 5]], np.int32))
    np.testing.assert_allclose(narrow, model.scores(np.array([[0, 0, 0, 4, 5]], np.int32)), atol=1e-4)


def test_sessions_without_a_target_only_add_items():
    model = create("ncf", SMALL)
    report = model.fit(SessionLog.from_lists([["a"], ["b"]]))
    assert (report.targets, report.steps, report.items) == (0, 0, 2)
    assert len(model.recommend([["a"]], k=5)[0][0]) == 2
    report = model.warm_start(SessionLog.from_lists([]))
    assert (report.sessions, report.steps, report.items) == (0, 0, 2)


def test_untrained_scoring_and_another_embedding_size_are_refused():
    model = create("ncf", SMALL)
    with pytest.raises(ModelError, match="not trained"):
        model.scores(np.array([[1]], np.int32))
    model.fit(rings(50, 1), options=SMALL.but(epochs=0))
    with pytest.raises(ModelError, match="embedding_size"):
        model.warm_start(rings(50, 1), options=SMALL.but(embedding_size=8))
