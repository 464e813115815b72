"""Erase rows of shoppers from the tables of a lake, file by file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lastaisle.lake.lake import Lake
from lastaisle.lake.log_texts import clean_log
from lastaisle.lake.retries import retry_conflicts
from lastaisle.lake.rewritten import Kept, live_files, rewrite_files, without_views
from lastaisle.lake.tables import (
    ABANDONMENTS,
    CONSENTS,
    EVENTS,
    EXPOSURES,
    OUTCOMES,
    QUARANTINE,
    RAW_EVENTS,
    UNATTRIBUTED,
)
from lastaisle.rights.erasure.known import Known
from lastaisle.rights.erasure.model import ORDER, SESSION, USER, PlaceReport

#: The tables that hold rows of shoppers. raw_events comes last and events before it, since these two tell
#: which rows of the others are the shoppers': an erasure that was killed finds them again.
TABLES: Final = (
    *(QUARANTINE, ABANDONMENTS, CONSENTS, UNATTRIBUTED, OUTCOMES, EXPOSURES),
    *(EVENTS, RAW_EVENTS),
)
ATTEMPTS: Final = 20
_LIST: Final = "recommendation_id"
#: Words in the names of fields that hold ids of shoppers, sessions and orders, as logs of shops name them.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    USER: (
        "user",
        "visitor",
        "customer",
        "client",
        "shopper",
        "person",
        "member",
        "uid",
        "distinct",
        "anonym",
    ),
    SESSION: ("session", "visit", "sid"),
    ORDER: ("order", "transaction", "purchase"),
}


@dataclass(frozen=True)
class Matched:
    """How rows of a table are known to be the shoppers'.

    Attributes:
        columns: the columns that are read for it.
        rows: the function that tells for rows of these columns which are theirs.
    """

    columns: tuple[str, ...]
    rows: Callable[[pa.Table], pa.ChunkedArray | pa.Array]


def match_of(name: str, known: Known) -> Matched:
    """Return how rows of a table of TABLES are known to be the shoppers'."""
    if name == QUARANTINE:
        return Matched(("payload",), Payloads(known).rows)
    if name == RAW_EVENTS:
        own, others = {USER: known.users}, {SESSION: known.sessions, ORDER: known.orders}
    elif name == EVENTS:
        own = {USER: known.user_names, "event_id": known.events}
        others = {SESSION: known.session_names, ORDER: known.order_names}
    elif name == ABANDONMENTS:
        own, others = {SESSION: known.session_names}, {}
    else:
        own, others = {USER: known.user_names}, {SESSION: known.session_names, _LIST: known.lists}
    return Matched((*own, *others), _in_columns(own, others))


def _in_columns(
    own: Mapping[str, frozenset[str]], others: Mapping[str, frozenset[str]]
) -> Callable[[pa.Table], pa.ChunkedArray]:
    """Match rows by ids of their own, and rows without a shopper by the other ids."""
    asked = {column: pa.array(sorted(ids), pa.string()) for column, ids in {**own, **others}.items()}

    def rows(table: pa.Table) -> pa.ChunkedArray:
        matched = pa.chunked_array([pa.array(np.zeros(table.num_rows, bool))])
        nobody = pc.is_null(table[USER]) if USER in table.column_names else None
        for column, ids in asked.items():
            if column not in table.column_names or not len(ids):
                continue
            found = pc.is_in(table[column], value_set=ids)
            if column in others and nobody is not None:
                found = pc.and_(found, nobody)
            matched = pc.or_(matched, found)
        return matched

    return rows


class Payloads:
    """Matches payloads of quarantine: by ids in fields whose names say that they hold ids.

    Distinct ids are found in the bytes of any payload, by the search that proves the erasure.
    """

    def __init__(self, known: Known) -> None:
        ids = {USER: known.users, SESSION: known.sessions, ORDER: known.orders}
        self._ids = {name: frozenset(map(str.casefold, texts)) for name, texts in ids.items()}

    def rows(self, table: pa.Table) -> pa.Array:
        """Tell which rows of a table with payloads name a shopper."""
        return pa.array([self.names(text) for text in table["payload"].to_pylist()], pa.bool_())

    def names(self, payload: str | None) -> bool:
        """Tell whether a JSON document names a shopper in a field for ids."""
        try:
            document = json.loads(payload or "null")
        except (ValueError, RecursionError):  # a broken row; its bytes are searched
            return False
        return any(self._is_theirs(name, value) for name, value in _members(document))

    def _is_theirs(self, name: str, value: str) -> bool:
        return any(
            value in self._ids[kind] and any(word in name for word in words)
            for kind, words in _FIELDS.items()
        )


def _members(document: Any) -> Iterator[tuple[str, str]]:
    """Return the names and values of a JSON document at any depth, in lower case.

    A name begins with the names of its parents, since user: {id: 17} names a shopper.
    """
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{member}".casefold(), inner) for member, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(name, inner) for inner in value]
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name, str(value).strip().removesuffix(".0").casefold()


def erase_rows(lake: Lake, name: str, known: Known, *, dry_run: bool) -> PlaceReport:
    """Write the files of a table that hold rows of the shoppers again without them; delete the old files.

    Files that are no part of the table any more and hold such rows are deleted, too. A second call finishes
    a call that was killed.

    Raises:
        LakeConflictError: other writers won every attempt.
    """
    match = match_of(name, known)

    def attempt() -> PlaceReport:
        table = lake.table(name)
        report = PlaceReport(name, "table")
        if table is None:
            return report
        live, folder = live_files(table), lake.folder(name)
        touched = {path: count for path in live if (count := _count(lake, name, path, match))}
        if dry_run:
            return replace(report, rows=sum(touched.values()), files_rewritten=len(touched))
        done = rewrite_files(lake, name, dict.fromkeys(touched, _stay(match)))
        folder.discard(done.removed)
        return replace(
            report, rows=done.rows, files_rewritten=len(done.removed), files_deleted=len(done.removed)
        )

    return retry_conflicts(ATTEMPTS)(attempt)


def erase_places(lake: Lake, name: str, rows: Mapping[str, set[int]]) -> tuple[int, int]:
    """Erase rows by their numbers in files of the newest version; return the rows and the files.

    Raises:
        LakeConflictError: a file is no longer part of the table; search the table again.
    """
    if not rows:
        return 0, 0
    kept: dict[str, Kept] = {path: _without(numbers) for path, numbers in rows.items()}
    done = rewrite_files(lake, name, kept)
    lake.folder(name).discard(done.removed)
    return done.rows, len(done.removed)


def dead_files(lake: Lake, name: str) -> list[str]:
    """Return the Parquet files in a table's folder that are no part of its newest version."""
    files = lake.folder(name).files()
    table = lake.table(name)  # after the list of files, so that no file that was committed since counts
    live = {} if table is None else live_files(table)
    return [
        path
        for path in files
        if path.endswith(".parquet") and not path.startswith("_delta_log/") and path not in live
    ]


def holds_rows(lake: Lake, name: str, path: str, known: Known) -> bool:
    """Tell whether a file holds rows of the shoppers."""
    return bool(_count(lake, name, path, match_of(name, known)))


def clean_logs(lake: Lake, name: str) -> int:
    """Take the texts of deleted files out of a table's log; return the entries and checkpoints concerned."""
    cleaned = clean_log(lake, name)
    return cleaned.entries + cleaned.checkpoints


def _count(lake: Lake, name: str, path: str, match: Matched) -> int:
    with lake.folder(name).filesystem().open_input_file(path) as stream:
        file = pq.ParquetFile(stream)
        columns = [column for column in match.columns if column in file.schema_arrow.names]
        if not columns:
            return 0
        rows = without_views(file.read(columns))
    return int(pc.sum(match.rows(rows), min_count=0).as_py() or 0)


def _stay(match: Matched) -> Kept:
    return lambda rows: pc.invert(match.rows(rows))


def _without(numbers: set[int]) -> Kept:
    def kept(rows: pa.Table) -> pa.Array:
        stay = np.ones(rows.num_rows, bool)
        stay[list(numbers)] = False
        return pa.array(stay)

    return kept
