"""Segment's own Python client sends to the collector, and what lands becomes rows of events."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from segment.analytics import Client

from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys

# All visits lie in one hour: an hour with fewer than 20 shoppers of a country does not keep the country.
START = (datetime.now(UTC) - timedelta(hours=1)).replace(minute=20, second=0, microsecond=200_000)
PRODUCTS = [
    {"product_id": "i1", "price": 9.9, "quantity": 2},
    {"product_id": "i2", "price": 5.0, "quantity": 1},
]
CONSENT = {"consent": {"categoryPreferences": {"Analytics": True, "Personalization": False}}}


def client(collector, failed, **options):
    def fail(error, batch):
        failed.append((error, batch))

    given = {"host": collector.url, "on_error": fail, "max_retries": 2, **options}
    return Client(
        options.pop("write_key", "shop-web"), **{k: v for k, v in given.items() if k != "write_key"}
    )


def visit(sender, user, number):
    """One shopper's visit: a page, ten products, a cart, an order of two products."""
    at = START + timedelta(seconds=number)
    sender.identify(user, traits={"email": "a@example.org"}, timestamp=at, message_id=f"{user}-identify")
    sender.page(user, "shop", "home", {"url": "https://shop"}, timestamp=at, message_id=f"{user}-page")
    for item in range(10):
        sender.track(
            user,
            "Product Viewed",
            {"product_id": f"i{item}", "price": 1.5 + item, "currency": "EUR"},
            context={"locale": "de-DE", "os": {"name": "iOS"}, **CONSENT},
            timestamp=at + timedelta(seconds=item + 1),
            message_id=f"{user}-view-{item}",
        )
    properties = {"order_id": f"o-{user}", "currency": "EUR", "products": PRODUCTS}
    sender.track(
        user, "Order Completed", properties, timestamp=at + timedelta(minutes=1), message_id=f"{user}-o"
    )


@pytest.mark.parametrize("gzip", [False, True])
def test_what_the_client_sends_becomes_events(collector, tmp_path, gzip):
    failed: list = []
    sender = client(collector, failed, gzip=gzip)
    users = [f"user-{number}" for number in range(30)]
    for number, user in enumerate(users):
        visit(sender, user, number)
    sender.shutdown()
    assert failed == []
    collector.stop()

    landed = collector.landed()
    assert len(landed) == 30 * 13
    assert {"writeKey", "ip"} & {name for call in landed for name in (*call, *call["context"])} == set()
    lake = Lake(tmp_path / "lake")
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", lake_url=lake.url)
    report = ingest(str(tmp_path / "landing"), "segment", lake, keys)
    assert (report.rows_clean, report.rows_quarantined, report.rows_duplicate) == (30 * 13, 0, 0)
    assert report.ignored_by_reason == {"identify": 30}, "identify is no event of a session"
    assert seen(lake.scan("events").to_pylist()) == sorted(expected(number) for number in range(30))


def expected(number):
    """The rows of one visit without its pseudonyms: type, seconds since START, item, price, country."""
    at = number
    views = [("item_viewed", at + 1 + item, f"i{item}", 1.5 + item, "DE") for item in range(10)]
    bought = [("order_completed", at + 60, each["product_id"], each["price"], None) for each in PRODUCTS]
    return sorted([("page_viewed", at, None, None, None), *views, *bought], key=repr)


def seen(rows):
    """The same of the table's rows, visit by visit."""
    visits: dict[str, list] = {}
    for row in rows:
        seconds = round((row["occurred_at"] - START.replace(microsecond=0)).total_seconds())
        told = (row["event_type"], seconds, row["item_id"], row["price"], row["country"])
        visits.setdefault(row["user_id"], []).append(told)
    return sorted(sorted(visit, key=repr) for visit in visits.values())


def test_a_wrong_key_reaches_the_clients_error_handler(collector):
    failed: list = []
    sender = client(collector, failed, write_key="wrong")
    sender.track("u", "Cart Viewed")
    sender.shutdown()
    ((error, batch),) = failed
    assert error.status == 401
    assert error.code == "unauthorized"
    assert len(batch) == 1
    collector.stop()
    assert collector.landed() == []


def test_a_client_waits_for_a_collector_that_is_busy(make_collector):
    collector = make_collector()
    (collector.folder / "landing" / f"{datetime.now(UTC):%Y-%m-%d}").write_text("in the way")
    failed: list = []
    sender = client(collector, failed)
    sender.track("u", "Cart Viewed", message_id="patient")
    while '{reason="storage"}' not in collector.send("GET", "/metrics").text:
        time.sleep(0.05)
    (collector.folder / "landing" / f"{datetime.now(UTC):%Y-%m-%d}").unlink()
    sender.flush()
    sender.shutdown()
    collector.stop()
    assert failed == []
    assert [call["messageId"] for call in collector.landed()] == ["patient"]
