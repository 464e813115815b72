"""Online updates: small moves of the session's items, which are the same each time."""

import numpy as np
import pytest

from models.by_name import create
from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary
from models.online.delta import OnlineDelta, OnlineOptions, normalized
from models.stored import ModelError
from tests.models.toys import rings

TEMPERATURE = 0.1


def table(size, seed=1):
    return np.random.default_rng(seed).standard_normal((size + 1, 8)).astype(np.float32)


def delta(items="abcdefghij", **options):
    counts = np.r_[0.0, np.ones(len(items))]
    return OnlineDelta(table(len(items)), Vocabulary(items, counts), TEMPERATURE, OnlineOptions(**options))


def cosine(one, first, second):
    left, right = (one.table[one.vocabulary.encode([item])[0]] for item in (first, second))
    return float(left @ right)


def test_one_step_equals_the_formula():
    """In a session of two items the state is the first item. One negative is drawn."""
    one = delta("ab", rate=0.2, negatives=1, context=0.0, largest_step=9.0)
    before = one.table.copy()
    one.learn(["a", "b"])
    score = np.exp(before[1] @ before[2] / TEMPERATURE)
    # The negative is a or b, which are both in the session. So no negative counts, p = 1, and no item moves.
    assert score > 0
    np.testing.assert_allclose(one.table, before, atol=1e-6)

    one = delta("abc", rate=0.2, negatives=8, context=0.0, largest_step=9.0)
    one._cumulated = np.array([0.0, 0.0, 0.0, 1.0])  # the negative is always c
    before = one.table.copy()
    one.learn(["a", "b"])
    score, other = (np.exp(before[1] @ before[item] / TEMPERATURE) for item in (2, 3))
    estimate = 8 * other / (8 / 3)  # drawn 8 times, expected 8/3 times
    w = 0.2 * (1 - score / (score + estimate))
    moved = (1 - w) * before[2] + w * before[1]
    np.testing.assert_allclose(one.table[2], moved / np.linalg.norm(moved), rtol=1e-5)
    np.testing.assert_allclose(one.table[1], before[1], rtol=1e-6)


def test_items_that_follow_each_other_move_closer():
    one = delta()
    before = cosine(one, "a", "b")
    for _ in range(50):
        one.learn(["a", "b"])
    assert cosine(one, "a", "b") > before + 0.3
    assert one.learned == 50


def test_no_session_moves_an_item_by_more_than_the_largest_step():
    one = delta(rate=1.0, context=5.0, largest_step=0.05)
    before = one.table.copy()
    one.learn(["a", "b", "a", "b", "a", "c", "a", "d"])
    steps = np.linalg.norm(one.table - before, axis=1)
    assert 0.01 < steps.max() <= 0.051
    np.testing.assert_allclose(np.linalg.norm(one.table[1:], axis=1), 1.0, rtol=1e-5)


def test_an_unknown_item_gets_a_row_near_the_items_of_its_session():
    one = delta()
    one.learn(["x", "y"])  # no known item
    assert "x" not in one.vocabulary
    one.learn(["a", "x", "b", "x"])
    assert one.vocabulary.decode(np.array([11])).tolist() == ["x"]
    beside = cosine(one, "x", "a") + cosine(one, "x", "b")
    assert beside > max(cosine(one, "x", item) * 2 for item in "cdefghij")
    assert one.vocabulary.counts[11] == 1.0


def test_the_same_sessions_give_the_same_delta_in_parts_or_at_once(tmp_path):
    log = rings(60, seed=3, n_items=14)
    items = [f"i{number}" for number in range(10)]  # i10 and later items are new
    whole, single, resumed, again = (delta(items) for _ in range(4))
    whole.learn_log(log)
    for session in log:
        single.learn(session)
    resumed.learn_log(log.select(slice(0, 25)))
    resumed.save(tmp_path / "delta.npz")
    again.load(tmp_path / "delta.npz")
    again.learn_log(log.select(slice(25, None)))
    for other in (single, again):
        np.testing.assert_array_equal(other.table, whole.table)
        np.testing.assert_array_equal(other.moved, whole.moved)
        assert list(other.vocabulary.ids) == list(whole.vocabulary.ids)
        np.testing.assert_array_equal(other.vocabulary.counts, whole.vocabulary.counts)
    assert len(whole.vocabulary) == 14


def test_a_shopper_is_a_weighted_combination_of_past_and_current():
    one = delta("abc", user_rate=0.2, negatives=2)
    one._cumulated = np.array([0.0, 0.0, 0.0, 1.0])  # the expected item is always c
    a, b, c = one.table[1:].copy()
    one.learn(["a", "b", "a"], "u1")
    first = 0.2 * ((2 * a + b) / 3 - c)
    np.testing.assert_allclose(one.shoppers.of(["u1"])[0], first, rtol=1e-5)
    b, c = one.table[2:].copy()
    one.learn(["b"], "u1")  # no item follows, but the shopper is known
    np.testing.assert_allclose(one.shoppers.of(["u1"])[0], 0.8 * first + 0.2 * (b - c), rtol=1e-5)

    one = delta("abc", user_rate=0.2, negatives=2)
    one._cumulated = np.array([0.0, 0.0, 0.5, 1.0])
    one._drawn = (0, np.array([[2, 3]] * 9))  # b and c
    one.shoppers.put("u1", np.eye(8, dtype=np.float32)[0])
    a, b, c = one.table[1:].copy()
    one.learn(["a"], "u1")
    of_b, of_c = np.exp(b[0] / TEMPERATURE), np.exp(c[0] / TEMPERATURE)
    expected = (of_b * b + of_c * c) / (of_b + of_c)
    np.testing.assert_allclose(
        one.shoppers.of(["u1"])[0], 0.8 * np.eye(8)[0] + 0.2 * (a - expected), rtol=1e-4, atol=1e-6
    )


def test_items_move_the_same_for_every_shopper():
    log = rings(60, seed=3, n_items=14)
    users = np.array(["u1", None, "u2", "", float("nan"), "u1"] * 10, dtype=object)
    named = SessionLog(log.items, log.offsets, log.catalogue, log.ended_at, {"user": users})
    one, other = (delta([f"i{number}" for number in range(10)]) for _ in range(2))
    one.learn_log(log)
    other.learn_log(named)
    assert one.shoppers.names == ()
    assert other.shoppers.names == ("u2", "u1")
    for name, values in one.arrays().items():
        if "shopper" not in name:
            np.testing.assert_array_equal(other.arrays()[name], values)


def test_the_number_of_shoppers_and_their_lengths_are_limited():
    one = delta(users=2, user_rate=1.0)
    for user in ("u1", "u2", "u1", "u3"):
        one.learn(["a", "b"], user)
    assert one.shoppers.names == ("u1", "u3")
    for _ in range(50):
        one.learn(["a", "a"], "u1")
    assert 0 < np.linalg.norm(one.shoppers.of(["u1"])) <= 2.0


def test_shoppers_are_saved_and_older_deltas_have_none(tmp_path):
    one, again, old, other = (delta() for _ in range(4))
    one.learn(["a", "b"], "u1")
    one.save(tmp_path / "delta.npz")
    again.load(tmp_path / "delta.npz")
    for each in (one, again):
        each.learn(["c", "a"], "u1")
    np.testing.assert_array_equal(again.shoppers.of(["u1"]), one.shoppers.of(["u1"]))
    old.restore({name: values for name, values in one.arrays().items() if "shopper" not in name})
    assert len(old.shoppers) == 0
    np.testing.assert_array_equal(old.table, one.table)
    other.load_shoppers(tmp_path / "delta.npz")
    assert other.shoppers.names == ("u1",)
    assert other.learned == 0
    assert not other.moved.any()


def test_a_delta_on_another_model_is_refused():
    one, other = delta("abc"), delta("abcd")
    one.learn(["a", "b"])
    with pytest.raises(ModelError, match="3 items"):
        other.restore(one.arrays())
    with pytest.raises(ModelError, match="cooccurrence"):
        OnlineDelta.on(create("cooccurrence"))
    with pytest.raises(ModelError, match="rate"):
        OnlineOptions(rate=2.0)
    with pytest.raises(ModelError, match="users"):
        OnlineOptions(users=0)


def test_normalized_leaves_padding():
    np.testing.assert_array_equal(normalized(np.zeros((1, 3), np.float32)), np.zeros((1, 3)))
