"""Notices for tests."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

from lastaisle.delivery.notice import Notice

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
RAISED = Notice(
    id="msg_raised",
    kind="raised",
    severity="critical",
    title="No logs came for 2026-11-24",
    text="The folder is empty.\nThe limit is 26 hours.",
    at=NOON,
    data={"scope": {"partition": "2026-11-24"}},
    links=(
        ("Log", "https://airflow.shop.example/log?run=1&try=2"),
        ("Runbook", "docs/alerts.md#missing_data"),
    ),
    group="missing_data",
    dedup_key="a1b2c3",
    rule="missing_data",
)
RESOLVED = dataclasses.replace(
    RAISED, id="msg_resolved", kind="resolved", title="Logs came for 2026-11-24", at=NOON + timedelta(hours=3)
)


def notice(**changes: object) -> Notice:
    return dataclasses.replace(RAISED, **changes)
