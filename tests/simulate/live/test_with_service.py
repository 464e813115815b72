"""The live shop beside the real service: what the service keeps is what the shoppers saw and did."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from math import sqrt

import pytest

from lastaisle.simulate import ShopOptions, simulate
from lastaisle.simulate.live import LiveService, LiveShop, Reactions
from models.data.sequences import SessionLog
from models.recommender import create
from models.serving.export import export_artifact
from tests.serve.running import Running
from tests.serve.toys import KEY

pytestmark = [pytest.mark.training, pytest.mark.service]

SHOP = ShopOptions(sessions_per_day=1500, items=400)
BY_POSITION = Reactions(on_shelf=1.0, off_shelf=1.0, off_style=1.0, price_pull=0.0, fatigue=1.0)
KINDS = ("shown", "clicked", "added", "bought")


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> str:
    """A model of the items that the sessions of two days viewed together."""
    events = [
        json.loads(line)
        for logs in simulate(ShopOptions(**{**vars(SHOP), "days": 2, "broken": 0.0}))
        for line in logs.lines
    ]
    views = [event for event in events if event["event_type"] == "item_viewed" and "session_id" in event]
    views.sort(key=lambda event: (event["session_id"], event["occurred_at"]))
    sessions = [
        [view["item_id"] for view in session]
        for _, session in groupby(views, lambda view: view["session_id"])
    ]
    model = create("cooccurrence")
    model.fit(SessionLog.from_lists(sessions))
    return str(export_artifact(model, tmp_path_factory.mktemp("packed"))["light"])


@pytest.fixture(scope="module")
def running(tmp_path_factory, light):
    service = Running(tmp_path_factory.mktemp("service"), "--model", light, LASTAISLE_PSEUDONYM_KEY=64 * "ab")
    yield service.start()
    service.stop()


@pytest.fixture(scope="module")
def lived(running):
    """Two first days of the shop, one with shoppers who mind nothing but positions, and what was kept."""
    client = LiveService(running.url, KEY)
    days = [LiveShop(SHOP, client, each).day(0) for each in (BY_POSITION, Reactions())]
    running.stop()
    return days, running.feedback(), running.log.read_text()


def within(measured: float, expected: float, count: int) -> bool:
    """Whether a share of a count lies within four standard errors of the expected share."""
    return abs(measured - expected) <= 4 * sqrt(expected * (1 - expected) / count)


def test_the_kept_rows_are_what_shoppers_saw_and_did(lived):
    days, rows, _ = lived
    counted: Counter = Counter()
    for day in days:
        assert day.truth.requests["failed"] == day.truth.requests["refused"] == 0
        for (arm, placement, position), counts in day.truth.positions.items():
            for kind in KINDS:
                counted[kind, arm, placement, position] += getattr(counts, f"stored_{kind}")
    kept = Counter((row["kind"], row["arm"], row["placement"], row["position"]) for row in rows)
    assert kept == +counted
    assert len({row["exposure_id"] for row in rows}) == len(rows)
    assert {row["experiment"] for row in rows} == {"demo"}
    assert {row["policy"] for row in rows if row["arm"] == "popular"} == {"popular"}
    assert all(sum(count for (each, *_), count in kept.items() if each == kind) > 20 for kind in KINDS)


def test_no_raw_id_of_a_shopper_is_kept_or_logged(lived):
    _, rows, log = lived
    for text in (json.dumps(rows), log):
        assert "sim-u" not in text
        assert "sim-s" not in text
    assert all(row["user_id"] or row["session_id"] for row in rows)


def test_clicks_fall_with_the_position_as_the_model_of_clicks_says(lived):
    (by_position, _), _, _ = lived
    for position in range(1, 9):
        counts = by_position.truth.total(position=position)
        chance = BY_POSITION.attraction * position**-BY_POSITION.position_bias
        assert within(counts.ctr, chance, counts.shown), position
    assert by_position.truth.total(position=1).ctr > 2 * by_position.truth.total(position=8).ctr


def test_better_lists_get_more_clicks_as_the_truth_says(lived):
    (_, day), _, _ = lived
    model, popular = day.truth.total(arm="model"), day.truth.total(arm="popular")
    for counts in (model, popular):
        assert within(counts.ctr, counts.expected_ctr, counts.shown)
    assert model.expected_ctr > 1.5 * popular.expected_ctr
    assert model.ctr > popular.ctr
    assert day.truth.expected_ctr(lambda moment: day.truth.taste.best(moment, 10)) > model.expected_ctr
