"""A file that is refused as a whole has a row in the lake, and the gate counts it until it is ingested."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lastaisle.errors import RegistryError
from lastaisle.evaluation.quarantine import MissingRows, missing_rows
from lastaisle.ingest.checks.changes import ENOUGH_ROWS, SchemaChangeError
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake.tables import REFUSED_FILES, REFUSED_FILES_SCHEMA

DAY = (datetime(2025, 10, 9, tzinfo=UTC), datetime(2025, 10, 10, tzinfo=UTC))
FOREIGN = "user,thing,when\n" * 20


def lines(shop, numbers) -> bytes:
    return "".join(json.dumps(shop.event(number)) + "\n" for number in numbers).encode()


def damaged(shop, numbers) -> bytes:
    """A gzip file of which bytes in the middle are wrong."""
    packed = bytearray(gzip.compress(lines(shop, numbers)))
    packed[len(packed) // 2 : len(packed) // 2 + 8] = bytes(8)
    return bytes(packed)


def mended(shop, numbers, file: str) -> bytes:
    if file.endswith(".parquet"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist([shop.event(number) for number in numbers]), sink)
        return sink.getvalue().to_pybytes()
    return gzip.compress(lines(shop, numbers)) if file.endswith(".gz") else lines(shop, numbers)


BROKEN = {
    "a file of another format": ("bad.jsonl", lambda shop, numbers: FOREIGN.encode(), "WrongFormatError"),
    "a damaged gzip file": ("bad.jsonl.gz", damaged, "SourceError"),
    "a damaged Parquet file": ("bad.parquet", lambda shop, numbers: b"PAR1 is not all of it", "SourceError"),
    "a packed Parquet file": (
        "bad.jsonl.gz",
        lambda shop, numbers: gzip.compress(b"PAR1 is not all of it"),
        "SourceError",
    ),
}


@pytest.fixture
def logs(shop) -> Path:
    folder = shop.folder / "logs"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(shop, range(30)))
    return folder


def missing(shop) -> MissingRows:
    return missing_rows(shop.lake, *DAY, None)


@pytest.mark.parametrize("name", BROKEN)
def test_a_refused_file_is_counted_until_it_is_mended(shop, logs, name):
    file, content, reason = BROKEN[name]
    (logs / file).write_bytes(content(shop, range(30, 60)))
    assert list(shop.ingest(str(logs)).files_failed) == [str(logs / file)]
    (row,) = shop.rows(REFUSED_FILES)
    assert (row["url"], row["reason"], row["source"]) == (str(logs / file), reason, f"canonical {logs}")
    assert shop.lake.scan(REFUSED_FILES).schema == REFUSED_FILES_SCHEMA
    assert missing(shop) == MissingRows(pytest.approx(0.5), 1), "as many rows as the other file of the source"
    version = shop.lake.version(REFUSED_FILES)
    shop.ingest(str(logs))
    assert shop.lake.version(REFUSED_FILES) == version, "the same file in the same state is one row"
    (logs / file).write_bytes(mended(shop, range(30, 60), file))
    assert shop.ingest(str(logs)).files_failed == {}
    assert missing(shop) == MissingRows(0.0, 0)


def test_a_file_that_is_broken_again_counts_again(shop, logs):
    (logs / "bad.jsonl").write_bytes(FOREIGN.encode())
    shop.ingest(str(logs))
    (logs / "bad.jsonl").write_bytes(lines(shop, range(30, 60)))
    shop.ingest(str(logs))
    assert missing(shop).refused_files == 0
    (logs / "bad.jsonl").write_bytes(FOREIGN.encode() * 2)
    shop.ingest(str(logs))
    assert missing(shop).refused_files == 1
    assert len(shop.rows(REFUSED_FILES)) == 2


def test_a_file_that_is_taken_in_as_it_is_counts_no_longer(shop, logs):
    (logs / "bad.jsonl").write_bytes(FOREIGN.encode())
    shop.ingest(str(logs))
    assert missing(shop).refused_files == 1
    shop.options = IngestOptions(gx_sample_rows=0, accept_schema_change=True)
    report = shop.ingest(str(logs))
    assert report.rows_quarantined == 20
    assert missing(shop) == MissingRows(pytest.approx(20 / 50), 0), "its rows lie in quarantine now"


def test_changed_fields_refuse_the_file_and_are_counted(shop, logs):
    (logs / "a.jsonl").write_bytes(lines(shop, range(ENOUGH_ROWS)))
    shop.ingest(str(logs))
    changed = [shop.event(number, price=None) for number in range(ENOUGH_ROWS, 2 * ENOUGH_ROWS)]
    (logs / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    with pytest.raises(SchemaChangeError):
        shop.ingest(str(logs))
    assert [row["reason"] for row in shop.rows(REFUSED_FILES)] == ["SchemaChangeError"]
    assert missing(shop).refused_files == 1


def test_a_file_that_grows_while_it_is_read_is_not_refused(shop, logs, monkeypatch):
    from lastaisle.ingest.reading.files import FileChangedError, SourceFile

    def change(file):
        raise FileChangedError("it changed")

    monkeypatch.setattr(SourceFile, "refuse_changed", change)
    assert shop.ingest(str(logs)).files_waiting
    assert shop.lake.version(REFUSED_FILES) is None


def test_the_row_holds_no_line_of_the_file(shop, logs):
    (logs / "bad.csv").write_text("event_time,product_id,anna@example.org\n" + "1,2,3\n" * 20)
    report = shop.ingest(str(logs), "rees46")
    reason = report.files_failed[str(logs / "bad.csv")]
    assert "the header has no column for" in reason
    assert "anna" not in reason
    assert "anna" not in str(shop.rows(REFUSED_FILES))


def test_a_run_that_ended_before_it_recorded_the_refusal_is_run_again(shop, logs, monkeypatch):
    (logs / "bad.jsonl").write_bytes(FOREIGN.encode())

    def fail(*_, **__):
        raise RegistryError("the process was killed")

    with monkeypatch.context() as patched:
        patched.setattr("lastaisle.ingest.refused._record", fail)
        with pytest.raises(RegistryError):
            shop.ingest(str(logs))
    shop.ingest(str(logs))
    assert missing(shop).refused_files == 1


def test_files_of_a_simulated_time_are_counted_at_that_time(shop, logs):
    """The time of an ingestion may be given, and then lies long before the time of the file's row."""
    (logs / "bad.jsonl").write_bytes(FOREIGN.encode())
    for hour in range(2):
        shop.ingest(str(logs), now=DAY[1] + timedelta(hours=hour))
        assert missing(shop).refused_files == 1
    (logs / "bad.jsonl").write_bytes(lines(shop, range(30, 60)))
    shop.ingest(str(logs), now=DAY[1] + timedelta(hours=3))
    assert missing(shop).refused_files == 0
