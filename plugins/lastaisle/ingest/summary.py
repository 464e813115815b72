"""The rows of a run in a few readable lines, for the log of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lastaisle.ingest.report import ROW_COUNTS, BatchReport, IngestReport, fold_reasons
from lastaisle.telemetry.shown import one_line

_LABELS: Final = {
    "rows_in": "rows in",
    "rows_clean": "clean",
    "rows_quarantined": "quarantined",
    "rows_duplicate": "duplicate",
    "rows_ignored": "ignored",
    "rows_late": "late (clean)",
}
#: The rules or reasons that stand beside a count.
_BY_NAME: Final = {
    "rows_clean": "warnings_by_rule",
    "rows_quarantined": "quarantined_by_rule",
    "rows_ignored": "ignored_by_reason",
}
MOST_NAMES: Final = 10


def row_counts(batch: BatchReport | IngestReport) -> dict[str, Any]:
    """Return the counts that a run adds up: numbers of rows, and numbers by rule or reason."""
    return {name: getattr(batch, name) for name in (*ROW_COUNTS, *_BY_NAME.values())}


def add_up(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the counts of batches or of chains; without any, all numbers are 0."""
    listed = list(counts)
    total: dict[str, Any] = {name: sum(each[name] for each in listed) for name in ROW_COUNTS}
    for by_name in _BY_NAME.values():
        added = Counter[str]()
        for each in listed:
            added.update(each[by_name])
        total[by_name] = fold_reasons(added) if by_name == "ignored_by_reason" else dict(added)
    return total


def describe_rows(counts: Mapping[str, Any]) -> list[str]:
    """Describe the rows, a line for each count, with the rules or reasons of the count."""
    width = max(len(f"{counts[name]:,}") for name in ROW_COUNTS)
    lines = []
    for name in ROW_COUNTS:
        named = name_most(counts[_BY_NAME[name]]) if name in _BY_NAME else ""
        prefix = "warnings: " if named and name == "rows_clean" else ""
        lines.append(f"{_LABELS[name]:<12} {counts[name]:>{width},}  {prefix}{named}".rstrip())
    return lines


def name_most(counts: Mapping[str, int]) -> str:
    """Return the most frequent names with their counts: `price_in_range 6, not_json 4, and 2 more`."""
    first = Counter(counts).most_common(MOST_NAMES)
    more = [f"and {len(counts) - len(first)} more"] if len(counts) > len(first) else []
    return ", ".join([*(f"{one_line(name)} {count:,}" for name, count in first), *more])
