from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from models.by_name import create, load
from models.data.sequences import Context, SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.options import TrainingOptions
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

SMALL = TrainingOptions(
    embedding_size=16, epochs=6, batch_size=128, negatives=40, learning_rate=0.02, warm_epochs=2, max_length=8
)
ALL_COLUMNS = ("user", "device_type", "started_at", "event_type", "dwell_ms", "category", "price")


def recall(model, examples, k=1):
    return summarize(rank_targets(model, examples), ks=(k,))[f"recall@{k}"]


def objects(values):
    return np.array(list(values), dtype=object)


def shop(n_sessions, seed, columns=ALL_COLUMNS):
    """Make walks around a ring, with columns that do not depend on the walk."""
    log, draw = rings(n_sessions, seed), np.random.default_rng(seed)
    n, m, items = len(log), log.n_events, len(log.catalogue)
    of_sessions = {
        "user": objects(f"u{user}" for user in draw.integers(n // 4, size=n)),
        "device_type": objects(draw.choice(["mobile", "desktop", None], n)),
        "started_at": 1.7e9 + 3600.0 * np.arange(n),
    }
    of_events = {
        "event_type": objects(draw.choice(["item_viewed", "item_added", None], m)),
        "dwell_ms": draw.choice([np.nan, 1e3, 1e5], m),
    }
    of_items = {
        "category": objects(f"c{int(item[1:]) % 4}" for item in log.catalogue),
        "price": 1.0 + np.arange(items),
    }
    chosen = lambda all_columns: {name: values for name, values in all_columns.items() if name in columns}  # noqa: E731
    return replace(
        log, context=chosen(of_sessions), event_context=chosen(of_events), item_features=chosen(of_items)
    )


def forks(n_sessions, seed, n_items=30):
    """Make pairs of items: on one device the next item follows, on the other device the eleventh."""
    draw = np.random.default_rng(seed)
    first, mobile = draw.integers(n_items, size=n_sessions), draw.random(n_sessions) < 0.5
    second = (first + np.where(mobile, 1, 11)) % n_items
    sessions = [[f"i{a}", f"i{b}"] for a, b in zip(first, second, strict=True)]
    return SessionLog.from_lists(
        sessions, context={"device_type": np.where(mobile, "mobile", "desktop").astype(object)}
    )


def test_hybrid_learns_from_the_context_and_attention_cannot():
    train, examples = forks(1000, 1), next_item_examples(forks(200, 2))
    model = create("hybrid", SMALL)
    model.fit(train)
    assert recall(model, examples) > 0.9
    unknown = next_item_examples(replace(examples.log, context={}))  # attention reads no more
    assert 0.3 < recall(model, unknown) < 0.7
    assert recall(model, unknown, k=2) > 0.9  # it knows both next items, but not which device


@pytest.fixture(scope="module")
def without_context():
    model = create("hybrid", SMALL)
    model.fit(rings(500, 1))
    return model


def test_without_context_hybrid_is_as_good_as_attention(without_context):
    examples = next_item_examples(rings(200, 2))
    attention = create("attention", SMALL)
    attention.fit(rings(500, 1))
    assert recall(without_context, examples) > recall(attention, examples) - 0.05


def test_an_untrained_hybrid_equals_the_attention_model_for_any_context():
    log = shop(50, 1, columns=("device_type", "event_type", "dwell_ms"))
    attention, hybrid = create("attention", SMALL.but(epochs=0)), create("hybrid", SMALL.but(epochs=0))
    attention.fit(log)
    hybrid.fit(log)
    prefixes = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    context = Context(
        {"device_type": objects(["mobile", None])},
        {"event_type": np.full((2, 3), "item_added", dtype=object)},
    )
    expected = attention.scores(prefixes)
    np.testing.assert_allclose(hybrid.scores(prefixes, context)[:, 1:], expected[:, 1:], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    model = create("hybrid", SMALL.but(epochs=2))
    model.fit(shop(200, 1))
    return model


CONTEXT = Context(
    {
        "user": objects(["u1", "u2"]),
        "device_type": objects(["mobile", None]),
        "started_at": np.array([1.7e9, np.nan]),
    },
    {
        "event_type": objects([None, "item_added", "item_viewed"] * 2).reshape(2, 3),
        "dwell_ms": np.ones((2, 3)),
    },
)
PREFIXES = np.array([[0, 1, 2], [3, 4, 3]], np.int32)


def test_a_loaded_hybrid_has_the_same_scores_and_state(trained, tmp_path):
    trained.save(tmp_path)
    loaded = load(tmp_path)
    np.testing.assert_array_equal(loaded.scores(PREFIXES, CONTEXT), trained.scores(PREFIXES, CONTEXT))
    alone = loaded.scorer().score(PREFIXES).numpy()
    np.testing.assert_allclose(alone[:, 1:], trained.scores(PREFIXES)[:, 1:], rtol=1e-5, atol=1e-5)
    arrays, expected = loaded.arrays(), trained.arrays()
    assert arrays.keys() == expected.keys()
    assert {"adam/square/who/user", "items/seen", "features/sessions"} <= arrays.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays[name], values)


def test_new_items_and_names_do_not_change_old_scores(trained, tmp_path):
    trained.save(tmp_path)
    model = load(tmp_path)
    before, size = model.scores(PREFIXES, CONTEXT), model.vocabulary.size
    sessions = [["new-a", "new-b"]] * 2
    later = SessionLog.from_lists(
        sessions, context={"device_type": objects(["watch"] * 2), "country": objects(["DE"] * 2)}
    )
    later = replace(later, item_features={"category": objects(["c1", "a new one"])})
    model.warm_start(later, options=SMALL.but(warm_epochs=0))
    after = model.scores(PREFIXES, CONTEXT)
    assert after.shape == (2, size + 2)
    np.testing.assert_allclose(after[:, 1:size], before[:, 1:], rtol=1e-4, atol=1e-4)
    arrays = model.arrays()
    assert len(arrays["encoder/who/device_type"]) == len(trained.arrays()["encoder/who/device_type"]) + 1
    assert not arrays["adam/square/who/device_type"][-1].any()
    assert arrays["items/category"].tolist()[-2:] == [
        model._features["items"].names["category"].index("c1") + 1,
        5,
    ]
    assert "country" not in model._features["sessions"].names
    report = model.warm_start(rings(50, 3), options=SMALL)  # this log has no columns
    assert report.losses[-1] < report.losses[0]


def test_the_context_may_have_columns_that_the_model_does_not_read(trained, without_context):
    more = Context(
        {**CONTEXT.sessions, "weather": objects(["rain", "sun"])},
        {"occurred_at": np.zeros((2, 3)), **CONTEXT.events},
    )
    np.testing.assert_array_equal(trained.scores(PREFIXES, more), trained.scores(PREFIXES, CONTEXT))
    plain = without_context.scores(PREFIXES)
    np.testing.assert_array_equal(without_context.scores(PREFIXES, CONTEXT), plain)


def test_users_need_two_sessions_and_their_number_is_limited():
    log = SessionLog.from_lists([["a", "b"]] * 6, context={"user": objects(["x", "x", "y", "y", "z", None])})
    known = {}
    for users in (10, 1, 0):
        model = create("hybrid", SMALL.but(epochs=0, users=users))
        model.fit(log)
        known[users] = model._features["sessions"].names.get("user", ())
    assert known == {10: ("x", "y"), 1: ("x",), 0: ()}


def test_the_basket_has_the_items_added_so_far(trained):
    encoder = trained._trainer.encoder
    types = trained._features["events"].names["event_type"]
    viewed, added = (types.index(name) + 1 for name in ("item_viewed", "item_added"))
    items = tf.constant(np.eye(4)[None], tf.float32)
    known = tf.constant([[False, True, True, True]])
    basket = encoder._basket(items, known, {"event_type": tf.constant([[added, viewed, added, 0]])})
    expected = [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0.5, 0.5]]
    np.testing.assert_allclose(basket[0], expected)


def test_padding_and_later_events_do_not_change_a_score(trained):
    wide = np.array([[0, 0, 5, 6]], np.int32)
    types = objects(["item_added", None, "item_viewed", "item_added"]).reshape(1, 4)
    narrow = trained.scores(wide[:, 2:], Context({}, {"event_type": types[:, 2:]}))
    np.testing.assert_allclose(trained.scores(wide, Context({}, {"event_type": types})), narrow, atol=1e-4)


def aisles(seed, n_sessions=500, n_aisles=8, shelf=12):
    """Make sessions that stay in an aisle. Every third item of an aisle is never seen in training.

    Returns:
        the training sessions, with the whole catalogue, and examples whose targets are the unseen items.
    """
    draw = np.random.default_rng(seed)
    catalogue = objects(f"a{aisle}-{place}" for aisle in range(n_aisles) for place in range(shelf))
    seen = np.array([place for place in range(shelf) if place % 3])

    def log(places_of_last):
        aisle = draw.integers(n_aisles, size=n_sessions)
        places = draw.choice(seen, (n_sessions, 3))
        places[:, -1] = draw.choice(places_of_last, n_sessions)
        items = (aisle[:, None] * shelf + places).astype(np.int32).ravel()
        features = {"category": objects(item.split("-")[0] for item in catalogue)}
        offsets = np.arange(n_sessions + 1, dtype=np.int64) * 3
        return SessionLog(
            items, offsets, catalogue, np.arange(n_sessions, dtype=float), item_features=features
        )

    examples = next_item_examples(log(np.arange(0, shelf, 3)))
    return log(seen), examples.select(examples.position == 2)


def test_features_recommend_items_that_were_never_seen():
    train, examples = aisles(1)
    hybrid = create("hybrid", SMALL)
    hybrid.fit(train)
    assert len(hybrid.vocabulary) == len(train.catalogue) > len(train.ids())
    unseen = SessionLog.from_lists([[item] for item in np.setdiff1d(train.catalogue, train.ids())])
    random_rows = create("hybrid", SMALL)
    random_rows.fit(SessionLog.concat([unseen, replace(train, item_features={})]))
    assert len(random_rows.vocabulary) == len(hybrid.vocabulary)
    chance = 20 / len(train.catalogue)
    assert recall(random_rows, examples, k=20) < chance + 0.1
    assert recall(hybrid, examples, k=20) > 0.6


def test_catalogue_items_without_a_known_feature_stay_out():
    train, _ = aisles(1, n_sessions=20)
    blank = replace(train, item_features={"category": objects([None] * len(train.catalogue))})
    model = create("hybrid", SMALL.but(epochs=0))
    model.fit(blank)
    assert len(model.vocabulary) == len(train.ids())


def test_untrained_scoring_and_another_embedding_size_are_refused(trained):
    with pytest.raises(ModelError, match="not trained"):
        create("hybrid").scores(PREFIXES)
    with pytest.raises(ModelError, match="embedding_size"):
        trained.warm_start(shop(20, 1), options=SMALL.but(embedding_size=8))


def test_the_vector_of_an_item_holds_its_features(trained):
    vectors = trained.item_vectors()
    assert len(vectors) == trained.vocabulary.size
    assert not np.allclose(vectors, trained.arrays()["table"])
