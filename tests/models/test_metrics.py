import os

import numpy as np
import pytest

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling ranx takes minutes, running it does not
from ranx import Qrels, Run, evaluate

from models.metrics import (
    bootstrap_difference,
    bootstrap_interval,
    coverage_at_k,
    hit_rate_at_k,
    mrr_at_k,
    ndcg_at_k,
    per_example,
    precision_at_k,
    recall_at_k,
    summarize_ranks,
)

RANKS = np.array([1, 3, 0, 21, 20])


def test_hand_computed_values():
    assert hit_rate_at_k(RANKS, 20) == recall_at_k(RANKS, 20) == 3 / 5
    assert precision_at_k(RANKS, 20) == pytest.approx(3 / 5 / 20)
    assert mrr_at_k(RANKS, 20) == pytest.approx((1 + 1 / 3 + 1 / 20) / 5)
    assert mrr_at_k(RANKS, 2) == 1 / 5
    assert ndcg_at_k(RANKS, 3) == pytest.approx((1 + 1 / 2) / 5)


def test_no_predictions_give_zero_and_k_below_one_is_refused():
    nothing = np.zeros(0, np.int32)
    for metric in (hit_rate_at_k, recall_at_k, precision_at_k, mrr_at_k, ndcg_at_k):
        assert metric(nothing, 5) == 0.0
        with pytest.raises(ValueError, match="received 0"):
            metric(RANKS, 0)
    assert coverage_at_k(np.zeros((0, 5), np.int32), 5, 10) == 0.0
    assert bootstrap_interval(np.zeros(0), nothing) == (0.0, 0.0)


def test_coverage_counts_items_once_and_padding_never():
    top = np.array([[1, 2, 0], [2, 3, 4]])
    assert coverage_at_k(top, 1, 8) == 2 / 8
    assert coverage_at_k(top, 3, 8) == 4 / 8
    with pytest.raises(ValueError, match="coverage@5"):
        coverage_at_k(top, 5, 8)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_equals_ranx_on_random_rankings(seed, k):
    generator = np.random.default_rng(seed)
    n_items, n = 60, 40
    scores = {f"q{q}": {f"d{d}": float(s) for d, s in enumerate(generator.random(n_items))} for q in range(n)}
    targets = generator.integers(-5, n_items, n)  # a negative one is not among the items
    ranks = np.zeros(n, np.int32)
    for q, target in enumerate(targets):
        if target >= 0:
            own = scores[f"q{q}"]
            ranks[q] = 1 + sum(score > own[f"d{target}"] for score in own.values())
    qrels = Qrels({f"q{q}": {f"d{target}": 1} for q, target in enumerate(targets)})
    theirs = evaluate(
        qrels, Run(scores), [f"{m}@{k}" for m in ("precision", "recall", "hit_rate", "mrr", "ndcg")]
    )
    ours = summarize_ranks(ranks, np.zeros((n, 20), np.int32), n_items)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-9), name
        assert per_example(name, ranks).mean() == pytest.approx(value, abs=1e-9)


def test_per_example_names_what_it_refuses():
    with pytest.raises(ValueError, match="accuracy@5"):
        per_example("accuracy@5", RANKS)


def test_intervals_draw_sessions_not_examples():
    generator = np.random.default_rng(0)
    by_session = generator.random(50)
    groups = np.repeat(np.arange(50), 40)
    low, high = bootstrap_interval(by_session[groups], groups)
    alone = bootstrap_interval(by_session[groups], np.arange(2000))
    assert low < by_session.mean() < high
    assert high - low > 4 * (alone[1] - alone[0])  # 40 copies of a value tell no more than one
    assert high - low == pytest.approx(2 * 1.96 * by_session.std() / 50**0.5, rel=0.2)
    assert bootstrap_interval(by_session[groups], groups) == (low, high)


def test_paired_difference_is_tighter_than_either_interval():
    generator = np.random.default_rng(1)
    a = generator.random(400)
    b = a - 0.01 + generator.normal(0, 0.01, 400)
    mean, low, high = bootstrap_difference(a, b, np.arange(400))
    assert 0 < low < mean < high
    own = bootstrap_interval(a, np.arange(400))
    assert high - low < (own[1] - own[0]) / 5
    with pytest.raises(ValueError, match="same examples"):
        bootstrap_difference(a, b[:-1], np.arange(400))
