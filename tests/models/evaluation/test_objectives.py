"""Objectives: the weights of targets, the models that learn them, and the models that cannot."""

from dataclasses import replace

import numpy as np
import pytest

from models.by_name import create
from models.data.batches import Batches
from models.data.sequences import SessionLog, next_item_examples
from models.data.vocabulary import Vocabulary
from models.evaluation.objectives import objectives_of, target_weights
from models.options import OptionsError, TrainingOptions
from models.stored import ModelError

pytestmark = pytest.mark.training

SMALL = TrainingOptions(
    embedding_size=16, epochs=12, batch_size=128, negatives=20, learning_rate=0.02, half_life=None
)
NEXT_CART = {"objective_view": 0}
SEQUENCE_MODELS = ("attention", "gru", "transformer")


def marked_log(sessions, added, purchased=None):
    """Make a log that marks for each event, by 1 or 0, whether its item is added and whether it is bought."""
    log = SessionLog.from_lists(sessions)
    purchased = [0] * log.n_events if purchased is None else purchased
    columns = {"added": np.array(added, bool), "purchased": np.array(purchased, bool)}
    return replace(log, event_context=columns)


def window_shoppers(n_sessions=300, seed=1):
    """Make sessions from x to a, which is only viewed, or to b or rarely c, which go into the cart."""
    generator = np.random.default_rng(seed)
    followers = generator.choice(["a", "b", "c"], n_sessions, p=[0.6, 0.3, 0.1])
    sessions = [["x", str(item)] for item in followers]
    return marked_log(sessions, [mark for item in followers for mark in (0, item != "a")])


def test_targets_weigh_as_their_objectives_with_a_mean_of_1():
    log = marked_log([["a", "b", "c"], ["d"], ["e", "f"]], [1, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1])
    options = SMALL.but(objective_view=1, objective_cart=3, objective_purchase=5)
    weights = target_weights(log, np.array([1, 1, 2], np.float32), options)
    assert weights[[1, 2, 5]].tolist() == [1.0, pytest.approx(1 / 3), pytest.approx(2 * 5 / 3)]
    assert target_weights(log, np.ones(3, np.float32), SMALL).tolist() == [1.0] * 6


def test_a_log_without_marks_gives_equal_weights():
    log = SessionLog.from_lists([["a", "b"], ["c", "d"]])
    weights = np.array([1.5, 0.5], np.float32)
    assert target_weights(log, weights, SMALL.but(**NEXT_CART)).tolist() == [1.5, 1.5, 0.5, 0.5]


def test_batches_count_only_targets_with_a_weight():
    log = marked_log([["a", "b", "c"], ["b", "c"], ["c", "a", "a"]], [1, 0, 1, 1, 0, 0, 1, 1])
    by_event = target_weights(log, np.ones(3, np.float32), SMALL.but(**NEXT_CART))
    batches = Batches(log, by_event, Vocabulary("abc"), max_length=5)
    (batch,) = batches.epoch(10, 1, np.array([0.0, 1.0]), np.random.default_rng(1))
    assert batches.n_targets == 3
    assert sorted(batch.sessions.tolist()) == [[1, 2, 3], [3, 1, 1]]
    share = pytest.approx(5 / 3)
    assert sorted(batch.weights.tolist()) == [[0, share], [share, share]]
    short = Batches(log, by_event, Vocabulary("abc"), max_length=1)
    assert short.n_targets == 2  # only the last target of each session is read


@pytest.mark.parametrize("name", SEQUENCE_MODELS)
def test_a_model_learns_the_given_objective(name):
    log = window_shoppers()
    first = {}
    for what, weights in (("next", {}), ("cart", NEXT_CART), ("both", {"objective_cart": 20})):
        model = create(name, SMALL.but(**weights))
        model.fit(log)
        first[what] = model.recommend([["x"]], 1, exclude_seen=True)[0][0]
    assert first == {"next": ["a"], "cart": ["b"], "both": ["b"]}


def test_equal_objectives_equal_the_default_to_the_bit():
    log = window_shoppers(60)
    models = [create("attention", SMALL.but(epochs=2)) for _ in range(2)]
    models[0].fit(log)
    models[1].fit(replace(log, event_context={}))
    np.testing.assert_array_equal(models[0].arrays()["table"], models[1].arrays()["table"])


def test_without_a_weighted_target_nothing_is_learned():
    model = create("attention", SMALL.but(**NEXT_CART))
    report = model.fit(marked_log([["a", "b"], ["b", "c"]], [1, 0, 0, 0]))
    assert (report.targets, report.items) == (0, 3)
    assert np.isfinite(model.scores(np.array([[1]], np.int32))[0, 1:]).all()


@pytest.mark.parametrize("name", ["popularity", "cooccurrence", "neighbours", "factorization"])
def test_a_model_that_does_not_weigh_targets_refuses_objectives(name):
    with pytest.raises(ModelError, match=f"{name} model .* = 0, 1, 1"):
        create(name, TrainingOptions(**NEXT_CART))
    model = create(name)
    log = SessionLog.from_lists([["a", "b"]] * 3)
    for learn in (model.fit, model.warm_start):
        with pytest.raises(ModelError, match="objective_cart"):
            learn(log, options=TrainingOptions(objective_cart=2))


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_a_wrong_objective_weight_is_refused(value):
    with pytest.raises(OptionsError, match="objective_cart"):
        TrainingOptions(objective_cart=value)
    with pytest.raises(OptionsError, match="cannot all be 0"):
        TrainingOptions(objective_view=0, objective_cart=0, objective_purchase=0)


def test_examples_of_each_objective():
    log = marked_log([["a", "b", "c"], ["d", "e"]], [1, 0, 1, 1, 0])
    assert {name: mask.tolist() for name, mask in objectives_of(next_item_examples(log)).items()} == {
        "next_cart": [False, True, False]
    }
    assert objectives_of(next_item_examples(replace(log, event_context={}))) == {}


def test_models_never_read_the_outcome_of_an_item():
    log = marked_log([["a", "b", "c"]], [1, 0, 1])
    log = replace(log, event_context={**log.event_context, "price": np.array([1.0, 2.0, 3.0])})
    context = next_item_examples(log).encode(Vocabulary("abc")).context(slice(None), 5)
    assert list(context.events) == ["price"]
