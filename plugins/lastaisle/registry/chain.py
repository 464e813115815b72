"""The chain of the ledger: each row holds a digest of itself and of all rows before it.

Whoever changes, removes or inserts a row of the table `releases` breaks the chain at that place. The chain
shows nothing if all later digests are computed anew; so keep its end elsewhere, too: `lastaisle releases
verify` prints it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

CHAIN: Final = "chain"
ENTRY: Final = "entry"


@dataclass(frozen=True)
class ChainCheck:
    """The outcome of a check of the chain.

    Attributes:
        entries: number of rows.
        unchained: number of rows from before the chain; the first digest after them covers them together.
        end: the digest of the last row; keep it to notice later that all rows were written anew.
        broken: one sentence for each place at which the rows are not those that were written, in order.
    """

    entries: int
    unchained: int
    end: str
    broken: tuple[str, ...]


def canonical(row: Mapping[str, Any]) -> str:
    """Write a row as text: columns in order, without empty columns, so that a wider table changes nothing."""
    filled = {name: value for name, value in row.items() if value is not None and name != CHAIN}
    return json.dumps(filled, default=_moment, sort_keys=True, separators=(",", ":"))


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def link(previous: str, row: Mapping[str, Any]) -> str:
    """Return the digest of a row after the digest of the row before it: SHA-256 over both."""
    return hashlib.sha256(f"{previous}\n{canonical(row)}".encode()).hexdigest()


def end_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of the last row; of rows from before the chain, one digest over all of them.

    Args:
        rows: all rows, by their entries.
    """
    end = ""
    for row in rows:
        end = row.get(CHAIN) or link(end, row)
    return end


def check_chain(rows: Sequence[Mapping[str, Any]], newest: int | None) -> ChainCheck:
    """Compare each row with its digest.

    Args:
        rows: all rows, by their entries.
        newest: the entry of the row that was written last, as the table's log says; None if it says nothing.
    """
    broken, end, before = [], "", "the start"
    unchained = next((number for number, row in enumerate(rows) if row.get(CHAIN)), len(rows))
    for number, row in enumerate(rows):
        here = f"entry {row[ENTRY]}"
        expected = link(end, row)
        end = row.get(CHAIN) or expected
        if number >= unchained and end != expected:
            broken.append(f"{_named(row)} was changed, or rows between it and {before} were removed or added")
        elif number >= unchained and not row.get(CHAIN):
            broken.append(f"{_named(row)} has no digest: it was not written by this version of Lastaisle")
        before = here
    last = rows[-1][ENTRY] if rows else None
    if (newest is not None or unchained < len(rows)) and newest != last:
        broken.append(
            f"the rows after {before} were removed or added: the last row written is entry {newest}"
        )
    return ChainCheck(len(rows), unchained, end, tuple(broken))


def _named(row: Mapping[str, Any]) -> str:
    moved_at = row.get("moved_at")
    moment = f" of {moved_at:%Y-%m-%d %H:%M} UTC" if isinstance(moved_at, datetime) else ""
    return f"entry {row[ENTRY]} ({row.get('action')} of version {row.get('to_version')}{moment})"
