"""Appends happen exactly once, whoever else writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from lastaisle.lake import Lake, LakeConflictError


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


def test_an_append_of_no_rows_marks_its_key(tmp_path):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a")
    assert lake.append("numbers", rows(), key="empty")
    assert lake.has("numbers", "empty")
    assert not lake.append("numbers", rows(9), key="empty")
    assert values(lake) == [1]


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
    lake.append("numbers", rows(2), key="b", if_version=0)
    with pytest.raises(LakeConflictError, match="at version 1"):
        lake.append("numbers", rows(3), key="c", if_version=0)
    assert values(lake) == [1, 2]


def test_a_reader_is_made_anew_for_each_attempt(tmp_path, monkeypatch):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a")
    made = []

    def make():
        made.append(1)
        if len(made) == 1:  # someone else commits between our look at the table and our commit
            Lake(tmp_path).append("numbers", rows(2), key="other")
        return rows(3).to_reader()

    assert lake.append("numbers", make, key="b")
    assert len(made) == 2
    assert values(lake) == [1, 2, 3]


def test_a_conflict_with_a_spent_reader_is_an_error_and_writes_nothing(tmp_path):
    lake = Lake(tmp_path)
    lake.append("numbers", rows(1), key="a")

    def batches():
        with ThreadPoolExecutor(1) as pool:  # delta-rs cannot be entered twice from one thread
            pool.submit(Lake(tmp_path).append, "numbers", rows(2), key="other").result()
        yield from rows(3).to_batches()

    with pytest.raises(LakeConflictError, match="other writers"):
        lake.append("numbers", pa.RecordBatchReader.from_batches(rows().schema, batches()), key="b")
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
def test_many_threads_lose_and_double_nothing(tmp_path, existing):
    lake = Lake(tmp_path)
    if existing:
        lake.append("numbers", rows(), key="start")

    def write(number: int) -> None:  # each key is written by two threads
        Lake(tmp_path).append("numbers", rows(number // 2), key=f"key-{number // 2}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(12)))
    assert values(lake) == [0, 1, 2, 3, 4, 5]
