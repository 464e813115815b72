"""The table shop_metrics equals a slow, plain recount of outcomes and events, however the rows arrived."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastaisle.feedback.metrics.count import count_metrics, is_stale
from lastaisle.lake import Lake
from lastaisle.lake.maintenance import maintain
from lastaisle.lake.tables import EVENTS, OUTCOMES, SHOP_METRICS

from .conftest import EVENTS_SCHEMA, Shop, at
from .plain_counts import CELL, recount

KEY = ("hour", *CELL, "position", "currency")
OF_ITEMS = {"exposures", "clicks", "clicked", "viewed", "added", "ordered", "dwell_ms"}
OF_REVENUE = {"revenue", "revenue_squares", "attributed_revenue"}
#: Moments around two midnights, so that sessions cross days; many are equal.
HOURS = [0, 0.5, 1, 22, 23.9, 24, 24.1, 25, 46, 47.99, 48.2, 50, 72.5, 100]
TEXTS = {"placement": ["cart", "checkout"], "model_version": ["3", "4"], "policy": ["model", "popular"]}
TEXTS |= {"experiment": [None, "demo"], "arm": [None, "a", "b"], "segment": ["mobile", "unknown"]}
SESSIONS, SHOPPERS, ITEMS = [None, "s1", "s2", "s3"], [None, "u1", "u2"], ["i1", "i2", "i3"]
EXPOSURES = st.fixed_dictionaries(
    {
        **{name: st.sampled_from(values) for name, values in TEXTS.items()},
        "hour": st.sampled_from(HOURS),
        "recommendation_id": st.sampled_from(["r1", "r2", "r3"]),
        "session_id": st.sampled_from(SESSIONS),
        "user_id": st.sampled_from(SHOPPERS),
        "position": st.integers(1, 3),
        **{name: st.integers(0, 2) for name in ("clicks", "views", "adds", "orders")},
        "dwell_ms": st.sampled_from([None, 10, 500]),
        "touch": st.sampled_from([None, "list", "session", "shopper"]),
        "revenue": st.sampled_from([None, 0.1, 0.2, 19.9]),
        "currency": st.sampled_from([None, "EUR", "USD"]),
        "session_abandoned_at": st.sampled_from([None, at(30)]),
    }
)
KINDS = ["page_viewed", "item_viewed", "item_viewed", "item_added", "checkout_started"]
KINDS += ["checkout_abandoned", "order_completed", "order_completed"]
HAPPENED = st.fixed_dictionaries(
    {
        "hour": st.sampled_from(HOURS),
        "kind": st.sampled_from(KINDS),
        "session_id": st.sampled_from(SESSIONS[1:]),
        "user_id": st.sampled_from(SHOPPERS),
        "item_id": st.sampled_from([None, *ITEMS]),
        "quantity": st.sampled_from([None, 1, 3]),
        "order_id": st.sampled_from([None, None, "o1", "o2"]),
        "price": st.sampled_from([None, 0.1, 0.7, 12.5]),
        "currency": st.sampled_from([None, "EUR", "USD"]),
        "dwell_ms": st.sampled_from([None, 40]),
    }
)


def figures_of(shop: Shop) -> dict[tuple[Any, ...], dict[str, float]]:
    """Return the rows of shop_metrics by their key, which is unique, without the NULLs."""
    rows = shop.rows()
    figures = {
        tuple(row[name] for name in KEY): {
            name: value
            for name, value in row.items()
            if name not in (*KEY, "event_date") and value is not None
        }
        for row in rows
    }
    assert len(figures) == len(rows)
    assert all(row["event_date"] == row["hour"].date() for row in rows)
    return figures


def assert_recounted(shop: Shop) -> None:
    expected = recount(shop.outcomes.values(), shop.events)
    found = figures_of(shop)
    assert found.keys() == expected.keys()
    for key, counts in expected.items():
        for name in counts.keys() | found[key].keys():
            assert found[key].get(name, 0) == pytest.approx(counts.get(name, 0)), (key, name)


def deliver(shop: Shop, exposures: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    for exposure in exposures:
        shop.shown(**exposure)
    for event in events:
        shop.event(**event)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    deliveries=st.lists(
        st.tuples(st.lists(EXPOSURES, max_size=8), st.lists(HAPPENED, max_size=6)), min_size=1, max_size=3
    )
)
def test_the_counts_equal_a_plain_recount_after_each_delivery(deliveries):
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Lake(folder))
        for exposures, events in deliveries:
            deliver(shop, exposures, events)
            shop.count()
            assert_recounted(shop)
        at_once = Shop(Lake(f"{folder}/once"), shop.outcomes, shop.events)
        at_once.count()
        assert at_once.rows() == shop.rows(), "one run over all counts as several runs did"


def test_a_second_count_changes_nothing_and_writes_no_version(shop):
    shop.shown(1, clicks=2)
    shop.event(1.5, "order_completed", item_id="i1", price=3.0, currency="EUR")
    first = shop.count()
    assert (first.days, first.exposures, first.sessions) == ((at(1).date(),), 1, 1)
    rows, version = shop.rows(), shop.lake.version(SHOP_METRICS)
    second = shop.count()
    assert (second.days, second.changed_days) == ((), ())
    assert (shop.rows(), shop.lake.version(SHOP_METRICS)) == (rows, version)
    again = shop.count(days=[at(1).date()])
    assert (again.days, again.changed_days) == (first.days, ()), "a day that is asked for is counted anew"
    assert shop.rows() == rows


def test_only_the_changed_days_and_their_neighbours_are_counted(shop):
    for day in range(6):
        shop.shown(24 * day + 12, session_id=f"s{day}", recommendation_id=f"r{day}")
    shop.count()
    before = files_by_day(shop)
    shop.shown(24 * 3 + 13, session_id="new", recommendation_id="new")
    report = shop.count()
    assert [day.day - 6 for day in report.days] == [2, 3, 4, 5]
    assert [day.day - 6 for day in report.changed_days] == [3]
    after = files_by_day(shop)
    assert {day for day in after if after[day] != before[day]} == {at(72).date()}


def files_by_day(shop: Shop) -> dict[Any, set[str]]:
    found = defaultdict(set)
    for path in shop.lake.table(SHOP_METRICS).file_uris():
        day = path.split("event_date=")[1].split("/")[0]
        found[at(0).fromisoformat(day).date()].add(path)
    return found


def test_a_late_order_of_an_item_that_was_not_shown_is_counted(shop):
    shop.shown(23.9)
    shop.count()
    assert shop.only(position=None)["sessions_ordered"] == 0
    shop.event(24.2, "order_completed", item_id="other", price=5.0, quantity=2, currency="EUR")
    shop.write()
    assert is_stale(shop.lake)
    assert [day.day for day in shop.count().changed_days] == [6], "the day of the session's first list"
    assert not is_stale(shop.lake)
    assert shop.only(position=None, currency=None)["sessions_ordered"] == 1
    revenue = shop.only(currency="EUR")
    assert (revenue["revenue"], revenue["revenue_squares"], revenue["attributed_revenue"]) == (10, 100, 0)


def test_a_session_over_midnight_counts_on_the_day_of_its_first_list(shop):
    first = shop.shown(23.9)
    shop.count()
    shop.shown(24.1, recommendation_id="r2", clicks=1)
    shop.event(24.2, "item_viewed", item_id="i1")
    shop.count()
    assert_recounted(shop)
    sessions = [row for row in shop.rows() if row["position"] is None]
    found = [(row["event_date"].day, row["sessions"], row["sessions_clicked"]) for row in sessions]
    assert found == [(6, 1, 1), (7, 0, 0)]
    del shop.outcomes[first]
    shop.count()
    assert_recounted(shop)
    assert shop.only(position=None)["sessions"] == 1


def test_a_session_counts_in_the_cell_of_its_first_list_only(shop):
    shop.shown(1.00, recommendation_id="r1", model_version="3")
    shop.shown(1.01, recommendation_id="r2", model_version="4", clicks=1)
    shop.shown(2.00, recommendation_id="r3", model_version="4")
    shop.shown(1.50, recommendation_id="r4", placement="cart", model_version="4")
    shop.count()
    sessions = {
        (row["placement"], row["model_version"], row["hour"].hour): (row["lists"], row["sessions"])
        for row in shop.rows()
        if row["position"] is None
    }
    assert sessions == {
        ("checkout", "3", 1): (1, 1),
        ("checkout", "4", 1): (1, 0),
        ("checkout", "4", 2): (1, 0),
        ("cart", "4", 1): (1, 1),
    }
    assert shop.only(placement="checkout", model_version="3", position=None)["sessions_clicked"] == 1


def test_a_checkout_that_was_open_when_the_list_was_shown_counts(shop):
    shop.event(0.9, "checkout_started")
    shop.shown(1)
    shop.event(0.5, "checkout_started", session_id="s2")
    shop.event(0.6, "order_completed", session_id="s2", item_id="i1", price=3.0, currency="EUR")
    shop.shown(1, session_id="s2", recommendation_id="r2")
    shop.count()
    row = shop.only(position=None, currency=None)
    assert (row["sessions"], row["sessions_checkout"], row["sessions_ordered"]) == (2, 1, 0)
    assert not [row for row in shop.rows() if row["currency"]], "revenue before the list does not count"


def test_revenue_of_two_currencies_is_never_one_sum(shop):
    shop.shown(1, orders=1, revenue=7.0, currency="USD", touch="session")
    for currency, price in (("EUR", 5.0), ("USD", 7.0), (None, 2.0)):
        shop.event(2, "order_completed", item_id=f"i{price}", price=price, currency=currency)
    shop.event(2, "order_completed", item_id="free")
    shop.count()
    revenue = {row["currency"]: row["revenue"] for row in shop.rows() if row["currency"]}
    assert revenue == {"EUR": 5.0, "USD": 7.0, "XXX": 2.0}
    assert shop.only(currency="USD")["attributed_revenue"] == 7.0


def test_an_order_that_was_sent_twice_is_paid_once(shop):
    shop.shown(1)
    line = {"item_id": "i1", "price": 5.0, "currency": "EUR"}
    for hour in (2, 2, 2.1):
        shop.event(hour, "order_completed", order_id="o1", **line)
    for hour in (3, 3, 3.1):
        shop.event(hour, "order_completed", **line)
    shop.event(2, "order_completed", order_id="o1", **{**line, "quantity": 2})
    shop.count()
    assert shop.only(currency="EUR")["revenue"] == 5 + 2 * 5 + 10


def test_a_shopper_without_sessions_counts_and_an_event_counts_once(shop):
    shop.shown(1, session_id=None, user_id="u1")
    shop.shown(3, session_id="s9", user_id="u1", recommendation_id="r2")
    shop.shown(4, session_id=None, user_id=None, recommendation_id="r3")
    order = {"item_id": "i1", "user_id": "u1", "currency": "EUR"}
    shop.event(2, "order_completed", session_id="s8", price=10.0, **order)
    shop.event(5, "order_completed", session_id="s9", price=1.0, **order)
    shop.count()
    sessions = [row for row in shop.rows() if row["position"] is None and row["currency"] is None]
    assert sum(row["sessions"] for row in sessions) == 2
    assert sum(row["lists"] for row in sessions) == 3
    revenue = {row["hour"].hour: row["revenue"] for row in shop.rows() if row["currency"]}
    assert revenue == {1: 10.0, 3: 1.0}


def test_an_order_of_another_session_is_no_conversion_of_this_session(shop):
    shop.shown(1, adds=1, orders=1, touch="shopper", revenue=4.0, currency="EUR")
    shop.shown(2, session_id="s2", recommendation_id="r2", adds=1, orders=1, touch="list")
    shop.count()
    ordered = {row["hour"].hour: row["sessions_ordered"] for row in shop.rows() if row["sessions"]}
    assert ordered == {1: 0, 2: 1}
    assert shop.only(currency="EUR")["attributed_revenue"] == 4.0


def test_days_without_outcomes_lose_their_counts(shop):
    gone = shop.shown(1)
    shop.shown(80, session_id="s2", recommendation_id="r2")
    shop.count()
    del shop.outcomes[gone]
    assert [day.day for day in shop.count().changed_days] == [6]
    assert {row["hour"] for row in shop.rows()} == {at(80)}


def test_tables_that_were_made_anew_are_counted_anew(shop, tmp_path):
    for hour in (1, 30, 60):
        shop.shown(hour, recommendation_id=f"r{hour}", session_id=f"s{hour}")
        shop.count()
    (tmp_path / "lake" / OUTCOMES).rename(tmp_path / "old")
    shop.outcomes.clear()
    shop.shown(30.5)
    shop.count()
    assert {row["hour"] for row in shop.rows()} == {at(30)}


def test_a_version_that_is_no_longer_kept_only_costs_time(shop):
    shop.shown(1)
    shop.count()
    shop.shown(1.5, recommendation_id="r2")
    shop.write()
    table = shop.lake.table(OUTCOMES)
    table.create_checkpoint()
    for number in range(table.version()):
        (Path(shop.lake.table_url(OUTCOMES)) / "_delta_log" / f"{number:020}.json").unlink()
    shop.count()
    assert_recounted(shop)


def test_compaction_changes_no_count(shop):
    for hour in range(5):
        shop.shown(hour, recommendation_id=f"r{hour}")
        shop.event(hour, "item_viewed", item_id="i1")
        shop.count()
    rows = shop.rows()
    for name in (EVENTS, OUTCOMES, SHOP_METRICS):
        maintain(shop.lake, name)
    assert shop.count().changed_days == ()
    assert shop.rows() == rows


def test_nothing_is_there_yet(shop):
    assert count_metrics(shop.lake).to_dict()["days"] == []
    assert shop.lake.version(SHOP_METRICS) is None
    assert not is_stale(shop.lake)
    shop.event(1, "item_viewed", item_id="i1")
    assert shop.count().days == ()


def test_outcomes_without_events_are_counted(shop):
    shop.shown(1, clicks=1)
    shop.count()
    assert_recounted(shop)


def test_events_of_older_lakes_lack_columns(shop):
    rows = [{"event_id": "e", "session_id": "s1", "event_type": "order_completed"}]
    rows[0] |= {"occurred_at": at(2), "event_date": at(2).date()}
    names = ("event_id", "session_id", "event_type", "occurred_at", "event_date")
    schema = pa.schema([EVENTS_SCHEMA.field(name) for name in names])
    shop.lake.append(EVENTS, pa.Table.from_pylist(rows, schema), key="old")
    shop.shown(1)
    shop.count()
    assert shop.only(position=None)["sessions_ordered"] == 1
