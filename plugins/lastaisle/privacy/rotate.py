"""Write the events again with another pseudonym key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from data_contracts.contract import Contract, load_contract
from data_contracts.privacy import SURROGATE, quote
from lastaisle.lake import Lake
from lastaisle.lake.retries import retry_conflicts
from lastaisle.lake.tables import EVENTS, RAW_EVENTS
from lastaisle.lake.workspace import MEMORY_LIMIT, open_tables, open_workspace
from lastaisle.privacy.anonymize import ATTEMPTS, AnonymizeError, refuse_broken
from lastaisle.privacy.anonymizer import Anonymizer
from lastaisle.privacy.domains import key_of_lake, made_by
from lastaisle.privacy.k_anonymity import ALL_BATCHES, Grouping, K
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.privacy.sessions import derive_sessions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROTATIONS: Final = "rotations"
_COUNTS = """
SELECT coalesce(sum(greatest(n_events - coalesce(n_raw, 0), 0)), 0) AS without_raw,
    count_if(n_raw > n_events) AS unfinished
FROM (SELECT batch_id, count(*) AS n_events FROM events GROUP BY batch_id)
LEFT JOIN (SELECT batch_id, count(*) AS n_raw FROM raw GROUP BY batch_id) USING (batch_id)
"""


@dataclass(frozen=True)
class RotationReport:
    """A rotation of the pseudonym key; after a dry run, the rotation that a real run would make.

    Attributes:
        dry_run: whether nothing was changed.
        key_version: the version of the key that all events have after the rotation.
        new_key: whether the rotation makes this key. If not, it finishes a rotation that was interrupted, or
            it follows a key that was changed in the environment.
        events_by_key: the events before the rotation, by the version of their key.
        rows_written: the events after the rotation.
        rows_deleted: the events that were deleted because their raw rows are gone.
    """

    dry_run: bool
    key_version: int
    new_key: bool
    events_by_key: Mapping[int, int]
    rows_written: int
    rows_deleted: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary for JSON."""
        return asdict(self)


def rotate(
    lake: Lake,
    keys: PseudonymKeys,
    *,
    keys_elsewhere: Collection[int] = (),
    delete_without_raw: bool = False,
    dry_run: bool = True,
    k: int = K,
    memory_limit: str = MEMORY_LIMIT,
    progress: Callable[[float, str], None] = lambda share, step: None,
) -> RotationReport:
    """Make a new pseudonym key and write all events again with it; a killed rotation is run again.

    If some rows have another key than the current one, a rotation was interrupted, or the key of the
    environment was changed. Then no key is made, and the events get the current key.

    Args:
        lake: holds raw_events and events.
        keys: the pseudonym keys.
        keys_elsewhere: the versions of the key of the rows in tables that follow the events.
        delete_without_raw: whether events whose raw rows are gone are deleted; they can get no new pseudonym.
        dry_run: only report the work; change nothing.
        k: the least shoppers of an hour that share device and place.
        memory_limit: the memory of DuckDB; more data goes to a temporary folder.
        progress: called with the share of the work that is done, and the next step.

    Raises:
        AnonymizeError: events without raw rows are there, or batches that are not completely in events.
        KeyFileError: the key comes from the environment and has to be changed there first.
        LakeConflictError: other writers kept changing events meanwhile.
    """
    progress(0.0, "counting")
    by_key = rows_by_key(lake, EVENTS)
    version = lake.version(EVENTS)
    deleted = 0 if version is None else _refuse_unknown(lake, version, delete_without_raw)
    events = sum(by_key.values())
    made = made_by(lake, keys.current)
    is_lost = made is not None and made.fingerprint != keys.fingerprint()
    in_use = {*by_key, *keys_elsewhere}
    new_key = is_lost or in_use <= {keys.current}
    newest = max(in_use, default=0)
    key_version = keys.next_version(newest) if new_key else keys.current
    if not dry_run:
        keys = keys.rotate(newest) if new_key else keys
        progress(0.2, "writing")
        rotate_pseudonyms(lake, keys, delete_without_raw=delete_without_raw, k=k, memory_limit=memory_limit)
        progress(1.0, "done")
    return RotationReport(dry_run, key_version, new_key, by_key, events - deleted, deleted)


def rotate_pseudonyms(
    lake: Lake,
    keys: PseudonymKeys,
    *,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    delete_without_raw: bool = False,
    k: int = K,
    memory_limit: str = MEMORY_LIMIT,
) -> int:
    """Write all events again from raw_events with the current key, in one commit; return the rows written.

    If every row has that key already, nothing is written; so a run that was killed is run again. Sessions are
    derived over the whole history, so late rows may join other sessions. Older versions of the table hold the
    old pseudonyms until `Lake.vacuum`.

    A quasi-identifier that was left out of an event stays left out. Beyond that, all rows of an hour are
    judged together, so a larger k, and events that were written without one, lose further values.

    Raises:
        AnonymizeError: some events have no raw rows any more, so they cannot be written again.
        LakeConflictError: other writers kept changing events meanwhile.
    """
    contract = contract or load_contract(RAW_EVENTS)
    events_contract = events_contract or load_contract(EVENTS)

    def attempt() -> int:
        version = lake.version(EVENTS)
        if version is None:
            return 0
        events = lake.scan(EVENTS, columns=["batch_id", "key_version"], version=version)
        if pc.all(pc.equal(events["key_version"], keys.current)).as_py() is not False:
            return 0
        deleted = _refuse_unknown(lake, version, delete_without_raw)
        lake_key = key_of_lake(lake, keys, version)
        with open_workspace(memory_limit, writes_to=lake.url) as connection:
            raw = _take(connection, lake, version, contract)
            derived = derive_sessions(connection, raw)
            anonymizer = Anonymizer(connection, contract, lake_key, derived, Grouping(k, scope=ALL_BATCHES))
            refuse_broken(anonymizer, events_contract, f"key {keys.current}")
            key = f"pseudonyms-{keys.current}-from-{version}"
            count = (lake.stamp(EVENTS, _ROTATIONS) or 0) + 1
            also = {**lake_key.mark, _ROTATIONS: count, _before(count): version}
            lake.overwrite(EVENTS, anonymizer.query(), key=key, also=also, if_version=version)
        return len(events) - deleted

    return retry_conflicts(ATTEMPTS)(attempt)


def rows_by_key(lake: Lake, name: str) -> dict[int, int]:
    """Count the rows of a table by the version of their key; rows that name no version are not counted."""
    dataset = lake.dataset(name)
    if dataset is None or "key_version" not in dataset.schema.names:
        return {}
    versions = lake.scan(name, columns=["key_version"])["key_version"].drop_null()
    counted = pc.value_counts(versions).to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counted, key=lambda entry: entry["values"])}


def versions_before_rotations(lake: Lake) -> list[int]:
    """Return the versions of the table events that rotations replaced, the newest first.

    A row has the same event_id in all of them, and other pseudonyms. Maintenance deletes old versions.
    """
    stamps = (
        lake.stamp(EVENTS, _before(count)) for count in range(lake.stamp(EVENTS, _ROTATIONS) or 0, 0, -1)
    )
    return [version for version in stamps if version is not None]


def _before(count: int) -> str:
    return f"version-before-rotation-{count}"


def _refuse_unknown(lake: Lake, version: int, delete_without_raw: bool) -> int:
    """Refuse events that cannot be written again from raw_events; return how many will be deleted."""
    raw = lake.dataset(RAW_EVENTS)
    raw = pa.table({"batch_id": pa.array([], pa.string())}) if raw is None else raw
    with open_tables(events=lake.dataset(EVENTS, version), raw=raw) as connection:
        without_raw, unfinished = connection.execute(_COUNTS).fetchall()[0]
    if unfinished:
        raise AnonymizeError(
            f"{unfinished} batches in raw_events of {lake.url} have more rows than in events: they are not "
            "completely anonymized. Ingest again or wait for the running ingestion, then rotate"
        )
    if without_raw and not delete_without_raw:
        raise AnonymizeError(
            f"{without_raw} events of {lake.url} have no raw rows any more, so they can get no new "
            "pseudonyms: nothing was changed. Rotate with --delete-without-raw to delete these events"
        )
    return int(without_raw)


def _take(connection: DuckDBPyConnection, lake: Lake, version: int, contract: Contract) -> ds.Dataset | None:
    """Make the table `taken` of the raw rows of all events; return raw_events.

    The quasi-identifiers are those of the events: what was left out once stays left out.
    """
    raw, events = lake.dataset(RAW_EVENTS), lake.dataset(EVENTS, version)
    if raw is None or events is None:
        raise AnonymizeError(f"{lake.url} has no raw_events, so its events can get no new pseudonyms")
    connection.register("raw", raw)
    connection.register("events_now", events)
    quasi = contract.quasi_identifiers
    known = [] if quasi is None else [name for name in quasi.columns if name in events.schema.names]
    replaced = ", ".join(f"now.{quote(name)} AS {quote(name)}" for name in known)
    columns = f"raw.* REPLACE ({replaced})" if known else "raw.*"
    written = ", ".join(["event_id", *map(quote, known)])
    connection.execute(
        f"CREATE TABLE taken AS SELECT row_number() OVER () AS _place, {columns} FROM raw "
        f"LEFT JOIN (SELECT {written} FROM events_now) AS now ON now.event_id = {SURROGATE} "
        "WHERE batch_id IN (SELECT batch_id FROM events_now)"
    )
    connection.unregister("raw")
    connection.unregister("events_now")
    return raw
