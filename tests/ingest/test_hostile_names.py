"""A name from outside writes no line of its own into a log or a message, and its file is read."""

from __future__ import annotations

import json
import logging
import os

import fsspec
import pytest
from typer.testing import CliRunner

from lastaisle.cli import app
from lastaisle.cli.failures import describe
from lastaisle.errors import SourceError
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.reading.files import NothingFoundError, list_files
from lastaisle.ingest.run import ingest
from lastaisle.ingest.summary import name_most
from lastaisle.lake import Lake
from lastaisle.lake.tables import RAW_EVENTS
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.telemetry.shown import one_line
from lastaisle_airflow.tasks.batches import chain_name
from lastaisle_airflow.tasks.ingestion import describe_run

FAKE = "a\nERROR fake.jsonl"
SHOWN = "a\\nERROR fake.jsonl"
#: Names with a sign that begins a line, moves the cursor, or hides how the name goes on.
HOSTILE = [
    FAKE,
    "a\rERROR fake.jsonl",
    "a\r\nERROR fake.jsonl",
    "a\x0bERROR fake.jsonl",
    "a\x0cERROR fake.jsonl",
    "a\x1b[2J\x1b[31mERROR fake.jsonl",
    "a\x07\x08\x7fERROR fake.jsonl",
    "a\x85ERROR fake.jsonl",
    "a\x9b31mERROR fake.jsonl",
    "a\u2028ERROR fake.jsonl",
    "a\u2029ERROR fake.jsonl",
    "a\u202elnosj.ekaf.jsonl",
    "a\u2066b\u2069.jsonl",
]
EVENT = {
    "event_type": "page_viewed",
    "session_id": "s1",
    "event_id": "1",
    "occurred_at": "2025-10-09T12:00:00Z",
}


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def harmless(text):
    """Tell whether a text has one line, and no sign that a terminal obeys."""
    return len(text.splitlines()) == 1 and not set(text) & set("".join(HOSTILE)) - set(
        map(chr, range(32, 127))
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_in_one_line(name):
    shown = one_line(name)
    assert harmless(shown)
    assert shown.encode("ascii").decode("unicode_escape") == name, "no part of the name is lost"


@pytest.mark.parametrize(
    "name", ["plain.jsonl", "Ünïcödé 2025.jsonl", "日本語.csv", "back\\slash.csv", "👩‍👧.csv", ""]
)
def test_other_names_stay_as_they_are(name):
    assert one_line(name) == name


def take_in(folder, tmp_path, name="canonical"):
    lake = Lake(tmp_path / "lake")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", environ={})
    return ingest(str(folder), name, lake, keys, options=IngestOptions(gx_sample_rows=0)), lake


def test_files_of_such_names_are_read_and_every_log_message_is_one_line(logs, tmp_path, caplog):
    for number, name in enumerate(HOSTILE):
        (logs / name).write_text(json.dumps({**EVENT, "event_id": str(number)}) + "\n")
        (logs / f"broken {name}.gz").write_bytes(b"\x1f\x8b no more of it")
        (logs / f"{name}.part").write_text("{}\n")
        (logs / f"empty {name}").touch()
        (logs / f"link {name}").symlink_to(tmp_path / "nothing")
    with caplog.at_level(logging.WARNING):
        report, lake = take_in(logs, tmp_path)
    n = len(HOSTILE)
    assert report.rows_in == report.rows_clean == n
    read = lake.scan(RAW_EVENTS, columns=["source_file"]).to_pylist()
    assert {row["source_file"] for row in read} == {str(logs / name) for name in HOSTILE}
    assert len(report.files_failed) == n and len(report.files_passed_over) == 3 * n
    told = [record.getMessage() for record in caplog.records]
    told += [*report.files_failed, *report.files_failed.values(), *report.files_passed_over]
    assert len(told) > 5 * n
    assert not [text for text in told if not harmless(text)]


def test_a_place_where_nothing_is_read_is_named_in_one_line(logs):
    (logs / f"{FAKE}.part").write_text("{}\n")
    with pytest.raises(NothingFoundError) as refused:
        list_files(str(logs)).refuse_nothing(f"{logs}/{FAKE}")
    assert harmless(str(refused.value)) and SHOWN in str(refused.value)


def test_a_folder_of_such_a_name_that_cannot_be_listed_is_named_in_one_line(logs, monkeypatch):
    (logs / FAKE).mkdir()
    scandir = os.scandir

    def refuse(path):
        if "fake" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    failed = list_files(str(logs)).failed
    assert [harmless(address) for address in failed] == [True]


def test_objects_of_such_names_are_named_in_one_line():
    store = fsspec.filesystem("memory")
    store.pipe(f"/hostile/{FAKE}.part", b"{}")
    store.pipe(f"/hostile/_{FAKE}/x.jsonl", b"{}")
    store.pipe(f"/hostile/empty {FAKE}", b"")
    store.pipe(f"/hostile/{FAKE}", b"{}")
    found = list_files("memory://hostile")
    assert len(found.passed_over) == 3
    assert all(map(harmless, found.passed_over))
    (file,) = found.files
    assert FAKE in file.url and harmless(file.shown)


def test_the_wrong_format_and_a_changed_file_are_named_in_one_line(logs, tmp_path):
    (logs / FAKE).write_text("no JSON at all\n" * 20)
    report, _ = take_in(logs, tmp_path, "yoochoose")
    (message,) = report.files_failed.values()
    assert harmless(message) and SHOWN in message
    (file,) = list_files(str(logs)).files
    (logs / FAKE).write_text("{}\n")
    with pytest.raises(SourceError) as changed:
        file.refuse_changed()
    (logs / FAKE).unlink()
    with pytest.raises(SourceError) as gone:
        file.refuse_changed()
    assert harmless(str(changed.value)) and harmless(str(gone.value))


def test_the_tasks_name_such_files_and_reasons_in_one_line():
    assert chain_name([{"url": f"s3://shop/logs/{FAKE}"}]) == SHOWN
    lines = describe_run([1], [], {one_line(FAKE): "cannot be read"}, {f"it is {FAKE}": 2})
    assert all(map(harmless, lines))
    assert harmless(name_most({"unknown event 'x\nERROR'": 3}))


def test_the_command_line_names_such_a_file_in_one_line(logs, tmp_path, monkeypatch):
    (logs / FAKE).write_text(json.dumps(EVENT) + "\n")
    (logs / f"broken {FAKE}.gz").write_bytes(b"\x1f\x8b no more of it")
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "500")
    ended = CliRunner().invoke(app, ["ingest", "--source", str(logs)])
    assert ended.exit_code == 1
    assert not [line for line in ended.output.splitlines() if line.strip().startswith("ERROR fake")]
    message, _ = describe(FileNotFoundError(2, "No such file or directory", FAKE))
    assert harmless(message)
