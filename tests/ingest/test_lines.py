"""Lines end as each system ends them, and marks of joined files are no part of an id."""

from __future__ import annotations

import pytest

from lastaisle.ingest.reading import lines as lines_module
from lastaisle.ingest.reading.files import list_files
from lastaisle.ingest.reading.lines import read_lines

BOM = b"\xef\xbb\xbf"


def rows(path: str) -> list[tuple[int, str, str | None]]:
    (file,) = list_files(path).files
    return [
        (row["source_row"], row["payload"].strip("\r\n"), row["reason"])
        for batch in read_lines(file)
        for row in batch.to_pylist()
    ]


@pytest.mark.parametrize("chunk", [1 << 18, 1, 2, 3, 7])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\rb\rc", [(1, "a"), (2, "b"), (3, "c")]),
        (b"a\rb\rc\r", [(1, "a"), (2, "b"), (3, "c")]),
        (b"a\r\nb\nc\rd", [(1, "a"), (2, "b"), (3, "c"), (4, "d")]),
        (b"a\r\n\r\nb\r\rc\n\nd", [(1, "a"), (3, "b"), (5, "c"), (7, "d")]),
        (BOM + b"a\n" + BOM + b"b\r" + BOM + BOM + b"c", [(1, "a"), (2, "b"), (3, "c")]),
        (b"a" + BOM + b"\n" + BOM + b"\nb", [(1, "a\ufeff"), (3, "b")]),
    ],
)
def test_every_line_end_and_every_mark(shop, monkeypatch, chunk, content, expected):
    from lastaisle.ingest.reading import containers

    monkeypatch.setattr(containers, "READ_BYTES", chunk)
    monkeypatch.setattr(containers, "HEAD_BYTES", 1)
    assert rows(shop.write(content)) == [(number, text, None) for number, text in expected]


def test_a_line_that_is_too_long_ends_at_a_carriage_return_too(shop, monkeypatch):
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 10)
    found = rows(shop.write(b"a\r" + b"x" * 5_000_000 + b"\rb\r"))
    assert [(number, reason) for number, _, reason in found] == [(1, None), (2, "line_too_long"), (3, None)]


def test_a_file_from_an_old_mac_is_read(shop):
    header = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
    events = [
        f"2019-10-01 00:00:0{second} UTC,view,{item},2103,,shiseido,35.79,541312140,72d7"
        for second, item in enumerate((44600062, 3900821))
    ]
    report = shop.ingest(shop.write("\r".join([header, *events]).encode()), "rees46")
    assert (report.rows_in, report.rows_clean) == (2, 2)
    assert sorted(row["item_id"] for row in shop.rows("raw_events")) == ["3900821", "44600062"]


def test_joined_files_give_the_same_user(shop):
    line = b"1,2268318,2520377,pv,1511544070"
    shop.ingest(shop.write(BOM + line + b"\n" + BOM + line.replace(b"070", b"071") + b"\n"), "taobao")
    assert [row["user_id"] for row in shop.rows("raw_events")] == ["1", "1"]


def test_zero_bytes_of_a_crash_cost_only_their_line(shop):
    report = shop.ingest(
        shop.write(b"1,2,3,pv,1511544070\n" + bytes(4096) + b"1,2,3,pv,1511544071\n"), "taobao"
    )
    assert (report.rows_clean, report.rows_quarantined) == (1, 1)
