"""From which exposure an action follows."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.feedback.outcomes.attribute import attribute
from lastaisle.lake.tables import EVENTS, OUTCOMES, OUTCOMES_SCHEMA
from lastaisle.settings import Settings

from .shop import EVENTS_SCHEMA, NOON, counts, event, feedback, outcomes, put, reasons

SETTINGS = Settings.of()


def test_a_click_goes_to_the_list_that_it_names_and_to_no_newer_list(lake):
    old = feedback("shown", "a", 0, recommendation_id="old")
    new = feedback("shown", "a", 1, recommendation_id="new")
    put(lake, old, new, feedback("clicked", "a", 2, recommendation_id="old"))
    report = attribute(lake, SETTINGS)
    assert counts(lake, old) == (1, 0, 0, 0) and counts(lake, new) == (0, 0, 0, 0)
    assert outcomes(lake)[old["exposure_id"]]["touch"] == "list"
    assert (report.exposures, report.clicks, report.clicks_received) == (2, 1, 1)


def test_the_example_of_the_page_on_feedback(lake):
    a1, b1 = (feedback("shown", item, 0, recommendation_id="L1") for item in "ab")
    a2 = feedback("shown", "a", 1, recommendation_id="L2")
    unknown = feedback("clicked", "c", 5, recommendation_id="L1")
    put(lake, a1, b1, a2, unknown, feedback("clicked", "a", 2, recommendation_id="L1"))
    put(lake, event("item_viewed", "a", 3), event("item_added", "b", 10))
    put(lake, event("order_completed", "b", 8 * 60, session_id="phone"))
    put(lake, event("order_completed", "a", 24 * 60 + 2, session_id="tomorrow"))
    attribute(lake, SETTINGS)
    assert [counts(lake, row) for row in (a1, a2, b1)] == [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1)]
    touches = [outcomes(lake)[row["exposure_id"]]["touch"] for row in (a1, a2, b1)]
    assert touches == ["list", "session", "shopper"]
    assert reasons(lake) == {unknown["exposure_id"]: "item_not_in_list"}


def test_an_event_goes_to_the_newest_exposure_of_the_item_in_its_session(lake):
    old, new = feedback("shown", "a", 0), feedback("shown", "a", 5)
    other, later = feedback("shown", "b", 6), feedback("shown", "a", 7)
    elsewhere = feedback("shown", "a", 6, session_id="another", user_id="another")
    put(lake, old, new, other, later, elsewhere, event("item_viewed", "a", 6, dwell_ms=40))
    attribute(lake, SETTINGS)
    assert [counts(lake, row)[1] for row in (old, new, other, later, elsewhere)] == [0, 1, 0, 0, 0]
    assert outcomes(lake)[new["exposure_id"]]["dwell_ms"] == 40
    assert outcomes(lake)[new["exposure_id"]]["touch"] == "session"


def test_another_session_of_the_shopper_counts_within_the_hours(lake):
    shown = feedback("shown", "a", 0)
    put(lake, shown, event("item_added", "a", 60, session_id="evening"))
    put(lake, event("item_added", "a", 60 * 25, session_id="tomorrow"))
    attribute(lake, SETTINGS)
    assert counts(lake, shown) == (0, 0, 1, 0)
    assert outcomes(lake)[shown["exposure_id"]]["touch"] == "shopper"
    attribute(lake, Settings.of(attribution_hours=0))
    assert counts(lake, shown) == (0, 0, 0, 0)
    attribute(lake, Settings.of(attribution_hours=48))
    assert counts(lake, shown) == (0, 0, 2, 0)


def test_the_session_decides_before_the_shopper(lake):
    here = feedback("shown", "a", 0)
    newer = feedback("shown", "a", 1, session_id="phone")
    put(lake, here, newer, event("item_viewed", "a", 2))
    attribute(lake, SETTINGS)
    assert counts(lake, here)[1] == 1 and counts(lake, newer)[1] == 0


@pytest.mark.parametrize(("minutes", "views"), [(-1, 0), (0, 1), (24 * 60, 1), (24 * 60 + 1, 0)])
def test_a_session_reaches_from_the_moment_of_the_exposure_to_24_hours_after(lake, minutes, views):
    shown = feedback("shown", "a", 0, user_id=None)
    put(lake, shown, event("item_viewed", "a", minutes))
    attribute(lake, SETTINGS)
    assert counts(lake, shown)[1] == views


def test_the_list_that_explains_an_action_may_be_of_the_day_before(lake):
    midnight = NOON + timedelta(hours=12)
    named = feedback("shown", "a", midnight - timedelta(minutes=1), recommendation_id="evening")
    newer = feedback("shown", "a", midnight, recommendation_id="night")
    put(
        lake,
        named,
        newer,
        feedback("clicked", "a", midnight + timedelta(minutes=1), recommendation_id="evening"),
    )
    attribute(lake, SETTINGS)
    for day in (midnight.date(), midnight.date() - timedelta(days=1)):
        attribute(lake, SETTINGS, days=[day])
        assert counts(lake, named)[0] == 1 and counts(lake, newer)[0] == 0


def test_of_one_moment_the_row_received_last_and_then_the_lowest_position_counts(lake):
    late = NOON + timedelta(minutes=3)
    rows = [
        feedback("shown", "a", 0, received_at=None, position=9),
        feedback("shown", "a", 0, received_at=NOON, position=8),
        feedback("shown", "a", 0, received_at=late, position=1),
        feedback("shown", "a", 0, received_at=late, position=2, exposure_id="a"),
        feedback("shown", "a", 0, received_at=late, position=2, exposure_id="b"),
    ]
    put(lake, *rows, event("item_viewed", "a", 0))
    attribute(lake, SETTINGS)
    assert [counts(lake, row)[1] for row in rows] == [0, 0, 0, 0, 1]


def test_feedback_that_names_its_position_follows_the_row_of_that_position(lake):
    first, fifth = (feedback("shown", "a", 0, position=position) for position in (1, 5))
    moved = feedback("shown", "a", 10, position=2)
    clicks = [
        feedback("clicked", "a", minute, position=position)
        for minute, position in ((1, 1), (2, 1), (3, 5), (4, None), (5, 9), (11, 1), (12, 2), (13, None))
    ]
    put(lake, first, fifth, moved, *clicks, feedback("clicked", "a", 60 * 24 + 5, position=1))
    attribute(lake, SETTINGS)
    assert [counts(lake, row)[0] for row in (first, fifth, moved)] == [3, 3, 3]
    assert reasons(lake) == {}


def test_feedback_and_events_of_one_act_count_once(lake):
    shown = feedback("shown", "a", 0)
    put(lake, shown, feedback("added", "a", 1), event("item_added", "a", 2), event("item_added", "a", 2))
    put(
        lake,
        feedback("bought", "a", 3),
        event("order_completed", "a", 3, price=2.5, quantity=2, currency="EUR"),
    )
    put(lake, event("order_completed", "a", 3, price=2.5, quantity=2, currency="EUR"))
    attribute(lake, SETTINGS)
    assert counts(lake, shown) == (0, 0, 1, 1)
    found = outcomes(lake)[shown["exposure_id"]]
    assert (found["quantity"], found["revenue"], found["currency"], found["touch"]) == (2, 5.0, "EUR", "list")
    assert found["session_ordered_at"] == NOON + timedelta(minutes=3)


def test_revenue_is_of_the_first_currency_and_the_report_names_the_rest(lake):
    shown = feedback("shown", "a", 0)
    orders = [("1", 10.0, "EUR"), ("2", 3.0, "USD"), ("3", 4.0, "USD"), ("4", 1.0, "EUR"), ("5", None, "CHF")]
    put(lake, shown)
    for minute, (order, price, currency) in enumerate(orders):
        put(lake, event("order_completed", "a", minute, order_id=order, price=price, currency=currency))
    report = attribute(lake, SETTINGS)
    found = outcomes(lake)[shown["exposure_id"]]
    assert (found["orders"], found["revenue"], found["currency"], found["quantity"]) == (5, 11.0, "EUR", 5)
    assert report.revenue_left_out == {"USD": 7.0}


def test_a_price_without_a_currency_counts_as_no_currency(lake):
    shown = feedback("shown", "a", 0)
    put(lake, shown, event("order_completed", "a", 1, price=3.0))
    attribute(lake, SETTINGS)
    assert outcomes(lake)[shown["exposure_id"]]["currency"] == "XXX"


def test_a_line_of_an_order_that_was_sent_again_later_counts_once(lake):
    shown, line = feedback("shown", "a", 0), {"price": 2.0, "currency": "EUR", "quantity": 1}
    put(lake, shown, *(event("order_completed", "a", minute, **line) for minute in (1, 2)))
    put(lake, *(event("order_completed", "a", minute, order_id=None, **line) for minute in (3, 4)))
    attribute(lake, SETTINGS)
    found = outcomes(lake)[shown["exposure_id"]]
    assert (found["orders"], found["quantity"], found["revenue"]) == (3, 3, 6.0)


def test_an_act_of_a_session_that_names_two_shoppers_counts_once(lake):
    first = feedback("shown", "a", 0, session_id="x", user_id="first")
    second = feedback("shown", "a", 1, session_id="y", user_id="second")
    put(
        lake,
        first,
        second,
        *(event("item_added", "a", 5, user_id=user) for user in ("first", "second", None)),
    )
    attribute(lake, SETTINGS)
    assert [counts(lake, row)[2] for row in (first, second)] == [0, 1], "the newest exposure"


def test_feedback_that_no_exposure_explains_is_named_with_its_reason(lake):
    put(
        lake, feedback("shown", "a", 10), feedback("shown", "b", 0, recommendation_id="other", session_id="x")
    )
    rows = {
        "no_such_list": feedback("clicked", "a", 5, recommendation_id="gone"),
        "item_not_in_list": feedback("bought", "c", 20),
        "no_exposure_before": feedback("clicked", "a", 9),
    }
    old = feedback("added", "a", 10 + 24 * 60 + 1, user_id=None)
    put(lake, *rows.values(), old)
    report = attribute(lake, SETTINGS)
    wanted = {row["exposure_id"]: reason for reason, row in rows.items()} | {
        old["exposure_id"]: "no_such_list"
    }
    assert reasons(lake) == wanted
    assert report.unattributed_by_reason == {
        "item_not_in_list": 1,
        "no_exposure_before": 1,
        "no_such_list": 2,
    }
    assert (report.clicks, report.clicks_received) == (0, 2)


def test_a_checkout_counts_as_abandoned_after_its_time_and_a_late_order_takes_that_back(lake):
    in_cart, in_checkout = feedback("shown", "a", 0), feedback("shown", "a", 6)
    put(lake, in_cart, in_checkout, event("checkout_started", None, 5))

    def abandoned():
        attribute(lake, SETTINGS)
        return [outcomes(lake)[row["exposure_id"]]["session_abandoned_at"] for row in (in_cart, in_checkout)]

    assert abandoned() == [None, None]
    put(lake, event("item_viewed", "z", 34, session_id="other"))
    assert abandoned() == [None, None], "29 minutes"
    put(lake, event("item_viewed", "z", 60, session_id="other"))
    assert abandoned() == [NOON + timedelta(minutes=35)] * 2
    put(lake, event("order_completed", "b", 20))
    assert abandoned() == [None, None]
    assert outcomes(lake)[in_cart["exposure_id"]]["session_ordered_at"] == NOON + timedelta(minutes=20)


def test_a_checkout_is_overdue_on_a_later_day_than_the_exposure(lake):
    shown, begun = feedback("shown", "a", 0), event("checkout_started", None, 23 * 60)
    put(lake, shown, begun)
    attribute(lake, SETTINGS)
    far = NOON + timedelta(days=40)
    put(lake, event("item_viewed", "z", far, session_id="other"))
    attribute(lake, SETTINGS)
    assert outcomes(lake)[shown["exposure_id"]]["session_abandoned_at"] == NOON + timedelta(
        hours=23, minutes=30
    )


def test_a_checkout_that_was_left_before_the_exposure_is_no_outcome_of_it(lake):
    shown = feedback("shown", "a", 10)
    put(lake, shown, event("checkout_started", None, 0), event("checkout_abandoned", None, 5))
    put(lake, event("item_viewed", "z", 120))
    attribute(lake, SETTINGS)
    assert outcomes(lake)[shown["exposure_id"]]["session_abandoned_at"] is None


@pytest.mark.parametrize(
    ("segment", "wanted"), [("device_type", "mobile"), ("country", "DE"), ("returning", "returning")]
)
def test_the_first_event_of_the_session_says_the_segment(lake, segment, wanted):
    shown, unknown = feedback("shown", "a", 0), feedback("shown", "a", 0, session_id=None)
    put(lake, shown, unknown, event("item_viewed", "z", -3, device_type=None, country="DE"))
    put(lake, event("item_viewed", "z", -2, device_type="mobile", country="AT"))
    put(lake, event("item_viewed", "z", 2, device_type="desktop"))
    put(lake, event("item_viewed", "z", -60 * 24 * 29, session_id="long ago"))
    attribute(lake, Settings.of(metrics_segment=segment))
    assert outcomes(lake)[shown["exposure_id"]]["segment"] == wanted
    assert outcomes(lake)[unknown["exposure_id"]]["segment"] == "unknown"


def test_an_older_visit_that_arrives_late_makes_a_shopper_a_returning_one(lake):
    settings = Settings.of(metrics_segment="returning")
    shown = feedback("shown", "a", 0)
    put(lake, shown, event("item_viewed", "z", 0))
    attribute(lake, settings)
    assert outcomes(lake)[shown["exposure_id"]]["segment"] == "new"
    put(lake, event("item_viewed", "z", -60 * 24 * 20, session_id="long ago"))
    attribute(lake, settings)
    assert outcomes(lake)[shown["exposure_id"]]["segment"] == "returning"


def test_events_of_an_older_lake_lack_columns(lake):
    shown = feedback("shown", "a", 0)
    put(lake, shown)
    old = pa.Table.from_pylist([event("item_viewed", "a", 1)], schema=EVENTS_SCHEMA)
    columns = ["session_id", "user_id", "item_id", "event_type", "occurred_at", "event_date"]
    lake.append(EVENTS, old.select(columns), key="old")
    attribute(lake, SETTINGS)
    assert (counts(lake, shown), outcomes(lake)[shown["exposure_id"]]["segment"]) == ((0, 1, 0, 0), "unknown")


def test_an_absurd_time_on_a_page_stops_nothing(lake):
    shown = feedback("shown", "a", 0)
    put(lake, shown, *(event("item_viewed", "a", minute, dwell_ms=2**63 - 1) for minute in range(3)))
    attribute(lake, SETTINGS)
    assert outcomes(lake)[shown["exposure_id"]]["dwell_ms"] == 2**63 - 1


def test_the_columns_are_those_of_the_schema(lake):
    put(lake, feedback("shown", "a", 0, propensity=0.25, experiment="e", arm="b"))
    attribute(lake, SETTINGS)
    assert lake.scan(OUTCOMES).schema == OUTCOMES_SCHEMA
    (found,) = outcomes(lake).values()
    assert (found["propensity"], found["experiment"], found["arm"], found["position"]) == (0.25, "e", "b", 1)
