"""Values of a wrong type or spelling: an id costs the event, an optional field costs only its value."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lastaisle.ingest.options import IngestOptions

ODD = {
    "country": ("Atlantis", "country_matches_pattern"),
    "currency": ("$", "currency_matches_pattern"),
    "device_type": ("fridge", "device_type_is_allowed"),
    "brand": ("b" * 201, "brand_has_length"),
    "category": ("tab\tand bell\u0007", "category_matches_pattern"),
    "region": ("r" * 101, "region_has_length"),
    "dwell_ms": ("a while", "dwell_ms_is_integer"),
    "referrer": ("https://x/" + "y" * 4000, "referrer_has_length"),
}


def test_an_optional_value_that_cannot_be_read_is_left_out_and_counted(shop):
    lines = [shop.event(number, **{name: value}) for number, (name, (value, _)) in enumerate(ODD.items())]
    report = shop.ingest(shop.write([*lines, shop.event(99, dwell_ms=-1, country="USA", currency="eur")]))
    assert (report.rows_clean, report.rows_quarantined) == (len(lines) + 1, 0)
    assert report.warnings_by_rule == dict.fromkeys(
        [rule for _, rule in ODD.values()] + ["dwell_ms_in_range"], 1
    )
    rows = {row["event_id"]: row for row in shop.rows("raw_events")}
    assert [rows[f"event-{number}"][name] for number, name in enumerate(ODD)] == [None] * len(ODD)
    assert (rows["event-99"]["country"], rows["event-99"]["currency"]) == ("US", "EUR")


def test_great_expectations_judges_the_row_without_the_value(shop):
    lines = [shop.event(number, **{name: value}) for number, (name, (value, _)) in enumerate(ODD.items())]
    report = shop.ingest(shop.write(lines), options=IngestOptions(gx_sample_rows=100))
    assert report.rows_clean == len(lines)
    assert [row["gx_success"] for row in shop.rows("batches")] == [True]


def test_a_quarantined_row_gives_no_warning(shop):
    report = shop.ingest(shop.write([shop.event(1, country="Atlantis", price=-1)]))
    assert (shop.rules(), report.warnings_by_rule) == ([["price_in_range"]], {})


@pytest.mark.parametrize("name", ["user_id", "session_id", "item_id", "order_id"])
def test_an_id_of_another_type_sends_the_row_to_quarantine(shop, name):
    given = [{"id": 5}, [5], True, False, 1.5e25, "1.23E+18", "a\u0001b"]
    shop.ingest(shop.write(shop.event(number, **{name: value}) for number, value in enumerate(given)))
    assert shop.rows("raw_events") == []
    assert {rules[0] for rules in shop.rules()} == {f"{name}_is_string", f"{name}_matches_pattern"}


def test_an_id_is_the_same_whether_a_number_or_a_text(shop):
    given = [123, 123.0, "123", "123.0", " 123 "]
    lines = [shop.event(number, item_id=value) for number, value in enumerate(given)]
    lines.append(json.dumps(shop.event(9, item_id="@")).replace('"@"', "12345678901234567890123"))
    shop.ingest(shop.write(lines))
    items = pa.array([123.0, 5.0, None], pa.float64())
    events = pa.Table.from_pylist(
        [shop.event(number, item_id=None, event_type="page_viewed") for number in (20, 21, 22)]
    )
    pq.write_table(events.append_column("item_id", items), shop.folder / "a.parquet")
    shop.ingest(str(shop.folder / "a.parquet"))
    found = [
        row["item_id"] for row in sorted(shop.rows("raw_events"), key=lambda row: int(row["event_id"][6:]))
    ]
    assert found == ["123"] * 5 + ["12345678901234567890123", "123", "5", None]


def test_a_missing_number_of_json_is_no_text(shop):
    line = json.dumps(shop.event(1, user_id=float("nan"), brand=float("nan"), category=float("-inf")))
    shop.ingest(shop.write([line]))
    row = shop.rows("raw_events")[0]
    assert (row["user_id"], row["brand"], row["category"]) == (None, None, None)


def test_two_readers_never_disagree_about_a_line(shop):
    good = json.dumps(shop.event(1, brand="\U0001f600"))
    lines = [
        good,
        json.dumps(shop.event(2)).replace("item-2", "a\\ud800b"),
        json.dumps(shop.event(3)).replace('"price"', '"note": "cut\\ud83d", "price"'),
        json.dumps(shop.event(4))[:-1] + ', "item_id": "other"}',
        json.dumps(shop.event(5))[:-1] + ', "note": 1, "note": 2}',
        "{'event_id': 1}",
    ]
    shop.ingest(shop.write(lines))
    assert [row["brand"] for row in shop.rows("raw_events")] == ["\U0001f600"]
    assert shop.rules() == [
        ["lone_surrogate"],
        ["lone_surrogate"],
        ["duplicate_key"],
        ["duplicate_key"],
        ["not_json"],
    ]
