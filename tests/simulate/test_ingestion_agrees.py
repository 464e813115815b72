"""Ingestion of simulated logs finds exactly the rows and the damage that the simulation made."""

from collections import Counter
from datetime import date

import pytest

from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.simulate import ShopOptions, day_file, write_logs

NOISY = ShopOptions(days=2, sessions_per_day=250, items=200, broken=0.05, late=0.03, duplicates=0.04, bots=0)
# The rule of the contract that must quarantine each kind of damage.
RULES = {
    "truncated_json": "not_json",
    "not_json": "not_json",
    "unknown_event_type": "event_type_is_allowed",
    "no_event_id": "event_id_is_required",
    "nobody": "user_or_session_is_required",
    "order_without_id": "order_completed_needs_order_id",
    "view_without_item": "item_event_needs_item_id",
    "price_is_text": "price_is_number",
    "negative_price": "price_in_range",
    "zero_quantity": "quantity_in_range",
    "bad_time": "occurred_at_is_timestamp",
    "far_future": "occurred_at_not_in_future",
}


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    home = tmp_path_factory.mktemp("shop")
    written = write_logs(home / "logs", NOISY)
    lake, keys = Lake(str(home / "lake")), PseudonymKeys.load_or_create(home / "keys.json")
    reports = {
        day: ingest(str(day_file(home / "logs", day)), "canonical", lake, keys) for day in written.days
    }
    return written, reports


def test_counts_equal_the_truth(days):
    written, reports = days
    for day, truth in written.days.items():
        report = reports[day]
        assert report.rows_in == truth.rows
        assert report.rows_clean == truth.clean
        assert report.rows_quarantined == sum(truth.broken.values())
        assert report.rows_duplicate == truth.duplicates
        assert report.rows_late == truth.late
    assert written.days[date(2025, 10, 2)].late > 0


def test_each_kind_of_damage_is_quarantined_by_its_rule(days):
    written, reports = days
    quarantined, injected = Counter(), Counter()
    for report in reports.values():
        quarantined.update(report.quarantined_by_rule)
    for truth in written.days.values():
        injected.update(truth.broken)
    assert set(injected) == set(RULES)
    unread = injected["truncated_json"] + injected["not_json"]
    expected = {rule: injected[kind] for kind, rule in RULES.items()} | {"not_json": unread}
    assert min(expected.values()) > 0
    assert {rule: quarantined[rule] for rule in expected} == expected
