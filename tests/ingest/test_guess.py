"""The first mapping for logs of ten invented shops loads, and reads their lines."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from data_contracts.contract import load_contract
from lastaisle.errors import SourceError
from lastaisle.ingest.guess import guess_format
from lastaisle.ingest.mapping.errors import MappingError
from lastaisle.ingest.mapping.guess.guess import first_lines, guess_mapping
from lastaisle.ingest.mapping.guess.words import event_type
from lastaisle.ingest.mapping.read import read_mapping

START = datetime(2025, 10, 9, 8)
TIMES = [START + timedelta(seconds=37 * number) for number in range(20)]
EPOCHS = [1759996800 + 37 * number for number in range(20)]


def lines_of(rows) -> list[str]:
    return [row if isinstance(row, str) else json.dumps(row) for row in rows]


def cycle(words: str, number: int) -> str:
    names = words.split("|")
    return names[number % len(names)]


GERMAN = "Artikelansicht|Warenkorb hinzugefügt|Bestellung"
FRENCH = "vue_produit|ajout_panier|commande"
LOGS = {
    "german.csv": [
        "Zeitstempel;Kundennr;Sitzungs-ID;Ereignis;Artikelnr;Preis;Währung",
        *(
            f"{time:%d.%m.%Y %H:%M:%S};k{n % 5};s{n};{cycle(GERMAN, n)};A{n};9,90;EUR"
            for n, time in enumerate(TIMES)
        ),
    ],
    "french.csv": [
        "date,heure,id_client,visite,evenement,ref_produit,prix,devise",
        *(
            f'{time:%d/%m/%Y},{time:%H:%M:%S},c{n % 5},v{n},{cycle(FRENCH, n)},P{n},"9,90",EUR'
            for n, time in enumerate(TIMES)
        ),
    ],
    "matomo.json": [
        {
            "idVisit": n,
            "visitorId": f"v{n % 5}",
            "countryCode": "DE",
            "actionDetails": [
                {"type": "page", "timestamp": epoch},
                {
                    "type": "ecommerceOrder",
                    "timestamp": epoch + 9,
                    "orderId": f"o{n}",
                    "productViewSku": "p1",
                },
            ],
        }
        for n, epoch in enumerate(EPOCHS)
    ],
    "orders.json": [
        {
            "id": n,
            "created_at": f"{time.isoformat()}+02:00",
            "currency": "USD",
            "customer": {"id": n % 5},
            "order_number": f"#{n}",
            "line_items": [
                {"sku": "a", "price": "9.50", "quantity": 1},
                {"sku": "b", "price": "5.00", "quantity": 2},
            ],
        }
        for n, time in enumerate(TIMES)
    ],
    "plugin.json": [
        {
            "order_key": f"wc_{n}",
            "date_created": time.isoformat(),
            "customer_id": n % 5,
            "line_items": [{"product_id": 9, "quantity": 1, "price": 9.5}],
        }
        for n, time in enumerate(TIMES)
    ],
    "table.csv": [
        "increment_id,created_at,customer_id,sku,qty_ordered,price,order_currency_code",
        *(f"1000{n},{time},{n % 5},S-{n},1.0000,9.9000,EUR" for n, time in enumerate(TIMES)),
    ],
    "product_analytics.json": [
        {
            "$insert_id": f"x{n}",
            "event_type": cycle("Product Viewed|Add to Cart|Purchase", n),
            "event_time": f"{time}.000000",
            "user_id": f"u{n % 5}",
            "device_id": f"d{n}",
            "session_id": EPOCHS[n],
            "event_properties": {"product_id": f"p{n}", "price": 9.5, "currency": "USD"},
        }
        for n, time in enumerate(TIMES)
    ],
    "nested_properties.json": [
        {
            "event": cycle("View Item|Add To Cart|Order Completed", n),
            "properties": {
                "time": epoch,
                "distinct_id": f"u{n % 5}",
                "$insert_id": f"x{n}",
                "Product ID": f"p{n}",
            },
        }
        for n, epoch in enumerate(EPOCHS)
    ],
    "autocapture.json": [
        {
            "event": cycle("pageview|View Product", n),
            "time": str(time),
            "user_id": n % 5,
            "product_sku": f"k{n}",
        }
        for n, time in enumerate(TIMES)
    ],
    "app.json": [
        {
            "ts": epoch * 1000,
            "uid": f"u{n % 5}",
            "sid": f"s{n}",
            "evt": cycle("pv|detail|atc|buy", n),
            "sku": "k",
        }
        for n, epoch in enumerate(EPOCHS)
    ],
}


@pytest.mark.parametrize("name", LOGS)
def test_the_guess_reads_the_log(shop, name):
    source = shop.write(lines_of(LOGS[name]), name)
    path = shop.folder / "guess.yaml"
    path.write_text(guess_mapping(source, first_lines(source)), encoding="utf-8")
    report = shop.ingest(source, read_mapping(path, load_contract("raw_events")))
    assert (report.rows_quarantined, report.files_failed) == (0, {})
    assert report.rows_clean >= 20
    rows = shop.rows("raw_events")
    assert min(row["occurred_at"] for row in rows).strftime("%Y-%m-%d") == "2025-10-09"
    assert all(row["user_id"] or row["session_id"] for row in rows)
    assert any(row["item_id"] for row in rows)
    assert {row["event_type"] for row in rows} & {"order_completed", "item_viewed"}


@pytest.mark.parametrize("name", LOGS)
def test_these_logs_are_of_no_packaged_format(name):
    assert guess_format(lines_of(LOGS[name])) is None


def test_names_that_no_word_tells_are_left_to_decide(shop):
    rows = [{"ts": epoch, "user": "u", "event": cycle("buy|frobnicate", n)} for n, epoch in enumerate(EPOCHS)]
    written = guess_mapping("log", lines_of(rows))
    assert "#  - frobnicate  # 10 rows" in written
    assert "  buy: order_completed  # 10 rows" in written


def test_what_is_not_found_is_said(shop):
    source = shop.write([{"foo": 1, "bar": "x"}] * 3)
    path = shop.folder / "guess.yaml"
    path.write_text(guess_mapping(source, first_lines(source)), encoding="utf-8")
    assert "# occurred_at: not found" in path.read_text()
    with pytest.raises(MappingError):
        read_mapping(path, load_contract("raw_events"))


def test_a_file_without_lines_gives_no_guess(shop):
    with pytest.raises(SourceError):
        first_lines(shop.write(["", " "]))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Product Viewed", "item_viewed"),
        ("view_item", "item_viewed"),
        ("Artikel angesehen", "item_viewed"),
        ("addToCart", "item_added"),
        ("In den Warenkorb", "item_added"),
        ("Removed from cart", "item_removed"),
        ("retrait panier", "item_removed"),
        ("begin_checkout", "checkout_started"),
        ("Kasse", "checkout_started"),
        ("Order Completed", "order_completed"),
        ("Kauf", "order_completed"),
        ("order_refunded", ""),
        ("search", "page_viewed"),
        ("newsletter", ""),
    ],
)
def test_names_of_events(name, kind):
    assert event_type(name) == kind
