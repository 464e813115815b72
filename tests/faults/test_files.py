"""Faults of the tasks that read files or anonymize shards."""

from __future__ import annotations

import pytest

from tests.faults.matrix import Row, cells

pytestmark = pytest.mark.service


@pytest.mark.parametrize(
    ("row", "boundary"),
    [pytest.param(*cell, id=f"{cell[0].name} at {cell[1]}") for cell in cells(kafka=False)],
)
def test_every_row_is_there_exactly_once(row: Row, boundary: str):
    counts = row.run(boundary)
    assert counts.clean > 0
    assert counts.quarantined > 0
    assert counts.duplicate > 0
