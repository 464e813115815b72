"""A row of exposures that holds personal data goes to quarantine."""

from __future__ import annotations

import json

from lastaisle.lake.tables import EXPOSURE_BATCHES, EXPOSURES, QUARANTINE

from .conftest import row

MAIL = "anna@example.org"


def test_rows_with_finds_are_quarantined_with_every_rule_and_counted(shown):
    report = shown.take(
        row(1),
        row(2, placement=f"mail to {MAIL}", arm="call +49 30 1234567"),
        row(3, item_id="203.0.113.9"),
        form="exposures",
    )
    found = {"arm_holds_phone": 1, "item_id_holds_ip": 1, "placement_holds_email": 1}
    assert report.personal_data == found
    assert (report.rows_clean, report.rows_quarantined) == (1, 2)
    rules = sorted(broken["rules"] for broken in shown.lake.scan(QUARANTINE).to_pylist())
    assert rules == [["item_id_holds_ip"], ["placement_holds_email", "arm_holds_phone"]]
    (batch,) = shown.lake.scan(EXPOSURE_BATCHES).to_pylist()
    assert json.loads(batch["personal_data"]) == found
    assert MAIL not in repr(shown.lake.scan(EXPOSURES).to_pylist()) + repr(batch)
