from dataclasses import replace

import numpy as np
import pytest

from models.data.sequences import Examples, SessionLog, decay_weights, next_item_examples
from models.data.vocabulary import Vocabulary

LOG = SessionLog.from_lists([["a", "b"], ["c"], ["b", "a", "c"]], context={"returning": np.array([0, 1, 1])})


def test_a_log_returns_its_sessions():
    assert list(LOG) == [["a", "b"], ["c"], ["b", "a", "c"]]
    assert LOG.n_events == 6
    assert list(LOG.ended_at) == [0, 1, 2]
    assert list(SessionLog.from_lists([])) == []


def test_select_keeps_sessions_with_their_context():
    chosen = LOG.select(np.array([2, 1]))
    assert list(chosen) == [["b", "a", "c"], ["c"]]
    assert list(chosen.context["returning"]) == [1, 1]
    assert list(LOG.select(LOG.lengths > 1)) == [["a", "b"], ["b", "a", "c"]]
    assert list(LOG.select(slice(1, 2)).ids()) == ["c"]


def test_concat_joins_the_catalogues():
    other = SessionLog.from_lists([["d", "b"]], ended_at=[9.0])
    joined = SessionLog.concat([LOG, other])
    assert list(joined) == [*LOG, ["d", "b"]]
    assert list(joined.catalogue) == ["a", "b", "c", "d"]
    assert list(joined.ended_at) == [0, 1, 2, 9]
    assert joined.context == {}


def featured(sessions, seconds, categories):
    log = SessionLog.from_lists(sessions)
    seconds, categories = np.array(seconds), np.array(categories, dtype=object)
    return replace(log, event_context={"dwell_ms": seconds}, item_features={"category": categories})


def test_select_and_concat_keep_the_columns_of_events_and_items():
    log = featured([["a", "b"], ["c"], ["b", "a"]], [1, 2, 3, 4, 5], ["shoe", None, "hat"])
    chosen = log.select(np.array([2, 0]))
    assert list(chosen.event_context["dwell_ms"]) == [4, 5, 1, 2]
    later = featured([["d", "b", "a"]], [6, 7, 8], ["hat", "coat", None])
    joined = SessionLog.concat([chosen, later])
    assert list(joined.event_context["dwell_ms"]) == [4, 5, 1, 2, 6, 7, 8]
    known = dict(zip(joined.catalogue, joined.item_features["category"], strict=True))
    assert known == {"a": "shoe", "b": "coat", "c": "hat", "d": "hat"}
    assert SessionLog.concat([log, LOG]).event_context == {}


def test_the_context_of_a_prefix_has_the_places_of_its_items():
    log = featured([["x", "a", "b", "x", "c"], ["a", "c"]], [0, 1, 2, 3, 4, 5, 6], [None] * 4)
    log = replace(log, context={"device_type": np.array(["phone", "desktop"], dtype=object)})
    encoded = next_item_examples(log).encode(Vocabulary(["a", "b", "c"]))
    rows = np.array([3, 4, 1])  # x a b x -> c, a -> c, x a -> b
    items, context = encoded.prefixes(rows, 2), encoded.context(rows, 2)
    assert items.tolist() == [[1, 2], [0, 1], [0, 1]]
    assert context.events["dwell_ms"][items > 0].tolist() == [1, 2, 5, 1]
    assert context.sessions["device_type"].tolist() == ["phone", "desktop", "phone"]


def test_a_log_with_wrong_lengths_is_refused():
    with pytest.raises(ValueError, match="received 2 offsets"):
        SessionLog(LOG.items, LOG.offsets[:2], LOG.catalogue, LOG.ended_at)
    with pytest.raises(ValueError, match="'returning' has 2 values for 1 sessions"):
        SessionLog.from_lists([["a"]], context={"returning": np.array([1, 2])})
    with pytest.raises(ValueError, match="'category' has 2 values for 3 items"):
        replace(LOG, item_features={"category": np.array(["shoe", "hat"])})


def test_every_position_but_the_first_is_an_example():
    examples = next_item_examples(LOG)
    assert [(examples.prefix(row), examples.targets[row]) for row in range(len(examples))] == [
        (["a"], "b"),
        (["b"], "a"),
        (["b", "a"], "c"),
    ]
    assert list(examples.session) == [0, 2, 2]


def test_pairs_of_one_session_get_the_same_session():
    pairs = [(["a", "b", "c"], "d"), (["a", "b"], "c"), (["a"], "b"), (["x"], "y"), (["x"], "y")]
    examples = Examples.from_pairs(pairs)
    assert [(examples.prefix(row), examples.targets[row]) for row in range(5)] == pairs
    assert list(examples.session) == [0, 0, 0, 1, 2]


def test_encoding_leaves_out_unknown_items_and_keeps_the_last_items():
    examples = next_item_examples(SessionLog.from_lists([["x", "a", "x", "b", "c", "y"]]))
    encoded = examples.encode(Vocabulary(["a", "b", "c"]))
    assert list(encoded.targets) == [1, 0, 2, 3, 0]
    padded = encoded.prefixes(slice(None), max_length=2)
    assert padded.tolist() == [[0, 0], [0, 1], [0, 1], [1, 2], [2, 3]]


def test_encoding_without_known_items():
    encoded = next_item_examples(LOG).encode(Vocabulary(["z"]))
    assert encoded.prefixes(slice(None), max_length=5).tolist() == [[0], [0], [0]]


def test_weights_halve_with_each_half_life():
    weights = decay_weights(np.array([0.0, 10.0, 20.0]), half_life=10.0)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[2] / weights[1] == pytest.approx(2.0)
    assert weights[1] / weights[0] == pytest.approx(2.0)
    assert list(decay_weights(np.arange(3.0))) == [1, 1, 1]
    with pytest.raises(ValueError, match="received 0"):
        decay_weights(np.arange(3.0), half_life=0)
