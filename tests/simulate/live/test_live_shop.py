"""Shoppers who see lists: what the page sends, what the truth counts, and what the logs tell."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import httpx
import numpy as np
import pytest

from lastaisle.simulate import ShopOptions, ShopOptionsError, simulate
from lastaisle.simulate.live import LiveCounts, LiveService, LiveShop, Reactions
from tests.simulate.live.services import KEY, FakeService

SMALL = ShopOptions(sessions_per_day=1500, items=300, broken=0, late=0, duplicates=0, bots=0)
KINDS = {"shown": "stored_shown", "clicked": "stored_clicked", "added": "stored_added"}
EAGER = Reactions(attraction=1.0, on_shelf=1.0, off_shelf=0.5, adding=0.6, telling=1.0)


def spread(question):
    """Ten items that depend on the question only."""
    seed = hashlib.sha256(json.dumps([question["items"], question["placement"]]).encode()).digest()
    drawn = np.random.default_rng(list(seed)).choice(300, size=10, replace=False)
    return [f"sim-{item:05d}" for item in drawn.tolist()]


def live_day(reactions=None, options=SMALL, number=0, list_of=spread, arm_of=lambda _: "", **given):
    service = FakeService(list_of, arm_of)
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
        assert all(at(b) - at(a) < timedelta(minutes=30) for a, b in pairwise(events))
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


def test_a_page_sends_what_the_shop_knows_and_nothing_of_a_shopper_who_refuses(eager):
    _, service = eager
    for question in service.questions:
        views = len(question["items"])
        assert question["placement"] in ("cart", "checkout")
        assert set(question["cart"]) <= set(question["items"])
        assert all(len(question["context"][name]) == views for name in ("event_type", "dwell_ms", "price"))
        assert question["consent"] or "user_id" not in question
    refusing = [told for told in service.feedback if not told["consent"]]
    assert refusing
    assert not any({"user_id", "session_id"} & set(told) for told in refusing)
    for told in service.feedback:
        assert told["consent"] is False or {"user_id", "session_id"} & set(told)
        assert (told["experiment"], told["arm"]) in (("demo", "model"), ("demo", "popular"))


def test_a_shopper_keeps_the_arm(eager):
    _, service = eager
    policies = {}
    for question in service.questions:
        policies.setdefault(question.get("user_id"), set()).add(question["policy"])
    policies.pop(None)
    assert len(policies) > 50
    assert all(len(arms) == 1 for arms in policies.values())
    for share, arms in ((0.0, {"model"}), (1.0, {"popular"})):
        _, asked = live_day(popular_share=share, options=replace(SMALL, sessions_per_day=300))
        assert {question["policy"] for question in asked.questions} == arms


def test_the_service_may_assign_the_arms():
    def arm_of(question):
        return "new" if question.get("user_id", question.get("session_id", "")).endswith("1") else "old"

    day, service = live_day(EAGER, popular_share=None, arm_of=arm_of)
    assert not any("policy" in question for question in service.questions)
    assert not any("arm" in told or "experiment" in told for told in service.feedback)
    assert {arm for arm, _ in day.truth.lists} == set(day.truth.sessions) == {"new", "old"}
    shown = Counter(arm for arm, _, _ in day.truth.positions)
    assert shown["new"] == shown["old"] == 20
    named = [question for question in service.questions if question["consent"]]
    assert all("session_id" in question or "user_id" in question for question in named[:200])
    assert not any(
        {"session_id", "user_id"} & {*asked} for asked in service.questions if not asked["consent"]
    )


def test_a_list_of_an_arm_of_the_service_gets_no_arm_of_the_shop():
    day, service = live_day(EAGER, arm_of=lambda asked: "new" if asked["policy"] == "model" else "")
    assert {told.get("arm") for told in service.feedback} == {None, "popular"}
    assert {arm for arm, _ in day.truth.lists} == {"new", "popular"}


def test_a_page_that_shows_the_lists_of_a_version_badly_gets_fewer_clicks():
    whole, _ = live_day(EAGER)
    spoiled, _ = live_day(EAGER, spoiled={"7": 0.4, "8": 0.0})
    assert spoiled.truth.total(position=1).expected_ctr == pytest.approx(
        0.4 * whole.truth.total(position=1).expected_ctr, rel=0.1
    )
    assert spoiled.truth.total().ctr < 0.6 * whole.truth.total().ctr


def test_the_share_of_the_popular_arm_is_kept(eager):
    sessions = eager[0].truth.sessions
    shares = sessions["popular"].sessions / sum(counts.sessions for counts in sessions.values())
    assert shares == pytest.approx(0.5, abs=0.12)


def lines_and_truth(day):
    return day.logs.lines, {**day.truth.as_dict(), "requests": None}, day.truth.moments


def test_equal_answers_give_equal_days_however_they_arrive(eager):
    """Answers that come late, in another order, change nothing."""

    async def slow(request):
        await asyncio.sleep(0.002 * (len(request.content) % 7))
        return service.answer(request)

    service = FakeService(spread)
    client = LiveService("http://service.test", KEY, transport=httpx.MockTransport(slow), in_flight=5)
    assert lines_and_truth(LiveShop(SMALL, client, EAGER).day(0)) == lines_and_truth(eager[0])


def test_other_seeds_and_other_lists_give_other_days(eager):
    assert live_day(EAGER, replace(SMALL, seed=8))[0].logs.lines != eager[0].logs.lines
    other = live_day(EAGER, list_of=lambda question: spread(question)[::-1])
    assert other[0].logs.lines != eager[0].logs.lines


def test_a_list_that_nobody_clicks_changes_only_the_ends_of_checkouts():
    """Sessions are drawn as without lists; only how a checkout ends is drawn anew."""
    unmoved = live_day(Reactions(attraction=0.0))[0].logs.lines
    plain = next(iter(simulate(SMALL))).lines

    def kept(lines):
        ends = ("order_completed", "checkout_abandoned")
        events = [json.loads(line) for line in lines]
        fields = ("event_type", "occurred_at", "user_id", "session_id", "item_id", "quantity", "dwell_ms")
        return [
            tuple(event.get(name) for name in fields) for event in events if event["event_type"] not in ends
        ]

    live, drawn = Counter(kept(unmoved)), Counter(kept(plain))
    moved = live - drawn
    # An item that a shopper adds after the checkout has begun now goes into the cart before.
    assert {kind for kind, *_ in moved} <= {"checkout_started"}
    assert moved.total() < 0.1 * sum(
        count for (kind, *_), count in drawn.items() if kind == "checkout_started"
    )


def test_noise_falls_on_what_shoppers_do_with_lists():
    noisy = replace(SMALL, broken=0.05, late=0.05, duplicates=0.05, bots=0.01)
    day, _ = live_day(EAGER, noisy)
    truth = day.logs.truth
    assert truth.rows == len(day.logs.lines) == truth.clean + truth.duplicates + sum(truth.broken.values())
    assert min(truth.duplicates, sum(truth.broken.values()), truth.bots) > 0
    assert day.logs.items


def test_days_go_on_and_a_day_that_is_over_does_not_come_again():
    shop = LiveShop(replace(SMALL, sessions_per_day=200), FakeService(spread).client())
    plain = [logs.lines for logs in simulate(replace(SMALL, sessions_per_day=200))]
    assert shop.plain_day(0).lines == plain[0]
    assert shop.day(2).logs.day == date(2025, 10, 3)
    for number in (0, 2):
        with pytest.raises(ShopOptionsError, match=f"day {number} of the shop is over, and day 3 is next"):
            shop.day(number)


def test_a_day_of_the_future_is_refused():
    today = datetime.now(UTC).date()
    shop = LiveShop(replace(SMALL, start=today - timedelta(days=2)), FakeService(spread).client())
    assert shop.day(0).truth.lists
    with pytest.raises(ShopOptionsError, match="the service refuses feedback of the future: day 1"):
        shop.day(1)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"popular_share": -0.1}, "popular_share"),
        ({"popular_share": float("nan")}, "popular_share"),
        ({"speed": -1.0}, "speed"),
        ({"speed": float("inf")}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"count": 0}, "count"),
        ({"count": 1001}, "count"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_name(given, named):
    with pytest.raises(ShopOptionsError, match=f"{named} should be"):
        LiveShop(SMALL, FakeService(spread).client(), **given)


def test_simulated_time_passes_at_the_chosen_speed():
    moments = []

    def note(request):
        moments.append((time.monotonic(), json.loads(request.content or b"{}")))

    service = FakeService(spread)
    service.replies.append(note)
    began = time.monotonic()
    LiveShop(replace(SMALL, sessions_per_day=150), service.client(), speed=86_400.0).day(0)
    shown = [(at, told[0]["at"]) for at, told in moments if isinstance(told, list)]
    assert len(shown) > 10
    for real, simulated in shown:
        seconds = (datetime.fromisoformat(simulated) - datetime(2025, 10, 1, tzinfo=UTC)).total_seconds()
        assert real - began >= seconds / 86_400


def test_progress_ends_at_the_number_of_shoppers():
    seen = []
    shop = LiveShop(replace(SMALL, sessions_per_day=200), FakeService(spread).client())
    shop.day(0, lambda done, every: seen.append((done, every)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert {every for _, every in seen} == {len(seen)}


@pytest.mark.parametrize(
    "items",
    [[], ["other-1", "sim-99999", "sim-1", "sim--0001", "sim-\u0660\u0660\u0660\u0660\u0661", ""]],
    ids=["none", "unknown"],
)
def test_lists_of_nothing_or_of_unknown_items_are_counted_and_not_clicked(items):
    day, service = live_day(EAGER, list_of=lambda question: items)
    total = day.truth.total()
    assert (total.clicked, total.expected_clicks) == (0, 0.0)
    empty = sum(counts.empty for counts in day.truth.lists.values())
    assert (empty == len(service.questions)) == (not items)
    assert day.truth.unknown_items == total.shown


def test_an_item_that_a_list_names_twice_goes_into_the_cart_once():
    def twice(question):
        return [item for item in spread(question)[:5] for _ in range(2)]

    reactions = replace(EAGER, position_bias=0.0, off_shelf=1.0, off_style=1.0, adding=1.0, price_pull=0.0)
    day, _ = live_day(reactions, list_of=twice, options=replace(SMALL, sessions_per_day=300))
    added = [event for event in events_of(day.logs) if event["event_type"] == "item_added"]
    session = [(event.get("session_id", event.get("user_id")), event["item_id"]) for event in added]
    assert len(set(session)) == len(session) > 100
    assert day.truth.total().added < day.truth.total().clicked


def test_the_report_is_plain_and_days_add_up():
    shop = LiveShop(replace(SMALL, sessions_per_day=400), FakeService(spread).client(), EAGER)
    first, second = shop.day(0).truth, shop.day(1).truth
    both = LiveCounts.sum_of([first, second])
    assert json.loads(json.dumps(both.as_dict())) == both.as_dict()
    for name in ("shown", "clicked", "added", "ordered", "stored_bought"):
        assert getattr(both.total(), name) == getattr(first.total(), name) + getattr(second.total(), name)
    assert both.requests["requests"] == first.requests["requests"] + second.requests["requests"]
    asked = sum(row["asked"] for row in both.as_dict()["lists"])
    assert asked == sum(counts.asked for day in (first, second) for counts in day.lists.values())
    assert both.total(arm="model").shown + both.total(arm="popular").shown == both.total().shown
