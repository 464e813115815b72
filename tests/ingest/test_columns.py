"""Formats with columns: by header, by position, as objects; quoted, joined, and with missing values."""

from __future__ import annotations

import json
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lastaisle.ingest.options import IngestOptions

REES46 = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
ROW = {
    "event_time": "2019-10-01 00:00:00 UTC",
    "event_type": "view",
    "product_id": "44600062",
    "category_id": "2103",
    "category_code": "",
    "brand": "shiseido",
    "price": "35.79",
    "user_id": "541312140",
    "user_session": "s-9",
}
READ = ("item_viewed", "44600062", "2103", "shiseido", 35.79, "541312140", "s-9", "2019-10-01T00:00:00+00:00")
NAMES = ("event_type", "item_id", "category", "brand", "price", "user_id", "session_id", "occurred_at")


def found(shop, *names: str) -> list[tuple]:
    """Return columns of raw_events in the order of the file; times as text."""
    rows = sorted(shop.rows("raw_events"), key=lambda row: (row["source_file"], row["source_row"]))
    return [
        tuple(row[name].isoformat() if name.endswith("_at") else row[name] for name in names) for row in rows
    ]


def table(order, separator=",", row=ROW, names=str, values=str) -> list[str]:
    """Return a header and a line in this order of columns."""
    return [separator.join(names(one) for one in order), separator.join(values(row[one]) for one in order)]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


BACKWARDS = list(reversed(ROW))


@pytest.mark.parametrize(
    "lines",
    [
        table(ROW),
        table(ROW)[1:],
        table(BACKWARDS),
        table(BACKWARDS, ";"),
        table(BACKWARDS, "\t"),
        table(BACKWARDS, "|"),
        table(BACKWARDS, names=str.upper),
        table(BACKWARDS, names=lambda name: name.title().replace("_", "")),
        table(BACKWARDS, names=lambda name: name.replace("_", " ")),
        table(BACKWARDS, names=quoted),
        table(BACKWARDS, names=quoted, values=quoted),
        table(ROW, names=quoted, values=quoted),
        table(ROW, values=quoted)[1:],
        table(["more", *BACKWARDS, "columns"], row=ROW | {"more": "7", "columns": "x"}),
        table(BACKWARDS, values=lambda text: f" {text} "),
        [f"\ufeff{table(BACKWARDS)[0]}", table(BACKWARDS)[1]],
        [json.dumps(ROW)],
        [json.dumps({name.upper(): ROW[name] for name in BACKWARDS})],
        [json.dumps({name: value for name, value in ROW.items() if value})],
    ],
    ids=str,
)
def test_the_columns_of_rees46_are_found_by_their_names(shop, lines):
    shop.ingest(shop.write(lines, "log.csv"), "rees46")
    assert shop.rules() == []
    assert found(shop, *NAMES) == [READ]


def test_the_same_row_is_the_same_event_in_every_layout(shop):
    layouts = [
        table(ROW),
        table(ROW)[1:],
        table(BACKWARDS, ";"),
        table(ROW, values=quoted),
        [json.dumps(ROW)],
    ]
    for number, lines in enumerate(layouts):
        shop.write(lines, f"logs-{number}.csv")
    report = shop.ingest(str(shop.folder / "logs-*.csv"), "rees46")
    assert (report.rows_clean, report.rows_duplicate) == (1, len(layouts) - 1)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["event_time,event_type,product_id,price,user_id", "1,2,3,4,5"], "no column for user_session"),
        ([f"{REES46},user_id", "1"], "names the column user_id twice"),
    ],
)
def test_a_header_that_is_not_understood_is_refused_by_name(shop, lines, told):
    report = shop.ingest(shop.write(lines), "rees46")
    (message,) = report.files_failed.values()
    assert told in message
    assert lines[0].replace(",", ", ") in message
    assert "log.jsonl" in message
    assert report.files == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("date,action,article,group,path,maker,cost,shopper,visit", "of which none is known (9 columns)"),
        ("anna,view", "of which none is known (2 columns)"),
        ("event_time,event_type,anna@example.org,a street 7", "event_time, event_type, 2 more that are not"),
        ("Event time,Event type,anna@example.org", "Event time, Event type, 1 more that"),
        ("event_time,event_type,anna@example.org,event_type", "event_time, event_type, event_type, 1 more"),
    ],
)
def test_a_line_that_may_hold_data_of_a_shopper_is_not_quoted(shop, line, told):
    report = shop.ingest(shop.write([line, "1,2"]), "rees46")
    (message,) = report.files_failed.values()
    assert told in message
    (refused,) = shop.rows("refused_files")
    assert refused["reason"] == "HeaderError"
    assert not any(value in message + repr(refused) for value in ("anna", "street", "shopper,"))


def test_another_header_within_a_file_is_refused(shop):
    begin, *rest = table([*BACKWARDS, "mail"], row=ROW | {"mail": ""})
    lines = [*table(ROW), begin.replace("mail", "anna@example.org"), *rest]
    report = shop.ingest(shop.write(lines), "rees46")
    (message,) = report.files_failed.values()
    assert "in line 3 a header of other columns begins" in message
    assert f"{', '.join(BACKWARDS)}, 1 more that are not shown" in message
    assert "anna" not in message
    assert shop.lake.version("raw_events") is None


@pytest.mark.parametrize(
    "lines",
    [
        [*table(ROW), *table(ROW)],
        [table(ROW)[1], *table(ROW, names=quoted)],
        [*table(ROW), *table(ROW, names=str.upper)],
    ],
)
def test_the_same_header_again_is_no_event(shop, lines):
    report = shop.ingest(shop.write(lines), "rees46")
    assert (report.rows_clean, report.rows_duplicate, report.rows_quarantined) == (1, 1, 0)
    assert report.ignored_by_reason == {"header": 1}


def test_the_layout_holds_for_later_batches_and_for_a_second_run(shop):
    rows = [ROW | {"user_session": f"s{number}"} for number in range(7)]
    lines = [table(BACKWARDS)[0], *(table(BACKWARDS, row=row)[1] for row in rows)]
    options = IngestOptions(gx_sample_rows=0, batch_rows=3)
    path = shop.write(lines)
    report = shop.ingest(path, "rees46", options=options)
    assert (len(report.batches), report.rows_clean) == (3, 7)
    assert {row[:6] for row in found(shop, *NAMES)} == {READ[:6]}
    shop.write([*lines, table(BACKWARDS, row=ROW)[1]])
    again = shop.ingest(path, "rees46", options=options)
    assert (again.rows_clean, again.rows_duplicate) == (1, 7)


def test_the_same_lines_under_another_header_are_another_batch(shop):
    values = "5,7,2019-10-01 00:00:00 UTC,view,9,s"
    for name, order in [("a", "product_id,user_id"), ("b", "user_id,product_id")]:
        shop.write([f"{order},event_time,event_type,price,user_session", values], f"{name}.csv")
    report = shop.ingest(str(shop.folder / "*.csv"), "rees46")
    assert report.rows_clean == 2
    assert found(shop, "item_id", "user_id") == [("5", "7"), ("7", "5")]


def test_a_row_with_another_number_of_columns_goes_to_quarantine(shop):
    header, line = table(BACKWARDS)
    shop.ingest(shop.write([header, f"{line},x", line, line.rpartition(",")[0], "x"]), "rees46")
    assert shop.rules() == [["wrong_number_of_columns"]] * 3


QUOTED = [
    ('"a, b"', "a, b"),
    ('"12"" screen"', '12" screen'),
    ('""""', '"'),
    ('12" screen', '12" screen'),
    ('""', None),
    (' "a" ', "a"),
    ('"é, ü"', "é, ü"),
]


@pytest.mark.parametrize(("written", "brand"), QUOTED)
def test_quotes_follow_rfc_4180(shop, written, brand):
    lines = [REES46, table(ROW, row=ROW | {"brand": written})[1]]
    shop.ingest(shop.write(lines), "rees46")
    assert shop.rules() == []
    assert found(shop, "brand", "user_id") == [(brand, "541312140")]


def test_a_line_break_within_quotes_stays_in_its_record(shop):
    """A line break breaks the rule of an optional field, so that only the field's value is dropped."""
    first = table(ROW, row=ROW | {"brand": '"a\n\nb"'})[1]
    lines = [REES46, first, table(ROW)[1], table(ROW, row=ROW | {"category_code": '"x\r\n"'})[1]]
    shop.ingest(shop.write(lines), "rees46")
    assert shop.rules() == []
    assert [
        row["source_row"] for row in sorted(shop.rows("raw_events"), key=lambda row: row["source_row"])
    ] == [*(2, 5, 6)]


def test_an_unclosed_quote_swallows_no_other_line(shop):
    good = [table(ROW, row=ROW | {"user_session": f"s{number}"})[1] for number in range(250)]
    open_line = table(ROW, row=ROW | {"brand": '"shi'})[1]
    spoilt = table(ROW, row=ROW | {"brand": '"shi"seido'})[1]
    lines = [REES46, *good[:100], open_line, *good[100:], spoilt, open_line]
    report = shop.ingest(shop.write(lines), "rees46")
    assert (report.rows_clean, report.rows_quarantined) == (250, 3)
    assert shop.rules() == [["unclosed_quote"], ["misplaced_quote"], ["unclosed_quote"]]


def test_quoted_lines_may_be_mixed_and_cross_blocks(shop, monkeypatch):
    monkeypatch.setattr("lastaisle.ingest.reading.containers.READ_BYTES", 64)
    monkeypatch.setattr("lastaisle.ingest.reading.containers.HEAD_BYTES", 64)
    brands = ['"a, b"', "c", '"d\n, e"', '"f"'] * 5
    rows = [ROW | {"brand": brand, "user_session": f"s{number}"} for number, brand in enumerate(brands)]
    shop.ingest(shop.write([REES46, *(table(ROW, row=row)[1] for row in rows)]), "rees46")
    assert shop.rules() == []
    assert [brand for (brand,) in found(shop, "brand")] == ["a, b", "c", None, "f"] * 5


NOTHING = ["", "NULL", "null", r"\N", "NaN", "nan", "None", "undefined", "N/A", " "]


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_spelling_of_nothing_is_no_id_and_no_number(shop, nothing):
    missing = dict.fromkeys(("user_session", "price", "category_id"), nothing)
    rows = [ROW | missing | {"user_id": user} for user in ("5", "6")]
    rows.append(ROW | {"user_id": nothing, "user_session": nothing})
    rows.append(ROW | {"product_id": nothing})
    shop.ingest(shop.write([REES46, *(table(ROW, row=row)[1] for row in rows)]), "rees46")
    assert found(shop, "user_id", "session_id", "price", "category") == [
        ("5", None, None, None),
        ("6", None, None, None),
    ]
    assert len(shop.rules()) == 2


@pytest.mark.parametrize(
    ("written", "brand"), [("None", "None"), ("N/A", "N/A"), ("NULL", None), (r"\N", None)]
)
def test_a_brand_may_be_named_none(shop, written, brand):
    shop.ingest(shop.write([REES46, table(ROW, row=ROW | {"brand": written})[1]]), "rees46")
    assert found(shop, "brand") == [(brand,)]


CLICKS = ["1,2014-04-07T10:51:09.277Z,214536502,0", "1,2014-04-07T10:54:09.868Z,214536500,S"]
BUYS = ["420374,2014-04-06T18:44:58.314Z,214537888,12462,1", "420374,2014-04-06T18:44:58.325Z,214537850,0,0"]


def test_yoochoose_buys_are_orders(shop):
    """A price or a quantity of 0 means that it is not known."""
    shop.ingest(shop.write(BUYS), "yoochoose")
    assert found(
        shop, "event_type", "session_id", "item_id", "price", "quantity", "category", "order_id"
    ) == [
        ("order_completed", "420374", "214537888", 12462.0, 1, None, "420374-2014-04-06T18:44:58"),
        ("order_completed", "420374", "214537850", None, None, None, "420374-2014-04-06T18:44:58"),
    ]


@pytest.mark.parametrize(
    ("lines", "clean"),
    [
        ([*CLICKS, BUYS[0]], 2),
        ([*BUYS, CLICKS[0]], 2),
        ([*CLICKS, "1,2014-04-07T10:54:09.868Z,5", "1", "1,2"], 2),
    ],
)
def test_yoochoose_rows_of_another_number_of_columns_go_to_quarantine(shop, lines, clean):
    report = shop.ingest(shop.write(lines), "yoochoose")
    assert report.rows_clean == clean
    assert shop.rules() == [["wrong_number_of_columns"]] * (len(lines) - clean)


@pytest.mark.parametrize(
    "lines",
    [
        ["1\t214536502\t1396868069.277"],
        ["1,2014-04-07T10:54:29.277Z,214536502"],
        ["SessionId\tItemId\tTime", "1\t214536502\t1396868069.277"],
        ["Session ID,Timestamp,Item ID,Category", "1,2014-04-07T10:54:29.277Z,214536502,0"],
        ["item_id;session_id;time", "214536502;1;2014-04-07T10:54:29.277Z"],
        ['{"session_id": 1, "item_id": 214536502, "time": 1396868069.277}'],
    ],
)
def test_yoochoose_clicks_in_any_order(shop, lines):
    shop.ingest(shop.write(lines), "yoochoose")
    assert found(shop, "event_type", "session_id", "item_id", "occurred_at") == [
        ("item_viewed", "1", "214536502", "2014-04-07T10:54:29.277000+00:00")
    ]


MOMENT = pa.scalar(1_511_544_070_000_000, pa.timestamp("us")).as_py()
TYPES = [
    (pa.int64(), 1_511_544_070),
    (pa.int32(), 1_511_544_070),
    (pa.float64(), 1_511_544_070.0),
    (pa.string(), "1511544070"),
    (pa.timestamp("s"), MOMENT),
    (pa.timestamp("ms"), MOMENT),
    (pa.timestamp("us"), MOMENT),
    (pa.timestamp("ns"), MOMENT),
    (pa.timestamp("us", "UTC"), MOMENT),
    (pa.timestamp("ms", "UTC"), MOMENT),
]


@pytest.mark.parametrize(("kind", "time"), TYPES, ids=str)
def test_parquet_columns_keep_their_meaning(shop, kind, time):
    path = shop.folder / "log.parquet"
    columns = {
        "timestamp": pa.array([time], kind),
        "behavior_type": pa.array(["pv"]),
        "item_id": pa.array([2], pa.int32()),
        "user_id": pa.array([12_345_678_901], pa.int64()),
        "category_id": pa.array([3], pa.uint64()),
    }
    pq.write_table(pa.table(columns), path)
    shop.ingest(str(path), "taobao")
    assert shop.rules() == []
    assert found(shop, "user_id", "item_id", "category", "occurred_at") == [
        ("12345678901", "2", "3", "2017-11-24T17:21:10+00:00")
    ]


PARQUET = {
    "rees46": ({**ROW, "product_id": 44600062, "price": 35.79, "user_id": 5}, "44600062"),
    "retailrocket": ({"timestamp": 1433221332117, "visitorid": 5, "event": "view", "itemid": 7}, "7"),
    "yoochoose": ({"SessionId": 1, "ItemId": 7, "Time": 1396868069.277}, "7"),
    "otto": ({"session": 1, "events": [{"aid": 7, "ts": 1659304800025, "type": "clicks"}]}, "7"),
}


@pytest.mark.parametrize("form", PARQUET)
def test_every_format_is_read_from_parquet(shop, form):
    row, item = PARQUET[form]
    path = shop.folder / "log.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    shop.ingest(str(path), form)
    assert shop.rules() == []
    assert found(shop, "event_type", "item_id") == [("item_viewed", item)]


@pytest.mark.parametrize("value", [{"id": 5}, [5]])
def test_an_id_of_several_values_goes_to_quarantine(shop, value):
    shop.ingest(
        shop.write([*[json.dumps(ROW)] * 4, json.dumps(ROW | {"user_id": value}), "[]", "x", "5"]), "rees46"
    )
    assert shop.rules() == [["nested_value"], ["not_an_object"], ["not_json"], ["not_an_object"]]


def test_a_file_of_a_header_only_holds_no_row(shop):
    report = shop.ingest(shop.write([REES46]), "rees46")
    assert (report.files, report.rows_in) == (1, 0)


ABSURD = ["1511561733000", "-1", "1e30", "9" * 60, "nan", "inf", "0x10", "1_0", "٣"]


@pytest.mark.parametrize("time", ABSURD)
def test_an_absurd_time_breaks_a_rule_and_nothing_else(shop, time):
    report = shop.ingest(shop.write(["1,2,3,pv,1511544070", f"1,2,3,pv,{time}"]), "taobao")
    assert report.rows_clean + report.rows_quarantined == 2
    assert report.rows_clean >= 1


def test_orders_are_told_apart_by_their_number_of_columns():
    from lastaisle.ingest.sources import ADAPTERS, adapter

    for columns in (adapter(name).columns for name in ADAPTERS):
        for one, other in pairwise(columns.orders if columns else ()):
            assert set(one) <= set(columns.names)
            assert list(one) != list(other)
