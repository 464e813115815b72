"""Rows changed or deleted in place leave a table that can be filtered on text as before."""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lastaisle.lake import Lake, LakeConflictError

DAYS = [date(2025, 10, 8), date(2025, 10, 9)]


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path)
    for day in DAYS:
        rows = {
            "event_id": [f"{day}-{number}" for number in range(10)],
            "session_id": ["old"] * 10,
            "event_date": pa.array([day] * 10, pa.date32()),
        }
        lake.append("events", pa.table(rows), key=str(day))
    return lake


def new_sessions(*event_ids):
    return pa.table({"event_id": list(event_ids), "session_id": ["new"] * len(event_ids)})


def found(lake, column, *values):
    return lake.scan("events", ["event_id"], pc.field(column).isin(list(values)))["event_id"].to_pylist()


def test_an_amended_row_has_its_new_value_and_no_other_file_was_touched(lake):
    before = set(lake.table("events").file_uris())
    lake.amend("events", new_sessions("2025-10-09-3"), on="event_id", days=DAYS, if_version=2)
    assert found(lake, "session_id", "new") == ["2025-10-09-3"]
    assert len(found(lake, "session_id", "old")) == 19
    after = set(lake.table("events").file_uris())
    assert len(before & after) == 1
    assert lake.scan("events").num_rows == 20


def test_text_can_be_filtered_after_an_amendment_and_after_a_deletion(lake):
    lake.amend("events", new_sessions("2025-10-08-1", "2025-10-09-2"), on="event_id", days=DAYS, if_version=2)
    lake.delete("events", pc.field("event_id") == "2025-10-08-4")
    assert found(lake, "event_id", "2025-10-08-4", "2025-10-08-5") == ["2025-10-08-5"]
    assert lake.scan("events", where=pc.field("session_id") == "new").num_rows == 2
    assert lake.scan("events").num_rows == 19
    assert lake.has("events", "2025-10-08"), "keys stay known"


def test_a_file_whose_rows_are_all_deleted_is_gone(lake):
    lake.delete("events", pc.field("event_date") == DAYS[0])
    assert lake.scan("events").num_rows == 10
    assert len(lake.table("events").file_uris()) == 1


def test_who_was_overtaken_changes_nothing(lake):
    lake.append("events", lake.scan("events").slice(0, 1), key="other")
    with pytest.raises(LakeConflictError, match="no longer at version 2"):
        lake.amend("events", new_sessions("2025-10-09-3"), on="event_id", days=DAYS, if_version=2)
    assert found(lake, "session_id", "new") == []
