"""Full ranking: ranks agree with the recommended lists, with and without the items of the session."""

import numpy as np
import pytest

from models.by_name import create
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.objectives import is_new
from models.evaluation.ranking import rank_targets
from models.options import TrainingOptions


def shop(n_items=30, sessions=120, length=7, seed=3):
    generator = np.random.default_rng(seed)
    return SessionLog.from_lists(
        [[f"i{item}" for item in generator.integers(n_items, size=length)] for _ in range(sessions)]
    )


@pytest.mark.parametrize("name", ["popularity", "repeat"])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_ranks_and_lists_agree_with_the_recommended_lists(name, exclude_seen):
    log = shop()
    model = create(name, TrainingOptions(max_length=3))  # a session is longer than what the model reads
    model.fit(log.select(slice(60)))
    examples = next_item_examples(log)
    ranking = rank_targets(model, examples, 5, exclude_seen=exclude_seen)
    prefixes = [examples.prefix(row) for row in range(len(examples))]
    recommended, _ = model.recommend(prefixes, 5, exclude_seen=exclude_seen)
    for row, (items, target) in enumerate(zip(recommended, examples.targets, strict=True)):
        shown = ranking.top[row][ranking.top[row] > 0]
        assert list(model.vocabulary.decode(shown)) == items
        rank = ranking.ranks[row]
        assert (items.index(target) + 1 if target in items else 0) == (rank if rank <= 5 else 0)


def test_a_target_that_the_list_leaves_out_is_a_miss():
    log = SessionLog.from_lists([["a", "b", "a"]])
    model = create("repeat")
    model.fit(log)
    assert rank_targets(model, next_item_examples(log)).ranks.tolist() == [2, 2]
    assert rank_targets(model, next_item_examples(log), exclude_seen=True).ranks.tolist() == [1, 0]


def test_lists_of_a_model_that_knows_few_items_end_with_padding():
    model = create("popularity")
    model.fit(SessionLog.from_lists([["a", "b"]]))
    assert rank_targets(
        model, next_item_examples(SessionLog.from_lists([["a", "b"], ["x", "b"]])), 4
    ).top.tolist() == [
        [1, 2, 0, 0],
        [1, 2, 0, 0],
    ]


def test_a_target_is_new_if_no_item_of_its_session_before_it_has_its_id():
    log = SessionLog.from_lists([["a", "b", "a", "c", "c"], ["a"], ["c", "a"]])
    assert is_new(next_item_examples(log)).tolist() == [True, False, True, False, True]
    assert is_new(next_item_examples(SessionLog.from_lists([]))).tolist() == []
