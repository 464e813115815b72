"""Personal data where none belongs is left out or quarantined, counted, and told, in every format."""

from __future__ import annotations

import json
import logging

import duckdb

from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.staging.staging import _without_values

MAIL, PHONE, CARD = "anna@example.org", "+49 30 1234567", "4111 1111 1111 1111"
IP, IBAN = "203.0.113.9", "DE89 3704 0044 0532 0130 00"


def everything(shop) -> str:
    """Return all that the tables but raw_events and quarantine hold."""
    return repr([shop.rows(name) for name in ("events", "batches", "files")])


def test_finds_in_kept_texts_are_left_out_and_counted(shop):
    rows = [
        shop.event(1, brand=f"for {MAIL}", category="shoes"),
        shop.event(2, brand=f"for {MAIL}", category=f"call {PHONE}"),
        shop.event(3, brand=CARD, category=IBAN, referrer=f"http://{IP}/x"),
        shop.event(4, brand="Acme", category="shoes", referrer="https://search.example/q?anna@example.org"),
    ]
    report = shop.ingest(shop.write(rows))
    found = {
        "brand_holds_email": 2,
        "brand_holds_card": 1,
        "category_holds_phone": 1,
        "category_holds_iban": 1,
        "referrer_holds_ip": 1,
    }
    assert report.personal_data == found
    assert report.rows_clean == 4
    assert {rule: report.warnings_by_rule[rule] for rule in found} == found
    events = {row["item_id"]: row for row in shop.rows("events")}
    assert [events[f"item-{n}"]["brand"] for n in (1, 2, 3, 4)] == [None, None, None, "Acme"]
    assert [events[f"item-{n}"]["category"] for n in (1, 2, 3, 4)] == ["shoes", None, None, "shoes"]
    assert [events[f"item-{n}"]["referrer"] for n in (3, 4)] == [None, "search.example"]
    (batch,) = shop.rows("batches")
    assert json.loads(batch["personal_data"]) == found
    assert not any(text in everything(shop) for text in (MAIL, PHONE, CARD, IP, IBAN))


def test_a_find_in_an_identifier_sends_the_row_to_quarantine(shop):
    good = shop.event(2, item_id="4006381333931")  # a number of thirteen digits is an article
    report = shop.ingest(shop.write([shop.event(1, item_id=MAIL, brand=IP), good]))
    assert (report.rows_clean, report.rows_quarantined) == (1, 1)
    assert report.personal_data == {"brand_holds_ip": 1, "item_id_holds_email": 1}
    (row,) = shop.rows("quarantine")
    assert row["rules"] == ["item_id_holds_email"]
    assert json.loads(row["payload"])["item_id"] == MAIL  # can be mended and ingested again
    assert not any(text in everything(shop) for text in (MAIL, IP))


def test_numbers_of_articles_are_no_cards_and_no_telephones(shop):
    ids = ["4111111111111111", "00491701234567", "378282246310005", "DE00370400440532013000", "item-1.2.3"]
    report = shop.ingest(shop.write([shop.event(n, item_id=item) for n, item in enumerate(ids, 1)]))
    assert (report.rows_clean, report.personal_data) == (5, {})


def test_fields_that_the_contract_does_not_know_are_searched_and_named(shop, caplog):
    rows = [
        shop.event(n, customer={"mail": f"{n}{MAIL}", "seen": [IP]}, **{MAIL: 1, "size": "XL"})
        for n in (1, 2)
    ]
    report = shop.ingest(shop.write(rows))
    assert report.unknown_fields == {"customer": 2, "another field": 2, "size": 2}
    assert report.personal_data == {
        "another_field_holds_email": 2,
        "customer_holds_email": 2,
        "customer_holds_ip": 2,
    }
    assert report.rows_clean == 2
    kept = everything(shop) + repr(shop.rows("raw_events")) + caplog.text + repr(report)
    assert "example.org" not in kept
    assert IP not in kept


def test_the_name_of_an_ignored_event_is_no_reason_if_it_holds_an_address(shop):
    call = {"type": "track", "userId": "u", "timestamp": "2025-10-09T12:00:00Z", "properties": {}}
    rows = [
        call | {"messageId": "1", "event": f"Wrote to {MAIL}"},
        call | {"messageId": "2", "event": "Wrote"},
    ]
    report = shop.ingest(shop.write(rows), "segment")
    assert report.ignored_by_reason == {"track: Wrote": 1, "other": 1}
    assert report.personal_data == {"ignored_reason_holds_email": 1}
    assert MAIL not in everything(shop) + repr(report)


def test_a_column_of_a_table_is_searched_too(shop):
    lines = ["event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"]
    lines += [
        f"2025-10-09 12:00:0{n} UTC,view,{n},7,a.b,{brand},1.5,u{n},s{n}"
        for n, brand in enumerate((MAIL, "x"))
    ]
    report = shop.ingest(shop.write(lines, "log.csv"), "rees46")
    assert (report.rows_clean, report.personal_data) == (2, {"brand_holds_email": 1})
    assert MAIL not in everything(shop) + repr(shop.rows("raw_events"))


def test_national_numbers_are_searched_only_for_the_countries_that_the_shop_names(shop):
    source = shop.write([shop.event(1, brand="Tel. 030 1234567")])
    assert shop.ingest(source).personal_data == {}
    options = IngestOptions(gx_sample_rows=0, phone_countries=("DE",))
    other = shop.write([shop.event(2, brand="Tel. 030 1234567")], "other.jsonl")
    assert shop.ingest(other, options=options).personal_data == {"brand_holds_phone": 1}


def test_the_log_tells_the_fields_and_never_a_value(shop, caplog):
    with caplog.at_level(logging.WARNING):
        shop.ingest(shop.write([shop.event(1, brand=MAIL)]))
    assert "brand_holds_email" in caplog.text
    assert MAIL not in caplog.text


def test_the_same_rows_again_are_duplicates_although_a_value_was_left_out(shop):
    shop.ingest(shop.write([shop.event(1, brand=MAIL)]))
    again = shop.ingest(shop.write([shop.event(1, brand=MAIL), shop.event(2)], "more.jsonl"))
    assert (again.rows_clean, again.rows_duplicate, again.rows_quarantined) == (1, 1, 0)


def test_a_source_whose_every_value_was_left_out_did_not_lose_its_field(shop):
    for name, brand, first in (("1.jsonl", "x", 1), ("2.jsonl", MAIL, 121)):
        shop.write([shop.event(n, brand=brand) for n in range(first, first + 120)], name)
    report = shop.ingest(str(shop.folder))
    assert (report.files_failed, report.rows_clean) == ({}, 240)
    assert report.personal_data == {"brand_holds_email": 120}


def test_an_error_of_duckdb_is_told_without_the_values_in_quotes():
    error = duckdb.ConversionException(f"Could not convert string \"{MAIL}\" to INT32 in '{IP}'")
    assert _without_values(error) == "Could not convert string … to INT32 in …"


def test_numbers_of_cards_and_telephones_are_no_prices_and_no_dwell_times(shop):
    rows = [
        shop.event(1, price=4111111111111111),
        shop.event(2, price=4930123456789),
        shop.event(3, dwell_ms=4930123456789),
        shop.event(4, price=999_999_999.99, dwell_ms=86_400_000),
    ]
    report = shop.ingest(shop.write(rows))
    assert (report.rows_clean, shop.rules()) == (2, [["price_in_range"], ["price_in_range"]])
    assert report.warnings_by_rule == {"dwell_ms_in_range": 1}
    events = {row["item_id"]: (row["price"], row["dwell_ms"]) for row in shop.rows("events")}
    assert events == {"item-3": (9.9, None), "item-4": (999_999_999.99, 86_400_000)}
