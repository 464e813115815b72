"""The limits of a warm start: averaged weights, limited moves, retired items, and a step traced once."""

import numpy as np
import pytest
import tensorflow as tf

from models.by_name import create
from models.data.sequences import SessionLog
from models.layers.warm_start import MAX_SNAPSHOTS, WeightAverage, limit_moves
from models.options import TrainingOptions

pytestmark = pytest.mark.training

OPTIONS = TrainingOptions(
    embedding_size=16, epochs=2, warm_epochs=2, negatives=32, warm_negatives=32, max_length=5, half_life=None
)


def sessions(first, last, seed=0):
    """Return sessions that step from each item to the next, among the items from `first` to `last`."""
    generator = np.random.default_rng(seed)
    starts = generator.integers(first, last - 3, 200)
    return SessionLog.from_lists([[f"i{start + step}" for step in range(4)] for start in starts])


def trained(**options):
    model = create("attention", OPTIONS.but(**options))
    model.fit(sessions(0, 40))
    return model


def normalized(model):
    table = model.arrays()["table"]
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def test_an_average_uses_the_last_steps():
    value = tf.Variable([0.0])
    average = WeightAverage([value], steps=40, share=0.25)
    for step in range(40):
        value.assign([float(step)])
        average.after(step)
    average.assign()
    kept = 39 - np.linspace(0, 10, MAX_SNAPSHOTS, endpoint=False).astype(int)
    assert value.numpy() == pytest.approx([kept.mean()])
    assert kept.min() >= 30


def test_without_averaging_the_last_step_stays():
    value = tf.Variable([3.0])
    average = WeightAverage([value], steps=10, share=0.0)
    average.after(9)
    average.assign()
    assert value.numpy() == [3.0]


def test_rows_that_moved_too_far_are_placed_on_the_arc_of_their_move():
    before = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], np.float32)
    after = np.array([[0.0, 3.0], [1.0, 0.1], [0.0, 5.0]], np.float32)
    limited, far = limit_moves(before, after, 0.5)
    assert far == 1
    assert limited[1:] == pytest.approx(after[1:])
    assert np.linalg.norm(limited[0]) == pytest.approx(3.0)
    assert np.linalg.norm(limited[0] / 3.0 - before[0]) == pytest.approx(0.5, abs=1e-6)
    assert limited[0, 1] > 0, "in the direction of its move"


def test_a_trust_region_limits_every_known_item_and_no_new_item():
    model = trained(trust_region=0.05)
    free = trained()
    before = normalized(model)
    for one in (model, free):
        one.warm_start(sessions(20, 60, seed=1), options=one.options)
    moved = np.linalg.norm(normalized(model)[1 : len(before)] - before[1:], axis=1)
    assert moved.max() <= 0.05 + 1e-5
    assert np.linalg.norm(normalized(free)[1 : len(before)] - before[1:], axis=1).max() > 0.1
    assert len(model.vocabulary) > len(before) - 1


def test_averaging_changes_the_weights_of_a_warm_start():
    last, mean = trained(), trained(averaging=0.5)
    for one in (last, mean):
        one.warm_start(sessions(0, 40, seed=1), options=one.options)
    assert not np.allclose(last.arrays()["table"], mean.arrays()["table"])


def test_retired_items_leave_with_their_rows_and_other_items_keep_theirs():
    model = create("attention", OPTIONS.but(retire_below=1e9, warm_epochs=0))
    model.fit(sessions(0, 40))
    rows = dict(zip(model.vocabulary.ids, model.arrays()["table"], strict=True))
    slots = dict(zip(model.vocabulary.ids, model.arrays()["adam/row_mean"], strict=True))
    report = model.warm_start(sessions(30, 50, seed=1), options=model.options)
    ids = list(model.vocabulary.ids[1:])
    assert "i5" not in ids
    assert {"i35", "i45"} <= set(ids)
    assert report.items == len(ids) == len(model.arrays()["table"]) - 1
    assert model.vocabulary.counts.shape == (len(ids) + 1,)
    place = ids.index("i35") + 1
    assert model.arrays()["table"][place] == pytest.approx(rows["i35"])
    assert model.arrays()["adam/row_mean"][place] == pytest.approx(slots["i35"])


def test_warm_starts_with_new_items_do_not_trace_the_step_again():
    model = trained()
    step = model._trainer.step
    traces = step.experimental_get_tracing_count()
    model.warm_start(sessions(20, 60, seed=1), options=model.options)
    assert model._trainer.step is step
    assert step.experimental_get_tracing_count() == traces
    model.warm_start(sessions(20, 60, seed=2), options=model.options.but(dropout=0.5))
    assert model._trainer.step is not step, "another dropout is another step"
