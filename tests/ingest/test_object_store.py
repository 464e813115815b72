"""Logs and lake on a real S3 API, served locally."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import time

import fsspec
import pytest
import s3fs

from lastaisle.config import Settings
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle_airflow.partitions import source_of


@pytest.fixture
def s3(monkeypatch):
    """A served S3 with one bucket, `shop`, that the environment points at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        s3fs.S3FileSystem.clear_instance_cache()  # those of another test know another port
        store = fsspec.filesystem("s3")
        store.mkdir("shop")
        yield store
    finally:
        server.terminate()
        server.wait(20)


def test_logs_are_ingested_from_a_bucket_into_a_lake_in_a_bucket(s3, tmp_path):
    event = {"event_type": "item_viewed", "occurred_at": "2025-10-09T12:00:00Z", "session_id": "s1"}
    lines = [json.dumps({**event, "event_id": f"e{number}", "item_id": "i1"}) for number in range(5)]
    s3.pipe("shop/logs/2025-10-09/a.jsonl", "\n".join([*lines, "{broken"]).encode())
    lake = Lake("s3://shop/lake")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", lake_url=lake.url)
    first = ingest("s3://shop/logs/2025-10-09", "canonical", lake, keys)
    assert (first.rows_in, first.rows_clean, first.rows_quarantined) == (6, 5, 1)
    before = lake.versions(["raw_events", "quarantine", "events"])
    second = ingest("s3://shop/logs/2025-10-09", "canonical", lake, keys)
    assert (second.rows_in, second.rows_duplicate, second.files_skipped) == (6, 6, 1)
    assert lake.versions(["raw_events", "quarantine", "events"]) == before
    assert lake.scan("events").num_rows == 5


def test_a_day_of_segments_own_files_is_ingested_from_where_segment_puts_them(s3, tmp_path):
    """Segment's files are segment-logs/<source>/<the day's beginning in ms>/<name>.gz, some an hour."""

    def packed(numbers, day):
        call = {"type": "track", "event": "Product Viewed", "userId": "u", "properties": {"product_id": "p"}}
        stamps = dict.fromkeys(("timestamp", "receivedAt"), f"{day}T07:00:00.000Z")
        lines = [json.dumps({**call, **stamps, "messageId": f"m{number}"}) for number in numbers]
        return gzip.compress("\n".join(lines).encode() + b"\n")

    folder = "shop/segment-logs/a1B2c3/"
    s3.pipe(f"{folder}1432684800000/1432710000000.a.gz", packed(range(3), "2015-05-27"))
    s3.pipe(f"{folder}1432684800000/1432713600000.b.gz", packed(range(2, 5), "2015-05-27"))
    s3.pipe(f"{folder}1432771200000/1432796400000.a.gz", packed(range(5, 9), "2015-05-28"))
    settings = Settings(home=tmp_path, source="s3://shop/segment-logs/a1B2c3/{day_ms}")
    lake = Lake(tmp_path / "lake")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", lake_url=lake.url)
    report = ingest(source_of("2015-05-27", settings), "segment", lake, keys)
    assert (report.rows_in, report.rows_clean, report.rows_duplicate) == (6, 5, 1)
    assert {str(row["occurred_at"])[:10] for row in lake.scan("events").to_pylist()} == {"2015-05-27"}
