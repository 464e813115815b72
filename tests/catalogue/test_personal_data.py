"""Personal data in a catalogue is left out or quarantined as in events."""

from __future__ import annotations

import json

from lastaisle.lake.tables import CATALOGUE_BATCHES, ITEMS, QUARANTINE

MAIL = "anna@example.org"


def test_finds_in_a_catalogue_are_left_out_and_counted(feed):
    picture = "https://cdn.example/4111111111111111@2x.png"
    rows = [
        {"item_id": "a", "title": f"mug for {MAIL}", "url": "/p?seller=anna%40example.org", "image": picture},
        {"item_id": "b", "title": "card 4111 1111 1111 1111", "brand": "DE89370400440532013000"},
        {"item_id": MAIL, "title": "mug"},
    ]
    report = feed.ingest(feed.write(rows))
    found = {
        "brand_holds_iban": 1,
        "item_id_holds_email": 1,
        "title_holds_card": 1,
        "title_holds_email": 1,
        "url_holds_email": 1,
    }
    assert report.personal_data == found
    assert (report.rows_clean, report.rows_quarantined) == (2, 1)
    items = {row["item_id"]: row for row in feed.lake.scan(ITEMS).to_pylist()}
    assert [(items[one]["title"], items[one]["url"], items[one]["brand"]) for one in "ab"] == [
        (None,) * 3
    ] * 2
    assert items["a"]["image"] == picture
    (batch,) = feed.lake.scan(CATALOGUE_BATCHES).to_pylist()
    assert json.loads(batch["personal_data"]) == found
    (broken,) = feed.lake.scan(QUARANTINE).to_pylist()
    assert broken["rules"] == ["item_id_holds_email"]
