import numpy as np
import pytest
import tensorflow as tf

from models.by_name import create, load
from models.data.batches import Batches
from models.data.sequences import SessionLog, next_item_examples
from models.data.vocabulary import Vocabulary
from models.evaluation.ranking import rank_targets, summarize
from models.options import TrainingOptions
from models.sequential.base import sampling_shares
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

NAMES = ("attention", "gru", "transformer")
SMALL = TrainingOptions(
    embedding_size=16, epochs=8, batch_size=128, negatives=40, learning_rate=0.02, warm_epochs=2, max_length=8
)


@pytest.fixture(scope="module", params=NAMES)
def trained(request):
    model = create(request.param, SMALL)
    report = model.fit(rings(500, 1))
    return model, report


def recall(model, examples):
    return summarize(rank_targets(model, examples), ks=(5,))["recall@5"]


def test_a_sequence_model_beats_popularity_by_far(trained):
    model, report = trained
    examples = next_item_examples(rings(100, 2))
    popularity = create("popularity")
    popularity.fit(rings(500, 1))
    assert recall(model, examples) > max(0.9, 3 * recall(popularity, examples))
    assert report.losses[-1] < report.losses[0]
    assert report.new_items == report.items == 40


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_model_learns_with_bpr_max_and_another_alpha(name):
    model = create(name, SMALL.but(loss="bpr_max", alpha=0.5))
    model.fit(rings(500, 1))
    assert recall(model, next_item_examples(rings(100, 2))) > 0.8


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_more_layers_have_more_weights_and_a_warm_start_keeps_their_number(name):
    model = create(name, SMALL.but(layers=2, epochs=1))
    model.fit(rings(100, 1))
    one = create(name, SMALL.but(layers=1, epochs=1))
    one.fit(rings(100, 1))
    assert len(model.arrays()) > len(one.arrays())
    with pytest.raises(ModelError, match="layers"):
        model.warm_start(rings(50, 1), options=SMALL.but(layers=1))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights_and_another_does_not(name):
    log = rings(150, 3)
    options = SMALL.but(epochs=1)
    arrays = []
    for seed in (1, 1, 2):
        model = create(name, options.but(seed=seed))
        model.fit(log)
        arrays.append(model.arrays())
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    assert not np.allclose(arrays[0]["table"], arrays[2]["table"])


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_model_scores_and_continues_training_the_same(name, tmp_path):
    model = create(name, SMALL)
    model.fit(rings(150, 4), options=SMALL.but(epochs=1))
    model.save(tmp_path)
    loaded = load(tmp_path)
    prefixes = np.array([[0, 1, 2], [3, 4, 3]], np.int32)
    assert np.array_equal(model.scores(prefixes), loaded.scores(prefixes))
    later = rings(60, 5)
    model.warm_start(later)
    loaded.warm_start(later)
    assert np.array_equal(model.arrays()["table"], loaded.arrays()["table"])


@pytest.mark.parametrize("name", NAMES)
def test_new_items_do_not_change_old_scores_and_slots(name):
    model = create(name, SMALL)
    model.fit(rings(100, 6))
    prefixes = np.array([[0, 0, 1], [5, 6, 5], [1, 2, 3]], np.int32)
    size, before, slots = model.vocabulary.size, model.scores(prefixes), model.arrays()
    report = model.warm_start(rings(50, 7, n_items=30, prefix="new-"), options=SMALL.but(warm_epochs=0))
    assert report.new_items == 30
    after = model.scores(prefixes)
    assert after.shape == (3, size + 30)
    np.testing.assert_allclose(after[:, :size], before, rtol=1e-5, atol=1e-5)
    grown = model.arrays()
    for name in ("table", "adam/row_mean", "adam/row_square"):
        np.testing.assert_array_equal(grown[name][:size], slots[name])
    assert not grown["adam/row_square"][size:].any()
    assert np.linalg.norm(grown["table"][size:], axis=1).min() > 0.1
    assert grown["adam/steps"] == slots["adam/steps"]


@pytest.mark.parametrize("name", NAMES)
def test_a_warm_start_learns_new_items_and_keeps_old_items(name):
    model = create(name, SMALL)
    model.fit(rings(500, 8))
    new = rings(150, 9, n_items=20, prefix="new-")
    model.warm_start(new, options=SMALL.but(warm_epochs=8, warm_learning_rate=0.01))
    assert recall(model, next_item_examples(rings(50, 10, n_items=20, prefix="new-"))) > 0.8
    assert recall(model, next_item_examples(rings(100, 11))) > 0.6


def test_padding_does_not_change_scores(trained):
    model, _ = trained
    narrow = model.scores(np.array([[4, 5]], np.int32))
    wide = model.scores(np.array([[0, 0, 0, 4, 5]], np.int32))
    np.testing.assert_allclose(narrow, wide, atol=1e-4)
    assert narrow[0, 0] == -np.inf


def test_later_items_do_not_change_earlier_states(trained):
    encoder = trained[0]._trainer.encoder
    items = tf.math.l2_normalize(tf.random.stateless_normal((2, 6, 16), (1, 2)), -1)
    known = tf.constant([[False] * 2 + [True] * 4, [True] * 6])
    states = encoder(items, known)
    for cut in (3, 4, 5):
        shorter = encoder(items[:, :cut], known[:, :cut])
        np.testing.assert_allclose(shorter[:, 2:], states[:, 2:cut], atol=1e-5)
        changed = encoder(tf.concat([items[:, :cut], -items[:, cut:]], 1), known)
        np.testing.assert_allclose(changed[:, 2:cut], states[:, 2:cut], atol=1e-5)
        assert np.abs(changed[:, cut:] - states[:, cut:]).max() > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_sessions_without_a_target_only_add_items(name):
    model = create(name, SMALL)
    report = model.fit(SessionLog.from_lists([["a"], ["b"]]))
    assert (report.targets, report.steps, report.items) == (0, 0, 2)
    assert len(model.recommend([["a"]], k=5)[0][0]) == 2
    report = model.warm_start(SessionLog.from_lists([]))
    assert (report.sessions, report.steps, report.items) == (0, 0, 2)


@pytest.mark.parametrize("name", NAMES)
def test_untrained_scoring_and_another_embedding_size_are_refused(name):
    model = create(name, SMALL)
    with pytest.raises(ModelError, match="not trained"):
        model.scores(np.array([[1]], np.int32))
    model.fit(rings(50, 1), options=SMALL.but(epochs=1))
    with pytest.raises(ModelError, match="embedding_size"):
        model.warm_start(rings(50, 1), options=SMALL.but(embedding_size=8))


def test_alpha_weighs_negatives_from_uniform_to_popularity():
    counts = np.array([0.0, 1.0, 4.0, 16.0])
    assert sampling_shares(counts, 0.0).tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert sampling_shares(counts, 0.5).tolist() == pytest.approx([0, 1 / 7, 2 / 7, 4 / 7])
    assert sampling_shares(counts, 1.0).tolist() == pytest.approx([0, 1 / 21, 4 / 21, 16 / 21])
    assert sampling_shares(np.zeros(1), 0.0).tolist() == [0]


def test_negatives_are_drawn_as_often_as_expected():
    shares = sampling_shares(np.array([0.0, 1.0, 4.0, 16.0]), 0.5)
    log = SessionLog.from_lists([["a", "b"], ["b", "c"]])
    batches = Batches(log, np.ones(4, np.float32), Vocabulary("abc"), max_length=5)
    (batch,) = batches.epoch(10, 70_000, np.cumsum(shares), np.random.default_rng(1))
    assert np.bincount(batch.negatives).tolist() == pytest.approx([0, 10_000, 20_000, 40_000], rel=0.05)
