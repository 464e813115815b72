"""Visits of a shop: their events, and the feedback on the list that each visit saw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lastaisle.privacy.domains import LakeKey, key_of_lake
from lastaisle.privacy.keys import PseudonymKeys
from tests.services.airflow import Airflow

CLICKED = 2  # the position whose item is clicked and ordered


def key_of(airflow: Airflow) -> LakeKey:
    """Return the key with which the service and `anonymize` make pseudonyms."""
    settings = airflow.settings
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    return key_of_lake(airflow.lake, keys, None)


def item_of(name: str, position: int) -> str:
    """Return the item at a position of the list that a visit saw."""
    return f"item-{(sum(name.encode()) + position) % 40}"


def visit(name: str, begin: datetime) -> list[dict[str, Any]]:
    """Return the events of a visit: a page, and after the list an order of the clicked item."""
    shared = {
        "user_id": f"user-{name}",
        "session_id": name,
        "consent": {"analytics": True, "personalization": True},
    }
    item = {"item_id": item_of(name, CLICKED), "price": 2.5, "quantity": 1, "currency": "EUR"}
    return [
        {
            "event_id": f"{name}-page",
            "event_type": "page_viewed",
            "occurred_at": begin.isoformat(),
            **shared,
        },
        {
            "event_id": f"{name}-order",
            "event_type": "order_completed",
            "occurred_at": (begin + timedelta(seconds=30)).isoformat(),
            **shared,
            "order_id": f"order-{name}",
            **item,
        },
    ]


def feedback_lines(name: str, begin: datetime, key: LakeKey, shown: int) -> list[dict[str, Any]]:
    """Return what the service keeps of a visit: a list of items was shown, and one item was clicked."""

    def line(kind: str, position: int, at: datetime) -> dict[str, Any]:
        return {
            "exposure_id": f"{name}-{kind}-{position}",
            "item_id": item_of(name, position),
            "position": position,
            "kind": kind,
            "occurred_at": at.isoformat(),
            "received_at": at.isoformat(),
            "user_id": key.pseudonym("user_id", f"user-{name}"),
            "session_id": key.pseudonym("session_id", name),
            "placement": "checkout",
            "recommendation_id": f"list-{name}",
            "model_version": "7",
            "policy": "model",
            "propensity": 1.0,
        }

    seen = begin + timedelta(seconds=10)
    lines = [line("shown", position, seen) for position in range(1, shown + 1)]
    return [*lines, line("clicked", CLICKED, seen + timedelta(seconds=5))]


def land_feedback(home: Path, begin: datetime, lines: Sequence[dict[str, Any]]) -> Path:
    """Write a file of feedback where the service keeps it; return its path."""
    path = home / "feedback" / f"{begin:%Y-%m-%d}" / f"feedback-{begin:%Y%m%dT%H%M%SZ}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
