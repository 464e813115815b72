"""Give exposures the new pseudonyms after a rotation of the key.

A row of events keeps its event_id in a rotation. So the versions of the table events before and after say
which new pseudonym replaces which old one, and no key is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pa_fs

from data_contracts.privacy import SURROGATE
from lastaisle.feedback.exposures.shoppers import SESSION, USER
from lastaisle.lake import Lake, Query
from lastaisle.lake.errors import VersionGoneError
from lastaisle.lake.retries import retry_conflicts
from lastaisle.lake.tables import EVENTS, EXPOSURES, RAW_EVENTS
from lastaisle.lake.workspace import MEMORY_LIMIT, open_workspace
from lastaisle.privacy.anonymize import ATTEMPTS, AnonymizeError
from lastaisle.privacy.rotate import rows_by_key, versions_before_rotations

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PSEUDONYMS: Final = (USER, SESSION)


@dataclass(frozen=True)
class ExposureRotation:
    """The exposures in a rotation; after a dry run, as a real run would leave them.

    Attributes:
        rows_by_key: the rows before the rotation, by the version of their key.
        rows_written: the rows that get new pseudonyms, or only the version of the new key.
        pseudonyms_lost: for user_id and session_id, the old pseudonyms that no event knows; they become NULL.
        rows_lost_by_day: the rows that lose a pseudonym, by day.
        versions_gone: versions of the table events that earlier rotations replaced and maintenance deleted.
            Pseudonyms that only they know are among the lost.
    """

    rows_by_key: Mapping[int, int] = field(default_factory=dict)
    rows_written: int = 0
    pseudonyms_lost: Mapping[str, int] = field(default_factory=dict)
    rows_lost_by_day: Mapping[date, int] = field(default_factory=dict)
    versions_gone: Sequence[int] = ()


def rotate_exposures(
    lake: Lake,
    key_version: int,
    *,
    dry_run: bool = False,
    without_deleted: bool = False,
    memory_limit: str = MEMORY_LIMIT,
) -> ExposureRotation:
    """Replace the old pseudonyms in exposures by those of the events, in one commit; run again after a kill.

    An old pseudonym is replaced in every row, also where a sender used an old key and the row names the new
    one. A pseudonym that no event knows stays in rows of the new key: its events may still come. In other
    rows it becomes NULL.

    Args:
        lake: holds events, which have the new key already unless this is a dry run; and exposures.
        key_version: the version of the new key.
        dry_run: only report the work; change nothing.
        without_deleted: whether a dry run leaves out events without raw rows; the rotation deletes them.
        memory_limit: the memory of DuckDB; more data goes to a temporary folder.

    Raises:
        AnonymizeError: another run wrote events with another key meanwhile; nothing was changed.
        LakeConflictError: other writers kept changing exposures meanwhile.
    """

    def attempt() -> ExposureRotation:
        version = lake.version(EXPOSURES)
        exposures = None if version is None else lake.dataset(EXPOSURES, version)
        if version is None or exposures is None:
            return ExposureRotation()
        if not dry_run:
            _refuse_other_keys(lake, key_version)
        with open_workspace(memory_limit, writes_to=lake.url) as connection:
            connection.register("exposures", exposures)
            gone = find_new_pseudonyms(
                connection, lake, EXPOSURES, without_deleted=dry_run and without_deleted
            )
            has_key = "key_version" in exposures.schema.names
            connection.execute(f"CREATE VIEW renewed AS {_renewed(key_version, has_key)}")
            found, days = _count(connection, rows_by_key(lake, EXPOSURES), gone)
            if days and not dry_run:
                schema = exposures.schema if has_key else exposures.schema.append(_KEY_VERSION)
                sql = f"SELECT {', '.join(schema.names)} FROM renewed"
                query = Query(connection, sql, schema, days)
                lake.replace_days(EXPOSURES, query, if_version=version, exclusive=True)
        return found

    return retry_conflicts(ATTEMPTS)(attempt)


_KEY_VERSION: Final = pa.field("key_version", pa.int32())


def _refuse_other_keys(lake: Lake, key_version: int) -> None:
    others = rows_by_key(lake, EVENTS).keys() - {key_version}
    if others:
        raise AnonymizeError(
            f"another run wrote events of {lake.url} with key version {min(others)} during the rotation to "
            f"{key_version}, so exposures were not changed: let no ingestion run, and rotate again"
        )


def find_new_pseudonyms(
    connection: DuckDBPyConnection,
    lake: Lake,
    table: str,
    names: Sequence[str] = _PSEUDONYMS,
    *,
    without_deleted: bool = False,
) -> list[int]:
    """Make the tables `new_user_id` and `new_session_id`; return the versions of events that are gone.

    They hold the pseudonyms of a table that some event knows (old), and those of the same events now (new).
    A derived session that a rotation cuts in two becomes its first part.

    Args:
        connection: holds the table.
        lake: holds the events.
        table: the relation whose pseudonyms are replaced.
        names: its columns of pseudonyms.
        without_deleted: whether events without raw rows are left out.
    """
    before, gone = [], []
    for version in versions_before_rotations(lake):
        events = _readable(lake, version)
        if events is None:
            gone.append(version)
            continue
        before.append(f"events_{version}")
        connection.register(before[-1], events)
    events = lake.dataset(EVENTS)
    if events is not None:
        connection.register("events", events)
    kept = "true"
    if without_deleted:
        raw = lake.dataset(RAW_EVENTS)
        kept = "false" if raw is None else f"event_id IN (SELECT {SURROGATE} FROM raw)"
        if raw is not None:
            connection.register("raw", raw)
    for name in names:
        shown = f"{name} IN (SELECT {name} FROM {table})"
        now = f"SELECT event_id, occurred_at, {name} AS new FROM events"
        pairs = [f"SELECT event_id, occurred_at, {name} AS old, {name} AS new FROM events WHERE {shown}"]
        pairs += [
            f"SELECT event_id, now.occurred_at, old, new FROM (SELECT event_id, {name} AS old FROM {table} "
            f"WHERE {shown}) JOIN ({now}) AS now USING (event_id)"
            for table in before
        ]
        if events is None:
            pairs = ["SELECT '' AS event_id, NULL AS occurred_at, '' AS old, '' AS new LIMIT 0"]
        connection.execute(f"""
            CREATE TABLE new_{name} AS
            SELECT old, first(new ORDER BY occurred_at, event_id) AS new
            FROM ({" UNION ALL ".join(pairs)}) WHERE {kept} GROUP BY old""")
    return gone


def _readable(lake: Lake, version: int) -> ds.Dataset | None:
    """Open a version of events; None if maintenance deleted it, or one of its files."""
    try:
        events = lake.dataset(EVENTS, version)
    except VersionGoneError:
        return None
    if events is None:
        return None
    files = events.filesystem.get_file_info(events.files)
    return None if any(file.type == pa_fs.FileType.NotFound for file in files) else events


def _renewed(key_version: int, has_key: bool) -> str:
    """Return SQL of the exposures after the rotation, with `_changed`, and `_lost_…` for each pseudonym."""
    made_by = "exposures.key_version" if has_key else "NULL"
    stays = f"coalesce({made_by} = {key_version}, false)"
    new = {
        name: f"CASE WHEN new_{name}.old IS NOT NULL THEN new_{name}.new "
        f"WHEN {stays} THEN exposures.{name} END"
        for name in _PSEUDONYMS
    }
    replaced = [f"{sql} AS {name}" for name, sql in new.items()]
    replaced += [f"{key_version}::INTEGER AS key_version"] * has_key
    added = [] if has_key else [f"{key_version}::INTEGER AS key_version"]
    added += [f"exposures.{name} AS _old_{name}" for name in _PSEUDONYMS]
    added += [
        f"exposures.{name} IS NOT NULL AND ({sql}) IS NULL AS _lost_{name}" for name, sql in new.items()
    ]
    changed = [f"exposures.{name} IS DISTINCT FROM ({sql})" for name, sql in new.items()]
    joins = (f"LEFT JOIN new_{name} ON exposures.{name} = new_{name}.old" for name in _PSEUDONYMS)
    return f"""SELECT exposures.* REPLACE ({", ".join(replaced)}), {", ".join(added)},
        NOT {stays} OR {" OR ".join(changed)} AS _changed
        FROM exposures {" ".join(joins)}"""


def _count(
    connection: DuckDBPyConnection, by_key: Mapping[int, int], gone: Sequence[int]
) -> tuple[ExposureRotation, list[date]]:
    """Return the counts of the view `renewed`, and the days with rows that change."""
    any_lost = " OR ".join(f"_lost_{name}" for name in _PSEUDONYMS)
    rows = connection.execute(f"""
        SELECT event_date, count(*), count_if({any_lost}) FROM renewed WHERE _changed
        GROUP BY event_date ORDER BY event_date""").fetchall()
    lost = ", ".join(f"count(DISTINCT _old_{name}) FILTER (_lost_{name})" for name in _PSEUDONYMS)
    counts = connection.execute(f"SELECT {lost} FROM renewed").fetchall()[0]
    found = ExposureRotation(
        by_key,
        sum(changed for _, changed, _ in rows),
        {name: count for name, count in zip(_PSEUDONYMS, counts, strict=True) if count},
        {day: count for day, _, count in rows if count},
        tuple(gone),
    )
    return found, [day for day, _, _ in rows]
