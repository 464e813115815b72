"""The gate's decision as a table: rule, value, threshold and verdict, for MLflow, Airflow and the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lastaisle.release.gate import Check

TABLE: Final = "release/decision_table.json"
"""The artifact of a run that MLflow shows as a table."""
COLUMNS: Final = ("rule", "value", "threshold", "verdict", "reason")


def rows_of(checks: Sequence[Check]) -> list[tuple[str, float | None, str | None, str, str]]:
    """Return one row a rule, in the order of `COLUMNS`."""
    return [(check.name, check.value, check.threshold, check.says, check.reason) for check in checks]


def number(value: float | None) -> str:
    """Return a value of the table; empty if the rule has none."""
    return "" if value is None else f"{value:.4f}"


def as_markdown(checks: Sequence[Check]) -> str:
    """Lay out the table in Markdown, with the reasons."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    lines += [
        (rule, number(value), threshold or "", verdict, reason)
        for rule, value, threshold, verdict, reason in rows_of(checks)
    ]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def as_text(checks: Sequence[Check]) -> str:
    """Lay out the table in lines of text, without the reasons."""
    shown = [COLUMNS[:-1]]
    shown += [
        (rule, number(value).removesuffix(".0000"), threshold or "", verdict)
        for rule, value, threshold, verdict, _ in rows_of(checks)
    ]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in shown]
    return "\n".join(line.rstrip() for line in lines)
