"""A file that is read by the wrong format is refused before any commit, and the right format is guessed."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from itertools import permutations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lastaisle.ingest.checks.wrong_format import FEWEST_ROWS
from lastaisle.ingest.guess import guess_format
from lastaisle.ingest.options import IngestOptions

REES46 = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"


def canonical(number: int) -> str:
    event = {"event_id": f"e{number}", "event_type": "item_viewed", "occurred_at": "2025-10-09T12:00:00Z"}
    return json.dumps(event | {"session_id": "s", "item_id": f"i{number}", "price": 1})


def segment(number: int) -> str:
    call = {"type": "track", "event": "Product Viewed", "messageId": f"m{number}", "userId": "u"}
    return json.dumps(call | {"timestamp": "2025-10-09T12:00:00Z", "properties": {"product_id": "p"}})


def otto(number: int) -> str:
    return json.dumps({"session": number, "events": [{"aid": 5, "ts": 1659304800025, "type": "clicks"}]})


LOGS = {
    "canonical": [canonical(number) for number in range(8)],
    "segment": [segment(number) for number in range(8)],
    "yoochoose": [f"{number},2014-04-07T10:51:09.277Z,214536502,0" for number in range(8)],
    "taobao": [f"{number},2268318,2520377,pv,1511544070" for number in range(8)],
    "rees46": [REES46, *(f"2019-10-01 00:00:00 UTC,view,{number},2,,b,3.5,5,s" for number in range(8))],
    "retailrocket": [f"143322133211{number},257597,view,355908," for number in range(8)],
    "otto": [otto(number) for number in range(8)],
}
MORE = [
    ("yoochoose", [f"420374,2014-04-06T18:44:5{number}.314Z,214537888,12462,1" for number in range(8)]),
    ("yoochoose", ["SessionId\tItemId\tTime", *(f"1\t2\t139686806{number}.2" for number in range(8))]),
    ("rees46", LOGS["rees46"][1:]),
    ("rees46", [line.replace(",", ";") for line in LOGS["rees46"]]),
    ("taobao", ["user_id,item_id,category_id,behavior_type,timestamp", *LOGS["taobao"]]),
    ("retailrocket", ["timestamp,visitorid,event,itemid,transactionid", *LOGS["retailrocket"]]),
]


@pytest.mark.parametrize(("right", "tried"), list(permutations(LOGS, 2)))
def test_a_wrong_format_is_refused_and_the_right_one_named(shop, right, tried):
    report = shop.ingest(shop.write(LOGS[right]), tried)
    (message,) = report.files_failed.values()
    assert f"use --format {right} " in message
    assert report.rows_in == 0
    assert [shop.lake.version(name) for name in ("raw_events", "quarantine", "batches", "files")] == [
        None
    ] * 4


@pytest.mark.parametrize(("right", "lines"), [*LOGS.items(), *MORE])
def test_the_format_is_guessed_from_the_first_lines(right, lines):
    assert guess_format(lines) == right


@pytest.mark.parametrize("lines", [[], ["", " "], ["hello"], ["{}"], ["[1]"], ["a,b,c", "1,2,3"], ["\x00"]])
def test_other_lines_look_like_no_format(lines):
    assert guess_format(lines) is None


@pytest.mark.parametrize(
    ("content", "tried"),
    [(b"\x81\xfe\x00\n" * 9, "canonical"), (b"just, some\nwords\n" * 9, "taobao"), (b"[1]\n" * 9, "otto")],
)
def test_a_file_of_no_known_format_is_refused(shop, content, tried):
    report = shop.ingest(shop.write(content), tried)
    (message,) = report.files_failed.values()
    assert "cannot be read in the format" in message
    assert "no format known here" in message


def test_a_parquet_file_of_another_format_is_refused(shop):
    path = shop.folder / "log.parquet"
    row = dict(zip(REES46.split(","), LOGS["rees46"][1].split(","), strict=True))
    pq.write_table(pa.Table.from_pylist([row] * 9), path)
    report = shop.ingest(str(path), "taobao")
    (message,) = report.files_failed.values()
    assert "use --format rees46 " in message


def test_the_other_files_are_taken_in(shop):
    shop.write(LOGS["segment"], "logs-a.jsonl")
    shop.write(LOGS["canonical"], "logs-b.jsonl")
    report = shop.ingest(str(shop.folder / "logs-*"))
    assert (report.rows_clean, len(report.files_failed)) == (8, 1)


def test_a_few_rows_prove_nothing(shop):
    report = shop.ingest(shop.write(LOGS["segment"][: FEWEST_ROWS - 1]))
    assert (report.rows_quarantined, report.files_failed) == (FEWEST_ROWS - 1, {})


@pytest.mark.parametrize(
    "changes", [{"price": -1}, {"order_id": "o" * 201}, {"session_id": None}, {"quantity": "x"}]
)
def test_a_bad_day_of_the_right_format_goes_to_quarantine(shop, changes):
    events = [json.dumps(json.loads(line) | changes) for line in LOGS["canonical"]]
    report = shop.ingest(shop.write(events))
    assert (report.rows_quarantined, report.files_failed) == (8, {})


def test_a_file_that_can_partly_be_read_is_ingested(shop):
    report = shop.ingest(shop.write([*LOGS["canonical"], *LOGS["segment"] * 9]))
    assert (report.rows_clean, report.rows_quarantined) == (8, 72)


def test_all_rows_may_go_to_quarantine_on_request(shop):
    options = IngestOptions(gx_sample_rows=0, accept_schema_change=True)
    report = shop.ingest(shop.write(LOGS["segment"]), options=options)
    assert (report.rows_quarantined, report.files_failed) == (8, {})


def test_only_the_first_batch_of_a_file_decides(shop):
    lines = [*LOGS["canonical"], *LOGS["segment"]]
    report = shop.ingest(shop.write(lines), options=IngestOptions(gx_sample_rows=0, batch_rows=8))
    assert (report.rows_clean, report.rows_quarantined) == (8, 8)


def test_a_topic_of_another_format_raises_an_alert_and_goes_on(shop, caplog):
    from lastaisle.ingest.batch import take_in
    from lastaisle.ingest.job import Batch, Ingestion
    from lastaisle.ingest.reading.lines import LINES
    from lastaisle.ingest.sources import adapter

    lines = LOGS["segment"]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(range(8), pa.int64()), pa.array(lines), pa.nulls(8, pa.string())], schema=LINES
    )
    job = Ingestion(shop.lake, adapter("canonical"), shop.contracts["contract"], shop.options)
    described = Batch("b" * 16, "canonical kafka topic t", "kafka://t/0", "canonical", offsets={"t/0": 8})
    with caplog.at_level(logging.ERROR, logger="lastaisle.alerts"):
        report = take_in([batch], described, job)
    assert report.rows_quarantined == 8
    assert "use --format segment" in caplog.text
    with pytest.raises(Exception, match="8 of 8 rows cannot be read"):
        take_in([batch], replace(described, batch_id="c" * 16, offsets={}), job)
