"""The tables equal a slow, plain computation on random logs, in whatever deliveries the rows arrive."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastaisle.feedback.outcomes.attribute import attribute
from lastaisle.lake import Lake
from lastaisle.lake.tables import OUTCOMES, UNATTRIBUTED
from lastaisle.settings import Settings

from .plain import attribute_plainly
from .shop import NOON, event, feedback, put, versions

# Few values, so that sessions, items and moments meet; moments around midnight and around 24 hours.
SESSIONS = st.sampled_from(["s1", "s2", "s3"])
USERS = st.sampled_from(["u1", "u2", None])
ITEMS = st.sampled_from(["a", "b"])
LISTS = st.sampled_from(["l1", "l2", "l3"])
MOMENTS = st.builds(
    lambda days, minutes: NOON + timedelta(hours=12, days=days, minutes=minutes),
    st.sampled_from([-31, -2, -1, 0, 0, 0, 1]),
    st.sampled_from([-60, -31, -30, -1, 0, 0, 1, 5, 30, 31]),
)


@st.composite
def feedback_rows(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["shown", "shown", "shown", "clicked", "added", "bought"]))
    moment = draw(MOMENTS)
    return feedback(
        kind,
        draw(ITEMS),
        moment,
        session_id=draw(SESSIONS | st.none()),
        user_id=draw(USERS),
        recommendation_id=draw(LISTS),
        position=draw(st.integers(1, 2)),
        received_at=draw(st.sampled_from([None, moment, moment + timedelta(minutes=1)])),
    )


@st.composite
def event_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return an event, perhaps sent twice."""
    kinds = ["item_viewed", "item_viewed", "item_added", "order_completed", "order_completed"]
    kind = draw(st.sampled_from([*kinds, "checkout_started", "checkout_abandoned", "page_viewed"]))
    row = event(
        kind,
        draw(ITEMS) if kind in kinds else None,
        draw(MOMENTS),
        session_id=draw(SESSIONS),
        user_id=draw(USERS),
        sequence=draw(st.integers(0, 2)),
        dwell_ms=draw(st.sampled_from([None, 5, 70])),
        device_type=draw(st.sampled_from([None, "mobile", "tv"])),
    )
    if kind == "order_completed":
        row["order_id"] = draw(st.sampled_from(["o1", "o2", None]))
        row["price"] = draw(st.sampled_from([None, 0.1, 0.2, 7.3]))
        row["currency"] = draw(st.sampled_from([None, "EUR", "USD"]))
        row["quantity"] = draw(st.sampled_from([None, 1, 3]))
    again = row | {"event_id": event(kind, None)["event_id"], "user_id": draw(USERS), "sequence": 9}
    return [row, again] if draw(st.booleans()) else [row]


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Return the rows in one to three batches, each in any order of time."""
    rows = [*draw(st.lists(feedback_rows(), max_size=14))]
    rows += [row for sent in draw(st.lists(event_rows(), max_size=14)) for row in sent]
    number = draw(st.integers(1, 3))
    batches: list[list[dict[str, Any]]] = [[] for _ in range(number)]
    for row in rows:
        batches[draw(st.integers(0, number - 1))].append(row)
    return batches


SETTINGS = st.builds(
    dict,
    hours=st.sampled_from([0, 1, 24, 48]),
    segment=st.sampled_from(["device_type", "returning"]),
    after=st.sampled_from([1, 30, 3000]),
)


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["exposure_id"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches=deliveries(), options=SETTINGS)
def test_outcomes_equal_a_plain_computation_after_each_delivery(batches, options):
    chosen = Settings.of(
        attribution_hours=options["hours"],
        metrics_segment=options["segment"],
        abandoned_after_minutes=options["after"],
    )
    delivered: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        for batch in batches:
            put(lake, *batch)
            delivered += batch
            attribute(lake, chosen)
            exposures = [row for row in delivered if "kind" in row]
            events = [row for row in delivered if "event_type" in row]
            outcomes, unattributed = attribute_plainly(exposures, events, **options)
            assert in_order(lake.scan(OUTCOMES).to_pylist()) == in_order(outcomes)
            assert in_order(lake.scan(UNATTRIBUTED).to_pylist()) == in_order(unattributed)
        before = versions(lake)
        attribute(lake, chosen, every_day=True)
        assert versions(lake) == before, "one run over all days makes the same rows"
