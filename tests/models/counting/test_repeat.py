"""The repeat baseline: the items of the session, the newest first, then the popular items."""

import numpy as np

from models.by_name import create
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.metrics import recall_at_k
from models.evaluation.ranking import rank_targets

LOG = SessionLog.from_lists([["a", "b"], ["a", "b"], ["a", "c"], ["d", "a"]])


def repeat():
    model = create("repeat")
    model.fit(LOG, np.ones(len(LOG), np.float32))
    return model


def test_the_items_of_the_session_come_first_the_newest_before_the_older_ones():
    assert repeat().recommend([["d", "c", "b", "c"]], 4)[0] == [["c", "b", "d", "a"]]


def test_an_item_counts_by_its_last_place_in_the_session():
    assert repeat().recommend([["c", "d", "c"], ["d", "c", "d"]], 2)[0] == [["c", "d"], ["d", "c"]]


def test_without_the_items_of_the_session_the_popular_items_are_left():
    assert repeat().recommend([["a"]], 4, exclude_seen=True)[0] == [["b", "c", "d"]]
    assert repeat().recommend([[]], 2)[0] == [["a", "b"]]


def test_it_is_a_hurdle_where_shoppers_come_back_to_an_item():
    log = SessionLog.from_lists([[f"i{n}", f"i{n}", f"i{n + 1}"] for n in range(200)])
    examples = next_item_examples(log)
    recall = {}
    for name in ("popularity", "repeat"):
        model = create(name)
        model.fit(log)
        recall[name] = recall_at_k(rank_targets(model, examples).ranks, 20)
    assert recall["repeat"] > 0.5 > 0.2 > recall["popularity"]
