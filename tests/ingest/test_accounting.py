"""Every row of a batch is clean, quarantined, duplicate or ignored; the report and the tables say which."""

import json

from lastaisle.ingest.report import MOST_REASONS, fold_reasons


def call(number, event="Product Viewed", **changes):
    """Return a call of Segment's spec; None takes a field away."""
    sent = {
        "type": "track",
        "event": event,
        "messageId": f"m{number}",
        "userId": f"u{number}",
        "timestamp": "2025-10-09T12:00:00.000Z",
        "properties": {"product_id": "p"},
    } | changes
    return {name: value for name, value in sent.items() if value is not None}


def test_sound_calls_of_no_interest_are_ignored_and_counted_by_name(shop):
    calls = [call(1), call(2, "Signed Up"), call(3, None, type="identify"), call(4, None, type="identify")]
    calls += [call(5, None), call(6, type=None), call(1), "{"]
    report = shop.ingest(shop.write(calls), "segment")
    counts = (report.rows_in, report.rows_clean, report.rows_quarantined, report.rows_duplicate)
    assert counts == (8, 1, 3, 1)
    assert report.rows_ignored == 3
    assert report.ignored_by_reason == {"identify": 2, "track: Signed Up": 1}
    assert sorted(row["event_id"] for row in shop.rows("raw_events")) == ["m1"]
    (batch,) = shop.rows("batches")
    assert batch["rows_ignored"] == 3
    assert json.loads(batch["ignored_by_reason"]) == report.ignored_by_reason
    assert report.to_dict()["ignored_by_reason"] == report.ignored_by_reason


def test_an_ignored_call_is_not_judged_and_opens_no_day(shop):
    report = shop.ingest(
        shop.write([call(1, "Signed Up", timestamp="soon"), call(2, None, type="alias")]), "segment"
    )
    assert (report.rows_in, report.rows_ignored, report.days, report.hours) == (2, 2, [], [])
    assert shop.rows("quarantine") == []


def test_a_batch_that_came_before_counts_its_ignored_rows_as_duplicates(shop):
    source = shop.write([call(1), call(2, "Signed Up")])
    shop.ingest(source, "segment")
    again = shop.ingest(source, "segment")
    assert (again.rows_in, again.rows_duplicate, again.rows_ignored) == (2, 2, 0)
    assert again.ignored_by_reason == {}


def test_a_shop_that_uses_ids_as_event_names_gets_a_short_report(shop):
    names = [f"clicked {number}" for number in range(MOST_REASONS + 5)]
    calls = [call(number, name) for number, name in enumerate([*names, names[-1]])]
    report = shop.ingest(shop.write([*calls, call(99, "long " * 1000)]), "segment")
    assert len(report.ignored_by_reason) == MOST_REASONS + 1
    assert sum(report.ignored_by_reason.values()) == report.rows_ignored == len(calls) + 1
    assert report.ignored_by_reason[f"track: {names[-1]}"] == 2
    assert report.ignored_by_reason["other"] == 6
    assert all(len(reason) <= 100 for reason in report.ignored_by_reason)


def test_reasons_add_up_over_batches():
    first = fold_reasons({f"reason {number}": 1 for number in range(30)})
    assert first["other"] == 10
    both = fold_reasons({**first, "reason 29": 5})
    assert sum(both.values()) == sum(first.values()) + 5
    assert fold_reasons({}) == {}
