"""Private training of whole models."""

import json

import numpy as np
import pytest

from models.by_name import MODEL_NAMES, create, load
from models.data.items import ItemTable
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.options import OptionsError, TrainingOptions
from models.private.accounting import epsilon_of
from models.private.mechanism import Mechanism
from models.recommender import PRIVATE_MODELS
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

PRIVATE = TrainingOptions(
    embedding_size=16,
    epsilon=8.0,
    delta=1e-5,
    private_batch=400,
    private_steps=30,
    private_learning_rate=0.03,
    max_length=3,  # so that all sessions of a step have one width, which is compiled once
    negatives=30,
)
COUNTING = ("popularity", "repeat", "cooccurrence")
STEPPING = ("attention", "gru", "transformer")
LOG = SessionLog.concat([rings(2000, 1), SessionLog.from_lists([["only-mine", "i3", "i4"]])])


def trained(name, options=PRIVATE, log=LOG, **others):
    model = create(name, options)
    model.private_seed = 3
    return model, model.fit(log, **others)


@pytest.fixture(scope="module", params=STEPPING)
def stepped(request):
    # The steps of attention have sessions of two widths.
    return trained(request.param, PRIVATE.but(max_length=8) if request.param == "attention" else PRIVATE)


def recall(model):
    return summarize(rank_targets(model, next_item_examples(rings(150, 2))), ks=(5,))["recall@5"]


def test_a_private_sequence_model_learns(stepped):
    model, _ = stepped
    assert recall(model) > 0.8  # five of forty items by chance: 0.125


def test_a_private_training_reports_all_that_it_released_and_no_more(stepped):
    _, report = stepped
    mechanism = report.mechanism
    assert (mechanism.unit, mechanism.shoppers, mechanism.steps, mechanism.clip) == ("session", 2001, 30, 1.0)
    assert mechanism.sampling_rate == pytest.approx(400 / 2001)
    assert [release.name for release in mechanism.releases] == ["counts of items"]
    assert 7.5 < epsilon_of([mechanism], PRIVATE.delta).epsilon <= PRIVATE.epsilon
    assert report.losses == ()
    assert Mechanism.from_dict(json.loads(json.dumps(report.to_dict()))["mechanism"]) == mechanism


def test_the_packed_model_has_neither_an_item_of_one_shopper_nor_a_count(stepped, tmp_path):
    model, _ = stepped
    model.save(tmp_path)
    for file in tmp_path.rglob("*"):
        assert b"only-mine" not in file.read_bytes()
    counts = load(tmp_path).vocabulary.counts[1:]
    assert len(counts) == 40
    assert np.abs(counts * 2 - np.round(counts * 2)).max() > 0.01  # a count has noise


def test_a_warm_start_of_a_private_model_is_private_and_spends_again():
    model, first = trained("gru", PRIVATE.but(private_steps=4))
    second = model.warm_start(rings(500, 5, n_items=40))
    assert model.is_trained and second.mechanism.shoppers == 500
    spent = epsilon_of([first.mechanism, second.mechanism], PRIVATE.delta).epsilon
    assert PRIVATE.epsilon < spent < 2 * PRIVATE.epsilon


def test_a_model_that_was_not_private_cannot_become_it():
    model = create("popularity")
    model.fit(LOG)
    with pytest.raises(ModelError, match=r"was not private.*train from scratch"):
        model.warm_start(LOG, options=PRIVATE)


@pytest.mark.parametrize("name", COUNTING)
def test_a_counting_model_spends_its_epsilon(name):
    model, report = trained(name)
    assert report.mechanism.steps == 0
    assert 7.9 < epsilon_of([report.mechanism], PRIVATE.delta).epsilon <= PRIVATE.epsilon
    assert "only-mine" not in model.vocabulary


def test_private_pairs_recommend_what_follows():
    model, report = trained("cooccurrence")
    assert [release.name for release in report.mechanism.releases] == ["counts of items", "weights of pairs"]
    assert recall(model) > 0.8
    scores = model.scores(model.vocabulary.encode(["i3"])[None, :])[0]
    assert model.vocabulary.ids[scores.argmax()] == "i4"


def test_a_warm_start_adds_private_pairs():
    model, _ = trained("cooccurrence")
    before = dict(zip(model.arrays()["first"], model.arrays()["weight"], strict=True))
    report = model.warm_start(LOG)
    assert report.mechanism is not None
    assert before != dict(zip(model.arrays()["first"], model.arrays()["weight"], strict=True))
    assert recall(model) > 0.8


def test_items_of_a_catalogue_are_public():
    ids = np.array([f"i{n}" for n in range(60)], object)
    model, _ = trained("popularity", items=ItemTable(ids, {}, np.ones(60, bool)))
    assert sorted(model.vocabulary.ids[1:]) == sorted(ids)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_model_is_private_or_says_that_it_cannot_be(name):
    model = create(name, PRIVATE)
    assert model.can_be_private == (name in PRIVATE_MODELS)
    if not model.can_be_private:
        with pytest.raises(ModelError, match=f"the {name} model cannot be trained with epsilon = 8"):
            model.fit(LOG)
        assert not model.is_trained


@pytest.mark.parametrize(
    "changes", [{"loss": "bpr_max"}, {"retire_below": 1.0}, {"objective_view": 0.0, "objective_cart": 2.0}]
)
def test_an_option_that_reads_all_sessions_is_refused(changes):
    with pytest.raises(ModelError, match="private training weighs all targets alike"):
        create("attention", PRIVATE.but(**changes)).fit(LOG)


def test_training_on_several_workers_is_refused():
    model = create("gru", PRIVATE)
    model.trainer_of = lambda *arguments: None
    with pytest.raises(ModelError, match="runs on one worker"):
        model.fit(LOG)


@pytest.mark.parametrize(
    "changes", [{"epsilon": 0.0}, {"epsilon": -1.0}, {"delta": 0.0}, {"delta": 0.5}, {"clip": 0.0}]
)
def test_a_budget_outside_its_bounds_is_refused(changes):
    with pytest.raises(OptionsError, match=f"{next(iter(changes))} cannot be"):
        PRIVATE.but(**changes)


def test_without_a_given_seed_two_trainings_differ_in_their_noise():
    counts = []
    for _ in range(2):
        model = create("popularity", PRIVATE)
        model.fit(LOG)
        counts.append(model.vocabulary.counts)
    assert not np.array_equal(*counts)
    assert np.array_equal(
        trained("popularity")[0].vocabulary.counts, trained("popularity")[0].vocabulary.counts
    )


def test_a_training_without_epsilon_reports_no_mechanism():
    report = create("popularity").fit(LOG)
    assert report.mechanism is None
    assert report.to_dict()["mechanism"] is None
