"""Appends happen exactly once, whoever else writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.errors import VersionGoneError


def rows(*values: int) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.int64())})


def values(lake: Lake, name: str = "numbers") -> list[int]:
    table = lake.scan(name)
    return sorted(table["value"].to_pylist()) if table.num_columns else []


def test_a_table_never_written_is_empty_and_has_no_version(tmp_path):
    lake = Lake(tmp_path)
    assert lake.version("numbers") is None
    assert lake.scan("numbers").num_rows == 0
    assert lake.reader("numbers") is None
    assert not lake.has("numbers", "a")
    assert lake.versions(["numbers"]) == {}
    assert lake.vacuum("numbers") == []


def test_the_same_key_writes_once(tmp_path):
    lake = Lake(tmp_path)
    assert lake.append("numbers", rows(1, 2), key="a", stamp=42)
    assert not lake.append("numbers", rows(3), key="a")
    assert values(lake) == [1, 2]
    assert lake.stamp("numbers", "a") == 42


def test_a_writer_that_numbers_its_appends_writes_each_once_under_one_key(tmp_path):
    lake = Lake(tmp_path)

    def append(number: int) -> bool:
        return lake.append("numbers", rows(number), key="service", stamp=number, is_numbered=True)

    assert [append(number) for number in (1, 2, 2, 1, 4, 3)] == [True, True, False, False, True, False]
    assert values(lake) == [1, 2, 4]
    assert lake.stamp("numbers", "service") == 4


def test_an_append_of_no_rows_marks_its_key(tmp_path):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a")
    assert lake.append("numbers", rows(), key="empty")
    assert lake.has("numbers", "empty")
    assert not lake.append("numbers", rows(9), key="empty")
    assert values(lake) == [1]


def test_a_missing_version_is_an_error_and_not_an_empty_table(tmp_path):
    lake = Lake(tmp_path)
    for value in range(3):
        lake.append("numbers", rows(value), key=str(value))
    lake.table("numbers").create_checkpoint()
    (tmp_path / "numbers" / "_delta_log" / f"{1:020d}.json").unlink()
    with pytest.raises(VersionGoneError, match="does not have version 1 "):
        lake.scan("numbers", version=1)
    assert values(lake) == [0, 1, 2]


def test_an_old_version_stays_readable(tmp_path):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a")
    first = lake.version("numbers")
    lake.append("numbers", rows(2), key="b")
    assert lake.scan("numbers", version=first)["value"].to_pylist() == [1]
    assert lake.versions(["numbers", "absent"]) == {"numbers": first + 1}


def test_rows_derived_from_an_old_version_are_refused(tmp_path):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a", if_version=-1)
    seen = lake.version("numbers")
    lake.append("numbers", rows(2), key="b", if_version=seen)
    for stale in (seen, -1):
        with pytest.raises(LakeConflictError, match=f"derived from {stale}"):
            lake.append("numbers", rows(3), key="c", if_version=stale)
    assert values(lake) == [1, 2]


def disturbed(folder, values: pa.Table, times: list[int]) -> pa.RecordBatchReader:
    """Rows in whose midst another writer commits, at the first reading."""

    def batches():
        times.append(1)
        if len(times) == 1:
            with ThreadPoolExecutor(1) as pool:  # delta-rs cannot be entered twice from one thread
                pool.submit(Lake(folder).append, "numbers", rows(2), key="other").result()
        yield from values.to_batches()

    return pa.RecordBatchReader.from_batches(values.schema, batches())


def test_a_reader_is_made_anew_for_each_attempt(tmp_path):
    lake, times = Lake(tmp_path), []
    lake.append("numbers", rows(1), key="a")
    assert lake.append("numbers", lambda: disturbed(tmp_path, rows(3), times), key="b")
    assert len(times) == 2
    assert values(lake) == [1, 2, 3]


def test_a_conflict_with_a_used_reader_is_an_error_and_writes_nothing(tmp_path):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a")
    with pytest.raises(LakeConflictError, match="other writers"):
        lake.append("numbers", disturbed(tmp_path, rows(3), []), key="b")
    assert values(lake) == [1, 2]


def test_new_columns_widen_the_table(tmp_path):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a")
    lake.append("numbers", pa.table({"value": [2], "colour": ["red"]}), key="b")
    assert lake.scan("numbers").sort_by("value")["colour"].to_pylist() == [None, "red"]


def test_days_are_partitions_and_a_filter_reads_only_them(tmp_path):
    lake = Lake(tmp_path)
    days = [date(2014, 4, 1), date(2014, 4, 2)]
    lake.append("events", pa.table({"item_id": ["a", "b"], "event_date": days}), key="a")
    assert {uri.split("event_date=")[1][:10] for uri in lake.table("events").file_uris()} == {
        "2014-04-01",
        "2014-04-02",
    }
    found = lake.scan("events", columns=["item_id"], where=pc.field("event_date") == pa.scalar(days[1]))
    assert found.to_pydict() == {"item_id": ["b"]}
    assert lake.reader("events", columns=["item_id"]).read_all().num_rows == 2


def test_overwrite_replaces_the_rows_and_keeps_the_keys(tmp_path):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a")
    assert lake.overwrite("numbers", rows(7), key="again")
    assert values(lake) == [7]
    assert not lake.append("numbers", rows(1), key="a")
    assert lake.vacuum("numbers", keep_hours=0)
    assert values(lake) == [7]


@pytest.mark.parametrize("existing", [True, False])
def test_many_threads_neither_lose_nor_double_rows(tmp_path, existing):
    lake = Lake(tmp_path)
    if existing:
        lake.append("numbers", rows(), key="start")

    def write(number: int) -> None:  # each key is written by two threads
        Lake(tmp_path).append("numbers", rows(number // 2), key=f"key-{number // 2}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(12)))
    assert values(lake) == [0, 1, 2, 3, 4, 5]


def test_two_writers_that_create_the_table_together_write_once(tmp_path):
    for attempt in range(10):
        folder, barrier = tmp_path / str(attempt), Barrier(2)

        def write(folder=folder, barrier=barrier) -> bool:
            barrier.wait()
            return Lake(folder).append("numbers", rows(1), key="a")

        with ThreadPoolExecutor(2) as pool:
            written = [found.result() for found in [pool.submit(write), pool.submit(write)]]
        assert sorted(written) == [False, True]
        assert values(Lake(folder)) == [1]
