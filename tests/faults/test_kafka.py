"""Faults of the tasks that drain a real broker."""

from __future__ import annotations

import pytest

from tests.faults import faults
from tests.faults.matrix import Row, cells

#: The boundaries after which the task still asks the broker. If the broker dies later in a batch, only the
#: next batch shows it; `make faults` kills the broker at every boundary.
BROKER_IN_USE = ("reading", "judged", "dead letters", "batches")


@pytest.mark.parametrize(
    ("row", "boundary"),
    [
        pytest.param(row, boundary, id=f"{row.name} at {boundary}")
        for row, boundary in cells(kafka=True)
        if row.fault is not faults.kill_broker or boundary in BROKER_IN_USE
    ],
)
def test_every_row_is_there_exactly_once(row: Row, boundary: str, broker):
    counts = row.run(boundary, broker)
    assert counts.clean > 0
    assert counts.quarantined > 0
    assert counts.duplicate > 0
