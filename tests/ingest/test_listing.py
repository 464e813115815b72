"""New, known, growing, moved and vanished files: each row is taken in once, and no file is opened in vain."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import fsspec
import pytest

from lastaisle.errors import SourceError
from lastaisle.ingest.listing import list_source, new_files, places
from lastaisle.ingest.reading.files import SourceFile
from lastaisle.settings import Settings

HOUR = timedelta(hours=1)


def names(files) -> list[str]:
    return [Path(file.url).name for file in files]


def append(path: str, *events: dict) -> None:
    with Path(path).open("a") as log:
        log.writelines(f"{json.dumps(event)}\n" for event in events)


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The addresses of files that were opened, in that order."""
    found = []
    original = SourceFile.open

    def noted(self):
        found.append(Path(self.url).name)
        return original(self)

    monkeypatch.setattr(SourceFile, "open", noted)
    return found


def test_files_taken_in_before_are_not_even_opened(shop, opened):
    shop.write([shop.event(1), shop.event(2)], "a.jsonl")
    first = shop.ingest(str(shop.folder / "*.jsonl"))
    shop.write([shop.event(3)], "b.jsonl")
    opened.clear()
    again = shop.ingest(str(shop.folder / "*.jsonl"))
    assert set(opened) == {"b.jsonl"}
    assert (again.files, again.files_skipped, again.rows_in, again.rows_clean, again.rows_duplicate) == (
        *(2, 1, 3, 1),
        2,
    )
    assert first.batches[0] == again.batches[0]
    assert new_files(str(shop.folder / "*.jsonl"), shop.lake) == []
    assert len(shop.rows("events")) == 3


def test_a_file_that_grew_is_taken_again_for_what_is_new(shop):
    path = shop.write([shop.event(1)])
    shop.ingest(path)
    append(path, shop.event(2))
    report = shop.ingest(path)
    assert (report.rows_in, report.rows_clean, report.rows_duplicate, report.files_skipped) == (2, 1, 1, 0)
    assert shop.ingest(path).files_skipped == 1


def test_a_moved_file_is_opened_again_and_changes_nothing(shop, opened):
    path = Path(shop.write([shop.event(1), shop.event(2)], "a.jsonl"))
    shop.ingest(str(shop.folder / "*.jsonl"))
    before = shop.lake.versions(["raw_events", "quarantine", "batches", "events"])
    path.rename(shop.folder / "z.jsonl")
    opened.clear()
    moved = shop.ingest(str(shop.folder / "*.jsonl"))
    assert (moved.files_skipped, moved.rows_duplicate, set(opened)) == (1, 2, {"z.jsonl"})
    opened.clear()
    assert shop.ingest(str(shop.folder / "*.jsonl")).files_skipped == 1
    assert opened == []
    assert shop.lake.versions(["raw_events", "quarantine", "batches", "events"]) == before


def test_a_file_with_an_old_date_that_is_moved_in_late_is_found(shop):
    shop.write([shop.event(1)], "b.jsonl")
    shop.ingest(str(shop.folder / "*.jsonl"))
    late = shop.write([shop.event(2)], "a.jsonl")
    os.utime(late, (1_000_000_000, 1_000_000_000))
    assert names(new_files(str(shop.folder / "*.jsonl"), shop.lake)) == ["a.jsonl"]


def test_a_file_that_may_still_grow_is_left_for_the_next_run(shop, caplog):
    shop.write([shop.event(1)], "a.jsonl")
    young = shop.write([shop.event(2)], "b.jsonl")
    os.utime(shop.folder / "a.jsonl", (time.time() - 60, time.time() - 60))
    report = shop.ingest(str(shop.folder / "*.jsonl"), settle=timedelta(seconds=10))
    assert (report.rows_in, report.files, report.files_waiting) == (1, 1, [young])
    assert f"left for the next run: {young}" in caplog.text
    os.utime(young, (time.time() - 11, time.time() - 11))
    assert shop.ingest(str(shop.folder / "*.jsonl"), settle=timedelta(seconds=10)).rows_clean == 1


def test_a_wrong_clock_does_not_delay_a_file_for_ever(shop):
    path = shop.write([shop.event(1)])
    os.utime(path, (time.time() + 86_400, time.time() + 86_400))
    assert shop.ingest(path, settle=timedelta(seconds=10)).rows_clean == 1


@pytest.mark.parametrize("part", [0, 1])
def test_a_file_that_grows_while_it_is_read_waits_for_the_next_run(shop, monkeypatch, part):
    """Whatever slices were committed before count as duplicates then."""
    from lastaisle.ingest.batch import EventSteps
    from lastaisle.ingest.options import IngestOptions

    path = shop.write([shop.event(number) for number in range(8)])
    original, parts = EventSteps.take_in, count()

    def growing(steps, lines, batch, **given):
        now = next(parts)

        def more():
            yield from lines
            if now == part:
                append(path, shop.event(100))

        return original(steps, more(), batch, **given)

    options = IngestOptions(gx_sample_rows=0, batch_rows=5)
    with monkeypatch.context() as patch:
        patch.setattr(EventSteps, "take_in", growing)
        report = shop.ingest(path, options=options)
    assert (report.files_waiting, report.files, report.files_failed) == ([path], 0, {})
    assert len(shop.rows("raw_events")) == 5 * part
    done = shop.ingest(path, options=options)
    assert (done.rows_in, done.rows_clean, done.rows_duplicate) == (9, 9 - 5 * part, 5 * part)
    assert len(shop.rows("events")) == 9


@pytest.mark.parametrize("when", ["open", "refuse_changed"])
def test_a_file_that_disappears_is_named_and_the_others_are_ingested(shop, monkeypatch, when):
    gone = shop.write([shop.event(1)], "a.jsonl")
    shop.write([shop.event(2)], "b.jsonl")
    original = getattr(SourceFile, when)

    def vanishing(self):
        if self.url == gone:
            Path(gone).unlink(missing_ok=True)
        return original(self)

    monkeypatch.setattr(SourceFile, when, vanishing)
    report = shop.ingest(str(shop.folder / "*.jsonl"))
    assert list(report.files_failed) == [gone]
    assert (report.files, report.rows_clean, report.files_waiting) == (1, 1, [])
    assert [row["event_type"] for row in shop.rows("events")] == ["item_viewed"]


def test_a_file_with_only_some_batches_ingested_is_not_known(shop, monkeypatch):
    from lastaisle.ingest.batch import EventSteps
    from lastaisle.ingest.options import IngestOptions

    path = shop.write([shop.event(number) for number in range(8)])
    original, parts = EventSteps.take_in, count()

    def failing(steps, lines, batch, **given):
        if next(parts) == 1:
            raise SourceError("the network went away")
        return original(steps, lines, batch, **given)

    options = IngestOptions(gx_sample_rows=0, batch_rows=5)
    with monkeypatch.context() as patch:
        patch.setattr(EventSteps, "take_in", failing)
        assert list(shop.ingest(path, options=options).files_failed) == [path]
    assert names(new_files(path, shop.lake)) == ["log.jsonl"]
    assert shop.ingest(path, options=options).rows_clean == 3
    assert new_files(path, shop.lake) == []


def test_another_format_reads_a_file_again(shop):
    path = shop.write([shop.event(1)])
    shop.ingest(path)
    assert list_source(path, shop.lake, format_name="canonical").new == []
    assert names(list_source(path, shop.lake, format_name="segment").new) == ["log.jsonl"]


def test_unfinished_uploads_are_skipped(shop):
    for name in ("_a.jsonl", ".b.jsonl", "c.jsonl.part", "d.jsonl.inprogress"):
        shop.write([shop.event(1)], name)
    shop.write([shop.event(2)], "e.jsonl")
    assert names(new_files(str(shop.folder), shop.lake)) == ["e.jsonl"]


def test_folders_of_late_uploads_are_listed_and_may_be_missing(shop):
    settings = Settings.of(home=shop.folder, source=f"{shop.folder}/landing/{{day}}")
    until = datetime(2025, 10, 9, 5, tzinfo=UTC)
    folders = places(settings.source_at, until, timedelta(days=2))
    assert [Path(folder).name for folder in folders] == ["2025-10-07", "2025-10-08", "2025-10-09"]
    for day in ("2025-10-07", "2025-10-09"):
        (shop.folder / "landing" / day).mkdir(parents=True)
        shop.write([shop.event(1)], f"landing/{day}/{day}.jsonl")
    shop.write([shop.event(1)], "elsewhere.jsonl")
    assert names(new_files(folders, shop.lake)) == ["2025-10-07.jsonl", "2025-10-09.jsonl"]
    with pytest.raises(SourceError, match="2025-10-08"):
        new_files(folders[1:2], shop.lake)


def test_the_places_of_hours_and_of_a_fixed_folder():
    until = datetime(2025, 10, 9, 1, 30, tzinfo=UTC)
    hourly = Settings.of(source="s3://shop/{hour}").source_at
    assert places(hourly, until, HOUR) == ["s3://shop/2025-10-09T00", "s3://shop/2025-10-09T01"]
    assert places(Settings.of(source="s3://shop/logs").source_at, until, 48 * HOUR) == ["s3://shop/logs"]


def test_a_store_in_memory_is_listed_too(shop):
    store = fsspec.filesystem("memory")
    store.pipe("/listing/a.jsonl", json.dumps(shop.event(1)).encode())
    try:
        assert shop.ingest("memory://listing").rows_clean == 1
        assert new_files("memory://listing", shop.lake) == []
        store.pipe("/listing/a.jsonl", json.dumps(shop.event(2)).encode())
        assert shop.ingest("memory://listing").rows_clean == 1
    finally:
        store.rm("/listing", recursive=True)


def test_a_folder_of_files_that_may_still_grow_waits(shop):
    shop.ingest(shop.write([shop.event(1)], "a.jsonl"))
    young = shop.write([shop.event(2)], "b.jsonl")
    report = shop.ingest(young, settle=timedelta(seconds=10))
    assert (report.files, report.files_waiting) == (0, [young])
