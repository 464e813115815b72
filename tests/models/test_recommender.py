import json
import os
import subprocess
import sys

import numpy as np
import pytest

from models.by_name import MODEL_NAMES, create, load
from models.data.sequences import Examples, SessionLog, next_item_examples
from models.evaluation import ranking
from models.evaluation.ranking import rank_targets, summarize
from models.options import OptionsError, TrainingOptions
from models.stored import ModelError
from models.top_k import top_k

LOG = SessionLog.from_lists([["a", "b", "c"], ["a", "b"], ["a", "d"], ["e"]])


def test_popularity_adds_new_counts_to_the_decayed_old_counts():
    model = create("popularity", TrainingOptions(half_life=None, memory=0.5))
    model.fit(LOG)
    assert model.recommend([["e"]], k=2) == ([["a", "b"]], [[3.0, 2.0]])
    model.warm_start(SessionLog.from_lists([["f", "b", "f"]]))
    assert model.recommend([["e"]], k=3) == ([["b", "f", "a"]], [[2.0, 2.0, 1.5]])


def test_a_half_life_ranks_items_of_late_sessions_first():
    log = SessionLog.from_lists([["old", "x"]] * 6 + [["new", "y"]] * 4)
    model = create("popularity", TrainingOptions(half_life=0.2))
    model.fit(log)
    assert model.recommend([["x"]], k=1)[0] == [["new"]]


@pytest.mark.training
def test_cooccurrence_counts_nearer_followers_more_and_falls_back_to_popularity():
    model = create("cooccurrence", TrainingOptions(half_life=None))
    model.fit(LOG)
    ids, scores = model.recommend([["a"], ["e"]], k=3)
    assert ids[0] == ["b", "d", "c"]
    assert scores[0] == pytest.approx([2.0, 1.0, 0.5])
    assert ids[1] == ["a", "b", "c"]


@pytest.mark.training
def test_cooccurrence_counts_a_repeated_item():
    model = create("cooccurrence", TrainingOptions(half_life=None))
    model.fit(SessionLog.from_lists([["a", "a", "b"], ["c", "b"]]))
    ids, scores = model.recommend([["a"]], k=2)
    # b follows an a after one click and after two clicks; a follows an a after one click.
    assert ids == [["b", "a"]]
    assert scores[0] == pytest.approx([1.5, 1.0])


@pytest.mark.training
def test_cooccurrence_by_a_warm_start_equals_cooccurrence_at_once():
    options = TrainingOptions(half_life=None, memory=1.0)
    whole, parts = create("cooccurrence", options), create("cooccurrence", options)
    whole.fit(LOG)
    parts.fit(LOG.select(slice(0, 2)))
    parts.warm_start(LOG.select(slice(2, 4)))
    prefixes = whole.vocabulary.encode(["a", "b", "e"])[:, None]
    assert np.allclose(whole.scores(prefixes), parts.scores(prefixes))


@pytest.mark.training
@pytest.mark.parametrize("name", ["popularity", "cooccurrence"])
def test_a_loaded_model_recommends_the_same(name, tmp_path):
    model = create(name)
    model.fit(LOG)
    model.save(tmp_path)
    assert load(tmp_path).recommend([["a"], [], ["z"]]) == model.recommend([["a"], [], ["z"]])


@pytest.mark.training
def test_empty_and_unknown_sessions_get_the_popular_items_and_seen_items_can_be_left_out():
    model = create("cooccurrence", TrainingOptions(half_life=None))
    model.fit(LOG)
    ids, scores = model.recommend([[], ["zz"]], k=2)
    assert ids == [["a", "b"], ["a", "b"]]
    assert scores[0] == pytest.approx([3 / 8, 2 / 8])
    assert "a" not in model.recommend([["a"]], k=5, exclude_seen=True)[0][0]
    assert len(model.recommend([["a"]], k=50)[0][0]) == 5


@pytest.mark.training
def test_items_in_the_cart_can_be_left_out():
    model = create("cooccurrence")
    model.fit(SessionLog.from_lists([["a", "b", "c", "d"]] * 3))
    ids, _ = model.recommend([["a"], ["a"], []], 2, exclude=[["b", "never seen"], [], ["a"]])
    assert ids == [["c", "d"], ["b", "c"], ["b", "c"]]
    with pytest.raises(ValueError, match="shorter"):
        model.recommend([["a"], ["b"]], exclude=[["b"]])


def test_ranks_agree_with_the_lists_even_in_ties():
    model = create("popularity", TrainingOptions(half_life=None))
    model.fit(LOG)
    found = rank_targets(model, next_item_examples(LOG), k=5)
    for row, target in enumerate(model.vocabulary.encode(next_item_examples(LOG).targets)):
        assert found.top[row, found.ranks[row] - 1] == target


@pytest.mark.training
def test_ranks_do_not_depend_on_chunks_or_threads(monkeypatch):
    model = create("cooccurrence", TrainingOptions(half_life=None))
    generator = np.random.default_rng(1)
    log = SessionLog.from_lists(
        [[f"i{item}" for item in generator.integers(0, 50, 4)] for _ in range(60)],
        context={"user": np.array([None] * 60)},
    )
    model.fit(log)
    whole = rank_targets(model, next_item_examples(log), k=5)
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", 50 * 7)
    shares = []
    parts = rank_targets(model, next_item_examples(log), k=5, progress=lambda done, what: shares.append(done))
    np.testing.assert_array_equal(parts.ranks, whole.ranks)
    np.testing.assert_array_equal(parts.top, whole.top)
    assert len(shares) == 25
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.training
def test_unknown_targets_are_misses_and_unknown_prefixes_are_ranked_by_popularity():
    model = create("cooccurrence", TrainingOptions(half_life=None))
    model.fit(LOG)
    found = rank_targets(model, Examples.from_pairs([(["a"], "new"), (["new"], "b"), (["a"], "b")]), k=3)
    assert found.ranks.tolist() == [0, 2, 1]
    assert list(model.vocabulary.decode(found.top[1])) == ["a", "b", "c"]
    assert summarize(found, ks=(1,))["recall@1"] == 1 / 3


def test_top_k_breaks_ties_by_column():
    scores = np.array([[9, 1, 5, 5, 0, 5]], np.float32)
    assert top_k(scores, 3).tolist() == [[2, 3, 5]]
    assert top_k(scores, 2).tolist() == [[2, 3]]


def test_refusals_name_what_was_received(tmp_path):
    with pytest.raises(ModelError, match="nonsense"):
        create("nonsense")
    with pytest.raises(ModelError, match=r"model\.json is missing"):
        load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ModelError, match="99"):
        load(tmp_path)
    with pytest.raises(OptionsError, match="heads"):
        TrainingOptions.from_dict({"heads": 3})
    with pytest.raises(OptionsError, match=r"dropout cannot be 1\.0"):
        TrainingOptions(dropout=1.0)
    for wrong in ({"loss": "hinge"}, {"alpha": -0.5}, {"layers": 0}):
        with pytest.raises(OptionsError, match=f"{next(iter(wrong))} cannot be"):
            TrainingOptions(**wrong)
    with pytest.raises(ValueError, match="4 sessions"):
        create("popularity").fit(LOG, np.ones(3, np.float32))


def test_a_diverged_model_is_not_ranked():
    model = create("popularity")
    model.fit(LOG)
    model.scores = lambda prefixes, context=None: np.full(
        (len(prefixes), model.vocabulary.size), np.nan, np.float32
    )
    with pytest.raises(ModelError, match="diverged"):
        rank_targets(model, next_item_examples(LOG))


@pytest.mark.training
def test_a_model_is_imported_without_keras():
    """It would double the time that each task spends on importing TensorFlow."""
    program = (
        "import sys, models.sequential.attention; "
        "print({'keras', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


VECTORS = {"attention": 16, "gru": 16, "transformer": 16, "hybrid": 16, "factorization": 16, "ncf": 16}


@pytest.mark.training
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_each_model_says_which_vectors_its_items_have(name):
    options = TrainingOptions(embedding_size=16, epochs=1, members="popularity+cooccurrence")
    model = create(name, options)
    if name in VECTORS:
        with pytest.raises(ModelError, match="not trained yet"):
            model.item_vectors()
    model.fit(SessionLog.from_lists([["a", "b", "c"], ["a", "b"], ["a", "d"], ["e", "a"]] * 8))
    vectors = model.item_vectors()
    if name in VECTORS:
        assert vectors.dtype == np.float32
        assert len(vectors) == model.vocabulary.size
        assert np.isfinite(vectors).all()
    else:
        assert vectors is None
