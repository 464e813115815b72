"""Write the events again with another pseudonym key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from data_contracts.contract import Contract, load_contract
from lastaisle.lake import Lake
from lastaisle.lake.retries import retry_conflicts
from lastaisle.lake.tables import EVENTS, RAW_EVENTS
from lastaisle.lake.workspace import MEMORY_LIMIT, open_workspace
from lastaisle.privacy.anonymize import ATTEMPTS, AnonymizeError, refuse_broken
from lastaisle.privacy.anonymizer import Anonymizer
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.privacy.sessions import derive_sessions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def rotate_pseudonyms(
    lake: Lake,
    keys: PseudonymKeys,
    *,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    memory_limit: str = MEMORY_LIMIT,
) -> int:
    """Write all events again from raw_events with the current key, in one commit; return the rows written.

    If every row has that key already, nothing is written; so a run that was killed is run again. Sessions are
    derived over the whole history, so late rows may join other sessions. Older versions of the table hold the
    old pseudonyms until `Lake.vacuum`.

    Raises:
        AnonymizeError: some events have no raw rows any more, so they cannot be written again.
        LakeConflictError: other writers kept changing events meanwhile.
    """
    contract = contract or load_contract(RAW_EVENTS)
    events_contract = events_contract or load_contract(EVENTS)
    return retry_conflicts(ATTEMPTS)(_rotate, lake, keys, contract, events_contract, memory_limit)


def _rotate(
    lake: Lake, keys: PseudonymKeys, contract: Contract, events_contract: Contract, memory_limit: str
) -> int:
    version = lake.version(EVENTS)
    if version is None:
        return 0
    events = lake.scan(EVENTS, columns=["batch_id", "key_version"], version=version)
    if pc.all(pc.equal(events["key_version"], keys.current)).as_py() is not False:
        return 0
    with open_workspace(memory_limit, writes_to=lake.url) as connection:
        raw = _take(connection, lake, events)
        lake_key = key_of_lake(lake, keys, version)
        anonymizer = Anonymizer(connection, contract, lake_key, derive_sessions(connection, raw))
        refuse_broken(anonymizer, events_contract, f"key {keys.current}")
        key = f"pseudonyms-{keys.current}-from-{version}"
        lake.overwrite(EVENTS, anonymizer.query(), key=key, also=lake_key.mark, if_version=version)
    return len(events)


def _take(connection: DuckDBPyConnection, lake: Lake, events: pa.Table) -> ds.Dataset:
    """Make the table `taken` of the raw rows of all events; return raw_events."""
    raw, n_raw = lake.dataset(RAW_EVENTS), 0
    if raw is not None:
        connection.register("raw", raw)
        connection.register("events_now", events)
        connection.execute(
            "CREATE TABLE taken AS SELECT row_number() OVER () AS _place, * FROM raw "
            "WHERE batch_id IN (SELECT batch_id FROM events_now)"
        )
        connection.unregister("raw")
        n_raw = connection.execute("SELECT count(*) FROM taken").fetchall()[0][0]
    if raw is None or n_raw != len(events):
        raise AnonymizeError(
            f"{lake.url} holds {len(events)} events but {n_raw} raw rows of them: "
            "events without raw rows cannot get new pseudonyms; delete them first"
        )
    return raw
