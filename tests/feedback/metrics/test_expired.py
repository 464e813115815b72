"""The figures of a day stay when its outcomes and its events expire."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.lake.maintenance import maintain
from lastaisle.lake.tables import BATCHES_SCHEMA, EVENTS, EXPOSURES, OUTCOMES, TIMESTAMP

from .conftest import at

NOW = at(24 * 500)
AGES = pa.schema([("exposure_id", pa.string()), ("ingested_at", TIMESTAMP), ("event_date", pa.date32())])


@pytest.fixture
def counted(shop):
    """A day with an exposure that was ingested 500 days ago, and a day with one of yesterday."""
    old, new = shop.shown(1, clicks=1), shop.shown(24 * 100, clicks=1)
    rows = [
        {"exposure_id": old, "ingested_at": at(2), "event_date": at(1).date()},
        {"exposure_id": new, "ingested_at": NOW - timedelta(days=1), "event_date": at(24 * 100).date()},
    ]
    shop.lake.append(EXPOSURES, pa.Table.from_pylist(rows, AGES), key="ages")
    shop.count()
    return shop


def test_a_day_keeps_its_figures_when_its_outcomes_expire(counted):
    before = counted.rows()
    assert maintain(counted.lake, OUTCOMES, now=NOW).rows_deleted == 1
    counted.outcomes.pop("x00000")
    assert counted.count().changed_days == ()
    assert counted.count(days=[at(1).date()]).changed_days == ()
    assert counted.rows() == before


def test_a_day_whose_outcomes_were_erased_loses_its_figures(counted):
    counted.outcomes.pop("x00000")
    assert counted.count().changed_days == (at(1).date(),)
    assert {row["event_date"] for row in counted.rows()} == {at(24 * 100).date()}


def test_a_day_keeps_its_figures_when_its_events_expire(shop):
    shop.shown(1)
    shop.event(2, "order_completed", price=5.0, currency="EUR", order_id="o1", item_id="i1")
    shop.event(24 * 100, "page_viewed", session_id="other")
    shop.count()
    before = shop.rows()
    assert sum(row["sessions_ordered"] or 0 for row in before) == 1
    stored = shop.lake.scan(EVENTS)
    batches = ["old" if day == at(2).date() else "new" for day in stored["event_date"].to_pylist()]
    days = sorted(set(stored["event_date"].to_pylist()))
    shop.lake.overwrite(EVENTS, stored.append_column("batch_id", pa.array(batches)), key="with batches")
    started = [{"batch_id": "old", "started_at": at(2)}, {"batch_id": "new", "started_at": NOW}]
    shop.lake.append("batches", pa.Table.from_pylist(started, BATCHES_SCHEMA), key="batches")
    assert len(days) == 2
    assert shop.count().changed_days == ()
    assert maintain(shop.lake, EVENTS, now=NOW).rows_deleted == 1
    assert shop.count().changed_days == ()
    assert shop.rows() == before
