"""Outcomes by plain loops: slow, readable, and without anything of the code that they check."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

Row = dict[str, Any]
DAY = timedelta(hours=24)
WAYS = ("list", "session", "shopper")
STRENGTHS = {"order_completed": 1, "bought": 1, "item_added": 2, "added": 2, "clicked": 3, "item_viewed": 4}


def attribute_plainly(
    exposures: list[Row], events: list[Row], *, hours: int = 24, segment: str = "device_type", after: int = 30
) -> tuple[list[Row], list[Row]]:
    """Return the rows of outcomes and of unattributed."""
    shown = [row for row in exposures if row["kind"] == "shown"]
    followed: dict[str, list[tuple[Row, str]]] = {row["exposure_id"]: [] for row in shown}
    unattributed = []
    for action in exposures:
        if action["kind"] != "shown":
            exposure, way = exposure_of(action, shown, hours)
            if exposure is None:
                unattributed.append(unattributed_row(action, shown, hours))
            else:
                followed[exposure["exposure_id"]].append((action, way))
    for action, exposure_id, way in acts_of(events, shown, hours):
        followed[exposure_id].append((action, way))
    outcomes = [outcome_of(row, followed[row["exposure_id"]]) for row in shown]
    for outcome in outcomes:
        outcome["segment"] = segment_of(outcome, events, segment)
        outcome.update(end_of_session(outcome, events, timedelta(minutes=after)))
    return outcomes, unattributed


def acts_of(events: list[Row], shown: list[Row], hours: int) -> list[tuple[Row, str, str]]:
    """Return what shoppers did after an exposure, each act once, with the exposure and the way."""
    acts: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for event in events:
        kind = event["event_type"]
        if kind not in ("item_viewed", "item_added", "order_completed"):
            continue
        line = ("order_id", "quantity", "price", "currency") if kind == "order_completed" else ()
        key = (kind, *(event[name] for name in ("session_id", "item_id", "occurred_at", *line)))
        exposure, way = exposure_of({**event, "recommendation_id": None}, shown, hours)
        if exposure is not None:
            newest = exposure["occurred_at"] if way == "shopper" else exposure["occurred_at"].min
            dwell = (event["dwell_ms"] or 0) if kind == "item_viewed" else 0
            found = (-WAYS.index(way), newest.replace(tzinfo=None), exposure["exposure_id"], dwell, event)
            acts.setdefault(key, []).append(found)
    best = [max(found, key=lambda each: each[:4]) for found in acts.values()]
    return [
        ({**event, "kind": event["event_type"], "dwell_ms": dwell}, exposure_id, WAYS[-way])
        for way, _, exposure_id, dwell, event in best
    ]


def exposure_of(action: Row, shown: list[Row], hours: int) -> tuple[Row | None, str]:
    """Return the exposure that an action follows, and by which way."""
    reaches = (max(DAY, timedelta(hours=hours)), DAY, timedelta(hours=hours))
    names = ("recommendation_id", "session_id", "user_id")
    for way, name, reach in zip(WAYS, names, reaches, strict=True):
        found = [
            row
            for row in shown
            if action.get(name) is not None
            and row[name] == action[name]
            and row["item_id"] == action["item_id"]
            and timedelta() <= action["occurred_at"] - row["occurred_at"] <= reach
        ]
        if found and reach:
            placed = [row for row in found if way == "list" and row["position"] == action["position"]]
            return max(placed or found, key=order_of), way
    return None, ""


def order_of(row: Row) -> tuple[Any, ...]:
    received = row["received_at"] or datetime.min.replace(tzinfo=row["occurred_at"].tzinfo)
    return row["occurred_at"], received, row["position"], row["exposure_id"]


def unattributed_row(action: Row, shown: list[Row], hours: int) -> Row:
    reach = max(DAY, timedelta(hours=hours))
    near = [
        row
        for row in shown
        if row["recommendation_id"] == action["recommendation_id"]
        and abs(row["occurred_at"] - action["occurred_at"]) <= reach
    ]
    reason = "no_exposure_before"
    if not near:
        reason = "no_such_list"
    elif action["item_id"] not in {row["item_id"] for row in near}:
        reason = "item_not_in_list"
    kept = ("exposure_id", "kind", "recommendation_id", "occurred_at", "session_id", "user_id", "item_id")
    return {
        **{name: action[name] for name in (*kept, "placement")},
        "reason": reason,
        "event_date": action["occurred_at"].date(),
    }


def outcome_of(exposure: Row, followed: list[tuple[Row, str]]) -> Row:
    kept = ("exposure_id", "recommendation_id", "session_id", "user_id", "item_id", "position", "placement")
    kept += ("model_version", "policy", "experiment", "arm", "propensity")
    kinds = Counter(action["kind"] for action, _ in followed)
    ordered = [action for action, _ in followed if action["kind"] == "order_completed"]
    strongest = sorted((STRENGTHS[action["kind"]], WAYS.index(way)) for action, way in followed)
    return {
        **{name: exposure[name] for name in kept},
        "shown_at": exposure["occurred_at"],
        "event_date": exposure["occurred_at"].date(),
        "clicks": kinds["clicked"],
        "views": kinds["item_viewed"],
        "adds": max(kinds["item_added"], kinds["added"]),
        "orders": max(len({order_id_of(action) for action in ordered}), kinds["bought"]),
        "clicked_at": first_of(followed, "clicked"),
        "viewed_at": first_of(followed, "item_viewed"),
        "added_at": first_of(followed, "item_added", "added"),
        "ordered_at": first_of(followed, "order_completed", "bought"),
        "dwell_ms": sum(action.get("dwell_ms") or 0 for action, _ in followed),
        "touch": WAYS[strongest[0][1]] if strongest else None,
        **payment_of(ordered),
    }


def first_of(followed: list[tuple[Row, str]], *kinds: str) -> datetime | None:
    return min((action["occurred_at"] for action, _ in followed if action["kind"] in kinds), default=None)


def order_id_of(action: Row) -> str:
    """Return the id of an order; an order without an id has its moment instead, in microseconds."""
    return action["order_id"] or f"{action['occurred_at'].timestamp() * 1_000_000:.0f}"


def payment_of(ordered: list[Row]) -> Row:
    """Add up the lines of the orders; a line that was sent twice counts once."""
    lines: dict[tuple[Any, ...], datetime] = {}
    for action in ordered:
        line = (order_id_of(action), action["quantity"] or 1, action["price"], action["currency"] or "XXX")
        lines[line] = min(lines.get(line, action["occurred_at"]), action["occurred_at"])
    priced = [(at, order, currency) for (order, _, price, currency), at in lines.items() if price is not None]
    currency = min(priced)[2] if priced else None
    amounts = sorted(
        price * pieces for _, pieces, price, name in lines if price is not None and name == currency
    )
    return {
        "quantity": sum(pieces for _, pieces, _, _ in lines),
        "currency": currency,
        "revenue": sum(amounts, 0.0),
    }


def segment_of(outcome: Row, events: list[Row], segment: str) -> str:
    near = sorted(
        (
            event
            for event in events
            if event["session_id"] == outcome["session_id"]
            and abs(event["occurred_at"] - outcome["shown_at"]) <= DAY
        ),
        key=lambda event: (event["occurred_at"], event["sequence"], event["event_id"]),
    )
    if segment != "returning":
        return next((event[segment] for event in near if event[segment] is not None), "unknown")
    if not near:
        return "unknown"
    started = near[0]["occurred_at"]
    users = [(event["occurred_at"], event["user_id"]) for event in near if event["user_id"] is not None]
    if not users:
        return "new"
    user = max(user for at, user in users if at == users[0][0])
    seen = [event["occurred_at"] for event in events if event["user_id"] == user]
    return "returning" if any(timedelta() < started - at <= timedelta(days=30) for at in seen) else "new"


def end_of_session(outcome: Row, events: list[Row], after: timedelta) -> Row:
    """Return the first order after the exposure, and whether the session left its checkout."""
    data_end = max((event["occurred_at"] for event in events), default=None)
    shown = outcome["shown_at"]

    def moments(kind: str) -> list[datetime]:
        return [
            event["occurred_at"]
            for event in events
            if outcome["session_id"] is not None
            and event["session_id"] == outcome["session_id"]
            and event["event_type"] == kind
            and event["occurred_at"] - shown <= DAY
        ]

    never = datetime.min.replace(tzinfo=shown.tzinfo)
    orders = moments("order_completed")
    last_order = max(orders, default=never)
    given_up = max(moments("checkout_abandoned"), default=never)
    begun = max(moments("checkout_started"), default=never)
    abandoned = None
    if given_up >= shown and given_up >= last_order:
        abandoned = given_up
    elif begun > max(last_order, given_up) and shown <= begun + after <= data_end + timedelta(seconds=1):
        abandoned = begun + after
    return {
        "session_ordered_at": min((at for at in orders if at >= shown), default=None),
        "session_abandoned_at": abandoned,
    }
