"""docs/audit.md lists the retention that the contracts state."""

from __future__ import annotations

from pathlib import Path

from data_contracts.retention import retention_of
from lastaisle.lake.tables import ALL_TABLES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


def test_the_table_of_retention_is_that_of_the_contracts():
    text = PAGE.read_text(encoding="utf-8")
    for name in ALL_TABLES:
        one = retention_of(name)
        age = f"`{one.column}`" if one.age_of is None else f"`{'.'.join(one.age_of)}`"
        days = "ever" if one.days is None else one.days
        purposes = ", ".join(one.purposes)
        row = f"| `{name}` | {days} | {age} | {one.holds} | {purposes} | {one.legal_basis} |\n"
        assert row in text, f"docs/audit.md should hold: {row}"
