"""A slow, plain recount of the shop's figures. It shares no code with the pipeline and uses no SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

Row = Mapping[str, Any]
Figures = dict[tuple[Any, ...], dict[str, float]]

REACH = timedelta(hours=24)
CELL = ("placement", "model_version", "policy", "experiment", "arm", "segment")


def recount(outcomes: Iterable[Row], events: Iterable[Row]) -> Figures:
    """Return the counts by hour, the names of CELL, position and currency."""
    figures: Figures = defaultdict(lambda: defaultdict(float))
    rows = sorted(
        outcomes,
        key=lambda row: (row["shown_at"], row["recommendation_id"], row["position"], row["exposure_id"]),
    )
    for row in rows:
        count_item(figures, row)
    count_lists(figures, rows)
    visits = visits_of(rows)
    acts = once(events)
    for visit in visits:
        count_visit(figures, visit, [act for act in acts if belongs(act, visit, visits)])
    return figures


def cell_of(row: Row, position: int | None = None, currency: str | None = None) -> tuple[Any, ...]:
    hour = row["shown_at"].replace(minute=0, second=0, microsecond=0)
    return (hour, *(row[name] for name in CELL), position, currency)


def count_item(figures: Figures, row: Row) -> None:
    counts = figures[cell_of(row, row["position"])]
    counts["exposures"] += 1
    counts["clicks"] += row["clicks"]
    for name, done in (("clicked", "clicks"), ("viewed", "views"), ("added", "adds"), ("ordered", "orders")):
        counts[name] += row[done] > 0
    counts["dwell_ms"] += row["dwell_ms"] or 0
    if row["currency"] is not None:
        revenue = figures[cell_of(row, None, row["currency"])]
        revenue["attributed_revenue"] += row["revenue"] or 0
        revenue["revenue"] += 0


def count_lists(figures: Figures, rows: list[Row]) -> None:
    last_seen: dict[tuple[Any, ...], datetime] = {}
    for row in rows:
        name = (row["placement"], row["recommendation_id"], visitor_of(row))
        if name not in last_seen or row["shown_at"] - last_seen[name] > REACH:
            figures[cell_of(row)]["lists"] += 1
        last_seen[name] = row["shown_at"]


def visitor_of(row: Row) -> tuple[str, str] | None:
    if row["session_id"] is not None:
        return ("session", row["session_id"])
    return None if row["user_id"] is None else ("user", row["user_id"])


def visits_of(rows: list[Row]) -> list[list[Row]]:
    """Return the lists' rows of each visit: the first row, and the rows up to 24 hours later."""
    visits: list[list[Row]] = []
    newest: dict[tuple[Any, ...], tuple[list[Row], datetime]] = {}
    for row in rows:
        if visitor_of(row) is None:
            continue
        name = (row["placement"], visitor_of(row))
        if name not in newest or row["shown_at"] - newest[name][1] > REACH:
            visits.append([])
            newest[name] = (visits[-1], row["shown_at"])
        visit = newest[name][0]
        if not visit or row["shown_at"] - visit[0]["shown_at"] <= REACH:
            visit.append(row)
        newest[name] = (visit, row["shown_at"])
    return visits


def once(events: Iterable[Row]) -> list[Row]:
    """Return the events without those that were sent twice; of orders, the lines that differ."""
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in events:
        name = (
            event["session_id"],
            event["item_id"],
            event["event_type"],
            event["occurred_at"],
            line_of(event),
        )
        first = kept.setdefault(name, {**event, "line": line_of(event)})
        for column in ("user_id", "dwell_ms"):
            known = [value for value in (first[column], event[column]) if value is not None]
            first[column] = max(known, default=None)
    return list(kept.values())


def line_of(event: Row) -> tuple[Any, ...] | None:
    """Return order, price, pieces and currency of a line of an order; None for other events."""
    if event["event_type"] != "order_completed":
        return None
    order = event["occurred_at"] if event["order_id"] is None else event["order_id"]
    pieces = 1 if event["quantity"] is None else event["quantity"]
    return (order, event["price"], pieces, event["currency"] or "XXX")


def is_near(act: Row, visit: list[Row]) -> bool:
    return abs(act["occurred_at"] - visit[0]["shown_at"]) <= REACH


def belongs(act: Row, visit: list[Row], visits: list[list[Row]]) -> bool:
    kind, name = visitor_of(visit[0]) or ("", "")
    if kind == "session":
        return act["session_id"] == name and is_near(act, visit)
    of_its_session = (
        other
        for other in visits
        if visitor_of(other[0]) == ("session", act["session_id"])
        and other[0]["placement"] == visit[0]["placement"]
        and is_near(act, other)
        and act["occurred_at"] >= other[0]["shown_at"]
    )
    return act["user_id"] == name and is_near(act, visit) and not any(of_its_session)


def count_visit(figures: Figures, visit: list[Row], acts: list[Row]) -> None:
    first = visit[0]["shown_at"]
    after = [act for act in acts if act["occurred_at"] >= first]
    own = [row for row in visit if row["touch"] != "shopper"]
    views = [act for act in after if act["event_type"] == "item_viewed"]
    ordered = any(row["orders"] for row in own) or has(after, "order_completed")
    abandoned = visit[0]["session_abandoned_at"] is not None
    in_checkout = has(after, "checkout_started", "checkout_abandoned", "order_completed")
    depth = len({act["item_id"] for act in views if act["item_id"] is not None})
    last = max([visit[-1]["shown_at"], *(act["occurred_at"] for act in after)])
    seconds = (last - first).total_seconds()
    counts = figures[cell_of(visit[0])]
    counts["sessions"] += 1
    counts["sessions_clicked"] += any(row["clicks"] for row in visit)
    counts["sessions_added"] += any(row["adds"] for row in own) or has(after, "item_added")
    counts["sessions_ordered"] += ordered
    counts["sessions_abandoned"] += abandoned
    counts["sessions_checkout"] += ordered or abandoned or in_checkout or entered_before(acts, first)
    counts["items_viewed"] += depth
    counts["items_viewed_squares"] += depth**2
    counts["session_seconds"] += seconds
    counts["session_seconds_squares"] += seconds**2
    counts["dwell_ms"] += sum(act["dwell_ms"] or 0 for act in views)
    spent: dict[str, float] = defaultdict(float)
    for _, _, (_, price, pieces, currency) in {
        (act["session_id"], act["item_id"], act["line"]) for act in after if act["line"]
    }:
        if price is not None:
            spent[currency] += price * pieces
    for currency, revenue in spent.items():
        counts = figures[cell_of(visit[0], None, currency)]
        counts["revenue"] += revenue
        counts["revenue_squares"] += revenue**2


def has(acts: list[Row], *kinds: str) -> bool:
    return any(act["event_type"] in kinds for act in acts)


def entered_before(acts: list[Row], first: datetime) -> bool:
    """Tell whether the checkout was open when the first list was shown."""
    before = [act for act in acts if act["occurred_at"] < first]
    begun = [act["occurred_at"] for act in before if act["event_type"] == "checkout_started"]
    ended = [
        act["occurred_at"] for act in before if act["event_type"] in ("checkout_abandoned", "order_completed")
    ]
    return bool(begun) and (not ended or max(begun) > max(ended))
