"""Rows expire by the age that their contract names: an own time, or that of a batch or an exposure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from data_contracts.retention import retention_of
from lastaisle.lake import Lake
from lastaisle.lake.expiry import Ages, Expiry, days_with_expired_rows
from lastaisle.lake.maintenance import MaintenancePolicy, maintain
from lastaisle.lake.tables import ABANDONMENTS_SCHEMA, BATCHES_SCHEMA, CONSENTS_SCHEMA
from lastaisle.settings import Settings, SettingsError

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
POLICY = MaintenancePolicy()
OLD, EDGE, YOUNG = (NOW - timedelta(days=days) for days in (402, 400, 10))
DAY = date(2014, 4, 1)


def add(lake: Lake, name: str, *rows: dict, schema: pa.Schema | None = None) -> None:
    kinds = schema or pa.schema([pa.field(key, _kind(value)) for key, value in rows[0].items()])
    lake.append(name, pa.Table.from_pylist(list(rows), kinds), key=f"{name} {lake.version(name)}")


def _kind(value: object) -> pa.DataType:
    if isinstance(value, datetime):
        return pa.timestamp("us", "UTC")
    return pa.date32() if isinstance(value, date) else pa.string()


def expired(lake: Lake, name: str, now: datetime = NOW) -> int:
    dry = maintain(lake, name, POLICY, now=now, dry_run=True)
    real = maintain(lake, name, POLICY, now=now)
    again = maintain(lake, name, POLICY, now=now)
    assert (dry.rows_deleted, again.rows_deleted) == (real.rows_deleted, 0)
    return real.rows_deleted


def kept(lake: Lake, name: str, column: str) -> list:
    return sorted(lake.scan(name, [column])[column].to_pylist())


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.fixture
def events(lake):
    """One event of each batch, on one old day; nobody knows one of the batches."""
    for name, started in (("old", OLD), ("edge", EDGE), ("young", YOUNG)):
        add(lake, "batches", {"batch_id": name, "started_at": started}, schema=BATCHES_SCHEMA)
    for name in ("old", "edge", "young", "unknown"):
        add(lake, "events", {"event_id": name, "batch_id": name, "event_date": DAY})
    return lake


def test_events_expire_by_the_ingestion_of_their_batch(events):
    assert expired(events, "events") == 1
    assert kept(events, "events", "event_id") == ["edge", "unknown", "young"]
    assert days_with_expired_rows(events, "events", [DAY, date(2014, 4, 2)]) == {DAY}


def test_the_ages_count_events_whose_batch_is_unknown(events):
    expiry = Expiry.of(retention_of("events"), 400, NOW, events.version("events"))
    assert expiry.ages(events) == Ages(rows=4, oldest=OLD, expired=1, unknown=1)


def test_no_event_expires_while_there_are_no_batches(lake):
    add(lake, "events", {"event_id": "a", "batch_id": "b", "event_date": DAY})
    assert expired(lake, "events") == 0


def test_outcomes_expire_with_their_exposures(lake):
    add(lake, "outcomes", {"exposure_id": "first", "event_date": DAY})
    assert expired(lake, "outcomes") == 0, "there is no table of exposures"
    for name, ingested in (("first", OLD), ("second", YOUNG)):
        add(lake, "exposures", {"exposure_id": name, "ingested_at": ingested, "event_date": DAY})
    add(
        lake,
        "outcomes",
        {"exposure_id": "second", "event_date": DAY},
        {"exposure_id": "gone", "event_date": DAY},
    )
    assert expired(lake, "outcomes") == 2
    assert kept(lake, "outcomes", "exposure_id") == ["second"]
    assert expired(lake, "exposures") == 1


def test_rows_of_a_table_without_partitions_expire(lake):
    rows = [{"session_id": name, "noticed_at": at} for name, at in (("old", OLD), ("young", YOUNG))]
    add(lake, "abandonments", *rows, schema=ABANDONMENTS_SCHEMA)
    assert expired(lake, "abandonments") == 1
    assert kept(lake, "abandonments", "session_id") == ["young"]
    assert lake.scan("abandonments").schema == ABANDONMENTS_SCHEMA
    lake.append("abandonments", ABANDONMENTS_SCHEMA.empty_table(), key="abandonments None")
    assert kept(lake, "abandonments", "session_id") == ["young"], "the key of the append is still known"


def test_the_newest_refusal_of_a_shopper_never_expires(lake):
    def decision(user, session, granted, days):
        at = NOW - timedelta(days=days)
        base = {
            "purpose": "personalization",
            "at": at,
            "recorded_at": at,
            "key_version": 1,
            "source": "event",
        }
        return {"user_id": user, "session_id": session, "granted": granted, **base}

    rows = [
        decision("anna", "visit", True, 3000),
        decision("anna", "visit", False, 2000),
        decision("ben", "visit", False, 2000),
        decision("ben", "visit", True, 20),
        decision(None, "visit", False, 2000),
    ]
    add(lake, "consents", *rows, schema=CONSENTS_SCHEMA)
    assert expired(lake, "consents") == 3
    left = lake.scan("consents", ["user_id", "granted"]).to_pylist()
    assert sorted(left, key=lambda row: row["user_id"]) == [
        {"user_id": "anna", "granted": False},
        {"user_id": "ben", "granted": True},
    ]


def test_settings_replace_the_days_of_the_contract(events):
    settings = Settings.from_env({"LASTAISLE_KEEP_DAYS": '{"events": 5, "exposures": 0}'})
    policy = MaintenancePolicy.from_settings(settings)
    assert [policy.days_of(name) for name in ("events", "exposures", "outcomes")] == [5, None, 400]
    assert maintain(events, "events", policy, now=NOW).rows_deleted == 3


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('{"event": 5}', "LASTAISLE_KEEP_DAYS names event: name tables of the lake"),
        ('{"raw_events": 5}', "LASTAISLE_KEEP_RAW_DAYS states the days of raw_events"),
        ('{"events": -1}', "events should have a whole number of days from 0 to 36500, received -1"),
        ('{"events": "5"}', "received '5'"),
        ("5", "no object"),
    ],
)
def test_wrong_days_are_refused(value, told):
    with pytest.raises(SettingsError, match=told):
        MaintenancePolicy.from_settings(Settings.from_env({"LASTAISLE_KEEP_DAYS": value}))


@pytest.mark.parametrize(
    ("table", "method", "when"),
    [("events", "replace_days", "after"), ("abandonments", "overwrite", "before")],
)
def test_a_killed_expiry_is_run_again(events, tmp_path, table, method, when):
    rows = [{"session_id": name, "noticed_at": at} for name, at in (("old", OLD), ("young", YOUNG))]
    add(events, "abandonments", *rows, schema=ABANDONMENTS_SCHEMA)
    killed = subprocess.run(
        [sys.executable, __file__, events.url, table, method, when],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert maintain(events, table, POLICY, now=NOW).rows_deleted == (1 if when == "before" else 0)
    assert len(events.scan(table)) == {"events": 3, "abandonments": 1}[table]


if __name__ == "__main__":
    from tests.lake.keeping import die

    folder, table, *rest = sys.argv[1:]
    die(Lake, *rest)
    maintain(Lake(Path(folder)), table, POLICY, now=NOW)
