"""Erase again what the restore of an older lake brought back: a file of tombstones for each erasure.

A backup of the lake is older than some erasures, and has neither their tombstones nor their requests. The
folder of requests lies outside the lake, so it outlives the restore. It has a file for each erasure with its
tombstones: keyed digests, from which nobody learns an id. With the pseudonym key, these tell which ids and
pseudonyms of the restored lake are those of erased shoppers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from lastaisle.lake.tables import ERASED, ERASED_SCHEMA, EVENTS, EXPOSURES, RAW_EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.privacy.erased import PSEUDONYM, RAW, USER, Form, Tombstones, put_back, tombstones
from lastaisle.rights.erasure import Subjects
from lastaisle.rights.inbox import Inbox, InboxError, write_private
from lastaisle.settings.private import make_private

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

log = logging.getLogger(__name__)

ERASURES: Final = "erased"
#: The tables in which erased shoppers are looked for: how they name shoppers, and their time.
_TABLES: Final[Mapping[str, tuple[Form, str]]] = {
    RAW_EVENTS: (RAW, "occurred_at"),
    EVENTS: (PSEUDONYM, "occurred_at"),
    EXPOSURES: (PSEUDONYM, "occurred_at"),
}


@dataclass(frozen=True)
class Erasure:
    """The file of one erasure.

    Attributes:
        request_id: the request.
        lake: the lake from which its shoppers were erased.
        rows: its tombstones (ERASED_SCHEMA).
    """

    request_id: str
    lake: str
    rows: pa.Table


def keep_tombstones(inbox: Inbox, lake: Lake) -> None:
    """Write the tombstones of all erasures into the folder of requests, for the restore of an older lake.

    An erasure that has its file already is left alone.

    Raises:
        InboxError: a file cannot be written.
    """
    folder = inbox.folder / ERASURES
    kept: dict[str, list[dict[str, Any]]] = {}
    for row in tombstones(lake).to_pylist():
        told = {
            "digest": row["digest"],
            "key_version": row["key_version"],
            "before": row["before"].isoformat(),
        }
        kept.setdefault(row["request_id"], []).append(told)
    try:
        make_private(folder)
    except OSError as error:
        raise InboxError(f"cannot make {folder}: {error.strerror}") from error
    for request_id, rows in kept.items():
        file = folder / f"{request_id}.json"
        if not file.exists():
            write_private(file, json.dumps({"request_id": request_id, "lake": lake.url, "tombstones": rows}))


def kept_erasures(inbox: Inbox) -> list[Erasure]:
    """Return the erasures of which the folder of requests has a file.

    Raises:
        InboxError: a file cannot be read. Without it nobody knows whom it is about, so nothing is done.
    """
    return [_read(file) for file in sorted((inbox.folder / ERASURES).glob("*.json"))]


def _read(file: Path) -> Erasure:
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        name = str(document["request_id"])
        rows = [
            {**row, "before": datetime.fromisoformat(row["before"]), "request_id": name}
            for row in document["tombstones"]
        ]
        return Erasure(name, str(document["lake"]), pa.Table.from_pylist(rows, schema=ERASED_SCHEMA))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InboxError(
            f"the tombstones in {file} cannot be read ({type(error).__name__}): put the file back from a "
            "backup of the folder of requests"
        ) from error


def missing_in(lake: Lake, erasures: Sequence[Erasure]) -> list[Erasure]:
    """Return the erasures whose tombstones the lake does not have."""
    return [each for each in erasures if not lake.has(ERASED, f"erased/{each.request_id}")]


def put_back_all(lake: Lake, erasures: Sequence[Erasure]) -> int:
    """Write the tombstones that the lake does not have; return of how many erasures."""
    return sum(put_back(lake, each.rows, each.request_id) for each in erasures)


def find_erased(lake: Lake, keys: PseudonymKeys, erasures: Sequence[Erasure]) -> frozenset[str]:
    """Return the erased shoppers of whom the lake holds rows from before their erasure.

    These are ids as raw_events has them; and pseudonyms of shoppers whose ids no table has any more, because
    raw_events keeps its rows for a shorter time.

    Args:
        lake: the lake.
        keys: all versions of the pseudonym key.
        erasures: the erasures.
    """
    gone = Tombstones.of(pa.concat_tables([ERASED_SCHEMA.empty_table(), *(e.rows for e in erasures)]), keys)
    if gone is None:
        return frozenset()
    found = {name: frozenset(_find(lake, gone, name)) for name in _TABLES}
    users = found.pop(RAW_EVENTS)
    own = Subjects.of(users, keys).pseudonyms(USER, users) if users else frozenset()
    return users | (frozenset().union(*found.values()) - own)


def _find(lake: Lake, gone: Tombstones, name: str) -> Iterator[str]:
    form, moment = _TABLES[name]
    dataset = lake.dataset(name)
    if dataset is None or not {USER, moment} <= {*dataset.schema.names}:
        return
    with open_tables(looked=dataset) as connection:
        gone.find(connection, "looked", (USER,), form)
        rows = connection.execute(
            f"SELECT DISTINCT looked.{USER} FROM looked JOIN erased_{USER} AS erasure USING ({USER}) "
            f"WHERE looked.{moment} IS NULL OR looked.{moment} <= erasure.before"
        ).fetchall()
    yield from (text for (text,) in rows)
