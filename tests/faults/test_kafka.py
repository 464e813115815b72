"""Faults that befall the tasks that drain a real broker."""

from __future__ import annotations

import pytest

from tests.faults import faults
from tests.faults.matrix import Row, cells

#: When the task has still to ask the broker something. A broker that dies later is not missed before the next
#: batch; `make faults` kills it at every step all the same.
BROKER_IN_USE = ("reading", "judged", "dead letters", "batches")


@pytest.mark.parametrize(
    ("row", "boundary"),
    [
        pytest.param(row, boundary, id=f"{row.name} at {boundary}")
        for row, boundary in cells(kafka=True)
        if row.fault is not faults.kill_broker or boundary in BROKER_IN_USE
    ],
)
def test_nothing_is_lost_and_nothing_double(row: Row, boundary: str, broker):
    counts = row.run(boundary, broker)
    assert counts.clean > 0
    assert counts.quarantined > 0
    assert counts.duplicate > 0
