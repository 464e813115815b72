"""Tombstones: rows of erased shoppers that are read again are ignored, and counted; all other rows stay."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.reading.files import list_files
from lastaisle.ingest.run import ingest_file
from lastaisle.ingest.sources import adapter
from lastaisle.lake.tables import ERASED
from lastaisle.privacy.domains import LakeKey
from lastaisle.privacy.erased import PSEUDONYM, RAW, SESSION, USER, Tombstones, digest, mark
from lastaisle.privacy.keys import KeyFileError, PseudonymKeys

BEFORE = datetime(2025, 10, 9, 12, 30, tzinfo=UTC)


def erase_from_lake(shop, *users):
    """Leave the shop without any row, as after an erasure of all its shoppers."""
    for table in ("raw_events", "events", "quarantine"):
        dataset = shop.lake.dataset(table)
        if dataset is not None:
            shop.lake.overwrite(table, dataset.schema.empty_table(), key=f"erase {table} of {users}")


def test_a_log_that_is_read_again_brings_no_erased_shopper_back(shop):
    lines = [shop.event(1), shop.event(2), shop.event(3)]
    shop.ingest(shop.write(lines))
    mark(shop.lake, shop.keys, ["user-2"], BEFORE, "r1")
    erase_from_lake(shop)
    again = shop.ingest(shop.write([*lines, shop.event(4)], "again.jsonl"))
    assert (again.rows_in, again.rows_clean, again.rows_ignored) == (4, 3, 1)
    assert again.ignored_by_reason == {"erased": 1}
    assert {row["user_id"] for row in shop.rows("raw_events")} == {"user-1", "user-3", "user-4"}
    assert len(shop.rows("events")) == 3


def test_what_an_erased_shopper_does_later_is_kept(shop):
    shop.ingest(shop.write([shop.event(1)]))
    mark(shop.lake, shop.keys, ["user-1"], BEFORE, "r1")
    erase_from_lake(shop)
    times = ("2025-10-09T12:30:00Z", "2025-10-09T12:30:01Z")
    lines = [
        shop.event(number, user_id="user-1", occurred_at=time, received_at=None)
        for number, time in enumerate(times, 5)
    ]
    report = shop.ingest(shop.write(lines, "later.jsonl"))
    assert (report.rows_clean, report.rows_ignored) == (1, 1), "the moment itself is erased"
    assert [row["event_id"] for row in shop.rows("raw_events")] == ["event-6"]


def test_rows_of_an_erased_session_that_name_no_shopper_are_ignored_and_those_of_others_stay(shop):
    lines = [shop.event(1, session_id="s"), shop.event(2, session_id="s", user_id=None)]
    lines += [shop.event(3, session_id="t", user_id="other"), shop.event(4, session_id="t", user_id=None)]
    lines += [shop.event(5, session_id="t", user_id="user-1")]
    ordered = {"event_type": "order_completed", "order_id": "o"}
    lines += [shop.event(6, session_id="s", user_id="user-1", **ordered)]
    lines += [shop.event(7, session_id="u", user_id=None, **ordered)]
    assert shop.ingest(shop.write(lines)).rows_clean == 7
    mark(shop.lake, shop.keys, ["user-1"], BEFORE, "r1")
    erase_from_lake(shop)
    report = shop.ingest(shop.write([*lines, shop.event(9)], "again.jsonl"))
    assert report.ignored_by_reason == {"erased": 5}
    kept = {(row["event_id"], row["user_id"]) for row in shop.rows("raw_events")}
    assert kept == {("event-3", "other"), ("event-4", None), ("event-9", "user-9")}, "t is shared"


def test_a_broken_row_of_an_erased_shopper_does_not_reach_quarantine(shop):
    lines = [shop.event(1), shop.event(2, user_id="user-1", price=-4), shop.event(3, price=-4)]
    lines.append(shop.event(4, user_id="user-1", occurred_at="yesterday"))
    shop.ingest(shop.write(lines))
    assert len(shop.rows("quarantine")) == 3
    mark(shop.lake, shop.keys, ["user-1"], BEFORE, "r1")
    erase_from_lake(shop)
    report = shop.ingest(shop.write([*lines, shop.event(9)], "again.jsonl"))
    assert (report.rows_in, report.rows_clean, report.rows_quarantined, report.rows_ignored) == (5, 1, 1, 3)
    assert [row["source_row"] for row in shop.rows("quarantine")] == [3]
    assert "user-1" not in repr(shop.rows("quarantine"))


def test_rows_are_known_after_a_rotation_and_by_each_version_of_the_key(shop):
    shop.ingest(shop.write([shop.event(1)]))
    mark(shop.lake, shop.keys, ["user-1"], BEFORE, "r1")
    rotated = shop.keys.rotate()
    mark(shop.lake, rotated, ["user-2"], BEFORE, "r2")
    assert {row["key_version"] for row in shop.rows(ERASED)} == {1, 2}
    erase_from_lake(shop)
    shop.keys = rotated
    report = shop.ingest(shop.write([shop.event(1), shop.event(2), shop.event(3)], "again.jsonl"))
    assert (report.rows_clean, report.rows_ignored) == (1, 2)


def test_tombstones_name_nobody_and_each_request_writes_them_once(shop):
    shop.ingest(shop.write([shop.event(1)]))
    assert mark(shop.lake, shop.keys, ["user-1", "user-1"], BEFORE, "r1")
    assert not mark(shop.lake, shop.keys, ["user-1"], BEFORE + timedelta(days=1), "r1")
    rows = shop.rows(ERASED)
    key = LakeKey(1, shop.keys.key, shop.keys.fingerprint())
    pseudonyms = {USER: key.pseudonym(USER, "user-1"), SESSION: key.pseudonym(SESSION, "session-1")}
    texts = {USER: "user-1", SESSION: "session-1"}
    expected = {digest(shop.keys.key, texts[name], name, RAW) for name in texts}
    expected |= {digest(shop.keys.key, pseudonyms[name], name, PSEUDONYM) for name in texts}
    assert {row["digest"] for row in rows} == expected
    assert len(rows) == len(expected) == 4
    assert {row["before"] for row in rows} == {BEFORE}
    assert not {"user-1", "session-1", *pseudonyms.values()} & {row["digest"] for row in rows}


def test_without_a_key_rows_are_refused_once_anybody_was_erased(shop):
    file = list_files(shop.write([shop.event(1)])).files[0]
    job = Ingestion(shop.lake, adapter("canonical"), shop.contracts["contract"], shop.options)
    ingest_file(file, job, source="test")
    mark(shop.lake, shop.keys, ["user-1"], BEFORE, "r1")
    file = list_files(shop.write([shop.event(1), shop.event(2)], "again.jsonl")).files[0]
    with pytest.raises(KeyFileError, match="without the pseudonym key nobody can tell their rows"):
        ingest_file(file, job, source="test")
    (report,) = ingest_file(file, replace(job, tombstone_keys=shop.keys), source="test")
    assert report.ignored_by_reason == {"erased": 1}


def test_tombstones_of_a_key_that_is_not_here_are_told(shop, caplog):
    mark(shop.lake, shop.keys, ["user-1"], BEFORE, "r1")
    other = PseudonymKeys(2, {2: b"k" * 32})
    with caplog.at_level(logging.WARNING):
        found = Tombstones.read(shop.lake, other)
    assert found.secrets == {}
    assert (
        "3 of 3 tombstones were made with versions 1 of the pseudonym key, which are not here" in caplog.text
    )
    shop.ingest(shop.write([shop.event(1)]))  # nobody can tell this row
    assert Tombstones.read(shop.lake, shop.keys).secrets.keys() == {1}


def test_an_erasure_that_begins_while_a_batch_is_written_is_seen_by_the_batch(shop, monkeypatch):
    """Tombstones come after the batch looked for them, and before it writes its rows."""
    shop.ingest(shop.write([shop.event(7)]))
    append, marked = type(shop.lake).append, []

    def late(lake, name, data, **options):
        if name == "raw_events" and not marked:
            marked.append(1)
            mark(shop.lake, shop.keys, ["user-1"], BEFORE, "r1")
        return append(lake, name, data, **options)

    monkeypatch.setattr(type(shop.lake), "append", late)
    report = shop.ingest(shop.write([shop.event(1), shop.event(2)], "during.jsonl"))
    assert (report.rows_clean, report.ignored_by_reason) == (1, {"erased": 1})
    assert {row["user_id"] for row in shop.rows("raw_events")} == {"user-7", "user-2"}
