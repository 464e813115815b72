"""A unique key of raw_events holds in a batch, between batches and over all days."""

import pytest

from data_contracts import load_contract
from data_contracts.document import PACKAGED
from lastaisle.ingest.options import IngestOptions


def keyed(folder, options):
    """Return raw_events in which fields have further options, as text of YAML."""
    text = (PACKAGED / "raw_events.odcs.yaml").read_text(encoding="utf-8")
    for name, more in options.items():
        text = text.replace(f"- name: {name}\n", f"- name: {name}\n        {more}\n", 1)
    path = folder / "keyed.odcs.yaml"
    path.write_text(text, encoding="utf-8")
    return load_contract(path)


def orders(shop, *numbers, day=9, start=0):
    """Return an order event for each order number; None gives an event without an order."""
    return [
        shop.event(
            start + position,
            event_type="order_completed" if number else "item_viewed",
            order_id=f"order-{number}" if number else None,
            occurred_at=f"2025-10-{day:02}T12:00:00Z",
            received_at=None,
        )
        for position, number in enumerate(numbers)
    ]


def kept(shop):
    return sorted((row["event_id"], row["order_id"]) for row in shop.rows("raw_events"))


def test_a_later_row_with_the_same_value_goes_to_quarantine(shop, tmp_path):
    contract = keyed(tmp_path, {"order_id": "unique: true"})

    report = shop.ingest(
        shop.write(orders(shop, 1, None, None, 2, 1)), contract=contract, options=IngestOptions()
    )

    assert (report.rows_clean, report.rows_quarantined, report.rows_duplicate) == (4, 1, 0)
    assert report.quarantined_by_rule == {"order_id_is_unique": 1}
    assert shop.rules() == [["order_id_is_unique"]]
    assert '"event-4"' in shop.rows("quarantine")[0]["payload"]
    assert len(shop.rows("events")) == 4


def test_the_key_holds_between_batches_and_over_all_days(shop, tmp_path):
    contract = keyed(tmp_path, {"order_id": "unique: true"})
    shop.ingest(shop.write(orders(shop, 1, 2, day=1), "first.jsonl"), contract=contract)

    later = shop.ingest(shop.write(orders(shop, 2, 3, 3, None, start=10), "later.jsonl"), contract=contract)
    again = shop.ingest(shop.write(orders(shop, 2, 3, 3, None, start=10), "again.jsonl"), contract=contract)

    assert (later.rows_clean, later.quarantined_by_rule) == (2, {"order_id_is_unique": 2})
    assert again.rows_clean == 0
    assert kept(shop) == [
        ("event-0", "order-1"),
        ("event-1", "order-2"),
        ("event-11", "order-3"),
        ("event-13", None),
    ]


def test_an_event_that_is_sent_again_is_a_duplicate_and_breaks_no_key(shop, tmp_path):
    contract = keyed(tmp_path, {"order_id": "unique: true"})
    shop.ingest(shop.write(orders(shop, 1, 2), "first.jsonl"), contract=contract)

    again = shop.ingest(
        shop.write([*orders(shop, 1), *orders(shop, 3, start=5)], "again.jsonl"), contract=contract
    )

    assert (again.rows_clean, again.rows_duplicate, again.rows_quarantined) == (1, 1, 0)


def test_a_composite_key_compares_the_tuple(shop, tmp_path):
    contract = keyed(tmp_path, {"user_id": "primaryKey: true", "item_id": "primaryKey: true"})
    events = [
        shop.event(1),
        shop.event(2, user_id="user-1"),
        shop.event(3, item_id="item-1"),
        shop.event(4, user_id="user-1", item_id="item-1"),
        shop.event(5, user_id=None),
    ]

    report = shop.ingest(shop.write(events), contract=contract)

    assert [row["event_id"] for row in shop.rows("raw_events")] == ["event-1", "event-2", "event-3"]
    assert report.quarantined_by_rule == {"user_id_and_item_id_is_unique": 1, "user_id_is_required": 1}


def test_a_row_that_breaks_two_keys_is_counted_once(shop, tmp_path):
    contract = keyed(tmp_path, {"order_id": "unique: true", "item_id": "unique: true"})
    first, second = orders(shop, 1, 1)

    report = shop.ingest(shop.write([first, second | {"item_id": first["item_id"]}]), contract=contract)

    assert (report.rows_in, report.rows_clean, report.rows_quarantined) == (2, 1, 1)
    assert len(shop.rows("quarantine")) == 1


def test_a_broken_row_takes_no_value_of_a_key(shop, tmp_path):
    contract = keyed(tmp_path, {"order_id": "unique: true"})
    broken, sound = orders(shop, 1, 1)

    report = shop.ingest(shop.write([broken | {"price": -1}, sound]), contract=contract)

    assert report.quarantined_by_rule == {"price_in_range": 1}
    assert kept(shop) == [("event-1", "order-1")]


@pytest.mark.parametrize("name", ["price", "occurred_at", "quantity", "consent_analytics"])
def test_a_field_of_any_type_can_be_a_key(shop, tmp_path, name):
    contract = keyed(tmp_path, {name: "unique: true"})
    values = {"price": 9.5, "quantity": 7, "consent": {"analytics": True}}
    events = [shop.event(number, **values) for number in range(2)]

    report = shop.ingest(shop.write(events), contract=contract)

    assert report.quarantined_by_rule == {f"{name}_is_unique": 1}


def test_a_field_that_older_rows_lack_is_compared_in_newer_rows(shop, tmp_path):
    shop.ingest(shop.write(orders(shop, 1, 1), "first.jsonl"))
    contract = keyed(tmp_path, {"user_id": "unique: true"})
    text = contract.path.read_text()
    field = "      - {name: coupon, logicalType: string, classification: public, unique: true}\n\n"
    contract.path.write_text(
        text.replace("    quality:\n      - name: user_or", field + "    quality:\n      - name: user_or")
    )
    contract = load_contract(contract.path)

    events = [event | {"coupon": "ten"} for event in orders(shop, 5, 6, start=50)]
    report = shop.ingest(shop.write(events, "later.jsonl"), contract=contract)

    assert report.quarantined_by_rule == {"coupon_is_unique": 1}
