"""The rule audit: what failed in the newest audit of privacy is an alert until it is mended."""

import json
from datetime import timedelta

from lastaisle.lake import tables

from . import conftest
from .conftest import NOW

conftest.SCHEMAS[tables.AUDITS] = tables.AUDITS_SCHEMA
MONTH = timedelta(days=30)


def add(world, at, **states):
    findings = [
        {"section": "keys", "name": name, "state": state, "told": f"{name} is old.", "evidence": "see"}
        for name, state in states.items()
    ]
    days = {"first_day": (at - MONTH).date(), "last_day": at.date()}
    row = {"audit_id": f"{at}", "at": at, "failed": 0, "findings": json.dumps({"findings": findings})}
    world.add(tables.AUDITS, row | days)


def test_what_failed_in_the_newest_audit_is_an_alert_since_it_first_failed(world):
    assert world.check("audit") == {}
    add(world, NOW - 3 * MONTH, key="failed", file="ok")
    add(world, NOW - 2 * MONTH, key="ok", file="failed")
    add(world, NOW - MONTH, key="failed", file="failed")
    add(world, NOW, key="failed", file="not known")
    (found,) = world.check("audit").values()
    assert found.since == NOW - MONTH
    assert found.summary.endswith("found: key is old.")
    assert found.scope == {"section": "keys", "finding": "key"}


def test_an_audit_without_failures_ends_the_alert(world):
    add(world, NOW - MONTH, key="failed")
    assert len(world.check("audit")) == 1
    add(world, NOW, key="ok")
    assert world.check("audit") == {}
