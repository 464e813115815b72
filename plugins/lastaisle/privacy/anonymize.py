"""From raw_events to events: each field as the contract classifies it, the whole batch exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from data_contracts.contract import Contract, load_contract
from data_contracts.privacy import HMAC_INNER, HMAC_OUTER, hmac_pads
from lastaisle.errors import LastaisleError
from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.tables import EVENTS, EVENTS_ADDED, RAW_EVENTS
from lastaisle.lake.workspace import MEMORY_LIMIT, open_workspace
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.privacy.sessions import derive_sessions

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
        batch_id: from `ingest_file`.
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
        contract = contract or load_contract(RAW_EVENTS)
        with open_workspace(memory_limit) as connection:
            connection.register("raw", raw)
            connection.execute(
                "CREATE TABLE taken AS SELECT * FROM raw WHERE batch_id = $id", {"id": batch_id}
            )
            connection.unregister("raw")
            derive_sessions(connection, raw)
            _treat(connection, contract, keys)
            _check(connection, events_contract or load_contract(EVENTS), f"batch {batch_id}")
            schema = events_schema(contract)
            if lake.append(EVENTS, lambda: _rows(connection, schema), key=batch_id):
                return _report(batch_id, connection.sql("SELECT event_date FROM treated").to_arrow_table())
    days = lake.scan(EVENTS, columns=["event_date"], where=pc.field("batch_id") == batch_id)
    return _report(batch_id, days)


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
    schema = events_schema(contract)
    with open_workspace(memory_limit) as connection:
        raw = _take(connection, lake, events)
        derive_sessions(connection, raw)
        _treat(connection, contract, keys)
        _check(connection, events_contract, f"key {keys.current}")
        key = f"pseudonyms-{keys.current}-from-{version}"
        lake.overwrite(EVENTS, lambda: _rows(connection, schema), key=key, if_version=version)
    return len(events)


def events_schema(contract: Contract) -> pa.Schema:
    """Return the columns of events that follow from the contract of raw_events."""
    kept = [found for found in contract.fields if found.treatment.action != "drop"]
    return pa.schema([*(pa.field(found.name, found.arrow_type) for found in kept), *EVENTS_ADDED])


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


def _treat(connection: DuckDBPyConnection, contract: Contract, keys: PseudonymKeys) -> None:
    """Make the table `treated` from `taken` and `derived`; the key travels as bound values only."""
    for variable, pad in zip((HMAC_INNER, HMAC_OUTER), hmac_pads(keys.key), strict=True):
        connection.execute(f"SET VARIABLE {variable} = $pad", {"pad": pad})
    columns = ", ".join(
        f'{treatment.sql(name)} AS "{name}"'
        for name, treatment in contract.privacy_policy().items()
        if treatment.action != "drop"
    )
    connection.execute(f"""
        CREATE TABLE treated AS
        SELECT {columns}, sequence, event_date, batch_id, contract_version, {keys.current}::INTEGER AS
        key_version FROM (SELECT taken.* REPLACE (coalesce(taken.session_id, derived.session_id) AS
        session_id),
                row_number() OVER (PARTITION BY taken.batch_id
                                   ORDER BY taken.occurred_at, taken.source_row, taken.sub_row) AS sequence
              FROM taken LEFT JOIN derived USING (batch_id, source_row, sub_row))""")


def _check(connection: DuckDBPyConnection, contract: Contract, what: str) -> None:
    """Judge `treated` by the contract of events; the raw rows were good, so a breach is our own mistake."""
    rules = [rule for rule in contract.rules if rule.severity == "error" and not rule.reference]
    counts = ", ".join(f"count_if(({rule.predicate}) IS FALSE)" for rule in rules)
    uses_now = any(rule.uses_now for rule in rules)
    now = {"now": datetime.now(UTC).isoformat()} if uses_now else None
    found = connection.execute(f"SELECT {counts} FROM treated", now).fetchall()[0]
    broken = {rule.name: count for rule, count in zip(rules, found, strict=True) if count}
    if broken:
        raise AnonymizeError(
            f"{what} would break the contract of events, rows by rule: {broken}; nothing was committed. "
            f"Compare the treatments in raw_events with the rules in {contract.path.name}"
        )


def _rows(connection: DuckDBPyConnection, schema: pa.Schema) -> pa.RecordBatchReader:
    columns = ", ".join(f'"{name}"' for name in schema.names)
    return connection.cursor().sql(f"SELECT {columns} FROM treated").to_arrow_reader(65_536).cast(schema)


def _report(batch_id: str, dates: pa.Table) -> AnonymizeReport:
    days = pc.unique(dates["event_date"]).to_pylist()
    return AnonymizeReport(batch_id, len(dates), tuple(sorted(days)))
