"""An installation of which the page Privacy has much to tell: what failed, what is kept, and an audit."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from lastaisle.audit import audit
from lastaisle.audit.store import folder_of, keep
from lastaisle.dashboard.source import Source
from lastaisle.lake.tables import (
    ACCESSES_SCHEMA,
    BATCHES_SCHEMA,
    CONSENTS_SCHEMA,
    QUARANTINE_SCHEMA,
    SUBJECT_REQUESTS_SCHEMA,
    TIMESTAMP,
)
from lastaisle.privacy.budget.spent import Spending, record
from lastaisle.privacy.consents import PURPOSES
from models.private.mechanism import Mechanism

EVENTS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("event_id", "user_id", "session_id", "batch_id")),
        *((name, pa.string()) for name in ("device_type", "country", "region")),
        *(("occurred_at", TIMESTAMP), ("event_date", pa.date32()), ("key_version", pa.int32())),
        *((f"consent_{purpose}", pa.bool_()) for purpose in PURPOSES),
    ]
)


def fill(source: Source, now: datetime) -> None:
    """Write rows of events, requests, decisions, accesses and trainings, and the audit of the last month."""

    def add(table: str, schema: pa.Schema, *rows: dict[str, Any]) -> None:
        source.lake.append(table, pa.Table.from_pylist(list(rows), schema), key=uuid.uuid4().hex)

    def event(number: int, days: int, version: int) -> dict[str, Any]:
        at = (now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
        consents = {
            f"consent_{name}": (number + days) % (place + 3) > 0 for place, name in enumerate(PURPOSES)
        }
        return consents | {
            "event_id": f"{days}-{number}",
            "user_id": f"shopper-{number}",
            "session_id": f"visit-{number}",
            "batch_id": f"batch-{days}",
            "device_type": "mobile",
            "country": "DE",
            "region": "DE-BE",
            "occurred_at": at,
            "event_date": at.date(),
            "key_version": version,
        }

    for days in range(1, 40):
        add("events", EVENTS_SCHEMA, *(event(number, days, 1 if days > 20 else 2) for number in range(12)))
        at = now - timedelta(days=days)
        add("batches", BATCHES_SCHEMA, {"batch_id": f"batch-{days}", "started_at": at, "finished_at": at})
    old = now - timedelta(days=450)
    row = {"payload": "{}", "rules": [], "event_date": old.date(), "ingested_at": old}
    add("quarantine", QUARANTINE_SCHEMA, row)
    for number, (kind, state) in enumerate(
        [("erase", "asked"), ("export", "failed"), ("object", "done"), ("restrict", "working")], 1
    ):
        at = now - timedelta(days=10 * number)
        request = {"entry": number, "request_id": f"r{number}", "kind": kind, "state": state, "at": at}
        request |= {"actor": "officer", "subjects": 1, "due_at": at + timedelta(days=28)}
        add("subject_requests", SUBJECT_REQUESTS_SCHEMA, request)
    for place, way in enumerate(("event", "gpc", "do_not_sell", "request", "switch")):
        at = now - timedelta(days=place + 1)
        decision = {"user_id": f"shopper-{place}", "purpose": PURPOSES[place % 3], "granted": place == 0}
        add("consents", CONSENTS_SCHEMA, decision | {"source": way, "at": at, "recorded_at": at})
    for outcome, reason in (("shown", "ticket 7"), ("refused", ""), ("shown", "")):
        access = {"at": now - timedelta(days=3), "actor": "officer", "what": "quarantine"}
        add("accesses", ACCESSES_SCHEMA, access | {"reason": reason, "outcome": outcome})
    for days in (30, 20, 10):
        at, mechanism = now - timedelta(days=days), Mechanism("shopper", 0.01, 1.0, 100, 1.0, 1000)
        names = (f"key-{days}", f"run-{days}", "model", "factorization", "shopper")
        begin = at - timedelta(days=7)
        record(source.lake, Spending(*names, begin, at, 1000, mechanism, days / 10, 1e-6, at))
    first = (now - timedelta(days=35)).date()
    keep(
        source.lake,
        folder_of(source.settings),
        audit(source.lake, source.settings, first, now.date(), now=now),
    )
