"""Check a file of rules beside the catalogue, before a service reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from lastaisle.catalogue.history import read_catalogue
from lastaisle.lake import Lake
from lastaisle.serve.shown.rule_file import Rule, read_rules
from lastaisle.serve.shown.view import ShelfView, Snapshot

SHOWN = 5  # ids in one warning


@dataclass(frozen=True)
class CheckedRule:
    """A rule without an error.

    Attributes:
        name: its name.
        state: whether it applies at the moment of the check: "applies", "begins later" or "has ended".
        items: how many items it has; None for a filter without a catalogue.
        warnings: what may surprise.
    """

    name: str
    state: str
    items: int | None
    warnings: Sequence[str]


def check_rules(path: Path, lake: Lake, now: datetime) -> list[CheckedRule]:
    """Check a file of rules.

    Args:
        path: the YAML file.
        lake: its catalogue is what filters and ids are checked against; it may have none.
        now: the moment of the check.

    Raises:
        RuleError: the file has errors; the error names each with its line.
        LakeUnusableError: there is a catalogue, and it cannot be read.
    """
    items = read_catalogue(lake, now)
    snapshot = None if items is None else Snapshot(items.combine_chunks(), now, None)
    rules = read_rules(path, snapshot.fields if snapshot else None)
    view = ShelfView(np.array([""], object), {}, snapshot)
    return [
        CheckedRule(rule.name, _state(rule, now), _count(rule, view), list(_warnings(rule, view, now)))
        for rule in rules
    ]


def _state(rule: Rule, now: datetime) -> str:
    if rule.end is not None and rule.end <= now:
        return "has ended"
    return "begins later" if rule.start is not None and now < rule.start else "applies"


def _count(rule: Rule, view: ShelfView) -> int | None:
    if rule.promote is None or rule.promote.filter is None:
        return len(_ids(rule))
    return None if view.snapshot is None else int(view.row_mask(rule.promote.filter).sum())


def _warnings(rule: Rule, view: ShelfView, now: datetime) -> Iterator[str]:
    if rule.end is None:
        yield "it has no end"
    if view.snapshot is None:
        if rule.promote and rule.promote.filter is not None:
            yield "the lake has no catalogue, so its filter is not checked and shows nothing"
        return
    if _count(rule, view) == 0:
        yield "its filter is true of no item"
    for_sale = view.for_sale(_ids(rule))
    missing = [item for item in _ids(rule) if item not in for_sale]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        yield f"the catalogue has not for sale: {', '.join(missing[:SHOWN])}{more}"


def _ids(rule: Rule) -> list[str]:
    return rule.pin.items if rule.pin else (rule.promote and rule.promote.items) or []
