import numpy as np
import pytest

from models.by_name import create, load
from models.counting import neighbours
from models.counting.session_index import SessionIndex
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.options import TrainingOptions
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

PLAIN = TrainingOptions(half_life=None)
FEW = SessionLog.from_lists([["a", "b", "c"], ["a", "d"], ["e", "b", "f"]])


def trained(log, options=PLAIN, weights=None):
    model = create("neighbours", options)
    model.fit(log, weights)
    return model


def scores_of(model, *session):
    """Return the score of each item id."""
    scores = model.scores(model.vocabulary.encode(session)[None, :])[0]
    return dict(zip(model.vocabulary.ids[1:], scores[1:], strict=True))


def shares(amounts):
    """Return each item's share of all amounts."""
    return {item: amount / sum(amounts.values()) for item, amount in amounts.items()}


def test_scores_by_hand():
    # The mean length is 8/3. So an item one click further back in the session has the weight
    # e**(-1 / (8/3 / 4)) = e**-1.5, and an item at distance d from the last match has e**(-3/8 d).
    scores = scores_of(trained(FEW), "a", "b")
    back, away = np.exp(-1.5), np.exp(-0.375)
    abc = (1 + back) / np.sqrt(3)  # has a and b; its last match is b
    ad = back / np.sqrt(2)  # has a, its last match
    ebf = 1 / np.sqrt(3)  # has b, its last match
    expected = {
        "a": abc * away + ad,
        "b": abc + ebf,
        "c": abc * away,
        "d": ad * away,
        "e": ebf * away,
        "f": ebf * away,
    }
    assert scores == pytest.approx(shares(expected), rel=1e-5)


def test_items_that_no_neighbour_has_rank_last_by_popularity():
    scores = scores_of(trained(FEW), "d")
    assert min(scores["a"], scores["d"]) > 0
    # Of the four other items, b was seen twice, like the most popular item; the others were seen once.
    assert [scores[item] for item in "bcef"] == [0.0, -0.5, -0.5, -0.5]


def test_a_repeated_item_counts_at_its_last_position():
    model = trained(SessionLog.from_lists([["a", "x"], ["b", "y"], ["p", "q"]]))
    again, once = scores_of(model, "a", "b", "a"), scores_of(model, "b", "a")
    assert again == pytest.approx(once)
    assert once["x"] > once["y"]
    # The same holds in a neighbour: in [a, u, v, a] the last a matches, at distance 1 from v and 2 from u.
    found = scores_of(trained(SessionLog.from_lists([["a", "u", "v", "a"]])), "a")
    assert found == pytest.approx(shares({"a": 1.0, "v": np.exp(-1 / 4), "u": np.exp(-2 / 4)}), rel=1e-5)


def test_older_sessions_count_less_by_their_place_in_the_log():
    log = SessionLog.from_lists([["a", "old"], ["a", "new"]])
    scores = scores_of(trained(log, TrainingOptions(half_life=0.25)), "a")
    # The age is 1 of 2 sessions, and the half-life is twice 0.25 of them. So the weight is one half.
    assert scores["old"] == pytest.approx(scores["new"] / 2, rel=1e-5)


def test_neighbours_are_the_most_similar_of_the_newest_sessions():
    sessions = [["a", "b", "both"], ["a", "first"], ["a", "second"], ["a", "third"]]
    log = SessionLog.from_lists(sessions)
    assert matched(scores_of(trained(log, PLAIN.but(neighbours=1)), "a", "b")) == {"a", "b", "both"}
    assert matched(scores_of(trained(log, PLAIN.but(sample=2)), "a")) == {"a", "second", "third"}
    # The index keeps the only session of b, but the two newest candidates are other sessions.
    assert matched(scores_of(trained(log, PLAIN.but(sample=2)), "b", "a")) == {"a", "second", "third"}


def matched(scores):
    return {item for item, score in scores.items() if score > 0}


def test_weights_multiply_and_weight_zero_leaves_a_session_out():
    log = SessionLog.from_lists([["a", "x"], ["a", "y"], ["a", "z"]])
    scores = scores_of(trained(log, weights=np.array([1, 3, 0], np.float32)), "a")
    assert scores["y"] == pytest.approx(3 * scores["x"], rel=1e-5)
    assert scores["z"] < 0
    assert scores_of(trained(log, weights=np.zeros(3, np.float32)), "a").keys() == {"a", "x", "y", "z"}


def test_an_index_made_in_parts_equals_the_index_made_at_once():
    log = rings(300, 1)
    options = TrainingOptions(sample=7, max_length=4, memory=1.0)
    whole, parts = trained(log, options), trained(log.select(slice(0, 100)), options)
    parts.warm_start(log.select(slice(100, 180)))
    parts.warm_start(log.select(slice(180, 300)))
    assert len(whole._index) < 300
    ids = [model.vocabulary.decode(model.arrays()["items"]) for model in (whole, parts)]
    np.testing.assert_array_equal(*ids)
    for name in ("positions", "offsets", "lengths", "weights", "ended_at"):
        np.testing.assert_array_equal(whole.arrays()[name], parts.arrays()[name])
    session = [f"i{item}" for item in (3, 4, 5)]
    ours, theirs = (matched_scores(model, session) for model in (whole, parts))
    assert ours == pytest.approx(theirs, rel=1e-6)


def matched_scores(model, session):
    return {item: score for item, score in scores_of(model, *session).items() if score > 0}


def test_the_index_has_the_newest_sessions_of_each_item():
    log = rings(200, 2)
    items = np.array([int(item[1:]) + 1 for item in log.catalogue], np.int32)[log.items]
    index = SessionIndex.empty().added(log, items, np.ones(200, np.float32), max_length=99, sample=3)
    sessions = [items[log.offsets[s] : log.offsets[s + 1]].tolist() for s in range(200)]
    newest = {
        item: [s for s in range(200) if item in sessions[s] and len(sessions[s]) > 1][-3:]
        for item in range(1, 41)
    }
    kept = sorted({session for all_of_it in newest.values() for session in all_of_it})
    np.testing.assert_array_equal(index.ended_at, kept)
    entries, offsets = index.postings(41, 3)
    for item, all_of_it in newest.items():
        places = entries[offsets[item] : offsets[item + 1]]
        assert index.ended_at[index.session_of_entry[places]].tolist() == all_of_it
        last = [len(sessions[s]) - 1 - sessions[s][::-1].index(item) for s in all_of_it]
        assert index.positions[places].tolist() == last


def test_a_session_that_is_added_twice_counts_once():
    times = [100.0, 200.0, 300.0]
    log = SessionLog.from_lists([["a", "b"], ["a", "c"], ["b", "c"]], times)
    model = trained(log.select(slice(0, 2)))
    model.warm_start(log)
    assert model.arrays()["ended_at"].tolist() == times
    model.warm_start(SessionLog.from_lists([["a", "c"]], [200.5]))  # late, and a different session
    assert model.arrays()["ended_at"].tolist() == [100, 200, 200.5, 300]


def test_without_times_added_sessions_are_newer():
    model = trained(SessionLog.from_lists([["a", "b"], ["a", "c"]]))
    model.warm_start(SessionLog.from_lists([["a", "c"], ["a", "d"]]), options=PLAIN.but(sample=2))
    assert matched(scores_of(model, "a")) == {"a", "c", "d"}
    assert len(model._index) == 4  # the two old sessions are still among the newest of b and c
    model.warm_start(SessionLog.from_lists([["a", "b"], ["b", "c"]]))
    assert model.arrays()["ended_at"].tolist() == [2, 3, 4, 5]


def test_neighbours_beat_popularity_by_far():
    examples = next_item_examples(rings(100, 2))
    models = [create(name) for name in ("neighbours", "popularity")]
    for model in models:
        model.fit(rings(500, 1))
    ours, theirs = (summarize(rank_targets(model, examples), ks=(5,)) for model in models)
    assert ours["recall@5"] > 0.9
    assert ours["recall@5"] > 3 * theirs["recall@5"]


def test_loaded_models_score_the_same(tmp_path):
    model = trained(rings(150, 4), TrainingOptions(sample=20, neighbours=5))
    model.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    generator = np.random.default_rng(5)
    prefixes = generator.integers(0, model.vocabulary.size, (100, 6)).astype(np.int32)
    expected = model.scores(prefixes)
    np.testing.assert_array_equal(loaded.scores(prefixes), expected)
    later = rings(50, 6, n_items=60)
    model.warm_start(later)
    loaded.warm_start(later)
    np.testing.assert_array_equal(model.scores(prefixes), loaded.scores(prefixes))


def test_scores_do_not_depend_on_the_chunks(monkeypatch):
    model = trained(rings(200, 7))
    prefixes = np.random.default_rng(8).integers(0, 41, (75, 4)).astype(np.int32)
    expected = model.scores(prefixes)
    monkeypatch.setattr(neighbours, "ROWS_AT_ONCE", 1)
    alone = trained(rings(200, 7)).scores(prefixes)
    np.testing.assert_allclose(alone, expected, rtol=1e-5)
    assert model.scores(prefixes[:0]).shape == (0, 41)


def test_sessions_without_a_known_item_are_ranked_by_popularity():
    model = trained(FEW)
    np.testing.assert_array_equal(
        model.scores(np.zeros((1, 3), np.int32)), [[-np.inf, 0, 0, -0.5, -0.5, -0.5, -0.5]]
    )
    assert model.recommend([[], ["never seen"]], k=2)[0] == [["a", "b"]] * 2
    assert model.recommend([["never seen", "d"]], k=2)[0] == [["d", "a"]]


def test_sessions_without_a_target_only_add_items():
    model = trained(SessionLog.from_lists([["a"], ["b"]]))
    assert (len(model._index), len(model.vocabulary)) == (0, 2)
    assert len(model.recommend([["a"]], k=5)[0][0]) == 2
    report = model.warm_start(SessionLog.from_lists([]))
    assert (report.sessions, report.targets, report.items) == (0, 0, 2)


def test_an_untrained_model_refuses_to_score():
    with pytest.raises(ModelError, match="not trained"):
        create("neighbours").scores(np.array([[1]], np.int32))
