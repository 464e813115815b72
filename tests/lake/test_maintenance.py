"""Maintenance changes how a table lies on disk, and of its rows only those that expired."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.maintenance import MaintenanceError, MaintenancePolicy, maintain, tables_of
from lastaisle.settings import Settings, SettingsError
from tests.lake import keeping
from tests.lake.keeping import NOW, POLICY, TABLE, age, fill, rows, values

KEPT = list(range(10, 40))


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    fill(lake)
    return lake


def on_disk(lake: Lake, pattern: str = "*.parquet") -> set[str]:
    return {str(path) for path in Path(lake.table_url(TABLE)).rglob(pattern)}


def child(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(keeping.__file__)), *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_small_files_become_one_a_day_and_expired_rows_go(lake):
    report = maintain(lake, TABLE, POLICY, now=NOW)
    assert values(lake) == KEPT
    assert (report.files_before, report.files_after) == (40, 3)
    assert (report.rows_deleted, report.partitions_compacted) == (10, 3)
    assert report.bytes_after < report.bytes_before
    again = maintain(lake, TABLE, POLICY, now=NOW)
    assert (again.version_after, again.rows_deleted, again.partitions_compacted) == (
        report.version_after,
        0,
        0,
    )


def test_a_dry_run_counts_and_changes_nothing(lake):
    age(lake)
    before, version = on_disk(lake, "*"), lake.version(TABLE)
    report = maintain(lake, TABLE, POLICY, now=NOW, dry_run=True)
    assert (report.rows_deleted, report.partitions_compacted, report.files_deleted) == (10, 4, 0)
    assert (on_disk(lake, "*"), lake.version(TABLE)) == (before, version)


def test_few_small_files_are_left_alone(tmp_path):
    lake = Lake(tmp_path)
    for number in range(POLICY.small_files):
        lake.append(TABLE, rows(number), key=str(number))
    assert maintain(lake, TABLE, POLICY, now=NOW).partitions_compacted == 0
    lake.append(TABLE, rows(99), key="99")
    assert maintain(lake, TABLE, POLICY, now=NOW).files_after == 1


def test_a_large_file_is_not_written_again(tmp_path):
    lake, policy = Lake(tmp_path), MaintenancePolicy(target_bytes=60_000)
    lake.append(TABLE, rows(*(number * 7919 % 1_000_003 for number in range(20_000))), key="large")
    large = on_disk(lake)
    for number in range(10):
        lake.append(TABLE, rows(number), key=str(number))
    assert maintain(lake, TABLE, policy, now=NOW).files_after == 2
    assert {uri for uri in lake.table(TABLE).file_uris() if uri in large} == large


def test_a_table_without_partitions_is_compacted_too(tmp_path):
    lake = Lake(tmp_path)
    for number in range(8):
        lake.append("batches", pa.table({"batch_id": [str(number)]}), key=str(number))
    assert tables_of(lake) == ["batches"]
    assert maintain(lake, "batches").files_after == 1
    assert len(lake.scan("batches")) == 8


def test_old_events_that_were_ingested_lately_stay(tmp_path):
    lake = Lake(tmp_path)
    lake.append(TABLE, rows(1, day=date(2014, 4, 1), ingested=NOW), key="history")
    lake.append(TABLE, rows(2, day=date(2014, 4, 1), ingested=NOW - timedelta(days=32)), key="older")
    assert maintain(lake, TABLE, POLICY, now=NOW).rows_deleted == 1
    assert values(lake) == [1]


def test_ledgers_never_expire(tmp_path):
    lake = Lake(tmp_path)
    moved = {"moved_at": pa.array([datetime(2014, 4, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))}
    lake.append("releases", pa.table(moved), key="a")
    assert maintain(lake, "releases", POLICY, now=NOW).rows_deleted == 0
    assert len(lake.scan("releases")) == 1


def test_zero_days_keep_everything(lake):
    assert maintain(lake, TABLE, MaintenancePolicy(keep_raw_days=0), now=NOW).rows_deleted == 0
    assert values(lake) == list(range(40))


def test_a_deleted_row_stays_deleted_and_keys_outlive_checkpoint_and_log(lake):
    age(lake, 400)
    maintain(lake, TABLE, POLICY, now=NOW)
    age(lake, 400)
    lake.append(TABLE, rows(100, ingested=NOW), key="new")
    entries = on_disk(lake, "*.json")
    maintain(lake, TABLE, POLICY, now=NOW)
    assert len(on_disk(lake, "*.json")) < len(entries) < 40, "the log was cleaned"
    for number in range(40):
        assert lake.has(TABLE, f"key-{number}")
        assert not lake.append(TABLE, rows(number), key=f"key-{number}")
    assert values(lake) == [*KEPT, 100]


def test_vacuum_keeps_only_those_old_versions_that_a_training_read(lake):
    read, unread = lake.version(TABLE) - 5, lake.version(TABLE) - 10
    run = {"finished_at": [NOW - timedelta(days=1)], "lake_versions": [f'{{"{TABLE}": {read}}}']}
    lake.append("training_runs", pa.table(run), key="run")
    before = values(lake, read)
    lake.table(TABLE).optimize.compact()
    age(lake)
    report = maintain(lake, TABLE, POLICY, now=NOW)
    assert report.files_deleted == 5
    assert values(lake, read) == before
    assert values(lake, unread) == before[:30], "the files it shares with the version read"
    late = maintain(lake, TABLE, POLICY, now=NOW + timedelta(days=60))
    assert late.files_deleted == 35
    with pytest.raises(Exception, match=r"(?i)no such file|not found"):
        values(lake, read)


def test_versions_of_the_last_week_stay_readable(lake):
    version = lake.version(TABLE)
    maintain(lake, TABLE, POLICY, now=NOW)
    assert values(lake, version) == list(range(40))


def test_old_files_of_a_killed_writer_are_deleted(lake):
    folder = Path(next(iter(on_disk(lake)))).parent
    old, young = folder / "part-old.parquet", folder / "part-young.parquet"
    for path in (old, young):
        path.write_bytes(b"PAR1")
    os.utime(old, (time.time() - 8 * 86400,) * 2)
    assert maintain(lake, TABLE, POLICY, now=NOW).files_deleted == 1
    assert young.exists() and not old.exists()


def test_a_table_that_forgets_its_keys_is_refused(lake):
    assert "delta.setTransactionRetentionDuration" not in lake.table(TABLE).metadata().configuration
    lake.table(TABLE).alter.set_table_properties(
        {"delta.setTransactionRetentionDuration": "interval 7 days"}, raise_if_not_exists=False
    )
    with pytest.raises(MaintenanceError, match=r"forgets the keys.*interval 7 days"):
        maintain(lake, TABLE, POLICY)


def test_an_unknown_table_is_named_beside_the_known_ones(lake):
    with pytest.raises(MaintenanceError, match=r"'evnts'; it has raw_events"):
        maintain(lake, "evnts")


def test_the_log_is_kept_as_long_as_the_settings_say(lake):
    settings = Settings.from_env({"LASTAISLE_KEEP_VERSIONS_DAYS": "90", "LASTAISLE_KEEP_RAW_DAYS": "0"})
    policy = MaintenancePolicy.from_settings(settings)
    maintain(lake, TABLE, policy, now=NOW)
    version = lake.version(TABLE)
    assert lake.table(TABLE).metadata().configuration["delta.logRetentionDuration"] == "interval 90 days"
    assert maintain(lake, TABLE, policy, now=NOW).version_after == version, "told once"


@pytest.mark.parametrize(
    "wrong",
    [{"keep_files_hours": 24}, {"keep_versions_days": 3}, {"small_files": 0}, {"keep_raw_days": -1}],
)
def test_a_harmful_policy_is_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        MaintenancePolicy(**wrong)


@pytest.mark.service
def test_writers_continue_while_a_table_is_maintained(lake):
    policy = MaintenancePolicy(keep_raw_days=30, small_files=1)
    writers = [child("write", lake.url, str(number)) for number in range(3)]
    reports = []
    while any(writer.poll() is None for writer in writers):
        reports.append(maintain(lake, TABLE, policy, now=NOW))
    errors = [writer.communicate()[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], errors
    written = [*range(1000, 1030), *range(2000, 2030)]
    assert values(lake) == [*KEPT, *written]
    assert all(lake.has(TABLE, f"writer-{group}-{number}") for group in range(2) for number in range(30))
    assert sum(report.partitions_compacted for report in reports) > 3, "it compacted under the writers"


@pytest.mark.service
@pytest.mark.parametrize(
    "step", ["replace_days", "compact", "create_checkpoint", "cleanup_metadata", "vacuum"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_at_any_step_and_a_plain_run_again(lake, step, when):
    age(lake, 8)
    process = child("maintain", lake.url, step, when)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    maintain(lake, TABLE, POLICY, now=NOW)
    assert values(lake) == KEPT
    assert len(lake.table(TABLE).file_uris()) == 3
    assert all(lake.has(TABLE, f"key-{number}") for number in range(40))


@pytest.mark.service
def test_kill_9_at_any_moment_and_a_plain_run_again(lake, tmp_path):
    for attempt in range(6):
        copy = Lake(tmp_path / str(attempt))
        shutil.copytree(lake.url, copy.url)
        process, before = child("maintain", copy.url), copy.version(TABLE)
        while copy.version(TABLE) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(attempt * 0.02)
        process.kill()
        process.communicate()
        assert values(copy) in (KEPT, list(range(40)))
        maintain(copy, TABLE, POLICY, now=NOW)
        assert values(copy) == KEPT
