import os

import numpy as np
import pytest

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # to compile ranx takes minutes, to run it does not
from ranx import Qrels, Run, evaluate
from sklearn.metrics import ndcg_score

from models.data.sequences import Examples
from models.data.vocabulary import Vocabulary
from models.evaluation.metrics import (
    BY_RANK,
    PER_EXAMPLE,
    bootstrap_difference,
    bootstrap_interval,
    coverage_at_k,
    hit_rate_at_k,
    mrr_at_k,
    ndcg_at_k,
    per_example,
    precision_at_k,
    recall_at_k,
    resampled_means,
    summarize_ranks,
)
from models.evaluation.ranking import rank_targets, summarize
from models.recommender import Recommender

RANKS = np.array([1, 3, 0, 21, 20])
RANX = ("precision", "recall", "hit_rate", "mrr", "ndcg")
KS = (1, 2, 3, 5, 10, 20, 50)


class Table(Recommender):
    """Scores each item by a table that has one row of scores for each last item of a session."""

    name = "table"

    def __init__(self, table):
        super().__init__()
        self.vocabulary = Vocabulary().grow(np.array([f"d{d}" for d in range(len(table))], dtype=object))
        self.vocabulary = self.vocabulary.with_counts(np.arange(self.vocabulary.size, 0, -1.0))
        self.table = table

    def scores(self, prefixes, context=None):
        padding = np.full((len(prefixes), 1), -np.inf, np.float32)
        return np.concatenate([padding, self.table[prefixes[:, -1] - 1]], axis=1)

    _learn = _forget = arrays = restore = None


def runs(model, examples, k):
    """Return a model's lists as a run of ranx, and the targets as its judgements."""
    shown = {}
    for query in range(len(examples)):
        ids, _ = model.recommend([examples.prefix(query)], k)
        shown[f"q{query}"] = {item: float(k - place) for place, item in enumerate(ids[0])}
    return Qrels({f"q{query}": {target: 1} for query, target in enumerate(examples.targets)}), Run(shown)


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


def test_coverage_counts_an_item_once_and_never_padding():
    top = np.array([[1, 2, 0], [2, 3, 4]])
    assert coverage_at_k(top, 1, 8) == 2 / 8
    assert coverage_at_k(top, 3, 8) == 4 / 8
    with pytest.raises(ValueError, match="coverage@5"):
        coverage_at_k(top, 5, 8)


def test_every_metric_that_is_printed_is_checked_below():
    printed = {name.partition("@")[0] for name in summarize_ranks(RANKS, np.zeros((5, 20), np.int32), 30)}
    assert printed == {*RANX, "coverage"}
    assert set(BY_RANK) == set(PER_EXAMPLE) == set(RANX)


@pytest.mark.parametrize("n_items", [7, 60])  # fewer items than most k, and more than every k
@pytest.mark.parametrize("levels", [None, 4, 1])  # all scores differ, many are equal, all are equal
@pytest.mark.parametrize("seed", range(4))
def test_equals_ranx_on_random_lists(seed, levels, n_items):
    generator = np.random.default_rng(seed)
    table = generator.random((n_items, n_items), np.float32)
    model = Table(table if levels is None else np.floor(table * levels))
    last = generator.integers(-2, n_items, 40)  # below 0: an unknown item, so popular items are shown
    targets = generator.integers(-5, n_items, 40)
    examples = Examples.from_pairs(
        (["d0", f"d{item}"] if item >= 0 else [f"unknown{item}"], f"d{target}")
        for item, target in zip(last, targets, strict=True)
    )
    ranking = rank_targets(model, examples, max(KS))
    ours = summarize(ranking, KS)
    theirs = evaluate(*runs(model, examples, max(KS)), [f"{metric}@{k}" for metric in RANX for k in KS])
    assert len(theirs) == len(ours) - len(KS)  # without those of coverage
    assert 0 < ours["recall@50"] <= 1
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=0, abs=1e-9), name
        assert per_example(name, ranking.ranks).mean() == pytest.approx(value, rel=0, abs=1e-9), name
    lists = [model.recommend([examples.prefix(query)], max(KS))[0][0] for query in range(len(examples))]
    for k in KS:
        shown = {item for items in lists for item in items[:k]}
        assert ours[f"coverage@{k}"] == pytest.approx(len(shown) / n_items, rel=0, abs=1e-9)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_ties_cost_the_same_as_in_scikit_learn(k):
    """scikit-learn gives tied items the mean of their ranks; our ranks have the same sum."""
    generator = np.random.default_rng(k)
    n_items = 30
    for levels in (3, 8, 1000):
        scores = generator.integers(levels, size=n_items).astype(np.float32)
        everything = np.arange(1, n_items + 1, dtype=np.int32)
        model = Table(np.tile(scores, (n_items, 1)))
        ranks, _ = model.rank(np.ones((n_items, 1), np.int32), everything, k)
        assert sorted(ranks) == list(everything)
        theirs = ndcg_score(np.eye(n_items), np.tile(scores, (n_items, 1)), k=k)
        assert ndcg_at_k(ranks, k) == pytest.approx(theirs, rel=0, abs=1e-9)


def test_per_example_refuses_unknown_metrics_by_name():
    with pytest.raises(ValueError, match="accuracy@5"):
        per_example("accuracy@5", RANKS)


def test_intervals_draw_sessions_and_not_examples():
    generator = np.random.default_rng(0)
    by_session = generator.random(50)
    groups = np.repeat(np.arange(50), 40)
    low, high = bootstrap_interval(by_session[groups], groups)
    alone = bootstrap_interval(by_session[groups], np.arange(2000))
    assert low < by_session.mean() < high
    assert high - low > 4 * (alone[1] - alone[0])  # 40 copies of a value are no more evidence than one
    assert high - low == pytest.approx(2 * 1.96 * by_session.std() / 50**0.5, rel=0.2)
    assert bootstrap_interval(by_session[groups], groups) == (low, high)


def test_resampled_means_equal_the_means_of_the_drawn_examples():
    generator = np.random.default_rng(3)
    groups = generator.integers(5, size=30)
    values = generator.random((30, 2))
    draws = np.random.default_rng(8)
    expected = []
    for _ in range(20):
        drawn = draws.integers(5, size=5)
        expected.append(np.concatenate([values[groups == group] for group in drawn]).mean(axis=0))
    np.testing.assert_allclose(resampled_means(values, groups, seed=8, resamples=20), expected, atol=1e-9)


def test_a_paired_difference_has_a_narrower_interval_than_each_mean():
    generator = np.random.default_rng(1)
    a = generator.random(400)
    b = a - 0.01 + generator.normal(0, 0.01, 400)
    mean, low, high = bootstrap_difference(a, b, np.arange(400))
    assert 0 < low < mean < high
    own = bootstrap_interval(a, np.arange(400))
    assert high - low < (own[1] - own[0]) / 5
    with pytest.raises(ValueError, match="same examples"):
        bootstrap_difference(a, b[:-1], np.arange(400))
