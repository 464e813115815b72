import numpy as np
import pytest
import tensorflow as tf

from models.by_name import create, load
from models.data.sequences import Context, SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.factors.factorization import FactorScorer
from models.factors.known_users import KnownUsers
from models.options import TrainingOptions
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

SMALL = TrainingOptions(embedding_size=16, epochs=8, warm_epochs=2, half_life=None)
BY_HAND = SMALL.but(embedding_size=1, confidence=10.0, regularization=0.02)


def trained(log, options=SMALL, weights=None):
    model = create("factorization", options)
    model.fit(log, weights)
    return model


def tastes(n_users, seed):
    """Make two sessions per user, of six items of one of two tastes; the last session of a user is short."""
    generator = np.random.default_rng(seed)
    sessions, users = [], []
    for user in range(n_users):
        taste = "ab"[user % 2]
        for length in (4, 3):
            sessions.append([f"{taste}{item}" for item in generator.permutation(6)[:length]] + ["common"])
            users.append(f"u{user}")
    return SessionLog.from_lists(sessions, context={"user": np.array(users, dtype=object)})


def of(*users):
    return Context({"user": np.array(users, dtype=object)})


def test_a_session_is_folded_in_as_computed_by_hand():
    # The factors have one number each: P = (3² + 1²) / confidence + regularization = 1 + 0.02.
    model = trained(SessionLog.from_lists([["a", "b"]]), BY_HAND)
    arrays = model.arrays() | {"items": np.array([[0.0], [3.0], [1.0]])}
    model.restore(arrays)
    # For [a], x = 3 / (1.02 + 9). The mean length is 2: in [b, a] b has the weight e**(-1 / (2 / 4)) = e**-2.
    x = 3 / (1.02 + 9)
    assert model.scores(np.array([[0, 1]], np.int32))[0, 1:] == pytest.approx([3 * x, x], abs=1e-5)
    x = (3 + np.exp(-2)) / (1.02 + 9 + np.exp(-2))
    assert model.scores(np.array([[2, 1]], np.int32))[0, 1:] == pytest.approx([3 * x, x], abs=1e-5)


def test_the_factor_of_a_known_user_is_the_prior_of_the_session():
    log = SessionLog.from_lists([["a", "b"]], context={"user": np.array(["u"], dtype=object)})
    model = trained(log, BY_HAND)
    model.restore(model.arrays() | {"items": np.array([[0.0], [3.0], [1.0]]), "users": np.array([[0.5]])})
    nothing, session = np.zeros((1, 1), np.int32), np.array([[1]], np.int32)
    assert model.scores(nothing, of("u"))[0, 1:] == pytest.approx([1.5, 0.5], abs=1e-5)
    # The solution minimizes (1 - 3x)² + 1.02 (x - 0.5)².
    x = (3 + 1.02 * 0.5) / (9 + 1.02)
    assert model.scores(session, of("u"))[0, 1:] == pytest.approx([3 * x, x], abs=1e-5)
    for nobody in (of(""), of("never seen"), Context({"device_type": np.array(["phone"], dtype=object)})):
        np.testing.assert_array_equal(model.scores(session, nobody), model.scores(session))


def test_factorization_beats_popularity_by_far():
    examples = next_item_examples(rings(100, 2))
    models = [create("factorization", SMALL.but(embedding_size=32)), create("popularity")]
    reports = [model.fit(rings(500, 1)) for model in models]
    ours, theirs = (summarize(rank_targets(model, examples), ks=(5,)) for model in models)
    assert ours["recall@5"] > 3 * theirs["recall@5"]
    assert ours["recall@5"] > 0.6
    assert reports[0].losses[-1] < reports[0].losses[0]
    assert reports[0].new_items == reports[0].items == 40


def test_the_tastes_of_users_are_learned():
    model = trained(tastes(40, 1))
    common = np.tile(model.vocabulary.encode(["common"]), (2, 1))
    scores = model.scores(common, of("u0", "u1"))
    a, b = (model.vocabulary.encode([f"{taste}{item}" for item in range(6)]) for taste in "ab")
    assert scores[0, a].min() > scores[0, b].max()
    assert scores[1, b].min() > scores[1, a].max()


def test_sessions_without_a_user_have_rows_of_their_own():
    users = np.array(["", None, "u", "u"], dtype=object)
    log = SessionLog.from_lists([["a", "b"], ["a", "c"], ["a"], ["d"]], context={"user": users})
    arrays = trained(log).arrays()
    assert arrays["names"].tolist() == ["u"]
    assert arrays["mean_length"].tolist() == [1.5]
    # The two sessions of u are one row. Its factor explains both a and d, so no single session has it.
    assert not np.allclose(arrays["users"][0], 0)


def test_the_same_seed_gives_the_same_factors_and_another_does_not():
    arrays = [trained(rings(100, 3), SMALL.but(seed=seed)).arrays()["items"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert not np.allclose(arrays[0], arrays[2])


def test_loaded_models_score_and_continue_training_the_same(tmp_path):
    log, later = tastes(20, 4), tastes(30, 5)
    model = trained(log)
    model.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    prefixes = np.random.default_rng(6).integers(0, model.vocabulary.size, (50, 5)).astype(np.int32)
    expected = model.scores(prefixes)
    assert expected[:, 0].max() == -np.inf
    np.testing.assert_array_equal(loaded.scores(prefixes), expected)
    users = of(*(f"u{row}" for row in range(50)))
    np.testing.assert_array_equal(loaded.scores(prefixes, users), model.scores(prefixes, users))
    for one in (model, loaded):
        one.warm_start(later)
    np.testing.assert_array_equal(loaded.arrays()["items"], model.arrays()["items"])
    np.testing.assert_array_equal(loaded.arrays()["users"], model.arrays()["users"])
    assert model.arrays()["names"].tolist() == [f"u{row}" for row in range(30)]


def test_a_warm_start_learns_new_items_and_keeps_unseen_items():
    model = trained(rings(500, 8), SMALL.but(embedding_size=32))
    before = model.arrays()["items"]
    report = model.warm_start(rings(150, 9, n_items=20, prefix="new-"))
    assert report.new_items == 20
    np.testing.assert_array_equal(model.arrays()["items"][:41], before)
    on_new = rank_targets(model, next_item_examples(rings(50, 10, n_items=20, prefix="new-")))
    on_old = rank_targets(model, next_item_examples(rings(100, 11)))
    assert summarize(on_new, ks=(5,))["recall@5"] > 0.5
    assert summarize(on_old, ks=(5,))["recall@5"] > 0.5


def test_a_warm_start_keeps_unseen_users():
    model = trained(tastes(20, 1))
    before = model.arrays()["users"]
    model.warm_start(tastes(2, 2))
    after = model.arrays()["users"]
    np.testing.assert_array_equal(after[2:], before[2:])
    assert not np.allclose(after[:2], before[:2])


def test_padding_does_not_change_scores_and_sessions_with_weight_zero_are_ignored():
    log = SessionLog.from_lists([["a", "b"], ["a", "b"], ["c", "d"]])
    model = trained(log, weights=np.array([1, 1, 0], np.float32))
    narrow = model.scores(np.array([[1, 2]], np.int32))
    wide = model.scores(np.array([[0, 0, 1, 2]], np.int32))
    np.testing.assert_allclose(narrow, wide, atol=1e-6)
    assert narrow[0, 1:3].min() > 0.5
    assert np.abs(narrow[0, 3:]).max() < 0.1


def test_a_long_session_is_scored_where_sessions_are_short_and_no_other_row_suffers():
    # The mean length is 2, so the weight of an item that came 50 items ago is 0 in float32.
    model = trained(rings(300, seed=3).select(slice(0, 250)), SMALL.but(max_length=100))
    model.restore(model.arrays() | {"mean_length": np.array([1.0])})
    short = np.array([[1, 2]], np.int32)
    long = np.tile(np.arange(1, 26, dtype=np.int32), 4)[None]
    both = model.scores(np.concatenate([np.pad(short, ((0, 0), (98, 0))), long]))
    np.testing.assert_allclose(both[0], model.scores(short)[0], atol=1e-5)
    np.testing.assert_allclose(both[1], model.scores(long[:, -20:])[0], atol=1e-5)
    assert np.isfinite(both[:, 1:]).all()


@pytest.mark.parametrize("mean_length", [1.0, 4.0, 40.0])
def test_sessions_are_folded_in_as_a_direct_solver_does(mean_length):
    generator = np.random.default_rng(0)
    table = generator.standard_normal((200, 16))
    nobody = KnownUsers(
        [], np.zeros((0, table.shape[1]), np.float32), np.zeros(table.shape[1], np.float32), 0
    )
    scorer = FactorScorer(table, np.zeros(200), mean_length, 50, nobody)
    prefix = generator.integers(1, 40, 50)  # many items come several times
    z = table[prefix]
    weights = np.exp(np.arange(-49, 1) / (0.25 * mean_length))
    inside = np.eye(16) + z.T @ (weights[:, None] * z)  # the other form of the same solution: d equations
    expected = table @ np.linalg.solve(inside, z.T @ weights)
    scores = scorer.score(tf.constant(prefix[None], tf.int32)).numpy()[0]
    np.testing.assert_allclose(scores[1:], expected[1:], rtol=1e-4, atol=1e-4)


def test_sessions_without_a_known_item_are_ranked_by_popularity():
    model = trained(SessionLog.from_lists([["b"], ["a", "c"], ["c", "b"], ["c"]]))
    scores = model.scores(np.zeros((1, 2), np.int32))[0]
    assert model.vocabulary.decode(np.argsort(-scores)[:3]).tolist() == ["c", "b", "a"]
    assert model.recommend([[], ["never seen"]], k=2)[0] == [["c", "b"]] * 2


def test_an_empty_log_can_be_learned():
    model = trained(SessionLog.from_lists([]))
    report = model.warm_start(SessionLog.from_lists([["a"], ["b"]]))
    assert (report.targets, report.items) == (0, 2)
    assert len(model.recommend([["a"]], k=5)[0][0]) == 2


def test_untrained_scoring_and_another_embedding_size_are_refused():
    model = create("factorization", SMALL)
    with pytest.raises(ModelError, match="not trained"):
        model.scores(np.array([[1]], np.int32))
    model.fit(rings(50, 1))
    with pytest.raises(ModelError, match="embedding_size"):
        model.warm_start(rings(50, 1), options=SMALL.but(embedding_size=8))
