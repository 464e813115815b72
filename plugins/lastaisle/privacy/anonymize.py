"""From raw_events to events: each field as the contract classifies it, the whole batch exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from data_contracts.contract import Contract, load_contract
from lastaisle.errors import LastaisleError
from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.tables import EVENTS, RAW_EVENTS
from lastaisle.lake.workspace import MEMORY_LIMIT, open_workspace
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.privacy.sessions import name_sessions
from lastaisle.privacy.treat import Treatment

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ATTEMPTS = 5


class AnonymizeError(LastaisleError):
    """Rows that may not become events; nothing was committed."""

    exit_code = 9


@dataclass(frozen=True)
class AnonymizeReport:
    """What anonymize did.

    Attributes:
        batch_id: the batch.
        rows: its rows in `events`.
        days: UTC days of event time on which they lie.
    """

    batch_id: str
    rows: int
    days: tuple[date, ...]


def anonymize_batch(
    batch_id: str,
    lake: Lake,
    keys: PseudonymKeys,
    *,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    memory_limit: str = MEMORY_LIMIT,
) -> AnonymizeReport:
    """Bring a batch of raw_events into events, once however often it is called.

    Args:
        batch_id: from `take_in`.
        lake: where the tables are.
        keys: for the pseudonyms.
        contract: that of raw_events, which classifies the fields; the packaged one by default.
        events_contract: what the result must satisfy; the packaged one by default.
        memory_limit: what DuckDB may hold before it writes to a temporary folder.

    Raises:
        AnonymizeError: no such batch, or rows that break the contract of events.
    """
    if not lake.has(EVENTS, batch_id):
        raw = lake.dataset(RAW_EVENTS)
        if raw is None or not lake.has(RAW_EVENTS, batch_id):
            raise AnonymizeError(
                f"batch {batch_id} is not in raw_events of {lake.url}: ingest its file first"
            )
        with open_workspace(memory_limit) as connection:
            connection.register("raw", raw)
            connection.execute(
                "CREATE TABLE taken AS SELECT * FROM raw WHERE batch_id = $id", {"id": batch_id}
            )
            connection.unregister("raw")
            anonymize_taken(
                connection, batch_id, lake, keys, contract=contract, events_contract=events_contract
            )
    days = lake.scan(EVENTS, columns=["event_date"], where=pc.field("batch_id") == batch_id)
    found = pc.unique(days["event_date"]).to_pylist()
    return AnonymizeReport(batch_id, len(days), tuple(sorted(found)))


def anonymize_taken(
    connection: DuckDBPyConnection,
    key: str,
    lake: Lake,
    keys: PseudonymKeys,
    *,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
) -> bool:
    """Bring the relation `taken` of a scratch database, rows of raw_events, into events.

    Args:
        connection: holds `taken`, as a table or a view.
        key: names these rows, such as a batch id.
        lake: where the tables are; raw_events holds these rows already.
        keys: for the pseudonyms.
        contract: that of raw_events; the packaged one by default.
        events_contract: what the result must satisfy; the packaged one by default.

    Returns:
        False if rows of that key had been committed before.

    Raises:
        AnonymizeError: rows that break the contract of events.
    """
    contract = contract or load_contract(RAW_EVENTS)
    relation = name_sessions(connection, lake.dataset(RAW_EVENTS))
    treatment = Treatment(connection, relation, contract, keys)
    _refuse_broken(treatment, events_contract or load_contract(EVENTS), f"batch {key}")
    return lake.append(EVENTS, treatment.query(), key=key)


def rotate_pseudonyms(
    lake: Lake,
    keys: PseudonymKeys,
    *,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    memory_limit: str = MEMORY_LIMIT,
) -> int:
    """Write all of events again from raw_events with the current key, in one commit; return the rows written.

    Nothing happens if every row has that key already, so a run that was killed is run again. Sessions are
    derived over the whole history, so late rows may join others. Older versions of the table hold the old
    pseudonyms until `Lake.vacuum`.

    Raises:
        AnonymizeError: raw rows of some events are gone, so these could not be written again.
        LakeConflictError: other writers kept changing events meanwhile.
    """
    contract = contract or load_contract(RAW_EVENTS)
    events_contract = events_contract or load_contract(EVENTS)
    for _ in range(ATTEMPTS - 1):
        try:
            return _rotate(lake, keys, contract, events_contract, memory_limit)
        except LakeConflictError:
            continue
    return _rotate(lake, keys, contract, events_contract, memory_limit)


def _rotate(
    lake: Lake, keys: PseudonymKeys, contract: Contract, events_contract: Contract, memory_limit: str
) -> int:
    version = lake.version(EVENTS)
    if version is None:
        return 0
    events = lake.scan(EVENTS, columns=["batch_id", "key_version"], version=version)
    if pc.all(pc.equal(events["key_version"], keys.current)).as_py() is not False:
        return 0
    with open_workspace(memory_limit) as connection:
        raw = _take(connection, lake, events)
        treatment = Treatment(connection, name_sessions(connection, raw), contract, keys)
        _refuse_broken(treatment, events_contract, f"key {keys.current}")
        key = f"pseudonyms-{keys.current}-from-{version}"
        lake.overwrite(EVENTS, treatment.query(), key=key, if_version=version)
    return len(events)


def _take(connection: DuckDBPyConnection, lake: Lake, events: pa.Table) -> ds.Dataset:
    """Make the table `taken` of the raw rows of all events; return raw_events."""
    raw, found = lake.dataset(RAW_EVENTS), 0
    if raw is not None:
        connection.register("raw", raw)
        connection.register("events_now", events)
        connection.execute(
            "CREATE TABLE taken AS SELECT * FROM raw WHERE batch_id IN (SELECT batch_id FROM events_now)"
        )
        connection.unregister("raw")
        found = connection.execute("SELECT count(*) FROM taken").fetchall()[0][0]
    if raw is None or found != len(events):
        raise AnonymizeError(
            f"{lake.url} holds {len(events)} events but {found} raw rows of them: "
            "events without raw rows cannot get new pseudonyms; delete them first"
        )
    return raw


def _refuse_broken(treatment: Treatment, contract: Contract, what: str) -> None:
    broken = treatment.broken(contract)
    if broken:
        raise AnonymizeError(
            f"{what} would break the contract of events, rows by rule: {broken}; nothing was committed. "
            f"Compare the treatments in raw_events with the rules in {contract.path.name}"
        )
