"""The rule audit: findings of the newest audit of privacy failed."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from lastaisle.lake.tables import AUDITS
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import AUDIT, Evidence, Finding


class AuditOptions(RuleOptions):
    """The audit itself says what fails; see docs/audit.md."""


def check(context: Context[AuditOptions]) -> list[Finding]:
    """Find what failed in the newest audit; the alert of a finding begins with the first audit in a row."""
    if context.lake.version(AUDITS) is None:
        return []
    rows = context.lake.scan(AUDITS, ["at", "first_day", "last_day", "findings"]).sort_by("at").to_pylist()
    if not rows:
        return []
    failed = [(row["at"], _failed(row)) for row in rows]
    newest, found = rows[-1], failed[-1][1]
    return [
        _finding(one, newest["first_day"], newest["last_day"], _since(key, failed))
        for key, one in found.items()
    ]


def _failed(row: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    findings = json.loads(row["findings"])["findings"]
    return {(one["section"], one["name"]): one for one in findings if one["state"] == "failed"}


def _since(key: tuple[str, str], failed: list[tuple[datetime, Any]]) -> datetime:
    """Return the time of the first audit of those that found it one after another, up to the newest."""
    since = failed[-1][0]
    for at, found in reversed(failed):
        if key not in found:
            break
        since = at
    return since


def _finding(one: dict[str, Any], first: date, last: date, since: datetime) -> Finding:
    return Finding(
        AUDIT,
        "warning",
        {"section": one["section"], "finding": one["name"]},
        f"The audit of privacy of {first} to {last} found: {one['told']}",
        since,
        (
            Evidence("What the audit looked at", query=one["evidence"]),
            Evidence("The whole audit", query=f"lastaisle privacy audit --month {first:%Y-%m}"),
        ),
    )
