"""The hybrid model with a catalogue: items without an event, new columns, and items that left."""

from dataclasses import replace

import numpy as np
import pytest

from models.by_name import create, load
from models.checkout_model import CheckoutModel
from models.data.items import ItemTable
from models.data.sequences import SessionLog, next_item_examples
from models.options import TrainingOptions
from models.sequential.hybrid import UNSEEN_EVENTS
from models.serving.export import export_artifact
from tests.models.sequential.test_hybrid import aisles, objects, recall, shop
from tests.models.toys import rings

pytestmark = pytest.mark.training

SMALL = TrainingOptions(
    embedding_size=16, epochs=6, batch_size=128, negatives=40, learning_rate=0.02, warm_epochs=2, max_length=8
)
PREFIXES = np.array([[0, 1, 2], [3, 4, 3]], np.int32)


def split(log):
    """Return the log without what it says of items, and a catalogue that says it."""
    bare = replace(log, item_features={})
    unseen = np.setdiff1d(log.catalogue, log.ids())
    joins = np.isin(log.catalogue.astype(str), unseen.astype(str))
    return bare, ItemTable(log.catalogue, log.item_features, joins)


def extras(n, category="c1"):
    """Return a catalogue of items that no session has."""
    ids = objects(f"extra-{place}" for place in range(n))
    return ItemTable(ids, {"category": objects([category] * n)}, np.ones(n, bool))


@pytest.fixture(scope="module")
def cold():
    """Return a model that knows the unseen items of aisles by a catalogue, and examples of them."""
    train, examples = aisles(1)
    model = create("hybrid", SMALL)
    model.fit(split(train)[0], items=split(train)[1])
    return model, examples


def test_the_catalogue_recommends_items_that_were_never_seen(cold):
    model, examples = cold
    assert len(model.vocabulary) == 96
    without = create("hybrid", SMALL)
    report = without.fit(split(aisles(1)[0])[0])
    assert (len(without.vocabulary), report.unseen_items) == (64, 0)
    assert recall(without, examples, k=20) == 0.0
    assert recall(model, examples, k=20) > 0.6


def test_popular_lists_have_unseen_items_last(cold, tmp_path):
    model, _ = cold
    unseen = {f"a{aisle}-{place}" for aisle in range(8) for place in range(0, 12, 3)}
    assert set(model.vocabulary.ids[model.vocabulary.counts == 0]) == {"", *unseen}
    assert set(model.vocabulary.decode(model.vocabulary.popular(96)[64:])) == unseen
    light = CheckoutModel(export_artifact(model, tmp_path)["light"])
    items, scores = light.recommend([], k=96)
    assert set(items[64:]) == unseen
    assert scores[64:] == [0.0] * 32


def test_an_unseen_item_is_drawn_as_a_negative_like_an_item_with_a_few_events(cold):
    vocabulary, drawn = cold[0].vocabulary, cold[0]._sampling_counts()
    assert drawn[0] == 0.0
    assert (drawn[1:][vocabulary.counts[1:] == 0.0] == UNSEEN_EVENTS).all()
    np.testing.assert_array_equal(drawn[vocabulary.counts > 0], vocabulary.counts[vocabulary.counts > 0])


def test_the_packed_model_scores_unseen_items_as_the_trained_model(cold, tmp_path):
    model, _ = cold
    light = CheckoutModel(export_artifact(model, tmp_path)["light"])
    for session in (["a0-1"], ["a0-0"], ["a1-3", "a1-1", "unknown"], ["a2-0", "a2-3", "a2-6"]):
        (theirs,), (their_scores,) = model.recommend([session], k=96)
        items, scores = light.recommend(session, k=96)
        np.testing.assert_allclose(scores, their_scores, atol=1e-4, rtol=1e-4)
        by_item = dict(zip(theirs, their_scores, strict=True))
        np.testing.assert_allclose(scores, [by_item[item] for item in items], atol=1e-4, rtol=1e-4)
        assert set(items) == set(model.vocabulary.ids[1:])


def test_a_catalogue_without_a_new_item_or_feature_changes_no_weight():
    log = shop(100, 1)
    plain, described = create("hybrid", SMALL.but(epochs=1)), create("hybrid", SMALL.but(epochs=1))
    plain.fit(log)
    none = np.zeros(len(log.catalogue), bool)
    described.fit(log, items=ItemTable(log.catalogue, log.item_features, none))
    for name, values in plain.arrays().items():
        np.testing.assert_array_equal(described.arrays()[name], values)


def test_items_that_no_one_views_do_not_change_the_scores_of_others():
    log, few = shop(100, 1), SMALL.but(epochs=2)
    alone, beside = create("hybrid", few), create("hybrid", few)
    alone.fit(log, items=extras(0))
    report = beside.fit(log, items=extras(500))
    assert report.unseen_items == 500
    size = alone.vocabulary.size
    assert beside.vocabulary.size == size + 500
    # The names of categories are learned from all items, so only their order may differ.
    np.testing.assert_allclose(
        recall(beside, next_item_examples(rings(200, 2))),
        recall(alone, next_item_examples(rings(200, 2))),
        atol=0.05,
    )
    assert (beside.scores(PREFIXES)[:, size:].std(axis=1) < 1e-5).all()  # all extras are described alike


def test_a_warm_start_adds_the_items_of_the_catalogue_and_keeps_old_scores(tmp_path):
    log = shop(200, 1)
    model = create("hybrid", SMALL.but(epochs=2))
    model.fit(log)
    before, size = model.scores(PREFIXES), model.vocabulary.size
    other = SessionLog.from_lists([["new-a", "new-b"]])  # more events of an item would change its scores
    report = model.warm_start(other, options=SMALL.but(warm_epochs=0), items=extras(3))
    assert (report.new_items, report.unseen_items) == (5, 3)
    np.testing.assert_allclose(model.scores(PREFIXES)[:, 1:size], before[:, 1:], rtol=1e-4, atol=1e-4)
    model.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).scores(PREFIXES), model.scores(PREFIXES))


def test_an_item_gets_weight_of_its_own_with_its_first_events():
    model = create("hybrid", SMALL.but(epochs=1))
    model.fit(shop(100, 1), items=extras(2))
    place = model.vocabulary.encode(["extra-0", "extra-1"])
    first, second = model.item_vectors()[place]
    np.testing.assert_allclose(first, second)
    sessions = SessionLog.from_lists([["i1", "extra-0"]] * 20)
    model.warm_start(sessions, options=SMALL, items=extras(2))
    assert model.vocabulary.counts[place[0]] > 0 == model.vocabulary.counts[place[1]]
    first, second = model.item_vectors()[place]
    assert first @ second < 0.999


def test_a_model_without_item_features_takes_up_the_catalogue_in_a_warm_start(tmp_path):
    train, examples = aisles(1)
    bare, items = split(train)
    model = create("hybrid", SMALL)
    model.fit(bare)
    before, size = model.scores(PREFIXES), model.vocabulary.size
    model.save(tmp_path)
    model.warm_start(bare, options=SMALL.but(warm_epochs=0), items=items)
    np.testing.assert_allclose(model.scores(PREFIXES)[:, 1:size], before[:, 1:], rtol=1e-4, atol=1e-4)
    learned = load(tmp_path)
    learned.warm_start(bare, options=SMALL, items=items)
    assert recall(learned, examples, k=20) > 0.6
    learned.save(tmp_path / "again")
    np.testing.assert_array_equal(load(tmp_path / "again").scores(PREFIXES), learned.scores(PREFIXES))


def test_a_model_that_knows_the_catalogue_can_be_trained_without_it(cold, tmp_path):
    cold[0].save(tmp_path)
    model = load(tmp_path)
    before = model.vocabulary.size
    report = model.warm_start(split(aisles(2)[0])[0], options=SMALL)
    assert model.vocabulary.size == before
    assert np.isfinite(report.losses).all()
    assert recall(model, cold[1], k=20) > 0.6


def test_a_warm_start_drops_unseen_items_that_left_the_catalogue(cold, tmp_path):
    cold[0].save(tmp_path)
    model = load(tmp_path)
    before = model.scores(model.vocabulary.encode(["a5-1"])[None])
    by_id = dict(zip(model.vocabulary.ids, before[0], strict=True))
    items = split(aisles(1)[0])[1]
    left = np.isin(items.ids.astype(str), ["a0-0", "a0-1", "a3-3"])  # a0-1 has events, and stays
    stays = ItemTable(items.ids[~left], {"category": items.features["category"][~left]}, items.joins[~left])
    other = SessionLog.from_lists([["a0-1", "a7-1"]])  # it has no item that left the catalogue
    model.warm_start(other, options=SMALL.but(warm_epochs=0), items=stays)
    assert {"a0-0", "a3-3"}.isdisjoint(model.vocabulary.ids)
    assert len(model.vocabulary) == 94
    after = dict(
        zip(model.vocabulary.ids, model.scores(model.vocabulary.encode(["a5-1"])[None])[0], strict=True)
    )
    others = sorted(set(after) - {"", "a0-1", "a7-1"})
    np.testing.assert_allclose([after[item] for item in others], [by_id[item] for item in others], rtol=1e-3)


@pytest.mark.parametrize("name", ["attention", "cooccurrence"])
def test_other_models_do_not_read_the_catalogue(name):
    model = create(name, SMALL.but(epochs=1))
    report = model.fit(rings(100, 1), items=extras(3))
    assert "extra-0" not in model.vocabulary
    assert report.unseen_items == 0
