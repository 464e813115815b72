"""Which items of the catalogue a training takes, and which trainings the catalogue makes another training."""

import dataclasses
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, ITEMS, ITEMS_SCHEMA, TRAINING_RUNS
from lastaisle.registry.plan import TrainingPlan
from lastaisle.sessions.windows import Window
from lastaisle.training.catalogue import read_items
from lastaisle.training.kinds import kind_for
from lastaisle.training.kinds.kind import learn_from_scratch
from lastaisle.training.planning import plan_window
from lastaisle.training.train import train_candidate
from models.by_name import create
from models.data.sequences import SessionLog
from tests.shops.made_up_shop import end_of

NONE = SessionLog.from_lists([])
SMALL = {"embedding_size": 8, "epochs": 1, "warm_epochs": 1, "negatives": 20, "max_length": 5}


def store(lake, *rows, batch="b"):
    known = [{"available": True, "removed": False, "batch_id": batch, **row} for row in rows]
    lake.append(ITEMS, pa.Table.from_pylist(known, schema=ITEMS_SCHEMA), key=str(rows))


def new(*ids, day=1, **values):
    """Return one row of each item, valid from this day on."""
    return [{"item_id": item, "valid_from": end_of(day), "category": "hats", **values} for item in ids]


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def plan_at(lake, day=2, unseen_items=100, architecture="hybrid", options=None):
    window = Window(end_of(day - 2), end_of(day) - timedelta(hours=8), 24.0)
    return TrainingPlan(
        *(
            "full-1",
            "full",
            "m",
            architecture,
            window,
            end_of(day),
            lake.versions([EVENTS, ITEMS]),
            options or {},
        ),
        unseen_items=unseen_items,
    )


def read(lake, log=NONE, model=None, **plan):
    return read_items(plan_at(lake, **plan), lake, log, model or create("cooccurrence"))


def joining(found):
    return set(found.items.ids[found.items.joins])


def test_without_a_catalogue_nothing_is_read(lake):
    assert read(lake).items is None
    store(lake, *new("a", day=3))
    assert read(lake, day=2).items is None, "the catalogue begins after the training's end"


def test_items_for_sale_join_and_sold_out_items_are_only_described(lake):
    store(lake, *new("a", price=5.0), *new("gone", available=False), *new("odd", available=None))
    found = read(lake)
    assert joining(found) == {"a", "odd"}
    assert found.items.ids.tolist() == ["a", "gone", "odd"]
    assert found.items.features["category"].tolist() == ["hats"] * 3
    np.testing.assert_array_equal(found.items.features["price"], [5.0, np.nan, np.nan])
    assert found.items.features["brand"].tolist() == [None] * 3


def test_a_training_sees_the_catalogue_of_its_own_time(lake):
    store(lake, *new("a", "b"), *new("a", day=3, category="shoes"), *new("b", day=3, removed=True))
    store(lake, *new("c", day=3))
    assert joining(read(lake, day=2)) == {"a", "b"}
    assert read(lake, day=2).items.features["category"].tolist() == ["hats", "hats"]
    assert joining(read(lake, day=3)) == {"a", "c"}
    assert read(lake, day=3).items.features["category"].tolist() == ["shoes", "hats"]


def test_a_plan_is_repeated_on_the_catalogue_that_it_names(lake):
    store(lake, *new("a"))
    plan = plan_at(lake)
    store(lake, *new("b"), batch="late")
    assert joining(read_items(plan, lake, NONE, create("cooccurrence"))) == {"a"}


def test_items_with_events_need_no_catalogue_to_join(lake):
    store(lake, *new("a", "b", "c"))
    log = SessionLog.from_lists([["a", "x"]])
    assert joining(read(lake, log)) == {"b", "c"}
    model = create("cooccurrence")
    model.fit(SessionLog.from_lists([["b", "x"]]))
    assert joining(read(lake, log, model)) == {"c"}


def test_the_newest_items_join_where_not_all_may(lake, caplog):
    store(lake, *new("old", "older"), *new("fresh", "newest", day=2), *new("old", day=2, price=1.0))
    found = read(lake, unseen_items=2)
    assert joining(found) == {"fresh", "newest"}, "a changed price makes no item new"
    assert found.left_out == 2
    assert "items of the catalogue (2: older, old) have no event and stay out" in caplog.text
    assert "LASTAISLE_UNSEEN_ITEMS allows the newest 2" in caplog.text
    assert joining(read(lake, unseen_items=0)) == set()
    assert len(read(lake, unseen_items=3).items.ids[read(lake, unseen_items=3).items.joins]) == 3
    assert read(lake, unseen_items=4).left_out == 0


def test_items_without_a_feature_stay_out_and_are_named(lake, caplog):
    store(lake, *new("a"), *new("bare", "blank", category=None), *new("cheap", category=None, price=0.0))
    store(lake, *new("sold-out", category=None, available=False), *new("b", category="", brand="x"))
    found = read(lake)
    assert joining(found) == {"a", "cheap", "b"}
    assert found.left_out == 2
    assert "(2: bare, blank) have no category, brand, price and no event" in caplog.text
    assert "sold-out" not in caplog.text


def test_a_private_training_takes_the_ids_of_the_whole_catalogue_and_no_more(lake, caplog):
    store(lake, *new("a"), *new("bare", category=None), *new("gone", available=False), *new("later", day=3))
    log = SessionLog.from_lists([["a", "secret-1"], ["secret-2", "a"]])
    found = read(lake, log, unseen_items=1, options={"epsilon": 2.0})
    assert found.items.ids.tolist() == ["a", "bare", "gone"] and joining(found) == {"a", "bare", "gone"}
    assert found.items.features == {} and found.left_out == 0
    assert "the catalogue does not list (2) stay out of the private model" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("listed", [True, False])
def test_a_private_training_spends_no_delta_on_the_names_of_listed_items(home, listed):
    if listed:
        store(home.lake, *new(*(f"i{item}" for item in range(60)), "never-seen"))
    chosen = {"architecture": "popularity", "options": {"epsilon": 2.0}}
    plan = plan_window(home.lake, home.settings, end_of(1), "full", **chosen)
    assert (ITEMS in plan.lake_versions) == listed
    trained = learn_from_scratch(plan, kind_for(plan).read(plan, home.lake), home.lake, None)
    (release,) = trained.report.mechanism.releases
    assert release.delta == (0.0 if listed else pytest.approx(1e-10))
    assert ("never-seen" in trained.recommender.vocabulary) == listed


def key(home, architecture="hybrid", day=2):
    return plan_window(home.lake, home.settings, end_of(day), "full", architecture=architecture).run_key


def test_other_rows_of_the_catalogue_make_another_training_of_models_that_read_it(home):
    before, counting = key(home), key(home, "cooccurrence")
    store(home.lake, *new("later", day=3))
    assert key(home) == before, "the row is valid only after the training's end"
    store(home.lake, *new("a"))
    with_one = key(home)
    assert with_one != before
    store(home.lake, *new("b"), batch="second")
    with_two = key(home)
    assert with_two not in {before, with_one}
    assert key(home) == with_two
    assert key(home, "cooccurrence") == counting
    home.settings = home.settings.replace(unseen_items=5)
    assert key(home) not in {before, with_one, with_two}
    assert key(home, "cooccurrence") == counting


def test_a_plan_names_the_version_of_the_catalogue_that_it_reads(home):
    assert set(home.plan(2, architecture="hybrid").lake_versions) == {EVENTS}
    store(home.lake, *new("a"))
    plan = home.plan(2, architecture="hybrid")
    assert plan.lake_versions == home.lake.versions([EVENTS, ITEMS])
    assert plan.unseen_items == home.settings.learning.unseen_items
    assert TrainingPlan.from_json(plan.to_json()) == plan
    assert set(home.plan(2, architecture="cooccurrence").lake_versions) == {EVENTS}


def test_a_model_that_reads_no_catalogue_learns_as_without_it(home):
    store(home.lake, *new("new-1"))
    run_id = home.train(1)
    assert "new-1" not in home.registry.load_recommender(run_id).vocabulary
    assert home.registry.metrics(run_id)["unseen_items"] == 0


@pytest.mark.training
def test_a_chain_of_trainings_takes_up_the_catalogue_and_goes_on_without_it(home):
    home.settings = home.settings.replace(unseen_items=2)
    runs = []

    def train(day):
        champion = home.registry.start_of(from_run(plan_at(home.lake), runs[-1])) if runs else None
        chosen = {"architecture": "hybrid", "options": SMALL}
        plan = plan_window(home.lake, home.settings, end_of(day), "incremental", champion, **chosen)
        assert plan.warm_start_version == ((runs and "1") or None)
        runs.append(train_candidate(plan, home.lake, home.registry))
        return home.registry.load_recommender(runs[-1]), home.registry.metrics(runs[-1])

    model, measured = train(1)
    assert (measured["unseen_items"], len(model.vocabulary)) == (0, 60)
    store(home.lake, *new("new-1", "new-2", "new-3"), *new("i1", "i2", category="shoes"))
    model, measured = train(2)
    assert (measured["unseen_items"], measured["unseen_items_left_out"], measured["items"]) == (2, 1, 62)
    joined = [item for item in model.vocabulary.ids if item.startswith("new")]
    assert (model.vocabulary.counts[model.vocabulary.encode(joined)] == 0).all()
    rows = home.lake.scan(TRAINING_RUNS, ["run_id", "lake_versions"]).to_pylist()
    assert {row["run_id"] for row in rows if ITEMS in row["lake_versions"]} == {runs[1]}
    store(home.lake, *new("new-1", "new-2", "new-3", "i1", "i2", day=2, removed=True))
    model, measured = train(3)
    assert (measured["unseen_items"], measured["items"]) == (0, 62), (
        "nothing is listed, as without a catalogue"
    )


def from_run(plan, run_id):
    return dataclasses.replace(plan, warm_start_version="1", warm_start_run_id=run_id)
