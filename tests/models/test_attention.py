import numpy as np
import pytest

from models.ranking import rank_targets, summarize
from models.recommender import ModelError, create, load
from models.sequences import SessionLog, next_item_examples
from models.training import TrainingOptions

SMALL = TrainingOptions(
    embedding_size=16, epochs=8, batch_size=128, negatives=40, learning_rate=0.02, warm_epochs=2, max_length=8
)


def rings(n_sessions, seed, n_items=40, prefix=""):
    """Sessions that walk around a ring, now and then back to the item before."""
    generator = np.random.default_rng(seed)
    sessions = []
    for _ in range(n_sessions):
        place = int(generator.integers(n_items))
        session = [place]
        for _ in range(int(generator.integers(1, 6))):
            place = session[-2] if len(session) > 1 and generator.random() < 0.2 else (place + 1) % n_items
            session.append(place)
        sessions.append([f"{prefix}i{item}" for item in session])
    return SessionLog.from_lists(sessions)


@pytest.fixture(scope="module")
def trained():
    model = create("attention", SMALL)
    report = model.fit(rings(500, 1))
    return model, report


def test_it_beats_popularity_by_far(trained):
    model, report = trained
    examples = next_item_examples(rings(100, 2))
    popularity = create("popularity")
    popularity.fit(rings(500, 1))
    ours, theirs = (summarize(rank_targets(one, examples), ks=(5,)) for one in (model, popularity))
    assert ours["recall@5"] > 0.9
    assert ours["recall@5"] > 3 * theirs["recall@5"]
    assert report.losses[-1] < report.losses[0]
    assert report.new_items == report.items == 40


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    log = rings(150, 3)
    options = SMALL.but(epochs=1)
    arrays = []
    for seed in (1, 1, 2):
        model = create("attention", options.but(seed=seed))
        model.fit(log)
        arrays.append(model.arrays())
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    assert not np.allclose(arrays[0]["table"], arrays[2]["table"])


def test_saved_and_loaded_it_scores_the_same_and_trains_on_the_same(tmp_path):
    model = create("attention", SMALL)
    model.fit(rings(150, 4), options=SMALL.but(epochs=1))
    model.save(tmp_path)
    loaded = load(tmp_path)
    prefixes = np.array([[0, 1, 2], [3, 4, 3]], np.int32)
    assert np.array_equal(model.scores(prefixes), loaded.scores(prefixes))
    later = rings(60, 5)
    model.warm_start(later)
    loaded.warm_start(later)
    assert np.array_equal(model.arrays()["table"], loaded.arrays()["table"])


def test_growing_leaves_old_scores_and_slots_as_they_were():
    model = create("attention", SMALL)
    model.fit(rings(100, 6))
    prefixes = np.array([[0, 0, 1], [5, 6, 5], [1, 2, 3]], np.int32)
    size, before, slots = model.vocabulary.size, model.scores(prefixes), model.arrays()
    report = model.warm_start(rings(50, 7, n_items=30, prefix="new-"), options=SMALL.but(warm_epochs=0))
    assert report.new_items == 30
    after = model.scores(prefixes)
    assert after.shape == (3, size + 30)
    np.testing.assert_array_equal(after[:, :size], before)
    grown = model.arrays()
    for name in ("table", "adam/row_mean", "adam/row_square"):
        np.testing.assert_array_equal(grown[name][:size], slots[name])
    assert not grown["adam/row_square"][size:].any()
    assert np.linalg.norm(grown["table"][size:], axis=1).min() > 0.1
    assert grown["adam/steps"] == slots["adam/steps"]


def test_a_warm_start_learns_new_items_and_keeps_the_old():
    model = create("attention", SMALL)
    model.fit(rings(500, 8))
    new = rings(150, 9, n_items=20, prefix="new-")
    model.warm_start(new, options=SMALL.but(warm_epochs=8, warm_learning_rate=0.02))
    on_new = rank_targets(model, next_item_examples(rings(50, 10, n_items=20, prefix="new-")))
    on_old = rank_targets(model, next_item_examples(rings(100, 11)))
    assert summarize(on_new, ks=(5,))["recall@5"] > 0.8
    assert summarize(on_old, ks=(5,))["recall@5"] > 0.6


def test_padding_does_not_change_scores(trained):
    model, _ = trained
    narrow = model.scores(np.array([[4, 5]], np.int32))
    wide = model.scores(np.array([[0, 0, 0, 4, 5]], np.int32))
    np.testing.assert_allclose(narrow, wide, atol=1e-4)
    assert narrow[0, 0] == -np.inf


def test_sessions_with_nothing_to_predict_only_add_items():
    model = create("attention", SMALL)
    report = model.fit(SessionLog.from_lists([["a"], ["b"]]))
    assert (report.targets, report.steps, report.items) == (0, 0, 2)
    assert len(model.recommend([["a"]], k=5)[0][0]) == 2
    report = model.warm_start(SessionLog.from_lists([]))
    assert (report.sessions, report.steps, report.items) == (0, 0, 2)


def test_what_cannot_be_is_refused():
    model = create("attention", SMALL)
    with pytest.raises(ModelError, match="not trained"):
        model.scores(np.array([[1]], np.int32))
    model.fit(rings(50, 1), options=SMALL.but(epochs=1))
    with pytest.raises(ModelError, match="embedding_size"):
        model.warm_start(rings(50, 1), options=SMALL.but(embedding_size=8))
