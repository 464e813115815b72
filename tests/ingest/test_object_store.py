"""Logs and lake on a real S3 API, served locally."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import textwrap

import boto3
import pytest

from lastaisle.ingest.listing import new_files
from lastaisle.ingest.reading.files import SourceFile
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.partitions import source_of


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


def test_a_day_of_segments_files_is_ingested_from_segments_folders(s3, tmp_path):
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
    settings = Settings.of(home=tmp_path, source="s3://shop/segment-logs/a1B2c3/{day_ms}")
    lake = Lake(tmp_path / "lake")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", lake_url=lake.url)
    report = ingest(source_of("2015-05-27", settings), "segment", lake, keys)
    assert (report.rows_in, report.rows_clean, report.rows_duplicate) == (6, 5, 1)
    assert {str(row["occurred_at"])[:10] for row in lake.scan("events").to_pylist()} == {"2015-05-27"}


def line(number: int) -> bytes:
    event = {"event_type": "item_viewed", "occurred_at": "2025-10-09T12:00:00Z", "session_id": "s1"}
    return json.dumps({**event, "event_id": f"e{number}", "item_id": "i1"}).encode() + b"\n"


def test_objects_are_ingested_once_unless_they_are_replaced(s3, tmp_path, monkeypatch):
    """Whoever writes them, and whatever this process has listed before."""
    lake = Lake(tmp_path / "lake")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", lake_url=lake.url)
    other = boto3.client("s3")
    opened = []
    original = SourceFile.open
    monkeypatch.setattr(SourceFile, "open", lambda self: opened.append(self.url) or original(self))

    def found() -> tuple[int, int, set[str]]:
        opened.clear()
        report = ingest("s3://shop/logs", "canonical", lake, keys)
        return report.rows_clean, report.rows_duplicate, {url.rpartition("/")[2] for url in opened}

    other.put_object(Bucket="shop", Key="logs/b.jsonl", Body=line(1))
    assert found() == (1, 0, {"b.jsonl"})
    other.put_object(Bucket="shop", Key="logs/a.jsonl", Body=line(2))
    assert found() == (1, 1, {"a.jsonl"})
    other.put_object(Bucket="shop", Key="logs/b.jsonl", Body=line(1) + line(3))
    assert found() == (1, 2, {"b.jsonl"})
    assert found() == (0, 3, set())


def test_an_upload_in_parts_appears_only_when_it_is_complete(s3, tmp_path):
    lake = Lake(tmp_path / "lake")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", lake_url=lake.url)
    other = boto3.client("s3")
    upload = {"Bucket": "shop", "Key": "logs/large.jsonl"}
    upload["UploadId"] = other.create_multipart_upload(**upload)["UploadId"]
    bodies = [b"".join(map(line, range(60_000))), b"".join(map(line, range(60_000, 60_010)))]
    parts = [
        {"PartNumber": n, "ETag": other.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    other.put_object(Bucket="shop", Key="logs/small.jsonl", Body=line(70_000))
    assert [file.url for file in new_files("s3://shop/logs", lake)] == ["s3://shop/logs/small.jsonl"]
    assert ingest("s3://shop/logs", "canonical", lake, keys).rows_clean == 1
    other.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    report = ingest("s3://shop/logs", "canonical", lake, keys)
    assert (report.rows_clean, report.rows_duplicate) == (60_010, 1)


# gcsfs reads at import whether to speak gRPC, which the emulator does not: so in a process of its own.
GOOGLE = textwrap.dedent("""
    import sys

    import fsspec

    from lastaisle.ingest.listing import new_files
    from lastaisle.ingest.run import ingest
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

    folder, *bodies = sys.argv[1:]
    options = {"token": "anon", "project": "shop"}
    store = fsspec.filesystem("gs", **options)
    lake = Lake(f"{folder}/lake")
    keys = PseudonymKeys.load_or_create(f"{folder}/keys.json", lake_url=lake.url)
    for body in bodies:
        store.pipe("shop/logs/a.jsonl", body.encode())
        for _ in range(2):
            report = ingest("gs://shop/logs", "canonical", lake, keys, source_options=options)
            print(report.rows_clean, report.rows_duplicate, report.files_skipped)
    print(*new_files("gs://shop/logs", lake, options=options))
""")


@pytest.mark.service
def test_logs_in_google_cloud_storage_are_ingested_once_unless_they_are_replaced(tmp_path):
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="shop")
    server.start()
    try:
        bodies = [line(1).decode(), (line(1) + line(2)).decode()]
        done = subprocess.run(
            [sys.executable, "-c", GOOGLE, str(tmp_path), *bodies],
            env=os.environ
            | {
                "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.stop()
    assert done.stdout.split("\n") == ["1 0 0", "0 1 1", "1 1 0", "0 2 1", "", ""], done.stderr
