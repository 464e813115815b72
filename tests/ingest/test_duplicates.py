"""An event_id is kept once in the whole lake; another event under a known id goes to quarantine."""

import json
from dataclasses import replace
from datetime import timedelta

import pyarrow.compute as pc
import pytest

from lastaisle.ingest.options import IngestOptions

OTHER_CONTENTS = [
    {"item_id": "other"},
    {"price": 5},
    {"price": None},
    {"user_id": "other"},
    {"event_type": "item_added"},
    {"occurred_at": "2025-10-09T12:05:01Z", "received_at": None},
    {"occurred_at": "2025-09-01T12:00:00Z"},
    {"occurred_at": "2024-10-09T12:00:00Z"},
    {"consent": {"personalization": False}},
]
SAME_CONTENTS = [
    {},
    {"received_at": "2025-10-09T18:00:00Z"},
    {"received_at": None},
    {"occurred_at": "2025-10-09T12:00:02Z"},
    {"occurred_at": "2025-10-09T14:00:00.120+02:00"},
    {"price": "9.90"},
]
WAYS = ["one file", "two files", "two batches"]


def bring(shop, events, way):
    """Ingest events in one file, a file for each, or one file in batches of one line; return the counts."""
    options = replace(shop.options, batch_rows=1) if way == "two batches" else shop.options
    if way == "two files":
        reports = [
            shop.ingest(shop.write([event], f"{place}.jsonl"), options=options)
            for place, event in enumerate(events)
        ]
    else:
        reports = [shop.ingest(shop.write(events), options=options)]
    names = ("rows_clean", "rows_duplicate", "rows_quarantined")
    return tuple(sum(getattr(report, name) for report in reports) for name in names)


@pytest.mark.parametrize("way", WAYS)
def test_other_contents_under_a_known_id_are_quarantined_and_the_first_event_stays(shop, way):
    events = [shop.event(1), *(shop.event(1, **changes) for changes in OTHER_CONTENTS)]
    assert bring(shop, events, way) == (1, 0, len(OTHER_CONTENTS))
    assert shop.rules() == [["event_id_reused"]] * len(OTHER_CONTENTS)
    (kept,) = shop.rows("raw_events")
    assert (kept["item_id"], kept["price"], kept["event_type"]) == ("item-1", 9.9, "item_viewed")


@pytest.mark.parametrize("way", WAYS)
def test_the_same_contents_under_a_known_id_are_a_duplicate(shop, way):
    events = [shop.event(1), *(shop.event(1, **changes) for changes in SAME_CONTENTS)]
    assert bring(shop, events, way) == (1, len(SAME_CONTENTS), 0)
    assert len(shop.rows("raw_events")) == len(shop.rows("events")) == 1


@pytest.mark.parametrize("order", ["AAB", "ABA", "BAA", "ABC"])
def test_every_way_of_the_same_order_gives_the_same_tables(make_shop, order):
    found = []
    for way in WAYS:
        shop = make_shop(way)
        times = [f"2025-10-09T12:00:0{place}Z" for place in range(len(order))]
        events = [
            shop.event(1, item_id=item, received_at=time) for item, time in zip(order, times, strict=True)
        ]
        counts = bring(shop, events, way)
        kept = [row["item_id"] for row in shop.rows("raw_events")]
        refused = [json.loads(row["payload"])["item_id"] for row in shop.rows("quarantine")]
        found.append((counts, kept, sorted(refused)))
    assert found[0] == found[1] == found[2]
    assert found[0][1] == [order[0]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("days", [0, 1, 3, 40, 400])
def test_the_reach_has_no_end(shop, way, days):
    first, again = f"{2025 - days // 365}-01-01T00:00:00Z", "2025-10-09T12:00:00Z"
    events = [shop.event(1, occurred_at=first, received_at=None), shop.event(1, occurred_at=again)]
    assert bring(shop, events, way)[0] == 1
    assert len(shop.rows("raw_events")) == 1
    assert shop.rules() == [["event_id_reused"]]


def test_the_event_in_quarantine_can_be_ingested_again_under_another_id(shop):
    other = shop.event(1, item_id="other", consent={"personalization": False}, brand='O\'Neill "x"')
    shop.ingest(shop.write([shop.event(1), other]))
    (refused,) = shop.rows("quarantine")
    assert (refused["source_row"], refused["sub_row"]) == (2, 0)
    event = json.loads(refused["payload"])
    assert (event["item_id"], event["consent_personalization"]) == ("other", False)
    assert None not in event.values()
    report = shop.ingest(shop.write([event | {"event_id": "event-2"}], "again.jsonl"))
    assert report.rows_clean == 1
    rows = {row["event_id"]: row for row in shop.rows("raw_events")}
    assert rows["event-2"]["brand"] == 'O\'Neill "x"'
    assert rows["event-2"]["consent_personalization"] is False


def test_reports_and_tables_agree_on_reused_ids(shop):
    events = [shop.event(1), shop.event(1, item_id="other"), shop.event(2, price=-1), shop.event(1)]
    report = shop.ingest(shop.write(events))
    assert (report.rows_clean, report.rows_duplicate, report.rows_quarantined) == (1, 1, 2)
    assert report.quarantined_by_rule == {"event_id_reused": 1, "price_in_range": 1}
    (batch,) = shop.rows("batches")
    assert json.loads(batch["quarantined_by_rule"]) == report.quarantined_by_rule
    assert len(shop.rows("quarantine")) == batch["rows_quarantined"] == 2
    again = shop.ingest(shop.write(events))
    assert (again.rows_duplicate, again.rows_quarantined, len(shop.rows("quarantine"))) == (4, 0, 2)


def test_a_field_that_an_older_contract_did_not_have_is_no_other_contents(shop):
    contract = shop.contracts["contract"]
    older = replace(contract, version="0.9.0")
    shop.ingest(shop.write([shop.event(1), shop.event(2)], "a.jsonl"), contract=older)
    events = [shop.event(1, brand="new field"), shop.event(2, item_id="other")]
    report = shop.ingest(shop.write(events, "b.jsonl"))
    assert (report.rows_duplicate, report.rows_quarantined) == (1, 1)


def test_ids_at_the_bounds_of_the_files_are_found(shop):
    names = ["", "a", "z" * 200, "z" * 199, "\u00e9" * 100, "\U0001f6d2" * 50, "Z", "'quoted'", "~"]
    events = [shop.event(1, event_id=name) for name in names if name]
    shop.ingest(shop.write(events, "a.jsonl"))
    for place, event in enumerate(events):
        both = [event, event | {"item_id": "other"}]
        report = shop.ingest(shop.write(both, f"{place}.jsonl"))
        assert (report.rows_clean, report.rows_duplicate, report.rows_quarantined) == (0, 1, 1)


def test_a_limited_reach_looks_at_near_days_only(shop):
    shop.ingest(shop.write([shop.event(1)], "a.jsonl"))
    near = IngestOptions(gx_sample_rows=0, duplicate_reach=timedelta(days=2))
    late = shop.event(1, occurred_at="2025-10-07T12:00:00Z", item_id="near")
    assert shop.ingest(shop.write([late], "b.jsonl"), options=near).rows_quarantined == 1
    far = shop.event(1, occurred_at="2025-10-06T12:00:00Z", item_id="far")
    assert shop.ingest(shop.write([far], "c.jsonl"), options=near).rows_clean == 1


def test_every_reused_id_of_many_is_found(shop):
    events = [shop.event(number) for number in range(3000)]
    shop.ingest(shop.write(events, "a.jsonl"))
    changed = [event | ({"item_id": "other"} if place % 3 == 0 else {}) for place, event in enumerate(events)]
    report = shop.ingest(shop.write([*changed, *events], "b.jsonl"))
    assert (report.rows_clean, report.rows_duplicate, report.rows_quarantined) == (0, 5000, 1000)
    ids = shop.lake.scan("quarantine", columns=["payload"])["payload"]
    assert pc.count_distinct(ids).as_py() == 1000
