"""Each format on a few lines written by hand, and on the real logs where they are at hand."""

from __future__ import annotations

import json

import pytest

from data_contracts.contract import load_contract
from lastaisle.ingest.sources import ADAPTERS, adapter


def found(shop, *names: str) -> list[tuple]:
    """Return columns of raw_events in the order of the file; times as text."""
    rows = sorted(shop.rows("raw_events"), key=lambda row: (row["source_row"], row["sub_row"]))
    return [
        tuple(row[name].isoformat() if name.endswith("_at") else row[name] for name in names) for row in rows
    ]


def test_every_adapter_names_only_fields_of_the_contract():
    contract = load_contract("raw_events")
    names = {field.name for field in contract.fields}
    for name in ADAPTERS:
        fields = adapter(name).fields
        assert set(fields(contract) if callable(fields) else fields) <= names
        assert adapter(name).name == name


def test_the_canonical_line_of_the_description(shop):
    line = (
        '{"event_id":"e1","event_type":"item_added","occurred_at":"2025-10-09T12:00:00.120Z",'
        '"received_at":"2025-10-09T12:00:01.002Z","user_id":"u7","session_id":"s7-1","item_id":"i42","quantity":1,'
        '"price":9.90,"currency":"EUR","device_type":"mobile","country":"DE",'
        '"consent":{"analytics":true,"personalization":true}}'
    )
    shop.ingest(shop.write([line]))
    columns = (
        "event_id",
        "event_type",
        "occurred_at",
        "item_id",
        "quantity",
        "price",
        "device_type",
        "country",
    )
    when = "2025-10-09T12:00:00.120000+00:00"
    assert found(shop, *columns) == [("e1", "item_added", when, "i42", 1, 9.9, "mobile", "DE")]


def test_yoochoose(shop):
    lines = [
        "SessionId\tItemId\tTime",
        "1\t11\t1396314141.719",
        "1\t12\t1396314150",
        "1\t11\t1396314141.719",
        "1\t12",
    ]
    report = shop.ingest(shop.write(lines), "yoochoose")
    assert (report.rows_in, report.rows_clean, report.rows_duplicate) == (4, 2, 1)
    assert shop.rules() == [["wrong_number_of_columns"]]
    assert found(shop, "event_type", "session_id", "user_id", "item_id", "occurred_at") == [
        ("item_viewed", "1", None, "11", "2014-04-01T01:02:21.719000+00:00"),
        ("item_viewed", "1", None, "12", "2014-04-01T01:02:30+00:00"),
    ]


def test_yoochoose_in_the_format_of_the_challenge(shop):
    shop.ingest(
        shop.write(["1,2014-04-07T10:51:09.277Z,214536502,0", "1,2014-04-07T10:54:09.868Z,214536500,S"]),
        "yoochoose",
    )
    assert found(shop, "session_id", "item_id", "category", "occurred_at") == [
        ("1", "214536502", None, "2014-04-07T10:51:09.277000+00:00"),
        ("1", "214536500", "S", "2014-04-07T10:54:09.868000+00:00"),
    ]


def test_taobao(shop):
    lines = [
        "1,11,7,pv,1511658000",
        "1,11,7,fav,1511658001",
        "1,11,7,cart,1511658002",
        "1,11,7,buy,1511658003",
    ]
    lines += ["1,12,8,buy,1511658003", "1,11,7,gaze,1511658004", "1,11,7,pv,noon"]
    shop.ingest(shop.write(lines), "taobao")
    assert found(shop, "event_type", "item_id", "category", "order_id") == [
        ("item_viewed", "11", "7", None),
        ("item_viewed", "11", "7", None),
        ("item_added", "11", "7", None),
        ("order_completed", "11", "7", "1-1511658003"),
        ("order_completed", "12", "8", "1-1511658003"),
    ]
    assert shop.rules() == [["event_type_is_allowed"], ["occurred_at_is_timestamp"]]


def test_rees46(shop):
    lines = [
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session",
        "2019-10-01 00:00:00 UTC,view,44600062,2103,,shiseido,35.79,541312140,72d7",
        "2019-10-01 00:00:01 UTC,cart,3900821,2053,appliances.heater,aqua,33.20,554748717,9333",
        "2019-10-01 00:00:02 UTC,remove_from_cart,3900821,2053,appliances.heater,,33.20,554748717,9333",
        "2019-10-01 00:00:03 UTC,purchase,3900821,2053,appliances.heater,aqua,33.20,554748717,9333",
        "2019-10-01 00:00:04 UTC,view,1,2,c,b,-3,4,5",
    ]
    shop.ingest(shop.write(lines), "rees46")
    assert found(shop, "event_type", "item_id", "category", "brand", "price", "order_id") == [
        ("item_viewed", "44600062", "2103", "shiseido", 35.79, None),
        ("item_added", "3900821", "appliances.heater", "aqua", 33.2, None),
        ("item_removed", "3900821", "appliances.heater", None, 33.2, None),
        (
            "order_completed",
            "3900821",
            "appliances.heater",
            "aqua",
            33.2,
            "9333-554748717-2019-10-01 00:00:03 UTC",
        ),
    ]
    assert shop.rules() == [["price_in_range"]]


def test_retailrocket(shop):
    lines = ["timestamp,visitorid,event,itemid,transactionid", "1433221332117,257597,view,355908,"]
    lines += ["1433221332118,257597,addtocart,355908,", "1433221332119,257597,transaction,355908,4000"]
    shop.ingest(shop.write(lines), "retailrocket")
    assert found(shop, "event_type", "user_id", "item_id", "order_id", "occurred_at") == [
        ("item_viewed", "257597", "355908", None, "2015-06-02T05:02:12.117000+00:00"),
        ("item_added", "257597", "355908", None, "2015-06-02T05:02:12.118000+00:00"),
        ("order_completed", "257597", "355908", "4000", "2015-06-02T05:02:12.119000+00:00"),
    ]


def test_otto(shop):
    events = [
        {"aid": 5, "ts": 1659304800025, "type": "clicks"},
        {"aid": 5, "ts": 1659304900025, "type": "carts"},
    ]
    events += [
        {"aid": 5, "ts": 1659304950025, "type": "orders"},
        {"aid": 6, "ts": 1659304960025, "type": "returns"},
    ]
    lines = [
        {"session": 1, "events": events},
        {"session": 2, "events": []},
        {"session": 3},
        {"session": 4, "events": [5]},
    ]
    report = shop.ingest(shop.write(lines), "otto")
    assert report.rows_in == 7
    assert found(shop, "sub_row", "event_type", "session_id", "item_id", "order_id", "occurred_at") == [
        (0, "item_viewed", "1", "5", None, "2022-07-31T22:00:00.025000+00:00"),
        (1, "item_added", "1", "5", None, "2022-07-31T22:01:40.025000+00:00"),
        (2, "order_completed", "1", "5", "1-1659304950025", "2022-07-31T22:02:30.025000+00:00"),
    ]
    assert shop.rules()[:3] == [["event_type_is_allowed"], ["no_events"], ["no_events"]]
    assert len(shop.rules()) == 4


def segment(event: str | None, properties: dict | None = None, **changes) -> dict:
    call = {
        "type": "track",
        "event": event,
        "messageId": "m1",
        "userId": "u1",
        "anonymousId": "a1",
        "timestamp": "2025-01-01T00:00:00.000Z",
        "receivedAt": "2025-01-01T00:00:01.000Z",
        "properties": properties or {},
    }
    return call | changes


@pytest.mark.parametrize(
    ("event", "event_type"),
    [
        ("Product Viewed", "item_viewed"),
        ("Product Clicked", "item_viewed"),
        ("Product Added", "item_added"),
        ("Product Removed", "item_removed"),
        ("Cart Viewed", "page_viewed"),
        ("Product List Viewed", "page_viewed"),
        ("Checkout Started", "checkout_started"),
        ("Order Completed", "order_completed"),
    ],
)
def test_segment_events(shop, event, event_type):
    shop.ingest(shop.write([segment(event, {"product_id": "p", "order_id": "o", "price": 3.5})]), "segment")
    assert found(shop, "event_type", "event_id", "user_id", "item_id", "price") == [
        (event_type, "m1", "u1", "p", 3.5)
    ]


def test_segment_expands_products(shop):
    products = [
        {"product_id": "p1", "price": 18, "quantity": 2, "brand": "b"},
        {"sku": "p2", "category": "c"},
    ]
    properties = {"order_id": "o1", "currency": "USD", "products": products}
    shop.ingest(shop.write([segment("Order Completed", properties)]), "segment")
    assert found(
        shop,
        "event_id",
        "sub_row",
        "item_id",
        "price",
        "quantity",
        "brand",
        "category",
        "order_id",
        "currency",
    ) == [
        ("m1:0", 0, "p1", 18.0, 2, "b", None, "o1", "USD"),
        ("m1:1", 1, "p2", None, None, None, "c", "o1", "USD"),
    ]


def test_segment_context(shop):
    context = {
        "locale": "de-AT",
        "os": {"name": "iOS"},
        "page": {"referrer": "https://search.example/?q=secret"},
        "consent": {"categoryPreferences": {"Analytics": True, "Personalization": False}},
    }
    page = segment(None, type="page", userId=None, context=context)
    shop.ingest(shop.write([page]), "segment")
    columns = ("event_type", "user_id", "country", "device_type", "consent_personalization", "received_at")
    assert found(shop, *columns) == [
        ("page_viewed", "a1", "AT", "mobile", False, "2025-01-01T00:00:01+00:00")
    ]
    assert shop.rows("events")[0]["referrer"] == "search.example"


@pytest.mark.parametrize(
    "call",
    [
        segment("Product Viewed", {"product_id": "p"}, type=None),
        segment("Product Viewed", {"product_id": "p"}, type="Track"),
        segment(None),
        segment(" "),
    ],
    ids=["no type", "unknown type", "no event", "blank event"],
)
def test_segment_calls_that_are_not_sound_are_quarantined(shop, call):
    shop.ingest(shop.write([call]), "segment")
    rule = "event_type_is_allowed" if call["event"] else "event_type_is_required"
    assert shop.rules() == [[rule]]
    assert json.loads(shop.rows("quarantine")[0]["payload"]) == call


@pytest.mark.parametrize(
    ("format_name", "file", "rows", "duplicates", "days"),
    [
        ("yoochoose", "yoochoose-week.tsv", 83_846, 1, 8),
        ("taobao", "taobao-slice.csv", 110_300, 0, 1),
        ("rees46", "rees46-slice.csv", 4_999, 3, 1),
    ],
)
def test_real_logs_are_accounted_for_to_the_row(shop, real_data, format_name, file, rows, duplicates, days):
    if not (real_data / file).is_file():
        pytest.skip(f"LASTAISLE_DATA: no {file} in {real_data}")
    report = shop.ingest(str(real_data / file), format_name)
    assert (report.rows_in, report.rows_clean, report.rows_quarantined) == (rows, rows - duplicates, 0)
    assert report.rows_duplicate == duplicates
    assert len(report.days) == days
    assert shop.lake.scan("events", columns=["event_id"]).num_rows == rows - duplicates
    assert shop.ingest(str(real_data / file), format_name).rows_duplicate == rows
