"""Faults that befall the tasks that drain a real broker."""

from __future__ import annotations

import pytest

from tests.faults.matrix import Row, cells


@pytest.mark.parametrize(
    ("row", "boundary"),
    [pytest.param(*cell, id=f"{cell[0].name} at {cell[1]}") for cell in cells(kafka=True)],
)
def test_nothing_is_lost_and_nothing_double(row: Row, boundary: str, broker):
    counts = row.run(boundary, broker)
    assert counts.clean > 0
    assert counts.quarantined > 0
    assert counts.duplicate > 0
