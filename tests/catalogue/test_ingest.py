"""Files of a catalogue become the history of its items, exactly once."""

from __future__ import annotations

import gzip
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.contract import load_contract
from lastaisle.catalogue.history import catalogue_version
from lastaisle.errors import ExitCode, SourceError
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake.tables import CATALOGUE_BATCHES, CATALOGUE_BATCHES_SCHEMA, ITEMS, ITEMS_SCHEMA

from .conftest import NOW, at

LAMP = {"item_id": "1", "title": "Lamp", "category": "home", "price": 10.0, "currency": "EUR"}
KNIFE = {"item_id": "2", "title": "Knife", "available": False}
SHOES = {"item_id": "3", "title": "Shoes"}


def without_id(row):
    return {name: value for name, value in row.items() if name != "item_id"}


def test_the_table_has_the_fields_of_the_contract():
    fields = load_contract("items").arrow_schema()
    assert [*fields, pa.field("batch_id", pa.string())] == list(ITEMS_SCHEMA)


def test_a_full_file_becomes_the_catalogue(feed):
    report = feed.full(LAMP, KNIFE)
    assert (report.rows_in, report.rows_clean, report.items_removed) == (2, 2, 0)
    assert feed.now() == {"1": {**without_id(LAMP), "available": True}, "2": without_id(KNIFE)}
    assert feed.history("1")[0]["valid_from"] == at(0)
    assert feed.lake.scan(CATALOGUE_BATCHES).schema == CATALOGUE_BATCHES_SCHEMA


def test_only_what_changed_adds_a_row(feed):
    feed.full(LAMP, KNIFE, hour=0)
    report = feed.full({**LAMP, "price": 8}, KNIFE, hour=1)
    assert (report.rows_clean, report.rows_duplicate) == (1, 1)
    assert [row["price"] for row in feed.history("1")] == [10.0, 8.0]
    assert len(feed.history("2")) == 1
    assert feed.now(at(0.5))["1"]["price"] == 10.0
    version = catalogue_version(feed.lake)
    assert feed.full({**LAMP, "price": 8}, KNIFE, hour=2).rows_clean == 0
    assert catalogue_version(feed.lake) == version


def test_an_item_that_a_full_file_no_longer_lists_is_removed_and_can_come_back(feed):
    feed.full(LAMP, KNIFE, SHOES, hour=0)
    assert feed.full(LAMP, KNIFE, hour=1).items_removed == 1
    assert set(feed.now()) == {"1", "2"}
    assert feed.history("3")[-1]["title"] == "Shoes"
    feed.full(LAMP, KNIFE, SHOES, hour=2)
    assert set(feed.now()) == {"1", "2", "3"}
    assert set(feed.now(at(1))) == {"1", "2"}


def test_the_same_file_twice_gives_the_same_tables(feed):
    path = feed.write([LAMP, KNIFE])
    feed.ingest(path)
    before = {name: feed.lake.version(name) for name in (ITEMS, CATALOGUE_BATCHES, "quarantine", "files")}
    again = feed.ingest(path)
    assert (again.files_skipped, again.rows_duplicate) == (1, 2)
    assert {name: feed.lake.version(name) for name in before} == before


def test_a_copy_of_a_file_adds_no_row(feed):
    path = feed.write([LAMP, KNIFE])
    feed.ingest(path)
    shutil.copy2(path, feed.folder / "copy.jsonl")
    report = feed.ingest(str(feed.folder / "copy.jsonl"))
    assert (report.rows_clean, report.rows_duplicate) == (0, 2)
    assert len(feed.history("1")) == 1


def test_a_content_that_was_read_before_is_read_again_when_the_file_changed(feed):
    feed.full(LAMP, KNIFE, hour=0)
    feed.full({**LAMP, "available": False}, KNIFE, hour=1)
    assert feed.now()["1"]["available"] is False
    feed.full(LAMP, KNIFE, hour=2)
    assert feed.now()["1"]["available"] is True


def test_an_older_full_file_never_replaces_a_newer_one_and_is_named(feed, caplog):
    feed.full({**LAMP, "price": 8}, hour=2, name="new.jsonl")
    assert "count only until then" not in caplog.text
    feed.full(LAMP, hour=1, name="old.jsonl")
    assert "old.jsonl: the file was last changed at 2025-10-01 01:00:00 UTC" in caplog.text
    assert feed.now()["1"]["price"] == 8
    assert feed.now(at(1))["1"]["price"] == 10


def test_a_row_that_states_its_time_keeps_its_place_whenever_it_arrives(feed):
    feed.changes({**LAMP, "price": 8, "valid_from": "2025-10-01T05:00:00Z"}, name="a.jsonl", hour=9)
    feed.changes({**LAMP, "price": 7, "valid_from": "2025-10-01T04:00:00Z"}, name="b.jsonl", hour=10)
    assert feed.now()["1"]["price"] == 8
    assert [row["price"] for row in feed.history("1")] == [7, 8]


def test_a_late_change_does_not_count_beyond_a_full_file_that_came_after_it(feed):
    feed.full(LAMP, hour=1)
    feed.full(LAMP, hour=3)
    feed.changes({"item_id": "1", "available": False, "valid_from": at(2).isoformat()}, hour=4)
    assert feed.now(at(2))["1"]["available"] is False
    assert feed.now(at(3))["1"]["available"] is True
    assert feed.now()["1"]["available"] is True


def test_a_late_change_of_an_item_that_a_later_full_file_does_not_list_lists_it_no_longer(feed):
    feed.full(LAMP, hour=1)
    feed.full(LAMP, hour=3)
    feed.changes({**SHOES, "valid_from": at(2).isoformat()}, hour=4)
    assert "3" in feed.now(at(2))
    assert set(feed.now()) == {"1"}


def test_a_late_full_file_does_not_remove_what_a_later_one_lists(feed):
    feed.full(LAMP, KNIFE, SHOES, hour=1, name="1.jsonl")
    feed.full(LAMP, KNIFE, SHOES, hour=3, name="3.jsonl")
    feed.full(LAMP, KNIFE, hour=2, name="2.jsonl")
    assert set(feed.now(at(2))) == {"1", "2"}
    assert set(feed.now()) == {"1", "2", "3"}


def test_changes_keep_the_fields_that_they_do_not_name(feed):
    feed.full(LAMP, KNIFE)
    report = feed.changes({"item_id": "1", "available": False}, {"item_id": "2", "price": 5}, hour=1)
    assert (report.rows_clean, report.items_removed) == (2, 0)
    assert feed.now() == {
        "1": {**without_id(LAMP), "available": False},
        "2": {**without_id(KNIFE), "price": 5},
    }


def test_several_changes_of_one_item_count_in_the_order_of_the_file(feed):
    feed.changes(
        LAMP,
        {"item_id": "1", "available": False},
        {"item_id": "1", "price": 5},
        {"item_id": "1", "available": True},
        {"item_id": "1", "available": True},
    )
    assert feed.now()["1"] == {**without_id(LAMP), "price": 5, "available": True}
    assert [row["available"] for row in feed.history("1")] == [True, False, False, True]


def test_a_change_can_remove_an_item_and_the_next_change_lists_it_again(feed):
    feed.full(LAMP, KNIFE)
    feed.changes({"item_id": "1", "removed": True}, hour=1, name="a.jsonl")
    assert set(feed.now()) == {"2"}
    feed.changes({"item_id": "1", "price": 5}, hour=2, name="b.jsonl")
    assert feed.now()["1"] == {**without_id(LAMP), "price": 5, "available": True}


def test_a_change_that_arrives_twice_changes_nothing(feed):
    first = {"item_id": "1", "price": 5, "valid_from": at(1).isoformat()}
    second = {"item_id": "1", "price": 6, "valid_from": at(1).isoformat()}
    feed.changes(first, second, name="a.jsonl", hour=2)
    assert feed.now()["1"]["price"] == 6
    report = feed.changes(first, name="b.jsonl", hour=3)
    assert (report.rows_clean, report.rows_duplicate) == (0, 1)
    assert feed.now()["1"]["price"] == 6


def test_broken_rows_are_quarantined_counted_and_named_and_their_items_stay_as_they_were(feed):
    feed.full(LAMP, KNIFE, SHOES, hour=0)
    report = feed.full({**LAMP, "price": "cheap"}, KNIFE, {"title": "no id"}, SHOES, hour=1)
    assert report.rows_quarantined == 2
    assert report.quarantined_by_rule == {"item_id_is_required": 1, "price_is_number": 1}
    assert feed.broken() == [(1, ["price_is_number"]), (3, ["item_id_is_required"])]
    assert feed.now()["1"]["price"] == 10.0


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"price": -1}, "price_in_range"),
        ({"price": "inf"}, "price_is_finite price_in_range"),
        ({"available": "perhaps"}, "available_is_boolean"),
        ({"valid_from": "yesterday"}, "valid_from_is_timestamp"),
        ({"valid_from": "2026-10-01T00:00:00Z"}, "valid_from_not_in_future"),
        ({"valid_from": "1999-12-31T00:00:00Z"}, "valid_from_in_range"),
        ({"item_id": "a\x07b"}, "item_id_matches_pattern"),
        ({"item_id": {"nested": 1}}, "nested_value"),
    ],
)
def test_a_row_that_breaks_the_contract_names_its_rule(feed, row, rule):
    report = feed.full({**LAMP, **row}, KNIFE)
    assert report.quarantined_by_rule == dict.fromkeys(rule.split(), 1)
    assert set(feed.now()) == {"2"}


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"url": "javascript:alert(1)"}, "url_matches_pattern"),
        ({"image": "x" * 3000}, "image_matches_pattern"),
        ({"title": "a\nb"}, "title_matches_pattern"),
        ({"currency": "$"}, "currency_matches_pattern"),
    ],
)
def test_a_value_that_an_item_can_do_without_is_left_out_and_counted(feed, row, rule):
    report = feed.full({**LAMP, **row})
    assert rule in report.warnings_by_rule
    assert next(iter(row)) not in feed.now()["1"]


@pytest.mark.parametrize("stock", ["-1", "-0", "none", "n/a", "NA", "perhaps", "5"])
def test_a_stock_that_cannot_be_read_never_means_that_the_item_is_for_sale(feed, stock):
    feed.full(KNIFE, hour=0)
    report = feed.full({**KNIFE, "available": stock}, hour=1)
    assert report.quarantined_by_rule == {"available_is_boolean": 1}
    assert feed.now()["2"]["available"] is False


@pytest.mark.parametrize("stock", ["", None, "NULL", "undefined"])
def test_a_missing_stock_of_a_full_file_means_that_the_item_is_for_sale(feed, stock):
    assert feed.full({**LAMP, "available": stock}).rows_clean == 1
    assert feed.now()["1"]["available"] is True


def test_an_item_listed_twice_in_a_full_file_counts_once(feed):
    report = feed.full(LAMP, LAMP, {**LAMP, "price": 3}, KNIFE)
    assert (report.rows_clean, report.rows_duplicate, report.rows_quarantined) == (2, 1, 1)
    assert report.quarantined_by_rule == {"item_listed_twice": 1}
    assert feed.now()["1"]["price"] == 10.0


def test_a_full_file_that_shrinks_too_much_is_refused_until_told(feed):
    items = [{"item_id": str(number)} for number in range(10)]
    feed.full(*items, hour=0)
    path = feed.write(items[:4], hour=1)
    report = feed.ingest(path)
    assert report.exit_code == ExitCode.FAILED
    assert "6 of the 10 items for sale" in report.files_failed[path]
    assert len(feed.now()) == 10
    assert feed.broken() == []
    accepted = feed.ingest(path, max_removed=1.0)
    assert (accepted.items_removed, len(feed.now())) == (6, 4)


def test_half_of_the_items_may_go(feed):
    items = [{"item_id": str(number)} for number in range(10)]
    feed.full(*items, hour=0)
    assert feed.full(*items[:5], hour=1).items_removed == 5


def test_the_parts_of_one_catalogue_do_not_remove_each_other(feed):
    feed.write([LAMP], "part-0.jsonl")
    feed.write([KNIFE], "part-1.jsonl")
    report = feed.ingest(str(feed.folder))
    assert len(report.files_failed) == 1
    assert set(feed.now()) == {"1"}


def test_a_file_without_items_does_not_empty_the_shop(feed):
    feed.full(LAMP, KNIFE, hour=0)
    report = feed.ingest(feed.write(b"item_id,title\n", "empty.csv", hour=1))
    assert report.exit_code == ExitCode.FAILED
    assert len(feed.now()) == 2


def test_an_item_that_a_broken_row_may_hide_is_not_removed(feed):
    feed.full(LAMP, KNIFE, SHOES, hour=0)
    report = feed.full(LAMP, KNIFE, '{"item_id": "3", ', hour=1)
    assert (report.items_removed, report.items_doubtful) == (0, 1)
    assert set(feed.now()) == {"1", "2", "3"}


def test_nothing_is_removed_by_a_file_whose_end_is_missing(feed):
    items = [{"item_id": str(number), "title": os.urandom(200).hex()} for number in range(300)]
    feed.full(*items, hour=0)
    text = "".join(f'{{"item_id": "{item["item_id"]}", "title": "{item["title"]}"}}\n' for item in items)
    report = feed.ingest(feed.write(gzip.compress(text.encode())[:-20_000], "cut.jsonl.gz", hour=1))
    assert report.quarantined_by_rule == {"file_truncated": 1}
    assert report.items_removed == 0
    assert report.items_doubtful > 0
    assert len(feed.now()) == 300


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,title,price,currency,category\n1,Lamp,10.0,EUR,home\n"),
        ("a.csv", "SKU;Name;Price;Category\n1;Lamp;10,00 EUR;home\n"),
        ("a.tsv", "Product ID\ttitle\tprice\tproduct_type\n1\tLamp\tEUR 10.00\thome\n"),
        ("a.jsonl", '{"id": 1.0, "name": "Lamp", "price": "10.00 €", "category": "home"}\n'),
    ],
)
def test_the_usual_tables_are_read(feed, name, content):
    feed.ingest(feed.write(content.encode(), name))
    assert feed.now() == {"1": {**without_id(LAMP), "available": True}}


def test_parquet_is_read(feed):
    path = str(feed.folder / "items.parquet")
    pq.write_table(pa.Table.from_pylist([{"available": None, **LAMP}, KNIFE]), path)
    feed.ingest(path)
    assert feed.now()["2"]["available"] is False
    assert feed.now()["1"]["price"] == 10.0


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.50", 12.5),
        ("12.50 EUR", 12.5),
        ("EUR 12.50", 12.5),
        ("12,50 EUR", 12.5),
        ("1,299.00 USD", 1299.0),
        ("1.299,00 EUR", 1299.0),
        ("1,299 USD", 1299.0),
        ("1 299,50 EUR", 1299.5),
        ("1'299.50 CHF", 1299.5),
        ("€5", 5.0),
        ("0", 0.0),
        ("1e3", 1000.0),
    ],
)
def test_prices_are_read_as_shops_write_them(feed, text, amount):
    feed.full({"item_id": "1", "price": text})
    assert feed.now()["1"]["price"] == amount


@pytest.mark.parametrize("text", ["12.50 EURO", "abc", "12..5", "1,2,3", "EUR", "-5 EUR", "5 EUR 6"])
def test_a_price_that_cannot_be_read_is_no_price_of_nothing(feed, text):
    report = feed.full({"item_id": "1", "price": text}, KNIFE)
    assert report.rows_quarantined == 1
    assert set(feed.now()) == {"2"}


def test_a_file_of_the_wrong_format_is_refused(feed):
    path = feed.write([{"event_type": "item_viewed", "user_id": str(number)} for number in range(20)])
    report = feed.ingest(path)
    assert "cannot be read in the format items" in report.files_failed[path]
    assert feed.now() == {}


def test_a_header_without_an_id_is_refused(feed):
    path = feed.write(b"title,price\nLamp,10\n", "a.csv")
    failed = feed.ingest(path).files_failed[path]
    assert "no column for item_id" in failed
    assert "docs/catalogue.md" in failed
    assert "lastaisle ingest" not in failed, "a catalogue has no mapping"


def test_one_file_that_cannot_be_read_holds_back_no_other(feed):
    feed.write(b"title,price\nLamp,10\n", "a.csv")
    feed.write([LAMP], "b.jsonl")
    report = feed.ingest(str(feed.folder))
    assert (report.files, list(report.files_failed)) == (1, [str(feed.folder / "a.csv")])
    assert set(feed.now()) == {"1"}


def test_a_place_without_files_is_an_error(feed):
    with pytest.raises(SourceError, match="no such file"):
        feed.ingest(str(feed.folder / "nothing.jsonl"))


def test_a_field_that_vanishes_is_refused(feed):
    items = [{"item_id": str(number), "price": 5} for number in range(200)]
    feed.full(*items, hour=0)
    path = feed.write([{"item_id": str(number)} for number in range(200)], hour=1)
    assert "price is gone" in feed.ingest(path).files_failed[path]
    assert feed.now()["7"]["price"] == 5


def test_great_expectations_checks_a_sample(feed):
    feed.options = IngestOptions(gx_sample_rows=10)
    feed.full(LAMP, KNIFE, {**SHOES, "price": -1})
    assert feed.lake.scan(CATALOGUE_BATCHES)["gx_success"].to_pylist() == [True]


def test_a_file_changed_in_the_future_counts_from_now(feed):
    path = feed.write([LAMP])
    later = (NOW + timedelta(days=9)).timestamp()
    os.utime(path, (later, later))
    feed.ingest(path)
    assert feed.history("1")[0]["valid_from"] == NOW


@pytest.mark.parametrize("seconds", [-86400, 0, 1, 315532800])
def test_a_file_without_a_true_time_of_change_counts_from_now(feed, seconds):
    feed.full({**KNIFE, "available": True}, hour=1)
    path = feed.write([KNIFE], "packed.jsonl")
    os.utime(path, (seconds, seconds))
    feed.ingest(path)
    assert feed.history("2")[-1]["valid_from"] == NOW
    assert feed.now()["2"]["available"] is False


@pytest.mark.parametrize(
    ("header", "warned"),
    [("id,title,stock", True), ("id,title,in_stock", False), ("id,title,available", False)],
)
def test_a_full_file_that_says_nothing_of_the_stock_is_named(feed, caplog, header, warned):
    feed.ingest(feed.write(f"{header}\n1,Lamp,0\n2,Knife,0\n".encode(), "items.csv"))
    assert ("all of them count as available" in caplog.text) is warned
    assert {item["available"] for item in feed.now().values()} == {warned}


def test_changes_need_not_say_anything_of_the_stock(feed, caplog):
    feed.changes({"item_id": "1", "price": 5})
    assert "available" not in caplog.text


def test_a_file_whose_store_tells_no_state_is_read_once_for_each_content(feed, monkeypatch):
    monkeypatch.setattr("lastaisle.ingest.reading.files._state", lambda info: ("", None))
    path = Path(feed.write([LAMP]))
    feed.ingest(str(path), now=at(1))
    assert feed.ingest(str(path), now=at(2)).files_skipped == 1
    feed.write([{**LAMP, "price": 8}])
    assert feed.ingest(str(path), now=at(3)).rows_clean == 1
    feed.write([LAMP])
    assert feed.ingest(str(path), now=at(4)).rows_clean == 1
    assert feed.ingest(str(path), now=at(5)).files_skipped == 1
    assert [row["price"] for row in feed.history("1")] == [10, 8, 10]
