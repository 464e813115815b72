"""Bad inputs, each with what becomes of it; and whatever the input, no row is lost."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.reading.file_kinds import name_unreadable_kind

GOOD = {
    "event_id": "good",
    "event_type": "item_viewed",
    "occurred_at": "2025-10-09T12:00:00Z",
    "session_id": "s",
    "item_id": "i",
}


def event(**changes) -> bytes:
    return json.dumps(GOOD | changes).encode() + b"\n"


def many(count: int) -> bytes:
    return b"".join(
        event(event_id=f"e{number:06d}", item_id=str(hash(str(number)))) for number in range(count)
    )


def cut_gzip() -> bytes:
    packed = gzip.compress(many(2000), mtime=0)
    return packed[: len(packed) // 2]


def damaged_gzip() -> bytes:
    packed = bytearray(gzip.compress(many(2000), mtime=0))
    packed[-8] ^= 1  # the check sum at the end
    return bytes(packed)


def raw(text: str) -> bytes:
    """One event whose item_id is a JSON string written as given."""
    return event(item_id="@").replace(b"@", text.encode())


# name: (bytes, clean rows, rules of each quarantined row)
CORPUS = {
    "blank lines": (b"\n\r\n\n" + event() + b"\n\n", 1, []),
    "no line end at the end": (event(event_id="a") + event().rstrip(), 2, []),
    "windows line ends": (event().replace(b"\n", b"\r\n"), 1, []),
    "byte order mark": (b"\xef\xbb\xbf" + event(), 1, []),
    "binary": (
        b"\x00\x01\xfe\xff\x80\x81\n" + event() + b"\xde\xad\xbe\xef",
        1,
        [["not_utf8"], ["not_utf8"]],
    ),
    "zero bytes": (b"\x00\x00\x00\n", 0, [["not_json"]]),
    "Latin-1": (event(brand="@").replace(b"@", "Café".encode("latin-1")), 0, [["not_utf8"]]),
    "empty gzip": (gzip.compress(b""), 0, []),
    "a line of 10 MB": (
        event(event_id="a") + b'{"x":"' + b"a" * 10_000_000 + b'"}\n' + event(),
        2,
        [["line_too_long"]],
    ),
    "10 MB without a line end": (event() + b"a" * 10_000_000, 1, [["line_too_long"]]),
    "10 MB of letters that are no UTF-8": (b"\xff" * 10_000_000 + b"\n" + event(), 1, [["line_too_long"]]),
    "a nested bomb": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n" + event(), 1, None),
    "a nested list": (b"[" * 100_000 + b"]" * 100_000 + b"\n" + event(), 1, None),
    "half a line": (b'{"event_id": "a", "event_ty\n' + event(), 1, [["not_json"]]),
    "a list": (b"[1, 2]\n", 0, [["not_an_object"]]),
    "a number": (b"5\n", 0, [["not_an_object"]]),
    "null": (b"null\n", 0, [["not_an_object"]]),
    "an object of nothing": (
        b"{}\n",
        0,
        [
            [
                "event_id_is_required",
                "event_type_is_required",
                "occurred_at_is_required",
                "user_or_session_is_required",
            ]
        ],
    ),
    "NaN price": (event(price=float("nan")), 0, [["price_is_finite", "price_in_range"]]),
    "NaN price as text": (event(price="NaN"), 0, [["price_is_finite", "price_in_range"]]),
    "infinite price": (event(price=float("inf")), 0, [["price_is_finite", "price_in_range"]]),
    "negative price": (event(price=-0.01), 0, [["price_in_range"]]),
    "price of words": (event(price="cheap"), 0, [["price_is_number"]]),
    "price beyond all numbers": (event(price="@").replace(b'"@"', b"1e999"), 0, None),
    "quantity of nothing": (event(quantity=0), 0, [["quantity_in_range"]]),
    "half a piece": (event(quantity=0.5), 0, [["quantity_is_integer"]]),
    "quantity beyond 32 bits": (event(quantity=2**40), 0, [["quantity_is_integer"]]),
    "1970": (event(occurred_at="1970-01-01T00:00:00Z"), 0, [["occurred_at_in_range"]]),
    "2999": (event(occurred_at="2999-01-01T00:00:00Z"), 0, [["occurred_at_not_in_future"]]),
    "a month of 13": (event(occurred_at="2025-13-01T00:00:00Z"), 0, [["occurred_at_is_timestamp"]]),
    "infinity": (event(occurred_at="infinity"), 0, [["occurred_at_is_timestamp"]]),
    "a second too many": (event(occurred_at="2025-10-09T12:00:61Z"), 0, [["occurred_at_is_timestamp"]]),
    "a bell": (raw("\\u0007"), 0, [["item_id_matches_pattern"]]),
    "an escape sequence": (raw("\\u001b[31m"), 0, [["item_id_matches_pattern"]]),
    "a zero character": (raw("a\\u0000b"), 0, [["item_id_matches_pattern"]]),
    "a line end inside": (raw("a\\nb"), 0, [["item_id_matches_pattern"]]),
    "an id of 201 letters": (event(item_id="i" * 201), 0, [["item_id_has_length"]]),
    "an empty id": (event(item_id=""), 0, [["item_event_needs_item_id"]]),
    "quotes as in SQL": (event(item_id="'; DROP TABLE staged; --"), 1, []),
    "an unknown event": (event(event_type="item_eaten"), 0, [["event_type_is_allowed"]]),
}


@pytest.mark.parametrize("name", CORPUS)
def test_garbage_has_its_outcome(shop, name):
    content, clean, rules = CORPUS[name]
    report = shop.ingest(shop.write(content))
    assert report.rows_clean == clean
    if rules is None:
        assert report.rows_quarantined == 1
    else:
        assert [sorted(found) for found in shop.rules()] == [sorted(expected) for expected in rules]
    assert all(len(row["payload"].encode()) <= 65_536 for row in shop.rows("quarantine"))


def test_a_cut_gzip_keeps_the_rows_before_the_cut(shop):
    report = shop.ingest(shop.write(cut_gzip(), "log.jsonl.gz"))
    assert 500 < report.rows_clean < 2000
    assert report.quarantined_by_rule == {"file_truncated": 1}


def test_a_damaged_gzip_is_not_trusted_at_all(shop):
    report = shop.ingest(shop.write(damaged_gzip(), "log.jsonl.gz"))
    assert (report.files, report.rows_in) == (0, 0)
    assert "damaged" in next(iter(report.files_failed.values()))
    assert shop.lake.version("raw_events") is None


def test_a_line_cut_by_the_break_is_not_taken_for_a_whole_one(shop):
    packed = gzip.compress(b"1\t11\t1396314141\n1\t1234", compresslevel=0, mtime=0)
    report = shop.ingest(shop.write(packed[:-10], "log.tsv.gz"), "yoochoose")
    assert report.rows_clean == 1
    assert report.quarantined_by_rule == {"file_truncated": 1}
    assert shop.rows("quarantine")[0]["payload"] == "1\t12"


def test_row_numbers_are_those_of_the_file(shop):
    shop.ingest(shop.write(b"\n\n[]\n\n" + event() + b"\xff\n" + b"x" * 2_000_000 + b"\n5"))
    assert [
        row["source_row"] for row in sorted(shop.rows("quarantine"), key=lambda row: row["source_row"])
    ] == [3, 6, 7, 8]
    assert shop.rows("raw_events")[0]["source_row"] == 5


lines = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {},
        optional={
            "event_id": st.sampled_from(["a", "b", "c", "", None, 5, {"x": 1}]),
            "event_type": st.sampled_from(["item_viewed", "order_completed", "nonsense", None, []]),
            "occurred_at": st.sampled_from(
                ["2025-10-09T12:00:00Z", "1969-01-01", "never", 17, "9999-12-31T23:59:59Z"]
            ),
            "received_at": st.sampled_from(["2025-10-09T15:00:00Z", "x", "0001-01-01"]),
            "session_id": st.sampled_from(["s", "", None]),
            "user_id": st.sampled_from(["u", "", None]),
            "item_id": st.text(max_size=3),
            "quantity": st.integers() | st.floats() | st.text(max_size=2),
            "price": st.floats() | st.text(max_size=3),
            "consent": st.sampled_from([{}, {"analytics": "no"}, 5, [], {"personalization": False}]),
        },
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(lines, max_size=12), st.sampled_from([b"\n", b"\r\n"]))
def test_no_row_is_lost_whatever_comes(make_shop, content, end):
    data = end.join(content)
    # Refused as a whole: what calls itself Parquet, gzip or the like, and a file without any byte.
    assume(data and not data.startswith((b"PAR1", b"\x1f\x8b")) and name_unreadable_kind(data) is None)
    shop = make_shop(f"shop-{_number()}")
    # Without this a file of nothing but garbage is refused as one of a wrong format.
    shop.options = IngestOptions(gx_sample_rows=0, accept_schema_change=True)
    report = shop.ingest(shop.write(data))
    lines = re.split(rb"[\r\n]+", data)
    assert report.rows_in == sum(line.replace(b"\xef\xbb\xbf", b"") != b"" for line in lines)
    assert len(shop.rows("raw_events")) == len(shop.rows("events")) == report.rows_clean
    assert len(shop.rows("quarantine")) == report.rows_quarantined
    assert all(row["rules"] for row in shop.rows("quarantine"))
    identifiers = [row["event_id"] for row in shop.rows("raw_events")]
    assert len(identifiers) == len(set(identifiers))


_numbers = iter(range(1_000_000))


def _number() -> int:
    return next(_numbers)
