"""Shoppers who see lists: what the page sends, what the truth counts, and what the logs tell."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pytest

from lastaisle.simulate import ShopOptions
from lastaisle.simulate.live import LiveShop, Reactions
from tests.simulate.live.services import FakeService

SMALL = ShopOptions(sessions_per_day=1500, items=300, broken=0, late=0, duplicates=0, bots=0)
KINDS = {"shown": "stored_shown", "clicked": "stored_clicked", "added": "stored_added"}
EAGER = Reactions(attraction=1.0, on_shelf=1.0, off_shelf=0.5, adding=0.6, telling=1.0)


def spread(question):
    """Ten items that depend on the question only."""
    seed = hashlib.sha256(json.dumps([question["items"], question["placement"]]).encode()).digest()
    drawn = np.random.default_rng(list(seed)).choice(300, size=10, replace=False)
    return [f"sim-{item:05d}" for item in drawn.tolist()]


def live_day(reactions=None, options=SMALL, number=0, list_of=spread, **given):
    service = FakeService(list_of)
    shop = LiveShop(options, service.client(**given.pop("client", {})), reactions, **given)
    return shop.day(number), service


@pytest.fixture(scope="module")
def eager():
    return live_day(EAGER)


def events_of(logs):
    return [json.loads(line) for line in logs.lines]


def at(event):
    return datetime.fromisoformat(event["occurred_at"])


def test_the_truth_counts_what_the_service_stored(eager):
    day, service = eager
    for kind, name in {**KINDS, "bought": "stored_bought"}.items():
        stored = Counter(
            (told["arm"], told["placement"], position) for _, position, told in service.rows(kind)
        )
        counted = {cell: getattr(counts, name) for cell, counts in day.truth.positions.items()}
        assert stored == Counter({cell: count for cell, count in counted.items() if count})
        assert stored.total() > 50, kind
    assert day.truth.total().shown > day.truth.total().stored_shown


def test_only_the_items_on_the_screen_are_shown():
    day, service = live_day(Reactions(patience=0.0))
    shown = {
        told["recommendation_id"]: told["positions"] for told in service.feedback if told["kind"] == "shown"
    }
    sizes = Counter()
    for number, question in enumerate(service.questions, start=1):
        letter = "m" if question["consent"] else "n"
        positions = shown[f"7-{letter}-{number:024x}"]
        assert positions == list(range(1, len(positions) + 1))
        sizes[question["context"]["device_type"], len(positions)] += 1
    assert set(sizes) == {("mobile", 4), ("desktop", 8), ("tablet", 6)}
    assert day.truth.total(position=9).shown == 0
    assert live_day(Reactions(patience=1.0))[0].truth.total(position=10).shown > 0


def test_events_follow_the_clicks(eager):
    day, service = eager
    by_session = {}
    for event in events_of(day.logs):
        by_session.setdefault(event.get("session_id"), []).append(event)
    clicks = [told for told in service.feedback if told["kind"] == "clicked" and told.get("session_id")]
    assert len(clicks) > 100
    for told in clicks:
        views = [e for e in by_session[told["session_id"]] if e["event_type"] == "item_viewed"]
        assert (told["items"][0], told["at"]) in {(e["item_id"], e["occurred_at"]) for e in views}
    shown_at = {t["recommendation_id"]: t["at"] for t in service.feedback if t["kind"] == "shown"}
    for told in service.feedback:
        first = datetime.fromisoformat(shown_at[told["recommendation_id"]])
        gap = datetime.fromisoformat(told["at"]) - first
        assert told["kind"] == "shown" or gap >= timedelta(seconds=1)


def test_sessions_stay_as_sessions_are(eager):
    """The order of a session's events is as in a shop without lists."""
    day, _ = eager
    sessions = {}
    for event in events_of(day.logs):
        sessions.setdefault(event.get("session_id"), []).append(event)
    sessions.pop(None, None)
    ends = Counter()
    for events in sessions.values():
        events.sort(key=at)
        kinds = [event["event_type"] for event in events]
        cart = set()
        for event in events:
            if event["event_type"] == "item_added":
                assert event["item_id"] not in cart, "an item goes into the cart once"
                cart.add(event["item_id"])
            elif event["event_type"] == "item_removed":
                cart.remove(event["item_id"])
        ordered = {e["item_id"] for e in events if e["event_type"] == "order_completed"}
        assert ordered in (set(), cart)
        assert kinds.count("checkout_started") <= 1
        assert not (ordered and "checkout_abandoned" in kinds)
        if "checkout_started" in kinds:
            ends["ordered" if ordered else "abandoned" if "checkout_abandoned" in kinds else "silent"] += 1
    truth = day.truth.sessions
    labelled = sum(ends.values())
    checkouts = sum(counts.checkouts for counts in truth.values())
    assert 0.9 * checkouts < labelled <= checkouts
    assert min(ends["ordered"], ends["abandoned"], ends["silent"]) > 0


def test_the_truth_counts_orders_and_revenue_as_the_logs_do():
    shop = LiveShop(SMALL, FakeService(spread).client(), EAGER)
    day = shop.day(0)
    lines = day.logs.lines + shop.plain_day(1).lines  # some rows of the first day arrive after midnight
    events = [json.loads(line) for line in lines]
    orders = [event for event in events if event.get("order_id", "").startswith("sim-o20251001-")]
    assert len({event["order_id"] for event in orders}) == sum(c.orders for c in day.truth.sessions.values())
    revenue = sum(event["price"] * event["quantity"] for event in orders)
    assert revenue == pytest.approx(sum(counts.revenue for counts in day.truth.sessions.values()))
    assert 0 < day.truth.total().revenue < revenue
