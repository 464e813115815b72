"""Values of Parquet keep their meaning, and a small file cannot take all memory."""

from __future__ import annotations

import datetime as dt
import io
import json
import uuid
from decimal import Decimal

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lastaisle.ingest.reading.lines import MAX_LINE_BYTES, PAYLOAD_BYTES
from lastaisle.ingest.reading.parquet import parquet_lines


def packed(table: pa.Table, **options) -> io.BytesIO:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    stream.seek(0)
    return stream


def rows(table: pa.Table, **options) -> list[tuple[dict | str, str | None]]:
    found = []
    for lines, reasons in parquet_lines(packed(table, **options), MAX_LINE_BYTES, PAYLOAD_BYTES):
        for line, reason in zip(lines.to_pylist(), reasons.to_pylist(), strict=True):
            found.append((json.loads(line) if reason is None else line, reason))
    return found


def value(array: pa.Array, **options) -> object:
    """Return the first value of a column as ingestion reads it."""
    ((row, reason),) = rows(pa.table({"value": array}), **options)
    assert reason is None
    return row["value"]


STAMP = dt.datetime(2025, 10, 9, 12, 0, 0, 120_000)
TYPES = {
    "whole float": (pa.array([123.0]), "123"),
    "float": (pa.array([9.9]), "9.9"),
    "small whole float": (pa.array([123.0], pa.float32()), "123"),
    "small float": (pa.array([9.9], pa.float32()), "9.9"),
    "half float": (pa.array([5.0], pa.float16()), "5"),
    "negative zero": (pa.array([-0.0]), "0"),
    "integer": (pa.array([2**63 - 1]), "9223372036854775807"),
    "unsigned": (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
    "whole decimal": (pa.array([Decimal("123.00")]), "123"),
    "decimal": (pa.array([Decimal("9.90")]), "9.90"),
    "long decimal": (pa.array([Decimal(10) ** 50], pa.decimal256(60, 0)), "1" + "0" * 50),
    "date": (pa.array([STAMP.date()]), "2025-10-09"),
    "seconds": (pa.array([1760011200], pa.timestamp("s")), "2025-10-09 12:00:00"),
    "milliseconds": (pa.array([STAMP], pa.timestamp("ms")), "2025-10-09 12:00:00.12"),
    "nanoseconds": (pa.array([1760011200123456789], pa.timestamp("ns")), "2025-10-09 12:00:00.123456"),
    "zone": (pa.array([1760011200000], pa.timestamp("ms", "Europe/Berlin")), "2025-10-09 12:00:00+00"),
    "far time": (pa.array([2**62], pa.timestamp("ms")), f"{2**62} ms"),
    "boolean": (pa.array([True]), "true"),
    "null": (pa.nulls(1), None),
    "uuid": (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), str(uuid.UUID(int=1))),
    "bytes": (pa.array(["café".encode()]), "café"),
    "fixed bytes": (pa.array([b"abc"], pa.binary(3)), "abc"),
    "large text": (pa.array(["é"], pa.large_string()), "é"),
    "text view": (pa.array(["é"], pa.string_view()), "é"),
    "category": (pa.array(["é"]).dictionary_encode(), "é"),
    "category of numbers": (pa.array([5]).dictionary_encode(), "5"),
    "list": (pa.array([[b"\xc3\xa9", None]]), ["é", None]),
    "no list": (pa.array([None], pa.list_(pa.string())), None),
    "struct": (pa.array([{"a": {"b": b"x"}, "t": STAMP}]), {"a": {"b": "x"}, "t": "2025-10-09 12:00:00.12"}),
    "map": (pa.array([[("k", b"v"), ("n", None)]], pa.map_(pa.string(), pa.binary())), {"k": "v", "n": None}),
    "no map": (pa.array([None], pa.map_(pa.string(), pa.string())), None),
    "list of structs": (pa.array([[{"id": 5.0, "s": "x"}]]), [{"id": 5.0, "s": "x"}]),
    "JSON as text": (pa.array(['{"a":1}']), '{"a":1}'),
}


@pytest.mark.parametrize("stored", [True, False], ids=["with Arrow's schema", "without it"])
@pytest.mark.parametrize("name", TYPES)
def test_a_type_keeps_its_meaning(name, stored):
    array, expected = TYPES[name]
    found = value(array, store_schema=stored)
    if not stored and name == "uuid":
        assert found == expected
    elif not stored and name == "zone":
        assert found == "2025-10-09 12:00:00+00"
    else:
        assert found == expected


def test_bytes_that_are_no_text_cost_only_their_row():
    table = pa.table({"id": [b"a", b"\xff", "café".encode()], "tags": [[b"x"], None, [b"\xc3\xa9"]]})
    assert [reason for _, reason in rows(table, store_schema=False)] == [None, "not_utf8", None]
    table = pa.table({"id": ["a", "b"], "tags": [[b"\xff"], [b"\xc3\xa9"]]})
    assert [reason for _, reason in rows(table)] == ["not_utf8", None]


def test_text_whose_mark_lies_is_checked():
    liar = pa.StringArray.from_buffers(
        2, pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])), pa.py_buffer(b"\xffa")
    )
    assert [reason for _, reason in rows(pa.table({"id": liar}))] == ["not_utf8", None]


def test_an_id_that_lost_digits_as_a_float_is_told_apart():
    found = rows(pa.table({"id": [1234567890123456789.0, 2.0**53 - 1, None, float("nan")]}))
    assert [reason for _, reason in found] == ["inexact_number", None, None, None]
    assert found[1][0] == {"id": "9007199254740991"}


def test_rows_of_parquet_become_events(shop):
    path = shop.folder / "log.parquet"
    events = {
        "event_id": [b"e1", b"e2"],
        "event_type": ["item_viewed"] * 2,
        "occurred_at": pa.array([STAMP, STAMP], pa.timestamp("ns")),
        "session_id": [5.0, 6.0],
        "item_id": ["café-1".encode(), b"\xff"],
    }
    pq.write_table(pa.table(events), path, store_schema=False)
    report = shop.ingest(str(path))
    assert (report.rows_clean, report.quarantined_by_rule) == (1, {"not_utf8": 1})
    (row,) = shop.rows("raw_events")
    assert (row["item_id"], row["session_id"], str(row["occurred_at"])) == (
        *("café-1", "5"),
        "2025-10-09 12:00:00.120000+00:00",
    )


def damaged() -> bytes:
    content = bytearray(packed(pa.table({"event_id": [str(number) for number in range(999)]})).getvalue())
    content[20:60] = bytes(40)
    return bytes(content)


BAD = {
    "two columns of one name": (
        lambda: packed(pa.Table.from_arrays([pa.array(["a"])] * 2, ["item_id", "Item_ID"])).getvalue(),
        "its columns 'item_id', 'Item_ID' differ only in their capitals",
    ),
    "no columns": (lambda: packed(pa.table({})).getvalue(), "without columns"),
    "damaged": (damaged, "cannot read"),
    "cut": (lambda: packed(pa.table({"a": ["x"] * 99})).getvalue()[:-20], "cannot read"),
    "encrypted": (lambda: b"PARE" + bytes(99) + b"PARE", "encrypted"),
    "only the mark": (lambda: b"PAR1", "cannot read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_and_the_others_are_taken_in(shop, name):
    make, message = BAD[name]
    bad = shop.write(make(), "a.parquet")
    shop.write([shop.event(1)], "b.jsonl")
    report = shop.ingest(str(shop.folder / "*.*"))
    assert list(report.files_failed) == [bad]
    assert message in report.files_failed[bad]
    assert (report.rows_in, report.rows_clean) == (1, 1)


def test_a_file_without_rows_is_named(shop):
    path = shop.write(packed(pa.table({"event_id": pa.array([], pa.string())})).getvalue(), "a.parquet")
    report = shop.ingest(path)
    assert (report.rows_in, report.files, list(report.files_passed_over)) == (0, 1, [path])


def repeated(texts: list[str], count: int) -> pa.Array:
    places = pa.array([place % len(texts) for place in range(count)], pa.int32())
    return pa.DictionaryArray.from_arrays(places, pa.array(texts))


@pytest.mark.parametrize("nested", [False, True])
def test_a_small_file_of_one_huge_text_needs_little_memory(nested):
    """Its 1,000 rows would take 1.2 GB as text."""
    column = repeated(["x" * 1_200_000], 1000)
    if nested:
        column = pa.ListArray.from_arrays(pa.array(range(1001), pa.int32()), column)
    stream = packed(pa.table({"value": column}), store_schema=False)
    assert len(stream.getvalue()) < 100_000
    process, count, most = psutil.Process(), 0, 0
    before = process.memory_info().rss
    for lines, reasons in parquet_lines(stream, MAX_LINE_BYTES, PAYLOAD_BYTES):
        count += len(lines)
        assert set(reasons.to_pylist()) == {"line_too_long"}
        most = max(most, process.memory_info().rss - before)
    assert count == 1000
    assert most < 400 << 20


def test_rows_that_are_too_long_are_cut_and_keep_their_place():
    found = rows(pa.table({"value": repeated(["a", "é" * 600_000], 5)}), store_schema=False)
    assert [reason for _, reason in found] == [None, "line_too_long", None, "line_too_long", None]
    assert all(len(str(line)) < PAYLOAD_BYTES for line, _ in found)


def test_a_column_that_unpacks_a_thousand_times_is_refused(monkeypatch):
    from lastaisle.ingest.reading import parquet

    monkeypatch.setattr(parquet, "_MOST_UNPACKED", 1 << 20)
    stream = packed(pa.table({"value": ["x" * 4_000_000]}), use_dictionary=False, compression="zstd")
    with pytest.raises(OSError, match=r"'value' unpacks from [\d,]+ bytes to 4,000"):
        list(parquet_lines(stream, MAX_LINE_BYTES, PAYLOAD_BYTES))
