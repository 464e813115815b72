"""The quarantine as the page Data shows it: by rule, with the shapes of the newest rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from data_contracts.contract import load_contract
from lastaisle.ingest.shapes import Shape, shapes_of
from lastaisle.lake.errors import clear_errors
from lastaisle.lake.tables import EXPOSURES, ITEMS, QUARANTINE, RAW_EVENTS

if TYPE_CHECKING:
    from lastaisle.dashboard.figures.data import Batch
    from lastaisle.dashboard.source import Source
    from lastaisle.lake.reader import LakeReader

NEWEST_ROWS: Final = 5_000
"""The shapes are those of the newest so many rows."""
SHAPES_SHOWN: Final = 3


@dataclass(frozen=True)
class BrokenRule:
    """The rows that broke one rule.

    Attributes:
        name: of the rule.
        words: the rule in words; empty for a rule that no contract writes, such as not_json.
        rows: how many rows of the batches broke it.
        share: of all rows of these batches.
        batches: how many batches had such rows.
        first: the arrival of the first of them.
        last: the arrival of the newest of them.
        by_source: source to the number of rows.
    """

    name: str
    words: str
    rows: int
    share: float
    batches: int
    first: datetime
    last: datetime
    by_source: Mapping[str, int]


def broken_rules(batches: Sequence[Batch], words: Mapping[str, str]) -> list[BrokenRule]:
    """Return the broken rules of some batches, the most frequent first. A row may break several.

    Args:
        batches: the batches.
        words: the rules in words, by their names.
    """
    having: dict[str, list[Batch]] = {}
    for batch in batches:
        for name, rows in batch.by_rule.items():
            if rows:
                having.setdefault(name, []).append(batch)
    total = sum(batch.rows["in"] for batch in batches)
    found = [_broken(name, own, total, words.get(name, "")) for name, own in having.items()]
    return sorted(found, key=lambda rule: (-rule.rows, rule.name))


def _broken(name: str, batches: Iterable[Batch], total: int, words: str) -> BrokenRule:
    own = list(batches)
    by_source: dict[str, int] = {}
    for batch in own:
        by_source[batch.source] = by_source.get(batch.source, 0) + batch.by_rule[name]
    rows = sum(by_source.values())
    arrivals = [batch.arrived for batch in own]
    return BrokenRule(
        name=name,
        words=words,
        rows=rows,
        share=rows / max(total, 1),
        batches=len(own),
        first=min(arrivals),
        last=max(arrivals),
        by_source=dict(sorted(by_source.items(), key=lambda item: -item[1])),
    )


def read_words(source: Source) -> Mapping[str, str]:
    """Return the rules of the contracts in words, as far as these say more than the names."""
    return source.once("words of rules", (), _read_words)


def _read_words() -> dict[str, str]:
    contracts = [load_contract(table) for table in (ITEMS, EXPOSURES, RAW_EVENTS)]
    rules = [rule for contract in contracts for rule in contract.rules]
    return {
        rule.name: rule.description
        for rule in rules
        if rule.description.replace("_", " ") != rule.name.replace("_", " ")
    }


def read_shapes(source: Source) -> dict[str, list[Shape]]:
    """Return for each rule the shapes of the newest quarantined rows; they hold no value of a payload."""
    return source.once("shapes", [QUARANTINE], lambda: _read_shapes(source.lake))


def _read_shapes(lake: LakeReader) -> dict[str, list[Shape]]:
    payloads: dict[str, list[str | None]] = {}
    for row in _newest(lake):
        for rule in row["rules"] or ():
            payloads.setdefault(rule, []).append(row["payload"])
    return {rule: shapes_of(own) for rule, own in payloads.items()}


def _newest(lake: LakeReader) -> list[dict[str, Any]]:
    """Return rules and payload of the newest rows, day by day, so that a large table is not read."""
    dataset = lake.dataset(QUARANTINE)
    found: list[dict[str, Any]] = []
    if dataset is None:
        return found
    with clear_errors(f"read table {QUARANTINE}", lake.url):
        for day in sorted(lake.rows_by_day(QUARANTINE), reverse=True):
            wanted = NEWEST_ROWS - len(found)
            if wanted <= 0:
                break
            own = pc.field("event_date") == day
            found += dataset.head(wanted, columns=["rules", "payload"], filter=own).to_pylist()
    return found
