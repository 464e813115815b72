"""A copy of everything that the lake holds of a shopper (GDPR articles 15 and 20, CCPA right to know).

The copy has the rows that an erasure would erase: those of the shopper's ids and pseudonyms, under each key.
A row of another shopper in which an id of this shopper stands in free text is not in the copy, since the copy
may not tell of others.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.contract import load_contract
from data_contracts.document import packaged_tables
from data_contracts.retention import retention_of
from lastaisle.lake.rewritten import without_views
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
from lastaisle.rights.erasure.known import Known, find_known
from lastaisle.rights.erasure.model import Subjects
from lastaisle.rights.erasure.tables import TABLES, match_of

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

FORMAT: Final = 1
#: What the rows of each table say, in words for the shopper.
ABOUT: Final[Mapping[str, str]] = {
    RAW_EVENTS: "What your browser or our shop reported of your visits, as it arrived.",
    EVENTS: "The same events with pseudonyms and coarser values, as statistics and recommendations use them.",
    EXPOSURES: "Which recommendations were shown to you, and which of them you clicked.",
    OUTCOMES: "What followed from each recommendation that was shown to you.",
    UNATTRIBUTED: "Clicks of yours on lists that we have no record of.",
    ABANDONMENTS: "Checkouts of yours that ended without an order.",
    CONSENTS: "What you decided about the use of your data.",
    QUARANTINE: "Reports of your visits that were broken, as they arrived.",
}


def copy_of(
    lake: Lake, keys: PseudonymKeys, user_ids: Sequence[str], request_id: str, now: datetime | None = None
) -> dict[str, Any]:
    """Return all that the lake holds of one shopper, as JSON takes it.

    Args:
        lake: holds the tables.
        keys: all versions of the pseudonym key.
        user_ids: the ids of the shopper; several if the shop gave one person several ids.
        request_id: the request.
        now: the moment; the present by default.

    Raises:
        LakeUnusableError: a table cannot be read. Then there is no copy, since a part of it may be missing.
    """
    known = find_known(lake, Subjects.of(user_ids, keys), Known())
    return {
        "format": FORMAT,
        "request_id": request_id,
        "made_at": (now or datetime.now(UTC)).isoformat(),
        "user_ids": list(user_ids),
        "tables": {name: _table(lake, name, known) for name in reversed(TABLES)},
    }


def counts_of(copy: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of rows of each table in a copy."""
    return {name: len(table["rows"]) for name, table in copy["tables"].items()}


def to_json(copy: Mapping[str, Any]) -> bytes:
    """Return a copy as JSON."""
    return json.dumps(copy, default=_plain, ensure_ascii=False, indent=1).encode()


def to_zip(copy: Mapping[str, Any]) -> bytes:
    """Return a copy as a ZIP archive: the JSON document, and a CSV file for each table."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("copy.json", to_json(copy))
        for name, table in copy["tables"].items():
            archive.writestr(f"{name}.csv", _csv(list(table["columns"]), table["rows"]))
    return packed.getvalue()


def _table(lake: Lake, name: str, known: Known) -> dict[str, Any]:
    """Return the rows of one table, with what they mean, and why and for how long they are kept."""
    rows = [row for part in _rows(lake, name, known) for row in part.to_pylist()]
    dataset = lake.dataset(name)
    columns = [] if dataset is None else dataset.schema.names
    meanings: dict[str, str] = {}
    if name in packaged_tables():
        meanings = {field.name: field.description for field in load_contract(name).fields}
    retention = retention_of(name)
    return {
        "about": ABOUT[name],
        "purposes": list(retention.purposes),
        "legal_basis": retention.legal_basis,
        "kept_days": retention.days,
        "columns": {column: meanings.get(column, "") for column in columns},
        "rows": rows,
    }


def _rows(lake: Lake, name: str, known: Known) -> Iterator[pa.Table]:
    """Read a table file by file, and yield the rows of the shopper."""
    dataset = lake.dataset(name)
    if dataset is None:
        return
    match = match_of(name, known)
    columns = [column for column in match.columns if column in dataset.schema.names]
    for fragment in dataset.get_fragments():
        asked = without_views(fragment.to_table(schema=dataset.schema, columns=columns))
        chosen = match.rows(asked)
        if pc.any(chosen).as_py():
            yield fragment.to_table(schema=dataset.schema).filter(chosen)


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as CSV takes it; a text that a spreadsheet would run as a formula gets an apostrophe."""
    if isinstance(value, list | dict):
        value = json.dumps(value, default=_plain, ensure_ascii=False)
    if isinstance(value, date):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def _plain(value: Any) -> Any:
    if isinstance(value, date):  # a datetime is a date, too
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__} is no JSON")
