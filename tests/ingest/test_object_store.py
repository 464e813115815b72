"""Logs and lake on a real S3 API, served locally."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time

import fsspec
import pytest

from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys


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
        store = fsspec.filesystem("s3", skip_instance_cache=True)
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
