"""Sources that change their fields: additions pass and are told of, removals and other types stop it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.ingest.checks.changes import ENOUGH_ROWS, SchemaChangeError, unknown_fields
from lastaisle.ingest.options import IngestOptions

ROWS = 120
NOW, HOUR = datetime(2025, 10, 10, tzinfo=UTC), timedelta(hours=1)
TABLES = ("raw_events", "quarantine", "batches", "events")


def batch(shop, first: int, name: str, rows: int = ROWS, **changes) -> str:
    return shop.write([shop.event(first + number, **changes) for number in range(rows)], name)


def taken(shop) -> dict[str, int]:
    return shop.lake.versions(TABLES)


def ingest(shop, *, folder: str = "", **given):
    """Ingest all files of a folder: one source, whatever its files are called."""
    return shop.ingest(str(shop.folder / folder / "*.jsonl"), **given)


def test_a_field_that_is_gone_stops_the_source_before_any_commit(shop):
    batch(shop, 0, "a.jsonl")
    ingest(shop)
    before = taken(shop)
    batch(shop, 1000, "b.jsonl", price=None)
    with pytest.raises(SchemaChangeError) as stopped:
        ingest(shop)
    text = str(stopped.value)
    assert f"price is gone ({ROWS} of {ROWS} rows had it, 0 of {ROWS} now)" in text
    for wanted in ("b.jsonl", "Nothing was committed", "raw_events.odcs.yaml", "--accept-schema-change"):
        assert wanted in text
    assert taken(shop) == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"price": "cheap"}, "price is no number"),
        ({"occurred_at": "yesterday"}, "occurred_at is no timestamp"),
        ({"quantity": "many"}, "quantity is no integer"),
    ],
)
def test_a_field_of_another_type_stops_the_source_before_any_commit(shop, changes, told):
    batch(shop, 0, "a.jsonl", quantity=1)
    ingest(shop)
    before = taken(shop)
    batch(shop, 1000, "b.jsonl", **({"quantity": 1} | changes))
    with pytest.raises(SchemaChangeError, match=told):
        ingest(shop)
    assert taken(shop) == before


def test_other_sources_go_on(shop):
    for folder in ("web", "app"):
        (shop.folder / folder).mkdir()
        batch(shop, 0 if folder == "web" else 5000, f"{folder}/a.jsonl")
        ingest(shop, folder=folder)
    batch(shop, 1000, "web/b.jsonl", price=None)
    batch(shop, 6000, "app/b.jsonl")
    with pytest.raises(SchemaChangeError, match="web"):
        ingest(shop, folder="web")
    assert ingest(shop, folder="app").rows_clean == ROWS


def test_a_change_that_is_accepted_is_the_state_to_compare_with_afterwards(shop):
    options = IngestOptions(gx_sample_rows=0, accept_schema_change=True)
    batch(shop, 0, "a.jsonl")
    ingest(shop)
    batch(shop, 1000, "b.jsonl", price=None)
    assert ingest(shop, options=options, now=NOW + HOUR).rows_clean == ROWS
    batch(shop, 2000, "c.jsonl", price=None)
    assert ingest(shop, now=NOW + 2 * HOUR).rows_clean == ROWS
    batch(shop, 3000, "d.jsonl", price=None, currency=None)
    with pytest.raises(SchemaChangeError, match="currency is gone"):
        ingest(shop, now=NOW + 3 * HOUR)


def test_a_new_version_of_the_contract_begins_anew(shop):
    batch(shop, 0, "a.jsonl")
    ingest(shop)
    batch(shop, 1000, "b.jsonl", price=None)
    first = shop.contracts["contract"].version
    raised = replace(shop.contracts["contract"], version="9.0.0")
    assert ingest(shop, contract=raised).rows_clean == ROWS
    assert {row["contract_version"] for row in shop.rows("batches")} == {first, "9.0.0"}
    batch(shop, 2000, "c.jsonl", item_id=None, event_type="page_viewed")
    with pytest.raises(SchemaChangeError, match="item_id is gone"):
        ingest(shop, contract=raised)


def test_an_optional_field_that_comes_anew_passes(shop):
    batch(shop, 0, "a.jsonl")
    ingest(shop)
    batch(shop, 1000, "b.jsonl", brand="Acme")
    assert ingest(shop).rows_clean == ROWS
    assert {row["brand"] for row in shop.rows("events")} == {None, "Acme"}


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (ENOUGH_ROWS - 1, {"price": None}),  # too few to tell
        (ROWS, {"referrer": "https://example.com/x"}),  # nothing is missing
        (ROWS, {"price": -1}),  # broken rows are for the rules
    ],
)
def test_what_is_no_change_of_fields_passes(shop, rows, changes):
    batch(shop, 0, "a.jsonl")
    ingest(shop)
    batch(shop, 1000, "b.jsonl", rows=rows, **changes)
    assert ingest(shop).files == 2


def test_a_field_that_few_rows_carry_may_be_missing(shop):
    shop.write(
        [shop.event(number, order_id="o1" if number % 3 == 0 else None) for number in range(ROWS)], "a.jsonl"
    )
    ingest(shop)
    batch(shop, 1000, "b.jsonl")
    assert ingest(shop).rows_clean == ROWS


def test_fields_that_the_contract_has_no_place_for_are_told_of(shop, caplog):
    batch(shop, 0, "a.jsonl", coupon="SPRING", consent={"analytics": False})
    with caplog.at_level(logging.WARNING):
        report = ingest(shop)
    assert (report.rows_clean, report.unknown_fields) == (ROWS, {"coupon": ROWS})
    assert "has no field for {'coupon': 120}" in caplog.text
    assert "SPRING" not in caplog.text
    assert report.to_dict()["unknown_fields"] == {"coupon": ROWS}


def test_known_fields_are_not_told_of(shop, caplog):
    batch(shop, 0, "a.jsonl", consent={"personalization": True}, consent_analytics=True)
    assert ingest(shop).unknown_fields == {}
    assert "no field" not in caplog.text


def test_only_objects_have_fields_and_a_shop_that_uses_ids_for_names_does_not_fill_the_log():
    lines = ["{", "[1]", "null", '"text"', "[" * 100_000, json.dumps({"a": 1, "b": 2}), '{"b": 3}']
    assert unknown_fields(lines, {"a"}) == {"b": 2}
    assert len(unknown_fields([json.dumps({f"id-{n}": n for n in range(500)})], ())) == 20


def test_the_lines_of_other_formats_have_places_of_their_own(shop):
    line = json.dumps({"event": "x", "type": "track", "messageId": "m", "anything": 1})
    report = shop.ingest(shop.write([line]), "segment")
    assert report.unknown_fields == {}
