"""Every row is accounted for, once, whatever is delivered again."""

from __future__ import annotations

import gzip
import json
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.contract import load_contract
from lastaisle.errors import ReconciliationError, SourceError
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.staging.staging import Staging


def test_clean_rows_reach_the_events_and_nothing_else(shop):
    report = shop.ingest(shop.write([shop.event(1), shop.event(2)]))
    assert (report.rows_in, report.rows_clean) == (2, 2)
    assert report.days == [date(2025, 10, 9)]
    assert shop.rows("quarantine") == []
    raw, events = shop.rows("raw_events"), shop.rows("events")
    assert {row["user_id"] for row in raw} == {"user-1", "user-2"}
    assert {(row["item_id"], row["price"], row["currency"]) for row in events} == {
        ("item-1", 9.9, "EUR"),
        ("item-2", 9.9, "EUR"),
    }
    assert {row["batch_id"] for row in events} == set(report.batches)


def test_the_same_file_twice_changes_nothing(shop):
    source = shop.write([shop.event(1), shop.event(1), {"event_id": "broken"}])
    first = shop.ingest(source)
    tables = {
        name: (shop.rows(name), shop.lake.version(name)) for name in ("raw_events", "quarantine", "events")
    }
    second = shop.ingest(source)
    assert (first.rows_clean, first.rows_quarantined, first.rows_duplicate, first.files_skipped) == (
        1,
        1,
        1,
        0,
    )
    assert (second.rows_clean, second.rows_quarantined, second.rows_duplicate) == (0, 0, 3)
    assert second.files_skipped == 1
    assert tables == {name: (shop.rows(name), shop.lake.version(name)) for name in tables}


def test_a_copy_under_another_name_is_the_same_batch(shop):
    shop.ingest(shop.write([shop.event(1)], "a.jsonl"))
    report = shop.ingest(shop.write([shop.event(1)], "b.jsonl"))
    assert report.files_skipped == 1
    assert len(shop.rows("events")) == 1


def test_duplicates_inside_a_file_keep_the_first(shop):
    report = shop.ingest(
        shop.write([shop.event(1), shop.event(2), shop.event(1, received_at="2025-10-09T13:00:00Z")])
    )
    assert (report.rows_clean, report.rows_duplicate) == (2, 1)
    assert {row["source_row"] for row in shop.rows("raw_events")} == {1, 2}


def test_duplicates_of_other_files_are_left_out(shop):
    shop.ingest(shop.write([shop.event(1), shop.event(2)], "a.jsonl"))
    report = shop.ingest(shop.write([shop.event(2), shop.event(2), shop.event(3)], "b.jsonl"))
    assert (report.rows_clean, report.rows_duplicate) == (1, 2)
    assert sorted(row["event_id"] for row in shop.rows("raw_events")) == ["event-1", "event-2", "event-3"]


def test_a_broken_row_does_not_make_its_good_twin_a_duplicate(shop):
    report = shop.ingest(shop.write([shop.event(1, price=-1), shop.event(1)]))
    assert (report.rows_clean, report.rows_quarantined, report.rows_duplicate) == (1, 1, 0)


def test_a_broken_row_is_quarantined_with_every_rule_it_broke(shop):
    broken = shop.event(
        1,
        event_type="teleported",
        occurred_at="2999-01-01T00:00:00Z",
        price=-1,
        quantity=1.5,
        order_id=[7],
    )
    report = shop.ingest(shop.write([broken]))
    assert set(shop.rules()[0]) == {
        "event_type_is_allowed",
        "occurred_at_not_in_future",
        "clock_skew",
        "price_in_range",
        "quantity_is_integer",
        "order_id_is_string",
    }
    assert report.quarantined_by_rule == dict.fromkeys(shop.rules()[0], 1)
    row = shop.rows("quarantine")[0]
    assert json.loads(row["payload"]) == broken
    assert (row["source_row"], row["event_date"]) == (1, date(2025, 10, 10))


def test_text_of_a_wrong_type_is_not_also_missing(shop):
    shop.ingest(shop.write([shop.event(1, occurred_at="yesterday"), shop.event(2, occurred_at=None)]))
    assert shop.rules() == [["occurred_at_is_timestamp"], ["occurred_at_is_required"]]


def test_cross_field_rules_are_named(shop):
    shop.ingest(
        shop.write(
            [
                shop.event(1, event_type="order_completed"),
                shop.event(2, item_id=None),
                shop.event(3, user_id=None, session_id=None),
                shop.event(4, received_at="2025-10-09T11:50:00Z"),
            ]
        )
    )
    assert shop.rules() == [
        ["order_completed_needs_order_id"],
        ["item_event_needs_item_id"],
        ["user_or_session_is_required"],
        ["clock_skew"],
    ]


def test_late_rows_are_counted_and_lie_in_their_own_day(shop):
    late = shop.event(1, occurred_at="2025-10-07T23:59:59Z", received_at="2025-10-09T12:00:00Z")
    report = shop.ingest(shop.write([late, shop.event(2)]))
    assert (report.rows_late, report.rows_clean) == (1, 2)
    assert {(row["event_id"], row["event_date"]) for row in shop.rows("raw_events")} == {
        ("event-1", date(2025, 10, 7)),
        ("event-2", date(2025, 10, 9)),
    }
    assert report.days == [date(2025, 10, 7), date(2025, 10, 9)]


def test_lateness_is_a_setting(shop):
    options = IngestOptions(allowed_lateness=timedelta(seconds=0), gx_sample_rows=0)
    assert shop.ingest(shop.write([shop.event(1)]), options=options).rows_late == 1


def test_times_of_any_zone_become_utc(shop):
    shop.ingest(shop.write([shop.event(1, occurred_at="2025-10-09T00:30:00+02:00")]))
    row = shop.rows("raw_events")[0]
    assert row["occurred_at"].isoformat() == "2025-10-08T22:30:00+00:00"
    assert row["event_date"] == date(2025, 10, 8)


def test_absent_consent_follows_the_contract_and_a_wrong_one_does_not(shop):
    refused = {"consent": {"analytics": True, "personalization": False}}
    wrong = {"consent": {"personalization": "perhaps"}}
    shop.ingest(shop.write([shop.event(1), shop.event(2, **refused), shop.event(3, **wrong)]))
    found = {
        row["item_id"]: (row["consent_analytics"], row["consent_personalization"])
        for row in shop.rows("events")
    }
    assert found == {"item-1": (True, True), "item-2": (True, False)}
    assert shop.rules() == [["consent_personalization_is_boolean"]]


def test_a_new_field_of_the_contract_needs_no_code(shop, tmp_path):
    text = Path(load_contract("raw_events").path).read_text()
    colour = "{name: colour, description: Of it., logicalType: string, classification: public}"
    path = tmp_path / "wider.odcs.yaml"
    path.write_text(text.replace("    properties:\n", f"    properties:\n      - {colour}\n", 1))
    shop.ingest(shop.write([shop.event(1)], "a.jsonl"))
    shop.ingest(shop.write([shop.event(2, colour="red")], "b.jsonl"), contract=load_contract(path))
    assert {row["item_id"]: row["colour"] for row in shop.rows("events")} == {"item-1": None, "item-2": "red"}


def test_gzip_parquet_and_plain_text_say_the_same(make_shop):
    shops = {name: make_shop(name) for name in ("plain", "gzip", "parquet")}
    events = [shops["plain"].event(number) for number in range(5)]
    lines = "".join(f"{json.dumps(event)}\n" for event in events).encode()
    shops["plain"].write(lines)
    shops["gzip"].write(gzip.compress(lines[:700]) + gzip.compress(lines[700:]), "log.jsonl.gz")
    table = pa.Table.from_pylist(events)
    for name in ("occurred_at", "received_at"):
        times = pa.array(
            [datetime.fromisoformat(event[name]) for event in events], pa.timestamp("us", tz="UTC")
        )
        table = table.set_column(table.schema.get_field_index(name), name, times)
    pq.write_table(table, shops["parquet"].folder / "log.parquet")
    found = {}
    for name, shop in shops.items():
        file = next(path for path in shop.folder.iterdir() if path.is_file())
        shop.ingest(str(file))
        given = {"batch_id", "source_file"}
        found[name] = [{key: row[key] for key in row if key not in given} for row in shop.rows("raw_events")]
    assert len(found["plain"]) == 5
    assert found["plain"] == found["gzip"] == found["parquet"]


def test_a_folder_is_read_in_order_and_a_broken_file_does_not_stop_the_others(shop):
    logs = shop.folder / "logs"
    logs.mkdir()
    shop.write([shop.event(1)], "logs/1.jsonl")
    shop.write(b"no parquet at all", "logs/2.parquet")
    shop.write([shop.event(2)], "logs/3.jsonl")
    shop.write([shop.event(3)], "logs/_unfinished.jsonl")
    shop.write([shop.event(3)], "logs/4.jsonl.tmp")
    report = shop.ingest(str(logs))
    assert (report.files, report.rows_clean) == (2, 2)
    assert [Path(name).name for name in report.files_failed] == ["2.parquet"]
    assert "2.parquet" in next(iter(report.files_failed.values()))
    assert report.to_dict()["days"] == ["2025-10-09"]


def test_a_source_in_memory_stands_for_any_fsspec_url(shop):
    import fsspec

    with fsspec.open("memory://bucket/logs/1.jsonl", "wb") as stream:
        stream.write(json.dumps(shop.event(1)).encode())
    assert shop.ingest("memory://bucket/logs").rows_clean == 1
    assert shop.rows("raw_events")[0]["source_file"] == "memory:///bucket/logs/1.jsonl"


@pytest.mark.parametrize("source", ["/nowhere/at/all.jsonl", "gopher://old/things"])
def test_a_source_that_is_not_there_says_so(shop, source):
    with pytest.raises(SourceError, match=r"nowhere|gopher"):
        shop.ingest(source)


def test_an_unknown_format_names_the_known_ones(shop):
    with pytest.raises(SourceError, match="yoochoose"):
        shop.ingest(shop.write([]), "elasticsearch")


def test_a_row_that_gets_lost_stops_the_batch_before_any_commit(shop, monkeypatch):
    count = Staging.count

    def count_and_lose(staging: Staging, source: str) -> int:
        found = count(staging, source)
        if source == "staged":
            staging.connection.execute("DELETE FROM staged WHERE _source_row = 2")
        return found

    monkeypatch.setattr(Staging, "count", count_and_lose)
    with pytest.raises(ReconciliationError, match="2 rows came in, but 1 clean"):
        shop.ingest(shop.write([shop.event(1), shop.event(2)]))
    assert [shop.lake.version(name) for name in ("raw_events", "quarantine", "batches", "events")] == [
        None
    ] * 4


def test_a_line_that_the_adapter_swallows_stops_the_batch(shop, monkeypatch):
    from lastaisle.ingest import run
    from lastaisle.ingest.sources import Adapter

    greedy = Adapter("greedy", {}, prepare="SELECT *, 0 AS _sub_row FROM lines WHERE _source_row <> 2")
    monkeypatch.setattr(run, "adapter", lambda name: greedy)
    with pytest.raises(ReconciliationError, match="3 lines were read but 2"):
        shop.ingest(shop.write(["1\t2\t3", "1\t3\t4", "1\t4\t5"]), "greedy")
    assert shop.lake.version("raw_events") is None


def test_great_expectations_checks_clean_and_broken_rows(shop):
    lines = [
        shop.event(1),
        shop.event(2, price=-1),
        shop.event(3, item_id=None),
        shop.event(4, occurred_at="x"),
        "{",
    ]
    shop.ingest(shop.write(lines), options=IngestOptions(gx_sample_rows=10))
    assert shop.rows("batches")[0]["gx_success"] is True
