"""The files that a run takes in: its own complete files, and late files of earlier partitions."""

import json
import os
import time
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.errors import SourceError
from lastaisle.ingest.checks.gx_check import DisagreementError, SampleCheck
from lastaisle.ingest.reading.files import SourceFile
from lastaisle.lake import Lake
from lastaisle.lake.opening import open_lake
from lastaisle.monitor.alerts.log import read_alerts
from lastaisle.settings import Settings
from lastaisle_airflow.tasks import batches, files

EVENT = {"event_type": "page_viewed", "session_id": "s1"}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    given = {"home": tmp_path / "home", "source": f"{tmp_path}/logs/{{day}}", "lookback_hours": 48.0}
    for name, value in given.items():
        monkeypatch.setenv(f"LASTAISLE_{name.upper()}", str(value))
    return Settings.from_env()


def write(settings: Settings, day: str, name: str, age: float = 60.0) -> str:
    path = Path(settings.sources.address.replace("{day}", day), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**EVENT, "event_id": name, "occurred_at": f"{day}T12:00:00Z"}) + "\n")
    os.utime(path, (time.time() - age, time.time() - age))
    return str(path)


def test_a_partition_without_files_fails_unless_the_shop_has_such_days(settings):
    folder = Path(settings.sources.address.replace("{day}", "2025-10-09"))
    with pytest.raises(SourceError, match=r"2025-10-09.*LASTAISLE_MISSING_LOGS=skip"):
        files.files_of("2025-10-09", settings)
    folder.mkdir(parents=True)
    (folder / "_SUCCESS").touch()
    with pytest.raises(SourceError, match=r"nothing to read.*_SUCCESS"):
        files.files_of("2025-10-09", settings)
    with pytest.raises(AirflowSkipException, match="nothing to read"):
        files.files_of("2025-10-09", settings.replace(missing_logs="skip"))


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("nonsense://shop/{day}", "Protocol not known"),
        ("locked/{day}", "Permission denied"),
        ("{day}", "_temporary_hidden.jsonl"),
    ],
)
def test_a_place_that_cannot_be_read_fails_always(settings, tmp_path, monkeypatch, place, error):
    """An unknown protocol, a folder that may not be opened, and a folder with only unfinished files."""
    original = os.lstat

    def lstat(path, **given):
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, **given)

    monkeypatch.setattr(os, "lstat", lstat)
    write(settings.replace(source=f"{tmp_path}/{{day}}"), "2025-10-09", "_temporary_hidden.jsonl")
    source = place if "://" in place else f"{tmp_path}/{place}"
    with pytest.raises(SourceError, match=error):
        files.files_of("2025-10-09", settings.replace(source=source, missing_logs="skip"))


def test_a_folder_that_cannot_be_listed_is_named_and_the_other_files_are_taken_in(settings, monkeypatch):
    own = write(settings, "2025-10-09", "own.jsonl")
    closed = Path(own).parent / "closed"
    closed.mkdir()
    original = os.scandir

    def scandir(path):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = files.files_of("2025-10-09", settings)
    assert found.urls == [own]
    assert found.failed == {f"{closed}/": "cannot list this folder: Permission denied"}
    Path(own).unlink()
    with pytest.raises(SourceError, match="closed/: cannot list this folder"):
        files.files_of("2025-10-09", settings.replace(missing_logs="skip"))


def test_files_that_came_late_to_earlier_days_are_taken_in_once(settings, monkeypatch):
    own = write(settings, "2025-10-09", "own.jsonl")
    early = write(settings, "2025-10-08", "early.jsonl")
    write(settings, "2025-10-06", "too-old.jsonl")
    batches.ingest_chain([{"url": early}])
    late = write(settings, "2025-10-08", "late.jsonl")
    oldest = write(settings, "2025-10-07", "oldest.jsonl")
    assert files.files_of("2025-10-09", settings).urls == [own]
    assert files.files_of("2025-10-09", settings, look_back=True).urls == [oldest, late, own]
    for url in (oldest, late, own):
        batches.ingest_chain([{"url": url}])
    assert files.files_of("2025-10-09", settings, look_back=True).urls == [own]


def test_late_files_alone_are_a_reason_to_run_and_hide_no_day_without_logs(settings):
    late = write(settings, "2025-10-08", "late.jsonl")
    found = files.files_of("2025-10-09", settings, look_back=True)
    assert found.urls == [late]
    assert "no such file or folder" in found.missing
    assert open_alerts(settings) == ["There are no logs for 2025-10-09."]


def test_late_files_hide_no_place_that_cannot_be_read(settings):
    late = write(settings, "2025-10-08", "late.jsonl")
    write(settings, "2025-10-09", "_hidden.jsonl")
    found = files.files_of("2025-10-09", settings.replace(missing_logs="skip"), look_back=True)
    assert (found.urls, found.missing) == ([late], "")
    ((place, error),) = found.failed.items()
    assert place.endswith("/2025-10-09")
    assert "_hidden.jsonl" in error
    assert open_alerts(settings) == []


@pytest.mark.parametrize("state", ["skip", "fail"])
def test_a_day_without_logs_is_an_alert_whatever_the_state_of_its_run(settings, state):
    for _ in range(2):  # the task is tried again
        with pytest.raises((SourceError, AirflowSkipException)):
            files.files_of("2025-10-09", settings.replace(missing_logs=state))
    assert open_alerts(settings) == ["There are no logs for 2025-10-09."]


def open_alerts(settings):
    return [alert.summary for alert in read_alerts(open_lake(settings)).open()]


def test_an_ingested_file_gives_the_same_report_again_without_being_opened(settings, monkeypatch):
    """A run that died later is cleared, and must finish its remaining steps."""
    own = write(settings, "2025-10-09", "own.jsonl")
    first = batches.ingest_chain([{"url": own}])
    monkeypatch.setattr(SourceFile, "open", lambda self: pytest.fail("opened in vain"))
    assert batches.ingest_chain([{"url": own}]) | {name: first[name] for name in ("rows", "counts")} == first


def test_a_file_on_which_the_checks_disagree_does_not_stop_the_files_after_it(settings, monkeypatch):
    first, doubtful, last = (write(settings, "2025-10-09", name) for name in ("a", "b", "c"))

    def check(staging, rows, where):
        if where == doubtful:
            raise DisagreementError(f"{where}: the checks disagree")
        return SampleCheck()

    monkeypatch.setattr("lastaisle.ingest.batch_steps.check_sample", check)
    with pytest.raises(AirflowFailException, match="the checks disagree"):
        batches.ingest_chain([{"url": url} for url in (first, doubtful, last)])
    rows = Lake(settings.lake.url).scan("raw_events", columns=["source_file"]).to_pylist()
    assert sorted(row["source_file"] for row in rows) == [first, last]


def test_a_refused_file_has_a_row_in_the_lake_however_often_its_task_tries(settings):
    refused = write(settings, "2025-10-09", "refused.jsonl")
    Path(refused).write_text("user,thing,when\n" * 20)
    for _ in range(3):
        with pytest.raises(SourceError, match="cannot be read in the format canonical"):
            batches.ingest_chain([{"url": refused}])
    (row,) = Lake(settings.lake.url).scan("refused_files").to_pylist()
    assert (row["url"], row["reason"]) == (refused, "WrongFormatError")
    assert row["source"] == f"canonical {settings.sources.address}", (
        "the batches of the source have this name"
    )


def test_a_file_that_may_still_grow_is_waited_for(settings, monkeypatch):
    path = write(settings, "2025-10-09", "own.jsonl", age=0)
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            os.utime(path, (time.time() - 60, time.time() - 60))

    monkeypatch.setattr(files.time, "sleep", nap)
    assert files.files_of("2025-10-09", settings).urls == [path]
    assert naps == [settings.sources.settle_seconds] * 2
