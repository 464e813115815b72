"""A short soak; `benchmarks/soak.py` runs a long one."""

from __future__ import annotations

import pytest

from tests.faults.soak import Soak


@pytest.mark.timeout(600)
def test_every_row_is_accounted_for_after_half_a_minute_of_mixed_traffic_and_kills(broker, tmp_path):
    report = Soak(tmp_path, broker, rate=100).run(0.5)
    assert report["rows_sent"] > 1000
    assert min(report["rows_clean"], report["rows_quarantined"], report["rows_duplicate"]) > 0
