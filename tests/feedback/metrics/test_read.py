"""The figures that are read: sums over any grouping, views that add up, and honest intervals."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastaisle.errors import NotEnoughDataError
from lastaisle.feedback.metrics.figures import BY, ITEM_COUNTS, SESSION_COUNTS, FiguresError, figures_schema
from lastaisle.feedback.metrics.intervals import mean, share
from lastaisle.feedback.metrics.read import figures_reach, read_metrics
from lastaisle.lake import Lake

from .conftest import Shop, at

RNG = np.random.default_rng(20251006)
#: By which names of the rows of outcomes a figure is split.
COLUMNS = {"version": ("model_version",), "arm": ("experiment", "arm")}


@pytest.fixture(scope="module")
def busy(tmp_path_factory) -> Shop:
    """Three weeks and a half of a shop; each session sees one or two lists of three items."""
    shop, rng = Shop(Lake(tmp_path_factory.mktemp("busy"))), np.random.default_rng(1)
    for number in range(400):
        hour = float(rng.uniform(0, 24 * 25))
        cell = {
            "placement": rng.choice(["cart", "checkout"]),
            "model_version": rng.choice(["3", "4"]),
            "policy": rng.choice(["model", "popular"]),
            "experiment": rng.choice(["demo", "other"]),
            "arm": rng.choice(["a", "b"]),
            "segment": rng.choice(["mobile", "desktop"]),
        }
        cell = {name: str(value) for name, value in cell.items()} | {"session_id": f"s{number}"}
        for place in range(1, 4):
            clicks = int(rng.random() < 0.3)
            followed = {"clicks": clicks, "views": clicks, "adds": clicks, "dwell_ms": 900 * clicks}
            shop.shown(hour, recommendation_id=f"r{number}", position=place, **cell, **followed)
        if rng.random() < 0.3:
            currency, price = str(rng.choice(["EUR", "USD"])), float(round(rng.lognormal(3), 2))
            shop.event(hour + 0.2, "order_completed", session_id=f"s{number}", price=price, currency=currency)
    shop.count()
    return shop


@given(
    by=st.lists(st.sampled_from(sorted(BY)), unique=True),
    every=st.sampled_from([None, "hour", "day", "week"]),
    placement=st.sampled_from([None, "cart"]),
)
@settings(max_examples=40, deadline=None)
def test_the_counts_of_any_grouping_add_up_to_a_plain_recount(busy, by, every, placement):
    rows = read_metrics(busy.lake, by=by, every=every, placement=placement).to_pylist()
    shown = [row for row in busy.outcomes.values() if placement in (None, row["placement"])]
    assert sum(row["exposures"] for row in rows) == len(shown)
    for name, of_row in {"clicks": "clicks", "clicked": "clicks", "dwell_ms": "dwell_ms"}.items():
        assert sum(row[name] for row in rows) == sum(row[of_row] or 0 for row in shown)
    names = [column for name in by for column in COLUMNS.get(name, (name,))]
    groups = {(start_of(row["shown_at"], every), *(row[name] for name in names)) for row in shown}
    found = [(row["period"] if every else None, *(row[name] for name in names)) for row in rows]
    assert set(found) == groups
    assert len(found) == len(groups)
    if "position" in by:
        assert {row[name] for row in rows for name in (*SESSION_COUNTS, "conversion")} == {None}
        return
    sessions = {row["session_id"] for row in shown}
    orders = [event for event in busy.events if event["session_id"] in sessions]
    assert sum(row["sessions"] for row in rows) == len(sessions)
    assert sum(row["sessions_ordered"] for row in rows) == len(orders)
    for place, currency in enumerate(["EUR", "USD"]):
        entries = [row["revenue"][place] for row in rows]
        assert {entry["currency"] for entry in entries} == {currency}
        spent = sum(order["price"] for order in orders if order["currency"] == currency)
        assert sum(entry["revenue"] for entry in entries) == pytest.approx(spent)


def start_of(moment: datetime, every: str | None) -> datetime | None:
    if every is None:
        return None
    if every == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return day if every == "day" else day - timedelta(days=day.weekday())


def test_24_hours_are_a_day_and_7_days_are_a_week_from_monday(busy):
    views = {every: read_metrics(busy.lake, every=every).to_pylist() for every in ("hour", "day", "week")}
    for finer, coarser in (("hour", "day"), ("day", "week")):
        for row in views[coarser]:
            parts = [part for part in views[finer] if start_of(part["period"], coarser) == row["period"]]
            for name in (*ITEM_COUNTS, *SESSION_COUNTS):
                assert sum(part[name] for part in parts) == pytest.approx(row[name]), name
            assert sum(part["revenue"][0]["revenue"] for part in parts) == pytest.approx(
                row["revenue"][0]["revenue"]
            )
    assert all(row["period"].weekday() == 0 for row in views["week"])
    assert views["week"][0]["period"].tzinfo is not None


def test_a_rate_without_a_denominator_is_empty_and_not_0(shop):
    shop.shown(1, session_id=None, user_id=None)
    shop.event(2, "order_completed", session_id="s2", price=5.0, currency="EUR")
    shop.shown(1, session_id="s2", recommendation_id="r2", placement="cart")
    shop.count()
    cart, checkout = read_metrics(shop.lake, by=["placement"]).to_pylist()
    assert (cart["conversion"], cart["revenue"][0]["per_session"]) == (1.0, 5.0)
    assert cart["revenue"][0]["per_session_low"] is None, "one session has no interval"
    assert (checkout["exposures"], checkout["ctr"], checkout["sessions"]) == (1, 0.0, 0)
    empty = ("conversion", "conversion_low", "abandonment", "depth", "seconds", "dwell_seconds")
    assert [checkout[name] for name in empty] == [None] * len(empty)
    revenue = checkout["revenue"][0]
    assert (revenue["currency"], revenue["revenue"], revenue["per_session"]) == ("EUR", 0.0, None)


def test_since_and_until_take_whole_hours(shop):
    for hour in (1.0, 1.9, 2.0, 3.0, 25.0):
        shop.shown(hour, recommendation_id=f"r{hour}")
    shop.count()

    def exposures(since: float | None, until: float | None) -> int:
        moments = (None if hour is None else at(hour) for hour in (since, until))
        start, end = moments
        return sum(read_metrics(shop.lake, since=start, until=end)["exposures"].to_pylist())

    assert exposures(None, None) == 5
    assert exposures(1.5, None) == 5
    assert exposures(2, None) == 3
    assert exposures(None, 2) == 2
    assert exposures(None, 2.1) == 3
    assert exposures(4, 24) == 0
    zone = datetime.fromisoformat("2025-10-06T04:00+02:00")
    assert read_metrics(shop.lake, since=zone)["exposures"].to_pylist() == [2, 1]


def test_figures_are_refused_by_name(shop):
    with pytest.raises(NotEnoughDataError, match="lastaisle exposures ingest"):
        read_metrics(shop.lake)
    shop.write()
    with pytest.raises(NotEnoughDataError, match="run `lastaisle attribute`"):
        read_metrics(shop.lake)
    shop.count()
    with pytest.raises(NotEnoughDataError, match="run `lastaisle attribute`"):
        figures_reach(shop.lake)
    shop.shown(1.5)
    shop.count()
    assert figures_reach(shop.lake) == (at(1), at(2), ["checkout"])
    with pytest.raises(FiguresError, match="'colour'"):
        read_metrics(shop.lake, by=["colour"])
    with pytest.raises(FiguresError, match="'month'"):
        read_metrics(shop.lake, every="month")
    none = read_metrics(shop.lake, by=["arm"], placement="nowhere")
    assert (none.num_rows, none.schema) == (0, figures_schema(["experiment", "arm"], "day"))


def test_revenue_beyond_all_numbers_is_shown_without_an_interval(shop):
    for number in range(2):
        shop.shown(1, session_id=f"s{number}", recommendation_id=f"r{number}")
        shop.event(2, "order_completed", session_id=f"s{number}", price=1e300, currency="EUR")
    shop.count()
    (row,) = read_metrics(shop.lake).to_pylist()
    assert row["revenue"][0] | {"currency": "", "attributed_revenue": 0} == {
        "currency": "",
        "revenue": 2e300,
        "attributed_revenue": 0,
        "per_session": 1e300,
        "per_session_low": None,
        "per_session_high": None,
    }


def test_intervals_by_hand():
    assert share(0, 0) == share(None, 5) == mean(None, None, 3) == mean(0, 0, 0) == (None, None, None)
    low, high = share(0, 10)[1:]
    assert (low, round(high, 4)) == (0, 0.2775), "Wilson's interval of 0 of 10"
    assert [round(end, 4) for end in share(3, 10)] == [0.3, 0.1078, 0.6032]
    half = 1.96 * math.sqrt(13 / 3)  # of 1, 3 and 8 the variance is 13
    assert mean(12, 74, 3) == pytest.approx((4, max(0, 4 - half), 4 + half), rel=1e-3)
    assert mean(6, 36, 1) == (6, None, None)
    assert mean(6, 12, 3) == (2, 2, 2)


@pytest.mark.parametrize(("rate", "trials"), [(0.03, 200), (0.03, 2000), (0.3, 60), (0.9, 40)])
def test_wilsons_interval_holds_the_truth_in_95_of_100_worlds(rate, trials):
    found = RNG.binomial(trials, rate, 4000)
    held = [low <= rate <= high for _, low, high in (share(int(count), trials) for count in found)]
    assert 0.93 <= np.mean(held) <= 0.98


@pytest.mark.parametrize(("sessions", "conversion", "least"), [(2000, 0.1, 0.93), (500, 0.3, 0.92)])
def test_the_interval_of_revenue_a_session_holds_the_truth(sessions, conversion, least):
    """Nine of ten sessions spend nothing, and the others log-normal sums: the skew costs a little."""
    truth = conversion * math.exp(3 + 0.8**2 / 2)
    held = []
    for _ in range(1500):
        spent = RNG.lognormal(3, 0.8, sessions) * (RNG.random(sessions) < conversion)
        _, low, high = mean(float(spent.sum()), float((spent**2).sum()), sessions)
        held.append(low <= truth <= high)
    assert least <= np.mean(held) <= 0.97


def test_the_report_is_plain_json(busy):
    rows = read_metrics(busy.lake, by=["version"]).to_pylist()
    assert json.loads(json.dumps(rows, default=str, allow_nan=False))
    assert isinstance(read_metrics(busy.lake, every=None), pa.Table)
    assert {row["period"].astimezone(UTC).hour for row in rows} == {0}
